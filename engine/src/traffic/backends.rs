//! Weighted backends in a list, as most routers have them: which weights to set, and nothing else.

use serde_json::{Value, json};

/// Who a backend is to the Rollout.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    Canary,
    Stable,
    /// Neither: its weight is left alone and taken from the stable share.
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

/// Returns the weights as they are. A single backend without weight gets everything.
pub(super) fn shares(backends: &[Backend]) -> Shares {
    let mut shares = Shares::default();
    for backend in backends {
        let default = if backends.len() == 1 { 100 } else { 0 };
        let weight = backend.weight.unwrap_or(default);
        match backend.role {
            Role::Canary => shares.canary += weight,
            Role::Stable => shares.stable += weight,
            Role::Foreign => shares.foreign += weight,
        }
    }
    shares
}

/// Returns what is wrong with the list, apart from room.
pub(super) fn misfits(backends: &[Backend]) -> Vec<Misfit> {
    let count = |role| backends.iter().filter(|backend| backend.role == role).count();
    let mut misfits = Vec::new();
    match count(Role::Canary) {
        0 => misfits.push(Misfit::NoCanary),
        1 => {}
        _ => misfits.push(Misfit::SeveralCanaries),
    }
    match count(Role::Stable) {
        0 => misfits.push(Misfit::NoStable),
        1 => {}
        _ => misfits.push(Misfit::SeveralStables),
    }
    misfits
}

/// Returns the operations that give the canary `weight`, and the stable version what it and the foreign backends leave of 100;
/// none if the weights are right. With a weight of 0 the foreign ones may take more than everything: taking traffic from a
/// canary is never refused.
///
/// Example: backends canary 0, stable 90, foreign 10; weight 20 gives canary 20, stable 70.
pub(super) fn weigh(backends: &[Backend], weight: u32) -> Result<Vec<Value>, Vec<Misfit>> {
    let misfits = misfits(backends);
    if !misfits.is_empty() {
        return Err(misfits);
    }
    let foreign = shares(backends).foreign;
    let taken = foreign.saturating_add(weight);
    if taken > 100 && weight > 0 {
        return Err(vec![Misfit::NoRoom(foreign)]);
    }
    let mut operations = Vec::new();
    for backend in backends {
        let wanted = match backend.role {
            Role::Canary => weight,
            Role::Stable => 100_u32.saturating_sub(taken),
            Role::Foreign => continue,
        };
        if backend.weight != Some(wanted) {
            operations.extend(backend.tests.iter().cloned());
            let path = format!("{}/weight", backend.pointer);
            operations.push(json!({ "op": "add", "path": path, "value": wanted }));
        }
    }
    Ok(operations)
}
