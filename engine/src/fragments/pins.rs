//! Fragments that are ranges of one resource must all be of one version of it.

use std::collections::HashMap;

use parking_lot::Mutex;
use url::Url;

use super::coalesce::JoinedRequest;
use crate::error::{Error, Result};
use crate::probe::{Answer, Content, Version};

/// What the first answer for each ranged resource said.
#[derive(Default)]
pub(super) struct Pins {
    known: Mutex<HashMap<Url, (Version, Option<u64>)>>,
}

impl Pins {
    /// Compares an answer with the first for the same address; whole fragments are versions by themselves.
    pub(super) fn check(&self, request: &JoinedRequest, answer: &Answer) -> Result<()> {
        if request.range.is_none() {
            return Ok(());
        }
        let total = match &answer.content {
            Content::Whole(total) | Content::Part { total, .. } => *total,
        };
        let mut known = self.known.lock();
        let Some((version, first_total)) = known.get(request.url.as_ref()) else {
            known.insert(request.url.as_ref().clone(), (answer.version.clone(), total));
            return Ok(());
        };
        if let Some(detail) = version.contradiction(&answer.version) {
            return Err(Error::changed(&request.url, detail));
        }
        match (first_total, total) {
            (Some(first), Some(total)) if *first != total => {
                Err(Error::changed(&request.url, "its length is another one"))
            }
            _ => Ok(()),
        }
    }
}
