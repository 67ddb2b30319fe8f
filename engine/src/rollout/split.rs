//! Which share of traffic the canary gets: decided once, for all routes (`spec-rollouts` 3.5).

use super::abort::Abort;
use super::replicas::{carried, explicit_scale, share, weight_at};
use super::routes::{Destination, Traffic};
use super::situation::Situation;
use crate::plan::{Wake, WakeReason};

/// The split that is wanted now, and what a greater change waits for.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Split {
    /// The canary's share of 100; `None` leaves routes as they are.
    pub(crate) canary: Option<u32>,
    /// What raising or moving weight waits for.
    pub(crate) waits: Option<String>,
    /// When that may be over.
    pub(crate) wake: Option<Wake>,
}

impl Split {
    fn to(canary: u32) -> Self {
        Self { canary: Some(canary), ..Self::default() }
    }

    fn hold(waits: String) -> Self {
        Self { waits: Some(waits), ..Self::default() }
    }
}

/// Decides the split. Weight rises only onto Pods that the destination's endpoints list; an abort takes away as much as the
/// stable set can carry, at once.
pub(crate) fn decide(s: &Situation<'_>, traffic: &Traffic<'_>, abort: &Abort) -> Split {
    if s.is_first() || s.is_changed() {
        return Split::default();
    }
    let present = traffic.canary.weight;
    if s.is_promoted() {
        return give_back(s, traffic);
    }
    if abort.is_on() {
        return astray(s, traffic).unwrap_or_else(|| Split::to(retreat(s, traffic)));
    }
    if traffic.canary.hash.as_deref() != Some(s.hash.as_str()) {
        // What the canary destination reaches is not the canary (yet): an older revision, the stable one, or all Pods.
        return lower(s, traffic, 0);
    }
    if is_dead(s) {
        return astray(s, traffic).unwrap_or_else(|| Split::to(retreat(s, traffic)));
    }
    let wanted = wanted(s, present);
    match wanted.cmp(&present) {
        std::cmp::Ordering::Greater => raise(s, traffic, wanted),
        std::cmp::Ordering::Equal => Split::to(wanted),
        std::cmp::Ordering::Less => lower(s, traffic, wanted),
    }
}

/// Returns how many Pods must be available and listed for the canary to carry the weight.
pub(crate) fn canary_need(s: &Situation<'_>, weight: u32) -> u32 {
    if s.n == 0 || weight == 0 {
        return 0;
    }
    let explicit =
        (!s.skips_steps()).then(|| explicit_scale(s.canary, s.steps, s.index(), s.n)).flatten();
    s.threshold().least(explicit.unwrap_or_else(|| share(s.n, weight)).max(1))
}

/// Returns how many Pods must be available and listed for the stable set to carry the weight.
pub(crate) fn stable_need(s: &Situation<'_>, weight: u32) -> u32 {
    s.threshold().least(share(s.n, weight))
}

/// The weight that the step asks for, or the one before it while the canary does not have the size of the step. Past the
/// last step the present weight stays until all Pods are there.
fn wanted(s: &Situation<'_>, present: u32) -> u32 {
    if s.n == 0 {
        return 0;
    }
    let index = if s.skips_steps() { s.steps.len() } else { s.index() };
    let weight = weight_at(s.steps, index);
    if s.current_available() >= canary_need(s, weight) {
        return weight;
    }
    match index.checked_sub(1) {
        Some(before) if index < s.steps.len() => weight_at(s.steps, before),
        Some(_) => present,
        None if s.steps.is_empty() => present,
        None => 0,
    }
}

/// Whether the canary is known to have no available Pod. A status that lags behind the spec proves nothing.
fn is_dead(s: &Situation<'_>) -> bool {
    s.current.is_none_or(|rs| rs.observed_generation >= rs.meta.generation && rs.available() == 0)
}

fn raise(s: &Situation<'_>, traffic: &Traffic<'_>, wanted: u32) -> Split {
    let need = canary_need(s, wanted);
    if let Some(split) = not_ready(s, &traffic.canary, &s.hash, need) {
        return split;
    }
    Split::to(wanted)
}

/// Weight returns to the stable destination after promotion, once it resolves to the promoted revision.
fn give_back(s: &Situation<'_>, traffic: &Traffic<'_>) -> Split {
    if traffic.canary.weight == 0 && traffic.stable.least == 100 {
        return Split::to(0);
    }
    if traffic.stable.hash.as_deref() != Some(s.hash.as_str()) {
        return Split::default();
    }
    let need = stable_need(s, 100);
    if let Some(split) = not_ready(s, &traffic.stable, &s.hash, need) {
        return split;
    }
    if s.current_available() < need {
        return Split::hold(format!("{need} available Pods of revision {}", s.hash));
    }
    Split::to(0)
}

/// Less weight for the canary than it has: only as the stable set can carry the rest.
fn lower(s: &Situation<'_>, traffic: &Traffic<'_>, wanted: u32) -> Split {
    if traffic.canary.weight <= wanted {
        return Split::to(wanted);
    }
    if let Some(split) = astray(s, traffic) {
        return split;
    }
    let need = stable_need(s, 100 - wanted);
    let available = s.stable_available();
    if available < need {
        return Split::hold(format!(
            "{need} available Pods of the stable revision before it gets {} % of traffic; there are {available}",
            100 - wanted
        ));
    }
    // A stable destination that was switched a moment ago, or whose endpoints are not listed yet, takes no weight either.
    let stable = s.stable_hash.unwrap_or_default();
    let known = traffic.stable.hash.is_some();
    let not_yet = known.then(|| not_ready(s, &traffic.stable, stable, need)).flatten();
    not_yet.unwrap_or_else(|| Split::to(wanted))
}

/// Holds while the stable destination reaches another revision than the stable one: just after a promotion it still reaches
/// the former one, and weight that leaves the canary would go there.
fn astray(s: &Situation<'_>, traffic: &Traffic<'_>) -> Option<Split> {
    let reached = traffic.stable.hash.as_deref()?;
    (traffic.canary.weight > 0 && Some(reached) != s.stable_hash).then(|| {
        Split::hold(format!(
            "{} to reach the stable revision, not {reached}",
            traffic.stable.object
        ))
    })
}

/// The canary's least feasible weight: none, unless the stable set cannot carry all and the canary can carry the rest.
fn retreat(s: &Situation<'_>, traffic: &Traffic<'_>) -> u32 {
    let present = traffic.canary.weight;
    if present == 0 || s.stable_available() >= stable_need(s, 100) {
        return 0;
    }
    let rest = 100_u32.saturating_sub(carried(s.stable_available(), s.n)).min(present);
    let canary_carries = s.current_available() >= canary_need(s, rest).max(1);
    if canary_carries { rest } else { 0 }
}

/// Returns why the destination cannot take weight yet, if it cannot.
fn not_ready(s: &Situation<'_>, to: &Destination<'_>, hash: &str, need: u32) -> Option<Split> {
    let listed = to.ready(s.view, hash);
    if listed < need {
        let what = format!(
            "{need} ready endpoints of revision {hash} in {}; there are {listed}",
            to.object
        );
        return Some(Split::hold(what));
    }
    let at = to.confirmed_at(&s.view.config)?;
    if s.now() >= at {
        return None;
    }
    let mut split = Split::hold(format!("proxies to learn what {} selects", to.object));
    split.wake = Some(Wake { at, reason: WakeReason::RouteConfirmed });
    Some(split)
}
