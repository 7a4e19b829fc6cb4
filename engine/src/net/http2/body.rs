//! A response body on a stream.

use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use h2::RecvStream;
use http::header::CONTENT_LENGTH;

use super::super::http1::decimal;
use super::{Fault, Head, Lease};

/// Reads a body; dropped before its end, it resets the stream and the connection goes on.
pub struct BodyReader {
    stream: RecvStream,
    /// Given back at the end, before the caller's place at the host.
    lease: Option<Lease>,
    chunk: Bytes,
    /// Bytes the caller had last time: asking for more says that they are in their place.
    taken: usize,
    owed: Option<u64>,
    has_known_length: bool,
    has_ended: bool,
}

impl BodyReader {
    /// At the first byte of the body.
    pub fn new(stream: RecvStream, head: &Head, lease: Lease) -> Self {
        lease.answered();
        // Lengths that differ or are none have been refused by `h2`.
        let owed = head.headers.get(CONTENT_LENGTH).and_then(|value| decimal(value.as_bytes().trim_ascii()));
        let has_ended = stream.is_end_stream();
        let owed = if has_ended { Some(0) } else { owed };
        let lease = Some(lease).filter(|_| !has_ended);
        Self { stream, lease, chunk: Bytes::new(), taken: 0, owed, has_known_length: owed.is_some(), has_ended }
    }

    /// Whether the whole body has been read.
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Whether the head named the length of the body.
    pub fn has_known_length(&self) -> bool {
        self.has_known_length
    }

    /// Bytes still to come, if the head named their number.
    pub fn owed(&self) -> Option<u64> {
        if self.has_ended { Some(0) } else { self.owed }
    }

    /// Reads what has come into `buffer`; 0 is the end that the origin announced.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<usize, Fault>> {
        self.release();
        let mut filled = 0;
        while filled < buffer.len() && !self.has_ended {
            if self.chunk.is_empty() {
                match self.stream.poll_data(cx) {
                    Poll::Ready(Some(Ok(chunk))) => self.chunk = chunk,
                    // A fault after some bytes is still there at the next call.
                    Poll::Ready(Some(Err(_))) | Poll::Pending if filled > 0 => break,
                    Poll::Ready(Some(Err(cause))) => return Poll::Ready(Err(self.failed(&cause))),
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(None) => self.has_ended = true,
                }
            }
            let count = self.chunk.len().min(buffer.len() - filled);
            self.chunk.copy_to_slice(&mut buffer[filled..filled + count]);
            filled += count;
        }
        self.taken = filled;
        self.owed = match self.owed {
            Some(owed) => match owed.checked_sub(filled as u64) {
                Some(rest) => Some(rest),
                None => return Poll::Ready(Err(Fault::Ended("the body is longer than its content-length".to_owned()))),
            },
            None => None,
        };
        self.has_ended |= self.chunk.is_empty() && self.stream.is_end_stream();
        if self.has_ended {
            self.release();
            self.lease = None;
            if let Some(owed) = self.owed.filter(|owed| *owed > 0) {
                return Poll::Ready(Err(Fault::Ended(format!("{owed} bytes of the body are missing"))));
            }
        }
        Poll::Ready(Ok(filled))
    }

    fn failed(&self, cause: &h2::Error) -> Fault {
        let fault = Fault::in_the_body(cause);
        if let (Fault::Unusable(_), Some(lease)) = (&fault, &self.lease) {
            lease.distrust();
        }
        fault
    }

    fn release(&mut self) {
        let taken = std::mem::take(&mut self.taken);
        if taken > 0 {
            // Only refused for more than has come.
            let _ = self.stream.flow_control().release_capacity(taken);
        }
    }
}

impl Drop for BodyReader {
    fn drop(&mut self) {
        if let Some(lease) = &self.lease
            && self.owed != Some(0)
        {
            lease.give_up();
        }
    }
}
