//! A connection to an origin: TCP, or TLS over TCP.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::tls::{LARGEST_RECORD, TlsStream};

/// Bytes in, bytes out. Reading goes straight into the caller's buffer: a `recv` per read for TCP, and for TLS a
/// `recv` of as much ciphertext as the buffer can take in plaintext.
pub enum Stream {
    /// Plain TCP.
    Plain(TcpStream),
    /// TLS 1.2 or 1.3.
    Tls(Box<TlsStream>),
}

impl Stream {
    /// The socket underneath.
    pub fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.tcp(),
        }
    }

    /// Whom the kernel says we are connected to: the origin, or the proxy in front of it.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.tcp().peer_addr()
    }

    /// The protocol chosen by ALPN.
    pub fn alpn(&self) -> Option<&[u8]> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(tls) => tls.alpn(),
        }
    }

    /// Reads at least one byte into `buffer`; 0 is the end of the stream. An end that TLS did not announce by
    /// `close_notify` is `UnexpectedEof`, because anybody on the path can cut a connection.
    pub fn poll_read_into(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(tcp) => {
                let mut target = ReadBuf::new(buffer);
                Pin::new(tcp).poll_read(cx, &mut target).map_ok(|()| target.filled().len())
            }
            Self::Tls(tls) => tls.poll_read_into(cx, buffer),
        }
    }

    /// Asks the kernel to wake us only when `bytes` are there (or the stream ended): one wake-up and one `recv` for
    /// what would be many. Never more than what the peer still owes, or the wake-up would not come.
    pub fn set_wake_threshold(&self, bytes: usize) {
        let threshold = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
        // SAFETY: the descriptor is open for as long as `self` is borrowed, and the option's value is one `int`.
        // A refusal is harmless: we are then woken for less. No safe wrapper exists (rustix, socket2).
        unsafe {
            libc::setsockopt(
                self.tcp().as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_RCVLOWAT,
                (&raw const threshold).cast(),
                size_of_val(&threshold) as libc::socklen_t,
            );
        }
    }

    /// Bytes that may have left the kernel without having reached the reader: of TLS, a record received in part.
    /// A wake threshold within this of the end of a body might never be met.
    pub fn held_at_most(&self) -> usize {
        match self {
            Self::Plain(_) => 0,
            Self::Tls(_) => LARGEST_RECORD,
        }
    }

    /// Whether nothing arrived since the last response: an idle connection with bytes or an end on it is not reusable.
    pub fn is_quiet(&self) -> bool {
        let mut byte = [std::mem::MaybeUninit::uninit(); 1];
        let socket = socket2::SockRef::from(self.tcp());
        let blocked = matches!(socket.peek(&mut byte), Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        blocked && !matches!(self, Self::Tls(tls) if tls.has_buffered())
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = std::task::ready!(self.poll_read_into(cx, buf.initialize_unfilled()))?;
        buf.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Self::Tls(tls) => tls.poll_write_from(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Tls(tls) => tls.poll_flush_out(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(tls) => {
                std::task::ready!(tls.poll_flush_out(cx))?;
                Pin::new(tls.tcp_mut()).poll_shutdown(cx)
            }
        }
    }
}
