//! One piece of the output file, as a playlist describes it.

use std::sync::Arc;

use url::Url;

use super::bounds::{PlaylistLimits, check};
use super::refusal::PlaylistError;

/// A half-open range of bytes of one resource, never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FragmentRange {
    start: u64,
    end: u64,
}

impl FragmentRange {
    /// The `length` bytes from `start`; `None` when empty or past 2⁶⁴.
    #[must_use]
    pub fn from_length(start: u64, length: u64) -> Option<Self> {
        let end = start.checked_add(length)?;
        (length > 0).then_some(Self { start, end })
    }

    /// First byte.
    #[must_use]
    pub fn start(&self) -> u64 {
        self.start
    }

    /// One past the last byte.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Bytes in the range.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a range is never empty")]
    pub fn len(&self) -> u64 {
        self.end - self.start
    }

    /// Parses `first-last`, the inclusive form of DASH and of a `Range` header.
    #[must_use]
    pub fn parse_inclusive(text: &str) -> Option<Self> {
        let (first, last) = text.trim().split_once('-')?;
        let (first, last): (u64, u64) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        Self::from_length(first, last.checked_sub(first)?.checked_add(1)?)
    }

    /// The joined range when `next` begins where this one ends.
    #[must_use]
    pub fn joined_with(&self, next: &Self) -> Option<Self> {
        (self.end == next.start).then_some(Self { start: self.start, end: next.end })
    }
}

/// What a fragment is to the file: the header of its codec, or media.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FragmentKind {
    /// `EXT-X-MAP` or a DASH `Initialization`.
    Initialization,
    /// A media segment.
    Media,
}

/// Where the 16 bytes of an AES-128 key come from.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum KeySource {
    /// Fetched once per download, whatever the number of fragments that need it.
    Address(Arc<Url>),
    /// Known to the caller.
    Bytes([u8; 16]),
}

impl std::fmt::Debug for KeySource {
    /// Never the bytes of a key: they would end up in a log.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Address(url) => write!(formatter, "Address({})", super::address::shown(url)),
            Self::Bytes(_) => formatter.write_str("Bytes(16 hidden)"),
        }
    }
}

/// How sure it is that a fragment is encrypted, and with which vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Doubt {
    /// The playlist says so.
    None,
    /// A header below a key with an explicit vector; packagers leave it clear as often as not.
    MayBeClear,
    /// A header below a key without one: the sequence number, zero, or clear. Its first block tells.
    Guessed,
}

/// AES-128-CBC of one fragment: where the key is and the IV to start with.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Encryption {
    /// The key.
    pub key: KeySource,
    /// Explicit `IV`, or the media sequence number as RFC 8216 §5.2 says.
    pub initialization_vector: [u8; 16],
    /// What only the bytes can tell.
    pub doubt: Doubt,
}

/// One request's worth of the output file, in output order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fragment {
    /// Absolute address, `http` or `https`.
    pub url: Url,
    /// The bytes of that resource, or all of it.
    pub range: Option<FragmentRange>,
    /// How to decrypt it; `None` is clear.
    pub encryption: Option<Encryption>,
    /// Header or media.
    pub kind: FragmentKind,
    /// Playing time in microseconds, 0 when unknown; used for progress only.
    pub duration_microseconds: u64,
    /// Whether its existence was computed from a duration: that may be rounded up, and then the origin has no such file.
    pub is_presumed: bool,
}

/// Where a list came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ListKind {
    /// An HLS media playlist.
    Hls,
    /// A DASH manifest.
    Dash,
    /// Given by the caller.
    Explicit,
}

/// Everything that makes one output file, in order, with what was noticed on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FragmentList {
    /// Which format said so.
    pub kind: ListKind,
    /// In output order; adjacent byte ranges not yet joined.
    pub fragments: Vec<Fragment>,
    /// Segments the playlist itself declares missing (`EXT-X-GAP`); they are left out.
    pub declared_gaps: u64,
    /// Places where encoding changes; joined as they are.
    pub discontinuities: u64,
    /// Tags or elements nobody here knows, tolerated as RFC 8216 §6.3.1 asks.
    pub unknown_tags: u64,
    /// Separate audio or subtitle renditions that this file does not contain.
    pub separate_renditions: Vec<String>,
}

impl FragmentList {
    /// An empty list of one kind.
    #[must_use]
    pub fn new(kind: ListKind) -> Self {
        Self {
            kind,
            fragments: Vec::new(),
            declared_gaps: 0,
            discontinuities: 0,
            unknown_tags: 0,
            separate_renditions: Vec::new(),
        }
    }

    /// Playing time of all fragments.
    #[must_use]
    pub fn duration_microseconds(&self) -> u64 {
        self.fragments.iter().fold(0, |sum, fragment| sum.saturating_add(fragment.duration_microseconds))
    }
}

/// Counts fragments and address bytes against the limits as they are added.
///
/// A separate type because a list of 200,000 short references against an 8 KiB base address is
/// 1.6 GB: the count alone is no bound on memory.
#[derive(Debug)]
pub(crate) struct FragmentCollector {
    limits: PlaylistLimits,
    address_bytes: u64,
    list: FragmentList,
}

impl FragmentCollector {
    pub(crate) fn new(kind: ListKind, limits: PlaylistLimits) -> Self {
        Self { limits, address_bytes: 0, list: FragmentList::new(kind) }
    }

    pub(crate) fn push(&mut self, fragment: Fragment) -> Result<(), PlaylistError> {
        check("fragments", self.list.fragments.len() as u64 + 1, self.limits.fragments)?;
        self.address_bytes += fragment.url.as_str().len() as u64;
        check("bytes of fragment addresses", self.address_bytes, self.limits.address_bytes)?;
        self.list.fragments.push(fragment);
        Ok(())
    }

    pub(crate) fn list_mut(&mut self) -> &mut FragmentList {
        &mut self.list
    }

    /// The finished list; one without media is an error: a header alone is no film.
    pub(crate) fn finish(self) -> Result<FragmentList, PlaylistError> {
        let has_media = self.list.fragments.iter().any(|fragment| fragment.kind == FragmentKind::Media);
        if has_media { Ok(self.list) } else { Err(PlaylistError::Empty) }
    }
}
