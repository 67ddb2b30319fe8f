//! How an update ended.

use sluice_crds::rollout::RolloutStatus;
use sluice_engine::report::Report;

use super::timeline::{Outcome, Step, Wait};

/// Where everything is when nothing more is played.
pub(super) struct End<'a> {
    pub(super) status: &'a RolloutStatus,
    pub(super) report: &'a Report,
    pub(super) steps: &'a [Step],
    pub(super) is_installed: bool,
    /// Whether the new version is the stable one.
    pub(super) is_new_stable: bool,
    /// Whether nothing is pending.
    pub(super) is_at_rest: bool,
    pub(super) violation: Option<&'a str>,
    pub(super) promoted_at: Option<f64>,
    pub(super) aborted_at: Option<f64>,
    pub(super) paused_since: Option<f64>,
}

/// Says how it ended.
pub(super) fn of(end: &End<'_>) -> Outcome {
    if let Some(why) = end.violation {
        return Outcome::Violation { why: why.to_owned() };
    }
    let status = end.status;
    let phase = status.phase.as_deref().unwrap_or_default();
    let why = status.message.clone().unwrap_or_else(|| phase.to_owned());
    let conditions = status.conditions.iter().flatten();
    if conditions.clone().any(|c| c.kind == "InvalidSpec" && c.status == "True") {
        return Outcome::Invalid { problems: waits(end.report) };
    }
    if !end.is_installed {
        return Outcome::NotInstalled { why, waits: waits(end.report) };
    }
    if status.abort == Some(true) {
        return Outcome::Aborted { at_seconds: end.aborted_at.unwrap_or_default(), why };
    }
    match (end.promoted_at, end.paused_since) {
        (Some(at_seconds), _) if end.is_new_stable && phase == "Healthy" => {
            Outcome::Promoted { at_seconds }
        }
        (_, Some(at_seconds)) => Outcome::Paused { at_seconds, why: paused(end, why) },
        _ if phase == "Degraded" || end.is_at_rest => {
            Outcome::Stuck { why, waits: waits(end.report) }
        }
        _ => Outcome::Unfinished { why, waits: waits(end.report) },
    }
}

fn waits(report: &Report) -> Vec<Wait> {
    let waits = report.waiting.iter();
    waits.map(|wait| Wait { what: wait.what.clone(), hint: wait.hint.clone() }).collect()
}

fn paused(end: &End<'_>, why: String) -> String {
    let step = end.status.current_step_index.and_then(|index| usize::try_from(index).ok());
    match step.and_then(|step| Some((step + 1, end.steps.get(step)?))) {
        Some((number, known)) => format!("step {number} of {}: {}", end.steps.len(), known.text),
        None => why,
    }
}
