//! What people hear of changes of the status that are no transition of their own: an update that began, and AnalysisRuns
//! (`spec-rollouts` 8.3).

use sluice_crds::rollout::RolloutStatus;
use sluice_crds::rollout::status::AnalysisRunRef;

use super::conditions;
use crate::plan::{Notice, Severity};
use crate::rollout::situation::Roles;

/// Returns the notices of what differs between the status as observed and the next one.
pub(super) fn changes(s: &Roles<'_>, next: &RolloutStatus) -> Vec<Notice> {
    let old = s.status();
    let ends = |kind: &str| {
        let is = |status: &RolloutStatus, truth: &str| {
            conditions::find(status, kind).is_some_and(|condition| condition.status == truth)
        };
        is(old, "True") && is(next, "False")
    };
    let mut notices = Vec::new();
    // As in Argo: not for `spec.paused`, and not where an abort ends the pause.
    let by_hand = old.message.as_deref() == Some("manually paused");
    let resumed = ends("Paused") && !by_hand && next.abort != Some(true);
    if resumed {
        notices.push(Notice {
            severity: Severity::Normal,
            reason: "RolloutResumed",
            message: "Rollout is resumed".to_owned(),
        });
    }
    if ends("Completed") {
        let (revision, hash) = (s.revision(), &s.hash);
        let message =
            format!("Rollout not completed, started update to revision {revision} ({hash})");
        notices.push(Notice { severity: Severity::Normal, reason: "RolloutNotCompleted", message });
    }
    for ((kind, before), (_, now)) in runs(old).into_iter().zip(runs(next)) {
        notices.extend(now.and_then(|now| run(kind, before, now)));
    }
    notices
}

/// The runs of a status, with Argo's names of their kinds.
fn runs(status: &RolloutStatus) -> [(&'static str, Option<&AnalysisRunRef>); 4] {
    let (canary, blue_green) = (status.canary.as_ref(), status.blue_green.as_ref());
    [
        ("Step", canary.and_then(|c| c.current_step_analysis_run_status.as_ref())),
        ("Background", canary.and_then(|c| c.current_background_analysis_run_status.as_ref())),
        ("PrePromotion", blue_green.and_then(|b| b.pre_promotion_analysis_run_status.as_ref())),
        ("PostPromotion", blue_green.and_then(|b| b.post_promotion_analysis_run_status.as_ref())),
    ]
}

/// Returns the notice of a run whose phase is another one.
fn run(kind: &str, before: Option<&AnalysisRunRef>, now: &AnalysisRunRef) -> Option<Notice> {
    let before = before.filter(|before| before.name == now.name);
    if before.is_some_and(|before| before.status == now.status) {
        return None;
    }
    let (severity, reason) = match now.status.as_str() {
        "Pending" => (Severity::Normal, "AnalysisRunPending"),
        "Running" => (Severity::Normal, "AnalysisRunRunning"),
        "Successful" => (Severity::Normal, "AnalysisRunSuccessful"),
        "Inconclusive" => (Severity::Normal, "AnalysisRunInconclusive"),
        "Failed" => (Severity::Warning, "AnalysisRunFailed"),
        "Error" => (Severity::Warning, "AnalysisRunError"),
        _ => return None,
    };
    let before = before.map_or("NoPreviousStatus", |before| before.status.as_str());
    let (name, phase) = (&now.name, &now.status);
    let message =
        format!("{kind} Analysis Run '{name}' Status New: '{phase}' Previous: '{before}'");
    Some(Notice { severity, reason, message })
}
