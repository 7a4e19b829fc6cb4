//! An engine with a temporary folder, and what every download has to hold: one true version or nothing.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use vasset_engine::download::Outcome;
use vasset_engine::error::Error;
use vasset_engine::handle::{Engine, Settings};
use vasset_engine::request::Request;

/// No download of these tests may take longer, whatever its origin does.
const LONGEST: Duration = Duration::from_secs(40);

/// An engine that may reach 127.0.0.1 and writes into a folder of its own.
pub struct Lab {
    /// The engine.
    pub engine: Engine,
    folder: TempDir,
}

impl Lab {
    /// A fresh engine and folder.
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    /// A fresh engine with other settings.
    pub fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings { egress_allow: vec!["127.0.0.1".to_owned()], ..Settings::default() };
        change(&mut settings);
        Self { engine: Engine::new(&settings).unwrap(), folder: tempfile::tempdir().unwrap() }
    }

    /// The target of [`Lab::request`].
    pub fn target(&self) -> PathBuf {
        self.folder.path().join("file.bin")
    }

    /// A request with short timeouts and few retries, so that hopeless origins are given up soon.
    pub fn request(&self, url: &str) -> Request {
        let mut request = Request::single(url, self.target());
        request.retries = 3;
        request.idle_timeout = Duration::from_secs(3);
        request.timeout = Some(Duration::from_secs(30));
        request.durable = false;
        request
    }

    /// Runs the request to its end.
    pub fn run(&self, request: Request) -> Result<Outcome, Error> {
        let handle = self.engine.submit(request)?;
        handle.wait(Some(LONGEST)).expect("the download hangs")
    }

    /// Runs [`Lab::request`] for the URL.
    pub fn fetch(&self, url: &str) -> Result<Outcome, Error> {
        self.run(self.request(url))
    }

    /// The file is exactly these bytes, and its digest says so.
    #[track_caller]
    pub fn assert_holds(&self, outcome: Result<Outcome, Error>, expected: &[u8]) {
        let outcome = outcome.unwrap_or_else(|error| panic!("a survivable origin was not survived: {error}"));
        let written = std::fs::read(self.target()).expect("the outcome says complete and there is no file");
        assert_eq!(written.len(), expected.len(), "wrong length");
        assert!(written == expected, "wrong bytes, first at {:?}", first_difference(&written, expected));
        assert_eq!(outcome.size as usize, expected.len());
        assert_eq!(outcome.digests[0].1, blake3::hash(expected).to_hex().as_str(), "the digest is of other bytes");
    }

    /// The download failed with this code and nothing is at the target.
    #[track_caller]
    pub fn assert_refused(&self, outcome: Result<Outcome, Error>, codes: &[&str]) {
        match outcome {
            Ok(outcome) => panic!("a lie was believed: {outcome:?}"),
            Err(error) => assert!(codes.contains(&error.code()), "{} ({error}) is none of {codes:?}", error.code()),
        }
        assert!(!self.target().exists(), "a failed download left a file");
    }
}

fn first_difference(left: &[u8], right: &[u8]) -> Option<usize> {
    left.iter().zip(right).position(|(left, right)| left != right)
}

/// Runs `work` and asserts that it took no longer than `most`.
#[track_caller]
pub fn within<T>(most: Duration, work: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let result = work();
    assert!(started.elapsed() <= most, "took {:?}", started.elapsed());
    result
}
