//! Hashes that need the bytes in order: fed at the frontier, and from the file behind it.

use crate::error::Result;
use crate::hash::{Algorithm, Sequential};
use crate::net::hot::{HOT_BYTES, HotBuffer};
use crate::sink::PartFile;

pub(super) struct Chain {
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) hashes: Sequential,
    pub(super) is_idle: bool,
}

impl Chain {
    /// Hashes what of `bytes` (at `offset`) lies at the frontier.
    pub(super) fn feed(&mut self, offset: u64, bytes: &[u8]) {
        let position = self.hashes.position();
        if !self.is_idle && position >= offset && position < offset + bytes.len() as u64 {
            self.hashes.update(&bytes[(position - offset) as usize..]);
        }
    }

    /// Hashes from the file what lies before `end`, at most `limit` bytes of it.
    pub(super) fn catch_up(&mut self, part: &PartFile, end: u64, limit: u64) -> Result<()> {
        let end = end.min(self.hashes.position().saturating_add(limit));
        while self.hashes.position() < end {
            let length = (end - self.hashes.position()).min(HOT_BYTES as u64) as usize;
            let mut buffer = HotBuffer::lease_for(self.hashes.position());
            part.read_at(&mut buffer[..length], self.hashes.position())?;
            self.hashes.update(&buffer[..length]);
        }
        Ok(())
    }

    /// Bytes behind `offset` will be written again; their hash is taken from the file at the end.
    pub(super) fn rewind_if_past(&mut self, offset: u64) {
        if !self.is_idle && self.hashes.position() > offset {
            self.hashes = Sequential::new(&self.algorithms, false);
        }
    }
}
