//! The first answer of an attempt: in ranges where the origin gives them, else by a plain GET, as often as it is worth.
//!
//! Nothing on disk has changed when it fails: what answers with something else than the file gets nothing replaced.

use super::Job;
use crate::crew::Setback;
use crate::error::{Error, Result};
use crate::journal::journal_path;
use crate::net::FetchSpec;
use crate::part::overlap_of_resume;
use crate::probe::{Answer, Content, judge};
use crate::retry::{backoff, jitter, next_try, retries_worth};

/// An origin that is overloaded only when ranges are asked is asked for the whole after so many tries.
const MOST_RANGED_TRIES: u32 = 2;

impl Job<'_> {
    /// An answer that can be the file. One that came only to a plain GET makes the download a whole one.
    pub(super) async fn probe(&mut self) -> Result<Answer, Setback> {
        let ranged = self.first_request();
        let mut spec = ranged.clone();
        let mut has_asked_plainly = ranged.range.is_none();
        let mut failures = 0;
        loop {
            let is_plain = spec.range.is_none();
            let error = match self.ask(&spec).await {
                Ok(answer) if spec.if_range.is_some() && self.is_kept_version(&answer) => {
                    // Some CDNs answer 200 whenever they see an ETag in If-Range; the version is checked either way.
                    spec.if_range = None;
                    continue;
                }
                Ok(answer) => {
                    self.is_whole_only |= is_plain;
                    return Ok(answer);
                }
                // An empty file has no range, and a journal's range may be behind the end of another version.
                Err(Error::HttpStatus { status: 416, .. }) if !is_plain && self.kept.is_some() => {
                    return Err(Setback::Changed("it no longer has the asked range".to_owned()));
                }
                Err(error) => error,
            };
            let has_tried_ranges = !error.retryable() || failures >= MOST_RANGED_TRIES.min(self.request.retries);
            let asks_plainly = !has_asked_plainly && has_tried_ranges && may_refuse_ranges(&error, self.kept.is_some());
            has_asked_plainly |= asks_plainly;
            spec = ranged.clone();
            if asks_plainly {
                (spec.range, spec.if_range) = (None, None);
                if !error.retryable() {
                    continue;
                }
            }
            failures += 1;
            let has_bytes = self.context.progress.fetched() > 0;
            if !asks_plainly && failures > retries_worth(&error, self.request.retries, has_bytes) {
                return Err(error.into());
            }
            let asked = if let Error::HttpStatus { retry_after, .. } = &error { *retry_after } else { None };
            let pause = backoff(failures, asked, jitter());
            if matches!(error, Error::HttpStatus { status: 429 | 503, .. }) {
                self.context.client.push_back(spec.url.host_str().unwrap_or_default(), pause);
            }
            self.context.progress.wait_for(Some(next_try(pause, &error)));
            tokio::time::sleep(pause).await;
        }
    }

    fn first_request(&self) -> FetchSpec {
        let mut spec = self.spec.clone();
        let limit = self.request.max_range_bytes.unwrap_or(u64::MAX);
        spec.range = match &self.kept {
            _ if self.is_whole_only => None,
            Some(kept) => kept.first_missing().map(|missing| {
                let overlap = overlap_of_resume(missing.start, limit);
                let first = missing.start - overlap;
                (first, Some(first + (missing.end - first).min(limit) - 1))
            }),
            None => Some((0, self.request.max_range_bytes.map(|limit| limit - 1))),
        };
        spec.if_range = self.kept.as_ref().and_then(|kept| kept.version().if_range().map(str::to_owned));
        spec
    }

    async fn ask(&self, spec: &FetchSpec) -> Result<Answer> {
        let host = spec.url.host_str().unwrap_or_default();
        self.context.progress.wait_for(Some(format!("the answer of {host}")));
        let response = self.context.client.get(spec).await?;
        self.context.progress.wait_for(None);
        let answer = judge(response, spec.range)?;
        let first = spec.range.map_or(0, |(first, _)| first);
        match self.likeness.as_ref().and_then(|likeness| likeness.stranger(&answer, first)) {
            Some(found) => {
                let is_kept = journal_path(&self.request.target).exists();
                Err(Error::page(&answer.response.final_url, found, is_kept))
            }
            None => Ok(answer),
        }
    }

    /// Whether the whole came although a part was asked, and is what the journal has a part of.
    fn is_kept_version(&self, answer: &Answer) -> bool {
        let Some(kept) = &self.kept else { return false };
        answer.content == Content::Whole(Some(kept.identity.total))
            && kept.version().contradiction(&answer.version).is_none()
    }
}

/// Whether an origin may have meant the range and not the file. One that has served ranges before means what it says of the
/// file: an address that has run out, a place that is full.
fn may_refuse_ranges(error: &Error, has_served_ranges: bool) -> bool {
    match error {
        Error::OriginLied { .. } => true,
        Error::HttpStatus { status, .. } if has_served_ranges => matches!(status, 400 | 405 | 501),
        Error::HttpStatus { status, .. } => {
            matches!(status, 400..=407 | 409..=422 | 424 | 426..=428 | 430..=499 | 500 | 501 | 503 | 505..=508)
        }
        Error::UrlExpired { .. } => !has_served_ranges,
        _ => false,
    }
}
