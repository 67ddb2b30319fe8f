//! Weighted backends in a list, as most routers have them: which weights to set, and nothing else.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{ExtraDestination, TrafficSplit};

/// Who a backend is to the Rollout.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Role {
    Canary,
    Stable,
    /// A Service that we added, or are to add; by name.
    Extra(String),
    /// None of these: its weight is left alone and taken from the stable share.
    Foreign,
}

/// One backend of a managed route.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Backend {
    /// JSON pointer to the object that holds the weight.
    pub(super) pointer: String,
    pub(super) role: Role,
    pub(super) weight: Option<u32>,
    /// Operations that test that the backend is the one that was seen.
    pub(super) tests: Vec<Value>,
}

/// The weights of the backends by role.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Shares {
    pub(super) canary: u32,
    pub(super) stable: u32,
    pub(super) foreign: u32,
}

/// Why backends cannot be weighed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Misfit {
    NoCanary,
    NoStable,
    SeveralCanaries,
    SeveralStables,
    /// The others leave less than the canary's share; holds what they take.
    NoRoom(u32),
}

/// Returns the weights as they are, apart from those of [`extras`]. A single backend without weight gets everything.
pub(super) fn shares(backends: &[Backend]) -> Shares {
    let mut shares = Shares::default();
    for backend in backends {
        let default = if backends.len() == 1 { 100 } else { 0 };
        let weight = backend.weight.unwrap_or(default);
        let share = match backend.role {
            Role::Canary => &mut shares.canary,
            Role::Stable => &mut shares.stable,
            Role::Extra(_) => continue,
            Role::Foreign => &mut shares.foreign,
        };
        *share = share.saturating_add(weight);
    }
    shares
}

/// Returns the weights of the destinations that we added, by Service.
pub(super) fn extras(backends: &[Backend]) -> BTreeMap<String, u32> {
    let extra = |backend: &Backend| match &backend.role {
        Role::Extra(service) => Some((service.clone(), backend.weight.unwrap_or(0))),
        Role::Canary | Role::Stable | Role::Foreign => None,
    };
    backends.iter().filter_map(extra).collect()
}

/// Returns what is wrong with the list, apart from room.
pub(super) fn misfits(backends: &[Backend]) -> Vec<Misfit> {
    let count = |role: &Role| backends.iter().filter(|backend| backend.role == *role).count();
    let mut misfits = Vec::new();
    match count(&Role::Canary) {
        0 => misfits.push(Misfit::NoCanary),
        1 => {}
        _ => misfits.push(Misfit::SeveralCanaries),
    }
    match count(&Role::Stable) {
        0 => misfits.push(Misfit::NoStable),
        1 => {}
        _ => misfits.push(Misfit::SeveralStables),
    }
    misfits
}

/// What it takes to bring a list of backends to a split.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Changes {
    /// Operations that set weights.
    pub(super) weights: Vec<Value>,
    /// Operations that take backends out; after the weights, because places move.
    pub(super) removals: Vec<Value>,
    /// Extra destinations to be added at the end.
    pub(super) missing: Vec<ExtraDestination>,
}

/// Returns the weight that each backend should have; `None` for one that is to go.
pub(super) fn wanted(backends: &[Backend], split: &TrafficSplit) -> Vec<Option<u32>> {
    let extra = split.extra.iter().fold(0_u32, |sum, to| sum.saturating_add(to.weight));
    let taken = shares(backends).foreign.saturating_add(extra).saturating_add(split.canary.weight);
    let weight = |backend: &Backend| match &backend.role {
        Role::Canary => Some(split.canary.weight),
        Role::Stable => Some(100_u32.saturating_sub(taken)),
        Role::Extra(service) => {
            split.extra.iter().find(|to| to.service == *service).map(|to| to.weight)
        }
        Role::Foreign => backend.weight.or(Some(0)),
    };
    backends.iter().map(weight).collect()
}

/// Returns the changes that give the canary and the extra destinations their weights, and the stable version what they and
/// the foreign backends leave of 100; none if all are right. With nothing for the canary and no extra destination the foreign
/// ones may take more than everything: taking traffic from a canary is never refused.
///
/// Example: backends canary 0, stable 90, foreign 10; weight 20 gives canary 20, stable 70.
pub(super) fn weigh(backends: &[Backend], split: &TrafficSplit) -> Result<Changes, Vec<Misfit>> {
    let misfits = misfits(backends);
    if !misfits.is_empty() {
        return Err(misfits);
    }
    let foreign = shares(backends).foreign;
    let extra = split.extra.iter().fold(0_u32, |sum, to| sum.saturating_add(to.weight));
    let ours = split.canary.weight.saturating_add(extra);
    if foreign.saturating_add(ours) > 100 && ours > 0 {
        return Err(vec![Misfit::NoRoom(foreign)]);
    }
    let mut changes = Changes::default();
    for (backend, wanted) in backends.iter().zip(wanted(backends, split)) {
        if backend.role == Role::Foreign {
            continue;
        }
        match wanted {
            Some(wanted) if backend.weight == Some(wanted) => {}
            Some(wanted) => {
                changes.weights.extend(backend.tests.iter().cloned());
                let path = format!("{}/weight", backend.pointer);
                changes.weights.push(json!({ "op": "add", "path": path, "value": wanted }));
            }
            None => {
                // The last one first: the places of those before it stay.
                let mut removal = backend.tests.clone();
                removal.push(json!({ "op": "remove", "path": backend.pointer }));
                removal.append(&mut changes.removals);
                changes.removals = removal;
            }
        }
    }
    let is_there = |to: &&ExtraDestination| {
        backends.iter().any(|backend| backend.role == Role::Extra(to.service.clone()))
    };
    changes.missing = split.extra.iter().filter(|to| !is_there(to)).cloned().collect();
    changes.missing.sort();
    Ok(changes)
}
