//! Origins whose HTTP contradicts itself, never ends, or hardly moves: bounded, typed, and nothing published.

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use support::download::{Lab, within};
use support::file;
use support::origin::{Origin, Wire, honest_head};

const SOON: Duration = Duration::from_secs(8);

fn contents() -> Vec<u8> {
    file::bytes(3, 300_000)
}

/// An origin that sends the same bytes to everybody and closes.
fn sending(answer: impl Into<Vec<u8>>) -> Origin {
    let answer = answer.into();
    Origin::start(move |_, wire| {
        wire.send(&answer);
        wire.close();
    })
}

fn chunked(bytes: &[u8], size: usize) -> Vec<u8> {
    let mut coded = Vec::new();
    for chunk in bytes.chunks(size) {
        coded.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        coded.extend_from_slice(chunk);
        coded.extend_from_slice(b"\r\n");
    }
    coded
}

fn with_head(head: &str, body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 200 OK\r\n{head}\r\n").as_bytes(), body].concat()
}

#[test]
fn survives_chunks_of_any_size() {
    for size in [1_000, 65_536, 300_000] {
        let body = [chunked(&contents(), size), b"0\r\nX-Trailer: y\r\n\r\n".to_vec()].concat();
        let origin = sending(with_head("Transfer-Encoding: chunked\r\n", &body));
        let lab = Lab::new();
        lab.assert_holds(lab.fetch(&origin.url("/f")), &contents());
    }
}

#[test]
fn chunks_without_an_end_are_no_file() {
    // Item 2: a clean close is not the last chunk.
    let origin = sending(with_head("Transfer-Encoding: chunked\r\n", &chunked(&contents(), 10_000)));
    let lab = Lab::new();
    lab.assert_refused(lab.fetch(&origin.url("/f")), &["truncated", "origin_lied"]);
}

#[test]
fn unreadable_chunk_sizes_are_refused() {
    for size in ["xyz", "-5", "0x10", "10000000000000000", "ffffffffffffffff", "5 5", ""] {
        let origin =
            sending(with_head("Transfer-Encoding: chunked\r\n", format!("{size}\r\nhello\r\n0\r\n\r\n").as_bytes()));
        let lab = Lab::new();
        let outcome = within(SOON, || lab.fetch(&origin.url("/f")));
        lab.assert_refused(outcome, &["origin_lied", "truncated", "limit_exceeded"]);
    }
}

#[test]
fn a_body_cut_before_its_declared_length_is_no_file() {
    // O5 without a validator: nothing to continue from.
    let origin = sending(with_head("Content-Length: 400000\r\n", &contents()));
    let lab = Lab::new();
    lab.assert_refused(lab.fetch(&origin.url("/f")), &["truncated"]);
}

#[test]
fn contradicting_lengths_are_refused() {
    // Item 8.
    for head in [
        "Content-Length: 5x\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked, chunked\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 6\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: 5x\r\n",
        "Content-Length: 18446744073709551616\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: chunked, gzip\r\n",
    ] {
        let origin = sending(with_head(head, b"5\r\nhello\r\n0\r\n\r\n"));
        let lab = Lab::new();
        let outcome = within(SOON, || lab.fetch(&origin.url("/f")));
        lab.assert_refused(outcome, &["origin_lied", "truncated", "limit_exceeded"]);
    }
}

#[test]
fn an_endless_body_ends_at_the_byte_bound() {
    // O7.
    let origin = Origin::start(|_, wire| {
        wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        let chunk = chunked(&[1; 65_536], 65_536);
        while wire.is_open() {
            wire.send(&chunk);
        }
    });
    let lab = Lab::new();
    let mut request = lab.request(&origin.url("/f"));
    request.max_bytes = Some(3_000_000);
    let outcome = within(SOON, || lab.run(request));
    lab.assert_refused(outcome, &["limit_exceeded"]);
}

#[test]
fn claims_beyond_the_bound_or_the_disk_are_refused_before_any_byte_is_written() {
    // O28: 8 EiB of nothing.
    for length in ["9223372036854775807", "18446744073709551615", "4611686018427387904"] {
        for status in ["200 OK\r\n", "206 Partial Content\r\nContent-Range: bytes 0-{last}/{length}\r\n"] {
            let last = (length.parse::<u64>().unwrap() - 1).to_string();
            let status = status.replace("{last}", &last).replace("{length}", length);
            let origin = sending(format!("HTTP/1.1 {status}ETag: \"a\"\r\nContent-Length: {length}\r\n\r\nabc"));
            let lab = Lab::new();
            let outcome = within(SOON, || lab.fetch(&origin.url("/f")));
            lab.assert_refused(outcome, &["limit_exceeded", "disk_full", "storage", "origin_lied"]);
        }
    }
}

#[test]
fn two_hundred_megabytes_of_headers_are_cut_short() {
    // O16.
    let origin = Origin::start(|_, wire| {
        wire.send("HTTP/1.1 200 OK\r\n");
        let line = format!("X-Filler: {}\r\n", "y".repeat(8_000));
        for _ in 0..25_000 {
            if !wire.is_open() {
                return;
            }
            wire.send(&line);
        }
        panic!("all 200 MB were read");
    });
    let lab = Lab::new();
    let outcome = within(SOON, || lab.fetch(&origin.url("/f")));
    lab.assert_refused(outcome, &["origin_lied", "limit_exceeded"]);
}

#[test]
fn endless_interim_answers_are_cut_short() {
    // Item 9.
    let origin = Origin::start(|_, wire: &mut Wire| {
        while wire.is_open() {
            wire.send("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n");
        }
    });
    let lab = Lab::new();
    let outcome = within(SOON, || lab.fetch(&origin.url("/f")));
    lab.assert_refused(outcome, &["origin_lied", "limit_exceeded"]);
}

#[test]
fn survives_a_few_interim_answers() {
    let body = with_head("Content-Length: 300000\r\n", &contents());
    let origin = sending([b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n".to_vec(), body].concat());
    let lab = Lab::new();
    lab.assert_holds(lab.fetch(&origin.url("/f")), &contents());
}

#[test]
fn what_is_not_http_is_refused() {
    for answer in [
        "SSH-2.0-OpenSSH_9.9\r\n\r\n",
        "\r\n\r\n",
        "HTTP/9.9 200 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 abc OK\r\n\r\n",
        "ICY 200 OK\r\n\r\n",
        "<html>\r\n\r\n</html>",
        "\0\0\0\0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nBad Content-Length: 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n 0\r\n\r\n",
    ] {
        let origin = sending(answer);
        let lab = Lab::new();
        let outcome = within(SOON, || lab.fetch(&origin.url("/f")));
        lab.assert_refused(outcome, &["origin_lied", "truncated", "connect"]);
    }
}

#[test]
fn statuses_that_are_no_file_are_named_and_final_ones_are_tried_once_more_at_most_without_a_range() {
    for (status, code) in [
        (204, "http_status"),
        (205, "http_status"),
        (300, "http_status"),
        (304, "http_status"),
        (400, "http_status"),
        (401, "http_status"),
        (404, "http_status"),
        (403, "url_expired"),
        (410, "url_expired"),
    ] {
        let origin = sending(format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n"));
        let lab = Lab::new();
        lab.assert_refused(lab.fetch(&origin.url("/f")), &[code, "origin_lied"]);
        let ranged = origin.requests().iter().filter(|request| request.range().is_some()).count();
        assert_eq!(ranged, 1, "{status} was tried again");
        assert!(origin.requests().len() <= if status < 400 { 1 } else { 2 }, "{status} was tried again and again");
    }
}

#[test]
fn waits_as_long_as_it_is_asked_to_and_then_goes_on() {
    // Item 10.
    for (status, retry_after) in [(503, "1"), (429, "1")] {
        let asked_at = std::sync::Mutex::new(Vec::new());
        let origin = Origin::start(move |request, wire| {
            let mut asked_at = asked_at.lock().unwrap();
            asked_at.push(std::time::Instant::now());
            if request.number == 0 {
                wire.send(format!("HTTP/1.1 {status} Busy\r\nRetry-After: {retry_after}\r\nContent-Length: 0\r\n\r\n"));
            } else {
                assert!(asked_at[1] - asked_at[0] >= Duration::from_millis(950), "came back too soon");
                wire.serve(request, &contents(), Some("\"a\""));
            }
        });
        let lab = Lab::new();
        lab.assert_holds(lab.fetch(&origin.url("/f")), &contents());
    }
}

#[test]
fn gives_up_on_an_origin_that_is_always_busy() {
    let origin = sending("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n");
    let lab = Lab::new();
    lab.assert_refused(within(SOON, || lab.fetch(&origin.url("/f"))), &["http_status"]);
    assert_eq!(origin.requests().len(), 4, "one try and three retries");
}

#[test]
fn a_silent_origin_is_left_after_the_idle_time() {
    // Item 11: silence before the head, within the head and within the body.
    for start in ["", "HTTP/1.1 200 OK\r\nContent-Le", "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc"] {
        let origin = Origin::start(move |_, wire| {
            wire.send(start);
            wire.stall();
        });
        let lab = Lab::new();
        let mut request = lab.request(&origin.url("/f"));
        request.idle_timeout = Duration::from_millis(500);
        request.answer_timeout = Duration::from_millis(500);
        request.retries = 1;
        let outcome = within(SOON, || lab.run(request));
        lab.assert_refused(outcome, &["timeout"]);
    }
}

#[test]
fn a_stalled_range_is_asked_for_again() {
    let stalls = AtomicUsize::new(0);
    let bytes = file::bytes(9, 4 << 20);
    let copy = bytes.clone();
    let origin = Origin::start(move |request, wire| {
        if stalls.fetch_add(1, Ordering::SeqCst) == 0 {
            wire.send(support::origin::honest_head(request, bytes.len(), Some("\"a\"")));
            wire.send(&bytes[..bytes.len() / 3]);
            wire.stall();
        } else {
            wire.serve(request, &bytes, Some("\"a\""));
        }
    });
    let lab = Lab::new();
    let mut request = lab.request(&origin.url("/f"));
    request.idle_timeout = Duration::from_millis(700);
    lab.assert_holds(within(SOON, || lab.run(request)), &copy);
}

#[test]
fn a_connection_that_falls_silent_is_replaced_long_before_the_idle_time() {
    let lab = Lab::new();
    let file = contents();
    let served = file.clone();
    let origin = Origin::start(move |request, wire| {
        if request.number > 0 {
            return wire.serve(request, &served, Some("\"v1\""));
        }
        wire.send(honest_head(request, served.len(), Some("\"v1\"")));
        wire.send(&served[..served.len() / 2]);
        wire.stall();
    });
    let mut request = lab.request(&origin.url("/f"));
    // Waiting the silence out would reach the task's own bound.
    request.idle_timeout = Duration::from_secs(60);
    request.timeout = Some(Duration::from_secs(15));
    lab.assert_holds(lab.run(request), &file);
}

#[test]
fn a_crawl_is_left_although_it_is_never_silent() {
    // O8.
    let origin = Origin::start(|_, wire| {
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
        while wire.is_open() {
            wire.send("x");
            std::thread::park_timeout(Duration::from_millis(20));
        }
    });
    let lab = Lab::new();
    let mut request = lab.request(&origin.url("/f"));
    request.idle_timeout = Duration::from_secs(1);
    request.minimum_speed = 10_000;
    request.retries = 0;
    let outcome = within(SOON, || lab.run(request));
    lab.assert_refused(outcome, &["timeout"]);
}

#[test]
fn a_task_ends_at_its_own_bound_of_time() {
    let origin = Origin::start(|_, wire| {
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
        while wire.is_open() {
            wire.send("x");
            std::thread::park_timeout(Duration::from_millis(20));
        }
    });
    let lab = Lab::new();
    let mut request = lab.request(&origin.url("/f"));
    request.timeout = Some(Duration::from_millis(700));
    let outcome = within(SOON, || lab.run(request));
    lab.assert_refused(outcome, &["timeout"]);
}

#[test]
fn a_refused_or_reset_connection_is_a_network_error() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let lab = Lab::new();
    lab.assert_refused(within(SOON, || lab.fetch(&format!("http://{free}/f"))), &["connect"]);
    let origin = Origin::start(|_, wire| wire.reset());
    let lab = Lab::new();
    lab.assert_refused(within(SOON, || lab.fetch(&origin.url("/f"))), &["connect", "truncated"]);
}

#[test]
fn an_empty_file_is_a_file() {
    for answer in [
        "HTTP/1.1 200 OK\r\nETag: \"a\"\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ] {
        let origin = sending(answer);
        let lab = Lab::new();
        lab.assert_holds(lab.fetch(&origin.url("/f")), b"");
    }
    let bytes = Vec::new();
    let origin = Origin::serving(bytes, Some("\"a\""));
    let lab = Lab::new();
    lab.assert_holds(lab.fetch(&origin.url("/f")), b"");
}

#[test]
fn a_body_that_only_its_end_delimits_is_whole_after_an_orderly_close_and_not_after_a_reset() {
    // Item 5: over plain HTTP nothing better than the close exists; a promised size or digest decides where there is one.
    let origin = sending(with_head("", &contents()));
    let lab = Lab::new();
    lab.assert_holds(lab.fetch(&origin.url("/f")), &contents());

    let lab = Lab::new();
    let mut request = lab.request(&origin.url("/f"));
    request.expected_size = Some(contents().len() as u64 + 1);
    lab.assert_refused(lab.run(request), &["truncated", "origin_changed", "origin_lied"]);

    let origin = Origin::start(|_, wire| {
        wire.send(with_head("", &contents()));
        wire.reset();
    });
    let lab = Lab::new();
    lab.assert_refused(lab.fetch(&origin.url("/f")), &["truncated"]);
}
