//! The status of a Pod from the snapshots of its containers.

use chrono::{DateTime, SecondsFormat, Utc};
use k8s_openapi::api::core::v1::{Container, Pod};
use serde_json::{Map, Value, json};

use super::container::{Ended, Restart, Snapshot, State};
use crate::bed::network::BRIDGE;

/// What the Pod's task knows besides the Pod itself.
pub(super) struct Facts<'a> {
    pub(super) address: Option<String>,
    pub(super) since: DateTime<Utc>,
    pub(super) restart: Restart,
    pub(super) init: &'a [Snapshot],
    pub(super) containers: &'a [Snapshot],
    pub(super) ending: bool,
}

pub(super) fn wire(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// The part of the status that is ours; conditions of others (readiness gates) are not in it.
pub(super) fn status(pod: &Pod, facts: &Facts<'_>) -> Value {
    let spec = pod.spec.as_ref();
    let containers = spec.map(|s| s.containers.as_slice()).unwrap_or_default();
    let init = spec.and_then(|s| s.init_containers.as_deref()).unwrap_or_default();
    let initialized = facts.init.iter().all(succeeded);
    let started = facts.containers.len() == containers.len();
    let all_ready = !facts.ending && started && facts.containers.iter().all(|c| c.ready);
    let gates = spec.and_then(|s| s.readiness_gates.as_deref()).unwrap_or_default();
    let closed: Vec<_> = gates
        .iter()
        .map(|gate| gate.condition_type.as_str())
        .filter(|gate| condition(pod, gate).is_none_or(|c| c.0 != "True"))
        .collect();
    let phase = phase(facts);
    let reason = match phase {
        "Succeeded" => "PodCompleted",
        "Failed" => "PodFailed",
        _ if !all_ready => "ContainersNotReady",
        _ => "ReadinessGatesNotReady",
    };
    let conditions = [
        ("PodReadyToStartContainers", facts.address.is_some(), ""),
        ("Initialized", initialized, "ContainersNotInitialized"),
        ("ContainersReady", all_ready, reason),
        ("Ready", all_ready && closed.is_empty(), reason),
    ]
    .map(|(kind, value, reason)| {
        let value = if value { "True" } else { "False" };
        let before = condition(pod, kind).filter(|before| before.0 == value);
        let since = before.map_or_else(|| wire(Utc::now()), |before| before.1);
        let mut condition = json!({ "type": kind, "status": value, "lastTransitionTime": since });
        condition["observedGeneration"] = json!(pod.metadata.generation);
        // A strategic merge keeps keys that are left out: both must be said each time.
        let stated = value == "False" && !reason.is_empty();
        condition["reason"] = if stated { json!(reason) } else { Value::Null };
        condition
    });
    let mut status = json!({
        "observedGeneration": pod.metadata.generation,
        "phase": phase,
        "hostIP": BRIDGE.to_string(),
        "hostIPs": [{ "ip": BRIDGE.to_string() }],
        "startTime": wire(facts.since),
        "conditions": conditions,
        "containerStatuses": list(containers, facts.containers, "PodInitializing"),
    });
    if !init.is_empty() {
        status["initContainerStatuses"] = list(init, facts.init, "PodInitializing");
    }
    if let Some(address) = &facts.address {
        status["podIP"] = json!(address);
        status["podIPs"] = json!([{ "ip": address }]);
    }
    status
}

fn phase(facts: &Facts<'_>) -> &'static str {
    let ended = |c: &Snapshot| matches!(c.state, State::Terminated(_));
    let failed_init = facts.restart == Restart::Never
        && facts.init.iter().any(|c| c.finished && ended(c) && !succeeded(c));
    if failed_init {
        return "Failed";
    }
    let all = facts.containers;
    let over = |c: &Snapshot| c.finished && ended(c);
    if !all.is_empty() && all.iter().all(over) && (facts.restart != Restart::Always) {
        return if all.iter().all(succeeded) { "Succeeded" } else { "Failed" };
    }
    let lived = |c: &Snapshot| c.last.is_some() || !matches!(c.state, State::Waiting { .. });
    if all.iter().any(lived) { "Running" } else { "Pending" }
}

fn succeeded(container: &Snapshot) -> bool {
    matches!(&container.state, State::Terminated(ended) if ended.exit_code == 0)
}

/// Status and time of the last change of a condition of the Pod.
fn condition(pod: &Pod, kind: &str) -> Option<(String, String)> {
    let all = pod.status.as_ref()?.conditions.as_ref()?;
    let found = all.iter().find(|c| c.type_ == kind)?;
    let since = found.last_transition_time.as_ref();
    let since = since.and_then(|t| serde_json::to_value(t).ok()?.as_str().map(str::to_owned));
    Some((found.status.clone(), since.unwrap_or_else(|| wire(Utc::now()))))
}

fn list(specs: &[Container], snapshots: &[Snapshot], before: &'static str) -> Value {
    let unborn = Snapshot::waiting(before);
    let one = |(index, spec): (usize, &Container)| {
        let snapshot = snapshots.get(index).unwrap_or(&unborn);
        let mut last = Map::new();
        if let Some(ended) = &snapshot.last {
            last.insert("terminated".into(), terminated(ended));
        }
        let image = spec.image.clone().unwrap_or_default();
        json!({
            "name": spec.name,
            "image": image,
            "imageID": format!("bed://{image}"),
            "containerID": format!("bed://{}-{}", spec.name, snapshot.restarts),
            "ready": snapshot.ready,
            "started": snapshot.started,
            "restartCount": snapshot.restarts,
            "state": state(&snapshot.state),
            "lastState": last,
        })
    };
    specs.iter().enumerate().map(one).collect()
}

fn state(state: &State) -> Value {
    match state {
        State::Waiting { reason, message } if message.is_empty() => {
            json!({ "waiting": { "reason": reason } })
        }
        State::Waiting { reason, message } => {
            json!({ "waiting": { "reason": reason, "message": message } })
        }
        State::Running { since } => json!({ "running": { "startedAt": wire(*since) } }),
        State::Terminated(ended) => json!({ "terminated": terminated(ended) }),
    }
}

fn terminated(ended: &Ended) -> Value {
    json!({
        "exitCode": ended.exit_code,
        "reason": ended.reason,
        "message": ended.message,
        "startedAt": wire(ended.started),
        "finishedAt": wire(ended.finished),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(exit_code: i32, finished: bool) -> Snapshot {
        let now = Utc::now();
        let (reason, message) = ("Completed", String::new());
        let state =
            State::Terminated(Ended { exit_code, reason, message, started: now, finished: now });
        Snapshot { state, finished, ..Snapshot::waiting("ContainerCreating") }
    }

    fn running(ready: bool) -> Snapshot {
        let state = State::Running { since: Utc::now() };
        Snapshot { state, ready, ..Snapshot::waiting("ContainerCreating") }
    }

    #[test]
    fn a_phase_follows_from_containers_and_restart_policy() {
        let check = |restart, init: &[Snapshot], containers: &[Snapshot], wanted| {
            let since = Utc::now();
            let facts = Facts { address: None, since, restart, init, containers, ending: false };
            assert_eq!(phase(&facts), wanted, "{restart:?} {init:?} {containers:?}");
        };
        let waiting = || Snapshot::waiting("ContainerCreating");
        check(Restart::Always, &[], &[waiting()], "Pending");
        check(Restart::Always, &[], &[running(false)], "Running");
        check(Restart::Always, &[], &[ended(1, false)], "Running");
        check(Restart::Never, &[], &[ended(0, true)], "Succeeded");
        check(Restart::Never, &[], &[ended(0, true), ended(3, true)], "Failed");
        check(Restart::Never, &[], &[ended(0, true), running(true)], "Running");
        check(Restart::OnFailure, &[], &[ended(1, false)], "Running");
        check(Restart::Never, &[ended(1, true)], &[], "Failed");
        check(Restart::Always, &[running(true)], &[], "Pending");
    }

    #[test]
    fn a_pod_without_all_of_its_containers_is_not_ready() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": { "name": "p" },
            "spec": { "containers": [{ "name": "a" }, { "name": "b" }] },
        }))
        .expect("a Pod");
        let check = |containers: &[Snapshot], ending, wanted| {
            let since = Utc::now();
            let (address, restart) = (None, Restart::Always);
            let facts = Facts { address, since, restart, init: &[], containers, ending };
            let status = status(&pod, &facts);
            let conditions = status["conditions"].as_array().expect("conditions");
            let ready = conditions.iter().find(|c| c["type"] == "Ready").expect("Ready");
            assert_eq!(ready["status"], wanted, "{containers:?}");
        };
        check(&[], false, "False");
        check(&[running(true), running(false)], false, "False");
        check(&[running(true), running(true)], false, "True");
        check(&[running(true), running(true)], true, "False");
    }
}
