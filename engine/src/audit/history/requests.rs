//! Laws over the requests that an API server answered: what revisions do not show.

use std::collections::BTreeMap;

use chrono::{DateTime, Duration, Utc};
use serde_json::Value;
use sluice_crds::labels::{EPOCH_PREFIX, MANAGER_ROLLOUT, MANAGER_STATUS};

use super::super::HistoryRevision;
use super::violation;
use crate::fence::Stamp;
use crate::plan::Violation;

/// One request of Sluice, as the API server answered it (an entry of its audit log).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HistoryRequest {
    /// Which process asked, such as the id of its token; empty if the log does not tell processes apart.
    pub process: String,
    /// Field manager; empty for reads and deletions.
    pub manager: String,
    /// Verb of the audit log: `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`.
    pub verb: String,
    /// API group; empty is the core group.
    pub group: String,
    /// Plural of the kind.
    pub resource: String,
    /// Subresource; empty for the object itself.
    pub subresource: String,
    /// Namespace; empty for cluster-scoped objects and lists of all namespaces.
    pub namespace: String,
    /// Name; empty for lists.
    pub name: String,
    /// HTTP status of the answer.
    pub code: u16,
    /// When it came in.
    pub received: DateTime<Utc>,
    /// When the answer was complete.
    pub answered: DateTime<Utc>,
}

impl HistoryRequest {
    /// Returns whether it asked for a change.
    pub fn is_write(&self) -> bool {
        ["create", "update", "patch", "delete"].contains(&self.verb.as_str())
    }

    /// Returns whether it was carried out.
    pub fn is_accepted(&self) -> bool {
        (200..300).contains(&self.code)
    }

    fn is_engine(&self) -> bool {
        [MANAGER_ROLLOUT, MANAGER_STATUS].contains(&self.manager.as_str())
    }

    fn object(&self) -> Object {
        let part = |text: &str| text.to_owned();
        (part(&self.group), part(&self.resource), part(&self.namespace), part(&self.name))
    }
}

/// Group, plural, namespace, name.
type Object = (String, String, String, String);

/// Between the moment that a recorder saw a revision and the answer to the request that made it.
const APART: Duration = Duration::seconds(2);
/// A process may say something about an object before its first stamp of a new term is seen.
const LOOK_AHEAD: Duration = Duration::seconds(5);
/// Refused writes to one object that are tolerated in a minute.
const REFUSALS: usize = 20;
/// Kinds whose refused writes are counted.
const RESOURCES: [&str; 6] =
    ["rollouts", "replicasets", "services", "virtualservices", "destinationrules", "analysisruns"];

/// Checks the requests of Sluice against the revisions that they made: deletions (S16), who wrote over whom (S19), and
/// writes that are refused again and again (S21). Both are in the order of the API server.
pub fn check_requests(
    revisions: &[HistoryRevision],
    requests: &[HistoryRequest],
) -> Vec<Violation> {
    let mut found = deletions(revisions, requests);
    found.extend(refusals(requests));
    found.extend(terms(revisions, requests));
    found
}

fn object_of(revision: &HistoryRevision) -> Object {
    let text =
        |field: &str| revision.object["metadata"][field].as_str().unwrap_or_default().to_owned();
    (
        revision.kind.group.to_string(),
        revision.kind.plural.to_string(),
        text("namespace"),
        text("name"),
    )
}

/// S16: a ReplicaSet is deleted only if it is a Rollout's and empty.
fn deletions(revisions: &[HistoryRevision], requests: &[HistoryRequest]) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut of: BTreeMap<Object, Vec<&HistoryRevision>> = BTreeMap::new();
    for revision in revisions.iter().filter(|r| r.kind.kind == "ReplicaSet" && !r.deleted) {
        of.entry(object_of(revision)).or_default().push(revision);
    }
    let deleted = requests
        .iter()
        .filter(|r| r.verb == "delete" && r.resource == "replicasets" && r.is_accepted());
    for request in deleted {
        let known = of.get(&request.object()).map_or(&[][..], Vec::as_slice);
        let Some(last) = known.iter().rev().find(|r| r.at <= request.answered + APART) else {
            continue;
        };
        let owner = last.object.pointer("/metadata/ownerReferences/0/kind");
        if owner.and_then(Value::as_str) != Some("Rollout") {
            found.push(violation("S16", last, "we delete a ReplicaSet that no Rollout owns"));
        }
        let size = |pointer: &str| last.object.pointer(pointer).and_then(Value::as_i64);
        if size("/spec/replicas") != Some(0) || size("/status/replicas").unwrap_or(0) > 0 {
            found.push(violation("S16", last, "we delete a ReplicaSet that has Pods"));
        }
    }
    found
}

/// S21: no hot loop of refused writes.
fn refusals(requests: &[HistoryRequest]) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut of: BTreeMap<Object, Vec<DateTime<Utc>>> = BTreeMap::new();
    let refused = requests.iter().filter(|r| r.is_write() && r.code >= 400);
    for request in refused.filter(|r| RESOURCES.contains(&r.resource.as_str())) {
        let at = request.answered;
        let seen = of.entry(request.object()).or_default();
        seen.retain(|when| at - *when < Duration::minutes(1));
        seen.push(at);
        if seen.len() > REFUSALS {
            seen.clear();
            let detail = format!(
                "{} {}/{}: more than {REFUSALS} refused writes in a minute, the last with {} at {at}",
                request.resource, request.namespace, request.name, request.code
            );
            found.push(Violation { id: "S21", detail });
        }
    }
    found
}

/// A revision of ours with the process that made it.
struct Made<'a> {
    revision: &'a HistoryRevision,
    process: &'a str,
    stamp: Stamp,
    /// Whether this write put the stamp there.
    stamped: bool,
}

/// S19: one process writes in a term, and none over the stamp of a newer term than its own.
fn terms(revisions: &[HistoryRevision], requests: &[HistoryRequest]) -> Vec<Violation> {
    let made = made(revisions, requests);
    let mut found = Vec::new();
    let mut holders: BTreeMap<(&str, &str), &str> = BTreeMap::new();
    let mut led: BTreeMap<&str, Vec<(DateTime<Utc>, &Stamp)>> = BTreeMap::new();
    for made in made.iter().filter(|made| made.stamped) {
        let term = (made.stamp.lease_uid.as_str(), made.stamp.acquired.0.as_str());
        let holder = *holders.entry(term).or_insert(made.process);
        if holder != made.process {
            let detail = format!("{} and {holder} write in one term, {}", made.process, made.stamp);
            found.push(violation("S19", made.revision, &detail));
        }
        led.entry(made.process).or_default().push((made.revision.at, &made.stamp));
    }
    for made in made.iter().filter(|made| !made.stamped) {
        let until = made.revision.at + LOOK_AHEAD;
        let own = led.get(made.process).into_iter().flatten();
        let own = own.filter(|(at, s)| *at <= until && s.lease_uid == made.stamp.lease_uid);
        let Some(newest) = own.map(|(_, stamp)| &stamp.acquired).max() else { continue };
        if made.stamp.acquired > *newest {
            let (process, stamp) = (made.process, &made.stamp);
            let detail = format!("{process} of term {newest} writes over the stamp {stamp}");
            found.push(violation("S19", made.revision, &detail));
        }
    }
    found
}

/// Finds the process of each revision of ours: the only one that asked for such a write at about that time. A request whose
/// caller died may have been carried out although the log calls it a failure of the server's.
fn made<'a>(revisions: &'a [HistoryRevision], requests: &'a [HistoryRequest]) -> Vec<Made<'a>> {
    let mut asked: BTreeMap<Object, Vec<&HistoryRequest>> = BTreeMap::new();
    let possible = |r: &&HistoryRequest| r.is_engine() && (r.is_accepted() || r.code >= 500);
    for request in requests.iter().filter(possible) {
        asked.entry(request.object()).or_default().push(request);
    }
    let mut stamps: BTreeMap<Object, Stamp> = BTreeMap::new();
    let mut all = Vec::new();
    for revision in revisions.iter().filter(|r| !r.deleted) {
        let object = object_of(revision);
        let Some(stamp) = stamp_of(&revision.object) else { continue };
        let before = stamps.insert(object.clone(), stamp.clone());
        let Some(writer) = revision.writer.as_deref() else { continue };
        let about = asked.get(&object).into_iter().flatten().filter(|r| {
            r.manager == writer && r.received <= revision.at && r.answered >= revision.at - APART
        });
        let mut processes = about.map(|r| r.process.as_str());
        let Some(process) = processes.next().filter(|process| !process.is_empty()) else {
            continue;
        };
        if processes.all(|other| other == process) {
            let stamped = before.as_ref() != Some(&stamp);
            all.push(Made { revision, process, stamp, stamped });
        }
    }
    all
}

fn stamp_of(object: &Value) -> Option<Stamp> {
    let annotations = object["metadata"]["annotations"].as_object()?;
    let (_, stamp) = annotations.iter().find(|(name, _)| name.starts_with(EPOCH_PREFIX))?;
    Stamp::parse(stamp.as_str()?)
}
