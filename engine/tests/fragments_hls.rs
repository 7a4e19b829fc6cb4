//! HLS playlists joined from an honest origin: order, keys, maps, ranges, resumption.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use support::download::Lab;
use support::origin::{Origin, honest_head};
use support::playlist::{Site, encrypted, fragment, joined, playlist, sequence_vector};
use vasset_engine::download::Outcome;
use vasset_engine::error::Error;
use vasset_engine::request::{FragmentSpec, Source};

fn join(lab: &Lab, url: String) -> Result<Outcome, Error> {
    let mut request = lab.request(&url);
    request.source = Source::Hls { url };
    lab.run(request)
}

#[test]
fn fragments_are_joined_in_order_over_kept_connections() {
    let origin = Site::new().with("/i.m3u8", playlist(120)).with_fragments(120, 30_000).start();
    let lab = Lab::new();
    let outcome = join(&lab, origin.url("/i.m3u8"));
    assert!(outcome.as_ref().is_ok_and(|outcome| outcome.connections_peak <= 16));
    lab.assert_holds(outcome, &joined(120, 30_000));
    assert_eq!(origin.requests().len(), 121, "every address is asked once");
    assert!(origin.connections() <= 17, "{} connections", origin.connections());
}

#[test]
fn fragments_larger_than_the_window_pass_in_bounded_memory() {
    let origin = Site::new().with("/i.m3u8", playlist(5)).with_fragments(5, 7 << 20).start();
    let lab = Lab::new();
    lab.assert_holds(join(&lab, origin.url("/i.m3u8")), &joined(5, 7 << 20));
}

#[test]
fn keys_rotate_with_explicit_and_sequence_vectors() {
    let (first, second) = ([1; 16], [2; 16]);
    let text = "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:7\n#EXT-X-KEY:METHOD=AES-128,URI=\"k1\"\n#EXTINF:4,\n0\n#EXTINF:4,\n1\n\
                #EXT-X-KEY:METHOD=AES-128,URI=\"k2\",IV=0x000000000000000000000000000000FF\n#EXTINF:4,\n2\n\
                #EXT-X-KEY:METHOD=NONE\n#EXTINF:4,\n3\n#EXT-X-ENDLIST\n";
    let plain: Vec<Vec<u8>> = (0..4).map(|index| fragment(index, 50_001)).collect();
    let origin = Site::new()
        .with("/i.m3u8", text)
        .with("/k1", first)
        .with("/k2", second)
        .with("/0", encrypted(&plain[0], first, sequence_vector(7)))
        .with("/1", encrypted(&plain[1], first, sequence_vector(8)))
        .with("/2", encrypted(&plain[2], second, sequence_vector(255)))
        .with("/3", &plain[3])
        .start();
    let lab = Lab::new();
    lab.assert_holds(join(&lab, origin.url("/i.m3u8")), &plain.concat());
    let key_requests = origin.requests().iter().filter(|request| request.target == "/k1").count();
    assert_eq!(key_requests, 1, "a key is fetched once for all who wait");
}

#[test]
fn an_encrypted_map_has_its_own_key_and_vector() {
    let (of_map, of_media) = ([3; 16], [4; 16]);
    let text = "#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI=\"km\",IV=0x5\n#EXT-X-MAP:URI=\"init\"\n\
                #EXT-X-KEY:METHOD=AES-128,URI=\"ks\"\n#EXTINF:4,\n0\n#EXT-X-ENDLIST\n";
    let origin = Site::new()
        .with("/i.m3u8", text)
        .with("/km", of_map)
        .with("/ks", of_media)
        .with("/init", encrypted(b"the header", of_map, sequence_vector(5)))
        .with("/0", encrypted(b"the media", of_media, sequence_vector(0)))
        .start();
    let lab = Lab::new();
    lab.assert_holds(join(&lab, origin.url("/i.m3u8")), b"the headerthe media");
}

#[test]
fn discontinuities_repeat_a_changed_map_and_gaps_are_left_out() {
    let text = "#EXTM3U\n#EXT-X-MAP:URI=\"a\"\n#EXTINF:4,\n0.ts\n#EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI=\"b\"\n#EXTINF:4,\n\
                1.ts\n#EXT-X-GAP\n#EXTINF:4,\nmissing.ts\n#EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI=\"a\"\n#EXTINF:4,\n2.ts\n\
                #EXT-X-ENDLIST\n";
    let origin = Site::new().with("/i.m3u8", text).with("/a", "A").with("/b", "B").with_fragments(3, 100).start();
    let expected = [b"A".to_vec(), fragment(0, 100), b"B".to_vec(), fragment(1, 100), b"A".to_vec(), fragment(2, 100)];
    let lab = Lab::new();
    lab.assert_holds(join(&lab, origin.url("/i.m3u8")), &expected.concat());
}

#[test]
fn adjacent_byte_ranges_are_asked_in_one_request() {
    let whole = fragment(0, 300_000);
    let text = "#EXTM3U\n#EXTINF:4,\n#EXT-X-BYTERANGE:100000@0\nf\n#EXTINF:4,\n#EXT-X-BYTERANGE:100000\nf\n\
                #EXTINF:4,\n#EXT-X-BYTERANGE:50000@250000\nf\n#EXT-X-ENDLIST\n";
    let origin = Site::new().with("/i.m3u8", text).with("/f", &whole).start();
    let lab = Lab::new();
    let expected = [&whole[..200_000], &whole[250_000..]].concat();
    lab.assert_holds(join(&lab, origin.url("/i.m3u8")), &expected);
    assert_eq!(origin.requests().iter().filter(|request| request.target == "/f").count(), 2);
}

#[test]
fn encrypted_byte_ranges_are_split_where_encryption_restarts() {
    let key = [9; 16];
    let pieces: Vec<Vec<u8>> =
        (0..3).map(|index| encrypted(&fragment(index, 5_000), key, sequence_vector(index as u64))).collect();
    let mut text = "#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI=\"k\"\n".to_owned();
    for (index, piece) in pieces.iter().enumerate() {
        let offset = if index == 0 { "@0" } else { "" };
        text.push_str(&format!("#EXTINF:4,\n#EXT-X-BYTERANGE:{}{offset}\nf\n", piece.len()));
    }
    text.push_str("#EXT-X-ENDLIST\n");
    let origin = Site::new().with("/i.m3u8", text).with("/k", key).with("/f", pieces.concat()).start();
    let lab = Lab::new();
    lab.assert_holds(join(&lab, origin.url("/i.m3u8")), &joined(3, 5_000));
    assert_eq!(origin.requests().iter().filter(|request| request.target == "/f").count(), 1);
}

#[test]
fn a_master_playlist_leads_to_the_highest_variant() {
    let text = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=100\nlow.m3u8\n#EXT-X-STREAM-INF:BANDWIDTH=900\nhigh.m3u8\n";
    let origin = Site::new().with("/m.m3u8", text).with("/high.m3u8", playlist(2)).with_fragments(2, 100).start();
    let lab = Lab::new();
    lab.assert_holds(join(&lab, origin.url("/m.m3u8")), &joined(2, 100));
}

#[test]
fn explicit_fragments_with_ranges_and_keys_are_joined() {
    let (key, vector) = ([5; 16], [6; 16]);
    let origin = Site::new().with("/a", fragment(0, 1_000)).with("/b", encrypted(b"secret", key, vector)).start();
    let lab = Lab::new();
    let mut request = lab.request(&origin.url("/a"));
    request.source = Source::Fragments(vec![
        FragmentSpec { url: origin.url("/a"), byte_range: Some((10, 90)), key: None },
        FragmentSpec { url: origin.url("/b"), byte_range: None, key: Some((key, vector)) },
    ]);
    let expected = [&fragment(0, 1_000)[10..100], b"secret"].concat();
    lab.assert_holds(lab.run(request), &expected);
}

#[test]
fn a_cancelled_join_goes_on_where_it_was() {
    const COUNT: usize = 60;
    const LENGTH: usize = 200_000;
    let site = Site::new().with("/i.m3u8", playlist(COUNT)).with_fragments(COUNT, LENGTH);
    let is_blocked = Arc::new(AtomicBool::new(true));
    let origin = Origin::start({
        let (site, is_blocked) = (site, Arc::clone(&is_blocked));
        move |request, wire| match site.bytes(&request.target) {
            Some(_) if request.target == "/40.ts" && is_blocked.load(Ordering::SeqCst) => wire.stall(),
            Some(bytes) => wire.serve(request, bytes, None),
            None => wire.close(),
        }
    });
    let lab = Lab::new();
    let mut request = lab.request(&origin.url("/i.m3u8"));
    request.source = Source::Hls { url: origin.url("/i.m3u8") };
    request.retries = 0;
    request.idle_timeout = std::time::Duration::from_millis(1_500);
    lab.assert_refused(lab.run(request.clone()), &["timeout", "truncated"]);
    let before = origin.requests().len();
    is_blocked.store(false, Ordering::SeqCst);
    let outcome = lab.run(request);
    assert!(outcome.as_ref().is_ok_and(|outcome| outcome.resumed_bytes >= 40 * LENGTH as u64));
    lab.assert_holds(outcome, &joined(COUNT, LENGTH));
    assert!(origin.requests().len() - before <= 22, "{} more requests", origin.requests().len() - before);
}

#[test]
fn an_encoding_that_changed_between_two_runs_is_fetched_anew() {
    let is_new = Arc::new(AtomicBool::new(false));
    let origin = Origin::start({
        let is_new = Arc::clone(&is_new);
        move |request, wire| {
            let shift = if is_new.load(Ordering::SeqCst) { 1_000 } else { 0 };
            match request.target.trim_matches(|c: char| !c.is_ascii_digit()).parse::<usize>() {
                Ok(3) if shift == 0 => wire.send("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
                Ok(index) => wire.serve(request, &fragment(index + shift, 400_000), None),
                Err(_) => wire.serve(request, playlist(4).replace(".ts", ".bin").as_bytes(), None),
            }
        }
    });
    let lab = Lab::new();
    lab.assert_refused(join(&lab, origin.url("/i.m")), &["http_status"]);
    is_new.store(true, Ordering::SeqCst);
    let expected: Vec<u8> = (0..4).flat_map(|index| fragment(index + 1_000, 400_000)).collect();
    lab.assert_holds(join(&lab, origin.url("/i.m")), &expected);
}

#[test]
fn passing_faults_of_fragments_are_survived() {
    let site = Site::new().with("/i.m3u8", playlist(20)).with_fragments(20, 40_000);
    let origin = Origin::start(move |request, wire| {
        let bytes = site.bytes(&request.target).unwrap_or_default();
        match request.number % 5 {
            1 => wire.send("HTTP/1.1 503 Busy\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n"),
            3 => {
                wire.send(honest_head(request, bytes.len(), None));
                wire.send(&bytes[..bytes.len() / 2]);
                wire.reset();
            }
            _ => wire.serve(request, bytes, None),
        }
    });
    let lab = Lab::new();
    let mut request = lab.request(&origin.url("/i.m3u8"));
    request.source = Source::Hls { url: origin.url("/i.m3u8") };
    request.retries = 12;
    lab.assert_holds(lab.run(request), &joined(20, 40_000));
}
