//! G3: without a complete picture nothing is written.

use std::collections::BTreeMap;

use chrono::{DateTime, Duration, Utc};
use serde_json::Value;
use sluice_crds::conditions::application::COMPARISON_ERROR;
use sluice_crds::labels::MANAGER_SYNC;
use sluice_engine::audit::HistoryRequest;
use sluice_engine::plan::Violation;

use super::Evidence;
use super::apps::{Applied, Apps, Attempt, condition};
use super::deletions::live;
use crate::audit::violation;

/// How long an object must have been there before it is a fault to take it for missing.
const OLD: Duration = Duration::seconds(10);
/// How long a list that failed counts, if it was not asked for again.
const STALE: Duration = Duration::minutes(1);

pub(super) fn check(evidence: &Evidence<'_>, apps: &Apps<'_>) -> Vec<Violation> {
    let mut found: Vec<Violation> = apps
        .applied
        .iter()
        .filter_map(|applied| {
            let why = reason(apps, applied)?;
            let text = format!("{} was written for `{}`, {why}", applied.key, applied.app);
            Some(violation("G3", text))
        })
        .collect();
    found.extend(taken_for_missing(evidence));
    found.extend(deleted_on_half_a_list(evidence.requests));
    found
}

fn reason(apps: &Apps<'_>, applied: &Applied<'_>) -> Option<String> {
    let around = apps.around(&applied.app, applied.index);
    // What is restored is no sync: it needs nothing of Git.
    if around.is_restored(&applied.key) {
        return None;
    }
    let error = |app| condition(app, COMPARISON_ERROR);
    // An error that is in the status before and after: it was there in between.
    if let (Some(before), Some(after)) = (around.before, around.after)
        && let (Some(was), Some(_)) = (error(before), error(after))
    {
        return Some(format!("although {was}"));
    }
    match around.attempt() {
        Attempt::None => Some("and no sync was under way".to_owned()),
        Attempt::Unknown => None,
        Attempt::Commit(commit) => match apps.wanted(around.each().next()?, &commit)? {
            Err(why) => Some(format!("although {commit} does not render: {why}")),
            Ok(_) => None,
        },
    }
}

/// An object that sync wanted to create, and that had been there for a while.
fn taken_for_missing(evidence: &Evidence<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    let refused =
        |r: &&HistoryRequest| r.verb == "create" && r.code == 409 && r.manager == MANAGER_SYNC;
    for request in evidence.requests.iter().filter(refused) {
        let Some((revision, body)) = live(evidence.history, request) else { continue };
        let created = body.pointer("/metadata/creationTimestamp").and_then(Value::as_str);
        let created = created.and_then(|text| DateTime::parse_from_rfc3339(text).ok());
        if created.is_some_and(|at| request.received - at.to_utc() > OLD) {
            let text = format!("{} was taken for missing at {}", revision.object, request.received);
            found.push(violation("G3", text));
        }
    }
    found
}

/// A deletion while a list that was asked for could not be had.
fn deleted_on_half_a_list(requests: &[HistoryRequest]) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut failed: BTreeMap<(&str, &str, &str), (DateTime<Utc>, u16)> = BTreeMap::new();
    for request in requests {
        let list = (request.process.as_str(), request.group.as_str(), request.resource.as_str());
        if request.verb == "list" {
            // 404: the kind is gone, and so is everything of it. 410: a list from a version too old; asked for again.
            let is_failure = request.code >= 400 && request.code != 404 && request.code != 410;
            if is_failure {
                failed.insert(list, (request.answered, request.code));
            } else {
                failed.remove(&list);
            }
        }
        // The engine deletes what it owns, and needs no list of anything else.
        let engines = ["replicasets", "analysisruns"].contains(&request.resource.as_str());
        if request.verb == "delete" && request.is_accepted() && !engines {
            let recent = failed.iter().find(|((process, _, _), (at, _))| {
                *process == request.process && request.received - *at < STALE
            });
            if let Some(((_, _, resource), (_, code))) = recent {
                let text = format!(
                    "{} {}/{} was deleted while the list of {resource} failed with {code}",
                    request.resource, request.namespace, request.name
                );
                found.push(violation("G3", text));
            }
        }
    }
    found
}
