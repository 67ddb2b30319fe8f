//! Pauses, and how people end them (`spec-rollouts` 3.3, 3.7).

use chrono::{DateTime, Duration, Utc};

use super::situation::Roles;

/// Reason of a pause step, also of the pause that follows a `setWeight` with `duration`.
pub(crate) const STEP: &str = "CanaryPauseStep";
/// Reason of the pause of a blue-green update before users are switched.
pub(crate) const BLUE_GREEN: &str = "BlueGreenPause";
/// Reason of a pause after an inconclusive analysis.
pub(crate) const INCONCLUSIVE: &str = "InconclusiveAnalysisRun";

/// Reason of a pause after an inconclusive experiment.
pub(crate) const INCONCLUSIVE_EXPERIMENT: &str = "InconclusiveExperiment";

/// Where a pause stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PauseState {
    /// The step has not been recorded as paused.
    NotStarted,
    /// It lasts until the instant.
    Until(DateTime<Utc>),
    /// It lasts until somebody ends it.
    UntilPromoted,
    /// It is over.
    Over,
}

/// Returns where the pause of a step stands. `length` is that of `CanaryStep::pause_length`.
pub(crate) fn state(s: &Roles<'_>, length: Option<Duration>) -> PauseState {
    state_of(s, STEP, length)
}

/// Returns where the pause with the reason stands.
///
/// A pause that we recorded and whose condition somebody took away is over: that is how `promote` and `resume` work. The
/// start is kept in whole seconds, cut off; so the wait is measured to the second after its end, never short.
pub(crate) fn state_of(s: &Roles<'_>, reason: &str, length: Option<Duration>) -> PauseState {
    let condition = s.status().pause_conditions.iter().flatten().find(|c| c.reason == reason);
    match (condition, length) {
        (Some(condition), Some(length)) => {
            let rounding = Duration::seconds(i64::from(!seeded!(PauseShort)));
            let start = condition.start_time.at() + rounding;
            let end = start.checked_add_signed(length).unwrap_or(DateTime::<Utc>::MAX_UTC);
            if s.now() >= end { PauseState::Over } else { PauseState::Until(end) }
        }
        (Some(_), None) => PauseState::UntilPromoted,
        (None, _) if s.status().controller_pause == Some(true) && !seeded!(PauseAgain) => {
            PauseState::Over
        }
        (None, _) => PauseState::NotStarted,
    }
}
