//! The parts of admission that need no state: identity, endpoints, generation, defaults, structural schemas.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Map, Value, json};

use super::ApiServer;
use super::failure::Failure;
use super::resources::Resource;
use super::store::Key;

/// Gives a new object its identity.
pub(crate) fn identify(body: &mut Value, resource: &Resource, key: &Key, uid: &str, now: &str) {
    body["apiVersion"] = json!(resource.api_version(resource.stored_version()));
    body["kind"] = json!(resource.kind);
    let metadata = &mut body["metadata"];
    if let Some(metadata) = metadata.as_object_mut() {
        for field in ["managedFields", "generation", "deletionTimestamp", "selfLink"] {
            metadata.remove(field);
        }
        metadata.retain(|_, value| !value.is_null());
    }
    metadata["name"] = json!(key.name);
    if resource.namespaced {
        metadata["namespace"] = json!(key.namespace);
    }
    metadata["uid"] = json!(uid);
    metadata["creationTimestamp"] = json!(now);
    if resource.generation {
        metadata["generation"] = json!(1);
    }
}

/// Fields of metadata that no update changes.
const KEPT: [&str; 8] = [
    "name",
    "namespace",
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "resourceVersion",
];

/// Restores what an update may not change.
pub(crate) fn keep_identity(before: &Value, after: &mut Value) {
    after["apiVersion"] = before["apiVersion"].clone();
    after["kind"] = before["kind"].clone();
    if let Some(metadata) = after["metadata"].as_object_mut() {
        metadata.remove("managedFields");
        metadata.retain(|_, value| !value.is_null());
        for field in KEPT {
            match before["metadata"].get(field) {
                Some(value) => metadata.insert(field.into(), value.clone()),
                None => metadata.remove(field),
            };
        }
    }
}

/// The main endpoint leaves status alone, the status endpoint all else (of built-in kinds: the spec).
pub(crate) fn keep_other_endpoint(
    resource: &Resource,
    subresource: Option<&str>,
    before: &Value,
    mut after: Value,
) -> Value {
    let copy = |from: &Value, to: &mut Value, field: &str| {
        if let (Some(value), Some(to)) = (from.get(field), to.as_object_mut()) {
            to.insert(field.into(), value.clone());
        } else if let Some(to) = to.as_object_mut() {
            to.remove(field);
        }
    };
    match subresource {
        Some("status") if resource.custom => {
            let mut kept = before.clone();
            copy(&after, &mut kept, "status");
            kept
        }
        Some("status") => {
            copy(before, &mut after, "spec");
            after
        }
        _ if resource.status => {
            copy(before, &mut after, "status");
            after
        }
        _ => after,
    }
}

/// Returns the part of a declared object that its endpoint looks at.
pub(crate) fn part_of_endpoint(
    resource: &Resource,
    subresource: Option<&str>,
    mut config: Value,
) -> Value {
    if let Some(object) = config.as_object_mut() {
        match subresource {
            Some("status") => object.retain(|key, _| key == "status"),
            _ if resource.status => {
                object.remove("status");
            }
            _ => {}
        }
    }
    config
}

/// Selectors of workloads are immutable, as are ConfigMaps and Secrets that say so.
pub(crate) fn immutable(
    resource: &Resource,
    name: &str,
    before: &Value,
    after: &Value,
) -> Result<(), Failure> {
    let selects = resource.group == "apps";
    if selects && before.pointer("/spec/selector") != after.pointer("/spec/selector") {
        let why = "Invalid value: field is immutable";
        return Err(Failure::invalid(resource, name, "spec.selector", why));
    }
    let sealed = !resource.custom && before["immutable"] == true;
    if sealed && before["data"] != after["data"] {
        let why = "Forbidden: field is immutable when `immutable` is set";
        return Err(Failure::invalid(resource, name, "data", why));
    }
    Ok(())
}

/// Counts the generation: a change of the spec; for custom kinds of anything but metadata and, where it is a subresource,
/// status.
pub(crate) fn count_generation(resource: &Resource, before: &Value, after: &mut Value) {
    if !resource.generation {
        return;
    }
    let counted = |object: &Value| -> Map<String, Value> {
        let fields = object.as_object().into_iter().flatten();
        let kept = fields.filter(|(key, _)| {
            let ignored =
                key.as_str() == "metadata" || (key.as_str() == "status" && resource.status);
            !ignored
        });
        kept.map(|(key, value)| (key.clone(), value.clone())).collect()
    };
    if counted(before) != counted(after) {
        let generation = before["metadata"]["generation"].as_i64().unwrap_or(0);
        after["metadata"]["generation"] = json!(generation + 1);
    }
}

impl ApiServer {
    /// Sets the defaults that clients of this simulation depend on; custom resources get those of their schema.
    pub(crate) fn default_fields(&mut self, resource: &Resource, object: &mut Value) {
        let set = |object: &mut Value, field: &str, value: Value| {
            if object[field].is_null() {
                object[field] = value;
            }
        };
        match (resource.group.as_str(), resource.plural.as_str()) {
            ("", "services") => {
                set(&mut object["spec"], "type", json!("ClusterIP"));
                set(&mut object["spec"], "sessionAffinity", json!("None"));
                if object["spec"]["clusterIP"].is_null() && object["spec"]["type"] != "ExternalName"
                {
                    object["spec"]["clusterIP"] = json!(self.next_cluster_ip());
                }
                for port in object["spec"]["ports"].as_array_mut().into_iter().flatten() {
                    set(port, "protocol", json!("TCP"));
                    let number = port["port"].clone();
                    set(port, "targetPort", number);
                }
            }
            ("apps", "replicasets" | "deployments" | "statefulsets") => {
                set(&mut object["spec"], "replicas", json!(1));
                set(object, "status", json!({ "replicas": 0 }));
            }
            ("", "pods") => {
                set(&mut object["spec"], "restartPolicy", json!("Always"));
                set(object, "status", json!({ "phase": "Pending" }));
            }
            ("", "namespaces") => {
                let name = object["metadata"]["name"].clone();
                set(&mut object["metadata"]["labels"], "kubernetes.io/metadata.name", name);
                set(object, "spec", json!({ "finalizers": ["kubernetes"] }));
                set(object, "status", json!({ "phase": "Active" }));
            }
            ("", "secrets") => secret(object),
            (super::resources::CRD_GROUP, _) => established(object),
            _ => {
                if let Some(schema) = &resource.schema {
                    conform(schema, object, true);
                }
            }
        }
    }
}

fn secret(object: &mut Value) {
    if object["type"].is_null() {
        object["type"] = json!("Opaque");
    }
    let plain = object.as_object_mut().and_then(|object| object.remove("stringData"));
    for (key, value) in plain.as_ref().and_then(Value::as_object).into_iter().flatten() {
        object["data"][key.as_str()] =
            json!(BASE64_STANDARD.encode(value.as_str().unwrap_or_default()));
    }
}

fn established(crd: &mut Value) {
    let names = crd["spec"]["names"].clone();
    let stored = crd["spec"]["versions"].as_array().into_iter().flatten();
    let stored: Vec<Value> = stored
        .filter(|version| version["storage"] == true)
        .map(|version| version["name"].clone())
        .collect();
    let condition = |kind: &str, reason: &str, at: &Value| json!({ "type": kind, "status": "True", "reason": reason, "message": "", "lastTransitionTime": at });
    let at = crd["metadata"]["creationTimestamp"].clone();
    crd["status"] = json!({
        "acceptedNames": names,
        "storedVersions": stored,
        "conditions": [
            condition("NamesAccepted", "NoConflicts", &at),
            condition("Established", "InitialNamesAccepted", &at),
        ],
    });
}

/// Prunes fields that a structural schema does not know and sets its defaults.
fn conform(schema: &Value, value: &mut Value, is_root: bool) {
    match value {
        Value::Object(map) => {
            let properties = schema.get("properties").and_then(Value::as_object);
            let more = schema.get("additionalProperties").filter(|more| more.is_object());
            let keeps_all = schema["x-kubernetes-preserve-unknown-fields"] == true
                || schema["additionalProperties"] == true;
            let known =
                |key: &str| properties.is_some_and(|properties| properties.contains_key(key));
            let identity = |key: &str| is_root && matches!(key, "apiVersion" | "kind" | "metadata");
            map.retain(|key, _| keeps_all || more.is_some() || known(key) || identity(key));
            for (key, schema) in properties.into_iter().flatten() {
                if identity(key) {
                    continue;
                }
                if let Some(default) = schema.get("default")
                    && map
                        .get(key)
                        .is_none_or(|value| value.is_null() && schema["nullable"] != true)
                {
                    map.insert(key.clone(), default.clone());
                }
                if let Some(value) = map.get_mut(key) {
                    conform(schema, value, false);
                }
            }
            if let Some(schema) = more {
                map.values_mut().for_each(|value| conform(schema, value, false));
            }
        }
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                items.iter_mut().for_each(|item| conform(schema, item, false));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
