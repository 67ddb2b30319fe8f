//! Whether proxies use a VirtualService as it is, by what istiod tells about them (`/debug/syncz`, `/debug/config_dump`).
//!
//! istiod names the VirtualService in the metadata of each route that it makes of one. A VirtualService is in use if every proxy
//! that knows it has exactly its HTTP routes, each with its weights, and has acknowledged the routes that were sent last. TLS and
//! TCP routes are parts of listeners and are not looked at: a VirtualService with such routes is never confirmed this way, and the
//! configured delay decides.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::view::RouteRecord;

/// What istiod tells of one proxy.
#[derive(Clone, PartialEq, Debug)]
pub struct Proxy {
    /// Its id.
    pub id: String,
    /// Whether it has acknowledged the routes that were sent to it last.
    pub acknowledged: bool,
    /// Its routes: `config_dump` with `types=rds`.
    pub routes: Value,
}

/// Destinations of a route with their weights, by subset and first part of the host; those without weight are left out.
type Weights = BTreeMap<(String, String), u64>;

/// Returns whether every proxy that knows the VirtualService uses it as it is; `None` if none knows it, or if that cannot be told.
pub fn confirms(route: &RouteRecord, proxies: &[Proxy]) -> Option<bool> {
    let is_empty =
        |section: &str| route.spec.get(section).and_then(Value::as_array).is_none_or(Vec::is_empty);
    if !is_empty("tls") || !is_empty("tcp") || is_empty("http") {
        return None;
    }
    let wanted = wanted(&route.spec)?;
    let mut known = false;
    for proxy in proxies {
        for host in hosts(&proxy.routes) {
            let found: Vec<&Value> =
                list(host, ["routes", "routes"]).filter(|r| is_of(r, route)).collect();
            if found.is_empty() {
                continue;
            }
            known = true;
            if !proxy.acknowledged || !agrees(&found, &wanted) {
                return Some(false);
            }
        }
    }
    known.then_some(true)
}

fn agrees(found: &[&Value], wanted: &[(String, Weights)]) -> bool {
    let name = |route: &Value| {
        // A match block with a name of its own is appended to the route's.
        let name = route["name"].as_str().unwrap_or_default();
        let of = wanted.iter().map(|(of, _)| of.as_str());
        let whole = of.clone().find(|of| *of == name);
        let part = of.filter(|of| !of.is_empty()).find(|of| name.starts_with(&format!("{of}.")));
        whole.or(part).map(str::to_owned)
    };
    let mut seen = BTreeSet::new();
    for route in found {
        let (Some(name), Some(weights)) = (name(route), weights_of(route)) else { return false };
        if !wanted.iter().any(|(of, wanted)| *of == name && *wanted == weights) {
            return false;
        }
        seen.insert(name);
    }
    wanted.iter().all(|(name, _)| seen.contains(name))
}

/// The HTTP routes of a VirtualService by name; `None` if one of them leads to no Service.
fn wanted(spec: &Value) -> Option<Vec<(String, Weights)>> {
    let http = spec.get("http")?.as_array()?;
    http.iter()
        .map(|route| {
            let name = route.get("name").and_then(Value::as_str).unwrap_or_default();
            let destinations = route.get("route")?.as_array()?;
            let mut weights = Weights::new();
            for to in destinations {
                let only = if destinations.len() == 1 { 100 } else { 0 };
                let weight = to.get("weight").and_then(Value::as_u64).unwrap_or(only);
                let host = to.pointer("/destination/host")?.as_str()?;
                let subset = to.pointer("/destination/subset").and_then(Value::as_str);
                add(&mut weights, subset.unwrap_or_default(), host, weight);
            }
            Some((name.to_owned(), alone(weights)))
        })
        .collect()
}

fn add(weights: &mut Weights, subset: &str, host: &str, weight: u64) {
    let short = host.split('.').next().unwrap_or_default();
    if weight > 0 {
        *weights.entry((subset.to_owned(), short.to_owned())).or_default() += weight;
    }
}

/// istiod writes a route with one destination without its weight.
fn alone(mut weights: Weights) -> Weights {
    if weights.len() == 1 {
        weights.values_mut().for_each(|weight| *weight = 100);
    }
    weights
}

/// The weights of a route as a proxy has it; `None` for one that leads to no cluster.
fn weights_of(route: &Value) -> Option<Weights> {
    let action = route.get("route")?;
    let mut weights = Weights::new();
    let mut cluster = |name: &str, weight: u64| {
        // `outbound|<port>|<subset>|<host>`
        let mut parts = name.split('|').skip(2);
        let subset = parts.next().unwrap_or_default();
        add(&mut weights, subset, parts.next().unwrap_or_default(), weight);
    };
    if let Some(name) = action.get("cluster").and_then(Value::as_str) {
        cluster(name, 100);
    } else {
        let all = either(action, ["weightedClusters", "weighted_clusters"])?;
        for to in all.get("clusters")?.as_array()? {
            cluster(to.get("name")?.as_str()?, to.get("weight").and_then(Value::as_u64)?);
        }
    }
    Some(alone(weights))
}

/// Whether istiod made the route of the VirtualService.
fn is_of(route: &Value, of: &RouteRecord) -> bool {
    let metadata = route.get("metadata");
    let metadata = metadata.and_then(|m| either(m, ["filterMetadata", "filter_metadata"]));
    let config = metadata.and_then(|m| m.get("istio")?.get("config")?.as_str());
    let namespace = of.object.namespace.as_deref().unwrap_or_default();
    let suffix = format!("/namespaces/{namespace}/virtual-service/{}", of.object.name);
    config.is_some_and(|config| config.ends_with(&suffix))
}

fn hosts(dump: &Value) -> impl Iterator<Item = &Value> {
    let configs = list(dump, ["configs", "configs"]);
    // Either the route configurations themselves, or lists of them as Envoy's own dump has it.
    let nested = |config| {
        let inner = list(config, ["dynamicRouteConfigs", "dynamic_route_configs"]);
        let inner = inner.filter_map(|of| either(of, ["routeConfig", "route_config"]));
        std::iter::once(config).chain(inner)
    };
    configs.flat_map(nested).flat_map(|config| list(config, ["virtualHosts", "virtual_hosts"]))
}

fn either<'a>(value: &'a Value, names: [&str; 2]) -> Option<&'a Value> {
    names.into_iter().find_map(|name| value.get(name))
}

fn list<'a>(value: &'a Value, names: [&str; 2]) -> impl Iterator<Item = &'a Value> + use<'a> {
    either(value, names).and_then(Value::as_array).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;
    use sluice_crds::object::{Kind, Meta, ObjectRef};

    use super::*;

    fn service(http: Value) -> RouteRecord {
        RouteRecord {
            object: ObjectRef::namespaced(Kind::VIRTUAL_SERVICE, "shop", "web"),
            meta: Meta::default(),
            spec: Arc::new(json!({ "http": http })),
        }
    }

    fn weighted(canary: u32) -> Value {
        json!([{ "name": "primary", "route": [
            { "destination": { "host": "web-stable" }, "weight": 100 - canary },
            { "destination": { "host": "web-canary.shop.svc.cluster.local" }, "weight": canary },
        ] }])
    }

    fn route(name: &str, of: &str, action: Value) -> Value {
        let config = format!("/apis/networking.istio.io/v1/namespaces/shop/virtual-service/{of}");
        json!({ "name": name, "route": action,
            "metadata": { "filterMetadata": { "istio": { "config": config } } } })
    }

    fn clusters(weights: &[(&str, u32)]) -> Value {
        let clusters = weights.iter().map(|(service, weight)| {
            json!({ "name": format!("outbound|80||{service}.shop.svc.cluster.local"), "weight": weight })
        });
        json!({ "weightedClusters": { "clusters": clusters.collect::<Vec<_>>() } })
    }

    fn proxy(acknowledged: bool, routes: Vec<Value>) -> Proxy {
        let routes = json!({ "configs": [{ "virtualHosts": [
            { "domains": ["other"], "routes": [route("primary", "other", clusters(&[("x", 1)]))] },
            { "domains": ["web"], "routes": routes },
        ] }] });
        Proxy { id: "gateway".into(), acknowledged, routes }
    }

    fn check(http: Value, proxies: &[Proxy], expected: Option<bool>) {
        assert_eq!(confirms(&service(http), proxies), expected);
    }

    #[test]
    fn every_proxy_that_knows_the_routes_must_have_their_weights_and_have_said_so() {
        let split = |canary| clusters(&[("web-stable", 100 - canary), ("web-canary", canary)]);
        let new = || proxy(true, vec![route("primary", "web", split(20))]);
        let old = proxy(true, vec![route("primary", "web", split(10))]);
        let silent = proxy(false, vec![route("primary", "web", split(20))]);
        check(weighted(20), &[new()], Some(true));
        check(weighted(20), &[new(), old], Some(false));
        check(weighted(20), &[new(), silent], Some(false));
        check(weighted(20), &[proxy(true, Vec::new())], None);
        check(weighted(20), &[], None);
    }

    #[test]
    fn a_destination_without_weight_is_not_in_proxies() {
        let plain = json!({ "cluster": "outbound|80||web-stable.shop.svc.cluster.local" });
        check(
            weighted(0),
            &[proxy(true, vec![route("primary", "web", plain.clone())])],
            Some(true),
        );
        check(weighted(20), &[proxy(true, vec![route("primary", "web", plain)])], Some(false));
    }

    #[test]
    fn a_route_of_a_step_must_be_there_or_gone() {
        let primary =
            || route("primary", "web", clusters(&[("web-stable", 80), ("web-canary", 20)]));
        let staff = || {
            route(
                "staff",
                "web",
                json!({ "cluster": "outbound|80||web-canary.shop.svc.cluster.local" }),
            )
        };
        let mut http = weighted(20);
        let step = json!({ "name": "staff", "route": [{ "destination": { "host": "web-canary" }, "weight": 100 }] });
        check(http.clone(), &[proxy(true, vec![staff(), primary()])], Some(false));
        http.as_array_mut().unwrap().insert(0, step);
        check(http.clone(), &[proxy(true, vec![primary()])], Some(false));
        check(http, &[proxy(true, vec![staff(), primary()])], Some(true));
    }

    #[test]
    fn subsets_are_told_apart() {
        let http = json!([{ "route": [
            { "destination": { "host": "web", "subset": "stable" }, "weight": 70 },
            { "destination": { "host": "web", "subset": "canary" }, "weight": 30 },
        ] }]);
        let action = |canary: u32| {
            json!({ "weighted_clusters": { "clusters": [
                { "name": "outbound|80|stable|web.shop.svc.cluster.local", "weight": 100 - canary },
                { "name": "outbound|80|canary|web.shop.svc.cluster.local", "weight": canary },
            ] } })
        };
        check(http.clone(), &[proxy(true, vec![route("", "web", action(30))])], Some(true));
        check(http, &[proxy(true, vec![route("", "web", action(70))])], Some(false));
    }

    #[test]
    fn what_is_in_listeners_cannot_be_told() {
        let mut record = service(weighted(20));
        record.spec = Arc::new(json!({ "http": weighted(20), "tcp": [{ "route": [] }] }));
        let split = clusters(&[("web-stable", 80), ("web-canary", 20)]);
        assert_eq!(confirms(&record, &[proxy(true, vec![route("primary", "web", split)])]), None);
    }
}
