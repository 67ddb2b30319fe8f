//! The simulated API server answers as the real one did: `recorded/answers.json`, written by `sluice-bed record` on the bed.

#![expect(clippy::unwrap_used, reason = "what a helper of a test cannot do fails the test")]

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta};
use serde_json::{Value, json};
use sluice_sim::api_server::{ApiServer, Call, Reply};

#[path = "recorded/shapes.rs"]
mod shapes;

use shapes::{Names, Shape, filled, shapes};

/// Answers that differ, each with the reason why they may; a shape that is answered alike must not be here.
const DIFFERENT: &[(&str, &str)] = &[];

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

#[test]
fn every_recorded_request_is_answered_as_by_a_real_server() {
    let recorded: BTreeMap<String, Value> =
        serde_json::from_str(include_str!("recorded/answers.json")).unwrap();
    let simulated = answers();
    assert!(recorded.len() >= 200, "{}", recorded.len());
    let mut problems = Vec::new();
    for (name, wanted) in &recorded {
        let given = simulated.get(name).unwrap_or(&Value::Null);
        let is_excused = DIFFERENT.iter().any(|(shape, _)| shape == name);
        match (given == wanted, is_excused) {
            (true, true) => problems.push(format!("{name}: is alike, and listed as different")),
            (false, false) => problems.push(format!("{name}\n  real {wanted}\n  sim  {given}")),
            (true, false) | (false, true) => {}
        }
    }
    for name in simulated.keys().filter(|name| !recorded.contains_key(*name)) {
        problems.push(format!("{name}: was not recorded"));
    }
    assert!(problems.is_empty(), "{} answers differ:\n{}", problems.len(), problems.join("\n"));
}
