//! Shares of a common limit as real downloads get them, with sockets, hashing and the disk between two grants.

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use support::download::Lab;
use support::file::bytes;
use support::origin::Origin;
use vasset_engine::handle::Handle;

const RATE: u64 = 8_000_000;
const SECONDS: u64 = 5;

/// Waits until all downloads together have `wanted` bytes more and returns what each got of them, and in what time.
fn bytes_until(handles: &[Handle], wanted: u64) -> (Vec<u64>, Duration) {
    let read = || -> Vec<u64> { handles.iter().map(|handle| handle.snapshot().downloaded).collect() };
    let (before, started) = (read(), Instant::now());
    loop {
        let gained: Vec<u64> = read().iter().zip(&before).map(|(after, before)| after - before).collect();
        if gained.iter().sum::<u64>() >= wanted {
            return (gained, started.elapsed());
        }
        assert!(started.elapsed() < Duration::from_secs(60), "they hang at {gained:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_download_without_a_validator_gets_its_share_beside_those_with_eight_connections() {
    let file = Arc::new(bytes(5, 16 << 20));
    let origin = Origin::start(move |request, wire| {
        let etag = request.target.starts_with("/pinned").then_some("\"v1\"");
        wire.serve(request, &file, etag);
    });
    let lab = Lab::with(|settings| {
        settings.rate_limit = Some(RATE);
        settings.max_connections_per_host = 64;
    });
    let handles = ["/pinned-1", "/pinned-2", "/pinned-3", "/bare"].map(|path| {
        let mut request = lab.request(&origin.url(path));
        request.target = lab.target().with_file_name(&path[1..]);
        request.connections = Some(8);
        lab.engine.submit(request).unwrap()
    });
    // Half a second for the connections to be made.
    bytes_until(&handles, RATE / 2);
    let (gained, elapsed) = bytes_until(&handles, RATE * SECONDS);
    let fair = (RATE * SECONDS) as f64 / handles.len() as f64;
    assert_eq!(handles[3].snapshot().connections, 1);
    assert!(gained[3] as f64 >= 0.9 * fair, "it got {:.2} of its share", gained[3] as f64 / fair);
    let expected = Duration::from_secs(SECONDS);
    assert!(elapsed >= expected.mul_f64(0.98), "{} s of bytes came in {elapsed:?}", SECONDS);
    handles.iter().for_each(Handle::cancel);
}
