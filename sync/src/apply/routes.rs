//! Weights and managed routes of an Istio VirtualService: carried over from the live object, or set for a new one.
//!
//! Worked example. Git says `web` 100, `web-canary` 0 and adds `retries`; live is 60 to 40. The body says 60, 40, `retries`.

use serde_json::{Value, json};
use sluice_engine::owned_fields::ManagedWeights;
use sluice_engine::traffic::made::{Made, Note};

const SECTIONS: [&str; 3] = ["http", "tls", "tcp"];

/// Copies the live weight of each destination of the managed routes into the body.
pub(super) fn carry_weights(weights: &ManagedWeights, body: &mut Value, live: &Value) {
    let made = Note::of(live).all();
    let is_above = |route: &Value| {
        let name = route["name"].as_str();
        name.is_some_and(|name| {
            weights.above.iter().any(|n| n == name) || made.routes.contains(name)
        })
    };
    for section in SECTIONS {
        let old: Vec<&Value> = list(live, section).iter().filter(|r| !is_above(r)).collect();
        let Some(Value::Array(new)) = body.pointer_mut(&format!("/spec/{section}")) else {
            continue;
        };
        let new: Vec<&mut Value> = new.iter_mut().filter(|route| !is_above(route)).collect();
        let only = new.len() == 1 && old.len() == 1;
        for (index, route) in new.into_iter().enumerate() {
            if !is_managed(weights, section, route, only) {
                continue;
            }
            let name = route.get("name").cloned();
            let partner = match &name {
                Some(name) => old.iter().find(|r| r.get("name") == Some(name)),
                None => None,
            };
            let by_place =
                || old.get(index).filter(|_| old.len() == index + 1 || only || section != "http");
            if let Some(partner) =
                partner.or_else(|| if name.is_none() { by_place() } else { None })
            {
                carry_route(weights, &made, route, partner);
            }
        }
    }
}

fn carry_route(weights: &ManagedWeights, made: &Made, route: &mut Value, live: &Value) {
    let old: Vec<Value> = live.get("route").and_then(Value::as_array).cloned().unwrap_or_default();
    let Some(Value::Array(new)) = route.get_mut("route") else { return };
    let mut complete = true;
    for destination in new.iter_mut() {
        let partner = old.iter().find(|o| address(o) == address(destination));
        let Some(fields) = destination.as_object_mut() else { continue };
        match partner {
            Some(partner) => match partner.get("weight") {
                Some(weight) => {
                    fields.insert("weight".to_owned(), weight.clone());
                }
                None => {
                    fields.remove("weight");
                }
            },
            None => {
                complete = false;
                fields.insert("weight".to_owned(), json!(0));
            }
        }
    }
    // Destinations that the engine added are not in Git, and stay.
    let added = |o: &&Value| {
        let (host, _) = address(o);
        let service = host.as_str().and_then(|host| host.split('.').next()).unwrap_or_default();
        made.destinations.contains(service) && !new.iter().any(|d| address(d) == address(o))
    };
    let added: Vec<Value> = old.iter().filter(added).cloned().collect();
    new.extend(added);
    if !complete {
        // Git names other destinations than are live: what is missing to 100 goes to the stable version.
        let sum: i64 = new.iter().filter(|d| !is_stable(weights, d)).map(weight).sum();
        if let Some(stable) = new.iter_mut().find(|d| is_stable(weights, d)) {
            stable["weight"] = json!((100 - sum).max(0));
        }
    }
}

/// Copies the routes that the engine made from the live object into the body, and takes Git's form of them out.
pub(super) fn carry_routes(names: &[String], body: &mut Value, live: &Value) {
    let mut names = names.to_vec();
    names.extend(Note::of(live).all().routes);
    remove_routes(&names, body);
    let made: Vec<Value> =
        list(live, "http").iter().filter(|route| is_named(&names, route)).cloned().collect();
    if let Some(Value::Array(routes)) = body.pointer_mut("/spec/http") {
        // They come first: the first route that matches a request takes it.
        routes.splice(0..0, made);
    }
}

/// Takes the routes that only the engine makes out of the body.
pub(super) fn remove_routes(names: &[String], body: &mut Value) {
    if let Some(Value::Array(routes)) = body.pointer_mut("/spec/http") {
        routes.retain(|route| !is_named(names, route));
    }
}

fn is_named(names: &[String], route: &Value) -> bool {
    route["name"].as_str().is_some_and(|name| names.iter().any(|n| n == name))
}

/// Returns the routes that only the engine makes, for the audit.
pub(super) fn made(names: &[String], body: &Value) -> Vec<(String, Value)> {
    let routes = list(body, "http").iter();
    let made = routes.filter(|route| is_named(names, route)).cloned().collect();
    vec![("routes of steps".to_owned(), Value::Array(made))]
}

/// Gives all weight of the managed routes to the stable version.
pub(super) fn initial_weights(weights: &ManagedWeights, body: &mut Value) {
    for section in SECTIONS {
        let Some(Value::Array(routes)) = body.pointer_mut(&format!("/spec/{section}")) else {
            continue;
        };
        let only = routes.len() == 1;
        for route in routes {
            if !is_managed(weights, section, route, only) {
                continue;
            }
            let Some(Value::Array(destinations)) = route.get_mut("route") else { continue };
            let with_canary = destinations.iter().any(|d| is_canary(weights, d));
            if !with_canary || !destinations.iter().any(|d| is_stable(weights, d)) {
                continue;
            }
            for destination in destinations {
                let weight = if is_stable(weights, destination) { 100 } else { 0 };
                destination["weight"] = json!(weight);
            }
        }
    }
}

/// Returns the weights of the managed routes by route and destination, for the audit.
pub(super) fn weights(weights: &ManagedWeights, body: &Value) -> Vec<(String, Value)> {
    let mut all = Vec::new();
    for section in SECTIONS {
        let above = |route: &&Value| section == "http" && is_named(&weights.above, route);
        let routes: Vec<&Value> = list(body, section).iter().filter(|r| !above(r)).collect();
        let only = routes.len() == 1;
        for (index, route) in routes.into_iter().enumerate() {
            if !is_managed(weights, section, route, only) {
                continue;
            }
            let place = match section {
                "http" => index.to_string(),
                _ => format!("{section}[{index}]"),
            };
            let name = route["name"].as_str().map_or(place, str::to_owned);
            let destinations = route.get("route").and_then(Value::as_array);
            for destination in destinations.into_iter().flatten() {
                let (host, subset) = address(destination);
                let place = format!(
                    "weight of {name}/{}/{}",
                    host.as_str().unwrap_or_default(),
                    subset.as_str().unwrap_or_default()
                );
                all.push((place, json!(weight(destination))));
            }
        }
    }
    all
}

fn is_managed(weights: &ManagedWeights, section: &str, route: &Value, only: bool) -> bool {
    if section != "http" {
        return is_split(weights, route);
    }
    if weights.http.is_empty() {
        return only || is_split(weights, route);
    }
    route["name"].as_str().is_some_and(|name| weights.http.iter().any(|n| n == name))
}

/// Without names the managed route is the one that has both destinations; the engine's own routes may stand beside it.
fn is_split(weights: &ManagedWeights, route: &Value) -> bool {
    let destinations = route.get("route").and_then(Value::as_array);
    destinations.is_some_and(|list| {
        list.iter().any(|d| is_stable(weights, d)) && list.iter().any(|d| is_canary(weights, d))
    })
}

fn is_stable(weights: &ManagedWeights, destination: &Value) -> bool {
    let (host, subset) = address(destination);
    weights.stable.matches(host.as_str(), subset.as_str())
}

fn is_canary(weights: &ManagedWeights, destination: &Value) -> bool {
    let (host, subset) = address(destination);
    weights.canary.matches(host.as_str(), subset.as_str())
}

fn address(destination: &Value) -> (Value, Value) {
    (destination["destination"]["host"].clone(), destination["destination"]["subset"].clone())
}

fn weight(destination: &Value) -> i64 {
    destination["weight"].as_i64().unwrap_or(0)
}

fn list<'a>(service: &'a Value, section: &str) -> &'a [Value] {
    let found = service.pointer(&format!("/spec/{section}")).and_then(Value::as_array);
    found.map_or(&[], Vec::as_slice)
}
