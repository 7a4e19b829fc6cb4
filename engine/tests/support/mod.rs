//! What the integration tests share: an origin that can lie, and files whose bytes are known.
//!
//! Each test binary uses a part of it.
#![allow(dead_code)]

pub mod authority;
pub mod download;
pub mod file;
pub mod http2_lab;
pub mod http2_origin;
pub mod mutator;
pub mod origin;
pub mod playlist;
