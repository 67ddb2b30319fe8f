//! The invariants, checked independently of the decision.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sluice_crds::object::Kind;

use crate::plan::{Decision, Violation};
use crate::rollout::RolloutReconciler;
use crate::view::RolloutView;

/// One revision of one object, as a recorder saw it.
#[derive(Clone, PartialEq, Debug)]
pub struct HistoryRevision {
    /// Kind of the object.
    pub kind: Kind,
    /// Whole object; the last state of one that was deleted.
    pub object: Value,
    /// Whether the object was deleted.
    pub deleted: bool,
    /// When the recorder saw it.
    pub at: DateTime<Utc>,
    /// Field manager of the writer, if the recorder knows.
    pub writer: Option<String>,
}

/// Checks one decision.
pub fn audit(_view: &RolloutView, _decision: &Decision<RolloutReconciler>) -> Vec<Violation> {
    Vec::new()
}

/// Checks a recorded history, ordered by `resourceVersion`.
pub fn check_history(_revisions: &[HistoryRevision]) -> Vec<Violation> {
    Vec::new()
}
