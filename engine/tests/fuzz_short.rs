//! Everything that reads bytes from strangers, fed with mutations of a committed corpus (`engine/fuzz/corpus`).
//!
//! A libFuzzer-free loop, so that it runs wherever the tests run. The short form is a fixed number of inputs from a fixed
//! seed: the same on every machine. `FUZZ_SECONDS=600` runs each target for that long from a fresh seed, which it prints;
//! `FUZZ_SEED` repeats a run. A failing input is printed; add it to the corpus with the fix.

mod support;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use support::mutator::Mutator;
use url::Url;
use vasset_engine::fragments::{PlaylistLimits, Selection, dash, hls};
use vasset_engine::guard::{EgressPolicy, GuardedUrl, Host, classify};
use vasset_engine::journal;
use vasset_engine::net::http1;
use vasset_engine::probe;

/// Inputs per target of the short form.
const SHORT: u64 = 20_000;

/// No single input may take longer, however long the input's description of work is.
const SLOWEST: Duration = Duration::from_secs(2);

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut paths: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Feeds `check` with the corpus and then with its mutations.
fn fuzz(target: &str, words: &'static [&'static str], check: impl Fn(&[u8])) {
    let seconds = number("FUZZ_SECONDS");
    let fresh = Instant::now().elapsed().as_nanos() as u64 ^ u64::from(std::process::id()) << 20;
    let seed = number("FUZZ_SEED").unwrap_or(if seconds.is_some() { fresh } else { 20_260_304 });
    let seeds = corpus(target);
    seeds.iter().for_each(|input| run(target, seed, input, &check));
    let mut mutator = Mutator::new(seed, seeds, words);
    let (started, mut count) = (Instant::now(), 0_u64);
    let goes_on = |count: u64| match seconds {
        Some(seconds) => started.elapsed() < Duration::from_secs(seconds),
        None => count < SHORT,
    };
    while goes_on(count) {
        run(target, seed, &mutator.next(), &check);
        count += 1;
    }
    println!("{target}: {count} inputs in {:.1} s from seed {seed}", started.elapsed().as_secs_f64());
}

fn run(target: &str, seed: u64, input: &[u8], check: &impl Fn(&[u8])) {
    let started = Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(|| check(input)));
    let shown = input.escape_ascii();
    assert!(outcome.is_ok(), "{target} (seed {seed}) fails for b\"{shown}\"");
    assert!(started.elapsed() < SLOWEST, "{target} (seed {seed}) takes {:?} for b\"{shown}\"", started.elapsed());
}

#[test]
fn a_url_is_refused_or_means_one_place_for_everybody() {
    let words = &[
        "http://",
        "https://",
        "@",
        "\\",
        "//",
        "[",
        "]",
        "::ffff:",
        "%00",
        "%2e",
        "%40",
        ":80",
        ":",
        "#",
        "?",
        "0x7f",
        "127.0.0.1",
        "。",
        "．",
        "①",
        "\u{ad}",
        "\u{202e}",
        "\t",
        " ",
        "xn--",
        ".localhost",
        "__youtubedl_smuggle",
        "../",
        "file:",
        "javascript:",
    ];
    let policy = EgressPolicy::default();
    let base = GuardedUrl::parse("https://example.com/a/b").unwrap();
    fuzz("url", words, |input| {
        let text = String::from_utf8_lossy(input);
        for url in [policy.check_url(&text), policy.check_reference(&base, &text)].into_iter().flatten() {
            let canonical = url.as_str();
            assert_eq!(GuardedUrl::parse(canonical).as_ref(), Ok(&url), "the canonical form is no fixed point");
            assert!(canonical.is_ascii() && canonical.bytes().all(|byte| byte.is_ascii_graphic()));
            let authority = canonical.split_once("://").unwrap().1.split(['/', '?', '#']).next().unwrap();
            assert!(!authority.contains(['@', '\\', '%']), "{authority}");
            // A parser that is not ours: the text before a last `:digits`, without brackets.
            let host =
                authority.rsplit_once(':').filter(|(_, port)| !port.contains(']')).map_or(authority, |(host, _)| host);
            assert_eq!(host.trim_matches(['[', ']']), url.host().to_string());
            match url.host() {
                Host::Address(address) => assert!(classify(*address).is_public()),
                Host::Name(name) => {
                    assert!(name.parse::<IpAddr>().is_err() && name.contains('.') && !name.ends_with(".localhost"))
                }
            }
        }
    });
}

#[test]
fn an_allow_entry_is_read_or_refused() {
    let words = &["/", ":", "[", "]", "::", "10.0.0.0", "/8", "example.com", ":443", "0x", "%", " "];
    fuzz("allow", words, |input| {
        if let Ok(policy) = EgressPolicy::new(&[String::from_utf8_lossy(input).into_owned()]) {
            let _ = policy.check_url("http://127.0.0.1:8080/");
            let _ = policy.check_addresses("example.com", 443, &["10.0.0.1".parse().unwrap(), "::1".parse().unwrap()]);
        }
    });
}

#[test]
fn a_denied_address_is_denied_in_every_form() {
    let mut mutator = Mutator::new(
        7,
        vec![vec![127, 0, 0, 1, 0, 0, 0, 0], vec![10; 8], vec![169, 254, 169, 254, 1, 2, 3, 4]],
        &["\u{7f}"],
    );
    for _ in 0..SHORT {
        let mut bytes = mutator.next();
        bytes.resize(16, 0);
        let inner = Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]);
        let wide = u128::from(u32::from(inner));
        let filler = u128::from_be_bytes(bytes.try_into().unwrap()) & u128::from(u64::MAX);
        if !classify(inner.into()).is_public() {
            for form in [
                wide,
                0xffff << 32 | wide,
                0x0064_ff9b << 96 | wide,
                0x2002 << 112 | wide << 80 | filler,
                0x2606_4700 << 96 | 0x5efe << 32 | wide,
            ] {
                assert!(!classify(Ipv6Addr::from(form).into()).is_public(), "{} carries {inner}", Ipv6Addr::from(form));
            }
        }
    }
}

#[test]
fn a_content_range_describes_bytes_of_a_file_or_nothing() {
    let words = &["bytes ", "bytes=", "-", "/", "*", "items ", ",", " ", "\t", "0x"];
    fuzz("content_range", words, |input| {
        if let Some((bytes, total)) = probe::content_range(input) {
            assert!(bytes.start < bytes.end && total.is_none_or(|total| bytes.end <= total));
            let total = total.map_or("*".to_owned(), |total| total.to_string());
            let again = format!("bytes {}-{}/{total}", bytes.start, bytes.end - 1);
            assert_eq!(probe::content_range(again.as_bytes()).map(|(again, _)| again), Some(bytes));
        }
    });
}

#[test]
fn a_response_head_is_read_within_its_bytes_or_refused() {
    let words = &[
        "\r\n",
        "\r\n\r\n",
        "Content-Length: ",
        "Transfer-Encoding: chunked\r\n",
        "HTTP/1.1 ",
        "HTTP/1.0 ",
        ":",
        " ",
        "\0",
        "206",
    ];
    fuzz("response_head", words, |input| {
        if let Ok(Some((head, length))) = http1::parse_head(input) {
            assert!(length <= input.len());
            assert!(head.status < 1000);
        }
    });
}

fn limits() -> PlaylistLimits {
    PlaylistLimits {
        fragments: 2_000,
        address_bytes: 1 << 20,
        variants: 100,
        xml_elements: 5_000,
        ..PlaylistLimits::default()
    }
}

#[test]
fn a_playlist_is_read_within_its_bounds_or_refused() {
    let words = &[
        "#EXTM3U\n",
        "#EXTINF:",
        "#EXT-X-KEY:METHOD=AES-128,URI=\"k\"\n",
        "#EXT-X-MAP:URI=\"i\"\n",
        "#EXT-X-BYTERANGE:",
        "#EXT-X-ENDLIST\n",
        "#EXT-X-STREAM-INF:BANDWIDTH=1\n",
        "#EXT-X-MEDIA-SEQUENCE:",
        "@",
        "\"",
        ",",
        "=",
        "\n",
        "IV=0x",
        "http://127.0.0.1/",
        "file:///etc/passwd",
    ];
    let location = Url::parse("https://example.com/a/list.m3u8").unwrap();
    fuzz("hls", words, |input| {
        let text = String::from_utf8_lossy(input);
        if let Ok(hls::Playlist::Media(list)) = hls::parse(&text, &location, &limits()) {
            assert!(list.fragments.len() <= 2_000);
            assert!(list.fragments.iter().all(|fragment| matches!(fragment.url.scheme(), "http" | "https" | "data")));
        }
    });
}

#[test]
fn a_manifest_is_read_within_its_bounds_or_refused() {
    let words = &[
        "<Period>",
        "</Period>",
        "<S d=\"1\" r=\"-1\"/>",
        "$Number$",
        "$Number%0999999999d$",
        "$Time$",
        "$$",
        "duration=\"0\"",
        "timescale=\"0\"",
        "PT1S",
        "P99999999999Y",
        "&lt;",
        "&#x0;",
        "<!DOCTYPE a [",
        "<![CDATA[",
        "]]>",
        "<!--",
        "xlink:href=\"http://127.0.0.1/\"",
        "<BaseURL>file:///</BaseURL>",
    ];
    let location = Url::parse("https://example.com/a/manifest.mpd").unwrap();
    fuzz("dash", words, |input| {
        let text = String::from_utf8_lossy(input);
        let presentation = dash::parse(&text, &location, &Selection::default(), &limits());
        let list = presentation.and_then(|found| found.into_list(&limits(), |_| dash::sidx::parse(input, 0).ok()));
        if let Ok(list) = list {
            assert!(list.fragments.len() <= 2_000);
            assert!(list.fragments.iter().all(|fragment| matches!(fragment.url.scheme(), "http" | "https" | "data")));
        }
    });
}

#[test]
fn a_segment_index_lists_ranges_that_follow_each_other_or_nothing() {
    fuzz("sidx", &["sidx", "free", "\0\0\0\u{1}", "\u{7f}\u{7f}\u{7f}\u{7f}"], |input| {
        for offset in [0, u64::MAX - 40] {
            if let Ok(subsegments) = dash::sidx::parse(input, offset) {
                assert!(subsegments.windows(2).all(|pair| pair[0].range.end() == pair[1].range.start()));
            }
        }
    });
}

#[test]
fn a_journal_claims_no_more_than_its_bytes_can_hold() {
    fuzz("journal", &["vasset", "\0\0\0\0", "\u{1}\0\0\0", "\"v1\""], |input| {
        if let Some(groups) = journal::decode_any(input, 64 << 20) {
            assert!(groups <= 64, "{groups} groups in a part file of 64 MiB");
        }
    });
}
