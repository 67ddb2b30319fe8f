use std::collections::BTreeSet;

use serde_json::Value;
use sluice_engine::rollout::template_hash::template_hash;

use crate::key::ResourceKey;
use crate::manifest;

/// Returns what identifies the content of an object: the Pod template hash of a Rollout, the digest of anything else.
pub fn content_hash(key: &ResourceKey, body: &Value, collision_count: Option<i32>) -> String {
    match template_of(key, body) {
        Some(template) => template_hash(template, collision_count),
        None => manifest::digest(body),
    }
}

/// Returns a digest of the same content that depends on no collision count.
pub(super) fn content_digest(key: &ResourceKey, body: &Value) -> String {
    manifest::digest(template_of(key, body).unwrap_or(body))
}

fn template_of<'a>(key: &ResourceKey, body: &'a Value) -> Option<&'a Value> {
    if key.is_rollout() { body.pointer("/spec/template") } else { None }
}

/// Returns the ConfigMaps and Secrets that the Pod template of an object mentions.
pub fn mentions(key: &ResourceKey, body: &Value) -> BTreeSet<ResourceKey> {
    let mut found = BTreeSet::new();
    if let Some(template) = template_of(key, body) {
        collect(template, &key.namespace, &mut found);
    }
    found
}

fn collect(value: &Value, namespace: &str, found: &mut BTreeSet<ResourceKey>) {
    match value {
        Value::Object(map) => {
            for (field, inner) in map {
                let (kind, name) = match field.as_str() {
                    "configMap" | "configMapRef" | "configMapKeyRef" => {
                        ("ConfigMap", inner.get("name"))
                    }
                    "secretRef" | "secretKeyRef" => ("Secret", inner.get("name")),
                    // A volume says `secretName`, a projected source says `name`.
                    "secret" => ("Secret", inner.get("secretName").or_else(|| inner.get("name"))),
                    _ => ("", None),
                };
                if let Some(name) = name.and_then(Value::as_str) {
                    found.insert(ResourceKey {
                        group: String::new(),
                        kind: kind.to_owned(),
                        namespace: namespace.to_owned(),
                        name: name.to_owned(),
                    });
                }
                collect(inner, namespace, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, namespace, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
