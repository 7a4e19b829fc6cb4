//! From the high watermark to the low one, oldest expired first.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::fstatvfs;
use rustix::io::Errno;

use super::claim::Claim;
use crate::error::{Error, Result};

/// One file the caller's database knows, relative to the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Relative path of plain names.
    pub path: PathBuf,
    /// Seconds since 1970 from which on the file may go.
    pub expires_at: i64,
    /// Whether it may go at all.
    pub retention: Retention,
    /// Whether a task holds it now.
    pub is_leased: bool,
}

/// What a file was promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retention {
    /// Until it expires.
    Temporary,
    /// Until its user deletes it: never by us.
    Archive,
}

/// Used fractions of the filesystem, between 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Watermarks {
    /// Below it nothing happens.
    pub high: f64,
    /// Down to it room is made.
    pub low: f64,
}

/// How hard to work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Removals between two pauses; the fill level is read again after each batch.
    pub batch: usize,
    /// Pause after a batch, so that downloads get the disk.
    pub pause: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { batch: 64, pause: Duration::from_millis(2) }
    }
}

/// Why a file stayed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// Its time has not come.
    #[error("not expired")]
    NotExpired,
    /// Archive files go only when their user deletes them.
    #[error("archive")]
    Archive,
    /// A running task holds it.
    #[error("leased")]
    Leased,
    /// Somebody holds a `flock` on it or on its part or journal.
    #[error("locked")]
    Locked,
    /// Somebody reads or writes it.
    #[error("open")]
    Open,
    /// It has a second name, which may be in the archive.
    #[error("hard linked")]
    HardLinked,
    /// A link, folder, FIFO or device, or a link on the way to it.
    #[error("not a regular file")]
    NotRegular,
    /// Its name was given to another file meanwhile.
    #[error("replaced")]
    Replaced,
    /// The path is absolute, empty or contains `..`.
    #[error("outside the root")]
    OutsideRoot,
    /// It was gone already.
    #[error("gone")]
    Gone,
    /// The system refused.
    #[error("{0}")]
    Refused(String),
}

impl From<Errno> for Reason {
    fn from(error: Errno) -> Self {
        match error {
            Errno::NOENT => Self::Gone,
            other => Self::Refused(std::io::Error::from(other).to_string()),
        }
    }
}

/// A removed file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freed {
    /// As it was given.
    pub path: PathBuf,
    /// Bytes of disk it occupied.
    pub bytes: u64,
}

/// A file that stayed although room was needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// As it was given.
    pub path: PathBuf,
    /// Why.
    pub reason: Reason,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Relief {
    /// Used fraction before.
    pub used_before: f64,
    /// Used fraction after.
    pub used_after: f64,
    /// What was removed, in order.
    pub freed: Vec<Freed>,
    /// What was looked at and stayed. Candidates after the low mark was reached are not looked at.
    pub kept: Vec<Kept>,
    /// Whether the low mark was reached (or the high one never).
    pub is_relieved: bool,
}

impl Relief {
    /// Bytes of disk that came free.
    pub fn freed_bytes(&self) -> u64 {
        self.freed.iter().map(|freed| freed.bytes).sum()
    }
}

/// Makes room below `root` if it is used above the high mark: removes expired candidates, oldest first, until the low
/// mark. `now` is seconds since 1970. Paths below one of `protected` (relative to the root) stay whatever the candidate
/// says. Blocks; run it on a thread that may.
///
/// A file that cannot be removed is reported and skipped; only a root that cannot be read is an error.
pub fn relieve(
    root: &Path,
    candidates: &[Candidate],
    marks: Watermarks,
    now: i64,
    protected: &[PathBuf],
    pace: Pace,
) -> Result<Relief> {
    let folder = File::open(root).map_err(|error| Error::storage("open the folder", root, &error))?;
    let read_fill = || used_fraction(folder.as_fd()).map_err(|error| Error::storage("measure", root, &error.into()));
    relieve_with(folder.as_fd(), candidates, marks, now, protected, pace, read_fill)
}

fn relieve_with(
    root: BorrowedFd<'_>,
    candidates: &[Candidate],
    marks: Watermarks,
    now: i64,
    protected: &[PathBuf],
    pace: Pace,
    mut read_fill: impl FnMut() -> Result<f64>,
) -> Result<Relief> {
    let used_before = read_fill()?;
    let mut relief = Relief { used_before, used_after: used_before, is_relieved: true, ..Relief::default() };
    if used_before < marks.high {
        return Ok(relief);
    }
    relief.is_relieved = false;
    let mut by_age: Vec<&Candidate> = candidates.iter().collect();
    by_age.sort_by_key(|candidate| candidate.expires_at);
    for batch in by_age.chunks(pace.batch.max(1)) {
        for candidate in batch {
            match remove(root, candidate, now, protected) {
                Ok(bytes) => relief.freed.push(Freed { path: candidate.path.clone(), bytes }),
                Err(reason) => relief.kept.push(Kept { path: candidate.path.clone(), reason }),
            }
        }
        relief.used_after = read_fill()?;
        if relief.used_after <= marks.low {
            relief.is_relieved = true;
            break;
        }
        std::thread::sleep(pace.pause);
    }
    Ok(relief)
}

fn remove(root: BorrowedFd<'_>, candidate: &Candidate, now: i64, protected: &[PathBuf]) -> Result<u64, Reason> {
    if candidate.retention == Retention::Archive || protected.iter().any(|folder| candidate.path.starts_with(folder)) {
        return Err(Reason::Archive);
    }
    if candidate.is_leased {
        return Err(Reason::Leased);
    }
    if candidate.expires_at > now {
        return Err(Reason::NotExpired);
    }
    Claim::new(root, &candidate.path)?.remove(root)
}

/// As `df` counts it: what users can get of what users could get.
fn used_fraction(folder: BorrowedFd<'_>) -> Result<f64, Errno> {
    let volume = fstatvfs(folder)?;
    let used = volume.f_blocks.saturating_sub(volume.f_bfree);
    let total = used.saturating_add(volume.f_bavail);
    Ok(if total == 0 { 0.0 } else { used as f64 / total as f64 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    const FULL: Watermarks = Watermarks { high: 0.9, low: 0.5 };
    const PACE: Pace = Pace { batch: 1, pause: Duration::ZERO };

    fn candidate(path: &str, expires_at: i64) -> Candidate {
        Candidate { path: path.into(), expires_at, retention: Retention::Temporary, is_leased: false }
    }

    /// Runs with a disk that starts full and loses `step` of its fill with every look.
    fn run(root: &Path, candidates: &[Candidate], step: f64) -> Relief {
        let folder = File::open(root).unwrap();
        let mut fill = 1.0 + step;
        let read_fill = || {
            fill -= step;
            Ok(fill)
        };
        relieve_with(folder.as_fd(), candidates, FULL, 1_000, &["archive".into()], PACE, read_fill).unwrap()
    }

    fn write(root: &Path, path: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"x").unwrap();
    }

    fn reason(relief: &Relief) -> &Reason {
        assert!(relief.freed.is_empty(), "{relief:?}");
        &relief.kept[0].reason
    }

    #[test]
    fn goes_from_the_high_mark_to_the_low_one_oldest_first() {
        let root = tempfile::tempdir().unwrap();
        let ages = [7, 3, 9, 1, 5];
        let candidates: Vec<Candidate> = ages.iter().map(|age| candidate(&format!("tmp/{age}/f"), *age)).collect();
        candidates.iter().for_each(|candidate| write(root.path(), candidate.path.to_str().unwrap()));
        let relief = run(root.path(), &candidates, 0.2);
        let freed: Vec<&Path> = relief.freed.iter().map(|freed| freed.path.as_path()).collect();
        assert_eq!(freed, [Path::new("tmp/1/f"), Path::new("tmp/3/f"), Path::new("tmp/5/f")]);
        assert!(relief.is_relieved && relief.used_after <= 0.5 && root.path().join("tmp/7/f").exists());
    }

    #[test]
    fn below_the_high_mark_nothing_is_touched() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "tmp/1/f");
        let folder = File::open(root.path()).unwrap();
        let fill = || Ok(0.89);
        let relief = relieve_with(folder.as_fd(), &[candidate("tmp/1/f", 0)], FULL, 1_000, &[], PACE, fill).unwrap();
        assert!(relief.is_relieved && relief.freed.is_empty() && relief.kept.is_empty());
        assert!(root.path().join("tmp/1/f").exists());
    }

    #[test]
    fn what_is_promised_or_in_use_stays() {
        let root = tempfile::tempdir().unwrap();
        for path in ["archive/1/f", "tmp/1/f"] {
            write(root.path(), path);
        }
        let archive = Candidate { retention: Retention::Archive, ..candidate("tmp/1/f", 0) };
        let leased = Candidate { is_leased: true, ..candidate("tmp/1/f", 0) };
        for (candidate, expected) in [
            (archive, Reason::Archive),
            (candidate("archive/1/f", 0), Reason::Archive),
            (leased, Reason::Leased),
            (candidate("tmp/1/f", 1_001), Reason::NotExpired),
        ] {
            assert_eq!(reason(&run(root.path(), &[candidate], 0.0)), &expected);
        }
        assert!(root.path().join("archive/1/f").exists() && root.path().join("tmp/1/f").exists());
    }

    #[test]
    fn a_file_somebody_streams_stays_until_it_is_closed() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "tmp/1/f");
        let reader = File::open(root.path().join("tmp/1/f")).unwrap();
        assert_eq!(reason(&run(root.path(), &[candidate("tmp/1/f", 0)], 0.0)), &Reason::Open);
        drop(reader);
        assert_eq!(run(root.path(), &[candidate("tmp/1/f", 0)], 0.0).freed.len(), 1);
    }

    #[test]
    fn a_locked_part_stays_with_its_journal() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "tmp/1/f.part");
        write(root.path(), "tmp/1/f.part.j");
        let journal = File::open(root.path().join("tmp/1/f.part.j")).unwrap();
        rustix::fs::flock(&journal, rustix::fs::FlockOperation::LockExclusive).unwrap();
        for path in ["tmp/1/f.part", "tmp/1/f.part.j"] {
            assert_eq!(reason(&run(root.path(), &[candidate(path, 0)], 0.0)), &Reason::Locked, "{path}");
        }
    }

    #[test]
    fn links_pipes_folders_and_second_names_stay() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "archive/1/kept");
        write(root.path(), "tmp/1/f");
        symlink(root.path().join("archive/1/kept"), root.path().join("tmp/1/link")).unwrap();
        symlink(root.path().join("archive/1"), root.path().join("tmp/2")).unwrap();
        fs::hard_link(root.path().join("archive/1/kept"), root.path().join("tmp/1/second")).unwrap();
        let fifo = std::ffi::CString::new(root.path().join("tmp/1/fifo").to_str().unwrap()).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
        for (path, expected) in [
            ("tmp/1/link", Reason::NotRegular),
            ("tmp/2/kept", Reason::NotRegular),
            ("tmp/1/second", Reason::HardLinked),
            ("tmp/1/fifo", Reason::NotRegular),
            ("tmp/1", Reason::NotRegular),
            ("tmp/1/f/x", Reason::NotRegular),
            ("tmp/1/missing", Reason::Gone),
        ] {
            assert_eq!(reason(&run(root.path(), &[candidate(path, 0)], 0.0)), &expected, "{path}");
        }
        assert!(root.path().join("archive/1/kept").exists() && root.path().join("tmp/1/f").exists());
    }

    #[test]
    fn no_path_leads_out_of_the_root() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("data")).unwrap();
        write(root.path(), "secret");
        let absolute = root.path().join("secret");
        for path in ["../secret", "tmp/../../secret", "", ".", "/", absolute.to_str().unwrap()] {
            let relief = run(&root.path().join("data"), &[candidate(path, 0)], 0.0);
            assert_eq!(reason(&relief), &Reason::OutsideRoot, "{path}");
        }
        assert!(root.path().join("secret").exists());
    }

    #[test]
    fn the_folder_of_the_last_file_goes_and_top_folders_stay() {
        let root = tempfile::tempdir().unwrap();
        for path in ["tmp/1/a", "tmp/1/b", "tmp/2/c", "tmp/d"] {
            write(root.path(), path);
        }
        let candidates: Vec<Candidate> = ["tmp/1/a", "tmp/2/c", "tmp/d"].map(|path| candidate(path, 0)).to_vec();
        assert_eq!(run(root.path(), &candidates, 0.0).freed.len(), 3);
        assert!(root.path().join("tmp/1/b").exists() && !root.path().join("tmp/2").exists());
        assert_eq!(run(root.path(), &[candidate("tmp/1/b", 0)], 0.0).freed.len(), 1);
        assert!(root.path().join("tmp").exists() && !root.path().join("tmp/1").exists());
    }

    #[test]
    fn a_missing_root_is_an_error_that_names_it() {
        let error = relieve(Path::new("/nonexistent/root"), &[], FULL, 0, &[], Pace::default()).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/root"), "{error}");
    }
}
