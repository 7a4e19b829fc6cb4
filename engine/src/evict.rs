//! Making room on a full disk without ever taking a file that somebody needs.
//!
//! The caller knows from its database what has expired and hands over that index ([`Candidate`]); no scan is needed to
//! make room. [`relieve`] starts above the high watermark and stops below the low one, oldest expired first, so that a
//! disk at the edge is not cleaned again every minute. What the index cannot prove is left alone: no entry, no deletion.
//!
//! [`find_stale`] is the other half, for reconciling disk and database: a parallel scan that reports old files and
//! deletes nothing.
//!
//! Every path is opened from a directory handle without following links, component by component, so a directory that is
//! swapped for a link between check and removal leads nowhere. A file is removed only if it is regular, has one name, is
//! not locked, and nobody has it open (a write lease can be had on it). What was kept, and why, is reported.

mod claim;
mod relief;
mod scan;

pub use relief::{Candidate, Freed, Kept, Pace, Reason, Relief, Retention, Watermarks, relieve};
pub use scan::{StaleFile, find_stale};
