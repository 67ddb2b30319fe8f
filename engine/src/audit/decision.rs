//! Laws over one decision: the view that it was made on, the plan and the next status.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::Value;
use sluice_crds::labels::{MADE, ROUTED_AT};
use sluice_crds::object::{Change, Kind, ObjectRef, Write};
use sluice_crds::rollout::RolloutRecord;
use sluice_crds::rollout::status::RolloutStatus;

use super::law::{RouteShares, Routing, foreign_part, least_available, need, replicas, weights};
use super::writes;
use crate::fence::FenceState;
use crate::plan::{Decision, Lower, Violation};
use crate::rollout::{Action, RolloutReconciler};
use crate::traffic::made::{Made, Note};
use crate::view::{Fact, Lookup, ReplicaSetRecord, RolloutView, RouteRecord};

type Decided = Decision<RolloutReconciler>;

/// Checks one decision against the invariants that a single decision can break.
pub fn audit(view: &RolloutView, decision: &Decided) -> Vec<Violation> {
    let audit = Audit { view, rollout: &view.rollout, decision };
    let mut found = Vec::new();
    audit.writes(&mut found);
    audit.fence(&mut found);
    if let Some(traffic) = Traffic::of(view) {
        audit.routes(&traffic, &mut found);
        audit.switches(&traffic, &mut found);
        audit.sizes(&traffic, &mut found);
    }
    audit.blue_green(&mut found);
    audit.ownership(&mut found);
    audit.workload(&mut found);
    audit.pods(&mut found);
    audit.status(&mut found);
    found
}

/// What the write notes as made; `None` if it leaves the note as it is.
fn made_by(write: &Write, rollout: &str) -> Option<Made> {
    let Change::JsonPatch { operations } = &write.change else { return None };
    let path = format!("/metadata/annotations/{}", MADE.replace('/', "~1"));
    let note = operations.iter().find(|op| op["path"].as_str() == Some(&path))?;
    let text = note["value"].as_str().unwrap_or_default().to_owned();
    Some(Note::read(&BTreeMap::from([(MADE.to_owned(), text)])).made(rollout))
}

pub(super) fn violation(id: &'static str, detail: impl Into<String>) -> Violation {
    Violation { id, detail: detail.into() }
}

pub(super) struct Audit<'a> {
    pub(super) view: &'a RolloutView,
    pub(super) rollout: &'a RolloutRecord,
    pub(super) decision: &'a Decided,
}

/// Traffic as the view shows it.
pub(super) struct Traffic<'a> {
    routing: Routing<'a>,
    shares: Vec<RouteShares>,
    canary: Option<String>,
    stable: Option<String>,
    weights: BTreeMap<String, u32>,
    /// Whether a route of the engine's leads to the canary's destination.
    exposed: bool,
    /// When weights were last changed by us.
    routed_at: Option<DateTime<Utc>>,
}

impl<'a> Traffic<'a> {
    pub(super) fn of(view: &'a RolloutView) -> Option<Self> {
        let routing = Routing::of(&view.rollout)?;
        let named = |kind: &Kind, name: &str| {
            view.routes
                .iter()
                .find(|(object, _)| object.kind == *kind && object.name == name)
                .and_then(|(_, lookup)| lookup.present())
        };
        let mut shares = Vec::new();
        let (mut routed_at, mut exposed) = (None, false);
        for name in routing.virtual_services() {
            let Some(record) = named(&Kind::VIRTUAL_SERVICE, name) else { continue };
            let note = Note::read(&record.meta.annotations);
            let own = routing.own(&note.made(&view.rollout.meta.name).routes);
            shares.extend(routing.shares(name, &record.spec, &own));
            exposed |= routing.is_exposed(&record.spec, &own);
            let at = record.meta.annotations.get(ROUTED_AT);
            let at = at.and_then(|at| DateTime::parse_from_rfc3339(at).ok()).map(|at| at.to_utc());
            routed_at = at.max(routed_at);
        }
        let rule = routing.rule().and_then(|(name, _, _)| named(&Kind::DESTINATION_RULE, name));
        let selected = |name: &str| {
            let service = view.services.get(name).and_then(Lookup::present)?;
            service.hash().map(str::to_owned)
        };
        let (canary, stable) = routing.reached(selected, rule.map(|rule| rule.spec.as_ref()));
        let weights = weights(&shares, &canary, &stable);
        Some(Self { routing, shares, canary, stable, weights, exposed, routed_at })
    }

    /// Whether a route of the engine's leads to the revision.
    fn is_exposed(&self, hash: &str) -> bool {
        self.exposed && self.canary.as_deref() == Some(hash)
    }

    pub(super) fn weight(&self, hash: &str) -> u32 {
        self.weights.get(hash).copied().unwrap_or(0)
    }
}

impl Audit<'_> {
    pub(super) fn status_now(&self) -> &RolloutStatus {
        &self.rollout.status
    }

    fn set(&self, hash: &str) -> Option<&ReplicaSetRecord> {
        let uid = &self.rollout.meta.uid;
        let owned = |rs: &&std::sync::Arc<ReplicaSetRecord>| {
            rs.meta.is_owned_by(uid) && rs.hash() == Some(hash)
        };
        self.view.replica_sets.iter().find(owned).map(AsRef::as_ref)
    }

    pub(super) fn available(&self, hash: &str) -> u32 {
        self.set(hash).map_or(0, ReplicaSetRecord::available)
    }

    pub(super) fn size(&self, hash: &str) -> u32 {
        self.set(hash).map_or(0, |rs| rs.replicas)
    }

    fn suffices(&self, hash: &str, weight: u32) -> bool {
        let spec = &self.rollout.spec;
        let wanted = need(spec, self.status_now(), hash, weight);
        self.available(hash) >= least_available(spec, wanted)
    }

    pub(super) fn actions(&self) -> impl Iterator<Item = &Action> {
        self.decision.plan.actions()
    }

    pub(super) fn stable(&self) -> Option<&str> {
        self.status_now().stable_rs.as_deref().filter(|hash| !hash.is_empty())
    }

    /// Revision of the template, as recorded.
    pub(super) fn candidate(&self) -> Option<&str> {
        let current = self.status_now().current_pod_hash.as_deref()?;
        (Some(current) != self.stable()).then_some(current)
    }

    /// S18, S19 (preconditions and stamps), S21 (nothing is written twice or without a change).
    fn writes(&self, found: &mut Vec<Violation>) {
        let mut written = BTreeSet::new();
        let rules = self.view.epoch.rules;
        for write in self.actions().map(Lower::lower).chain(self.decision.status_write.clone()) {
            let object = &write.object;
            let status = matches!(write.change, Change::Status { .. });
            if !written.insert(object.clone()) {
                found.push(violation("S21", format!("{object} is written twice in one decision")));
            }
            let foreign = writes::foreign_fields(&write);
            if !foreign.is_empty() {
                found.push(violation(
                    "S18",
                    format!("{object}: {} is not ours", foreign.join(", ")),
                ));
            }
            let create = matches!(write.change, Change::Create { .. });
            // An eviction is safe in any version of its Pod.
            let of_version = write.preconditions.resource_version.is_some()
                || matches!(write.change, Change::Evict);
            let safe = write.preconditions.uid.is_some() && of_version;
            if rules.preconditions && !create && !safe {
                found.push(violation("S19", format!("the write to {object} has no preconditions")));
            }
            let stamped = writes::stamp(&write, &self.view.epoch.key())
                == Some(self.view.epoch.stamp().to_string().as_str());
            if rules.epoch && writes::needs_stamp(&write) && !stamped {
                found.push(violation("S19", format!("the write to {object} leaves no stamp")));
            }
            if status && self.decision.status == *self.status_now() {
                found.push(violation("S21", "the status is written without a change"));
            }
        }
        for action in self.actions() {
            let idle = match action {
                Action::Scale { from, to, .. } | Action::ScaleWorkload { from, to, .. } => {
                    from == to
                }
                Action::LabelPod { labels, annotations, .. } => {
                    labels.is_empty() && annotations.is_empty()
                }
                Action::SelectPods { from, to, .. } => from.as_ref() == Some(to),
                Action::Route { operations, .. } | Action::SelectSubsets { operations, .. } => {
                    operations.is_empty()
                }
                Action::Touch { .. }
                | Action::SetReplicas { .. }
                | Action::AdoptReplicaSet { .. }
                | Action::CreateReplicaSet { .. }
                | Action::SetMinReady { .. }
                | Action::ReleaseService { .. }
                | Action::SetPodMetadata { .. }
                | Action::SetAffinity { .. }
                | Action::Evict { .. }
                | Action::StartAnalysis { .. }
                | Action::StopAnalysis { .. }
                | Action::CreateService { .. }
                | Action::StartExperiment { .. }
                | Action::StopExperiment { .. }
                | Action::Annotate { .. }
                | Action::Delete { .. } => false,
            };
            if idle {
                found.push(violation("S21", format!("`{action}` changes nothing")));
            }
        }
    }

    /// S19: a newer stamp anywhere forbids everything; touches are alone; all that a plan relies on is fenced.
    fn fence(&self, found: &mut Vec<Violation>) {
        let acts = self.actions().next().is_some() || self.decision.status_write.is_some();
        let observed = self.observed();
        for (object, meta) in &observed {
            if acts && matches!(self.view.epoch.state(object, meta), FenceState::Lost(_)) {
                found.push(violation("S19", format!("{object} is of a newer term, and we write")));
            }
        }
        let touches = self.actions().filter(|action| action.is_touch()).count();
        let others = self.actions().count() - touches;
        if touches > 0 && (others > 0 || self.decision.status_write.is_some()) {
            found.push(violation("S19", "touches share a decision with other writes"));
        }
        let (old, new) = (self.status_now(), &self.decision.status);
        let decides = self.decision.status_write.is_some()
            && (old.current_step_index != new.current_step_index
                || old.stable_rs != new.stable_rs
                || old.abort != new.abort
                || old.aborted_at != new.aborted_at);
        if others == 0 && !decides {
            return;
        }
        for (object, meta) in observed {
            let concerned = match object.kind.kind.as_ref() {
                "Rollout" | "Service" | "VirtualService" | "DestinationRule" => true,
                "Deployment" => self.actions().any(|action| action.target().object == object),
                "ReplicaSet" => self.actions().any(|action| match action {
                    Action::Scale { target, .. } => target.object == object,
                    Action::Route { .. } => self
                        .stable()
                        .and_then(|hash| self.set(hash))
                        .is_some_and(|rs| rs.object() == object),
                    _ => false,
                }),
                _ => false,
            };
            if concerned && self.view.epoch.state(&object, meta) == FenceState::NeedsTouch {
                found.push(violation(
                    "S19",
                    format!("the plan relies on {object}, which is not fenced"),
                ));
            }
        }
    }

    fn observed(&self) -> Vec<(ObjectRef, &sluice_crds::object::Meta)> {
        let view = self.view;
        let mut all = vec![(view.object(), &view.rollout.meta)];
        all.extend(view.replica_sets.iter().map(|rs| (rs.object(), &rs.meta)));
        let services = view.services.values().filter_map(Lookup::present);
        all.extend(services.map(|service| (service.object(), &service.meta)));
        let routes = view.routes.values().filter_map(Lookup::present);
        all.extend(routes.map(|route| (route.object.clone(), &route.meta)));
        let former = view.former_services.iter().filter(|service| {
            self.actions().any(|action| action.target().object == service.object())
        });
        all.extend(former.map(|service| (service.object(), &service.meta)));
        let workload = view.workload.as_ref().filter(|w| w.object.kind == Kind::DEPLOYMENT);
        all.extend(workload.and_then(|w| Some((w.object.clone(), &w.found.present()?.meta))));
        all
    }

    /// S1, S2, S3, S7, S10, S15: weights.
    fn routes(&self, traffic: &Traffic<'_>, found: &mut Vec<Violation>) {
        let routes: Vec<&Action> =
            self.actions().filter(|action| matches!(action, Action::Route { .. })).collect();
        for action in &routes {
            let object = &action.target().object;
            let Some(record) = self.view.routes.get(object).and_then(Lookup::present) else {
                found.push(violation("S17", format!("{object} is routed, and the view lacks it")));
                continue;
            };
            let Some(spec) = writes::patched_spec(&record.spec, &action.lower()) else {
                found.push(violation("S1", format!("the patch of {object} does not fit")));
                continue;
            };
            let before = Note::read(&record.meta.annotations).made(&self.rollout.meta.name);
            let after = made_by(&action.lower(), &self.rollout.meta.name).unwrap_or(before.clone());
            self.foreign_content(action, record, &spec, [&before, &after], found);
            self.versions(&record.spec, &spec, found);
            let own = traffic.routing.own(&after.routes);
            self.own_routes(traffic, traffic.routing.is_exposed(&spec, &own), found);
            let shares = traffic.routing.shares(&object.name, &spec, &own);
            for share in &shares {
                if !share.in_range || share.total != 100 {
                    let total = share.total;
                    found.push(violation("S1", format!("{object}: weights add up to {total}")));
                }
            }
            let after = weights(&shares, &traffic.canary, &traffic.stable);
            self.raises(traffic, &after, found);
        }
        let aborting =
            self.decision.status.abort == Some(true) && self.status_now().abort != Some(true);
        let first = self.decision.plan.stages.first();
        let cd = self.candidate();
        let carried = cd.map_or(0, |cd| traffic.weight(cd));
        // A stable destination that reaches something else is put right first.
        let right = traffic.stable.is_none() || traffic.stable.as_deref() == self.stable();
        let able = right && self.stable().is_some_and(|st| self.suffices(st, 100));
        let routed_first =
            first.is_some_and(|stage| stage.iter().any(|a| matches!(a, Action::Route { .. })));
        if aborting && carried > 0 && able && !routed_first {
            found.push(violation(
                "S7",
                "an abort is recorded, and its plan does not begin with the weight",
            ));
        }
    }

    /// S18: what is not ours stays as it is, byte for byte and in its order.
    fn foreign_content(
        &self,
        action: &Action,
        record: &RouteRecord,
        spec: &Value,
        made: [&Made; 2],
        found: &mut Vec<Violation>,
    ) {
        let Some(routing) = Routing::of(self.rollout) else { return };
        let all = |of: fn(&Made) -> &BTreeSet<String>| -> BTreeSet<String> {
            made.into_iter().flat_map(of).cloned().collect()
        };
        let own = routing.own(&all(|made| &made.routes));
        let added = all(|made| &made.destinations);
        if foreign_part(&record.spec, &own, &added) != foreign_part(spec, &own, &added) {
            let object = &action.target().object;
            found.push(violation("S18", format!("{object}: the patch changes what is not ours")));
        }
    }

    /// S3, S7: a route of our own comes only when the candidate is behind it, and never to what is aborted.
    fn own_routes(&self, traffic: &Traffic<'_>, exposed: bool, found: &mut Vec<Violation>) {
        if !exposed || traffic.exposed || replicas(&self.rollout.spec) == 0 {
            return;
        }
        let reached = traffic.canary.as_deref().unwrap_or_default();
        if self.available(reached) == 0 || Some(reached) != self.candidate() {
            let what = format!(
                "a route of its own would lead to {reached}, which has no available Pod or is not the candidate"
            );
            found.push(violation("S3", what));
        }
        if self.status_now().abort == Some(true) {
            found.push(violation("S7", format!("aborted {reached} would get a route of its own")));
        }
    }

    fn raises(
        &self,
        traffic: &Traffic<'_>,
        after: &BTreeMap<String, u32>,
        found: &mut Vec<Violation>,
    ) {
        let n = replicas(&self.rollout.spec);
        let candidates = after
            .iter()
            .filter(|(hash, weight)| **weight > 0 && Some(hash.as_str()) != self.stable());
        if self.stable().is_some() && candidates.count() > 1 {
            found.push(violation("S10", "more than one candidate would have weight"));
        }
        for (hash, weight) in after {
            let before = traffic.weight(hash);
            if *weight <= before || n == 0 {
                continue;
            }
            let wanted = need(&self.rollout.spec, self.status_now(), hash, *weight);
            let size = self.set(hash).map_or(0, |rs| rs.replicas);
            let broken_source = traffic.weights.iter().any(|(other, weight)| {
                other != hash && *weight > 0 && !self.suffices(other, *weight)
            });
            let broken_source = broken_source || self.has_dead_version();
            let lesser_evil = broken_source && Some(hash.as_str()) == self.stable();
            if size < wanted && !lesser_evil {
                found.push(violation(
                    "S2",
                    format!("{hash} would get {weight} % with {size} of {wanted} Pods wanted"),
                ));
            }
            // Weight may leave a set that cannot carry it for one that carries less than it should: the better of two evils.
            if !self.suffices(hash, *weight) && !lesser_evil {
                let available = self.available(hash);
                found.push(violation(
                    "S3",
                    format!("{hash} would get {weight} % with {available} available Pods"),
                ));
            }
            if Some(hash.as_str()) == self.candidate() && self.status_now().abort == Some(true) {
                found.push(violation("S7", format!("{hash} is aborted and would get {weight} %")));
            }
            let resized = self.actions().any(|action| {
                matches!(action, Action::Scale { hash: of, from, to, .. } if of == hash && to < from)
            });
            if resized {
                found.push(violation("S3", format!("{hash} gets weight and shrinks in one plan")));
            }
        }
    }

    /// S6: a destination is switched without weight, or onto Pods that carry its weight. Switch and weight share no plan.
    fn switches(&self, traffic: &Traffic<'_>, found: &mut Vec<Violation>) {
        let most = |of: fn(&RouteShares) -> i64| {
            u32::try_from(traffic.shares.iter().map(of).max().unwrap_or(0).max(0)).unwrap_or(100)
        };
        // A route of our own leads to the canary's destination as a whole.
        let canary = most(|s| s.canary).max(u32::from(traffic.exposed));
        let stable = most(|s| s.stable);
        let mut switched = false;
        for action in self.actions() {
            let changes: Vec<(&Option<String>, Option<&String>, u32)> = match action {
                Action::SelectPods { target, to, .. } if traffic.routing.rule().is_none() => {
                    let (canary_service, _) = traffic.routing.services();
                    let is_canary = canary_service == Some(target.object.name.as_str());
                    let (from, weight) = if is_canary {
                        (&traffic.canary, canary)
                    } else {
                        (&traffic.stable, stable)
                    };
                    vec![(from, Some(to), weight)]
                }
                Action::SelectSubsets { canary: to_canary, stable: to_stable, .. } => vec![
                    (&traffic.canary, to_canary.as_ref(), canary),
                    (&traffic.stable, to_stable.as_ref(), stable),
                ],
                _ => continue,
            };
            switched = true;
            for (from, to, weight) in changes {
                let legal = from.as_ref() == to
                    || weight == 0
                    || to.is_some_and(|to| self.suffices(to, weight));
                if !legal {
                    let to = to.map_or("nothing", String::as_str);
                    found.push(violation(
                        "S6",
                        format!("a destination with {weight} % would be switched to {to}"),
                    ));
                }
            }
        }
        let raised = self.actions().any(|action| matches!(action, Action::Route { .. }));
        if switched && raised {
            found.push(violation("S6", "a switch and a change of weight share a plan"));
        }
    }

    /// S2, S4, S5, S7: sizes.
    fn sizes(&self, traffic: &Traffic<'_>, found: &mut Vec<Violation>) {
        let spec = &self.rollout.spec;
        let n = replicas(spec);
        for action in self.actions() {
            let Action::Scale { hash, from, to, .. } = action else { continue };
            if to >= from {
                continue;
            }
            let weight = traffic.weight(hash);
            let wanted = need(spec, self.status_now(), hash, weight);
            if *to < wanted {
                found.push(violation(
                    "S5",
                    format!("{hash} carries {weight} % and would shrink to {to}, below {wanted}"),
                ));
            }
            let follows = self.follows_traffic();
            if traffic.is_exposed(hash) && *to == 0 {
                found.push(violation(
                    "S5",
                    format!("{hash} would shrink to 0 while a route of its own leads to it"),
                ));
            }
            if Some(hash.as_str()) == self.stable() && *to < n && !follows {
                found.push(violation(
                    "S4",
                    format!("stable {hash} would shrink to {to}, below {n}"),
                ));
            }
            // What the set carried a moment ago is not known here; all of it is the bound.
            let settled = traffic
                .routed_at
                .is_none_or(|at| self.view.now - at >= self.view.config.route_confirmation)
                || self.all_observed();
            let recent = need(spec, self.status_now(), hash, 100).max(n);
            if !settled && *to < recent {
                found.push(violation(
                    "S5",
                    format!("{hash} would shrink to {to} before proxies follow"),
                ));
            }
            let aborted = self.status_now().abort == Some(true);
            let drains = follows && *to >= wanted;
            if aborted && Some(hash.as_str()) == self.candidate() && weight > 0 && !drains {
                found.push(violation("S7", format!("aborted {hash} would shrink with {weight} %")));
            }
        }
    }

    /// Whether sets shrink as traffic leaves them (`dynamicStableScale`).
    fn follows_traffic(&self) -> bool {
        let canary = self.rollout.spec.strategy.canary.as_deref();
        canary.is_some_and(|canary| canary.dynamic_stable_scale == Some(true))
    }

    fn all_observed(&self) -> bool {
        let known = |object: &ObjectRef, version: &str| {
            let fact = self.view.confirmations.get(object);
            matches!(fact, Some(Fact::Known(seen, _)) if seen == version)
        };
        let routes = self.view.routes.values().filter_map(Lookup::present);
        let mut routes = routes.filter(|route| route.object.kind == Kind::VIRTUAL_SERVICE);
        routes.all(|route| known(&route.object, &route.meta.resource_version.0))
    }

    /// S16, S17: whose objects are written.
    fn ownership(&self, found: &mut Vec<Violation>) {
        let uid = &self.rollout.meta.uid;
        for action in self.actions() {
            let object = &action.target().object;
            let record = self
                .view
                .replica_sets
                .iter()
                .find(|rs| object.kind == Kind::REPLICA_SET && rs.meta.name == object.name);
            if let Some(rs) = record {
                let ours = rs.meta.is_owned_by(uid);
                let adopted =
                    rs.meta.owner.is_none() && matches!(action, Action::AdoptReplicaSet { .. });
                if !ours && !adopted {
                    found.push(violation("S16", format!("{object} is not ours")));
                }
            }
            if let Action::CreateReplicaSet { hash, .. } = action {
                self.creation(&action.lower(), hash, found);
            }
            if !action.is_touch() && self.view.claims.contains_key(object) {
                found.push(violation("S17", format!("{object} is claimed by another Rollout")));
            }
        }
    }

    fn creation(&self, write: &Write, hash: &str, found: &mut Vec<Violation>) {
        let Change::Create { body } = &write.change else { return };
        let empty = body.pointer("/spec/replicas").and_then(Value::as_i64) == Some(0);
        let owner = body.pointer("/metadata/ownerReferences/0/uid").and_then(Value::as_str);
        let name = format!("{}-{hash}", self.rollout.meta.name);
        if !empty || owner != Some(self.rollout.meta.uid.as_str()) || write.object.name != name {
            found.push(violation(
                "S16",
                format!("{} is not created empty, ours and by its name", write.object),
            ));
        }
    }
}
