//! Time of the simulation.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

/// What tells the time to a served world. Without a server, time is an argument.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    Manual(Arc<Mutex<DateTime<Utc>>>),
    Tokio { start: DateTime<Utc>, origin: Instant },
}

impl Clock {
    /// Returns a clock that stands still until it is set.
    pub fn manual(start: DateTime<Utc>) -> Self {
        Self(Source::Manual(Arc::new(Mutex::new(start))))
    }

    /// Returns a clock that runs with tokio's time: real time, or virtual time in a runtime whose time is paused.
    pub fn running(start: DateTime<Utc>) -> Self {
        Self(Source::Tokio { start, origin: Instant::now() })
    }

    /// Returns the time.
    pub fn now(&self) -> DateTime<Utc> {
        match &self.0 {
            Source::Manual(now) => *now.lock().unwrap_or_else(PoisonError::into_inner),
            Source::Tokio { start, origin } => {
                let passed = TimeDelta::from_std(origin.elapsed()).unwrap_or(TimeDelta::MAX);
                *start + passed
            }
        }
    }

    /// Moves a manual clock forward; a running one goes by itself.
    pub fn advance(&self, by: TimeDelta) {
        if let Source::Manual(now) = &self.0 {
            *now.lock().unwrap_or_else(PoisonError::into_inner) += by;
        }
    }

    /// Returns the tokio instant at which the clock will show `at`, or `None` if it does not run.
    pub(crate) fn instant_of(&self, at: DateTime<Utc>) -> Option<Instant> {
        match &self.0 {
            Source::Manual(_) => None,
            Source::Tokio { start, origin } => {
                let offset = (at - *start).to_std().unwrap_or_default();
                Some(*origin + offset)
            }
        }
    }
}
