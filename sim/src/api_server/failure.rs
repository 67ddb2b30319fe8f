//! Refusals, with the `kind: Status` bodies that a real API server writes: clients branch on code, reason and details.

use serde_json::{Value, json};

use super::resources::Resource;

/// A request that the server did not carry out.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// HTTP status code.
    pub code: u16,
    /// Machine-readable reason, such as `NotFound`.
    pub reason: &'static str,
    /// Message for people.
    pub message: String,
    /// `details` of the Status; an empty object where a real server leaves it empty.
    pub details: Value,
}

impl Failure {
    pub(crate) fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: json!({}) }
    }

    fn on(code: u16, reason: &'static str, resource: &Resource, name: &str, tail: &str) -> Self {
        let qualified = resource.qualified_plural();
        let mut details = json!({ "name": name, "kind": resource.plural });
        if !resource.group.is_empty() {
            details["group"] = json!(resource.group);
        }
        Self { code, reason, message: format!("{qualified} \"{name}\"{tail}"), details }
    }

    /// The path leads to no resource.
    pub(crate) fn no_such_path() -> Self {
        Self::new(404, "NotFound", "the server could not find the requested resource")
    }

    /// The object does not exist.
    pub(crate) fn not_found(resource: &Resource, name: &str) -> Self {
        Self::on(404, "NotFound", resource, name, " not found")
    }

    /// The name is taken.
    pub(crate) fn already_exists(resource: &Resource, name: &str) -> Self {
        Self::on(409, "AlreadyExists", resource, name, " already exists")
    }

    /// The object is not in the state that the request presupposes.
    pub(crate) fn conflict(resource: &Resource, name: &str, why: &str) -> Self {
        let mut failure = Self::on(409, "Conflict", resource, name, &format!(": {why}"));
        failure.message = format!("Operation cannot be fulfilled on {}", failure.message);
        failure
    }

    /// The object has another resourceVersion than the request names.
    pub(crate) fn modified(resource: &Resource, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(resource, name, why)
    }

    /// A field has a value that the server refuses.
    pub(crate) fn invalid(resource: &Resource, name: &str, field: &str, why: &str) -> Self {
        let kind = if resource.group.is_empty() {
            resource.kind.clone()
        } else {
            format!("{}.{}", resource.kind, resource.group)
        };
        let mut details = json!({ "name": name, "kind": resource.kind });
        if !resource.group.is_empty() {
            details["group"] = json!(resource.group);
        }
        details["causes"] =
            json!([{ "reason": "FieldValueInvalid", "message": why, "field": field }]);
        let message = format!("{kind} \"{name}\" is invalid: {field}: {why}");
        Self { code: 422, reason: "Invalid", message, details }
    }

    /// A JSON patch whose `test` failed or whose path is missing: no object, no field and no cause is named.
    pub(crate) fn unappliable_patch() -> Self {
        let message = "the server rejected our request due to an error in our request";
        Self::new(422, "Invalid", message)
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// The history that the request needs was compacted.
    pub(crate) fn expired(asked: u64, oldest: u64) -> Self {
        let message = format!("too old resource version: {asked} ({oldest})");
        Self::new(410, "Expired", message)
    }

    /// Returns the `kind: Status` body.
    pub fn body(&self) -> Value {
        json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "details": self.details,
            "code": self.code,
        })
    }
}
