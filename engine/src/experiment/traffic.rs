//! Traffic that a Rollout sends to versions of its Experiment (`weight` of a step's template): Pods stay until it is gone (S5).

use chrono::{DateTime, Utc};
use serde_json::Value;
use sluice_crds::labels;
use sluice_crds::object::Kind;

use crate::view::{ExperimentView, Lookup};

/// Why Pods stay although their version is over.
pub(super) struct Hold {
    pub(super) what: String,
    /// When that ends, if it is known.
    pub(super) until: Option<DateTime<Utc>>,
}

/// Returns what keeps the Pods behind the Service: weight on it, or weight that left it a moment ago.
pub(super) fn hold(view: &ExperimentView, service: &str) -> Option<Hold> {
    let mut settled: Option<DateTime<Utc>> = None;
    for (object, lookup) in &view.routes {
        let route = match lookup {
            Lookup::Present(route) => route,
            Lookup::Unknown => {
                return Some(Hold { what: format!("the first reading of {object}"), until: None });
            }
            Lookup::Absent | Lookup::NoKind => continue,
        };
        if object.kind != Kind::VIRTUAL_SERVICE {
            continue;
        }
        let weight = weight_to(&route.spec, service);
        if weight > 0 {
            let what = format!("{object} to send nothing to `{service}`; it sends {weight} %");
            return Some(Hold { what, until: None });
        }
        let routed = route.meta.annotations.get(labels::ROUTED_AT);
        let routed = routed.and_then(|at| DateTime::parse_from_rfc3339(at).ok());
        settled = settled.max(routed.map(|at| at.to_utc() + view.config.route_confirmation));
    }
    let until = settled.filter(|at| view.now < *at)?;
    let what = format!("proxies to learn that `{service}` gets nothing any more");
    Some(Hold { what, until: Some(until) })
}

/// The greatest share that a route of the VirtualService sends to the Service, or to the subset of its name.
fn weight_to(spec: &Value, service: &str) -> i64 {
    let section = |name: &str| spec[name].as_array().into_iter().flatten();
    let routes = section("http").chain(section("tls")).chain(section("tcp"));
    let destinations = routes.flat_map(|route| {
        let all = route["route"].as_array().map(Vec::as_slice).unwrap_or_default();
        let only = if all.len() == 1 { 100 } else { 0 };
        all.iter().map(move |to| (&to["destination"], to["weight"].as_i64().unwrap_or(only)))
    });
    let is_it = |to: &Value| {
        let host = to["host"].as_str().unwrap_or_default();
        host.split('.').next() == Some(service) || to["subset"].as_str() == Some(service)
    };
    destinations.filter(|(to, _)| is_it(to)).map(|(_, weight)| weight).max().unwrap_or(0)
}
