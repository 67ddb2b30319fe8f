//! The body that server-side apply sends for one object, and the write that carries it.
//!
//! Server-side apply removes a field that its manager sent before and omits now, and treats some lists as one value (a
//! VirtualService's `spec.http`, a DestinationRule's `subsets`). So a field that somebody else owns is never left out where
//! Git declares it: it is sent with the **live value**, under uid and resourceVersion of the object it was read from; if the
//! object moved, the API server answers 409 and the next view decides anew. On create, owned fields get the engine's wanted
//! values: all weight to the stable version. Law: `design` 6, invariant G6.

use serde_json::{Value, json};
use sluice_crds::labels::{MANAGER_SYNC, TRACKING_ID};
use sluice_crds::object::{Change, ObjectRef, Preconditions, Propagation, Write};
use sluice_engine::fence::EpochView;

use crate::compare::{Difference, DifferenceKind, IgnoreRules};
use crate::key::ResourceKey;
use crate::manifest::Manifest;
use crate::track;
use crate::view::LiveObject;

mod owned;
mod routes;

pub use owned::OwnedFields;

/// What bodies are made with.
#[derive(Clone, Debug)]
pub struct Applier<'a> {
    /// Name by which objects refer to the application ([`track::instance`]).
    pub instance: &'a str,
    /// Fields that the rollout engine and autoscalers own.
    pub owned: &'a OwnedFields,
    /// Fields whose difference does not count; empty if `RespectIgnoreDifferences=false` and the body is to be applied.
    pub ignore: &'a IgnoreRules,
}

impl Applier<'_> {
    /// Returns the body for a manifest: over the live object, or for its creation.
    pub fn body(&self, manifest: &Manifest, live: Option<&LiveObject>) -> Value {
        let mut body = manifest.body.clone();
        if track::is_trackable(&manifest.key) {
            let id = track::tracking_id(self.instance, &manifest.key);
            annotate(&mut body, TRACKING_ID, &id);
        }
        match live {
            Some(live) => {
                self.owned.carry(&manifest.key, &mut body, &live.body);
                self.ignore.carry(&manifest.key, &mut body, &live.body);
            }
            None => self.owned.initial(&manifest.key, &mut body),
        }
        body
    }
}

/// Returns the write that applies the body over the live object.
pub fn apply(
    body: Value,
    live: &LiveObject,
    target: &ObjectRef,
    epoch: Option<&EpochView>,
) -> Write {
    Write {
        object: target.clone(),
        preconditions: preconditions(live, epoch),
        manager: MANAGER_SYNC.into(),
        change: Change::Apply { body: stamped(body, epoch) },
    }
}

/// Returns the write that creates the object. It is a POST: if the store is behind and the object exists, nothing happens.
pub fn create(body: Value, target: &ObjectRef, epoch: Option<&EpochView>) -> Write {
    Write {
        object: target.clone(),
        preconditions: Preconditions::default(),
        manager: MANAGER_SYNC.into(),
        change: Change::Create { body: stamped(body, epoch) },
    }
}

/// Returns the write that makes every difference go in one JSON patch. It is needed where Git dropped a field: an object that
/// we created holds its fields under another operation of the same manager, so apply would leave the field behind, and two
/// writes would show a state that nobody wanted (a Rollout would start a canary of it).
pub fn patch(differences: &[Difference], live: &LiveObject, epoch: Option<&EpochView>) -> Write {
    let mut operations = Vec::new();
    let mut removals: Vec<&str> = Vec::new();
    for difference in differences {
        let pointer = difference.pointer.as_str();
        match &difference.wanted {
            None => removals.push(pointer),
            Some(wanted) => {
                let path = match difference.kind {
                    DifferenceKind::Missing => appended(pointer, &live.body),
                    DifferenceKind::Changed | DifferenceKind::Extra => pointer.to_owned(),
                };
                operations.push(json!({ "op": "add", "path": path, "value": wanted }));
            }
        }
    }
    // Later elements of a list first: removing one moves those behind it.
    removals.sort_by_key(|pointer| std::cmp::Reverse(index_order(pointer)));
    operations.extend(removals.into_iter().map(|path| json!({ "op": "remove", "path": path })));
    for operation in &mut operations {
        // `add` inside a list inserts; a value that changes there is replaced.
        let path = operation["path"].as_str().unwrap_or_default().to_owned();
        if operation["op"] == "add" && live.body.pointer(&path).is_some() {
            operation["op"] = json!("replace");
        }
    }
    if let Some(epoch) = epoch {
        operations.extend(epoch.stamp_operations(&live.meta));
    }
    Write {
        object: live.object.clone(),
        preconditions: preconditions(live, epoch),
        manager: MANAGER_SYNC.into(),
        change: Change::JsonPatch { operations },
    }
}

/// A missing element is put at the end of its list.
fn appended(pointer: &str, live: &Value) -> String {
    if live.pointer(pointer).is_some_and(Value::is_array) {
        return format!("{pointer}/-");
    }
    match pointer.rsplit_once('/') {
        Some((parent, _)) if live.pointer(parent).is_some_and(Value::is_array) => {
            format!("{parent}/-")
        }
        Some(_) | None => pointer.to_owned(),
    }
}

/// Returns the write that deletes the live object, and no other incarnation or version of it.
pub fn delete(live: &LiveObject, propagation: Propagation) -> Write {
    Write {
        object: live.object.clone(),
        preconditions: Preconditions::of(&live.meta),
        manager: MANAGER_SYNC.into(),
        change: Change::Delete { propagation },
    }
}

/// Returns whether a difference is a field that apply might not take away, so that [`patch`] is needed.
pub fn needs_patch(differences: &[Difference]) -> bool {
    differences.iter().any(|d| d.kind == DifferenceKind::Extra)
}

/// Returns the key of what a write is about.
pub fn key_of(write: &Write) -> ResourceKey {
    ResourceKey::of(&write.object)
}

fn preconditions(live: &LiveObject, epoch: Option<&EpochView>) -> Preconditions {
    match epoch {
        Some(epoch) => epoch.preconditions(&live.meta),
        None => Preconditions::of(&live.meta),
    }
}

fn stamped(body: Value, epoch: Option<&EpochView>) -> Value {
    match epoch {
        Some(epoch) => epoch.stamped(body),
        None => body,
    }
}

fn index_order(pointer: &str) -> Vec<(u64, String)> {
    pointer.split('/').map(|part| (part.parse().unwrap_or(0), part.to_owned())).collect()
}

/// Sets an annotation of an object in wire form.
pub(crate) fn annotate(body: &mut Value, key: &str, value: &str) {
    let Some(object) = body.as_object_mut() else { return };
    let metadata = object.entry("metadata").or_insert_with(|| json!({}));
    if let Some(metadata) = metadata.as_object_mut() {
        let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
        annotations[key] = json!(value);
    }
}

#[cfg(test)]
mod tests;
