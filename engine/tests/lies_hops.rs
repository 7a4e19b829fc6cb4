//! Redirects: every hop is checked like the first URL, and nobody gets headers that were meant for somebody else.

mod support;

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use support::download::Lab;
use support::file;
use support::origin::{Origin, Request};

fn contents() -> Vec<u8> {
    file::bytes(5, 200_000)
}

fn redirecting(status: u16, location: impl Into<String>) -> Origin {
    let location = location.into();
    Origin::start(move |_, wire| {
        wire.send(format!("HTTP/1.1 {status} Moved\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"));
    })
}

/// A listener on an address that is not allowed, and how often it was reached.
fn canary() -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.2:0").unwrap();
    let address = listener.local_addr().unwrap();
    let hits = Arc::new(AtomicUsize::new(0));
    let count = hits.clone();
    std::thread::spawn(move || {
        for _ in listener.incoming() {
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    (address, hits)
}

#[test]
fn a_redirect_to_an_allowed_origin_is_followed() {
    // The control: 301, 302, 303, 307, 308, absolute and relative.
    let origin = Origin::serving(contents(), Some("\"a\""));
    for status in [301, 302, 303, 307, 308] {
        let first = redirecting(status, origin.url("/file"));
        let lab = Lab::new();
        let outcome = lab.fetch(&first.url("/f"));
        assert_eq!(outcome.as_ref().map(|outcome| outcome.final_url.clone()).ok(), Some(origin.url("/file")));
        lab.assert_holds(outcome, &contents());
    }
    let relative = Origin::start(|request, wire| match request.target.as_str() {
        "/a/b?q" => wire.send("HTTP/1.1 302 Moved\r\nLocation: ../c?r#s\r\nContent-Length: 0\r\n\r\n"),
        "/c?r" => wire.serve(request, &contents(), None),
        other => panic!("asked for {other}"),
    });
    let lab = Lab::new();
    lab.assert_holds(lab.fetch(&relative.url("/a/b?q")), &contents());
}

#[test]
fn a_redirect_to_a_place_that_is_not_allowed_is_refused_before_connecting() {
    // S100, S101, S106 at the level of redirects.
    let (address, hits) = canary();
    for status in [301, 302, 303, 307, 308] {
        let origin = redirecting(status, format!("http://{address}/secret"));
        let lab = Lab::new();
        lab.assert_refused(lab.fetch(&origin.url("/f")), &["egress_denied"]);
    }
    for location in [
        "http://169.254.169.254/latest/meta-data",
        "http://[::1]/",
        "http://localhost/",
        "http://metadata.google.internal/",
        "http://[::ffff:127.0.0.1]/",
        "//127.0.0.2/x",
    ] {
        let origin = redirecting(302, location);
        let lab = Lab::new();
        lab.assert_refused(lab.fetch(&origin.url("/f")), &["egress_denied"]);
    }
    assert_eq!(hits.load(Ordering::SeqCst), 0);
}

#[test]
fn a_redirect_in_the_middle_of_a_file_is_checked_too() {
    let (address, hits) = canary();
    let bytes = file::bytes(6, 3 << 20);
    let origin = Origin::start(move |request, wire| {
        if request.number == 0 {
            wire.send(support::origin::honest_head(request, bytes.len(), Some("\"a\"")));
            wire.send(&bytes[..1 << 20]);
            wire.close();
        } else {
            wire.send(format!("HTTP/1.1 302 Moved\r\nLocation: http://{address}/x\r\nContent-Length: 0\r\n\r\n"));
        }
    });
    let lab = Lab::new();
    lab.assert_refused(lab.fetch(&origin.url("/f")), &["egress_denied"]);
    assert_eq!(hits.load(Ordering::SeqCst), 0);
}

#[test]
fn a_redirect_out_of_http_is_refused() {
    // S103, S104.
    for location in [
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "rtsp://127.0.0.1/x",
        "data:text/plain,hi",
        "gopher://127.0.0.1:6379/_",
        "javascript:1",
    ] {
        let origin = redirecting(302, location);
        let lab = Lab::new();
        lab.assert_refused(
            lab.fetch(&origin.url("/f")),
            &["invalid_request", "egress_denied", "origin_lied", "unsupported"],
        );
    }
}

#[test]
fn a_location_that_parsers_disagree_on_is_refused() {
    for location in [
        "http://user:pass@127.0.0.1/",
        "http://127.0.0.1\\@example.com/",
        "http://2130706433/",
        "http://127.1/",
        "http:///x",
        "http://exa mple.com/",
    ] {
        let origin = redirecting(302, location);
        let lab = Lab::new();
        lab.assert_refused(lab.fetch(&origin.url("/f")), &["invalid_request", "egress_denied", "origin_lied"]);
    }
}

#[test]
fn twenty_redirects_are_followed_and_twenty_one_are_not() {
    // S102.
    let chain = |length: usize| {
        Origin::start(move |request: &Request, wire| {
            let hop: usize = request.target.trim_start_matches('/').parse().unwrap();
            if hop == length {
                wire.serve(request, &contents(), None);
            } else {
                wire.send(format!("HTTP/1.1 302 Moved\r\nLocation: /{}\r\nContent-Length: 0\r\n\r\n", hop + 1));
            }
        })
    };
    let origin = chain(20);
    let lab = Lab::new();
    lab.assert_holds(lab.fetch(&origin.url("/0")), &contents());
    let origin = chain(21);
    let lab = Lab::new();
    lab.assert_refused(lab.fetch(&origin.url("/0")), &["limit_exceeded"]);
}

#[test]
fn a_redirect_that_turns_in_a_circle_ends() {
    // O17.
    let origin = Origin::start(|_, wire| wire.send("HTTP/1.1 302 Moved\r\nLocation: /f\r\nContent-Length: 0\r\n\r\n"));
    let lab = Lab::new();
    lab.assert_refused(lab.fetch(&origin.url("/f")), &["limit_exceeded", "origin_lied"]);
    assert!(origin.requests().len() <= 21);
}

#[test]
fn a_redirect_without_a_place_is_an_error() {
    let origin = Origin::start(|_, wire| wire.send("HTTP/1.1 302 Moved\r\nContent-Length: 0\r\n\r\n"));
    let lab = Lab::new();
    lab.assert_refused(lab.fetch(&origin.url("/f")), &["origin_lied", "http_status"]);
}

#[test]
fn secrets_stay_with_the_origin_they_were_given_for() {
    let other = Origin::serving(contents(), Some("\"a\""));
    let elsewhere = other.url("/file");
    let first = Origin::start(move |request, wire| match request.target.as_str() {
        "/start" => wire.send("HTTP/1.1 302 Moved\r\nLocation: /same\r\nContent-Length: 0\r\n\r\n"),
        _ => wire.send(format!("HTTP/1.1 302 Moved\r\nLocation: {elsewhere}\r\nContent-Length: 0\r\n\r\n")),
    });
    let lab = Lab::new();
    let mut request = lab.request(&first.url("/start"));
    for (name, value) in [
        ("authorization", "Bearer canary"),
        ("x-api-key", "canary"),
        ("user-agent", "browser"),
        ("referer", "https://page.example/"),
    ] {
        request = request.header(name, value).unwrap();
    }
    request.cookies = Some("session=canary".to_owned());
    lab.assert_holds(lab.run(request), &contents());
    for request in first.requests() {
        assert_eq!(request.header("authorization"), Some("Bearer canary"), "{}", request.target);
        assert_eq!(request.header("cookie"), Some("session=canary"));
    }
    for request in other.requests() {
        assert!(request.headers.iter().all(|(_, value)| !value.contains("canary")), "{request:?}");
        assert_eq!(request.header("user-agent"), Some("browser"));
    }
}

#[test]
fn an_expired_redirect_goes_back_to_the_url_it_came_from() {
    // Item 12: the signed URL behind a redirect runs out in mid-file.
    let bytes = file::bytes(8, 4 << 20);
    let copy = bytes.clone();
    let signed = AtomicUsize::new(0);
    let origin = Origin::start(move |request, wire| match request.target.as_str() {
        "/start" => {
            let number = signed.fetch_add(1, Ordering::SeqCst);
            wire.send(format!("HTTP/1.1 302 Moved\r\nLocation: /signed?n={number}\r\nContent-Length: 0\r\n\r\n"));
        }
        "/signed?n=0" if request.range().is_none_or(|range| range.0 == 0) => {
            wire.send(support::origin::honest_head(request, bytes.len(), Some("\"a\"")));
            wire.send(&bytes[..bytes.len() / 2]);
            wire.close();
        }
        "/signed?n=0" => wire.send("HTTP/1.1 403 Expired\r\nContent-Length: 0\r\n\r\n"),
        _ => wire.serve(request, &bytes, Some("\"a\"")),
    });
    let lab = Lab::new();
    lab.assert_holds(lab.fetch(&origin.url("/start")), &copy);
}

#[test]
fn an_expired_url_is_said_to_be_expired() {
    let bytes = file::bytes(8, 4 << 20);
    let origin = Origin::start(move |request, wire| {
        if request.number == 0 {
            wire.send(support::origin::honest_head(request, bytes.len(), Some("\"a\"")));
            wire.send(&bytes[..bytes.len() / 2]);
            wire.close();
        } else {
            wire.send("HTTP/1.1 403 Expired\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let lab = Lab::new();
    lab.assert_refused(lab.fetch(&origin.url("/f")), &["url_expired"]);
}
