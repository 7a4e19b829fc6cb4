//! The download engine of V-Asset.
