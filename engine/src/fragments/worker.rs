//! One connection's worth of work: take the next request, fetch and decrypt it, put it in its place.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::coalesce::{JoinedRequest, Piece};
use super::decrypt::Decryptor;
use super::inline;
use super::keys::KeyCache;
use super::pins::Pins;
use super::terms::Terms;
use super::window::{Room, Window};
use super::words::Beginning;
use super::writer::Covered;
use crate::error::{Error, Result};
use crate::net::hot::HOT_BYTES;
use crate::probe::{Answer, Content};
use crate::retry::{backoff, jitter};

/// What the workers of one download share.
pub(super) struct Crew {
    pub(super) terms: Terms,
    pub(super) requests: Vec<JoinedRequest>,
    pub(super) window: Window,
    pub(super) keys: KeyCache,
    pub(super) pins: Pins,
    pub(super) absences: Absences,
}

/// Fragments that the origin does not have, and how many of them the caller can do without.
#[derive(Default)]
pub(super) struct Absences {
    pub(super) allowed: u32,
    pub(super) found: AtomicU32,
}

impl Absences {
    /// Whether the file goes on without this one. A last fragment that was only computed from a rounded duration is no
    /// loss; of others only media counts as dispensable, and only if it is gone for good.
    fn forgive(&self, request: &JoinedRequest, error: &Error) -> Option<Covered> {
        let (Error::HttpStatus { status, .. } | Error::UrlExpired { status, .. }) = error else { return None };
        let fragments = request.fragments;
        if request.is_presumed && *status == 404 {
            return Some(Covered { fragments, missing: 0 });
        }
        if request.is_header || !matches!(status, 404 | 410 | 500..=599) {
            return None;
        }
        let count = |found: u32| found.checked_add(fragments).filter(|found| *found <= self.allowed);
        let counted = self.found.fetch_update(Ordering::Relaxed, Ordering::Relaxed, count);
        counted.ok().map(|_| Covered { fragments, missing: fragments })
    }
}

/// How an attempt at a request ended without an error.
enum Attempt {
    Done,
    NoRoom,
    /// A fragment of no bytes, under a status that says it is there.
    Empty,
}

/// So often an empty fragment is asked for again: a cache that is still being filled answers so.
const EMPTY_ANSWERS: u32 = 2;

/// Works until no requests are left. `on_first_success` is called once, when the first request has come.
pub(super) async fn work(crew: Arc<Crew>, on_first_success: impl FnOnce()) -> Result<()> {
    let mut on_first_success = Some(on_first_success);
    while let Some(number) = crew.window.take().await {
        let request = &crew.requests[number as usize];
        let is_last = number + 1 == crew.requests.len() as u64;
        let (mut failures, mut empty_answers) = (0, 0);
        loop {
            match fetch(&crew, number, request).await {
                Ok(Attempt::Done) => break,
                Ok(Attempt::NoRoom) => crew.window.until_frontier(number).await,
                // At the end of a track packagers put such; elsewhere it is a hole, and the result says so.
                Ok(Attempt::Empty) if is_last || empty_answers == EMPTY_ANSWERS => {
                    let missing = if is_last { 0 } else { request.fragments };
                    let covered = Covered { fragments: request.fragments, missing };
                    crew.window.finish(number, Vec::new(), covered)?;
                    break;
                }
                Ok(Attempt::Empty) => {
                    empty_answers += 1;
                    tokio::time::sleep(backoff(empty_answers, None, jitter())).await;
                }
                // Nothing, and no error: what some packagers answer for the end of a track, and only there.
                Err(Error::HttpStatus { status: 204, .. }) if is_last => {
                    crew.window.finish(number, Vec::new(), Covered { fragments: request.fragments, missing: 0 })?;
                    break;
                }
                Err(error) => {
                    let Err(error) = crew.terms.pause_or_give_up(&request.url, &mut failures, error).await else {
                        continue;
                    };
                    let covered = crew.absences.forgive(request, &error).ok_or(error)?;
                    crew.window.finish(number, Vec::new(), covered)?;
                    break;
                }
            }
        }
        if let Some(announce) = on_first_success.take() {
            announce();
        }
    }
    Ok(())
}

/// One attempt; afterwards the request is in its place, or nothing of it is anywhere.
async fn fetch(crew: &Crew, number: u64, request: &JoinedRequest) -> Result<Attempt> {
    let mut intake =
        Intake { crew, number, kept: crew.window.buffer(), reserved: 0, is_through: false, is_done: false };
    let mut pieces = Pieces::new(&request.pieces);
    let range = request.range.map(|range| (range.start(), Some(range.end() - 1)));
    pieces.begin(crew).await?;
    if inline::is_inline(&request.url) {
        return inside_the_playlist(crew, number, request, pieces, intake).await;
    }
    let answer = crew.terms.ask(&request.url, range).await?;
    crew.pins.check(request, &answer)?;
    let is_last = number + 1 == crew.requests.len() as u64;
    let mut prefix = skipped_bytes(request, &answer, is_last)?;
    let expected = expected_bytes(crew, number, request, &answer);
    let url = answer.response.final_url.clone();
    let announced = answer.response.body.owed().filter(|_| answer.response.body.has_known_length());
    let mut beginning = Beginning::of(&answer.response);
    let mut body = answer.response.body;
    let mut received = 0_u64;
    let limiter = &crew.terms.context.limiter;
    loop {
        let rest = expected.or(announced).map_or(HOT_BYTES as u64, |all| all - received + prefix);
        let mut limit = rest.min(prefix + pieces.rest()).min(HOT_BYTES as u64) as usize;
        if limit == 0 {
            break;
        }
        if intake.reserve(limit).await == Room::None {
            return Ok(Attempt::NoRoom);
        }
        if limiter.is_limited() {
            limit = limiter.take(limit).await;
        }
        let Ok(read) = tokio::time::timeout(crew.terms.idle_timeout, body.read_hot(received, limit)).await else {
            return Err(crew.terms.silence(&url));
        };
        let (hot, read) = read?;
        limiter.refund(limit - read);
        if read == 0 {
            break;
        }
        let mut bytes = &hot[..read];
        if prefix > 0 {
            let skipped = (prefix as usize).min(bytes.len());
            bytes = &bytes[skipped..];
            prefix -= skipped as u64;
        }
        if let Some(words) = beginning.take(bytes) {
            return Err(crew.terms.no_fragment(&url, words));
        }
        received += bytes.len() as u64;
        pieces.take(bytes, &mut intake).map_err(|fault| fault.about(&url))?;
        drop(hot);
        crew.terms.context.progress.give_way().await;
        if pieces.waits_for_key() {
            pieces.begin(crew).await?;
        }
    }
    if let Some(expected) = expected.or(announced)
        && received != expected
    {
        let detail = format!("{received} of {expected} bytes of a fragment came");
        return Err(Error::Truncated { place: url.host_str().unwrap_or_default().to_owned(), detail });
    }
    if let Some(words) = beginning.end() {
        return Err(crew.terms.no_fragment(&url, words));
    }
    if received == 0 && !request.is_header {
        return Ok(Attempt::Empty);
    }
    body.remark_on(&crew.terms.context.progress);
    pieces.end_piece(&mut intake).map_err(|fault| fault.about(&url))?;
    intake.finish(request.fragments)?;
    Ok(Attempt::Done)
}

/// A `data:` address holds its bytes; what the playlist said of keys and ranges applies to them as to any others.
async fn inside_the_playlist(
    crew: &Crew,
    number: u64,
    request: &JoinedRequest,
    mut pieces: Pieces<'_>,
    mut intake: Intake<'_>,
) -> Result<Attempt> {
    let unreadable = || Error::InvalidRequest("data inside the playlist cannot be read".to_owned());
    let mut bytes = inline::decode(&request.url).ok_or_else(unreadable)?;
    if let Some(range) = request.range {
        let within = bytes.get(range.start() as usize..range.end() as usize).map(<[u8]>::to_vec);
        bytes = within.ok_or_else(unreadable)?;
    }
    if intake.reserve(bytes.len()).await == Room::None {
        crew.window.until_frontier(number).await;
        intake.reserve(bytes.len()).await;
    }
    let about = |fault: Fault| fault.about(&request.url);
    pieces.take(&bytes, &mut intake).map_err(about)?;
    pieces.end_piece(&mut intake).map_err(about)?;
    intake.finish(request.fragments)?;
    Ok(Attempt::Done)
}

/// Bytes that must come; the very last range of a list may name more than the file has.
fn expected_bytes(crew: &Crew, number: u64, request: &JoinedRequest, answer: &Answer) -> Option<u64> {
    let range = request.range?;
    let is_last = number + 1 == crew.requests.len() as u64;
    match &answer.content {
        Content::Part { bytes, total: Some(total) } if is_last && is_cut_at_the_end(bytes.end, *total, request) => {
            Some(total - range.start())
        }
        _ => Some(range.len()),
    }
}

fn is_cut_at_the_end(end: u64, total: u64, request: &JoinedRequest) -> bool {
    let is_plain = request.pieces.iter().all(|piece| piece.encryption.is_none());
    is_plain && end == total && request.range.is_some_and(|range| range.start() < end && end < range.end())
}

/// A whole file where a range was asked is used when the range is near its beginning; else it costs too much.
fn skipped_bytes(request: &JoinedRequest, answer: &Answer, is_last: bool) -> Result<u64> {
    const LONGEST_PREFIX_BYTES: u64 = 8 << 20;
    let Some(range) = request.range else { return Ok(0) };
    let begins = match &answer.content {
        Content::Part { bytes, total: Some(total) } if is_last && is_cut_at_the_end(bytes.end, *total, request) => {
            bytes.start
        }
        Content::Part { bytes, .. } if bytes.end < range.end() => {
            let detail = format!("{} of {} bytes of a fragment are offered", bytes.end - range.start(), range.len());
            return Err(Error::Truncated { place: request.url.host_str().unwrap_or_default().to_owned(), detail });
        }
        Content::Part { bytes, .. } => bytes.start,
        Content::Whole(_) => 0,
    };
    match range.start().checked_sub(begins) {
        Some(prefix) if prefix <= LONGEST_PREFIX_BYTES => Ok(prefix),
        _ => Err(Error::lied(&request.url, "it ignores ranges, and the fragment is too far inside the file")),
    }
}

/// What is wrong with a fragment's bytes.
enum Fault {
    Engine(Error),
    Bytes(&'static str),
}

impl Fault {
    fn about(self, url: &url::Url) -> Error {
        match self {
            Self::Engine(error) => error,
            Self::Bytes(detail) => Error::lied(url, detail),
        }
    }
}

/// Splits a body at piece boundaries and decrypts each piece by itself.
struct Pieces<'list> {
    waiting: std::slice::Iter<'list, Piece>,
    current: Option<(Option<Decryptor>, Option<u64>)>,
}

impl<'list> Pieces<'list> {
    fn new(pieces: &'list [Piece]) -> Self {
        Self { waiting: pieces.iter(), current: None }
    }

    fn waits_for_key(&self) -> bool {
        self.current.is_none() && !self.waiting.as_slice().is_empty()
    }

    /// Gets the keys of the next piece; keys of all pieces are cached, so this seldom waits.
    async fn begin(&mut self, crew: &Crew) -> Result<()> {
        let Some(piece) = self.waiting.next() else { return Ok(()) };
        let decryptor = match &piece.encryption {
            None => None,
            Some(encryption) => {
                let key = crew.keys.get(&crew.terms, &encryption.key).await?;
                let decryptor = Decryptor::new(&key, encryption);
                Some(decryptor.ok_or_else(|| Error::Unsupported("AES-128 in this build".to_owned()))?)
            }
        };
        self.current = Some((decryptor, piece.encrypted_bytes));
        Ok(())
    }

    /// How many bytes belong to the current piece; a read beyond them would need the next key.
    fn rest(&self) -> u64 {
        self.current.as_ref().and_then(|(_, rest)| *rest).unwrap_or(u64::MAX / 2)
    }

    /// Takes bytes of the current piece.
    fn take(&mut self, bytes: &[u8], intake: &mut Intake<'_>) -> Result<(), Fault> {
        let Some((decryptor, rest)) = &mut self.current else { return Ok(()) };
        match decryptor {
            None => intake.put(bytes).map_err(Fault::Engine)?,
            Some(decryptor) => intake.put_decrypted(decryptor, bytes)?,
        }
        let Some(rest) = rest else { return Ok(()) };
        *rest -= bytes.len() as u64;
        if *rest == 0 { self.end_piece(intake) } else { Ok(()) }
    }

    fn end_piece(&mut self, intake: &mut Intake<'_>) -> Result<(), Fault> {
        if let Some((Some(decryptor), _)) = self.current.take() {
            let mut plain = Vec::new();
            decryptor.finish(&mut plain).map_err(Fault::Bytes)?;
            intake.put(&plain).map_err(Fault::Engine)?;
        }
        Ok(())
    }
}

/// Where the plain bytes of one attempt go: memory ahead of the frontier, the file at it.
struct Intake<'crew> {
    crew: &'crew Crew,
    number: u64,
    kept: Vec<u8>,
    reserved: usize,
    is_through: bool,
    is_done: bool,
}

impl Intake<'_> {
    /// Waits until up to `bytes` more may be taken in. Once at the frontier, always at the frontier.
    async fn reserve(&mut self, bytes: usize) -> Room {
        // Decryption holds back a block and gives it with the next bytes.
        let missing = (self.kept.len() + bytes + 32).saturating_sub(self.reserved);
        if self.is_through || missing == 0 {
            return Room::Through;
        }
        let room = self.crew.window.room(self.number, missing).await;
        match room {
            Room::Through => self.is_through = true,
            Room::Reserved => {
                self.reserved += missing;
                self.kept.reserve(bytes);
            }
            Room::None => {}
        }
        room
    }

    fn put(&mut self, plain: &[u8]) -> Result<()> {
        if !self.is_through {
            self.kept.extend_from_slice(plain);
            return Ok(());
        }
        self.flush()?;
        self.crew.window.write(plain)
    }

    fn put_decrypted(&mut self, decryptor: &mut Decryptor, encrypted: &[u8]) -> Result<(), Fault> {
        decryptor.update(encrypted, &mut self.kept).map_err(Fault::Bytes)?;
        if self.is_through { self.flush().map_err(Fault::Engine) } else { Ok(()) }
    }

    /// All has come.
    fn finish(mut self, fragments: u32) -> Result<()> {
        if self.is_through {
            self.flush()?;
        }
        self.is_done = true;
        let kept = std::mem::take(&mut self.kept);
        self.crew.window.release(self.reserved.saturating_sub(kept.len()));
        self.reserved = 0;
        self.crew.window.finish(self.number, kept, Covered { fragments, missing: 0 })
    }

    /// What was kept until the frontier came goes to the file, and its memory to the others.
    fn flush(&mut self) -> Result<()> {
        if !self.kept.is_empty() {
            self.crew.window.write(&self.kept)?;
            self.kept.clear();
        }
        self.crew.window.release(std::mem::take(&mut self.reserved));
        Ok(())
    }
}

impl Drop for Intake<'_> {
    /// A failed or cancelled attempt leaves nothing: the next one begins at the request's first byte.
    fn drop(&mut self) {
        self.crew.window.release(std::mem::take(&mut self.reserved));
        if self.is_through && !self.is_done {
            self.crew.window.take_back();
        }
        self.crew.window.recycle(std::mem::take(&mut self.kept));
    }
}
