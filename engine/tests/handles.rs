//! What callers see of the disk, of endings and of orders: nothing is replaced, nothing hangs, everything has a class.

mod support;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use support::download::Lab;
use support::file::bytes;
use support::origin::{Origin, Request as Seen, Wire, honest_head};
use support::playlist::playlist;
use vasset_engine::error::Error;
use vasset_engine::hash::Algorithm;
use vasset_engine::progress::State;
use vasset_engine::request::{Request, Source};

const ETAG: Option<&str> = Some("\"v1\"");

fn contents() -> Vec<u8> {
    bytes(5, 8 << 20)
}

/// Sends the first megabyte of every range and then nothing.
fn stalling(file: Vec<u8>) -> Origin {
    Origin::start(move |request, wire| {
        let span = request.span(file.len());
        wire.send(honest_head(request, file.len(), ETAG));
        wire.send(&file[span.start..span.end.min(span.start + (1 << 20))]);
        wire.stall();
    })
}

/// Waits for a condition that somebody else brings about.
fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < Duration::from_secs(20), "never happened: {what}");
        std::thread::yield_now();
    }
}

#[test]
fn an_existing_target_is_never_replaced() {
    let lab = Lab::new();
    std::fs::write(lab.target(), b"mine").unwrap();
    let origin = Origin::serving(contents(), ETAG);
    assert!(matches!(lab.fetch(&origin.url("/f")), Err(Error::TargetExists { .. })));
    assert_eq!(std::fs::read(lab.target()).unwrap(), b"mine");
    assert!(origin.requests().is_empty());
}

#[test]
fn a_missing_folder_and_a_file_in_its_place_are_storage_errors() {
    let lab = Lab::new();
    let origin = Origin::serving(contents(), ETAG);
    std::fs::write(lab.target(), b"a file").unwrap();
    for target in [lab.target().with_file_name("missing").join("f"), lab.target().join("f")] {
        let mut request = lab.request(&origin.url("/f"));
        request.target = target;
        assert!(matches!(lab.run(request), Err(Error::Storage { .. })));
    }
}

#[test]
fn a_second_task_on_the_same_target_is_refused_and_the_first_goes_on() {
    let lab = Lab::new();
    let origin = stalling(contents());
    let first = lab.engine.submit(lab.request(&origin.url("/f"))).unwrap();
    eventually("the first task receives", || first.snapshot().downloaded > 0);
    assert!(matches!(lab.fetch(&origin.url("/f")), Err(Error::JournalLocked { .. })));
    assert!(first.outcome().is_none());
    first.cancel();
}

#[test]
fn a_cancel_or_pause_during_the_publishing_ends_as_the_target_says() {
    let origin = Origin::serving(contents(), ETAG);
    for round in 0..20 {
        let lab = Lab::new();
        let mut request = lab.request(&origin.url("/f"));
        request.durable = true;
        let handle = lab.engine.submit(request).unwrap();
        eventually("verifying", || matches!(handle.snapshot().state, State::Verifying | State::Completed));
        if round % 2 == 0 {
            handle.cancel();
        } else {
            handle.pause();
            handle.resume();
        }
        let outcome = handle.wait(Some(Duration::from_secs(20))).expect("it hangs");
        // Nothing runs any more: what has not appeared now never will.
        lab.engine.close();
        match outcome {
            Ok(_) => lab.assert_holds(outcome, &contents()),
            Err(_) => lab.assert_refused(outcome, &["cancelled"]),
        }
    }
}

#[test]
fn a_cancelled_task_says_so_and_the_next_attempt_goes_on() {
    let lab = Lab::new();
    let file = contents();
    let origin = stalling(file.clone());
    let handle = lab.engine.submit(lab.request(&origin.url("/f"))).unwrap();
    eventually("a group is on disk", || handle.snapshot().downloaded >= 1 << 20);
    handle.cancel();
    let outcome = handle.wait(Some(Duration::from_secs(20))).unwrap();
    assert!(matches!(outcome, Err(Error::Cancelled)));
    assert_eq!(handle.snapshot().state, State::Cancelled);
    let honest = Origin::serving(file.clone(), ETAG);
    let outcome = lab.fetch(&honest.url("/f")).unwrap();
    assert!(outcome.resumed_bytes >= 1 << 19, "{}", outcome.resumed_bytes);
    assert_eq!(std::fs::read(lab.target()).unwrap(), file);
}

/// Sends bytes of every file and fragment as fast as they are read; a playlist names four fragments.
fn flowing(answering: Arc<AtomicUsize>) -> Origin {
    const LENGTH: usize = 256 << 20;
    let piece = bytes(8, 64 << 10);
    Origin::start(move |request, wire| {
        if request.target == "/i.m3u8" {
            return wire.serve(request, playlist(4).as_bytes(), None);
        }
        answering.fetch_add(1, Ordering::SeqCst);
        wire.send(honest_head(request, LENGTH, ETAG));
        for _ in (0..request.span(LENGTH).len()).step_by(piece.len()) {
            if !wire.is_open() {
                break;
            }
            wire.send(&piece);
        }
        answering.fetch_sub(1, Ordering::SeqCst);
    })
}

/// Name, length and time of the last write of whatever a task has left.
fn traces(lab: &Lab) -> Vec<(std::ffi::OsString, u64, std::time::SystemTime)> {
    let folder = std::fs::read_dir(lab.target().parent().unwrap()).unwrap();
    let mut traces: Vec<_> = folder
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name(), entry.metadata().unwrap()))
        .map(|(name, about)| (name, about.len(), about.modified().unwrap()))
        .collect();
    traces.sort();
    traces
}

#[test]
fn after_a_cancel_is_over_no_byte_is_read_or_written_and_it_is_over_within_50_milliseconds() {
    let answering = Arc::new(AtomicUsize::new(0));
    let origin = flowing(answering.clone());
    let mut times = Vec::new();
    for round in 0..24 {
        let lab = Lab::new();
        let url = origin.url("/i.m3u8");
        let mut request = lab.request(&origin.url("/f"));
        request.connections = Some([1, 4, 16][round % 3]);
        if round % 4 == 3 {
            request.source = Source::Hls { url };
        }
        let handle = lab.engine.submit(request).unwrap();
        eventually("bytes flow", || handle.snapshot().downloaded >= 1 << 20);
        let told = Instant::now();
        handle.cancel();
        assert!(matches!(handle.wait(Some(Duration::from_secs(20))).unwrap(), Err(Error::Cancelled)));
        times.push(told.elapsed());
        let (left, received) = (traces(&lab), handle.snapshot().downloaded);
        eventually("the origin sees every connection closed", || answering.load(Ordering::SeqCst) == 0);
        assert_eq!((traces(&lab), handle.snapshot().downloaded), (left, received), "something was written afterwards");
        assert!(!lab.target().exists());
    }
    // The median, because this machine runs other tests too; the benchmark publishes the 99th percentile.
    times.sort();
    assert!(times[times.len() / 2] <= Duration::from_millis(50), "{times:?}");
}

#[test]
fn a_paused_task_keeps_its_bytes_and_goes_on() {
    let lab = Lab::new();
    let file = contents();
    let gate = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let is_open = gate.clone();
    let served = file.clone();
    let origin = Origin::start(move |request: &Seen, wire: &mut Wire| {
        if is_open.load(std::sync::atomic::Ordering::SeqCst) {
            return wire.serve(request, &served, ETAG);
        }
        let span = request.span(served.len());
        wire.send(honest_head(request, served.len(), ETAG));
        wire.send(&served[span.start..span.end.min(span.start + (1 << 20))]);
        wire.stall();
    });
    let handle = lab.engine.submit(lab.request(&origin.url("/f"))).unwrap();
    eventually("a group is on disk", || handle.snapshot().downloaded >= 1 << 20);
    handle.pause();
    eventually("it is paused", || handle.snapshot().state == State::Paused);
    gate.store(true, std::sync::atomic::Ordering::SeqCst);
    handle.resume();
    let outcome = handle.wait(Some(Duration::from_secs(20))).unwrap().unwrap();
    assert!(outcome.resumed_bytes >= 1 << 19);
    assert_eq!(std::fs::read(lab.target()).unwrap(), file);
}

#[test]
fn an_expired_url_is_refreshed_and_the_journal_goes_on() {
    let lab = Lab::new();
    let file = contents();
    let served = file.clone();
    let origin = Origin::start(move |request, wire| {
        let (span, length) = (request.span(served.len()), served.len());
        match (request.target.as_str(), span.start) {
            ("/old", 0) => {
                wire.send(honest_head(request, length, ETAG));
                wire.send(&served[..3 << 20]);
                wire.close();
            }
            ("/old", _) => wire.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"),
            _ => wire.serve(request, &served, ETAG),
        }
    });
    let handle = lab.engine.submit(lab.request(&origin.url("/old"))).unwrap();
    let ended = handle.wait(Some(Duration::from_secs(20))).unwrap();
    assert!(matches!(ended, Err(Error::UrlExpired { status: 403, .. })), "{ended:?}");
    handle.refresh(origin.url("/new"), None, None).unwrap();
    let outcome = handle.wait(Some(Duration::from_secs(20))).unwrap().unwrap();
    assert!(outcome.resumed_bytes > 0);
    assert_eq!(std::fs::read(lab.target()).unwrap(), file);
}

#[test]
fn another_version_than_the_journals_is_begun_anew_and_never_spliced() {
    let lab = Lab::new();
    let old = stalling(contents());
    let handle = lab.engine.submit(lab.request(&old.url("/f"))).unwrap();
    eventually("a group is on disk", || handle.snapshot().downloaded >= 1 << 20);
    handle.cancel();
    let _ = handle.wait(Some(Duration::from_secs(20)));
    let newer = bytes(6, 8 << 20);
    let origin = Origin::serving(newer.clone(), Some("\"v2\""));
    lab.fetch(&origin.url("/f")).unwrap();
    assert_eq!(std::fs::read(lab.target()).unwrap(), newer);
}

#[test]
fn a_wrong_digest_publishes_nothing_and_the_right_one_does() {
    let lab = Lab::new();
    let file = contents();
    let origin = Origin::serving(file.clone(), ETAG);
    for algorithm in [Algorithm::Blake3, Algorithm::Xxh3, Algorithm::Sha256] {
        let mut request = lab.request(&origin.url("/f"));
        request.expected_digest = Some((algorithm, "0".repeat(algorithm.hex_length())));
        assert!(matches!(lab.run(request), Err(Error::DigestMismatch { .. })));
        assert!(!lab.target().exists());
    }
    let mut request = lab.request(&origin.url("/f"));
    request.expected_digest = Some((Algorithm::Blake3, blake3::hash(&file).to_hex().to_string()));
    lab.run(request).unwrap();
}

#[test]
fn all_hashes_agree_however_many_connections_bring_the_bytes() {
    let file = bytes(7, (20 << 20) + 777);
    let origin = Origin::serving(file.clone(), ETAG);
    let mut seen: Vec<Vec<(Algorithm, String)>> = Vec::new();
    for connections in [1, 2, 7] {
        let lab = Lab::new();
        let mut request = lab.request(&origin.url("/f"));
        request.hashes = vec![Algorithm::Blake3, Algorithm::Xxh3, Algorithm::Sha256];
        request.connections = Some(connections);
        let mut digests = lab.run(request).unwrap().digests;
        digests.sort_by_key(|(algorithm, _)| algorithm.name());
        assert_eq!(digests[0].1, blake3::hash(&file).to_hex().to_string());
        seen.push(digests);
    }
    assert!(seen.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn endings_are_announced_once_each_through_the_descriptor() {
    let lab = Lab::new();
    let origin = Origin::serving(contents(), ETAG);
    let handle = lab.engine.submit(lab.request(&origin.url("/f"))).unwrap();
    handle.wait(Some(Duration::from_secs(20))).unwrap().unwrap();
    let drained = std::cell::RefCell::new(Vec::new());
    eventually("the ending is announced", || {
        drained.borrow_mut().extend(lab.engine.drain_completions());
        !drained.borrow().is_empty()
    });
    assert_eq!(drained.into_inner(), [handle.id()]);
    assert!(lab.engine.drain_completions().is_empty() && lab.engine.snapshot().is_empty());
}

#[test]
fn orders_to_an_ended_task_are_harmless() {
    let lab = Lab::new();
    let origin = Origin::serving(contents(), ETAG);
    let handle = lab.engine.submit(lab.request(&origin.url("/f"))).unwrap();
    handle.wait(Some(Duration::from_secs(20))).unwrap().unwrap();
    handle.cancel();
    handle.pause();
    handle.resume();
    assert_eq!(handle.snapshot().state, State::Completed);
    assert!(handle.refresh(origin.url("/f"), None, None).is_err());
}

#[test]
fn requests_that_contradict_themselves_are_refused_before_anything_is_sent() {
    let lab = Lab::new();
    let origin = Origin::serving(contents(), ETAG);
    let change = |change: fn(&mut Request)| {
        let mut request = lab.request(&origin.url("/f"));
        change(&mut request);
        request
    };
    let contradictions = [
        change(|request| request.connections = Some(0)),
        change(|request| request.weight = 0),
        change(|request| request.max_range_bytes = Some(0)),
        change(|request| (request.expected_size, request.max_bytes) = (Some(2), Some(1))),
        change(|request| request.expected_digest = Some((Algorithm::Sha256, "zz".to_owned()))),
        change(|request| request.cookies = Some("a=b\r\nHost: evil".to_owned())),
        change(|request| request.target = "/".into()),
    ];
    for request in contradictions {
        assert!(lab.engine.submit(request).is_err());
    }
    for name in ["Range", "host", "Transfer-Encoding", "bad name"] {
        assert!(lab.request("http://127.0.0.1/").header(name, "x").is_err(), "{name}");
    }
    assert!(origin.requests().is_empty());
}

/// The event loop of the program that drives the engine is served first where processors are short. Threads inherit their
/// priority from one another: however they come about, all of them are as far below the caller.
#[test]
#[cfg(target_os = "linux")]
fn the_threads_of_the_engine_give_way_to_their_caller() {
    let nice = |task: &std::path::Path| {
        let stat = std::fs::read_to_string(task.join("stat")).unwrap_or_default();
        let behind_name = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
        behind_name.split(' ').nth(16).and_then(|field| field.parse::<i32>().ok())
    };
    let of_engine = || -> Vec<i32> {
        let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten().map(|task| task.path());
        let named =
            |task: &PathBuf| std::fs::read_to_string(task.join("comm")).is_ok_and(|name| name == "vasset-engine\n");
        tasks.filter(named).filter_map(|task| nice(&task)).collect()
    };
    let own = nice(std::path::Path::new("/proc/thread-self")).expect("a thread has a niceness");
    let file = contents();
    let served = file.clone();
    let origin = Origin::start(move |request, wire| wire.serve(request, &served, ETAG));
    let lab = Lab::new();
    let mut request = lab.request(&origin.url("/file"));
    request.durable = true; // syncs on a thread that a thread of the engine starts
    lab.assert_holds(lab.run(request), &file);
    let found = of_engine(); // also the one that synced: it waits ten seconds for more to do
    assert!(!found.is_empty() && found.iter().all(|nice| *nice == own + 5), "{found:?} instead of {own} + 5");
}
