//! The controllers of a cluster, simulated: ReplicaSets make Pods, Pods become ready or fail, Services get EndpointSlices,
//! Deployments make ReplicaSets, Jobs run a Pod and end, garbage is collected.
//!
//! All of them are level-triggered and deterministic. How a Pod behaves is told by its image and environment as on the bed
//! (`does-not-exist`, `nonexistent` or a tag ending in `-error` cannot be pulled; `READY_AFTER` is the start time in seconds)
//! and by annotations: [`READY_AFTER`], [`BEHAVIOUR`], [`JOB_LASTS`], [`JOB_ENDS`].

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::api_server::ApiServer;

mod deployments;
mod endpoints;
mod jobs;
mod pods;
mod replica_sets;

/// Annotation of a Pod: seconds, fractions allowed, until it is ready.
pub const READY_AFTER: &str = "sim.sluice.dev/ready-after";
/// Annotation of a Pod: `never-ready` (runs and fails its probe) or `crash` (CrashLoopBackOff).
pub const BEHAVIOUR: &str = "sim.sluice.dev/behaviour";

/// Annotation of a Job's Pod: seconds, fractions allowed, that it runs; default 1.
pub const JOB_LASTS: &str = "sim.sluice.dev/job-lasts";
/// Annotation of a Job's Pod: `failed` if it ends so.
pub const JOB_ENDS: &str = "sim.sluice.dev/job-ends";

/// How long things take.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkloadConfig {
    /// From the creation of a Pod to Ready; default 1 s.
    pub ready_after: TimeDelta,
    /// From the deletion of a Pod to its end; default 1 s.
    pub terminated_after: TimeDelta,
    /// From Ready (or its loss) to the EndpointSlice; default 0.
    pub endpoint_delay: TimeDelta,
}

impl Default for WorkloadConfig {
    fn default() -> Self {
        Self {
            ready_after: TimeDelta::seconds(1),
            terminated_after: TimeDelta::seconds(1),
            endpoint_delay: TimeDelta::zero(),
        }
    }
}

/// What the simulated kubelet knows of a Pod.
#[derive(Clone, Debug, Default)]
struct PodClock {
    seen_at: DateTime<Utc>,
    ready_at: Option<DateTime<Utc>>,
    ended_at: Option<DateTime<Utc>>,
}

/// The controllers and what they remember.
#[derive(Clone, Debug)]
pub struct Workloads {
    config: WorkloadConfig,
    pods: BTreeMap<String, PodClock>,
    settled: Option<u64>,
    next_at: Option<DateTime<Utc>>,
}

/// One run over the cluster: what to do, when, and when again.
struct Pass<'a> {
    api: &'a mut ApiServer,
    now: DateTime<Utc>,
    config: &'a WorkloadConfig,
    pods: &'a mut BTreeMap<String, PodClock>,
    next_at: Option<DateTime<Utc>>,
}

impl Pass<'_> {
    /// Asks to be run again at this time, if it is in the future. Returns whether it has come.
    fn due(&mut self, at: DateTime<Utc>) -> bool {
        if at <= self.now {
            return true;
        }
        self.next_at = Some(self.next_at.map_or(at, |next| next.min(at)));
        false
    }
}

/// A bound on the rounds in which controllers answer each other; more means that two of them fight.
const ROUNDS: usize = 1000;

impl Workloads {
    pub(crate) fn new(config: WorkloadConfig) -> Self {
        Self { config, pods: BTreeMap::new(), settled: None, next_at: None }
    }

    pub(crate) fn next_at(&self) -> Option<DateTime<Utc>> {
        self.next_at
    }

    /// Runs all controllers until none has anything to do, unless nothing that concerns them has changed.
    pub(crate) fn settle(&mut self, api: &mut ApiServer, now: DateTime<Utc>) {
        if self.settled.is_none_or(|settled| concerns(api, settled)) {
            self.settle_at_deadline(api, now);
        }
    }

    pub(crate) fn settle_at_deadline(&mut self, api: &mut ApiServer, now: DateTime<Utc>) {
        for _ in 0..ROUNDS {
            let before = api.version();
            let mut pass =
                Pass { api, now, config: &self.config, pods: &mut self.pods, next_at: None };
            pass.run();
            self.next_at = pass.next_at;
            if api.version() == before {
                self.settled = Some(before);
                return;
            }
        }
        debug_assert!(false, "the simulated controllers do not settle");
    }
}

fn concerns(api: &ApiServer, settled: u64) -> bool {
    const KINDS: [&str; 8] = [
        "replicasets",
        "pods",
        "services",
        "deployments",
        "jobs",
        "endpointslices",
        "namespaces",
        "customresourcedefinitions",
    ];
    let Some(changes) = api.changes_since(settled) else { return true };
    changes.iter().any(|change| {
        change.deleted
            || KINDS.contains(&change.key.plural.as_str())
            || !change.after["metadata"]["deletionTimestamp"].is_null()
    })
}

impl Pass<'_> {
    fn run(&mut self) {
        self.api.collect_garbage(self.now);
        self.deployments();
        self.replica_sets();
        self.jobs();
        self.pods();
        self.endpoints();
    }
}

/// Returns the number at the path, or 0.
fn number(object: &Value, path: &str) -> i64 {
    object.pointer(path).and_then(Value::as_i64).unwrap_or(0)
}

fn text<'a>(object: &'a Value, path: &str) -> &'a str {
    object.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

fn is_controlled_by(object: &Value, uid: &str) -> bool {
    let references = object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    references
        .into_iter()
        .flatten()
        .any(|reference| reference["controller"] == true && reference["uid"] == uid)
}

fn is_terminating(object: &Value) -> bool {
    !object["metadata"]["deletionTimestamp"].is_null()
}

fn controller_reference(owner: &Value) -> Value {
    json!([{
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": true,
        "blockOwnerDeletion": true,
    }])
}

#[cfg(test)]
mod tests;
