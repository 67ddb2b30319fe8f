//! Values that nobody expects, and where to put them.

use std::iter;

use serde_json::{Map, Value, json};
use sluice_crds::labels;

/// A text that is longer than any reasonable one.
fn giant() -> String {
    "a".repeat(40_000)
}

/// Returns values that a field of the type may be given by mistake or malice, each with a name.
pub(super) fn of_type(value_type: &str) -> Vec<(&'static str, Value)> {
    let mut values = vec![
        ("nothing", Value::Null),
        ("a truth value", json!(true)),
        ("a number", json!(7)),
        ("an empty text", json!("")),
        ("an empty list", json!([])),
        ("an empty object", json!({})),
        ("a list of nothing", json!([null])),
        ("unknown members", json!({ "nobody": { "knows": [1] }, "": null })),
    ];
    if value_type.contains("integer") || value_type == "number" {
        values.extend([
            ("minus one", json!(-1)),
            ("the least", json!(i64::MIN)),
            ("the greatest of 32 bits", json!(i32::MAX)),
            ("above 32 bits", json!(i64::from(i32::MAX) + 1)),
            ("the greatest", json!(u64::MAX)),
            ("a fraction", json!(0.5)),
            ("a giant", json!(1e308)),
        ]);
    }
    if value_type.contains("string") || value_type == "time" || value_type.contains("any") {
        values.extend([
            ("odd characters", json!("\u{0}\u{202e}🦀\u{feff}\n/../{{x}}")),
            ("a giant text", json!(giant())),
            ("not a number", json!("NaN%")),
            ("minus one as text", json!("-1s")),
            ("a percentage beyond", json!("99999999999999999999%")),
            ("a time beyond", json!("99999-12-31T23:59:60Z")),
        ]);
    }
    if value_type.starts_with("list") {
        values.extend([
            ("many empty objects", Value::Array(vec![json!({}); 500])),
            ("many texts", Value::Array(vec![json!("a"); 500])),
        ]);
    }
    values
}

/// Returns whether the type of a schema allows the value, as far as that is told by its JSON type; nothing is allowed anywhere.
pub(super) fn is_of_type(value_type: &str, value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(_) => matches!(value_type, "boolean" | "any"),
        Value::Number(number) => {
            let is_whole = number.is_i64() || number.is_u64();
            let is_integer = matches!(value_type, "integer" | "integer or string");
            matches!(value_type, "number" | "any") || is_integer && is_whole
        }
        Value::String(_) => {
            matches!(value_type, "string" | "time" | "integer or string" | "any")
        }
        Value::Array(_) => value_type.starts_with("list of") || value_type == "any",
        Value::Object(_) => {
            value_type.starts_with("map of")
                || matches!(value_type, "object" | "any object" | "any")
        }
    }
}

/// Sets a field that is written as in `crd::fields`; what is missing on the way is made, lists get one element, maps a key `a`.
pub(super) fn put(object: &mut Value, path: &str, value: Value) {
    let path = path.replace("[]", ".0").replace('*', "a");
    let mut place = object;
    for part in path.split('.') {
        place = if part == "0" {
            if !place.is_array() {
                *place = json!([]);
            }
            let list = place.as_array_mut().expect("it was made a list");
            if list.is_empty() {
                list.push(Value::Null);
            }
            &mut list[0]
        } else {
            if !place.is_object() {
                *place = Value::Object(Map::new());
            }
            &mut place[part]
        };
    }
    *place = value;
}

/// Returns the object with each value in it replaced, or left out, in turn; the name is the pointer of the value.
pub(super) fn changes(object: &Value) -> impl Iterator<Item = (String, Value)> {
    let mut pointers = Vec::new();
    walk(object, String::new(), &mut pointers);
    // Metadata has its form on every API server; another kind or version is another object. Annotations: see below.
    let is_content = |pointer: &String| {
        let mut parts = pointer.split('/').skip(1);
        !matches!(parts.next(), Some("metadata" | "kind" | "apiVersion"))
    };
    pointers.retain(is_content);
    let object = object.clone();
    pointers.into_iter().flat_map(move |pointer| {
        let there = object.pointer(&pointer).cloned().unwrap_or_default();
        let value_type = match &there {
            Value::Number(_) => "integer",
            Value::String(_) => "string",
            Value::Array(_) => "list",
            Value::Null | Value::Bool(_) | Value::Object(_) => "object",
        };
        let base = object.clone();
        let replaced = of_type(value_type).into_iter().map({
            let (base, pointer) = (base.clone(), pointer.clone());
            move |(_, value)| {
                let mut object = base.clone();
                if let Some(place) = object.pointer_mut(&pointer) {
                    *place = value;
                }
                (pointer.clone(), object)
            }
        });
        let without = iter::once((pointer.clone(), without(base, &pointer)));
        replaced.chain(without).collect::<Vec<_>>()
    })
}

fn walk(value: &Value, pointer: String, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                let key = key.replace('~', "~0").replace('/', "~1");
                walk(member, format!("{pointer}/{key}"), found);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                walk(item, format!("{pointer}/{index}"), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    if !pointer.is_empty() {
        found.push(pointer);
    }
}

fn without(mut object: Value, pointer: &str) -> Value {
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer begins with a slash");
    match object.pointer_mut(parent) {
        Some(Value::Object(members)) => {
            members.remove(&key.replace("~1", "/").replace("~0", "~"));
        }
        Some(Value::Array(items)) => {
            items.remove(key.parse().expect("the index of an element"));
        }
        _ => {}
    }
    object
}

/// Returns the object with each annotation and label that the engine reads, holding anything that a text can be.
pub(super) fn annotations(object: &Value) -> impl Iterator<Item = (String, Value)> {
    const TEXTS: [&str; 12] = [
        "",
        "null",
        "-1",
        "18446744073709551616",
        "true",
        "{}",
        "[[[[",
        "2027-01-15T08:00:00Z",
        "99999-12-31T23:59:60Z",
        "lease:1:18446744073709551615",
        "lease:99999999999999999999999:1",
        "\u{0}\u{202e}🦀",
    ];
    let epoch = format!("{}sluice", labels::EPOCH_PREFIX);
    let annotations = [
        labels::REVISION,
        labels::REVISION_HISTORY,
        labels::DESIRED_REPLICAS,
        labels::SCALE_DOWN_DEADLINE,
        labels::MANAGED_BY,
        labels::SWITCHED_AT,
        labels::ROUTED_AT,
        labels::SCALED_AT,
        labels::WROTE,
        labels::MADE,
        labels::EXPERIMENT_TEMPLATE,
        labels::ANALYSIS,
        labels::ATTEMPT,
        labels::STOPPED,
        labels::TRACKING_ID,
        &epoch,
    ];
    let places = annotations.map(|key| ("annotations", key.to_owned()));
    let names = [labels::POD_TEMPLATE_HASH, labels::ROLLOUT_TYPE, labels::STEP_INDEX];
    let places: Vec<_> =
        places.into_iter().chain(names.map(|key| ("labels", key.to_owned()))).collect();
    let object = object.clone();
    let texts = || TEXTS.iter().map(|text| (*text).to_owned()).chain([giant()]);
    places.into_iter().flat_map(move |(part, key)| {
        let object = object.clone();
        texts()
            .map(move |text| {
                let mut object = object.clone();
                object["metadata"][part][&key] = json!(text);
                (format!("/metadata/{part}/{key}={}", &text[..text.len().min(8)]), object)
            })
            .collect::<Vec<_>>()
    })
}
