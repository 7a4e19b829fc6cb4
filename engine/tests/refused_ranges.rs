//! Origins that refuse ranges, or more than one connection, and would give the file to a plain GET.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use support::download::Lab;
use support::file;
use support::origin::{Origin, honest_head};

const MIB: usize = 1 << 20;
const TAG: &str = "\"v1\"";

fn small() -> Vec<u8> {
    file::bytes(31, 300_000)
}

fn contents() -> Vec<u8> {
    file::bytes(32, 12 * MIB + 5)
}

#[test]
fn every_refusal_of_the_ranged_form_leads_to_a_plain_get() {
    for status in [400, 401, 403, 404, 405, 406, 410, 416, 500, 501, 503] {
        let origin = Origin::start(move |request, wire| {
            if request.range().is_some() {
                wire.send(format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n"));
            } else {
                wire.serve(request, &small(), None);
            }
        });
        let lab = Lab::new();
        let outcome = lab.fetch(&origin.url("/f"));
        assert!(outcome.is_ok(), "{status}: {outcome:?}");
        lab.assert_holds(outcome, &small());
        assert!(origin.requests().len() <= 4, "{status}: {} requests", origin.requests().len());
    }
}

#[test]
fn a_part_that_does_not_say_which_leads_to_a_plain_get() {
    for field in
        ["", "Content-Range: bytes 0-0/0\r\n", "Content-Range: pages 1-2/3\r\n", "Content-Range: bytes */9\r\n"]
    {
        let origin = Origin::start(move |request, wire| {
            if request.range().is_some() {
                let length = small().len();
                wire.send(format!("HTTP/1.1 206 Part\r\nETag: {TAG}\r\n{field}Content-Length: {length}\r\n\r\n"));
                wire.send(small());
            } else {
                wire.serve(request, &small(), Some(TAG));
            }
        });
        let lab = Lab::new();
        lab.assert_holds(lab.fetch(&origin.url("/f")), &small());
    }
}

#[test]
fn an_empty_file_whose_range_is_no_range_is_empty() {
    let origin = Origin::start(|request, wire| match request.range() {
        Some(_) => wire.send("HTTP/1.1 206 Part\r\nContent-Range: bytes 0-0/0\r\nContent-Length: 0\r\n\r\n"),
        None => wire.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    });
    let lab = Lab::new();
    lab.assert_holds(lab.fetch(&origin.url("/f")), &[]);
}

#[test]
fn a_206_over_the_whole_to_a_plain_get_is_the_whole() {
    let origin = Origin::start(|request, wire| {
        if request.range().is_some() {
            return wire.send("HTTP/1.1 405 No\r\nContent-Length: 0\r\n\r\n");
        }
        let last = small().len() - 1;
        wire.send(format!(
            "HTTP/1.1 206 Part\r\nContent-Range: bytes=0-{last}/{0}\r\nContent-Length: {0}\r\n\r\n",
            last + 1
        ));
        wire.send(small());
    });
    let lab = Lab::new();
    lab.assert_holds(lab.fetch(&origin.url("/f")), &small());
}

#[test]
fn what_is_refused_either_way_is_refused_with_the_last_status() {
    let origin = Origin::start(|_, wire| wire.send("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"));
    let lab = Lab::new();
    lab.assert_refused(lab.fetch(&origin.url("/f")), &["http_status"]);
    assert_eq!(origin.requests().len(), 2);
}

#[test]
fn an_origin_that_gives_small_ranges_only_is_asked_for_those() {
    let origin = Origin::start(|request, wire| {
        let bytes = contents();
        if request.range().is_some() && request.span(bytes.len()).len() <= MIB {
            wire.serve(request, &bytes, Some(TAG));
        } else {
            wire.send("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let lab = Lab::new();
    let mut request = lab.request(&origin.url("/f"));
    request.max_range_bytes = Some(MIB as u64);
    lab.assert_holds(lab.run(request), &contents());
}

/// Serves one request at a time and answers the others by `refusal`; sends the second half only when somebody was refused.
fn one_at_a_time(refusal: &'static str, works_once: bool) -> Origin {
    let (busy, refused) = (Arc::new(AtomicUsize::new(0)), AtomicUsize::new(0));
    Origin::start(move |request, wire| {
        if busy.fetch_add(1, Ordering::SeqCst) > 0 {
            if !works_once {
                busy.fetch_sub(1, Ordering::SeqCst);
            }
            refused.fetch_add(1, Ordering::SeqCst);
            match refusal {
                "reset" => return wire.reset(),
                "close" => return wire.close(),
                status => return wire.send(format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n")),
            }
        }
        let (bytes, span) = (contents(), request.span(contents().len()));
        let middle = span.start + span.len() * 3 / 4;
        wire.send(honest_head(request, bytes.len(), Some(TAG)));
        for piece in bytes[span.start..middle].chunks(64 * 1024) {
            wire.send(piece);
        }
        while refused.load(Ordering::SeqCst) == 0 && wire.is_open() {
            std::thread::yield_now();
        }
        wire.send(&bytes[middle..span.end]);
        if !works_once {
            busy.fetch_sub(1, Ordering::SeqCst);
        }
    })
}

#[test]
fn where_one_connection_is_served_it_finishes_without_a_storm() {
    for refusal in ["403", "404", "410", "429", "503", "500", "400", "reset", "close"] {
        for works_once in [false, true] {
            let origin = one_at_a_time(refusal, works_once);
            let lab = Lab::new();
            let mut request = lab.request(&origin.url("/f"));
            request.connections = Some(6);
            let outcome = lab.run(request);
            assert!(outcome.is_ok(), "{refusal}, once: {works_once}: {outcome:?}");
            lab.assert_holds(outcome, &contents());
            let count = origin.requests().len();
            assert!(count <= 16, "{refusal}, once: {works_once}: {count} requests");
        }
    }
}
