//! What every request of one joined download has in common, and how often it is tried.

use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::words::Words;
use crate::download::Context;
use crate::error::{Error, Result};
use crate::net::coding::unzipped;
use crate::net::cookies::Jar;
use crate::net::{FetchSpec, Response};
use crate::probe::{Answer, Content, judge};
use crate::request::Request;
use crate::retry::{backoff, jitter, next_try, retries_worth, retries_worth_of_fragment};

/// The caller's request as the playlist, its keys and its fragments see it.
#[derive(Clone)]
pub(super) struct Terms {
    pub(super) context: Context,
    spec: FetchSpec,
    pub(super) retries: u32,
    pub(super) idle_timeout: Duration,
    answer_timeout: Duration,
}

impl Terms {
    /// Headers and cookies stay at the origin of the request's own address, wherever fragments are.
    pub(super) fn new(context: &Context, request: &Request) -> Result<Self> {
        let url = context.client.check_url(request.source.url())?.url().clone();
        let mut spec = FetchSpec::new(url);
        spec.private_to = Some(spec.url.origin());
        spec.headers = request.headers.clone();
        spec.cookies = request.cookies.clone();
        spec.jar = Arc::new(Jar::new(request.jar.clone()));
        spec.proxies = Arc::new(request.proxies()?);
        spec.connect_timeout = request.connect_timeout;
        spec.max_redirects = request.max_redirects;
        spec.allows_http2 = request.http2;
        spec.holder = Some(context.holder.clone());
        let (idle_timeout, answer_timeout) = (request.idle_timeout, request.answer_timeout);
        Ok(Self { context: context.clone(), spec, retries: request.retries, idle_timeout, answer_timeout })
    }

    /// The address the download was asked for.
    pub(super) fn url(&self) -> &Url {
        &self.spec.url
    }

    /// One attempt, judged: status, framing, range and coding are believed or an error.
    pub(super) async fn ask(&self, url: &Url, range: Option<(u64, Option<u64>)>) -> Result<Answer> {
        self.ask_within(url, range, self.idle_timeout).await
    }

    async fn ask_within(&self, url: &Url, range: Option<(u64, Option<u64>)>, timeout: Duration) -> Result<Answer> {
        let mut spec = self.spec.clone();
        spec.header_timeout = timeout;
        spec.url = url.clone();
        spec.range = range;
        let response: Response = self.context.client.get(&spec).await?;
        let answer = judge(response, range)?;
        if answer.is_coded && matches!(answer.content, Content::Part { .. }) {
            return Err(Error::lied(url, "it sends a part of compressed bytes where a part of the file was asked"));
        }
        Ok(answer)
    }

    /// A playlist or manifest. Some are kept compressed, as `index.m3u8.gz`, and served without a word about it.
    pub(super) async fn text(&self, url: &Url, limit: usize) -> Result<(Vec<u8>, Url)> {
        let (bytes, final_url) = self.small(url, None, limit).await?;
        let text = unzipped(bytes, limit).map_err(|fault| fault.about(&final_url))?;
        Ok((text, final_url))
    }

    /// A small whole resource: a playlist, a key, an index. Such are made on demand: the first byte may take its time.
    pub(super) async fn small(
        &self,
        url: &Url,
        range: Option<(u64, Option<u64>)>,
        limit: usize,
    ) -> Result<(Vec<u8>, Url)> {
        let mut failures = 0;
        loop {
            let attempt = async {
                let host = url.host_str().unwrap_or_default();
                self.context.progress.wait_for(Some(format!("the answer of {host}")));
                let answer = self.ask_within(url, range, self.answer_timeout).await?;
                self.context.progress.wait_for(None);
                let final_url = answer.response.final_url.clone();
                let mut body = answer.response.body;
                match tokio::time::timeout(self.idle_timeout, body.read_all(limit)).await {
                    Ok(bytes) => Ok((bytes?, final_url)),
                    Err(_) => Err(self.silence(url)),
                }
            };
            match attempt.await {
                Ok(done) => return Ok(done),
                Err(error) => {
                    let worth = retries_worth(&error, self.retries, self.has_bytes());
                    self.pause(url, &mut failures, error, worth).await?;
                }
            }
        }
    }

    /// Waits before the next attempt at a fragment, or answers the error when there is none.
    pub(super) async fn pause_or_give_up(&self, url: &Url, failures: &mut u32, error: Error) -> Result<()> {
        let worth = retries_worth_of_fragment(&error, self.retries, self.has_bytes());
        self.pause(url, failures, error, worth).await
    }

    fn has_bytes(&self) -> bool {
        self.context.progress.fetched() > 0
    }

    async fn pause(&self, url: &Url, failures: &mut u32, error: Error, worth: u32) -> Result<()> {
        *failures += 1;
        if *failures > worth {
            return Err(error);
        }
        let asked = if let Error::HttpStatus { retry_after, .. } = &error { *retry_after } else { None };
        let pause = backoff(*failures, asked, jitter());
        if matches!(error, Error::HttpStatus { status: 429 | 503, .. }) {
            self.context.client.push_back(url.host_str().unwrap_or_default(), pause);
        }
        self.context.progress.wait_for(Some(next_try(pause, &error)));
        tokio::time::sleep(pause).await;
        self.context.progress.wait_for(None);
        Ok(())
    }

    /// Something else than a fragment under a status that says it is one.
    pub(super) fn no_fragment(&self, url: &Url, words: Words) -> Error {
        match words {
            Words::Playlist => Error::lied(url, "a playlist came in the place of a fragment"),
            Words::Page(found) => Error::page(url, found, self.has_bytes()),
        }
    }

    /// A body that went silent.
    pub(super) fn silence(&self, url: &Url) -> Error {
        Error::Timeout {
            what: "the silence",
            place: url.host_str().unwrap_or_default().to_owned(),
            seconds: self.idle_timeout.as_secs_f64(),
        }
    }
}
