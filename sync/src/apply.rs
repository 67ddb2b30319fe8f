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

/// Returns the write that removes fields which we set before and which are declared no more, where apply cannot: an object
/// that we created holds them under another operation of the same manager, and apply leaves those alone.
pub fn trim(
    differences: &[Difference],
    live: &LiveObject,
    target: &ObjectRef,
    epoch: Option<&EpochView>,
) -> Write {
    let mut pointers: Vec<&str> = differences
        .iter()
        .filter(|d| d.kind == DifferenceKind::Extra)
        .map(|d| d.pointer.as_str())
        .collect();
    // Later elements of a list first: removing one moves those behind it.
    pointers.sort_by_key(|pointer| std::cmp::Reverse(index_order(pointer)));
    let mut operations: Vec<Value> =
        pointers.into_iter().map(|p| json!({ "op": "remove", "path": p })).collect();
    if let Some(epoch) = epoch {
        operations.extend(epoch.stamp_operations(&live.meta));
    }
    Write {
        object: target.clone(),
        preconditions: preconditions(live, epoch),
        manager: MANAGER_SYNC.into(),
        change: Change::JsonPatch { operations },
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

/// Returns whether every difference is a field that apply cannot take away, so that [`trim`] is needed.
pub fn needs_trim(differences: &[Difference]) -> bool {
    !differences.is_empty() && differences.iter().all(|d| d.kind == DifferenceKind::Extra)
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
