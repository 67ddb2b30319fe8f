//! The laws of engine and sync over what the recorder saw.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use serde_json::Value;
use sluice_crds::{
    labels::{MANAGER_ROLLOUT, MANAGER_STATUS},
    object::{Kind, ObjectRef},
};
use sluice_engine::audit::{self as engine, HistoryRevision};
use sluice_sync::audit as sync;

use crate::recorder::{Recorder, Revision};

/// Judges every revision of the namespace (and of the Applications in `argocd`, if the namespace is one's destination).
///
/// # Errors
/// When a law is broken, when revisions were lost, or when nothing of the engine's is among them.
pub fn check(recorder: &Recorder, namespace: &str) -> Result<()> {
    let mut revisions = recorder.history(namespace)?;
    let to = |r: &Revision| r.object["spec"]["destination"]["namespace"] == namespace;
    revisions.extend(recorder.history("argocd")?.into_iter().filter(to));
    // One revision counter for the whole store.
    revisions.sort_by_key(|r| r.resource_version.parse::<u64>().unwrap_or(0));
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let mut last: BTreeMap<(String, String), Value> = BTreeMap::new();
    for revision in revisions {
        let Some(kind) = kind(&revision.kind) else { continue };
        let key = (revision.kind.clone(), revision.name.clone());
        let writer = if revision.deleted {
            last.remove(&key);
            None
        } else {
            let before = last.insert(key, revision.object.clone());
            writer(before.as_ref(), &revision.object)
        };
        theirs.push(sync::Revision {
            object: ObjectRef::namespaced(kind.clone(), &revision.namespace, &revision.name),
            body: (!revision.deleted).then(|| revision.object.clone()),
        });
        ours.push(HistoryRevision {
            kind,
            object: revision.object,
            deleted: revision.deleted,
            at: revision.seen,
            writer,
        });
    }
    let known = ours.iter().filter(|r| r.writer.as_deref() == Some(MANAGER_ROLLOUT)).count();
    ensure!(known > 0, "no revision of {namespace} is the engine's: the laws would prove nothing");
    let broken = engine::check_history(&ours);
    ensure!(broken.is_empty(), "laws of the engine broken in {namespace}: {broken:#?}");
    let broken = sync::check_history(&theirs);
    ensure!(broken.is_empty(), "laws of sync broken in {namespace}: {broken:#?}");
    Ok(())
}

fn kind(name: &str) -> Option<Kind> {
    let all = [
        Kind::ROLLOUT,
        Kind::APPLICATION,
        Kind::ANALYSIS_RUN,
        Kind::REPLICA_SET,
        Kind::SERVICE,
        Kind::VIRTUAL_SERVICE,
        Kind::DESTINATION_RULE,
    ];
    all.into_iter().find(|kind| kind.kind == name)
}

/// Who made a revision: the field manager whose entry moved. Times have whole seconds, so that a second write of the same
/// fields in one second moves nothing; it is of the youngest manager, if there is only one.
fn writer(before: Option<&Value>, after: &Value) -> Option<String> {
    let entries = |object: &Value| -> Vec<Value> {
        object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default()
    };
    let old = before.map(entries).unwrap_or_default();
    let all = entries(after);
    let name = |entry: &Value| entry["manager"].as_str().unwrap_or_default().to_owned();
    let time = |entry: &Value| entry["time"].as_str().unwrap_or_default().to_owned();
    let known = |entry: &Value| {
        let same = |o: &&Value| {
            ["manager", "operation", "subresource"].iter().all(|field| o[*field] == entry[*field])
        };
        old.iter().find(same).is_some_and(|o| o["time"] == entry["time"])
    };
    let mut moved: Vec<_> = all.iter().filter(|entry| !known(entry)).collect();
    if moved.is_empty() {
        let youngest = all.iter().map(&time).max()?;
        moved = all.iter().filter(|entry| time(entry) == youngest).collect();
        if moved.len() > 1 {
            return None;
        }
    }
    let ours = |entry: &&&Value| [MANAGER_ROLLOUT, MANAGER_STATUS].contains(&name(entry).as_str());
    moved.iter().find(ours).or(moved.first()).map(|entry| name(entry))
}
