//! G1: what is deleted is ours to delete, and not wanted.

use serde_json::Value;
use sluice_engine::audit::HistoryRequest;
use sluice_engine::plan::Violation;

use super::apps::{Apps, Attempt};
use super::{Evidence, Revision};
use crate::audit::violation;
use crate::key::ResourceKey;
use crate::manifest::sync_option;
use crate::track;

/// Kinds whose objects the engine makes and deletes again.
const ENGINES: [&str; 3] = ["Rollout", "Experiment", "AnalysisRun"];

pub(super) fn check(evidence: &Evidence<'_>, apps: &Apps<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    for request in evidence.requests.iter().filter(|r| r.verb == "delete" && r.is_accepted()) {
        match live(evidence.history, request) {
            Some((revision, body)) => {
                let key = ResourceKey::of(&revision.object);
                if let Some(why) = reason(apps, request, &key, body) {
                    found.push(violation("G1", format!("{key} was deleted, {why}")));
                }
            }
            None => {
                let HistoryRequest { resource, namespace, name, .. } = request;
                let text = format!("{resource} {namespace}/{name} was deleted and never recorded");
                found.push(violation("G1", text));
            }
        }
    }
    found
}

/// The object as it was when its deletion was asked for.
pub(super) fn live<'a>(
    history: &'a [Revision],
    request: &HistoryRequest,
) -> Option<(&'a Revision, &'a Value)> {
    let is = |revision: &Revision| {
        let object = &revision.object;
        object.kind.plural == request.resource
            && object.kind.group == request.group
            && object.name == request.name
            && object.namespace.as_deref().unwrap_or_default() == request.namespace
    };
    let all = history.iter().rev().filter(|r| is(r) && r.at <= request.answered);
    all.filter_map(|r| Some((r, r.body.as_ref()?)))
        .find(|(_, body)| body.pointer("/metadata/deletionTimestamp").is_none())
}

/// What is wrong with the deletion.
fn reason(
    apps: &Apps<'_>,
    request: &HistoryRequest,
    key: &ResourceKey,
    body: &Value,
) -> Option<String> {
    let Some(app) = track::tracked_by(body, key) else {
        // The engine's own: what a Rollout, an Experiment or a run owns, and runs whose time is over.
        let owner = body.pointer("/metadata/ownerReferences/0/kind").and_then(Value::as_str);
        let is_engines = owner.is_some_and(|kind| ENGINES.contains(&kind))
            || key.is("argoproj.io", "AnalysisRun");
        return (!is_engines).then(|| "and is nobody's".to_owned());
    };
    let Some(record) = apps.at(app, request.received) else {
        return Some(format!("and there is no Application `{app}`"));
    };
    if record.meta.deletion_timestamp.is_some() {
        let keeps = sync_option(body, "Delete") == Some("false");
        return keeps.then(|| "and says Delete=false".to_owned());
    }
    if sync_option(body, "Prune") == Some("false") {
        return Some("and says Prune=false".to_owned());
    }
    let around = apps.around(app, apps.place(app, request.received));
    let Attempt::Commit(commit) = around.attempt() else { return None };
    match apps.wanted(record, &commit) {
        Some(Ok(set)) if set.manifests.contains_key(key) => {
            Some(format!("and Git wants it at {commit}"))
        }
        Some(Err(why)) => Some(format!("and {commit} does not render: {why}")),
        Some(Ok(_)) | None => None,
    }
}
