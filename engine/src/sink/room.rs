//! How much a file may still grow before its disk is too full for everybody else.
//!
//! Nothing is handed out ahead of the bytes: `fallocate` for what only a header claims lets one origin take a whole disk
//! with an empty answer, and ext4 keeps what it got when the call fails half-way. XFS gives it all back, and reserves
//! behind a growing file by itself; on btrfs a reserved extent is written in place, which costs it checksums and, under
//! a snapshot, the room a second time. So the length is set (a hole costs nothing), and room is looked at: once for the
//! whole file before its first byte, and again and again while it is written.

use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use rustix::fs::fstatvfs;

use crate::error::{Error, Result};

/// The reserve is never more than this part of the disk: a small disk is of use too.
const LARGEST_SHARE: u64 = 20;
/// Bytes written between two looks: a part of what is left, so that many files that grow at once stop in time.
const SHARE_OF_ROOM: u64 = 64;
const MOST_BETWEEN_LOOKS: u64 = 8 * 1024 * 1024;

/// What one file may take.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// Bytes of the disk that stay free whatever is downloaded.
    floor: u64,
    /// May be written before the next look.
    granted: AtomicU64,
}

impl Room {
    pub(super) fn above(floor: u64) -> Self {
        Self { floor, granted: AtomicU64::new(0) }
    }

    /// Refuses a file that cannot fit, before it has any byte. `growth` is what it needs besides what it occupies.
    pub(super) fn expect(&self, file: impl AsFd, path: &Path, growth: u64) -> Result<()> {
        match self.look(file) {
            Some(left) if left.free < growth => Err(left.refusal("make room for", path, growth)),
            _ => Ok(()),
        }
    }

    /// Takes room for the next bytes.
    pub(super) fn take(&self, file: impl AsFd, path: &Path, bytes: u64) -> Result<()> {
        if self.granted.fetch_update(Relaxed, Relaxed, |granted| granted.checked_sub(bytes)).is_ok() {
            return Ok(());
        }
        match self.look(file) {
            Some(left) if left.free < bytes => Err(left.refusal("write to", path, bytes)),
            Some(left) => {
                let granted = (left.free / SHARE_OF_ROOM).min(MOST_BETWEEN_LOOKS);
                self.granted.store(granted.saturating_sub(bytes), Relaxed);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// What is free above the floor; `None` where the file system does not tell, as some in user space.
    fn look(&self, file: impl AsFd) -> Option<Left> {
        let volume = fstatvfs(file).ok().filter(|volume| volume.f_blocks > 0)?;
        let unit = volume.f_frsize.max(1);
        let floor = self.floor.min(volume.f_blocks.saturating_mul(unit) / LARGEST_SHARE);
        let available = volume.f_bavail.saturating_mul(unit);
        Some(Left { free: available.saturating_sub(floor), available, floor })
    }
}

struct Left {
    free: u64,
    available: u64,
    floor: u64,
}

impl Left {
    fn refusal(&self, what: &'static str, path: &Path, bytes: u64) -> Error {
        let Self { available, floor, .. } = self;
        let detail = format!("{bytes} bytes do not fit: {available} are free, {floor} of them stay free");
        Error::DiskFull { what, path: path.display().to_string(), detail }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_free_is_never_more_than_a_twentieth_of_the_disk() {
        let file = tempfile::tempfile().unwrap();
        let volume = fstatvfs(&file).unwrap();
        let disk = volume.f_blocks * volume.f_frsize;
        let left = Room::above(u64::MAX).look(&file).unwrap();
        assert_eq!(left.floor, disk / LARGEST_SHARE);
        assert_eq!(Room::above(1 << 20).look(&file).unwrap().floor, (1 << 20).min(disk / LARGEST_SHARE));
    }

    #[test]
    fn a_file_larger_than_what_is_free_is_refused_before_its_first_byte() {
        let file = tempfile::tempfile().unwrap();
        let refused = Room::default().expect(&file, Path::new("f"), u64::MAX).unwrap_err();
        assert!(matches!(&refused, Error::DiskFull { .. }), "{refused}");
        assert!(refused.to_string().contains("the disk is full"), "{refused}");
        Room::default().expect(&file, Path::new("f"), 1).unwrap();
    }

    #[test]
    fn room_is_looked_at_again_after_what_was_granted() {
        let file = tempfile::tempfile().unwrap();
        let room = Room::default();
        room.take(&file, Path::new("f"), 100).unwrap();
        let granted = room.granted.load(Relaxed);
        assert!(granted > 0 && granted < MOST_BETWEEN_LOOKS);
        room.take(&file, Path::new("f"), granted).unwrap();
        assert_eq!(room.granted.load(Relaxed), 0);
        assert!(room.take(&file, Path::new("f"), u64::MAX).is_err());
    }
}
