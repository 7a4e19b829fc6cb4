//! `kill -9` of a process that joins a playlist: the next run goes on, and its bytes are right.

mod support;

use std::collections::HashMap;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use support::download::Lab;
use support::origin::Origin;
use support::playlist::{Site, joined, playlist};
use vasset_engine::handle::{Engine, Settings};
use vasset_engine::request::{Request, Source};

const COUNT: usize = 100;
const LENGTH: usize = 300_000;
/// What a kill may cost: the window and what the journal has not seen, as the decision record says.
const MOST_LOST_BYTES: u64 = 16 << 20;

/// Not a test by itself: the process that is killed.
#[test]
#[ignore = "run by the tests below in a process of its own"]
fn child() {
    let (Ok(url), Ok(target)) = (std::env::var("CHILD_URL"), std::env::var("CHILD_TARGET")) else { return };
    let settings = Settings { egress_allow: vec!["127.0.0.1".to_owned()], ..Settings::default() };
    let engine = Engine::new(&settings).unwrap();
    let request = Request::new(Source::Hls { url }, PathBuf::from(target));
    let _ = engine.submit(request).unwrap().wait(Some(Duration::from_secs(60)));
}

fn start_child(url: &str, lab: &Lab) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--ignored"])
        .env("CHILD_URL", url)
        .env("CHILD_TARGET", lab.target())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn wait(child: &mut Child) -> ExitStatus {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        assert!(Instant::now() < deadline, "the child does not end");
        std::thread::yield_now();
    }
}

/// What a client took for certain, and not only the kernels on the way to it: it asks for nothing more on a connection before it
/// has read the last answer.
#[derive(Default)]
struct Taken {
    bytes: u64,
    under_way: HashMap<usize, u64>,
}

impl Taken {
    fn note(&mut self, connection: usize, answer: u64) -> u64 {
        self.bytes += self.under_way.insert(connection, answer).unwrap_or_default();
        self.bytes
    }
}

#[test]
fn a_killed_join_goes_on_from_its_journal() {
    let site = Arc::new(Site::new().with("/i.m3u8", playlist(COUNT)).with_fragments(COUNT, LENGTH));
    let expected = joined(COUNT, LENGTH);
    for killed_at in [1, 30, 75, COUNT - 1] {
        let site = Arc::clone(&site);
        let (announce, announced) = mpsc::channel();
        let taken = Mutex::new(Taken::default());
        let origin = Origin::start(move |request, wire| {
            let bytes = site.bytes(&request.target).unwrap_or_default();
            let taken = taken.lock().unwrap().note(request.connection, bytes.len() as u64);
            if request.target == format!("/{killed_at}.ts") {
                let _ = announce.send(taken);
            }
            wire.serve(request, bytes, None);
        });
        let url = origin.url("/i.m3u8");
        let lab = Lab::new();
        let mut victim = start_child(&url, &lab);
        let taken = announced.recv_timeout(Duration::from_secs(60)).expect("the child never came so far");
        victim.kill().unwrap();
        let status = wait(&mut victim);
        if status.signal() != Some(9) {
            continue; // it was done before the signal came; nothing was killed
        }
        let mut request = lab.request(&url);
        request.source = Source::Hls { url };
        let outcome = lab.run(request);
        let kept = outcome.as_ref().map_or(0, |outcome| outcome.resumed_bytes);
        assert!(kept + MOST_LOST_BYTES >= taken, "killed at {killed_at}: {kept} of {taken} bytes were kept");
        lab.assert_holds(outcome, &expected);
    }
}
