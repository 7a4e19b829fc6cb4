//! Zstandard frames, fed in pieces of any size.
//!
//! `ruzstd` takes whole blocks: they are put together here, and taken one at a time, because a block of four bytes may stand for
//! 128 KiB. The frame's head is read for the one thing `ruzstd` has no bound for: a window over what RFC 9659 allows.

use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::decoder::Fault;

const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// RFC 9659: what a content coding may make its reader keep.
const LARGEST_WINDOW: u64 = 8 << 20;
/// RFC 8878 §3.1.1.2.4: of a block, compressed or not.
const LARGEST_BLOCK: usize = 128 << 10;
const CHECKSUM_BYTES: usize = 4;

/// A decoder in the middle of a stream of frames.
#[derive(Default)]
pub(super) struct Zstd {
    frames: FrameDecoder,
    unread: Vec<u8>,
    frame: Option<Frame>,
    has_seen_frame: bool,
}

#[derive(Clone, Copy)]
struct Frame {
    has_checksum: bool,
}

impl Zstd {
    pub(super) fn is_frame(start: &[u8]) -> bool {
        start.starts_with(&MAGIC)
    }

    /// Between two frames, after at least one.
    pub(super) fn has_ended(&self) -> bool {
        self.has_seen_frame && self.frame.is_none() && self.unread.is_empty()
    }

    pub(super) fn feed(&mut self, bytes: &[u8], ready: &mut Vec<u8>, most: usize) -> Result<(), Fault> {
        self.unread.extend_from_slice(bytes);
        let mut used = 0;
        while let Some(step) = self.step(used, ready)? {
            used += step;
            if ready.len() > most {
                return Err(Fault::Bomb(most as u64));
            }
        }
        self.unread.drain(..used);
        Ok(())
    }

    /// Takes a frame's head or one block from `at` on; how many bytes that were, `None` when more have to come first.
    fn step(&mut self, at: usize, ready: &mut Vec<u8>) -> Result<Option<usize>, Fault> {
        let broken = |cause: &dyn std::fmt::Display| Fault::Broken(cause.to_string());
        let rest = &self.unread[at..];
        let Some(frame) = self.frame else {
            let Some((length, frame)) = head(rest)? else { return Ok(None) };
            self.frames.reset(&rest[..length]).map_err(|cause| broken(&cause))?;
            (self.frame, self.has_seen_frame) = (Some(frame), true);
            return Ok(Some(length));
        };
        let [first, second, third, ..] = rest else { return Ok(None) };
        let block = usize::from(*first) | usize::from(*second) << 8 | usize::from(*third) << 16;
        let (is_last, kind, size) = (block & 1 == 1, block >> 1 & 3, block >> 3);
        if size > LARGEST_BLOCK {
            return Err(broken(&"a block is too large"));
        }
        let content = if kind == 1 { 1 } else { size };
        let length = 3 + content + if is_last && frame.has_checksum { CHECKSUM_BYTES } else { 0 };
        let Some(mut whole) = rest.get(..length) else { return Ok(None) };
        let taken = self.frames.decode_blocks(&mut whole, BlockDecodingStrategy::UptoBlocks(1));
        taken.map_err(|cause| broken(&cause))?;
        self.frames.collect_to_writer(&mut *ready)?;
        if is_last {
            self.frame = None;
        }
        Ok(Some(length))
    }
}

/// Length and facts of the frame head at the start of `bytes` (RFC 8878 §3.1.1.1); `None` while it is incomplete.
fn head(bytes: &[u8]) -> Result<Option<(usize, Frame)>, Fault> {
    let [magic @ .., descriptor] = bytes.get(..5).unwrap_or_default() else { return Ok(None) };
    if magic != MAGIC {
        return Err(Fault::Broken("it is not zstd".to_owned()));
    }
    let is_single_segment = descriptor >> 5 & 1 == 1;
    let window_bytes = usize::from(!is_single_segment);
    let dictionary_bytes = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let size_bytes = match descriptor >> 6 {
        0 => usize::from(is_single_segment),
        other => 1 << other,
    };
    let length = 5 + window_bytes + dictionary_bytes + size_bytes;
    let Some(head) = bytes.get(..length) else { return Ok(None) };
    let window = if is_single_segment {
        let mut size = [0; 8];
        size[..size_bytes].copy_from_slice(&head[length - size_bytes..]);
        u64::from_le_bytes(size) + if size_bytes == 2 { 256 } else { 0 }
    } else {
        let base = 1_u64 << (10 + (head[5] >> 3));
        base + base / 8 * u64::from(head[5] & 7)
    };
    if window > LARGEST_WINDOW {
        return Err(Fault::Bomb(LARGEST_WINDOW));
    }
    Ok(Some((length, Frame { has_checksum: descriptor >> 2 & 1 == 1 })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_over_eight_mebibytes_is_refused() {
        assert!(matches!(head(&[0x28, 0xb5, 0x2f, 0xfd, 0, (13 << 3) | 1]), Err(Fault::Bomb(_))));
        assert!(matches!(head(&[0x28, 0xb5, 0x2f, 0xfd, 0, 13 << 3]), Ok(Some((6, _)))));
        assert!(matches!(head(&[0x28, 0xb5, 0x2f, 0xfd, 0]), Ok(None)));
    }
}
