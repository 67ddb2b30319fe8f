use serde_json::{Value, json};

use super::{Change, Preconditions, Write};

/// The HTTP request that a [`Write`] is.
#[derive(Clone, PartialEq, Debug)]
pub struct Request {
    /// `POST`, `PATCH` or `DELETE`.
    pub method: &'static str,
    /// Path and query.
    pub path: String,
    /// Content type of the body.
    pub content_type: &'static str,
    /// Body.
    pub body: Value,
}

impl Write {
    /// Returns the request, with the preconditions where the verb carries them: in the body of a merge patch or an apply, as
    /// the first operations of a JSON patch, in the options of a delete. A create needs none: its name is fixed.
    pub fn request(&self) -> Request {
        let manager = &self.manager;
        let path = self.object.path();
        match &self.change {
            Change::Create { body } => {
                let namespace = self.object.namespace.as_deref();
                let collection = self.object.kind.collection_path(namespace);
                Request {
                    method: "POST",
                    path: format!("{collection}?fieldManager={manager}"),
                    content_type: "application/json",
                    body: body.clone(),
                }
            }
            Change::Apply { body } => Request {
                method: "PATCH",
                path: format!("{path}?fieldManager={manager}&force=true"),
                content_type: "application/apply-patch+yaml",
                body: self.preconditions.merged_into(body.clone()),
            },
            Change::MergePatch { body } => Request {
                method: "PATCH",
                path: format!("{path}?fieldManager={manager}"),
                content_type: "application/merge-patch+json",
                body: self.preconditions.merged_into(body.clone()),
            },
            Change::JsonPatch { operations } => {
                let mut all = self.preconditions.operations();
                all.extend(operations.iter().cloned());
                Request {
                    method: "PATCH",
                    path: format!("{path}?fieldManager={manager}"),
                    content_type: "application/json-patch+json",
                    body: Value::Array(all),
                }
            }
            Change::Delete { propagation } => Request {
                method: "DELETE",
                path,
                content_type: "application/json",
                body: json!({
                    "kind": "DeleteOptions",
                    "apiVersion": "v1",
                    "propagationPolicy": propagation.as_str(),
                    "preconditions": self.preconditions.delete_options(),
                }),
            },
            Change::Evict => Request {
                method: "POST",
                path: format!("{path}/eviction?fieldManager={manager}"),
                content_type: "application/json",
                body: json!({
                    "kind": "Eviction",
                    "apiVersion": "policy/v1",
                    "metadata": {
                        "name": self.object.name,
                        "namespace": self.object.namespace,
                    },
                    "deleteOptions": { "preconditions": { "uid": self.preconditions.uid } },
                }),
            },
            Change::Status { body } => {
                let subresource = if self.object.kind.status_subresource { "/status" } else { "" };
                Request {
                    method: "PATCH",
                    path: format!("{path}{subresource}?fieldManager={manager}"),
                    content_type: "application/merge-patch+json",
                    body: self.preconditions.merged_into(json!({ "status": body })),
                }
            }
        }
    }
}

impl Preconditions {
    fn merged_into(&self, mut body: Value) -> Value {
        if self.uid.is_none() && self.resource_version.is_none() {
            return body;
        }
        if let Value::Object(object) = &mut body {
            let metadata = object.entry("metadata").or_insert_with(|| json!({}));
            if let Some(uid) = &self.uid {
                metadata["uid"] = json!(uid);
            }
            if let Some(version) = &self.resource_version {
                metadata["resourceVersion"] = json!(version);
            }
        }
        body
    }

    /// A stale version must answer 409, so it is replaced (and then checked by the API server), not tested; a uid that
    /// differs answers 422.
    fn operations(&self) -> Vec<Value> {
        let version = self
            .resource_version
            .iter()
            .map(|v| json!({ "op": "replace", "path": "/metadata/resourceVersion", "value": v }));
        let uid =
            self.uid.iter().map(|u| json!({ "op": "test", "path": "/metadata/uid", "value": u }));
        version.chain(uid).collect()
    }

    fn delete_options(&self) -> Value {
        let mut options = serde_json::Map::new();
        if let Some(uid) = &self.uid {
            options.insert("uid".into(), json!(uid));
        }
        if let Some(version) = &self.resource_version {
            options.insert("resourceVersion".into(), json!(version));
        }
        Value::Object(options)
    }
}
