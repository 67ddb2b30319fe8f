//! What the active and the preview Service select (`spec-rollouts` 2.5, 5).

use sluice_crds::labels;

use super::{BlueGreen, Lane};
use crate::rollout::abort::Abort;
use crate::rollout::analysis::Verdicts;
use crate::rollout::contention::Urgency;
use crate::rollout::routes::Edits;
use crate::rollout::services::select;
use crate::rollout::situation::Set;

/// Switches that are due.
#[derive(Default)]
pub(super) struct Switches {
    /// Of users, back to the stable revision: before anything else.
    pub(super) back: Edits,
    /// All others.
    pub(super) on: Edits,
    /// What keeps users where they are although nothing else does.
    pub(super) waits: Option<String>,
}

/// Where users should go.
enum Aim<'a> {
    Stay,
    /// They stay, because of what is said.
    Wait(String),
    On(Set<'a>),
    Back(Set<'a>),
}

/// Decides the switches. A new revision that is not on record yet moves nobody.
pub(super) fn decide(s: &BlueGreen<'_>, verdicts: &Verdicts, abort: &Abort) -> Switches {
    let mut out = Switches::default();
    if s.is_changed() {
        return out;
    }
    if let Some(lane) = s.preview
        && let Some(set) = testers(s, lane, abort)
    {
        add(s, lane, set, Urgency::Usual, &mut out.on);
    }
    let Some(lane) = s.active else { return out };
    match users(s, lane, verdicts, abort) {
        Aim::Stay => {}
        Aim::Wait(what) => out.waits = Some(what),
        // The endpoints of the preview Service are to be seen first.
        Aim::On(_) if !out.on.actions.is_empty() && !seeded!(SwitchWithPreview) => {}
        Aim::On(set) => add(s, lane, set, Urgency::Usual, &mut out.on),
        Aim::Back(set) => {
            // Who leads users astray hurts them as much as who keeps them on a failed version.
            let urgency = if abort.is_on() { abort.urgency() } else { Urgency::Retreat };
            add(s, lane, set, urgency, &mut out.back);
        }
    }
    out
}

fn add(s: &BlueGreen<'_>, lane: Lane<'_>, set: Set<'_>, urgency: Urgency, edits: &mut Edits) {
    let Some(hash) = set.hash() else { return };
    match select(s, lane.role, lane.service, hash, urgency) {
        Ok(action) => edits.actions.push(action),
        Err(fight) => edits.fights.push(*fight),
    }
}

/// The order of the tests is the point: taking users back comes before everything that could keep them where they are.
fn users<'a>(s: &BlueGreen<'a>, lane: Lane<'a>, verdicts: &Verdicts, abort: &Abort) -> Aim<'a> {
    if s.is_first() {
        return Aim::Stay;
    }
    if s.is_promoted() {
        return match s.current {
            Some(_) if s.is_switched() => Aim::Stay,
            Some(current) if is_adopted(lane) => back(s, lane, current),
            Some(_) => forward(s, lane),
            None => Aim::Stay,
        };
    }
    if (abort.is_on() && !seeded!(UsersStay)) || is_astray(s, lane) {
        return match s.stable {
            _ if lane.hash() == s.stable_hash => Aim::Stay,
            Some(stable) => back(s, lane, stable),
            None => Aim::Wait("the ReplicaSet of the stable revision, which is gone".to_owned()),
        };
    }
    if s.is_switched() || !s.is_cleared(verdicts) {
        return Aim::Stay;
    }
    forward(s, lane)
}

/// Whether the Service was switched before: else it is taken over, which needs a whole set.
fn is_adopted(lane: Lane<'_>) -> bool {
    lane.hash().is_some() || lane.service.meta.annotations.contains_key(labels::MANAGED_BY)
}

/// Whether users reach neither side of the update, nor a former one that serves: somebody else led the Service astray.
///
/// A superseded version that had been switched to already keeps its users until the next one is ready, as in Argo.
fn is_astray(s: &BlueGreen<'_>, lane: Lane<'_>) -> bool {
    let named = lane.hash().is_some_and(|hash| hash == s.hash || Some(hash) == s.stable_hash);
    let serves = |set: Set<'_>| {
        set.observed_generation < set.meta.generation || set.available() > 0 || s.n == 0
    };
    !named && !s.reached_set().is_some_and(serves)
}

/// Users go to the current set only if it is whole, and listed as ready where that can be seen.
fn forward<'a>(s: &BlueGreen<'a>, lane: Lane<'a>) -> Aim<'a> {
    let Some(current) = s.current.filter(|_| !s.is_halted() && s.is_saturated()) else {
        return Aim::Stay;
    };
    let shows = |lane: &Lane<'_>| lane.hash() == Some(s.hash.as_str());
    let blurred = Some(lane).filter(|lane| lane.hash().is_none());
    if let Some(witness) = s.preview.filter(shows).or(blurred) {
        let listed = witness.lists(&s.hash);
        if listed < s.n && !seeded!(SwitchUnlisted) {
            let (hash, object) = (&s.hash, witness.service.object());
            return Aim::Wait(format!(
                "{} ready endpoints of revision {hash} in {object}; there are {listed}",
                s.n
            ));
        }
    }
    Aim::On(current)
}

/// Users go back as soon as the set has the Pods that must be there at any time (`maxUnavailable`), or as many as what they
/// reach now. The failed version has no say in it. A Service that is taken over needs a whole set.
fn back<'a>(s: &BlueGreen<'a>, lane: Lane<'a>, to: Set<'a>) -> Aim<'a> {
    let quarter = sluice_crds::intstr::IntOrString::String("25%".to_owned());
    let share = s.strategy.max_unavailable.as_ref().unwrap_or(&quarter);
    let missing = share.scaled(s.n, false).unwrap_or(0);
    let (least, left) = match lane.hash() {
        Some(_) => {
            let left = s.reached_set().map_or(0, |set| set.available());
            (s.n.saturating_sub(missing).max(s.n.min(1)), left)
        }
        // All Pods of the Rollout serve.
        None if is_adopted(lane) => (s.n.saturating_sub(missing).max(s.n.min(1)), u32::MAX),
        None => (s.n, u32::MAX),
    };
    let available = to.available();
    let failed_is_well = !seeded!(BackNeedsFailed) || s.is_saturated();
    let enough = available >= least || (available > 0 && available >= left);
    if (enough && failed_is_well) || seeded!(BackOntoNothing) {
        return Aim::Back(to);
    }
    Aim::Wait(format!(
        "{least} available Pods of {} before users go back to it; there are {available}",
        to.object()
    ))
}

/// Testers follow the newest revision as soon as it has a Pod for them, also while there is no pause to look at it in.
fn testers<'a>(s: &BlueGreen<'a>, lane: Lane<'a>, abort: &Abort) -> Option<Set<'a>> {
    let current = s.current.filter(|rs| rs.hash() != lane.hash())?;
    let under_way = !s.is_promoted() && !s.is_first();
    let holds = abort.is_on() || s.status().aborted_at.is_some() || s.is_halted();
    if under_way && holds {
        return None;
    }
    let shown = current.available() >= s.wanted_size().min(1) || seeded!(PreviewOfNothing);
    shown.then_some(current)
}
