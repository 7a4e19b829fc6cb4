//! Adjacent byte ranges of one resource become one request.

use std::sync::Arc;

use super::fragment::{Encryption, Fragment, FragmentKind, FragmentRange};

/// Ranges are joined up to this many bytes, so that a long file still downloads over several
/// connections and a failure repeats little.
const LARGEST_JOINED_BYTES: u64 = 4 << 20;

/// The bytes of a request that are decrypted as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Bytes as sent; `None` takes all that come.
    pub encrypted_bytes: Option<u64>,
    /// How to decrypt them.
    pub encryption: Option<Encryption>,
}

/// One request and what its body is made of, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinedRequest {
    /// Absolute address.
    pub url: Arc<url::Url>,
    /// `Range` to ask for.
    pub range: Option<FragmentRange>,
    /// Never empty; more than one only where encryption restarts inside the range.
    pub pieces: Vec<Piece>,
    /// How many of the playlist's fragments this covers.
    pub fragments: u32,
    /// Whether it is a header, without which nothing that follows can be played.
    pub is_header: bool,
    /// Whether it may not exist at all ([`Fragment::is_presumed`]).
    pub is_presumed: bool,
}

/// Joins neighbours whose ranges touch; everything else passes one to one.
///
/// A playlist of one 1 GiB file in 6-second ranges is 1,500 requests in other downloaders
/// (yt-dlp#3521); here it is 256.
#[must_use]
pub fn coalesce(fragments: Vec<Fragment>) -> Vec<JoinedRequest> {
    let mut requests: Vec<JoinedRequest> = Vec::with_capacity(fragments.len());
    for fragment in fragments {
        if let Some(last) = requests.last_mut()
            && let Some(joined) = joinable(last, &fragment)
        {
            last.range = Some(joined);
            last.fragments += 1;
            last.is_presumed &= fragment.is_presumed;
            last.is_header |= fragment.kind == FragmentKind::Initialization;
            append_piece(&mut last.pieces, &fragment);
            continue;
        }
        requests.push(JoinedRequest {
            url: Arc::new(fragment.url),
            range: fragment.range,
            pieces: vec![Piece {
                encrypted_bytes: fragment.range.map(|range| range.len()),
                encryption: fragment.encryption,
            }],
            fragments: 1,
            is_header: fragment.kind == FragmentKind::Initialization,
            is_presumed: fragment.is_presumed,
        });
    }
    requests
}

fn joinable(request: &JoinedRequest, fragment: &Fragment) -> Option<FragmentRange> {
    let joined = request.range?.joined_with(&fragment.range?)?;
    (joined.len() <= LARGEST_JOINED_BYTES && *request.url == fragment.url).then_some(joined)
}

/// Clear neighbours are one piece; encryption restarts with every fragment.
fn append_piece(pieces: &mut Vec<Piece>, fragment: &Fragment) {
    let added = fragment.range.map_or(0, |range| range.len());
    if let Some(Piece { encrypted_bytes: Some(length), encryption: None }) = pieces.last_mut()
        && fragment.encryption.is_none()
    {
        *length += added;
        return;
    }
    pieces.push(Piece { encrypted_bytes: Some(added), encryption: fragment.encryption.clone() });
}
