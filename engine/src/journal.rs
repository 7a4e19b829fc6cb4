//! `<target>.part.j`: which groups of the part file are on disk, and what they hash to.
//!
//! A 4 KiB header names the file's version (length, validator), the part file (device, inode, when it was made) and the
//! boot; records follow, each with its own checksum, appended only after the bytes they speak of were written. Nothing is
//! synced on the way: in the same boot the page cache survives a killed process, and after another boot every claimed
//! group is hashed again and dropped if it differs. So is it where a file system does not tell when a file was made:
//! inode numbers are used again, and a stranger's bytes would be taken for ours. A torn tail is cut off at the first
//! record that does not check.
//!
//! ```text
//! header  magic 8 · version 4 · proof kind 4 · boot 16 · device 8 · inode 8 · made 8 · total 8 · group 8 · URL hash 32
//!         · etag length 2 + bytes · last-modified length 2 + bytes · zeros … · crc32 of all before, at 4092
//! record  first group 4 · count 4 · proofs 32 × count · crc32 of all before 4
//! begun   group 4 · zero 4 · bytes of it 4 · blake3 of these 32 · crc32 of all before 4
//! ```
//!
//! The last kind is written when a download is stopped in order: a pause costs no byte. Its bytes are hashed again
//! before they are believed, whatever the boot.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use crate::error::{Error, Result};
use crate::faultpoint::disk;
use crate::hash::{GROUP_BYTES, Proof, ProofKind};
use crate::plan::{MAX_BYTES, group_bytes, group_count};
use crate::sink::{FileIdentity, PartFile, with_suffix};

const MAGIC: &[u8; 8] = b"VASSETJ\n";
const VERSION: u32 = 2;
const HEADER_BYTES: usize = 4096;
const BEGUN_BYTES: usize = 48;
/// Longest validator kept; a longer one counts as none.
pub const LONGEST_VALIDATOR_BYTES: usize = 1024;

/// What the journal's header says of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Length of the finished file.
    pub total: u64,
    /// Strong entity tag, if the origin gives one.
    pub etag: Option<String>,
    /// `Last-Modified`, as received.
    pub last_modified: Option<String>,
    /// What proves a group.
    pub proof_kind: ProofKind,
    /// blake3 of the URL without its query: information for people, the validators decide.
    pub url_hash: [u8; 32],
}

/// The beginning of a group that was being fetched when the download was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begun {
    /// Which one.
    pub group: u32,
    /// How many of its bytes are on disk.
    pub length: u32,
    /// blake3 of these.
    pub digest: [u8; 32],
}

/// What an earlier attempt left.
#[derive(Debug)]
pub struct Recovered {
    /// Whose bytes they are.
    pub identity: Identity,
    /// Proof per group that the journal claims is on disk.
    pub proofs: Vec<Option<Proof>>,
    /// Groups of which the journal claims a beginning, each once and none of them complete.
    pub begun: Vec<Begun>,
    /// Whether the bytes have to be looked at: the machine was started anew since, so that unsynced ones may be gone, or
    /// nobody can tell whether this is the same part file.
    pub is_doubtful: bool,
}

/// The open journal of one part file; the part file's lock covers it.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
    end: u64,
}

impl Journal {
    /// Opens the journal beside `part` and reads what is in it.
    ///
    /// Nothing usable (absent, of another part file, torn in the header) is `None`. A file of that name that is no
    /// journal at all is an error: it is somebody's.
    pub fn open(part: &PartFile) -> Result<(Self, Option<Recovered>)> {
        let path = with_suffix(part.target(), ".part.j");
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = disk()
            .and_then(|()| Ok(rustix::fs::open(&path, flags, Mode::from_raw_mode(0o600))?))
            .map_err(|cause| Error::storage("create the journal", &path, &cause))?;
        let mut file = File::from(file);
        let mut bytes = Vec::new();
        let limit = HEADER_BYTES as u64 + (MAX_BYTES / GROUP_BYTES) * 44;
        Read::by_ref(&mut file)
            .take(limit)
            .read_to_end(&mut bytes)
            .map_err(|cause| Error::storage("read the journal", &path, &cause))?;
        // A joined playlist's journal at this target is ours too, and of no use here.
        let is_ours = bytes.starts_with(MAGIC) || bytes.starts_with(crate::fragments::JOURNAL_MAGIC);
        if bytes.len() >= MAGIC.len() && !is_ours {
            return Err(Error::Storage {
                what: "use as a journal",
                path: path.display().to_string(),
                detail: "it was not written by this engine; move it away".to_owned(),
            });
        }
        let decoded = decode(&bytes, part.length()?);
        let recovered = match decoded {
            Some(Decoded { header, proofs, begun, end }) if header.part == part.identity()? => {
                let is_doubtful = header.boot != boot_id() || header.part.made_at_ns == 0;
                let recovered = Recovered { identity: header.identity, proofs, begun, is_doubtful };
                return Ok((Self { file, path, end: end as u64 }, Some(recovered)));
            }
            _ => None,
        };
        Ok((Self { file, path, end: 0 }, recovered))
    }

    /// Starts the journal anew for this version of the file.
    pub fn begin(&mut self, part: &PartFile, identity: &Identity) -> Result<()> {
        let header = Header { boot: boot_id(), part: part.identity()?, identity: identity.clone() };
        let emptied = disk().and_then(|()| self.file.set_len(0));
        emptied.map_err(|cause| self.failed("empty the journal", &cause))?;
        let begun = disk().and_then(|()| self.file.write_all_at(&header.encode(), 0));
        begun.map_err(|cause| self.failed("begin the journal", &cause))?;
        self.end = HEADER_BYTES as u64;
        Ok(())
    }

    /// Records consecutive groups that have been written.
    pub fn append(&mut self, first: u32, proofs: &[Proof]) -> Result<()> {
        self.append_record(&encode_record(first, proofs))
    }

    /// Records the beginning of a group that has been written.
    pub fn append_begun(&mut self, begun: &Begun) -> Result<()> {
        self.append_record(&encode_begun(begun))
    }

    fn append_record(&mut self, record: &[u8]) -> Result<()> {
        let appended = disk().and_then(|()| self.file.write_all_at(record, self.end));
        appended.map_err(|cause| self.failed("append to the journal", &cause))?;
        self.end += record.len() as u64;
        Ok(())
    }

    /// Makes the records survive a power cut; the data must have been synced before.
    pub fn sync(&self) -> Result<()> {
        disk().and_then(|()| self.file.sync_data()).map_err(|cause| self.failed("sync the journal", &cause))
    }

    /// Removes the journal: its file is complete, or its bytes are worthless.
    pub fn remove(&self) -> Result<()> {
        match disk().and_then(|()| std::fs::remove_file(&self.path)) {
            Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
                Err(self.failed("remove the journal", &cause))
            }
            _ => Ok(()),
        }
    }

    fn failed(&self, what: &'static str, cause: &std::io::Error) -> Error {
        Error::storage(what, &self.path, cause)
    }
}

/// Where the journal of `target` is.
pub fn journal_path(target: &Path) -> PathBuf {
    with_suffix(target, ".part.j")
}

/// Removes the journal of a published file. The file has its name and is right: a disk that refuses this leaves litter
/// that no later download believes (its part file is another one), and no failure.
pub fn discard(target: &Path) {
    let _ = disk().and_then(|()| std::fs::remove_file(journal_path(target)));
}

#[derive(Debug, PartialEq, Eq)]
struct Header {
    boot: [u8; 16],
    part: FileIdentity,
    identity: Identity,
}

impl Header {
    fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        let kind: u32 = match self.identity.proof_kind {
            ProofKind::Blake3 => 1,
            ProofKind::Xxh3 => 2,
        };
        bytes.extend_from_slice(&kind.to_le_bytes());
        bytes.extend_from_slice(&self.boot);
        let FileIdentity { device, inode, made_at_ns } = self.part;
        for number in [device, inode, made_at_ns, self.identity.total, GROUP_BYTES] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&self.identity.url_hash);
        for text in [&self.identity.etag, &self.identity.last_modified] {
            let text = text.as_deref().filter(|text| text.len() <= LONGEST_VALIDATOR_BYTES).unwrap_or_default();
            bytes.extend_from_slice(&(text.len() as u16).to_le_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        let mut header = [0; HEADER_BYTES];
        header[..bytes.len()].copy_from_slice(&bytes);
        let checksum = crc32fast::hash(&header[..HEADER_BYTES - 4]);
        header[HEADER_BYTES - 4..].copy_from_slice(&checksum.to_le_bytes());
        header
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (header, checksum) = bytes.get(..HEADER_BYTES)?.split_at(HEADER_BYTES - 4);
        if crc32fast::hash(header) != u32::from_le_bytes(checksum.try_into().ok()?) {
            return None;
        }
        let mut reader = Reader(header);
        if reader.take(8)? != MAGIC || reader.u32()? != VERSION {
            return None;
        }
        let proof_kind = match reader.u32()? {
            1 => ProofKind::Blake3,
            2 => ProofKind::Xxh3,
            _ => return None,
        };
        let boot = reader.take(16)?.try_into().ok()?;
        let part = FileIdentity { device: reader.u64()?, inode: reader.u64()?, made_at_ns: reader.u64()? };
        let (total, group) = (reader.u64()?, reader.u64()?);
        if group != GROUP_BYTES || total > MAX_BYTES {
            return None;
        }
        let url_hash = reader.take(32)?.try_into().ok()?;
        let (etag, last_modified) = (reader.text()?, reader.text()?);
        Some(Self { boot, part, identity: Identity { total, etag, last_modified, proof_kind, url_hash } })
    }
}

fn encode_record(first: u32, proofs: &[Proof]) -> Vec<u8> {
    let mut record = Vec::with_capacity(12 + proofs.len() * 32);
    record.extend_from_slice(&first.to_le_bytes());
    record.extend_from_slice(&(proofs.len() as u32).to_le_bytes());
    proofs.iter().for_each(|proof| record.extend_from_slice(proof));
    let checksum = crc32fast::hash(&record);
    record.extend_from_slice(&checksum.to_le_bytes());
    record
}

fn encode_begun(begun: &Begun) -> Vec<u8> {
    let mut record = Vec::with_capacity(BEGUN_BYTES);
    for number in [begun.group, 0, begun.length] {
        record.extend_from_slice(&number.to_le_bytes());
    }
    record.extend_from_slice(&begun.digest);
    let checksum = crc32fast::hash(&record);
    record.extend_from_slice(&checksum.to_le_bytes());
    record
}

struct Decoded {
    header: Header,
    proofs: Vec<Option<Proof>>,
    begun: Vec<Begun>,
    end: usize,
}

fn decode(bytes: &[u8], on_disk: u64) -> Option<Decoded> {
    let header = Header::decode(bytes)?;
    // A valid checksum proves no honesty: memory goes by what the part file can hold, not by the highest group that a
    // record or the header names.
    let groups = group_count(header.identity.total.min(on_disk));
    let mut proofs: Vec<Option<Proof>> = Vec::new();
    let mut beginnings: BTreeMap<u32, Begun> = BTreeMap::new();
    let mut end = HEADER_BYTES;
    loop {
        if let Some(begun) =
            decode_begun(&bytes[end..]).filter(|begun| is_possible(begun, header.identity.total, groups))
        {
            beginnings.insert(begun.group, begun);
            end += BEGUN_BYTES;
            continue;
        }
        let Some((first, claimed, length)) = decode_record(&bytes[end..]) else { break };
        let Some(last) = first.checked_add(claimed.len() as u32).filter(|last| *last <= groups) else { break };
        if proofs.len() < last as usize {
            proofs.resize(last as usize, None);
        }
        for (slot, proof) in proofs[first as usize..last as usize].iter_mut().zip(claimed) {
            *slot = Some(*proof);
        }
        end += length;
    }
    let is_unfinished = |begun: &Begun| proofs.get(begun.group as usize).is_none_or(Option::is_none);
    let begun = beginnings.into_values().filter(is_unfinished).collect();
    Some(Decoded { header, proofs, begun, end })
}

fn is_possible(begun: &Begun, total: u64, groups: u32) -> bool {
    let whole = group_bytes(begun.group, total);
    begun.group < groups && begun.length > 0 && u64::from(begun.length) < whole.end.saturating_sub(whole.start)
}

fn decode_begun(bytes: &[u8]) -> Option<Begun> {
    let mut reader = Reader(bytes.get(..BEGUN_BYTES)?);
    let (group, zero, length) = (reader.u32()?, reader.u32()?, reader.u32()?);
    let digest = reader.take(32)?.try_into().ok()?;
    let is_whole = crc32fast::hash(&bytes[..BEGUN_BYTES - 4]) == reader.u32()?;
    (is_whole && zero == 0).then_some(Begun { group, length, digest })
}

fn decode_record(bytes: &[u8]) -> Option<(u32, &[Proof], usize)> {
    let mut reader = Reader(bytes);
    let (first, count) = (reader.u32()?, reader.u32()?);
    let length = (count as usize).checked_mul(32)?;
    let (proofs, _) = reader.take(length)?.as_chunks::<32>();
    let checksum = reader.u32()?;
    (crc32fast::hash(&bytes[..8 + length]) == checksum && count > 0).then_some((first, proofs, 12 + length))
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn text(&mut self) -> Option<Option<String>> {
        let length = u16::from_le_bytes(self.take(2)?.try_into().ok()?);
        let text = std::str::from_utf8(self.take(usize::from(length))?).ok()?;
        Some((!text.is_empty()).then(|| text.to_owned()))
    }
}

/// Identifies this run of the kernel; zeros where the kernel does not tell, which then never equals itself on disk
/// by more than chance of the same machine.
pub(crate) fn boot_id() -> [u8; 16] {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let mut id = [0; 16];
    for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok()).unwrap_or_default();
    }
    id
}

/// Decodes arbitrary bytes as a journal; for the fuzzer.
#[doc(hidden)]
pub fn decode_any(bytes: &[u8], on_disk: u64) -> Option<usize> {
    decode(bytes, on_disk).map(|decoded| decoded.proofs.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PART: FileIdentity = FileIdentity { device: 2, inode: 3, made_at_ns: 4 };

    fn identity(total: u64) -> Identity {
        Identity {
            total,
            etag: Some("\"v1\"".to_owned()),
            last_modified: None,
            proof_kind: ProofKind::Blake3,
            url_hash: [7; 32],
        }
    }

    fn journal_of(target: &Path) -> (PartFile, Journal, Option<Recovered>) {
        let part = PartFile::open(target).unwrap();
        let (journal, recovered) = Journal::open(&part).unwrap();
        (part, journal, recovered)
    }

    #[test]
    fn remembers_groups_and_drops_a_torn_tail() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a");
        let (part, mut journal, recovered) = journal_of(&target);
        assert!(recovered.is_none());
        journal.begin(&part, &identity(10 * GROUP_BYTES)).unwrap();
        part.set_length(10 * GROUP_BYTES).unwrap();
        journal.append(2, &[[1; 32], [2; 32]]).unwrap();
        journal.append(5, &[[3; 32]]).unwrap();
        drop((part, journal));
        let whole = std::fs::read(journal_path(&target)).unwrap();
        for cut in 0..whole.len() {
            std::fs::write(journal_path(&target), &whole[..cut]).unwrap();
            let (_part, _journal, recovered) = journal_of(&target);
            let claimed = recovered.map_or(0, |found| found.proofs.iter().flatten().count());
            let expected = match cut {
                _ if cut < HEADER_BYTES + 76 => 0,
                _ => 2,
            };
            assert_eq!(claimed, expected, "cut at {cut}");
        }
        std::fs::write(journal_path(&target), &whole).unwrap();
        let recovered = journal_of(&target).2.unwrap();
        assert_eq!(recovered.identity, identity(10 * GROUP_BYTES));
        assert_eq!(recovered.proofs, [None, None, Some([1; 32]), Some([2; 32]), None, Some([3; 32])]);
        assert!(!recovered.is_doubtful);
    }

    #[test]
    fn a_beginning_counts_until_its_group_is_complete() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a");
        let (part, mut journal, _) = journal_of(&target);
        journal.begin(&part, &identity(3 * GROUP_BYTES + 5)).unwrap();
        part.set_length(3 * GROUP_BYTES + 5).unwrap();
        let begun = |group, length| Begun { group, length, digest: [7; 32] };
        for record in [begun(1, 10), begun(2, 9), begun(1, 20)] {
            journal.append_begun(&record).unwrap();
        }
        journal.append(2, &[[2; 32]]).unwrap();
        drop((part, journal));
        let (part, mut journal, recovered) = journal_of(&target);
        let recovered = recovered.unwrap();
        assert_eq!(recovered.begun, [begun(1, 20)]);
        assert_eq!(recovered.proofs, [None, None, Some([2; 32])]);
        // What a group cannot have is no beginning, and ends what is believed.
        journal.append_begun(&begun(3, 5)).unwrap();
        journal.append(0, &[[0; 32]]).unwrap();
        drop((part, journal));
        assert_eq!(journal_of(&target).2.unwrap().proofs, [None, None, Some([2; 32])]);
    }

    #[test]
    fn appending_after_a_torn_tail_overwrites_it() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a");
        let (part, mut journal, _) = journal_of(&target);
        journal.begin(&part, &identity(10 * GROUP_BYTES)).unwrap();
        part.set_length(10 * GROUP_BYTES).unwrap();
        journal.append(0, &[[1; 32]]).unwrap();
        drop((part, journal));
        let mut torn = std::fs::read(journal_path(&target)).unwrap();
        torn.extend_from_slice(&encode_record(1, &[[2; 32]])[..20]);
        std::fs::write(journal_path(&target), torn).unwrap();
        let (part, mut journal, recovered) = journal_of(&target);
        assert_eq!(recovered.unwrap().proofs, [Some([1; 32])]);
        journal.append(1, &[[3; 32]]).unwrap();
        drop((part, journal));
        assert_eq!(journal_of(&target).2.unwrap().proofs, [Some([1; 32]), Some([3; 32])]);
    }

    #[test]
    fn a_journal_of_another_part_file_counts_for_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a");
        let (part, mut journal, _) = journal_of(&target);
        journal.begin(&part, &identity(GROUP_BYTES)).unwrap();
        journal.append(0, &[[1; 32]]).unwrap();
        // A new inode while the old one still exists, so that the number cannot be reused.
        std::fs::rename(part.path(), folder.path().join("kept")).unwrap();
        assert!(journal_of(&target).2.is_none());
    }

    #[test]
    fn a_journal_of_an_earlier_file_with_the_same_inode_counts_for_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a");
        let (part, mut journal, _) = journal_of(&target);
        journal.begin(&part, &identity(GROUP_BYTES)).unwrap();
        part.set_length(GROUP_BYTES).unwrap();
        journal.append(0, &[[1; 32]]).unwrap();
        let earlier = FileIdentity { made_at_ns: 1, ..part.identity().unwrap() };
        let bytes = Header { boot: boot_id(), part: earlier, identity: identity(GROUP_BYTES) }.encode();
        std::fs::File::options().write(true).open(journal_path(&target)).unwrap().write_all_at(&bytes, 0).unwrap();
        drop((part, journal));
        assert!(journal_of(&target).2.is_none());
    }

    #[test]
    fn somebody_elses_file_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a");
        std::fs::write(journal_path(&target), b"my shopping list").unwrap();
        let part = PartFile::open(&target).unwrap();
        assert!(matches!(Journal::open(&part), Err(Error::Storage { .. })));
        assert_eq!(std::fs::read(journal_path(&target)).unwrap(), b"my shopping list");
    }

    #[test]
    fn any_flipped_bit_is_noticed() {
        let mut bytes = Header { boot: [1; 16], part: PART, identity: identity(3 * GROUP_BYTES) }.encode().to_vec();
        bytes.extend_from_slice(&encode_record(0, &[[9; 32], [8; 32]]));
        for at in 0..bytes.len() {
            bytes[at] ^= 1;
            let claimed = decode(&bytes, u64::MAX).map_or(0, |decoded| decoded.proofs.len());
            assert_eq!(claimed, 0, "byte {at}");
            bytes[at] ^= 1;
        }
        assert_eq!(decode(&bytes, u64::MAX).map(|decoded| decoded.proofs.len()), Some(2));
    }

    #[test]
    fn a_valid_record_claims_no_group_that_the_part_file_or_the_total_cannot_hold() {
        let header = |total| Header { boot: [1; 16], part: PART, identity: identity(total) }.encode();
        let claim = |total, first| [&header(total)[..], &encode_record(first, &[[9; 32]])].concat();
        let groups = |bytes: &[u8], on_disk| decode(bytes, on_disk).map(|decoded| decoded.proofs.len());
        // 4 PiB claimed in 4 KiB of journal would be 140 GB of proofs.
        assert_eq!(groups(&claim(MAX_BYTES, u32::MAX - 1), 3 * GROUP_BYTES), Some(0));
        assert_eq!(groups(&claim(2 * GROUP_BYTES, 2), u64::MAX), Some(0));
        assert_eq!(groups(&claim(2 * GROUP_BYTES, u32::MAX), u64::MAX), Some(0));
        assert_eq!(groups(&claim(MAX_BYTES, 2), 2 * GROUP_BYTES + 1), Some(3));
    }
}
