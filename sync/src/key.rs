//! What identifies a resource of an application: group, kind, namespace and name, but not the version.

use std::collections::BTreeMap;

use serde_json::Value;
use sluice_crds::object::{Kind, ObjectRef};

/// A resource's identity, as Argo CD has it: the version is not part of it, because one object has many.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ResourceKey {
    /// API group; empty is the core group.
    pub group: String,
    /// Kind.
    pub kind: String,
    /// Namespace; empty for cluster-scoped resources.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl ResourceKey {
    /// Returns the key of an object.
    pub fn of(object: &ObjectRef) -> Self {
        Self {
            group: object.kind.group.to_string(),
            kind: object.kind.kind.to_string(),
            namespace: object.namespace.clone().unwrap_or_default(),
            name: object.name.clone(),
        }
    }

    /// Returns the key of a Namespace.
    pub fn namespace(name: &str) -> Self {
        Self::of(&ObjectRef::cluster(Kind::NAMESPACE, name))
    }

    /// Returns whether this is a Rollout.
    pub fn is_rollout(&self) -> bool {
        self.group == "argoproj.io" && self.kind == "Rollout"
    }

    /// Returns whether this is of the group and kind.
    pub fn is(&self, group: &str, kind: &str) -> bool {
        self.group == group && self.kind == kind
    }

    /// Returns the key as one word, for keys of maps in JSON: `argoproj.io/Rollout/shop/web`.
    pub fn path(&self) -> String {
        format!("{}/{}/{}/{}", self.group, self.kind, self.namespace, self.name)
    }

    /// Reads what [`ResourceKey::path`] returned.
    pub fn parse_path(path: &str) -> Option<Self> {
        let mut parts = path.splitn(4, '/').map(str::to_owned);
        Some(Self {
            group: parts.next()?,
            kind: parts.next()?,
            namespace: parts.next()?,
            name: parts.next()?,
        })
    }
}

/// `Service shop/web`, or `Namespace shop` for a cluster-scoped resource: the form that messages to people use.
impl std::fmt::Display for ResourceKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{} {}", self.kind, self.name)
        } else {
            write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
        }
    }
}

/// What the API server says about a kind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KindInfo {
    /// Plural in paths.
    pub plural: String,
    /// Whether objects of the kind live in namespaces.
    pub namespaced: bool,
    /// Whether status is a subresource of its own.
    pub status_subresource: bool,
}

/// The kinds that the API server serves.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Discovery {
    /// By group and kind.
    pub kinds: BTreeMap<(String, String), KindInfo>,
    /// Why the list is not complete (an aggregated API that is down); then nothing is written (G3).
    pub failed: Option<String>,
}

impl Discovery {
    /// Returns what is known about a kind.
    pub fn get(&self, group: &str, kind: &str) -> Option<&KindInfo> {
        // A lookup by borrowed pair needs an owned key in a BTreeMap of pairs of strings.
        self.kinds.get(&(group.to_owned(), kind.to_owned()))
    }
}

/// Returns group and version of an `apiVersion`.
pub(crate) fn group_version(api_version: &str) -> (&str, &str) {
    api_version.split_once('/').unwrap_or(("", api_version))
}

/// Returns a string inside a JSON value.
pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str)
}

/// Returns a number inside a JSON value; 0 if there is none.
pub(crate) fn number(value: &Value, pointer: &str) -> i64 {
    value.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)
}

/// Returns the annotation of an object in wire form.
pub(crate) fn annotation<'a>(body: &'a Value, key: &str) -> Option<&'a str> {
    body.get("metadata")?.get("annotations")?.get(key)?.as_str()
}
