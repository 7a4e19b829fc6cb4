//! Requests finish in any order and are written in one: what comes too early waits in memory, within a bound.
//!
//! The request at the frontier writes through and needs no memory. The others reserve bytes before they read and stop
//! reading when there are none, which the origin feels as TCP back-pressure. So the frontier always moves, whatever
//! the bound.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::writer::{Covered, Writer};
use crate::error::Result;

/// Memory of one download for bytes ahead of the frontier; a kill loses at most these and what the journal has not.
pub(super) const WINDOW_BYTES: usize = 12 << 20;
/// Requests ahead of the frontier, so that a million empty fragments do not wait in a map.
const WINDOW_REQUESTS: u64 = 512;
/// A reader without room gives its connection back after this: the request at the frontier may be waiting for one.
const LONGEST_WAIT_FOR_ROOM: Duration = Duration::from_secs(2);

/// Emptied buffers that are used again: a fresh one of 200 KiB costs 50 page faults. Larger ones are given back.
const SPARE_BUFFERS: usize = 16;
const LARGEST_SPARE_BYTES: usize = 512 << 10;

/// The order of one download.
pub(super) struct Window {
    order: Mutex<Order>,
    spare: Mutex<Vec<Vec<u8>>>,
    moved: Notify,
    writer: Mutex<Writer>,
}

struct Order {
    next: u64,
    end: u64,
    frontier: u64,
    held: usize,
    ready: BTreeMap<u64, (Vec<u8>, Covered)>,
}

/// Where a reader may put its next bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// It is at the frontier: straight to the file.
    Through,
    /// The bytes asked for are reserved.
    Reserved,
    /// No room came in time; let go of the connection and wait for [`Window::until_frontier`].
    None,
}

impl Window {
    /// Requests `writer.requests_done()..end` are to come.
    pub(super) fn new(writer: Writer, end: u64) -> Self {
        let next = writer.requests_done();
        let order = Order { next, end, frontier: next, held: 0, ready: BTreeMap::new() };
        Self { order: Mutex::new(order), spare: Mutex::default(), moved: Notify::new(), writer: Mutex::new(writer) }
    }

    /// The next request, in order; waits while too many are ahead of the frontier. `None` when all are taken.
    pub(super) async fn take(&self) -> Option<u64> {
        loop {
            let moved = self.moved.notified();
            {
                let mut order = self.order.lock();
                if order.next == order.end {
                    return None;
                }
                if order.next < order.frontier + WINDOW_REQUESTS {
                    order.next += 1;
                    return Some(order.next - 1);
                }
            }
            moved.await;
        }
    }

    /// Waits until `bytes` of `request` may be read.
    pub(super) async fn room(&self, request: u64, bytes: usize) -> Room {
        // The common case takes no timer.
        if let Some(room) = self.order.lock().room(request, bytes) {
            return room;
        }
        let wait = async {
            loop {
                let moved = self.moved.notified();
                if let Some(room) = self.order.lock().room(request, bytes) {
                    return room;
                }
                moved.await;
            }
        };
        tokio::time::timeout(LONGEST_WAIT_FOR_ROOM, wait).await.unwrap_or(Room::None)
    }

    /// Waits until `request` is at the frontier.
    pub(super) async fn until_frontier(&self, request: u64) {
        loop {
            let moved = self.moved.notified();
            if self.order.lock().frontier >= request {
                return;
            }
            moved.await;
        }
    }

    /// Gives reserved bytes back that were not used.
    pub(super) fn release(&self, bytes: usize) {
        if bytes > 0 {
            self.order.lock().held -= bytes;
            self.moved.notify_waiters();
        }
    }

    /// Appends to the file; only for the request at the frontier.
    pub(super) fn write(&self, bytes: &[u8]) -> Result<()> {
        self.writer.lock().append(bytes)
    }

    /// Undoes what the request at the frontier wrote.
    pub(super) fn take_back(&self) {
        self.writer.lock().take_back();
    }

    /// A whole request has come; `kept` is what has not been written, and is reserved. Whoever is at the frontier
    /// writes all that waited for it.
    pub(super) fn finish(&self, request: u64, kept: Vec<u8>, covered: Covered) -> Result<()> {
        let mut next = Some((kept, covered));
        {
            let mut order = self.order.lock();
            if order.frontier != request
                && let Some(entry) = next.take()
            {
                order.ready.insert(request, entry);
                return Ok(());
            }
        }
        let mut writer = self.writer.lock();
        while let Some((bytes, covered)) = next.take() {
            writer.append(&bytes)?;
            writer.finish_request(covered)?;
            let mut order = self.order.lock();
            order.held -= bytes.len();
            order.frontier += 1;
            let frontier = order.frontier;
            next = order.ready.remove(&frontier);
            drop(order);
            self.moved.notify_waiters();
            self.recycle(bytes);
        }
        Ok(())
    }

    /// An empty buffer.
    pub(super) fn buffer(&self) -> Vec<u8> {
        self.spare.lock().pop().unwrap_or_default()
    }

    /// Keeps an emptied buffer for the next request.
    pub(super) fn recycle(&self, mut bytes: Vec<u8>) {
        if bytes.capacity() == 0 || bytes.capacity() > LARGEST_SPARE_BYTES {
            return;
        }
        bytes.clear();
        let mut spare = self.spare.lock();
        if spare.len() < SPARE_BUFFERS {
            spare.push(bytes);
        }
    }

    /// The writer, when all is done.
    pub(super) fn into_writer(self) -> Writer {
        self.writer.into_inner()
    }
}

impl Order {
    fn room(&mut self, request: u64, bytes: usize) -> Option<Room> {
        if self.frontier == request {
            return Some(Room::Through);
        }
        if self.held + bytes > WINDOW_BYTES {
            return None;
        }
        self.held += bytes;
        Some(Room::Reserved)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::fragments::trail::{ListDigest, Trail};
    use crate::hash::Algorithm;
    use crate::progress::Progress;
    use crate::sink::PartFile;

    const ONE: Covered = Covered { fragments: 1, missing: 0 };

    fn window(folder: &std::path::Path, requests: u64) -> (Window, Arc<PartFile>) {
        let part = Arc::new(PartFile::open(&folder.join("film")).unwrap());
        let (trail, _) = Trail::open(&part, &ListDigest { exact: [0; 32], shape: [0; 32] }).unwrap();
        let progress = Arc::new(Progress::default());
        let writer = Writer::new(Arc::clone(&part), trail, &[Algorithm::Blake3], progress, requests as u32, None);
        (Window::new(writer, requests), part)
    }

    #[tokio::test]
    async fn any_order_of_finishing_writes_in_one_order() {
        let folder = tempfile::tempdir().unwrap();
        let (window, part) = window(folder.path(), 5);
        while window.take().await.is_some() {}
        for request in [3_u64, 1, 0, 4, 2] {
            let bytes = vec![b'a' + request as u8; 2];
            if window.room(request, 2).await == Room::Through {
                window.write(&bytes).unwrap();
                window.finish(request, Vec::new(), ONE).unwrap();
            } else {
                window.finish(request, bytes, ONE).unwrap();
            }
        }
        let mut written = [0; 10];
        part.read_at(&mut written, 0).unwrap();
        assert_eq!(&written, b"aabbccddee");
        assert_eq!(window.order.lock().held, 0, "every reserved byte came back");
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_window_stops_all_but_the_frontier() {
        let folder = tempfile::tempdir().unwrap();
        let (window, _part) = window(folder.path(), 3);
        assert_eq!(window.room(1, WINDOW_BYTES).await, Room::Reserved);
        assert_eq!(window.room(2, 1).await, Room::None);
        assert_eq!(window.room(0, usize::MAX).await, Room::Through);
        window.release(WINDOW_BYTES);
        assert_eq!(window.room(2, 1).await, Room::Reserved);
    }

    #[tokio::test]
    async fn a_request_taken_back_leaves_the_file_as_it_was_before() {
        let folder = tempfile::tempdir().unwrap();
        let (window, part) = window(folder.path(), 1);
        window.write(b"wrong").unwrap();
        window.take_back();
        window.write(b"ok").unwrap();
        window.finish(0, Vec::new(), ONE).unwrap();
        let (size, digests) = window.into_writer().finish(&[Algorithm::Blake3]).unwrap();
        assert_eq!(size, 2);
        assert_eq!(digests[0].1, blake3::hash(b"ok").to_hex().as_str());
        let mut written = [0; 2];
        part.read_at(&mut written, 0).unwrap();
        assert_eq!(&written, b"ok");
    }
}
