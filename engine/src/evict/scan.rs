//! A parallel scan for old files: directory handles, one `getdents` per 128 KiB of names, one `stat` per file.
//!
//! Two threads beat `find` by more than their number because nothing is built per file unless it matches: no path, no
//! entry object, no formatting. Threads share one stack of folders; a folder is opened from its parent's handle when its
//! turn comes, so the number of open descriptors is bounded by depth and threads, not by breadth.

use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, openat, statat};

use crate::error::{Error, Result};

/// Names read by one system call.
const NAME_BUFFER_BYTES: usize = 128 * 1024;

/// Beyond this disk and directory locks are the limit, not processors.
const MOST_THREADS: usize = 8;

/// A regular file that has not been written since the given time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaleFile {
    /// Relative to the scanned root.
    pub path: PathBuf,
    /// Seconds since 1970 of the last write.
    pub modified_at: i64,
    /// Bytes in the file.
    pub bytes: u64,
}

/// Lists regular files below `root` that were last written before `before` (seconds since 1970), in no particular order.
///
/// Links are neither followed nor listed, other filesystems are not entered, and folders that vanish or cannot be read
/// are passed over: the scan reports, it proves nothing. `threads` of `None` means one per processor, up to eight.
pub fn find_stale(root: &Path, before: i64, threads: Option<usize>) -> Result<Vec<StaleFile>> {
    let cannot_open = |error: std::io::Error| Error::storage("scan", root, &error);
    let folder = File::open(root).map_err(cannot_open)?;
    let device = rustix::fs::fstat(&folder).map_err(|error| cannot_open(error.into()))?.st_dev;
    let available = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = threads.unwrap_or(available).clamp(1, MOST_THREADS);
    let work = Work::starting_with(Folder { parent: None, name: c".".to_owned(), path: PathBuf::new() });
    let root = Arc::new(OwnedFd::from(folder));
    let scan = Scan { root, device, before, work };
    let found = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(|| scan.run())).collect();
        let mut found = scan.run();
        for other in others {
            // A panic in a worker is a panic of the scan.
            found.append(&mut other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        found
    });
    Ok(found)
}

/// A folder that waits for its turn. `parent` is `None` for what lies directly below the root handle.
struct Folder {
    parent: Option<Arc<OwnedFd>>,
    name: CString,
    path: PathBuf,
}

struct Scan {
    root: Arc<OwnedFd>,
    device: u64,
    before: i64,
    work: Work,
}

impl Scan {
    fn run(&self) -> Vec<StaleFile> {
        let mut found = Vec::new();
        let mut names = vec![MaybeUninit::uninit(); NAME_BUFFER_BYTES];
        while let Some(folder) = self.work.next() {
            self.look_into(&folder, &mut names, &mut found);
            self.work.done();
        }
        found
    }

    fn look_into(&self, folder: &Folder, names: &mut [MaybeUninit<u8>], found: &mut Vec<StaleFile>) {
        let parent = folder.parent.as_ref().unwrap_or(&self.root);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let Ok(opened) = openat(parent, &folder.name, flags, Mode::empty()) else { return };
        let opened = Arc::new(opened);
        let mut entries = RawDir::new(opened.as_fd(), names);
        while let Some(Ok(entry)) = entries.next() {
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            match entry.file_type() {
                FileType::Directory => self.enter(&opened, folder, name),
                // Some filesystems do not tell the type with the name.
                FileType::RegularFile | FileType::Unknown => self.judge(&opened, folder, name, found),
                _ => {}
            }
        }
    }

    fn judge(&self, opened: &Arc<OwnedFd>, folder: &Folder, name: &CStr, found: &mut Vec<StaleFile>) {
        let Ok(status) = statat(opened, name, AtFlags::SYMLINK_NOFOLLOW) else { return };
        match FileType::from_raw_mode(status.st_mode) {
            FileType::RegularFile if status.st_mtime < self.before => found.push(StaleFile {
                path: folder.path.join(OsStr::from_bytes(name.to_bytes())),
                modified_at: status.st_mtime,
                bytes: u64::try_from(status.st_size).unwrap_or(0),
            }),
            FileType::Directory => self.enter(opened, folder, name),
            _ => {}
        }
    }

    fn enter(&self, opened: &Arc<OwnedFd>, folder: &Folder, name: &CStr) {
        let is_same_device =
            statat(opened, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|status| status.st_dev == self.device);
        if is_same_device {
            let path = folder.path.join(OsStr::from_bytes(name.to_bytes()));
            self.work.add(Folder { parent: Some(Arc::clone(opened)), name: name.to_owned(), path });
        }
    }
}

/// The shared stack of folders, and how many are being looked into: when both are nothing, the scan is over.
struct Work {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    waiting: Vec<Folder>,
    unfinished: usize,
}

impl Work {
    fn starting_with(folder: Folder) -> Self {
        Self { state: Mutex::new(State { waiting: vec![folder], unfinished: 1 }), changed: Condvar::new() }
    }

    fn add(&self, folder: Folder) {
        let mut state = self.state.lock();
        state.waiting.push(folder);
        state.unfinished += 1;
        self.changed.notify_one();
    }

    fn next(&self) -> Option<Folder> {
        let mut state = self.state.lock();
        loop {
            if let Some(folder) = state.waiting.pop() {
                return Some(folder);
            }
            if state.unfinished == 0 {
                return None;
            }
            self.changed.wait(&mut state);
        }
    }

    fn done(&self) {
        let mut state = self.state.lock();
        state.unfinished -= 1;
        if state.unfinished == 0 {
            self.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::find_stale;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::{Path, PathBuf};
    use std::time::{Duration, SystemTime};

    fn write(root: &Path, path: &str, modified_at: u64) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let file = fs::File::create(path).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(modified_at)).unwrap();
    }

    #[test]
    fn finds_every_old_file_once_at_any_depth_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let mut expected = Vec::new();
        for folder in 0..40 {
            for file in 0..25 {
                let path = format!("{}{folder}/{file}", "d/".repeat(folder % 5));
                write(root.path(), &path, 1_000 + file);
                if file < 10 {
                    expected.push(PathBuf::from(path));
                }
            }
        }
        symlink(root.path(), root.path().join("loop")).unwrap();
        symlink("0/0", root.path().join("link")).unwrap();
        expected.sort();
        for threads in [Some(1), Some(3), None] {
            let mut found: Vec<PathBuf> =
                find_stale(root.path(), 1_010, threads).unwrap().into_iter().map(|file| file.path).collect();
            found.sort();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn tells_size_and_time() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "f", 42);
        let found = find_stale(root.path(), 43, None).unwrap();
        assert_eq!((found[0].path.as_path(), found[0].modified_at, found[0].bytes), (Path::new("f"), 42, 0));
    }

    #[test]
    fn a_missing_root_is_an_error_that_names_it() {
        assert!(
            find_stale(Path::new("/nonexistent/root"), 0, None).unwrap_err().to_string().contains("/nonexistent/root")
        );
    }
}
