//! What of the API this version acts on: one table, read by the controller's condition, by `lint` and by
//! `docs/compatibility.md`. What is accepted and not acted on yet says so; it never silently does nothing.
//!
//! A row covers a field, or with `.**` at its end a field and all below it. The most exact row decides. A test demands a row for
//! every field of every schema, so a new field cannot be forgotten here.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::Value;

use crate::validate::{FieldPath, Problem};

mod analysis;
mod application;
mod beyond;
mod document;
mod keys;
mod others;
mod rollout;

pub use document::document;

/// What happens to a field.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum State {
    /// It is acted on.
    Works,
    /// It is stored, does nothing yet, and a condition and `lint` say so.
    Accepted,
    /// It would be dangerous to ignore: the object, or the run, is not acted on while it is there, and says so.
    Refused,
}

impl State {
    /// Returns the word that the documentation uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Works => "works",
            Self::Accepted => "accepted, not acted on yet",
            Self::Refused => "refused",
        }
    }
}

/// A row of the table: fields of one kind with the same state.
#[derive(Clone, Copy, Debug)]
pub struct Feature {
    /// Kind, such as `Rollout`.
    pub kind: &'static str,
    /// Fields: `spec.a.b`, through lists `spec.a[].b`, through maps `spec.a.*.b`; `.**` at the end includes all below.
    pub paths: &'static [&'static str],
    /// What happens to them.
    pub state: State,
    /// What there is to know; empty if nothing.
    pub note: &'static str,
}

/// A sync option, as it is written in `syncPolicy.syncOptions`.
#[derive(Clone, Copy, Debug)]
pub struct SyncOption {
    /// Key.
    pub key: &'static str,
    /// Values.
    pub values: &'static [&'static str],
    /// What happens to them.
    pub state: State,
    /// What there is to know; empty if nothing.
    pub note: &'static str,
}

/// All rows of all kinds.
pub static FEATURES: &[&[Feature]] = &[
    rollout::FEATURES,
    analysis::TEMPLATES,
    analysis::RUNS,
    application::FEATURES,
    others::APP_PROJECT,
    others::APPLICATION_SET,
    others::EXPERIMENT,
];

pub use application::SYNC_OPTIONS;

/// Returns the row that decides about a field of a kind, written as in the table. ClusterAnalysisTemplates are
/// AnalysisTemplates here.
pub fn feature(kind: &str, path: &str) -> Option<&'static Feature> {
    let kind = if kind == "ClusterAnalysisTemplate" { "AnalysisTemplate" } else { kind };
    let index = INDEX.get(kind)?;
    if let Some(row) = index.exact.get(path) {
        return Some(row);
    }
    // From the field itself upwards, so that the most exact row decides.
    let cuts = path.rmatch_indices(['.', '[']).map(|(at, _)| &path[..at]);
    std::iter::once(path).chain(cuts).find_map(|prefix| index.below.get(prefix).copied())
}

/// The rows of a kind by path; of two rows for a path the first counts.
#[derive(Default)]
struct Index {
    exact: BTreeMap<&'static str, &'static Feature>,
    /// Paths that end in `.**`, without that.
    below: BTreeMap<&'static str, &'static Feature>,
}

/// Every decision on a Rollout looks up every field of its spec.
static INDEX: LazyLock<BTreeMap<&'static str, Index>> = LazyLock::new(|| {
    let mut all: BTreeMap<&'static str, Index> = BTreeMap::new();
    for row in FEATURES.iter().flat_map(|rows| rows.iter()) {
        let index = all.entry(row.kind).or_default();
        for path in row.paths {
            match path.strip_suffix(".**") {
                None => index.exact.entry(path).or_insert(row),
                Some(prefix) => index.below.entry(prefix).or_insert(row),
            };
        }
    }
    all
});

/// Returns what an object asks for that is not acted on, each at the uppermost field: states [`State::Accepted`] and
/// [`State::Refused`]. Only `spec` and `operation` are looked at; `false`, empty texts, lists and objects ask for nothing.
pub fn not_acted_on(kind: &str, object: &Value) -> Vec<(State, Problem)> {
    let mut found = Vec::new();
    for part in ["spec", "operation"] {
        let path = FieldPath::root().field(part);
        inspect(kind, part.to_string(), path, &object[part], &mut found);
    }
    if kind == "Application" {
        let path = FieldPath::spec().field("syncPolicy.syncOptions");
        options(&path, &object["spec"]["syncPolicy"]["syncOptions"], &mut found);
        let path = FieldPath::root().field("operation.sync.syncOptions");
        options(&path, &object["operation"]["sync"]["syncOptions"], &mut found);
        application::in_context(object, &mut found);
    }
    found
}

fn inspect(
    kind: &str,
    pattern: String,
    path: FieldPath,
    value: &Value,
    found: &mut Vec<(State, Problem)>,
) {
    if asks_for_nothing(&pattern, value) {
        return;
    }
    let Some(row) = feature(kind, &pattern) else { return };
    if row.state != State::Works {
        let problem = Problem::new(path, row.state.as_str());
        let problem = if row.note.is_empty() { problem } else { problem.hint(row.note) };
        found.push((row.state, problem));
        return;
    }
    match value {
        Value::Object(object) => {
            // The order of a map depends on how it was built; that of a report must not.
            let members: BTreeMap<&String, &Value> = object.iter().collect();
            for (key, member) in members {
                let below = format!("{pattern}.{key}");
                if feature(kind, &below).is_some() {
                    inspect(kind, below, path.field(key), member, found);
                } else {
                    inspect(kind, format!("{pattern}.*"), path.key(key), member, found);
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                elements(kind, &pattern, path.index(index), item, found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Elements of a list are no fields themselves; their members are.
fn elements(
    kind: &str,
    list: &str,
    path: FieldPath,
    item: &Value,
    found: &mut Vec<(State, Problem)>,
) {
    let members: BTreeMap<&String, &Value> = item.as_object().into_iter().flatten().collect();
    for (key, member) in members {
        inspect(kind, format!("{list}[].{key}"), path.field(key), member, found);
    }
}

fn asks_for_nothing(pattern: &str, value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        // A step `pause: {}` asks for something; a block without members is a step type that is not acted on, too.
        Value::Object(object) => object.is_empty() && !pattern.contains("steps[]."),
        Value::Number(number) => {
            pattern.ends_with(".maxTrafficWeight") && number.as_i64() == Some(100)
        }
        Value::Bool(true) => false,
    }
}

fn options(path: &FieldPath, list: &Value, found: &mut Vec<(State, Problem)>) {
    let texts = list.as_array().into_iter().flatten().filter_map(Value::as_str);
    for (index, text) in texts.enumerate() {
        let path = path.index(index);
        let Some((key, value)) =
            text.split_once('=').map(|(key, value)| (key.trim(), value.trim()))
        else {
            let problem = Problem::new(path, format!("`{text}` is no `Key=value`"));
            found.push((State::Accepted, problem.hint("write it as `CreateNamespace=true`")));
            continue;
        };
        let known: Vec<&SyncOption> =
            SYNC_OPTIONS.iter().filter(|option| option.key == key).collect();
        match known.iter().find(|option| option.values.contains(&value)) {
            Some(option) if option.state == State::Works => {}
            Some(option) => {
                let problem = Problem::new(path, format!("`{text}`: {}", option.state.as_str()));
                found.push((option.state, problem.hint(option.note)));
            }
            None => {
                let message = if known.is_empty() {
                    format!("`{key}` is no sync option")
                } else {
                    format!("`{value}` is no value of the sync option `{key}`")
                };
                found.push((
                    State::Accepted,
                    Problem::new(path, message).hint("correct or remove it"),
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests;
