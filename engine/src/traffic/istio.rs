//! # Istio
//!
//! ```yaml
//! trafficRouting:
//!   istio:
//!     virtualService:          # or virtualServices: a list
//!       name: web              # or web.mesh for another namespace
//!       routes: [primary]      # default: the only HTTP route
//!       tlsRoutes: [{port: 443, sniHosts: [web.example.com]}]   # default: the only TLS route
//!       tcpRoutes: [{port: 5432}]                               # default: the only TCP route
//!     destinationRule:         # optional: subsets instead of Services
//!       name: web
//!       canarySubsetName: canary
//!       stableSubsetName: stable
//! ```
//!
//! Each managed route must have exactly one destination for the canary and one for the stable version: with
//! `destinationRule` told apart by subset, else by host, which is the Service's name (`web`, `web.shop`,
//! `web.shop.svc.cluster.local`). Only the weights of those two are written; they and all other destinations of the route add
//! up to 100, so another destination keeps its weight and takes it from the stable share. With a DestinationRule only the label
//! `rollouts-pod-template-hash` of the two subsets is written.
//!
//! A TLS or TCP section without selector is left alone if none of its routes leads to canary or stable. A selector means the
//! routes whose match blocks together have exactly its port, and exactly its SNI hosts, as far as it names them.
//!
//! `setHeaderRoute` and `setMirrorRoute` make HTTP routes above all others, in the order of `managedRoutes`, which lead where
//! the canary destination of the first managed HTTP route leads. They are written and removed in the same patch as weights.
//! Only routes whose name a step of the Rollout uses, or that the note `sluice.dev/made` says we made, are replaced or removed.
//!
//! Source: `spec-rollouts` 4.1. Deliberate differences from Argo: a destination or subset that is not ours is kept, not
//! deleted; a route with two destinations for one side is refused, because weights would not add up; a route that is listed in
//! `managedRoutes` and that no step uses is the user's.

use std::collections::BTreeSet;

use sluice_crds::object::{Kind, ObjectRef};
use sluice_crds::rollout::TrafficRouting;
use sluice_crds::rollout::traffic_routing::{IstioTrafficRouting, IstioVirtualService};

use super::{
    Abilities, LiveRoutes, MadeRoute, ObservedRoute, Resolved, RouteProblem, RouteScope, Routed,
    TrafficRouter, TrafficSplit,
};
use crate::view::{Lookup, RouteRecord};

mod destination_rule;
pub mod proxies;
mod virtual_service;

use virtual_service::Place;

/// Istio's VirtualServices and DestinationRules.
#[derive(Clone, Copy, Debug)]
pub struct Istio;

/// Where in the Rollout the routing is, for messages.
const ROUTING: &str = "spec.strategy.canary.trafficRouting.istio";

impl TrafficRouter for Istio {
    fn name(&self) -> &'static str {
        "istio"
    }

    fn configured(&self, routing: &TrafficRouting) -> bool {
        routing.istio.is_some()
    }

    fn abilities(&self) -> Abilities {
        Abilities { weight: true, header: true, mirror: true, verify: false }
    }

    fn reads(&self, scope: &RouteScope<'_>) -> BTreeSet<ObjectRef> {
        let Some(istio) = &scope.routing.istio else { return BTreeSet::new() };
        istio
            .all_virtual_services()
            .map(|config| virtual_service(&config.name, scope.namespace))
            .chain(destination_rule(istio, scope.namespace))
            .collect()
    }

    fn check(&self, scope: &RouteScope<'_>, live: &LiveRoutes) -> Vec<RouteProblem> {
        let Some(istio) = &scope.routing.istio else { return Vec::new() };
        let mut problems = config_problems(scope, istio);
        let (mut read, mut http) = (0, 0);
        for (index, config) in istio.all_virtual_services().enumerate() {
            let at = config_path(istio, index);
            match present(live, virtual_service(&config.name, scope.namespace), &at) {
                Ok(record) => {
                    let place = Place { scope, istio, record };
                    read += 1;
                    http += usize::from(place.has_http());
                    problems.extend(virtual_service::check(place, config));
                }
                Err(problem) => problems.push(*problem),
            }
        }
        if !scope.own_routes.is_empty() && read > 0 && http == 0 {
            problems.push(invalid(
                ROUTING.into(),
                "no VirtualService has an HTTP route, and steps set header or mirror routes",
                "name a VirtualService with HTTP routes, or remove the steps",
            ));
        }
        if let Some(object) = destination_rule(istio, scope.namespace) {
            match present(live, object, &format!("{ROUTING}.destinationRule.name")) {
                Ok(record) => problems.extend(destination_rule::check(istio, record)),
                Err(problem) => problems.push(*problem),
            }
        }
        problems
    }

    fn weigh(&self, scope: &RouteScope<'_>, split: &TrafficSplit, live: &LiveRoutes) -> Routed {
        let Some(istio) = &scope.routing.istio else { return Routed::default() };
        let mut routed = Routed { edits: Vec::new(), problems: config_problems(scope, istio) };
        for object in virtual_services(scope, istio) {
            let configs: Vec<_> = istio
                .all_virtual_services()
                .enumerate()
                .filter(|(_, config)| virtual_service(&config.name, scope.namespace) == object)
                .collect();
            let at = configs.first().map_or(String::new(), |(index, _)| config_path(istio, *index));
            match present(live, object, &at) {
                Ok(record) => {
                    let configs: Vec<&IstioVirtualService> =
                        configs.into_iter().map(|(_, config)| config).collect();
                    let place = Place { scope, istio, record };
                    virtual_service::weigh(place, &configs, split, &mut routed);
                }
                Err(problem) => routed.problems.push(*problem),
            }
        }
        routed
    }

    fn aim(&self, scope: &RouteScope<'_>, split: &TrafficSplit, live: &LiveRoutes) -> Routed {
        let mut routed = Routed::default();
        let Some(istio) = &scope.routing.istio else { return routed };
        if let Some(object) = destination_rule(istio, scope.namespace) {
            match present(live, object, &format!("{ROUTING}.destinationRule.name")) {
                Ok(record) => destination_rule::aim(scope, istio, split, record, &mut routed),
                Err(problem) => routed.problems.push(*problem),
            }
        }
        routed
    }

    fn observed(&self, scope: &RouteScope<'_>, live: &LiveRoutes) -> Vec<ObservedRoute> {
        let Some(istio) = &scope.routing.istio else { return Vec::new() };
        let mut routes = Vec::new();
        for config in istio.all_virtual_services() {
            let object = virtual_service(&config.name, scope.namespace);
            if let Some(record) = live.get(&object).and_then(Lookup::present) {
                for route in virtual_service::observed(Place { scope, istio, record }, config) {
                    if !routes.contains(&route) {
                        routes.push(route);
                    }
                }
            }
        }
        routes
    }

    fn made(&self, scope: &RouteScope<'_>, live: &LiveRoutes) -> Vec<MadeRoute> {
        let Some(istio) = &scope.routing.istio else { return Vec::new() };
        virtual_services(scope, istio)
            .into_iter()
            .filter_map(|object| live.get(&object).and_then(Lookup::present))
            .flat_map(|record| virtual_service::made(Place { scope, istio, record }))
            .collect()
    }

    fn resolves(&self, scope: &RouteScope<'_>, live: &LiveRoutes) -> Option<Resolved> {
        let istio = scope.routing.istio.as_ref()?;
        let object = destination_rule(istio, scope.namespace)?;
        let record = live.get(&object).and_then(Lookup::present)?;
        destination_rule::resolves(istio, record)
    }
}

/// Returns the address of a VirtualService named `name`, `name.namespace` or `name.namespace.svc.cluster.local`. A name that
/// itself has dots must be given with its namespace (Argo).
pub fn virtual_service(name: &str, namespace: &str) -> ObjectRef {
    let short = name.strip_suffix(".svc.cluster.local").unwrap_or(name);
    let (name, namespace) = short.rsplit_once('.').unwrap_or((short, namespace));
    ObjectRef::namespaced(Kind::VIRTUAL_SERVICE, namespace, name)
}

/// Returns the address of the DestinationRule; always in the Rollout's namespace (Argo).
pub fn destination_rule(istio: &IstioTrafficRouting, namespace: &str) -> Option<ObjectRef> {
    let rule = istio.destination_rule.as_ref()?;
    Some(ObjectRef::namespaced(Kind::DESTINATION_RULE, namespace, &rule.name))
}

fn virtual_services(scope: &RouteScope<'_>, istio: &IstioTrafficRouting) -> BTreeSet<ObjectRef> {
    istio.all_virtual_services().map(|c| virtual_service(&c.name, scope.namespace)).collect()
}

fn config_path(istio: &IstioTrafficRouting, index: usize) -> String {
    match (&istio.virtual_service, index) {
        (Some(_), 0) => format!("{ROUTING}.virtualService"),
        (Some(_), index) => format!("{ROUTING}.virtualServices[{}]", index - 1),
        (None, index) => format!("{ROUTING}.virtualServices[{index}]"),
    }
}

fn invalid(path: String, message: &str, hint: &str) -> RouteProblem {
    RouteProblem {
        object: None,
        path,
        message: message.to_owned(),
        hint: Some(hint.to_owned()),
        missing: false,
    }
}

fn config_problems(scope: &RouteScope<'_>, istio: &IstioTrafficRouting) -> Vec<RouteProblem> {
    let mut problems = Vec::new();
    match (&istio.virtual_service, istio.virtual_services.as_deref()) {
        (Some(_), Some(_)) => problems.push(invalid(
            ROUTING.into(),
            "both `virtualService` and `virtualServices` are set",
            "keep one of them",
        )),
        (None, None | Some([])) => problems.push(invalid(
            ROUTING.into(),
            "no VirtualService is named",
            "set `virtualService.name`",
        )),
        (Some(_), None) | (None, Some(_)) => {}
    }
    if istio.destination_rule.is_none() {
        for (field, service) in
            [("canaryService", scope.canary_service), ("stableService", scope.stable_service)]
        {
            if service.is_none_or(str::is_empty) {
                problems.push(invalid(
                    format!("spec.strategy.canary.{field}"),
                    "is not set, and without `destinationRule` routes are told apart by Service",
                    "name the Service, or set `trafficRouting.istio.destinationRule`",
                ));
            }
        }
    }
    problems
}

/// Returns the object, or why it cannot be used.
fn present<'a>(
    live: &'a LiveRoutes,
    object: ObjectRef,
    path: &str,
) -> Result<&'a RouteRecord, Box<RouteProblem>> {
    let (message, hint) = match live.get(&object) {
        Some(Lookup::Present(record)) => return Ok(record),
        Some(Lookup::Absent) => {
            (format!("{object} does not exist"), "create it, or correct the name")
        }
        Some(Lookup::NoKind) => (
            format!("kind `{}` of `{}` is not installed", object.kind.kind, object.kind.group),
            "install Istio's CRDs",
        ),
        Some(Lookup::Unknown) | None => (
            format!("{object} has not been read yet"),
            "if this lasts, check that the controller may list and watch it",
        ),
    };
    Err(Box::new(RouteProblem {
        object: None,
        path: path.to_owned(),
        message,
        hint: Some(hint.to_owned()),
        missing: true,
    }))
}

#[cfg(test)]
mod tests;
