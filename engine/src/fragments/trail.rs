//! `<target>.part.j` of a joined download: how many requests are in the part file, up to which byte, and what the
//! bytes before it hash to.
//!
//! Bytes are only ever appended, so one record says everything; a resume hashes the prefix again anyway (the hash goes
//! on from there), which proves it. The file's version is the list of requests: addresses without their queries, since
//! signatures change, but ranges, keys and vectors included. Where signatures stand in the path the list is another one
//! each time and only its shape is the same: then the origin must send the last request's bytes once more.
//!
//! ```text
//! header  magic 8 · device 8 · inode 8 · list digest 32 · shape digest 32 · crc32 4
//! record  requests done 8 · start of the last request 8 · end 8 · fragments missing 4 · proof 32 · crc32 4
//! ```

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags};
use url::Url;

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
const HEADER_BYTES: usize = 92;
const RECORD_BYTES: usize = 64;
/// A journal is started anew beyond this; 2^20 records are more than any bounded list needs.
const LONGEST_BYTES: u64 = (RECORD_BYTES as u64) << 20;

/// A place from which a download can go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Mark {
    pub(super) requests_done: u64,
    pub(super) last_start: u64,
    pub(super) end: u64,
    pub(super) missing: u32,
    pub(super) proof: [u8; 32],
}

/// What makes two lists the same version of a file, and what makes them alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ListDigest {
    pub(super) exact: [u8; 32],
    pub(super) shape: [u8; 32],
}

/// The last mark of an earlier run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) mark: Mark,
    /// Whether it was the same list; otherwise one of the same shape.
    pub(super) is_exact: bool,
}

/// The open journal; the part file's lock covers it.
pub(super) struct Trail {
    file: File,
    path: PathBuf,
    header: [u8; HEADER_BYTES],
    end: u64,
}

impl Trail {
    /// Opens the journal beside `part` and answers the last mark of the same list of requests, or of one like it.
    pub(super) fn open(part: &PartFile, list: &ListDigest) -> Result<(Self, Option<Found>)> {
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
        let header = encode_header(part.identity()?, list);
        let mut trail = Self { file, path, header, end: HEADER_BYTES as u64 };
        let is_exact = bytes.get(..HEADER_BYTES) == Some(&header);
        if is_exact || is_alike(&bytes, &header) {
            let (records, _) = bytes[HEADER_BYTES..].as_chunks::<RECORD_BYTES>();
            // A mark beyond the end of the part file claims bytes that are not there, whatever its checksum says.
            let on_disk = part.length()?;
            let mut last = None;
            for mark in records.iter().map_while(decode_record).take_while(|mark| mark.end <= on_disk) {
                trail.end += RECORD_BYTES as u64;
                last = Some(Found { mark, is_exact });
            }
            return Ok((trail, last));
        }
        let emptied = disk().and_then(|()| trail.file.set_len(0));
        emptied.map_err(|cause| trail.failed("empty the journal", &cause))?;
        trail.begin()?;
        Ok((trail, None))
    }

    /// Names the list this run works through, when the marks of one like it are gone on from.
    pub(super) fn begin(&mut self) -> Result<()> {
        let begun = disk().and_then(|()| self.file.write_all_at(&self.header, 0));
        begun.map_err(|cause| self.failed("begin the journal", &cause))
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
        shortened.map_err(|cause| self.failed("shorten the journal", &cause))?;
        self.begin()
    }

    fn failed(&self, what: &'static str, cause: &std::io::Error) -> Error {
        Error::storage(what, &self.path, cause)
    }
}

/// The digests of a list.
pub(super) fn list_digest(requests: &[JoinedRequest]) -> ListDigest {
    ListDigest { exact: digest(requests, |url| shown(url)), shape: digest(requests, last_name) }
}

/// Tokens stand in folders; what a fragment is called stays.
fn last_name(url: &Url) -> String {
    url.path().rsplit('/').next().unwrap_or_default().to_owned()
}

fn digest(requests: &[JoinedRequest], name: impl Fn(&Url) -> String) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for request in requests {
        hasher.update(name(&request.url).as_bytes());
        hasher.update(format!("|{:?}", request.range).as_bytes());
        for piece in &request.pieces {
            hasher.update(format!("|{:?}", piece.encrypted_bytes).as_bytes());
            if let Some(encryption) = &piece.encryption {
                match &encryption.key {
                    KeySource::Address(url) => hasher.update(name(url).as_bytes()),
                    KeySource::Bytes(bytes) => hasher.update(bytes),
                };
                hasher.update(&encryption.initialization_vector);
            }
        }
        hasher.update(b"\n");
    }
    *hasher.finalize().as_bytes()
}

/// Whether a journal's header names this part file and a list of the same shape.
fn is_alike(bytes: &[u8], header: &[u8; HEADER_BYTES]) -> bool {
    let Some(found) = bytes.first_chunk::<HEADER_BYTES>() else { return false };
    let checksum = u32::from_le_bytes([found[88], found[89], found[90], found[91]]);
    found[..24] == header[..24] && found[56..88] == header[56..88] && crc32fast::hash(&found[..88]) == checksum
}

fn encode_header(part: FileIdentity, list: &ListDigest) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..8].copy_from_slice(JOURNAL_MAGIC);
    bytes[8..16].copy_from_slice(&part.device.to_le_bytes());
    bytes[16..24].copy_from_slice(&part.inode.to_le_bytes());
    bytes[24..56].copy_from_slice(&list.exact);
    bytes[56..88].copy_from_slice(&list.shape);
    let checksum = crc32fast::hash(&bytes[..88]);
    bytes[88..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

fn encode_record(mark: &Mark) -> [u8; RECORD_BYTES] {
    let mut bytes = [0; RECORD_BYTES];
    bytes[..8].copy_from_slice(&mark.requests_done.to_le_bytes());
    bytes[8..16].copy_from_slice(&mark.last_start.to_le_bytes());
    bytes[16..24].copy_from_slice(&mark.end.to_le_bytes());
    bytes[24..28].copy_from_slice(&mark.missing.to_le_bytes());
    bytes[28..60].copy_from_slice(&mark.proof);
    let checksum = crc32fast::hash(&bytes[..60]);
    bytes[60..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

fn decode_record(bytes: &[u8; RECORD_BYTES]) -> Option<Mark> {
    let number = |at: usize| bytes[at..at + 8].try_into().ok().map(u64::from_le_bytes);
    let checksum = u32::from_le_bytes(bytes[60..].try_into().ok()?);
    let mark = Mark {
        requests_done: number(0)?,
        last_start: number(8)?,
        end: number(16)?,
        missing: u32::from_le_bytes(bytes[24..28].try_into().ok()?),
        proof: bytes[28..60].try_into().ok()?,
    };
    (crc32fast::hash(&bytes[..60]) == checksum && mark.last_start <= mark.end && mark.requests_done > 0).then_some(mark)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: ListDigest = ListDigest { exact: [1; 32], shape: [3; 32] };

    fn exactly(mark: Mark) -> Option<Found> {
        Some(Found { mark, is_exact: true })
    }

    #[test]
    fn a_list_of_the_same_shape_is_offered_its_marks_and_takes_the_journal_over() {
        let folder = tempfile::tempdir().unwrap();
        let part = PartFile::open(&folder.path().join("film")).unwrap();
        part.set_length(100).unwrap();
        Trail::open(&part, &LIST).unwrap().0.append(&mark(2)).unwrap();
        let alike = ListDigest { exact: [9; 32], ..LIST };
        let (mut trail, found) = Trail::open(&part, &alike).unwrap();
        assert_eq!(found, Some(Found { mark: mark(2), is_exact: false }));
        trail.begin().unwrap();
        assert_eq!(Trail::open(&part, &alike).unwrap().1, exactly(mark(2)));
        assert_eq!(Trail::open(&part, &ListDigest { exact: [7; 32], shape: [8; 32] }).unwrap().1, None);
    }

    fn mark(done: u64) -> Mark {
        Mark { requests_done: done, last_start: 10 * (done - 1), end: 10 * done, missing: 1, proof: [done as u8; 32] }
    }

    #[test]
    fn a_torn_tail_costs_only_its_own_record() {
        let folder = tempfile::tempdir().unwrap();
        let part = PartFile::open(&folder.path().join("film")).unwrap();
        part.set_length(100).unwrap();
        let (mut trail, found) = Trail::open(&part, &LIST).unwrap();
        assert_eq!(found, None);
        trail.append(&mark(1)).unwrap();
        trail.append(&mark(2)).unwrap();
        let path = journal_path(part.target());
        let whole = std::fs::read(&path).unwrap();
        for cut in 0..=whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let expected = match cut.saturating_sub(HEADER_BYTES) / RECORD_BYTES {
                0 => None,
                count => exactly(mark(count as u64)),
            };
            assert_eq!(Trail::open(&part, &LIST).unwrap().1, expected, "cut at {cut}");
        }
    }

    #[test]
    fn another_list_or_a_flipped_bit_counts_for_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let part = PartFile::open(&folder.path().join("film")).unwrap();
        part.set_length(100).unwrap();
        Trail::open(&part, &LIST).unwrap().0.append(&mark(1)).unwrap();
        let path = journal_path(part.target());
        let whole = std::fs::read(&path).unwrap();
        for at in 8..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            std::fs::write(&path, &flipped).unwrap();
            assert_eq!(Trail::open(&part, &LIST).unwrap().1, None, "byte {at}");
        }
        std::fs::write(&path, &whole).unwrap();
        assert_eq!(Trail::open(&part, &ListDigest { exact: [2; 32], shape: [4; 32] }).unwrap().1, None);
    }

    #[test]
    fn somebody_elses_file_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let part = PartFile::open(&folder.path().join("film")).unwrap();
        std::fs::write(journal_path(part.target()), b"my shopping list").unwrap();
        assert!(matches!(Trail::open(&part, &LIST), Err(Error::Storage { .. })));
    }

    #[test]
    fn a_valid_mark_beyond_the_part_file_counts_for_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let part = PartFile::open(&folder.path().join("film")).unwrap();
        part.set_length(10).unwrap();
        let (mut trail, _) = Trail::open(&part, &LIST).unwrap();
        trail.append(&mark(1)).unwrap();
        trail
            .append(&Mark { requests_done: u64::MAX, last_start: 0, end: u64::MAX, missing: 0, proof: [0; 32] })
            .unwrap();
        trail.append(&mark(1)).unwrap();
        assert_eq!(Trail::open(&part, &LIST).unwrap().1, exactly(mark(1)));
        part.set_length(9).unwrap();
        assert_eq!(Trail::open(&part, &LIST).unwrap().1, None);
    }
}
