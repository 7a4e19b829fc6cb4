//! `<target>.part.j` of a joined download: how many requests are in the part file, up to which byte, and what the
//! bytes before it hash to.
//!
//! Bytes are only ever appended, so one record says everything; a resume hashes the prefix again anyway (the hash goes
//! on from there), which proves it. The file's version is the list of requests: addresses without their queries, since
//! signatures change, but ranges, keys and vectors included.
//!
//! ```text
//! header  magic 8 · device 8 · inode 8 · list digest 32 · crc32 4
//! record  requests done 8 · start of the last request 8 · end 8 · proof 32 · crc32 4
//! ```

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags};

use super::coalesce::JoinedRequest;
use super::fragment::KeySource;
use crate::error::{Error, Result, shown};
use crate::faultpoint::disk;
use crate::journal::journal_path;
use crate::sink::{FileIdentity, PartFile};

/// The first bytes of a joined download's journal.
pub const JOURNAL_MAGIC: &[u8; 8] = b"VASSETF\n";
/// The first bytes of a single file's journal, which is of no use here and may be replaced.
const SINGLE_MAGIC: &[u8; 8] = b"VASSETJ\n";
const HEADER_BYTES: usize = 60;
const RECORD_BYTES: usize = 60;
/// A journal is started anew beyond this; 2^20 records are more than any bounded list needs.
const LONGEST_BYTES: u64 = (RECORD_BYTES as u64) << 20;

/// A place from which a download can go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Mark {
    pub(super) requests_done: u64,
    pub(super) last_start: u64,
    pub(super) end: u64,
    pub(super) proof: [u8; 32],
}

/// The open journal; the part file's lock covers it.
pub(super) struct Trail {
    file: File,
    path: PathBuf,
    end: u64,
}

impl Trail {
    /// Opens the journal beside `part` and answers the last mark of the same list of requests.
    pub(super) fn open(part: &PartFile, list_digest: &[u8; 32]) -> Result<(Self, Option<Mark>)> {
        let path = journal_path(part.target());
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = disk()
            .and_then(|()| Ok(rustix::fs::open(&path, flags, Mode::from_raw_mode(0o600))?))
            .map_err(|cause| Error::storage("create the journal", &path, &cause))?;
        let mut file = File::from(file);
        let mut bytes = Vec::new();
        Read::by_ref(&mut file)
            .take(LONGEST_BYTES)
            .read_to_end(&mut bytes)
            .map_err(|cause| Error::storage("read the journal", &path, &cause))?;
        if bytes.len() >= 8 && !bytes.starts_with(JOURNAL_MAGIC) && !bytes.starts_with(SINGLE_MAGIC) {
            return Err(Error::Storage {
                what: "use as a journal",
                path: path.display().to_string(),
                detail: "it was not written by this engine; move it away".to_owned(),
            });
        }
        let header = encode_header(part.identity()?, list_digest);
        let mut trail = Self { file, path, end: HEADER_BYTES as u64 };
        if bytes.get(..HEADER_BYTES) == Some(&header) {
            let (records, _) = bytes[HEADER_BYTES..].as_chunks::<RECORD_BYTES>();
            // A mark beyond the end of the part file claims bytes that are not there, whatever its checksum says.
            let on_disk = part.length()?;
            let mut last = None;
            for mark in records.iter().map_while(decode_record).take_while(|mark| mark.end <= on_disk) {
                trail.end += RECORD_BYTES as u64;
                last = Some(mark);
            }
            return Ok((trail, last));
        }
        let emptied = disk().and_then(|()| trail.file.set_len(0));
        emptied.map_err(|cause| trail.failed("empty the journal", &cause))?;
        let begun = disk().and_then(|()| trail.file.write_all_at(&header, 0));
        begun.map_err(|cause| trail.failed("begin the journal", &cause))?;
        Ok((trail, None))
    }

    /// Records bytes that have been written.
    pub(super) fn append(&mut self, mark: &Mark) -> Result<()> {
        let record = encode_record(mark);
        let appended = disk().and_then(|()| self.file.write_all_at(&record, self.end));
        appended.map_err(|cause| self.failed("append to the journal", &cause))?;
        self.end += RECORD_BYTES as u64;
        crate::faultpoint!("K7");
        Ok(())
    }

    /// Forgets every mark: the bytes are worthless.
    pub(super) fn forget(&mut self) -> Result<()> {
        self.end = HEADER_BYTES as u64;
        let shortened = disk().and_then(|()| self.file.set_len(self.end));
        shortened.map_err(|cause| self.failed("shorten the journal", &cause))
    }

    fn failed(&self, what: &'static str, cause: &std::io::Error) -> Error {
        Error::storage(what, &self.path, cause)
    }
}

/// What makes two lists the same version of a file.
pub(super) fn list_digest(requests: &[JoinedRequest]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for request in requests {
        hasher.update(shown(&request.url).as_bytes());
        hasher.update(format!("|{:?}", request.range).as_bytes());
        for piece in &request.pieces {
            hasher.update(format!("|{:?}", piece.encrypted_bytes).as_bytes());
            if let Some(encryption) = &piece.encryption {
                match &encryption.key {
                    KeySource::Address(url) => hasher.update(shown(url).as_bytes()),
                    KeySource::Bytes(bytes) => hasher.update(bytes),
                };
                hasher.update(&encryption.initialization_vector);
            }
        }
        hasher.update(b"\n");
    }
    *hasher.finalize().as_bytes()
}

fn encode_header(part: FileIdentity, list_digest: &[u8; 32]) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..8].copy_from_slice(JOURNAL_MAGIC);
    bytes[8..16].copy_from_slice(&part.device.to_le_bytes());
    bytes[16..24].copy_from_slice(&part.inode.to_le_bytes());
    bytes[24..56].copy_from_slice(list_digest);
    let checksum = crc32fast::hash(&bytes[..56]);
    bytes[56..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

fn encode_record(mark: &Mark) -> [u8; RECORD_BYTES] {
    let mut bytes = [0; RECORD_BYTES];
    bytes[..8].copy_from_slice(&mark.requests_done.to_le_bytes());
    bytes[8..16].copy_from_slice(&mark.last_start.to_le_bytes());
    bytes[16..24].copy_from_slice(&mark.end.to_le_bytes());
    bytes[24..56].copy_from_slice(&mark.proof);
    let checksum = crc32fast::hash(&bytes[..56]);
    bytes[56..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

fn decode_record(bytes: &[u8; RECORD_BYTES]) -> Option<Mark> {
    let number = |at: usize| bytes[at..at + 8].try_into().ok().map(u64::from_le_bytes);
    let checksum = u32::from_le_bytes(bytes[56..].try_into().ok()?);
    let mark = Mark {
        requests_done: number(0)?,
        last_start: number(8)?,
        end: number(16)?,
        proof: bytes[24..56].try_into().ok()?,
    };
    (crc32fast::hash(&bytes[..56]) == checksum && mark.last_start <= mark.end && mark.requests_done > 0).then_some(mark)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(done: u64) -> Mark {
        Mark { requests_done: done, last_start: 10 * (done - 1), end: 10 * done, proof: [done as u8; 32] }
    }

    #[test]
    fn a_torn_tail_costs_only_its_own_record() {
        let folder = tempfile::tempdir().unwrap();
        let part = PartFile::open(&folder.path().join("film")).unwrap();
        part.set_length(100).unwrap();
        let (mut trail, found) = Trail::open(&part, &[1; 32]).unwrap();
        assert_eq!(found, None);
        trail.append(&mark(1)).unwrap();
        trail.append(&mark(2)).unwrap();
        let path = journal_path(part.target());
        let whole = std::fs::read(&path).unwrap();
        for cut in 0..=whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let expected = match cut.saturating_sub(HEADER_BYTES) / RECORD_BYTES {
                0 => None,
                count => Some(mark(count as u64)),
            };
            assert_eq!(Trail::open(&part, &[1; 32]).unwrap().1, expected, "cut at {cut}");
        }
    }

    #[test]
    fn another_list_or_a_flipped_bit_counts_for_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let part = PartFile::open(&folder.path().join("film")).unwrap();
        part.set_length(100).unwrap();
        Trail::open(&part, &[1; 32]).unwrap().0.append(&mark(1)).unwrap();
        let path = journal_path(part.target());
        let whole = std::fs::read(&path).unwrap();
        for at in 8..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            std::fs::write(&path, &flipped).unwrap();
            assert_eq!(Trail::open(&part, &[1; 32]).unwrap().1, None, "byte {at}");
        }
        std::fs::write(&path, &whole).unwrap();
        assert_eq!(Trail::open(&part, &[2; 32]).unwrap().1, None);
    }

    #[test]
    fn somebody_elses_file_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let part = PartFile::open(&folder.path().join("film")).unwrap();
        std::fs::write(journal_path(part.target()), b"my shopping list").unwrap();
        assert!(matches!(Trail::open(&part, &[1; 32]), Err(Error::Storage { .. })));
    }

    #[test]
    fn a_valid_mark_beyond_the_part_file_counts_for_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let part = PartFile::open(&folder.path().join("film")).unwrap();
        part.set_length(10).unwrap();
        let (mut trail, _) = Trail::open(&part, &[1; 32]).unwrap();
        trail.append(&mark(1)).unwrap();
        trail.append(&Mark { requests_done: u64::MAX, last_start: 0, end: u64::MAX, proof: [0; 32] }).unwrap();
        trail.append(&mark(1)).unwrap();
        assert_eq!(Trail::open(&part, &[1; 32]).unwrap().1, Some(mark(1)));
        part.set_length(9).unwrap();
        assert_eq!(Trail::open(&part, &[1; 32]).unwrap().1, None);
    }
}
