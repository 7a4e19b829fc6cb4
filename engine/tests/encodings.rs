//! Bodies that come compressed although identity was asked: unpacked where the thing itself is wanted, kept where the
//! archive is, bounded always.

mod support;

use std::io::Write;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use support::download::Lab;
use support::file;
use support::origin::Origin;
use support::playlist;
use vasset_engine::remark::Remark;
use vasset_engine::request::{Request, Source};

fn contents() -> Vec<u8> {
    file::bytes(12, 300_000)
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut coder = GzEncoder::new(Vec::new(), Compression::best());
    coder.write_all(plain).unwrap();
    coder.finish().unwrap()
}

fn zlib(plain: &[u8]) -> Vec<u8> {
    let mut coder = ZlibEncoder::new(Vec::new(), Compression::best());
    coder.write_all(plain).unwrap();
    coder.finish().unwrap()
}

fn zstd(plain: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(plain, ruzstd::encoding::CompressionLevel::Fastest)
}

/// Serves `body` with these header lines in ranges, as an origin does that keeps compressed files.
fn serving(lines: &'static str, body: Vec<u8>) -> Origin {
    Origin::start(move |request, wire| {
        let head = support::origin::honest_head(request, body.len(), Some("\"v1\""));
        wire.send(head.replacen("\r\n", &format!("\r\n{lines}\r\n"), 1));
        wire.send(&body[request.span(body.len())]);
    })
}

#[test]
fn tokens_that_mean_nothing_are_identity() {
    for token in ["UTF-8", "aws-chunked", "zip", "none", "binary", "", "identity"] {
        let lines: &'static str = format!("Content-Encoding: {token}").leak();
        let origin = serving(lines, contents());
        let lab = Lab::new();
        lab.assert_holds(lab.fetch(&origin.url("/f.mp4")), &contents());
    }
}

#[test]
fn a_compressed_film_is_unpacked_and_that_is_said() {
    for (lines, body) in [
        ("Content-Encoding: gzip", gzip(&contents())),
        ("Content-Encoding: deflate", zlib(&contents())),
        ("Content-Encoding: zstd", zstd(&contents())),
    ] {
        let origin = serving(lines, body);
        let lab = Lab::new();
        let outcome = lab.fetch(&origin.url("/f.mp4"));
        assert_eq!(outcome.as_ref().map(|outcome| outcome.remarks.clone()).ok(), Some(vec![Remark::Unpacked]));
        lab.assert_holds(outcome, &contents());
    }
}

#[test]
fn a_range_of_compressed_bytes_is_never_taken_for_one_of_the_file() {
    let origin = serving("Content-Encoding: gzip", gzip(&contents()));
    let lab = Lab::new();
    let mut request = lab.request(&origin.url("/f.mp4"));
    request.max_range_bytes = Some(65_536);
    lab.assert_holds(lab.run(request), &contents());
}

#[test]
fn an_archive_is_kept_as_it_is_sent() {
    let archive = gzip(&contents());
    for (path, lines) in [
        ("/f.tar.gz", "Content-Encoding: x-gzip"),
        ("/f", "Content-Encoding: gzip\r\nContent-Type: application/x-tar"),
        ("/f", "Content-Encoding: gzip\r\nContent-Disposition: attachment; filename=\"a.tgz\""),
    ] {
        let origin = serving(lines, archive.clone());
        let lab = Lab::new();
        let outcome = lab.fetch(&origin.url(path));
        assert_eq!(outcome.as_ref().map(|outcome| outcome.remarks.len()).ok(), Some(0));
        lab.assert_holds(outcome, &archive);
    }
}

#[test]
fn a_header_that_is_wrong_changes_nothing() {
    let origin = serving("Content-Encoding: gzip", contents());
    let lab = Lab::new();
    let outcome = lab.fetch(&origin.url("/f.mp4"));
    assert_eq!(outcome.as_ref().map(|outcome| outcome.remarks.len()).ok(), Some(0));
    lab.assert_holds(outcome, &contents());
}

#[test]
fn what_cannot_be_unpacked_is_no_file() {
    let whole = gzip(&contents());
    let mut damaged = whole.clone();
    let last = damaged.len() - 6;
    damaged[last] ^= 1;
    for (lines, body) in [
        ("Content-Encoding: gzip, br", whole.clone()),
        ("Content-Encoding: br", vec![0xff; 5_000]),
        ("Content-Encoding: gzip", damaged),
        ("Content-Encoding: gzip", whole[..whole.len() / 2].to_vec()),
    ] {
        let origin = serving(lines, body);
        let lab = Lab::new();
        lab.assert_refused(lab.fetch(&origin.url("/f.mp4")), &["origin_lied", "truncated"]);
    }
}

#[test]
fn a_bomb_is_refused_before_it_is_on_the_disk() {
    let bomb = gzip(&vec![0; 200 << 20]);
    let origin = serving("Content-Encoding: gzip", bomb.clone());
    let lab = Lab::new();
    lab.assert_refused(lab.fetch(&origin.url("/f.mp4")), &["limit_exceeded"]);

    let small = serving("Content-Encoding: gzip", gzip(&contents()));
    let mut request = lab.request(&small.url("/f.mp4"));
    request.max_bytes = Some(contents().len() as u64 - 1);
    lab.assert_refused(lab.run(request), &["limit_exceeded"]);

    let text = playlist::playlist(2).into_bytes();
    let origin = Origin::start(move |request, wire| match request.target.as_str() {
        "/index.m3u8" => {
            wire.send(format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", bomb.len()));
            wire.send(&bomb);
        }
        _ => wire.serve(request, &text, None),
    });
    lab.assert_refused(joined(&lab, &origin.url("/index.m3u8")), &["limit_exceeded"]);
}

fn joined(lab: &Lab, url: &str) -> Result<vasset_engine::download::Outcome, vasset_engine::error::Error> {
    let like = lab.request(url);
    lab.run(Request { source: Source::Hls { url: url.to_owned() }, ..like })
}

#[test]
fn playlist_key_and_fragments_may_all_be_compressed() {
    let (key, vector) = ([7; 16], playlist::sequence_vector(0));
    let secret = playlist::encrypted(&playlist::fragment(0, 5_000), key, vector);
    let text = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-KEY:METHOD=AES-128,URI=\"key\"\n#EXTINF:4,\n0.ts\n\
                #EXT-X-KEY:METHOD=NONE\n#EXTINF:4,\n1.ts\n#EXT-X-ENDLIST\n";
    let origin = Origin::start(move |request, wire| {
        let plain = match request.target.as_str() {
            "/index.m3u8" => text.as_bytes().to_vec(),
            "/key" => key.to_vec(),
            "/0.ts" => secret.clone(),
            "/1.ts" => playlist::fragment(1, 5_000),
            other => panic!("asked for {other}"),
        };
        let body = gzip(&plain);
        wire.send(format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", body.len()));
        wire.send(body);
    });
    let lab = Lab::new();
    lab.assert_holds(joined(&lab, &origin.url("/index.m3u8")), &playlist::joined(2, 5_000));
}

#[test]
fn a_playlist_that_is_kept_as_a_gzip_file_is_read() {
    let site =
        playlist::Site::new().with_fragments(2, 5_000).with("/index.m3u8.gz", gzip(playlist::playlist(2).as_bytes()));
    let origin = site.start();
    let lab = Lab::new();
    lab.assert_holds(joined(&lab, &origin.url("/index.m3u8.gz")), &playlist::joined(2, 5_000));
}
