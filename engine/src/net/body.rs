//! A response body, delivered into the caller's buffer, whatever it came by.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use super::coding::{Coding, Decoder};
use super::connector::place;
use super::hot::HotBuffer;
use super::http1::{self, Excess, Framing};
use super::pool::PoolKey;
use super::stream::Stream;
use super::{Client, http2};
use crate::error::{Error, Result, shown};
use crate::guard::GuardedUrl;
use crate::limit::ConnectionPermit;
use crate::progress::Progress;
use crate::remark::Remark;

/// Compressed bytes that are unpacked at once.
const CODED_PIECE_BYTES: usize = 8 * 1024;

/// A response body. Read to its end, its connection serves the next request.
pub struct Body {
    carrier: Carrier,
    /// For a compressed body; what is read are the bytes it stands for.
    decoder: Option<Box<Decoder>>,
    url: GuardedUrl,
    key: PoolKey,
    client: Client,
    permit: Option<ConnectionPermit>,
}

/// What the bytes come by.
pub(super) enum Carrier {
    Http1(Connected),
    Http2(http2::BodyReader),
}

/// A connection of HTTP/1.1 that belongs to one body.
pub(super) struct Connected {
    reader: http1::BodyReader,
    stream: Option<Stream>,
    excess: Excess,
    keeps_alive: bool,
    threshold: usize,
    has_known_length: bool,
}

impl Connected {
    pub(super) fn new(head: &http1::Head, stream: Stream, excess: Vec<u8>) -> Self {
        Self {
            reader: http1::BodyReader::new(head.framing),
            stream: Some(stream),
            excess: Excess::new(excess),
            keeps_alive: head.keeps_alive,
            threshold: 1,
            has_known_length: matches!(head.framing, Framing::Length(_)),
        }
    }

    fn set_wake_threshold(&mut self, bytes: usize) {
        let held = self.excess.len() + self.stream.as_ref().map_or(0, Stream::held_at_most);
        let owed = self.reader.owed().unwrap_or(1).saturating_sub(held as u64);
        let wanted = bytes.min(usize::try_from(owed).unwrap_or(usize::MAX)).max(1);
        if wanted != self.threshold
            && let Some(stream) = &self.stream
        {
            stream.set_wake_threshold(wanted);
            self.threshold = wanted;
        }
    }

    /// The connection, after the end, if it may serve another request.
    fn take_reusable(&mut self) -> Option<Stream> {
        if self.threshold != 1
            && let Some(stream) = &self.stream
        {
            stream.set_wake_threshold(1);
        }
        // Bytes behind the end belong to no request: such a connection is not to be trusted again.
        let is_clean = self.excess.is_empty();
        self.stream.take().filter(|_| self.keeps_alive && is_clean)
    }
}

impl Body {
    pub(super) fn new(
        carrier: Carrier,
        url: GuardedUrl,
        key: PoolKey,
        client: Client,
        permit: ConnectionPermit,
    ) -> Self {
        let mut body = Self { carrier, decoder: None, url, key, client, permit: Some(permit) };
        body.settle();
        body
    }

    /// Unpacks the body while it is read. Of nothing that has been read yet.
    pub fn decode(&mut self, coding: Coding) {
        self.decoder = Some(Box::new(Decoder::new(coding)));
    }

    /// Notes what the outcome should say about this body, which has been read.
    pub fn remark_on(&self, progress: &Progress) {
        if self.decoder.as_ref().is_some_and(|decoder| decoder.is_undoing()) {
            progress.remark(Remark::Unpacked);
        }
        if matches!(&self.carrier, Carrier::Http1(connected) if connected.reader.ended_unannounced()) {
            progress.remark(Remark::EndUnannounced);
        }
    }

    /// Reads at least one byte; 0 is the end that the framing announced. Every other end is an error.
    pub async fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        poll_fn(|cx| self.poll_read(cx, buffer)).await
    }

    /// Reads at least one and at most `limit` bytes, for `position` of a file, into this thread's hot buffer. Use them before the
    /// next `await`.
    pub async fn read_hot(&mut self, position: u64, limit: usize) -> Result<(HotBuffer, usize)> {
        poll_fn(|cx| {
            let mut hot = HotBuffer::lease_for(position);
            let limit = limit.min(hot.len());
            self.poll_read(cx, &mut hot[..limit]).map_ok(|read| (hot, read))
        })
        .await
    }

    /// As [`Body::read`], for callers who have the buffer only while there is something to read.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<usize>> {
        if self.decoder.is_some() { self.poll_decoded(cx, buffer) } else { self.poll_sent(cx, buffer) }
    }

    fn poll_decoded(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<usize>> {
        loop {
            let taken = self.decoder.as_mut().map_or(0, |decoder| decoder.take(buffer));
            if taken > 0 {
                return Poll::Ready(Ok(taken));
            }
            let has_ended = self.carrier_has_ended();
            let mut piece = [0; CODED_PIECE_BYTES];
            let read = if has_ended { 0 } else { ready!(self.poll_sent(cx, &mut piece))? };
            let Some(decoder) = &mut self.decoder else { return Poll::Ready(Ok(0)) };
            let unpacked = if read > 0 { decoder.feed(&piece[..read]) } else { decoder.finish() };
            unpacked.map_err(|fault| fault.about(self.url.url()))?;
            if read == 0 {
                return Poll::Ready(Ok(decoder.take(buffer)));
            }
        }
    }

    /// The bytes as they are sent.
    fn poll_sent(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<usize>> {
        let read = match &mut self.carrier {
            Carrier::Http1(connected) => {
                let Some(stream) = &mut connected.stream else { return Poll::Ready(Ok(0)) };
                ready!(connected.reader.poll_read(cx, stream, &mut connected.excess, buffer))
                    .map_err(|fault| http1_error(fault, &self.url))?
            }
            Carrier::Http2(reader) => {
                ready!(reader.poll_read(cx, buffer)).map_err(|fault| http2_error(fault, &self.url))?
            }
        };
        self.settle();
        Poll::Ready(Ok(read))
    }

    /// Reads a whole small body; more than `limit` bytes is an error.
    pub async fn read_all(&mut self, limit: usize) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut piece = vec![0; 16 * 1024];
        loop {
            let read = self.read(&mut piece).await?;
            if read == 0 {
                return Ok(bytes);
            }
            if bytes.len() + read > limit {
                return Err(Error::LimitExceeded {
                    what: format!("the size of {}", shown(self.url.url())),
                    limit: limit as u64,
                });
            }
            bytes.extend_from_slice(&piece[..read]);
        }
    }

    /// Whether all of the body has been read, as far as it is known: a compressed one tells at the next read.
    pub fn has_ended(&self) -> bool {
        self.decoder.is_none() && self.carrier_has_ended()
    }

    fn carrier_has_ended(&self) -> bool {
        match &self.carrier {
            Carrier::Http1(connected) => connected.reader.has_ended(),
            Carrier::Http2(reader) => reader.has_ended(),
        }
    }

    /// Whether the head named the length of the body. Of a compressed one it names another.
    pub fn has_known_length(&self) -> bool {
        match &self.carrier {
            _ if self.decoder.is_some() => false,
            Carrier::Http1(connected) => connected.has_known_length,
            Carrier::Http2(reader) => reader.has_known_length(),
        }
    }

    /// Bytes certainly still to come; `None` when the framing does not tell (chunked between chunks, until close).
    pub fn owed(&self) -> Option<u64> {
        match &self.carrier {
            _ if self.decoder.is_some() => None,
            Carrier::Http1(connected) => connected.reader.owed(),
            Carrier::Http2(reader) => reader.owed(),
        }
    }

    /// Wakes the reader only for `bytes` at once, or fewer where the body ends earlier. A shared connection is always read
    /// as its bytes come: they are not of this body alone.
    pub fn set_wake_threshold(&mut self, bytes: usize) {
        if let Carrier::Http1(connected) = &mut self.carrier {
            connected.set_wake_threshold(bytes);
        }
    }

    /// The host this body comes from, as the caps count it.
    pub fn host(&self) -> &str {
        &self.key.host
    }

    /// Whether this connection should be given up between two requests: a task with fewer waits for one.
    pub fn is_wanted(&self) -> bool {
        self.permit.as_ref().is_some_and(ConnectionPermit::is_wanted)
    }

    /// Gives connection and permit back as soon as the end has been read.
    fn settle(&mut self) {
        if !self.carrier_has_ended() {
            return;
        }
        if let Carrier::Http1(connected) = &mut self.carrier
            && let Some(stream) = connected.take_reusable()
        {
            self.client.shared.pool.put(self.key.clone(), stream);
        }
        self.permit = None;
    }
}

pub(super) fn http1_error(fault: http1::Fault, url: &GuardedUrl) -> Error {
    match fault {
        http1::Fault::Io(cause) => Error::Truncated { place: place(url), detail: cause.to_string() },
        http1::Fault::Framing(detail) => Error::lied(url.url(), detail),
    }
}

pub(super) fn http2_error(fault: http2::Fault, url: &GuardedUrl) -> Error {
    match fault {
        http2::Fault::Malformed(detail) => Error::lied(url.url(), detail),
        http2::Fault::Unprocessed(detail)
        | http2::Fault::Refused(detail)
        | http2::Fault::Ended(detail)
        | http2::Fault::Unusable(detail) => Error::Truncated { place: place(url), detail },
    }
}
