//! S16–S18, S21, G6: whose object is written, which of its fields, and whether it changes anything.

use std::collections::BTreeSet;

use serde_json::Value;
use sluice_crds::labels::{MANAGER_STATUS, POD_TEMPLATE_HASH};
use sluice_crds::object::{Meta, Owner};

use super::super::law::{Routing, foreign_part};
use super::super::writes::is_ours;
use super::difference::{self, is_below};
use super::{DECIDED_AGO, History, Key, Step};
use crate::traffic::made::{Made, Note};

/// Kinds that the engine writes.
const KINDS: [&str; 9] = [
    "Rollout",
    "ReplicaSet",
    "Service",
    "VirtualService",
    "DestinationRule",
    "AnalysisRun",
    "Experiment",
    "Deployment",
    "Pod",
];
/// Kinds that the engine creates.
const CREATED: [&str; 3] = ["ReplicaSet", "AnalysisRun", "Experiment"];

impl History {
    /// S16, S17.
    pub(super) fn ownership(&mut self, step: &Step<'_>) {
        if step.is("ReplicaSet") {
            for detail in self.strays(step) {
                self.fail("S16", step, detail);
            }
        }
        if let Some(since) = self.contested.get(&step.key)
            && step.at() - *since > DECIDED_AGO
            && !step.is_touch()
        {
            let names = self.named.get(&step.key).map_or(0, |names| names.len());
            self.fail("S17", step, format!("written while {names} Rollouts name it"));
        }
    }

    /// What is wrong with the owner and, at birth, with the rest of a ReplicaSet that we wrote.
    fn strays(&self, step: &Step<'_>) -> Vec<String> {
        let mut all = Vec::new();
        let object = &step.revision.object;
        let meta = |object: &Value| -> Meta {
            serde_json::from_value(object["metadata"].clone()).unwrap_or_default()
        };
        let owner = |object: &Value| meta(object).owner;
        let was = step.old.as_ref().and_then(owner);
        let now = match owner(object) {
            Some(owner) if owner.kind == "Rollout" => owner,
            Some(owner) if owner.kind == "Experiment" => {
                return of_experiment(step, &owner, was.as_ref());
            }
            Some(_) | None => return vec!["we write a ReplicaSet that no Rollout owns".to_owned()],
        };
        if let Some(was) = &was
            && was.uid != now.uid
        {
            all.push(format!("taken from {} {}", was.kind, was.name));
        }
        let home = self.homes.get(&now.uid);
        if was.is_none() && home.is_none_or(|home| home.2 != now.name) {
            all.push(format!("given to Rollout {} with uid {}, which is gone", now.name, now.uid));
        }
        if step.old.is_none() {
            if object["spec"]["replicas"].as_i64() != Some(0) {
                all.push("a ReplicaSet is created with Pods".to_owned());
            }
            let hash = object["metadata"]["labels"][POD_TEMPLATE_HASH].as_str();
            let name = format!("{}-{}", now.name, hash.unwrap_or_default());
            if step.key.2 != name {
                all.push(format!("a ReplicaSet is created that should be named {name}"));
            }
        }
        all
    }

    /// Whether the object is the Service of an Experiment's version: we create and delete it.
    fn is_service_of_experiment(step: &Step<'_>) -> bool {
        let meta: Meta =
            serde_json::from_value(step.revision.object["metadata"].clone()).unwrap_or_default();
        step.is("Service") && meta.owner.is_some_and(|owner| owner.kind == "Experiment")
    }

    /// Whether several Rollouts name the object; they may share a VirtualService if each names routes of its own.
    pub(super) fn is_contested(&self, object: &Key) -> bool {
        let Some(names) = self.named.get(object).filter(|names| names.len() > 1) else {
            return false;
        };
        if object.0 != "VirtualService" {
            return true;
        }
        let routes: Vec<_> = names
            .iter()
            .filter_map(|key| Routing::of(self.rollouts.get(key)?)?.names(&object.2))
            .collect();
        let all = routes.len() == names.len();
        let apart = |i: usize| routes[..i].iter().all(|other| other.is_disjoint(&routes[i]));
        !all || !(0..routes.len()).all(apart)
    }

    /// S18, and S21: what we changed is ours to change, and is not nothing.
    pub(super) fn fields(&mut self, step: &Step<'_>) {
        if !KINDS.contains(&step.key.0.as_str()) {
            return;
        }
        if step.old.is_none() {
            if !CREATED.contains(&step.key.0.as_str()) && !Self::is_service_of_experiment(step) {
                self.fail("S18", step, "we create an object of a kind that is not ours to create");
            }
            return;
        }
        if step.changed.is_empty() {
            self.fail("S21", step, "a write of ours changes nothing");
            return;
        }
        let kind = &step.revision.kind;
        let is_status = step.writer() == MANAGER_STATUS;
        let changed = self.foreign_changes(step);
        let allowed = |path: &String| {
            let of_status = is_below(path, "/status");
            if is_status { of_status } else { !of_status && is_ours(kind, path) }
        };
        let foreign: Vec<&str> =
            changed.iter().filter(|path| !allowed(path)).map(String::as_str).collect();
        if !foreign.is_empty() {
            let detail = format!("{} changes {}", step.writer(), foreign.join(", "));
            self.fail("S18", step, detail);
        }
    }

    /// What a write changed, without the routes, destinations and subsets that are ours as a whole.
    fn foreign_changes(&self, step: &Step<'_>) -> Vec<String> {
        let Some(old) = &step.old else { return step.changed.clone() };
        let rollouts = || {
            let names = self.named.get(&step.key).into_iter().flatten();
            names.filter_map(|key| self.rollouts.get(key))
        };
        let notes = [Note::of(old).all(), Note::of(&step.revision.object).all()];
        let all = |of: fn(&Made) -> &BTreeSet<String>| -> BTreeSet<String> {
            notes.iter().flat_map(of).cloned().collect()
        };
        let stripped = |object: &Value| {
            let mut object = object.clone();
            if step.is("VirtualService") {
                let mut own = all(|made| &made.routes);
                for routing in rollouts().filter_map(|rollout| Routing::of(rollout)) {
                    own = routing.own(&own);
                }
                let part = foreign_part(&object["spec"], &own, &all(|made| &made.destinations));
                object["spec"] = part;
            } else if let Some(Value::Array(subsets)) = object.pointer_mut("/spec/subsets") {
                let made = all(|made| &made.subsets);
                subsets.retain(|s| s["name"].as_str().is_none_or(|name| !made.contains(name)));
            }
            object
        };
        if step.is("VirtualService") || step.is("DestinationRule") {
            difference::of(&stripped(old), &stripped(&step.revision.object))
        } else {
            step.changed.clone()
        }
    }

    /// G6: sync leaves what the engine owns.
    pub(super) fn sync_kept_off(&mut self, step: &Step<'_>) {
        let (Some(old), false) = (&step.old, step.revision.deleted) else { return };
        let new = &step.revision.object;
        let rollouts = self.named.get(&step.key).into_iter().flatten();
        let records = rollouts.filter_map(|key| self.rollouts.get(key));
        let mut routings = records.filter_map(|rollout| Routing::of(rollout));
        let touched = match step.key.0.as_str() {
            "Service" => {
                let hash = |o: &Value| o["spec"]["selector"][POD_TEMPLATE_HASH].clone();
                !hash(old).is_null() && hash(old) != hash(new)
            }
            "ReplicaSet" => old["spec"]["replicas"] != new["spec"]["replicas"],
            "VirtualService" => routings.any(|routing| {
                let own = routing.own(&Note::of(old).all().routes);
                let shares = |object: &Value| routing.shares(&step.key.2, &object["spec"], &own);
                let routes = |object: &Value| {
                    let all = object["spec"]["http"].as_array().cloned().unwrap_or_default();
                    let ours = |route: &Value| {
                        route["name"].as_str().is_some_and(|name| own.contains(name))
                    };
                    all.into_iter().filter(ours).collect::<Vec<Value>>()
                };
                shares(old) != shares(new) || routes(old) != routes(new)
            }),
            "DestinationRule" => routings.any(|routing| {
                let hashes = |o: &Value| routing.reached(|_| None, Some(&o["spec"]));
                let was = hashes(old);
                was != (None, None) && was != hashes(new)
            }),
            _ => false,
        };
        if touched {
            self.fail("G6", step, "sync changes a field that the rollout engine owns");
        }
    }
}

/// What is wrong with a ReplicaSet of an Experiment that we wrote.
fn of_experiment(step: &Step<'_>, owner: &Owner, was: Option<&Owner>) -> Vec<String> {
    let mut all = Vec::new();
    let object = &step.revision.object;
    if step.old.is_some() && was.is_none_or(|was| was.uid != owner.uid) {
        all.push("a ReplicaSet is given to an Experiment".to_owned());
    }
    if step.old.is_none() {
        if object["spec"]["replicas"].as_i64() != Some(0) {
            all.push("a ReplicaSet is created with Pods".to_owned());
        }
        if !step.key.2.starts_with(&format!("{}-", owner.name)) {
            all.push(format!("a ReplicaSet of Experiment {} has a strange name", owner.name));
        }
    }
    all
}
