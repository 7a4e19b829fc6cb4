//! The download engine of V-Asset.

pub mod error;
pub mod evict;
pub mod fragments;
pub mod guard;
pub mod hash;
pub mod limit;
pub mod net;
pub mod plan;
pub mod request;
pub mod retry;
