//! The laws of engine and sync over everything that was seen: revisions, requests, and what Git has.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};
use serde_json::Value;
use sluice_crds::{
    labels::MANAGER_ROLLOUT,
    object::{Kind, ObjectRef},
};
use sluice_engine::{
    audit::{self as engine, HistoryRequest, HistoryRevision},
    plan::Violation,
};
use sluice_sync::audit::{self as sync, Evidence};

use crate::{
    bed::controller,
    recorder::{Recorder, Request, Revision},
};

mod git;
mod writers;

/// What was judged, and what was found.
#[derive(Debug)]
pub struct Verdict {
    /// Revisions of all kinds.
    pub revisions: usize,
    /// Objects that they are of.
    pub objects: usize,
    /// Revisions that the engine wrote.
    pub ours: usize,
    /// Revisions of which nobody knows who wrote them: laws about writers pass over them.
    pub unknown: usize,
    /// Requests of the controller.
    pub requests: usize,
    /// Laws that were broken.
    pub broken: Vec<Violation>,
}

/// Judges every revision of the namespace (and of the Applications in `argocd`, if the namespace is one's destination).
///
/// # Errors
/// When a law is broken, when revisions were lost, or when nothing of the engine's is among them.
pub fn check(recorder: &Recorder, namespace: &str) -> Result<()> {
    let verdict = judge(recorder, namespace)?;
    let broken = &verdict.broken;
    ensure!(
        verdict.ours > 0,
        "no revision of {namespace} is the engine's: the laws would prove nothing"
    );
    ensure!(broken.is_empty(), "laws broken in {namespace}: {broken:#?}");
    Ok(())
}

/// Judges as [`check`] does, and tells everything.
///
/// # Errors
/// When revisions were lost, or the audit log or a repository cannot be read.
pub fn judge(recorder: &Recorder, namespace: &str) -> Result<Verdict> {
    let mut revisions = recorder.history(namespace)?;
    let to = |r: &Revision| r.object["spec"]["destination"]["namespace"] == namespace;
    revisions.extend(recorder.history("argocd")?.into_iter().filter(to));
    // One revision counter for the whole store.
    revisions.sort_by_key(|r| r.resource_version.parse::<u64>().unwrap_or(0));
    let requests = recorder.requests(namespace)?;
    let commits = git::commits(&recorder.repositories(), &revisions)?;
    let objects: BTreeSet<_> = revisions.iter().map(|r| (r.kind.clone(), r.name.clone())).collect();
    let (ours, theirs) = split(&revisions, &requests);
    let asked: Vec<HistoryRequest> = requests
        .iter()
        .filter(|r| r.user.username == controller::USER)
        .filter(|r| r.is_of(namespace) || r.verb == "list")
        .map(asked)
        .collect();
    let mut broken = engine::check_history(&ours);
    broken.extend(engine::check_requests(&ours, &asked));
    broken.extend(sync::check_history(&theirs));
    let evidence = Evidence { history: &theirs, requests: &asked, commits: &commits };
    broken.extend(sync::check_evidence(&evidence));
    let known = |r: &&HistoryRevision| r.writer.as_deref() == Some(MANAGER_ROLLOUT);
    Ok(Verdict {
        revisions: revisions.len(),
        objects: objects.len(),
        ours: ours.iter().filter(known).count(),
        unknown: ours.iter().filter(|r| r.writer.is_none() && !r.deleted).count(),
        requests: asked.len(),
        broken,
    })
}

/// The revisions in the words of the engine's laws and of sync's.
fn split(
    revisions: &[Revision],
    requests: &[Request],
) -> (Vec<HistoryRevision>, Vec<sync::Revision>) {
    let mut last: BTreeMap<(&str, &str), &Value> = BTreeMap::new();
    let mut writers = Vec::new();
    for revision in revisions {
        let key = (revision.kind.as_str(), revision.name.as_str());
        let before = if revision.deleted {
            last.remove(&key);
            writers.push(None);
            continue;
        } else {
            last.insert(key, &revision.object)
        };
        writers.push(writers::writer(before, &revision.object, revision.seen));
    }
    let writers = writers::settle(revisions, writers, requests);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for (revision, writer) in revisions.iter().zip(writers) {
        let Some(kind) = kind(&revision.kind) else { continue };
        // A Deployment is of interest as the workload of a Rollout only.
        if kind != Kind::DEPLOYMENT {
            theirs.push(sync::Revision {
                object: ObjectRef::namespaced(kind.clone(), &revision.namespace, &revision.name),
                body: (!revision.deleted).then(|| revision.object.clone()),
                at: revision.seen,
            });
        }
        ours.push(HistoryRevision {
            kind,
            object: revision.object.clone(),
            deleted: revision.deleted,
            at: revision.seen,
            writer,
        });
    }
    (ours, theirs)
}

fn asked(request: &Request) -> HistoryRequest {
    let target = request.object_ref.clone().unwrap_or_default();
    HistoryRequest {
        process: request.user.credential().to_owned(),
        manager: request.manager().unwrap_or_default().to_owned(),
        verb: request.verb.clone(),
        group: target.api_group,
        resource: target.resource,
        subresource: target.subresource,
        namespace: target.namespace,
        name: target.name,
        code: request.response_status.as_ref().map_or(0, |answer| answer.code),
        received: request.request_received_timestamp,
        answered: request.stage_timestamp,
    }
}

fn kind(name: &str) -> Option<Kind> {
    let all = [
        Kind::ROLLOUT,
        Kind::APPLICATION,
        Kind::ANALYSIS_RUN,
        Kind::ANALYSIS_TEMPLATE,
        Kind::EXPERIMENT,
        Kind::JOB,
        Kind::REPLICA_SET,
        Kind::DEPLOYMENT,
        Kind::SERVICE,
        Kind::CONFIG_MAP,
        Kind::VIRTUAL_SERVICE,
        Kind::DESTINATION_RULE,
    ];
    all.into_iter().find(|kind| kind.kind == name)
}
