//! State of a Pod in one word, as kubectl prints it.

use k8s_openapi::api::core::v1::{ContainerState, Pod, PodStatus};

use crate::arguments::Dialect;

use super::Drawing;

/// Returns the word: a waiting or terminated container's reason, `Terminating`, or the phase.
pub(super) fn state(pod: &Pod) -> String {
    let Some(status) = &pod.status else { return "Pending".into() };
    if pod.metadata.deletion_timestamp.is_some() {
        let is_lost = status.reason.as_deref() == Some("NodeLost");
        return if is_lost { "Unknown".into() } else { "Terminating".into() };
    }
    if let Some(word) = initializing(pod, status) {
        return word;
    }
    let containers = status.container_statuses.as_deref().unwrap_or_default();
    let word = containers.iter().filter_map(|c| stopped(c.state.as_ref()?)).next();
    let is_running =
        containers.iter().any(|c| c.ready && c.state.as_ref().is_some_and(|s| s.running.is_some()));
    if word.as_deref() == Some("Completed") && is_running {
        let conditions = status.conditions.iter().flatten();
        let is_ready = conditions.into_iter().any(|c| c.type_ == "Ready" && c.status == "True");
        return if is_ready { "Running".into() } else { "NotReady".into() };
    }
    word.or_else(|| status.reason.clone())
        .or_else(|| status.phase.clone())
        .unwrap_or_else(|| "Unknown".into())
}

/// Returns what the first init container that is not done says.
fn initializing(pod: &Pod, status: &PodStatus) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let inits = spec.init_containers.as_deref().unwrap_or_default();
    for (i, container) in status.init_container_statuses.iter().flatten().enumerate() {
        let state = container.state.as_ref();
        let exit = state.and_then(|s| s.terminated.as_ref()).map(|ended| ended.exit_code);
        let declared = inits.iter().find(|init| init.name == container.name);
        let stays = declared.is_some_and(|init| init.restart_policy.as_deref() == Some("Always"));
        if exit == Some(0) || stays && container.started == Some(true) {
            continue;
        }
        let word = state.and_then(stopped).filter(|word| word != "PodInitializing");
        return Some(match word {
            Some(word) => format!("Init:{word}"),
            None => format!("Init:{i}/{}", inits.len()),
        });
    }
    None
}

/// Returns why a container does not run.
fn stopped(state: &ContainerState) -> Option<String> {
    if let Some(reason) = state.waiting.as_ref().and_then(|waiting| waiting.reason.clone()) {
        return Some(reason);
    }
    let ended = state.terminated.as_ref()?;
    let reason = ended.reason.clone().filter(|reason| !reason.is_empty());
    Some(reason.unwrap_or_else(|| match ended.signal {
        Some(signal) if signal != 0 => format!("Signal:{signal}"),
        Some(_) | None => format!("ExitCode:{}", ended.exit_code),
    }))
}

/// Returns how many containers are ready, and restarts if there were any: `ready:1/1` in Argo's words.
pub(super) fn info(pod: &Pod, drawing: Drawing) -> String {
    let containers =
        pod.status.as_ref().and_then(|s| s.container_statuses.as_deref()).unwrap_or_default();
    let wanted = pod.spec.as_ref().map_or(0, |s| s.containers.len());
    let ready = containers.iter().filter(|c| c.ready).count();
    let restarts: i32 = containers.iter().map(|c| c.restart_count).sum();
    match drawing.dialect {
        Dialect::Argo if restarts > 0 => format!("ready:{ready}/{wanted},restarts:{restarts}"),
        Dialect::Argo => format!("ready:{ready}/{wanted}"),
        Dialect::Sluice => {
            let mut info = match ready == wanted {
                true => "ready".to_owned(),
                false => format!("{ready}/{wanted} ready"),
            };
            if restarts > 0 {
                info.push_str(&format!(", restarts {restarts}"));
            }
            let node = pod.spec.as_ref().and_then(|s| s.node_name.as_ref());
            if let (Some(node), true) = (node, drawing.is_wide) {
                info.push_str(&format!(", on {node}"));
            }
            info
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(status: &str, word: &str) {
        let status: serde_json::Value = serde_saphyr::from_str(status).unwrap();
        let spec = serde_json::json!({
            "initContainers": [{ "name": "side", "restartPolicy": "Always" }, { "name": "setup" }],
            "containers": [{ "name": "app" }],
        });
        let pod: Pod =
            serde_json::from_value(serde_json::json!({ "spec": spec, "status": status })).unwrap();
        assert_eq!(state(&pod), word, "{status}");
    }

    #[test]
    fn a_pod_is_in_the_state_that_kubectl_prints() {
        let with =
            |list: &str, containers: &str| format!("{{phase: Pending, {list}: [{containers}]}}");
        let container = |state: &str| {
            format!(
                "{{name: app, ready: false, restartCount: 0, image: a, imageID: '', state: {state}}}"
            )
        };
        let app = |state: &str| with("containerStatuses", &container(state));
        check("{phase: Pending}", "Pending");
        check("{phase: Failed, reason: Evicted}", "Evicted");
        check(&app("{waiting: {reason: CrashLoopBackOff}}"), "CrashLoopBackOff");
        check(&app("{terminated: {exitCode: 3}}"), "ExitCode:3");
        check(&app("{terminated: {exitCode: 137, signal: 9}}"), "Signal:9");
        let side = "{name: side, started: true, ready: true, restartCount: 0, image: a, imageID: '', state: {running: {}}}";
        let setup = |state: &str| {
            let setup = container(state).replace("name: app", "name: setup");
            with("initContainerStatuses", &format!("{side}, {setup}"))
        };
        check(&setup("{running: {}}"), "Init:1/2");
        check(&setup("{waiting: {reason: PodInitializing}}"), "Init:1/2");
        check(&setup("{waiting: {reason: ErrImagePull}}"), "Init:ErrImagePull");
        check(&setup("{terminated: {exitCode: 1}}"), "Init:ExitCode:1");
        check(&setup("{terminated: {exitCode: 0, reason: Completed}}"), "Pending");
    }
}
