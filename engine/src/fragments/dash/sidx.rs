//! The segment index box of a `SegmentBase` (ISO/IEC 14496-12 §8.16.3).

use crate::fragments::fragment::FragmentRange;
use crate::fragments::refusal::PlaylistError;

/// One indexed subsegment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subsegment {
    /// Bytes of the resource.
    pub range: FragmentRange,
    /// When it begins in the resource's own time.
    pub start_microseconds: u64,
    /// Playing time in microseconds.
    pub duration_microseconds: u64,
}

/// Reads the `sidx` in `bytes`, which begin at `offset` of the resource.
///
/// # Errors
/// [`PlaylistError::Malformed`] when there is no complete index, and [`PlaylistError::Unsupported`]
/// for an index of indexes.
pub fn parse(bytes: &[u8], offset: u64) -> Result<Vec<Subsegment>, PlaylistError> {
    let malformed = |problem: &str| PlaylistError::at_element("sidx", problem);
    let (body, box_end) =
        find_index(bytes, offset).ok_or_else(|| malformed("no complete sidx box in the index range"))?;
    let mut reader = BoxReader { bytes: body };
    let short = || malformed("the box is shorter than its entries");
    let version = reader.take(4).ok_or_else(short)? >> 24;
    let wide = if version == 0 { 4 } else { 8 };
    reader.take(4).ok_or_else(short)?; // reference_ID
    let timescale = reader.take(4).ok_or_else(short)?.max(1);
    let mut time = reader.take(wide).ok_or_else(short)?;
    let first_offset = reader.take(wide).ok_or_else(short)?;
    let count = reader.take(4).ok_or_else(short)? & 0xffff;
    let mut start = box_end.checked_add(first_offset).ok_or_else(|| malformed("the first offset passes 2^64"))?;
    let mut subsegments = Vec::with_capacity(count as usize);
    for _ in 0..count {
        let reference = reader.take(4).ok_or_else(short)?;
        let duration = reader.take(4).ok_or_else(short)?;
        reader.take(4).ok_or_else(short)?; // stream access point
        if reference >> 31 == 1 {
            return Err(PlaylistError::unsupported("a segment index of segment indexes"));
        }
        let range = FragmentRange::from_length(start, reference & 0x7fff_ffff)
            .ok_or_else(|| malformed("a subsegment is empty or passes 2^64"))?;
        start = range.end();
        let microseconds =
            |ticks: u64| u64::try_from(u128::from(ticks) * 1_000_000 / u128::from(timescale)).unwrap_or(u64::MAX);
        subsegments.push(Subsegment {
            range,
            start_microseconds: microseconds(time),
            duration_microseconds: microseconds(duration),
        });
        time = time.saturating_add(duration);
    }
    Ok(subsegments)
}

/// The body of the first `sidx` and the resource offset one past the box.
fn find_index(bytes: &[u8], offset: u64) -> Option<(&[u8], u64)> {
    let mut position: usize = 0;
    loop {
        let header = bytes.get(position..position.checked_add(8)?)?;
        let length = u32::from_be_bytes(header[..4].try_into().ok()?) as usize;
        let end = position.checked_add(length)?;
        if length < 8 || end > bytes.len() {
            return None;
        }
        if &header[4..] == b"sidx" {
            return Some((&bytes[position + 8..end], offset.checked_add(end as u64)?));
        }
        position = end;
    }
}

struct BoxReader<'bytes> {
    bytes: &'bytes [u8],
}

impl BoxReader<'_> {
    /// The next `count` bytes as a big-endian number.
    fn take(&mut self, count: usize) -> Option<u64> {
        let (taken, rest) = self.bytes.split_at_checked(count)?;
        self.bytes = rest;
        Some(taken.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(sizes: &[u32]) -> Vec<u8> {
        let mut body = Vec::new();
        body.extend_from_slice(&0_u32.to_be_bytes());
        body.extend_from_slice(&1_u32.to_be_bytes());
        body.extend_from_slice(&1_000_u32.to_be_bytes());
        body.extend_from_slice(&0_u32.to_be_bytes());
        body.extend_from_slice(&0_u32.to_be_bytes());
        body.extend_from_slice(&(sizes.len() as u32).to_be_bytes());
        for size in sizes {
            body.extend_from_slice(&size.to_be_bytes());
            body.extend_from_slice(&2_000_u32.to_be_bytes());
            body.extend_from_slice(&0_u32.to_be_bytes());
        }
        let mut bytes = ((body.len() + 8) as u32).to_be_bytes().to_vec();
        bytes.extend_from_slice(b"sidx");
        bytes.extend(body);
        bytes
    }

    #[test]
    fn subsegments_follow_the_box_without_gaps() {
        let bytes = index(&[100, 50]);
        let subsegments = parse(&bytes, 1_000).expect("a correct index");
        let start = 1_000 + bytes.len() as u64;
        assert_eq!(subsegments[0].range, FragmentRange::from_length(start, 100).expect("not empty"));
        assert_eq!(subsegments[1].range, FragmentRange::from_length(start + 100, 50).expect("not empty"));
        assert_eq!(subsegments[0].duration_microseconds, 2_000_000);
        assert_eq!(subsegments[1].start_microseconds, 2_000_000);
    }

    #[test]
    fn refuses_every_truncation_without_panicking() {
        let bytes = index(&[100, 50, 25]);
        for length in 0..bytes.len() {
            assert!(parse(&bytes[..length], 0).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn refuses_an_index_of_indexes() {
        assert!(matches!(parse(&index(&[0x8000_0001]), 0), Err(PlaylistError::Unsupported { .. })));
    }
}
