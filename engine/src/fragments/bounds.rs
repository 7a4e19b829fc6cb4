//! How large a playlist may be before it is refused.

use super::refusal::PlaylistError;

/// Bounds on what a playlist may make this process do.
///
/// A playlist is a stranger's program: 40 bytes of `SegmentTemplate` can describe 2⁶³ requests. Every
/// bound is checked while counting, never after allocating.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlaylistLimits {
    /// Bytes of one playlist or manifest text.
    pub text_bytes: u64,
    /// Fragments of one output file.
    pub fragments: u64,
    /// Bytes of all fragment addresses together, after resolution against their base.
    pub address_bytes: u64,
    /// Variants, renditions or representations to choose from.
    pub variants: u64,
    /// Playlists between the address given and the fragments (a master and its media playlist are 2).
    pub depth: u64,
    /// Nested XML elements in a manifest.
    pub xml_depth: u64,
    /// XML elements in a manifest.
    pub xml_elements: u64,
}

impl Default for PlaylistLimits {
    fn default() -> Self {
        Self {
            text_bytes: 16 << 20,
            fragments: 200_000,
            address_bytes: 64 << 20,
            variants: 2_000,
            depth: 3,
            xml_depth: 24,
            xml_elements: 250_000,
        }
    }
}

/// Refuses `count` above `limit`, naming what was counted.
pub(crate) fn check(what: &'static str, count: u64, limit: u64) -> Result<(), PlaylistError> {
    if count > limit { Err(PlaylistError::LimitExceeded { what, limit }) } else { Ok(()) }
}
