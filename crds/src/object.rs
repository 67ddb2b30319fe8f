//! How any Kubernetes object is named, recorded and written.
//!
//! A [`Write`] is a value: which object, under which [`Preconditions`], what change. [`Write::request`] says which HTTP
//! request that is. Executing it is the shell's work, so the same value is written to a real API server by the controller
//! and to a simulated one by `sim`.

use std::any::Any;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::labels;
use crate::time::Time;

mod kind;
mod request;

pub use kind::Kind;
pub use request::Request;

/// A Kubernetes object's address: kind, namespace and name. It says nothing about which incarnation (uid) is meant.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ObjectRef {
    /// Group, version, kind and plural.
    pub kind: Kind,
    /// Namespace; `None` for cluster-scoped objects.
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
}

impl ObjectRef {
    /// Returns the address of a namespaced object.
    pub fn namespaced(kind: Kind, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { kind, namespace: Some(namespace.into()), name: name.into() }
    }

    /// Returns the address of a cluster-scoped object.
    pub fn cluster(kind: Kind, name: impl Into<String>) -> Self {
        Self { kind, namespace: None, name: name.into() }
    }

    /// Returns the path of the object on an API server, such as `/api/v1/namespaces/shop/services/web`.
    pub fn path(&self) -> String {
        format!("{}/{}", self.kind.collection_path(self.namespace.as_deref()), self.name)
    }
}

/// `Service shop/web`, or `Namespace shop` for a cluster-scoped object: the form that messages to people use.
impl std::fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind.kind, self.name),
            None => write!(f, "{} {}", self.kind.kind, self.name),
        }
    }
}

/// A `resourceVersion`. Versions of one resource are integers and comparable since Kubernetes 1.35 (KEP-5504); compared here
/// by length, then by digits, so that no size is assumed.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ResourceVersion(pub String);

impl ResourceVersion {
    /// Returns whether the version is unset.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl PartialOrd for ResourceVersion {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ResourceVersion {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0.len(), &self.0).cmp(&(other.0.len(), &other.0))
    }
}

impl From<u64> for ResourceVersion {
    fn from(version: u64) -> Self {
        Self(version.to_string())
    }
}

impl std::fmt::Display for ResourceVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// The controlling owner of an object (`metadata.ownerReferences[]` with `controller: true`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Owner {
    /// Kind, such as `Rollout`.
    pub kind: String,
    /// Name.
    pub name: String,
    /// Uid: the identity that counts.
    pub uid: String,
}

/// The part of `metadata` that decisions look at. `managedFields` is never kept.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Meta {
    /// Namespace; empty for cluster-scoped objects.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Uid.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// Version of this observation.
    #[serde(skip_serializing_if = "ResourceVersion::is_empty")]
    pub resource_version: ResourceVersion,
    /// Generation: counts changes of the spec (for kinds without status subresource: of anything but metadata).
    pub generation: i64,
    /// When the object was created; `None` in manifests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub creation_timestamp: Option<Time>,
    /// When deletion was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_timestamp: Option<Time>,
    /// Labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_default")]
    pub labels: BTreeMap<String, String>,
    /// Annotations, without kubectl's last-applied configuration.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "annotations")]
    pub annotations: BTreeMap<String, String>,
    /// The controlling owner, if there is one.
    #[serde(
        rename = "ownerReferences",
        skip_serializing_if = "Option::is_none",
        deserialize_with = "controller"
    )]
    pub owner: Option<Owner>,
    /// Finalizers.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub finalizers: Vec<String>,
}

impl Meta {
    /// Returns the address of the object, given its kind.
    pub fn object(&self, kind: Kind) -> ObjectRef {
        let namespace = (!self.namespace.is_empty()).then(|| self.namespace.clone());
        ObjectRef { kind, namespace, name: self.name.clone() }
    }

    /// Returns whether `uid` is the controlling owner's.
    pub fn is_owned_by(&self, uid: &str) -> bool {
        self.owner.as_ref().is_some_and(|owner| owner.uid == uid)
    }
}

fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

fn annotations<'de, D>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error>
where
    D: serde::Deserializer<'de>,
{
    let mut map: BTreeMap<String, String> = null_is_default(deserializer)?;
    map.remove(labels::LAST_APPLIED);
    Ok(map)
}

fn controller<'de, D>(deserializer: D) -> Result<Option<Owner>, D::Error>
where
    D: serde::Deserializer<'de>,
{
    #[derive(Deserialize)]
    struct Reference {
        #[serde(flatten)]
        owner: Owner,
        #[serde(default)]
        controller: Option<bool>,
    }
    let references: Vec<Reference> = null_is_default(deserializer)?;
    Ok(references.into_iter().find(|r| r.controller == Some(true)).map(|r| r.owner))
}

/// One observed object of ours: pruned metadata, spec and status.
#[derive(Clone, PartialEq, Debug, Deserialize)]
pub struct Record<Spec, Status> {
    /// Pruned metadata.
    #[serde(rename = "metadata")]
    pub meta: Meta,
    /// The spec as the user wrote it.
    pub spec: Spec,
    /// The status; its default while nobody has written one.
    #[serde(
        default = "Default::default",
        bound(deserialize = "Status: Default + Deserialize<'de>")
    )]
    pub status: Status,
    /// What was computed from it before.
    #[serde(skip)]
    pub memo: Memo,
}

/// What is computed from an object once and kept with it: decisions on one object are many, and most are about other objects.
/// It is no part of the value: a copy has none, for it may be changed, and any two are equal. Who changes an object in its place
/// must set a new one.
#[derive(Default)]
pub struct Memo(OnceLock<Box<dyn Any + Send + Sync>>);

impl Memo {
    /// Returns what was computed before, or computes it. All callers of one object ask for the same type.
    pub fn get<T: Any + Send + Sync>(&self, compute: impl FnOnce() -> T) -> &T {
        let kept = self.0.get_or_init(|| Box::new(compute()));
        kept.downcast_ref().expect("one type is kept with an object")
    }
}

impl Clone for Memo {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Memo {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl std::fmt::Debug for Memo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Memo")
    }
}

/// What must still hold of the target for a write to happen. The API server checks it; a mismatch answers 409.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Preconditions {
    /// The incarnation that was observed.
    pub uid: Option<String>,
    /// The version that was observed.
    pub resource_version: Option<ResourceVersion>,
}

impl Preconditions {
    /// Returns the preconditions that a decision on `meta` needs: same incarnation, same version.
    pub fn of(meta: &Meta) -> Self {
        Self {
            uid: (!meta.uid.is_empty()).then(|| meta.uid.clone()),
            resource_version: (!meta.resource_version.is_empty())
                .then(|| meta.resource_version.clone()),
        }
    }
}

/// One write to one object, with its preconditions. It is a value; [`Write::request`] is its wire form.
#[derive(Clone, PartialEq, Debug)]
pub struct Write {
    /// The object written.
    pub object: ObjectRef,
    /// What must hold of it.
    pub preconditions: Preconditions,
    /// Field manager, one of `labels::MANAGER_*`.
    pub manager: Cow<'static, str>,
    /// The change.
    pub change: Change,
}

/// The change that a [`Write`] makes.
#[derive(Clone, PartialEq, Debug)]
pub enum Change {
    /// Creates the object from a whole body. The name is given, so that a repeat answers `AlreadyExists`.
    Create {
        /// Whole object.
        body: Value,
    },
    /// Applies the body server-side with `force=true`, under the write's field manager.
    Apply {
        /// The fields that the manager declares.
        body: Value,
    },
    /// Merges the body (RFC 7386).
    MergePatch {
        /// The fields to change; `null` removes.
        body: Value,
    },
    /// Applies operations (RFC 6902). The preconditions are put before them.
    JsonPatch {
        /// Operations, such as `{"op": "add", "path": "/spec/replicas", "value": 3}`.
        operations: Vec<Value>,
    },
    /// Deletes the object.
    Delete {
        /// Whether dependents go first, later, or stay.
        propagation: Propagation,
    },
    /// Asks for the eviction of the Pod (`policy/v1`, subresource `eviction`): granted unless a PodDisruptionBudget forbids it
    /// now (429). Of the preconditions it carries the uid alone: the kubelet writes a Pod all the time, and another version of
    /// the same Pod is as good to evict.
    Evict,
    /// Merges into the status: through the status subresource where the kind has one, else on the main endpoint.
    Status {
        /// A merge patch of the value of `status`.
        body: Value,
    },
}

/// What happens to dependents of a deleted object (`DeleteOptions.propagationPolicy`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Propagation {
    /// Dependents first.
    Foreground,
    /// Dependents later; the default of most kinds.
    Background,
    /// Dependents stay.
    Orphan,
}

impl Propagation {
    /// Returns the name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Foreground => "Foreground",
            Self::Background => "Background",
            Self::Orphan => "Orphan",
        }
    }
}

/// Returns a merge patch that turns `old` into `new`, or `None` if they are equal (RFC 7386; lists are replaced whole).
pub fn merge_patch(old: &Value, new: &Value) -> Option<Value> {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            let mut patch = serde_json::Map::new();
            for (key, value) in new {
                match old.get(key) {
                    Some(before) => {
                        if let Some(inner) = merge_patch(before, value) {
                            patch.insert(key.clone(), inner);
                        }
                    }
                    None => {
                        patch.insert(key.clone(), value.clone());
                    }
                }
            }
            for key in old.keys().filter(|key| !new.contains_key(*key)) {
                patch.insert(key.clone(), Value::Null);
            }
            (!patch.is_empty()).then_some(Value::Object(patch))
        }
        (old, new) => (old != new).then(|| new.clone()),
    }
}

/// Returns the `ownerReferences` entry that makes the object with this address and uid the controlling owner.
pub fn controller_reference(owner: &ObjectRef, uid: &str) -> Value {
    json!({
        "apiVersion": owner.kind.api_version(),
        "kind": owner.kind.kind,
        "name": owner.name,
        "uid": uid,
        "controller": true,
        "blockOwnerDeletion": true,
    })
}

#[cfg(test)]
mod tests;
