//! Connection places: caps hold, nobody starves, a refused host is spared by everybody.

use std::time::Duration;

use tokio::time::{sleep, timeout};
use vasset_engine::limit::{ConnectionPermit, ConnectionPermits};

const SOON: Duration = Duration::from_millis(100);

#[tokio::test(start_paused = true)]
async fn caps_in_total_and_per_host_hold() {
    let permits = ConnectionPermits::new(5, 3);
    let task = permits.holder(1);
    let held: Vec<ConnectionPermit> = std::iter::from_fn(|| task.try_acquire("a")).collect();
    assert_eq!(held.len(), 3);
    let others: Vec<ConnectionPermit> = std::iter::from_fn(|| task.try_acquire("b")).collect();
    assert_eq!(others.len(), 2);
    assert!(timeout(SOON, task.acquire("c")).await.is_err());
    drop(held);
    assert!(timeout(SOON, task.acquire("c")).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_freed_place_goes_to_the_task_with_the_fewest() {
    let permits = ConnectionPermits::new(4, 4);
    let (old, new) = (permits.holder(1), permits.holder(1));
    let mut held: Vec<ConnectionPermit> = std::iter::from_fn(|| old.try_acquire("a")).collect();
    let greedy = tokio::spawn({
        let old = old.clone();
        async move { old.acquire("a").await }
    });
    tokio::task::yield_now().await;
    let newcomer = tokio::spawn({
        let new = new.clone();
        async move { new.acquire("a").await }
    });
    tokio::task::yield_now().await;
    drop(held.pop());
    assert!(timeout(SOON, newcomer).await.is_ok());
    assert!(!greedy.is_finished());
    greedy.abort();
}

#[tokio::test(start_paused = true)]
async fn a_waiting_task_makes_the_one_with_many_give_up_until_shares_are_equal() {
    let permits = ConnectionPermits::new(8, 8);
    let (old, new) = (permits.holder(1), permits.holder(1));
    let mut held: Vec<ConnectionPermit> = std::iter::from_fn(|| old.try_acquire("a")).collect();
    assert!(!held[0].is_wanted());
    let mut gained = Vec::new();
    loop {
        let waiting = tokio::spawn({
            let new = new.clone();
            async move { new.acquire("a").await }
        });
        tokio::task::yield_now().await;
        if !held[0].is_wanted() {
            waiting.abort();
            break;
        }
        drop(held.pop());
        gained.push(timeout(SOON, waiting).await.unwrap().unwrap());
    }
    assert_eq!((held.len(), gained.len()), (4, 4));
}

#[tokio::test(start_paused = true)]
async fn weights_move_the_balance() {
    let permits = ConnectionPermits::new(9, 9);
    let (light, heavy) = (permits.holder(1), permits.holder(2));
    let mut held: Vec<ConnectionPermit> = std::iter::from_fn(|| light.try_acquire("a")).collect();
    let mut gained = Vec::new();
    loop {
        let waiting = tokio::spawn({
            let heavy = heavy.clone();
            async move { heavy.acquire("a").await }
        });
        tokio::task::yield_now().await;
        if !held[0].is_wanted() {
            waiting.abort();
            break;
        }
        drop(held.pop());
        gained.push(timeout(SOON, waiting).await.unwrap().unwrap());
    }
    assert_eq!((held.len(), gained.len()), (3, 6));
}

#[tokio::test(start_paused = true)]
async fn a_refusing_host_is_halved_for_everybody_once_per_event_and_recovers() {
    let permits = ConnectionPermits::new(64, 16);
    let task = permits.holder(1);
    let held: Vec<ConnectionPermit> = std::iter::from_fn(|| task.try_acquire("a")).collect();
    assert_eq!(held.len(), 16);
    for _ in 0..16 {
        permits.push_back("a");
    }
    assert_eq!(permits.cap_of("a"), 8);
    assert!(held[0].is_wanted());
    sleep(Duration::from_secs(2)).await;
    permits.push_back("a");
    assert_eq!((permits.cap_of("a"), permits.cap_of("b")), (4, 16));
    sleep(Duration::from_secs(35)).await;
    assert_eq!(permits.cap_of("a"), 7);
    sleep(Duration::from_secs(3600)).await;
    assert_eq!(permits.cap_of("a"), 16);
}

#[tokio::test(start_paused = true)]
async fn a_waiter_is_served_by_recovery_alone() {
    let permits = ConnectionPermits::new(64, 2);
    let task = permits.holder(1);
    let _held = (task.acquire("a").await, task.try_acquire("a"));
    permits.push_back("a");
    drop(_held.1);
    assert!(timeout(Duration::from_secs(60), task.acquire("a")).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_wait_loses_no_place() {
    let permits = ConnectionPermits::new(1, 1);
    let task = permits.holder(1);
    for _ in 0..100 {
        let held = task.acquire("a").await;
        let waiting = tokio::spawn({
            let task = task.clone();
            async move { task.acquire("a").await }
        });
        tokio::task::yield_now().await;
        drop(held);
        waiting.abort();
        let _ = waiting.await;
        assert_eq!(permits.held(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn caps_change_while_running() {
    let permits = ConnectionPermits::new(4, 4);
    let task = permits.holder(1);
    let held: Vec<ConnectionPermit> = std::iter::from_fn(|| task.try_acquire("a")).collect();
    permits.set_limits(Some(2), None);
    assert!(held[0].is_wanted());
    permits.set_limits(Some(6), Some(6));
    assert!(!held[0].is_wanted());
    assert!(task.try_acquire("a").is_some());
}
