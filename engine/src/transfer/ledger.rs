//! Which groups are on disk, with their proofs, and how far the journal knows it.

use crate::error::Result;
use crate::hash::Proof;
use crate::journal::Journal;

pub(super) struct Ledger {
    pub(super) journal: Journal,
    pub(super) proofs: Vec<Option<Proof>>,
    pub(super) missing: u32,
    pub(super) unrecorded: Vec<u32>,
}

impl Ledger {
    /// Puts what has been finished since into the journal, one record a run.
    pub(super) fn record(&mut self) -> Result<()> {
        self.unrecorded.sort_unstable();
        let mut groups = std::mem::take(&mut self.unrecorded).into_iter().peekable();
        while let Some(first) = groups.next() {
            let mut run = vec![first];
            while let Some(next) = groups.next_if(|next| *next == first + run.len() as u32) {
                run.push(next);
            }
            let proofs: Vec<Proof> = run.iter().filter_map(|group| self.proofs[*group as usize]).collect();
            self.journal.append(first, &proofs)?;
            crate::faultpoint!("K7");
        }
        Ok(())
    }
}

impl Drop for Ledger {
    /// A cancelled download keeps what it has; a failure here only costs fetching it again.
    fn drop(&mut self) {
        let _ = self.record();
    }
}
