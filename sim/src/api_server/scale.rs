//! The `scale` subresource.

use serde_json::{Value, json};

use super::failure::Failure;
use super::http::{Call, Query, Target};
use super::mutate::text;
use super::patch::{self, PatchKind};
use super::resources::Resource;
use super::ssa::Shape;
use super::{ApiServer, key, parsed};

impl ApiServer {
    pub(crate) fn on_scale(
        &mut self,
        call: &Call,
        resource: &Resource,
        target: &Target,
        query: &Query,
    ) -> Result<Value, Failure> {
        let key = key(target);
        let found = self.store.get(&key).ok_or_else(|| Failure::not_found(resource, &key.name))?;
        let scale = scale_of(resource, &found.value);
        let wanted = match call.method.as_str() {
            _ if !resource.scale => return Err(Failure::no_such_path()),
            "GET" => return Ok(scale),
            "PUT" => parsed(call)?,
            "PATCH" => {
                let kind = PatchKind::of(&call.content_type)?;
                patch::patched(kind, Shape { custom: false }, &scale, &parsed(call)?)?
            }
            _ => return Err(Failure::no_such_path()),
        };
        let replicas = wanted["spec"]["replicas"].as_i64().filter(|replicas| *replicas >= 0);
        let replicas = replicas.ok_or_else(|| {
            let why = "Invalid value: must be greater than or equal to 0";
            Failure::invalid(resource, &key.name, "spec.replicas", why)
        })?;
        let version = text(&wanted, "/metadata/resourceVersion").to_owned();
        let writer = self.writer(call, target, query);
        let updated = self.update(&writer, resource, &key, false, |live| {
            let mut object = live.clone();
            object["spec"]["replicas"] = json!(replicas);
            if !version.is_empty() {
                object["metadata"]["resourceVersion"] = json!(version);
            }
            Ok(object)
        })?;
        Ok(scale_of(resource, &updated))
    }
}

fn scale_of(resource: &Resource, object: &Value) -> Value {
    let path = format!("/{}", resource.scale_selector.replace('.', "/"));
    let selector = match object.pointer(&path) {
        Some(Value::String(selector)) => selector.clone(),
        Some(selector) => {
            let pairs = selector["matchLabels"].as_object().into_iter().flatten();
            let pairs =
                pairs.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()));
            pairs.collect::<Vec<_>>().join(",")
        }
        None => String::new(),
    };
    let metadata = ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"];
    let metadata = metadata.iter().map(|&field| (field.into(), object["metadata"][field].clone()));
    json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": Value::Object(metadata.collect()),
        "spec": { "replicas": object["spec"]["replicas"].as_i64().unwrap_or(0) },
        "status": {
            "replicas": object["status"]["replicas"].as_i64().unwrap_or(0),
            "selector": selector,
        },
    })
}
