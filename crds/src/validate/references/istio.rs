use serde_json::Value;

use super::{Lookup, present};
use crate::object::{Kind, Meta, ObjectRef};
use crate::rollout::CanaryStrategy;
use crate::rollout::traffic_routing::{
    IstioDestinationRule, IstioTrafficRouting, IstioVirtualService,
};
use crate::validate::{FieldPath, Findings, is_set};

/// Reports VirtualServices and DestinationRules that do not exist, and routes that cannot carry two versions.
pub(super) fn check(
    path: &FieldPath,
    istio: &IstioTrafficRouting,
    canary: &CanaryStrategy,
    meta: &Meta,
    lookup: &dyn Lookup,
    findings: &mut Findings,
) {
    let single =
        istio.virtual_service.iter().map(|service| (path.field("virtualService"), service));
    let several = istio.virtual_services.iter().flatten().enumerate();
    let several =
        several.map(|(index, service)| (path.field("virtualServices").index(index), service));
    for (path, service) in single.chain(several) {
        if service.name.is_empty() {
            continue;
        }
        let (name, namespace) = address(&service.name, &meta.namespace);
        let object = ObjectRef::namespaced(Kind::VIRTUAL_SERVICE, namespace, name);
        if let Some(value) = present(&path.field("name"), &object, lookup, findings) {
            virtual_service(&path, &object, service, &value, istio, canary, meta, findings);
        }
    }
    if let Some(rule) = istio.destination_rule.as_ref().filter(|rule| !rule.name.is_empty()) {
        let path = path.field("destinationRule");
        let object = ObjectRef::namespaced(
            Kind::DESTINATION_RULE,
            meta.namespace.clone(),
            rule.name.clone(),
        );
        if let Some(value) = present(&path.field("name"), &object, lookup, findings) {
            subsets(&path, &object, rule, &value, findings);
        }
    }
}

/// `vs`, `vs.ns`, or `vs.ns.svc.cluster.local`: the last part is the namespace.
fn address<'a>(name: &'a str, namespace: &'a str) -> (&'a str, &'a str) {
    let short = name.strip_suffix(".svc.cluster.local").unwrap_or(name);
    short.rsplit_once('.').unwrap_or((short, namespace))
}

fn subsets(
    path: &FieldPath,
    object: &ObjectRef,
    rule: &IstioDestinationRule,
    value: &Value,
    findings: &mut Findings,
) {
    let names: Vec<&str> = value["spec"]["subsets"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|subset| subset["name"].as_str())
        .collect();
    for (field, wanted) in
        [("canarySubsetName", rule.canary_subset()), ("stableSubsetName", rule.stable_subset())]
    {
        if !names.contains(&wanted) {
            findings.hint(
                path.field(field),
                format!("{object} has no subset `{wanted}`"),
                format!("add it to its spec.subsets, or name one of [{}]", names.join(", ")),
            );
        }
    }
}

#[expect(clippy::too_many_arguments, reason = "what a route is judged by")]
fn virtual_service(
    path: &FieldPath,
    object: &ObjectRef,
    service: &IstioVirtualService,
    value: &Value,
    istio: &IstioTrafficRouting,
    canary: &CanaryStrategy,
    meta: &Meta,
    findings: &mut Findings,
) {
    let spec = &value["spec"];
    let http = spec["http"].as_array().map(Vec::as_slice).unwrap_or_default();
    if http.is_empty() {
        let has_other = !spec["tls"].is_null() || !spec["tcp"].is_null();
        if !has_other {
            findings.add(
                path.field("name"),
                format!("{object} has no route: neither http, tls nor tcp"),
            );
        }
        return;
    }
    for route in weighted_routes(path, object, service, http, canary, findings) {
        destinations(path, object, route, istio, canary, meta, findings);
    }
}

/// Returns the routes whose weights would be ours, and reports where Argo would not know which.
fn weighted_routes<'a>(
    path: &FieldPath,
    object: &ObjectRef,
    service: &IstioVirtualService,
    http: &'a [Value],
    canary: &CanaryStrategy,
    findings: &mut Findings,
) -> Vec<&'a Value> {
    let names = service.routes.as_deref().unwrap_or_default();
    if names.is_empty() {
        let managed = canary
            .traffic_routing
            .iter()
            .flat_map(|routing| routing.managed_routes.iter().flatten());
        let managed: Vec<&str> = managed.map(|route| route.name.as_str()).collect();
        let own: Vec<&Value> = http
            .iter()
            .filter(|route| !route["name"].as_str().is_some_and(|name| managed.contains(&name)))
            .collect();
        if own.len() > 1 {
            findings.hint(
                path.field("routes"),
                format!("{object} has {} http routes, and none is chosen", own.len()),
                "name the routes whose weights the Rollout sets",
            );
            return Vec::new();
        }
        return own;
    }
    let mut chosen = Vec::new();
    for (index, name) in names.iter().enumerate() {
        match http.iter().find(|route| route["name"] == name.as_str()) {
            Some(route) => chosen.push(route),
            None => {
                let known: Vec<&str> =
                    http.iter().filter_map(|route| route["name"].as_str()).collect();
                findings.hint(
                    path.field("routes").index(index),
                    format!("{object} has no http route `{name}`"),
                    format!("name one of [{}]", known.join(", ")),
                );
            }
        }
    }
    chosen
}

fn destinations(
    path: &FieldPath,
    object: &ObjectRef,
    route: &Value,
    istio: &IstioTrafficRouting,
    canary: &CanaryStrategy,
    meta: &Meta,
    findings: &mut Findings,
) {
    let route_name =
        route["name"].as_str().map_or("its route".into(), |name| format!("route `{name}`"));
    let destinations: Vec<&Value> = route["route"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|entry| &entry["destination"])
        .collect();
    let mut want = |side: &str, is_there: bool, what: String| {
        if !is_there {
            findings.hint(
                path.clone(),
                format!("{object}: {route_name} has no destination for the {side} version"),
                format!("add a destination with {what}"),
            );
        }
    };
    if let Some(rule) = &istio.destination_rule {
        for (side, subset) in [("canary", rule.canary_subset()), ("stable", rule.stable_subset())] {
            let is_there = destinations.iter().any(|destination| destination["subset"] == subset);
            want(side, is_there, format!("subset `{subset}`"));
        }
        return;
    }
    let (canary_service, stable_service) = match &canary.ping_pong {
        Some(pair) => (Some(&pair.ping_service), Some(&pair.pong_service)),
        None => (canary.canary_service.as_ref(), canary.stable_service.as_ref()),
    };
    for (side, service) in [("canary", canary_service), ("stable", stable_service)] {
        let Some(service) = service.filter(|service| is_set(Some(service))) else { continue };
        let is_there = destinations.iter().any(|destination| {
            let host = destination["host"].as_str().unwrap_or_default();
            host.split('.').next() == Some(service)
        });
        want(side, is_there, format!("host `{service}`, in namespace {}", meta.namespace));
    }
}
