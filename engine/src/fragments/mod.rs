//! Playlists and fragment lists → one file.
//!
//! HLS and DASH describe a file as thousands of small ones. This module reads the description
//! ([`hls`], [`dash`]: pure functions over text), decides what to fetch ([`Selection`], [`coalesce`])
//! and joins the pieces in order without temporary files.

mod address;
mod bounds;
mod coalesce;
pub mod dash;
mod fragment;
pub mod hls;
mod refusal;
mod selection;

pub use bounds::PlaylistLimits;
pub use coalesce::{JoinedRequest, Piece, coalesce};
pub use fragment::{Encryption, Fragment, FragmentKind, FragmentList, FragmentRange, KeySource, ListKind};
pub use refusal::PlaylistError;
pub use selection::Selection;
