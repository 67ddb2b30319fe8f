//! State of a Pod in one word, as kubectl prints it.

use k8s_openapi::api::core::v1::Pod;

/// Returns the word: a waiting or terminated container's reason, `Terminating`, or the phase.
pub(super) fn state(pod: &Pod) -> String {
    if pod.metadata.deletion_timestamp.is_some() {
        return "Terminating".into();
    }
    let Some(status) = &pod.status else { return "Pending".into() };
    let containers = status.container_statuses.as_deref().unwrap_or_default();
    for container in containers {
        let Some(state) = &container.state else { continue };
        if let Some(waiting) = &state.waiting
            && let Some(reason) = &waiting.reason
        {
            return reason.clone();
        }
        if let Some(ended) = &state.terminated {
            return ended.reason.clone().unwrap_or_else(|| format!("ExitCode:{}", ended.exit_code));
        }
    }
    status.reason.clone().or_else(|| status.phase.clone()).unwrap_or_else(|| "Unknown".into())
}

/// Returns `ready:1/1`, and restarts if there were any.
pub(super) fn info(pod: &Pod) -> String {
    let containers =
        pod.status.as_ref().and_then(|s| s.container_statuses.as_deref()).unwrap_or_default();
    let wanted = pod.spec.as_ref().map_or(0, |s| s.containers.len());
    let ready = containers.iter().filter(|c| c.ready).count();
    let restarts: i32 = containers.iter().map(|c| c.restart_count).sum();
    if restarts > 0 {
        return format!("ready:{ready}/{wanted},restarts:{restarts}");
    }
    format!("ready:{ready}/{wanted}")
}
