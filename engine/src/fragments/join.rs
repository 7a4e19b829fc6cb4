//! List → requests → connections → one file in order → verify → publish. Read this file first.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::bounds::PlaylistLimits;
use super::coalesce::{JoinedRequest, Piece, coalesce};
use super::decrypt::Decryptor;
use super::fragment::FragmentList;
use super::inline;
use super::keys::KeyCache;
use super::pins::Pins;
use super::refusal::PlaylistError;
use super::resolve;
use super::terms::Terms;
use super::trail::{Found, Mark, Trail, list_digest};
use super::window::Window;
use super::worker::{Absences, Crew, work};
use super::writer::Writer;
use crate::download::{Context, Outcome, publish};
use crate::error::{Error, Result, shown};
use crate::hash::Algorithm;
use crate::probe::Content;
use crate::progress::State;
use crate::request::Request;
use crate::sink::{Durability, PartFile};

/// Connections to begin with; each brings another one when its first fragment has come, up to the most.
const FIRST_CONNECTIONS: usize = 8;
/// Connections of one download when the caller does not say; the caps of the engine hold besides.
const MOST_CONNECTIONS: usize = 16;
/// A resumed download compares its last request with the origin's when it is no longer than this.
const LONGEST_COMPARED_BYTES: u64 = 8 << 20;

/// Joins the request's playlist, manifest or fragments into its target. Dropping the future cancels; the journal stays.
///
/// # Errors
/// `Unsupported` for live and protected playlists, `HttpStatus` for a missing fragment, `UrlExpired` for one whose
/// address ran out; everything a single download can answer.
pub async fn download(context: &Context, request: &Request) -> Result<Outcome> {
    let started = Instant::now();
    context.progress.set_state(State::Probing);
    let terms = Terms::new(context, request)?;
    let part = Arc::new(PartFile::open(&request.target)?.keeping_free(context.disk_floor));
    let FragmentList { fragments, .. } =
        resolve::list(&terms, &request.source, &request.selection, &PlaylistLimits::default()).await?;
    let fragments_total = u32::try_from(fragments.len()).unwrap_or(u32::MAX);
    context.progress.set_fragments(0, fragments_total);
    let requests = coalesce(fragments);
    let algorithms = request.algorithms();
    let (trail, found) = Trail::open(&part, &list_digest(&requests))?;
    let progress = Arc::clone(&context.progress);
    let mut writer = Writer::new(Arc::clone(&part), trail, &algorithms, progress, fragments_total, request.max_bytes);
    let is_resumed = match &found {
        Some(found) => resume(&terms, &requests, found, &part, &mut writer).await?,
        None => false,
    };
    if !is_resumed {
        writer.restart(&algorithms)?;
    }
    context.progress.set_state(State::Running);
    let mut writer = fetch_all(&terms, requests, writer, request).await?;
    context.progress.set_state(State::Verifying);
    let (size, digests) = writer.finish(&algorithms)?;
    if size == 0 {
        return Err(PlaylistError::Empty.into());
    }
    verify(request, &mut writer, size, &digests)?;
    let missing_fragments = writer.missing();
    drop(writer);
    let outcome = Outcome {
        path: request.target.clone(),
        size,
        digests,
        elapsed: Duration::ZERO,
        resumed_bytes: context.progress.resumed(),
        fetched_bytes: context.progress.fetched(),
        connections_peak: context.progress.connections_peak(),
        etag: None,
        content_type: None,
        final_url: terms.url().to_string(),
        missing_fragments,
        durability: Durability::NotAsked,
        remarks: context.progress.remarks(),
    };
    publish(context, part, request.durable, started, outcome).await
}

/// Goes on from the journal's mark if the part file holds what it says and the origin still sends the same last
/// request: a list of equal addresses may describe another encoding today. Of a list that is only alike the comparison
/// must have been made.
async fn resume(
    terms: &Terms,
    requests: &[JoinedRequest],
    found: &Found,
    part: &PartFile,
    writer: &mut Writer,
) -> Result<bool> {
    let mark = &found.mark;
    let Some(done) = requests.get(..mark.requests_done as usize) else { return Ok(false) };
    let fragments_done = done.iter().map(|request| request.fragments).sum();
    if !writer.recover(mark, fragments_done)? {
        return Ok(false);
    }
    let Some(last) = done.last() else { return Ok(false) };
    let is_same = match sends_the_same(terms, last, mark, part).await? {
        Some(is_same) => is_same,
        None => found.is_exact,
    };
    if is_same && !found.is_exact {
        writer.adopt()?;
    }
    Ok(is_same)
}

/// Whether the origin's bytes of a request are those in the file; `None` when that was not compared.
async fn sends_the_same(terms: &Terms, last: &JoinedRequest, mark: &Mark, part: &PartFile) -> Result<Option<bool>> {
    let length = mark.end - mark.last_start;
    let [piece] = last.pieces.as_slice() else { return Ok(None) };
    if length == 0 || length > LONGEST_COMPARED_BYTES || inline::is_inline(&last.url) {
        return Ok(None);
    }
    let range = last.range.map(|range| (range.start(), Some(range.end() - 1)));
    let answer = terms.ask(&last.url, range).await?;
    if last.range.is_some() && matches!(answer.content, Content::Whole(_)) {
        return Ok(None);
    }
    let mut body = answer.response.body;
    // A block of padding, and a byte to know that there are no more.
    let most = length as usize + 17;
    let Ok(Ok(fresh)) = tokio::time::timeout(terms.idle_timeout, body.read_all(most)).await else {
        return Ok(Some(false));
    };
    let Some(fresh) = decrypted(terms, piece, fresh).await? else { return Ok(Some(false)) };
    let mut kept = vec![0; length as usize];
    part.read_at(&mut kept, mark.last_start)?;
    Ok(Some(fresh == kept))
}

async fn decrypted(terms: &Terms, piece: &Piece, bytes: Vec<u8>) -> Result<Option<Vec<u8>>> {
    let Some(encryption) = &piece.encryption else { return Ok(Some(bytes)) };
    let key = KeyCache::default().get(terms, &encryption.key).await?;
    let mut plain = Vec::new();
    let done = Decryptor::new(&key, encryption).is_some_and(|mut decryptor| {
        decryptor.update(&bytes, &mut plain).is_ok() && decryptor.finish(&mut plain).is_ok()
    });
    Ok(done.then_some(plain))
}

/// Runs the workers until every request is in the file.
async fn fetch_all(terms: &Terms, requests: Vec<JoinedRequest>, writer: Writer, request: &Request) -> Result<Writer> {
    let connections = request.connections;
    let absences = Absences { allowed: request.skip_missing, found: writer.missing().into() };
    let end = requests.len() as u64;
    let waiting = requests.len() - writer.requests_done() as usize;
    let most = connections.unwrap_or(MOST_CONNECTIONS).min(waiting.max(1));
    let first = connections.unwrap_or(FIRST_CONNECTIONS).min(most);
    let crew = Arc::new(Crew {
        terms: terms.clone(),
        requests,
        window: Window::new(writer, end),
        keys: KeyCache::default(),
        pins: Pins::default(),
        absences,
    });
    let (announce, mut announced) = mpsc::unbounded_channel::<()>();
    let mut workers: JoinSet<Result<()>> = JoinSet::new();
    let hire = |workers: &mut JoinSet<Result<()>>| {
        let (crew, announce) = (Arc::clone(&crew), announce.clone());
        let spawned = terms.context.spawned.track_future(work(crew, move || {
            let _ = announce.send(());
        }));
        workers.spawn(spawned);
        terms.context.progress.set_connections(workers.len() as u32);
    };
    (0..first).for_each(|_| hire(&mut workers));
    loop {
        tokio::select! {
            ended = workers.join_next() => match ended {
                None => break,
                Some(Ok(result)) => result?,
                Some(Err(cause)) => return Err(Error::InvalidRequest(format!("a worker ended early: {cause}"))),
            },
            Some(()) = announced.recv() => {
                if workers.len() < most {
                    hire(&mut workers);
                }
            }
        }
    }
    terms.context.progress.set_connections(0);
    match Arc::try_unwrap(crew) {
        Ok(crew) => Ok(crew.window.into_writer()),
        Err(_) => Err(Error::InvalidRequest("a worker outlived its download".to_owned())),
    }
}

fn verify(request: &Request, writer: &mut Writer, size: u64, digests: &[(Algorithm, String)]) -> Result<()> {
    if let Some(expected) = request.expected_size
        && expected != size
    {
        return Err(Error::OriginLied {
            url: url::Url::parse(request.source.url()).map_or_else(|_| String::new(), |url| shown(&url)),
            detail: format!("the joined file has {size} bytes, promised were {expected}"),
        });
    }
    let Some((algorithm, expected)) = &request.expected_digest else { return Ok(()) };
    let found = digests.iter().find(|(computed, _)| computed == algorithm).map(|(_, digest)| digest.as_str());
    let actual = found.unwrap_or_default();
    if actual.eq_ignore_ascii_case(expected) {
        return Ok(());
    }
    // Wrong bytes are worth nothing: the next attempt must not continue them.
    writer.discard()?;
    Err(Error::DigestMismatch {
        path: request.target.display().to_string(),
        algorithm: algorithm.name(),
        expected: expected.to_ascii_lowercase(),
        actual: actual.to_owned(),
    })
}
