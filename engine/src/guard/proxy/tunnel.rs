//! Bytes between a client and the outside, counted, bounded and not allowed to fall silent for ever.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::credential::Grant;

/// A connection with no byte in either direction for this long is ended.
const LONGEST_SILENCE: Duration = Duration::from_secs(120);

/// The outside end of a connection: every byte through it is charged to the credential.
pub(super) struct Metered {
    inner: TcpStream,
    grant: Arc<Grant>,
    passed: Arc<AtomicU64>,
}

impl Metered {
    pub(super) fn new(inner: TcpStream, grant: Arc<Grant>) -> Self {
        Self { inner, grant, passed: Arc::default() }
    }

    /// Ends when nothing has passed for two minutes.
    pub(super) fn silence(&self) -> impl Future<Output = ()> + use<> {
        let passed = Arc::clone(&self.passed);
        async move {
            let mut before = None;
            loop {
                let now = passed.load(Ordering::Relaxed);
                if before == Some(now) {
                    return;
                }
                before = Some(now);
                tokio::time::sleep(LONGEST_SILENCE).await;
            }
        }
    }

    fn count(&self, bytes: usize) -> io::Result<()> {
        self.passed.fetch_add(bytes as u64, Ordering::Relaxed);
        if self.grant.count_bytes(bytes as u64) {
            Ok(())
        } else {
            Err(io::Error::new(io::ErrorKind::QuotaExceeded, "the credential's bytes are used up"))
        }
    }
}

impl AsyncRead for Metered {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buffer))?;
        Poll::Ready(self.count(buffer.filled().len() - before))
    }
}

impl AsyncWrite for Metered {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.inner).poll_write(cx, bytes))?;
        Poll::Ready(self.count(written).map(|()| written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
