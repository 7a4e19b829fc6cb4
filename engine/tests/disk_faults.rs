//! A disk that refuses any one operation, or everything from some operation on: the file is absent with a typed error or
//! complete, what is in somebody's way is never overwritten, and the next attempt on a healthy disk ends with equal bytes.
//!
//! The operation that fails is counted up until a run ends before it is reached, so that no write, sync or rename is left out.

mod support;

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use support::file::bytes;
use support::origin::Origin;
use support::playlist::{Site, fragment, joined, playlist};
use vasset_engine::download::Outcome;
use vasset_engine::error::Error;
use vasset_engine::faultpoint::{DISK_OPERATIONS, IS_ARMED};
use vasset_engine::handle::{Engine, Settings};
use vasset_engine::request::{Request, Source};
use vasset_engine::sink::Durability;

const EIO: i32 = 5;
const ENOSPC: i32 = 28;
const EROFS: i32 = 30;
const EDQUOT: i32 = 122;
/// More operations than any of these downloads needs; a loop that gets here does not end by itself.
const MOST_OPERATIONS: u32 = 300;

/// Not a test by itself: the process whose disk fails. It says how the download ended and how often the disk was used.
#[test]
fn child() {
    let (Ok(url), Ok(target)) = (std::env::var("CHILD_URL"), std::env::var("CHILD_TARGET")) else { return };
    let ending = match download(&url, PathBuf::from(target)) {
        Ok(Outcome { durability: Durability::Synced, .. }) => "complete",
        Ok(Outcome { durability, .. }) => durability.name(),
        Err(error) => error.code(),
    };
    println!("\nENDED {ending} {}", DISK_OPERATIONS.load(Ordering::SeqCst));
}

fn download(url: &str, target: PathBuf) -> Result<Outcome, Error> {
    let settings = Settings { egress_allow: vec!["127.0.0.1".to_owned()], ..Settings::default() };
    let engine = Engine::new(&settings).unwrap();
    let source = if url.ends_with(".m3u8") {
        Source::Hls { url: url.to_owned() }
    } else {
        Source::Single { url: url.to_owned() }
    };
    let mut request = Request::new(source, target);
    request.connections = Some(2);
    engine.submit(request)?.wait(Some(Duration::from_secs(30))).expect("the download hangs")
}

/// How a download ends in a process whose disk fails as `fault` says, and how many operations it came to.
fn ending(url: &str, target: &Path, fault: &str) -> (String, u32) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .envs([("CHILD_URL", url), ("CHILD_TARGET", target.to_str().unwrap()), ("VASSET_FAIL_DISK", fault)])
        .stderr(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let words = said.lines().find_map(|line| line.strip_prefix("ENDED ")?.split_once(' '));
    let (ending, operations) = words.unwrap_or_else(|| panic!("it died: {said}"));
    (ending.to_owned(), operations.parse().unwrap())
}

/// Fails every operation in turn, once or for good; `expected_code` is the error that says what happened.
fn fail_every_operation(url: &str, expected: &[u8], error: i32, is_for_good: bool, expected_code: &str) {
    if !IS_ARMED {
        return;
    }
    let mut failed = 0;
    for operation in 1..MOST_OPERATIONS {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("file.bin");
        let fault = format!("{operation}:{error}{}", if is_for_good { "" } else { ":1" });
        let (code, operations) = ending(url, &target, &fault);
        if matches!(code.as_str(), "complete" | "unknown") {
            assert!(target.exists(), "{fault}: complete, and no file");
            assert!(std::fs::read(&target).unwrap() == expected, "{fault}: a visible file is wrong");
            if operations < operation {
                assert_eq!(code, "complete", "{fault} was not reached");
                assert!(failed > 10, "only {failed} operations were failed");
                return;
            }
            // Else what failed was the folder's sync, tidying up, or a journal record that only costs fetching again.
            continue;
        }
        failed += 1;
        assert_eq!(code, expected_code, "{fault}");
        assert!(!target.exists(), "{fault}: a failure, and the file has its name: trying again is told that it exists");
        download(url, target.clone()).unwrap_or_else(|error| panic!("{fault}, healthy again: {error}"));
        assert!(std::fs::read(&target).unwrap() == expected, "{fault}: wrong after the disk was healthy again");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "{fault}: something was left behind");
    }
    panic!("no end after {failed} failures");
}

fn single() -> (Origin, Vec<u8>) {
    let file = bytes(9, (1 << 20) + (1 << 19) + 77);
    (Origin::serving(file.clone(), Some("\"v1\"")), file)
}

/// Without a validator: one response, no journal.
fn bare() -> (Origin, Vec<u8>) {
    let file = bytes(10, (1 << 20) + (1 << 19) + 77);
    (Origin::serving(file.clone(), None), file)
}

fn fragments() -> (Origin, Vec<u8>) {
    const COUNT: usize = 8;
    const LENGTH: usize = 200_000;
    let site = Site::new().with("/i.m3u8", playlist(COUNT)).with_fragments(COUNT, LENGTH);
    (site.start(), joined(COUNT, LENGTH))
}

#[test]
fn a_full_disk_at_any_operation_of_a_file_is_said_and_got_over() {
    let (origin, file) = single();
    fail_every_operation(&origin.url("/f"), &file, ENOSPC, true, "disk_full");
    fail_every_operation(&origin.url("/f"), &file, EDQUOT, false, "disk_full");
}

#[test]
fn a_disk_that_becomes_read_only_or_fails_at_any_operation_of_a_file_is_said_and_got_over() {
    let (origin, file) = single();
    fail_every_operation(&origin.url("/f"), &file, EROFS, true, "storage");
    fail_every_operation(&origin.url("/f"), &file, EIO, false, "storage");
}

#[test]
fn a_full_disk_at_any_operation_of_a_playlist_is_said_and_got_over() {
    let (origin, file) = fragments();
    fail_every_operation(&origin.url("/i.m3u8"), &file, ENOSPC, true, "disk_full");
}

#[test]
fn a_disk_that_becomes_read_only_or_fails_at_any_operation_of_a_playlist_is_said_and_got_over() {
    let (origin, file) = fragments();
    fail_every_operation(&origin.url("/i.m3u8"), &file, EROFS, true, "storage");
    fail_every_operation(&origin.url("/i.m3u8"), &file, EIO, false, "storage");
}

#[test]
fn a_disk_that_is_full_or_fails_at_any_operation_of_a_file_without_a_validator_is_said_and_got_over() {
    let (origin, file) = bare();
    fail_every_operation(&origin.url("/f"), &file, ENOSPC, true, "disk_full");
    fail_every_operation(&origin.url("/f"), &file, EIO, false, "storage");
}

#[test]
fn a_file_whose_bytes_cannot_be_synced_or_named_does_not_appear_and_the_next_attempt_fetches_none() {
    if !IS_ARMED {
        return;
    }
    for ((origin, file), path) in [(single(), "/f"), (fragments(), "/i.m3u8")] {
        for (operation, what) in [(1, "the sync"), (2, "the rename")] {
            let folder = tempfile::tempdir().unwrap();
            let target = folder.path().join("file.bin");
            let fault = format!("K8+{operation}:{EIO}:1");
            assert_eq!(ending(&origin.url(path), &target, &fault).0, "storage", "{what} failed");
            assert!(!target.exists(), "{what} failed");
            let again = download(&origin.url(path), target.clone()).unwrap();
            assert!(std::fs::read(&target).unwrap() == file);
            assert_eq!(again.fetched_bytes, 0);
        }
    }
}

#[test]
fn a_folder_whose_sync_fails_after_the_rename_has_the_whole_file_of_unknown_durability() {
    if !IS_ARMED {
        return;
    }
    for ((origin, file), path) in [(single(), "/f"), (fragments(), "/i.m3u8")] {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("file.bin");
        assert_eq!(ending(&origin.url(path), &target, &format!("K9+1:{EIO}:1")).0, "unknown");
        assert!(std::fs::read(&target).unwrap() == file);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "something was left behind");
    }
}

#[test]
fn bytes_of_one_response_do_not_hide_behind_the_journal_of_ranges_before_them() {
    if !IS_ARMED {
        return;
    }
    let (pinned, bare) = (bytes(9, 9 << 20), bytes(10, 9 << 20));
    let is_pinned = Arc::new(AtomicBool::new(true));
    let origin = Origin::start({
        let (pinned, is_pinned) = (pinned.clone(), Arc::clone(&is_pinned));
        move |request, wire| match is_pinned.load(Ordering::SeqCst) {
            true => wire.serve(request, &pinned, Some("\"v1\"")),
            false => wire.send(
                [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", bare.len()).as_bytes(), &bare].concat(),
            ),
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("file.bin");
    let url = origin.url("/f");
    // Some groups of the pinned version are recorded; then the whole file comes without a validator and breaks off.
    assert_eq!(ending(&url, &target, &format!("K7+1:{ENOSPC}")).0, "disk_full");
    is_pinned.store(false, Ordering::SeqCst);
    assert_eq!(ending(&url, &target, &format!("K6+8:{ENOSPC}")).0, "disk_full");
    is_pinned.store(true, Ordering::SeqCst);
    download(&url, target.clone()).unwrap();
    assert!(std::fs::read(&target).unwrap() == pinned, "two versions were mixed");
}

#[test]
fn a_joined_download_goes_on_from_its_own_bytes_and_its_own_list_only() {
    if !IS_ARMED {
        return;
    }
    const LENGTH: usize = 200_000;
    // The other list differs in what a look at the last joined fragment does not show.
    let swapped = [1, 0, 2, 3, 4, 5, 6, 7];
    let entries: String = swapped.iter().map(|index| format!("#EXTINF:4.0,\n{index}.ts\n")).collect();
    let other = format!("#EXTM3U\n{entries}#EXT-X-ENDLIST\n");
    let site = Site::new().with("/up.m3u8", playlist(8)).with("/other.m3u8", other).with_fragments(8, LENGTH);
    let origin = site.start();
    let swapped: Vec<u8> = swapped.iter().flat_map(|index| fragment(*index, LENGTH)).collect();
    for (path, expected, is_damaged) in
        [("/up.m3u8", joined(8, LENGTH), true), ("/other.m3u8", swapped, false), ("/up.m3u8", joined(8, LENGTH), false)]
    {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("file.bin");
        assert_eq!(ending(&origin.url("/up.m3u8"), &target, &format!("K7+1:{ENOSPC}")).0, "disk_full");
        if is_damaged {
            let part = std::fs::File::options().write(true).open(folder.path().join("file.bin.part")).unwrap();
            part.write_all_at(b"not what was written", 10).unwrap();
        }
        let outcome = download(&origin.url(path), target.clone()).unwrap();
        assert!(std::fs::read(&target).unwrap() == expected, "{path}: wrong bytes, damaged: {is_damaged}");
        assert_eq!(outcome.resumed_bytes > 0, path == "/up.m3u8" && !is_damaged, "{path}");
    }
}

#[test]
fn an_unwritable_folder_is_a_storage_error_and_stays_as_it_is() {
    let (origin, _) = single();
    // /proc takes no files from anybody, root included.
    for target in ["/proc/self/fdinfo/file.bin", "/proc/file.bin"] {
        assert!(matches!(download(&origin.url("/f"), PathBuf::from(target)), Err(Error::Storage { .. })), "{target}");
    }
}

#[test]
fn somebody_elses_journal_and_part_file_are_not_touched() {
    let (origin, file) = single();
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("file.bin");
    let journal = folder.path().join("file.bin.part.j");
    std::fs::write(&journal, b"a list of groceries").unwrap();
    assert!(matches!(download(&origin.url("/f"), target.clone()), Err(Error::Storage { .. })));
    assert_eq!(std::fs::read(&journal).unwrap(), b"a list of groceries");
    std::fs::remove_file(&journal).unwrap();
    download(&origin.url("/f"), target.clone()).unwrap();
    assert!(std::fs::read(&target).unwrap() == file);
}

#[test]
fn a_journal_of_garbage_another_url_or_another_kind_costs_its_bytes_and_nothing_else() {
    if !IS_ARMED {
        return;
    }
    let (origin, file) = single();
    let (list_origin, list) = fragments();
    // What each kind leaves when the disk is full after the first record.
    let leftovers: Vec<Vec<u8>> = [origin.url("/f"), list_origin.url("/i.m3u8")]
        .iter()
        .map(|url| {
            let folder = tempfile::tempdir().unwrap();
            let target = folder.path().join("file.bin");
            assert_eq!(ending(url, &target, &format!("K7+1:{ENOSPC}")).0, "disk_full");
            std::fs::read(folder.path().join("file.bin.part.j")).unwrap()
        })
        .collect();
    for leftover in leftovers {
        for damage in [0, 1, 9, leftover.len() / 2, leftover.len().saturating_sub(1)] {
            let mut journal = leftover.clone();
            if damage > 0 && damage < journal.len() && damage >= 8 {
                journal[damage] ^= 0xff;
            } else {
                journal.truncate(leftover.len() - damage);
            }
            for (url, expected) in [(origin.url("/g"), &file), (list_origin.url("/i.m3u8"), &list)] {
                let folder = tempfile::tempdir().unwrap();
                let target = folder.path().join("file.bin");
                std::fs::write(folder.path().join("file.bin.part.j"), &journal).unwrap();
                std::fs::write(folder.path().join("file.bin.part"), bytes(77, 3 << 20)).unwrap();
                download(&url, target.clone()).unwrap();
                assert!(std::fs::read(&target).unwrap() == *expected, "a stranger's journal was believed");
            }
        }
    }
}
