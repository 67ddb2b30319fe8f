//! Fields that we set before (`managedFields` of manager `sluice-sync`) and that are declared no more.

use serde_json::Value;

use super::{Difference, DifferenceKind, pointer};
use crate::manifest::is_own_annotation;
use crate::view::LiveObject;

/// Finds live fields that we set and that the wanted form does not declare.
pub(super) fn extras(wanted: &Value, live: &LiveObject, found: &mut Vec<Difference>) {
    for set in &live.ours {
        walk("", set, Some(wanted), &live.body, found);
    }
}

fn walk(
    path: &str,
    set: &Value,
    wanted: Option<&Value>,
    live: &Value,
    found: &mut Vec<Difference>,
) {
    let Value::Object(set) = set else { return };
    for (entry, inner) in set {
        let (place, child, declared) = if let Some(field) = entry.strip_prefix("f:") {
            let path = pointer(path, field);
            if path == "/status" || is_own(&path, field) {
                continue;
            }
            (path, live.get(field), wanted.and_then(|w| w.get(field)))
        } else if let Some(key) = entry.strip_prefix("k:") {
            let Some((index, child)) = element(key, live) else { continue };
            let declared = wanted.and_then(|w| element(key, w)).map(|(_, value)| value);
            (format!("{path}/{index}"), Some(child), declared)
        } else {
            // `.` is the container itself; `v:` and `i:` are items of sets and lists, which are compared by value.
            continue;
        };
        let Some(child) = child else { continue };
        let whole = declared.is_none() && (is_leaf(inner) || entry.starts_with("k:"));
        if whole {
            if !is_hollow(child) {
                found.push(Difference {
                    pointer: place,
                    kind: DifferenceKind::Extra,
                    wanted: None,
                    live: Some(child.clone()),
                });
            }
        } else {
            walk(&place, inner, declared, child, found);
        }
    }
}

fn is_own(path: &str, field: &str) -> bool {
    path.starts_with("/metadata/annotations/") && is_own_annotation(field)
}

fn is_leaf(set: &Value) -> bool {
    set.as_object().is_none_or(|set| set.keys().all(|key| key == "."))
}

/// An empty container that stays behind says nothing.
fn is_hollow(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// Finds the element of a list that a `k:{…}` entry means. A protocol that is not written is TCP.
fn element<'a>(key: &str, list: &'a Value) -> Option<(usize, &'a Value)> {
    let key: Value = serde_json::from_str(key).ok()?;
    let key = key.as_object()?;
    list.as_array()?.iter().enumerate().find(|(_, item)| {
        key.iter().all(|(field, value)| match item.get(field) {
            Some(found) => found == value,
            None => field == "protocol" && value == "TCP",
        })
    })
}

/// Returns whether the value at the path as a whole is ours.
pub(super) fn owns(live: &LiveObject, path: &str) -> bool {
    live.ours.iter().any(|set| {
        let mut set = set;
        for part in path.split('/').skip(1) {
            let field = part.replace("~1", "/").replace("~0", "~");
            match set.get(format!("f:{field}")) {
                Some(inner) => set = inner,
                // Inside an atomic list there are no entries: the list as a whole is ours or not.
                None => return is_leaf(set) && part.bytes().all(|b| b.is_ascii_digit()),
            }
            if is_leaf(set) {
                return true;
            }
        }
        true
    })
}
