//! The download engine of V-Asset.

mod atomic {
    //! `tests/plan_loom.rs` compiles `plan.rs` with loom's atomics under this name.
    pub use std::sync::atomic::{AtomicU64, Ordering};
}

pub mod crew;
pub mod download;
pub mod error;
pub mod evict;
pub mod faultpoint;
pub mod fragments;
pub mod guard;
pub mod handle;
pub mod hash;
pub mod journal;
pub mod likeness;
pub mod limit;
pub mod net;
pub mod part;
pub mod plan;
pub mod probe;
pub mod progress;
pub mod remark;
pub mod request;
pub mod retry;
pub mod sink;
pub mod transfer;
pub mod whole;

#[cfg(feature = "python")]
mod python;
