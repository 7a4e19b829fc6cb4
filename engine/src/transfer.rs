//! What the connections of one download share: the plan, the ledger of finished groups, the hashes, the file.

mod chain;
mod ledger;
mod work;
mod worker;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use url::Url;

use self::chain::Chain;
use self::ledger::Ledger;
use self::work::{Work, part_groups};
pub use self::worker::{Phase, Worker};
use crate::error::{Error, Result};
use crate::hash::{Algorithm, GROUP_BYTES, GroupHasher, Proof, ProofKind, Sequential, merge_blake3};
use crate::journal::{Begun, Journal};
use crate::likeness::Likeness;
use crate::limit::TaskLimiter;
use crate::net::{Client, FetchSpec};
use crate::plan::{Plan, Span, choose_theft, group_bytes, group_count};
use crate::probe::Version;
use crate::progress::Progress;
use crate::sink::PartFile;

/// Groups that may be on disk without being in the journal: 4 MiB.
const MOST_UNRECORDED_GROUPS: usize = 8;
/// Bytes hashed behind the frontier per finished group, so that nobody stalls on a long catch-up.
const CATCH_UP_BYTES: u64 = 4 * 1024 * 1024;

/// A download in ranges.
pub struct Transfer {
    /// The HTTP client.
    pub client: Client,
    /// Template of every request.
    pub spec: FetchSpec,
    /// Where ranges are asked: the end of the redirects, or the original URL again when that has expired.
    pub url: Mutex<Url>,
    /// The version all bytes must be of.
    pub version: Version,
    /// What every answer must resemble.
    pub likeness: Likeness,
    /// Whether the bytes before the missing ones are asked for as well and compared: there is no validator.
    pub trusts_length: bool,
    /// Length of the file.
    pub total: u64,
    /// Upper bound of one request.
    pub max_range_bytes: u64,
    /// Off for origins that answer 200 to an `If-Range` they should honour.
    pub sends_if_range: AtomicBool,
    /// The task's rate limit.
    pub limiter: TaskLimiter,
    /// The task's numbers.
    pub progress: Arc<Progress>,
    /// Rung when a connection ends, or when the first one beside the first has its range.
    pub verdict: Notify,
    has_second: AtomicBool,
    part: Arc<PartFile>,
    proof_kind: ProofKind,
    work: Mutex<Work>,
    ledger: Mutex<Ledger>,
    chain: Mutex<Chain>,
}

/// A group being fetched.
pub struct Piece {
    /// Which one.
    pub group: u32,
    /// The next byte of the file to write.
    pub position: u64,
    /// First byte behind the group.
    pub end: u64,
    /// What it has of its proof.
    pub hasher: GroupHasher,
}

/// What a transfer starts from.
pub struct Start {
    /// See [`Transfer::client`].
    pub client: Client,
    /// See [`Transfer::spec`].
    pub spec: FetchSpec,
    /// See [`Transfer::url`].
    pub url: Url,
    /// See [`Transfer::version`].
    pub version: Version,
    /// See [`Transfer::likeness`].
    pub likeness: Likeness,
    /// See [`Transfer::trusts_length`].
    pub trusts_length: bool,
    /// See [`Transfer::total`].
    pub total: u64,
    /// See [`Transfer::max_range_bytes`].
    pub max_range_bytes: Option<u64>,
    /// See [`Transfer::limiter`].
    pub limiter: TaskLimiter,
    /// See [`Transfer::progress`].
    pub progress: Arc<Progress>,
    /// The open part file.
    pub part: Arc<PartFile>,
    /// Its journal, begun or recovered.
    pub journal: Journal,
    /// What is on disk already.
    pub proofs: Vec<Option<Proof>>,
    /// What of the others is.
    pub begun: Vec<Piece>,
    /// What to compute.
    pub algorithms: Vec<Algorithm>,
    /// From request to head of the first answer.
    pub first_byte: Duration,
}

impl Transfer {
    /// Plans the groups that are missing.
    pub fn new(start: Start) -> Arc<Self> {
        let groups = group_count(start.total);
        let mut proofs = start.proofs;
        proofs.resize(groups as usize, None);
        let plan = Plan::new(groups, |group| proofs[group as usize].is_some());
        let missing = proofs.iter().filter(|proof| proof.is_none()).count() as u32;
        let hashes = Sequential::new(&start.algorithms, false);
        let is_idle = hashes.is_idle();
        Arc::new(Self {
            client: start.client,
            spec: start.spec,
            url: Mutex::new(start.url),
            version: start.version,
            likeness: start.likeness,
            trusts_length: start.trusts_length,
            total: start.total,
            max_range_bytes: start.max_range_bytes.unwrap_or(u64::MAX),
            sends_if_range: AtomicBool::new(true),
            limiter: start.limiter,
            progress: start.progress,
            verdict: Notify::new(),
            has_second: AtomicBool::new(false),
            part: start.part,
            proof_kind: ProofKind::for_algorithms(&start.algorithms),
            work: Mutex::new(Work {
                plan,
                partials: start.begun.into_iter().map(|piece| (piece.group, piece)).collect(),
                workers: Vec::new(),
                wanted_connections: 1,
                setup_seconds: start.first_byte.as_secs_f64().max(0.001),
            }),
            ledger: Mutex::new(Ledger { journal: start.journal, proofs, missing, unrecorded: Vec::new() }),
            chain: Mutex::new(Chain { algorithms: start.algorithms, hashes, is_idle }),
        })
    }

    /// Bytes of groups that are not finished.
    pub fn missing_bytes(&self) -> u64 {
        u64::from(self.ledger.lock().missing) * GROUP_BYTES
    }

    /// Whether every group is on disk.
    pub fn is_complete(&self) -> bool {
        self.ledger.lock().missing == 0
    }

    /// Whether groups wait for somebody to take them.
    pub fn has_waiting(&self) -> bool {
        self.work.lock().plan.waiting_groups() > 0
    }

    /// Whether a connection has a tail that is worth stealing.
    pub fn has_loot(&self) -> bool {
        let work = self.work.lock();
        let mean = work.workers.iter().map(|worker| worker.rate()).sum::<f64>() / work.workers.len().max(1) as f64;
        choose_theft(&work.victims(u32::MAX), mean, work.setup_seconds).is_some()
    }

    /// Whether the caps leave room for one more connection now, with nobody else waiting for it.
    pub fn has_place(&self) -> bool {
        let url = self.url.lock();
        let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        self.spec.holder.as_ref().is_none_or(|holder| holder.try_acquire(host).is_some())
    }

    /// Takes notice of a new connection.
    pub fn admit(&self, worker: &Arc<Worker>) {
        self.work.lock().workers.push(worker.clone());
    }

    /// The number of connections that parts are cut for.
    pub fn want_connections(&self, wanted: u32) {
        let mut work = self.work.lock();
        work.wanted_connections = wanted.max(1);
        if wanted > 1 && work.plan.waiting_groups() == 0 {
            // The first connection took everything; from now on it keeps a part, and the rest waits in order.
            let spans: Vec<Arc<Span>> = work.workers.iter().filter_map(|worker| worker.span.lock().clone()).collect();
            if let [only] = spans.as_slice() {
                let unclaimed = only.unclaimed();
                let keep = part_groups(f64::from(unclaimed.end - unclaimed.start) / f64::from(wanted), 0.0);
                if let Some(rest) = only.cut(keep) {
                    work.plan.give_back(rest);
                }
            }
        }
    }

    /// The next groups for a connection: waiting ones in order, else the tail of whoever needs longest.
    pub fn next_span(&self, worker: &Worker) -> Option<Arc<Span>> {
        let mut work = self.work.lock();
        let range = work.take(worker).or_else(|| work.steal(worker))?;
        let span = Arc::new(Span::new(range));
        *worker.span.lock() = Some(span.clone());
        Some(span)
    }

    /// The next group for a connection whose body goes on behind its span, at `first`: what waits there is its own, since
    /// to ask for it again costs a round trip, and is refused where an address works once.
    pub fn extend(&self, worker: &Worker, span: &Span, first: u32) -> Option<u32> {
        let mut work = self.work.lock();
        span.refill(work.take_at(worker, first)?);
        span.claim()
    }

    /// A connection that asked for a range has got it: the origin serves more than one.
    pub fn greet_second(&self) {
        if !self.has_second.swap(true, Relaxed) {
            self.verdict.notify_waiters();
        }
    }

    /// Whether somebody else is at work and nobody knows yet whether the origin serves more than one.
    pub fn is_undecided(&self) -> bool {
        !self.has_second.load(Relaxed) && self.work.lock().workers.len() > 1
    }

    /// Reads what is on disk.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        self.part.read_at(buffer, offset)
    }

    /// Everything that is left goes to the one connection that has the open-ended first answer.
    pub fn take_all(&self, worker: &Worker) {
        let mut work = self.work.lock();
        let limit = if self.max_range_bytes == u64::MAX { u32::MAX } else { group_count(self.max_range_bytes) };
        if let Some(range) = work.plan.take(limit) {
            *worker.span.lock() = Some(Arc::new(Span::new(range)));
        }
    }

    /// The span that [`Transfer::take_all`] or an earlier call gave, if it has unclaimed groups.
    pub fn current_span(&self, worker: &Worker) -> Option<Arc<Span>> {
        worker.span.lock().clone().filter(|span| !span.unclaimed().is_empty())
    }

    /// Begins a claimed group, or goes on where a broken connection left it.
    pub fn begin(&self, worker: &Worker, group: u32) -> Piece {
        *worker.holding.lock() = Some(group);
        let piece = self.work.lock().partials.remove(&group);
        let bytes = group_bytes(group, self.total);
        let piece = piece.unwrap_or_else(|| Piece {
            group,
            position: bytes.start,
            end: bytes.end,
            hasher: GroupHasher::new(self.proof_kind, bytes.start, self.total),
        });
        worker.group_bytes.store(piece.position - bytes.start, Relaxed);
        piece
    }

    /// Hashes and writes the next bytes of the piece.
    pub fn write(&self, worker: &Worker, piece: &mut Piece, bytes: &[u8]) -> Result<()> {
        // Only what is on disk is hashed: a piece whose write failed may be gone on with.
        self.part.write_at(bytes, piece.position)?;
        piece.hasher.update(bytes);
        self.chain.lock().feed(piece.position, bytes);
        crate::faultpoint!("K6");
        piece.position += bytes.len() as u64;
        worker.group_bytes.fetch_add(bytes.len() as u64, Relaxed);
        worker.bytes.fetch_add(bytes.len() as u64, Relaxed);
        self.progress.add(bytes.len() as u64);
        Ok(())
    }

    /// Enters a finished group into the ledger.
    pub fn finish(&self, worker: &Worker, piece: Piece) -> Result<()> {
        *worker.holding.lock() = None;
        worker.group_bytes.store(0, Relaxed);
        let proof = piece.hasher.finish();
        let mut ledger = self.ledger.lock();
        ledger.proofs[piece.group as usize] = Some(proof);
        ledger.missing -= 1;
        ledger.unrecorded.push(piece.group);
        if ledger.unrecorded.len() >= MOST_UNRECORDED_GROUPS {
            ledger.record()?;
        }
        drop(ledger);
        self.catch_up(CATCH_UP_BYTES)
    }

    /// Keeps an unfinished piece for whoever claims its group next, or for the next execution.
    pub fn save(&self, worker: &Worker, piece: Piece) {
        worker.group_bytes.store(0, Relaxed);
        self.work.lock().partials.insert(piece.group, piece);
    }

    /// Takes back what a connection that ended has not finished. What it wrote of a group whose hash state was lost
    /// with it is fetched again.
    pub fn reclaim(&self, worker: &Arc<Worker>) {
        let mut work = self.work.lock();
        work.workers.retain(|other| !Arc::ptr_eq(other, worker));
        if let Some(group) = worker.holding.lock().take() {
            work.plan.give_back(group..group + 1);
            let lost = worker.group_bytes.swap(0, Relaxed);
            if lost > 0 {
                self.progress.take_back(lost);
                self.chain.lock().rewind_if_past(u64::from(group) * GROUP_BYTES);
            }
        }
        if let Some(span) = worker.span.lock().take() {
            while let Some(group) = span.claim() {
                work.plan.give_back(group..group + 1);
            }
        }
        drop(work);
        self.verdict.notify_waiters();
    }

    /// Puts what a stopped download has of unfinished groups into the journal, from the file and not from memory.
    fn record_begun(&self) -> Result<()> {
        let mut ledger = self.ledger.lock();
        for piece in self.work.lock().partials.values() {
            let start = group_bytes(piece.group, self.total).start;
            let mut bytes = vec![0; (piece.position - start) as usize];
            if !bytes.is_empty() {
                self.part.read_at(&mut bytes, start)?;
                let (length, digest) = (bytes.len() as u32, *blake3::hash(&bytes).as_bytes());
                ledger.journal.append_begun(&Begun { group: piece.group, length, digest })?;
            }
        }
        Ok(())
    }

    /// Puts finished groups into the journal.
    pub fn record(&self) -> Result<()> {
        self.ledger.lock().record()
    }

    /// Hashes what is finished but not yet hashed in order, at most `limit` bytes of it.
    fn catch_up(&self, limit: u64) -> Result<()> {
        let Some(mut chain) = self.chain.try_lock() else { return Ok(()) };
        if chain.is_idle {
            return Ok(());
        }
        let finished = {
            let ledger = self.ledger.lock();
            let from = (chain.hashes.position() / GROUP_BYTES) as usize;
            let run = ledger.proofs[from.min(ledger.proofs.len())..].iter().take_while(|proof| proof.is_some()).count();
            ((from + run) as u64 * GROUP_BYTES).min(self.total)
        };
        chain.catch_up(&self.part, finished, limit)
    }

    /// All digests, from the proofs and what is left to hash in order. The transfer must be complete.
    pub fn digests(&self) -> Result<Vec<(Algorithm, String)>> {
        let mut chain = self.chain.lock();
        if !chain.is_idle {
            chain.catch_up(&self.part, self.total, u64::MAX)?;
        }
        let mut digests = std::mem::take(&mut chain.hashes).finish();
        if self.proof_kind == ProofKind::Blake3 {
            let proofs: Option<Vec<Proof>> = self.ledger.lock().proofs.iter().copied().collect();
            let proofs = proofs.ok_or_else(|| Error::InvalidRequest("the transfer is not complete".to_owned()))?;
            digests.push((Algorithm::Blake3, crate::hash::hex(&merge_blake3(&proofs, self.total))));
        }
        Ok(digests)
    }
}

impl Drop for Transfer {
    /// The last connection has let go: a pause, a cancellation or a failure keeps every byte that is on disk.
    fn drop(&mut self) {
        let _ = self.record().and_then(|()| self.record_begun());
    }
}
