//! The file while it grows and the moment it appears.
//!
//! Bytes go to `<target>.part` by positioned writes; the target's name is taken only by [`PartFile::publish`], once,
//! and never from another file: sync, rename without replacing, sync of the folder.

use std::ffi::OsString;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FallocateFlags, FlockOperation, Mode, OFlags, RenameFlags, StatxFlags};
use rustix::io::Errno;

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
                .and_then(|()| Ok(rustix::fs::openat(&folder, part_name, flags, Mode::from_raw_mode(0o644))?))
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
                    return Ok(Self { file: File::from(file), path, target: target.to_owned(), folder });
                }
                Ok(_) | Err(Errno::NOENT) => {}
                Err(cause) => return Err(Error::storage("look at", &path, &cause.into())),
            }
        }
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

    /// Makes the file `total` bytes long with room behind every byte, so that a full disk shows now and not later.
    /// File systems that cannot reserve get a sparse file.
    pub fn reserve(&self, total: u64) -> Result<()> {
        self.set_length(total)?;
        if total == 0 {
            return Ok(());
        }
        let reserved = match self.in_memory_room()? {
            Some(room) if room < total => Err(Errno::NOSPC),
            Some(_) => Ok(()),
            None => rustix::fs::fallocate(&self.file, FallocateFlags::empty(), 0, total),
        };
        match reserved {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(()),
            Err(cause) => Err(Error::storage("reserve room for", &self.path, &cause.into())),
        }
    }

    /// How long the file can become where files live in memory; `None` on every other file system. tmpfs reserves by
    /// handing out every page, and clears it when it is written: a fifth of what a download costs there.
    fn in_memory_room(&self) -> Result<Option<u64>> {
        const TMPFS_MAGIC: u64 = 0x0102_1994;
        let failed = |cause: Errno| Error::storage("look at", &self.path, &cause.into());
        let system = rustix::fs::fstatfs(&self.file).map_err(failed)?;
        if system.f_type as u64 != TMPFS_MAGIC || system.f_blocks == 0 {
            return Ok(None);
        }
        let held = rustix::fs::fstat(&self.file).map_err(failed)?.st_blocks as u64 * 512;
        Ok(Some(held + system.f_bavail as u64 * system.f_bsize as u64))
    }

    /// Cuts or extends the file.
    pub fn set_length(&self, total: u64) -> Result<()> {
        disk()
            .and_then(|()| self.file.set_len(total))
            .map_err(|cause| Error::storage("set the length of", &self.path, &cause))
    }

    /// Writes all of `bytes` at `offset`.
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
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
        match rustix::fs::renameat_with(&self.folder, from, &self.folder, to, RenameFlags::NOREPLACE) {
            Ok(()) => {}
            Err(Errno::EXIST) => return Err(Error::target_exists(&self.target)),
            // Some network and FUSE file systems: a hard link does not replace either.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                match rustix::fs::linkat(&self.folder, from, &self.folder, to, AtFlags::empty()) {
                    Ok(()) => {}
                    Err(Errno::EXIST) => return Err(Error::target_exists(&self.target)),
                    Err(cause) => return Err(failed("publish", cause)),
                }
                // The next download to this target removes a part name that stays.
                let _ = rustix::fs::unlinkat(&self.folder, from, AtFlags::empty());
            }
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

/// `path` with `suffix` behind its whole name, extension included.
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path.as_os_str());
    name.push(suffix);
    PathBuf::from(name)
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
    fn memory_is_refused_when_there_is_too_little_and_not_handed_out_before_it_is_written() {
        let Ok(folder) = tempfile::tempdir_in("/dev/shm") else { return };
        let part = PartFile::open(&folder.path().join("film.mp4")).unwrap();
        let Some(room) = part.in_memory_room().unwrap() else { return };
        assert!(matches!(part.reserve(room + (1 << 40)), Err(Error::DiskFull { .. })));
        part.reserve(1 << 20).unwrap();
        assert_eq!(rustix::fs::fstat(&part.file).unwrap().st_blocks, 0);
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
