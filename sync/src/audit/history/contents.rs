//! G4: what is written comes from the commit of its operation; what is restored, from the last healthy one.

use std::collections::BTreeSet;

use serde_json::Value;
use sluice_engine::plan::Violation;

use super::Evidence;
use super::apps::{Applied, Apps, Around, Attempt};
use crate::audit::violation;

pub(super) fn check(_: &Evidence<'_>, apps: &Apps<'_>) -> Vec<Violation> {
    let each = apps.applied.iter().filter_map(|applied| {
        let around = apps.around(&applied.app, applied.index);
        let why = reason(apps, applied, &around)?;
        Some(violation("G4", format!("{} of `{}`: {why}", applied.key, applied.app)))
    });
    each.collect()
}

fn reason(apps: &Apps<'_>, applied: &Applied<'_>, around: &Around<'_>) -> Option<String> {
    let app = around.each().next()?;
    // Of a source of which no commit is known, nothing is.
    apps.commits_of(app).next()?;
    let mut allowed: BTreeSet<String> = BTreeSet::new();
    match around.attempt() {
        Attempt::Commit(commit) => {
            if !apps.commits_of(app).any(|known| known.id == commit) {
                return Some(format!("Git has no commit {commit} on the branch"));
            }
            allowed.insert(commit);
        }
        Attempt::Unknown | Attempt::None => {}
    }
    if around.is_restored(&applied.key) {
        allowed.extend(around.healthy());
    }
    if allowed.is_empty() {
        return None;
    }
    let manifest =
        |id: &str| Some(apps.wanted(app, id)?.ok()?.manifests.remove(&applied.key)?.body);
    let right: Vec<Value> = allowed.iter().filter_map(|id| manifest(id)).collect();
    if right.is_empty() {
        let names: Vec<&str> = allowed.iter().map(String::as_str).collect();
        return Some(format!("written, and not among the manifests of {}", names.join(", ")));
    }
    let others = apps.commits_of(app).filter(|commit| !allowed.contains(&commit.id));
    for other in others {
        let Some(wrong) = manifest(&other.id) else { continue };
        if let Some(path) = borrowed(&right, &wrong, applied) {
            return Some(format!("{path} is of commit {}", other.id));
        }
    }
    None
}

/// A field that this write gave the value of another commit, where each commit that may be applied says something else.
fn borrowed(right: &[Value], wrong: &Value, applied: &Applied<'_>) -> Option<String> {
    let mut fields = Vec::new();
    leaves(wrong, String::new(), &mut fields);
    let found = fields.into_iter().find(|(path, value)| {
        let others_differ =
            right.iter().all(|right| right.pointer(path).is_some_and(|own| own != *value));
        let was = applied.before.and_then(|before| before.pointer(path));
        // Weights are the engine's: whatever they are, no commit said so.
        let is_weight = applied.key.kind == "VirtualService" && path.ends_with("/weight");
        others_differ
            && !is_weight
            && applied.body.pointer(path) == Some(*value)
            && was != Some(*value)
    });
    found.map(|(path, _)| path)
}

fn leaves<'a>(value: &'a Value, at: String, all: &mut Vec<(String, &'a Value)>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                leaves(value, format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), all);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                leaves(value, format!("{at}/{index}"), all);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => all.push((at, value)),
    }
}
