//! What was granted, and what was used.

use std::collections::BTreeSet;

use serde_json::Value;
use sluice_e2e::recorder::Request;

use crate::helm::words;

/// A resource, with its subresource behind a slash, and a verb.
pub(crate) type Right = (String, String);

/// Everything that Roles and ClusterRoles of a list of objects allow.
pub(crate) fn granted(objects: &[Value]) -> BTreeSet<Right> {
    let mut rights = BTreeSet::new();
    for rule in objects.iter().flat_map(|object| object["rules"].as_array()).flatten() {
        for resource in words(&rule["resources"]) {
            let verbs = words(&rule["verbs"]).into_iter();
            rights.extend(verbs.map(|verb| (resource.to_owned(), verb.to_owned())));
        }
    }
    rights
}

/// Everything that was asked for; discovery is open to all who have an account.
pub(crate) fn used(requests: &[Request]) -> BTreeSet<Right> {
    let of = |request: &Request| {
        let target = request.object_ref.clone()?;
        let resource = match target.subresource.as_str() {
            "" => target.resource,
            subresource => format!("{}/{subresource}", target.resource),
        };
        Some((resource, request.verb.clone()))
    };
    requests.iter().filter_map(of).collect()
}

/// Those of them that are watches of every controller: workloads are watched once a Rollout refers to one.
pub(crate) fn watches(rights: &BTreeSet<Right>) -> BTreeSet<Right> {
    let on_demand = |resource: &str| ["deployments", "podtemplates"].contains(&resource);
    let watches = rights.iter().filter(|(_, verb)| verb == "watch");
    watches.filter(|(resource, _)| !on_demand(resource)).cloned().collect()
}

/// The table of rights in the documentation.
pub(crate) fn documented() -> BTreeSet<Right> {
    let text = include_str!("../../../docs/install.md");
    let mut rights = BTreeSet::new();
    for line in text.lines().filter(|line| line.starts_with("| `")) {
        let columns: Vec<_> = line.split('|').map(str::trim).collect();
        let [_, resources, verbs, ..] = columns.as_slice() else { continue };
        for resource in resources.split(", ").map(|name| name.trim_matches('`')) {
            let verbs = verbs.split(", ").map(|verb| (resource.to_owned(), verb.to_owned()));
            rights.extend(verbs);
        }
    }
    rights
}

/// Requests that were refused for want of a right.
pub(crate) fn refused(requests: &[Request]) -> Vec<&str> {
    let is_refused = |r: &&Request| r.response_status.as_ref().is_some_and(|a| a.code == 403);
    requests.iter().filter(is_refused).map(|request| request.uri.as_str()).collect()
}
