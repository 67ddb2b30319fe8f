//! Laws over recorded revisions and requests.
//!
//! | law | judged from | what is judged |
//! |---|---|---|
//! | G1 | requests, live objects, Applications, Git | what is deleted carries our tracking id, Git does not want it, nothing says `Prune=false` |
//! | G3 | requests, Applications, Git | no write outside of an attempt, under an error that stays, of a commit that does not render; what could not be listed is not taken for missing |
//! | G4 | Applications, live objects, Git | one operation has one full commit id that Git has; no written object shows what only another commit says |
//! | G6 | Services, VirtualServices, DestinationRules, Rollouts | no write of sync changes what the engine owns |
//! | R2 | Applications, Rollouts | what is quarantined and not released is not applied |
//!
//! [`check_history`] needs revisions alone: G6, R2 and the part of G4 that Applications show. [`check_evidence`] judges the
//! rest, from what a [`HistoryRequest`] and a [`Commit`] say besides. Not to be seen from outside, and checked on each decision
//! by [`audit`](super::audit) instead: the versions that a deletion was decided on (G1), G2, G5 and G9.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sluice_crds::application::{ApplicationRecord, QuarantineEntry};
use sluice_crds::labels::MANAGER_SYNC;
use sluice_crds::object::ObjectRef;
use sluice_crds::rollout::RolloutRecord;
use sluice_engine::audit::HistoryRequest;
use sluice_engine::plan::Violation;

use super::violation;
use crate::apply::OwnedFields;
use crate::hold;
use crate::key::ResourceKey;
use crate::source::is_commit;

mod apps;
mod contents;
mod deletions;
mod errors;

use apps::Apps;

/// One recorded revision of an object, in the order of the API server.
#[derive(Clone, PartialEq, Debug)]
pub struct Revision {
    /// The object.
    pub object: ObjectRef,
    /// The object in wire form, with `managedFields`; `None` once it is deleted.
    pub body: Option<Value>,
    /// When the recorder saw it.
    pub at: DateTime<Utc>,
}

/// What Git has at one commit below one path.
#[derive(Clone, PartialEq, Debug)]
pub struct Commit {
    /// URL of the repository, as Applications name it.
    pub url: String,
    /// Path of the manifests, as Applications name it.
    pub path: String,
    /// Full commit id.
    pub id: String,
    /// The manifests, or why there are none.
    pub manifests: Result<Vec<Value>, String>,
}

/// Everything that laws can be judged from.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// Revisions of Applications and of live objects.
    pub history: &'a [Revision],
    /// What Sluice asked of the API server.
    pub requests: &'a [HistoryRequest],
    /// All commits of the branches that Applications follow; of a repository without any here, nothing is judged by content.
    pub commits: &'a [Commit],
}

/// Checks requests, and contents against Git: G1, G3 and G4.
pub fn check_evidence(evidence: &Evidence<'_>) -> Vec<Violation> {
    let apps = Apps::of(evidence);
    let mut found = deletions::check(evidence, &apps);
    found.extend(errors::check(evidence, &apps));
    found.extend(contents::check(evidence, &apps));
    found
}

/// Checks recorded revisions of Applications, Rollouts, VirtualServices, DestinationRules and Services: sync never changes an
/// owned field (G6), a Rollout never gets content that its Application has quarantined by then and not released (R2), and an
/// operation has one commit (G4).
pub fn check_history(history: &[Revision]) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut last: BTreeMap<ResourceKey, &Value> = BTreeMap::new();
    let mut quarantined: BTreeMap<ResourceKey, Vec<QuarantineEntry>> = BTreeMap::new();
    let mut rollouts: BTreeMap<ResourceKey, Arc<RolloutRecord>> = BTreeMap::new();
    let mut operations = Operations::default();
    for revision in history {
        let key = ResourceKey::of(&revision.object);
        let Some(body) = &revision.body else {
            // The last form of a deleted Rollout still says what its routes belong to, and what must not come back.
            last.remove(&key);
            continue;
        };
        if key.is("argoproj.io", "Application") {
            if let Ok(application) = serde_json::from_value::<ApplicationRecord>(body.clone()) {
                operations.see(&key, &application, &mut found);
                let entries = application.status.sluice.map(|sluice| sluice.quarantine);
                quarantined.insert(key.clone(), entries.unwrap_or_default());
            }
        } else if key.is_rollout() {
            let entries = quarantined.values().flatten();
            rearmed(&key, last.get(&key).copied(), body, entries, &mut found);
            if let Ok(rollout) = serde_json::from_value::<RolloutRecord>(body.clone()) {
                rollouts.insert(key.clone(), Arc::new(rollout));
            }
        }
        if let Some(before) = last.get(&key)
            && is_by_sync(Some(before), body)
        {
            let rollouts: Vec<_> = rollouts.values().cloned().collect();
            let owned = OwnedFields::collect(std::iter::empty(), &rollouts);
            let old: BTreeMap<String, Value> = owned.values(&key, before).into_iter().collect();
            for (field, value) in owned.values(&key, body) {
                if old.get(&field).is_some_and(|old| *old != value) {
                    let text =
                        format!("sync changed {field} of {key} from {} to {value}", old[&field]);
                    found.push(violation("G6", text));
                }
            }
        }
        last.insert(key, body);
    }
    found
}

/// The commits of operations, by Application and start.
#[derive(Default)]
struct Operations {
    /// The commit, and whether the operation was over when it was last seen.
    commits: BTreeMap<(ResourceKey, DateTime<Utc>), (String, bool)>,
    bad: BTreeSet<String>,
}

impl Operations {
    /// G4: an operation keeps its commit, and that is one and not a name.
    fn see(
        &mut self,
        key: &ResourceKey,
        application: &ApplicationRecord,
        found: &mut Vec<Violation>,
    ) {
        let Some(state) = &application.status.operation_state else { return };
        let Some(commit) = state.sync_result.as_ref().map(|result| result.revision.clone()) else {
            return;
        };
        if !is_commit(&commit) && self.bad.insert(commit.clone()) {
            found.push(violation("G4", format!("{key}: `{commit}` is no full commit id")));
        }
        let Some(started) = state.started_at.map(|at| at.at()) else { return };
        let over = state.phase.is_completed();
        let fresh = || (commit.clone(), over);
        let (first, was_over) = self.commits.entry((key.clone(), started)).or_insert_with(fresh);
        // Two operations may begin in one second, but then Git moved and the first has ended.
        if *first != commit && !*was_over && !over && self.bad.insert(commit.clone()) {
            let text = format!("{key}: the operation of {started} goes from {first} to {commit}");
            found.push(violation("G4", text));
        }
        (*first, *was_over) = (commit, over);
    }
}

fn rearmed<'a>(
    key: &ResourceKey,
    before: Option<&Value>,
    body: &Value,
    entries: impl Iterator<Item = &'a QuarantineEntry>,
    found: &mut Vec<Violation>,
) {
    let template = |body: &Value| body.pointer("/spec/template").cloned();
    if before.map(template) == Some(template(body)) {
        return;
    }
    let collisions = body.pointer("/status/collisionCount").and_then(Value::as_i64);
    let collisions = collisions.and_then(|count| i32::try_from(count).ok());
    for entry in entries.filter(|entry| hold::entry_key(entry) == *key) {
        if hold::matches(entry, key, body, collisions) {
            let text = format!("{key} got quarantined content {}", entry.template_hash);
            found.push(violation("R2", text));
        }
    }
}

/// Returns whether sync made this revision: its entry among the field managers is new or younger, and no other's is.
fn is_by_sync(before: Option<&Value>, after: &Value) -> bool {
    let times = |body: &Value| -> BTreeMap<(String, String, String), String> {
        let entries = body.pointer("/metadata/managedFields").and_then(Value::as_array);
        let text =
            |entry: &Value, field: &str| entry[field].as_str().unwrap_or_default().to_owned();
        entries
            .into_iter()
            .flatten()
            .map(|entry| {
                let id =
                    (text(entry, "manager"), text(entry, "operation"), text(entry, "subresource"));
                (id, text(entry, "time"))
            })
            .collect()
    };
    let (before, after) = (before.map(times).unwrap_or_default(), times(after));
    let moved: Vec<&str> = after
        .iter()
        .filter(|(id, time)| before.get(*id) != Some(time))
        .map(|((manager, _, _), _)| manager.as_str())
        .collect();
    !moved.is_empty() && moved.iter().all(|manager| *manager == MANAGER_SYNC)
}
