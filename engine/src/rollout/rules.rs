//! The routes that steps set: which of them should be there now (`setHeaderRoute`, `setMirrorRoute`).
//!
//! What is there follows from all steps up to the current one, not from the current one alone: a route that had to go, such as
//! after the canary lost its Pods, comes back with them. Every way out takes them away: promotion, abort, full promotion, a
//! new revision, no available Pods, and a step that is gone from the spec.

use std::collections::BTreeSet;

use sluice_crds::rollout::CanaryStep;
use sluice_crds::rollout::strategy::CanaryStrategy;

use super::abort::Abort;
use super::replicas::{explicit_scale, routed_size, weight_at};
use super::routes::{self, Traffic};
use super::situation::Situation;
use super::split::{self, Split};
use crate::plan::{Wake, WakeReason};
use crate::traffic::{RouteRule, RuleKind};

/// Returns the names of routes that steps set or remove.
pub(crate) fn names(canary: &CanaryStrategy) -> BTreeSet<String> {
    let steps = canary.steps.iter().flatten();
    steps.filter_map(|step| Some(change(step)?.0.to_owned())).collect()
}

/// The route that a step sets, by name; without content it is removed.
fn change(step: &CanaryStep) -> Option<(&str, Option<RuleKind>)> {
    if let Some(route) = &step.set_header_route {
        // A match of nothing would match everything.
        let matches = route.matches.clone().filter(|matches| !matches.is_empty());
        return Some((route.name.as_str(), matches.map(RuleKind::Header)));
    }
    let route = step.set_mirror_route.as_ref()?;
    let matches = route.matches.clone().filter(|matches| !matches.is_empty());
    let percentage = u32::try_from(route.percentage.unwrap_or(100)).unwrap_or(0).min(100);
    let kind = matches.map(|matches| RuleKind::Mirror { matches, percentage });
    Some((route.name.as_str(), kind))
}

/// Returns the routes that the steps up to the index set, in the order in which they were last set.
pub(crate) fn at(steps: &[CanaryStep], index: usize) -> Vec<RouteRule> {
    let mut rules: Vec<RouteRule> = Vec::new();
    let reach = if seeded!(RuleOneStepLate) { index } else { index.saturating_add(1) };
    for (name, kind) in steps.iter().take(reach).filter_map(change) {
        rules.retain(|rule| rule.name != name);
        rules.extend(kind.map(|kind| RouteRule { name: name.to_owned(), kind }));
    }
    rules
}

/// Adds the routes that should be there to the split. A route of ours leads to the canary as a whole, so one that is missing
/// waits for the same as weight does: a destination that reaches the current revision, with ready endpoints, known to proxies.
pub(crate) fn decide(s: &Situation<'_>, traffic: &Traffic<'_>, abort: &Abort, split: &mut Split) {
    let reached = traffic.canary.hash.as_deref() == Some(s.hash.as_str());
    let out = (s.is_promoted() && !seeded!(RuleAfterPromotion))
        || s.is_first()
        || s.is_changed()
        || s.skips_steps()
        || (abort.is_on() && !seeded!(RuleAfterAbort))
        || !reached
        || s.n == 0
        || split::is_dead(s);
    if out {
        return;
    }
    let wanted = at(s.steps, s.index());
    let is_there = |rule: &RouteRule| traffic.made.iter().any(|made| made.name == rule.name);
    if wanted.iter().all(is_there) {
        split.rules = wanted;
        return;
    }
    let weight = split.canary.unwrap_or(0).max(traffic.canary.weight);
    let need = split::canary_need(s, weight).max(1);
    let why = split::not_ready(s, &traffic.canary, &s.hash, need).filter(|_| !seeded!(RuleUnready));
    match why.or_else(|| regain(s, traffic, &wanted)) {
        None => split.rules = wanted,
        Some(why) => {
            split.rules = wanted.into_iter().filter(is_there).collect();
            split.waits = split.waits.take().or(why.waits);
            split.wake = Wake::earliest(split.wake.take(), why.wake);
        }
    }
}

/// Holds a route that was taken away because of lost Pods until the routes have been still for a while: Pods that come and go must
/// not take it with them each time.
fn regain(s: &Situation<'_>, traffic: &Traffic<'_>, wanted: &[RouteRule]) -> Option<Split> {
    let before = s.index().checked_sub(1).map(|before| at(s.steps, before))?;
    let was_there = |rule: &RouteRule| {
        let is_there = traffic.made.iter().any(|made| made.name == rule.name);
        !is_there && before.iter().any(|earlier| earlier.name == rule.name)
    };
    if !wanted.iter().any(was_there) {
        return None;
    }
    let at = traffic.routed_at()? + s.view.config.route_confirmation;
    (s.now() < at).then(|| Split {
        waits: Some("the canary to keep its Pods for a while".to_owned()),
        wake: Some(Wake { at, reason: WakeReason::RouteConfirmed }),
        ..Split::default()
    })
}

/// Whether the routes are as the current step wants them; else what it waits for. Where the step wants no Pods of the canary
/// there is nothing to lead to: the routes come with the Pods.
pub(crate) fn are_there(s: &Situation<'_>, traffic: Option<&Traffic<'_>>) -> Result<(), String> {
    let Some(traffic) = traffic else { return Ok(()) };
    let size = explicit_scale(s.canary, s.steps, s.index(), s.n)
        .unwrap_or_else(|| routed_size(s.canary, s.n, weight_at(s.steps, s.index())));
    let rules = at(s.steps, s.index());
    if size == 0 || routes::shows(s, traffic, &rules) || seeded!(RuleStepAtOnce) {
        return Ok(());
    }
    let names: Vec<String> = rules.iter().map(|rule| format!("`{}`", rule.name)).collect();
    Err(match names.as_slice() {
        [] => "the routes that the step removes to be gone".to_owned(),
        names => format!("the routes {} to be in place", names.join(", ")),
    })
}
