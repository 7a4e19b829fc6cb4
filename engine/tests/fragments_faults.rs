//! The correctness list of single files, for fragments over HTTP/1.1; `fragments_http2.rs` has it over HTTP/2.
//!
//! Numbers are those of the list: 1 a whole file for a range, 2 ranges, 3 versions (`fragments_lies.rs`), 4 codings, 5 no
//! length, 6 416, 7 unknown totals, 8 two framings, 9 statuses and pages, 10 pauses, 11 stalls, 12 redirects, 13 no hedging,
//! 14 progress, 15 locks, 16 always the same cut, 17 HTTP/2 only, 18 full disks (fault loops), 19 publishing, 20 keys
//! (`fragments_hls.rs`, `fragments_lies.rs`).

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use support::download::{Lab, within};
use support::file;
use support::origin::{Origin, Request, Wire, honest_head};
use support::playlist::{Site, fragment, joined, playlist};
use vasset_engine::download::Outcome;
use vasset_engine::error::Error;
use vasset_engine::hash::Algorithm;
use vasset_engine::request::Source;

const LENGTH: usize = 30_000;

fn request(lab: &Lab, origin: &Origin) -> vasset_engine::request::Request {
    let url = origin.url("/i.m3u8");
    let mut request = lab.request(&url);
    request.source = Source::Hls { url };
    request.idle_timeout = Duration::from_secs(1);
    request.retries = 2;
    request
}

fn join(lab: &Lab, origin: &Origin) -> Result<Outcome, Error> {
    within(Duration::from_secs(25), || lab.run(request(lab, origin)))
}

/// Six fragments; `lie` may answer for fragment 3 and says whether it did.
fn origin(lie: impl Fn(&Request, &mut Wire, &[u8]) -> bool + Send + Sync + 'static) -> Origin {
    let site = Site::new().with("/i.m3u8", playlist(6)).with_fragments(6, LENGTH);
    Origin::start(move |request, wire| {
        let bytes = site.bytes(&request.target).unwrap_or_default();
        if request.target != "/3.ts" || !lie(request, wire, bytes) {
            wire.serve(request, bytes, None);
        }
    })
}

/// As [`origin`], but only the first answer is a lie.
fn origin_once(lie: impl Fn(&mut Wire, &[u8]) + Send + Sync + 'static) -> Origin {
    let count = AtomicUsize::new(0);
    origin(move |_, wire, bytes| {
        let is_first = count.fetch_add(1, Ordering::SeqCst) == 0;
        if is_first {
            lie(wire, bytes);
        }
        is_first
    })
}

/// A playlist of bytes 1000–1999 and 3000–3999 of `/f`, which `answer` serves.
fn ranged(answer: impl Fn(&Request, &mut Wire, &[u8]) + Send + Sync + 'static) -> (Origin, Vec<u8>) {
    let text = "#EXTM3U\n#EXTINF:4,\n#EXT-X-BYTERANGE:1000@1000\nf\n#EXTINF:4,\n#EXT-X-BYTERANGE:1000@3000\nf\n#EXT-X-ENDLIST\n";
    let whole = file::bytes(5, 5_000);
    let expected = [&whole[1_000..2_000], &whole[3_000..4_000]].concat();
    let origin = Origin::start(move |request, wire| match request.target.as_str() {
        "/f" => answer(request, wire, &whole),
        _ => wire.serve(request, text.as_bytes(), None),
    });
    (origin, expected)
}

#[test]
fn item_1_a_whole_file_for_a_range_is_used_from_where_it_was_asked() {
    let (origin, expected) = ranged(|_, wire, whole| {
        wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", whole.len()));
        wire.send(whole);
    });
    let lab = Lab::new();
    lab.assert_holds(join(&lab, &origin), &expected);
}

#[test]
fn item_2_parts_of_another_range_are_refused_and_wider_ones_are_cut() {
    for content_range in
        ["bytes 1001-2000/5000", "bytes 0-999/5000", "bytes 1000-1999", "bytes */5000", "bytes 1999-1000/5000"]
    {
        let (origin, _) = ranged(move |_, wire, whole| {
            let head = format!("HTTP/1.1 206 P\r\nContent-Range: {content_range}\r\nContent-Length: 1000\r\n\r\n");
            wire.send(head);
            wire.send(&whole[1_000..2_000]);
        });
        let lab = Lab::new();
        lab.assert_refused(join(&lab, &origin), &["origin_lied"]);
    }
    let (origin, _) = ranged(|_, wire, whole| {
        let kind = "Content-Type: multipart/byteranges; boundary=x";
        wire.send(format!("HTTP/1.1 206 P\r\n{kind}\r\nContent-Length: 1000\r\n\r\n"));
        wire.send(&whole[..1_000]);
    });
    let lab = Lab::new();
    lab.assert_refused(join(&lab, &origin), &["origin_lied"]);
    let (origin, expected) = ranged(|request, wire, whole| {
        let end = request.span(whole.len()).end;
        let head = format!("Content-Range: bytes 10-{}/5000\r\nContent-Length: {}", end - 1, end - 10);
        wire.send(format!("HTTP/1.1 206 P\r\n{head}\r\n\r\n"));
        wire.send(&whole[10..end]);
    });
    let lab = Lab::new();
    lab.assert_holds(join(&lab, &origin), &expected);
}

#[test]
fn item_2_a_range_that_stays_short_is_an_error() {
    let (origin, _) = ranged(|request, wire, whole| {
        let span = request.span(whole.len());
        let head = format!("Content-Range: bytes {}-{}/5000\r\nContent-Length: 10", span.start, span.start + 9);
        wire.send(format!("HTTP/1.1 206 P\r\n{head}\r\n\r\n"));
        wire.send(&whole[span.start..span.start + 10]);
    });
    let lab = Lab::new();
    lab.assert_refused(join(&lab, &origin), &["truncated"]);
}

#[test]
fn items_4_6_8_and_9_what_is_no_fragment_is_never_joined() {
    for (answer, code) in [
        ("200 OK\r\nContent-Encoding: br\r\nContent-Length: 4\r\n\r\nabcd", "truncated"),
        ("416 No\r\nContent-Range: bytes */9\r\nContent-Length: 0\r\n\r\n", "http_status"),
        ("200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde", "origin_lied"),
        ("101 Switching\r\n\r\n", "origin_lied"),
        ("204 No\r\n\r\n", "http_status"),
        ("304 Not Modified\r\n\r\n", "http_status"),
        ("200 OK\r\nContent-Length: 40\r\n\r\n\n\n<html><body>Please sign in</body></html>", "page"),
    ] {
        let origin = origin(move |_, wire, _| {
            wire.send(format!("HTTP/1.1 {answer}"));
            true
        });
        let lab = Lab::new();
        lab.assert_refused(join(&lab, &origin), &[code]);
    }
}

#[test]
fn item_5_without_a_length_an_orderly_end_is_the_end_and_a_reset_is_not() {
    let orderly = origin(|_, wire, bytes| {
        wire.send("HTTP/1.1 200 OK\r\n\r\n");
        wire.send(bytes);
        wire.close();
        true
    });
    let lab = Lab::new();
    lab.assert_holds(join(&lab, &orderly), &joined(6, LENGTH));
    let unchunked = origin(|_, wire, bytes| {
        wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7531\r\n");
        wire.send(bytes);
        wire.close();
        true
    });
    let lab = Lab::new();
    lab.assert_refused(join(&lab, &unchunked), &["truncated", "origin_lied"]);
}

#[test]
fn item_7_an_unknown_total_is_no_contradiction() {
    let (origin, expected) = ranged(|request, wire, whole| {
        let span = request.span(whole.len());
        let head = format!("Content-Range: bytes {}-{}/*\r\nContent-Length: 1000", span.start, span.end - 1);
        wire.send(format!("HTTP/1.1 206 P\r\n{head}\r\n\r\n"));
        wire.send(&whole[span]);
    });
    let lab = Lab::new();
    lab.assert_holds(join(&lab, &origin), &expected);
}

#[test]
fn item_10_the_pause_an_origin_asks_for_is_kept() {
    let origin = origin_once(|wire, _| wire.send("HTTP/1.1 429 Slow\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"));
    let lab = Lab::new();
    let started = Instant::now();
    lab.assert_holds(join(&lab, &origin), &joined(6, LENGTH));
    assert!(started.elapsed() >= Duration::from_millis(950));
}

#[test]
fn one_refusal_of_a_fragment_is_not_its_end() {
    for status in [400, 403, 404, 410, 423, 509, 520, 524] {
        let origin =
            origin_once(move |wire, _| wire.send(format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n")));
        let lab = Lab::new();
        lab.assert_holds(join(&lab, &origin), &joined(6, LENGTH));
    }
    let always = origin(|_, wire, _| {
        wire.send("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n");
        true
    });
    let lab = Lab::new();
    lab.assert_refused(join(&lab, &always), &["http_status"]);
    assert_eq!(always.requests().iter().filter(|request| request.target == "/3.ts").count(), 2);
}

#[test]
fn item_11_a_stalled_fragment_is_asked_for_again_and_a_hopeless_one_is_a_timeout() {
    let stall = |wire: &mut Wire, bytes: &[u8]| {
        wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", bytes.len()));
        wire.send(&bytes[..100]);
        wire.stall();
    };
    let once = origin_once(stall);
    let lab = Lab::new();
    lab.assert_holds(join(&lab, &once), &joined(6, LENGTH));
    let always = origin(move |_, wire, bytes| {
        stall(wire, bytes);
        true
    });
    let lab = Lab::new();
    lab.assert_refused(join(&lab, &always), &["timeout"]);
}

#[test]
fn item_12_redirects_are_followed_and_checked_and_secrets_stay() {
    let elsewhere = Origin::serving(fragment(3, LENGTH), None);
    let place = elsewhere.url("/x.ts");
    let origin_of = |location: String| {
        origin(move |_, wire, _| {
            wire.send(format!("HTTP/1.1 302 Moved\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"));
            true
        })
    };
    let moved = origin_of(place);
    let lab = Lab::new();
    let mut secret = request(&lab, &moved).header("authorization", "Bearer secret").unwrap();
    secret.cookies = Some("a=secret".to_owned());
    lab.assert_holds(lab.run(secret), &joined(6, LENGTH));
    assert!(moved.requests().iter().all(|asked| asked.header("cookie") == Some("a=secret")));
    assert!(!format!("{:?}", elsewhere.requests()).contains("secret"));
    for (location, code) in [
        ("http://10.0.0.1/x".to_owned(), "egress_denied"),
        ("file:///etc/passwd".to_owned(), "egress_denied"),
        ("/3.ts".to_owned(), "limit_exceeded"),
    ] {
        let origin = origin_of(location);
        let lab = Lab::new();
        lab.assert_refused(join(&lab, &origin), &[code, "invalid_request"]);
    }
}

#[test]
fn items_13_and_14_every_fragment_is_asked_for_once_and_counted_once() {
    let honest = origin(|_, _, _| false);
    let lab = Lab::new();
    let outcome = join(&lab, &honest);
    assert_eq!(outcome.as_ref().unwrap().fetched_bytes, joined(6, LENGTH).len() as u64);
    lab.assert_holds(outcome, &joined(6, LENGTH));
    assert_eq!(honest.requests().len(), 7);
    // Bytes of a failed attempt do not count as progress.
    let cut = origin_once(|wire, bytes| {
        wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", bytes.len()));
        wire.send(&bytes[..LENGTH / 2]);
        wire.close();
    });
    let lab = Lab::new();
    let handle = lab.engine.submit(request(&lab, &cut)).unwrap();
    let outcome = handle.wait(Some(Duration::from_secs(25))).expect("it hangs");
    lab.assert_holds(outcome, &joined(6, LENGTH));
    assert_eq!(handle.snapshot().downloaded, joined(6, LENGTH).len() as u64);
}

#[test]
fn item_15_two_joins_never_write_one_file() {
    let origin = origin(|_, wire, _| {
        wire.stall();
        true
    });
    let lab = Lab::new();
    let mut first = request(&lab, &origin);
    first.idle_timeout = Duration::from_secs(20);
    let first = lab.engine.submit(first).unwrap();
    let started = Instant::now();
    while !origin.requests().iter().any(|asked| asked.target == "/3.ts") {
        assert!(started.elapsed() < Duration::from_secs(20), "the first never came so far");
        std::thread::yield_now();
    }
    lab.assert_refused(lab.run(request(&lab, &origin)), &["journal_locked"]);
    first.cancel();
    assert!(matches!(first.wait(Some(Duration::from_secs(5))), Some(Err(Error::Cancelled))));
}

#[test]
fn item_16_a_cut_at_the_same_byte_each_time_ends_in_an_error() {
    let origin = origin(|request, wire, bytes| {
        wire.send(honest_head(request, bytes.len(), None));
        wire.send(&bytes[..1_000]);
        wire.close();
        true
    });
    let lab = Lab::new();
    lab.assert_refused(join(&lab, &origin), &["truncated"]);
}

#[test]
fn item_19_nothing_is_published_over_a_file_or_against_a_promise() {
    let origin = origin(|_, _, _| false);
    let lab = Lab::new();
    let mut promised = request(&lab, &origin);
    promised.expected_digest = Some((Algorithm::Blake3, "0".repeat(64)));
    lab.assert_refused(lab.run(promised), &["digest_mismatch"]);
    let mut promised = request(&lab, &origin);
    promised.expected_size = Some(5);
    lab.assert_refused(lab.run(promised), &["origin_lied"]);
    std::fs::write(lab.target(), b"mine").unwrap();
    assert!(matches!(lab.run(request(&lab, &origin)), Err(Error::TargetExists { .. })));
    assert_eq!(std::fs::read(lab.target()).unwrap(), b"mine");
}
