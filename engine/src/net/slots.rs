//! How many connections may be in use: in total and per host, shared by all tasks, first come first served.
//!
//! A host that says 429 or 503 is given half of what it had, for every task, and a pause; each success later gives one
//! connection back.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// The caps and who waits for them.
pub struct Slots {
    state: Mutex<State>,
}

struct State {
    total_cap: usize,
    host_cap: usize,
    in_use: usize,
    hosts: HashMap<Arc<str>, Host>,
}

#[derive(Default)]
struct Host {
    in_use: usize,
    /// Lower than the common cap after the host complained.
    cap: Option<usize>,
    paused_until: Option<Instant>,
    waiting: VecDeque<oneshot::Sender<Slot>>,
}

/// The right to use one connection; returned when dropped.
pub struct Slot {
    slots: Arc<Slots>,
    host: Arc<str>,
}

impl Slots {
    /// At most `total_cap` connections, at most `host_cap` to one host.
    pub fn new(total_cap: usize, host_cap: usize) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State { total_cap, host_cap, in_use: 0, hosts: HashMap::new() }) })
    }

    /// Changes the caps; connections in use stay.
    pub fn set_caps(self: &Arc<Self>, total_cap: Option<usize>, host_cap: Option<usize>) {
        let granted = {
            let mut state = self.state.lock();
            state.total_cap = total_cap.unwrap_or(state.total_cap).max(1);
            state.host_cap = host_cap.unwrap_or(state.host_cap).max(1);
            self.grant(&mut state)
        };
        deliver(granted);
    }

    /// Waits for a slot, and for the end of the host's pause.
    pub async fn acquire(self: &Arc<Self>, host: &Arc<str>) -> Slot {
        loop {
            let pause = self.pause(host);
            if pause.is_zero() {
                break;
            }
            tokio::time::sleep(pause).await;
        }
        let receiver = {
            let mut state = self.state.lock();
            if state.has_room(host) && state.hosts.get(host).is_none_or(|known| known.waiting.is_empty()) {
                return self.take(&mut state, host);
            }
            let (sender, receiver) = oneshot::channel();
            state.hosts.entry(host.clone()).or_default().waiting.push_back(sender);
            receiver
        };
        match receiver.await {
            Ok(slot) => slot,
            // The sender lives in `self.state`, which we hold: it cannot be dropped unsent.
            Err(_) => unreachable!("a waiting connection lost its place"),
        }
    }

    /// Whether one more connection to the host would not have to wait, and nobody else waits for it.
    pub fn has_room(&self, host: &str) -> bool {
        let state = self.state.lock();
        state.has_room(host)
            && state.hosts.values().all(|known| known.waiting.is_empty())
            && state.hosts.get(host).is_none_or(|known| known.paused_until.is_none_or(|until| until <= Instant::now()))
    }

    /// Whether somebody waits for a connection that this host, or the total, does not give.
    pub fn is_contended(&self, host: &str) -> bool {
        let state = self.state.lock();
        let waits = |known: &Host| !known.waiting.is_empty();
        state.hosts.get(host).is_some_and(waits) || (state.in_use >= state.total_cap && state.hosts.values().any(waits))
    }

    /// The host asked for less: halves its cap and pauses it.
    pub fn penalize(&self, host: &Arc<str>, pause: Duration) {
        let mut state = self.state.lock();
        let host_cap = state.host_cap;
        let known = state.hosts.entry(host.clone()).or_default();
        let had = known.in_use.min(known.cap.unwrap_or(host_cap));
        known.cap = Some((had / 2).max(1));
        let until = Instant::now() + pause;
        known.paused_until = Some(known.paused_until.map_or(until, |known| known.max(until)));
    }

    /// The host served a request: one more connection towards the common cap.
    pub fn reward(&self, host: &str) {
        let mut state = self.state.lock();
        let host_cap = state.host_cap;
        if let Some(known) = state.hosts.get_mut(host)
            && let Some(cap) = known.cap
        {
            known.cap = (cap + 1 < host_cap).then_some(cap + 1);
        }
    }

    /// How long the host is still paused.
    pub fn pause(&self, host: &str) -> Duration {
        let until = self.state.lock().hosts.get(host).and_then(|known| known.paused_until);
        until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()))
    }

    fn take(self: &Arc<Self>, state: &mut State, host: &Arc<str>) -> Slot {
        state.in_use += 1;
        state.hosts.entry(host.clone()).or_default().in_use += 1;
        Slot { slots: self.clone(), host: host.clone() }
    }

    /// Hands free slots to those who wait; they are delivered outside the lock, because a receiver that is gone
    /// gives its slot back at once.
    fn grant(self: &Arc<Self>, state: &mut State) -> Vec<(oneshot::Sender<Slot>, Slot)> {
        let mut granted = Vec::new();
        let names: Vec<Arc<str>> =
            state.hosts.iter().filter(|(_, host)| !host.waiting.is_empty()).map(|(name, _)| name.clone()).collect();
        for name in names {
            while state.has_room(&name) {
                let Some(sender) = state.hosts.get_mut(&name).and_then(|host| host.waiting.pop_front()) else { break };
                if !sender.is_closed() {
                    granted.push((sender, self.take(state, &name)));
                }
            }
        }
        granted
    }
}

impl State {
    fn has_room(&self, host: &str) -> bool {
        let (in_use, cap) = self.hosts.get(host).map_or((0, None), |host| (host.in_use, host.cap));
        self.in_use < self.total_cap && in_use < cap.unwrap_or(self.host_cap).min(self.host_cap)
    }
}

fn deliver(granted: Vec<(oneshot::Sender<Slot>, Slot)>) {
    for (sender, slot) in granted {
        drop(sender.send(slot));
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let granted = {
            let mut state = self.slots.state.lock();
            state.in_use -= 1;
            if let Some(host) = state.hosts.get_mut(&self.host) {
                host.in_use -= 1;
                let is_forgettable = host.in_use == 0
                    && host.waiting.is_empty()
                    && host.cap.is_none()
                    && host.paused_until.is_none_or(|until| until <= Instant::now());
                if is_forgettable {
                    state.hosts.remove(&self.host);
                }
            }
            self.slots.grant(&mut state)
        };
        deliver(granted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str) -> Arc<str> {
        name.into()
    }

    #[tokio::test]
    async fn a_freed_slot_goes_to_whoever_waited_longest() {
        let slots = Slots::new(8, 1);
        let name = host("a");
        let first = slots.acquire(&name).await;
        let mut second = Box::pin(slots.acquire(&name));
        let mut third = Box::pin(slots.acquire(&name));
        assert!(futures_poll(&mut second).is_none() && futures_poll(&mut third).is_none());
        assert!(slots.is_contended("a"));
        drop(first);
        assert!(futures_poll(&mut third).is_none());
        let second = futures_poll(&mut second).expect("the longest waiting gets it");
        drop(second);
        assert!(futures_poll(&mut third).is_some());
    }

    #[tokio::test]
    async fn a_penalty_halves_and_successes_restore() {
        let slots = Slots::new(64, 8);
        let name = host("a");
        let mut held = Vec::new();
        for _ in 0..8 {
            held.push(slots.acquire(&name).await);
        }
        slots.penalize(&name, Duration::ZERO);
        held.truncate(4);
        assert!(!slots.has_room("a"));
        (0..4).for_each(|_| slots.reward("a"));
        assert!(slots.has_room("a"));
    }

    #[tokio::test]
    async fn a_waiter_that_gave_up_does_not_keep_the_slot() {
        let slots = Slots::new(1, 1);
        let (a, b) = (host("a"), host("b"));
        let first = slots.acquire(&a).await;
        let mut gone = Box::pin(slots.acquire(&b));
        assert!(futures_poll(&mut gone).is_none());
        drop(gone);
        drop(first);
        let mut next = Box::pin(slots.acquire(&b));
        assert!(futures_poll(&mut next).is_some());
    }

    fn futures_poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match std::pin::Pin::new(future).poll(&mut context) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        }
    }
}
