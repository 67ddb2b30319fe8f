//! Pauses, and how people end them (`spec-rollouts` 3.3, 3.7).

use chrono::{DateTime, Duration, Utc};

use super::situation::Situation;

/// Reason of a pause step, also of the pause that follows a `setWeight` with `duration`.
pub(crate) const STEP: &str = "CanaryPauseStep";
/// Reason of a pause after an inconclusive analysis.
pub(crate) const INCONCLUSIVE: &str = "InconclusiveAnalysisRun";

/// Reason of a pause after an inconclusive experiment.
pub(crate) const INCONCLUSIVE_EXPERIMENT: &str = "InconclusiveExperiment";

/// Where the pause of a step stands.
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

/// Returns where the pause stands. `length` is that of `CanaryStep::pause_length`.
///
/// A pause that we recorded and whose condition somebody took away is over: that is how `promote` and `resume` work. The
/// start is kept in whole seconds, cut off; so the wait is measured to the second after its end, never short.
pub(crate) fn state(s: &Situation<'_>, length: Option<Duration>) -> PauseState {
    let condition = s.status().pause_conditions.iter().flatten().find(|c| c.reason == STEP);
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
