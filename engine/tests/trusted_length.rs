//! `trust_length`: a file without validators goes on after a break when the bytes before the missing ones are the same.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use support::download::Lab;
use support::file;
use support::origin::{Origin, Request, Wire, honest_head};

const MIB: usize = 1 << 20;
const LENGTH: usize = 6 * MIB + 321;

fn version(number: u64) -> Vec<u8> {
    file::bytes(60 + number, LENGTH)
}

/// Serves `bytes` without validators and closes after `most` of an answer.
fn serve_cut(request: &Request, wire: &mut Wire, bytes: &[u8], fields: &str, most: usize) {
    let span = request.span(bytes.len());
    wire.send(honest_head(request, bytes.len(), None).replacen("\r\n", &format!("\r\n{fields}"), 1));
    let sent = span.start..span.end.min(span.start + most);
    wire.send(&bytes[sent.clone()]);
    if sent.end < span.end {
        wire.close();
    }
}

#[test]
fn a_break_costs_little_and_only_where_it_was_asked_for() {
    for trusts in [false, true] {
        let origin = Origin::start(move |request, wire| {
            let most = if trusts || request.number == 0 { 2 * MIB } else { LENGTH };
            serve_cut(request, wire, &version(1), "", most);
        });
        let lab = Lab::new();
        let mut request = lab.request(&origin.url("/f"));
        request.trust_length = trusts;
        request.connections = Some(4);
        let outcome = lab.run(request).unwrap();
        assert_eq!(outcome.connections_peak, 1, "without a validator one connection is the most");
        assert_eq!(outcome.fetched_bytes < (LENGTH + MIB / 2) as u64, trusts, "{outcome:?}");
        lab.assert_holds(Ok(outcome), &version(1));
    }
}

#[test]
fn another_file_of_the_same_length_is_fetched_anew() {
    let origin = Origin::start(|request, wire| {
        let (number, most) = if request.number == 0 { (1, 2 * MIB) } else { (2, LENGTH) };
        serve_cut(request, wire, &version(number), "", most);
    });
    let lab = Lab::new();
    let mut request = lab.request(&origin.url("/f"));
    request.trust_length = true;
    lab.assert_holds(lab.run(request), &version(2));
}

#[test]
fn a_weak_tag_that_changes_is_another_version() {
    // The bytes before the break are the same: only the tag tells.
    let other = || [&version(1)[..3 * MIB], &version(2)[3 * MIB..]].concat();
    let origin = Origin::start(move |request, wire| {
        if request.number == 0 {
            serve_cut(request, wire, &version(1), "ETag: W/\"1\"\r\n", 2 * MIB);
        } else {
            serve_cut(request, wire, &other(), "ETag: W/\"2\"\r\n", LENGTH);
        }
    });
    let lab = Lab::new();
    let mut request = lab.request(&origin.url("/f"));
    request.trust_length = true;
    lab.assert_holds(lab.run(request), &other());
}

/// An origin that breaks off and is dead afterwards, until it is told to serve.
fn dying() -> (Origin, Arc<AtomicUsize>) {
    let served = Arc::new(AtomicUsize::new(0));
    let origin = Origin::start({
        let served = served.clone();
        move |request, wire| match (request.number, served.load(Ordering::SeqCst) as u64) {
            (0, _) => serve_cut(request, wire, &version(1), "", 4 * MIB),
            (_, 0) => wire.close(),
            (_, number) => serve_cut(request, wire, &version(number), "", LENGTH),
        }
    });
    (origin, served)
}

#[test]
fn parts_of_compressed_bytes_are_not_joined() {
    let origin = Origin::start(|request, wire| {
        let is_plain = request.range().is_none() || request.number == 0;
        let (number, fields) = if is_plain { (1, "") } else { (2, "Content-Encoding: gzip\r\n") };
        let most = if request.range().is_some() { 2 * MIB } else { LENGTH };
        serve_cut(request, wire, &version(number), fields, most);
    });
    let lab = Lab::new();
    let mut request = lab.request(&origin.url("/f"));
    request.trust_length = true;
    lab.assert_holds(lab.run(request), &version(1));
}

#[test]
fn tomorrow_it_goes_on_under_another_token_in_the_path() {
    for number in [1, 2] {
        let (origin, served) = dying();
        let lab = Lab::new();
        let mut request = lab.request(&origin.url("/token-one/film.mp4"));
        (request.trust_length, request.retries) = (true, 1);
        lab.assert_refused(lab.run(request), &["truncated"]);
        served.store(number, Ordering::SeqCst);
        let mut request = lab.request(&origin.url("/token-two/film.mp4"));
        request.trust_length = true;
        let outcome = lab.run(request).unwrap();
        assert_eq!(outcome.fetched_bytes < 3 * MIB as u64, number == 1, "{outcome:?}");
        lab.assert_holds(Ok(outcome), &version(number as u64));
    }
}

#[test]
fn what_was_kept_on_trust_is_not_believed_without_it() {
    let (origin, served) = dying();
    let lab = Lab::new();
    let mut request = lab.request(&origin.url("/f"));
    (request.trust_length, request.retries) = (true, 1);
    lab.assert_refused(lab.run(request), &["truncated"]);
    served.store(1, Ordering::SeqCst);
    let outcome = lab.fetch(&origin.url("/f")).unwrap();
    assert_eq!(outcome.resumed_bytes, 0);
    lab.assert_holds(Ok(outcome), &version(1));
}

#[test]
fn a_token_in_the_path_does_not_lose_a_resume_that_a_validator_confirms() {
    let served = Arc::new(AtomicUsize::new(0));
    let origin = Origin::start({
        let served = served.clone();
        move |request, wire| {
            let is_served = served.load(Ordering::SeqCst) == 1;
            let most = if is_served {
                LENGTH
            } else if request.number == 0 {
                4 * MIB
            } else {
                0
            };
            serve_cut(request, wire, &version(1), "ETag: \"v1\"\r\n", most);
        }
    });
    let lab = Lab::new();
    let mut request = lab.request(&origin.url("/token-one/film.mp4"));
    request.retries = 1;
    lab.assert_refused(lab.run(request), &["truncated"]);
    served.store(1, Ordering::SeqCst);
    let outcome = lab.fetch(&origin.url("/token-two/film.mp4")).unwrap();
    assert!(outcome.resumed_bytes >= 3 * MIB as u64, "{outcome:?}");
    lab.assert_holds(Ok(outcome), &version(1));
}
