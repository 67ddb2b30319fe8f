//! Laws over a recorded history: one state of the cluster for each revision, whoever wrote it.
//!
//! "Ours" is a write whose field manager is the rollout engine's. Where the world is broken by somebody else (a ReplicaSet
//! scaled by hand, a Pod that died), ours-writes must not make it worse; so the laws compare the state before and after. A
//! *touch* changes nothing but the fence's stamp and the instants that go with it.
//!
//! | law | judged from | what is judged |
//! |---|---|---|
//! | S1 | VirtualService | after an ours-write that moves weights: each managed route adds up to 100, and all of them agree |
//! | S2 | ReplicaSets, VirtualServices, Services, DestinationRules | no ours-write leaves a set smaller than its weight needs |
//! | S3 | the same, `status.availableReplicas` | a weight rises onto Pods available within 5 s and since our last change of the set; a header or mirror route comes when there is one |
//! | S4 | ReplicaSet of the stable hash | no ours-write shrinks it below N; availability follows from S2, S3 and S5 |
//! | S5 | ReplicaSets, weights of the last `scaleDownDelay` | no ours-write shrinks a set below what it carried in that time |
//! | S6 | Services, DestinationRules | a destination with weight, or with a header or mirror route, is switched only onto Pods that carry it |
//! | S7 | Rollout status, VirtualService, ReplicaSets | after a recorded abort weight only leaves, at once, and before Pods do |
//! | S8 | Rollout status | what was aborted never becomes stable in the same attempt |
//! | S9 | Rollout status, ReplicaSets, AnalysisRuns | a promotion: of the candidate, after its last step, available, counted once |
//! | S10 | weights | no ours-write gives weight to a second candidate |
//! | S11 | Rollout status | steps move by one; timed pauses last; a pause without end is ended by somebody else |
//! | S12 | AnalysisRuns, Rollout status | Successful has finite evidence within limits; a step is left on such a run only |
//! | S16 | ReplicaSets, Rollouts; requests | owned by a Rollout that is there; born empty under the right name; deleted empty |
//! | S17 | Rollouts, Services, routes, rules | nothing is written that two Rollouts have named for a while |
//! | S18 | every kind of the engine | the difference of an ours-write is inside the fields that are ours |
//! | S19 | stamps; requests | a stamp never goes back; no process writes over a term newer than its own, one process a term |
//! | S21 | every kind; requests | no write without a change, none at rest, none in circles, refused ones included |
//! | S23 | Rollout status | `observedGeneration` is not ahead |
//! | G6 | Services, ReplicaSets, VirtualServices, DestinationRules | no write of sync changes what the engine owns |
//!
//! The active Service of a blue-green Rollout counts as a destination with all traffic. It is switched forward only onto a set that
//! is whole (S3, S6), on a successful pre-promotion analysis (S12), after the pause (S11) and not while aborted (S7); back only onto a
//! set with the Pods that must be there at any time, or with as many as what is left (S3). What becomes stable has all users (S9).
//!
//! What only requests show is in [`check_requests`]. Not to be seen from outside, and checked on each decision by
//! [`audit`](super::audit) instead: which versions a decision was made on (the letter of S3), and preconditions (S16, S19).
//! S13–S15, S20, S22, S24 and S25 are not judged here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use serde_json::Value;
use sluice_crds::labels::{
    EPOCH_PREFIX, MANAGER_ROLLOUT, MANAGER_STATUS, MANAGER_SYNC, POD_TEMPLATE_HASH,
};
use sluice_crds::object::Meta;
use sluice_crds::rollout::RolloutRecord;

use super::HistoryRevision;
use super::law::{Lanes, Routing, weights};
use super::state::State;
use crate::fence::Stamp;
use crate::plan::Violation;
use crate::traffic::made::Note;
use crate::view::ReplicaSetRecord;

mod analysis;
mod blue_green;
mod difference;
mod requests;
mod rest;
mod status;
mod traffic;
mod writes;

pub use requests::{HistoryRequest, check_requests};

/// Checks a recorded history, ordered by `resourceVersion`, of the Rollouts, ReplicaSets, Services, VirtualServices,
/// DestinationRules and AnalysisRuns of any number of namespaces. Other kinds count as inputs of all Rollouts. Each violation
/// names the revision at which it was found.
pub fn check_history(revisions: &[HistoryRevision]) -> Vec<Violation> {
    let mut history = History::default();
    for revision in revisions {
        history.step(revision);
    }
    history.evidence_came(revisions.last().map(|revision| revision.at));
    history.found
}

/// Kind, namespace, name.
type Key = (String, String, String);

#[derive(Default)]
struct History {
    objects: BTreeMap<Key, Value>,
    rollouts: BTreeMap<Key, Arc<RolloutRecord>>,
    sets: BTreeMap<Key, Arc<ReplicaSetRecord>>,
    /// Of each uid: the ReplicaSets that it controls.
    owned: BTreeMap<String, BTreeSet<Key>>,
    /// Of each Rollout that is there, by uid: its key.
    homes: BTreeMap<String, Key>,
    /// Of each Service, VirtualService and DestinationRule: the Rollouts that name it.
    named: BTreeMap<Key, BTreeSet<Key>>,
    /// Objects that several Rollouts name, and since when.
    contested: BTreeMap<Key, DateTime<Utc>>,
    /// AnalysisRuns by uid, also those that are gone.
    runs: BTreeMap<String, analysis::Run>,
    /// Steps that were left on a verdict that its run still has to show.
    relied: Vec<analysis::Reliance>,
    /// Of each Rollout, by uid: what is remembered of it.
    memory: BTreeMap<String, Memory>,
    /// Of each object, by key: the newest stamp.
    stamps: BTreeMap<(Key, String), Stamp>,
    found: Vec<Violation>,
}

/// What laws over time need of one Rollout.
#[derive(Default)]
struct Memory {
    /// W(h) since when, newest last.
    weights: Vec<(DateTime<Utc>, BTreeMap<String, u32>)>,
    /// Availability of each hash lately, with the instant until which it was so: a recorder sees a Pod die before the write
    /// that was decided when it lived.
    available: BTreeMap<String, Vec<(DateTime<Utc>, u32)>>,
    /// Attempts that were aborted, by hash; forgotten when the template changes.
    aborted: BTreeMap<String, i64>,
    /// Instants of our writes since the last change of a step, a size or a verdict.
    idle_writes: Vec<DateTime<Utc>>,
    /// Instants of touches in one term.
    touches: BTreeMap<String, Vec<DateTime<Utc>>>,
    /// Since our write that left nothing to do, if nobody else wrote since.
    at_rest: Option<DateTime<Utc>>,
}

/// How far a recorder's instants may be off.
const TOLERANCE: Duration = Duration::seconds(1);
/// How long ago a Pod may have been available when a write lands that relied on it.
const DECIDED_AGO: Duration = Duration::seconds(5);

/// One revision, with what it changed.
struct Step<'a> {
    key: Key,
    revision: &'a HistoryRevision,
    old: Option<Value>,
    /// Pointers of what differs from `old`; empty for what is new or deleted.
    changed: Vec<String>,
    /// Whether the rollout engine wrote it.
    ours: bool,
}

impl Step<'_> {
    fn is(&self, kind: &str) -> bool {
        self.key.0 == kind
    }

    fn at(&self) -> DateTime<Utc> {
        self.revision.at
    }

    fn writer(&self) -> &str {
        self.revision.writer.as_deref().unwrap_or_default()
    }

    /// Whether an object of ours was stamped and nothing else.
    fn is_touch(&self) -> bool {
        self.ours
            && !self.changed.is_empty()
            && self.changed.iter().all(|p| difference::is_stamp(p))
    }
}

impl History {
    fn step(&mut self, revision: &HistoryRevision) {
        let Some(key) = key_of(revision) else { return };
        let writer = revision.writer.as_deref().unwrap_or_default();
        let ours = !revision.deleted && (writer == MANAGER_ROLLOUT || writer == MANAGER_STATUS);
        let concerned = self.concerned(&key, revision);
        let before: Vec<Option<State>> =
            concerned.iter().map(|rollout| self.state(rollout)).collect();
        let old = self.store(&key, revision);
        let changed = match &old {
            Some(old) if !revision.deleted => difference::of(old, &revision.object),
            Some(_) | None => Vec::new(),
        };
        let step = Step { key, revision, old, changed, ours };
        self.stamp(&step);
        if ours {
            self.ownership(&step);
            self.fields(&step);
        }
        if step.writer() == MANAGER_SYNC {
            self.sync_kept_off(&step);
        }
        if step.is("AnalysisRun") {
            self.measured(&step);
        }
        for (rollout, before) in concerned.iter().zip(before) {
            let after = self.state(rollout);
            self.laws(&step, before.as_ref(), after.as_ref());
            if let Some(after) = &after {
                self.remember(&step, before.as_ref(), after);
            }
        }
        self.input(&step, &concerned);
    }

    fn fail(&mut self, id: &'static str, step: &Step<'_>, detail: impl AsRef<str>) {
        self.found.push(violation(id, step.revision, detail.as_ref()));
    }

    fn laws(&mut self, step: &Step<'_>, before: Option<&State>, after: Option<&State>) {
        let (Some(before), Some(after)) = (before, after) else { return };
        if step.ours {
            self.weights_are_whole(step, after);
            self.capacity_suffices(step, before, after);
            self.raises_are_safe(step, before, after);
            self.own_routes_are_safe(step, before, after);
            self.switches_are_safe(step, before, after);
            self.users_are_safe(step, before, after);
            self.shrinking_is_safe(step, before, after);
            self.abort_holds(step, before, after);
            self.one_candidate(step, before, after);
            self.rest_is_kept(step, before);
        }
        if step.is("Rollout") && !step.revision.deleted {
            self.promotions(step, before, after);
            if step.ours {
                self.steps(step, before, after);
                self.pauses(step, before, after);
            }
            let observed = after.rollout.status.observed_generation.as_deref();
            let observed = observed.and_then(|g| g.parse::<i64>().ok()).unwrap_or(0);
            if observed > after.rollout.meta.generation {
                self.fail("S23", step, "observedGeneration is ahead of the generation");
            }
        }
    }

    /// Rollouts that the revision may concern: itself, the owner, or those that name the object.
    fn concerned(&self, key: &Key, revision: &HistoryRevision) -> Vec<Key> {
        match key.0.as_str() {
            "Rollout" => vec![key.clone()],
            "ReplicaSet" | "AnalysisRun" => {
                let owners = [self.objects.get(key), Some(&revision.object)];
                let owners = owners.into_iter().flatten().filter_map(owner_uid);
                let keys: BTreeSet<Key> =
                    owners.filter_map(|uid| self.homes.get(&uid).cloned()).collect();
                keys.into_iter().collect()
            }
            _ => self.named.get(key).into_iter().flatten().cloned().collect(),
        }
    }

    fn state(&self, rollout: &Key) -> Option<State> {
        let record = Arc::clone(self.rollouts.get(rollout)?);
        let of = |kind: &str, name: &str| {
            self.objects.get(&(kind.to_owned(), rollout.1.clone(), name.to_owned()))
        };
        let mut state = State {
            shares: Vec::new(),
            canary: None,
            stable: None,
            weights: BTreeMap::new(),
            exposed: false,
            sets: self.sets_of(&record.meta.uid),
            rollout: record,
        };
        let record = Arc::clone(&state.rollout);
        if let Some(routing) = Routing::of(&record) {
            for name in routing.virtual_services() {
                if let Some(object) = of("VirtualService", name) {
                    let own = routing.own(&Note::of(object).made(&record.meta.name).routes);
                    state.shares.extend(routing.shares(name, &object["spec"], &own));
                    state.exposed |= routing.is_exposed(&object["spec"], &own);
                }
            }
            let rule = routing.rule().and_then(|(name, _, _)| of("DestinationRule", name));
            let selected = |name: &str| {
                let object = of("Service", name)?;
                object["spec"]["selector"][POD_TEMPLATE_HASH].as_str().map(str::to_owned)
            };
            let (canary, stable) = routing.reached(selected, rule.map(|rule| &rule["spec"]));
            state.weights = weights(&state.shares, &canary, &stable);
            (state.canary, state.stable) = (canary, stable);
        } else if let Some(lanes) = Lanes::of(&record.spec) {
            let selected = |name: &str| {
                let object = of("Service", name)?;
                object["spec"]["selector"][POD_TEMPLATE_HASH].as_str().map(str::to_owned)
            };
            state.shares.push(Lanes::shares());
            state.canary = lanes.preview.and_then(selected);
            state.stable = selected(lanes.active);
            state.weights = weights(&state.shares, &state.canary, &state.stable);
        }
        Some(state)
    }

    fn sets_of(&self, uid: &str) -> BTreeMap<String, Arc<ReplicaSetRecord>> {
        let keys = self.owned.get(uid).into_iter().flatten();
        let sets = keys.filter_map(|key| self.sets.get(key));
        sets.filter_map(|rs| Some((rs.hash()?.to_owned(), Arc::clone(rs)))).collect()
    }

    /// Takes the revision in; returns the object as it was.
    fn store(&mut self, key: &Key, revision: &HistoryRevision) -> Option<Value> {
        let old = self.objects.remove(key);
        match key.0.as_str() {
            "Rollout" => self.store_rollout(key, revision),
            "ReplicaSet" => {
                if let Some(set) = self.sets.remove(key)
                    && let Some(owner) = &set.meta.owner
                    && let Some(keys) = self.owned.get_mut(&owner.uid)
                {
                    keys.remove(key);
                }
                let set: Option<ReplicaSetRecord> =
                    serde_json::from_value(revision.object.clone()).ok();
                if let Some(set) = set.filter(|_| !revision.deleted) {
                    if let Some(owner) = &set.meta.owner {
                        self.owned.entry(owner.uid.clone()).or_default().insert(key.clone());
                    }
                    self.sets.insert(key.clone(), Arc::new(set));
                }
            }
            _ => {}
        }
        if revision.deleted {
            self.stamps.retain(|(of, _), _| of != key);
        } else {
            self.objects.insert(key.clone(), revision.object.clone());
        }
        old
    }

    fn store_rollout(&mut self, key: &Key, revision: &HistoryRevision) {
        let mut touched = BTreeSet::new();
        if let Some(record) = self.rollouts.remove(key) {
            self.homes.remove(&record.meta.uid);
            for object in names(&record) {
                if let Some(rollouts) = self.named.get_mut(&object) {
                    rollouts.remove(key);
                }
                touched.insert(object);
            }
        }
        let record: Option<RolloutRecord> = serde_json::from_value(revision.object.clone()).ok();
        if let Some(record) = record.filter(|_| !revision.deleted) {
            self.homes.insert(record.meta.uid.clone(), key.clone());
            for object in names(&record) {
                self.named.entry(object.clone()).or_default().insert(key.clone());
                touched.insert(object);
            }
            self.rollouts.insert(key.clone(), Arc::new(record));
        }
        for object in touched {
            if self.is_contested(&object) {
                self.contested.entry(object).or_insert(revision.at);
            } else {
                self.contested.remove(&object);
            }
        }
    }

    /// S19: the term on an object never goes back.
    fn stamp(&mut self, step: &Step<'_>) {
        if step.revision.deleted {
            return;
        }
        let annotations = step.revision.object["metadata"]["annotations"].as_object();
        let mut back = Vec::new();
        for (name, value) in annotations.into_iter().flatten() {
            let stamp = value.as_str().filter(|_| name.starts_with(EPOCH_PREFIX));
            let Some(stamp) = stamp.and_then(Stamp::parse) else { continue };
            let slot = (step.key.clone(), name.clone());
            if let Some(old) = self.stamps.get(&slot)
                && old.lease_uid == stamp.lease_uid
                && old.acquired > stamp.acquired
            {
                back.push(format!("the stamp goes back from {old} to {stamp}"));
            }
            self.stamps.insert(slot, stamp);
        }
        for detail in back {
            self.fail("S19", step, detail);
        }
    }

    fn remember(&mut self, step: &Step<'_>, before: Option<&State>, after: &State) {
        let at = step.at();
        let memory = self.memory.entry(after.rollout.meta.uid.clone()).or_default();
        if memory.weights.last().is_none_or(|(_, weights)| *weights != after.weights) {
            memory.weights.push((at, after.weights.clone()));
        }
        for (hash, set) in &after.sets {
            let seen = memory.available.entry(hash.clone()).or_default();
            seen.retain(|(until, _)| at - *until <= DECIDED_AGO);
            let old = before.and_then(|before| before.sets.get(hash));
            if let Some(old) = old {
                seen.push((at, old.available()));
            }
            // What was available before we made the set larger says nothing about the set as it is now (S3); a smaller one
            // keeps as many as it has room for.
            let changed = old.is_some_and(|old| old.meta.generation != set.meta.generation);
            if step.ours && changed {
                let room =
                    old.map_or(0, |old| if set.replicas > old.replicas { 0 } else { set.replicas });
                seen.iter_mut().for_each(|(_, available)| *available = room.min(*available));
            }
        }
        let status = &after.rollout.status;
        let renewed = before.is_some_and(|before| {
            before.rollout.status.current_pod_hash != status.current_pod_hash
        });
        if renewed {
            memory.aborted.clear();
        }
        if let Some(candidate) = after.candidate().filter(|_| after.is_aborted()) {
            memory.aborted.insert(candidate.to_owned(), after.attempt());
        }
        self.busy(step, before, after);
    }
}

/// The Services, VirtualServices and DestinationRule that a Rollout names.
fn names(rollout: &RolloutRecord) -> BTreeSet<Key> {
    let canary = rollout.spec.strategy.canary.as_deref();
    let key =
        |kind: &str, name: &str| (kind.to_owned(), rollout.meta.namespace.clone(), name.to_owned());
    let services = canary.into_iter().flat_map(|c| [&c.canary_service, &c.stable_service]);
    let pair = canary.and_then(|canary| canary.ping_pong.as_ref());
    let pair = pair.into_iter().flat_map(|pair| [&pair.ping_service, &pair.pong_service]);
    let mut names: BTreeSet<Key> =
        services.flatten().chain(pair).map(|name| key("Service", name)).collect();
    if let Some(lanes) = Lanes::of(&rollout.spec) {
        names.insert(key("Service", lanes.active));
        names.extend(lanes.preview.map(|name| key("Service", name)));
    }
    if let Some(routing) = Routing::of(rollout) {
        names.extend(routing.virtual_services().iter().map(|name| key("VirtualService", name)));
        names.extend(routing.rule().map(|(name, _, _)| key("DestinationRule", name)));
    }
    names
}

fn owner_uid(object: &Value) -> Option<String> {
    let meta: Meta = serde_json::from_value(object.get("metadata")?.clone()).ok()?;
    Some(meta.owner?.uid)
}

fn key_of(revision: &HistoryRevision) -> Option<Key> {
    let metadata = revision.object.get("metadata")?;
    let namespace = metadata.get("namespace").and_then(Value::as_str).unwrap_or_default();
    let name = metadata.get("name")?.as_str()?;
    Some((revision.kind.kind.to_string(), namespace.to_owned(), name.to_owned()))
}

fn violation(id: &'static str, revision: &HistoryRevision, detail: &str) -> Violation {
    let at = &revision.object["metadata"];
    let text = |field: &str| at[field].as_str().unwrap_or_default().to_owned();
    let detail = format!(
        "{} {}/{} at version {}: {detail}",
        revision.kind.kind,
        text("namespace"),
        text("name"),
        text("resourceVersion"),
    );
    Violation { id, detail }
}
