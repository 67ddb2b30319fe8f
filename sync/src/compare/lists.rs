//! Which lists of built-in kinds merge by key under server-side apply; all others are one value.

use serde_json::Value;

/// How a list is compared.
pub(super) enum Shape {
    /// Elements are found by the values of these fields.
    Keyed(&'static [&'static str]),
    /// A set of scalars.
    Set,
    /// One value.
    Atomic,
}

const KEYED: &[(&str, &[&[&str]])] = &[
    ("conditions", &[&["type"]]),
    ("containers", &[&["name"]]),
    ("env", &[&["name"]]),
    ("ephemeralContainers", &[&["name"]]),
    ("hostAliases", &[&["ip"]]),
    ("imagePullSecrets", &[&["name"]]),
    ("initContainers", &[&["name"]]),
    ("ownerReferences", &[&["uid"]]),
    ("ports", &[&["containerPort", "protocol"], &["port", "protocol"]]),
    ("readinessGates", &[&["conditionType"]]),
    ("resourceClaims", &[&["name"]]),
    ("secrets", &[&["name"]]),
    ("topologySpreadConstraints", &[&["topologyKey", "whenUnsatisfiable"]]),
    ("volumeDevices", &[&["devicePath"]]),
    ("volumeMounts", &[&["mountPath"]]),
    ("volumes", &[&["name"]]),
    ("webhooks", &[&["name"]]),
];

/// Returns how the list at the path is compared. A list whose elements lack the key is one value.
pub(super) fn shape(builtin: bool, path: &str, wanted: &[Value]) -> Shape {
    let metadata = path == "/metadata/finalizers" || path == "/metadata/ownerReferences";
    if path == "/metadata/finalizers" {
        return Shape::Set;
    }
    if !builtin && !metadata {
        return Shape::Atomic;
    }
    let field = path.rsplit('/').next().unwrap_or_default();
    let Some((_, candidates)) = KEYED.iter().find(|(name, _)| *name == field) else {
        return Shape::Atomic;
    };
    let fits = |keys: &&&[&str]| wanted.iter().all(|item| item.get(keys[0]).is_some());
    match candidates.iter().find(fits) {
        Some(keys) => Shape::Keyed(keys),
        None => Shape::Atomic,
    }
}

/// Returns whether two elements have the same key. An absent protocol is TCP.
pub(super) fn same_key(keys: &[&str], a: &Value, b: &Value) -> bool {
    let get = |value: &Value, key: &str| match value.get(key) {
        None if key == "protocol" => Value::from("TCP"),
        Some(value) => value.clone(),
        None => Value::Null,
    };
    keys.iter().all(|key| get(a, key) == get(b, key))
}
