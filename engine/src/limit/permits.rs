//! Connections as a shared, bounded good: a cap in total, a cap per host, and nobody without one while another has many.
//!
//! A freed place goes to the waiting task that holds the fewest connections for its weight, so a new task gets its first
//! connection before an old one gets its ninth. Tasks that hold more than their share learn it from
//! [`ConnectionPermit::is_wanted`] and give a connection up between two requests; nothing is torn down in mid-transfer.
//!
//! A host that refuses (429, 503, resets) has its cap halved for *all* tasks and gets one place back every ten seconds.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// How long a refused host waits for each place it gets back.
const RECOVERY: Duration = Duration::from_secs(10);

/// Refusals within this time are one event.
const ONE_EVENT: Duration = Duration::from_secs(1);

/// The connection places of a process. Cheap to clone; clones are the same places.
#[derive(Debug, Clone)]
pub struct ConnectionPermits {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    waiting: AtomicUsize,
    over_cap: AtomicUsize,
}

#[derive(Debug)]
struct State {
    most: u32,
    most_per_host: u32,
    held: u32,
    hosts: HashMap<Arc<str>, Host>,
    holders: HashMap<u64, Holder>,
    waiters: Vec<Waiter>,
    next_id: u64,
}

#[derive(Debug, Default)]
struct Host {
    held: u32,
    refusal: Option<Refusal>,
}

#[derive(Debug, Clone, Copy)]
struct Refusal {
    at: Instant,
    cap: u32,
}

#[derive(Debug)]
struct Holder {
    held: u32,
    weight: u32,
}

#[derive(Debug)]
struct Waiter {
    holder: u64,
    host: Arc<str>,
    granted: oneshot::Sender<()>,
}

impl ConnectionPermits {
    /// At most `most` connections, at most `most_per_host` of them to one host. Both count as at least one.
    pub fn new(most: u32, most_per_host: u32) -> Self {
        let state = State {
            most: most.max(1),
            most_per_host: most_per_host.max(1),
            held: 0,
            hosts: HashMap::new(),
            holders: HashMap::new(),
            waiters: Vec::new(),
            next_id: 0,
        };
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                waiting: AtomicUsize::new(0),
                over_cap: AtomicUsize::new(0),
            }),
        }
    }

    /// Changes the caps at once. Connections above a lowered cap end as their holders ask [`ConnectionPermit::is_wanted`].
    pub fn set_limits(&self, most: Option<u32>, most_per_host: Option<u32>) {
        self.shared.change(|state| {
            state.most = most.unwrap_or(state.most).max(1);
            state.most_per_host = most_per_host.unwrap_or(state.most_per_host).max(1);
        });
    }

    /// Registers a task with its share against others.
    pub fn holder(&self, weight: u32) -> PermitHolder {
        let id = self.shared.change(|state| {
            state.next_id += 1;
            state.holders.insert(state.next_id, Holder { held: 0, weight: weight.max(1) });
            state.next_id
        });
        PermitHolder { registration: Arc::new(Registration { shared: Arc::clone(&self.shared), id }) }
    }

    /// Halves the cap of `host` for everybody. Refusals within one second count once.
    pub fn push_back(&self, host: &str) {
        self.shared.change(|state| {
            let now = Instant::now();
            let cap = state.cap_of(host, now);
            state.forget_recovered(now);
            let host = state.hosts.entry(host.into()).or_default();
            if host.refusal.is_none_or(|refusal| now - refusal.at >= ONE_EVENT) {
                host.refusal = Some(Refusal { at: now, cap: (cap.min(host.held.max(1)) / 2).max(1) });
            }
        });
    }

    /// How many connections `host` may have now.
    pub fn cap_of(&self, host: &str) -> u32 {
        self.shared.state.lock().cap_of(host, Instant::now())
    }

    /// How many connections are held now.
    pub fn held(&self) -> u32 {
        self.shared.state.lock().held
    }
}

impl Shared {
    /// Changes the state and hands out what became free.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock();
        let result = change(&mut state);
        state.serve(Instant::now());
        self.waiting.store(state.waiters.len(), Ordering::Relaxed);
        self.over_cap.store(state.excess(Instant::now()), Ordering::Relaxed);
        result
    }
}

impl State {
    fn cap_of(&self, host: &str, now: Instant) -> u32 {
        let refusal = self.hosts.get(host).and_then(|host| host.refusal);
        refusal.map_or(self.most_per_host, |refusal| {
            let regained = (now - refusal.at).as_secs() / RECOVERY.as_secs();
            refusal.cap.saturating_add(u32::try_from(regained).unwrap_or(u32::MAX)).min(self.most_per_host)
        })
    }

    fn has_room(&self, host: &str, now: Instant) -> bool {
        let held = self.hosts.get(host).map_or(0, |host| host.held);
        self.held < self.most && held < self.cap_of(host, now)
    }

    /// Keeps the map from growing with every host that ever refused.
    fn forget_recovered(&mut self, now: Instant) {
        let recovered: Vec<Arc<str>> = self
            .hosts
            .iter()
            .filter(|(name, host)| host.held == 0 && self.cap_of(name, now) >= self.most_per_host)
            .map(|(name, _)| Arc::clone(name))
            .collect();
        for name in recovered {
            self.hosts.remove(&name);
        }
    }

    fn excess(&self, now: Instant) -> usize {
        let hosts = self.hosts.iter().map(|(name, host)| host.held.saturating_sub(self.cap_of(name, now)));
        (hosts.sum::<u32>().max(self.held.saturating_sub(self.most))) as usize
    }

    fn serve(&mut self, now: Instant) {
        self.waiters.retain(|waiter| !waiter.granted.is_closed());
        while let Some(next) = self.next_waiter(now) {
            let waiter = self.waiters.remove(next);
            if waiter.granted.send(()).is_ok() {
                self.hold(waiter.holder, &waiter.host);
            }
        }
    }

    /// The waiter whose task holds the fewest for its weight; the first to come among equals.
    fn next_waiter(&self, now: Instant) -> Option<usize> {
        let eligible = self.waiters.iter().enumerate().filter(|(_, waiter)| self.has_room(&waiter.host, now));
        eligible.min_by_key(|(_, waiter)| self.load_of(waiter.holder, 0)).map(|(index, _)| index)
    }

    /// Connections per weight after `change`, as an integer that compares like the fraction.
    fn load_of(&self, holder: u64, change: i64) -> i64 {
        let (held, weight) = self.holders.get(&holder).map_or((0, 1), |holder| (holder.held, holder.weight));
        (i64::from(held) + change) * 1_000_000 / i64::from(weight)
    }

    fn hold(&mut self, holder: u64, host: &Arc<str>) {
        self.held += 1;
        self.hosts.entry(Arc::clone(host)).or_default().held += 1;
        if let Some(holder) = self.holders.get_mut(&holder) {
            holder.held += 1;
        }
    }

    fn release(&mut self, holder: u64, host: &str) {
        self.held -= 1;
        if let Some(state) = self.hosts.get_mut(host) {
            state.held -= 1;
            if state.held == 0 && state.refusal.is_none() {
                self.hosts.remove(host);
            }
        }
        if let Some(holder) = self.holders.get_mut(&holder) {
            holder.held -= 1;
        }
    }

    fn is_wanted(&self, holder: u64, host: &str, now: Instant) -> bool {
        let held_on_host = self.hosts.get(host).map_or(0, |host| host.held);
        if held_on_host > self.cap_of(host, now) || self.held > self.most {
            return true;
        }
        let mine = self.load_of(holder, -1);
        self.waiters.iter().any(|waiter| {
            let would_free = &*waiter.host == host
                || self.held >= self.most
                    && self.hosts.get(&waiter.host).map_or(0, |h| h.held) < self.cap_of(&waiter.host, now);
            would_free && waiter.holder != holder && self.load_of(waiter.holder, 1) <= mine
        })
    }
}

/// One task's claim to connections. Cheap to clone; clones are the same task.
#[derive(Debug, Clone)]
pub struct PermitHolder {
    registration: Arc<Registration>,
}

#[derive(Debug)]
struct Registration {
    shared: Arc<Shared>,
    id: u64,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.shared.change(|state| {
            state.holders.remove(&self.id);
        });
    }
}

impl PermitHolder {
    /// Waits for a place on `host`. Cancel-safe: a place that nobody collects is free again.
    pub async fn acquire(&self, host: &str) -> ConnectionPermit {
        let host: Arc<str> = host.into();
        let (granted, receiver) = oneshot::channel();
        let waiter = Waiter { holder: self.registration.id, host: Arc::clone(&host), granted };
        self.registration.shared.change(|state| state.waiters.push(waiter));
        let mut pending = PendingPermit { holder: self, host, receiver };
        loop {
            // A refused host regains places by time alone, which wakes nobody.
            match tokio::time::timeout(RECOVERY, &mut pending.receiver).await {
                Ok(_) => break,
                Err(_) => self.registration.shared.change(|_| ()),
            }
        }
        ConnectionPermit { holder: self.clone(), host: Arc::clone(&pending.host) }
    }

    /// A place on `host` if one is free and nobody waits for it.
    pub fn try_acquire(&self, host: &str) -> Option<ConnectionPermit> {
        let host: Arc<str> = host.into();
        let is_granted = self.registration.shared.change(|state| {
            let is_free =
                state.has_room(&host, Instant::now()) && !state.waiters.iter().any(|waiter| waiter.host == host);
            if is_free {
                state.hold(self.registration.id, &host);
            }
            is_free
        });
        is_granted.then(|| ConnectionPermit { holder: self.clone(), host })
    }

    /// Changes the share against others. Zero counts as one.
    pub fn set_weight(&self, weight: u32) {
        self.registration.shared.change(|state| {
            if let Some(holder) = state.holders.get_mut(&self.registration.id) {
                holder.weight = weight.max(1);
            }
        });
    }
}

/// A place that may have been granted to a future that is dropped before it learns of it.
struct PendingPermit<'a> {
    holder: &'a PermitHolder,
    host: Arc<str>,
    receiver: oneshot::Receiver<()>,
}

impl Drop for PendingPermit<'_> {
    fn drop(&mut self) {
        self.receiver.close();
        let registration = &self.holder.registration;
        if self.receiver.try_recv().is_ok() {
            registration.shared.change(|state| state.release(registration.id, &self.host));
        } else {
            registration.shared.change(|_| ());
        }
    }
}

/// The right to one connection to one host; given back when dropped.
#[derive(Debug)]
pub struct ConnectionPermit {
    holder: PermitHolder,
    host: Arc<str>,
}

impl ConnectionPermit {
    /// Whether this connection should end after its current request: another task has fewer and waits, or a cap was
    /// lowered. One relaxed load each while nobody waits.
    pub fn is_wanted(&self) -> bool {
        let shared = &self.holder.registration.shared;
        let may_be_wanted = shared.waiting.load(Ordering::Relaxed) > 0 || shared.over_cap.load(Ordering::Relaxed) > 0;
        may_be_wanted && shared.state.lock().is_wanted(self.holder.registration.id, &self.host, Instant::now())
    }

    /// The host this place is for.
    pub fn host(&self) -> &str {
        &self.host
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let registration = &self.holder.registration;
        registration.shared.change(|state| state.release(registration.id, &self.host));
    }
}
