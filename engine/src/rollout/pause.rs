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
            let end = condition.start_time.at() + Duration::seconds(1) + length;
            if s.now() >= end { PauseState::Over } else { PauseState::Until(end) }
        }
        (Some(_), None) => PauseState::UntilPromoted,
        (None, _) if s.status().controller_pause == Some(true) => PauseState::Over,
        (None, _) => PauseState::NotStarted,
    }
}

/// Parses a pause: seconds, or a Go duration. `None` for anything else; such a spec is refused before.
pub(crate) fn parse(duration: &IntOrString) -> Option<Duration> {
    if let Some(seconds) = duration.as_int() {
        return (seconds >= 0).then(|| Duration::try_seconds(seconds)).flatten();
    }
    let IntOrString::String(text) = duration else { return None };
    go_duration(text).filter(|d| *d >= Duration::zero())
}

/// Parses a Go duration such as `1h30m` or `1.5s`.
pub(crate) fn go_duration(text: &str) -> Option<Duration> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(Duration::zero());
    }
    if rest.is_empty() {
        return None;
    }
    let mut total_ns = 0_f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest.get(..digits)?.parse().ok()?;
        let tail = rest.get(digits..)?;
        let units = [
            ("ns", 1.0),
            ("us", 1e3),
            ("µs", 1e3),
            ("ms", 1e6),
            ("s", 1e9),
            ("m", 60e9),
            ("h", 3600e9),
        ];
        let (unit, factor) = units.iter().find(|(unit, _)| tail.starts_with(unit))?;
        rest = tail.get(unit.len()..)?;
        total_ns += number * factor;
    }
    if total_ns > 9.2e18 {
        return None;
    }
    // The bound above keeps it in range; Go truncates to whole nanoseconds as well.
    #[allow(clippy::cast_possible_truncation)]
    let total = Duration::nanoseconds(total_ns as i64);
    Some(if negative { -total } else { total })
}
