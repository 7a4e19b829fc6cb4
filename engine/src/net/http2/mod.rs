//! HTTP/2 for many small bodies: the `h2` crate over our own connections.
//!
//! Guard, DNS, proxies and TLS are the connector's, as for HTTP/1.1; only what is spoken on the connection differs. Large
//! ranged files never come here: several TCP flows are what gets round a limit per connection.
//!
//! Every bound is fixed. Windows are, because an adaptive one sends pings that some hosts answer by closing; and the
//! connection's window is as large as those of all its streams together, so that streams nobody reads for now can never
//! hold up the one that is read. A stream's window is opened again only for bytes its reader has disposed of.

mod body;
mod connection;
mod fault;
mod origins;
mod wire;

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use h2::RecvStream;
use http::header::{self, HeaderMap};

pub use self::body::BodyReader;
pub use self::connection::Lease;
pub use self::fault::Fault;
pub use self::origins::{Origins, Route};
use crate::guard::GuardedUrl;

/// Unread bytes of one stream.
const STREAM_WINDOW_BYTES: u32 = 2 << 20;
/// Streams of one connection; the next request opens another connection.
const MOST_STREAMS: usize = 16;
/// Unread bytes of one connection.
const CONNECTION_WINDOW_BYTES: u32 = STREAM_WINDOW_BYTES * MOST_STREAMS as u32;
/// A connection without streams is closed after this, as idle ones of HTTP/1.1 are.
const LONGEST_IDLE: Duration = Duration::from_secs(15);
/// Longest frame that may come; what comes in one piece is one wake-up of its reader.
const LARGEST_FRAME_BYTES: u32 = 64 << 10;
/// Most interim (1xx) responses before the real one.
const MOST_INTERIM: usize = 8;

/// The head of a response.
pub struct Head {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
}

/// Sends a `GET` with these headers (`Host` becomes `:authority`) and waits for the head of the final response.
pub async fn get(lease: &Lease, url: &GuardedUrl, headers: &HeaderMap) -> Result<(Head, RecvStream), Fault> {
    let mut request = http::Request::get(&url.url()[..url::Position::AfterQuery])
        .version(http::Version::HTTP_2)
        .body(())
        .map_err(|cause| Fault::Malformed(format!("its address cannot be sent: {cause}")))?;
    *request.headers_mut() = headers.clone();
    request.headers_mut().remove(header::HOST);
    let sender = lease.sender().ready().await;
    let mut sender = sender.map_err(|cause| Fault::unsent(&cause))?;
    let (mut response, _) = sender.send_request(request, true).map_err(|cause| Fault::unsent(&cause))?;
    let mut interim = 0;
    let response = poll_fn(move |cx| {
        while let Poll::Ready(Some(came)) = response.poll_informational(cx) {
            came.map_err(|cause| Fault::before_the_head(&cause))?;
            interim += 1;
            if interim > MOST_INTERIM {
                return Poll::Ready(Err(Fault::Malformed(format!("more than {MOST_INTERIM} interim responses"))));
            }
        }
        Pin::new(&mut response).poll(cx).map_err(|cause| Fault::before_the_head(&cause))
    });
    let (parts, stream) = response.await?.into_parts();
    Ok((Head { status: parts.status.as_u16(), headers: parts.headers }, stream))
}
