//! Origins whose file changes, or that cannot say which version they send: never a mixture of two.

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};

use support::download::Lab;
use support::file;
use support::origin::{Origin, Request, Wire, honest_head};

const MIB: usize = 1 << 20;
const LENGTH: usize = 5 * MIB + 777;

fn version(number: u64) -> Vec<u8> {
    file::bytes(100 + number, LENGTH)
}

/// Sends the answer of an honest server of version `number`, cut after `most` bytes of body.
fn serve_cut(request: &Request, wire: &mut Wire, number: u64, most: usize) {
    let tag = format!("\"v{number}\"");
    wire.send(honest_head(request, LENGTH, Some(&tag)));
    let span = request.span(LENGTH);
    let sent = span.start..span.end.min(span.start + most);
    wire.send(&version(number)[sent.clone()]);
    if sent.end < span.end {
        wire.close();
    }
}

/// Honours `If-Range` as RFC 9110 §13.1.5 says: another version is sent whole.
fn without_stale_range(request: &Request, number: u64) -> Request {
    let mut request = request.clone();
    let is_stale = request.header("if-range").is_some_and(|tag| tag != format!("\"v{number}\""));
    if is_stale {
        request.headers.retain(|(name, _)| name != "range");
    }
    request
}

#[test]
fn a_version_that_changes_under_way_is_fetched_anew() {
    // O10, item 3; with and without an origin that understands If-Range.
    for honours_if_range in [true, false] {
        let origin = Origin::start(move |request, wire| {
            if request.number == 0 {
                serve_cut(request, wire, 1, LENGTH / 2);
            } else if honours_if_range {
                serve_cut(&without_stale_range(request, 2), wire, 2, LENGTH);
            } else {
                serve_cut(request, wire, 2, LENGTH);
            }
        });
        let lab = Lab::new();
        lab.assert_holds(lab.fetch(&origin.url("/f")), &version(2));
    }
}

#[test]
fn a_version_that_changes_with_every_answer_is_taken_from_one_answer_or_refused() {
    let origin = Origin::start(|request, wire| serve_cut(request, wire, request.number as u64, 2 * MIB));
    let lab = Lab::new();
    lab.assert_refused(lab.fetch(&origin.url("/f")), &["origin_changed", "truncated"]);

    let origin = Origin::start(|request, wire| {
        let most = if request.range().is_some() { 2 * MIB } else { LENGTH };
        serve_cut(request, wire, request.number as u64, most);
    });
    let lab = Lab::new();
    let outcome = lab.fetch(&origin.url("/f"));
    let whole = origin.requests().iter().rfind(|request| request.range().is_none()).map(|request| request.number);
    lab.assert_holds(outcome, &version(whole.expect("the whole was never asked for") as u64));
}

#[test]
fn a_resume_under_another_version_keeps_nothing_of_the_old_one() {
    let number = std::sync::Arc::new(AtomicUsize::new(1));
    let origin = Origin::start({
        let number = number.clone();
        move |request, wire| match number.load(Ordering::SeqCst) {
            1 => serve_cut(request, wire, 1, if request.number == 0 { 3 * MIB } else { 0 }),
            _ => serve_cut(&without_stale_range(request, 2), wire, 2, LENGTH),
        }
    });
    let lab = Lab::new();
    let mut request = lab.request(&origin.url("/f"));
    request.retries = 1;
    lab.assert_refused(lab.run(request), &["truncated", "timeout", "connect"]);
    number.store(2, Ordering::SeqCst);
    lab.assert_holds(lab.fetch(&origin.url("/f")), &version(2));
}

#[test]
fn a_resume_of_the_same_version_asks_only_for_the_rest() {
    let has_recovered = std::sync::Arc::new(AtomicUsize::new(0));
    let origin = Origin::start({
        let has_recovered = has_recovered.clone();
        move |request, wire| {
            let most = match (has_recovered.load(Ordering::SeqCst), request.number) {
                (1, _) => LENGTH,
                (_, 0) => 3 * MIB + 5,
                _ => 0,
            };
            serve_cut(request, wire, 1, most);
        }
    });
    let lab = Lab::new();
    let mut request = lab.request(&origin.url("/f"));
    request.retries = 1;
    lab.assert_refused(lab.run(request), &["truncated", "timeout", "connect"]);
    has_recovered.store(1, Ordering::SeqCst);
    let outcome = lab.fetch(&origin.url("/f")).unwrap();
    assert!(outcome.resumed_bytes >= 3 * MIB as u64, "{outcome:?}");
    assert!(outcome.fetched_bytes <= (LENGTH - 3 * MIB) as u64 + MIB as u64, "{outcome:?}");
    lab.assert_holds(Ok(outcome), &version(1));
}

#[test]
fn another_length_under_the_same_tag_is_another_version() {
    let origin = Origin::start(|request, wire| {
        if request.number == 0 {
            serve_cut(request, wire, 1, 2 * MIB);
        } else {
            let longer = file::bytes(101, LENGTH + MIB);
            wire.serve(request, &longer, Some("\"v1\""));
        }
    });
    let lab = Lab::new();
    match lab.fetch(&origin.url("/f")) {
        Ok(outcome) => lab.assert_holds(Ok(outcome), &file::bytes(101, LENGTH + MIB)),
        refused => lab.assert_refused(refused, &["origin_changed", "origin_lied"]),
    }
}

#[test]
fn a_vanished_validator_is_no_confirmation() {
    let origin = Origin::start(|request, wire| {
        if request.number == 0 {
            serve_cut(request, wire, 1, 2 * MIB);
        } else {
            wire.serve(request, &version(2), None);
        }
    });
    let lab = Lab::new();
    lab.assert_holds(lab.fetch(&origin.url("/f")), &version(2));
}

fn head_with(request: &Request, validators: &str) -> String {
    honest_head(request, LENGTH, None).replacen("\r\n", &format!("\r\n{validators}"), 1)
}

#[test]
fn without_a_strong_validator_there_is_one_stream() {
    // Item 3: weak tags, no tags, a date of this very second.
    let date = "Date: Tue, 24 Nov 2026 07:00:00 GMT\r\nLast-Modified: Tue, 24 Nov 2026 07:00:00 GMT\r\n";
    for validators in ["", "ETag: W/\"weak\"\r\n", "ETag: unquoted\r\n", date] {
        let origin = Origin::start(move |request, wire| {
            wire.send(head_with(request, validators));
            wire.send(&version(1)[request.span(LENGTH)]);
        });
        let lab = Lab::new();
        let mut request = lab.request(&origin.url("/f"));
        request.connections = Some(8);
        lab.assert_holds(lab.run(request), &version(1));
        let ranged =
            origin.requests().iter().filter(|request| request.range().is_some_and(|range| range.0 > 0)).count();
        assert_eq!(ranged, 0, "{validators:?} was taken for a strong validator");
    }
}

#[test]
fn without_a_validator_a_cut_starts_from_the_beginning() {
    let origin = Origin::start(|request, wire| {
        // Another version each time: a continued one would be a mixture.
        let bytes = version(request.number as u64);
        wire.send(head_with(request, ""));
        let span = request.span(LENGTH);
        if request.number < 2 {
            wire.send(&bytes[span.start..span.start + span.len() / 2]);
            wire.close();
        } else {
            wire.send(&bytes[span]);
        }
    });
    let lab = Lab::new();
    lab.assert_holds(lab.fetch(&origin.url("/f")), &version(2));
}

#[test]
fn a_date_that_differs_is_another_version() {
    let dates = ["Mon, 23 Nov 2026 07:00:00 GMT", "Mon, 23 Nov 2026 09:00:00 GMT"];
    let origin = Origin::start(move |request, wire| {
        let number = usize::from(request.number > 0);
        let validators = format!("Date: Tue, 24 Nov 2026 07:00:00 GMT\r\nLast-Modified: {}\r\n", dates[number]);
        wire.send(head_with(request, &validators));
        let span = request.span(LENGTH);
        let bytes = version(number as u64);
        if number == 0 {
            wire.send(&bytes[span.start..span.start + span.len() / 2]);
            wire.close();
        } else {
            wire.send(&bytes[span]);
        }
    });
    let lab = Lab::new();
    lab.assert_holds(lab.fetch(&origin.url("/f")), &version(1));
}

#[test]
fn a_promised_digest_or_size_that_is_not_met_publishes_nothing() {
    let origin = Origin::serving(version(1), Some("\"v1\""));
    let lab = Lab::new();
    let mut request = lab.request(&origin.url("/f"));
    request.expected_digest = Some((vasset_engine::hash::Algorithm::Blake3, "0".repeat(64)));
    lab.assert_refused(lab.run(request), &["digest_mismatch"]);
    let lab = Lab::new();
    let mut request = lab.request(&origin.url("/f"));
    request.expected_size = Some(LENGTH as u64 + 1);
    lab.assert_refused(lab.run(request), &["origin_changed", "origin_lied", "digest_mismatch", "truncated"]);
}

#[test]
fn another_file_with_the_same_validators_is_never_spliced_in() {
    // nginx makes a tag of date and length: the volumes of an archive that were uploaded together share one.
    let is_second = std::sync::Arc::new(AtomicUsize::new(0));
    let origin = Origin::start({
        let is_second = is_second.clone();
        move |request, wire| {
            let volume = if request.target == "/part2.rar" { 2 } else { 1 };
            wire.send(honest_head(request, LENGTH, Some("\"6553f100-500309\"")));
            let span = request.span(LENGTH);
            let may_end = is_second.load(Ordering::SeqCst) == 1;
            let sent = span.start..if may_end { span.end } else { span.end.min(3 * MIB) };
            wire.send(&version(volume)[sent.start.min(sent.end)..sent.end]);
            if sent.end < span.end {
                wire.close();
            }
        }
    });
    let lab = Lab::new();
    let mut request = lab.request(&origin.url("/part1.rar"));
    request.retries = 0;
    assert!(lab.run(request).is_err());
    is_second.store(1, Ordering::SeqCst);
    let outcome = lab.fetch(&origin.url("/part2.rar"));
    lab.assert_holds(outcome, &version(2));
}
