use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};
use sluice_crds::object::Kind;

use super::{BEHAVIOUR, Pass, PodClock, READY_AFTER, is_terminating, text};

const KUBELET: &str = "kubelet";
const NODE: &str = "sim-node-1";

/// What becomes of a Pod.
enum Course {
    /// Runs and is ready at this time.
    Ready(DateTime<Utc>),
    /// Runs and never is ready.
    NeverReady,
    /// Waits for ever, with this reason.
    Waiting(&'static str),
}

impl Pass<'_> {
    pub(super) fn pods(&mut self) {
        let pods = self.api.objects(&Kind::POD, None);
        let now = self.now;
        self.pods.retain(|uid, _| pods.iter().any(|pod| text(pod, "/metadata/uid") == uid));
        for pod in pods {
            let uid = text(&pod, "/metadata/uid").to_owned();
            self.pods.entry(uid).or_insert(PodClock { seen_at: now, ..PodClock::default() });
            if is_terminating(&pod) {
                self.end_pod(&pod);
            } else if ["Succeeded", "Failed"].contains(&text(&pod, "/status/phase")) {
                self.rest_pod(&pod);
            } else {
                self.run_pod(&pod);
            }
        }
    }

    fn end_pod(&mut self, pod: &Value) {
        let (now, lasts) = (self.now, self.config.terminated_after);
        let Some(clock) = self.pods.get_mut(text(pod, "/metadata/uid")) else { return };
        clock.ready_at = None;
        let ends_at = *clock.ended_at.get_or_insert(now + lasts);
        if self.due(ends_at) {
            self.api.finish_pod_quietly(pod);
        } else {
            let mut status = pod["status"].clone();
            set_ready(&mut status, false, "ContainersNotReady", now);
            self.api.set_status_quietly(now, KUBELET, pod, status);
        }
    }

    /// A Pod that has ended serves nobody.
    fn rest_pod(&mut self, pod: &Value) {
        if let Some(clock) = self.pods.get_mut(text(pod, "/metadata/uid")) {
            clock.ready_at = None;
        }
        let mut status = pod["status"].clone();
        set_ready(&mut status, false, "PodCompleted", self.now);
        self.api.set_status_quietly(self.now, KUBELET, pod, status);
    }

    fn run_pod(&mut self, pod: &Value) {
        if text(pod, "/spec/nodeName").is_empty() {
            self.api.edit_quietly(self.now, "kube-scheduler", pod, |pod| {
                pod["spec"]["nodeName"] = json!(NODE);
            });
            return;
        }
        let seen_at = self.pods.get(text(pod, "/metadata/uid")).map_or(self.now, |c| c.seen_at);
        let (runs, ready, waits_for) = match self.course(pod, seen_at) {
            Course::Ready(at) => {
                let ready = self.due(at);
                (ready, ready && gates_are_open(pod), "ContainerCreating")
            }
            Course::NeverReady => (true, false, ""),
            Course::Waiting(reason) => (false, false, reason),
        };
        let now = self.now;
        if let Some(clock) = self.pods.get_mut(text(pod, "/metadata/uid")) {
            clock.ready_at = ready.then(|| clock.ready_at.unwrap_or(now));
        }
        let status = status(pod, runs, ready, waits_for, now);
        self.api.set_status_quietly(now, KUBELET, pod, status);
    }

    fn course(&mut self, pod: &Value, seen_at: DateTime<Utc>) -> Course {
        let annotation = |key: &str| pod["metadata"]["annotations"][key].as_str();
        let image = text(pod, "/spec/containers/0/image");
        let unpullable = ["does-not-exist", "nonexistent"].iter().any(|part| image.contains(part));
        if unpullable || image.ends_with("-error") {
            let tried = self.due(seen_at + TimeDelta::seconds(3));
            return Course::Waiting(if tried { "ErrImagePull" } else { "ContainerCreating" });
        }
        match annotation(BEHAVIOUR) {
            Some("never-ready") => return Course::NeverReady,
            Some("crash") => return Course::Waiting("CrashLoopBackOff"),
            _ => {}
        }
        let environment = pod.pointer("/spec/containers/0/env").and_then(Value::as_array);
        let variable =
            environment.into_iter().flatten().find(|variable| variable["name"] == "READY_AFTER");
        let stated = annotation(READY_AFTER).or(variable.and_then(|v| v["value"].as_str()));
        let seconds = stated.and_then(|s| s.trim_end_matches('s').parse::<f64>().ok());
        #[expect(clippy::cast_possible_truncation, reason = "milliseconds of a start delay")]
        let delay = seconds.map(|s| TimeDelta::milliseconds((s * 1000.0) as i64));
        Course::Ready(seen_at + delay.unwrap_or(self.config.ready_after))
    }
}

fn gates_are_open(pod: &Value) -> bool {
    let gates = pod.pointer("/spec/readinessGates").and_then(Value::as_array);
    gates.into_iter().flatten().all(|gate| {
        let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
        let mut conditions = conditions.into_iter().flatten();
        conditions.any(|c| c["type"] == gate["conditionType"] && c["status"] == "True")
    })
}

fn stamp(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn set_ready(status: &mut Value, ready: bool, reason: &str, now: DateTime<Utc>) {
    for kind in ["ContainersReady", "Ready"] {
        set_condition(status, kind, ready, reason, now);
    }
    for container in status["containerStatuses"].as_array_mut().into_iter().flatten() {
        container["ready"] = json!(ready);
    }
}

/// Sets a condition, keeping those of others and the time of the last transition.
fn set_condition(status: &mut Value, kind: &str, holds: bool, reason: &str, now: DateTime<Utc>) {
    let text = if holds { "True" } else { "False" };
    let mut list = status["conditions"].as_array().cloned().unwrap_or_default();
    let mut condition = json!({ "type": kind, "status": text, "lastTransitionTime": stamp(now) });
    if !holds && !reason.is_empty() {
        condition["reason"] = json!(reason);
    }
    match list.iter_mut().find(|present| present["type"] == kind) {
        Some(present) if present["status"] == text => {}
        Some(present) => *present = condition,
        None => list.push(condition),
    }
    status["conditions"] = Value::Array(list);
}

fn status(pod: &Value, runs: bool, ready: bool, waits_for: &str, now: DateTime<Utc>) -> Value {
    let mut status = pod["status"].clone();
    let started_at =
        if status["startTime"].is_null() { json!(stamp(now)) } else { status["startTime"].clone() };
    status["startTime"] = started_at.clone();
    status["phase"] = json!(if runs { "Running" } else { "Pending" });
    status["hostIP"] = json!("10.0.0.1");
    if runs {
        status["podIP"] = json!(address(text(pod, "/metadata/uid")));
        status["podIPs"] = json!([{ "ip": status["podIP"] }]);
    }
    let containers = pod.pointer("/spec/containers").and_then(Value::as_array);
    let restarts = i32::from(waits_for == "CrashLoopBackOff");
    let containers = containers.into_iter().flatten().map(|container| {
        let state = if runs {
            json!({ "running": { "startedAt": started_at } })
        } else {
            json!({ "waiting": { "reason": waits_for } })
        };
        json!({
            "name": container["name"],
            "image": container["image"],
            "imageID": "",
            "ready": ready,
            "started": runs,
            "restartCount": restarts,
            "state": state,
        })
    });
    status["containerStatuses"] = containers.collect();
    set_condition(&mut status, "PodScheduled", true, "", now);
    set_condition(&mut status, "Initialized", true, "", now);
    set_ready(&mut status, ready, "ContainersNotReady", now);
    status
}

/// Returns an address that depends on the uid's counter only.
fn address(uid: &str) -> String {
    let count = uid.rsplit('-').next().and_then(|tail| tail.parse::<u64>().ok()).unwrap_or(0);
    format!("10.{}.{}.{}", 128 + count / 62_500 % 100, count / 250 % 250, count % 250 + 1)
}
