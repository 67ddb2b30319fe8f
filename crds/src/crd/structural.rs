use serde_json::{Map, Value, json};

/// Turns what schemars writes into what Kubernetes calls structural: one type at each place, no references, no alternatives,
/// no `null`, only formats that it knows; and no defaults, which the API server would write into objects.
pub(super) fn make_structural(schema: &mut Value) {
    let Some(object) = schema.as_object_mut() else {
        // `true` is schemars' schema of anything.
        *schema = json!({ "x-kubernetes-preserve-unknown-fields": true });
        return;
    };
    for keyword in
        ["$schema", "title", "default", "nullable", "examples", "definitions", "components"]
    {
        object.remove(keyword);
    }
    join_alternatives(object);
    one_type(object);
    known_format(object);
    one_line(object);
    if let Some(required) = object.get_mut("required").and_then(Value::as_array_mut) {
        required.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
    }
    if object.get("additionalProperties").is_some_and(Value::is_boolean) {
        object.remove("additionalProperties");
    }
    require_marked(object);
    for schema in children(object) {
        make_structural(schema);
    }
}

/// Mark on the schema of a field that must be written. The types have a default for every field, so that a part-written object
/// can be read and judged; schemars would require none of them.
const REQUIRED: &str = "x-required";

fn require_marked(object: &mut Map<String, Value>) {
    let Some(Value::Object(properties)) = object.get_mut("properties") else { return };
    let marked: Vec<Value> = properties
        .iter_mut()
        .filter_map(|(name, schema)| schema.as_object_mut()?.remove(REQUIRED).map(|_| json!(name)))
        .collect();
    if marked.is_empty() {
        return;
    }
    if let Value::Array(required) = object.entry("required").or_insert_with(|| json!([])) {
        required.extend(marked);
        required.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
        required.dedup();
    }
}

/// Takes the lists of allowed words from a schema: what is written there may be by a newer version or another controller.
pub(super) fn open(schema: &mut Value) {
    let Some(object) = schema.as_object_mut() else { return };
    object.remove("enum");
    object.remove("required");
    for keyword in ["minimum", "maximum"] {
        object.remove(keyword);
    }
    for schema in children(object) {
        open(schema);
    }
}

fn children(object: &mut Map<String, Value>) -> Vec<&mut Value> {
    let mut found = Vec::new();
    for (keyword, value) in object.iter_mut() {
        match (keyword.as_str(), value) {
            ("properties", Value::Object(properties)) => found.extend(properties.values_mut()),
            ("items" | "additionalProperties", value) => found.push(value),
            _ => {}
        }
    }
    found
}

/// `oneOf` of words with descriptions becomes `enum`; `anyOf` of something and null becomes that something.
fn join_alternatives(object: &mut Map<String, Value>) {
    for keyword in ["oneOf", "anyOf"] {
        let Some(Value::Array(alternatives)) = object.remove(keyword) else { continue };
        let alternatives: Vec<Value> =
            alternatives.into_iter().filter(|alternative| !is_null(alternative)).collect();
        let words: Vec<Value> = alternatives.iter().flat_map(words).collect();
        if !words.is_empty() {
            object.insert("type".into(), json!("string"));
            object.insert("enum".into(), Value::Array(words));
        } else if let [Value::Object(only)] = alternatives.as_slice() {
            for (key, value) in only {
                object.entry(key.clone()).or_insert_with(|| value.clone());
            }
            join_alternatives(object);
        } else {
            object.insert(keyword.into(), Value::Array(alternatives));
        }
    }
}

fn words(alternative: &Value) -> Vec<Value> {
    match (&alternative["const"], &alternative["enum"]) {
        (word @ Value::String(_), _) => vec![word.clone()],
        (_, Value::Array(words)) => words.iter().filter(|word| word.is_string()).cloned().collect(),
        _ => Vec::new(),
    }
}

fn is_null(alternative: &Value) -> bool {
    alternative["type"] == "null"
        || alternative["const"].is_null() && alternative.get("const").is_some()
        || alternative["enum"] == json!([null])
}

fn one_type(object: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = object.get("type") {
        let only = types.iter().find(|name| *name != "null").cloned();
        if let Some(only) = only {
            object.insert("type".into(), only);
        }
    }
    if let Some(Value::Array(words)) = object.get_mut("enum") {
        words.retain(|word| !word.is_null());
    }
}

/// Kubernetes knows `int32` and `int64`; whether a number may be negative is said by `minimum`.
fn known_format(object: &mut Map<String, Value>) {
    let format = match object.get("format").and_then(Value::as_str) {
        Some("uint8" | "uint16" | "uint32" | "uint") => "int64",
        Some("uint64") => "int64",
        Some("int8" | "int16") => "int32",
        _ => return,
    };
    object.insert("format".into(), json!(format));
    for keyword in ["minimum", "maximum"] {
        // schemars writes the bounds of the Rust type as floating point numbers.
        if let Some(bound) = object.get(keyword).and_then(Value::as_f64) {
            object.insert(keyword.into(), json!(bound as i64));
        }
    }
}

/// A doc comment's line breaks are the editor's, not the reader's.
fn one_line(object: &mut Map<String, Value>) {
    if let Some(Value::String(text)) = object.get_mut("description") {
        *text = text
            .split("\n\n")
            .map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect::<Vec<_>>()
            .join("\n\n");
    }
}

/// Returns what keeps a schema from being structural, by path; empty if the API server will take it.
///
/// Source: Kubernetes' "structural schemas": `type` everywhere except for int-or-string and free-form values, and none of
/// `$ref`, `definitions`, `oneOf`/`anyOf` with types, `nullable` unions, `uniqueItems: true`, or unknown formats.
pub fn violations(schema: &Value) -> Vec<String> {
    let mut found = Vec::new();
    check("", schema, &mut found);
    found
}

const KNOWN: [&str; 15] = [
    "type",
    "description",
    "properties",
    "items",
    "additionalProperties",
    "required",
    "enum",
    "format",
    "minimum",
    "maximum",
    "default",
    "pattern",
    "x-kubernetes-int-or-string",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-validations",
];

fn check(path: &str, schema: &Value, found: &mut Vec<String>) {
    let Some(object) = schema.as_object() else {
        found.push(format!("{path}: a schema must be an object, not {schema}"));
        return;
    };
    for keyword in object.keys().filter(|keyword| !KNOWN.contains(&keyword.as_str())) {
        found.push(format!("{path}: `{keyword}` has no place in a structural schema"));
    }
    let free = object.get("x-kubernetes-preserve-unknown-fields") == Some(&json!(true));
    let either = object.get("x-kubernetes-int-or-string") == Some(&json!(true));
    match object.get("type").and_then(Value::as_str) {
        Some("object")
            if object.contains_key("properties") && object.contains_key("additionalProperties") =>
        {
            found.push(format!(
                "{path}: `properties` and `additionalProperties` exclude each other"
            ));
        }
        Some("array") if !object.contains_key("items") => {
            found.push(format!("{path}: a list needs `items`"))
        }
        Some("object" | "array" | "string" | "integer" | "number" | "boolean") => {}
        Some(other) => found.push(format!("{path}: unknown type `{other}`")),
        None if free || either => {}
        None => found.push(format!("{path}: no type")),
    }
    if let Some(format) = object.get("format").and_then(Value::as_str)
        && !["int32", "int64", "float", "double", "date-time", "byte"].contains(&format)
    {
        found.push(format!("{path}: unknown format `{format}`"));
    }
    let properties = object.get("properties").and_then(Value::as_object);
    for name in object.get("required").and_then(Value::as_array).into_iter().flatten() {
        let known = name.as_str().is_some_and(|n| properties.is_some_and(|p| p.contains_key(n)));
        if !known {
            found.push(format!("{path}: requires {name}, which is no property"));
        }
    }
    for (name, schema) in properties.into_iter().flatten() {
        check(&format!("{path}.{name}"), schema, found);
    }
    if let Some(items) = object.get("items") {
        check(&format!("{path}[]"), items, found);
    }
    if let Some(values) = object.get("additionalProperties") {
        check(&format!("{path}.*"), values, found);
    }
}
