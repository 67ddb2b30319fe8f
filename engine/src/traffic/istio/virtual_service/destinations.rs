//! Who a destination of a route is.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::super::super::RouteProblem;
use super::super::super::backends::Backend;
pub(super) use super::super::super::backends::Role;
use super::Place;
use super::select::Route;

/// Returns the destinations of a route; `pointer` is where the route is.
pub(super) fn backends_of(
    place: Place<'_>,
    route: &Value,
    pointer: &str,
    extra: &BTreeSet<String>,
) -> Vec<Backend> {
    let mut known = place.note().made(place.scope.rollout).destinations;
    known.extend(extra.iter().cloned());
    let list = route.get("route").and_then(Value::as_array);
    let backend = |(index, item): (usize, &Value)| {
        let to = item.get("destination").unwrap_or(&Value::Null);
        let pointer = format!("{pointer}/route/{index}");
        let test = |field: &str| {
            let path = format!("{pointer}/destination/{field}");
            let value = to.get(field).and_then(Value::as_str);
            value.map(|value| json!({ "op": "test", "path": path, "value": value }))
        };
        let role = match role_of(place, to) {
            Role::Foreign => is_extra(place, to, &known).map_or(Role::Foreign, Role::Extra),
            role => role,
        };
        Backend {
            role,
            weight: item.get("weight").and_then(Value::as_u64).and_then(|w| u32::try_from(w).ok()),
            tests: test("host").into_iter().chain(test("subset")).collect(),
            pointer,
        }
    };
    list.into_iter().flatten().enumerate().map(backend).collect()
}

fn is_extra(place: Place<'_>, to: &Value, known: &BTreeSet<String>) -> Option<String> {
    let host = to.get("host").and_then(Value::as_str).filter(|_| to.get("subset").is_none())?;
    known.iter().find(|service| leads_to(host, service, place.scope.namespace)).cloned()
}

/// Returns whether a destination is the canary's, the stable one's, or neither.
pub(super) fn role_of(place: Place<'_>, to: &Value) -> Role {
    let (host, subset) =
        (to.get("host").and_then(Value::as_str), to.get("subset").and_then(Value::as_str));
    let scope = place.scope;
    let (canary, stable) = match &place.istio.destination_rule {
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

/// What destinations are told apart by, for messages.
pub(super) fn wanted(place: Place<'_>) -> (String, String) {
    match &place.istio.destination_rule {
        Some(rule) => (
            format!("subset `{}`", rule.canary_subset()),
            format!("subset `{}`", rule.stable_subset()),
        ),
        None => (
            format!("host `{}`", place.scope.canary_service.unwrap_or_default()),
            format!("host `{}`", place.scope.stable_service.unwrap_or_default()),
        ),
    }
}

/// Whether a host is the Service: `web`, `web.shop`, `web.shop.svc…`. Argo looks at the first part only; a Service of that name
/// in another namespace is not ours.
pub(in super::super) fn leads_to(host: &str, service: &str, namespace: &str) -> bool {
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
pub(super) fn port_problems(place: Place<'_>, route: &Route<'_>) -> Vec<RouteProblem> {
    let list = place.list(route.protocol).get(route.index).and_then(|route| route.get("route"));
    let mut problems = Vec::new();
    for (index, item) in list.and_then(Value::as_array).into_iter().flatten().enumerate() {
        let host = item.pointer("/destination/host").and_then(Value::as_str).unwrap_or_default();
        let service = host.split('.').next().unwrap_or_default();
        let namespace = place.scope.namespace;
        let ports = place.scope.ports.get(service).filter(|_| leads_to(host, service, namespace));
        if let Some(ports) = ports
            && ports.len() > 1
            && item.pointer("/destination/port").is_none()
        {
            let ports: Vec<String> = ports.iter().map(|port| format!("`{port}`")).collect();
            problems.push(place.problem(
                format!("{}.route[{index}].destination.port", route.path()),
                format!("is not set, and Service `{service}` has the ports {}", ports.join(", ")),
                "set `port.number`",
            ));
        }
    }
    problems
}
