//! One connection that many requests share, of one task or of several.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::SendRequest;

use super::super::http1::LARGEST_HEAD_BYTES;
use super::super::stream::Stream;
use super::origins::Origin;
use super::wire::Wire;
use super::{CONNECTION_WINDOW_BYTES, LARGEST_FRAME_BYTES, LONGEST_IDLE, MOST_STREAMS, STREAM_WINDOW_BYTES};

/// A connection on which nothing at all came for this long, while somebody gave a request up, gets no further ones.
const LONGEST_SILENCE: Duration = Duration::from_secs(2);

/// A connection; cheap to clone, clones are the same one.
#[derive(Clone)]
pub(super) struct Connection {
    sender: SendRequest<Bytes>,
    pulse: Arc<Pulse>,
}

/// What the reader of a connection, its users and its keeper know of each other.
pub(super) struct Pulse {
    began: Instant,
    heard: AtomicU64,
    streams: AtomicUsize,
    answers: AtomicUsize,
    is_retired: AtomicBool,
}

impl Pulse {
    fn new() -> Self {
        Self {
            began: Instant::now(),
            heard: AtomicU64::new(0),
            streams: AtomicUsize::new(0),
            answers: AtomicUsize::new(0),
            is_retired: AtomicBool::new(false),
        }
    }

    /// Bytes came.
    pub(super) fn heard(&self) {
        // Zero is never.
        self.heard.store((self.began.elapsed().as_millis() as u64).max(1), Ordering::Relaxed);
    }

    fn silence(&self) -> Duration {
        self.began.elapsed().saturating_sub(Duration::from_millis(self.heard.load(Ordering::Relaxed)))
    }

    fn is_idle(&self) -> bool {
        self.streams.load(Ordering::Relaxed) == 0 && self.silence() >= LONGEST_IDLE
    }
}

impl Connection {
    /// Begins HTTP/2 on a fresh stream and keeps it going in a task of its own, which ends with the connection.
    pub(super) async fn begin(stream: Stream) -> Result<Self, h2::Error> {
        let pulse = Arc::new(Pulse::new());
        let wire = Wire::new(stream, Arc::clone(&pulse));
        let (sender, connection) = h2::client::Builder::new()
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_frame_size(LARGEST_FRAME_BYTES)
            .max_header_list_size(LARGEST_HEAD_BYTES as u32)
            .initial_max_send_streams(MOST_STREAMS)
            .max_send_buffer_size(LARGEST_HEAD_BYTES)
            .handshake::<_, Bytes>(wire)
            .await?;
        let watched = Arc::clone(&pulse);
        tokio::spawn(async move {
            let mut connection = std::pin::pin!(connection);
            // A quiet peer may still send pings for ever; an idle connection is ours to end.
            while tokio::time::timeout(LONGEST_IDLE, &mut connection).await.is_err() && !watched.is_idle() {}
            watched.is_retired.store(true, Ordering::Relaxed);
        });
        Ok(Self { sender, pulse })
    }

    pub(super) fn is_usable(&self) -> bool {
        !self.pulse.is_retired.load(Ordering::Relaxed)
    }

    pub(super) fn streams(&self) -> usize {
        self.pulse.streams.load(Ordering::Relaxed)
    }

    /// How many streams it takes at once, in the origin's view and ours.
    pub(super) fn most_streams(&self) -> usize {
        self.sender.current_max_send_streams().clamp(1, MOST_STREAMS)
    }

    pub(super) fn lease(&self, origin: &Arc<Origin>) -> Lease {
        self.pulse.streams.fetch_add(1, Ordering::Relaxed);
        Lease { connection: self.clone(), origin: Arc::clone(origin) }
    }
}

/// The right to one stream of a connection; given back when dropped.
pub struct Lease {
    connection: Connection,
    origin: Arc<Origin>,
}

impl Lease {
    pub(super) fn sender(&self) -> SendRequest<Bytes> {
        self.connection.sender.clone()
    }

    /// A head has come.
    pub(super) fn answered(&self) {
        self.connection.pulse.answers.fetch_add(1, Ordering::Relaxed);
    }

    /// No further requests go over this connection; those on it may finish. When it took few, the next ones get fewer at
    /// once: some origins take only the first requests of a connection.
    pub fn retire(&self) {
        let was_retired = self.connection.pulse.is_retired.swap(true, Ordering::Relaxed);
        if !was_retired && self.connection.pulse.answers.load(Ordering::Relaxed) < MOST_STREAMS {
            self.origin.narrow();
        }
    }

    /// The request is given up. A connection that is as silent as the request is given up with it.
    pub fn give_up(&self) {
        if self.connection.pulse.silence() >= LONGEST_SILENCE {
            self.connection.pulse.is_retired.store(true, Ordering::Relaxed);
        }
    }

    /// Whether not a byte has come on this connection.
    pub fn is_mute(&self) -> bool {
        self.connection.pulse.heard.load(Ordering::Relaxed) == 0
    }

    /// The origin's HTTP/2 cannot be used; it is asked by HTTP/1.1 for a while.
    pub fn distrust(&self) {
        self.connection.pulse.is_retired.store(true, Ordering::Relaxed);
        self.origin.distrust();
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.connection.pulse.streams.fetch_sub(1, Ordering::Relaxed);
    }
}
