//! Without a validator the only witness of a version is its bytes: those before the missing ones are asked for again and
//! compared with the disk. A file that was replaced by another of the same length is found out unless the two agree there.
//!
//! With validators the first answer of a resume is compared as well. They tell versions of one address apart and nothing more:
//! nginx makes a tag of date and length, so that the volumes of an archive that were uploaded together have the same one, and
//! the address may be another than yesterday's.

use std::ops::Range;

use super::Interrupt;
use crate::error::Error;
use crate::net::Body;
use crate::transfer::Transfer;

/// How many bytes are compared.
const OVERLAP_BYTES: u64 = 64 * 1024;

/// How many bytes before `first` the first request of a resume asks for as well.
pub fn overlap_of_resume(first: u64, max_range_bytes: u64) -> u64 {
    first.min(OVERLAP_BYTES).min(max_range_bytes / 2)
}

/// How many bytes before `first` are asked for as well.
pub(super) fn overlap_bytes(transfer: &Transfer, first: u64) -> u64 {
    if !transfer.trusts_length {
        return 0;
    }
    overlap_of_resume(first, transfer.max_range_bytes)
}

/// Reads the bytes of `known` from the body and compares them with the file's.
pub(super) async fn compare(transfer: &Transfer, body: &mut Body, known: Range<u64>) -> Result<(), Interrupt> {
    if known.is_empty() {
        return Ok(());
    }
    let mut ours = vec![0; (known.end - known.start) as usize];
    transfer.read_at(&mut ours, known.start)?;
    let mut theirs = vec![0; ours.len()];
    let mut read = 0;
    while read < theirs.len() {
        let more = body.read(&mut theirs[read..]).await?;
        if more == 0 {
            let detail = "it ended before the asked bytes".to_owned();
            return Err(Interrupt::Failed(Error::Truncated { place: body.host().to_owned(), detail }));
        }
        read += more;
    }
    if ours == theirs {
        return Ok(());
    }
    Err(Interrupt::Changed("the bytes before the missing ones are other ones".to_owned()))
}
