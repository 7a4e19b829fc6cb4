//! A pause, a cancellation and an engine that is closed cost no byte: every one that was on disk counts afterwards.

mod support;

use std::time::{Duration, Instant};

use support::download::Lab;
use support::file::bytes;
use support::origin::{Origin, honest_head};
use vasset_engine::handle::Handle;

const ETAG: Option<&str> = Some("\"v1\"");
/// Ends in the middle of a group, of which the whole file has two and a half.
const SENT: usize = 700_001;
const COMPARED: usize = 64 * 1024;
const LENGTH: usize = (1 << 20) + (1 << 18);

/// Sends a part of the first answer and then nothing; everything of every later one.
fn breathless(file: Vec<u8>) -> Origin {
    Origin::start(move |request, wire| {
        wire.send(honest_head(request, file.len(), ETAG));
        let span = request.span(file.len());
        if request.number == 0 {
            wire.send(&file[..SENT]);
            wire.stall();
        } else {
            wire.send(&file[span]);
        }
    })
}

fn until_downloaded(handle: &Handle, bytes: u64) {
    let started = Instant::now();
    while handle.snapshot().downloaded != bytes {
        assert!(started.elapsed() < Duration::from_secs(20), "{:?}", handle.snapshot());
        std::thread::yield_now();
    }
}

#[test]
fn a_pause_in_the_middle_of_a_group_keeps_what_came() {
    let (lab, file) = (Lab::new(), bytes(5, LENGTH));
    let origin = breathless(file.clone());
    let mut request = lab.request(&origin.url("/f"));
    request.connections = Some(1);
    request.idle_timeout = Duration::from_secs(30);
    let handle = lab.engine.submit(request).unwrap();
    until_downloaded(&handle, SENT as u64);
    handle.pause();
    handle.resume();
    let outcome = handle.wait(Some(Duration::from_secs(30))).unwrap();
    lab.assert_holds(outcome, &file);
    let ranges: Vec<_> = origin.requests().iter().filter_map(|request| request.range()).collect();
    // A connection that is told to go on before it has left does so; a resume compares a little with the disk (`part/overlap.rs`).
    assert!([SENT, SENT - COMPARED].contains(&ranges[1].0), "{ranges:?}");
}

#[test]
fn cancelled_and_closed_downloads_are_gone_on_with_from_their_last_byte() {
    for hashes in [vec![], vec![vasset_engine::hash::Algorithm::Sha256], vec![vasset_engine::hash::Algorithm::Blake3]] {
        for is_closed in [false, true] {
            let (lab, file) = (Lab::new(), bytes(6, LENGTH));
            let origin = breathless(file.clone());
            let mut request = lab.request(&origin.url("/f"));
            (request.connections, request.hashes) = (Some(1), hashes.clone());
            request.idle_timeout = Duration::from_secs(30);
            let handle = lab.engine.submit(request.clone()).unwrap();
            until_downloaded(&handle, SENT as u64);
            handle.cancel();
            assert!(handle.wait(Some(Duration::from_secs(30))).unwrap().is_err());
            if is_closed {
                lab.engine.close();
            }
            // Another engine is what a process started later has.
            let later = Lab::new();
            let outcome = later.run(request).unwrap();
            assert_eq!(outcome.resumed_bytes as usize, SENT);
            assert_eq!(outcome.fetched_bytes as usize, LENGTH - SENT);
            assert!(std::fs::read(lab.target()).unwrap() == file);
        }
    }
}

#[test]
fn bytes_that_changed_under_a_pause_are_fetched_again() {
    let (lab, file) = (Lab::new(), bytes(7, LENGTH));
    let origin = breathless(file.clone());
    let mut request = lab.request(&origin.url("/f"));
    request.connections = Some(1);
    request.idle_timeout = Duration::from_secs(30);
    let handle = lab.engine.submit(request.clone()).unwrap();
    until_downloaded(&handle, SENT as u64);
    handle.cancel();
    assert!(handle.wait(Some(Duration::from_secs(30))).unwrap().is_err());
    let part = std::fs::File::options().write(true).open(lab.target().with_file_name("file.bin.part")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&part, b"another", 600_000).unwrap();
    drop(part);
    let outcome = lab.run(request);
    assert_eq!(outcome.as_ref().unwrap().resumed_bytes, 512 * 1024, "a damaged beginning was believed");
    lab.assert_holds(outcome, &file);
}
