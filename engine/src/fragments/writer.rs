//! The frontier of the file: bytes are appended, hashed and journalled in order, by one request at a time.

use std::sync::Arc;

use super::trail::{Mark, Trail};
use crate::error::{Error, Result};
use crate::hash::{Algorithm, Sequential};
use crate::net::hot::{HOT_BYTES, HotBuffer};
use crate::progress::Progress;
use crate::sink::PartFile;

/// Bytes that may be on disk without being in the journal.
const MOST_UNRECORDED_BYTES: u64 = 1 << 20;

/// How many of the playlist's fragments a request stood for, and how many of these the origin did not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Covered {
    pub(super) fragments: u32,
    pub(super) missing: u32,
}

/// Whoever holds the frontier writes; the lock around this is never contended.
pub(super) struct Writer {
    part: Arc<PartFile>,
    trail: Trail,
    hashes: Sequential,
    progress: Arc<Progress>,
    requests_done: u64,
    fragments_done: u32,
    fragments_total: u32,
    missing: u32,
    position: u64,
    /// Where the current request began, and the hashes at that place: a request that fails half-way is taken back.
    request_start: (u64, Sequential),
    last_start: u64,
    recorded: u64,
    max_bytes: Option<u64>,
}

impl Writer {
    pub(super) fn new(
        part: Arc<PartFile>,
        trail: Trail,
        algorithms: &[Algorithm],
        progress: Arc<Progress>,
        fragments_total: u32,
        max_bytes: Option<u64>,
    ) -> Self {
        // Without a digest there would be no proof of the prefix after a crash; xxh3 is the cheapest.
        let proving: &[Algorithm] = if algorithms.is_empty() { &[Algorithm::Xxh3] } else { algorithms };
        let hashes = Sequential::new(proving, true);
        Self {
            part,
            trail,
            request_start: (0, hashes.clone()),
            hashes,
            progress,
            requests_done: 0,
            fragments_done: 0,
            fragments_total,
            missing: 0,
            position: 0,
            last_start: 0,
            recorded: 0,
            max_bytes,
        }
    }

    /// Hashes the prefix that `mark` claims; whether it is there and is what was written.
    pub(super) fn recover(&mut self, mark: &Mark, fragments_done: u32) -> Result<bool> {
        while self.position < mark.end {
            let length = (mark.end - self.position).min(HOT_BYTES as u64) as usize;
            let mut buffer = HotBuffer::lease_for(self.position);
            if self.part.read_at(&mut buffer[..length], self.position).is_err() {
                break;
            }
            self.hashes.update(&buffer[..length]);
            self.position += length as u64;
        }
        if self.position != mark.end || proof(&self.hashes) != mark.proof {
            return Ok(false);
        }
        (self.requests_done, self.fragments_done, self.last_start) =
            (mark.requests_done, fragments_done, mark.last_start);
        self.recorded = mark.end;
        self.missing = mark.missing;
        self.request_start = (self.position, self.hashes.clone());
        self.part.set_length(self.position)?;
        self.progress.restart_from(self.position);
        self.progress.set_fragments(self.fragments_done, self.fragments_total);
        Ok(true)
    }

    /// What the journal says was fetched by a list like this one is this one's now.
    pub(super) fn adopt(&mut self) -> Result<()> {
        self.trail.begin()
    }

    /// Begins from nothing.
    pub(super) fn restart(&mut self, algorithms: &[Algorithm]) -> Result<()> {
        let proving: &[Algorithm] = if algorithms.is_empty() { &[Algorithm::Xxh3] } else { algorithms };
        self.hashes = Sequential::new(proving, true);
        self.request_start = (0, self.hashes.clone());
        self.missing = 0;
        (self.requests_done, self.fragments_done, self.position, self.last_start, self.recorded) = (0, 0, 0, 0, 0);
        self.trail.forget()?;
        self.part.set_length(0)?;
        self.progress.restart_from(0);
        Ok(())
    }

    /// Fragments that the file lacks.
    pub(super) fn missing(&self) -> u32 {
        self.missing
    }

    pub(super) fn requests_done(&self) -> u64 {
        self.requests_done
    }

    /// Appends bytes of the request at the frontier.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<()> {
        if let Some(limit) = self.max_bytes
            && self.position + bytes.len() as u64 > limit
        {
            return Err(Error::LimitExceeded { what: "the size of the joined file".to_owned(), limit });
        }
        for piece in bytes.chunks(HOT_BYTES) {
            self.hashes.update(piece);
            self.part.write_at(piece, self.position)?;
            crate::faultpoint!("K6");
            self.position += piece.len() as u64;
            self.progress.add(piece.len() as u64);
        }
        Ok(())
    }

    /// Takes back what the request at the frontier has appended.
    pub(super) fn take_back(&mut self) {
        let (start, hashes) = &self.request_start;
        self.progress.take_back(self.position - start);
        self.position = *start;
        self.hashes = hashes.clone();
    }

    /// The request at the frontier is complete.
    pub(super) fn finish_request(&mut self, covered: Covered) -> Result<()> {
        self.requests_done += 1;
        self.fragments_done = self.fragments_done.saturating_add(covered.fragments);
        self.missing = self.missing.saturating_add(covered.missing);
        self.last_start = self.request_start.0;
        self.request_start = (self.position, self.hashes.clone());
        self.progress.set_fragments(self.fragments_done, self.fragments_total);
        if self.position - self.recorded >= MOST_UNRECORDED_BYTES {
            self.record()?;
        }
        Ok(())
    }

    fn record(&mut self) -> Result<()> {
        let mark = Mark {
            requests_done: self.requests_done,
            last_start: self.last_start,
            end: self.request_start.0,
            missing: self.missing,
            proof: proof(&self.request_start.1),
        };
        self.recorded = mark.end;
        self.trail.append(&mark)
    }

    /// The bytes are worthless: nothing continues them.
    pub(super) fn discard(&mut self) -> Result<()> {
        self.recorded = u64::MAX;
        self.trail.forget()
    }

    /// Length and digests of the finished file.
    pub(super) fn finish(&self, algorithms: &[Algorithm]) -> Result<(u64, Vec<(Algorithm, String)>)> {
        self.part.set_length(self.position)?;
        let mut digests = self.hashes.clone().finish();
        digests.retain(|(algorithm, _)| algorithms.contains(algorithm));
        Ok((self.position, digests))
    }
}

impl Drop for Writer {
    /// A cancelled download keeps every finished request; a failure here only costs fetching it again.
    fn drop(&mut self) {
        if self.request_start.0 > self.recorded {
            let _ = self.record();
        }
    }
}

fn proof(hashes: &Sequential) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for (_, digest) in hashes.clone().finish() {
        hasher.update(digest.as_bytes());
    }
    *hasher.finalize().as_bytes()
}
