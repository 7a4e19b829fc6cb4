//! What is tried again, what is not, and what is said meanwhile.

mod support;

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use support::download::{Lab, within};
use support::file;
use support::origin::{Origin, honest_head};
use vasset_engine::retry::backoff;

const MIB: usize = 1 << 20;
const TAG: &str = "\"v1\"";

fn contents() -> Vec<u8> {
    file::bytes(41, 2 * MIB)
}

#[test]
fn a_status_of_the_moment_is_tried_again_and_stays_in_ranges() {
    for status in [408, 423, 425, 429, 500, 502, 503, 504, 509, 520, 521, 522, 523, 524, 529] {
        let origin = Origin::start(move |request, wire| {
            if request.number == 0 {
                wire.send(format!("HTTP/1.1 {status} Later\r\nContent-Length: 0\r\n\r\n"));
            } else {
                wire.serve(request, &contents(), Some(TAG));
            }
        });
        let lab = Lab::new();
        let outcome = lab.fetch(&origin.url("/f"));
        assert!(outcome.is_ok(), "{status}: {outcome:?}");
        lab.assert_holds(outcome, &contents());
        assert!(origin.requests()[1].range().is_some(), "{status} was taken for a refusal of ranges");
    }
}

#[test]
fn an_origin_that_nobody_listens_for_is_given_up_soon() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let lab = Lab::new();
    let mut request = lab.request(&format!("http://127.0.0.1:{port}/f"));
    request.retries = 8;
    // Eight tries wait for at least half of 100 ms · (2^8 - 1).
    let most = backoff(8, None, 0.0);
    lab.assert_refused(within(most, || lab.run(request)), &["connect"]);
}

#[test]
fn an_unknown_name_is_given_up_soon() {
    let lab = Lab::with(|settings| settings.egress_allow = vec!["nowhere.invalid".to_owned()]);
    let mut request = lab.request("http://nowhere.invalid/f");
    request.retries = 8;
    let refused = lab.run(request);
    lab.assert_refused(refused, &["connect"]);
}

#[test]
fn an_origin_that_is_started_again_in_mid_file_is_waited_for() {
    // The same refusal as above, with bytes to lose: the port is closed for the first tries.
    let origin = Origin::start(|request, wire| {
        wire.send(honest_head(request, contents().len(), Some(TAG)));
        wire.send(&contents()[..MIB]);
        wire.close();
    });
    let (address, url) = (origin.address(), origin.url("/f"));
    let lab = Lab::new();
    let mut request = lab.request(&url);
    request.retries = 8;
    let handle = lab.engine.submit(request).unwrap();
    while handle.snapshot().downloaded < MIB as u64 {
        assert!(handle.outcome().is_none(), "given up: {:?}", handle.outcome());
        std::thread::yield_now();
    }
    drop(origin);
    while handle.waiting_for().is_none_or(|words| !words.contains("refused")) {
        assert!(handle.outcome().is_none(), "given up: {:?}", handle.outcome());
        std::thread::yield_now();
    }
    let again = Origin::start_at(address, |request, wire| wire.serve(request, &contents(), Some(TAG)));
    lab.assert_holds(handle.wait(Some(Duration::from_secs(30))).unwrap(), &contents());
    drop(again);
}

#[test]
fn the_first_byte_may_take_longer_than_silence_later() {
    let is_ready = Arc::new(AtomicUsize::new(0));
    let origin = Origin::start({
        let is_ready = is_ready.clone();
        move |request, wire| {
            while is_ready.load(Ordering::SeqCst) == 0 && wire.is_open() {
                std::thread::yield_now();
            }
            wire.serve(request, &contents(), None);
        }
    });
    let lab = Lab::new();
    let mut request = lab.request(&origin.url("/f"));
    request.idle_timeout = Duration::from_millis(100);
    let handle = lab.engine.submit(request).unwrap();
    let early = handle.wait(Some(Duration::from_millis(400)));
    let said = handle.waiting_for();
    let count = origin.requests().len();
    is_ready.store(1, Ordering::SeqCst);
    assert!(early.is_none(), "the answer was not waited for: {early:?}");
    assert_eq!(said.as_deref(), Some("the answer of 127.0.0.1"));
    assert_eq!(count, 1);
    // Whether a tenth of a second is enough for the rest is the machine's affair.
    handle.cancel();
    handle.wait(Some(Duration::from_secs(30))).expect("the download hangs").ok();
}

#[test]
fn an_answer_that_never_comes_is_asked_for_twice() {
    let origin = Origin::start(|_, wire| wire.stall());
    let lab = Lab::new();
    let mut request = lab.request(&origin.url("/f"));
    (request.answer_timeout, request.retries) = (Duration::from_millis(200), 8);
    lab.assert_refused(lab.run(request), &["timeout"]);
    assert_eq!(origin.requests().len(), 2);
}

#[test]
fn what_a_pause_waits_for_is_said() {
    let asked = Arc::new(AtomicUsize::new(0));
    let origin = Origin::start({
        let asked = asked.clone();
        move |request, wire| {
            if asked.fetch_add(1, Ordering::SeqCst) == 0 {
                wire.send("HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n");
            } else {
                wire.serve(request, &contents(), Some(TAG));
            }
        }
    });
    let lab = Lab::new();
    let handle = lab.engine.submit(lab.request(&origin.url("/f"))).unwrap();
    let mut said = None;
    while handle.outcome().is_none() {
        said = said.or_else(|| handle.waiting_for().filter(|words| words.starts_with("the next try in 1.0 s")));
        std::thread::yield_now();
    }
    assert!(said.is_some_and(|words| words.contains("503")));
    assert_eq!(handle.waiting_for(), None);
}
