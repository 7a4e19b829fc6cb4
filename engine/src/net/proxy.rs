//! Upstream proxies: HTTP `CONNECT` and SOCKS5, with credentials.
//!
//! Both are asked for an *address* that the egress policy has seen, never for a name. `CONNECT` also carries plain
//! `http`: the absolute form (`GET http://name/…`) would let the proxy resolve the name again.

use std::io;
use std::net::SocketAddr;

use percent_encoding::percent_decode_str;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use url::Url;

use crate::error::{Error, Result};
use crate::guard::Host;

/// A parsed proxy URL. `Debug` and messages never show the credentials.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Proxy {
    kind: Kind,
    host: Host,
    port: u16,
    credentials: Option<(String, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Connect,
    Socks5,
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Proxy({:?} {})", self.kind, self.place())
    }
}

impl Proxy {
    /// Reads `http://user:password@host:port`, `socks5://…` or `socks5h://…`.
    pub fn parse(text: &str) -> Result<Self> {
        let invalid = |why: &str| Error::InvalidRequest(format!("the proxy URL {why}"));
        let url =
            Url::parse(text).map_err(|_| invalid("cannot be read; write http://host:port or socks5://host:port"))?;
        let (kind, default_port) = match url.scheme() {
            "http" => (Kind::Connect, 8080),
            "socks5" | "socks5h" => (Kind::Socks5, 1080),
            other => return Err(Error::Unsupported(format!("a proxy of scheme {other}"))),
        };
        let text_host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| invalid("has no host"))?;
        let bare = text_host.trim_start_matches('[').trim_end_matches(']');
        let host = bare.parse().map_or_else(|_| Host::Name(bare.to_ascii_lowercase()), Host::Address);
        let decoded = |text: &str| percent_decode_str(text).decode_utf8().map(|text| text.into_owned());
        let credentials = match (url.username(), url.password()) {
            ("", None) => None,
            (user, password) => Some((
                decoded(user).map_err(|_| invalid("has a user name that is not UTF-8"))?,
                decoded(password.unwrap_or("")).map_err(|_| invalid("has a password that is not UTF-8"))?,
            )),
        };
        // `http://host` means port 80 to the URL parser; to people it means the proxy's usual port.
        let port = url.port().unwrap_or(default_port);
        Ok(Self { kind, host, port, credentials })
    }

    /// The proxy's own host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The proxy's own port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Host and port for messages.
    pub fn place(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Makes `tcp`, connected to the proxy, a tunnel to `target`.
    pub async fn open(&self, tcp: &mut TcpStream, target: SocketAddr) -> io::Result<()> {
        match self.kind {
            Kind::Connect => self.open_connect(tcp, target).await,
            Kind::Socks5 => self.open_socks5(tcp, target).await,
        }
    }

    async fn open_connect(&self, tcp: &mut TcpStream, target: SocketAddr) -> io::Result<()> {
        let mut head = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
        if let Some((user, password)) = &self.credentials {
            head.push_str(&format!(
                "Proxy-Authorization: Basic {}\r\n",
                base64(format!("{user}:{password}").as_bytes())
            ));
        }
        head.push_str("\r\n");
        tcp.write_all(head.as_bytes()).await?;
        // Byte by byte: what follows the head belongs to the tunnel.
        let mut answer = Vec::with_capacity(256);
        while !answer.ends_with(b"\r\n\r\n") {
            if answer.len() > 16 * 1024 {
                return Err(io::Error::other("its answer to CONNECT is too long"));
            }
            answer.push(tcp.read_u8().await?);
        }
        let status =
            std::str::from_utf8(&answer).ok().and_then(|text| text.split(' ').nth(1)).unwrap_or("nothing readable");
        match status {
            "200" => Ok(()),
            "407" => Err(io::Error::new(io::ErrorKind::PermissionDenied, "it wants other credentials (407)")),
            // 502 and its like speak of the way behind the proxy, which may be free again; the rest is a no.
            other => {
                let is_passing = other.parse().is_ok_and(crate::retry::is_passing_status);
                let kind = if is_passing { io::ErrorKind::Other } else { io::ErrorKind::PermissionDenied };
                Err(io::Error::new(kind, format!("it answered {other} to CONNECT")))
            }
        }
    }

    /// RFC 1928 and, for credentials, RFC 1929.
    async fn open_socks5(&self, tcp: &mut TcpStream, target: SocketAddr) -> io::Result<()> {
        let method = if self.credentials.is_some() { 2 } else { 0 };
        tcp.write_all(&[5, 1, method]).await?;
        let mut choice = [0; 2];
        tcp.read_exact(&mut choice).await?;
        if choice != [5, method] {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it accepts none of our ways to sign in"));
        }
        if let Some((user, password)) = &self.credentials {
            let too_long = |_| io::Error::other("user names and passwords of SOCKS5 end at 255 bytes");
            let mut message = vec![1, u8::try_from(user.len()).map_err(too_long)?];
            message.extend_from_slice(user.as_bytes());
            message.push(u8::try_from(password.len()).map_err(too_long)?);
            message.extend_from_slice(password.as_bytes());
            tcp.write_all(&message).await?;
            let mut verdict = [0; 2];
            tcp.read_exact(&mut verdict).await?;
            if verdict[1] != 0 {
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it refused the user name or password"));
            }
        }
        let mut message = vec![5, 1, 0];
        match target {
            SocketAddr::V4(target) => {
                message.push(1);
                message.extend_from_slice(&target.ip().octets());
            }
            SocketAddr::V6(target) => {
                message.push(4);
                message.extend_from_slice(&target.ip().octets());
            }
        }
        message.extend_from_slice(&target.port().to_be_bytes());
        tcp.write_all(&message).await?;
        let mut head = [0; 4];
        tcp.read_exact(&mut head).await?;
        if head[..2] != [5, 0] {
            // Not allowed, unreachable, refused.
            let kind = if (2..=5).contains(&head[1]) { io::ErrorKind::PermissionDenied } else { io::ErrorKind::Other };
            return Err(io::Error::new(kind, format!("it answered {} to SOCKS5 CONNECT", head[1])));
        }
        let bound = match head[3] {
            1 => 4,
            4 => 16,
            3 => usize::from(tcp.read_u8().await?),
            _ => return Err(io::Error::other("its SOCKS5 answer cannot be read")),
        };
        let mut rest = vec![0; bound + 2];
        tcp.read_exact(&mut rest).await?;
        Ok(())
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for piece in bytes.chunks(3) {
        let word = piece.iter().enumerate().fold(0_u32, |word, (at, byte)| word | u32::from(*byte) << (16 - 8 * at));
        for at in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * at)) as usize & 63] as char;
            text.push(if at <= piece.len() { digit } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_pads_as_rfc_4648_says() {
        let cases = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("user:pass", "dXNlcjpwYXNz"),
        ];
        for (plain, encoded) in cases {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
    }

    #[test]
    fn reads_credentials_and_never_shows_them() {
        let proxy = Proxy::parse("socks5://us%65r:p%40ss@9.9.9.9").unwrap();
        assert_eq!(proxy.credentials, Some(("user".to_owned(), "p@ss".to_owned())));
        assert_eq!((proxy.port(), format!("{proxy:?}")), (1080, "Proxy(Socks5 9.9.9.9:1080)".to_owned()));
        assert!(Proxy::parse("ftp://host").is_err());
        assert!(Proxy::parse("nonsense").is_err());
    }
}
