//! `antiAffinity`: Pods of a new version are kept off the nodes of the stable version's (`spec-rollouts` 2.7).
//!
//! A term is put into the Pod template of the new ReplicaSet. It is no part of the revision: the hash is that of the user's
//! template, and a comparison of templates leaves the term out. A term that names another than the present stable revision is
//! replaced, and removed after promotion; Pods that live are not moved.

use serde_json::{Value, json};
use sluice_crds::labels::POD_TEMPLATE_HASH;
use sluice_crds::rollout::strategy::AntiAffinity;

use super::action::{Action, Target};
use super::situation::Roles;

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
const TOPOLOGY: &str = "kubernetes.io/hostname";

/// Returns the affinity that the new ReplicaSet's Pods get beside the user's own, if the strategy asks for any.
pub(crate) fn wanted(s: &Roles<'_>) -> Option<Value> {
    let own = s.rollout.spec.template.as_ref().and_then(|t| t.pointer("/spec/affinity"));
    let (Some(asked), Some(stable), false) = (asked(s), s.stable_hash, s.is_promoted()) else {
        return own.cloned();
    };
    let mut affinity = own.filter(|own| own.is_object()).cloned().unwrap_or_else(|| json!({}));
    let term = json!({
        "labelSelector": {
            "matchExpressions": [
                { "key": POD_TEMPLATE_HASH, "operator": "In", "values": [stable] },
            ],
        },
        "namespaces": [s.rollout.meta.namespace],
        "topologyKey": TOPOLOGY,
    });
    let preferred = asked.preferred_during_scheduling_ignored_during_execution.as_ref();
    let (field, entry) = match preferred {
        Some(preferred) => {
            let weight = preferred.weight.unwrap_or(1);
            (PREFERRED, json!({ "weight": weight, "podAffinityTerm": term }))
        }
        None => (REQUIRED, term),
    };
    if !affinity["podAntiAffinity"].is_object() {
        affinity["podAntiAffinity"] = json!({});
    }
    let list = &mut affinity["podAntiAffinity"][field];
    match list {
        Value::Array(entries) => entries.push(entry),
        _ => *list = json!([entry]),
    }
    Some(affinity)
}

fn asked<'a>(s: &Roles<'a>) -> Option<&'a AntiAffinity> {
    let strategy = &s.rollout.spec.strategy;
    let canary = strategy.canary.as_deref().and_then(|canary| canary.anti_affinity.as_ref());
    canary.or_else(|| strategy.blue_green.as_deref().and_then(|b| b.anti_affinity.as_ref()))
}

/// Returns the update of the current ReplicaSet's affinity, if a term in it names another than the present stable revision.
pub(crate) fn update(s: &Roles<'_>) -> Option<Action> {
    let current = s.current.filter(|current| current.meta.deletion_timestamp.is_none())?;
    if s.is_changed() || s.rollout.spec.template.as_ref().is_some_and(has_term) {
        return None;
    }
    let named = terms(&current.template);
    let right = s.stable_hash.filter(|_| !s.is_promoted() && asked(s).is_some());
    if named.is_empty() || named.iter().all(|hash| Some(*hash) == right) {
        return None;
    }
    let target = Target::of(s.view, current.object(), &current.meta);
    Some(Action::SetAffinity { target, affinity: wanted(s) })
}

/// Returns whether a template has a term like those that are injected.
pub(crate) fn has_term(template: &Value) -> bool {
    !terms(template).is_empty()
}

/// Revisions that the template's Pods keep off.
fn terms(template: &Value) -> Vec<&str> {
    let entries = |field: &str| {
        let list = template.pointer(&format!("/spec/affinity/podAntiAffinity/{field}"));
        list.and_then(Value::as_array).into_iter().flatten()
    };
    let preferred = entries(PREFERRED).map(|entry| &entry["podAffinityTerm"]);
    entries(REQUIRED).chain(preferred).filter_map(revision_of).collect()
}

/// The revision that a term names; `None` for a term that is not of our form.
fn revision_of(term: &Value) -> Option<&str> {
    let expressions = term.pointer("/labelSelector/matchExpressions")?.as_array()?;
    let [only] = expressions.as_slice() else { return None };
    let ours = only["key"] == POD_TEMPLATE_HASH && only["operator"] == "In";
    only["values"][0].as_str().filter(|_| ours && term["topologyKey"] == TOPOLOGY)
}

/// Removes injected terms, and what is empty after that.
pub(crate) fn strip(template: &mut Value) {
    if !has_term(template) {
        return;
    }
    let Some(spec) = template.get_mut("spec").and_then(Value::as_object_mut) else { return };
    let Some(affinity) = spec.get_mut("affinity").and_then(Value::as_object_mut) else { return };
    if let Some(anti) = affinity.get_mut("podAntiAffinity").and_then(Value::as_object_mut) {
        for field in [REQUIRED, PREFERRED] {
            if let Some(Value::Array(list)) = anti.get_mut(field) {
                list.retain(|entry| {
                    let term = if field == PREFERRED { &entry["podAffinityTerm"] } else { entry };
                    revision_of(term).is_none()
                });
            }
        }
        anti.retain(|_, value| value.as_array().is_none_or(|list| !list.is_empty()));
    }
    affinity.retain(|_, value| value.as_object().is_none_or(|map| !map.is_empty()));
    if affinity.is_empty() {
        spec.remove("affinity");
    }
}
