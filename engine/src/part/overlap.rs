//! Without a validator the only witness of a version is its bytes: those before the missing ones are asked for again and
//! compared with the disk. A file that was replaced by another of the same length is found out unless the two agree there.

use std::ops::Range;

use super::Interrupt;
use crate::error::Error;
use crate::net::Body;
use crate::transfer::Transfer;

/// How many bytes are compared.
pub const OVERLAP_BYTES: u64 = 64 * 1024;

/// How many bytes before `first` are asked for as well.
pub(super) fn overlap_bytes(transfer: &Transfer, first: u64) -> u64 {
    if !transfer.trusts_length {
        return 0;
    }
    first.min(OVERLAP_BYTES).min(transfer.max_range_bytes / 2)
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
