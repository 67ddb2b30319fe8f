//! What this version does apart from fields: behaviours of Argo's products and of ours, each with its state.

use super::State;

/// A behaviour.
pub(super) struct Behaviour {
    /// What people call it.
    pub(super) name: &'static str,
    /// What happens to it; `Accepted` means that it is not there yet, and nothing pretends that it is.
    pub(super) state: State,
    /// What there is to know; empty if nothing.
    pub(super) note: &'static str,
}

const fn row(name: &'static str, state: State, note: &'static str) -> Behaviour {
    Behaviour { name, state, note }
}

/// All rows.
pub(super) const BEHAVIOURS: &[Behaviour] = &[
    row(
        "adopting ReplicaSets and hashes of Argo Rollouts",
        State::Works,
        "also the older form of the hash, and by equal templates",
    ),
    row("canary through Istio, host level and subset level, HTTP routes", State::Works, ""),
    row("basic canary without a router", State::Works, ""),
    row(
        "blue-green with preview, analyses before and after the switch, fast rollback",
        State::Works,
        "differs from Argo: an abort switches users back first, also while the new version crashes; the preview Service waits for a Pod",
    ),
    row(
        "TLS and TCP routes of Istio",
        State::Works,
        "three protocols of one VirtualService move in one write; ambiguous routes are refused with their path",
    ),
    row(
        "confirmation of routes by observing proxies",
        State::Accepted,
        "a configured delay decides; `ActualWeight` is what was written",
    ),
    row(
        "lower weight when part of a canary's Pods are lost",
        State::Works,
        "differs from Argo: each live Pod keeps its share, as far as the stable version can take the rest",
    ),
    row(
        "template hash that collides with a foreign ReplicaSet",
        State::Works,
        "`collisionCount`; a ReplicaSet of the Rollout itself is known by its label, as in Argo",
    ),
    row(
        "two writers that undo each other (`FieldContended`)",
        State::Works,
        "for what sync applies, and for weights, selectors, subsets and sizes of a Rollout; one who replaces whole objects is not noticed",
    ),
    row(
        "AnalysisRun with Prometheus, web and Job metrics",
        State::Works,
        "other providers are refused: a measurement is an error, never a success",
    ),
    row(
        "metrics server out of reach",
        State::Works,
        "differs from Argo: holds the weight for 10 minutes before errors count; condition `MetricsUnreachable`",
    ),
    row(
        "Application from one Git source: directory or kustomize",
        State::Works,
        "HTTP and HTTPS; no submodules, no LFS",
    ),
    row(
        "Helm, OCI, Jsonnet, plugins, several sources, other clusters",
        State::Refused,
        "condition `InvalidSpecError`",
    ),
    row("resource hooks", State::Accepted, "condition; the object is not applied"),
    row(
        "sync waves, prune with its guards, self-heal, retry, history",
        State::Works,
        "kinds in Argo's order; Rollouts after all else of their wave, so that what they name is there",
    ),
    row(
        "mass prune",
        State::Works,
        "differs from Argo: waits for `sluice.dev/prune-approved: <commit>`",
    ),
    row(
        "quarantine of what failed, and the last healthy content in its place",
        State::Works,
        "differs from Argo; see `docs/ARCHITECTURE.md`",
    ),
    row(
        "Git history that was rewritten",
        State::Accepted,
        "the new commit is synced like any other, and quarantine holds by content; no policy, no event",
    ),
    row("Git webhooks", State::Accepted, "Git is polled"),
    row(
        "sync windows",
        State::Refused,
        "automated sync waits while the project has any, and says so",
    ),
    row("orphaned resources, impersonation, project roles, single sign-on", State::Accepted, ""),
    row("notifications", State::Accepted, "Events are written; nothing is sent"),
    row(
        "Experiment, by itself and as a step of a canary",
        State::Works,
        "see `docs/experiments.md`",
    ),
    row("ApplicationSet", State::Refused, "left alone, with a condition where the kind has one"),
    row(
        "`workloadRef`: a Deployment gives way to a Rollout",
        State::Works,
        "differs from Argo: in proportion to its size, and only for Pods that are available and listed; see `docs/workload-ref.md`",
    ),
    row(
        "restart of Pods (`restartAt`)",
        State::Works,
        "differs from Argo: Pods that are not available go first and cost nothing",
    ),
    row(
        "metadata of a role on Pods",
        State::Works,
        "differs from Argo: a key that the template has gets its own value back; nothing is left behind after a crash",
    ),
    row(
        "a Rollout that is deleted, and a Service that it no longer names",
        State::Works,
        "differs from Argo: selectors and routes stay as they are and go on serving; see `docs/workload-ref.md`",
    ),
    row(
        "Events and metrics of Argo Rollouts",
        State::Works,
        "same reasons, names and labels; not `RolloutAddedToInformer` and `RolloutDeleted`; series end with their object",
    ),
    row("dashboard and HTTP API", State::Accepted, "`/metrics`, `/healthz` and `/readyz` only"),
    row(
        "`kubectl argo rollouts` verbs",
        State::Works,
        "get, list, promote, abort, retry, pause, restart, set image, undo, status, lint, version; not create, terminate, dashboard, notifications, nor Experiments",
    ),
    row(
        "`kubectl sluice simulate`",
        State::Works,
        "whatever the engine acts on; what it refuses is refused here, too. No autoscaler, no real metrics: a trace or an assumption",
    ),
    row(
        "`kubectl sluice simulate --replay` of a trace that the controller wrote",
        State::Accepted,
        "the controller writes no trace yet; a scenario file is replayed",
    ),
    row(
        "`argocd app` verbs",
        State::Works,
        "get, list, diff, sync, history, rollback; not create, set, delete, wait, terminate-op",
    ),
    row(
        "more than one active controller (sharding)",
        State::Accepted,
        "one leads, others stand by warm",
    ),
];
