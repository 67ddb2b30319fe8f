//! Labels and annotations that Argo's users know, and ours.

use super::State;
use super::State::{Accepted, Works};

/// A label or annotation.
pub(super) struct Key {
    pub(super) name: &'static str,
    /// Objects that carry it.
    pub(super) on: &'static str,
    pub(super) state: State,
    pub(super) note: &'static str,
}

pub(super) const KEYS: &[Key] = &[
    key(
        "rollouts-pod-template-hash",
        "ReplicaSet, Pod, AnalysisRun, selector of a Service, subset of a DestinationRule",
        Works,
        "the hash is Argo's",
    ),
    key(
        "argo-rollouts.argoproj.io/controller-instance-id",
        "Rollout, AnalysisRun, Experiment",
        Works,
        "",
    ),
    key("rollout-type", "AnalysisRun", Works, ""),
    key("step-index", "AnalysisRun, Experiment", Works, "Argo has it on AnalysisRuns only"),
    key("rollout.argoproj.io/revision", "Rollout, ReplicaSet, AnalysisRun, Experiment", Works, ""),
    key("experiment.argoproj.io/*", "ReplicaSet and Service of an Experiment", Works, ""),
    key("analysisrun.argoproj.io/*", "Job of a metric, and its Pods", Works, ""),
    key("rollout.argoproj.io/revision-history", "ReplicaSet", Works, ""),
    key("rollout.argoproj.io/desired-replicas", "ReplicaSet", Works, ""),
    key("scale-down-deadline", "ReplicaSet", Works, ""),
    key("argo-rollouts.argoproj.io/managed-by-rollouts", "Service, DestinationRule", Works, ""),
    key("rollout.argoproj.io/workload-generation", "Rollout", Works, ""),
    key("rollout.argoproj.io/ephemeral-metadata", "ReplicaSet", Works, ""),
    key(
        "istio.argoproj.io/primary-cluster",
        "Secret",
        Accepted,
        "Istio's objects are in the Rollout's cluster",
    ),
    key("argocd.argoproj.io/tracking-id", "any synced object", Works, ""),
    key("app.kubernetes.io/instance", "any synced object", Accepted, "tracking is by annotation"),
    key("argocd.argoproj.io/refresh", "Application", Works, ""),
    key("argocd.argoproj.io/skip-reconcile", "Application", Works, ""),
    key("argocd.argoproj.io/sync-options", "any synced object", Works, "see \"Sync options\""),
    key(
        "argocd.argoproj.io/compare-options",
        "any synced object",
        Works,
        "`IgnoreExtraneous`; others are not acted on",
    ),
    key("argocd.argoproj.io/sync-wave", "any synced object", Works, "also `helm.sh/hook-weight`"),
    key(
        "argocd.argoproj.io/hook",
        "any synced object",
        Accepted,
        "a hook is neither run nor applied, and a condition names it",
    ),
    key("argocd.argoproj.io/hook-delete-policy", "any synced object", Accepted, ""),
    key("argocd.argoproj.io/ignore-healthcheck", "any synced object", Works, ""),
    key(
        "argocd.argoproj.io/manifest-generate-paths",
        "Application",
        Accepted,
        "rendering is keyed by content instead",
    ),
    key("argocd.argoproj.io/deletion-approved", "Application", Works, ""),
    key("argocd.argoproj.io/hydrate", "Application", Accepted, ""),
    key(
        "notifications.argoproj.io/subscribe.*",
        "Rollout, Application, AppProject",
        Accepted,
        "nobody is told yet",
    ),
    key(
        "epoch.sluice.dev/*",
        "objects that the controller writes",
        Works,
        "the fence: see ARCHITECTURE; never copied, stripped from what is rendered",
    ),
    key("sluice.dev/*", "any", Works, "ours; never copied to ReplicaSets"),
];

const fn key(name: &'static str, on: &'static str, state: State, note: &'static str) -> Key {
    Key { name, on, state, note }
}
