//! How many keys are decided at a time: as many as the API server serves without letting them queue (`performance.md` 5, rule 14).
//!
//! More writes at a time than it has cores to serve them make each one slower and none of them sooner, and an abort, which waits for
//! no slot here, would wait behind all of them there. So there are fewer slots when answers take much longer than the fastest
//! ones of late, and slowly more when they do not.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

/// Slots that there always are.
const LEAST: usize = 6;
/// An answer is late if it takes so many times as long as the fastest of late, and [`GRACE`].
const LATE: f64 = 3.0;
/// Seconds that mean nothing.
const GRACE: f64 = 0.005;
/// What a late answer leaves of the slots.
const LESS: f64 = 0.95;
/// By how much the fastest answer counts as slower with each second: a server that has become slower is no busy one.
const FORGOTTEN: f64 = 0.05;

/// The slots of a process.
pub(crate) struct Pace {
    slots: Arc<Semaphore>,
    most: usize,
    state: Mutex<State>,
}

struct State {
    /// Slots that are wanted.
    wanted: f64,
    /// Slots that exist, taken or not.
    exist: usize,
    /// Seconds of the fastest answer of late.
    fastest: f64,
    heard_at: Instant,
}

/// What became of a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Answer {
    /// It was answered after this time.
    After(Duration),
    /// The server said that it is busy, or nothing.
    Busy,
}

impl Pace {
    /// At most so many slots.
    pub(crate) fn new(most: usize) -> Self {
        let most = most.max(LEAST);
        let exist = most.div_ceil(2).max(LEAST);
        let wanted = f64::from(u32::try_from(exist).unwrap_or(u32::MAX));
        let state = State { wanted, exist, fastest: f64::INFINITY, heard_at: Instant::now() };
        Self { slots: Arc::new(Semaphore::new(exist)), most, state: Mutex::new(state) }
    }

    /// Returns what a key needs one of to be decided.
    pub(crate) fn slots(&self) -> &Arc<Semaphore> {
        &self.slots
    }

    /// Told of each write.
    pub(crate) fn heard(&self, answer: Answer) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let most = f64::from(u32::try_from(self.most).unwrap_or(u32::MAX));
        let least = f64::from(u32::try_from(LEAST).unwrap_or(u32::MAX));
        let wanted = match answer {
            Answer::Busy => state.wanted / 2.0,
            Answer::After(took) if state.is_late(took) => state.wanted * LESS,
            Answer::After(_) => state.wanted + 1.0 / state.wanted,
        };
        state.wanted = wanted.clamp(least, most);
        self.adjust(&mut state);
    }

    /// Adds slots, or takes away free ones; those in use follow when they are free.
    fn adjust(&self, state: &mut State) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is clamped"
        )]
        let wanted = state.wanted as usize;
        if wanted > state.exist {
            self.slots.add_permits(wanted - state.exist);
            state.exist = wanted;
        } else {
            state.exist -= self.slots.forget_permits(state.exist - wanted);
        }
    }
}

impl State {
    fn is_late(&mut self, took: Duration) -> bool {
        let took = took.as_secs_f64();
        let forgotten = 1.0 + FORGOTTEN * self.heard_at.elapsed().as_secs_f64();
        self.heard_at = Instant::now();
        self.fastest = took.min(self.fastest * forgotten);
        took > self.fastest * LATE + GRACE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hears(pace: &Pace, times: usize, answer: Answer) -> usize {
        (0..times).for_each(|_| pace.heard(answer));
        pace.slots().available_permits()
    }

    fn after(ms: u64) -> Answer {
        Answer::After(Duration::from_millis(ms))
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_answers_late_gets_less_to_do_and_more_again_when_it_is_fast() {
        let pace = Pace::new(32);
        assert_eq!(hears(&pace, 1000, after(10)), 32);
        assert_eq!(hears(&pace, 100, after(100)), LEAST);
        assert_eq!(hears(&pace, 1000, after(10)), 32);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_is_far_away_is_not_taken_for_a_busy_one() {
        let pace = Pace::new(32);
        assert_eq!(hears(&pace, 1000, after(200)), 32);
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_server_gets_half_and_slots_in_use_are_taken_when_they_are_free() {
        let pace = Pace::new(32);
        assert_eq!(hears(&pace, 1000, after(10)), 32);
        let taken = Arc::clone(pace.slots()).acquire_many_owned(30).await.unwrap();
        assert_eq!(hears(&pace, 1, Answer::Busy), 0);
        drop(taken);
        assert_eq!(hears(&pace, 1, after(10)), 16);
    }
}
