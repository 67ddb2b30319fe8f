use serde_json::{Value, json};

/// A column of `kubectl get`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    name: &'static str,
    path: &'static str,
    column_type: &'static str,
    /// Only with `-o wide`.
    wide: bool,
    description: &'static str,
}

impl Column {
    pub(super) fn value(&self) -> Value {
        let mut column = json!({
            "name": self.name,
            "jsonPath": self.path,
            "type": self.column_type,
            "description": self.description,
        });
        if self.wide {
            column["priority"] = json!(10);
        }
        column
    }
}

const fn column(
    name: &'static str,
    column_type: &'static str,
    path: &'static str,
    description: &'static str,
) -> Column {
    Column { name, path, column_type, wide: false, description }
}

const fn wide(
    name: &'static str,
    column_type: &'static str,
    path: &'static str,
    description: &'static str,
) -> Column {
    Column { name, path, column_type, wide: true, description }
}

const AGE: Column =
    column("Age", "date", ".metadata.creationTimestamp", "Time since the object was created");

pub(super) const ROLLOUT: &[Column] = &[
    column("Desired", "integer", ".spec.replicas", "Wanted Pods"),
    column("Current", "integer", ".status.replicas", "Pods"),
    column("Up-to-date", "integer", ".status.updatedReplicas", "Pods of the current revision"),
    column("Available", "integer", ".status.availableReplicas", "Available Pods"),
    AGE,
    column("Phase", "string", ".status.phase", "Healthy, Degraded, Progressing or Paused"),
    column("Step", "integer", ".status.currentStepIndex", "Canary steps that are done"),
    column(
        "Weight",
        "integer",
        ".status.canary.weights.canary.weight",
        "Share of the canary, as routed",
    ),
    wide(
        "Revision",
        "string",
        ".metadata.annotations.rollout\\.argoproj\\.io/revision",
        "Revision number",
    ),
    wide("Message", "string", ".status.message", "Why the phase is what it is"),
];

pub(super) const ANALYSIS_RUN: &[Column] = &[
    column("Status", "string", ".status.phase", "Phase"),
    AGE,
    column("Metrics", "integer", ".status.runSummary.count", "Metrics"),
    wide("Message", "string", ".status.message", "Why the phase is what it is"),
];

pub(super) const TEMPLATE: &[Column] = &[AGE];

pub(super) const EXPERIMENT: &[Column] = &[
    column("Status", "string", ".status.phase", "Phase"),
    AGE,
    wide("Message", "string", ".status.message", "Why the phase is what it is"),
];

pub(super) const APPLICATION: &[Column] = &[
    column(
        "Sync Status",
        "string",
        ".status.sync.status",
        "Whether the cluster is as the source wants it",
    ),
    column("Health Status", "string", ".status.health.status", "The worst health of the resources"),
    wide("Revision", "string", ".status.sync.revision", "Commit that was compared with"),
    wide("Project", "string", ".spec.project", "Project"),
    column(
        "Quarantined",
        "integer",
        ".status.sluice.quarantined",
        "Entries that hold something back",
    ),
    wide(
        "Last Healthy",
        "string",
        ".status.sluice.lastHealthy.revision",
        "Last commit that was synced and healthy",
    ),
];

pub(super) const APPLICATION_SET: &[Column] = &[
    column("Applications", "integer", ".status.resourcesCount", "Applications that were made"),
    AGE,
];

pub(super) const APP_PROJECT: &[Column] = &[AGE];
