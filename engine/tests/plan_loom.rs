//! The claim under every interleaving: `plan.rs` itself, compiled with loom's atomics.
#![allow(dead_code)]

use loom::sync::Arc;
use loom::thread;

mod atomic {
    pub use loom::sync::atomic::{AtomicU64, Ordering};
}

mod hash {
    pub const GROUP_BYTES: u64 = 512 * 1024;
}

#[path = "../src/plan.rs"]
mod plan;

use plan::Span;

fn drain(span: &Span) -> Vec<u32> {
    std::iter::from_fn(|| span.claim()).collect()
}

#[test]
fn an_owner_and_a_thief_together_claim_every_group_exactly_once() {
    loom::model(|| {
        let span = Arc::new(Span::new(0..4));
        let thief = {
            let span = span.clone();
            thread::spawn(move || span.cut(1).map_or_else(Vec::new, |stolen| drain(&Span::new(stolen))))
        };
        let mut claimed = drain(&span);
        claimed.extend(thief.join().expect("the thief does not panic"));
        claimed.sort_unstable();
        assert_eq!(claimed, [0, 1, 2, 3]);
    });
}

#[test]
fn two_thieves_never_get_the_same_groups() {
    loom::model(|| {
        let span = Arc::new(Span::new(0..3));
        let thieves: Vec<_> = (0..2)
            .map(|_| {
                let span = span.clone();
                thread::spawn(move || span.cut(1).map_or_else(Vec::new, Iterator::collect))
            })
            .collect();
        let mut claimed: Vec<u32> = thieves.into_iter().flat_map(|thief| thief.join().expect("no panic")).collect();
        claimed.extend(drain(&span));
        claimed.sort_unstable();
        assert_eq!(claimed, [0, 1, 2]);
    });
}
