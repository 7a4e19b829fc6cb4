//! Getting hold of one file so surely that removing it takes nothing from anybody.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, Stat, flock, fstat, openat, statat, unlinkat};
use rustix::io::Errno;

use super::relief::Reason;

const OPEN_FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC).union(OFlags::RDONLY);

/// `O_NONBLOCK` so that a FIFO somebody planted does not hold us up.
const OPEN_FILE: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC).union(OFlags::NONBLOCK);

/// A file that is ours to remove: opened, exclusively locked, and open nowhere else a moment ago.
pub(super) struct Claim<'path> {
    folders: Vec<OwnedFd>,
    names: Vec<&'path OsStr>,
    status: Stat,
    /// Holds the lock until the file is gone.
    _file: OwnedFd,
}

impl<'path> Claim<'path> {
    /// Claims `path`, relative to `root`, or says why it must stay.
    pub(super) fn new(root: BorrowedFd<'_>, path: &'path Path) -> Result<Self, Reason> {
        let names = plain_names(path).ok_or(Reason::OutsideRoot)?;
        let (name, folder_names) = names.split_last().ok_or(Reason::OutsideRoot)?;
        let mut folders: Vec<OwnedFd> = Vec::with_capacity(folder_names.len());
        for folder in folder_names {
            let parent = folders.last().map_or(root, |folder| folder.as_fd());
            folders.push(openat(parent, *folder, OPEN_FOLDER, Mode::empty()).map_err(cannot_open)?);
        }
        let parent = folders.last().map_or(root, |folder| folder.as_fd());
        let file = openat(parent, *name, OPEN_FILE, Mode::empty()).map_err(cannot_open)?;
        let status = fstat(&file).map_err(Reason::from)?;
        if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
            return Err(Reason::NotRegular);
        }
        if status.st_nlink != 1 {
            return Err(Reason::HardLinked);
        }
        lock(&file)?;
        if is_companion_locked(parent, name) {
            return Err(Reason::Locked);
        }
        if is_open_elsewhere(&file) {
            return Err(Reason::Open);
        }
        Ok(Self { folders, names, status, _file: file })
    }

    /// Removes the file, and the folder it leaves empty unless that stands directly in the root. Returns the freed bytes.
    pub(super) fn remove(self, root: BorrowedFd<'_>) -> Result<u64, Reason> {
        let Some((name, folder_names)) = self.names.split_last() else { return Err(Reason::OutsideRoot) };
        let parent = self.folders.last().map_or(root, |folder| folder.as_fd());
        // The name may have been given to another file since it was opened.
        let now = statat(parent, *name, AtFlags::SYMLINK_NOFOLLOW).map_err(cannot_open)?;
        if (now.st_dev, now.st_ino) != (self.status.st_dev, self.status.st_ino) {
            return Err(Reason::Replaced);
        }
        unlinkat(parent, *name, AtFlags::empty()).map_err(Reason::from)?;
        if let ([.., grandparent, _], [.., folder_name]) = (self.folders.as_slice(), folder_names) {
            // Refused by the kernel while anything is in it.
            let _ = unlinkat(grandparent, *folder_name, AtFlags::REMOVEDIR);
        }
        Ok(u64::try_from(self.status.st_blocks).unwrap_or(0) * 512)
    }
}

/// The components of a relative path of plain names; `None` for anything that could lead elsewhere.
fn plain_names(path: &Path) -> Option<Vec<&OsStr>> {
    let names: Option<Vec<&OsStr>> = path
        .components()
        .map(|component| match component {
            Component::Normal(name) => Some(name),
            _ => None,
        })
        .collect();
    names.filter(|names| !names.is_empty())
}

fn cannot_open(error: Errno) -> Reason {
    match error {
        Errno::NOENT => Reason::Gone,
        // A link where a folder or file should be, or a file where a folder should be.
        Errno::LOOP | Errno::NOTDIR | Errno::NXIO => Reason::NotRegular,
        other => Reason::from(other),
    }
}

fn lock(file: &OwnedFd) -> Result<(), Reason> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(()),
        Err(Errno::WOULDBLOCK) => Err(Reason::Locked),
        Err(error) => Err(Reason::from(error)),
    }
}

/// `NAME.part` and its journal `NAME.part.j` belong together: whoever locks one needs both.
fn is_companion_locked(parent: BorrowedFd<'_>, name: &OsStr) -> bool {
    let bytes = name.as_bytes();
    let companion = match bytes.strip_suffix(b".j") {
        Some(part) if part.ends_with(b".part") => part.to_vec(),
        _ if bytes.ends_with(b".part") => [bytes, b".j"].concat(),
        _ => return false,
    };
    let Ok(companion) = openat(parent, OsStr::from_bytes(&companion), OPEN_FILE, Mode::empty()) else { return false };
    lock(&companion).is_err()
}

/// `fcntl` command that chooses the signal of a lease (fcntl(2)); missing from the libc crate.
const F_SETSIG: libc::c_int = 10;

/// Asks the kernel for a write lease, which it refuses while any other descriptor of the file is open, in whatever process
/// or container. On a filesystem without leases the answer is no: an open file survives its name anyway.
fn is_open_elsewhere(file: &OwnedFd) -> bool {
    let descriptor = file.as_raw_fd();
    // SAFETY: `fcntl` with these commands takes integers and changes only the state of a descriptor that we own. Leases
    // announce an opener by SIGIO, which would end the process; SIGURG is ignored by default.
    unsafe {
        if libc::fcntl(descriptor, F_SETSIG, libc::SIGURG) != 0 {
            return false;
        }
        if libc::fcntl(descriptor, libc::F_SETLEASE, libc::F_WRLCK) != 0 {
            return Errno::from_io_error(&std::io::Error::last_os_error()) == Some(Errno::AGAIN);
        }
        // Given back at once: an opener must not wait for us.
        libc::fcntl(descriptor, libc::F_SETLEASE, libc::F_UNLCK);
    }
    false
}
