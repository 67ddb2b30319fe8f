//! Weights of the managed HTTP routes of a VirtualService.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sluice_crds::rollout::traffic_routing::{IstioTrafficRouting, IstioVirtualService};

use super::super::backends::{self, Backend, Misfit, Role};
use super::super::{ObservedRoute, RouteEdit, RouteProblem, RouteScope, Routed, TrafficSplit};
use crate::view::RouteRecord;

/// Returns what is wrong with the managed routes.
pub(super) fn check(
    scope: &RouteScope<'_>,
    istio: &IstioTrafficRouting,
    config: &IstioVirtualService,
    record: &RouteRecord,
) -> Vec<RouteProblem> {
    let (routes, mut problems) = managed(scope, istio, config, record);
    for route in &routes {
        let misfits = backends::misfits(&route.backends);
        problems.extend(misfits.into_iter().map(|misfit| route.problem(scope, istio, misfit)));
        problems.extend(port_problems(scope, record, route));
    }
    problems
}

/// Adds the edit that gives every managed route its weights.
pub(super) fn weigh(
    scope: &RouteScope<'_>,
    istio: &IstioTrafficRouting,
    configs: &[&IstioVirtualService],
    split: &TrafficSplit,
    record: &RouteRecord,
    routed: &mut Routed,
) {
    let mut operations = Vec::new();
    let mut done = BTreeSet::new();
    for config in configs {
        let (routes, problems) = managed(scope, istio, config, record);
        routed.problems.extend(problems);
        for route in routes.into_iter().filter(|route| done.insert(route.index)) {
            match backends::weigh(&route.backends, split.canary.weight) {
                Ok(changes) if changes.is_empty() => {}
                Ok(changes) => {
                    operations.extend(route.test());
                    operations.extend(changes);
                }
                Err(misfits) => routed
                    .problems
                    .extend(misfits.into_iter().map(|misfit| route.problem(scope, istio, misfit))),
            }
        }
    }
    if !operations.is_empty() {
        routed.edits.push(RouteEdit { object: record.object.clone(), operations });
    }
}

/// Returns the weights of the managed routes that are well formed.
pub(super) fn observed(
    scope: &RouteScope<'_>,
    istio: &IstioTrafficRouting,
    config: &IstioVirtualService,
    record: &RouteRecord,
) -> Vec<ObservedRoute> {
    let (routes, _) = managed(scope, istio, config, record);
    routes
        .into_iter()
        .filter(|route| backends::misfits(&route.backends).is_empty())
        .map(|route| {
            let shares = backends::shares(&route.backends);
            ObservedRoute {
                object: record.object.clone(),
                route: route.label(),
                canary: shares.canary,
                stable: shares.stable,
                other: shares.foreign,
            }
        })
        .collect()
}

/// A managed HTTP route.
struct Route<'a> {
    index: usize,
    name: Option<&'a str>,
    backends: Vec<Backend>,
    record: &'a RouteRecord,
}

impl Route<'_> {
    fn label(&self) -> String {
        self.name.map_or_else(|| format!("http[{}]", self.index), str::to_owned)
    }

    /// The operation that tests that the route is still where it was seen.
    fn test(&self) -> Option<Value> {
        let path = format!("/spec/http/{}/name", self.index);
        self.name.map(|name| json!({ "op": "test", "path": path, "value": name }))
    }

    fn problem(
        &self,
        scope: &RouteScope<'_>,
        istio: &IstioTrafficRouting,
        misfit: Misfit,
    ) -> RouteProblem {
        let (canary, stable) = wanted(scope, istio);
        let (message, hint) = match misfit {
            Misfit::NoCanary => (
                format!("no destination with {canary} (the canary) in route `{}`", self.label()),
                "add it with weight 0",
            ),
            Misfit::NoStable => (
                format!("no destination with {stable} (stable) in route `{}`", self.label()),
                "add it with weight 100",
            ),
            Misfit::SeveralCanaries => (
                format!(
                    "several destinations with {canary} (the canary) in route `{}`",
                    self.label()
                ),
                "keep one of them: which one is weighed would be a guess",
            ),
            Misfit::SeveralStables => (
                format!("several destinations with {stable} (stable) in route `{}`", self.label()),
                "keep one of them: which one is weighed would be a guess",
            ),
            Misfit::NoRoom(foreign) => (
                format!("other destinations of route `{}` have weight {foreign}", self.label()),
                "lower their weights: canary, stable and they must add up to 100",
            ),
        };
        RouteProblem {
            object: Some(self.record.object.clone()),
            path: format!("spec.http[{}].route", self.index),
            message,
            hint: Some(hint.to_owned()),
            missing: false,
        }
    }
}

/// What destinations are told apart by, for messages.
fn wanted(scope: &RouteScope<'_>, istio: &IstioTrafficRouting) -> (String, String) {
    match &istio.destination_rule {
        Some(rule) => (
            format!("subset `{}`", rule.canary_subset()),
            format!("subset `{}`", rule.stable_subset()),
        ),
        None => (
            format!("host `{}`", scope.canary_service.unwrap_or_default()),
            format!("host `{}`", scope.stable_service.unwrap_or_default()),
        ),
    }
}

/// Returns the routes whose weights are ours, and what is wrong with the choice.
fn managed<'a>(
    scope: &RouteScope<'_>,
    istio: &IstioTrafficRouting,
    config: &IstioVirtualService,
    record: &'a RouteRecord,
) -> (Vec<Route<'a>>, Vec<RouteProblem>) {
    let mut problems = unweighed(scope, istio, record);
    let http = record.spec.get("http").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let name_of = |index: usize| http[index].get("name").and_then(Value::as_str);
    let ours = |index: usize| name_of(index).is_some_and(|name| is_managed_name(scope, name));
    let mut indices = BTreeSet::new();
    let mut choose = |chosen: Result<usize, (String, &str)>| match chosen {
        Ok(index) => {
            indices.insert(index);
        }
        Err((message, hint)) => problems.push(RouteProblem {
            object: Some(record.object.clone()),
            path: "spec.http".into(),
            message,
            hint: Some(hint.to_owned()),
            missing: false,
        }),
    };
    let names = config.routes.as_deref().unwrap_or_default();
    if http.is_empty() {
        let hint = "add a route with a destination for the canary and one for stable";
        choose(Err(("there is no HTTP route".into(), hint)));
    } else if names.is_empty() {
        let plain: Vec<usize> = (0..http.len()).filter(|index| !ours(*index)).collect();
        choose(only(&plain));
    }
    for name in names.iter().filter(|_| !http.is_empty()) {
        let found: Vec<usize> =
            (0..http.len()).filter(|index| name_of(*index) == Some(name)).collect();
        choose(named(name, &found));
    }
    // Mirrored traffic follows the weights (routes that Argo made for `setMirrorRoute`).
    indices.extend((0..http.len()).filter(|i| ours(*i) && http[*i].get("mirror").is_some()));
    let routes = indices
        .into_iter()
        .map(|index| Route {
            index,
            name: name_of(index),
            backends: destinations(scope, istio, &http[index], &format!("/spec/http/{index}")),
            record,
        })
        .collect();
    (routes, problems)
}

/// Chooses the route if none is named: the only one that is not listed in `managedRoutes`.
fn only(plain: &[usize]) -> Result<usize, (String, &'static str)> {
    match plain {
        [only] => Ok(*only),
        [] => Err((
            "every route is listed in `managedRoutes`".into(),
            "add a route of your own, or name one in `virtualService.routes`",
        )),
        several => Err((
            format!("there are {} routes, and `virtualService.routes` names none", several.len()),
            "list the routes to weigh in `virtualService.routes`",
        )),
    }
}

fn named(name: &str, found: &[usize]) -> Result<usize, (String, &'static str)> {
    match found {
        [only] => Ok(*only),
        [] => Err((
            format!("there is no route named `{name}`"),
            "create it, or correct `virtualService.routes`; weights stay as they are",
        )),
        several => {
            Err((format!("{} routes are named `{name}`", several.len()), "rename all but one"))
        }
    }
}

fn is_managed_name(scope: &RouteScope<'_>, name: &str) -> bool {
    scope.routing.managed_routes.iter().flatten().any(|route| route.name == name)
}

/// TLS and TCP routes to our destinations would carry traffic that nobody weighs.
fn unweighed(
    scope: &RouteScope<'_>,
    istio: &IstioTrafficRouting,
    record: &RouteRecord,
) -> Vec<RouteProblem> {
    let mut problems = Vec::new();
    for protocol in ["tls", "tcp"] {
        let routes = record.spec.get(protocol).and_then(Value::as_array);
        for (index, route) in routes.into_iter().flatten().enumerate() {
            let backends = destinations(scope, istio, route, "");
            if backends.iter().any(|backend| backend.role != Role::Foreign) {
                problems.push(RouteProblem {
                    object: Some(record.object.clone()),
                    path: format!("spec.{protocol}[{index}]"),
                    message:
                        "the route leads to the canary or stable, and TLS and TCP routes cannot be \
                              weighed yet"
                            .into(),
                    hint: Some("use HTTP routes, or lead the route elsewhere".into()),
                    missing: false,
                });
            }
        }
    }
    problems
}

fn destinations(
    scope: &RouteScope<'_>,
    istio: &IstioTrafficRouting,
    route: &Value,
    pointer: &str,
) -> Vec<Backend> {
    let list = route.get("route").and_then(Value::as_array);
    let backend = |(index, item): (usize, &Value)| {
        let text = |field| item.pointer(&format!("/destination/{field}")).and_then(Value::as_str);
        let (host, subset) = (text("host"), text("subset"));
        let pointer = format!("{pointer}/route/{index}");
        let test = |field: &str, value: Option<&str>| {
            let path = format!("{pointer}/destination/{field}");
            value.map(|value| json!({ "op": "test", "path": path, "value": value }))
        };
        Backend {
            role: role(scope, istio, host, subset),
            weight: item.get("weight").and_then(Value::as_u64).and_then(|w| u32::try_from(w).ok()),
            tests: test("host", host).into_iter().chain(test("subset", subset)).collect(),
            pointer,
        }
    };
    list.into_iter().flatten().enumerate().map(backend).collect()
}

fn role(
    scope: &RouteScope<'_>,
    istio: &IstioTrafficRouting,
    host: Option<&str>,
    subset: Option<&str>,
) -> Role {
    let (canary, stable) = match &istio.destination_rule {
        Some(rule) => (subset == Some(rule.canary_subset()), subset == Some(rule.stable_subset())),
        None => {
            let is = |service: Option<&str>| {
                host.zip(service)
                    .is_some_and(|(host, service)| leads_to(host, service, scope.namespace))
            };
            (is(scope.canary_service), is(scope.stable_service))
        }
    };
    match (canary, stable) {
        (true, _) => Role::Canary,
        (false, true) => Role::Stable,
        (false, false) => Role::Foreign,
    }
}

/// Whether a host is the Service: `web`, `web.shop`, `web.shop.svc…`. Argo looks at the first part only; a Service of that name
/// in another namespace is not ours.
pub(super) fn leads_to(host: &str, service: &str, namespace: &str) -> bool {
    let mut parts = host.split('.');
    parts.next() == Some(service)
        && match (parts.next(), parts.next()) {
            (None, _) => true,
            (Some(second), None | Some("svc")) => second == namespace,
            // Such as an alias of an external zone, which Argo accepts.
            (Some(_), Some(_)) => true,
        }
}

/// Istio drops a destination without port whose Service has several.
fn port_problems(
    scope: &RouteScope<'_>,
    record: &RouteRecord,
    route: &Route<'_>,
) -> Vec<RouteProblem> {
    let list = record.spec.pointer(&format!("/http/{}/route", route.index));
    let mut problems = Vec::new();
    for (index, item) in list.and_then(Value::as_array).into_iter().flatten().enumerate() {
        let host = item.pointer("/destination/host").and_then(Value::as_str).unwrap_or_default();
        let service = host.split('.').next().unwrap_or_default();
        let ports = scope.ports.get(service).filter(|_| leads_to(host, service, scope.namespace));
        if let Some(ports) = ports
            && ports.len() > 1
            && item.pointer("/destination/port").is_none()
        {
            let ports: Vec<String> = ports.iter().map(|port| format!("`{port}`")).collect();
            problems.push(RouteProblem {
                object: Some(record.object.clone()),
                path: format!("spec.http[{}].route[{index}].destination.port", route.index),
                message: format!(
                    "is not set, and Service `{service}` has the ports {}",
                    ports.join(", ")
                ),
                hint: Some("set `port.number`".into()),
                missing: false,
            });
        }
    }
    problems
}
