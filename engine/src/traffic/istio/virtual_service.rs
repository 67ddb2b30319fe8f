//! Weights of the managed routes of a VirtualService, and the routes that steps make above them.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sluice_crds::rollout::traffic_routing::{IstioTrafficRouting, IstioVirtualService};

use super::super::backends::{self, Misfit};
use super::super::made::{Made, Note};
use super::super::{
    MadeRoute, ObservedRoute, RouteEdit, RouteProblem, RouteScope, Routed, TrafficSplit,
};
use crate::view::RouteRecord;

mod destinations;
mod rules;
mod select;

use destinations::Role;
#[cfg(test)]
pub(super) use destinations::leads_to;
use select::{Protocol, Route};

/// A VirtualService, and whose it is looked at for.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) scope: &'a RouteScope<'a>,
    pub(super) istio: &'a IstioTrafficRouting,
    pub(super) record: &'a RouteRecord,
}

impl<'a> Place<'a> {
    fn list(&self, protocol: Protocol) -> &'a [Value] {
        let list = self.record.spec.get(protocol.as_str()).and_then(Value::as_array);
        list.map_or(&[][..], Vec::as_slice)
    }

    /// Whether it routes HTTP at all.
    pub(super) fn has_http(&self) -> bool {
        !self.list(Protocol::Http).is_empty()
    }

    fn note(&self) -> Note {
        Note::read(&self.record.meta.annotations)
    }

    /// Names of routes that are ours as a whole: steps set them, or we made them.
    fn own_routes(&self) -> BTreeSet<String> {
        let mut names = self.note().made(self.scope.rollout).routes;
        names.extend(self.scope.own_routes.iter().cloned());
        names
    }

    fn problem(&self, path: impl Into<String>, message: String, hint: &str) -> RouteProblem {
        RouteProblem {
            object: Some(self.record.object.clone()),
            path: path.into(),
            message,
            hint: Some(hint.to_owned()),
            missing: false,
        }
    }
}

/// Returns what is wrong with the managed routes.
pub(super) fn check(place: Place<'_>, config: &IstioVirtualService) -> Vec<RouteProblem> {
    let (routes, mut problems) = select::managed(place, config, &BTreeSet::new());
    for route in &routes {
        let misfits = backends::misfits(&route.backends);
        problems.extend(misfits.into_iter().map(|misfit| unfit(place, route, misfit)));
        problems.extend(destinations::port_problems(place, route));
    }
    problems
}

/// Adds the edit that gives every managed route its weights, and makes and removes the routes of steps.
pub(super) fn weigh(
    place: Place<'_>,
    configs: &[&IstioVirtualService],
    split: &TrafficSplit,
    routed: &mut Routed,
) {
    let extra: BTreeSet<String> = split.extra.iter().map(|to| to.service.clone()).collect();
    let (mut weights, mut places) = (Vec::new(), Vec::new());
    let mut done = BTreeSet::new();
    let mut first = None;
    let mut placed = BTreeSet::new();
    let problems_before = routed.problems.len();
    for config in configs {
        let (routes, problems) = select::managed(place, config, &extra);
        routed.problems.extend(problems);
        let known = |route: &Route<'_>| {
            let is_http = route.protocol == Protocol::Http;
            is_http || !seeded!(OtherProtocolsForgotten)
        };
        let routes = routes.into_iter().filter(known);
        for route in routes.filter(|route| done.insert((route.protocol, route.index))) {
            match backends::weigh(&route.backends, split) {
                Ok(changes) => {
                    placed.extend(extra.iter().cloned());
                    if !changes.weights.is_empty() {
                        weights.extend(route.test());
                        weights.extend(changes.weights);
                    }
                    if !changes.removals.is_empty() || !changes.missing.is_empty() {
                        places.extend(route.test());
                        places.extend(changes.removals);
                        places.extend(changes.missing.iter().map(|to| route.append(to)));
                    }
                    if route.protocol == Protocol::Http && first.is_none() {
                        first = Some(route);
                    }
                }
                Err(misfits) => routed
                    .problems
                    .extend(misfits.into_iter().map(|misfit| unfit(place, &route, misfit))),
            }
        }
    }
    let mut operations = weights;
    operations.append(&mut places);
    let (making, names) = rules::operations(place, first.as_ref(), split);
    operations.extend(making);
    let note = place.note();
    let mut made = Made { routes: names, destinations: placed, ..Made::default() };
    if routed.problems.len() > problems_before {
        // A route that could not be edited may still have them.
        made.destinations.extend(note.made(place.scope.rollout).destinations);
    }
    operations.extend(note.change(place.scope.rollout, made));
    if !operations.is_empty() {
        routed.edits.push(RouteEdit { object: place.record.object.clone(), operations });
    }
}

/// Returns the weights of the managed routes that are well formed, and of made routes that split by weight as well.
pub(super) fn observed(place: Place<'_>, config: &IstioVirtualService) -> Vec<ObservedRoute> {
    let (routes, _) = select::managed(place, config, &BTreeSet::new());
    routes
        .into_iter()
        .chain(select::made(place))
        .filter(|route| backends::misfits(&route.backends).is_empty())
        .map(|route| {
            let shares = backends::shares(&route.backends);
            ObservedRoute {
                object: place.record.object.clone(),
                route: route.label(),
                canary: shares.canary,
                stable: shares.stable,
                extra: backends::extras(&route.backends),
                other: shares.foreign,
            }
        })
        .collect()
}

/// Returns the routes that the engine made, or whose names say that it did.
pub(super) fn made(place: Place<'_>) -> Vec<MadeRoute> {
    let http = place.list(Protocol::Http);
    let to_canary = |route: &Route<'_>| {
        let mirror = http[route.index].get("mirror");
        let copied = mirror.is_some_and(|to| destinations::role_of(place, to) == Role::Canary);
        copied || route.backends.iter().any(|backend| backend.role == Role::Canary)
    };
    select::made(place)
        .into_iter()
        .map(|route| MadeRoute {
            object: place.record.object.clone(),
            name: route.name.unwrap_or_default().to_owned(),
            to_canary: to_canary(&route),
        })
        .collect()
}

fn unfit(place: Place<'_>, route: &Route<'_>, misfit: Misfit) -> RouteProblem {
    let (canary, stable) = destinations::wanted(place);
    let label = route.label();
    let (message, hint) = match misfit {
        Misfit::NoCanary => (
            format!("no destination with {canary} (the canary) in route `{label}`"),
            "add it with weight 0",
        ),
        Misfit::NoStable => (
            format!("no destination with {stable} (stable) in route `{label}`"),
            "add it with weight 100",
        ),
        Misfit::SeveralCanaries => (
            format!("several destinations with {canary} (the canary) in route `{label}`"),
            "keep one of them: which one is weighed would be a guess",
        ),
        Misfit::SeveralStables => (
            format!("several destinations with {stable} (stable) in route `{label}`"),
            "keep one of them: which one is weighed would be a guess",
        ),
        Misfit::NoRoom(foreign) => (
            format!("other destinations of route `{label}` have weight {foreign}"),
            "lower their weights: canary, stable and they must add up to 100",
        ),
    };
    place.problem(format!("{}.route", route.path()), message, hint)
}

/// A destination of a route as we add it: by host alone, as Argo does; the Service of an Experiment has one port.
fn added(service: &str, weight: u32) -> Value {
    json!({ "destination": { "host": service }, "weight": weight })
}
