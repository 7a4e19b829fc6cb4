//! One hot buffer per thread instead of one per connection.
//!
//! A quarter MiB stays in the L2 cache between receive, hash and write (measured in docs/decisions/http-reader.md);
//! a buffer per connection would be cold when its turn comes, and 500 connections would hold 128 MiB.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

/// Size of a hot buffer, and of the writes made from it.
pub const HOT_BYTES: usize = 256 * 1024;

/// A thread keeps a plaintext and a ciphertext buffer, and one more for a task that moved here with its own.
const KEPT_PER_THREAD: usize = 3;

thread_local! {
    static FREE: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer of [`HOT_BYTES`], returned to the thread that drops it. Do not hold it across an `await`.
pub struct HotBuffer {
    bytes: Option<Box<[u8]>>,
}

impl HotBuffer {
    /// The most recently used buffer of this thread.
    pub fn lease() -> Self {
        let kept = FREE.with_borrow_mut(Vec::pop);
        Self { bytes: Some(kept.unwrap_or_else(|| vec![0; HOT_BYTES].into_boxed_slice())) }
    }
}

impl Drop for HotBuffer {
    fn drop(&mut self) {
        if let Some(bytes) = self.bytes.take() {
            FREE.with_borrow_mut(|free| {
                if free.len() < KEPT_PER_THREAD {
                    free.push(bytes);
                }
            });
        }
    }
}

impl Deref for HotBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.as_deref().unwrap_or_default()
    }
}

impl DerefMut for HotBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.bytes.as_deref_mut().unwrap_or_default()
    }
}
