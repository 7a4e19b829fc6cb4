//! Probe → plan → connections → verify → publish: the life of one download. Read this file first.
//!
//! The target is one true version of the origin's bytes, or it does not exist. Two ways lead there: *in ranges*, when
//! the origin serves them and names its version by a strong validator ([`crate::crew`]), and *as a whole* otherwise
//! ([`crate::whole`]). When the version changes on the way, everything is thrown away and begun again, a few times;
//! the last of these attempts asks for one response only, which cannot be a mixture.

mod kept;
mod probing;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio_util::task::TaskTracker;
use url::Url;

use self::kept::Kept;
use crate::crew::{Setback, Terms, fetch_all};
use crate::error::{Error, Result, shown};
use crate::hash::{Algorithm, ProofKind};
use crate::journal::{Identity, Journal};
use crate::likeness::{Likeness, page_instead_of_media};
use crate::limit::TaskLimiter;
use crate::net::cookies::Jar;
use crate::net::{Client, FetchSpec};
use crate::probe::{Answer, Content, Version};
use crate::progress::{Progress, State};
use crate::remark::Remark;
use crate::request::{Request, Source};
use crate::retry::{backoff, jitter, next_try, retries_worth};
use crate::sink::{Durability, PartFile};
use crate::transfer::{Start, Transfer};
use crate::whole::{Bounds, fetch_whole};

/// After so many changes of version under way one response is asked for, and after one more the download fails.
const CHANGES_BEFORE_WHOLE: u32 = 2;

/// What a download needs from its engine.
#[derive(Clone)]
pub struct Context {
    /// The shared HTTP client.
    pub client: Client,
    /// The task's rate limit.
    pub limiter: TaskLimiter,
    /// The task's numbers.
    pub progress: Arc<Progress>,
    /// In whose name connections are taken.
    pub holder: crate::limit::PermitHolder,
    /// Every task the download spawns, so that whoever drops the download can wait for their files to be closed.
    pub spawned: TaskTracker,
    /// Bytes of the disk that stay free whatever is downloaded.
    pub disk_floor: u64,
    /// Set as soon as the file has its name, whatever becomes of the download then.
    pub published: Arc<OnceLock<Outcome>>,
}

/// A finished download.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The published file.
    pub path: std::path::PathBuf,
    /// Its length.
    pub size: u64,
    /// Hex digests.
    pub digests: Vec<(Algorithm, String)>,
    /// From start to publication.
    pub elapsed: Duration,
    /// Bytes an earlier attempt had left.
    pub resumed_bytes: u64,
    /// Bytes received by this handle.
    pub fetched_bytes: u64,
    /// Most connections at once.
    pub connections_peak: u32,
    /// Entity tag of the version.
    pub etag: Option<String>,
    /// `Content-Type` of the first answer.
    pub content_type: Option<String>,
    /// Where the bytes came from, after redirects.
    pub final_url: String,
    /// Fragments the origin did not have and the caller could do without.
    pub missing_fragments: u32,
    /// Whether it would survive a power cut.
    pub durability: Durability,
    /// What else there is to know about the file.
    pub remarks: Vec<Remark>,
}

/// Fetches the request's single URL to its target. Dropping the future cancels; the journal stays.
pub async fn download(context: &Context, request: &Request) -> Result<Outcome> {
    let started = Instant::now();
    context.progress.set_state(State::Probing);
    let spec = spec(context, request)?;
    let part = Arc::new(PartFile::open(&request.target)?.keeping_free(context.disk_floor));
    let algorithms = request.algorithms();
    let kept = Kept::recover(&part, ProofKind::for_algorithms(&algorithms), request.trust_length)?;
    let likeness = kept.as_ref().map(|kept| Likeness::of_kept(&kept.identity, kept.version(), &part));
    let mut job = Job { context, request, spec, algorithms, part, kept, likeness, is_whole_only: false, facts: None };
    let (size, digests) = job.fetch_until_done().await?;
    context.progress.set_state(State::Verifying);
    job.verify(size, &digests)?;
    if request.is_media {
        crate::fragments::refuse_a_playlist(&job.part, &job.spec.url)?;
    }
    let facts = job.facts.take().unwrap_or_else(|| Facts::unasked(&job.spec.url));
    if let Some(found) = page_instead_of_media(&job.part, size, facts.content_type.as_deref()) {
        job.discard()?;
        return Err(Error::page(&job.spec.url, found, false));
    }
    let outcome = Outcome {
        path: request.target.clone(),
        size,
        digests,
        elapsed: Duration::ZERO,
        resumed_bytes: context.progress.resumed(),
        fetched_bytes: context.progress.fetched(),
        connections_peak: context.progress.connections_peak(),
        etag: facts.etag,
        content_type: facts.content_type,
        final_url: facts.final_url,
        missing_fragments: 0,
        durability: Durability::NotAsked,
        remarks: context.progress.remarks(),
    };
    publish(context, job.part.clone(), request.durable, started, outcome).await
}

/// Gives the file its name, removes its journal, and completes the outcome. Once begun it is not cancelled: whoever drops
/// the download waits for it and finds the outcome in the context.
pub(crate) async fn publish(
    context: &Context,
    part: Arc<PartFile>,
    durable: bool,
    started: Instant,
    outcome: Outcome,
) -> Result<Outcome> {
    let published = context.published.clone();
    let publishing = context.spawned.spawn_blocking(move || {
        let durability = part.publish(durable)?;
        crate::journal::discard(part.target());
        let outcome = Outcome { durability, elapsed: started.elapsed(), ..outcome };
        Ok(published.get_or_init(|| outcome).clone())
    });
    publishing.await.map_err(|cause| Error::InvalidRequest(cause.to_string()))?
}

fn spec(context: &Context, request: &Request) -> Result<FetchSpec> {
    let Source::Single { url } = &request.source else {
        return Err(Error::InvalidRequest("a playlist is no single file".to_owned()));
    };
    let mut spec = FetchSpec::new(context.client.check_url(url)?.url().clone());
    spec.headers = request.headers.clone();
    spec.cookies = request.cookies.clone();
    spec.jar = Arc::new(Jar::new(request.jar.clone()));
    spec.proxies = Arc::new(request.proxies()?);
    spec.connect_timeout = request.connect_timeout;
    spec.header_timeout = request.answer_timeout;
    spec.max_redirects = request.max_redirects;
    spec.holder = Some(context.holder.clone());
    Ok(spec)
}

/// What the first answer said, for the outcome.
struct Facts {
    etag: Option<String>,
    content_type: Option<String>,
    final_url: String,
}

impl Facts {
    fn of(answer: &Answer) -> Self {
        let content_type = answer.response.headers.get(http::header::CONTENT_TYPE);
        Self {
            etag: answer.version.etag.clone(),
            content_type: content_type.and_then(|value| value.to_str().ok()).map(str::to_owned),
            final_url: answer.response.final_url.to_string(),
        }
    }

    fn unasked(url: &Url) -> Self {
        Self { etag: None, content_type: None, final_url: url.to_string() }
    }
}

struct Job<'a> {
    context: &'a Context,
    request: &'a Request,
    spec: FetchSpec,
    algorithms: Vec<Algorithm>,
    part: Arc<PartFile>,
    kept: Option<Kept>,
    /// Everything that came or comes must resemble it, across attempts.
    likeness: Option<Likeness>,
    is_whole_only: bool,
    facts: Option<Facts>,
}

impl Job<'_> {
    async fn fetch_until_done(&mut self) -> Result<(u64, Vec<(Algorithm, String)>)> {
        let mut changes = 0;
        loop {
            match self.attempt().await {
                Ok(done) => return Ok(done),
                Err(Setback::Failed(error)) => return Err(error),
                Err(Setback::RangeIgnored) => self.is_whole_only = true,
                Err(Setback::Changed(detail)) => {
                    changes += 1;
                    if changes > CHANGES_BEFORE_WHOLE + 1 {
                        return Err(Error::changed(&self.spec.url, detail));
                    }
                    self.is_whole_only = changes > CHANGES_BEFORE_WHOLE;
                }
            }
            self.kept = None;
        }
    }

    /// One go at the file, from what is kept. Afterwards nothing is kept.
    async fn attempt(&mut self) -> Result<(u64, Vec<(Algorithm, String)>), Setback> {
        if self.kept.as_ref().is_some_and(|kept| kept.first_missing().is_none())
            && let Some(kept) = self.kept.take()
        {
            let likeness = Likeness::of_kept(&kept.identity, kept.version(), &self.part);
            let transfer = self.transfer(kept, Duration::ZERO, self.spec.url.clone(), likeness);
            return Ok((transfer.total, transfer.digests()?));
        }
        let answer = self.probe().await?;
        self.facts = Some(Facts::of(&answer));
        let likeness = Likeness::of(&answer);
        self.likeness = Some(likeness.clone());
        self.context.progress.set_state(State::Running);
        // When the whole file comes although a part was asked, the kept bytes are of no use, but the answer is.
        if let Some(kept) = self.kept.take()
            && let Content::Part { total, .. } = &answer.content
        {
            let same_total = total.is_none_or(|total| total == kept.identity.total);
            if !same_total || kept.version().contradiction(&answer.version).is_some() {
                return Err(Setback::Changed("it is another version than the journal's".to_owned()));
            }
            return self.in_ranges(kept, answer, likeness).await;
        }
        match &answer.content {
            Content::Part { bytes, total: Some(total) }
                if bytes.start == 0
                    && (answer.version.is_strong() || self.request.trust_length && !answer.is_coded)
                    && !self.is_whole_only =>
            {
                let kept = self.begin(*total, &answer.version)?;
                self.in_ranges(kept, answer, likeness).await
            }
            Content::Part { bytes, total } if bytes.start > 0 || *total != Some(bytes.end) => {
                self.is_whole_only = true;
                let answer = self.probe().await?;
                self.as_whole(answer).await
            }
            _ => self.as_whole(answer).await,
        }
    }

    /// Starts part file and journal anew for this version.
    fn begin(&self, total: u64, version: &Version) -> Result<Kept> {
        self.check_size(total)?;
        self.part.expect(total)?;
        let (mut journal, _) = Journal::open(&self.part)?;
        self.part.set_length(0)?;
        let identity = Identity {
            total,
            etag: version.etag.clone(),
            last_modified: version.last_modified.clone(),
            proof_kind: ProofKind::for_algorithms(&self.algorithms),
            url_hash: *blake3::hash(shown(&self.spec.url).as_bytes()).as_bytes(),
        };
        journal.begin(&self.part, &identity)?;
        self.part.set_length(total)?;
        Ok(Kept { journal, identity, proofs: Vec::new(), begun: Vec::new() })
    }

    async fn in_ranges(
        &self,
        kept: Kept,
        answer: Answer,
        likeness: Likeness,
    ) -> Result<(u64, Vec<(Algorithm, String)>), Setback> {
        self.check_size(kept.identity.total)?;
        let first_byte = answer.response.first_byte;
        // Without a validator each answer is held against the bytes before it, which only one connection has.
        let connections =
            if kept.version().is_strong() { self.request.connections.map(|number| number as u32) } else { Some(1) };
        let transfer = self.transfer(kept, first_byte, answer.response.final_url.clone(), likeness);
        let terms = Terms {
            connections,
            retries: self.request.retries,
            idle_timeout: self.request.idle_timeout,
            minimum_speed: self.request.minimum_speed,
            first_byte,
        };
        if !transfer.is_complete() {
            fetch_all(&transfer, terms, answer, &self.context.spawned).await?;
        }
        let total = transfer.total;
        let digests = tokio::task::spawn_blocking(move || transfer.digests()).await;
        Ok((total, digests.map_err(|cause| Error::InvalidRequest(cause.to_string()))??))
    }

    fn transfer(&self, kept: Kept, first_byte: Duration, url: Url, likeness: Likeness) -> Arc<Transfer> {
        let version = kept.version();
        // An origin that has answered once is expected to answer about as soon again; a hung one costs the others less.
        let mut spec = self.spec.clone();
        spec.header_timeout = self.request.idle_timeout.max(4 * first_byte).min(self.request.answer_timeout);
        let resumed = kept.bytes();
        self.context.progress.set_total(Some(kept.identity.total));
        self.context.progress.restart_from(resumed);
        Transfer::new(Start {
            client: self.context.client.clone(),
            spec,
            url,
            likeness,
            trusts_length: !version.is_strong(),
            version,
            total: kept.identity.total,
            max_range_bytes: self.request.max_range_bytes,
            limiter: self.context.limiter.clone(),
            progress: self.context.progress.clone(),
            part: self.part.clone(),
            journal: kept.journal,
            proofs: kept.proofs,
            begun: kept.begun,
            algorithms: self.algorithms.clone(),
            first_byte,
        })
    }

    async fn as_whole(&mut self, answer: Answer) -> Result<(u64, Vec<(Algorithm, String)>), Setback> {
        // No journal: without ranges or a validator there is nothing to continue from.
        Journal::open(&self.part)?.0.remove()?;
        let context = self.context;
        let bounds = Bounds {
            limiter: &context.limiter,
            progress: &context.progress,
            idle_timeout: self.request.idle_timeout,
            minimum_speed: self.request.minimum_speed,
            max_bytes: self.request.max_bytes,
        };
        let mut given = Some(answer);
        let mut failures = 0;
        loop {
            let answer = match given.take() {
                Some(answer) => answer,
                None => self.probe().await?,
            };
            let total = match &answer.content {
                Content::Whole(total) => *total,
                Content::Part { bytes, total: Some(total) } if *bytes == (0..*total) => Some(*total),
                Content::Part { .. } => {
                    return Err(Error::lied(&answer.response.final_url, "it sends parts only").into());
                }
            };
            if let Some(total) = total {
                self.check_size(total)?;
            }
            self.context.progress.set_total(total);
            self.context.progress.restart_from(0);
            self.context.progress.set_connections(1);
            match fetch_whole(&self.part, answer.response, total, &self.algorithms, &bounds).await {
                Ok((size, digests)) => {
                    self.check_size(size)?;
                    return Ok((size, digests));
                }
                Err(error) if failures < retries_worth(&error, self.request.retries, true) => {
                    failures += 1;
                    let pause = backoff(failures, None, jitter());
                    context.progress.wait_for(Some(next_try(pause, &error)));
                    tokio::time::sleep(pause).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn check_size(&self, total: u64) -> Result<()> {
        if let Some(limit) = self.request.max_bytes
            && total > limit
        {
            return Err(Error::LimitExceeded { what: format!("the size of {total} bytes"), limit });
        }
        match self.request.expected_size {
            Some(expected) if expected != total => {
                Err(Error::lied(&self.spec.url, format!("it has {total} bytes, promised were {expected}")))
            }
            _ => Ok(()),
        }
    }

    /// Wrong bytes are worth nothing: the next attempt must not continue them.
    fn discard(&self) -> Result<()> {
        Journal::open(&self.part)?.0.remove()?;
        self.part.set_length(0)
    }

    fn verify(&self, size: u64, digests: &[(Algorithm, String)]) -> Result<()> {
        self.check_size(size)?;
        let Some((algorithm, expected)) = &self.request.expected_digest else { return Ok(()) };
        let actual =
            digests.iter().find(|(computed, _)| computed == algorithm).map(|(_, hex)| hex.as_str()).unwrap_or_default();
        if actual.eq_ignore_ascii_case(expected) {
            return Ok(());
        }
        self.discard()?;
        Err(Error::DigestMismatch {
            path: self.request.target.display().to_string(),
            algorithm: algorithm.name(),
            expected: expected.to_ascii_lowercase(),
            actual: actual.to_owned(),
        })
    }
}
