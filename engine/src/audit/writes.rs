//! Laws about single writes: what a write may touch, and that it carries what makes it safe (S16, S18, S19).

use serde_json::Value;
use sluice_crds::labels::{EPOCH_PREFIX, POD_TEMPLATE_HASH};
use sluice_crds::object::{Change, Kind, Write};

/// Returns what the write changes that its kind does not allow (S18).
pub(super) fn foreign_fields(write: &Write) -> Vec<String> {
    let whole = matches!(write.change, Change::JsonPatch { .. });
    // Routes, destinations and subsets that are added or removed as a whole are judged by what is left beside them.
    let allowed = |path: &str| {
        is_ours(&write.object.kind, path) || (whole && is_element(&write.object.kind, path))
    };
    let paths: Vec<String> = match &write.change {
        // An object that we create is ours as a whole.
        Change::Create { .. } | Change::Delete { .. } | Change::Evict => Vec::new(),
        Change::Apply { .. } => vec!["/ (server-side apply)".to_owned()],
        Change::Status { .. } => vec!["/status".to_owned()],
        Change::MergePatch { body } => leaves(body, String::new()),
        Change::JsonPatch { operations } => operations
            .iter()
            .filter(|operation| operation["op"] != "test")
            .filter_map(|operation| operation["path"].as_str().map(str::to_owned))
            .collect(),
    };
    paths.into_iter().filter(|path| !allowed(path)).collect()
}

fn leaves(value: &Value, at: String) -> Vec<String> {
    match value {
        Value::Object(map) if !map.is_empty() => map
            .iter()
            .flat_map(|(key, value)| {
                let key = key.replace('~', "~0").replace('/', "~1");
                leaves(value, format!("{at}/{key}"))
            })
            .collect(),
        _ if at.is_empty() => Vec::new(),
        _ => vec![at],
    }
}

/// Whether the path is an element of a list that the engine makes elements of.
fn is_element(kind: &Kind, path: &str) -> bool {
    let is_place = |part: &str| part == "-" || part.bytes().all(|b| b.is_ascii_digit());
    let parts: Vec<&str> = path.split('/').collect();
    match (&*kind.kind, parts.as_slice()) {
        ("VirtualService", ["", "spec", "http", route]) => is_place(route),
        ("VirtualService", ["", "spec", "http" | "tls" | "tcp", route, "route", to]) => {
            is_place(route) && is_place(to)
        }
        ("DestinationRule", ["", "spec", "subsets", subset]) => is_place(subset),
        _ => false,
    }
}

/// Whether the engine may write the path of an object of the kind.
pub(super) fn is_ours(kind: &Kind, path: &str) -> bool {
    if let Some(annotation) = path.strip_prefix("/metadata/annotations") {
        let key = annotation.trim_start_matches('/').replace("~1", "/").replace("~0", "~");
        return is_our_annotation(kind, &key);
    }
    match kind.kind.as_ref() {
        "Rollout" => path == "/status" || path == "/spec/replicas",
        "ReplicaSet" => {
            ["/spec/replicas", "/spec/minReadySeconds", "/metadata/ownerReferences"].contains(&path)
                || INJECTED.iter().any(|injected| is_at_or_below(path, injected))
        }
        "Deployment" => path == "/spec/replicas",
        "Pod" => is_at_or_below(path, "/metadata/labels"),
        "Service" => path == format!("/spec/selector/{POD_TEMPLATE_HASH}"),
        "VirtualService" => {
            let sections = ["/spec/http/", "/spec/tls/", "/spec/tcp/"];
            path.ends_with("/weight") && sections.iter().any(|section| path.starts_with(section))
        }
        "DestinationRule" => {
            path.starts_with("/spec/subsets/")
                && (path.ends_with(&format!("/labels/{POD_TEMPLATE_HASH}"))
                    || path.ends_with("/labels"))
        }
        "AnalysisRun" => path == "/spec/terminate",
        "Experiment" => path == "/spec/terminate" || path == "/status",
        _ => false,
    }
}

/// What the engine puts into the Pod template of a ReplicaSet: metadata of a role, and anti-affinity.
const INJECTED: [&str; 3] = [
    "/spec/template/metadata/labels",
    "/spec/template/metadata/annotations",
    "/spec/template/spec/affinity",
];

fn is_at_or_below(path: &str, root: &str) -> bool {
    path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn is_our_annotation(kind: &Kind, key: &str) -> bool {
    // A ReplicaSet carries a copy of the Rollout's annotations: all of them are ours to keep. Those of Pods are what roles ask
    // for.
    key.is_empty()
        || kind.kind == "ReplicaSet"
        || kind.kind == "Pod"
        || key.starts_with(EPOCH_PREFIX)
        || key.starts_with(sluice_crds::labels::SLUICE_PREFIX)
        || key == sluice_crds::labels::REVISION
        || key == sluice_crds::labels::MANAGED_BY
        || key == sluice_crds::labels::WORKLOAD_GENERATION
}

/// Returns the value of the fence annotation `key` that the write leaves on its object.
pub(super) fn stamp<'a>(write: &'a Write, key: &str) -> Option<&'a str> {
    let pointer = key.replace('~', "~0").replace('/', "~1");
    match &write.change {
        Change::Create { body } | Change::Apply { body } | Change::MergePatch { body } => {
            body.pointer(&format!("/metadata/annotations/{pointer}"))?.as_str()
        }
        Change::JsonPatch { operations } => {
            let path = format!("/metadata/annotations/{pointer}");
            let add = operations
                .iter()
                .find(|op| op["op"] == "add" && op["path"].as_str() == Some(path.as_str()))?;
            add["value"].as_str()
        }
        Change::Delete { .. } | Change::Evict | Change::Status { .. } => None,
    }
}

/// Returns whether the write must carry a stamp: all but deletions, status, and those of Pods, on which no plan relies.
pub(super) fn needs_stamp(write: &Write) -> bool {
    let unstamped =
        matches!(write.change, Change::Delete { .. } | Change::Evict | Change::Status { .. });
    !unstamped && write.object.kind.kind != "Pod"
}

/// Returns `spec` after the JSON patch; `None` if an operation does not fit.
pub(super) fn patched_spec(spec: &Value, write: &Write) -> Option<Value> {
    let Change::JsonPatch { operations } = &write.change else { return None };
    let mut object = serde_json::json!({ "spec": spec });
    for operation in operations {
        let path = operation["path"].as_str()?;
        if !path.starts_with("/spec/") || operation["op"] == "test" {
            continue;
        }
        let (parent, key) = path.rsplit_once('/')?;
        let key = key.replace("~1", "/").replace("~0", "~");
        let parent = object.pointer_mut(parent)?;
        match (operation["op"].as_str()?, parent) {
            ("add" | "replace", Value::Object(map)) => {
                map.insert(key, operation["value"].clone());
            }
            ("remove", Value::Object(map)) => {
                map.remove(&key)?;
            }
            ("add", Value::Array(list)) => {
                let at = if key == "-" { list.len() } else { key.parse::<usize>().ok()? };
                if at > list.len() {
                    return None;
                }
                list.insert(at, operation["value"].clone());
            }
            ("remove", Value::Array(list)) => {
                let at = key.parse::<usize>().ok().filter(|at| *at < list.len())?;
                list.remove(at);
            }
            ("replace", Value::Array(list)) => {
                *list.get_mut(key.parse::<usize>().ok()?)? = operation["value"].clone();
            }
            _ => return None,
        }
    }
    object.get_mut("spec").map(Value::take)
}
