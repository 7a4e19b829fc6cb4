//! One connection at work: ask for a range, check the answer, stream it into the file group by group.
//!
//! Every answer is checked against what was asked and against the version the download began with. A body that ends
//! early is not an error while it brought something: the rest is asked for again, in a new range.

mod overlap;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

pub use self::overlap::overlap_of_resume;
use self::overlap::{compare, overlap_bytes};
use crate::error::{Error, Result, shown};
use crate::net::Body;
use crate::net::hot::HOT_BYTES;
use crate::plan::{Span, group_bytes};
use crate::probe::{Answer, Content, judge};
use crate::transfer::{Phase, Piece, Transfer, Worker};

/// A 206 may begin earlier than asked; more than this is thrown away for nobody.
const LONGEST_PREFIX_BYTES: u64 = 8 * 1024 * 1024;
/// The kernel wakes a reader when this much time's worth of bytes has come, or a full buffer.
const WAKE_INTERVAL: Duration = Duration::from_millis(100);
/// And never for more than this.
const MOST_AWAITED_BYTES: usize = 128 * 1024;
/// After this long without that many, it wakes for every byte again.
const PATIENCE: Duration = Duration::from_secs(2);
/// So long a body that goes on waits for whether the origin serves a second connection.
const VERDICT_PATIENCE: Duration = Duration::from_secs(2);

/// Why a connection stopped before its work was done.
#[derive(Debug)]
pub enum Interrupt {
    /// An error, perhaps a passing one.
    Failed(Error),
    /// The origin sent the whole file where a range was asked.
    RangeIgnored,
    /// The origin's file is another version than the one on disk.
    Changed(String),
}

impl From<Error> for Interrupt {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

enum Streamed {
    BodyEnded,
    NothingLeft,
}

/// Works until no groups are left for this connection, or it is retired.
pub async fn work(transfer: Arc<Transfer>, worker: Arc<Worker>, first: Option<Answer>) -> Result<(), Interrupt> {
    let mut given = first;
    loop {
        let Some(span) = transfer.current_span(&worker).or_else(|| transfer.next_span(&worker)) else { return Ok(()) };
        while let Some(group) = span.claim() {
            let piece = Some(transfer.begin(&worker, group));
            let mut held = Held { transfer: &transfer, worker: &worker, piece };
            let is_wanted = fetch(&transfer, &worker, &span, &mut held.piece, given.take()).await?;
            drop(held);
            if worker.is_retired() || is_wanted {
                return Ok(());
            }
        }
    }
}

/// The group in a connection's hands. Whatever ends the connection, a pause in the middle of a read included, what it
/// has of the group is kept.
struct Held<'a> {
    transfer: &'a Transfer,
    worker: &'a Worker,
    piece: Option<Piece>,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Some(unfinished) = self.piece.take() {
            self.transfer.save(self.worker, unfinished);
        }
    }
}

/// Fetches from the piece's position on until the span is used up; whether the connection is wanted elsewhere.
async fn fetch(
    transfer: &Transfer,
    worker: &Worker,
    span: &Span,
    piece: &mut Option<Piece>,
    mut given: Option<Answer>,
) -> Result<bool, Interrupt> {
    loop {
        let Some(current) = piece.as_ref() else { return Ok(false) };
        let first = current.position;
        worker.enter(Phase::Requesting);
        let is_given = given.is_some();
        let overlap =
            if is_given { overlap_of_resume(first, transfer.max_range_bytes) } else { overlap_bytes(transfer, first) };
        let answer = match given.take() {
            Some(answer) => answer,
            None => ask(transfer, first - overlap, last_byte(transfer, span, current)).await?,
        };
        let begins = check(transfer, &answer, first - overlap)?;
        if begins > first - overlap {
            return Err(Interrupt::Failed(Error::lied(&answer.response.final_url, "its part begins too late")));
        }
        if !is_given {
            transfer.greet_second();
        }
        let url = answer.response.final_url.clone();
        let mut body = answer.response.body;
        skip(&mut body, first - overlap - begins).await?;
        compare(transfer, &mut body, first - overlap..first).await?;
        match stream(transfer, worker, span, piece, &mut body).await? {
            Streamed::NothingLeft => return Ok(body.is_wanted()),
            Streamed::BodyEnded => {
                if piece.as_ref().is_some_and(|piece| piece.position == first) {
                    return Err(Interrupt::Failed(Error::Truncated {
                        place: shown(&url),
                        detail: "the answer brought no byte".to_owned(),
                    }));
                }
                let is_between_groups = piece
                    .as_ref()
                    .is_some_and(|piece| piece.position == group_bytes(piece.group, transfer.total).start);
                if is_between_groups && body.is_wanted() {
                    return Ok(true);
                }
            }
        }
    }
}

fn last_byte(transfer: &Transfer, span: &Span, piece: &Piece) -> u64 {
    let end = span.unclaimed().end.max(piece.group + 1);
    let end = group_bytes(end - 1, transfer.total).end;
    let first = piece.position - overlap_bytes(transfer, piece.position);
    end.min(first.saturating_add(transfer.max_range_bytes)) - 1
}

async fn ask(transfer: &Transfer, first: u64, last: u64) -> Result<Answer, Interrupt> {
    let mut spec = transfer.spec.clone();
    spec.url = transfer.url.lock().clone();
    spec.range = Some((first, Some(last)));
    spec.if_range =
        transfer.sends_if_range.load(Relaxed).then(|| transfer.version.if_range().map(str::to_owned)).flatten();
    let response = transfer.client.get(&spec).await?;
    match judge(response, Some((first, Some(last)))) {
        Err(Error::HttpStatus { status: 416, .. }) => {
            Err(Interrupt::Changed("it no longer has the asked range".to_owned()))
        }
        judged => Ok(judged?),
    }
}

/// The first byte of the body, if the answer is of the right version. `first` was asked for.
fn check(transfer: &Transfer, answer: &Answer, first: u64) -> Result<u64, Interrupt> {
    if let Some(found) = transfer.likeness.stranger(answer, first) {
        return Err(Interrupt::Failed(Error::page(&answer.response.final_url, found, true)));
    }
    if answer.is_coded {
        return Err(Interrupt::Failed(Error::lied(&answer.response.final_url, "its part is of compressed bytes")));
    }
    let version = &transfer.version;
    let contradiction = version.contradiction(&answer.version);
    if let Some(detail) = contradiction.or_else(|| version.weak_contradiction(&answer.version)) {
        return Err(Interrupt::Changed(detail));
    }
    let differs = |total: &Option<u64>| total.is_some_and(|total| total != transfer.total);
    match &answer.content {
        Content::Part { total, .. } | Content::Whole(total) if differs(total) => {
            Err(Interrupt::Changed("its length is another one".to_owned()))
        }
        Content::Part { bytes, .. } if bytes.end > transfer.total => {
            Err(Interrupt::Changed("its part ends behind the file".to_owned()))
        }
        Content::Part { bytes, .. } => Ok(bytes.start),
        Content::Whole(_) => Err(Interrupt::RangeIgnored),
    }
}

async fn skip(body: &mut Body, mut bytes: u64) -> Result<(), Interrupt> {
    if bytes > LONGEST_PREFIX_BYTES {
        return Err(Interrupt::RangeIgnored);
    }
    while bytes > 0 {
        let (_, read) = body.read_hot(0, bytes.min(HOT_BYTES as u64) as usize).await?;
        if read == 0 {
            let detail = "it ended before the asked bytes".to_owned();
            return Err(Interrupt::Failed(Error::Truncated { place: body.host().to_owned(), detail }));
        }
        bytes -= read as u64;
    }
    Ok(())
}

async fn stream(
    transfer: &Transfer,
    worker: &Worker,
    span: &Span,
    piece: &mut Option<Piece>,
    body: &mut Body,
) -> Result<Streamed, Interrupt> {
    let mut since = Instant::now();
    let mut received = 0_u64;
    while let Some(current) = piece.as_mut() {
        let limit = (current.end - current.position).min(HOT_BYTES as u64) as usize;
        // Under a rate limit the next read takes what is granted: waiting for more to come would lose the task's turn.
        let (limit, most_wanted) = if transfer.limiter.is_limited() {
            worker.enter(Phase::Waiting);
            let granted = transfer.limiter.take(limit).await;
            (granted, granted)
        } else {
            (limit, HOT_BYTES)
        };
        worker.enter(Phase::Reading);
        let (hot, read) = match tokio::time::timeout(PATIENCE, body.read_hot(current.position, limit)).await {
            Ok(read) => read?,
            Err(_) => {
                // The connection has become slower: take what is there.
                body.set_wake_threshold(1);
                body.read_hot(current.position, limit).await?
            }
        };
        if read < limit {
            transfer.limiter.refund(limit - read);
        }
        if read == 0 {
            return Ok(Streamed::BodyEnded);
        }
        let arrived = Instant::now();
        transfer.write(worker, current, &hot[..read])?;
        worker.add_busy(arrived.elapsed());
        drop(hot);
        received += read as u64;
        if let Some(finished) = piece.take_if(|piece| piece.position == piece.end) {
            let next_group = finished.group + 1;
            transfer.finish(worker, finished)?;
            if worker.is_retired() {
                return Ok(Streamed::NothingLeft);
            }
            let next = match span.claim() {
                Some(group) => Some(group),
                None => group_behind(transfer, worker, span, body, next_group).await,
            };
            let Some(group) = next else { return Ok(Streamed::NothingLeft) };
            *piece = Some(transfer.begin(worker, group));
            body.set_wake_threshold(wake_threshold(received, since.elapsed()).min(most_wanted));
            if since.elapsed() > 10 * WAKE_INTERVAL {
                (since, received) = (Instant::now(), 0);
            }
            // A group somebody began and left: what follows in this body is not what is missing.
            if piece.as_ref().is_some_and(|piece| piece.position != group_bytes(piece.group, transfer.total).start) {
                return Ok(Streamed::BodyEnded);
            }
        } else {
            body.set_wake_threshold(wake_threshold(received, since.elapsed()).min(most_wanted));
        }
        transfer.progress.give_way().await;
    }
    Ok(Streamed::NothingLeft)
}

/// The next group for a body that goes on behind its span. While nobody knows whether the origin serves a second connection,
/// this one is not given up: if it serves one only, the neighbour's groups come back and are this one's.
async fn group_behind(transfer: &Transfer, worker: &Worker, span: &Span, body: &Body, next: u32) -> Option<u32> {
    loop {
        let mut verdict = std::pin::pin!(transfer.verdict.notified());
        verdict.as_mut().enable();
        if body.has_ended() {
            return None;
        }
        if let Some(group) = transfer.extend(worker, span, next) {
            return Some(group);
        }
        if !transfer.is_undecided() {
            return None;
        }
        worker.enter(Phase::Waiting);
        if tokio::time::timeout(VERDICT_PATIENCE, verdict).await.is_err() {
            return None;
        }
    }
}

/// As many bytes as come in [`WAKE_INTERVAL`], at most [`MOST_AWAITED_BYTES`].
fn wake_threshold(received: u64, elapsed: Duration) -> usize {
    let per_interval = received as f64 * WAKE_INTERVAL.as_secs_f64() / elapsed.as_secs_f64().max(1e-6);
    (per_interval as usize).clamp(1, MOST_AWAITED_BYTES)
}
