//! Playlists as real packagers and origins write them: whatever every player plays becomes the right file.

mod support;

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};

use flate2::Compression;
use flate2::write::GzEncoder;
use support::download::Lab;
use support::file;
use support::origin::Origin;
use support::playlist::{Site, encrypted, fragment, joined, playlist, sequence_vector};
use vasset_engine::download::Outcome;
use vasset_engine::error::Error;
use vasset_engine::fragments::Selection;
use vasset_engine::request::{Request, Source};

fn hls(lab: &Lab, url: String) -> Request {
    let mut request = lab.request(&url);
    request.source = Source::Hls { url };
    request.retries = 1;
    request
}

fn join(lab: &Lab, url: String) -> Result<Outcome, Error> {
    lab.run(hls(lab, url))
}

#[track_caller]
fn assert_joins(site: Site, text: impl AsRef<[u8]>, expected: &[u8]) {
    let origin = site.with("/p?token=9", text).start();
    let lab = Lab::new();
    lab.assert_holds(join(&lab, origin.url("/p?token=9")), expected);
}

#[track_caller]
fn assert_refused(site: Site, text: &str, code: &str) {
    let origin = site.with("/p", text).start();
    let lab = Lab::new();
    lab.assert_refused(join(&lab, origin.url("/p")), &[code]);
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("   {line}\t\n")).collect()
}

#[test]
fn text_in_every_spelling_is_the_same_playlist() {
    let plain = playlist(3);
    let master = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=7680000.6\nlist\n#EXT-X-STREAM-INF:BANDWIDTH=65000\nlow\n";
    let site = || Site::new().with_fragments(3, 1_000).with("/list", playlist(3)).with("/low", "no");
    for text in [
        indented(&plain),
        plain.replace('\n', "\r"),
        plain.replace('\n', "\r\n\r\n"),
        format!("\u{feff}\n# made by a packager\n{plain}"),
        plain.replace("#EXTM3U", "#extm3u url-tvg=\"x\""),
        plain.replace("#EXTM3U\n", ""),
        master.to_owned(),
        indented(master),
        master.replace('\n', "\r"),
        format!("#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"x\",URI=\"\"\n{}", &master[8..]),
        master.replace("#EXTM3U\n", "#EXTM3U\n#EXTINF:-1,channel\n"),
    ] {
        assert_joins(site(), &text, &joined(3, 1_000));
    }
}

#[test]
fn variables_of_the_playlist_its_master_and_its_address_are_replaced() {
    let master = "#EXTM3U\n#EXT-X-DEFINE:NAME=\"folder\",VALUE=\"deep\"\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{$folder}/list?token=9\n";
    let list = "#EXTM3U\n#EXT-X-DEFINE:IMPORT=\"folder\"\n#EXT-X-DEFINE:QUERYPARAM=\"token\"\n#EXTINF:4,\n\
                /{$folder}/{$token}.ts\n#EXT-X-ENDLIST\n";
    assert_joins(Site::new().with("/deep/list?token=9", list).with("/deep/9.ts", "bytes"), master, b"bytes");
    assert_refused(
        Site::new(),
        "#EXTM3U\n#EXT-X-DEFINE:NAME=\"a\",VALUE=\"b\"\n#EXTINF:1,\n{$c}\n#EXT-X-ENDLIST\n",
        "origin_lied",
    );
}

#[test]
fn a_dead_place_of_a_variant_gives_way_to_the_next_one() {
    let master = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=9,CODECS=\"a\"\ngone\n#EXT-X-STREAM-INF:BANDWIDTH=9,CODECS=\"a\"\nlist\n\
                  #EXT-X-STREAM-INF:BANDWIDTH=1,CODECS=\"a\"\nlow\n";
    let site = || Site::new().with_fragments(3, 1_000).with("/low", "another encoding is no other place");
    assert_joins(site().with("/list", playlist(3)), master, &joined(3, 1_000));
    assert_refused(site(), master, "http_status");
}

const HEADER: &[u8] = b"\0\0\0\x18ftypiso6\0\0\x02\0 and the rest of a header";

#[test]
fn an_encrypted_header_without_a_vector_is_known_by_its_first_block() {
    let text = "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:7\n#EXT-X-KEY:METHOD=AES-128,URI=\"k\"\n#EXT-X-MAP:URI=\"m\"\n#EXTINF:4,\n0\n\
                #EXT-X-ENDLIST\n";
    let key = [6; 16];
    let site = |header: &[u8]| {
        Site::new().with("/k", key).with("/m", header).with("/0", encrypted(b"media", key, sequence_vector(7)))
    };
    let whole = [HEADER, b"media"].concat();
    for header in [encrypted(HEADER, key, sequence_vector(7)), encrypted(HEADER, key, [0; 16]), HEADER.to_vec()] {
        assert_joins(site(&header), text, &whole);
    }
    assert_refused(site(&encrypted(HEADER, key, [3; 16])), text, "origin_lied");
    let explicit = text.replace("URI=\"k\"", "URI=\"k\",IV=0x7");
    assert_joins(site(HEADER), &explicit, &whole);
}

#[test]
fn keys_and_headers_inside_the_playlist_and_vectors_without_a_prefix_are_read() {
    let text = "#EXTM3U\n#EXT-X-MAP:URI=\"data:video/mp4;base64,aGVhZGVy\"\n\
                #EXT-X-KEY:METHOD=AES-128,URI=\"data:;base64,AAECAwQFBgcICQoLDA0ODw==\",IV=000000000000000000000000000000FF\n\
                #EXTINF:4,\n0\n#EXT-X-ENDLIST\n";
    let key: [u8; 16] = std::array::from_fn(|index| index as u8);
    assert_joins(Site::new().with("/0", encrypted(b"media", key, sequence_vector(255))), text, b"headermedia");
    assert_refused(Site::new(), "#EXTM3U\n#EXTINF:4,\ndata:,media\n#EXT-X-ENDLIST\n", "origin_lied");
}

#[test]
fn missing_padding_is_no_damage_and_empty_fragments_hold_nothing() {
    let text = playlist(3).replace("#EXTINF", "#EXT-X-KEY:METHOD=AES-128,URI=\"k\",IV=0x1\n#EXTINF");
    let key = [8; 16];
    let mut packet = vec![0xff; 188 * 4];
    packet.iter_mut().step_by(188).for_each(|sync| *sync = b'G');
    let unpadded = encrypted(&packet, key, sequence_vector(1))[..packet.len()].to_vec();
    let site = Site::new().with("/k", key).with("/0.ts", &unpadded).with("/1.ts", &unpadded).with("/2.ts", "");
    assert_joins(site, &text, &packet.repeat(2));
}

#[test]
fn the_first_range_may_leave_out_its_beginning_and_the_last_may_pass_the_end() {
    let whole = fragment(0, 300);
    let text =
        "#EXTM3U\n#EXTINF:4,\n#EXT-X-BYTERANGE:100\nall\n#EXTINF:4,\n#EXT-X-BYTERANGE:400@100\nall\n#EXT-X-ENDLIST\n";
    assert_joins(Site::new().with("/all", &whole), text, &whole);
}

#[test]
fn a_header_that_no_segment_follows_is_not_fetched_and_alone_it_is_no_film() {
    let text = "#EXTM3U\n#EXT-X-MAP:URI=\"m1\"\n#EXTINF:4,\n0\n#EXT-X-MAP:URI=\"gone\"\n#EXT-X-ENDLIST\n";
    assert_joins(Site::new().with("/m1", "header").with("/0", "media"), text, b"headermedia");
    let gaps = "#EXTM3U\n#EXT-X-MAP:URI=\"m1\"\n#EXT-X-GAP\n#EXTINF:5,\n1.mp4\n#EXT-X-ENDLIST\n";
    assert_refused(Site::new().with("/m1", "header"), gaps, "origin_lied");
}

#[test]
fn a_playlist_in_the_place_of_a_film_is_told_apart_from_media() {
    let site = Site::new().with("/live/1", playlist(1)).with("/film", fragment(0, 9)).with("/m?id=1", "<d:MPD/>");
    // Longer than what is looked at, so that the compressed text ends in the middle of it.
    let site = site.with("/list.m3u8.gz", gzip(playlist(50_000).as_bytes())).with("/film.gz", gzip(&fragment(0, 900)));
    let origin = site.start();
    for (path, is_media) in
        [("/live/1", false), ("/m?id=1", false), ("/list.m3u8.gz", false), ("/film.gz", true), ("/film", true)]
    {
        let lab = Lab::new();
        let mut request = lab.request(&origin.url(path));
        request.is_media = true;
        match lab.run(request) {
            Ok(_) => assert!(is_media, "{path}"),
            refused => {
                assert!(!is_media, "{path}");
                lab.assert_refused(refused, &["playlist"]);
            }
        }
    }
}

#[test]
fn only_as_many_missing_segments_as_allowed_are_left_out_and_they_are_counted() {
    let origin = |without: &'static [usize]| {
        let whole = Site::new().with_fragments(4, 900);
        let present = (0..4).filter(|index| !without.contains(index)).map(|index| format!("/{index}.ts"));
        let site = present.fold(Site::new().with("/p", playlist(4)), |site, path| {
            let bytes = whole.bytes(&path).unwrap().to_vec();
            site.with(&path, bytes)
        });
        site.start()
    };
    let run = |without, allowed| {
        let (lab, origin) = (Lab::new(), origin(without));
        let mut request = hls(&lab, origin.url("/p"));
        request.skip_missing = allowed;
        (lab.run(request), lab)
    };
    let (outcome, lab) = run(&[1], 1);
    assert_eq!(outcome.as_ref().map(|outcome| outcome.missing_fragments).ok(), Some(1));
    lab.assert_holds(outcome, &[fragment(0, 900), fragment(2, 900), fragment(3, 900)].concat());
    let (outcome, lab) = run(&[1, 2], 1);
    lab.assert_refused(outcome, &["http_status"]);
}

#[test]
fn a_token_in_the_path_does_not_cost_what_was_fetched() {
    let token = std::sync::Arc::new(AtomicUsize::new(1));
    let is_cut = std::sync::Arc::new(AtomicUsize::new(5));
    let (current, cut) = (token.clone(), is_cut.clone());
    let origin = Origin::start(move |request, wire| {
        let now = current.load(Ordering::SeqCst);
        if request.target == "/p" {
            let text: String = (0..8).map(|index| format!("#EXTINF:4,\n/{now}/{index}.ts\n")).collect();
            wire.serve(request, format!("#EXTM3U\n{text}#EXT-X-ENDLIST\n").as_bytes(), None);
            return;
        }
        let known = request.target.strip_prefix(&format!("/{now}/")).and_then(|name| name.strip_suffix(".ts"));
        match known.and_then(|index| index.parse::<usize>().ok()) {
            Some(index) if index < cut.load(Ordering::SeqCst) => {
                wire.serve(request, &fragment(index, 400_000), None);
            }
            _ => wire.send("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
        }
    });
    let lab = Lab::new();
    let mut request = hls(&lab, origin.url("/p"));
    request.connections = Some(1);
    assert!(lab.run(request).is_err(), "the sixth fragment is not there yet");
    token.store(2, Ordering::SeqCst);
    is_cut.store(8, Ordering::SeqCst);
    let outcome = join(&lab, origin.url("/p"));
    assert!(outcome.as_ref().is_ok_and(|outcome| outcome.resumed_bytes >= 1_200_000), "{outcome:?}");
    lab.assert_holds(outcome, &joined(8, 400_000));
}

/// A static manifest around the periods, which last `seconds` together.
fn manifest(seconds: &str, periods: &str) -> String {
    format!("<MPD type=\"static\" mediaPresentationDuration=\"{seconds}\">{periods}</MPD>")
}

fn set(kind: &str, inside: &str) -> String {
    format!(
        "<AdaptationSet contentType=\"{kind}\">{inside}<Representation id=\"{kind}\" bandwidth=\"1\"/></AdaptationSet>"
    )
}

fn numbered(seconds: &str, names: &str) -> String {
    format!("<SegmentTemplate media=\"{names}$Number$\" duration=\"{seconds}\"/>")
}

fn site(names: &[&str]) -> Site {
    names.iter().fold(Site::new(), |site, name| site.with(&format!("/{name}"), format!("[{name}]")))
}

#[test]
fn manifests_in_every_spelling_are_read() {
    let plain = manifest("PT8S", &format!("<Period>{}</Period>", set("video", &numbered("4", "s"))));
    let prefixed = plain.replace("</", "</d:").replace('<', "<d:").replace("<d:/d:", "</d:");
    let commented = format!("<?xml version=\"1.0\"?>\n<!-- {} -->{plain}", "x".repeat(9_000));
    let wide: Vec<u8> = format!("\u{feff}{plain}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    for text in [
        plain.replace("PT8S", "P0Y0M0DT0H0M8.000S").into_bytes(),
        plain.replace("duration=\"4\"", "timescale=\"48000\" duration=\"191999.5\"").into_bytes(),
        plain.replace("static", "dynamic").into_bytes(),
        plain.replace("<Period>", "<Period xlink:href=\"urn:mpeg:dash:resolve-to-zero:2013\"/><Period>").into_bytes(),
        prefixed.into_bytes(),
        commented.into_bytes(),
        wide,
    ] {
        assert_joins(
            site(&["s1", "s2", "s3"]),
            &text,
            if text.windows(8).any(|word| word == b"191999.5") { b"[s1][s2][s3]" } else { b"[s1][s2]" },
        );
    }
}

#[test]
fn the_last_computed_segment_may_not_exist_but_any_other_must() {
    let text = |seconds: &str| {
        let set = set("video", &numbered("4\" timescale=\"1000", "s").replace("duration=\"4\"", "duration=\"4000\""));
        manifest(seconds, &format!("<Period>{set}</Period>"))
    };
    assert_joins(site(&["s1", "s2"]), text("PT8.04S"), b"[s1][s2]");
    assert_joins(site(&["s1", "s2", "s3"]), text("PT8.04S"), b"[s1][s2][s3]");
    for (seconds, names) in
        [("PT8.04S", &["s1"][..]), ("PT8.04S", &["s1", "s3"]), ("PT8S", &["s1"]), ("PT11S", &["s1", "s2"])]
    {
        assert_refused(site(names), &text(seconds), "http_status");
    }
}

#[test]
fn sets_that_demand_more_than_playing_are_never_chosen() {
    let demanding = |scheme: &str| {
        let property = format!("<EssentialProperty schemeIdUri=\"{scheme}\"/>{}", numbered("4", "x"));
        set("video", &property).replace("bandwidth=\"1\"", "bandwidth=\"9\"")
    };
    for scheme in ["http://dashif.org/guidelines/trickmode", "http://foo.bar/"] {
        let periods = format!("<Period>{}{}</Period>", demanding(scheme), set("video", &numbered("4", "s")));
        assert_joins(site(&["s1", "x1"]), manifest("PT4S", &periods), b"[s1]");
    }
    let coloured = format!("<Period>{}{}</Period>", demanding("urn:mpeg:mpegB:cicp:ColourPrimaries"), set("video", ""));
    assert_joins(site(&["s1", "x1"]), manifest("PT4S", &coloured), b"[x1]");
}

#[test]
fn periods_last_as_long_as_the_standard_says() {
    let late = format!(
        "<Period start=\"PT10S\" duration=\"PT20S\">{}</Period><Period>{}</Period>",
        set("video", &numbered("10", "a")),
        set("video", &numbered("10", "b"))
    );
    assert_joins(site(&["a1", "a2", "b1", "b2", "b3", "b4"]), manifest("PT60S", &late), b"[a1][a2][b1][b2][b3]");
    let beyond = format!("<Period start=\"PT12M34S\">{}</Period>", set("video", &numbered("3", "a")));
    assert_joins(site(&["a1", "a2", "a3"]), manifest("PT6S", &beyond), b"[a1][a2]");
}

#[test]
fn a_timeline_longer_than_its_period_is_cut_where_the_next_one_begins() {
    let timeline = |names: &str, offset: u32| {
        set(
            "video",
            &format!(
                "<SegmentTemplate media=\"{names}$Time$\" presentationTimeOffset=\"{offset}\"><SegmentTimeline>\
             <S t=\"0\" d=\"4\" r=\"5\"/></SegmentTimeline></SegmentTemplate>"
            ),
        )
    };
    let periods = format!(
        "<Period duration=\"PT8S\">{}</Period><Period duration=\"PT4S\">{}</Period><Period>{}</Period>",
        timeline("a", 0),
        set("video", &numbered("4", "ad")),
        timeline("a", 8)
    );
    let all = site(&["a0", "a4", "a8", "a12", "a16", "a20", "ad1"]);
    assert_joins(all, manifest("PT28S", &periods), b"[a0][a4][ad1][a8][a12][a16][a20]");
}

/// A file of a 700-byte header, an index of four subsegments of 2 s, and these; where the index is.
fn indexed_file() -> (Vec<u8>, String, usize) {
    let mut index = Vec::new();
    for word in [0, 1, 1_000, 0, 0, 4] {
        index.extend_from_slice(&u32::to_be_bytes(word));
    }
    for _ in 0..4 {
        [1_000_u32, 2_000, 0].iter().for_each(|word| index.extend_from_slice(&word.to_be_bytes()));
    }
    let mut whole = file::bytes(1, 700);
    whole.extend_from_slice(&(index.len() as u32 + 8).to_be_bytes());
    whole.extend_from_slice(b"sidx");
    whole.extend(index);
    let header = whole.len();
    whole.extend(file::bytes(2, 4_000));
    (whole, format!("700-{}", header - 1), header)
}

fn share(name: &str, range: &str, offset: u32, duration: &str) -> String {
    format!(
        "<Period {duration}><AdaptationSet contentType=\"video\"><Representation id=\"v\" bandwidth=\"1\">\
         <BaseURL>{name}</BaseURL><SegmentBase indexRange=\"{range}\" timescale=\"1000\" presentationTimeOffset=\"{offset}\"/>\
         </Representation></AdaptationSet></Period>"
    )
}

#[test]
fn periods_that_go_on_in_one_file_take_it_once() {
    let (whole, range, _) = indexed_file();
    let periods = [share("f", &range, 0, "duration=\"PT3S\""), share("f", &range, 3_000, "")].concat();
    assert_joins(Site::new().with("/f", &whole), manifest("PT8S", &periods), &whole);
    let unindexed = periods.replace(&format!("indexRange=\"{range}\""), "");
    assert_joins(Site::new().with("/f", &whole), manifest("PT8S", &unindexed), &whole);
}

#[test]
fn an_advertisement_in_the_middle_shares_the_film_out() {
    let (whole, range, header) = indexed_file();
    let periods = [
        share("f", &range, 0, "duration=\"PT4S\""),
        format!("<Period duration=\"PT4S\">{}</Period>", set("video", &numbered("4", "ad"))),
        share("f", &range, 4_000, ""),
    ]
    .concat();
    let (first, second) = (&whole[..header + 2_000], &whole[header + 2_000..]);
    let expected = [first, b"[ad1]", &whole[..header], second].concat();
    assert_joins(site(&["ad1"]).with("/f", &whole), manifest("PT12S", &periods), &expected);
}

#[test]
fn an_index_of_another_kind_costs_nothing_but_its_use() {
    let whole = file::bytes(9, 5_000);
    assert_joins(Site::new().with("/v.webm", &whole), manifest("PT8S", &share("v.webm", "300-399", 0, "")), &whole);
}

#[test]
fn a_manifest_without_segments_is_never_the_film() {
    let text = manifest("PT8S", &format!("<Period>{}</Period>", set("video", "")));
    assert_refused(Site::new(), &text, "origin_lied");
    assert_refused(Site::new(), &text.replace("<Period>", "<BaseURL>./</BaseURL><Period>"), "origin_lied");
}

#[test]
fn sound_may_end_early_but_not_pause() {
    let period = |sets: &str| format!("<Period duration=\"PT4S\">{sets}</Period>");
    let (picture, sound) = (set("video", &numbered("4", "v")), set("audio", &numbered("4", "a")));
    let both = period(&[picture.as_str(), sound.as_str()].concat());
    let silent = period(&picture);
    let run = |text: String| {
        let origin = site(&["v1", "a1"]).with("/p", text).start();
        let lab = Lab::new();
        let mut request = hls(&lab, origin.url("/p"));
        request.selection = Selection::Audio { language: None };
        (lab.run(request), lab)
    };
    let (outcome, lab) = run(manifest("PT8S", &[both.as_str(), silent.as_str()].concat()));
    lab.assert_holds(outcome, b"[a1]");
    let (outcome, lab) = run(manifest("PT12S", &[both.as_str(), silent.as_str(), both.as_str()].concat()));
    lab.assert_refused(outcome, &["unsupported"]);
}

#[test]
fn a_representation_is_known_by_the_name_an_extractor_gives_it() {
    let trick =
        format!("<EssentialProperty schemeIdUri=\"http://dashif.org/guidelines/trickmode\"/>{}", numbered("4", "t"));
    let sets = [set("video", &trick), set("video", &numbered("4", "v")), set("audio", &numbered("4", "a"))].concat();
    let text = manifest("PT4S", &format!("<Period>{}</Period>", sets.replace("id=\"audio\"", "id=\"1\"")));
    let run = |name: &str| {
        let origin = site(&["v1", "a1", "t1"]).with("/p", &text).start();
        let lab = Lab::new();
        let mut request = hls(&lab, origin.url("/p"));
        request.selection = Selection::Identifier(name.to_owned());
        (lab.run(request), lab)
    };
    for (name, expected) in
        [("video", "[v1]"), ("1", "[a1]"), ("dash-video", "[v1]"), ("video-1", "[v1]"), ("a-b-1", "[a1]")]
    {
        let (outcome, lab) = run(name);
        lab.assert_holds(outcome, expected.as_bytes());
    }
    for name in ["other", "xvideo", ""] {
        let (outcome, lab) = run(name);
        lab.assert_refused(outcome, &["invalid_request"]);
    }
}

#[test]
fn an_empty_fragment_in_the_middle_is_asked_for_again_and_then_a_hole_that_is_counted() {
    for empty_answers in [1, usize::MAX] {
        let left = AtomicUsize::new(empty_answers);
        let origin = Origin::start(move |request, wire| match request.target.as_str() {
            "/p" => wire.serve(request, playlist(3).as_bytes(), None),
            "/1.ts" if left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() => {
                wire.serve(request, b"", None);
            }
            path => wire.serve(request, &fragment(path[1..2].parse().unwrap(), 1_000), None),
        });
        let lab = Lab::new();
        let outcome = join(&lab, origin.url("/p"));
        let missing = outcome.as_ref().map_or(0, |outcome| outcome.missing_fragments);
        let whole =
            if empty_answers == 1 { joined(3, 1_000) } else { [fragment(0, 1_000), fragment(2, 1_000)].concat() };
        assert_eq!(missing, u32::from(empty_answers != 1));
        lab.assert_holds(outcome, &whole);
    }
}
