//! The routes that steps make: above all others, in the order of `managedRoutes`.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use sluice_crds::rollout::steps::{HeaderMatch, RouteMatch, StringMatch};

use super::super::super::backends;
use super::super::super::{RouteRule, RuleKind, TrafficSplit};
use super::destinations::Role;
use super::select::{Protocol, Route};
use super::{Place, added};

/// Returns the operations that make the wanted routes and remove the others of ours, and the names of those that are there
/// then. `first` is the first weighed HTTP route: a made route leads where its canary destination does. Foreign routes keep
/// their content and their order.
pub(super) fn operations(
    place: Place<'_>,
    first: Option<&Route<'_>>,
    split: &TrafficSplit,
) -> (Vec<Value>, BTreeSet<String>) {
    let list = place.list(Protocol::Http);
    let own = place.own_routes();
    let live: Vec<(usize, &str)> = list
        .iter()
        .enumerate()
        .filter_map(|(index, route)| Some((index, route.get("name")?.as_str()?)))
        .filter(|(_, name)| own.contains(*name) || split.rules.iter().any(|r| r.name == **name))
        .collect();
    let wanted = first.map(|first| wanted(place, first, split)).unwrap_or_default();
    let names = wanted.iter().filter_map(|route| route["name"].as_str().map(str::to_owned));
    let names: BTreeSet<String> = names.collect();
    let in_place = live.len() == wanted.len()
        && live.iter().enumerate().all(|(place, (index, _))| place == *index)
        && wanted.iter().zip(list).all(|(wanted, route)| wanted == route);
    if in_place {
        return (Vec::new(), names);
    }
    let mut operations = Vec::new();
    for (index, name) in live.into_iter().rev() {
        let path = format!("/spec/http/{index}");
        operations.push(json!({ "op": "test", "path": format!("{path}/name"), "value": name }));
        operations.push(json!({ "op": "remove", "path": path }));
    }
    for (index, route) in wanted.into_iter().enumerate() {
        let path = format!("/spec/http/{index}");
        operations.push(json!({ "op": "add", "path": path, "value": route }));
    }
    (operations, names)
}

fn wanted(place: Place<'_>, first: &Route<'_>, split: &TrafficSplit) -> Vec<Value> {
    let position = |rule: &&RouteRule| {
        let mut listed = place.scope.routing.managed_routes.iter().flatten();
        listed.position(|route| route.name == rule.name).unwrap_or(usize::MAX)
    };
    let mut rules: Vec<&RouteRule> = split.rules.iter().collect();
    rules.sort_by_key(position);
    let Some(route) = place.list(Protocol::Http).get(first.index) else { return Vec::new() };
    let items = route.get("route").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let canary = first.backends.iter().position(|backend| backend.role == Role::Canary);
    let canary = canary.and_then(|index| items.get(index)?.get("destination")).cloned();
    let Some(canary) = canary else { return Vec::new() };
    let weighed = weighed(items, first, split);
    rules.into_iter().map(|rule| build(rule, &canary, &weighed)).collect()
}

/// The destinations of the first weighed route as they are after this edit.
fn weighed(items: &[Value], first: &Route<'_>, split: &TrafficSplit) -> Vec<Value> {
    let weights = backends::wanted(&first.backends, split);
    let mut list: Vec<Value> = items
        .iter()
        .zip(&first.backends)
        .zip(weights)
        .filter_map(|((item, backend), weight)| {
            let mut item = item.clone();
            if backend.role != Role::Foreign {
                item["weight"] = json!(weight?);
            }
            Some(item)
        })
        .collect();
    let is_there = |service: &str| {
        first.backends.iter().any(|backend| backend.role == Role::Extra(service.to_owned()))
    };
    let mut missing: Vec<_> = split.extra.iter().filter(|to| !is_there(&to.service)).collect();
    missing.sort();
    list.extend(missing.into_iter().map(|to| added(&to.service, to.weight)));
    list
}

fn build(rule: &RouteRule, canary: &Value, weighed: &[Value]) -> Value {
    match &rule.kind {
        RuleKind::Header(matches) => json!({
            "name": rule.name,
            "match": matches.iter().map(by_header).collect::<Vec<_>>(),
            "route": [{ "destination": canary, "weight": 100 }],
        }),
        RuleKind::Mirror { matches, percentage } => json!({
            "name": rule.name,
            "match": matches.iter().map(by_request).collect::<Vec<_>>(),
            "route": weighed,
            "mirror": canary,
            "mirrorPercentage": { "value": percentage },
        }),
    }
}

fn by_header(header: &HeaderMatch) -> Value {
    let value = header.header_value.as_ref().map(text).unwrap_or_default();
    json!({ "headers": { header.header_name.clone(): value } })
}

fn by_request(request: &RouteMatch) -> Value {
    let mut block = Map::new();
    if let Some(method) = &request.method {
        block.insert("method".to_owned(), text(method));
    }
    if let Some(path) = &request.path {
        block.insert("uri".to_owned(), text(path));
    }
    if let Some(headers) = request.headers.as_ref().filter(|headers| !headers.is_empty()) {
        let headers: Map<String, Value> =
            headers.iter().map(|(name, value)| (name.clone(), text(value))).collect();
        block.insert("headers".to_owned(), Value::Object(headers));
    }
    Value::Object(block)
}

/// Istio's form of a match. An empty text asks for nothing, as in Argo.
fn text(value: &StringMatch) -> Value {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    match (given(&value.exact), given(&value.prefix), given(&value.regex)) {
        (Some(text), _, _) => json!({ "exact": text }),
        (None, Some(text), _) => json!({ "prefix": text }),
        (None, None, Some(text)) => json!({ "regex": text }),
        (None, None, None) => json!({}),
    }
}
