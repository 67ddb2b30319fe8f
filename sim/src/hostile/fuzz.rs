//! Fuzz targets, run shortly and the same way each time: the corpora of `tests/corpus`, and mutations of them.
//!
//! A target is a function from bytes; it fails by panicking. `SLUICE_FUZZ_RUNS=100000 cargo test -p sluice-sim fuzz` runs so
//! many mutations of each entry. What is found is put into the corpus of its target.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sluice_crds::object::Kind;
use sluice_crds::{advice, supported, validate, yaml};
use sluice_engine::plan::Lower;

use super::experiments::Running;
use super::stage;
use super::{check_rollout, decided, unharmed};
use crate::solo::Solo;

/// Mutations of each entry in the tests.
const RUNS: usize = 500;

/// Text that parsers and rules branch on.
const TOKENS: [&str; 28] = [
    "null",
    "true",
    "false",
    "0",
    "-1",
    "100",
    "101",
    "4294967296",
    "1e999",
    ".nan",
    "{}",
    "[]",
    "\"\"",
    "''",
    "~",
    "&a ",
    "*a",
    "!!str ",
    "---\n",
    "\t",
    "\r\n",
    "\u{feff}",
    "\u{202e}",
    "\u{0}",
    "25%",
    "{{args.x}}",
    "weight: ",
    "name: ",
];

/// A small generator with a fixed seed: equal runs make equal mutations.
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(below.max(1)).unwrap_or(1)).unwrap_or(0)
    }

    fn mutated(&mut self, entry: &[u8], others: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = entry.to_vec();
        for _ in 0..=self.next(4) {
            let at = self.next(bytes.len() + 1);
            let end = (at + 1 + self.next(24)).min(bytes.len());
            match self.next(7) {
                0 if at < bytes.len() => bytes[at] ^= 1 << self.next(8),
                1 => drop(bytes.splice(at..at, TOKENS[self.next(TOKENS.len())].bytes())),
                2 if at < end => {
                    drop(bytes.splice(at..end, TOKENS[self.next(TOKENS.len())].bytes()))
                }
                3 if at < end => drop(bytes.drain(at..end)),
                4 if at < end => {
                    let part = bytes[at..end].to_vec();
                    let to = self.next(bytes.len());
                    drop(bytes.splice(to..to, part));
                }
                5 => {
                    // A line in the place of another: YAML stays YAML more often so.
                    let lines: Vec<&[u8]> = bytes.split(|b| *b == b'\n').collect();
                    let (from, to) = (self.next(lines.len()), self.next(lines.len()));
                    let mut lines: Vec<Vec<u8>> = lines.iter().map(|line| line.to_vec()).collect();
                    lines[to] = lines[from].clone();
                    bytes = lines.join(&b'\n');
                }
                _ => {
                    let other = &others[self.next(others.len())];
                    let from = self.next(other.len());
                    bytes.truncate(at);
                    bytes.extend_from_slice(&other[from..]);
                }
            }
        }
        bytes
    }
}

/// Runs a target over its corpus and mutations of it.
fn fuzz(target: &str, check: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(target);
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let corpus: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    assert!(corpus.len() > 1, "{target} has a corpus");
    let runs = std::env::var("SLUICE_FUZZ_RUNS").ok().and_then(|n| n.parse().ok()).unwrap_or(RUNS);
    for (index, entry) in corpus.iter().enumerate() {
        unharmed(&files[index].display().to_string(), || check(entry));
        let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ u64::try_from(index).unwrap_or(0));
        for _ in 0..runs {
            let bytes = random.mutated(entry, &corpus);
            unharmed(&format!("{target}: {:?}", String::from_utf8_lossy(&bytes)), || check(&bytes));
        }
    }
}

fn documents(bytes: &[u8]) -> Vec<Value> {
    yaml::values(&String::from_utf8_lossy(bytes)).unwrap_or_default()
}

#[test]
fn fuzz_decoding_and_validation() {
    fuzz("decode", |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let Ok(found) = yaml::load(&text) else { return };
        for document in found {
            let object = &document.value;
            for problem in validate::object(object).into_iter().flatten() {
                document.place(&problem.path);
            }
            let kind = object["kind"].as_str().unwrap_or_default();
            supported::not_acted_on(kind, object);
            if let Ok(spec) = serde_json::from_value(object["spec"].clone()) {
                advice::rollout(&spec);
            }
        }
    });
}

#[test]
fn fuzz_decide_on_specs() {
    let base = stage::mid_update();
    let object = stage::object(&base, &Kind::ROLLOUT, "web");
    fuzz("spec", |bytes| {
        for spec in documents(bytes) {
            let mut object = object.clone();
            object["spec"] = spec;
            check_rollout(&base, "spec", &object);
        }
    });
}

#[test]
fn fuzz_decide_on_specs_of_blue_green() {
    let base = stage::mid_update_of_blue_green();
    let object = stage::object(&base, &Kind::ROLLOUT, "web");
    fuzz("blue_green", |bytes| {
        for spec in documents(bytes) {
            let mut object = object.clone();
            object["spec"] = spec;
            check_rollout(&base, "spec", &object);
        }
    });
}

#[test]
fn fuzz_decide_on_experiments() {
    let running = Running::new();
    let object = stage::in_world(&running.world, &Kind::EXPERIMENT, "compare");
    fuzz("experiment", |bytes| {
        for spec in documents(bytes) {
            let mut object = object.clone();
            object["spec"] = spec;
            running.check("spec", &object);
        }
    });
}

#[test]
fn fuzz_decide_on_status() {
    let base = stage::mid_update();
    let object = stage::object(&base, &Kind::ROLLOUT, "web");
    fuzz("status", |bytes| {
        for status in documents(bytes) {
            let mut object = object.clone();
            object["status"] = status;
            check_rollout(&base, "status", &object);
        }
    });
}

/// Decides twice with a route object in between, and writes what was decided: an edit must apply, and leave what is foreign.
fn check_route(base: &Solo, kind: &Kind, spec: Value) {
    let mut solo = base.clone();
    let mut object = stage::object(base, kind, "web");
    object["spec"] = spec;
    solo.world.api.place(&object);
    for _ in 0..3 {
        let Some((view, decision)) = decided(&mut solo) else { return };
        for action in decision.plan.actions() {
            let write = action.lower();
            let before = solo.world.api.get(&write.object);
            let written = solo.world.api.write(view.now, "sluice-controller", &write);
            if write.object.kind != *kind {
                continue;
            }
            assert!(written.is_ok(), "the edit does not apply: {written:?}\n{write:#?}");
            let after = solo.world.api.get(&write.object);
            if let (Some(before), Some(after)) = (before, after) {
                let (before, after) = (foreign(&before["spec"]), foreign(&after["spec"]));
                assert_eq!(before, after, "foreign content is changed");
            }
        }
        solo.world.settle();
    }
}

/// Leaves out what the engine owns: weights, and the hash among the labels of subsets.
fn foreign(spec: &Value) -> Value {
    match spec {
        Value::Object(members) => {
            let owned = ["weight", sluice_crds::labels::POD_TEMPLATE_HASH];
            let kept = members.iter().filter(|(key, _)| !owned.contains(&key.as_str()));
            // A map of labels that held the hash alone may come or go with it.
            let kept = kept.map(|(key, member)| (key.clone(), foreign(member)));
            Value::Object(
                kept.filter(|(key, member)| {
                    key != "labels" || member.is_object() && *member != json!({})
                })
                .collect(),
            )
        }
        Value::Array(items) => items.iter().map(foreign).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => spec.clone(),
    }
}

#[test]
fn fuzz_the_editor_of_virtual_services() {
    let base = stage::mid_update();
    fuzz("virtual_service", |bytes| {
        for spec in documents(bytes) {
            check_route(&base, &Kind::VIRTUAL_SERVICE, spec);
        }
    });
}

#[test]
fn fuzz_the_editor_of_destination_rules() {
    let base = stage::mid_update_of_subsets();
    fuzz("destination_rule", |bytes| {
        for spec in documents(bytes) {
            check_route(&base, &Kind::DESTINATION_RULE, spec);
        }
    });
}
