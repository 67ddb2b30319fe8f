//! How an object differs from what is wanted: only the fields that the wanted form declares count, and fields that we set
//! before and that are declared no more.
//!
//! The wanted form is the body that would be applied ([`crate::apply::body`]): owned and ignored fields carry their live value
//! in it, so that they cannot differ. Fields that the API server or somebody else added are no difference, whatever they say:
//! server-side apply leaves them alone. Deliberate difference from Argo CD, which compares with a last-applied annotation.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::key::{ResourceKey, group_version, text};
use crate::view::LiveObject;

mod declared;
mod ignore;
mod lists;
mod managed;
mod quantity;

pub use ignore::IgnoreRules;

/// One field that differs.
#[derive(Clone, PartialEq, Debug)]
pub struct Difference {
    /// JSON pointer into the live object (into the wanted one for what is missing).
    pub pointer: String,
    /// How it differs.
    pub kind: DifferenceKind,
    /// What is wanted; `None` if nothing is.
    pub wanted: Option<Value>,
    /// What is live; `None` if nothing is.
    pub live: Option<Value>,
}

/// How a field differs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum DifferenceKind {
    /// Declared, and live with another value.
    Changed,
    /// Declared, and not live.
    Missing,
    /// Live because we set it before, and declared no more.
    Extra,
}

impl Difference {
    /// Returns the field as people write it: `spec.ports[0].port`.
    pub fn field(&self) -> String {
        let mut path = String::new();
        for part in self.pointer.split('/').skip(1) {
            let part = part.replace("~1", "/").replace("~0", "~");
            if part.bytes().all(|b| b.is_ascii_digit()) && !part.is_empty() {
                path.push_str(&format!("[{part}]"));
            } else if part.contains(['.', '/']) {
                path.push_str(&format!("[\"{part}\"]"));
            } else {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(&part);
            }
        }
        path
    }
}

/// Compares a live object with the body that would be applied. The result has the values of Secrets: show it through [`masked`].
pub fn differences(key: &ResourceKey, wanted: &Value, live: &LiveObject) -> Vec<Difference> {
    let comparer = Comparer { builtin: is_builtin(&key.group), live };
    let mut found = Vec::new();
    comparer.object(wanted, &mut found);
    managed::extras(wanted, live, &mut found);
    if live.is_undeclared {
        found.push(Difference {
            pointer: "/metadata/managedFields".to_owned(),
            kind: DifferenceKind::Changed,
            wanted: Some(Value::String("declared by sluice-sync".to_owned())),
            live: None,
        });
    }
    found.sort_by(|a, b| a.pointer.cmp(&b.pointer));
    found.dedup();
    found
}

/// Returns one line for people: up to three fields, then how many more.
pub fn summary(differences: &[Difference]) -> String {
    let fields: Vec<String> = differences.iter().take(3).map(Difference::field).collect();
    let more = differences.len().saturating_sub(3);
    let tail = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{tail}", fields.join(", "))
}

/// Returns the differences as people may see them: without the values of Secrets (G8).
pub fn masked(key: &ResourceKey, differences: &[Difference]) -> Vec<Difference> {
    let mut shown = differences.to_vec();
    if key.is("", "Secret") {
        for difference in shown.iter_mut().filter(|d| d.pointer.starts_with("/data")) {
            for value in [&mut difference.wanted, &mut difference.live].into_iter().flatten() {
                *value = Value::String("(hidden)".to_owned());
            }
        }
    }
    shown
}

/// Returns whether objects of the group have a typed Go form, so that zero values vanish and quantities are rewritten.
fn is_builtin(group: &str) -> bool {
    const GROUPS: &[&str] = &[
        "",
        "admissionregistration.k8s.io",
        "apiextensions.k8s.io",
        "apiregistration.k8s.io",
        "apps",
        "autoscaling",
        "batch",
        "certificates.k8s.io",
        "coordination.k8s.io",
        "discovery.k8s.io",
        "flowcontrol.apiserver.k8s.io",
        "networking.k8s.io",
        "node.k8s.io",
        "policy",
        "rbac.authorization.k8s.io",
        "scheduling.k8s.io",
        "storage.k8s.io",
    ];
    GROUPS.contains(&group)
}

struct Comparer<'a> {
    builtin: bool,
    live: &'a LiveObject,
}

impl Comparer<'_> {
    fn object(&self, wanted: &Value, found: &mut Vec<Difference>) {
        let Value::Object(fields) = wanted else { return };
        for (field, value) in fields {
            match field.as_str() {
                // Another version of the kind is the same object.
                "apiVersion" | "kind" => {}
                "metadata" => self.metadata(value, found),
                _ => {
                    let live = self.live.body.get(field);
                    self.value(&pointer("", field), value, live, found);
                }
            }
        }
    }

    fn metadata(&self, wanted: &Value, found: &mut Vec<Difference>) {
        let live = self.live.body.get("metadata");
        for field in ["labels", "annotations", "finalizers", "ownerReferences"] {
            if let Some(value) = wanted.get(field) {
                let path = format!("/metadata/{field}");
                self.value(&path, value, live.and_then(|m| m.get(field)), found);
            }
        }
    }
}

fn pointer(parent: &str, field: &str) -> String {
    format!("{parent}/{}", field.replace('~', "~0").replace('/', "~1"))
}

/// Returns the wanted manifests' API versions that differ from the live ones, for messages.
pub fn version_of(body: &Value) -> &str {
    group_version(text(body, "/apiVersion").unwrap_or_default()).1
}

/// Differences by resource, for the CLI.
pub type Differences = BTreeMap<ResourceKey, Vec<Difference>>;

#[cfg(test)]
mod tests;
