use std::time::Duration;

use super::*;

fn key(name: &str) -> Key {
    Key::new(Role::Rollouts, "shop", name)
}

/// Returns the next key, or `None` if there is none within the time.
async fn within(queue: &Queue, seconds: u64) -> Option<Key> {
    tokio::time::timeout(Duration::from_secs(seconds), queue.next()).await.ok().flatten()
}

#[tokio::test(start_paused = true)]
async fn a_key_is_never_in_flight_twice_and_runs_again_if_woken_meanwhile() {
    let queue = Queue::default();
    queue.wake(key("a"));
    queue.wake(key("a"));
    assert_eq!(within(&queue, 1).await, Some(key("a")));
    queue.wake(key("a"));
    assert_eq!(within(&queue, 1).await, None);
    queue.done(&key("a"));
    assert_eq!(within(&queue, 1).await, Some(key("a")));
    queue.done(&key("a"));
    assert_eq!(within(&queue, 1).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_wakes_once_and_a_later_one_replaces_it() {
    let queue = Queue::default();
    let start = Instant::now();
    queue.schedule(&key("a"), Some(start + Duration::from_secs(5)));
    queue.schedule(&key("a"), Some(start + Duration::from_secs(50)));
    assert_eq!(within(&queue, 40).await, None);
    assert_eq!(within(&queue, 20).await, Some(key("a")));
    assert_eq!(start.elapsed().as_secs(), 50);
    queue.done(&key("a"));
    assert_eq!(within(&queue, 1000).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_is_taken_back_does_not_wake() {
    let queue = Queue::default();
    queue.schedule(&key("a"), Some(Instant::now() + Duration::from_secs(5)));
    queue.schedule(&key("a"), None);
    assert_eq!(within(&queue, 100).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_closed_queue_gives_nothing_more() {
    let queue = Queue::default();
    queue.wake(key("a"));
    queue.close();
    assert_eq!(queue.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn an_urgent_key_waits_behind_no_other_and_is_decided_once() {
    let queue = Queue::default();
    ["a", "b", "c"].into_iter().for_each(|name| queue.wake(key(name)));
    queue.wake_first(key("c"));
    queue.wake_first(key("c"));
    queue.wake(key("c"));
    assert_eq!(queue.next_urgent().await, Some(key("c")));
    assert_eq!(within(&queue, 1).await, Some(key("a")));
    assert_eq!(within(&queue, 1).await, Some(key("b")));
    assert_eq!(within(&queue, 1).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_becomes_urgent_in_flight_is_the_next_one_again() {
    let queue = Queue::default();
    queue.wake(key("a"));
    assert_eq!(within(&queue, 1).await, Some(key("a")));
    queue.wake_first(key("a"));
    queue.wake(key("a"));
    let urgent = tokio::time::timeout(Duration::from_secs(1), queue.next_urgent()).await;
    assert!(urgent.is_err(), "it is in flight");
    queue.done(&key("a"));
    assert_eq!(within(&queue, 1).await, None);
    assert_eq!(queue.next_urgent().await, Some(key("a")));
}

#[tokio::test(start_paused = true)]
async fn an_urgent_key_stays_urgent_until_it_has_been_dealt_with() {
    let queue = Queue::default();
    queue.wake_first(key("a"));
    assert_eq!(queue.next_urgent().await, Some(key("a")));
    queue.done(&key("a"));
    queue.wake(key("a"));
    assert_eq!(queue.next_urgent().await, Some(key("a")));
    queue.done(&key("a"));
    queue.schedule(&key("a"), Some(Instant::now() + Duration::from_secs(5)));
    assert_eq!(within(&queue, 6).await, None);
    assert_eq!(queue.next_urgent().await, Some(key("a")));
    queue.calm(&key("a"));
    queue.done(&key("a"));
    queue.wake(key("a"));
    assert_eq!(within(&queue, 1).await, Some(key("a")));
}
