//! TLS as the engine speaks it (`engine/src/net/tls.rs`), without a runtime: large pieces of ciphertext, decrypted in place.

use std::collections::VecDeque;
use std::error::Error;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::unbuffered::{ConnectionState, UnbufferedStatus};
use rustls::{ClientConfig, RootCertStore};

use crate::{BUFFER_BYTES, Source};

/// The largest record on the wire (RFC 8446 §5.2).
const LARGEST_RECORD: usize = 5 + 16_384 + 256;

/// One session, with the ciphertext of an unfinished record and the plaintext nobody had room for.
pub struct Tls {
    stream: TcpStream,
    session: UnbufferedClientConnection,
    ciphertext: Vec<u8>,
    held: usize,
    plaintext: VecDeque<u8>,
    request: Option<Vec<u8>>,
    is_closed: bool,
}

/// Connects to `https://HOST:PORT/PATH`, trusting the one authority; the request goes out after the handshake.
pub fn ask(url: &str, authority: &str) -> Result<Tls, Box<dyn Error>> {
    let rest = url.strip_prefix("https://").ok_or("only https:// is spoken here")?;
    let (place, name) = rest.split_once('/').ok_or("the address has no path")?;
    let (host, _) = place.rsplit_once(':').ok_or("the address has no port")?;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority)?)?;
    let mut provider: CryptoProvider = aws_lc_rs::default_provider();
    // The engine's order, so that both get the same cipher.
    provider.cipher_suites.sort_by_key(|suite| !format!("{:?}", suite.suite()).contains("AES_128"));
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let session = UnbufferedClientConnection::new(Arc::new(config), ServerName::try_from(host.to_owned())?)?;
    let request = format!("GET /{name} HTTP/1.1\r\nHost: {place}\r\nConnection: close\r\n\r\n");
    Ok(Tls {
        stream: TcpStream::connect(place)?,
        session,
        ciphertext: vec![0; BUFFER_BYTES],
        held: 0,
        plaintext: VecDeque::new(),
        request: Some(request.into_bytes()),
        is_closed: false,
    })
}

impl Source for Tls {
    fn receive(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut written = 0;
        while written < into.len() {
            let Some(byte) = self.plaintext.pop_front() else { break };
            into[written] = byte;
            written += 1;
        }
        loop {
            written += self.process(&mut into[written..])?;
            if written > 0 || self.is_closed {
                return Ok(written);
            }
            // No more than fits as plaintext, so that almost nothing has to be kept aside.
            let limit = into.len().max(self.held + LARGEST_RECORD).min(self.ciphertext.len());
            let received = self.stream.read(&mut self.ciphertext[self.held..limit])?;
            if received == 0 {
                return Ok(0);
            }
            self.held += received;
        }
    }
}

impl Tls {
    /// Runs the session until it wants bytes; answers how many of plaintext went to `out`.
    fn process(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let (mut used, mut written) = (0, 0);
        loop {
            let UnbufferedStatus { mut discard, state, .. } =
                self.session.process_tls_records(&mut self.ciphertext[used..self.held]);
            let mut is_blocked = false;
            match state.map_err(io::Error::other)? {
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(io::Error::other)?;
                        discard += record.discard;
                        let fits = record.payload.len().min(out.len() - written);
                        out[written..written + fits].copy_from_slice(&record.payload[..fits]);
                        written += fits;
                        self.plaintext.extend(&record.payload[fits..]);
                    }
                }
                ConnectionState::EncodeTlsData(mut data) => {
                    let mut message = vec![0; LARGEST_RECORD];
                    let length = data.encode(&mut message).map_err(io::Error::other)?;
                    self.stream.write_all(&message[..length])?;
                }
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::WriteTraffic(mut traffic) => match self.request.take() {
                    Some(request) => {
                        let mut message = vec![0; LARGEST_RECORD];
                        let length = traffic.encrypt(&request, &mut message).map_err(io::Error::other)?;
                        self.stream.write_all(&message[..length])?;
                    }
                    None => is_blocked = true,
                },
                ConnectionState::BlockedHandshake => is_blocked = true,
                _ => (self.is_closed, is_blocked) = (true, true),
            }
            used += discard;
            if is_blocked {
                self.ciphertext.copy_within(used..self.held, 0);
                self.held -= used;
                return Ok(written);
            }
        }
    }
}
