use serde_json::Value;

/// One field of a kind, as its schema has it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Field {
    /// Path from the object: `spec.strategy.canary.steps[].setWeight`; `.*` stands for any key of a map.
    pub path: String,
    /// `string`, `integer`, `[]object`, `map of string`, `any`, …
    pub value_type: String,
    /// What the field means.
    pub description: String,
}

/// Returns every field of a schema below its root, parents before children, siblings in order of their names.
/// `apiVersion`, `kind` and `metadata` of the root are Kubernetes' own and left out.
pub fn fields(schema: &Value) -> Vec<Field> {
    let mut found = Vec::new();
    below(schema, "", &mut found);
    found
}

fn below(schema: &Value, path: &str, found: &mut Vec<Field>) {
    let Some(properties) = schema["properties"].as_object() else { return };
    let mut names: Vec<&String> = properties.keys().collect();
    names.sort();
    for name in names {
        if path.is_empty() && matches!(name.as_str(), "apiVersion" | "kind" | "metadata") {
            continue;
        }
        let dot = if path.is_empty() { "" } else { "." };
        let field = &properties[name];
        let path = format!("{path}{dot}{name}");
        let description = field["description"].as_str().unwrap_or_default().to_string();
        found.push(Field { path: path.clone(), value_type: value_type(field), description });
        inside(field, path, found);
    }
}

/// Descends through lists and maps to the objects in them.
fn inside(schema: &Value, path: String, found: &mut Vec<Field>) {
    if schema["items"].is_object() {
        inside(&schema["items"], format!("{path}[]"), found);
    } else if schema["additionalProperties"].is_object() {
        inside(&schema["additionalProperties"], format!("{path}.*"), found);
    } else {
        below(schema, &path, found);
    }
}

fn value_type(schema: &Value) -> String {
    if schema["x-kubernetes-int-or-string"] == true {
        return "integer or string".into();
    }
    match schema["type"].as_str() {
        Some("array") => format!("list of {}", value_type(&schema["items"])),
        Some("object") if schema["additionalProperties"].is_object() => {
            format!("map of {}", value_type(&schema["additionalProperties"]))
        }
        Some("object") if schema["x-kubernetes-preserve-unknown-fields"] == true => {
            "any object".into()
        }
        Some("string") if schema["format"] == "date-time" => "time".into(),
        Some(other) => other.into(),
        None => "any".into(),
    }
}
