//! Phase and message (`spec-rollouts` 8.1): the first test that matches.

use sluice_crds::rollout::RolloutStatus;

use super::conditions;
use crate::rollout::routes::Traffic;
use crate::rollout::situation::{Roles, Situation};
use crate::rollout::status::{Inputs, Part};
use crate::rollout::{blue_green, restart};

/// Returns phase and message of a Rollout with this status.
///
/// Stricter than Argo in one point (S23): Healthy means that all traffic reaches the stable revision.
pub(super) fn of(
    s: &Roles<'_>,
    inputs: &Inputs<'_>,
    status: &RolloutStatus,
) -> (&'static str, String) {
    if let Some(found) = by_conditions(status) {
        return found;
    }
    let (name, message) = by_progress(s, inputs, status);
    // Pauses keep Argo's words: its tools read them.
    let hindrance = [conditions::UNREACHABLE, conditions::CONTENDED]
        .into_iter()
        .find_map(|kind| conditions::find(status, kind))
        .filter(|_| name == "Progressing");
    (name, hindrance.map_or(message, |condition| condition.message.clone()))
}

fn by_progress(
    s: &Roles<'_>,
    inputs: &Inputs<'_>,
    status: &RolloutStatus,
) -> (&'static str, String) {
    if s.is_paused_by_user() {
        return ("Paused", "manually paused".to_owned());
    }
    if let Some(pause) = status.pause_conditions.iter().flatten().next() {
        return ("Paused", pause.reason.clone());
    }
    if restart::is_pending(&s.rollout.spec, status) {
        return ("Progressing", "rollout is restarting".to_owned());
    }
    let wanted = i64::from(s.n);
    let count = |value: Option<i32>| i64::from(value.unwrap_or(0));
    let updated = count(status.updated_replicas);
    if updated < wanted {
        return ("Progressing", "more replicas need to be updated".to_owned());
    }
    if count(status.available_replicas) < updated {
        return ("Progressing", "updated replicas are still becoming available".to_owned());
    }
    let waits = match inputs.part {
        Part::Canary(canary) => by_steps(canary, inputs.traffic, status),
        Part::BlueGreen(..) => blue_green::waits_for(status).map(str::to_owned),
    };
    waits.map_or_else(|| ("Healthy", String::new()), |waits| ("Progressing", waits))
}

/// What keeps a canary with all its Pods from being done.
fn by_steps(
    s: &Situation<'_>,
    traffic: Option<&Traffic<'_>>,
    status: &RolloutStatus,
) -> Option<String> {
    if !s.is_routed() && status.replicas.unwrap_or(0) > status.updated_replicas.unwrap_or(0) {
        return Some("old replicas are pending termination".to_owned());
    }
    if status.stable_rs.is_none() || status.stable_rs != status.current_pod_hash {
        return Some("waiting for all steps to complete".to_owned());
    }
    if let (Some(traffic), Some(stable)) = (traffic, &status.stable_rs)
        && s.n > 0
        && !seeded!(HealthyEarly)
        && traffic.weight_of(stable) + traffic.other < 100
    {
        return Some("waiting for all traffic to reach the stable revision".to_owned());
    }
    None
}

/// The tests that conditions decide, also for a spec that cannot be acted on.
pub(crate) fn by_conditions(status: &RolloutStatus) -> Option<(&'static str, String)> {
    for condition in status.conditions.iter().flatten() {
        if condition.kind == "InvalidSpec" {
            return Some(("Degraded", format!("InvalidSpec: {}", condition.message)));
        }
        if condition.reason == "RolloutAborted" || condition.reason == "ProgressDeadlineExceeded" {
            return Some(("Degraded", format!("{}: {}", condition.reason, condition.message)));
        }
    }
    None
}
