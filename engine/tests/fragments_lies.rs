//! Playlists and fragments that lie: a typed error and no file.

mod support;

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use support::download::{Lab, within};
use support::origin::Origin;
use support::playlist::{Site, encrypted, fragment, joined, playlist};
use vasset_engine::download::Outcome;
use vasset_engine::error::Error;
use vasset_engine::request::Source;

fn join(lab: &Lab, url: String) -> Result<Outcome, Error> {
    let mut request = lab.request(&url);
    request.source = Source::Hls { url };
    request.retries = 1;
    lab.run(request)
}

#[track_caller]
fn assert_text_refused(text: &str, code: &str) {
    let origin = Site::new().with("/i.m3u8", text).with_fragments(3, 100).start();
    let lab = Lab::new();
    lab.assert_refused(within(Duration::from_secs(20), || join(&lab, origin.url("/i.m3u8"))), &[code]);
}

#[test]
fn live_drm_and_unknown_encryption_are_unsupported() {
    for text in [
        "#EXTM3U\n#EXTINF:4,\n0.ts\n",
        "#EXTM3U\n#EXT-X-KEY:METHOD=SAMPLE-AES,URI=\"k\"\n#EXTINF:4,\n0.ts\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI=\"skd://k\",KEYFORMAT=\"com.apple.streamingkeydelivery\"\n#EXTINF:4,\n0.ts\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXT-X-I-FRAMES-ONLY\n#EXTINF:4,\n0.ts\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXTINF:4,\nsubs.vtt\n#EXT-X-ENDLIST\n",
    ] {
        assert_text_refused(text, "unsupported");
    }
}

#[test]
fn self_listing_and_endless_nesting_end() {
    assert_text_refused("#EXTM3U\n#EXTINF:4,\ni.m3u8\n#EXT-X-ENDLIST\n", "origin_lied");
    assert_text_refused("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\ni.m3u8\n", "origin_lied");
    let origin = Origin::start(|request, wire| {
        let text = format!("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nnext{}.m3u8\n", request.number);
        wire.serve(request, text.as_bytes(), None);
    });
    let lab = Lab::new();
    lab.assert_refused(join(&lab, origin.url("/i.m3u8")), &["limit_exceeded"]);
    assert!(origin.requests().len() <= 3);
}

#[test]
fn a_million_entries_are_refused_while_counting() {
    let mut text = String::from("#EXTM3U\n");
    text.push_str(&"#EXTINF:1,\na\n".repeat(1_000_000));
    text.push_str("#EXT-X-ENDLIST\n");
    assert_text_refused(&text, "limit_exceeded");
}

#[test]
fn malformed_playlists_and_foreign_schemes_are_refused() {
    for text in [
        "<html>not a playlist</html>",
        "#EXTM3U\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXTINF:4,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXTINF:4,\n#EXT-X-BYTERANGE:99999999999999999999@1\n0.ts\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI=\"k\",IV=0xZZ\n#EXTINF:4,\n0.ts\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXT-X-MAP:URI=\"m\"\n#EXT-X-ENDLIST\n",
    ] {
        assert_text_refused(text, "origin_lied");
    }
}

#[test]
fn fragments_and_keys_outside_the_egress_policy_are_never_asked_for() {
    for text in [
        "#EXTM3U\n#EXTINF:4,\nhttp://127.0.0.2:1/x.ts\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI=\"http://169.254.169.254/k\"\n#EXTINF:4,\n0.ts\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXT-X-MAP:URI=\"http://[::1]:1/m\"\n#EXTINF:4,\n0.ts\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nhttp://10.0.0.1/v.m3u8\n",
    ] {
        assert_text_refused(text, "egress_denied");
    }
}

#[test]
fn a_missing_or_expired_fragment_fails_the_file() {
    for (status, code) in
        [("404 Not Found", "http_status"), ("403 Forbidden", "url_expired"), ("410 Gone", "url_expired")]
    {
        let site = Site::new().with("/i.m3u8", playlist(6)).with_fragments(6, 1_000);
        let origin = Origin::start(move |request, wire| match site.bytes(&request.target) {
            Some(_) if request.target == "/4.ts" => {
                wire.send(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n"));
            }
            Some(bytes) => wire.serve(request, bytes, None),
            None => wire.close(),
        });
        let lab = Lab::new();
        lab.assert_refused(join(&lab, origin.url("/i.m3u8")), &[code]);
    }
}

#[test]
fn wrong_keys_and_cut_ciphertext_are_noticed() {
    let text = "#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI=\"k\"\n#EXTINF:4,\n0\n#EXT-X-ENDLIST\n";
    let sent = encrypted(&[8; 1_000], [1; 16], [0; 16]);
    for (key, media) in [
        (&[1_u8; 15][..], &sent[..]),
        (&[1; 17], &sent),
        (b"<html>log in</html>", &sent),
        (&[2; 16], &sent),
        (&[1; 16], &sent[..sent.len() - 1]),
        (&[1; 16], &[]),
    ] {
        let origin = Site::new().with("/i.m3u8", text).with("/k", key).with("/0", media).start();
        let lab = Lab::new();
        lab.assert_refused(join(&lab, origin.url("/i.m3u8")), &["origin_lied"]);
    }
}

/// What fragment 1 of three answers, and the code it must end with.
const LYING_HEADS: [(&str, &[&str]); 6] = [
    ("200 OK\r\nContent-Length: 9\r\n\r\nshort", &["truncated", "timeout"]),
    ("200 OK\r\nContent-Length: 27\r\n\r\n<!DOCTYPE html><p>sign in!", &["page", "truncated"]),
    ("200 OK\r\nContent-Encoding: gzip, br\r\nContent-Length: 4\r\n\r\nabcd", &["origin_lied"]),
    ("206 Partial\r\nContent-Range: bytes 0-3/5\r\nContent-Length: 4\r\n\r\nabcd", &["origin_lied"]),
    ("204 No Content\r\n\r\n", &["http_status"]),
    ("200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\nabcd", &["origin_lied", "truncated"]),
];

#[test]
fn lying_fragments_are_not_joined() {
    for (answer, codes) in LYING_HEADS {
        let site = Site::new().with("/i.m3u8", playlist(3)).with_fragments(3, 1_000);
        let origin = Origin::start(move |request, wire| match site.bytes(&request.target) {
            Some(_) if request.target == "/1.ts" => {
                wire.send(format!("HTTP/1.1 {answer}"));
                wire.close();
            }
            Some(bytes) => wire.serve(request, bytes, None),
            None => wire.close(),
        });
        let lab = Lab::new();
        lab.assert_refused(join(&lab, origin.url("/i.m3u8")), codes);
    }
}

#[test]
fn ranges_of_two_versions_of_one_resource_are_never_mixed() {
    let text =
        "#EXTM3U\n#EXTINF:4,\n#EXT-X-BYTERANGE:1000@0\nf\n#EXTINF:4,\n#EXT-X-BYTERANGE:1000@2000\nf\n#EXT-X-ENDLIST\n";
    let origin = Origin::start(move |request, wire| match request.target.as_str() {
        "/f" => {
            let version = format!("\"v{}\"", request.number);
            wire.serve(request, &[request.number as u8; 4_000], Some(&version));
        }
        _ => wire.serve(request, text.as_bytes(), None),
    });
    let lab = Lab::new();
    lab.assert_refused(join(&lab, origin.url("/i.m3u8")), &["origin_changed"]);
}

#[test]
fn words_in_the_place_of_a_fragment_are_never_joined() {
    for words in [
        "{\"code\":403,\"message\":\"too many requests\"}",
        "<!-- cached --><div>Please sign in</div>",
        "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>",
        "Link expired. Please reload the page.",
    ] {
        let origin = Site::new().with("/i.m3u8", playlist(3)).with_fragments(3, 1_000).with("/1.ts", words).start();
        let lab = Lab::new();
        lab.assert_refused(within(Duration::from_secs(20), || join(&lab, origin.url("/i.m3u8"))), &["page"]);
    }
}

#[test]
fn a_page_that_drips_is_still_a_page() {
    let origin = Origin::start(|request, wire| match request.target.as_str() {
        "/i.m3u8" => wire.serve(request, playlist(1).as_bytes(), None),
        _ => {
            let page = b"<html><body>no</body></html>";
            wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", page.len()).as_bytes());
            page.iter().for_each(|byte| wire.send([*byte]));
        }
    });
    let lab = Lab::new();
    lab.assert_refused(within(Duration::from_secs(20), || join(&lab, origin.url("/i.m3u8"))), &["page"]);
}

#[test]
fn a_host_that_is_busy_in_words_is_asked_again() {
    let refusals = AtomicUsize::new(1);
    let origin = Origin::start(move |request, wire| match request.target.as_str() {
        "/i.m3u8" => wire.serve(request, playlist(3).as_bytes(), None),
        "/1.ts" if refusals.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok() => {
            wire.serve(request, b"{\"code\":429}", None);
        }
        path => wire.serve(request, &fragment(path[1..2].parse().unwrap(), 1_000), None),
    });
    let lab = Lab::new();
    lab.assert_holds(join(&lab, origin.url("/i.m3u8")), &joined(3, 1_000));
}
