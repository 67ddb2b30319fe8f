//! The simulated API server answers as the real one did: `recorded/answers.json`, written by `sluice-bed record` on the bed.

#![expect(clippy::unwrap_used, reason = "what a helper of a test cannot do fails the test")]

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta};
use serde_json::{Value, json};
use sluice_sim::api_server::{ApiServer, Call, Reply};

#[path = "recorded/shapes.rs"]
mod shapes;

use shapes::{Names, Shape, filled, shapes};

/// Requests that are answered otherwise, by what they are about, each with what is missing here. A shape that is answered alike
/// for every kind must not be in this list.
const DIFFERENT: &[(&str, &str)] = &[
    ("a long name", NAMES),
    ("create with a bad label", NAMES),
    ("create with a bad name", NAMES),
    ("add a finalizer while it is deleted", "finalizers may be added at any time"),
    (
        "an unknown operation",
        "an operation that does not exist is a bad patch, not one that cannot be applied",
    ),
    ("apply with managed fields", "managedFields in an apply are dropped"),
    (
        "create another kind",
        "every kind but the resource's own is a bad request, also for custom resources",
    ),
    ("create another version", "the version of a body is not looked at"),
    ("create at a name", "a POST to a name is refused by its method, also for custom resources"),
    ("create with a version", "is refused as a bad request; a real server answers 500"),
    ("watch from a bad version", "is refused as a bad request; a real server answers 500"),
    ("delete with an unknown policy", "an unknown propagationPolicy is the default one"),
    ("list by an unknown field", "any field can be selected by"),
    ("list from a bad version", "a version is not looked at in a list"),
    ("no status to get", "every kind has a status"),
    ("no status to merge into", "every kind has a status"),
    ("replace without a version", "no kind insists on a version in a replacement"),
    (
        "merge into the status",
        "the rules of core kinds are not checked: a Service of type ClusterIP has no ingress",
    ),
    ("merge more than the status", "the rules of core kinds are not checked"),
    ("merge without effect into the status", "the rules of core kinds are not checked"),
    ("an unknown group", "is answered by a Status; a real server answers plain text"),
    ("an unknown version", "is answered by a Status; a real server answers plain text"),
    ("below-the-least", SCHEMAS),
    ("merge a wrong type", SCHEMAS),
    ("merge what is not in the enum", SCHEMAS),
    ("no-spec", SCHEMAS),
    ("not-in-the-enum", SCHEMAS),
    ("not-int-or-string", SCHEMAS),
    ("strictly", SCHEMAS),
    ("the-same-key-twice", SCHEMAS),
    ("without-a-key", SCHEMAS),
    ("wrong-type", SCHEMAS),
];
const NAMES: &str = "names and labels are not checked";
const SCHEMAS: &str =
    "schemas prune and default, and do not validate; `sluice_crds::validate` does";

fn ask(api: &mut ApiServer, at: DateTime<chrono::Utc>, shape: &Shape) -> (u16, Value) {
    let mut call = Call::new(&shape.method, &shape.path).by("recorder");
    call.content_type.clone_from(&shape.content_type);
    call.accept.clone_from(&shape.accept);
    call.body.clone_from(&shape.body);
    match api.handle(at, &call) {
        Reply::Json { code, body } => (code, body),
        Reply::Text(text) => (200, json!(text)),
        Reply::Watch(mut watch) => {
            assert!(shape.is_watch, "{} is answered by a watch", shape.name);
            let events = api.watched(&mut watch);
            match events {
                Ok(events) => (200, events.into_iter().map(|event| event.body).collect()),
                Err(failure) => (200, json!([{ "type": "ERROR", "object": failure.body() }])),
            }
        }
    }
}

fn answers() -> BTreeMap<String, Value> {
    let start = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
    let mut api = ApiServer::bare(start);
    let (mut names, mut saved, mut found) = (Names::default(), BTreeMap::new(), BTreeMap::new());
    for (index, shape) in shapes().iter().enumerate() {
        let at = start + TimeDelta::seconds(i64::try_from(index).unwrap());
        let shape = filled(shape, &saved);
        let (code, body) = ask(&mut api, at, &shape);
        if let Some(name) = &shape.saved {
            saved.insert(name.clone(), body.clone());
        }
        let answer = names.normal(&shape, code, &body);
        assert!(found.insert(shape.name.clone(), answer).is_none(), "{} is used twice", shape.name);
    }
    found
}

/// What programs act on first: code and reason. Bodies are recorded and not compared yet: uids and versions are numbered in the
/// order in which they appear, and one that only one server gives away shifts all after it.
fn meaning(answer: &Value) -> (&Value, &Value) {
    let body = &answer["body"];
    let failed = body["kind"] == "Status" && body["status"] == "Failure";
    (&answer["code"], if failed { &body["reason"] } else { &Value::Null })
}

#[test]
fn every_recorded_request_is_answered_as_by_a_real_server() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/recorded/answers.json");
    let recorded: BTreeMap<String, Value> =
        serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let simulated = answers();
    assert!(recorded.len() >= 200, "{}", recorded.len());
    let (mut problems, mut excused) = (Vec::new(), BTreeSet::new());
    for (name, wanted) in &recorded {
        let given = simulated.get(name).unwrap_or(&Value::Null);
        if meaning(given) == meaning(wanted) {
            continue;
        }
        let (_, about) = name.split_once(": ").unwrap_or(("", name));
        match DIFFERENT.iter().find(|(shape, _)| *shape == about) {
            Some((shape, _)) => drop(excused.insert(*shape)),
            None => problems.push(format!("{name}\n  real {wanted}\n  sim  {given}")),
        }
    }
    for (shape, why) in DIFFERENT.iter().filter(|(shape, _)| !excused.contains(shape)) {
        problems.push(format!("{shape}: is alike, and listed as different ({why})"));
    }
    for name in simulated.keys().filter(|name| !recorded.contains_key(*name)) {
        problems.push(format!("{name}: was not recorded"));
    }
    assert!(problems.is_empty(), "{} answers differ:\n{}", problems.len(), problems.join("\n"));
}
