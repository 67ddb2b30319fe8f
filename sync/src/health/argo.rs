use serde_json::Value;
use sluice_crds::application::HealthStatusCode;

use super::{Health, condition};
use crate::key::{annotation, number, text};

/// As Argo CD's Lua check: generation, then `status.phase`, then conditions of releases that had no phase.
pub(super) fn rollout(live: &Value) -> Health {
    let observed = match live.pointer("/status/observedGeneration") {
        Some(Value::String(text)) => text.parse().ok(),
        Some(Value::Number(number)) => number.as_i64(),
        Some(_) | None => None,
    };
    if observed != Some(number(live, "/metadata/generation")) {
        return Health::progressing("Waiting for rollout spec update to be observed");
    }
    let workload = annotation(live, "rollout.argoproj.io/workload-generation");
    if live.pointer("/spec/workloadRef").is_some()
        && workload != text(live, "/status/workloadObservedGeneration")
    {
        return Health::progressing(
            "Waiting for rollout spec update to be observed for the workload",
        );
    }
    let message = text(live, "/status/message").unwrap_or_default();
    match text(live, "/status/phase") {
        Some("Paused") => Health::suspended(message),
        Some("Healthy") => Health { message: message.to_owned(), ..Health::healthy() },
        Some("Degraded") => Health::degraded(message),
        Some("Progressing") => Health::progressing(message),
        Some("") | None => old_rollout(live),
        Some(other) => Health::unknown(format!("phase `{other}`")),
    }
}

fn old_rollout(live: &Value) -> Health {
    if let Some((_, _, message)) = condition(live, "InvalidSpec") {
        return Health::degraded(message);
    }
    if let Some((_, "RolloutAborted" | "ProgressDeadlineExceeded", message)) =
        condition(live, "Progressing")
    {
        return Health::degraded(message);
    }
    let paused = live.pointer("/spec/paused") == Some(&Value::Bool(true))
        || live.pointer("/status/pauseConditions").is_some();
    if paused {
        return Health::suspended("Rollout is paused");
    }
    let wanted = live.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1);
    let updated = number(live, "/status/updatedReplicas");
    if updated < wanted {
        return Health::progressing(format!("{updated} of {wanted} replicas have been updated"));
    }
    if number(live, "/status/availableReplicas") < updated {
        return Health::progressing("updated replicas are not available yet");
    }
    let current = text(live, "/status/currentPodHash");
    let serving = text(live, "/status/blueGreen/activeSelector").or(text(live, "/status/stableRS"));
    if serving.is_some() && serving != current {
        return Health::progressing("the new version does not serve yet");
    }
    Health::healthy()
}

/// AnalysisRun and Experiment share their phases.
pub(super) fn analysis_run(live: &Value) -> Health {
    let message = text(live, "/status/message").unwrap_or_default();
    match text(live, "/status/phase") {
        None | Some("" | "Pending" | "Running") => Health::progressing(message),
        Some("Successful") => Health { message: message.to_owned(), ..Health::healthy() },
        Some("Failed" | "Error") => Health::degraded(message),
        Some(_) => Health::unknown(message),
    }
}

/// A deliberate difference: Argo CD has had no check for child applications since 1.8, so that waves do not wait for them.
pub(super) fn application(live: &Value) -> Health {
    let message = text(live, "/status/health/message").unwrap_or_default();
    let status = match text(live, "/status/health/status") {
        Some("Healthy") => HealthStatusCode::Healthy,
        Some("Suspended") => HealthStatusCode::Suspended,
        None | Some("Progressing") => HealthStatusCode::Progressing,
        Some("Missing") => HealthStatusCode::Missing,
        Some("Degraded") => HealthStatusCode::Degraded,
        Some(_) => HealthStatusCode::Unknown,
    };
    Health::new(status, message)
}

pub(super) fn application_set(live: &Value) -> Health {
    if let Some(("True", _, message)) = condition(live, "ErrorOccurred") {
        return Health::degraded(message);
    }
    if let Some(("False", _, message)) = condition(live, "ResourcesUpToDate") {
        return Health::degraded(message);
    }
    if let Some(("True", _, message)) = condition(live, "RolloutProgressing") {
        return Health::progressing(message);
    }
    match condition(live, "ResourcesUpToDate") {
        Some(("True", _, _)) => Health::healthy(),
        Some(_) | None => Health::progressing("waiting for the first status"),
    }
}

pub(super) fn workflow(live: &Value) -> Health {
    let message = text(live, "/status/message").unwrap_or_default();
    match text(live, "/status/phase") {
        None | Some("" | "Pending" | "Running") => Health::progressing(message),
        Some("Succeeded") => Health::healthy(),
        Some("Failed" | "Error") => Health::degraded(message),
        Some(other) => Health::unknown(format!("phase `{other}`")),
    }
}
