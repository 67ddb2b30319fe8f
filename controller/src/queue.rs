//! Which keys are to be decided, and when. One key is never in flight twice; everything that wakes a key while it is in
//! flight makes it run once more. Keys whose weight must go wait behind nothing but each other.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::config::Role;

/// One object to decide about.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Key {
    pub(crate) role: Role,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Key {
    pub(crate) fn new(role: Role, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { role, namespace: namespace.into(), name: name.into() }
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {}/{}", self.role, self.namespace, self.name)
    }
}

/// Which keys are asked for.
#[derive(Clone, Copy)]
enum Lane {
    Urgent,
    Usual,
}

#[derive(Default)]
struct State {
    ready: VecDeque<Key>,
    /// Keys that go before all others.
    urgent: VecDeque<Key>,
    /// Keys that are urgent each time they are woken, until they have been dealt with.
    pressing: BTreeSet<Key>,
    queued: BTreeSet<Key>,
    in_flight: BTreeSet<Key>,
    /// Woken while in flight; true for keys that are urgent.
    again: BTreeMap<Key, bool>,
    /// The deadline that counts for each key; entries of the heap that differ are void.
    deadlines: BTreeMap<Key, Instant>,
    timers: BinaryHeap<Reverse<(Instant, Key)>>,
    closed: bool,
}

impl State {
    fn push(&mut self, key: Key) {
        if self.pressing.contains(&key) {
            return self.push_urgent(key);
        }
        if self.in_flight.contains(&key) {
            self.again.entry(key).or_default();
        } else if self.queued.insert(key.clone()) {
            self.ready.push_back(key);
        }
    }

    fn push_urgent(&mut self, key: Key) {
        if self.in_flight.contains(&key) {
            self.again.insert(key, true);
            return;
        }
        if !self.queued.insert(key.clone()) {
            if self.urgent.contains(&key) {
                return;
            }
            self.ready.retain(|other| *other != key);
        }
        self.urgent.push_back(key);
    }

    fn take(&mut self, lane: Lane) -> Option<Key> {
        let key = match lane {
            Lane::Urgent => self.urgent.pop_front()?,
            Lane::Usual => self.ready.pop_front()?,
        };
        self.queued.remove(&key);
        self.in_flight.insert(key.clone());
        Some(key)
    }

    /// Moves keys whose deadline has come; returns the next deadline.
    fn fire(&mut self, now: Instant) -> Option<Instant> {
        while let Some(Reverse((at, key))) = self.timers.peek().cloned() {
            let valid = self.deadlines.get(&key) == Some(&at);
            if valid && at > now {
                return Some(at);
            }
            self.timers.pop();
            if valid {
                self.deadlines.remove(&key);
                self.push(key);
            }
        }
        None
    }
}

/// The queue of a process: every role's keys, and the one set of timers.
#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    changed: Notify,
    hurried: Notify,
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for the key to be decided as soon as possible.
    pub(crate) fn wake(&self, key: Key) {
        self.state().push(key);
        self.changed.notify_one();
        self.hurried.notify_one();
    }

    /// Asks for the key to be decided before all others, now and each time it is woken until [`Queue::calm`]: weight is to be
    /// taken away, and the first attempt may have to wait for a write of its own to be seen.
    pub(crate) fn wake_first(&self, key: Key) {
        let mut state = self.state();
        state.pressing.insert(key.clone());
        state.push_urgent(key);
        drop(state);
        self.hurried.notify_one();
    }

    /// Says that the key is like all others again.
    pub(crate) fn calm(&self, key: &Key) {
        self.state().pressing.remove(key);
    }

    /// Asks for the key to be decided at the instant, instead of at any instant asked for before.
    pub(crate) fn schedule(&self, key: &Key, at: Option<Instant>) {
        let mut state = self.state();
        match at {
            Some(at) => {
                state.deadlines.insert(key.clone(), at);
                state.timers.push(Reverse((at, key.clone())));
            }
            None => {
                state.deadlines.remove(key);
            }
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Returns the next key that goes before all others, in flight from now on; `None` once the queue is closed.
    pub(crate) async fn next_urgent(&self) -> Option<Key> {
        loop {
            {
                let mut state = self.state();
                if state.closed {
                    return None;
                }
                if let Some(key) = state.take(Lane::Urgent) {
                    return Some(key);
                }
            }
            self.hurried.notified().await;
        }
    }

    /// Returns the next of all other keys, in flight from now on; `None` once the queue is closed.
    pub(crate) async fn next(&self) -> Option<Key> {
        loop {
            let deadline = {
                let mut state = self.state();
                if state.closed {
                    return None;
                }
                let deadline = state.fire(Instant::now());
                if !state.urgent.is_empty() {
                    self.hurried.notify_one();
                }
                if let Some(key) = state.take(Lane::Usual) {
                    return Some(key);
                }
                deadline
            };
            match deadline {
                Some(at) => {
                    tokio::select! {
                        () = self.changed.notified() => {}
                        () = tokio::time::sleep_until(at) => {}
                    }
                }
                None => self.changed.notified().await,
            }
        }
    }

    /// Says that the key is not in flight any more.
    pub(crate) fn done(&self, key: &Key) {
        let mut state = self.state();
        state.in_flight.remove(key);
        match state.again.remove(key) {
            Some(true) => state.push_urgent(key.clone()),
            Some(false) => state.push(key.clone()),
            None => {}
        }
        drop(state);
        self.changed.notify_one();
        self.hurried.notify_one();
    }

    /// Lets no further key begin.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.changed.notify_one();
        self.hurried.notify_one();
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.state().in_flight.len()
    }
}

#[cfg(test)]
mod tests;
