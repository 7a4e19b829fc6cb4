//! The bytes under an HTTP/2 connection, read ahead.
//!
//! `h2` reads no more than the rest of the current frame, 8 KiB from common servers: a `recv` and a TLS record each. With
//! a buffer in between, one `recv` takes what has arrived. There are few such connections, so a buffer each is cheap.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::super::stream::Stream;
use super::connection::Pulse;

const AHEAD_BYTES: usize = 128 << 10;

pub(super) struct Wire {
    stream: Stream,
    ahead: Box<[u8]>,
    start: usize,
    end: usize,
    pulse: Arc<Pulse>,
}

impl Wire {
    pub(super) fn new(stream: Stream, pulse: Arc<Pulse>) -> Self {
        Self { stream, ahead: vec![0; AHEAD_BYTES].into_boxed_slice(), start: 0, end: 0, pulse }
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.start == this.end {
            this.end = 0;
            this.start = 0;
            this.end = ready!(this.stream.poll_read_into(cx, &mut this.ahead))?;
            if this.end > 0 {
                this.pulse.heard();
            }
        }
        let count = (this.end - this.start).min(buffer.remaining());
        buffer.put_slice(&this.ahead[this.start..this.start + count]);
        this.start += count;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
