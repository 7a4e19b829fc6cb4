//! One hot buffer per thread instead of one per connection.
//!
//! Half a MiB, a group, goes from receive through hash to write while the processor still has it (measured in
//! docs/decisions/http-reader.md); a buffer per connection would be cold when its turn comes, and 500 connections would hold 256 MiB.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

/// Size of a hot buffer, and of the writes made from it.
pub const HOT_BYTES: usize = 512 * 1024;

/// A thread keeps a plaintext and a ciphertext buffer, and one more for a task that moved here with its own.
const KEPT_PER_THREAD: usize = 3;

/// Pages of the page cache: what copies between it and a buffer is aligned to.
const PAGE_BYTES: usize = 4096;

thread_local! {
    static FREE: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer of [`HOT_BYTES`], returned to the thread that drops it. Do not hold it across an `await`.
pub struct HotBuffer {
    bytes: Option<Box<[u8]>>,
    start: usize,
}

impl HotBuffer {
    /// The most recently used buffer of this thread. Its first byte lies in a page as the byte at `position` of a file lies in
    /// its own, so that the kernel copies from aligned to aligned: where the two are 16 bytes apart, as malloc's large
    /// blocks begin, an AMD Zen 3 copies at a quarter of the speed.
    pub fn lease_for(position: u64) -> Self {
        let kept = FREE.with_borrow_mut(Vec::pop);
        let bytes = kept.unwrap_or_else(|| vec![0; HOT_BYTES + 2 * PAGE_BYTES].into_boxed_slice());
        let start = bytes.as_ptr().align_offset(PAGE_BYTES) + (position % PAGE_BYTES as u64) as usize;
        Self { bytes: Some(bytes), start }
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
        self.bytes.as_deref().map_or(&[], |bytes| &bytes[self.start..self.start + HOT_BYTES])
    }
}

impl DerefMut for HotBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        let start = self.start;
        self.bytes.as_deref_mut().map_or(&mut [], |bytes| &mut bytes[start..start + HOT_BYTES])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_whole_and_lies_as_its_position_does() {
        for position in [0, 1, 16, 4095, 4096, 7905, u64::MAX] {
            let mut hot = HotBuffer::lease_for(position);
            assert_eq!(hot.as_ptr() as u64 % PAGE_BYTES as u64, position % PAGE_BYTES as u64);
            assert_eq!(hot.len(), HOT_BYTES);
            hot[HOT_BYTES - 1] = 1;
        }
    }
}
