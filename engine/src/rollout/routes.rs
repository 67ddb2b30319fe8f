//! Where traffic goes now: the weights of managed routes, and what their destinations resolve to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Duration, SecondsFormat, Utc};
use serde_json::Value;
use sluice_crds::labels;
use sluice_crds::object::{Kind, Meta, ObjectRef};
use sluice_crds::rollout::strategy::CanaryStrategy;
use sluice_crds::rollout::{RolloutRecord, TrafficRouting};

use super::action::{Action, Target};
use super::contention::{self, Field, Fight, Urgency};
use super::situation::Situation;
use super::split::Wanted;
use super::{destinations, rules};
use crate::traffic::{
    MadeRoute, Resolved, RouteProblem, RouteRule, RouteScope, TrafficRouter, TrafficSplit, registry,
};
use crate::view::{EndpointCounts, Fact, Lookup, RolloutView, RouteRecord};

/// Traffic as the view shows it.
pub(crate) struct Traffic<'a> {
    pub(crate) canary: Destination<'a>,
    pub(crate) stable: Destination<'a>,
    /// DestinationRule, in subset mode.
    pub(crate) rule: Option<&'a RouteRecord>,
    /// Greatest share of each destination that we added for an Experiment, by Service.
    pub(crate) extra: BTreeMap<String, u32>,
    /// Greatest share of destinations that are none of these.
    pub(crate) other: u32,
    /// Routes that steps made.
    pub(crate) made: Vec<MadeRoute>,
    /// Objects with weights, each with the canary's greatest share.
    pub(crate) objects: Vec<(&'a Arc<RouteRecord>, u32)>,
}

/// One of the two destinations.
pub(crate) struct Destination<'a> {
    /// Greatest share of any managed route.
    pub(crate) weight: u32,
    /// Least share of any managed route.
    pub(crate) least: u32,
    /// Revision that it reaches; `None` if it does not tell revisions apart (yet).
    pub(crate) hash: Option<String>,
    /// What says so: a Service or DestinationRule.
    pub(crate) object: ObjectRef,
    meta: Option<&'a Meta>,
    endpoints: Option<&'a EndpointCounts>,
}

impl Destination<'_> {
    /// Pods of the revision that may get weight: listed as ready endpoints and available.
    pub(crate) fn ready(&self, view: &RolloutView, hash: &str) -> u32 {
        let available = view.owned(hash).map_or(0, |rs| rs.available());
        match self.endpoints {
            Some(endpoints) => available.min(endpoints.of(hash)),
            None => available,
        }
    }

    /// When the last switch of what it resolves to counts as known to proxies.
    pub(crate) fn confirmed_at(
        &self,
        config: &crate::config::EngineConfig,
    ) -> Option<DateTime<Utc>> {
        Some(instant_of(self.meta?, labels::SWITCHED_AT)? + config.switch_confirmation)
    }
}

impl<'a> Traffic<'a> {
    /// Observes traffic; `None` for a canary without router, or while something that it needs is missing.
    pub(crate) fn observe(view: &'a RolloutView, canary: &'a CanaryStrategy) -> Option<Self> {
        let routing = canary.traffic_routing.as_ref()?;
        let router = registry::router(routing)?;
        let known = Known::of(view, canary);
        let scope = known.scope(&view.rollout, canary, routing);
        let observed = router.observed(&scope, &view.routes);
        let resolved = router.resolves(&scope, &view.routes);
        let rule = match &resolved {
            Some(resolved) => Some(view.routes.get(&resolved.object)?.present()?.as_ref()),
            None => None,
        };
        let hashes =
            |of: fn(&Resolved) -> &Option<String>| resolved.as_ref().map(|r| of(r).clone());
        let to = destinations::services(&view.rollout, canary);
        let mut traffic = Self {
            canary: resolve(view, to.canary, rule, hashes(|r| &r.canary))?,
            stable: resolve(view, to.stable, rule, hashes(|r| &r.stable))?,
            rule,
            extra: greatest(observed.iter().flat_map(|route| &route.extra)),
            made: router.made(&scope, &view.routes),
            other: observed.iter().map(|route| route.other).max().unwrap_or(0),
            objects: Vec::new(),
        };
        traffic.canary.weight = observed.iter().map(|route| route.canary).max()?;
        traffic.canary.least = observed.iter().map(|route| route.canary).min()?;
        traffic.stable.weight = observed.iter().map(|route| route.stable).max()?;
        traffic.stable.least = observed.iter().map(|route| route.stable).min()?;
        let mut objects: BTreeMap<&ObjectRef, u32> = BTreeMap::new();
        for route in &observed {
            let weight = objects.entry(&route.object).or_default();
            *weight = route.canary.max(*weight);
        }
        for (object, weight) in objects {
            traffic.objects.push((view.routes.get(object)?.present()?, weight));
        }
        Some(traffic)
    }

    /// The greatest share that may reach the revision. A destination that does not tell revisions apart reaches all.
    pub(crate) fn weight_of(&self, hash: &str) -> u32 {
        let share = |to: &Destination<'_>| {
            if to.hash.as_deref() == Some(hash) { to.weight } else { 0 }
        };
        if seeded!(StableShareForgotten) {
            return share(&self.canary);
        }
        (share(&self.canary) + share(&self.stable)).min(100)
    }

    /// Whether a route of ours leads to the revision, whatever its weight.
    pub(crate) fn is_exposed(&self, hash: &str) -> bool {
        let reaches = self.canary.hash.as_deref().is_none_or(|of| of == hash);
        reaches && self.made.iter().any(|route| route.to_canary)
    }

    /// Whether the canary's destination gets requests: by weight, or by a route of ours.
    pub(crate) fn canary_serves(&self) -> bool {
        self.canary.weight > 0 || self.made.iter().any(|route| route.to_canary)
    }

    /// Whether a destination names the revision, or might reach it.
    pub(crate) fn reaches(&self, hash: &str) -> bool {
        let names = |to: &Destination<'_>| to.hash.as_deref() == Some(hash);
        names(&self.canary) || names(&self.stable) || self.reaches_with_weight(hash)
    }

    /// Whether traffic flows, or might flow, to the revision.
    pub(crate) fn reaches_with_weight(&self, hash: &str) -> bool {
        let flows =
            |to: &Destination<'_>| to.weight > 0 && to.hash.as_deref().is_none_or(|of| of == hash);
        flows(&self.canary) || flows(&self.stable) || self.is_exposed(hash)
    }

    /// Whether every managed route gives the canary exactly the weight, and the canary is the revision; else the weight.
    pub(crate) fn is_at(&self, weight: u32, hash: &str) -> Result<(), u32> {
        let exact = self.canary.weight == weight && self.canary.least == weight;
        let right = weight == 0 || self.canary.hash.as_deref() == Some(hash);
        if exact && right { Ok(()) } else { Err(self.canary.weight.min(self.canary.least)) }
    }

    /// When weights were last changed, on any object.
    pub(crate) fn routed_at(&self) -> Option<DateTime<Utc>> {
        self.objects
            .iter()
            .filter_map(|(route, _)| instant_of(&route.meta, labels::ROUTED_AT))
            .max()
    }

    /// Whether an observer of the data plane has seen the present version of every route; `None` without one. What is written
    /// now (`changes`) nobody has seen yet.
    pub(crate) fn observed(&self, view: &RolloutView, changes: bool) -> Option<bool> {
        let fact = |route: &RouteRecord| view.confirmations.get(&route.object);
        if self.objects.iter().all(|(route, _)| fact(route).is_none()) {
            return None;
        }
        let is_seen = |route: &RouteRecord| {
            let version = &route.meta.resource_version.0;
            matches!(fact(route), Some(Fact::Known(seen, _)) if seen == version)
        };
        Some(!changes && self.objects.iter().all(|(route, _)| is_seen(route)))
    }

    /// When the last change of weights and of what destinations resolve to is `delay` ago; `None` if none is known. An
    /// observer of the data plane that has seen the present version of every route ends the wait for routes at once.
    pub(crate) fn still_at(&self, view: &RolloutView, delay: Duration) -> Option<DateTime<Utc>> {
        self.changed_at(view, delay, &[&self.canary, &self.stable]).map(|at| at + delay)
    }

    /// The same for the current set alone: a switch of the canary's own destination to it brought it traffic and took none away,
    /// and so did any change before it was created.
    pub(crate) fn still_for_canary_at(
        &self,
        view: &RolloutView,
        delay: Duration,
        current: &Meta,
    ) -> Option<DateTime<Utc>> {
        let changed = self.changed_at(view, delay, &[&self.stable]);
        changed
            .filter(|at| current.creation_timestamp.is_none_or(|born| *at >= born.at()))
            .map(|at| at + delay)
    }

    fn changed_at(
        &self,
        view: &RolloutView,
        delay: Duration,
        switches: &[&Destination<'_>],
    ) -> Option<DateTime<Utc>> {
        let observed =
            delay == view.config.route_confirmation && self.observed(view, false) == Some(true);
        let routed = self
            .objects
            .iter()
            .filter(|_| !observed)
            .filter_map(|(route, _)| instant_of(&route.meta, labels::ROUTED_AT));
        let switches = switches.iter().filter(|_| !seeded!(SwitchForgotten));
        let switched = switches.filter_map(|to| instant_of(to.meta?, labels::SWITCHED_AT));
        routed.chain(switched).max()
    }
}

fn greatest<'a>(shares: impl Iterator<Item = (&'a String, &'a u32)>) -> BTreeMap<String, u32> {
    let mut all: BTreeMap<String, u32> = BTreeMap::new();
    for (service, weight) in shares {
        let most = all.entry(service.clone()).or_default();
        *most = (*weight).max(*most);
    }
    all
}

fn resolve<'a>(
    view: &'a RolloutView,
    service: Option<&str>,
    rule: Option<&'a RouteRecord>,
    subset: Option<Option<String>>,
) -> Option<Destination<'a>> {
    let record = service.and_then(|name| view.services.get(name)).and_then(Lookup::present);
    let endpoints = service.and_then(|name| {
        static NONE: EndpointCounts = EndpointCounts { ready: BTreeMap::new() };
        record.map(|_| view.endpoints.get(name).unwrap_or(&NONE))
    });
    let empty = |hash, object, meta, endpoints| Destination {
        weight: 0,
        least: 0,
        hash,
        object,
        meta,
        endpoints,
    };
    match (rule, subset, record) {
        (Some(rule), Some(hash), _) => {
            // A subset divides the endpoints of the rule's host; whom the Services of the strategy select is beside the point.
            let host = host_service(rule, &view.rollout.meta.namespace);
            let endpoints = host.and_then(|host| view.endpoints.get(host)).or(endpoints);
            Some(empty(hash, rule.object.clone(), Some(&rule.meta), endpoints))
        }
        (_, _, Some(service)) => Some(empty(
            service.hash().map(str::to_owned),
            service.object(),
            Some(&service.meta),
            endpoints,
        )),
        (_, _, None) => None,
    }
}

/// Returns the Service of the namespace whose endpoints the subsets of a DestinationRule divide.
fn host_service<'a>(rule: &'a RouteRecord, namespace: &str) -> Option<&'a str> {
    let mut parts = rule.spec.get("host")?.as_str()?.splitn(3, '.');
    let name = parts.next().filter(|name| !name.is_empty())?;
    let here = parts.next().is_none_or(|of| of == namespace);
    (here && parts.next().is_none_or(|rest| rest.starts_with("svc"))).then_some(name)
}

/// Returns the Services behind the rule's subsets, of the rules among `routes`. Their endpoints belong into
/// [`RolloutView::endpoints`] if they exist; they are not written, so they do not belong into [`RolloutView::services`].
pub fn hosts(routes: &crate::traffic::LiveRoutes, namespace: &str) -> BTreeSet<String> {
    let rules = routes.values().filter_map(Lookup::present);
    let rules = rules.filter(|route| route.object.kind == Kind::DESTINATION_RULE);
    rules.filter_map(|rule| host_service(rule, namespace)).map(str::to_owned).collect()
}

/// Writes of a kind, and what keeps further ones of it from being made now.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Edits {
    pub(crate) actions: Vec<Action>,
    pub(crate) fights: Vec<Fight>,
}

/// Returns the writes that bring every route object to the wanted shares and routes, one for each object. Weight rises only if
/// every route can be edited.
pub(crate) fn edits(
    s: &Situation<'_>,
    traffic: &Traffic<'_>,
    wanted: &Wanted,
    urgency: Urgency,
) -> Edits {
    let mut edits = Edits::default();
    let Some((router, routing)) = router(s.canary) else { return edits };
    let known = Known::of(s.view, s.canary);
    let scope = known.scope(s.rollout, s.canary, routing);
    let routed = router.weigh(&scope, &present(s, traffic, wanted), &s.view.routes);
    let rises = wanted.rises(traffic);
    if !routed.problems.is_empty() && rises {
        return edits;
    }
    for edit in routed.edits {
        let Some((route, from)) =
            traffic.objects.iter().find(|(route, _)| route.object == edit.object)
        else {
            continue;
        };
        let value = wanted.text();
        match contention::note(s, Field::Weights, &edit.object, &route.meta, &value, urgency) {
            Ok(annotations) => edits.actions.push(Action::Route {
                routes: route_names(traffic, &edit.object, wanted),
                versions: versions(traffic, wanted),
                target: Target::of(s.view, edit.object, &route.meta),
                from: *from,
                to: wanted.canary,
                operations: edit.operations,
                annotations,
            }),
            Err(fight) => edits.fights.push(*fight),
        }
    }
    if rises && !edits.fights.is_empty() {
        edits.actions.clear();
    }
    edits
}

/// Names of the routes of steps that are there after the edit, if they are others than before.
fn route_names(traffic: &Traffic<'_>, object: &ObjectRef, wanted: &Wanted) -> Option<Vec<String>> {
    let made = traffic.made.iter().filter(|route| route.object == *object);
    let before: BTreeSet<&str> = made.map(|route| route.name.as_str()).collect();
    let after: BTreeSet<&str> = wanted.rules.iter().map(|rule| rule.name.as_str()).collect();
    (before != after).then(|| after.into_iter().map(str::to_owned).collect())
}

/// Shares of versions of Experiments after the edit, if they are others than before.
fn versions(traffic: &Traffic<'_>, wanted: &Wanted) -> Option<Vec<(String, u32)>> {
    let after = wanted.extra.iter().map(|to| (to.service.clone(), to.weight));
    let after: BTreeMap<String, u32> = after.collect();
    (after != traffic.extra).then(|| after.into_iter().collect())
}

/// Whether the routes of steps are exactly these, at the present weights.
pub(crate) fn shows(s: &Situation<'_>, traffic: &Traffic<'_>, rules: &[RouteRule]) -> bool {
    let Some((router, routing)) = router(s.canary) else { return false };
    let known = Known::of(s.view, s.canary);
    let scope = known.scope(s.rollout, s.canary, routing);
    let rules = rules.to_vec();
    let wanted = Wanted { canary: traffic.canary.weight, rules, extra: Vec::new() };
    let routed = router.weigh(&scope, &present(s, traffic, &wanted), &s.view.routes);
    let names = wanted.rules.iter().map(|rule| &rule.name).collect::<BTreeSet<_>>();
    let made = traffic.made.iter().map(|route| &route.name).collect::<BTreeSet<_>>();
    routed.edits.is_empty() && routed.problems.is_empty() && names == made
}

fn present(s: &Situation<'_>, traffic: &Traffic<'_>, wanted: &Wanted) -> TrafficSplit {
    split(s, traffic, wanted, traffic.canary.hash.as_deref(), traffic.stable.hash.as_deref())
}

/// Returns the operations that make the rule's subsets select the revisions.
pub(crate) fn subset_operations(
    s: &Situation<'_>,
    traffic: &Traffic<'_>,
    rule: &RouteRecord,
    canary: Option<&str>,
    stable: Option<&str>,
    extra: &[crate::traffic::ExtraDestination],
) -> Option<Vec<Value>> {
    let (router, routing) = router(s.canary)?;
    let known = Known::of(s.view, s.canary);
    let scope = known.scope(s.rollout, s.canary, routing);
    let weight = traffic.canary.weight;
    let wanted = Wanted { canary: weight, extra: extra.to_vec(), rules: Vec::new() };
    let split = split(s, traffic, &wanted, canary, stable);
    let aimed = router.aim(&scope, &split, &s.view.routes);
    aimed.edits.into_iter().find(|edit| edit.object == rule.object).map(|edit| edit.operations)
}

fn split(
    s: &Situation<'_>,
    traffic: &Traffic<'_>,
    wanted: &Wanted,
    canary: Option<&str>,
    stable: Option<&str>,
) -> TrafficSplit {
    let istio = s.canary.traffic_routing.as_ref().and_then(|routing| routing.istio.as_ref());
    let rule = istio.and_then(|istio| istio.destination_rule.as_ref());
    let side = |service: Option<&str>, subset: Option<&str>, hash: Option<&str>, weight| {
        crate::traffic::Destination {
            service: service.filter(|_| traffic.rule.is_none()).map(str::to_owned),
            subset: subset.map(str::to_owned),
            hash: hash.unwrap_or_default().to_owned(),
            weight,
        }
    };
    let weight = wanted.canary.min(100);
    let rest = 100_u32.saturating_sub(weight).saturating_sub(wanted.extra_weight());
    let to = destinations::services(s.rollout, s.canary);
    TrafficSplit {
        canary: side(to.canary, rule.map(|r| r.canary_subset()), canary, weight),
        stable: side(
            to.stable,
            rule.map(|r| r.stable_subset()),
            stable,
            if seeded!(WeightsUnbalanced) { 100 } else { rest },
        ),
        extra: wanted.extra.clone(),
        rules: wanted.rules.clone(),
    }
}

/// Returns what is wrong with the routing and its objects.
pub(crate) fn check(view: &RolloutView, canary: &CanaryStrategy) -> Vec<RouteProblem> {
    let Some((router, routing)) = router(canary) else { return Vec::new() };
    let known = Known::of(view, canary);
    router.check(&known.scope(&view.rollout, canary, routing), &view.routes)
}

/// Returns every router object that the spec names.
pub(crate) fn reads(rollout: &RolloutRecord) -> BTreeSet<ObjectRef> {
    let Some(canary) = rollout.spec.strategy.canary.as_ref() else { return BTreeSet::new() };
    let Some((router, routing)) = router(canary) else { return BTreeSet::new() };
    router.reads(&Known::default().scope(rollout, canary, routing))
}

fn router(canary: &CanaryStrategy) -> Option<(&'static dyn TrafficRouter, &TrafficRouting)> {
    let routing = canary.traffic_routing.as_deref()?;
    Some((registry::router(routing)?, routing))
}

/// What a scope borrows.
#[derive(Default)]
struct Known {
    ports: BTreeMap<String, Vec<u16>>,
    own_routes: BTreeSet<String>,
}

impl Known {
    fn of(view: &RolloutView, canary: &CanaryStrategy) -> Self {
        let ports = view
            .services
            .iter()
            .filter_map(|(name, lookup)| Some((name.clone(), lookup.present()?.ports.clone())))
            .collect();
        Self { ports, own_routes: rules::names(canary) }
    }

    fn scope<'a>(
        &'a self,
        rollout: &'a RolloutRecord,
        canary: &'a CanaryStrategy,
        routing: &'a TrafficRouting,
    ) -> RouteScope<'a> {
        let to = destinations::services(rollout, canary);
        RouteScope {
            rollout: &rollout.meta.name,
            namespace: &rollout.meta.namespace,
            routing,
            canary_service: to.canary,
            stable_service: to.stable,
            ports: &self.ports,
            own_routes: &self.own_routes,
        }
    }
}

/// Writes an instant into an annotation, with milliseconds.
pub(crate) fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

pub(crate) fn instant_of(meta: &Meta, key: &str) -> Option<DateTime<Utc>> {
    let at = DateTime::parse_from_rfc3339(meta.annotations.get(key)?).ok()?;
    Some(at.with_timezone(&Utc))
}
