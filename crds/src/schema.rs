//! Schemas for the parts of our kinds that are free-form by design.

use schemars::{Schema, SchemaGenerator, json_schema};

/// Any JSON object, kept as it is: pod templates, plugin configurations, objects of other kinds.
pub(crate) fn any_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}

/// A list of JSON objects, each kept as it is.
pub(crate) fn any_objects(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": { "type": "object", "x-kubernetes-preserve-unknown-fields": true },
    })
}

/// A map from names to JSON objects, each kept as it is.
pub(crate) fn any_object_map(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "additionalProperties": { "type": "object", "x-kubernetes-preserve-unknown-fields": true },
    })
}

/// Any JSON value: string, number, object, list.
pub(crate) fn any_value(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "x-kubernetes-preserve-unknown-fields": true })
}
