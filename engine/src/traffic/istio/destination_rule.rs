//! The hash labels of a DestinationRule's two subsets.

use serde_json::{Value, json};
use sluice_crds::labels::POD_TEMPLATE_HASH;
use sluice_crds::rollout::traffic_routing::IstioTrafficRouting;

use super::super::made::{Made, Note};
use super::super::{Resolved, RouteEdit, RouteProblem, RouteScope, Routed, TrafficSplit};
use crate::view::RouteRecord;

/// Returns what is wrong with the subsets.
pub(super) fn check(istio: &IstioTrafficRouting, record: &RouteRecord) -> Vec<RouteProblem> {
    names(istio)
        .into_iter()
        .filter_map(|(field, name)| subset(record, field, name).err().map(|problem| *problem))
        .collect()
}

/// Adds the edit that makes the subsets select their hashes, and that makes a subset for each extra destination, named after
/// its Service; an empty hash removes the label.
pub(super) fn aim(
    scope: &RouteScope<'_>,
    istio: &IstioTrafficRouting,
    split: &TrafficSplit,
    record: &RouteRecord,
    routed: &mut Routed,
) {
    let mut operations = Vec::new();
    let hashes = [&split.canary.hash, &split.stable.hash];
    for ((field, name), hash) in names(istio).into_iter().zip(hashes) {
        match subset(record, field, name) {
            Ok((index, subset)) => operations.extend(relabel(index, name, subset, hash)),
            Err(problem) => routed.problems.push(*problem),
        }
    }
    operations.extend(extra(scope, split, record));
    if !operations.is_empty() {
        routed.edits.push(RouteEdit { object: record.object.clone(), operations });
    }
}

/// The subsets of extra destinations: those of ours that are not wanted go, those that are missing come at the end.
fn extra(scope: &RouteScope<'_>, split: &TrafficSplit, record: &RouteRecord) -> Vec<Value> {
    let note = Note::read(&record.meta.annotations);
    let known = note.made(scope.rollout).subsets;
    let subsets = record.spec.get("subsets").and_then(Value::as_array);
    let subsets = subsets.map_or(&[][..], Vec::as_slice);
    let name_of = |subset: &Value| subset.get("name").and_then(Value::as_str).map(str::to_owned);
    let mut operations = Vec::new();
    for to in &split.extra {
        let found = subsets.iter().enumerate();
        let mut found = found.filter(|(_, subset)| name_of(subset).as_ref() == Some(&to.service));
        if let Some((index, subset)) = found.next() {
            operations.extend(relabel(index, &to.service, subset, &to.hash));
        }
    }
    let unwanted =
        |name: &String| known.contains(name) && !split.extra.iter().any(|to| to.service == *name);
    for (index, subset) in subsets.iter().enumerate().rev() {
        let Some(name) = name_of(subset).filter(unwanted) else { continue };
        let path = format!("/spec/subsets/{index}");
        operations.push(json!({ "op": "test", "path": format!("{path}/name"), "value": name }));
        operations.push(json!({ "op": "remove", "path": path }));
    }
    let mut made = Made::default();
    for to in &split.extra {
        let there = subsets.iter().any(|subset| name_of(subset).as_ref() == Some(&to.service));
        if !there {
            let subset = json!({ "name": to.service, "labels": { POD_TEMPLATE_HASH: to.hash } });
            operations.push(json!({ "op": "add", "path": "/spec/subsets/-", "value": subset }));
        }
        if !there || known.contains(&to.service) {
            made.subsets.insert(to.service.clone());
        }
    }
    operations.extend(note.change(scope.rollout, made));
    operations
}

/// Returns the hashes that the subsets select; `None` if there are no such subsets.
pub(super) fn resolves(istio: &IstioTrafficRouting, record: &RouteRecord) -> Option<Resolved> {
    let [(canary_field, canary), (stable_field, stable)] = names(istio);
    let (_, canary) = subset(record, canary_field, canary).ok()?;
    let (_, stable) = subset(record, stable_field, stable).ok()?;
    Some(Resolved {
        object: record.object.clone(),
        canary: hash_of(canary).map(str::to_owned),
        stable: hash_of(stable).map(str::to_owned),
    })
}

fn names(istio: &IstioTrafficRouting) -> [(&'static str, &str); 2] {
    let rule = istio.destination_rule.as_ref();
    [
        ("canarySubsetName", rule.map_or("canary", |rule| rule.canary_subset())),
        ("stableSubsetName", rule.map_or("stable", |rule| rule.stable_subset())),
    ]
}

fn hash_of(subset: &Value) -> Option<&str> {
    subset.get("labels")?.get(POD_TEMPLATE_HASH)?.as_str()
}

fn subset<'a>(
    record: &'a RouteRecord,
    field: &str,
    name: &str,
) -> Result<(usize, &'a Value), Box<RouteProblem>> {
    let subsets = record.spec.get("subsets").and_then(Value::as_array);
    let mut found = subsets
        .into_iter()
        .flatten()
        .enumerate()
        .filter(|(_, subset)| subset.get("name").and_then(Value::as_str) == Some(name));
    let (message, hint) = match (found.next(), found.next()) {
        (Some(only), None) => return Ok(only),
        (None, _) => (
            format!("there is no subset named `{name}`"),
            format!("add `- name: {name}`, or correct `destinationRule.{field}`"),
        ),
        (Some(_), Some(_)) => {
            (format!("several subsets are named `{name}`"), "keep one of them".to_owned())
        }
    };
    Err(Box::new(RouteProblem {
        object: Some(record.object.clone()),
        path: "spec.subsets".into(),
        message,
        hint: Some(hint),
        missing: false,
    }))
}

fn relabel(index: usize, name: &str, subset: &Value, hash: &str) -> Vec<Value> {
    let wanted = (!hash.is_empty()).then_some(hash);
    if hash_of(subset) == wanted {
        return Vec::new();
    }
    let pointer = format!("/spec/subsets/{index}");
    let label = format!("{pointer}/labels/{POD_TEMPLATE_HASH}");
    let change = match wanted {
        None => json!({ "op": "remove", "path": label }),
        Some(hash) if subset.get("labels").is_some_and(Value::is_object) => {
            json!({ "op": "add", "path": label, "value": hash })
        }
        Some(hash) => {
            let labels = json!({ POD_TEMPLATE_HASH: hash });
            json!({ "op": "add", "path": format!("{pointer}/labels"), "value": labels })
        }
    };
    vec![json!({ "op": "test", "path": format!("{pointer}/name"), "value": name }), change]
}
