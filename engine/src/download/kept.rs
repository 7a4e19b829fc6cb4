//! What an earlier attempt left, as far as it is believed.

use crate::error::Result;
use crate::hash::{GROUP_BYTES, GroupHasher, Proof, ProofKind};
use crate::journal::{Begun, Identity, Journal, Recovered};
use crate::net::hot::{HOT_BYTES, HotBuffer};
use crate::plan::{group_bytes, group_count};
use crate::probe::Version;
use crate::sink::PartFile;
use crate::transfer::Piece;

/// Bytes of an earlier attempt that are still believed.
pub(super) struct Kept {
    pub(super) journal: Journal,
    pub(super) identity: Identity,
    pub(super) proofs: Vec<Option<Proof>>,
    /// Groups that were being fetched when it was stopped.
    pub(super) begun: Vec<Piece>,
}

impl Kept {
    /// Reads the journal and believes what the part file confirms; a journal that is of no use is removed. One without
    /// validators is for whoever trusts the length; for others it stays until something takes its place.
    pub(super) fn recover(part: &PartFile, wanted: ProofKind, trusts_length: bool) -> Result<Option<Self>> {
        let (journal, recovered) = Journal::open(part)?;
        if recovered.as_ref().is_some_and(|found| !trusts_length && !version_of(&found.identity).is_strong()) {
            return Ok(None);
        }
        let Some(recovered) = recovered.filter(|found| found.identity.proof_kind == wanted) else {
            journal.remove()?;
            return Ok(None);
        };
        let proofs = confirm(part, &recovered)?;
        let begun = recovered.begun.iter();
        let begun = begun.filter_map(|begun| take_up(part, &recovered.identity, begun)).collect();
        Ok(Some(Self { journal, identity: recovered.identity, proofs, begun }))
    }

    pub(super) fn version(&self) -> Version {
        version_of(&self.identity)
    }

    /// The first run of missing bytes.
    pub(super) fn first_missing(&self) -> Option<std::ops::Range<u64>> {
        let groups = group_count(self.identity.total);
        let is_missing = |group: &u32| self.proofs.get(*group as usize).is_none_or(Option::is_none);
        let first = (0..groups).find(is_missing)?;
        let end = (first..groups).find(|group| !is_missing(group)).unwrap_or(groups);
        let begun = self.begun.iter().find(|piece| piece.group == first).map(|piece| piece.position);
        let start = begun.unwrap_or(group_bytes(first, self.identity.total).start);
        Some(start..group_bytes(end - 1, self.identity.total).end)
    }

    pub(super) fn bytes(&self) -> u64 {
        let present = self.proofs.iter().enumerate().filter(|(_, proof)| proof.is_some());
        let complete: u64 = present
            .map(|(group, _)| group_bytes(group as u32, self.identity.total))
            .map(|bytes| bytes.end - bytes.start)
            .sum();
        let begun = self.begun.iter().map(|piece| piece.position - group_bytes(piece.group, self.identity.total).start);
        complete + begun.sum::<u64>()
    }
}

fn version_of(identity: &Identity) -> Version {
    Version { etag: identity.etag.clone(), last_modified: identity.last_modified.clone(), weak_etag: None }
}

/// The proofs to believe: all of them in the boot that wrote them, except that the last one is looked at; in doubt only
/// those whose bytes still hash to them.
fn confirm(part: &PartFile, recovered: &Recovered) -> Result<Vec<Option<Proof>>> {
    let mut proofs = recovered.proofs.clone();
    let total = recovered.identity.total;
    let last = proofs.iter().rposition(Option::is_some);
    for (group, proof) in proofs.iter_mut().enumerate() {
        let is_doubted = proof.is_some() && (recovered.is_doubtful || Some(group) == last);
        if is_doubted && prove(part, recovered.identity.proof_kind, group as u32, total)? != *proof {
            *proof = None;
        }
    }
    Ok(proofs)
}

/// The hash state of a group's beginning, from the file; `None` when its bytes are not those that were written.
fn take_up(part: &PartFile, identity: &Identity, begun: &Begun) -> Option<Piece> {
    let whole = group_bytes(begun.group, identity.total);
    let mut bytes = vec![0; begun.length as usize];
    part.read_at(&mut bytes, whole.start).ok()?;
    if *blake3::hash(&bytes).as_bytes() != begun.digest {
        return None;
    }
    let mut hasher = GroupHasher::new(identity.proof_kind, whole.start, identity.total);
    hasher.update(&bytes);
    let position = whole.start + u64::from(begun.length);
    Some(Piece { group: begun.group, position, end: whole.end, hasher })
}

/// Hashes a group from the file; `None` when the file is too short.
fn prove(part: &PartFile, kind: ProofKind, group: u32, total: u64) -> Result<Option<Proof>> {
    let bytes = group_bytes(group, total);
    debug_assert!(bytes.end - bytes.start <= GROUP_BYTES);
    let mut hasher = GroupHasher::new(kind, bytes.start, total);
    let mut at = bytes.start;
    while at < bytes.end {
        let length = (bytes.end - at).min(HOT_BYTES as u64) as usize;
        let mut buffer = HotBuffer::lease_for(at);
        if part.read_at(&mut buffer[..length], at).is_err() {
            return Ok(None);
        }
        hasher.update(&buffer[..length]);
        at += length as u64;
    }
    Ok(Some(hasher.finish()))
}
