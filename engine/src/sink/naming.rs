//! Taking a name without ever taking somebody else's file with it.
//!
//! The kernel can do it in one step where the file system lets it (`RENAME_NOREPLACE`), and a hard link refuses a taken
//! name too. exFAT, SMB shares and most file systems in user space (rclone, s3fs, shared folders of virtual machines)
//! have neither. There the name is first taken by an empty file that only one can make (`O_EXCL`), and the finished one
//! is renamed over that. Two downloads still cannot take each other's name; what is lost is that a crash between the two
//! steps leaves an empty file, and that for this moment one is seen.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::{Errno, Result};

/// What file systems bound a name to.
const LONGEST_NAME_BYTES: usize = 255;
/// `.part.j`.
const LONGEST_SUFFIX_BYTES: usize = 7;
/// `~` and sixteen digits.
const DIGEST_BYTES: usize = 17;

/// Renames `from` to `to` in `folder`. `EXIST` when the name is taken; then nothing has changed.
pub(super) fn take_name(folder: impl AsFd, from: &OsStr, to: &OsStr) -> Result<()> {
    let folder = folder.as_fd();
    match rustix::fs::renameat_with(folder, from, folder, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
        done => return done,
    }
    match rustix::fs::linkat(folder, from, folder, to, AtFlags::empty()) {
        Ok(()) => {
            // The next download to this target removes a part name that stays.
            let _ = rustix::fs::unlinkat(folder, from, AtFlags::empty());
            Ok(())
        }
        Err(Errno::PERM | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::MLINK) => {
            rename_over_own_placeholder(folder, from, to)
        }
        Err(cause) => Err(cause),
    }
}

fn rename_over_own_placeholder(folder: impl AsFd, from: &OsStr, to: &OsStr) -> Result<()> {
    let folder = folder.as_fd();
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let placeholder: OwnedFd = rustix::fs::openat(folder, to, flags, Mode::from_raw_mode(0o666))?;
    let is_ours = || rustix::fs::fstat(&placeholder).is_ok_and(|held| held.st_size == 0);
    if !is_ours() {
        return Err(Errno::EXIST);
    }
    let renamed = rustix::fs::renameat(folder, from, folder, to);
    if renamed.is_err() && is_ours() {
        let _ = rustix::fs::unlinkat(folder, to, AtFlags::empty());
    }
    renamed
}

/// `path` with `suffix` behind its whole name, extension included. A name that leaves no place for it is shortened, with
/// a digest of the whole so that two long names stay two.
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let Some(name) = path.file_name().filter(|name| name.len() + LONGEST_SUFFIX_BYTES > LONGEST_NAME_BYTES) else {
        let mut name = OsString::from(path.as_os_str());
        name.push(suffix);
        return PathBuf::from(name);
    };
    let text = name.to_string_lossy();
    let digest = blake3::hash(name.as_encoded_bytes()).to_hex();
    let most = LONGEST_NAME_BYTES - LONGEST_SUFFIX_BYTES - DIGEST_BYTES;
    let cut = text.floor_char_boundary(most);
    path.with_file_name(format!("{}~{}{suffix}", &text[..cut], &digest[..DIGEST_BYTES - 1]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn a_placeholder_gives_way_to_the_finished_file_and_to_nobody_elses() {
        let folder = tempfile::tempdir().unwrap();
        let held = File::open(folder.path()).unwrap();
        let (from, to) = (OsStr::new("f.part"), OsStr::new("f"));
        std::fs::write(folder.path().join(from), b"ours").unwrap();
        std::fs::write(folder.path().join(to), b"theirs").unwrap();
        assert_eq!(rename_over_own_placeholder(&held, from, to), Err(Errno::EXIST));
        assert_eq!(std::fs::read(folder.path().join(to)).unwrap(), b"theirs");
        std::fs::remove_file(folder.path().join(to)).unwrap();
        rename_over_own_placeholder(&held, from, to).unwrap();
        assert_eq!(std::fs::read(folder.path().join(to)).unwrap(), b"ours");
        assert!(!folder.path().join(from).exists());
    }

    #[test]
    fn a_placeholder_whose_file_is_gone_goes_too() {
        let folder = tempfile::tempdir().unwrap();
        let held = File::open(folder.path()).unwrap();
        assert_eq!(rename_over_own_placeholder(&held, OsStr::new("f.part"), OsStr::new("f")), Err(Errno::NOENT));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn every_name_that_a_file_may_have_has_a_part_name_of_its_own() {
        for length in 1..=LONGEST_NAME_BYTES {
            let path = Path::new("folder").join("n".repeat(length));
            for suffix in [".part", ".part.j"] {
                let name = with_suffix(&path, suffix);
                assert!(name.file_name().unwrap().len() <= LONGEST_NAME_BYTES, "{length}");
                assert!(name.to_str().unwrap().ends_with(suffix) && name.parent() == path.parent());
            }
        }
        let long = |last: &str| with_suffix(Path::new(&("é".repeat(126) + last)), ".part");
        assert_ne!(long("a"), long("b"));
    }
}
