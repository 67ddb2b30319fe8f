//! Labels, annotations and names that Sluice reads or writes, each with its owner.

/// Label that identifies a revision on ReplicaSets, Pods, AnalysisRuns, Service selectors and DestinationRule subsets (Argo).
pub const POD_TEMPLATE_HASH: &str = "rollouts-pod-template-hash";
/// Label that shards controllers (Argo).
pub const INSTANCE_ID: &str = "argo-rollouts.argoproj.io/controller-instance-id";
/// Label of an AnalysisRun: `Step`, `Background`, `PrePromotion` or `PostPromotion` (Argo).
pub const ROLLOUT_TYPE: &str = "rollout-type";
/// Label of a step's AnalysisRun: the step index in decimal (Argo).
pub const STEP_INDEX: &str = "step-index";
/// Annotation on Rollout, ReplicaSet, AnalysisRun and Experiment: the revision number (Argo).
pub const REVISION: &str = "rollout.argoproj.io/revision";
/// Annotation on a re-used ReplicaSet: former revisions, separated by commas (Argo).
pub const REVISION_HISTORY: &str = "rollout.argoproj.io/revision-history";
/// Annotation on a ReplicaSet: `spec.replicas` of the Rollout when it was last scaled (Argo).
pub const DESIRED_REPLICAS: &str = "rollout.argoproj.io/desired-replicas";
/// Annotation on a Rollout: the generation of the workload that it refers to, so that its change is a change of the Rollout
/// (Argo).
pub const WORKLOAD_GENERATION: &str = "rollout.argoproj.io/workload-generation";
/// Annotation on a ReplicaSet: the labels and annotations that were put on its Pods for the role that they play, as JSON
/// `{"labels": …, "annotations": …}` (Argo).
pub const EPHEMERAL_METADATA: &str = "rollout.argoproj.io/ephemeral-metadata";
/// Annotation on a ReplicaSet: keys that its Pods may still carry from a role that ended, in the same form, with empty values.
pub const FORMER_METADATA: &str = "sluice.dev/former-metadata";
/// Annotation on a Deployment that a Rollout takes over: `spec.replicas` before it was first scaled down for that.
pub const WORKLOAD_REPLICAS: &str = "sluice.dev/workload-replicas";
/// Annotation on a ReplicaSet: RFC 3339 time after which it may be scaled to 0 (Argo).
pub const SCALE_DOWN_DEADLINE: &str = "scale-down-deadline";
/// Annotation on a Service or DestinationRule: name of the Rollout that manages it (Argo).
pub const MANAGED_BY: &str = "argo-rollouts.argoproj.io/managed-by-rollouts";
/// Annotation on a ReplicaSet or Service of an Experiment: name of the Experiment (Argo).
pub const EXPERIMENT_NAME: &str = "experiment.argoproj.io/name";
/// Annotation on a ReplicaSet or Service of an Experiment: the template that it is of (Argo).
pub const EXPERIMENT_TEMPLATE: &str = "experiment.argoproj.io/template-name";
/// Label on a metric's Job and its Pods: uid of the AnalysisRun (Argo).
pub const RUN_UID: &str = "analysisrun.argoproj.io/uid";
/// Annotation on a metric's Job: name of the AnalysisRun (Argo).
pub const RUN_NAME: &str = "analysisrun.argoproj.io/name";
/// Annotation on a metric's Job: namespace of the AnalysisRun (Argo).
pub const RUN_NAMESPACE: &str = "analysisrun.argoproj.io/namespace";
/// Annotation on a metric's Job: the metric (Argo).
pub const RUN_METRIC: &str = "analysisrun.argoproj.io/metric-name";
/// Annotation of kubectl, never copied to ReplicaSets.
pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Prefix of the fence annotation; the name of the lease follows.
pub const EPOCH_PREFIX: &str = "epoch.sluice.dev/";
/// Prefix of our own annotations; never copied to ReplicaSets.
pub const SLUICE_PREFIX: &str = "sluice.dev/";
/// Annotation on a Service or DestinationRule: when we last switched what it selects; weight may rise a confirmation later.
pub const SWITCHED_AT: &str = "sluice.dev/switched-at";
/// Annotation on a router object: when we last changed its weights; capacity may go a confirmation later.
pub const ROUTED_AT: &str = "sluice.dev/routed-at";
/// Annotation on a ReplicaSet: when we last changed its size.
pub const SCALED_AT: &str = "sluice.dev/scaled-at";
/// Annotation on what the engine writes: what it wrote last, and how often in a row: `<Rollout> <value> <times>`. Who finds
/// another value there knows that somebody else wrote it.
pub const WROTE: &str = "sluice.dev/wrote";
/// Annotation on a router object: the routes, destinations and subsets that we made there, by Rollout (JSON); removed with the
/// last of them.
pub const MADE: &str = "sluice.dev/made";
/// Annotation on an AnalysisRun or Experiment of a Rollout: the attempt at the revision that it belongs to. On an AnalysisRun of
/// an Experiment: the `availableAt` of the Experiment that it began after.
pub const ATTEMPT: &str = "sluice.dev/attempt";
/// Annotation on an AnalysisRun of an Experiment: the analysis that it is of.
pub const ANALYSIS: &str = "sluice.dev/analysis";
/// Annotation on an AnalysisRun or Experiment: we ended it, so how it ended says nothing about the update.
pub const STOPPED: &str = "sluice.dev/stopped";
/// Annotation by which a synced object names the Application that tracks it (Argo CD).
pub const TRACKING_ID: &str = "argocd.argoproj.io/tracking-id";
/// Annotation of an Application that asks for a refresh: `normal` or `hard` (Argo CD).
pub const REFRESH: &str = "argocd.argoproj.io/refresh";
/// Annotation of an Application or object: comma-separated sync options (Argo CD).
pub const SYNC_OPTIONS: &str = "argocd.argoproj.io/sync-options";
/// Annotation of an Application: `true` makes the controller ignore it (Argo CD).
pub const SKIP_RECONCILE: &str = "argocd.argoproj.io/skip-reconcile";

/// Annotation of an Application: pod template hashes to release from quarantine, separated by commas. Removed once done.
pub const QUARANTINE_RELEASE: &str = "sluice.dev/quarantine-release";

/// Field manager of writes by the rollout engine.
pub const MANAGER_ROLLOUT: &str = "sluice-rollout";
/// Field manager of objects that sync applies from Git.
pub const MANAGER_SYNC: &str = "sluice-sync";
/// Field manager of status writes.
pub const MANAGER_STATUS: &str = "sluice-status";
