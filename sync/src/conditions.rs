//! Conditions of an Application: problems, each with its type, sorted; the instant stays while type and message stay.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use sluice_crds::application::ApplicationCondition;
use sluice_crds::time::Time;

/// Bad spec (Argo CD).
pub const INVALID_SPEC: &str = "InvalidSpecError";
/// The source could not be fetched or rendered, or the cluster not be read (Argo CD).
pub const COMPARISON: &str = "ComparisonError";
/// The last sync failed, or none is allowed (Argo CD).
pub const SYNC: &str = "SyncError";
/// Deletion is stuck (Argo CD).
pub const DELETION: &str = "DeletionError";
/// An object is tracked by another application (Argo CD).
pub const SHARED_RESOURCE: &str = "SharedResourceWarning";
/// A key was rendered more than once (Argo CD).
pub const REPEATED_RESOURCE: &str = "RepeatedResourceWarning";
/// A revision failed and is not applied again.
pub const REVISION_REJECTED: &str = "RevisionRejected";
/// A prune waits for approval.
pub const PRUNE_WAITS: &str = "PruneWaitsForApproval";
/// Somebody undoes what self-heal does.
pub const CONTENDED: &str = "FieldContended";
/// Another GitOps controller acts on this application; we do not.
pub const FOREIGN_CONTROLLER: &str = "ForeignController";
/// Something in the spec or the source is accepted and not acted on.
pub const NOT_ACTED_ON: &str = "NotActedOn";

const OURS: &[&str] = &[
    INVALID_SPEC,
    COMPARISON,
    SYNC,
    DELETION,
    SHARED_RESOURCE,
    REPEATED_RESOURCE,
    REVISION_REJECTED,
    PRUNE_WAITS,
    CONTENDED,
    FOREIGN_CONTROLLER,
    NOT_ACTED_ON,
];

/// Conditions that hold.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Conditions {
    found: BTreeSet<(String, String)>,
}

impl Conditions {
    /// Adds one.
    pub fn add(&mut self, kind: &str, message: impl Into<String>) {
        self.found.insert((kind.to_owned(), message.into()));
    }

    /// Returns whether one of the type holds.
    pub fn has(&self, kind: &str) -> bool {
        self.found.iter().any(|(found, _)| found == kind)
    }

    /// Returns the messages of a type, joined.
    pub fn text(&self, kind: &str) -> String {
        let messages = self.found.iter().filter(|(found, _)| found == kind);
        messages.map(|(_, message)| message.as_str()).collect::<Vec<_>>().join("; ")
    }

    /// Returns the whole list: ours as they hold, with their instants where they held before, and those of other writers.
    pub fn list(
        &self,
        before: &[ApplicationCondition],
        now: DateTime<Utc>,
    ) -> Vec<ApplicationCondition> {
        let foreign = before.iter().filter(|c| !OURS.contains(&c.condition_type.as_str())).cloned();
        let ours = self.found.iter().map(|(kind, message)| {
            let same =
                |c: &&ApplicationCondition| c.condition_type == *kind && c.message == *message;
            let since = before.iter().find(same).and_then(|c| c.last_transition_time);
            ApplicationCondition {
                condition_type: kind.clone(),
                message: message.clone(),
                last_transition_time: Some(since.unwrap_or(Time::new(now))),
            }
        });
        let mut list: Vec<ApplicationCondition> = foreign.chain(ours).collect();
        list.sort();
        list
    }
}
