//! What the API server would say of an object: unknown fields, wrong types, missing fields, numbers out of range. For `lint`,
//! which has no API server, and with every problem in place of the first.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{FieldPath, Problem, listed};

/// Returns what in `object` does not fit the schema (`openAPIV3Schema`). `metadata` of the root is left to Kubernetes. Unknown
/// fields are reported, although the API server drops them silently: what is dropped has no effect.
pub fn check(schema: &Value, object: &Value) -> Vec<Problem> {
    let mut problems = Vec::new();
    inspect(FieldPath::root(), schema, object, &mut problems);
    problems
}

fn inspect(path: FieldPath, schema: &Value, value: &Value, problems: &mut Vec<Problem>) {
    let free = schema["x-kubernetes-preserve-unknown-fields"] == true;
    if schema["x-kubernetes-int-or-string"] == true {
        if !value.is_i64() && !value.is_u64() && !value.is_string() {
            problems.push(wrong_type(path, "a whole number or a text", value));
        }
        return;
    }
    let Some(wanted) = schema["type"].as_str() else { return };
    let fits = match wanted {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => {
            value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|n| n.fract() == 0.0)
        }
        _ => value.is_number(),
    };
    if !fits {
        problems.push(wrong_type(path, named(wanted), value));
        return;
    }
    bounds(&path, schema, value, problems);
    match value {
        Value::Object(object) => members(&path, schema, object, free, problems),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                inspect(path.index(index), &schema["items"], item, problems);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn members(
    path: &FieldPath,
    schema: &Value,
    object: &serde_json::Map<String, Value>,
    free: bool,
    problems: &mut Vec<Problem>,
) {
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !object.contains_key(name) {
            problems.push(Problem::new(path.field(name), "required"));
        }
    }
    let is_root_metadata = path.as_str() == "metadata";
    // The order of a map depends on how it was built; that of a report must not.
    let sorted: BTreeMap<&String, &Value> = object.iter().collect();
    for (name, member) in sorted {
        if let Some(schema) = schema["properties"].get(name) {
            inspect(path.field(name), schema, member, problems);
        } else if let Some(values) = schema.get("additionalProperties") {
            inspect(path.key(name), values, member, problems);
        } else if !free && !is_root_metadata {
            problems.push(unknown(path, name, schema));
        }
    }
}

fn bounds(path: &FieldPath, schema: &Value, value: &Value, problems: &mut Vec<Problem>) {
    if let (Some(text), Some("date-time")) = (value.as_str(), schema["format"].as_str())
        && chrono::DateTime::parse_from_rfc3339(text).is_err()
    {
        let problem = Problem::new(path.clone(), format!("`{}` is no time", shortened(text)));
        problems.push(problem.hint("write it as `2026-01-31T12:00:00Z`"));
    }
    if let (Some(text), Some(words)) = (value.as_str(), schema["enum"].as_array())
        && !words.contains(value)
    {
        let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
        let message = format!("`{}` is not one of {}", shortened(text), listed(&words));
        problems.push(Problem::new(path.clone(), message));
    }
    let Some(number) = value.as_f64() else { return };
    if schema["type"] == "integer" {
        whole(path, schema, number, problems);
    }
    if let Some(least) = schema["minimum"].as_f64().filter(|least| number < *least) {
        problems.push(Problem::new(path.clone(), format!("{number} is below {least}")));
    }
    if let Some(most) = schema["maximum"].as_f64().filter(|most| number > *most) {
        problems.push(Problem::new(path.clone(), format!("{number} is above {most}")));
    }
}

/// The greatest numbers that the types behind the schema hold.
fn whole(path: &FieldPath, schema: &Value, number: f64, problems: &mut Vec<Problem>) {
    let most = if schema["format"] == "int32" { f64::from(i32::MAX) } else { 9.2e18 };
    if number > most || number < -most - 1.0 {
        problems.push(Problem::new(path.clone(), format!("{number:e} is beyond any number here")));
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(40).collect()
}

fn unknown(path: &FieldPath, name: &str, schema: &Value) -> Problem {
    let problem = Problem::new(path.field(name), "unknown field: the API server drops it");
    let known: Vec<&str> = schema["properties"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, _)| name.as_str())
        .collect();
    match known.iter().find(|candidate| is_near(name, candidate)) {
        Some(near) => problem.hint(format!("did you mean `{near}`?")),
        None if known.is_empty() => problem.hint("remove it: nothing is allowed here"),
        None => problem.hint(format!("remove it; allowed here are {}", sorted_list(known))),
    }
}

fn sorted_list(mut known: Vec<&str>) -> String {
    known.sort_unstable();
    listed(&known)
}

/// Equal but for case, or one edit apart.
fn is_near(a: &str, b: &str) -> bool {
    if a.eq_ignore_ascii_case(b) {
        return true;
    }
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    if long.len() - short.len() > 1 || short.len() < 3 {
        return false;
    }
    let same_start = short.bytes().zip(long.bytes()).take_while(|(x, y)| x == y).count();
    let same_end = short.bytes().rev().zip(long.bytes().rev()).take_while(|(x, y)| x == y).count();
    same_start + same_end >= long.len() - 1
}

fn wrong_type(path: FieldPath, wanted: &str, value: &Value) -> Problem {
    let there = match value {
        Value::Null => "nothing (`null`)".to_string(),
        Value::Object(_) => "an object".to_string(),
        Value::Array(_) => "a list".to_string(),
        scalar => format!("`{scalar}`"),
    };
    let problem = Problem::new(path, format!("{wanted} is wanted, there is {there}"));
    match value {
        Value::Bool(_) | Value::Number(_) if wanted == "a text" => {
            problem.hint("put it into quotes")
        }
        _ => problem,
    }
}

fn named(wanted: &str) -> &'static str {
    match wanted {
        "object" => "an object",
        "array" => "a list",
        "string" => "a text",
        "boolean" => "`true` or `false`",
        "integer" => "a whole number",
        _ => "a number",
    }
}
