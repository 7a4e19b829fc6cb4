//! The paths a database knows, eight bytes each: a million files fit into the cache of a small machine.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A set of relative paths that keeps only their hashes, keyed afresh each time so that no title can be made to collide.
///
/// A collision (one in 2^44 for a million paths) makes an unknown file look known, and it stays: the harmless direction.
#[derive(Debug, Default)]
pub struct KnownPaths {
    keys: RandomState,
    hashes: HashSet<u64, KeptAsIs>,
}

impl KnownPaths {
    /// Adds a path relative to the root that will be scanned.
    pub fn add(&mut self, path: &Path) {
        let folder = path.parent().map_or(OsStr::new(""), Path::as_os_str).as_bytes();
        let name = path.file_name().unwrap_or_default().as_bytes();
        let hash = self.hash(self.hash_folder(folder), name);
        self.hashes.insert(hash);
    }

    /// How many paths there are.
    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// The known names of one folder.
    pub(super) fn folder(&self, folder: &[u8]) -> KnownNames<'_> {
        KnownNames { known: self, folder: self.hash_folder(folder) }
    }

    fn hash_folder(&self, folder: &[u8]) -> u64 {
        self.hash(0, folder)
    }

    fn hash(&self, start: u64, bytes: &[u8]) -> u64 {
        let mut hasher = self.keys.build_hasher();
        hasher.write_u64(start);
        hasher.write(bytes);
        hasher.finish()
    }
}

/// See [`KnownPaths::folder`].
pub(super) struct KnownNames<'known> {
    known: &'known KnownPaths,
    folder: u64,
}

impl KnownNames<'_> {
    pub(super) fn contains(&self, name: &[u8]) -> bool {
        self.known.hashes.contains(&self.known.hash(self.folder, name))
    }
}

/// The hashes are hashes already.
#[derive(Debug, Clone, Copy, Default)]
struct KeptAsIs;

impl BuildHasher for KeptAsIs {
    type Hasher = AsIs;

    fn build_hasher(&self) -> AsIs {
        AsIs(0)
    }
}

#[derive(Debug)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn write(&mut self, bytes: &[u8]) {
        // Only `write_u64` is called for `u64` keys; this keeps the trait's contract for anything else.
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
