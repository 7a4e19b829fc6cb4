//! Why a playlist or manifest cannot become one file.

/// A playlist that was read and cannot be joined, and what the reader can do about it.
///
/// Nothing here may be retried: the same text gives the same answer. Failures of the network are
/// the engine's own errors, not this type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlaylistError {
    /// The text is neither an HLS playlist nor a DASH manifest.
    #[error(
        "{location} is neither an HLS playlist nor a DASH manifest: it starts with {start:?}; fetch it as a plain file instead"
    )]
    NotAPlaylist {
        /// Where the text came from, without its query.
        location: String,
        /// The first few characters, control characters escaped.
        start: String,
    },
    /// A line or an element breaks the format in a way that changes which bytes are meant.
    #[error("the playlist is malformed at {place}: {problem}; ask the origin for a correct one")]
    Malformed {
        /// A line number (`line 12`) or an element path (`MPD/Period[0]`).
        place: String,
        /// What is wrong there.
        problem: String,
    },
    /// The playlist has no end: it describes a broadcast that is still running.
    #[error(
        "the playlist is live (no end is declared); only finished ones are joined here, use the live downloader instead"
    )]
    Live,
    /// The fragments are protected by a licence server.
    #[error("the fragments are protected by DRM ({system}); no downloader can join them into a playable file")]
    Drm {
        /// The `KEYFORMAT` or `ContentProtection` scheme that says so.
        system: String,
    },
    /// A feature this engine recognises and does not speak.
    #[error("the playlist uses {feature}, which is recognised and not supported; use the fallback downloader")]
    Unsupported {
        /// The feature in the format's own words.
        feature: String,
    },
    /// A playlist that reaches itself, directly or through another.
    #[error("the playlist lists itself ({location}); following it would never end")]
    SelfListing {
        /// The address that came up twice, without its query.
        location: String,
    },
    /// A bound on text, fragments, depth or memory was passed.
    #[error("the playlist has more than {limit} {what}; raise the limit if this is expected")]
    LimitExceeded {
        /// What was counted.
        what: &'static str,
        /// The bound that was passed.
        limit: u64,
    },
    /// An address in the playlist that cannot be requested over HTTP.
    #[error("the playlist names {address:?}, which is not an http or https address ({problem})")]
    Address {
        /// The reference as written, cut to a readable length.
        address: String,
        /// Why it was refused.
        problem: String,
    },
    /// The caller asked for a variant or representation that is not there.
    #[error("there is no {asked} in the playlist; it offers {offered}")]
    NoSuchVariant {
        /// The selection that found nothing.
        asked: String,
        /// What could have been chosen.
        offered: String,
    },
    /// The playlist has no fragment at all.
    #[error("the playlist has no fragments; nothing would be written")]
    Empty,
}

impl PlaylistError {
    /// A [`PlaylistError::Malformed`] of an HLS line, counted from 1.
    pub(crate) fn at_line(line: usize, problem: impl Into<String>) -> Self {
        Self::Malformed { place: format!("line {line}"), problem: problem.into() }
    }

    /// A [`PlaylistError::Malformed`] of an XML element.
    pub(crate) fn at_element(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Malformed { place: place.into(), problem: problem.into() }
    }

    /// A [`PlaylistError::Unsupported`] feature.
    pub(crate) fn unsupported(feature: impl Into<String>) -> Self {
        Self::Unsupported { feature: feature.into() }
    }
}
