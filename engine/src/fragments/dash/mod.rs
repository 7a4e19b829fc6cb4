//! DASH
