//! Playlists and fragment lists → one file.
//!
//! HLS and DASH describe a file as thousands of small ones. This module reads the description
//! ([`hls`], [`dash`]: pure functions over text), decides what to fetch ([`Selection`], [`coalesce`])
//! and joins the pieces in order without temporary files.

mod address;
mod bounds;
mod coalesce;
pub mod dash;
mod decrypt;
mod fragment;
pub mod hls;
mod inline;
mod join;
mod keys;
mod offer;
mod pins;
mod recognise;
mod refusal;
mod resolve;
mod selection;
mod terms;
mod text;
mod trail;
mod window;
mod words;
mod worker;
mod writer;

pub use bounds::PlaylistLimits;
pub use coalesce::{JoinedRequest, Piece, coalesce};
pub use fragment::{Doubt, Encryption, Fragment, FragmentKind, FragmentList, FragmentRange, KeySource, ListKind};
pub use join::download;
pub use offer::{OfferedStream, StreamKind, offered};
pub(crate) use recognise::refuse_a_playlist;
pub use refusal::PlaylistError;
#[cfg(feature = "python")]
pub(crate) use resolve::THE_PLAYLIST;
pub use selection::Selection;
pub use trail::JOURNAL_MAGIC;
