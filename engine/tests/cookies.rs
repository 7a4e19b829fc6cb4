//! Cookies in motion: from an answer to the request after it, over redirects, ports, playlists, keys and segments, and to
//! nobody they do not belong to.

mod support;

use std::sync::Arc;

use support::download::Lab;
use support::file;
use support::origin::{Origin, Request as Asked, Wire};
use support::playlist;
use vasset_engine::net::cookies::Cookie;
use vasset_engine::request::{Request, Source};

fn contents() -> Vec<u8> {
    file::bytes(13, 200_000)
}

fn has(request: &Asked, pair: &str) -> bool {
    request.header("cookie").is_some_and(|line| line.split("; ").any(|one| one == pair))
}

fn refuse(wire: &mut Wire) {
    wire.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
}

fn joined(
    lab: &Lab,
    url: &str,
    jar: Vec<Cookie>,
) -> Result<vasset_engine::download::Outcome, vasset_engine::error::Error> {
    let like = lab.request(url);
    lab.run(Request { source: Source::Hls { url: url.to_owned() }, jar, ..like })
}

#[test]
fn a_redirect_that_sets_a_cookie_gets_it_back() {
    let origin = Origin::start(|request, wire| {
        if has(request, "seen=1") {
            wire.serve(request, &contents(), Some("\"v1\""));
        } else {
            wire.send("HTTP/1.1 302 Found\r\nLocation: /f\r\nSet-Cookie: seen=1; Path=/\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let lab = Lab::new();
    lab.assert_holds(lab.fetch(&origin.url("/f")), &contents());
    // Nothing outlives the task that learned it.
    std::fs::remove_file(lab.target()).unwrap();
    let before = origin.requests().len();
    lab.assert_holds(lab.fetch(&origin.url("/f")), &contents());
    assert!(!has(&origin.requests()[before], "seen=1"));
}

/// Segments and key want the cookie that the playlist set.
fn guarded_site(text: String) -> Origin {
    let (key, vector) = ([9; 16], playlist::sequence_vector(0));
    let secret = playlist::encrypted(&playlist::fragment(0, 5_000), key, vector);
    Origin::start(move |request, wire| match request.target.as_str() {
        "/index.m3u8" => {
            let length = text.len();
            wire.send(format!(
                "HTTP/1.1 200 OK\r\nSet-Cookie: tok=abc; Path=/\r\nContent-Length: {length}\r\n\r\n{text}"
            ));
        }
        _ if !has(request, "tok=abc") => refuse(wire),
        "/key" => wire.serve(request, &key, None),
        "/0.ts" => wire.serve(request, &secret, None),
        _ => wire.serve(request, &playlist::fragment(1, 5_000), None),
    })
}

#[test]
fn a_cookie_of_a_playlist_goes_to_its_key_and_segments_also_on_another_port() {
    let elsewhere = guarded_site(String::new());
    for one in ["1.ts".to_owned(), elsewhere.url("/1.ts")] {
        let text = format!(
            "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-KEY:METHOD=AES-128,URI=\"key\"\n#EXTINF:4,\n0.ts\n\
             #EXT-X-KEY:METHOD=NONE\n#EXTINF:4,\n{one}\n#EXT-X-ENDLIST\n"
        );
        let origin = guarded_site(text);
        let lab = Lab::new();
        lab.assert_holds(joined(&lab, &origin.url("/index.m3u8"), Vec::new()), &playlist::joined(2, 5_000));
    }
}

#[test]
fn given_cookies_go_to_every_host_they_are_for_and_to_no_other() {
    let other = Origin::serving(contents(), None);
    let elsewhere = other.url("/f").replace("127.0.0.1", "localhost");
    let first = Origin::start(move |_, wire| {
        wire.send(format!("HTTP/1.1 302 Found\r\nLocation: {elsewhere}\r\nContent-Length: 0\r\n\r\n"));
    });
    let lab = Lab::with(|settings| settings.egress_allow.push("localhost".to_owned()));
    let mut request = lab.request(&first.url("/f"));
    request.jar = vec![
        Cookie::new("here", "1", "127.0.0.1").unwrap(),
        Cookie::new("there", "2", "localhost").unwrap(),
        Cookie::new("safe", "3", "127.0.0.1").unwrap().over_https_only(true),
        Cookie::new("deep", "4", "localhost").unwrap().at_path("/deep"),
    ];
    lab.assert_holds(lab.run(request), &contents());
    assert_eq!(first.requests()[0].header("cookie"), Some("here=1"));
    assert!(other.requests().iter().all(|request| request.header("cookie") == Some("there=2")));
}

#[test]
fn a_cookie_that_changes_under_way_is_the_one_that_is_sent() {
    let counted = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let seen = Arc::clone(&counted);
    let origin = Origin::start(move |request, wire| {
        let number = seen.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        if !has(request, &format!("turn={number}")) {
            return refuse(wire);
        }
        let next = number + 1;
        if number < 3 {
            wire.send(format!(
                "HTTP/1.1 302 Found\r\nLocation: /{next}\r\nSet-Cookie: turn={next}; Path=/\r\nContent-Length: 0\r\n\r\n"
            ));
        } else {
            wire.serve(request, &contents(), None);
        }
    });
    let lab = Lab::new();
    let mut request = lab.request(&origin.url("/f"));
    request.jar = vec![Cookie::new("turn", "0", "127.0.0.1").unwrap()];
    lab.assert_holds(lab.run(request), &contents());
}

#[test]
fn a_cookie_of_the_answer_outranks_the_line_of_the_caller() {
    let origin = Origin::start(|request, wire| match request.header("cookie") {
        Some("kept=1; s=new") => wire.serve(request, &contents(), None),
        Some("s=old; kept=1") => {
            wire.send("HTTP/1.1 302 Found\r\nLocation: /g\r\nSet-Cookie: s=new\r\nContent-Length: 0\r\n\r\n");
        }
        other => panic!("sent {other:?}"),
    });
    let lab = Lab::new();
    let mut request = lab.request(&origin.url("/f"));
    request.cookies = Some("s=old; kept=1".to_owned());
    lab.assert_holds(lab.run(request), &contents());
}
