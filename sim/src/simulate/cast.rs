//! Who plays: the manifests of the former and of the new version.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sluice_crds::object::{Kind, ObjectRef};
use sluice_crds::rollout::RolloutSpec;

use super::made_up::address;
use super::version::{self, Before, text};
use super::{Input, SimulateError};

/// The manifests of both versions.
pub(super) struct Cast {
    pub(super) before: Vec<Value>,
    pub(super) after: Vec<Value>,
    pub(super) rollout: Value,
    pub(super) spec: RolloutSpec,
    pub(super) object: ObjectRef,
    pub(super) words: (String, String),
    pub(super) assumed: Vec<String>,
}

impl Cast {
    /// Makes both versions out of the manifests.
    pub(super) fn of(input: &Input) -> Result<Self, SimulateError> {
        let mut assumed = Vec::new();
        let mut after: Vec<Value> = input.manifests.iter().map(stripped).collect();
        let index = version::rollout(&after, input.name.as_deref())?;
        let place = version::template(&after, index)?;
        let mut before = after.clone();
        if let Some(image) = &input.image {
            place.set_image(&mut after, image)?;
        }
        match (&input.before, &input.image) {
            (Before::AsIs, _) | (Before::MadeUp, Some(_)) => {}
            (Before::Image(image), _) => place.set_image(&mut before, image)?,
            (Before::MadeUp, None) => {
                let image = place.former_image(&before);
                place.set_image(&mut before, &image)?;
                assumed.push(format!("the former version is the same with image {image}"));
            }
            (Before::Manifests(former), _) => before = completed(former, &after, index),
        }
        let rollout = after[index].clone();
        let name = text(&rollout, "/metadata/name");
        let former = version::rollout(&before, Some(name))?;
        let former = version::template(&before, former)?.of(&before);
        let new = place.of(&after);
        if former == new {
            return Err(SimulateError::NothingNew);
        }
        let spec = serde_json::from_value(rollout["spec"].clone())
            .map_err(|error| SimulateError::Unreadable(error.to_string()))?;
        let namespace = text(&rollout, "/metadata/namespace").to_owned();
        for object in before.iter_mut().chain(&mut after) {
            in_namespace(object, &namespace);
            assumed.extend(without_secrets(object));
        }
        assumed.dedup();
        Ok(Self {
            words: (version::words(&former, &new), version::words(&new, &former)),
            object: address(Kind::ROLLOUT, &rollout),
            before,
            after,
            rollout,
            spec,
            assumed,
        })
    }
}

/// Returns former manifests, with what they lack of the new ones, the Rollout apart.
fn completed(former: &[Value], after: &[Value], rollout: usize) -> Vec<Value> {
    let mut before: Vec<Value> = former.iter().map(stripped).collect();
    for (_, object) in after.iter().enumerate().filter(|(at, _)| *at != rollout) {
        let is_same = |known: &Value| {
            known["kind"] == object["kind"]
                && known["metadata"]["name"] == object["metadata"]["name"]
        };
        if !before.iter().any(is_same) {
            before.push(object.clone());
        }
    }
    before
}

/// Leaves out what an API server wrote: manifests may be exports.
fn stripped(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(members) = object.as_object_mut() {
        members.remove("status");
    }
    if let Some(metadata) = object["metadata"].as_object_mut() {
        let written = ["uid", "resourceVersion", "creationTimestamp", "generation"];
        for field in written.into_iter().chain(["managedFields", "ownerReferences", "selfLink"]) {
            metadata.remove(field);
        }
    }
    object
}

/// Puts an object without a namespace where `kubectl apply -n` would.
fn in_namespace(object: &mut Value, namespace: &str) {
    const CLUSTER: [&str; 5] = [
        "Namespace",
        "ClusterAnalysisTemplate",
        "CustomResourceDefinition",
        "ClusterRole",
        "ClusterRoleBinding",
    ];
    let is_cluster_wide = CLUSTER.iter().any(|kind| object["kind"] == *kind);
    let is_open = object["metadata"].is_object() && object["metadata"]["namespace"].is_null();
    if !namespace.is_empty() && !is_cluster_wide && is_open {
        object["metadata"]["namespace"] = json!(namespace);
    }
}

/// Gives arguments that come from Secrets a value: no Secret is asked for.
fn without_secrets(object: &mut Value) -> Option<String> {
    if !matches!(object["kind"].as_str(), Some("AnalysisTemplate" | "ClusterAnalysisTemplate")) {
        return None;
    }
    let mut names = BTreeSet::new();
    let arguments = object.pointer_mut("/spec/args").and_then(Value::as_array_mut);
    for argument in arguments.into_iter().flatten() {
        if argument.pointer("/valueFrom/secretKeyRef").is_some() {
            *argument = json!({ "name": argument["name"], "value": "secret" });
            names.insert(text(argument, "/name").to_owned());
        }
    }
    let names: Vec<String> = names.into_iter().collect();
    (!names.is_empty())
        .then(|| format!("arguments from Secrets have the value `secret`: {}", names.join(", ")))
}
