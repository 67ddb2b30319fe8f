//! Conditions (`spec-rollouts` 8.2).

use sluice_crds::rollout::RolloutStatus;
use sluice_crds::rollout::status::Condition;
use sluice_crds::time::Time;

use crate::plan::{Notice, Severity};
use crate::rollout::situation::{Roles, revision_of};
use crate::rollout::status::{Inputs, Part};
use crate::rollout::steps::Transition;
use crate::rollout::{blue_green, deadline};

/// Brings all conditions up to date with the rest of the status.
pub(super) fn update(s: &Roles<'_>, inputs: &Inputs<'_>, status: &mut RolloutStatus) {
    let transition = inputs.transition;
    let now: Time = s.now().into();
    remove(status, "InvalidSpec");
    not_acted_on(s, status, now);
    paused(s, status, now);
    progressing(s, transition, status, now);
    let available =
        status.available_replicas.unwrap_or(0) >= i32::try_from(s.n).unwrap_or(i32::MAX);
    set(status, now, "Available", truth(available), "AvailableReason", available_text(available));
    let completed = status.stable_rs.is_some() && status.stable_rs == status.current_pod_hash;
    set(
        status,
        now,
        "Completed",
        truth(completed),
        "RolloutCompleted",
        if completed { "RolloutCompleted" } else { "RolloutNotCompleted" },
    );
    let whole = match inputs.part {
        Part::Canary(_) => completed && status.replicas == wanted(s),
        Part::BlueGreen(..) => completed && blue_green::serves(status),
    };
    healthy(s, status, now, whole);
    failure(s, status, now);
}

fn available_text(available: bool) -> &'static str {
    if available {
        "Rollout has minimum availability"
    } else {
        "Rollout does not have minimum availability"
    }
}

fn truth(value: bool) -> &'static str {
    if value { "True" } else { "False" }
}

/// What the spec asks for and nobody acts on yet is said, never silently dropped.
fn not_acted_on(s: &Roles<'_>, status: &mut RolloutStatus, now: Time) {
    let fields = crate::rollout::problems::not_acted_on(s.rollout);
    if fields.is_empty() {
        remove(status, "NotActedOn");
        return;
    }
    let message = format!("accepted, but not acted on yet: {}", fields.join(", "));
    set(status, now, "NotActedOn", "True", "NotActedOn", &message);
}

/// Condition of a canary whose weight holds because a metrics server cannot be reached.
pub(crate) const UNREACHABLE: &str = "MetricsUnreachable";
/// Condition of a Rollout with a field that somebody else keeps changing.
pub(crate) const CONTENDED: &str = "FieldContended";

/// What keeps the Rollout from going on although nothing is wrong with it: a metrics server that is out of reach, another
/// writer. Said as conditions while it lasts, and as a notice when it begins.
pub(super) fn hindrances(
    s: &Roles<'_>,
    inputs: &Inputs<'_>,
    status: &mut RolloutStatus,
    notices: &mut Vec<Notice>,
) {
    let concerns = status.abort != Some(true) && status.stable_rs != status.current_pod_hash;
    let outage = inputs.verdicts.outage().filter(|_| concerns).map(|outage| outage.message(s));
    let contended = (!inputs.contended.is_empty()).then(|| inputs.contended.join("; "));
    for (kind, message) in [(UNREACHABLE, outage), (CONTENDED, contended)] {
        let Some(message) = message else {
            remove(status, kind);
            continue;
        };
        if find(status, kind).is_none() {
            let message = message.clone();
            notices.push(Notice { severity: Severity::Warning, reason: kind, message });
        }
        set(status, s.now().into(), kind, "True", kind, &message);
    }
}

fn paused(s: &Roles<'_>, status: &mut RolloutStatus, now: Time) {
    let paused = s.is_paused_by_user() || status.pause_conditions.iter().flatten().next().is_some();
    let known = find(status, "Paused").is_some();
    if paused || known {
        let message = if paused { "Rollout is paused" } else { "Rollout is not paused" };
        set(status, now, "Paused", truth(paused), "RolloutPaused", message);
    }
}

fn progressing(s: &Roles<'_>, transition: &Transition, status: &mut RolloutStatus, now: Time) {
    let old = find(status, "Progressing").cloned();
    let (truth, reason, message) = progress(s, transition, status, old.as_ref());
    let moved = has_moved(s, transition, status);
    let same = old.as_ref().is_some_and(|old| old.status == truth && old.reason == reason);
    if same && !moved {
        return;
    }
    set(status, now, "Progressing", truth, reason, &message);
    if moved
        && let Some(condition) =
            status.conditions.iter_mut().flatten().find(|c| c.kind == "Progressing")
    {
        condition.last_update_time = Some(now);
        condition.message = message;
    }
}

fn progress(
    s: &Roles<'_>,
    transition: &Transition,
    status: &RolloutStatus,
    old: Option<&Condition>,
) -> (&'static str, &'static str, String) {
    let set_name = s.current.map_or_else(String::new, |rs| rs.meta.name.clone());
    let promoted = status.stable_rs.is_some() && status.stable_rs == status.current_pod_hash;
    if status.abort == Some(true) && !promoted {
        let cause = status.sluice.as_ref().and_then(|own| own.abort_cause.clone());
        return ("False", "RolloutAborted", cause.unwrap_or_default());
    }
    if *transition == Transition::Retry {
        return ("Unknown", "RolloutRetry", "Retrying Rollout after abort".to_owned());
    }
    if status.pause_conditions.iter().flatten().next().is_some() || s.is_paused_by_user() {
        return ("Unknown", "RolloutPaused", "Rollout is paused".to_owned());
    }
    let all = s.current_available() >= s.n;
    if promoted && all {
        return (
            "True",
            "NewReplicaSetAvailable",
            format!("ReplicaSet \"{set_name}\" has successfully progressed."),
        );
    }
    if *transition == Transition::Stay && deadline::state(s).is_passed() && !counts_moved(s, status)
    {
        return ("False", "ProgressDeadlineExceeded", deadline::message(s));
    }
    if promoted
        && old.is_some_and(|old| {
            old.reason == "NewReplicaSetAvailable" || old.reason == "ReplicaSetNotAvailable"
        })
    {
        return (
            "True",
            "ReplicaSetNotAvailable",
            format!("ReplicaSet \"{set_name}\" is not available"),
        );
    }
    if old.is_none() && s.current.is_some_and(|rs| rs.replicas > 0 || rs.existing > 0) {
        return ("True", "FoundNewReplicaSet", format!("Found new replica set \"{set_name}\""));
    }
    if s.current.is_none() || old.is_none() || is_born(s, transition) {
        let name = if set_name.is_empty() {
            format!("{}-{}", s.rollout.meta.name, s.hash)
        } else {
            set_name
        };
        return ("True", "NewReplicaSetCreated", format!("Created new replica set \"{name}\""));
    }
    if old.is_some_and(|old| old.reason == "RolloutPaused") {
        return ("Unknown", "RolloutResumed", "Rollout is resumed".to_owned());
    }
    if *transition == Transition::Stay
        && !counts_moved(s, status)
        && let Some(old) = old
    {
        for reason in ["RolloutResumed", "RolloutRetry"] {
            if old.reason == reason {
                return ("Unknown", reason, old.message.clone());
            }
        }
    }
    ("True", "ReplicaSetUpdated", format!("ReplicaSet \"{set_name}\" is progressing."))
}

/// Whether the ReplicaSet of a new revision was created for it, and is not one of before that is used again.
fn is_born(s: &Roles<'_>, transition: &Transition) -> bool {
    *transition == Transition::Reset
        && s.is_new_revision()
        && s.current.is_some_and(|rs| rs.replicas == 0 && revision_of(&rs.meta) == s.revision())
}

/// Whether this decision records progress: a transition, or Pods on their way.
fn has_moved(s: &Roles<'_>, transition: &Transition, status: &RolloutStatus) -> bool {
    *transition != Transition::Stay || counts_moved(s, status)
}

fn counts_moved(s: &Roles<'_>, status: &RolloutStatus) -> bool {
    let old = s.status();
    let left = |status: &RolloutStatus| {
        status.replicas.unwrap_or(0).saturating_sub(status.updated_replicas.unwrap_or(0))
    };
    old.updated_replicas != status.updated_replicas
        || left(status) < left(old)
        || status.ready_replicas > old.ready_replicas
        || status.available_replicas > old.available_replicas
        || blue_green::marks(old) != blue_green::marks(status)
}

fn wanted(s: &Roles<'_>) -> Option<i32> {
    Some(i32::try_from(s.n).unwrap_or(i32::MAX))
}

fn healthy(s: &Roles<'_>, status: &mut RolloutStatus, now: Time, whole: bool) {
    let paused = s.is_paused_by_user() || status.pause_conditions.iter().flatten().next().is_some();
    let healthy = !paused
        && whole
        && status.updated_replicas == wanted(s)
        && status.available_replicas == wanted(s);
    if healthy || find(status, "Healthy").is_some() {
        let message = if healthy { "Rollout is healthy" } else { "Rollout is not healthy" };
        set(status, now, "Healthy", truth(healthy), "RolloutHealthy", message);
    }
}

fn failure(s: &Roles<'_>, status: &mut RolloutStatus, now: Time) {
    let failure = s.owned().find_map(|rs| rs.failure.clone());
    match failure {
        Some(message) => set(status, now, "ReplicaFailure", "True", "FailedCreate", &message),
        None => remove(status, "ReplicaFailure"),
    }
}

pub(crate) fn find<'a>(status: &'a RolloutStatus, kind: &str) -> Option<&'a Condition> {
    status.conditions.iter().flatten().find(|c| c.kind == kind)
}

pub(crate) fn remove(status: &mut RolloutStatus, kind: &str) {
    if let Some(conditions) = &mut status.conditions {
        conditions.retain(|c| c.kind != kind);
    }
}

/// Sets a condition: rewritten only if status or reason changed, or if the message is what matters.
pub(crate) fn set(
    status: &mut RolloutStatus,
    now: Time,
    kind: &str,
    truth: &str,
    reason: &str,
    message: &str,
) {
    let conditions = status.conditions.get_or_insert_with(Vec::new);
    let fresh = |transition: Time| Condition {
        kind: kind.to_owned(),
        status: truth.to_owned(),
        last_update_time: Some(now),
        last_transition_time: Some(transition),
        reason: reason.to_owned(),
        message: message.to_owned(),
    };
    match conditions.iter_mut().find(|c| c.kind == kind) {
        None => conditions.push(fresh(now)),
        Some(old) => {
            let spoken = ["InvalidSpec", "NotActedOn", "ReplicaFailure", UNREACHABLE, CONTENDED]
                .contains(&kind)
                && old.message != message;
            if old.status != truth || old.reason != reason || spoken {
                let since = if old.status == truth { old.last_transition_time } else { None };
                *old = fresh(since.unwrap_or(now));
            }
        }
    }
}
