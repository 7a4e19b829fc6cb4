//! Hosts that answer 200 with a page, a notice or a tail when they mean no: good bytes never give way to them.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use support::download::Lab;
use support::file;
use support::origin::{Origin, Request, Wire, honest_head};

const MIB: usize = 1 << 20;
const PAGE: &str = "<html><body>One download at a time, please.</body></html>";
const STRONG: &str = "ETag: \"v1\"\r\n";
const DATED: &str = "Date: Tue, 24 Nov 2026 07:00:00 GMT\r\nLast-Modified: Mon, 23 Nov 2026 07:00:00 GMT\r\n";

fn contents() -> Vec<u8> {
    file::bytes(21, 12 * MIB + 77)
}

fn head(request: &Request, length: usize, validators: &str) -> String {
    honest_head(request, length, None).replacen("\r\n", &format!("\r\nContent-Type: video/mp4\r\n{validators}"), 1)
}

/// What hosts say instead of the file, by the name of the case.
fn notices() -> Vec<(&'static str, String)> {
    let whole =
        |fields: &str, body: &str| format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: {}\r\n\r\n{body}", body.len());
    let chunked = "Content-Type: text/html; charset=utf-8\r\nTransfer-Encoding: chunked";
    vec![
        ("a page", whole("Content-Type: text/html\r\n", PAGE)),
        ("a page with a tag of its own", whole("Content-Type: text/html\r\nETag: \"page\"\r\n", PAGE)),
        ("a page with the file's tag", whole("Content-Type: text/html\r\nETag: \"v1\"\r\n", PAGE)),
        ("a page in chunks", format!("HTTP/1.1 200 OK\r\n{chunked}\r\n\r\n{:x}\r\n{PAGE}\r\n0\r\n\r\n", PAGE.len())),
        ("a notice without a type", whole("", "<html>too")),
        ("a notice in JSON", whole("Content-Type: application/json\r\n", "{\"error\":\"busy\"}")),
        ("a notice in plain text", whole("Content-Type: text/plain\r\n", "too many connections")),
    ]
}

/// Sends the first half at once and the rest when somebody else has been turned away, so that no test depends on speed.
fn serve_first(request: &Request, wire: &mut Wire, validators: &str, refused: &AtomicUsize) {
    let bytes = contents();
    wire.send(head(request, bytes.len(), validators));
    wire.send(&bytes[..5 * MIB]);
    while refused.load(Ordering::SeqCst) == 0 && wire.is_open() {
        std::thread::yield_now();
    }
    wire.send(&bytes[5 * MIB..]);
}

#[test]
fn a_page_on_an_extra_connection_ends_that_connection_and_not_the_download() {
    for validators in [STRONG, DATED] {
        for (name, notice) in notices() {
            let refused = Arc::new(AtomicUsize::new(0));
            let origin = Origin::start({
                let refused = refused.clone();
                move |request, wire| {
                    if request.number == 0 {
                        serve_first(request, wire, validators, &refused);
                    } else {
                        wire.send(&notice);
                        refused.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
            let lab = Lab::new();
            let mut request = lab.request(&origin.url("/film.mp4"));
            request.connections = Some(4);
            let outcome = lab.run(request);
            assert!(outcome.is_ok(), "{name}: {outcome:?}");
            lab.assert_holds(outcome, &contents());
            assert!(origin.requests().len() <= 8, "{name}: {} requests", origin.requests().len());
        }
    }
}

#[test]
fn a_page_when_the_connection_broke_publishes_nothing_and_keeps_what_there_is() {
    for (name, notice) in notices() {
        let is_open = Arc::new(AtomicUsize::new(0));
        let origin = Origin::start({
            let is_open = is_open.clone();
            move |request, wire| match (request.number, is_open.load(Ordering::SeqCst)) {
                (0, _) => {
                    wire.send(head(request, contents().len(), STRONG));
                    wire.send(&contents()[..8 * MIB]);
                    wire.close();
                }
                (_, 0) => wire.send(&notice),
                _ => {
                    wire.send(head(request, contents().len(), STRONG));
                    wire.send(&contents()[request.span(contents().len())]);
                }
            }
        });
        let lab = Lab::new();
        let mut request = lab.request(&origin.url("/film.mp4"));
        request.retries = 1;
        let refused = lab.run(request);
        let words = refused.as_ref().map_err(ToString::to_string).unwrap_err().clone();
        lab.assert_refused(refused, &["page"]);
        assert!(words.starts_with("the site answered with a"), "{name}: {words}");
        // The next day: the page again, still nothing of the bytes is lost …
        let mut request = lab.request(&origin.url("/film.mp4"));
        request.retries = 0;
        lab.assert_refused(lab.run(request), &["page"]);
        // … and when the file is back, it goes on.
        is_open.store(1, Ordering::SeqCst);
        let outcome = lab.fetch(&origin.url("/film.mp4")).unwrap();
        assert!(outcome.resumed_bytes >= 7 * MIB as u64, "{name}: {outcome:?}");
        lab.assert_holds(Ok(outcome), &contents());
    }
}

#[test]
fn a_file_without_validators_does_not_become_the_page_that_follows_its_break() {
    let origin = Origin::start(|request, wire| {
        if request.number == 0 {
            wire.send(head(request, contents().len(), ""));
            wire.send(&contents()[..2 * MIB]);
            wire.close();
        } else {
            wire.send(&notices()[0].1);
        }
    });
    let lab = Lab::new();
    let mut request = lab.request(&origin.url("/film.mp4"));
    request.retries = 1;
    lab.assert_refused(lab.run(request), &["page"]);
}

#[test]
fn a_tail_under_the_status_of_the_whole_is_not_the_file() {
    for validators in [STRONG, ""] {
        let origin = Origin::start(move |request, wire| {
            let (bytes, span) = (contents(), request.span(contents().len()));
            if request.number == 0 {
                wire.send(head(request, bytes.len(), STRONG));
                wire.send(&bytes[..4 * MIB]);
                wire.close();
            } else {
                let fields = format!("Content-Type: video/mp4\r\n{validators}Content-Length: {}\r\n\r\n", span.len());
                wire.send(format!("HTTP/1.1 200 OK\r\n{fields}"));
                wire.send(&bytes[span]);
            }
        });
        let lab = Lab::new();
        let mut request = lab.request(&origin.url("/film.mp4"));
        request.retries = 1;
        match lab.run(request) {
            Ok(outcome) => lab.assert_holds(Ok(outcome), &contents()),
            refused => lab.assert_refused(refused, &["page", "origin_lied", "origin_changed"]),
        }
    }
}

#[test]
fn a_200_that_says_which_bytes_it_has_is_a_part() {
    let origin = Origin::start(|request, wire| {
        let bytes = contents();
        let most = if request.number == 0 { 4 * MIB } else { bytes.len() };
        let span = request.span(bytes.len());
        wire.send(head(request, bytes.len(), STRONG).replacen("206 Partial Content", "200 OK", 1));
        wire.send(&bytes[span.start..span.end.min(span.start + most)]);
        if most < span.len() {
            wire.close();
        }
    });
    let lab = Lab::new();
    let mut request = lab.request(&origin.url("/film.mp4"));
    request.connections = Some(1);
    let outcome = lab.run(request).unwrap();
    assert!(outcome.fetched_bytes < contents().len() as u64 + MIB as u64, "it began again: {outcome:?}");
    lab.assert_holds(Ok(outcome), &contents());
}

#[test]
fn a_contradiction_on_an_extra_connection_is_that_connections_affair() {
    // Machines of one site with different tags; ranges that are other ones; parts that do not say what they are.
    let lies: [fn(&str) -> String; 4] = [
        |head| head.replace("\"v1\"", "\"v2\""),
        |head| head.replace(&format!("/{}\r\n", contents().len()), &format!("/{}\r\n", contents().len() + 9)),
        |head| head.replacen("Content-Range: bytes ", "X-Range: bytes ", 1),
        |head| head.replacen("Content-Type: video/mp4", "Content-Type: multipart/byteranges", 1),
    ];
    for (number, lie) in lies.into_iter().enumerate() {
        let refused = Arc::new(AtomicUsize::new(0));
        let origin = Origin::start({
            let refused = refused.clone();
            move |request, wire| {
                if request.number == 0 {
                    return serve_first(request, wire, STRONG, &refused);
                }
                wire.send(lie(&head(request, contents().len(), STRONG)));
                wire.send(&contents()[request.span(contents().len())]);
                refused.fetch_add(1, Ordering::SeqCst);
            }
        });
        let lab = Lab::new();
        let mut request = lab.request(&origin.url("/film.mp4"));
        request.connections = Some(3);
        lab.assert_holds(lab.run(request), &contents());
        let whole = origin.requests().iter().filter(|request| request.range().is_none_or(|range| range.0 == 0)).count();
        assert_eq!(whole, 1, "lie {number}: the download began again");
    }
}

#[test]
fn a_page_is_no_film_from_the_first_answer_on() {
    let types = ["text/html", "text/html; charset=utf-8", "application/xhtml+xml"];
    for (target, media_type, is_film) in types.map(|media_type| ("film.mp4", media_type, false)).into_iter().chain([
        ("page.html", "text/html", true),
        ("film", "text/html", true),
        ("film.mp4", "video/mp4", true),
    ]) {
        let origin = Origin::start(move |_, wire| {
            let fields = format!("Content-Type: {media_type}\r\nContent-Length: {}", PAGE.len());
            wire.send(format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n{PAGE}"));
        });
        let lab = Lab::new();
        let mut request = lab.request(&origin.url("/film.mp4"));
        request.target = lab.target().with_file_name(target);
        let target = request.target.clone();
        let outcome = lab.run(request);
        assert_eq!((outcome.is_ok(), target.exists()), (is_film, is_film), "{target:?}, {media_type}: {outcome:?}");
    }
}

#[test]
fn a_film_that_its_site_calls_a_page_is_a_film() {
    let origin = Origin::start(|request, wire| {
        let head = honest_head(request, MIB, None).replacen("\r\n", "\r\nContent-Type: text/html\r\n", 1);
        wire.send(head);
        wire.send(&contents()[..MIB][request.span(MIB)]);
    });
    let lab = Lab::new();
    let mut request = lab.request(&origin.url("/film.mp4"));
    request.target = lab.target().with_file_name("film.mp4");
    assert_eq!(lab.run(request).unwrap().size, MIB as u64);
}

#[test]
fn a_changed_file_is_still_fetched_anew_after_a_break() {
    // What a page is refused as is another version of the file.
    let origin = Origin::start(|request, wire| {
        if request.number == 0 {
            wire.send(head(request, contents().len(), STRONG));
            wire.send(&contents()[..4 * MIB]);
            wire.close();
        } else {
            let bytes = file::bytes(22, 3 * MIB);
            wire.send(head(request, bytes.len(), "ETag: \"v2\"\r\n"));
            wire.send(&bytes[request.span(bytes.len())]);
        }
    });
    let lab = Lab::new();
    lab.assert_holds(lab.fetch(&origin.url("/film.mp4")), &file::bytes(22, 3 * MIB));
}
