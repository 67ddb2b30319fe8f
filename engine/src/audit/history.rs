//! Laws over a recorded history: one state of the cluster for each revision, whoever wrote it.
//!
//! "Ours" is a write whose field manager is the rollout engine's. Where the world is broken by somebody else (a ReplicaSet
//! scaled by hand, a Pod that died), ours-writes must not make it worse; so the laws compare the state before and after.

use std::collections::BTreeMap;

use chrono::{DateTime, Duration, Utc};
use serde_json::Value;
use sluice_crds::labels::{
    EPOCH_PREFIX, MANAGER_ROLLOUT, MANAGER_STATUS, MANAGER_SYNC, POD_TEMPLATE_HASH,
};
use sluice_crds::rollout::RolloutRecord;

use super::HistoryRevision;
use super::law::{RouteShares, Routing, least_available, need, replicas, weights};
use super::state::State;
use crate::fence::Stamp;
use crate::plan::Violation;
use crate::view::ReplicaSetRecord;

/// Checks a recorded history, ordered by `resourceVersion`, of the Rollouts, ReplicaSets, Services, VirtualServices and
/// DestinationRules of any number of namespaces. Each violation names the revision at which it was found.
pub fn check_history(revisions: &[HistoryRevision]) -> Vec<Violation> {
    let mut history = History::default();
    for revision in revisions {
        history.step(revision);
    }
    history.found
}

/// Kind, namespace, name.
type Key = (String, String, String);

#[derive(Default)]
struct History {
    objects: BTreeMap<Key, Value>,
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
    /// Greatest availability of each hash lately, with the instant: a recorder sees a Pod die before the write that was
    /// decided when it lived.
    available: BTreeMap<String, Vec<(DateTime<Utc>, u32)>>,
    /// Instants of our writes since the last change of a step, a size or a verdict.
    idle_writes: Vec<DateTime<Utc>>,
}

/// How far a recorder's instants may be off.
const TOLERANCE: Duration = Duration::seconds(1);
/// How long ago a Pod may have been available when a write lands that relied on it.
const DECIDED_AGO: Duration = Duration::seconds(5);

impl History {
    fn step(&mut self, revision: &HistoryRevision) {
        let Some(key) = key_of(revision) else { return };
        let writer = revision.writer.as_deref().unwrap_or_default();
        let ours = writer == MANAGER_ROLLOUT || writer == MANAGER_STATUS;
        let concerned = self.concerned(&key, revision);
        let before: Vec<Option<State>> =
            concerned.iter().map(|rollout| self.state(rollout)).collect();
        let old = self.objects.get(&key).cloned();
        if revision.deleted {
            self.objects.remove(&key);
            self.stamps.retain(|(of, _), _| *of != key);
        } else {
            self.objects.insert(key.clone(), revision.object.clone());
        }
        self.stamp(&key, revision);
        if ours {
            self.ownership(&key, revision, old.as_ref());
        }
        if writer == MANAGER_SYNC {
            self.sync_kept_off(&key, revision, old.as_ref());
        }
        for (rollout, before) in concerned.iter().zip(before) {
            let after = self.state(rollout);
            self.laws(&key, revision, ours, before.as_ref(), after.as_ref());
            if let Some(after) = &after {
                self.remember(revision, ours, before.as_ref(), after);
            }
        }
    }

    fn fail(&mut self, id: &'static str, revision: &HistoryRevision, detail: impl AsRef<str>) {
        let at = &revision.object["metadata"];
        let text = |field: &str| at[field].as_str().unwrap_or_default().to_owned();
        let detail = format!(
            "{} {}/{} at version {}: {}",
            revision.kind.kind,
            text("namespace"),
            text("name"),
            text("resourceVersion"),
            detail.as_ref()
        );
        self.found.push(Violation { id, detail });
    }

    /// Rollouts of the namespace that the revision may concern.
    fn concerned(&self, key: &Key, revision: &HistoryRevision) -> Vec<Key> {
        let mut keys: Vec<Key> = self
            .objects
            .keys()
            .filter(|(kind, namespace, _)| kind == "Rollout" && *namespace == key.1)
            .cloned()
            .collect();
        if revision.kind.kind == "Rollout" {
            keys.retain(|of| of == key);
            if keys.is_empty() {
                keys.push(key.clone());
            }
        }
        keys
    }

    fn state(&self, rollout: &Key) -> Option<State> {
        let record: RolloutRecord =
            serde_json::from_value(self.objects.get(rollout)?.clone()).ok()?;
        let of = |kind: &str, name: &str| {
            self.objects.get(&(kind.to_owned(), rollout.1.clone(), name.to_owned()))
        };
        let mut state = State {
            shares: Vec::new(),
            canary: None,
            stable: None,
            weights: BTreeMap::new(),
            sets: self.sets(rollout, &record.meta.uid),
            rollout: record,
        };
        if let Some(routing) = Routing::of(&state.rollout.spec) {
            for name in routing.virtual_services() {
                if let Some(object) = of("VirtualService", name) {
                    state.shares.extend(routing.shares(&object["spec"]));
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
        }
        Some(state)
    }

    fn sets(&self, rollout: &Key, uid: &str) -> BTreeMap<String, ReplicaSetRecord> {
        self.objects
            .iter()
            .filter(|((kind, namespace, _), _)| kind == "ReplicaSet" && *namespace == rollout.1)
            .filter_map(|(_, object)| serde_json::from_value(object.clone()).ok())
            .filter(|rs: &ReplicaSetRecord| rs.meta.is_owned_by(uid))
            .filter_map(|rs| Some((rs.hash()?.to_owned(), rs)))
            .collect()
    }

    fn laws(
        &mut self,
        key: &Key,
        revision: &HistoryRevision,
        ours: bool,
        before: Option<&State>,
        after: Option<&State>,
    ) {
        let (Some(before), Some(after)) = (before, after) else { return };
        if ours {
            self.weights_are_whole(key, revision, before, after);
            self.capacity_suffices(revision, before, after);
            self.raises_are_safe(key, revision, before, after);
            self.switches_are_safe(key, revision, before, after);
            self.shrinking_is_safe(key, revision, before, after);
            self.abort_holds(key, revision, before, after);
            self.one_candidate(revision, before, after);
        }
        if revision.kind.kind == "Rollout" {
            self.promotions(revision, before, after);
            if ours {
                self.steps(revision, before, after);
            }
            let observed = after.rollout.status.observed_generation.as_deref();
            let observed = observed.and_then(|g| g.parse::<i64>().ok()).unwrap_or(0);
            if observed > after.rollout.meta.generation {
                self.fail("S23", revision, "observedGeneration is ahead of the generation");
            }
        }
    }

    /// S1.
    fn weights_are_whole(
        &mut self,
        key: &Key,
        revision: &HistoryRevision,
        before: &State,
        after: &State,
    ) {
        if key.0 != "VirtualService" || before.shares == after.shares {
            return;
        }
        if let Some(bad) = after.shares.iter().find(|s| !s.in_range || s.total != 100) {
            let total = bad.total;
            self.fail("S1", revision, format!("weights of a managed route add up to {total}"));
        }
    }

    /// S2, S4: an ours-write leaves no set smaller than its weight needs, or smaller than it was needed before.
    fn capacity_suffices(&mut self, revision: &HistoryRevision, before: &State, after: &State) {
        for (hash, weight) in &after.weights {
            let (was, is) = (before.deficit(hash), after.deficit(hash));
            if is > was {
                self.fail(
                    "S2",
                    revision,
                    format!("{hash} has {weight} % and {is} Pods too few wanted"),
                );
            }
        }
        let n = replicas(&after.rollout.spec);
        if let Some(st) = after.stable_hash()
            && before.stable_hash() == Some(st)
            && !after.shares.is_empty()
        {
            let (was, is) = (before.size(st), after.size(st));
            if is < was && is < n {
                self.fail("S4", revision, format!("stable {st} shrinks to {is}, below {n}"));
            }
        }
    }

    /// S3, S7: weight rises only onto available Pods, and not on what is aborted.
    fn raises_are_safe(
        &mut self,
        key: &Key,
        revision: &HistoryRevision,
        before: &State,
        after: &State,
    ) {
        if key.0 != "VirtualService" || replicas(&after.rollout.spec) == 0 {
            return;
        }
        for (hash, weight) in &after.weights {
            let was = before.weights.get(hash).copied().unwrap_or(0);
            if *weight <= was {
                continue;
            }
            let going_back = after.stable_hash() == Some(hash);
            let source_fails = before.weights.iter().any(|(other, weight)| {
                other != hash
                    && *weight > 0
                    && before.available(other) < before.least(other, *weight)
            });
            let least = after.least(hash, *weight);
            let available = self.lately(after, hash, revision.at);
            if available < least && !(going_back && source_fails) {
                self.fail(
                    "S3",
                    revision,
                    format!("{hash} gets {weight} % with {available} of {least} available Pods"),
                );
            }
            if after.is_aborted() && before.is_aborted() && after.candidate() == Some(hash) {
                self.fail("S7", revision, format!("aborted {hash} gets {weight} %"));
            }
        }
    }

    fn lately(&self, state: &State, hash: &str, at: DateTime<Utc>) -> u32 {
        let seen = self
            .memory
            .get(&state.rollout.meta.uid)
            .and_then(|memory| memory.available.get(hash))
            .into_iter()
            .flatten()
            .filter(|(when, _)| at - *when <= DECIDED_AGO)
            .map(|(_, available)| *available)
            .max();
        state.available(hash).max(seen.unwrap_or(0))
    }

    /// S6.
    fn switches_are_safe(
        &mut self,
        key: &Key,
        revision: &HistoryRevision,
        before: &State,
        after: &State,
    ) {
        if key.0 != "Service" && key.0 != "DestinationRule" {
            return;
        }
        let most = |of: fn(&RouteShares) -> i64| {
            u32::try_from(after.shares.iter().map(of).max().unwrap_or(0).max(0)).unwrap_or(100)
        };
        let sides = [
            (&before.canary, &after.canary, most(|s| s.canary)),
            (&before.stable, &after.stable, most(|s| s.stable)),
        ];
        for (from, to, weight) in sides {
            if from == to || weight == 0 {
                continue;
            }
            let able = to
                .as_ref()
                .is_some_and(|to| self.lately(after, to, revision.at) >= after.least(to, weight));
            if !able {
                let to = to.as_deref().unwrap_or("nothing");
                self.fail(
                    "S6",
                    revision,
                    format!("a destination with {weight} % is switched to {to}"),
                );
            }
        }
    }

    /// S5, and the last part of S7: traffic leaves first, then replicas.
    fn shrinking_is_safe(
        &mut self,
        key: &Key,
        revision: &HistoryRevision,
        before: &State,
        after: &State,
    ) {
        if key.0 != "ReplicaSet" || after.shares.is_empty() {
            return;
        }
        let hash = revision.object["metadata"]["labels"][POD_TEMPLATE_HASH].as_str();
        let Some(hash) = hash.map(str::to_owned) else { return };
        let (was, is) = (before.size(&hash), after.size(&hash));
        if is >= was || !after.sets.contains_key(&hash) {
            return;
        }
        let since = revision.at - after.window(&hash) + TOLERANCE;
        let weight = self.most_weight(after, &hash, since);
        let wanted = need(&after.rollout.spec, &after.rollout.status, &hash, weight);
        if is < wanted {
            self.fail(
                "S5",
                revision,
                format!("{hash} shrinks from {was} to {is} and lately had {weight} %, which needs {wanted}"),
            );
        }
        let carried = after.weights.get(&hash).copied().unwrap_or(0);
        if after.is_aborted() && after.candidate() == Some(&hash) && carried > 0 {
            self.fail("S7", revision, format!("aborted {hash} shrinks with {carried} %"));
        }
    }

    /// Greatest W(h) since the instant.
    fn most_weight(&self, state: &State, hash: &str, since: DateTime<Utc>) -> u32 {
        let now = state.weights.get(hash).copied().unwrap_or(0);
        let Some(memory) = self.memory.get(&state.rollout.meta.uid) else { return now };
        let mut most = now;
        // An entry holds until the next one begins.
        let ends = memory.weights.iter().skip(1).map(|(at, _)| Some(*at)).chain([None]);
        for ((_, weights), end) in memory.weights.iter().zip(ends) {
            if end.is_none_or(|end| end > since) {
                most = most.max(weights.get(hash).copied().unwrap_or(0));
            }
        }
        most
    }

    /// S7: the first write to a route after the abort takes the weight away.
    fn abort_holds(
        &mut self,
        key: &Key,
        revision: &HistoryRevision,
        before: &State,
        after: &State,
    ) {
        if key.0 != "VirtualService" || !before.is_aborted() || !after.is_aborted() {
            return;
        }
        let Some(cd) = after.candidate() else { return };
        let weight = after.weights.get(cd).copied().unwrap_or(0);
        let able =
            after.stable_hash().is_some_and(|st| after.available(st) >= after.least(st, 100));
        let several = before.shares.len() > 1;
        if weight > 0 && able && !several {
            let detail = format!("aborted {cd} keeps {weight} % after a write to its route");
            self.fail("S7", revision, detail);
        }
    }

    /// S10.
    fn one_candidate(&mut self, revision: &HistoryRevision, before: &State, after: &State) {
        let count = |state: &State| {
            let stable = state.stable_hash().map(str::to_owned);
            state.weights.iter().filter(|(h, w)| **w > 0 && Some((*h).clone()) != stable).count()
        };
        if after.stable_hash().is_some() && count(after) > 1 && count(after) > count(before) {
            self.fail("S10", revision, "more than one candidate has weight");
        }
    }

    /// S8, S9.
    fn promotions(&mut self, revision: &HistoryRevision, before: &State, after: &State) {
        let (old, new) = (before.stable_hash(), after.stable_hash());
        if old == new {
            return;
        }
        let status = &after.rollout.status;
        let Some(new) = new else {
            self.fail("S9", revision, "the stable revision is forgotten");
            return;
        };
        if status.current_pod_hash.as_deref() != Some(new) {
            self.fail(
                "S9",
                revision,
                format!("{new} becomes stable and is not the current revision"),
            );
        }
        let seq = |state: &State| {
            state.rollout.status.sluice.as_ref().and_then(|own| own.stable_seq).unwrap_or(0)
        };
        if seq(after) != seq(before).saturating_add(1) {
            self.fail("S9", revision, "stableSeq does not count the promotion");
        }
        if old.is_none() {
            return;
        }
        if before.is_aborted() && before.candidate() == Some(new) {
            self.fail("S8", revision, format!("aborted {new} becomes stable"));
        }
        let n = replicas(&after.rollout.spec);
        let least = least_available(&after.rollout.spec, n);
        let available = self.lately(after, new, revision.at);
        if available < least {
            self.fail(
                "S9",
                revision,
                format!("{new} becomes stable with {available} of {least} available Pods"),
            );
        }
    }

    /// S11.
    fn steps(&mut self, revision: &HistoryRevision, before: &State, after: &State) {
        let (old, new) = (&before.rollout.status, &after.rollout.status);
        let restarted = old.current_pod_hash != new.current_pod_hash
            || old.current_step_hash != new.current_step_hash
            || old.stable_rs != new.stable_rs
            || new.abort == Some(true)
            || (old.aborted_at.is_some() && new.aborted_at.is_none());
        let (from, to) = (old.current_step_index.unwrap_or(0), new.current_step_index.unwrap_or(0));
        if !restarted && from != to && to != from.saturating_add(1) {
            self.fail("S11", revision, format!("the step moves from {from} to {to}"));
        }
    }

    /// S16, S17, S21: whose object we write, and whether it changes anything.
    fn ownership(&mut self, key: &Key, revision: &HistoryRevision, old: Option<&Value>) {
        if revision.deleted {
            return;
        }
        if key.0 == "ReplicaSet" {
            let owner = revision.object.pointer("/metadata/ownerReferences/0/kind");
            if owner.and_then(Value::as_str) != Some("Rollout") {
                self.fail("S16", revision, "we write a ReplicaSet that no Rollout owns");
            }
            if old.is_none() && revision.object["spec"]["replicas"].as_i64() != Some(0) {
                self.fail("S16", revision, "a ReplicaSet is created with Pods");
            }
        }
        if key.0 == "Service" {
            let claims = self.claims(key);
            if claims.len() > 1 {
                self.fail(
                    "S17",
                    revision,
                    format!("written while {} Rollouts name it", claims.len()),
                );
            }
        }
        if let Some(old) = old
            && meaning(old) == meaning(&revision.object)
        {
            self.fail("S21", revision, "a write of ours changes nothing");
        }
    }

    fn claims(&self, service: &Key) -> Vec<&Key> {
        let canary = ["canaryService", "stableService"];
        self.objects
            .iter()
            .filter(|((kind, namespace, _), _)| kind == "Rollout" && *namespace == service.1)
            .filter(|(_, rollout)| {
                let strategy = &rollout["spec"]["strategy"]["canary"];
                canary.iter().any(|field| strategy[*field].as_str() == Some(&service.2))
            })
            .map(|(key, _)| key)
            .collect()
    }

    /// G6: sync leaves what the engine owns.
    fn sync_kept_off(&mut self, key: &Key, revision: &HistoryRevision, old: Option<&Value>) {
        let (Some(old), false) = (old, revision.deleted) else { return };
        let new = &revision.object;
        let touched = match key.0.as_str() {
            "Service" => {
                let hash = |o: &Value| o["spec"]["selector"][POD_TEMPLATE_HASH].clone();
                !hash(old).is_null() && hash(old) != hash(new)
            }
            "ReplicaSet" => old["spec"]["replicas"] != new["spec"]["replicas"],
            "VirtualService" => self
                .objects
                .iter()
                .filter(|((kind, namespace, _), _)| kind == "Rollout" && *namespace == key.1)
                .filter_map(|(_, o)| serde_json::from_value::<RolloutRecord>(o.clone()).ok())
                .any(|rollout| {
                    Routing::of(&rollout.spec).is_some_and(|routing| {
                        routing.virtual_services().contains(&key.2.as_str())
                            && routing.shares(&old["spec"]) != routing.shares(&new["spec"])
                    })
                }),
            _ => false,
        };
        if touched {
            self.fail("G6", revision, "sync changes a field that the rollout engine owns");
        }
    }

    /// S19: the term on an object never goes back.
    fn stamp(&mut self, key: &Key, revision: &HistoryRevision) {
        if revision.deleted {
            return;
        }
        let annotations = revision.object["metadata"]["annotations"].as_object();
        let mut back = Vec::new();
        for (name, value) in annotations.into_iter().flatten() {
            let stamp = value.as_str().filter(|_| name.starts_with(EPOCH_PREFIX));
            let Some(stamp) = stamp.and_then(Stamp::parse) else { continue };
            let slot = (key.clone(), name.clone());
            if let Some(old) = self.stamps.get(&slot)
                && old.lease_uid == stamp.lease_uid
                && old.acquired > stamp.acquired
            {
                back.push(format!("the stamp goes back from {old} to {stamp}"));
            }
            self.stamps.insert(slot, stamp);
        }
        for detail in back {
            self.fail("S19", revision, detail);
        }
    }

    fn remember(
        &mut self,
        revision: &HistoryRevision,
        ours: bool,
        before: Option<&State>,
        after: &State,
    ) {
        let at = revision.at;
        let acts = before.is_none_or(|before| before.differs_in_deed(after));
        let memory = self.memory.entry(after.rollout.meta.uid.clone()).or_default();
        if memory.weights.last().is_none_or(|(_, weights)| *weights != after.weights) {
            memory.weights.push((at, after.weights.clone()));
        }
        for (hash, set) in &after.sets {
            let seen = memory.available.entry(hash.clone()).or_default();
            seen.retain(|(when, _)| at - *when <= DECIDED_AGO);
            seen.push((at, set.available()));
        }
        if acts {
            memory.idle_writes.clear();
        } else if ours && after.is_touched_by(revision) {
            memory.idle_writes.retain(|when| at - *when < Duration::minutes(1));
            memory.idle_writes.push(at);
        }
        if memory.idle_writes.len() > 20 {
            memory.idle_writes.clear();
            self.fail(
                "S21",
                revision,
                "more than 20 writes of ours in a minute in which nothing moves",
            );
        }
    }
}

fn key_of(revision: &HistoryRevision) -> Option<Key> {
    let metadata = revision.object.get("metadata")?;
    let namespace = metadata.get("namespace").and_then(Value::as_str).unwrap_or_default();
    let name = metadata.get("name")?.as_str()?;
    Some((revision.kind.kind.to_string(), namespace.to_owned(), name.to_owned()))
}

/// The object without what changes with every write.
fn meaning(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("resourceVersion");
        metadata.remove("managedFields");
        metadata.remove("generation");
    }
    object
}
