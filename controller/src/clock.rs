//! Time as the shell sees it: the only place below `main` that reads the wall clock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

/// Tells the time to the shell; decisions get it as data.
pub trait Clock: Send + Sync + 'static {
    /// Returns the present instant.
    fn now(&self) -> DateTime<Utc>;
}

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }
}

/// A clock that begins at a fixed instant and runs as tokio's timers do: with paused timers, so does this clock.
#[derive(Clone, Copy, Debug)]
pub struct RuntimeClock {
    epoch: DateTime<Utc>,
    started: Instant,
}

impl RuntimeClock {
    /// Returns a clock that shows `epoch` now. Must be called inside a runtime.
    pub fn starting_at(epoch: DateTime<Utc>) -> Self {
        Self { epoch, started: Instant::now() }
    }
}

impl Clock for RuntimeClock {
    fn now(&self) -> DateTime<Utc> {
        let passed = chrono::Duration::from_std(self.started.elapsed()).unwrap_or_default();
        self.epoch + passed
    }
}

/// Returns how long it is until `at`; nothing if that is past.
pub(crate) fn until(clock: &dyn Clock, at: DateTime<Utc>) -> Duration {
    (at - clock.now()).to_std().unwrap_or_default()
}

/// Seeded jitter, so that many watches and keys do not move in step. Owned by the shell (`design.md` 7).
#[derive(Debug)]
pub(crate) struct Jitter(AtomicU64);

impl Jitter {
    pub(crate) fn seeded(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// Returns a duration between half of `base` and all of it.
    pub(crate) fn spread(&self, base: Duration) -> Duration {
        // splitmix64: one add and two multiplications are all the randomness that jitter needs.
        let mut z = self.0.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let share = f64::from((z >> 40) as u32) / f64::from(1_u32 << 24);
        base.mul_f64(0.5 + share / 2.0)
    }
}

/// Exponential delays between tries: doubled after each failure, from `first` up to `limit`, jittered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    first: Duration,
    limit: Duration,
    failures: u32,
}

impl Backoff {
    pub(crate) fn new(first: Duration, limit: Duration) -> Self {
        Self { first, limit, failures: 0 }
    }

    pub(crate) fn next(&mut self, jitter: &Jitter) -> Duration {
        let factor = 2_u32.saturating_pow(self.failures.min(20));
        self.failures = self.failures.saturating_add(1);
        jitter.spread(self.first.saturating_mul(factor).min(self.limit))
    }

    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}
