//! What a revision changed, as JSON pointers.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use sluice_crds::labels::{EPOCH_PREFIX, ROUTED_AT, SWITCHED_AT};

/// Returns pointers of everything that differs; what changes with every write is left out.
pub(super) fn of(old: &Value, new: &Value) -> Vec<String> {
    let mut all = Vec::new();
    walk(old, new, "", &mut all);
    let book_keeping =
        ["/metadata/resourceVersion", "/metadata/managedFields", "/metadata/generation"];
    all.retain(|path| !book_keeping.iter().any(|of| is_below(path, of)));
    all
}

/// Whether `path` is `of` or inside it.
pub(super) fn is_below(path: &str, of: &str) -> bool {
    path.strip_prefix(of).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether the path is the fence's stamp, or an instant that a touch renews.
pub(super) fn is_stamp(path: &str) -> bool {
    let Some(name) = path.strip_prefix("/metadata/annotations/") else { return false };
    let name = name.replace("~1", "/").replace("~0", "~");
    name.starts_with(EPOCH_PREFIX) || name == ROUTED_AT || name == SWITCHED_AT
}

fn walk(old: &Value, new: &Value, at: &str, all: &mut Vec<String>) {
    if old == new {
        return;
    }
    let nothing = Map::new();
    match (old, new) {
        (Value::Object(a), Value::Object(b)) => maps(a, b, at, all),
        // A map that was not there is an empty one: what counts is what is in it.
        (Value::Null, Value::Object(b)) if !b.is_empty() => maps(&nothing, b, at, all),
        (Value::Object(a), Value::Null) if !a.is_empty() => maps(a, &nothing, at, all),
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                walk(a, b, &format!("{at}/{index}"), all);
            }
        }
        (_, _) => all.push(at.to_owned()),
    }
}

fn maps(a: &Map<String, Value>, b: &Map<String, Value>, at: &str, all: &mut Vec<String>) {
    let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    for key in keys {
        let path = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
        let of = |map: &Map<String, Value>| map.get(key).cloned().unwrap_or_default();
        walk(&of(a), &of(b), &path, all);
    }
}
