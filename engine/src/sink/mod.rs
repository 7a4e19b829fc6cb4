//! The file while it grows and the moment it appears.
//!
//! Bytes go to `<target>.part` by positioned writes; the target's name is taken only by [`PartFile::publish`], once,
//! and never from another file: sync, rename without replacing, sync of the folder.

mod naming;
mod room;

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, StatxFlags};
use rustix::io::Errno;

use self::naming::take_name;
pub use self::naming::with_suffix;
use self::room::Room;
use crate::error::{Error, Result};
use crate::faultpoint::disk;

/// What tells one file from another, also from one that had its inode number before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileIdentity {
    /// The file system.
    pub device: u64,
    /// The file in it, while it exists.
    pub inode: u64,
    /// When it was made, since 1970; 0 where the file system does not tell.
    pub made_at_ns: u64,
}

/// Whether a published file would survive a power cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Durability {
    /// Nobody asked for it.
    NotAsked,
    /// Its bytes and its name have been synced.
    Synced,
    /// Its bytes have been synced, and the disk did not say so of its name. Asking again proves nothing: after a failed
    /// sync the kernel may report success for what it has dropped.
    Unknown {
        /// The system's words.
        detail: String,
    },
}

impl Durability {
    /// A stable word for programs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::NotAsked => "not_asked",
            Self::Synced => "synced",
            Self::Unknown { .. } => "unknown",
        }
    }
}

/// `<target>.part`, locked against every other process and handle.
#[derive(Debug)]
pub struct PartFile {
    file: File,
    path: PathBuf,
    target: PathBuf,
    folder: OwnedFd,
    room: Room,
}

impl PartFile {
    /// Opens or creates the part file of `target` and locks it.
    ///
    /// # Errors
    /// `TargetExists`, `JournalLocked`, or `Storage` when the folder is missing, read-only or not a folder.
    pub fn open(target: &Path) -> Result<Self> {
        let folder_path = match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::PATH;
        let folder = rustix::fs::open(folder_path, flags, Mode::empty())
            .map_err(|cause| Error::storage("open the folder", folder_path, &cause.into()))?;
        let path = with_suffix(target, ".part");
        let (Some(target_name), Some(part_name)) = (target.file_name(), path.file_name()) else {
            return Err(Error::InvalidRequest("the target names no file".to_owned()));
        };
        loop {
            match rustix::fs::statat(&folder, target_name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => {}
                Ok(_) => return Err(Error::target_exists(target)),
                Err(cause) => return Err(Error::storage("look for", target, &cause.into())),
            }
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let file = disk()
                .and_then(|()| Ok(rustix::fs::openat(&folder, part_name, flags, Mode::from_raw_mode(0o666))?))
                .map_err(|cause| Error::storage("create", &path, &cause))?;
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => return Err(Error::journal_locked(path)),
                Err(cause) => return Err(Error::storage("lock", &path, &cause.into())),
            }
            // Between open and lock the file may have been published by its owner; then the name is another's.
            let held = rustix::fs::fstat(&file).map_err(|cause| Error::storage("look at", &path, &cause.into()))?;
            match rustix::fs::statat(&folder, part_name, AtFlags::SYMLINK_NOFOLLOW) {
                // A published file that could only be linked to its name still has its part name: it is not to be touched.
                Ok(named) if named.st_nlink > 1 => match rustix::fs::unlinkat(&folder, part_name, AtFlags::empty()) {
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(cause) => return Err(Error::storage("remove", &path, &cause.into())),
                },
                Ok(named) if (named.st_dev, named.st_ino) == (held.st_dev, held.st_ino) => {
                    let (file, target, room) = (File::from(file), target.to_owned(), Room::default());
                    return Ok(Self { file, path, target, folder, room });
                }
                Ok(_) | Err(Errno::NOENT) => {}
                Err(cause) => return Err(Error::storage("look at", &path, &cause.into())),
            }
        }
    }

    /// Writes only while so many bytes of the disk stay free.
    pub fn keeping_free(mut self, floor: u64) -> Self {
        self.room = Room::above(floor);
        self
    }

    /// Where the bytes are.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where they will appear.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Which file this is: a journal belongs to one, not to a name.
    pub fn identity(&self) -> Result<FileIdentity> {
        let failed = |cause: Errno| Error::storage("look at", &self.path, &cause.into());
        let stat = rustix::fs::fstat(&self.file).map_err(failed)?;
        let told = rustix::fs::statx(&self.file, "", AtFlags::EMPTY_PATH, StatxFlags::BTIME).ok();
        let made = told.filter(|told| told.stx_mask & StatxFlags::BTIME.bits() != 0).map(|told| told.stx_btime);
        let made_at_ns = made.map_or(0, |made| made.tv_sec as u64 * 1_000_000_000 + u64::from(made.tv_nsec));
        Ok(FileIdentity { device: stat.st_dev, inode: stat.st_ino, made_at_ns })
    }

    /// How long the file is now.
    pub fn length(&self) -> Result<u64> {
        let stat =
            rustix::fs::fstat(&self.file).map_err(|cause| Error::storage("look at", &self.path, &cause.into()))?;
        Ok(u64::try_from(stat.st_size).unwrap_or(0))
    }

    /// Refuses a length that does not fit: a disk that is too small shows now and not later. Nothing is taken for bytes
    /// that have only been announced.
    pub fn expect(&self, total: u64) -> Result<()> {
        let stat =
            rustix::fs::fstat(&self.file).map_err(|cause| Error::storage("look at", &self.path, &cause.into()))?;
        let held = u64::try_from(stat.st_blocks).unwrap_or(0) * 512;
        self.room.expect(&self.file, &self.path, total.saturating_sub(held))
    }

    /// Cuts or extends the file.
    pub fn set_length(&self, total: u64) -> Result<()> {
        disk()
            .and_then(|()| self.file.set_len(total))
            .map_err(|cause| Error::storage("set the length of", &self.path, &cause))
    }

    /// Writes all of `bytes` at `offset`.
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.room.take(&self.file, &self.path, bytes.len() as u64)?;
        disk()
            .and_then(|()| self.file.write_all_at(bytes, offset))
            .map_err(|cause| Error::storage("write to", &self.path, &cause))
    }

    /// Fills `buffer` from `offset`.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        self.file.read_exact_at(buffer, offset).map_err(|cause| Error::storage("read back", &self.path, &cause))
    }

    /// Gives the finished file its name. Nothing is replaced: if the name was taken meanwhile, the part file stays.
    ///
    /// # Errors
    /// Only while the file does not have its name. What goes wrong afterwards is in the answer: a file that is there and
    /// complete is no failure, and whoever tried again would be told that its name is taken.
    pub fn publish(&self, durable: bool) -> Result<Durability> {
        let failed = |what: &'static str, cause: Errno| Error::storage(what, &self.target, &cause.into());
        crate::faultpoint!("K8");
        if durable {
            disk().and_then(|()| self.file.sync_all()).map_err(|cause| Error::storage("sync", &self.path, &cause))?;
        }
        let (Some(from), Some(to)) = (self.path.file_name(), self.target.file_name()) else {
            return Err(Error::InvalidRequest("the target names no file".to_owned()));
        };
        disk().map_err(|cause| Error::storage("publish", &self.target, &cause))?;
        match take_name(&self.folder, from, to) {
            Ok(()) => {}
            Err(Errno::EXIST) => return Err(Error::target_exists(&self.target)),
            Err(cause) => return Err(failed("publish", cause)),
        }
        crate::faultpoint!("K9");
        Ok(match durable.then(|| self.sync_folder()) {
            None => Durability::NotAsked,
            Some(Ok(())) => Durability::Synced,
            Some(Err(cause)) => Durability::Unknown { detail: cause.to_string() },
        })
    }

    fn sync_folder(&self) -> std::io::Result<()> {
        // `O_PATH` descriptors cannot be synced.
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        disk()
            .and_then(|()| Ok(rustix::fs::openat(&self.folder, ".", flags, Mode::empty())?))
            .and_then(|folder| Ok(rustix::fs::fsync(&folder)?))
    }
}

impl Drop for PartFile {
    /// An empty part file is nothing to go on from: what was refused before its first byte leaves no trace.
    fn drop(&mut self) {
        let Some(name) = self.path.file_name() else { return };
        let (Ok(held), Ok(named)) =
            (rustix::fs::fstat(&self.file), rustix::fs::statat(&self.folder, name, AtFlags::SYMLINK_NOFOLLOW))
        else {
            return;
        };
        // Still locked, so the name cannot become another's meanwhile; after publishing it may be already.
        if held.st_size == 0 && (held.st_dev, held.st_ino) == (named.st_dev, named.st_ino) {
            let _ = disk().and_then(|()| Ok(rustix::fs::unlinkat(&self.folder, name, AtFlags::empty())?));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn publishing_never_replaces_a_file_that_appeared_meanwhile() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("film.mp4");
        let part = PartFile::open(&target).unwrap();
        part.write_at(b"ours", 0).unwrap();
        std::fs::write(&target, b"theirs").unwrap();
        assert!(matches!(part.publish(true), Err(Error::TargetExists { .. })));
        assert_eq!(std::fs::read(&target).unwrap(), b"theirs");
        assert_eq!(std::fs::read(part.path()).unwrap(), b"ours");
    }

    #[test]
    fn a_part_name_that_is_a_published_files_other_name_is_not_written_to() {
        let folder = tempfile::tempdir().unwrap();
        let (target, published) = (folder.path().join("film.mp4"), folder.path().join("moved.mp4"));
        std::fs::write(&published, b"published").unwrap();
        std::fs::hard_link(&published, folder.path().join("film.mp4.part")).unwrap();
        let part = PartFile::open(&target).unwrap();
        part.set_length(0).unwrap();
        part.write_at(b"another film", 0).unwrap();
        assert_eq!(std::fs::read(&published).unwrap(), b"published");
        assert_eq!(part.publish(true).unwrap(), Durability::Synced);
    }

    #[test]
    fn an_announced_length_takes_no_room_and_one_that_cannot_fit_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let part = PartFile::open(&folder.path().join("film.mp4")).unwrap();
        part.expect(1 << 24).unwrap();
        part.set_length(1 << 24).unwrap();
        assert_eq!(rustix::fs::fstat(&part.file).unwrap().st_blocks, 0);
        assert!(matches!(part.expect(1 << 60), Err(Error::DiskFull { .. })));
        assert_eq!(part.length().unwrap(), 1 << 24);
    }

    #[test]
    fn nothing_is_written_into_the_room_that_is_kept_free() {
        let folder = tempfile::tempdir().unwrap();
        let volume = rustix::fs::statvfs(folder.path()).unwrap();
        // The floor is bounded by a twentieth of the disk, which more than that is free of wherever tests run.
        let part = PartFile::open(&folder.path().join("film.mp4")).unwrap().keeping_free(1 << 20);
        let beyond = volume.f_bavail * volume.f_frsize;
        assert!(matches!(part.room.take(&part.file, &part.path, beyond), Err(Error::DiskFull { .. })));
        part.write_at(b"fits", 0).unwrap();
    }

    #[test]
    fn a_second_handle_on_the_same_target_is_refused_until_the_first_ends() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("film.mp4");
        let first = PartFile::open(&target).unwrap();
        assert!(matches!(PartFile::open(&target), Err(Error::JournalLocked { .. })));
        drop(first);
        assert!(PartFile::open(&target).is_ok());
    }

    #[test]
    fn an_empty_part_file_goes_and_one_with_bytes_stays() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("film.mp4");
        let path = PartFile::open(&target).unwrap().path().to_owned();
        assert!(!path.exists());
        let part = PartFile::open(&target).unwrap();
        part.write_at(b"begun", 0).unwrap();
        drop(part);
        assert!(path.exists());
        // Published and empty: the part name is somebody else's by now.
        let part = PartFile::open(&target).unwrap();
        part.set_length(0).unwrap();
        part.publish(false).unwrap();
        std::fs::write(&path, b"").unwrap();
        drop(part);
        assert!(path.exists() && target.exists());
    }

    #[test]
    fn an_existing_target_a_missing_folder_and_a_symlink_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("film.mp4");
        std::fs::write(&target, b"x").unwrap();
        assert!(matches!(PartFile::open(&target), Err(Error::TargetExists { .. })));
        assert!(matches!(PartFile::open(&folder.path().join("no/film")), Err(Error::Storage { .. })));
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("link.part")).unwrap();
        assert!(matches!(PartFile::open(&folder.path().join("link")), Err(Error::Storage { .. })));
    }
}
