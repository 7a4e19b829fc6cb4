//! Hashes in the same pass as the bytes, without a second read.
//!
//! blake3 is a tree, so groups of [`GROUP_BYTES`] are hashed wherever they arrive and merged at the end
//! ([`merge_blake3`]); their chaining values are also the journal's proof of content. xxh3 and sha256 are
//! chains: [`Sequential`] eats bytes at the frontier while they are hot, and catches up from the page cache
//! behind it when several connections write ahead.

use blake3::hazmat::{ChainingValue, HasherExt, Mode, left_subtree_len, merge_subtrees_non_root, merge_subtrees_root};
use sha2::Digest;
use twox_hash::XxHash3_128;

/// Unit of claiming, hashing and journalling. A power of two, so a group is a whole blake3 subtree; half a MiB,
/// so that sixteen connections lose at most 8 MiB of unfinished groups to a kill.
pub const GROUP_BYTES: u64 = 512 * 1024;

/// A hash the engine computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// 256-bit blake3, equal to `b3sum`.
    Blake3,
    /// 128-bit xxh3, equal to `xxhsum -H2`.
    Xxh3,
    /// SHA-256.
    Sha256,
}

impl Algorithm {
    /// The name users write.
    pub fn name(self) -> &'static str {
        match self {
            Self::Blake3 => "blake3",
            Self::Xxh3 => "xxh3",
            Self::Sha256 => "sha256",
        }
    }

    /// Reads what users write.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Blake3, Self::Xxh3, Self::Sha256].into_iter().find(|known| known.name() == name)
    }

    /// Digits of the digest in hex.
    pub fn hex_length(self) -> usize {
        match self {
            Self::Blake3 | Self::Sha256 => 64,
            Self::Xxh3 => 32,
        }
    }
}

/// What the journal keeps of each group to recognise its bytes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProofKind {
    /// blake3 chaining values; they double as the parts of the digest.
    Blake3,
    /// xxh3-128 of the group, where no blake3 is wanted: half the cost.
    Xxh3,
}

impl ProofKind {
    /// The cheapest kind that serves the algorithms.
    pub fn for_algorithms(algorithms: &[Algorithm]) -> Self {
        if algorithms.contains(&Algorithm::Blake3) { Self::Blake3 } else { Self::Xxh3 }
    }
}

/// Proof of one group's bytes; xxh3 fills the first half.
pub type Proof = [u8; 32];

/// Hashes one group from its first to its last byte.
pub struct GroupHasher {
    inner: Inner,
}

enum Inner {
    // blake3's state is 2 KiB; boxed so that a part's task stays small.
    Blake3 { hasher: Box<blake3::Hasher>, is_whole_file: bool },
    Xxh3(Box<XxHash3_128>),
}

impl GroupHasher {
    /// For the group that begins at `offset`. `total` decides whether this group is the whole file, whose
    /// proof is then the digest itself (a root cannot be made from a non-root value).
    pub fn new(kind: ProofKind, offset: u64, total: u64) -> Self {
        debug_assert!(offset.is_multiple_of(GROUP_BYTES));
        let inner = match kind {
            ProofKind::Blake3 => {
                let mut hasher = Box::new(blake3::Hasher::new());
                hasher.set_input_offset(offset);
                Inner::Blake3 { hasher, is_whole_file: total <= GROUP_BYTES }
            }
            ProofKind::Xxh3 => Inner::Xxh3(Box::new(XxHash3_128::new())),
        };
        Self { inner }
    }

    /// The next bytes of the group.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.inner {
            Inner::Blake3 { hasher, .. } => {
                hasher.update(bytes);
            }
            Inner::Xxh3(hasher) => hasher.write(bytes),
        }
    }

    /// The proof; the group must be complete and not empty.
    pub fn finish(self) -> Proof {
        match self.inner {
            Inner::Blake3 { hasher, is_whole_file: true } => *hasher.finalize().as_bytes(),
            Inner::Blake3 { hasher, is_whole_file: false } => hasher.finalize_non_root(),
            Inner::Xxh3(hasher) => {
                let mut proof = [0; 32];
                proof[..16].copy_from_slice(&hasher.finish_128().to_be_bytes());
                proof
            }
        }
    }
}

/// The blake3 digest of a file of `total` bytes from the proofs of all its groups in order.
pub fn merge_blake3(proofs: &[Proof], total: u64) -> [u8; 32] {
    match proofs {
        [] => *blake3::hash(b"").as_bytes(),
        [whole] => *whole,
        _ => {
            let (left, right) = halves(proofs, total);
            *merge_subtrees_root(&left, &right, Mode::Hash).as_bytes()
        }
    }
}

fn halves(proofs: &[Proof], bytes: u64) -> (ChainingValue, ChainingValue) {
    let left_bytes = left_subtree_len(bytes);
    let (left, right) = proofs.split_at((left_bytes / GROUP_BYTES) as usize);
    (subtree(left, left_bytes), subtree(right, bytes - left_bytes))
}

fn subtree(proofs: &[Proof], bytes: u64) -> ChainingValue {
    match proofs {
        [leaf] => *leaf,
        _ => {
            let (left, right) = halves(proofs, bytes);
            merge_subtrees_non_root(&left, &right, Mode::Hash)
        }
    }
}

/// Hashes that must see the bytes in order.
#[derive(Clone, Default)]
pub struct Sequential {
    position: u64,
    blake3: Option<Box<blake3::Hasher>>,
    xxh3: Option<Box<XxHash3_128>>,
    sha256: Option<sha2::Sha256>,
}

impl Sequential {
    /// The chains among `algorithms`; `with_blake3` when the length is unknown and groups cannot be used.
    pub fn new(algorithms: &[Algorithm], with_blake3: bool) -> Self {
        let has = |algorithm| algorithms.contains(&algorithm);
        Self {
            position: 0,
            blake3: (with_blake3 && has(Algorithm::Blake3)).then(|| Box::new(blake3::Hasher::new())),
            xxh3: has(Algorithm::Xxh3).then(|| Box::new(XxHash3_128::new())),
            sha256: has(Algorithm::Sha256).then(sha2::Sha256::new),
        }
    }

    /// Whether nothing has to be hashed in order.
    pub fn is_idle(&self) -> bool {
        self.blake3.is_none() && self.xxh3.is_none() && self.sha256.is_none()
    }

    /// How many bytes from the start have been hashed.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The bytes at `position`.
    pub fn update(&mut self, bytes: &[u8]) {
        if let Some(hasher) = &mut self.blake3 {
            hasher.update(bytes);
        }
        if let Some(hasher) = &mut self.xxh3 {
            hasher.write(bytes);
        }
        if let Some(hasher) = &mut self.sha256 {
            hasher.update(bytes);
        }
        self.position += bytes.len() as u64;
    }

    /// The digests in hex.
    pub fn finish(self) -> Vec<(Algorithm, String)> {
        let mut digests = Vec::new();
        if let Some(hasher) = self.blake3 {
            digests.push((Algorithm::Blake3, hasher.finalize().to_hex().to_string()));
        }
        if let Some(hasher) = self.xxh3 {
            digests.push((Algorithm::Xxh3, format!("{:032x}", hasher.finish_128())));
        }
        if let Some(hasher) = self.sha256 {
            digests.push((Algorithm::Sha256, hex(&hasher.finalize())));
        }
        digests
    }
}

/// Lowercase hex.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(length: usize) -> Vec<u8> {
        (0..length).map(|i| (i as u32).wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect()
    }

    #[test]
    fn merged_groups_equal_plain_blake3() {
        let group = GROUP_BYTES as usize;
        for length in [1, 1023, group - 1, group, group + 1, 2 * group, 3 * group + 5, 7 * group, 8 * group + 1] {
            let data = bytes(length);
            let proofs: Vec<Proof> = data
                .chunks(group)
                .enumerate()
                .map(|(index, chunk)| {
                    let mut hasher = GroupHasher::new(ProofKind::Blake3, (index * group) as u64, length as u64);
                    chunk.chunks(100_000).for_each(|piece| hasher.update(piece));
                    hasher.finish()
                })
                .collect();
            assert_eq!(merge_blake3(&proofs, length as u64), *blake3::hash(&data).as_bytes(), "{length} bytes");
        }
        assert_eq!(merge_blake3(&[], 0), *blake3::hash(b"").as_bytes());
    }

    #[test]
    fn chains_give_the_published_digests_of_abc() {
        let mut all = Sequential::new(&[Algorithm::Blake3, Algorithm::Xxh3, Algorithm::Sha256], true);
        all.update(b"a");
        all.update(b"bc");
        let digests: Vec<String> = all.finish().into_iter().map(|(_, hex)| hex).collect();
        assert_eq!(digests[0], "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85");
        assert_eq!(digests[1], "06b05ab6733a618578af5f94892f3950");
        assert_eq!(digests[2], "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
