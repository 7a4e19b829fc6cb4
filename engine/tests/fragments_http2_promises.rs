//! What a file is promised to be, over HTTP/2: the items of the correctness list that have no other test there.
//!
//! A fragment is asked for as a whole or by a range that the playlist names, so a part of the list has another meaning
//! than for a file in ranges. 416 (item 6) can only answer a fragment that is a range. Requests are never hedged
//! (item 13): the loser of a race is here the stream that was given up, whose bytes come after all. A fragment that is
//! fetched again begins at its first byte, so progress (item 14) takes back what it counted.

mod support;

use std::time::Duration;

use support::download::within;
use support::http2_lab::{LENGTH, first_for, join, lab, origin_of, request};
use support::http2_origin::{Act, Asked, Ending, Http2Origin};
use support::playlist::{fragment, joined};
use vasset_engine::error::Error;
use vasset_engine::sink::Durability;

/// Two ranges of `/f` that cannot be asked for at once.
const TWO_RANGES: &str =
    "#EXTM3U\n#EXTINF:4,\n#EXT-X-BYTERANGE:1000@0\nf\n#EXTINF:4,\n#EXT-X-BYTERANGE:1000@2000\nf\n#EXT-X-ENDLIST\n";

/// An origin of [`TWO_RANGES`]; what it answers for `/f`, first byte named, is up to `answer`.
fn origin_of_ranges(answer: impl Fn(&Asked, usize) -> Act + Send + Sync + 'static) -> Http2Origin {
    Http2Origin::start(move |asked| match asked.path.as_str() {
        "/f" => {
            let first = if asked.headers["range"] == "bytes=0-999" { 0 } else { 2_000 };
            answer(asked, first)
        }
        _ => Act::File(TWO_RANGES.into()),
    })
}

fn film() -> Vec<u8> {
    fragment(0, 4_000)
}

/// The range of the film that begins at `first`, with a `Content-Range` that ends in `total`.
fn part(first: usize, total: &str) -> Act {
    let body = film()[first..first + 1_000].to_vec();
    let content_range = format!("bytes {first}-{}/{total}", first + 999);
    Act::say(body, Ending::End).status(206).with("content-range", content_range)
}

fn both_ranges() -> Vec<u8> {
    [&film()[..1_000], &film()[2_000..3_000]].concat()
}

#[test]
fn a_416_at_resume_is_no_completion_whatever_length_it_names_and_item_6_holds() {
    for total in [1_000, 4_000] {
        let origin = origin_of_ranges(move |asked, first| match asked.number {
            // The first run: the second range has expired.
            0..=2 if first == 0 => part(first, "4000"),
            0..=2 => Act::say("", Ending::End).status(403),
            // The second run, and the third: 416, then honest.
            3..=4 => Act::say("", Ending::End).status(416).with("content-range", format!("bytes */{total}")),
            _ => part(first, "4000"),
        });
        let lab = lab(&origin);
        let run = || {
            let mut request = request(&lab, &origin);
            (request.connections, request.retries) = (Some(1), 0);
            lab.run(request)
        };
        lab.assert_refused(run(), &["url_expired"]);
        lab.assert_refused(run(), &["http_status"]);
        lab.assert_holds(run(), &both_ranges());
    }
}

#[test]
fn parts_of_an_unknown_total_are_believed_in_their_range_and_item_7_holds() {
    let origin = origin_of_ranges(|_, first| part(first, "*"));
    let lab_of_it = lab(&origin);
    lab_of_it.assert_holds(join(&lab_of_it, &origin), &both_ranges());

    // Short bodies, other ranges and other versions do not hide behind the asterisk.
    let short = |_: &Asked, first: usize| {
        let Act::Say { status, headers, mut body, ending } = part(first, "*") else { unreachable!() };
        body.pop();
        Act::Say { status, headers, body, ending }
    };
    let versions = |asked: &Asked, first: usize| part(first, "*").with("etag", format!("\"v{}\"", asked.number));
    let shifted = |_: &Asked, first: usize| {
        Act::say([1; 1_000], Ending::End)
            .status(206)
            .with("content-range", format!("bytes {}-{}/*", first + 1, first + 1_000))
    };
    for (origin, code) in [
        (origin_of_ranges(short), "truncated"),
        (origin_of_ranges(versions), "origin_changed"),
        (origin_of_ranges(shifted), "origin_lied"),
    ] {
        let lab = lab(&origin);
        let mut request = request(&lab, &origin);
        request.retries = 1;
        lab.assert_refused(lab.run(request), &[code]);
    }
}

#[test]
fn no_fragment_is_asked_for_twice_at_once_and_item_13_holds() {
    // The first fragment waits until all others have been asked for, which is when somebody would hedge it.
    let bytes = fragment(0, LENGTH);
    let origin =
        origin_of(12, move |asked| (asked.path == "/0.ts").then(|| Act::After(13, Box::new(Act::File(bytes.clone())))));
    let lab = lab(&origin);
    lab.assert_holds(join(&lab, &origin), &joined(12, LENGTH));
    assert_eq!(origin.asked().len(), 13);
}

#[test]
fn what_a_given_up_stream_brings_after_all_is_not_written_and_item_13_holds() {
    // The stream that was given up is answered when its fragment is asked for again, with other bytes.
    let is_first = first_for("/3.ts");
    let late = Act::After(12, Box::new(Act::say(vec![0xee; LENGTH + 9], Ending::End)));
    let origin = origin_of(10, move |asked| is_first(asked).then(|| late.clone()));
    let lab = lab(&origin);
    let mut request = request(&lab, &origin);
    request.idle_timeout = Duration::from_millis(500);
    lab.assert_holds(within(Duration::from_secs(10), || lab.run(request)), &joined(10, LENGTH));
    assert_eq!(origin.asked().iter().filter(|asked| asked.path == "/3.ts").count(), 2);
}

#[test]
fn progress_counts_bytes_once_and_only_those_on_disk_and_item_14_holds() {
    // Every fragment breaks off in its middle at the first attempt, and the last one waits until it has been looked at.
    const COUNT: usize = 8;
    let broken: Vec<_> = ["/0.ts", "/1.ts", "/2.ts", "/3.ts"].map(first_for).into();
    let origin = origin_of(COUNT, move |asked| {
        let half = fragment(0, LENGTH)[..LENGTH / 2].to_vec();
        let is_broken = broken.iter().any(|is_first| is_first(asked));
        is_broken.then(|| Act::say(half, Ending::Reset(h2::Reason::INTERNAL_ERROR)).with("content-length", LENGTH))
    });
    let lab = lab(&origin);
    let mut request = request(&lab, &origin);
    request.connections = Some(2);
    let part = lab.target().with_file_name("file.bin.part");
    let handle = lab.engine.submit(request).unwrap();
    let outcome = loop {
        let now = handle.snapshot();
        let on_disk = [&part, &lab.target()].into_iter().find_map(|path| std::fs::metadata(path).ok());
        // Read after the number: the file only grows, and only has what was counted or more.
        if let Some(on_disk) = on_disk {
            assert!(now.downloaded <= on_disk.len(), "{} counted, {} on disk", now.downloaded, on_disk.len());
        }
        if let Some(outcome) = handle.wait(Some(Duration::from_millis(1))) {
            break outcome;
        }
    };
    lab.assert_holds(outcome, &joined(COUNT, LENGTH));
    let now = handle.snapshot();
    assert_eq!(now.downloaded as usize, joined(COUNT, LENGTH).len());
    assert_eq!((now.fragments_done, now.fragments_total), (COUNT as u32, Some(COUNT as u32)));
}

#[test]
fn a_second_download_to_the_same_target_is_refused_before_it_asks_and_item_15_holds() {
    // The first download waits for the seventh request, which is the third download's.
    let bytes = fragment(2, LENGTH);
    let origin =
        origin_of(5, move |asked| (asked.path == "/2.ts").then(|| Act::After(7, Box::new(Act::File(bytes.clone())))));
    let lab = lab(&origin);
    let first = lab.engine.submit(request(&lab, &origin)).unwrap();
    while origin.asked().len() < 6 {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(matches!(lab.run(request(&lab, &origin)), Err(Error::JournalLocked { .. })));
    assert_eq!(origin.asked().len(), 6);
    let mut elsewhere = request(&lab, &origin);
    elsewhere.target = lab.target().with_file_name("other.bin");
    lab.run(elsewhere).unwrap();
    lab.assert_holds(first.wait(Some(Duration::from_secs(20))).expect("it hangs"), &joined(5, LENGTH));
}

#[test]
fn the_target_appears_only_with_the_promised_bytes_and_synced_and_item_19_holds() {
    let expected = joined(5, LENGTH);
    let origin = origin_of(5, |_| None);
    let lab = lab(&origin);
    let run = |digest: String, size: u64| {
        let mut request = request(&lab, &origin);
        request.expected_digest = Some((vasset_engine::hash::Algorithm::Blake3, digest));
        request.expected_size = Some(size);
        request.durable = true;
        lab.run(request)
    };
    let (right, length) = (blake3::hash(&expected).to_hex().to_string(), expected.len() as u64);
    lab.assert_refused(run("0".repeat(64), length), &["digest_mismatch"]);
    lab.assert_refused(run(right.clone(), length + 1), &["origin_lied"]);
    let outcome = run(right, length);
    assert_eq!(outcome.as_ref().unwrap().durability, Durability::Synced);
    lab.assert_holds(outcome, &expected);
}

#[test]
fn the_target_does_not_exist_while_a_fragment_is_missing_and_item_19_holds() {
    let bytes = fragment(4, LENGTH);
    let origin =
        origin_of(5, move |asked| (asked.path == "/4.ts").then(|| Act::After(7, Box::new(Act::File(bytes.clone())))));
    let lab = lab(&origin);
    let handle = lab.engine.submit(request(&lab, &origin)).unwrap();
    while handle.snapshot().fragments_done < 4 {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(!lab.target().exists());
    handle.cancel();
    lab.assert_refused(handle.wait(Some(Duration::from_secs(5))).expect("it hangs"), &["cancelled"]);
}
