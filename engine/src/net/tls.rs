//! TLS 1.2 and 1.3 by rustls' unbuffered API: the ciphertext is received in large pieces into a hot buffer and
//! decrypted in place there. The buffered API receives one record (16 KiB) per system call and copies it twice more
//! (figures in docs/decisions/tls-reader.md).

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::hot::{HOT_BYTES, HotBuffer};
use crate::error::{Error, Result};

/// The largest record on the wire (RFC 8446 §5.2, with TLS 1.2's allowance).
pub(super) const LARGEST_RECORD: usize = 5 + 16_384 + 2_048;
/// Plaintext is encrypted in pieces of one record.
const WRITE_PIECE: usize = 16_384;

/// Client configurations, made at the first `https` URL: reading the platform's roots costs 10 ms.
pub struct TlsSettings {
    ca_file: Option<std::path::PathBuf>,
    http1: OnceLock<Arc<ClientConfig>>,
    http2: OnceLock<Arc<ClientConfig>>,
}

impl TlsSettings {
    /// Platform roots (`SSL_CERT_FILE` and `SSL_CERT_DIR` replace them), plus those in `ca_file`.
    pub fn new(ca_file: Option<&Path>) -> Self {
        Self { ca_file: ca_file.map(Path::to_owned), http1: OnceLock::new(), http2: OnceLock::new() }
    }

    /// The configuration that offers HTTP/1.1 only, or HTTP/2 first.
    pub fn config(&self, offers_http2: bool) -> Result<Arc<ClientConfig>> {
        let slot = if offers_http2 { &self.http2 } else { &self.http1 };
        if let Some(config) = slot.get() {
            return Ok(config.clone());
        }
        let mut config = self.build()?;
        config.alpn_protocols =
            if offers_http2 { vec![b"h2".to_vec(), b"http/1.1".to_vec()] } else { vec![b"http/1.1".to_vec()] };
        Ok(slot.get_or_init(|| Arc::new(config)).clone())
    }

    fn build(&self) -> Result<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(path) = &self.ca_file {
            let unreadable = |cause: &dyn std::fmt::Display| {
                Error::InvalidRequest(format!("the CA file {} cannot be read: {cause}", path.display()))
            };
            let extra = CertificateDer::pem_file_iter(path).map_err(|cause| unreadable(&cause))?;
            for certificate in extra {
                let certificate = certificate.map_err(|cause| unreadable(&cause))?;
                roots.add(certificate).map_err(|cause| unreadable(&cause))?;
            }
        }
        let config = ClientConfig::builder_with_provider(Arc::new(provider()))
            .with_safe_default_protocol_versions()
            .map_err(|cause| Error::InvalidRequest(format!("TLS cannot be set up: {cause}")))?;
        Ok(config.with_root_certificates(roots).with_no_client_auth())
    }
}

/// AES-128 before AES-256: the same strength in practice, 12 % less work per byte.
fn provider() -> rustls::crypto::CryptoProvider {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    let is_aes_128 = |suite: &rustls::SupportedCipherSuite| !format!("{:?}", suite.suite()).contains("AES_128");
    provider.cipher_suites.sort_by_key(is_aes_128);
    provider
}

/// The connection ended between two records, without `close_notify`.
#[derive(Debug, thiserror::Error)]
#[error("the peer closed without close_notify")]
pub struct Unannounced;

impl Unannounced {
    /// Whether this is what ended the connection.
    pub fn is_cause(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<Self>())
    }
}

/// A TLS session over TCP. Between reads it holds only what belongs to an unfinished record.
pub struct TlsStream {
    tcp: TcpStream,
    session: UnbufferedClientConnection,
    /// Ciphertext received and not processed yet.
    ciphertext: Vec<u8>,
    /// Plaintext that did not fit into the caller's buffer.
    plaintext: VecDeque<u8>,
    /// Ciphertext to be sent.
    outgoing: Vec<u8>,
    sent: usize,
    peer_closed: bool,
    alpn: Option<Vec<u8>>,
}

impl TlsStream {
    /// Performs the handshake for `name`, which must be what the certificate says.
    pub async fn connect(tcp: TcpStream, name: ServerName<'static>, config: Arc<ClientConfig>) -> io::Result<Self> {
        let session = UnbufferedClientConnection::new(config, name).map_err(io::Error::other)?;
        let mut stream = Self {
            tcp,
            session,
            ciphertext: Vec::new(),
            plaintext: VecDeque::new(),
            outgoing: Vec::new(),
            sent: 0,
            peer_closed: false,
            alpn: None,
        };
        std::future::poll_fn(|cx| stream.poll_handshake(cx)).await?;
        stream.alpn = stream.session.alpn_protocol().map(<[u8]>::to_vec);
        Ok(stream)
    }

    /// The socket underneath.
    pub fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    pub(super) fn tcp_mut(&mut self) -> &mut TcpStream {
        &mut self.tcp
    }

    /// The protocol chosen by ALPN.
    pub fn alpn(&self) -> Option<&[u8]> {
        self.alpn.as_deref()
    }

    /// Whether plaintext waits that nobody asked for.
    pub fn has_buffered(&self) -> bool {
        !self.plaintext.is_empty() || self.peer_closed
    }

    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_flush_out(cx))?;
            let mut ciphertext = std::mem::take(&mut self.ciphertext);
            let turn = self.process(&mut ciphertext, &mut []);
            self.ciphertext = ciphertext;
            let turn = turn?;
            self.ciphertext.drain(..turn.consumed);
            match turn.wait {
                Wait::Send => {}
                Wait::Ready => {
                    return self.poll_flush_out(cx);
                }
                Wait::Receive => {
                    let start = self.ciphertext.len();
                    if start > 8 * LARGEST_RECORD {
                        return Poll::Ready(Err(io::Error::other("the TLS handshake is too long")));
                    }
                    let mut piece = [0; 4096];
                    let received = ready!(poll_recv(&mut self.tcp, cx, &mut piece))?;
                    if received == 0 {
                        return Poll::Ready(Err(io::Error::new(
                            io::ErrorKind::UnexpectedEof,
                            "the peer closed during the TLS handshake",
                        )));
                    }
                    self.ciphertext.extend_from_slice(&piece[..received]);
                }
            }
        }
    }

    /// See [`super::Stream::poll_read_into`].
    pub fn poll_read_into(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        if buffer.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if !self.plaintext.is_empty() {
            return Poll::Ready(Ok(take_front(&mut self.plaintext, buffer)));
        }
        loop {
            if self.peer_closed {
                return Poll::Ready(Ok(0));
            }
            let mut hot = HotBuffer::lease_for(0);
            let held = self.ciphertext.len();
            hot[..held].copy_from_slice(&self.ciphertext);
            // No more than fits as plaintext, so that (almost) nothing has to be kept aside.
            let limit = buffer.len().max(LARGEST_RECORD + held).min(HOT_BYTES);
            let received = ready!(poll_recv(&mut self.tcp, cx, &mut hot[held..limit]))?;
            if received == 0 {
                let is_between_records = self.ciphertext.is_empty();
                return Poll::Ready(Err(if is_between_records {
                    io::Error::new(io::ErrorKind::UnexpectedEof, Unannounced)
                } else {
                    io::Error::new(io::ErrorKind::UnexpectedEof, "the peer closed within a TLS record")
                }));
            }
            self.ciphertext.clear();
            let filled = held + received;
            let turn = self.process(&mut hot[..filled], buffer)?;
            self.ciphertext.extend_from_slice(&hot[turn.consumed..filled]);
            if !self.outgoing.is_empty() {
                // Key updates and alerts; a full socket buffer is tried again at the next read or write.
                let _ = self.poll_flush_out(cx)?;
            }
            if turn.written > 0 {
                return Poll::Ready(Ok(turn.written));
            }
        }
    }

    /// Runs the session over `incoming` until it wants something from outside. Plaintext goes to `out`, what does not
    /// fit is kept.
    fn process(&mut self, incoming: &mut [u8], out: &mut [u8]) -> io::Result<Turn> {
        let mut consumed = 0;
        let mut written = 0;
        let wait = loop {
            let UnbufferedStatus { mut discard, state, .. } =
                self.session.process_tls_records(&mut incoming[consumed..]);
            let wait = match state.map_err(io::Error::other)? {
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(io::Error::other)?;
                        discard += record.discard;
                        let fits = record.payload.len().min(out.len() - written);
                        out[written..written + fits].copy_from_slice(&record.payload[..fits]);
                        written += fits;
                        self.plaintext.extend(&record.payload[fits..]);
                    }
                    None
                }
                ConnectionState::EncodeTlsData(mut data) => {
                    append(&mut self.outgoing, |space| {
                        data.encode(space).map_err(|error| match error {
                            EncodeError::InsufficientSize(InsufficientSizeError { required_size, .. }) => {
                                Short::By(required_size)
                            }
                            other @ EncodeError::AlreadyEncoded => Short::Never(io::Error::other(other)),
                        })
                    })?;
                    None
                }
                ConnectionState::TransmitTlsData(data) => {
                    data.done();
                    Some(Wait::Send)
                }
                ConnectionState::BlockedHandshake => Some(Wait::Receive),
                ConnectionState::WriteTraffic(_) => Some(Wait::Ready),
                ConnectionState::PeerClosed | ConnectionState::Closed => {
                    self.peer_closed = true;
                    Some(Wait::Ready)
                }
                _ => return Err(io::Error::other("the TLS session is in an unknown state")),
            };
            consumed += discard;
            match wait {
                // During the handshake the caller sends before going on; with traffic, going on first is as good.
                Some(Wait::Send) if !self.session.is_handshaking() => {}
                Some(wait) => break wait,
                None => {}
            }
        };
        Ok(Turn { consumed, written, wait })
    }

    /// Encrypts one record's worth of `bytes` and sends it.
    pub fn poll_write_from(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_flush_out(cx))?;
        let piece = &bytes[..bytes.len().min(WRITE_PIECE)];
        let mut ciphertext = std::mem::take(&mut self.ciphertext);
        let encrypted = self.encrypt(&mut ciphertext, piece);
        self.ciphertext = ciphertext;
        encrypted?;
        // Accepted once encrypted: what the socket does not take now goes out at the next flush or write.
        let _ = self.poll_flush_out(cx)?;
        Poll::Ready(Ok(piece.len()))
    }

    fn encrypt(&mut self, incoming: &mut Vec<u8>, piece: &[u8]) -> io::Result<()> {
        loop {
            let UnbufferedStatus { discard, state, .. } = self.session.process_tls_records(incoming);
            let mut is_done = false;
            match state.map_err(io::Error::other)? {
                ConnectionState::WriteTraffic(mut traffic) => {
                    append(&mut self.outgoing, |space| {
                        traffic.encrypt(piece, space).map_err(|error| match error {
                            EncryptError::InsufficientSize(InsufficientSizeError { required_size, .. }) => {
                                Short::By(required_size)
                            }
                            other @ EncryptError::EncryptExhausted => Short::Never(io::Error::other(other)),
                        })
                    })?;
                    is_done = true;
                }
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        self.plaintext.extend(record.map_err(io::Error::other)?.payload);
                    }
                }
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::EncodeTlsData(mut data) => append(&mut self.outgoing, |space| {
                    data.encode(space).map_err(|error| match error {
                        EncodeError::InsufficientSize(InsufficientSizeError { required_size, .. }) => {
                            Short::By(required_size)
                        }
                        other @ EncodeError::AlreadyEncoded => Short::Never(io::Error::other(other)),
                    })
                })?,
                _ => return Err(io::Error::new(io::ErrorKind::BrokenPipe, "the TLS session is closed")),
            }
            incoming.drain(..discard);
            if is_done {
                return Ok(());
            }
        }
    }

    /// Sends what has been encrypted.
    pub fn poll_flush_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.outgoing.len() {
            let sent = ready!(Pin::new(&mut self.tcp).poll_write(cx, &self.outgoing[self.sent..]))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += sent;
        }
        self.outgoing.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }
}

struct Turn {
    consumed: usize,
    written: usize,
    wait: Wait,
}

#[derive(Clone, Copy)]
enum Wait {
    Send,
    Receive,
    Ready,
}

enum Short {
    By(usize),
    Never(io::Error),
}

fn append(outgoing: &mut Vec<u8>, mut write: impl FnMut(&mut [u8]) -> Result<usize, Short>) -> io::Result<()> {
    let start = outgoing.len();
    let mut space = 1024;
    loop {
        outgoing.resize(start + space, 0);
        match write(&mut outgoing[start..]) {
            Ok(written) => {
                outgoing.truncate(start + written);
                return Ok(());
            }
            Err(Short::By(required)) => space = required,
            Err(Short::Never(error)) => return Err(error),
        }
    }
}

fn take_front(plaintext: &mut VecDeque<u8>, buffer: &mut [u8]) -> usize {
    let (front, _) = plaintext.as_slices();
    let count = front.len().min(buffer.len());
    buffer[..count].copy_from_slice(&front[..count]);
    plaintext.drain(..count);
    count
}

fn poll_recv(tcp: &mut TcpStream, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
    let mut target = ReadBuf::new(buffer);
    Pin::new(tcp).poll_read(cx, &mut target).map_ok(|()| target.filled().len())
}
