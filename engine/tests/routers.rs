//! Golden cases of every traffic router, and the laws that all of them keep.
//!
//! A case is a folder: `split.yaml` (routing, weights, hashes, routes of steps, expected problems), `before.yaml` and `after.yaml`
//! (the router's objects). Laws: the edits turn `before` into `after`; nothing changes but weights, hash labels and what is
//! ours as a whole, with the note of it; each object is edited once; doing it again changes nothing; the weights of each managed
//! route add up to 100.
#![allow(clippy::unwrap_used, reason = "a test; clippy exempts only functions marked as such")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};
use sluice_crds::labels::{MADE, POD_TEMPLATE_HASH};
use sluice_crds::object::{Kind, Meta, ObjectRef};
use sluice_crds::rollout::TrafficRouting;
use sluice_crds::rollout::steps::{HeaderMatch, RouteMatch};
use sluice_engine::traffic::made::{Made, Note};
use sluice_engine::traffic::{
    Destination, ExtraDestination, LiveRoutes, RouteRule, RouteScope, Routed, RuleKind,
    TrafficRouter, TrafficSplit, registry,
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
    /// Shares of Experiments.
    #[serde(default)]
    extra: Vec<Extra>,
    /// Routes that steps set.
    #[serde(default)]
    rules: Vec<Rule>,
    /// Names of routes that steps set or remove, if they are more than those of `rules`.
    #[serde(default)]
    own_routes: BTreeSet<String>,
    /// What `check` must say, in order.
    #[serde(default)]
    problems: Vec<String>,
    /// Whether the weights can be set in spite of the problems.
    #[serde(default)]
    weighed: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Extra {
    service: String,
    #[serde(default)]
    hash: String,
    weight: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    name: String,
    header: Option<Vec<HeaderMatch>>,
    mirror: Option<Vec<RouteMatch>>,
    percentage: Option<u32>,
}

impl Rule {
    fn to_rule(&self) -> RouteRule {
        let kind = match (&self.header, &self.mirror) {
            (Some(matches), None) => RuleKind::Header(matches.clone()),
            (None, Some(matches)) => {
                let percentage = self.percentage.unwrap_or(100);
                RuleKind::Mirror { matches: matches.clone(), percentage }
            }
            _ => panic!("rule `{}` is neither `header` nor `mirror`", self.name),
        };
        RouteRule { name: self.name.clone(), kind }
    }
}

impl Case {
    fn split(&self) -> TrafficSplit {
        let to = |hash: &String, weight| Destination {
            hash: hash.clone(),
            weight,
            ..Destination::default()
        };
        let extra: Vec<ExtraDestination> = self
            .extra
            .iter()
            .map(|to| ExtraDestination {
                service: to.service.clone(),
                hash: to.hash.clone(),
                weight: to.weight,
            })
            .collect();
        let taken: u32 = extra.iter().map(|to| to.weight).sum();
        TrafficSplit {
            canary: to(&self.canary_hash, self.weight),
            stable: to(&self.stable_hash, 100 - self.weight - taken),
            extra,
            rules: self.rules.iter().map(Rule::to_rule).collect(),
        }
    }

    fn own(&self) -> BTreeSet<String> {
        let rules = self.rules.iter().map(|rule| rule.name.clone());
        rules.chain(self.own_routes.iter().cloned()).collect()
    }
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
    let own_routes = case.own();
    let scope = RouteScope {
        rollout: "web",
        namespace: "shop",
        routing: &case.traffic_routing,
        canary_service: case.canary_service.as_deref(),
        stable_service: case.stable_service.as_deref(),
        ports: &case.ports,
        own_routes: &own_routes,
    };
    let split = case.split();
    assert!(router.configured(&case.traffic_routing), "{name}");
    let problems: Vec<String> =
        router.check(&scope, &live(&before)).iter().map(ToString::to_string).collect();
    assert_eq!(problems, case.problems, "{name}: problems");

    let mut edited = before.clone();
    let weighed = router.weigh(&scope, &split, &live(&edited));
    if let Some(expected) = case.weighed {
        assert_eq!(weighed.problems.is_empty(), expected, "{name}: {:?}", weighed.problems);
    }
    let edits: BTreeSet<&ObjectRef> = weighed.edits.iter().map(|edit| &edit.object).collect();
    assert_eq!(edits.len(), weighed.edits.len(), "{name}: one write for each object");
    apply(&weighed, &mut edited);
    apply(&router.aim(&scope, &split, &live(&edited)), &mut edited);
    assert_eq!(edited, after, "{name}");

    for (object, whole) in &before {
        let made = [Note::of(whole).all(), Note::of(&after[object]).all()];
        let [old, new] = [whole, &after[object]].map(|whole| foreign(whole, &own_routes, &made));
        let mut changed = Vec::new();
        differences(&old, &new, String::new(), &mut changed);
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
            let extra: u32 = route.extra.values().sum();
            let sum = route.canary + route.stable + extra + route.other;
            assert_eq!(sum, 100, "{name}: {}", route.route);
        }
    }
    let made: BTreeSet<String> =
        router.made(&scope, &live(&after)).into_iter().map(|route| route.name).collect();
    let wanted: BTreeSet<String> = case.rules.iter().map(|rule| rule.name.clone()).collect();
    assert_eq!(made, wanted, "{name}: routes of steps");
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
            (meta.object(kind), value)
        })
        .collect()
}

fn live(objects: &BTreeMap<ObjectRef, Value>) -> LiveRoutes {
    objects
        .iter()
        .map(|(object, whole)| {
            let meta = serde_json::from_value(whole["metadata"].clone()).unwrap();
            let spec = Arc::new(whole["spec"].clone());
            let record = RouteRecord { object: object.clone(), meta, spec };
            (object.clone(), Lookup::Present(Arc::new(record)))
        })
        .collect()
}

/// An object without what is ours as a whole, and without the note of it.
fn foreign(whole: &Value, own: &BTreeSet<String>, made: &[Made]) -> Value {
    let mut whole = whole.clone();
    if let Some(metadata) = whole["metadata"].as_object_mut() {
        metadata.remove("annotations");
    }
    let is_made = |of: fn(&Made) -> &BTreeSet<String>, name: &Value| {
        name.as_str().is_some_and(|name| made.iter().any(|made| of(made).contains(name)))
    };
    for section in ["http", "tls", "tcp"] {
        let Some(Value::Array(routes)) = whole["spec"].get_mut(section) else { continue };
        routes.retain(|route| {
            let named = route["name"].as_str().is_some_and(|name| own.contains(name));
            !named && !is_made(|made| &made.routes, &route["name"])
        });
        for route in routes {
            let Some(Value::Array(list)) = route.get_mut("route") else { continue };
            list.retain(|to| !is_made(|made| &made.destinations, &to["destination"]["host"]));
        }
    }
    if let Some(Value::Array(subsets)) = whole["spec"].get_mut("subsets") {
        subsets.retain(|subset| !is_made(|made| &made.subsets, &subset["name"]));
    }
    whole
}

/// RFC 6902, as far as routers use it.
fn apply(routed: &Routed, objects: &mut BTreeMap<ObjectRef, Value>) {
    for edit in &routed.edits {
        assert!(!edit.operations.is_empty());
        let whole = objects.get_mut(&edit.object).unwrap();
        for operation in &edit.operations {
            let path = operation["path"].as_str().unwrap();
            let note = format!("/metadata/annotations/{}", MADE.replace('/', "~1"));
            assert!(path.starts_with("/spec/") || path == note, "{path}");
            if path == note && whole["metadata"].get("annotations").is_none() {
                // Whoever sends the patch sees to it that there are annotations.
                whole["metadata"]["annotations"] = json!({});
            }
            let value = operation["value"].clone();
            if operation["op"] == "test" {
                assert_eq!(whole.pointer(path), Some(&value), "{path}");
                continue;
            }
            let (parent, key) = path.rsplit_once('/').unwrap();
            let key = key.replace("~1", "/");
            match (operation["op"].as_str().unwrap(), whole.pointer_mut(parent).unwrap()) {
                ("add", Value::Object(map)) => drop(map.insert(key, value)),
                ("remove", Value::Object(map)) => drop(map.remove(&key).unwrap()),
                ("add", Value::Array(list)) if key == "-" => list.push(value),
                ("add", Value::Array(list)) => list.insert(key.parse().unwrap(), value),
                ("remove", Value::Array(list)) => drop(list.remove(key.parse().unwrap())),
                (other, _) => panic!("operation {other} on {path}"),
            }
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
