//! Which application an object belongs to: the annotation `argocd.argoproj.io/tracking-id`.
//!
//! Source: `spec-sync` 3.7, Argo CD's `annotation` method, its default since v3. The id names the object itself as well, so
//! that an annotation that another controller copied to a child does not make the child ours.

use serde_json::Value;
use sluice_crds::application::ApplicationRecord;
use sluice_crds::labels::TRACKING_ID;

use crate::key::{ResourceKey, annotation};

/// Returns the name by which objects refer to the application: its name, with its namespace before it unless that is the
/// control namespace.
pub fn instance(application: &ApplicationRecord, control_namespace: &str) -> String {
    let meta = &application.meta;
    if meta.namespace == control_namespace {
        meta.name.clone()
    } else {
        format!("{}_{}", meta.namespace, meta.name)
    }
}

/// Returns the annotation's value for an object: `<instance>:<group>/<kind>:<namespace>/<name>`.
pub fn tracking_id(instance: &str, key: &ResourceKey) -> String {
    format!("{instance}:{}/{}:{}/{}", key.group, key.kind, key.namespace, key.name)
}

/// Returns the instance that tracks the object; `None` if nobody does, or if the id is about another object.
pub fn tracked_by<'a>(body: &'a Value, key: &ResourceKey) -> Option<&'a str> {
    let id = annotation(body, TRACKING_ID)?;
    let (instance, rest) = id.split_once(':')?;
    let (group_kind, namespace_name) = rest.split_once(':')?;
    let (group, kind) = group_kind.split_once('/')?;
    let (namespace, name) = namespace_name.split_once('/')?;
    // Argo writes the destination's namespace into the id of some cluster-scoped objects.
    let own = group == key.group
        && kind == key.kind
        && name == key.name
        && (namespace == key.namespace || key.namespace.is_empty());
    own.then_some(instance)
}

/// Returns whether objects of the kind carry a tracking id; CRDs never do.
pub fn is_trackable(key: &ResourceKey) -> bool {
    !key.is("apiextensions.k8s.io", "CustomResourceDefinition")
}

#[cfg(test)]
mod tests;
