//! Origins that lie about ranges: the file is one true version of the origin's bytes, or absent with a typed error.

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};

use support::download::Lab;
use support::file;
use support::origin::{Origin, Request, Wire, honest_head};

const MIB: usize = 1 << 20;
const TAG: &str = "\"v1\"";

fn contents() -> Vec<u8> {
    file::bytes(7, 6 * MIB + 12_345)
}

/// An origin that is honest about its first request and answers later ones by `lie`.
fn lying_later(lie: impl Fn(&Request, &mut Wire, &[u8]) + Send + Sync + 'static) -> Origin {
    let bytes = contents();
    Origin::start(move |request, wire| {
        if request.number == 0 {
            // Half of the answer, then silence by closing: the rest has to be asked for in ranges.
            wire.send(honest_head(request, bytes.len(), Some(TAG)));
            wire.send(&bytes[request.span(bytes.len())][..bytes.len() / 2]);
            wire.close();
        } else {
            lie(request, wire, &bytes);
        }
    })
}

fn part_head(span: std::ops::Range<usize>, total: &str, length: usize) -> String {
    format!(
        "HTTP/1.1 206 Partial Content\r\nETag: {TAG}\r\nContent-Range: bytes {}-{}/{total}\r\nContent-Length: {length}\r\n\r\n",
        span.start,
        span.end - 1
    )
}

#[test]
fn an_honest_origin_is_the_control() {
    let origin = Origin::serving(contents(), Some(TAG));
    let lab = Lab::new();
    lab.assert_holds(lab.fetch(&origin.url("/f")), &contents());
}

#[test]
fn survives_an_origin_that_ignores_every_range() {
    // O1, list item 1.
    let origin = Origin::start(|request, wire| {
        let bytes = contents();
        wire.send(format!("HTTP/1.1 200 OK\r\nETag: {TAG}\r\nContent-Length: {}\r\n\r\n", bytes.len()));
        assert!(request.number < 3, "asks again and again");
        wire.send(&bytes);
    });
    let lab = Lab::new();
    lab.assert_holds(lab.fetch(&origin.url("/f")), &contents());
}

#[test]
fn a_200_to_a_later_range_is_not_written_at_its_offset() {
    // O1 in mid-file.
    let origin = lying_later(|_, wire, bytes| {
        wire.send(format!("HTTP/1.1 200 OK\r\nETag: {TAG}\r\nContent-Length: {}\r\n\r\n", bytes.len()));
        wire.send(bytes);
    });
    let lab = Lab::new();
    lab.assert_holds(lab.fetch(&origin.url("/f")), &contents());
}

#[test]
fn an_origin_that_answers_200_only_to_if_range_still_serves_ranges() {
    // Item 1: CDNs that do not understand an ETag in If-Range.
    let origin = lying_later(|request, wire, bytes| {
        if request.header("if-range").is_some() {
            wire.send(format!("HTTP/1.1 200 OK\r\nETag: {TAG}\r\nContent-Length: {}\r\n\r\n", bytes.len()));
            wire.send(bytes);
        } else {
            wire.serve(request, bytes, Some(TAG));
        }
    });
    let lab = Lab::new();
    let outcome = lab.fetch(&origin.url("/f"));
    lab.assert_holds(outcome, &contents());
    assert!(origin.requests().iter().any(|request| request.number > 0 && request.header("if-range").is_none()));
}

#[test]
fn refuses_a_206_for_another_range() {
    // O2, item 2.
    for shift in [1_usize, 1_000, MIB] {
        let origin = lying_later(move |request, wire, bytes| {
            let span = request.span(bytes.len());
            let start = (span.start + shift).min(bytes.len() - 1);
            let lie = start..bytes.len();
            wire.send(part_head(lie.clone(), &bytes.len().to_string(), lie.len()));
            wire.send(&bytes[lie]);
        });
        let lab = Lab::new();
        lab.assert_refused(lab.fetch(&origin.url("/f")), &["origin_lied", "truncated"]);
    }
}

#[test]
fn a_206_that_begins_earlier_is_used_from_where_it_was_asked() {
    // Item 2: a superset whose prefix is skipped.
    let origin = lying_later(|request, wire, bytes| {
        let span = request.span(bytes.len());
        let aligned = span.start.saturating_sub(1_000)..span.end;
        wire.send(part_head(aligned.clone(), &bytes.len().to_string(), aligned.len()));
        wire.send(&bytes[aligned]);
    });
    let lab = Lab::new();
    lab.assert_holds(lab.fetch(&origin.url("/f")), &contents());
}

#[test]
fn survives_ranges_that_are_honestly_shorter() {
    // O3, item 2: the rest is asked for again.
    let origin = lying_later(|request, wire, bytes| {
        let span = request.span(bytes.len());
        let short = span.start..(span.start + 700_001).min(span.end);
        wire.send(part_head(short.clone(), &bytes.len().to_string(), short.len()));
        wire.send(&bytes[short]);
    });
    let lab = Lab::new();
    lab.assert_holds(lab.fetch(&origin.url("/f")), &contents());
}

#[test]
fn a_206_longer_than_asked_never_spoils_its_neighbour() {
    // O4.
    let origin = lying_later(|request, wire, bytes| {
        let span = request.span(bytes.len());
        let long = span.start..bytes.len();
        wire.send(part_head(long.clone(), &bytes.len().to_string(), long.len()));
        wire.send(&bytes[long]);
    });
    let lab = Lab::new();
    match lab.fetch(&origin.url("/f")) {
        Ok(outcome) => lab.assert_holds(Ok(outcome), &contents()),
        refused => lab.assert_refused(refused, &["origin_lied", "truncated"]),
    }
}

#[test]
fn survives_a_body_that_ends_early_again_and_again() {
    // O5, item 16: the connection drops after the same number of bytes each time.
    let bytes = contents();
    let origin = Origin::start(move |request, wire| {
        wire.send(honest_head(request, bytes.len(), Some(TAG)));
        let span = request.span(bytes.len());
        wire.send(&bytes[span.start..span.end.min(span.start + 1_300_000)]);
        if span.len() > 1_300_000 {
            wire.close();
        }
    });
    let lab = Lab::new();
    lab.assert_holds(lab.fetch(&origin.url("/f")), &contents());
}

#[test]
fn survives_a_reset_at_99_percent() {
    // O9.
    let bytes = contents();
    let resets = AtomicUsize::new(0);
    let origin = Origin::start(move |request, wire| {
        let span = request.span(bytes.len());
        if span.end == bytes.len() && resets.fetch_add(1, Ordering::SeqCst) < 3 {
            wire.send(honest_head(request, bytes.len(), Some(TAG)));
            wire.send(&bytes[span.start..span.start + span.len() * 99 / 100]);
            wire.reset();
        } else {
            wire.serve(request, &bytes, Some(TAG));
        }
    });
    let lab = Lab::new();
    lab.assert_holds(lab.fetch(&origin.url("/f")), &contents());
}

#[test]
fn bytes_past_the_declared_end_are_no_part_of_the_file() {
    // O6, O27.
    let bytes = contents();
    let origin = Origin::start(move |request, wire| {
        wire.serve(request, &bytes, Some(TAG));
        wire.send([0xee; 100]);
    });
    let lab = Lab::new();
    lab.assert_holds(lab.fetch(&origin.url("/f")), &contents());
}

#[test]
fn refuses_a_total_that_changes_under_way() {
    // O11.
    let origin = lying_later(|request, wire, bytes| {
        let span = request.span(bytes.len());
        wire.send(part_head(span.clone(), &(bytes.len() + 1).to_string(), span.len()));
        wire.send(&bytes[span]);
    });
    let lab = Lab::new();
    lab.assert_refused(lab.fetch(&origin.url("/f")), &["origin_changed", "origin_lied", "truncated"]);
}

#[test]
fn survives_an_unknown_total_in_later_ranges() {
    // Item 7.
    let origin = lying_later(|request, wire, bytes| {
        let span = request.span(bytes.len());
        wire.send(part_head(span.clone(), "*", span.len()));
        wire.send(&bytes[span]);
    });
    let lab = Lab::new();
    lab.assert_holds(lab.fetch(&origin.url("/f")), &contents());
}

#[test]
fn refuses_a_206_that_does_not_say_which_bytes() {
    for field in [
        "",
        "Content-Range: bytes 0-1\r\n",
        "Content-Range: bytes */100\r\n",
        "Content-Range: bytes 9-3/100\r\n",
        "Content-Range: pages 1-2/3\r\n",
    ] {
        let origin = lying_later(move |request, wire, bytes| {
            let span = request.span(bytes.len());
            wire.send(format!(
                "HTTP/1.1 206 Partial Content\r\nETag: {TAG}\r\n{field}Content-Length: {}\r\n\r\n",
                span.len()
            ));
            wire.send(&bytes[span]);
        });
        let lab = Lab::new();
        lab.assert_refused(lab.fetch(&origin.url("/f")), &["origin_lied"]);
    }
}

#[test]
fn refuses_multipart_ranges() {
    // O13.
    let origin = lying_later(|request, wire, bytes| {
        let span = request.span(bytes.len());
        wire.send(format!(
            "HTTP/1.1 206 Partial Content\r\nETag: {TAG}\r\nContent-Type: multipart/byteranges; boundary=x\r\n\
             Content-Range: bytes {}-{}/{}\r\nContent-Length: {}\r\n\r\n",
            span.start,
            span.end - 1,
            bytes.len(),
            span.len()
        ));
        wire.send(&bytes[span]);
    });
    let lab = Lab::new();
    lab.assert_refused(lab.fetch(&origin.url("/f")), &["origin_lied"]);
}

#[test]
fn compressed_ranges_are_never_spliced_into_the_file() {
    // O12, item 4: identity was asked for. A plain answer to a plain request is the file all the same.
    let origin = lying_later(|request, wire, bytes| {
        let span = request.span(bytes.len());
        let head = part_head(span.clone(), &bytes.len().to_string(), span.len());
        wire.send(head.replace("ETag", "Content-Encoding: gzip\r\nETag"));
        wire.send(&bytes[span]);
    });
    let lab = Lab::new();
    lab.assert_holds(lab.fetch(&origin.url("/f")), &contents());
    assert!(origin.requests().iter().all(|request| request.header("accept-encoding") == Some("identity")));
}

#[test]
fn a_range_that_is_no_longer_there_starts_again_and_never_completes_a_stump() {
    // O14, item 6.
    let origin = lying_later(|request, wire, bytes| match request.range() {
        Some((0, _)) | None => wire.serve(request, bytes, Some(TAG)),
        Some(_) => wire.send(format!(
            "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */{}\r\nContent-Length: 0\r\n\r\n",
            bytes.len() / 2
        )),
    });
    let lab = Lab::new();
    match lab.fetch(&origin.url("/f")) {
        Ok(outcome) => lab.assert_holds(Ok(outcome), &contents()),
        refused => lab.assert_refused(refused, &["http_status", "origin_changed", "origin_lied"]),
    }
}

#[test]
fn a_login_page_in_the_middle_of_a_video_is_not_written_into_it() {
    // O15, item 9.
    let page = "<html>please sign in</html>";
    let origin = lying_later(move |_, wire, _| {
        wire.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n{page}",
            page.len()
        ));
    });
    let lab = Lab::new();
    let request = lab.request(&origin.url("/f"));
    lab.assert_refused(lab.run(request), &["page"]);
}

#[test]
fn every_byte_is_asked_for_once_when_nothing_goes_wrong() {
    let origin = Origin::serving(contents(), Some(TAG));
    let lab = Lab::new();
    let mut request = lab.request(&origin.url("/f"));
    request.connections = Some(4);
    let outcome = lab.run(request).unwrap();
    assert!(outcome.fetched_bytes <= contents().len() as u64 + 4 * MIB as u64, "{}", outcome.fetched_bytes);
    lab.assert_holds(Ok(outcome), &contents());
}
