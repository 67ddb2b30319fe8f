use serde_json::Value;
use sluice_crds::application::HealthStatusCode::{
    self, Degraded, Healthy, Missing, Progressing, Suspended, Unknown,
};

use super::{Health, aggregate, check};
use crate::key::ResourceKey;

fn key(group: &str, kind: &str, name: &str) -> ResourceKey {
    ResourceKey {
        group: group.into(),
        kind: kind.into(),
        namespace: "shop".into(),
        name: name.into(),
    }
}

const CASES: &[(&str, &str, &str, HealthStatusCode)] = &[
    ("apps", "Deployment", "{spec: {paused: true}}", Suspended),
    (
        "apps",
        "Deployment",
        "{metadata: {generation: 2}, status: {observedGeneration: 1}}",
        Progressing,
    ),
    (
        "apps",
        "Deployment",
        "{status: {conditions: [{type: Progressing, status: 'False', reason: ProgressDeadlineExceeded}]}}",
        Degraded,
    ),
    ("apps", "Deployment", "{spec: {replicas: 2}, status: {updatedReplicas: 1}}", Progressing),
    (
        "apps",
        "Deployment",
        "{spec: {replicas: 1}, status: {updatedReplicas: 1, replicas: 2, availableReplicas: 1}}",
        Progressing,
    ),
    (
        "apps",
        "Deployment",
        "{spec: {replicas: 1}, status: {updatedReplicas: 1, replicas: 1, availableReplicas: 0}}",
        Progressing,
    ),
    (
        "apps",
        "Deployment",
        "{spec: {replicas: 1}, status: {updatedReplicas: 1, replicas: 1, availableReplicas: 1}}",
        Healthy,
    ),
    (
        "apps",
        "ReplicaSet",
        "{status: {conditions: [{type: ReplicaFailure, status: 'True'}]}}",
        Degraded,
    ),
    ("apps", "ReplicaSet", "{spec: {replicas: 1}, status: {availableReplicas: 1}}", Healthy),
    ("apps", "StatefulSet", "{status: {}}", Progressing),
    (
        "apps",
        "StatefulSet",
        "{spec: {replicas: 1}, status: {observedGeneration: 1, readyReplicas: 1, updateRevision: a, currentRevision: a}}",
        Healthy,
    ),
    (
        "apps",
        "StatefulSet",
        "{spec: {replicas: 1}, status: {observedGeneration: 1, readyReplicas: 1, updateRevision: a, currentRevision: b}}",
        Progressing,
    ),
    (
        "apps",
        "StatefulSet",
        "{spec: {replicas: 3, updateStrategy: {rollingUpdate: {partition: 2}}}, status: {observedGeneration: 1, readyReplicas: 3, updatedReplicas: 1}}",
        Healthy,
    ),
    (
        "apps",
        "DaemonSet",
        "{status: {desiredNumberScheduled: 2, updatedNumberScheduled: 2, numberAvailable: 1}}",
        Progressing,
    ),
    (
        "apps",
        "DaemonSet",
        "{status: {desiredNumberScheduled: 2, updatedNumberScheduled: 2, numberAvailable: 2}}",
        Healthy,
    ),
    ("", "Pod", "{status: {phase: Pending}}", Progressing),
    ("", "Pod", "{status: {phase: Running, conditions: [{type: Ready, status: 'True'}]}}", Healthy),
    (
        "",
        "Pod",
        "{status: {phase: Pending, containerStatuses: [{name: a, state: {waiting: {reason: ImagePullBackOff}}}]}}",
        Degraded,
    ),
    (
        "",
        "Pod",
        "{status: {phase: Running, containerStatuses: [{name: a, lastState: {terminated: {}}}]}}",
        Degraded,
    ),
    ("", "Pod", "{spec: {restartPolicy: Never}, status: {phase: Running}}", Progressing),
    ("", "Pod", "{status: {phase: Failed}}", Degraded),
    ("", "Service", "{spec: {type: LoadBalancer}}", Progressing),
    ("", "Service", "{spec: {type: ClusterIP}}", Healthy),
    (
        "networking.k8s.io",
        "Ingress",
        "{status: {loadBalancer: {ingress: [{ip: 1.2.3.4}]}}}",
        Healthy,
    ),
    ("networking.k8s.io", "Ingress", "{}", Progressing),
    ("", "PersistentVolumeClaim", "{status: {phase: Bound}}", Healthy),
    ("", "PersistentVolumeClaim", "{status: {phase: Lost}}", Degraded),
    ("batch", "Job", "{status: {conditions: [{type: Failed, status: 'True'}]}}", Degraded),
    ("batch", "Job", "{status: {conditions: [{type: Complete, status: 'True'}]}}", Healthy),
    ("batch", "Job", "{status: {}}", Progressing),
    (
        "batch",
        "CronJob",
        "{status: {lastScheduleTime: '2026-01-02T00:00:00Z', lastSuccessfulTime: '2026-01-01T00:00:00Z'}}",
        Degraded,
    ),
    (
        "autoscaling",
        "HorizontalPodAutoscaler",
        "{status: {conditions: [{type: ScalingActive, status: 'False', reason: FailedGetResourceMetric}]}}",
        Degraded,
    ),
    (
        "autoscaling",
        "HorizontalPodAutoscaler",
        "{status: {conditions: [{type: AbleToScale, status: 'True'}]}}",
        Healthy,
    ),
    (
        "argoproj.io",
        "Rollout",
        "{metadata: {generation: 2}, status: {observedGeneration: '1', phase: Healthy}}",
        Progressing,
    ),
    (
        "argoproj.io",
        "Rollout",
        "{metadata: {generation: 2}, status: {observedGeneration: '2', phase: Healthy}}",
        Healthy,
    ),
    (
        "argoproj.io",
        "Rollout",
        "{metadata: {generation: 2}, status: {observedGeneration: '2', phase: Paused}}",
        Suspended,
    ),
    (
        "argoproj.io",
        "Rollout",
        "{metadata: {generation: 2}, status: {observedGeneration: '2', phase: Degraded}}",
        Degraded,
    ),
    (
        "argoproj.io",
        "Rollout",
        "{metadata: {generation: 1}, status: {observedGeneration: '1', conditions: [{type: Progressing, status: 'False', reason: RolloutAborted}]}}",
        Degraded,
    ),
    ("argoproj.io", "AnalysisRun", "{status: {phase: Successful}}", Healthy),
    ("argoproj.io", "AnalysisRun", "{status: {phase: Inconclusive}}", Unknown),
    (
        "apiextensions.k8s.io",
        "CustomResourceDefinition",
        "{status: {conditions: [{type: Established, status: 'True'}]}}",
        Healthy,
    ),
    (
        "policy",
        "PodDisruptionBudget",
        "{status: {conditions: [{type: DisruptionAllowed, status: 'False', reason: InsufficientPods}]}}",
        Healthy,
    ),
    ("", "Service", "{metadata: {deletionTimestamp: '2026-01-01T00:00:00Z'}}", Progressing),
];

#[test]
fn each_kind_is_judged_as_argo_cd_judges_it() {
    for (group, kind, live, wanted) in CASES {
        let live: Value = serde_saphyr::from_str(live).unwrap();
        let found = check(&key(group, kind, "x"), &live).map(|h| h.status);
        assert_eq!(found, Some(*wanted), "{kind} {live}");
    }
    assert_eq!(check(&key("", "ConfigMap", "x"), &serde_json::json!({})), None);
}

#[test]
fn an_application_is_as_healthy_as_its_worst_resource() {
    let of = |list: &[HealthStatusCode]| -> Vec<(ResourceKey, Health)> {
        list.iter()
            .enumerate()
            .map(|(i, status)| (key("", "Pod", &format!("p{i}")), Health::new(*status, "")))
            .collect()
    };
    assert_eq!(aggregate(&[], false).status, Healthy);
    assert_eq!(aggregate(&[], true).status, Missing);
    assert_eq!(aggregate(&of(&[Healthy, Progressing, Suspended]), false).status, Progressing);
    let many = aggregate(&of(&[Degraded; 5]), false);
    assert_eq!(many.message, "Pod shop/p0, Pod shop/p1, Pod shop/p2 and 2 more");
}
