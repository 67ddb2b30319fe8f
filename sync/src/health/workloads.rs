use serde_json::Value;

use super::{Health, condition};
use crate::key::{number, text};

fn wanted(live: &Value) -> i64 {
    live.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1)
}

fn is_behind(live: &Value) -> bool {
    number(live, "/status/observedGeneration") < number(live, "/metadata/generation")
}

pub(super) fn deployment(live: &Value) -> Health {
    if live.pointer("/spec/paused") == Some(&Value::Bool(true)) {
        return Health::suspended("Deployment is paused");
    }
    if is_behind(live) {
        return Health::progressing("Waiting for rollout to finish: observed generation is behind");
    }
    if let Some((_, "ProgressDeadlineExceeded", message)) = condition(live, "Progressing") {
        return Health::degraded(message);
    }
    let updated = number(live, "/status/updatedReplicas");
    let available = number(live, "/status/availableReplicas");
    let all = number(live, "/status/replicas");
    if updated < wanted(live) {
        return Health::progressing(format!(
            "{updated} of {} replicas have been updated",
            wanted(live)
        ));
    }
    if all > updated {
        return Health::progressing(format!(
            "{} old replicas are pending termination",
            all - updated
        ));
    }
    if available < updated {
        return Health::progressing(format!("{available} of {updated} replicas are available"));
    }
    Health::healthy()
}

pub(super) fn replica_set(live: &Value) -> Health {
    if let Some(("True", _, message)) = condition(live, "ReplicaFailure") {
        return Health::degraded(message);
    }
    if is_behind(live) {
        return Health::progressing("observed generation is behind");
    }
    let available = number(live, "/status/availableReplicas");
    if available < wanted(live) {
        return Health::progressing(format!(
            "{available} of {} replicas are available",
            wanted(live)
        ));
    }
    Health::healthy()
}

pub(super) fn stateful_set(live: &Value) -> Health {
    if number(live, "/status/observedGeneration") == 0 || is_behind(live) {
        return Health::progressing("observed generation is behind");
    }
    let ready = number(live, "/status/readyReplicas");
    if ready < wanted(live) {
        return Health::progressing(format!("{ready} of {} replicas are ready", wanted(live)));
    }
    let partition = number(live, "/spec/updateStrategy/rollingUpdate/partition");
    let kind = text(live, "/spec/updateStrategy/type").unwrap_or("RollingUpdate");
    if kind == "RollingUpdate" && partition > 0 {
        let updated = number(live, "/status/updatedReplicas");
        let due = wanted(live) - partition;
        if updated < due {
            return Health::progressing(format!("{updated} of {due} replicas have been updated"));
        }
        return Health::healthy();
    }
    if kind == "OnDelete" {
        return Health::healthy();
    }
    let update = text(live, "/status/updateRevision");
    if update != text(live, "/status/currentRevision") {
        return Health::progressing(format!(
            "{} replicas are at revision {}",
            number(live, "/status/updatedReplicas"),
            update.unwrap_or_default()
        ));
    }
    Health::healthy()
}

pub(super) fn daemon_set(live: &Value) -> Health {
    if is_behind(live) {
        return Health::progressing("observed generation is behind");
    }
    if text(live, "/spec/updateStrategy/type") == Some("OnDelete") {
        return Health::healthy();
    }
    let due = number(live, "/status/desiredNumberScheduled");
    let updated = number(live, "/status/updatedNumberScheduled");
    if updated < due {
        return Health::progressing(format!("{updated} of {due} Pods have been updated"));
    }
    let available = number(live, "/status/numberAvailable");
    if available < due {
        return Health::progressing(format!("{available} of {due} Pods are available"));
    }
    Health::healthy()
}

pub(super) fn horizontal_pod_autoscaler(live: &Value) -> Health {
    const FAILURES: &[&str] = &[
        "FailedGetScale",
        "FailedUpdateScale",
        "FailedGetResourceMetric",
        "FailedGetContainerResourceMetric",
        "FailedGetObjectMetric",
        "FailedGetPodsMetric",
        "FailedGetExternalMetric",
        "FailedComputeMetricsReplicas",
        "InvalidSelector",
        "InvalidMetricSourceType",
    ];
    for kind in ["AbleToScale", "ScalingActive"] {
        if let Some(("False", reason, message)) = condition(live, kind)
            && FAILURES.contains(&reason)
        {
            return Health::degraded(message);
        }
    }
    for kind in ["AbleToScale", "ScalingLimited"] {
        if let Some(("True", _, message)) = condition(live, kind) {
            return Health { message: message.to_owned(), ..Health::healthy() };
        }
    }
    Health::progressing("Waiting to Autoscale")
}
