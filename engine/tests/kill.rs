//! `kill -9` at random moments and at named places: the file comes out equal, and little is fetched again.
//!
//! `KILLS=200 cargo test --release --features faultpoints --test kill` is the long form (`make kill`); with
//! `KILL_REPORT=FILE` it writes one line a kill there: bytes on disk when it died, bytes believed afterwards.

mod support;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use support::file::bytes;
use support::origin::{Origin, honest_head};
use vasset_engine::handle::{Engine, Settings};
use vasset_engine::request::Request;

const MEBIBYTE: u64 = 1 << 20;
/// Promise: no more than this is fetched again after a kill.
const MOST_FETCHED_AGAIN: u64 = 16 * MEBIBYTE;
const CONNECTIONS: usize = 4;

/// Not a test of its own: the process that is killed. Its parent names URL and target in the environment.
#[test]
fn victim() {
    let (Ok(url), Ok(target)) = (std::env::var("VICTIM_URL"), std::env::var("VICTIM_TARGET")) else { return };
    let settings = Settings { egress_allow: vec!["127.0.0.1".to_owned()], ..Settings::default() };
    let engine = Engine::new(&settings).unwrap();
    let mut request = Request::single(url, target);
    request.connections = Some(CONNECTIONS);
    let handle = engine.submit(request).unwrap();
    loop {
        let ended = handle.wait(Some(Duration::from_millis(1)));
        let now = handle.snapshot();
        println!("\nAT {} {}", now.resumed, now.downloaded);
        if let Some(outcome) = ended {
            println!(
                "\nENDED {}",
                outcome.map_or_else(|error| error.to_string(), |outcome| outcome.digests[0].1.clone())
            );
            return;
        }
    }
}

fn start(url: &str, target: &Path, kill_at: Option<&str>) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "victim", "--nocapture"]).env("VICTIM_URL", url).env("VICTIM_TARGET", target);
    if let Some(place) = kill_at {
        command.env("VASSET_KILL_AT", place);
    }
    command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

/// What a victim said last: (resumed, downloaded), and how it ended if it did.
#[derive(Default)]
struct LastWords {
    resumed: u64,
    downloaded: u64,
    ending: Option<String>,
}

/// Listens until the victim ends, killing it once `until` bytes are on disk.
fn listen(victim: &mut Child, until: u64) -> LastWords {
    let mut words = LastWords::default();
    for line in BufReader::new(victim.stdout.take().unwrap()).lines().map_while(Result::ok) {
        let mut parts = line.split(' ');
        match parts.next() {
            Some("AT") => {
                let mut number = || parts.next().and_then(|number| number.parse().ok()).unwrap_or_default();
                (words.resumed, words.downloaded) = (number(), number());
                if words.downloaded >= until {
                    let _ = victim.kill();
                }
            }
            Some("ENDED") => words.ending = parts.next().map(str::to_owned),
            _ => {}
        }
    }
    let _ = victim.wait();
    words
}

fn origin_of(file: Vec<u8>) -> Origin {
    Origin::start(move |request, wire| {
        wire.send(honest_head(request, file.len(), Some("\"v1\"")));
        // Small pieces, so that a kill finds every state between them.
        for piece in file[request.span(file.len())].chunks(16 * 1024) {
            if !wire.is_open() {
                return;
            }
            wire.send(piece);
        }
    })
}

fn digest(file: &[u8]) -> String {
    blake3::hash(file).to_hex().to_string()
}

fn part_of(target: &Path) -> PathBuf {
    PathBuf::from(format!("{}.part", target.display()))
}

#[test]
fn killed_at_random_moments_it_goes_on_and_ends_with_equal_bytes() {
    let kills: u64 = std::env::var("KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(20);
    let length = 96 * MEBIBYTE as usize + 12_345;
    let file = bytes(1, length);
    let expected = digest(&file);
    let origin = origin_of(file);
    let mut killed = 0;
    let mut round = 0;
    let mut report = String::new();
    while killed < kills {
        round += 1;
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("file.bin");
        let mut before = 0;
        // Up to eight kills on the way to one file, at moments that differ from round to round.
        for step in 1..=8_u64 {
            let moment = length as u64 * step / 9 + (round * 7_919 + step * 104_729) % (4 * MEBIBYTE);
            let words = listen(&mut start(&origin.url("/f"), &target, None), moment);
            assert!(
                words.resumed + MOST_FETCHED_AGAIN >= before,
                "killed with {before} bytes on disk, {} were believed afterwards",
                words.resumed
            );
            note(&mut report, before, words.resumed);
            before = words.downloaded;
            if let Some(ending) = words.ending {
                assert_eq!(ending, expected);
                break;
            }
            assert!(!target.exists(), "a file that is not complete is not visible");
            killed += 1;
        }
        if !target.exists() {
            let words = listen(&mut start(&origin.url("/f"), &target, None), u64::MAX);
            assert!(words.resumed + MOST_FETCHED_AGAIN >= before);
            note(&mut report, before, words.resumed);
            assert_eq!(words.ending.as_deref(), Some(expected.as_str()));
        }
        assert_eq!(digest(&std::fs::read(&target).unwrap()), expected);
        assert!(!part_of(&target).exists());
    }
    if let Ok(path) = std::env::var("KILL_REPORT") {
        std::fs::write(path, report).unwrap();
    }
}

/// One line of the report; the first start of a file follows no kill.
fn note(report: &mut String, before: u64, believed: u64) {
    if before > 0 {
        report.push_str(&format!("{before} {believed}\n"));
    }
}

#[test]
fn killed_at_named_places_it_is_absent_or_complete_and_goes_on() {
    if !vasset_engine::faultpoint::IS_ARMED {
        return;
    }
    let file = bytes(2, 24 * MEBIBYTE as usize + 1);
    let expected = digest(&file);
    let origin = origin_of(file);
    for place in ["K6:1", "K6:40", "K7:1", "K7:5", "K8:1", "K9:1"] {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("file.bin");
        let words = listen(&mut start(&origin.url("/f"), &target, Some(place)), u64::MAX);
        assert_eq!(words.ending, None, "{place} was passed");
        if target.exists() {
            assert_eq!(place, "K9:1", "only the rename makes the file visible");
        } else {
            let words = listen(&mut start(&origin.url("/f"), &target, None), u64::MAX);
            assert_eq!(words.ending.as_deref(), Some(expected.as_str()), "{place}");
        }
        assert_eq!(digest(&std::fs::read(&target).unwrap()), expected, "{place}");
    }
}
