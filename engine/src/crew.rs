//! The connections of one download: how many, which of them are too slow or silent, and what their ends mean.

mod meter;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio_util::task::TaskTracker;

use self::meter::Meter;
use crate::error::{Error, Result};
use crate::limit::{AdaptiveConnections, Sample};
use crate::part::{Interrupt, work};
use crate::probe::Answer;
use crate::retry::{backoff, jitter, retries_worth};
use crate::transfer::{Transfer, Worker};

/// How often rates are taken and silence is noticed.
const TICK: Duration = Duration::from_millis(100);
/// An origin that answers later than this is far away, or slow to think: several connections pay for themselves.
const FAR: Duration = Duration::from_millis(15);
/// A download that would take longer than this on one connection that is not busy skips the first doublings.
const LONG: Duration = Duration::from_secs(2);
/// What such a download begins with.
const LONG_START: u32 = 8;
/// Origins send in bursts (nginx: four a second), so shorter samples of several connections are noise.
const STEADY_SAMPLE: Duration = Duration::from_millis(250);
/// Less than this is fetched sooner than a second connection is made.
const WORTH_SPLITTING_BYTES: u64 = 4 * 1024 * 1024;
/// Most connections the search may reach; a caller may ask for more.
const SEARCH_CEILING: u32 = 16;
/// A connection that spends more of its time than this in hashing and writing is not waiting for the network.
const BUSY_SHARE: f64 = 0.3;
/// A connection has this long to reach its speed.
const GRACE: Duration = Duration::from_secs(5);
/// A connection that has brought bytes and then none for so long is replaced: a fresh one is cheaper than to wait for the
/// idle timeout, which has to be patient with origins that think before they answer.
const SILENCE: Duration = Duration::from_secs(5);
/// Below this part of the median a connection is replaced.
const TOO_SLOW_SHARE: f64 = 0.3;
/// After so many answers in a row that contradict themselves the whole is asked for instead of ranges.
const MOST_LIES: u32 = 2;
/// So many replacements per download: an origin that is slow everywhere is not helped by reconnecting.
const MOST_REPLACEMENTS: u32 = 16;

/// The bounds a crew works under.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// Exact number of connections; `None` finds it.
    pub connections: Option<u32>,
    /// Consecutive failures without a new byte.
    pub retries: u32,
    /// Silence of one connection, and the window of `minimum_speed`.
    pub idle_timeout: Duration,
    /// Bytes per second over `idle_timeout`; 0 is off.
    pub minimum_speed: u64,
    /// From request to head of the first answer.
    pub first_byte: Duration,
}

/// Why a crew could not finish; the download decides how to go on.
#[derive(Debug)]
pub enum Setback {
    /// Nothing more can be done.
    Failed(Error),
    /// The origin's file is another version now.
    Changed(String),
    /// The origin no longer serves ranges.
    RangeIgnored,
}

impl From<Error> for Setback {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

struct Member {
    worker: Arc<Worker>,
    abort: AbortHandle,
    started: Instant,
    last_bytes: u64,
    heard_at: Instant,
    is_replaced: bool,
    timed_out: bool,
}

struct Crew<'a> {
    transfer: &'a Arc<Transfer>,
    terms: Terms,
    members: HashMap<Id, Member>,
    tasks: JoinSet<Result<(), Interrupt>>,
    spawned: &'a TaskTracker,
    next_id: u32,
    search: AdaptiveConnections,
    ceiling: u32,
    replacements: u32,
    failures: u32,
    bytes_at_failure: u64,
    resume_at: Option<Instant>,
    has_dropped_if_range: bool,
    is_unwelcome: bool,
    has_jumped: bool,
    started: Instant,
}

/// Fetches everything the transfer misses. `first` is the answer that is already there.
pub async fn fetch_all(
    transfer: &Arc<Transfer>,
    terms: Terms,
    first: Answer,
    spawned: &TaskTracker,
) -> Result<(), Setback> {
    let missing = transfer.missing_bytes();
    let ceiling = terms.connections.unwrap_or(SEARCH_CEILING);
    let start = match terms.connections {
        Some(exact) => exact,
        None if terms.first_byte >= FAR && missing >= 2 * WORTH_SPLITTING_BYTES => {
            u32::try_from(missing / WORTH_SPLITTING_BYTES).unwrap_or(u32::MAX).clamp(1, SEARCH_CEILING)
        }
        None => 1,
    };
    let mut crew = Crew {
        transfer,
        terms,
        members: HashMap::new(),
        tasks: JoinSet::new(),
        spawned,
        next_id: 0,
        search: AdaptiveConnections::starting_at(start, ceiling),
        ceiling,
        replacements: 0,
        failures: 0,
        bytes_at_failure: transfer.progress.fetched(),
        resume_at: None,
        has_dropped_if_range: false,
        is_unwelcome: false,
        has_jumped: start > 1,
        started: Instant::now(),
    };
    crew.launch(Some(first));
    let outcome = crew.run().await;
    crew.tasks.shutdown().await;
    for member in crew.members.values() {
        transfer.reclaim(&member.worker);
    }
    transfer.progress.set_connections(0);
    let recorded = transfer.record();
    outcome.and_then(|()| recorded.map_err(Setback::Failed))
}

impl Crew<'_> {
    async fn run(&mut self) -> Result<(), Setback> {
        let mut meter = Meter::new(self.transfer.progress.fetched());
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut sampling = tokio::time::interval(TICK);
        sampling.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        ticks.tick().await;
        sampling.tick().await;
        self.staff();
        while !self.transfer.is_complete() {
            let pause = self.resume_at.map(tokio::time::Instant::from_std);
            tokio::select! {
                Some(ended) = self.tasks.join_next_with_id() => self.on_end(ended)?,
                _ = sampling.tick(), if self.is_searching() => self.sample(&mut meter),
                _ = ticks.tick() => self.on_tick(&mut meter)?,
                () = sleep_until(pause), if pause.is_some() => self.resume_at = None,
            }
            self.staff();
        }
        Ok(())
    }

    fn is_searching(&self) -> bool {
        self.terms.connections.is_none()
    }

    fn wanted(&self) -> u32 {
        if self.is_searching() { self.search.target() } else { self.ceiling }
    }

    /// Brings the number of connections to the wanted one.
    fn staff(&mut self) {
        if self.resume_at.is_some_and(|at| at > Instant::now()) || self.transfer.is_complete() {
            return;
        }
        let wanted = self.wanted().max(1);
        self.transfer.want_connections(wanted);
        let active = self.members.values().filter(|member| !member.worker.is_retired()).count() as u32;
        if active > wanted {
            // Those that bring nothing yet go first: where one is served, it is not they who are.
            let mut newest: Vec<&Member> = self.members.values().filter(|member| !member.worker.is_retired()).collect();
            newest.sort_by_key(|member| (member.worker.bytes() > 0, std::cmp::Reverse(member.worker.id)));
            newest.iter().take((active - wanted) as usize).for_each(|member| member.worker.retire());
        }
        // A retired one ends after the group in its hands and has its place at the origin until then.
        let present = if self.is_unwelcome { self.members.len() as u32 } else { active };
        for _ in present..wanted {
            if !self.members.is_empty() && !self.is_worth_another() {
                break;
            }
            self.launch(None);
        }
        self.transfer.progress.set_connections(self.members.len() as u32);
    }

    /// Whether one more would have a place at the host, and groups: waiting, or a tail long enough to be stolen.
    fn is_worth_another(&self) -> bool {
        (self.transfer.has_waiting() || self.transfer.has_loot()) && self.transfer.has_place()
    }

    fn launch(&mut self, first: Option<Answer>) {
        let worker = Worker::new(self.next_id);
        self.next_id += 1;
        self.transfer.admit(&worker);
        if first.is_some() {
            self.transfer.take_all(&worker);
        }
        let abort = self.tasks.spawn(self.spawned.track_future(work(self.transfer.clone(), worker.clone(), first)));
        let now = Instant::now();
        let member = Member {
            worker,
            started: now,
            last_bytes: 0,
            heard_at: now,
            is_replaced: false,
            timed_out: false,
            abort: abort.clone(),
        };
        self.members.insert(abort.id(), member);
    }

    fn on_end(&mut self, ended: Result<(Id, Result<(), Interrupt>), JoinError>) -> Result<(), Setback> {
        let (id, result) = match ended {
            Ok(ended) => ended,
            Err(cause) if cause.is_cancelled() => (cause.id(), Ok(())),
            Err(cause) => std::panic::resume_unwind(cause.into_panic()),
        };
        let Some(member) = self.members.remove(&id) else { return Ok(()) };
        self.transfer.reclaim(&member.worker);
        let result = if member.timed_out { Err(Interrupt::Failed(self.silence())) } else { result };
        match result {
            Ok(()) => Ok(()),
            Err(Interrupt::RangeIgnored) if !self.has_dropped_if_range => {
                // Some CDNs answer 200 whenever they see an ETag in If-Range; the version is checked either way.
                self.has_dropped_if_range = true;
                self.transfer.sends_if_range.store(false, Relaxed);
                Ok(())
            }
            // What an extra connection is told says nothing about the bytes the others are bringing: they are of one version.
            Err(Interrupt::Changed(_) | Interrupt::RangeIgnored) if !self.members.is_empty() => {
                self.go_on_without();
                Ok(())
            }
            Err(Interrupt::Changed(detail)) => Err(Setback::Changed(detail)),
            Err(Interrupt::RangeIgnored) => Err(Setback::RangeIgnored),
            Err(Interrupt::Failed(error)) => self.on_failure(error),
        }
    }

    /// The origin evidently does not want this many. Whoever was sent away is not replaced while others work.
    fn go_on_without(&mut self) {
        self.is_unwelcome = true;
        self.ceiling = (self.members.len() as u32).max(1);
        self.search.set_ceiling(self.ceiling);
    }

    fn on_failure(&mut self, error: Error) -> Result<(), Setback> {
        if matches!(error, Error::UrlExpired { .. } | Error::HttpStatus { status: 404, .. })
            && self.return_to_original_url()
        {
            return Ok(());
        }
        let fetched = self.transfer.progress.fetched();
        if fetched > self.bytes_at_failure {
            self.failures = 0;
        }
        self.bytes_at_failure = fetched;
        let is_alone = self.members.is_empty();
        if is_alone && matches!(error, Error::HttpStatus { status: 400 | 405 | 501, .. }) {
            return Err(Setback::RangeIgnored);
        }
        let is_fatal = !error.retryable() && !matches!(error, Error::OriginLied { .. });
        if is_fatal && (is_alone || matches!(error, Error::Storage { .. } | Error::EgressDenied(_))) {
            return Err(Setback::Failed(error));
        }
        if matches!(error, Error::DiskFull { .. }) {
            return Err(Setback::Failed(error));
        }
        let asked = match &error {
            Error::HttpStatus { retry_after, .. } => *retry_after,
            _ => None,
        };
        self.search.push_back(self.started.elapsed());
        if !is_alone {
            self.go_on_without();
            if let Some(pause) = asked {
                self.push_back_host(pause);
            }
            return Ok(());
        }
        self.failures += 1;
        if matches!(error, Error::OriginLied { .. }) {
            if self.failures > MOST_LIES.min(self.terms.retries) {
                return Err(Setback::RangeIgnored);
            }
        } else if self.failures > retries_worth(&error, self.terms.retries, self.has_bytes()) {
            return Err(Setback::Failed(error));
        }
        let pause = backoff(self.failures, asked, jitter());
        self.transfer.progress.wait_for(Some(crate::retry::next_try(pause, &error)));
        if matches!(error, Error::HttpStatus { status: 429 | 503, .. }) {
            self.push_back_host(pause);
        }
        self.resume_at = Some(Instant::now() + pause);
        Ok(())
    }

    fn has_bytes(&self) -> bool {
        self.transfer.progress.fetched() + self.transfer.progress.resumed() > 0
    }

    /// Whether a fresh connection may take the place of one that is silent or slow.
    fn may_replace(&self) -> bool {
        let is_only_one = self.is_unwelcome && self.members.len() == 1;
        self.replacements < MOST_REPLACEMENTS && !is_only_one && !self.transfer.limiter.is_limited()
    }

    /// Says what is waited for, when it is anything but bytes.
    fn say_waiting(&self) {
        if self.resume_at.is_some() {
            return;
        }
        let is_asking = !self.members.is_empty() && self.members.values().all(|member| member.worker.is_asking());
        let host = is_asking.then(|| self.transfer.url.lock().host_str().unwrap_or_default().to_owned());
        self.transfer.progress.wait_for(host.map(|host| format!("the answer of {host}")));
    }

    fn push_back_host(&self, pause: Duration) {
        let host = self.transfer.url.lock().host_str().unwrap_or_default().to_owned();
        self.transfer.client.push_back(&host, pause);
    }

    /// Redirects to signed URLs expire: then the URL the download began with gives a new one.
    fn return_to_original_url(&self) -> bool {
        let mut url = self.transfer.url.lock();
        let has_moved = *url != self.transfer.spec.url;
        *url = self.transfer.spec.url.clone();
        has_moved
    }

    fn silence(&self) -> Error {
        let place = self.transfer.url.lock().host_str().unwrap_or_default().to_owned();
        Error::Timeout { what: "the silence", place, seconds: self.terms.idle_timeout.as_secs_f64() }
    }

    fn on_tick(&mut self, meter: &mut Meter) -> Result<(), Setback> {
        let now = Instant::now();
        self.transfer.progress.set_speed(meter.tick(now, self.transfer.progress.fetched()));
        self.say_waiting();
        let may_replace = self.may_replace();
        for member in self.members.values_mut() {
            member.tick(now);
            if !member.worker.is_reading() {
                continue;
            }
            let silent = now - member.heard_at;
            if silent >= self.terms.idle_timeout {
                member.timed_out = true;
                member.abort.abort();
            } else if may_replace && silent >= SILENCE && member.worker.bytes() > 0 && !member.is_replaced {
                member.is_replaced = true;
                member.abort.abort();
                self.replacements += 1;
            }
        }
        self.replace_slowest(now);
        self.transfer.record()?;
        if self.terms.minimum_speed > 0 && meter.is_below(now, self.terms.minimum_speed, self.terms.idle_timeout) {
            let place = self.transfer.url.lock().host_str().unwrap_or_default().to_owned();
            let seconds = self.terms.idle_timeout.as_secs_f64();
            return Err(Setback::Failed(Error::Timeout { what: "the crawl below the minimum speed", place, seconds }));
        }
        Ok(())
    }

    /// Ends the slowest connection when it is far below the others; its groups go to whoever asks next.
    fn replace_slowest(&mut self, now: Instant) {
        if self.members.len() < 3 || !self.may_replace() {
            return;
        }
        let mut rates: Vec<f64> = self.members.values().map(|member| member.worker.rate()).collect();
        rates.sort_by(f64::total_cmp);
        let median = rates[rates.len() / 2];
        let is_slow = |member: &&mut Member| {
            !member.is_replaced
                && member.worker.is_reading()
                && now - member.started > GRACE
                && member.worker.rate() < TOO_SLOW_SHARE * median
        };
        let slowest =
            self.members.values_mut().filter(is_slow).min_by(|a, b| a.worker.rate().total_cmp(&b.worker.rate()));
        if let Some(member) = slowest {
            member.is_replaced = true;
            member.abort.abort();
            self.replacements += 1;
        }
    }

    fn sample(&mut self, meter: &mut Meter) {
        let now = Instant::now();
        let active = self.members.values().filter(|member| member.worker.is_reading()).count() as u32;
        let busy: Duration = self.members.values().map(|member| member.worker.busy()).sum();
        let shortest = if active > 1 { STEADY_SAMPLE } else { Duration::ZERO };
        let Some(window) = meter.sample(now, self.transfer.progress.fetched(), busy, active, shortest) else { return };
        let is_busy = window.busy.as_secs_f64() > BUSY_SHARE * f64::from(active) * window.elapsed.as_secs_f64();
        if is_busy || self.transfer.limiter.is_limited() {
            return;
        }
        let rate = window.bytes as f64 / window.elapsed.as_secs_f64();
        let remaining_seconds = self.transfer.missing_bytes() as f64 / rate.max(1.0);
        if remaining_seconds < 4.0 * self.terms.first_byte.as_secs_f64() + 0.1 {
            return;
        }
        if !self.has_jumped && remaining_seconds > LONG.as_secs_f64() {
            self.has_jumped = true;
            self.search = AdaptiveConnections::starting_at(LONG_START, self.ceiling);
            return;
        }
        let sample = Sample { connections: active, bytes: window.bytes, elapsed: window.elapsed };
        self.search.observe(now - self.started, sample);
    }
}

impl Member {
    fn tick(&mut self, now: Instant) {
        let bytes = self.worker.bytes();
        let new = (bytes - self.last_bytes) as f64 / TICK.as_secs_f64();
        let old = self.worker.rate();
        self.worker.set_rate(if old == 0.0 { new } else { 0.7 * old + 0.3 * new });
        if bytes != self.last_bytes || !self.worker.is_reading() {
            self.heard_at = now;
        }
        self.last_bytes = bytes;
    }
}

async fn sleep_until(at: Option<tokio::time::Instant>) {
    if let Some(at) = at {
        tokio::time::sleep_until(at).await;
    }
}
