//! Types and reasons of conditions, and the rules by which a condition is rewritten.
//!
//! Source: Argo Rollouts' conditions (`Progressing`, `Available`, …) and Argo CD's application conditions. Tools wait for these
//! words, so they are never changed.

use crate::application::ApplicationCondition;
use crate::rollout::status::Condition;
use crate::time::Time;

/// Whether the update goes on.
pub const PROGRESSING: &str = "Progressing";
/// Whether enough Pods are available.
pub const AVAILABLE: &str = "Available";
/// Whether the Rollout is paused.
pub const PAUSED: &str = "Paused";
/// Whether the current revision is the stable one.
pub const COMPLETED: &str = "Completed";
/// Whether all is done and as wanted.
pub const HEALTHY: &str = "Healthy";
/// A ReplicaSet could not make its Pods.
pub const REPLICA_FAILURE: &str = "ReplicaFailure";
/// The spec is wrong; present only while it is.
pub const INVALID_SPEC: &str = "InvalidSpec";
/// The spec asks for what this version does not act on (Sluice); present only while it does.
pub const NOT_ACTED_ON: &str = "NotActedOn";

/// Most characters of one problem in a condition, and most problems.
const LONGEST: usize = 1_000;
const MOST: usize = 20;

/// Returns a text that fits into a condition: what users wrote may be of any length, and comes back in messages about it.
pub fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Returns the message of a condition about several problems: the first twenty, each shortened, and how many more there are.
pub fn joined(problems: impl IntoIterator<Item = String>) -> String {
    let mut problems = problems.into_iter();
    let mut parts: Vec<String> =
        problems.by_ref().take(MOST).map(|problem| shortened(&problem)).collect();
    match problems.count() {
        0 => {}
        more => parts.push(format!("and {more} more (`kubectl sluice lint` lists all)")),
    }
    parts.join("; ")
}

/// Values of [`Condition::status`].
pub mod status {
    /// It is so.
    pub const TRUE: &str = "True";
    /// It is not so.
    pub const FALSE: &str = "False";
    /// Nobody can tell.
    pub const UNKNOWN: &str = "Unknown";
}

/// Reasons of the conditions of a Rollout or Experiment.
pub mod reason {
    /// A ReplicaSet was created for the revision.
    pub const NEW_REPLICA_SET_CREATED: &str = "NewReplicaSetCreated";
    /// The revision's ReplicaSet was there already.
    pub const FOUND_NEW_REPLICA_SET: &str = "FoundNewReplicaSet";
    /// The update makes progress.
    pub const REPLICA_SET_UPDATED: &str = "ReplicaSetUpdated";
    /// The promoted ReplicaSet lost Pods.
    pub const REPLICA_SET_NOT_AVAILABLE: &str = "ReplicaSetNotAvailable";
    /// The revision is promoted and available.
    pub const NEW_REPLICA_SET_AVAILABLE: &str = "NewReplicaSetAvailable";
    /// The ReplicaSet could not be created.
    pub const REPLICA_SET_CREATE_ERROR: &str = "ReplicaSetCreateError";
    /// No progress within `progressDeadlineSeconds`.
    pub const PROGRESS_DEADLINE_EXCEEDED: &str = "ProgressDeadlineExceeded";
    /// The update was taken back.
    pub const ROLLOUT_ABORTED: &str = "RolloutAborted";
    /// The Rollout is, or was, paused.
    pub const ROLLOUT_PAUSED: &str = "RolloutPaused";
    /// The Rollout goes on after a pause.
    pub const ROLLOUT_RESUMED: &str = "RolloutResumed";
    /// The Rollout tries again after an abort.
    pub const ROLLOUT_RETRY: &str = "RolloutRetry";
    /// Reason of `Available`, whatever its status.
    pub const AVAILABLE: &str = "AvailableReason";
    /// Reason of `Completed`, whatever its status.
    pub const ROLLOUT_COMPLETED: &str = "RolloutCompleted";
    /// Reason of `Healthy`, whatever its status.
    pub const ROLLOUT_HEALTHY: &str = "RolloutHealthy";
    /// Reason of `InvalidSpec`.
    pub const INVALID_SPEC: &str = "InvalidSpec";
    /// Reason of `NotActedOn`.
    pub const NOT_ACTED_ON: &str = "NotActedOn";
    /// The experiment is over.
    pub const EXPERIMENT_COMPLETED: &str = "ExperimentCompleted";
}

/// Types of the conditions of an Application. Those that end in `Error` and `Warning` are Argo CD's words; its `Error`s stop
/// automated syncs.
pub mod application {
    /// Its resources could not be deleted.
    pub const DELETION_ERROR: &str = "DeletionError";
    /// The spec is wrong, so nothing is synced.
    pub const INVALID_SPEC_ERROR: &str = "InvalidSpecError";
    /// The source could not be fetched or rendered, or the cluster not be read.
    pub const COMPARISON_ERROR: &str = "ComparisonError";
    /// The last sync failed, or none is allowed.
    pub const SYNC_ERROR: &str = "SyncError";
    /// A resource belongs to two applications.
    pub const SHARED_RESOURCE_WARNING: &str = "SharedResourceWarning";
    /// A resource occurs twice in the source.
    pub const REPEATED_RESOURCE_WARNING: &str = "RepeatedResourceWarning";
    /// A field is wrong, and what it says is left out of account (Sluice).
    pub const INVALID_SPEC_WARNING: &str = "InvalidSpecWarning";
    /// Something in the spec, the project or the source is accepted and not acted on (Sluice).
    pub const NOT_ACTED_ON: &str = "NotActedOn";
    /// What Git wants failed and is not applied again (Sluice).
    pub const REVISION_REJECTED: &str = "RevisionRejected";
    /// A prune of many resources waits for a word (Sluice).
    pub const PRUNE_WAITS_FOR_APPROVAL: &str = "PruneWaitsForApproval";
    /// Somebody undoes what self-heal does (Sluice).
    pub const FIELD_CONTENDED: &str = "FieldContended";
    /// Another GitOps controller acts on the application, so this one does not (Sluice).
    pub const FOREIGN_CONTROLLER: &str = "ForeignController";

    /// All of them: what this product evaluates. Conditions of other types are other writers'.
    pub const ALL: &[&str] = &[
        DELETION_ERROR,
        INVALID_SPEC_ERROR,
        COMPARISON_ERROR,
        SYNC_ERROR,
        SHARED_RESOURCE_WARNING,
        REPEATED_RESOURCE_WARNING,
        INVALID_SPEC_WARNING,
        NOT_ACTED_ON,
        REVISION_REJECTED,
        PRUNE_WAITS_FOR_APPROVAL,
        FIELD_CONTENDED,
        FOREIGN_CONTROLLER,
    ];
}

/// Returns the condition of a type.
pub fn find<'a>(conditions: &'a [Condition], condition_type: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.kind == condition_type)
}

/// Returns a condition as [`upsert`] takes it.
pub fn condition(
    condition_type: &str,
    status: &str,
    reason: &str,
    message: impl Into<String>,
) -> Condition {
    Condition {
        kind: condition_type.into(),
        status: status.into(),
        reason: reason.into(),
        message: message.into(),
        last_update_time: None,
        last_transition_time: None,
    }
}

/// Puts a condition in its place, by Argo's rules, and returns whether anything changed.
///
/// It is rewritten only if status or reason differ from the one that is there: a message alone changes nothing, so that a figure in
/// it does not make a write of every look. Exceptions: `InvalidSpec` follows its message, and `Progressing` with
/// `ReplicaSetUpdated` is refreshed by [`tick`]. `lastTransitionTime` changes only with the status.
pub fn upsert(conditions: &mut Vec<Condition>, mut new: Condition, now: Time) -> bool {
    new.last_update_time = Some(now);
    new.last_transition_time = Some(now);
    let Some(old) = conditions.iter_mut().find(|condition| condition.kind == new.kind) else {
        conditions.push(new);
        return true;
    };
    let follows_message = [INVALID_SPEC, NOT_ACTED_ON].contains(&new.kind.as_str());
    let same = old.status == new.status
        && old.reason == new.reason
        && (!follows_message || old.message == new.message);
    if same {
        return false;
    }
    if old.status == new.status {
        new.last_transition_time = old.last_transition_time.or(Some(now));
    }
    *old = new;
    true
}

/// Records progress of an update: `Progressing` with the reason `ReplicaSetUpdated` and a fresh `lastUpdateTime`, from which the
/// progress deadline counts. Call it only when there was progress, or every look would be a write.
pub fn tick(conditions: &mut Vec<Condition>, message: impl Into<String>, now: Time) {
    let new = condition(PROGRESSING, status::TRUE, reason::REPLICA_SET_UPDATED, message);
    match conditions.iter_mut().find(|condition| condition.kind == PROGRESSING) {
        Some(old) if old.status == new.status && old.reason == new.reason => {
            old.message = new.message;
            old.last_update_time = Some(now);
        }
        _ => {
            upsert(conditions, new, now);
        }
    }
}

/// Removes a condition and returns whether it was there.
pub fn remove(conditions: &mut Vec<Condition>, condition_type: &str) -> bool {
    let before = conditions.len();
    conditions.retain(|condition| condition.kind != condition_type);
    conditions.len() < before
}

/// Replaces the conditions of an Application whose types were evaluated, by Argo CD's rules: what is no longer so goes, what is
/// so already keeps its `lastTransitionTime`, and the list is sorted by type and message.
pub fn replace_application_conditions(
    conditions: &mut Vec<ApplicationCondition>,
    evaluated: &[&str],
    found: Vec<ApplicationCondition>,
    now: Time,
) {
    let old = std::mem::take(conditions);
    let is_evaluated =
        |condition: &ApplicationCondition| evaluated.contains(&condition.condition_type.as_str());
    let mut all: Vec<ApplicationCondition> =
        old.iter().filter(|condition| !is_evaluated(condition)).cloned().collect();
    for mut condition in found {
        let before = old.iter().find(|before| {
            before.condition_type == condition.condition_type && before.message == condition.message
        });
        condition.last_transition_time =
            before.and_then(|before| before.last_transition_time).or(Some(now));
        all.push(condition);
    }
    all.sort_by(|a, b| (&a.condition_type, &a.message).cmp(&(&b.condition_type, &b.message)));
    all.dedup_by(|a, b| (&a.condition_type, &a.message) == (&b.condition_type, &b.message));
    *conditions = all;
}

#[cfg(test)]
mod tests;
