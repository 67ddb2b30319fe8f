//! Pauses, and how people end them (`spec-rollouts` 3.3, 3.7).

use chrono::{DateTime, Duration, Utc};
use sluice_crds::intstr::IntOrString;
use sluice_crds::rollout::CanaryStep;

use super::situation::Situation;

/// Reason of a pause step, also of the pause that follows a `setWeight` with `duration`.
pub(crate) const STEP: &str = "CanaryPauseStep";
/// Reason of a pause after an inconclusive analysis.
pub(crate) const INCONCLUSIVE: &str = "InconclusiveAnalysisRun";

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

/// Returns the duration of a step's pause: `None` for no pause, `Some(None)` for one without end.
pub(crate) fn length(step: &CanaryStep) -> Option<Option<Duration>> {
    match (&step.pause, &step.duration) {
        (Some(pause), _) => Some(pause.duration.as_ref().and_then(parse)),
        (None, Some(duration)) => Some(parse(duration)),
        (None, None) => None,
    }
}

/// Returns where the pause stands. `length` is what [`length`] says of the step.
///
/// A pause that we recorded and whose condition somebody took away is over: that is how `promote` and `resume` work. The
/// start is kept in whole seconds, cut off; so the wait is measured to the second after its end, never short.
pub(crate) fn state(s: &Situation<'_>, length: Option<Duration>) -> PauseState {
    let condition = s.status().pause_conditions.iter().flatten().find(|c| c.reason == STEP);
    match (condition, length) {
        (Some(condition), Some(length)) => {
            let start = condition.start_time.at() + Duration::seconds(1);
            let end = start.checked_add_signed(length).unwrap_or(DateTime::<Utc>::MAX_UTC);
            if s.now() >= end { PauseState::Over } else { PauseState::Until(end) }
        }
        (Some(_), None) => PauseState::UntilPromoted,
        (None, _) if s.status().controller_pause == Some(true) => PauseState::Over,
        (None, _) => PauseState::NotStarted,
    }
}

/// Reads a pause: seconds, or a Go duration. `None` for anything else; such a spec is refused before.
fn parse(duration: &IntOrString) -> Option<Duration> {
    let length = match duration {
        IntOrString::Int(seconds) => Duration::try_seconds(*seconds)?,
        IntOrString::String(text) => sluice_crds::duration::parse_or_seconds(text).ok()?,
    };
    (length >= Duration::zero()).then_some(length)
}
