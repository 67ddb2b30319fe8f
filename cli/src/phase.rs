//! What a Rollout's status says to a reader: Argo's rules, where they go beyond the stored phase.

use sluice_crds::labels;
use sluice_crds::rollout::Rollout;

/// Phase and message for people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Shown {
    pub(crate) phase: String,
    pub(crate) message: String,
}

/// Returns phase and message; a status that does not describe the present spec is Progressing (Argo's `GetRolloutPhase`).
pub(crate) fn of(rollout: &Rollout) -> Shown {
    let shown = |phase: &str, message: &str| Shown { phase: phase.into(), message: message.into() };
    let Some(status) = &rollout.status else {
        return shown("Progressing", "waiting for rollout spec update to be observed");
    };
    let generation = rollout.metadata.generation.unwrap_or(0);
    let observed = status.observed_generation.as_deref().and_then(|g| g.parse::<i64>().ok());
    if observed.is_none_or(|observed| observed != generation) {
        return shown("Progressing", "waiting for rollout spec update to be observed");
    }
    // A reference whose generation nobody noted yet says nothing (Argo's `isWorkloadGenerationObserved`).
    let noted =
        rollout.metadata.annotations.as_ref().and_then(|a| a.get(labels::WORKLOAD_GENERATION));
    let seen = status.workload_observed_generation.as_ref();
    if rollout.spec.workload_ref.is_some()
        && let (Some(noted), Some(seen)) = (noted, seen)
        && noted != seen
    {
        let message = "waiting for rollout spec update to be observed for the reference workload";
        return shown("Progressing", message);
    }
    let pauses = status.pause_conditions.as_deref().unwrap_or_default();
    if status.controller_pause == Some(true) && pauses.is_empty() {
        return shown("Progressing", "waiting for rollout to unpause");
    }
    Shown {
        phase: status.phase.clone().unwrap_or_else(|| "Progressing".into()),
        message: status.message.clone().unwrap_or_default(),
    }
}
