//! The plan against a model that is nothing but sets of groups.

use std::collections::BTreeSet;

use proptest::prelude::*;
use vasset_engine::hash::GROUP_BYTES;
use vasset_engine::plan::{Plan, Span, Victim, choose_theft, group_bytes, group_count};

/// What may happen to a download.
#[derive(Debug, Clone)]
enum Event {
    /// A connection takes waiting groups, at most so many.
    Take(u32),
    /// Connection `who` finishes its next group.
    Fetch(usize),
    /// The tail of connection `who` is stolen; it keeps so many.
    Steal(usize, u32),
    /// Connection `who` breaks; the group in its hands and the rest of its span go back.
    Break(usize),
    /// The process is killed: all spans are lost, finished groups stay.
    Crash,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (1_u32..20).prop_map(Event::Take),
        8 => any::<usize>().prop_map(Event::Fetch),
        3 => (any::<usize>(), 0_u32..20).prop_map(|(who, keep)| Event::Steal(who, keep)),
        2 => any::<usize>().prop_map(Event::Break),
        1 => Just(Event::Crash),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn every_group_is_fetched_exactly_once_whatever_happens(
        groups in 1_u32..200, done in prop::collection::btree_set(0_u32..200, 0..50), events in prop::collection::vec(event(), 0..200),
    ) {
        let mut done: BTreeSet<u32> = done.into_iter().filter(|group| *group < groups).collect();
        let mut plan = Plan::new(groups, |group| done.contains(&group));
        let mut spans: Vec<Span> = Vec::new();
        for event in events {
            match event {
                Event::Take(limit) => spans.extend(plan.take(limit).map(Span::new)),
                Event::Fetch(who) if !spans.is_empty() => {
                    let who = who % spans.len();
                    match spans[who].claim() {
                        Some(group) => prop_assert!(done.insert(group), "group {} twice", group),
                        None => drop(spans.remove(who)),
                    }
                }
                Event::Steal(who, keep) if !spans.is_empty() => {
                    let who = who % spans.len();
                    spans.extend(spans[who].cut(keep).map(Span::new));
                }
                Event::Break(who) if !spans.is_empty() => {
                    let span = spans.swap_remove(who % spans.len());
                    if let Some(in_hands) = span.claim() {
                        plan.give_back(in_hands..in_hands + 1);
                    }
                    plan.give_back(span.unclaimed());
                }
                Event::Crash => {
                    spans.clear();
                    plan = Plan::new(groups, |group| done.contains(&group));
                }
                _ => {}
            }
            let owned: Vec<u32> = spans.iter().flat_map(Span::unclaimed).collect();
            let waiting: Vec<u32> = plan.waiting().iter().cloned().flatten().collect();
            let mut all: Vec<u32> = done.iter().copied().chain(owned).chain(waiting.clone()).collect();
            all.sort_unstable();
            prop_assert!(all.iter().copied().eq(0..groups), "every group is done, owned or waiting, and only one of these");
            prop_assert!(plan.waiting().windows(2).all(|pair| pair[0].end < pair[1].start), "ranges ascend and never touch");
        }
    }

    #[test]
    fn groups_cover_every_byte_once(total in 0_u64..40 * GROUP_BYTES) {
        let mut next = 0;
        for group in 0..group_count(total) {
            let bytes = group_bytes(group, total);
            prop_assert_eq!(bytes.start, next);
            prop_assert!(bytes.end > bytes.start && bytes.end - bytes.start <= GROUP_BYTES);
            next = bytes.end;
        }
        prop_assert_eq!(next, total);
    }

    #[test]
    fn a_theft_takes_from_who_needs_longest_and_leaves_both_something(
        victims in prop::collection::vec((0_u32..1_000_000, 0.0_f64..1e9), 0..20), thief in 0.0_f64..1e9, setup in 0.001_f64..2.0,
    ) {
        let victims: Vec<Victim> = victims.into_iter().map(|(groups, rate)| Victim { groups, rate }).collect();
        if let Some((index, keep)) = choose_theft(&victims, thief, setup) {
            let seconds = |victim: &Victim| f64::from(victim.groups) / victim.rate.max(1.0);
            prop_assert!(keep >= 1 && keep < victims[index].groups);
            let divisible = victims.iter().filter(|victim| victim.groups >= 2);
            prop_assert!(divisible.clone().all(|victim| seconds(victim) <= seconds(&victims[index])));
        }
    }
}

#[test]
fn waiting_groups_are_taken_in_order() {
    let mut plan = Plan::new(10, |group| group == 4);
    assert_eq!(plan.take(3), Some(0..3));
    assert_eq!(plan.take(9), Some(3..4));
    plan.give_back(1..2);
    assert_eq!(plan.take(9), Some(1..2));
    assert_eq!(plan.take(9), Some(5..10));
    assert_eq!(plan.take(9), None);
}
