//! What the canary and stable destinations resolve to (`spec-rollouts` 2.5, 3.6).

use std::collections::BTreeMap;

use sluice_crds::labels;
use sluice_crds::object::{Meta, ObjectRef};

use super::abort::Abort;
use super::action::{Action, Role, Target};
use super::contention::{self, Field, Fight, Urgency};
use super::destinations;
use super::replicas::Threshold;
use super::routes::{self, Edits, Traffic};
use super::situation::{Roles, Set, Situation};
use super::split::stable_need;
use crate::traffic::ExtraDestination;
use crate::view::ServiceRecord;

/// Returns the switches that are due. A destination with weight is switched only onto Pods that can carry that weight.
pub(crate) fn switches(
    s: &Situation<'_>,
    traffic: Option<&Traffic<'_>>,
    abort: &Abort,
    extra: &[ExtraDestination],
) -> Edits {
    let to = destinations::services(s.rollout, s.canary);
    let wanted = [
        (Role::Stable, to.stable, s.stable),
        (Role::Canary, to.canary, canary_set(s, traffic, abort)),
    ];
    let mut edits = Edits::default();
    let mut add = |edit: Result<Action, Box<Fight>>| match edit {
        Ok(action) => edits.actions.push(action),
        Err(fight) => edits.fights.push(*fight),
    };
    for (role, name, set) in wanted {
        let (Some(name), Some(set)) = (name, set) else { continue };
        let Some(service) = s.view.services.get(name).and_then(|lookup| lookup.present()) else {
            continue;
        };
        let Some(hash) = set.hash() else { continue };
        if service.hash() == Some(hash) || !may_switch(s, traffic, role, service, set) {
            continue;
        }
        add(select(s, role, service, hash, Urgency::Usual));
    }
    if let Some(edit) = traffic.and_then(|traffic| subsets(s, traffic, abort, extra)) {
        add(edit);
    }
    edits
}

/// The ReplicaSet that the canary destination should reach.
fn canary_set<'a>(
    s: &Situation<'a>,
    traffic: Option<&Traffic<'_>>,
    abort: &Abort,
) -> Option<Set<'a>> {
    if !abort.is_on() || seeded!(AbortKeepsTarget) {
        return s.current;
    }
    match traffic {
        Some(traffic) if traffic.canary_serves() => None,
        Some(_) | None => s.stable,
    }
}

fn may_switch(
    s: &Situation<'_>,
    traffic: Option<&Traffic<'_>>,
    role: Role,
    service: &ServiceRecord,
    to: Set<'_>,
) -> bool {
    let available = to.available();
    let adopted =
        service.meta.annotations.contains_key(labels::MANAGED_BY) || service.hash().is_some();
    let enough = if adopted { available >= 1 } else { to.replicas > 0 && available >= to.replicas };
    (enough || seeded!(SwitchOntoNothing))
        && traffic.is_none_or(|traffic| weight_allows(s, traffic, role, available))
}

/// S6: what a destination resolves to changes while it has no weight and no route of its own, or onto Pods that can carry its
/// weight.
fn weight_allows(s: &Situation<'_>, traffic: &Traffic<'_>, role: Role, available: u32) -> bool {
    match role {
        _ if seeded!(SwitchUnderWeight) => true,
        // Users reach a preview at no time, and an active Service is none of a canary.
        Role::Canary | Role::Preview => !traffic.canary_serves(),
        Role::Stable | Role::Active => {
            let weight = traffic.stable.weight;
            // Before the first promotion nothing else serves: the first Pods take all there is.
            weight == 0 || available >= stable_need(s, weight).max(Threshold::All.least(1))
        }
    }
}

/// Returns the write that points the Service at the revision, or the fight that keeps it from being made now.
pub(crate) fn select(
    s: &Roles<'_>,
    role: Role,
    service: &ServiceRecord,
    hash: &str,
    urgency: Urgency,
) -> Result<Action, Box<Fight>> {
    let object = service.object();
    let annotations = annotations(s, &object, &service.meta, hash, urgency)?;
    Ok(Action::SelectPods {
        target: Target::of(s.view, object, &service.meta),
        role,
        from: service.hash().map(str::to_owned),
        to: hash.to_owned(),
        annotations,
    })
}

/// The instant of the switch, the note for later, and whose object it is.
fn annotations(
    s: &Roles<'_>,
    object: &ObjectRef,
    meta: &Meta,
    value: &str,
    urgency: Urgency,
) -> Result<BTreeMap<String, String>, Box<Fight>> {
    let mut annotations = contention::note(s, Field::Selector, object, meta, value, urgency)?;
    if !meta.annotations.contains_key(labels::MANAGED_BY) {
        annotations.insert(labels::MANAGED_BY.to_owned(), s.rollout.meta.name.clone());
    }
    Ok(annotations)
}

/// The same for subsets: one write for both.
fn subsets(
    s: &Situation<'_>,
    traffic: &Traffic<'_>,
    abort: &Abort,
    extra: &[ExtraDestination],
) -> Option<Result<Action, Box<Fight>>> {
    let rule = traffic.rule?;
    let hash_of = |set: Option<Set<'_>>| set.and_then(|rs| rs.hash()).map(str::to_owned);
    let allowed = |role: Role, set: Option<Set<'_>>| {
        set.is_some_and(|set| {
            seeded!(SubsetsAtOnce)
                || (set.available() >= 1 && weight_allows(s, traffic, role, set.available()))
        })
    };
    let stable = if allowed(Role::Stable, s.stable) {
        hash_of(s.stable)
    } else {
        traffic.stable.hash.clone()
    };
    let canary_set = canary_set(s, Some(traffic), abort);
    let canary = if allowed(Role::Canary, canary_set) {
        hash_of(canary_set)
    } else {
        traffic.canary.hash.clone()
    };
    let operations =
        routes::subset_operations(s, traffic, rule, canary.as_deref(), stable.as_deref(), extra)?;
    let name = |hash: &Option<String>| hash.clone().unwrap_or_else(|| "-".to_owned());
    let more: String = extra.iter().map(|to| format!("/{}", to.service)).collect();
    let value = format!("{}/{}{more}", name(&canary), name(&stable));
    let annotations = match annotations(s, &rule.object, &rule.meta, &value, Urgency::Usual) {
        Ok(annotations) => annotations,
        Err(fight) => return Some(Err(fight)),
    };
    let target = Target::of(s.view, rule.object.clone(), &rule.meta);
    Some(Ok(Action::SelectSubsets { target, canary, stable, operations, annotations }))
}
