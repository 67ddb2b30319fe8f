//! Golden cases of every traffic router, and the laws that all of them keep.
//!
//! A case is a folder: `split.yaml` (routing, weights, hashes, expected problems), `before.yaml` and `after.yaml` (the router's
//! objects). Laws: the edits turn `before` into `after`; nothing but weights and hash labels changes; doing it again changes
//! nothing; the weights of each managed route add up to 100.
#![allow(clippy::unwrap_used, reason = "a test; clippy exempts only functions marked as such")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use sluice_crds::labels::POD_TEMPLATE_HASH;
use sluice_crds::object::{Kind, Meta, ObjectRef};
use sluice_crds::rollout::TrafficRouting;
use sluice_engine::traffic::{
    Destination, LiveRoutes, RouteScope, Routed, TrafficRouter, TrafficSplit, registry,
};
use sluice_engine::view::{Lookup, RouteRecord};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Case {
    traffic_routing: TrafficRouting,
    canary_service: Option<String>,
    stable_service: Option<String>,
    weight: u32,
    #[serde(default)]
    canary_hash: String,
    #[serde(default)]
    stable_hash: String,
    #[serde(default)]
    ports: BTreeMap<String, Vec<u16>>,
    /// What `check` must say, in order.
    #[serde(default)]
    problems: Vec<String>,
    /// Whether the weights can be set in spite of the problems.
    #[serde(default)]
    weighed: Option<bool>,
}

#[test]
fn routers_edit_what_the_golden_cases_say_and_nothing_else() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/routers");
    for router in registry::ROUTERS {
        let cases = folders(&folder.join(router.name()));
        assert!(cases.len() >= 3, "router `{}` has too few golden cases", router.name());
        for case in cases {
            check(*router, &case);
        }
    }
}

fn folders(parent: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(parent).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn check(router: &dyn TrafficRouter, folder: &Path) {
    let name = folder.display();
    let read = |file: &str| std::fs::read_to_string(folder.join(file)).unwrap();
    let case: Case = serde_saphyr::from_str(&read("split.yaml")).unwrap();
    let (before, after) = (objects(&read("before.yaml")), objects(&read("after.yaml")));
    let scope = RouteScope {
        namespace: "shop",
        routing: &case.traffic_routing,
        canary_service: case.canary_service.as_deref(),
        stable_service: case.stable_service.as_deref(),
        ports: &case.ports,
    };
    let split = TrafficSplit {
        canary: Destination {
            hash: case.canary_hash.clone(),
            weight: case.weight,
            ..Destination::default()
        },
        stable: Destination {
            hash: case.stable_hash.clone(),
            weight: 100 - case.weight,
            ..Destination::default()
        },
    };
    assert!(router.configured(&case.traffic_routing), "{name}");
    let problems: Vec<String> =
        router.check(&scope, &live(&before)).iter().map(ToString::to_string).collect();
    assert_eq!(problems, case.problems, "{name}: problems");

    let mut edited = before.clone();
    let weighed = router.weigh(&scope, &split, &live(&edited));
    if let Some(expected) = case.weighed {
        assert_eq!(weighed.problems.is_empty(), expected, "{name}: {:?}", weighed.problems);
    }
    apply(&weighed, &mut edited);
    apply(&router.aim(&scope, &split, &live(&edited)), &mut edited);
    assert_eq!(edited, after, "{name}");

    for (object, spec) in &before {
        let mut changed = Vec::new();
        differences(spec, &after[object], String::new(), &mut changed);
        for path in changed {
            let ours = path.ends_with("/weight") || path.contains(POD_TEMPLATE_HASH);
            assert!(ours, "{name}: {object}: {path} is not ours");
        }
    }
    assert!(router.weigh(&scope, &split, &live(&after)).edits.is_empty(), "{name}: idempotent");
    assert!(router.aim(&scope, &split, &live(&after)).edits.is_empty(), "{name}: idempotent");
    if weighed.problems.is_empty() {
        let observed = router.observed(&scope, &live(&after));
        assert!(!observed.is_empty(), "{name}");
        for route in observed {
            assert_eq!(route.canary, case.weight, "{name}: {}", route.route);
            let sum = route.canary + route.stable + route.other;
            assert_eq!(sum, 100, "{name}: {}", route.route);
        }
    }
    if let Some(resolved) = router.resolves(&scope, &live(&after)) {
        let some = |hash: &str| (!hash.is_empty()).then(|| hash.to_owned());
        assert_eq!(resolved.canary, some(&case.canary_hash), "{name}");
        assert_eq!(resolved.stable, some(&case.stable_hash), "{name}");
    }
}

fn objects(yaml: &str) -> BTreeMap<ObjectRef, Value> {
    yaml.split("\n---\n")
        .filter(|document| !document.trim().is_empty())
        .map(|document| {
            let value: Value = serde_saphyr::from_str(document).unwrap();
            let kind = match value["kind"].as_str() {
                Some("VirtualService") => Kind::VIRTUAL_SERVICE,
                Some("DestinationRule") => Kind::DESTINATION_RULE,
                other => panic!("unknown kind {other:?}"),
            };
            let meta: Meta = serde_json::from_value(value["metadata"].clone()).unwrap();
            (meta.object(kind), value["spec"].clone())
        })
        .collect()
}

fn live(objects: &BTreeMap<ObjectRef, Value>) -> LiveRoutes {
    objects
        .iter()
        .map(|(object, spec)| {
            let spec = Arc::new(spec.clone());
            let record = RouteRecord { object: object.clone(), meta: Meta::default(), spec };
            (object.clone(), Lookup::Present(Arc::new(record)))
        })
        .collect()
}

/// RFC 6902, as far as routers use it.
fn apply(routed: &Routed, objects: &mut BTreeMap<ObjectRef, Value>) {
    for edit in &routed.edits {
        assert!(!edit.operations.is_empty());
        let spec = objects.get_mut(&edit.object).unwrap();
        for operation in &edit.operations {
            let path = operation["path"].as_str().unwrap().strip_prefix("/spec").unwrap();
            let value = &operation["value"];
            if operation["op"] == "test" {
                assert_eq!(spec.pointer(path), Some(value), "{path}");
                continue;
            }
            let (parent, key) = path.rsplit_once('/').unwrap();
            let parent = spec.pointer_mut(parent).unwrap().as_object_mut().unwrap();
            match operation["op"].as_str().unwrap() {
                "add" => parent.insert(key.to_owned(), value.clone()),
                "remove" => Some(parent.remove(key).unwrap()),
                other => panic!("operation {other}"),
            };
        }
    }
}

fn differences(a: &Value, b: &Value, path: String, found: &mut Vec<String>) {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            for key in a.keys().chain(b.keys().filter(|key| !a.contains_key(*key))) {
                let path = format!("{path}/{key}");
                match (a.get(key), b.get(key)) {
                    (Some(a), Some(b)) => differences(a, b, path, found),
                    (_, Some(Value::Object(only))) => {
                        found.extend(only.keys().map(|inner| format!("{path}/{inner}")));
                    }
                    _ => found.push(path),
                }
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                differences(a, b, format!("{path}/{index}"), found);
            }
        }
        (a, b) if a == b => {}
        _ => found.push(path),
    }
}
