//! The download engine of V-Asset.

pub mod guard;
