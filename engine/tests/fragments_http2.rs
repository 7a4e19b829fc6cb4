//! Fragments over HTTP/2: what can be survived is, everything else is a typed error and no file.

mod support;

use std::time::Duration;

use h2::Reason;
use support::download::{Lab, within};
use support::http2_lab::{LENGTH, first_for, join, lab, origin_of, request, scripted};
use support::http2_origin::{Act, Asked, Ending, Http2Origin};
use support::playlist::{Site, fragment, joined, playlist};

/// The first request for fragment 3 is answered by `act`, the others honestly: the file comes all the same.
#[track_caller]
fn assert_survived_once(act: Act) {
    let is_first = first_for("/3.ts");
    let origin = origin_of(10, move |asked| is_first(asked).then(|| act.clone()));
    let lab = lab(&origin);
    lab.assert_holds(join(&lab, &origin), &joined(10, LENGTH));
    assert!(origin.asked().iter().filter(|asked| asked.path == "/3.ts").count() > 1, "it was asked again");
}

/// Every request for fragment 3 is answered by `act`: a typed error and no file.
#[track_caller]
fn assert_refused_always(act: Act, codes: &[&str]) {
    let origin = origin_of(10, move |asked| (asked.path == "/3.ts").then(|| act.clone()));
    let lab = lab(&origin);
    let mut request = request(&lab, &origin);
    request.retries = 1;
    lab.assert_refused(within(Duration::from_secs(25), || lab.run(request)), codes);
}

#[test]
fn a_playlist_comes_over_one_connection() {
    let origin = origin_of(100, |_| None);
    let lab = lab(&origin);
    lab.assert_holds(join(&lab, &origin), &joined(100, LENGTH));
    assert_eq!(origin.connections(), 1);
    assert_eq!(origin.asked().len(), 101);
}

#[test]
fn tasks_of_one_engine_share_the_connection_and_the_cap_of_the_host_counts_streams() {
    let origin = origin_of(40, |_| None);
    let lab = lab(&origin);
    let handles: Vec<_> = (0..3)
        .map(|number| {
            let mut request = request(&lab, &origin);
            request.target = lab.target().with_file_name(format!("{number}.bin"));
            lab.engine.submit(request).unwrap()
        })
        .collect();
    for handle in handles {
        let outcome = handle.wait(Some(Duration::from_secs(30))).expect("it hangs").unwrap();
        assert_eq!(std::fs::read(outcome.path).unwrap(), joined(40, LENGTH));
    }
    assert_eq!(origin.connections(), 1, "48 workers, 16 places at the host, 16 streams in a connection");
}

#[test]
fn http1_is_spoken_where_http2_is_not_offered_or_not_wanted() {
    let origin = Http2Origin::without_http2(scripted(20, |_| None));
    let lab_of_it = lab(&origin);
    lab_of_it.assert_holds(join(&lab_of_it, &origin), &joined(20, LENGTH));

    let raw = Http2Origin::raw(Vec::new(), Vec::new(), scripted(20, |_| None));
    let lab = lab(&raw);
    let mut request = request(&lab, &raw);
    request.http2 = false;
    lab.assert_holds(lab.run(request), &joined(20, LENGTH));
}

#[test]
fn an_origin_whose_http2_is_broken_is_asked_by_http1() {
    let origin = Http2Origin::raw(b"this is not HTTP/2 at all ".repeat(10), Vec::new(), scripted(20, |_| None));
    let lab = lab(&origin);
    lab.assert_holds(join(&lab, &origin), &joined(20, LENGTH));
    assert!(origin.connections_by_http1() > 0);
}

#[test]
fn a_flood_of_continuation_frames_ends_soon_and_http1_is_asked() {
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    // HEADERS of stream 1 without END_HEADERS, then CONTINUATION frames of one indexed header each, `accept-encoding`.
    let head = [0, 0, 1, 1, 0, 0, 0, 0, 1, 0x88];
    let more = [0, 0, 1, 9, 0, 0, 0, 0, 1, 0x90];
    let origin = Http2Origin::raw([&settings[..], &head].concat(), more.repeat(1_000), scripted(5, |_| None));
    let lab = lab(&origin);
    lab.assert_holds(join(&lab, &origin), &joined(5, LENGTH));
}

#[test]
fn an_end_of_stream_before_the_length_is_never_the_end() {
    let short = Act::say(fragment(3, LENGTH)[..LENGTH / 2].to_vec(), Ending::End).with("content-length", LENGTH + 9);
    assert_survived_once(short.clone());
    assert_refused_always(short, &["truncated"]);
}

#[test]
fn a_body_longer_than_its_length_is_not_cut_to_fit() {
    let long = Act::say(fragment(3, LENGTH), Ending::End).with("content-length", LENGTH / 2);
    assert_refused_always(long, &["truncated"]);
}

#[test]
fn a_stream_reset_in_the_body_is_fetched_again() {
    let half = fragment(3, LENGTH)[..LENGTH / 2].to_vec();
    let reset = Act::say(half.clone(), Ending::Reset(Reason::INTERNAL_ERROR)).with("content-length", LENGTH + 9);
    assert_survived_once(reset.clone());
    assert_refused_always(reset, &["truncated"]);
    // Without a length, only END_STREAM is an end.
    let unannounced = Act::say(half, Ending::Reset(Reason::NO_ERROR));
    assert_survived_once(unannounced.clone());
    assert_refused_always(unannounced, &["truncated"]);
}

#[test]
fn a_cut_connection_costs_only_what_was_on_it() {
    assert_survived_once(Act::say(fragment(3, LENGTH)[..100].to_vec(), Ending::Cut).with("content-length", LENGTH + 9));
}

#[test]
fn a_refused_stream_is_asked_again() {
    assert_survived_once(Act::Refuse(Reason::REFUSED_STREAM));
    assert_refused_always(Act::Refuse(Reason::REFUSED_STREAM), &["truncated"]);
}

#[test]
fn a_reset_instead_of_a_head_is_asked_again() {
    assert_survived_once(Act::Refuse(Reason::INTERNAL_ERROR));
    assert_refused_always(Act::Refuse(Reason::CANCEL), &["truncated"]);
}

#[test]
fn goaway_in_the_middle_of_the_list_moves_to_another_connection() {
    let site = Site::new().with_fragments(60, LENGTH);
    let origin = origin_of(60, move |asked| {
        let bytes = site.bytes(&asked.path)?.to_vec();
        (asked.number % 10 == 9).then(|| Act::LastOne(Box::new(Act::File(bytes))))
    });
    let lab = lab(&origin);
    lab.assert_holds(join(&lab, &origin), &joined(60, LENGTH));
    assert!(origin.connections() > 1);
}

#[test]
fn a_connection_that_is_shut_with_all_its_streams_is_survived() {
    let origin = origin_of(60, |asked| (asked.number == 20).then_some(Act::GoAway(Reason::NO_ERROR)));
    let lab = lab(&origin);
    lab.assert_holds(join(&lab, &origin), &joined(60, LENGTH));
    // One more, or two that take fewer streams each, if the first had answered few.
    assert!((2..=3).contains(&origin.connections()), "{}", origin.connections());
}

#[test]
fn http1_is_asked_where_the_origin_requires_it() {
    // GOAWAY with HTTP_1_1_REQUIRED (0xd) after the settings.
    let frames = [0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xd];
    let origin = Http2Origin::raw(frames.to_vec(), Vec::new(), scripted(5, |_| None));
    let lab = lab(&origin);
    lab.assert_holds(join(&lab, &origin), &joined(5, LENGTH));
}

#[test]
fn a_part_of_another_range_is_refused() {
    let text = "#EXTM3U\n#EXTINF:4,\n#EXT-X-BYTERANGE:1000@500\nf\n#EXT-X-ENDLIST\n";
    for content_range in ["bytes 501-1500/4000", "bytes 500-1500/4000", "bytes 0-999/4000", "bytes 500-1499/900", "x"] {
        let origin = Http2Origin::start(move |asked| match asked.path.as_str() {
            "/f" => Act::say([7; 1_000], Ending::End).status(206).with("content-range", content_range),
            _ => Act::File(text.into()),
        });
        let lab = lab(&origin);
        lab.assert_refused(join(&lab, &origin), &["origin_lied", "truncated"]);
    }
}

#[test]
fn ranges_of_two_versions_of_one_resource_are_never_mixed() {
    let text =
        "#EXTM3U\n#EXTINF:4,\n#EXT-X-BYTERANGE:1000@0\nf\n#EXTINF:4,\n#EXT-X-BYTERANGE:1000@2000\nf\n#EXT-X-ENDLIST\n";
    let origin = Http2Origin::start(move |asked| match asked.path.as_str() {
        "/f" => {
            let first: usize = if asked.headers["range"] == "bytes=0-999" { 0 } else { 2_000 };
            Act::say([asked.number as u8; 1_000], Ending::End)
                .status(206)
                .with("content-range", format!("bytes {first}-{}/4000", first + 999))
                .with("etag", format!("\"v{}\"", asked.number))
        }
        _ => Act::File(text.into()),
    });
    let lab = lab(&origin);
    lab.assert_refused(join(&lab, &origin), &["origin_changed"]);
}

#[test]
fn a_silent_stream_is_given_up_and_the_others_go_on() {
    let half = fragment(3, LENGTH)[..LENGTH / 2].to_vec();
    let silent = Act::say(half, Ending::Silence).with("content-length", LENGTH + 9);
    let is_first = first_for("/3.ts");
    let origin = origin_of(10, move |asked| is_first(asked).then(|| silent.clone()));
    let lab = lab(&origin);
    let mut request = request(&lab, &origin);
    request.idle_timeout = Duration::from_secs(1);
    lab.assert_holds(within(Duration::from_secs(10), || lab.run(request)), &joined(10, LENGTH));
}

#[test]
fn a_head_that_never_comes_is_a_timeout() {
    let origin =
        origin_of(3, |asked| (asked.path == "/1.ts").then(|| Act::After(usize::MAX, Box::new(Act::Interim(0)))));
    let lab = lab(&origin);
    let mut request = request(&lab, &origin);
    request.idle_timeout = Duration::from_millis(500);
    request.retries = 1;
    lab.assert_refused(within(Duration::from_secs(10), || lab.run(request)), &["timeout"]);
}

#[test]
fn the_pause_an_origin_asks_for_is_kept() {
    let is_first = first_for("/3.ts");
    let origin = origin_of(10, move |asked| {
        is_first(asked).then(|| Act::say("", Ending::End).status(503).with("retry-after", 1))
    });
    let lab = lab(&origin);
    lab.assert_holds(join(&lab, &origin), &joined(10, LENGTH));
    let times: Vec<_> =
        origin.asked().into_iter().filter(|asked| asked.path == "/3.ts").map(|asked| asked.at).collect();
    assert!(times[1] - times[0] >= Duration::from_millis(950), "{:?}", times[1] - times[0]);
}

#[test]
fn heads_without_measure_are_refused() {
    let bomb = |count: usize| {
        let filler = "x".repeat(1_000);
        (0..count).fold(Act::say("", Ending::End), |act, _| act.with("x-filler", &filler))
    };
    assert_refused_always(bomb(80), &["origin_lied"]);
    // So many that the connection is given up, and this origin has no HTTP/1.1 to turn to.
    assert_refused_always(bomb(1_000), &["origin_lied", "connect"]);
    assert_refused_always(Act::Interim(1_000), &["origin_lied"]);
}

#[test]
fn contradicting_heads_are_refused() {
    let body = fragment(3, LENGTH);
    for act in [
        Act::say(body.clone(), Ending::End).with("content-length", LENGTH + 9).with("content-length", LENGTH),
        Act::say(body.clone(), Ending::End).with("content-length", "many"),
        Act::say(body.clone(), Ending::End).with("content-encoding", "gzip, br"),
        Act::say(body.clone(), Ending::End).status(206).with("content-range", "bytes 0-20008/20010"),
    ] {
        assert_refused_always(act, &["origin_lied"]);
    }
    assert_refused_always(Act::say("<!doctype html><p>sign in!", Ending::End), &["page"]);
    assert_refused_always(Act::say("", Ending::End).status(404), &["http_status"]);
    assert_refused_always(Act::say("", Ending::End).status(403), &["url_expired"]);
    let endless = Act::say("x", Ending::Silence).with("content-length", i64::MAX);
    assert_refused_always(endless, &["limit_exceeded"]);
}

#[test]
fn streams_that_nobody_reads_do_not_hold_up_the_one_that_is_read() {
    // Fragments of 3 MiB fill the window of the download and then those of their streams, while the first one waits
    // until the others have been asked for.
    const LARGE: usize = 3 << 20;
    let site = Site::new().with("/i.m3u8", playlist(12)).with_fragments(12, LARGE);
    let origin = Http2Origin::start(move |asked| {
        let file = Act::File(site.bytes(&asked.path).unwrap_or_default().to_vec());
        if asked.path == "/0.ts" { Act::After(13, Box::new(file)) } else { file }
    });
    let lab = lab(&origin);
    let mut request = request(&lab, &origin);
    request.connections = Some(12);
    lab.assert_holds(within(Duration::from_secs(25), || lab.run(request)), &joined(12, LARGE));
    assert_eq!(origin.asked().len(), 13, "a stream was given up, because the one that is read did not move");
}

#[test]
fn cookies_and_tokens_stay_at_the_origin_of_the_playlist() {
    let other = origin_of(3, |_| None);
    let elsewhere = other.url("/1.ts");
    let text = format!("#EXTM3U\n#EXTINF:4,\n0.ts\n#EXTINF:4,\n{elsewhere}\n#EXTINF:4,\n2.ts\n#EXT-X-ENDLIST\n");
    let origin = origin_of(3, move |asked| match asked.path.as_str() {
        "/i.m3u8" => Some(Act::File(text.clone().into_bytes())),
        _ => None,
    });
    let both = tempfile::NamedTempFile::new().unwrap();
    let roots = [origin.ca_file(), other.ca_file()].map(|path| std::fs::read_to_string(path).unwrap());
    std::fs::write(both.path(), roots.concat()).unwrap();
    let lab = Lab::with(|settings| settings.ca_file = Some(both.path().to_owned()));
    let mut request = request(&lab, &origin).header("authorization", "Bearer secret").unwrap();
    request.cookies = Some("session=secret".to_owned());
    lab.assert_holds(lab.run(request), &joined(3, LENGTH));
    for asked in origin.asked() {
        assert_eq!(asked.headers["cookie"], "session=secret");
        assert_eq!(asked.headers["authorization"], "Bearer secret");
        assert_eq!(asked.headers["accept-encoding"], "identity");
        assert!(origin.url("").ends_with(asked.headers["authority-as-sent"].to_str().unwrap()));
        assert!(!asked.headers.contains_key("host"));
    }
    assert_eq!(other.asked().len(), 1);
    assert!(other.asked().iter().all(|asked| !format!("{:?}", asked.headers).contains("secret")));
}

#[test]
fn redirects_are_followed_and_checked() {
    let is_first = |asked: &Asked| asked.path == "/1.ts";
    let moved = |place: &'static str| {
        origin_of(3, move |asked| {
            is_first(asked).then(|| Act::say("", Ending::End).status(302).with("location", place))
        })
    };
    let origin = moved("/2.ts");
    let lab_of_it = lab(&origin);
    let expected: Vec<u8> = [0, 2, 2].into_iter().flat_map(|index| fragment(index, LENGTH)).collect();
    lab_of_it.assert_holds(join(&lab_of_it, &origin), &expected);
    for (place, code) in [("/1.ts", "limit_exceeded"), ("https://10.0.0.1/x", "egress_denied")] {
        let origin = moved(place);
        let lab = lab(&origin);
        let request = request(&lab, &origin);
        let most = request.max_redirects as usize;
        lab.assert_refused(within(Duration::from_secs(25), || lab.run(request)), &[code]);
        let asked = origin.asked().iter().filter(|asked| asked.path == "/1.ts").count();
        assert_eq!(asked, if place == "/1.ts" { most + 1 } else { 1 });
    }
}
