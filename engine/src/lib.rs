//! The download engine of V-Asset.

pub mod fragments;
pub mod guard;
