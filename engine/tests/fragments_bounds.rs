//! Playlists, heads and fragments without measure: a typed error, soon, and in little memory.

mod support;

use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use support::download::{Lab, within};
use support::origin::{Origin, Wire};
use support::playlist::{Site, encrypted, fragment, playlist, sequence_vector};
use vasset_engine::download::Outcome;
use vasset_engine::error::Error;
use vasset_engine::request::Source;

const SOON: Duration = Duration::from_secs(20);
/// Of this whole process, all tests of this file at once: the largest playlist that is read takes 16 MiB.
const MOST_RESIDENT_KIB: u64 = 400 << 10;

fn join(lab: &Lab, url: String) -> Result<Outcome, Error> {
    let mut request = lab.request(&url);
    request.source = if url.ends_with(".mpd") { Source::Dash { url } } else { Source::Hls { url } };
    request.retries = 1;
    lab.run(request)
}

#[track_caller]
fn assert_refused(origin: &Origin, path: &str, codes: &[&str]) {
    let lab = Lab::new();
    lab.assert_refused(within(SOON, || join(&lab, origin.url(path))), codes);
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < MOST_RESIDENT_KIB, "{peak} KiB were resident");
}

/// Serves a playlist of three fragments; what `path` answers is up to `answer`.
fn origin_with(path: &'static str, answer: impl Fn(&mut Wire) + Send + Sync + 'static) -> Origin {
    let text = playlist(3).replace("#EXT-X-TARGETDURATION:4\n", "#EXT-X-KEY:METHOD=AES-128,URI=\"key\"\n");
    let mut site = Site::new().with("/i.m3u8", text).with("/key", [1; 16]);
    for index in 0..3 {
        let sent = encrypted(&fragment(index, 1_000), [1; 16], sequence_vector(index as u64));
        site = site.with(&format!("/{index}.ts"), sent);
    }
    Origin::start(move |request, wire| match site.bytes(&request.target) {
        _ if request.target == path => answer(wire),
        Some(bytes) => wire.serve(request, bytes, None),
        None => wire.close(),
    })
}

/// Sends `piece` until the client leaves or 200 MB are sent, which is a failure.
fn pour(wire: &mut Wire, head: &str, piece: &str) {
    wire.send(head);
    let piece = piece.repeat(64 * 1024 / piece.len() + 1);
    for _ in 0..200_000_000 / piece.len() {
        if !wire.is_open() {
            return;
        }
        wire.send(&piece);
    }
    panic!("all 200 MB were read");
}

#[test]
fn an_honest_origin_is_the_control() {
    let lab = Lab::new();
    let origin = origin_with("/none", |_| {});
    lab.assert_holds(join(&lab, origin.url("/i.m3u8")), &support::playlist::joined(3, 1_000));
}

#[test]
fn two_hundred_megabytes_of_headers_are_cut_short_for_playlists_keys_and_fragments() {
    for path in ["/i.m3u8", "/key", "/1.ts"] {
        let origin =
            origin_with(path, |wire| pour(wire, "HTTP/1.1 200 OK\r\n", "X-Filler: yyyyyyyyyyyyyyyyyyyyyyyy\r\n"));
        assert_refused(&origin, "/i.m3u8", &["origin_lied"]);
    }
}

#[test]
fn endless_interim_answers_are_cut_short() {
    for path in ["/i.m3u8", "/1.ts"] {
        let origin = origin_with(path, |wire| pour(wire, "", "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"));
        assert_refused(&origin, "/i.m3u8", &["origin_lied"]);
    }
}

#[test]
fn two_hundred_megabytes_of_playlist_or_key_are_cut_at_their_bounds() {
    let chunked = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
    let claimed = "HTTP/1.1 200 OK\r\nContent-Length: 200000000\r\n\r\n";
    for head in [chunked, claimed] {
        let origin = origin_with("/i.m3u8", move |wire| pour(wire, head, "#EXTM3U\n#EXTINF:4,\n0.ts\n"));
        assert_refused(&origin, "/i.m3u8", &["limit_exceeded"]);
        let origin = origin_with("/key", move |wire| pour(wire, head, "0123456789abcdef"));
        assert_refused(&origin, "/i.m3u8", &["limit_exceeded"]);
    }
}

#[test]
fn compressed_playlists_are_unpacked_within_the_same_bounds() {
    let mut coder = GzEncoder::new(Vec::new(), Compression::best());
    (0..1_600).for_each(|_| coder.write_all(&[b'#'; 1 << 16]).unwrap());
    let bomb = coder.finish().unwrap();
    for coding in ["Content-Encoding: gzip\r\n", ""] {
        let head = format!("HTTP/1.1 200 OK\r\n{coding}Content-Length: {}\r\n\r\n", bomb.len());
        let answer = [head.as_bytes(), &bomb].concat();
        let origin = origin_with("/i.m3u8", move |wire| wire.send(&answer));
        assert_refused(&origin, "/i.m3u8", &["limit_exceeded"]);
    }
}

#[test]
fn a_million_entries_of_every_kind_are_refused_while_counting() {
    let variants = "#EXT-X-STREAM-INF:BANDWIDTH=1\na\n".repeat(400_000);
    let renditions = "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"g\",NAME=\"n\",URI=\"u\"\n".repeat(200_000);
    let maps = "#EXT-X-MAP:URI=\"a\"\n#EXTINF:1,\ns\n#EXT-X-MAP:URI=\"b\"\n#EXTINF:1,\ns\n".repeat(200_000);
    for text in [variants, renditions + "#EXT-X-STREAM-INF:BANDWIDTH=1\na\n", maps] {
        let origin = Site::new().with("/i.m3u8", format!("#EXTM3U\n{text}#EXT-X-ENDLIST\n")).start();
        assert_refused(&origin, "/i.m3u8", &["limit_exceeded"]);
    }
    // Few entries with a long base: 6 KiB of it and 20,000 fragments are 120 MiB of addresses.
    let body = "#EXTM3U\n".to_owned() + &"#EXTINF:1,\ns\n".repeat(20_000) + "#EXT-X-ENDLIST\n";
    let origin = Origin::start(move |request, wire| wire.serve(request, body.as_bytes(), None));
    assert_refused(&origin, &format!("/{}i.m3u8", "d/".repeat(3_000)), &["limit_exceeded"]);
    assert_eq!(origin.requests().len(), 1);
    // An address that is longer than any that is fetched is never asked for.
    let long = format!("#EXTM3U\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n", "d/".repeat(32_000));
    let origin = Origin::start(move |request, wire| wire.serve(request, long.as_bytes(), None));
    assert_refused(&origin, "/i.m3u8", &["invalid_request"]);
    assert_eq!(origin.requests().len(), 1);
}

fn manifest(inside: &str) -> String {
    format!(
        "<MPD type=\"static\" mediaPresentationDuration=\"PT9223372036854775807S\"><Period><AdaptationSet contentType=\"video\">\
         <Representation id=\"v\" bandwidth=\"1\">{inside}</Representation></AdaptationSet></Period></MPD>"
    )
}

#[test]
fn bombs_of_xml_are_refused() {
    let attributes: String = (0..300_000).map(|number| format!(" a{number}=\"\"")).collect();
    let billion: String =
        (1..10).map(|n| format!("<!ENTITY l{n} \"{}\">", format!("&l{};", n - 1).repeat(10))).collect();
    let period = "<Period><AdaptationSet><Representation/></AdaptationSet></Period>".repeat(100_000);
    let representations = "<Representation/>".repeat(3_000);
    let harmless = manifest("<BaseURL>f</BaseURL>");
    for (text, code) in [
        (format!("<!DOCTYPE x [<!ENTITY l0 \"ha\">{billion}]><MPD>&l9;</MPD>"), "origin_lied"),
        (format!("<!DOCTYPE x SYSTEM \"http://127.0.0.1:1/x.dtd\">{harmless}"), "origin_lied"),
        (format!("<MPD>&l9;{harmless}</MPD>"), "origin_lied"),
        (format!("<MPD>{}", "<a>".repeat(1_000_000)), "limit_exceeded"),
        (format!("<MPD>{}{}</MPD>", "<a>".repeat(1_000), "</a>".repeat(1_000)), "limit_exceeded"),
        (format!("<MPD>{}</MPD>", "<a/>".repeat(1_000_000)), "limit_exceeded"),
        (format!("<MPD type=\"static\">{period}</MPD>"), "limit_exceeded"),
        (format!("<MPD><Period><AdaptationSet>{representations}</AdaptationSet></Period></MPD>"), "limit_exceeded"),
        (format!("<MPD{attributes}/>"), "limit_exceeded"),
    ] {
        let origin = Site::new().with("/m.mpd", text).with("/f", "film").start();
        assert_refused(&origin, "/m.mpd", &[code]);
    }
    let lab = Lab::new();
    let origin = Site::new().with("/m.mpd", harmless).with("/f", "film").start();
    lab.assert_holds(join(&lab, origin.url("/m.mpd")), b"film");
}

#[test]
fn sizes_of_two_to_the_63_end_in_an_error_before_a_request_is_made_of_them() {
    for entry in [
        "#EXT-X-BYTERANGE:9223372036854775808@9223372036854775808\n#EXTINF:1,\ns\n",
        "#EXT-X-BYTERANGE:18446744073709551615@1\n#EXTINF:1,\ns\n",
        "#EXT-X-BYTERANGE:1@18446744073709551615\n#EXTINF:1,\ns\n",
        "#EXT-X-MEDIA-SEQUENCE:18446744073709551615\n#EXTINF:1,\ns\n#EXTINF:1,\ns\n",
        "#EXT-X-MEDIA-SEQUENCE:18446744073709551616\n#EXTINF:1,\ns\n",
    ] {
        let origin = Site::new().with("/i.m3u8", format!("#EXTM3U\n{entry}#EXT-X-ENDLIST\n")).start();
        assert_refused(&origin, "/i.m3u8", &["origin_lied"]);
        assert_eq!(origin.requests().len(), 1, "{entry}");
    }
    for inside in [
        "<SegmentTemplate media=\"$Number$\" duration=\"1\" timescale=\"9223372036854775807\" startNumber=\"9223372036854775807\"/>",
        "<SegmentTemplate media=\"$Time$\" duration=\"1\"/>",
        "<SegmentTemplate media=\"$Time$\"><SegmentTimeline><S t=\"9223372036854775807\" d=\"9223372036854775807\" r=\"9\"/></SegmentTimeline></SegmentTemplate>",
        "<SegmentTemplate media=\"$Time$\"><SegmentTimeline><S t=\"0\" d=\"1\" r=\"999999\"/></SegmentTimeline></SegmentTemplate>",
        "<SegmentBase indexRange=\"0-9223372036854775807\"/><BaseURL>f</BaseURL>",
        "<SegmentList><SegmentURL mediaRange=\"0-18446744073709551615\"/></SegmentList><BaseURL>f</BaseURL>",
    ] {
        let origin = Site::new().with("/m.mpd", manifest(inside)).start();
        assert_refused(&origin, "/m.mpd", &["origin_lied", "limit_exceeded"]);
        assert_eq!(origin.requests().len(), 1, "{inside}");
    }
    // Thirty years of a fragment a second.
    let years = manifest("<SegmentTemplate media=\"$Number$\" duration=\"1\"/>")
        .replace("PT9223372036854775807S", "PT1000000000S");
    let origin = Site::new().with("/m.mpd", years).start();
    assert_refused(&origin, "/m.mpd", &["limit_exceeded"]);
    assert_eq!(origin.requests().len(), 1);
}

#[test]
fn claims_of_sparse_or_endless_fragments_take_no_room() {
    let huge = "HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775807\r\n\r\n";
    let origin = origin_with("/1.ts", move |wire| wire.send(huge));
    assert_refused(&origin, "/i.m3u8", &["limit_exceeded"]);

    // An endless body is stopped by the bound of the whole file, in the window or at the frontier.
    let site = Site::new().with("/i.m3u8", playlist(3)).with_fragments(3, 1_000);
    let origin = Origin::start(move |request, wire| match request.target.as_str() {
        "/1.ts" => pour(wire, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", "0123456789abcdef"),
        path => wire.serve(request, site.bytes(path).unwrap_or_default(), None),
    });
    let lab = Lab::new();
    let url = origin.url("/i.m3u8");
    let mut request = lab.request(&url);
    request.source = Source::Hls { url };
    request.max_bytes = Some(40 << 20);
    lab.assert_refused(within(SOON, || lab.run(request)), &["limit_exceeded"]);

    // A part of a file of 2^63 bytes is believed in its range only.
    let text = "#EXTM3U\n#EXTINF:1,\n#EXT-X-BYTERANGE:10@5\nf\n#EXT-X-ENDLIST\n";
    let origin = Origin::start(move |request, wire| {
        match request.target.as_str() {
        "/f" => wire.send(
            "HTTP/1.1 206 Partial\r\nContent-Range: bytes 5-14/9223372036854775807\r\nContent-Length: 10\r\n\r\n0123456789",
        ),
        _ => wire.serve(request, text.as_bytes(), None),
    }
    });
    assert_refused(&origin, "/i.m3u8", &["limit_exceeded"]);
}

#[test]
fn a_playlist_that_lists_itself_in_any_way_ends() {
    let site = Site::new()
        .with("/i.m3u8", "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nother.m3u8?x=1\n")
        .with("/other.m3u8?x=1", "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\ni.m3u8\n")
        .with("/s.m3u8", "#EXTM3U\n#EXTINF:1,\n./x/../s.m3u8\n#EXT-X-ENDLIST\n")
        .with("/as_fragment.m3u8", "#EXTM3U\n#EXTINF:1,\nmedia\n#EXT-X-ENDLIST\n")
        .with("/media", "#EXTM3U\n#EXTINF:1,\nmedia\n#EXT-X-ENDLIST\n");
    let origin = site.start();
    for (path, asked) in [("/i.m3u8", 2), ("/s.m3u8", 1), ("/as_fragment.m3u8", 2)] {
        let before = origin.requests().len();
        assert_refused(&origin, path, &["origin_lied"]);
        assert_eq!(origin.requests().len() - before, asked, "{path}: what lists itself is not asked for again");
    }
    // Nor does one that always leads to another.
    let chain = Origin::start(|request, wire| {
        let text = format!("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{}.m3u8\n", request.number);
        wire.serve(request, text.as_bytes(), None);
    });
    assert_refused(&chain, "/i.m3u8", &["limit_exceeded"]);
    assert_eq!(chain.requests().len(), 3);
    // And a fragment that is a playlist with a fragment in front is no film either.
    let first =
        Site::new().with("/i.m3u8", playlist(2)).with("/0.ts", fragment(0, 100)).with("/1.ts", playlist(2)).start();
    assert_refused(&first, "/i.m3u8", &["origin_lied"]);
}
