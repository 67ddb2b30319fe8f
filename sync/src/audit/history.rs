use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use sluice_crds::application::{ApplicationRecord, QuarantineEntry};
use sluice_crds::labels::MANAGER_SYNC;
use sluice_crds::object::ObjectRef;
use sluice_crds::rollout::RolloutRecord;
use sluice_engine::plan::Violation;

use super::violation;
use crate::apply::OwnedFields;
use crate::hold;
use crate::key::ResourceKey;

/// One recorded revision of an object, in the order of the API server.
#[derive(Clone, PartialEq, Debug)]
pub struct Revision {
    /// The object.
    pub object: ObjectRef,
    /// The object in wire form, with `managedFields`; `None` once it is deleted.
    pub body: Option<Value>,
}

/// Checks recorded revisions of Applications, Rollouts, VirtualServices, DestinationRules and Services: sync never changes an
/// owned field (G6), and a Rollout never gets content that its Application has quarantined by then and not released (R2, G4).
pub fn check_history(history: &[Revision]) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut last: BTreeMap<ResourceKey, &Value> = BTreeMap::new();
    let mut quarantined: BTreeMap<ResourceKey, Vec<QuarantineEntry>> = BTreeMap::new();
    let mut rollouts: BTreeMap<ResourceKey, Arc<RolloutRecord>> = BTreeMap::new();
    for revision in history {
        let key = ResourceKey::of(&revision.object);
        let Some(body) = &revision.body else {
            // The last form of a deleted Rollout still says what its routes belong to, and what must not come back.
            last.remove(&key);
            continue;
        };
        if key.is("argoproj.io", "Application") {
            if let Ok(application) = serde_json::from_value::<ApplicationRecord>(body.clone()) {
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
            && is_by_sync(before, body)
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
fn is_by_sync(before: &Value, after: &Value) -> bool {
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
    let (before, after) = (times(before), times(after));
    let moved: Vec<&str> = after
        .iter()
        .filter(|(id, time)| before.get(*id) != Some(time))
        .map(|((manager, _, _), _)| manager.as_str())
        .collect();
    !moved.is_empty() && moved.iter().all(|manager| *manager == MANAGER_SYNC)
}
