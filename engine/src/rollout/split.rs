//! Which share of traffic the canary gets: decided once, for all routes (`spec-rollouts` 3.5).

use super::abort::Abort;
use super::replicas::{carried, explicit_scale, share, weight_at};
use super::routes::{Destination, Traffic};
use super::situation::Situation;
use super::{dynamic, pause, rules, versions};
use crate::plan::{Wake, WakeReason};
use crate::traffic::{ExtraDestination, RouteRule};

/// The split that is wanted now, and what a greater change waits for.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Split {
    /// The canary's share of 100; `None` leaves routes as they are.
    pub(crate) canary: Option<u32>,
    /// Shares of Experiments.
    pub(crate) extra: Vec<ExtraDestination>,
    /// Routes of steps.
    pub(crate) rules: Vec<RouteRule>,
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

    /// Returns what routes should show, or `None` if they stay as they are. While the weight is held, routes of steps that are
    /// not wanted any more go all the same, and so do shares of Experiments; just after a promotion they go with the weight, in one write.
    pub(crate) fn wanted(&self, s: &Situation<'_>, traffic: &Traffic<'_>) -> Option<Wanted> {
        let Some(canary) = self.canary else {
            let even = traffic.canary.weight == traffic.canary.least;
            let promoted = s.is_promoted() && traffic.canary.hash.as_deref() == Some(&s.hash);
            let less = self.takes(traffic) || self.gives_back(traffic);
            let unwanted = !s.is_first() && !s.is_changed() && !promoted && less;
            return (even && unwanted).then(|| Wanted {
                canary: traffic.canary.weight,
                extra: self.extra.clone(),
                rules: self.rules.iter().filter(|rule| is_made(traffic, rule)).cloned().collect(),
            });
        };
        Some(Wanted { canary, extra: self.extra.clone(), rules: self.rules.clone() })
    }

    /// Whether a route of a step is to go.
    fn takes(&self, traffic: &Traffic<'_>) -> bool {
        let wanted = |name: &str| self.rules.iter().any(|rule| rule.name == name);
        traffic.made.iter().any(|made| !wanted(&made.name))
    }

    /// Whether a version of an Experiment gets less than it has.
    fn gives_back(&self, traffic: &Traffic<'_>) -> bool {
        let wanted = |service: &String| {
            self.extra.iter().find(|to| to.service == *service).map_or(0, |to| to.weight)
        };
        traffic.extra.iter().any(|(service, weight)| wanted(service) < *weight)
    }

    /// Whether the canary gets less than it has, weight or a route of its own, or a version of an Experiment does.
    pub(crate) fn retreats(&self, traffic: &Traffic<'_>) -> bool {
        self.canary.is_some_and(|canary| canary < traffic.canary.weight)
            || self.takes(traffic)
            || self.gives_back(traffic)
    }
}

fn is_made(traffic: &Traffic<'_>, rule: &RouteRule) -> bool {
    traffic.made.iter().any(|made| made.name == rule.name)
}

/// What routes should show.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Wanted {
    /// The canary's share of 100.
    pub(crate) canary: u32,
    /// Shares of Experiments.
    pub(crate) extra: Vec<ExtraDestination>,
    /// Routes of steps.
    pub(crate) rules: Vec<RouteRule>,
}

impl Wanted {
    /// Whether anything but the stable version gets more than it has.
    pub(crate) fn rises(&self, traffic: &Traffic<'_>) -> bool {
        self.canary > traffic.canary.weight
            || self
                .extra
                .iter()
                .any(|to| to.weight > traffic.extra.get(&to.service).copied().unwrap_or(0))
            || self.rules.iter().any(|rule| !is_made(traffic, rule))
    }

    pub(crate) fn extra_weight(&self) -> u32 {
        self.extra.iter().fold(0, |sum, to| sum.saturating_add(to.weight))
    }

    /// Returns a word that is equal for what is equal, for the note of what was written.
    pub(crate) fn text(&self) -> String {
        if self.extra.is_empty() && self.rules.is_empty() {
            return self.canary.to_string();
        }
        // FNV-1a, 32 bits.
        let more = format!("{:?}{:?}", self.extra, self.rules);
        let hash = more
            .bytes()
            .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        format!("{}+{hash:08x}", self.canary)
    }
}

/// Decides the split. Weight rises only onto Pods that the destination's endpoints list; an abort takes away as much as the
/// stable set can carry, at once; and weight leaves Pods that are gone.
pub(crate) fn decide(s: &Situation<'_>, traffic: &Traffic<'_>, abort: &Abort) -> Split {
    let mut split = weigh(s, traffic, abort);
    rules::decide(s, traffic, abort, &mut split);
    versions::decide(s, traffic, abort, &mut split);
    split
}

fn weigh(s: &Situation<'_>, traffic: &Traffic<'_>, abort: &Abort) -> Split {
    if s.is_first() || s.is_changed() {
        return Split::default();
    }
    let present = traffic.canary.weight;
    if s.is_promoted() {
        let back = traffic.canary.hash.as_deref() != Some(s.hash.as_str());
        // Back to the stable template in mid-update: the stable set grows, and takes what it can carry.
        let grows = back && dynamic::is_on(s);
        return if grows { lower(s, traffic, 0) } else { give_back(s, traffic) };
    }
    if traffic.canary.hash.as_deref() != Some(s.hash.as_str()) {
        // What the canary destination reaches is not the canary (yet): an older revision, the stable one, or all Pods. Also an
        // abort can wait for proxies then: the weight is not on what failed.
        return lower(s, traffic, 0);
    }
    if abort.is_on() || (is_dead(s) && !seeded!(DeadCanaryKept)) {
        return astray(s, traffic).unwrap_or_else(|| Split::to(retreat(s, traffic)));
    }
    let wanted = wanted(s, present);
    if let Some(left) = left(s, present).filter(|_| !seeded!(LostPodsIgnored)) {
        let mut split = lower(s, traffic, left.min(wanted));
        split.waits.get_or_insert_with(|| {
            format!(
                "the lost Pods of revision {}: {} are available, and carry {left} of {present} %",
                s.hash,
                s.current_available()
            )
        });
        return split;
    }
    match wanted.cmp(&present) {
        std::cmp::Ordering::Greater => {
            regain(s, traffic).unwrap_or_else(|| raise(s, traffic, wanted))
        }
        std::cmp::Ordering::Equal => Split::to(wanted),
        std::cmp::Ordering::Less => lower(s, traffic, wanted),
    }
}

/// Returns how many Pods must be available and listed for the canary to carry the weight.
pub(crate) fn canary_need(s: &Situation<'_>, weight: u32) -> u32 {
    let declared = declared_size(s, s.index(), s.n);
    need(s, s.n, weight, declared)
}

fn declared_size(s: &Situation<'_>, index: usize, n: u32) -> Option<u32> {
    (!s.skips_steps()).then(|| explicit_scale(s.canary, s.steps, index, n)).flatten()
}

fn need(s: &Situation<'_>, n: u32, weight: u32, declared: Option<u32>) -> u32 {
    if n == 0 || weight == 0 {
        return 0;
    }
    s.threshold().least(declared.unwrap_or_else(|| share(n, weight)).max(1))
}

/// Returns how many Pods must be available and listed for the stable set to carry the weight.
pub(crate) fn stable_need(s: &Situation<'_>, weight: u32) -> u32 {
    s.threshold().least(share(s.n, weight))
}

/// The weight that the step asks for, or the one before it while the canary does not have the size of the step. Weight that
/// it has already stays, and past the last step the present one until all Pods are there.
fn wanted(s: &Situation<'_>, present: u32) -> u32 {
    if s.n == 0 {
        return 0;
    }
    let index = if s.skips_steps() { s.steps.len() } else { s.index() };
    let weight = weight_at(s.steps, index + usize::from(seeded!(WeightOfNextStep)));
    if s.skips_steps() && dynamic::is_on(s) && !seeded!(FullAtOnce) {
        // The stable set leaves as much room as the canary takes over.
        return present.max(carried(s.current_available(), s.n));
    }
    if weight == present || s.current_available() >= canary_need(s, weight) || seeded!(RaiseUnready)
    {
        return weight;
    }
    if index >= s.steps.len() {
        return present;
    }
    reached(s).map_or(0, |reached| weight_at(s.steps, reached))
}

/// The last step whose weight was reached: the present one once it pauses, before that the one before it.
fn reached(s: &Situation<'_>) -> Option<usize> {
    if s.has_pause(pause::STEP) { Some(s.index()) } else { s.index().checked_sub(1) }
}

/// Returns the weight that the live Pods of the canary carry, if some that carried it were lost (F25): each keeps its share.
///
/// More replicas are no loss. What a larger Rollout needs comes up beside what serves already, so the need is that of the
/// number of replicas for which all were there, until they are there for the present one.
///
/// Nor is a larger `setCanaryScale`: the one of the step before it counts until the step is done.
///
/// Example: 5 replicas, 60 % on 3 Pods; one is left: 20 %. 10 replicas since a moment, 60 % on 3 of 6 Pods: nothing is lost.
pub(crate) fn left(s: &Situation<'_>, present: u32) -> Option<u32> {
    let rs = s.current.filter(|rs| rs.observed_generation >= rs.meta.generation)?;
    let sized_for = s.sluice().sized_for.and_then(|n| u32::try_from(n).ok()).unwrap_or(s.n);
    let n = sized_for.min(s.n);
    let at = |index: usize| need(s, n, present, declared_size(s, index, n));
    let need = at(s.index()).min(at(s.index().saturating_sub(1)));
    let available = rs.available();
    if available >= need {
        return None;
    }
    // A declared size is meant for the weight of the step, and carries any weight below it as a whole.
    let declared = declared_size(s, s.index(), n).is_some();
    let whole = if declared { weight_at(s.steps, s.index()).max(present) } else { present };
    let kept = u64::from(whole) * u64::from(available) / u64::from(need);
    u32::try_from(kept).ok().filter(|kept| *kept < present)
}

/// Returns `spec.replicas` as the one that the canary's Pods suffice for, or the one on record while they do not.
pub(crate) fn sized_for(s: &Situation<'_>, weight: u32) -> Option<i64> {
    if s.is_promoted() || s.is_first() {
        return None;
    }
    let suffices = s.current_available() >= canary_need(s, weight);
    if suffices || s.is_changed() { Some(s.n.into()) } else { s.sluice().sized_for }
}

/// Whether the canary is known to have no available Pod. A status that lags behind the spec proves nothing.
pub(crate) fn is_dead(s: &Situation<'_>) -> bool {
    s.current.is_none_or(|rs| rs.observed_generation >= rs.meta.generation && rs.available() == 0)
}

fn raise(s: &Situation<'_>, traffic: &Traffic<'_>, wanted: u32) -> Split {
    let need = canary_need(s, wanted);
    if seeded!(RaiseUnready) {
        return Split::to(wanted);
    }
    if let Some(split) = not_ready(s, &traffic.canary, &s.hash, need) {
        return split;
    }
    Split::to(wanted)
}

/// Weight returns to the stable destination after promotion, once it resolves to the promoted revision.
fn give_back(s: &Situation<'_>, traffic: &Traffic<'_>) -> Split {
    if seeded!(WeightNeverGivenBack) {
        return Split::default();
    }
    if traffic.canary.weight == 0 && traffic.stable.least == 100 {
        return Split::to(0);
    }
    if traffic.stable.hash.as_deref() != Some(s.hash.as_str()) && !seeded!(GiveBackBlindly) {
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

/// Holds weight that was taken away because of lost Pods, or of what the canary destination reached, until the routes have
/// been still for a while: Pods that come and go must not take the weight with them each time.
fn regain(s: &Situation<'_>, traffic: &Traffic<'_>) -> Option<Split> {
    let before = reached(s).map(|reached| weight_at(s.steps, reached))?;
    if s.skips_steps() || traffic.canary.weight >= before || seeded!(RegainAtOnce) {
        return None;
    }
    let at = traffic.routed_at()? + s.view.config.route_confirmation;
    if s.now() >= at {
        return None;
    }
    let mut split = Split::hold("the canary to keep its Pods for a while".to_owned());
    split.wake = Some(Wake { at, reason: WakeReason::RouteConfirmed });
    Some(split)
}

/// Less weight for the canary than it has: as much less as the stable set can carry.
fn lower(s: &Situation<'_>, traffic: &Traffic<'_>, wanted: u32) -> Split {
    let present = traffic.canary.weight;
    if present <= wanted || seeded!(LowerAtOnce) {
        return Split::to(wanted);
    }
    if let Some(split) = astray(s, traffic) {
        return split;
    }
    let stable = s.stable_hash.unwrap_or_default();
    // A stable destination that was switched a moment ago, or whose endpoints are not listed yet, takes no weight either.
    let known = traffic.stable.hash.is_some();
    let carries = if known { traffic.stable.ready(s.view, stable) } else { s.stable_available() };
    // A threshold lets it carry with Pods on their way, not without them (S2); what leaves lost Pods goes all the same.
    let reached = traffic.canary.hash.as_deref() == Some(s.hash.as_str());
    let is_lost = reached && (is_dead(s) || left(s, present).is_some());
    let size = s.stable.map_or(0, |rs| rs.replicas);
    let is_sized = |weight: u32| is_lost || size >= share(s.n, weight);
    let is_carried = |weight: u32| carries >= stable_need(s, weight) && is_sized(weight);
    let to = (wanted..present).find(|to| is_carried(100 - to));
    let Some(to) = to else {
        let rest = 100 - wanted;
        let need = if is_sized(rest) { stable_need(s, rest) } else { share(s.n, rest) };
        return Split::hold(format!(
            "{need} available Pods of the stable revision before it gets {} % of traffic; there are {carries}",
            100 - wanted
        ));
    };
    let need = stable_need(s, 100 - to);
    let not_yet = known.then(|| not_ready(s, &traffic.stable, stable, need)).flatten();
    not_yet.unwrap_or_else(|| Split::to(to))
}

/// Holds while the stable destination reaches another revision than the stable one: just after a promotion it still reaches
/// the former one, and weight that leaves the canary would go there.
fn astray(s: &Situation<'_>, traffic: &Traffic<'_>) -> Option<Split> {
    let reached = traffic.stable.hash.as_deref()?;
    let astray = traffic.canary.weight > 0 && Some(reached) != s.stable_hash;
    (astray && !seeded!(AstrayIgnored)).then(|| {
        Split::hold(format!(
            "{} to reach the stable revision, not {reached}",
            traffic.stable.object
        ))
    })
}

/// The canary's least feasible weight: none, unless the stable set cannot carry all and the canary can carry the rest.
fn retreat(s: &Situation<'_>, traffic: &Traffic<'_>) -> u32 {
    let present = traffic.canary.weight;
    if seeded!(RetreatNever) {
        return present;
    }
    // A stable set that grows has Pods that no endpoint lists yet.
    let grows = dynamic::is_on(s);
    let available = match s.stable_hash {
        Some(stable) if grows && !seeded!(BackUnlisted) => traffic.stable.ready(s.view, stable),
        _ => s.stable_available(),
    };
    let is_sized = s.stable.is_some_and(|rs| rs.replicas >= s.n);
    let whole = available >= stable_need(s, 100) && is_sized;
    if present == 0 || whole || seeded!(RetreatAll) {
        return 0;
    }
    let rest = 100_u32.saturating_sub(carried(available, s.n)).min(present);
    if grows {
        // Both together may carry less than everything; the canary keeps what it can carry.
        return rest.min(carried(s.current.map_or(0, |rs| rs.last_available()), s.n));
    }
    let canary_carries = s.current_available() >= canary_need(s, rest).max(1);
    if canary_carries { rest } else { 0 }
}

/// Returns why the destination cannot take weight yet, if it cannot.
pub(crate) fn not_ready(
    s: &Situation<'_>,
    to: &Destination<'_>,
    hash: &str,
    need: u32,
) -> Option<Split> {
    let listed = to.ready(s.view, hash);
    if listed < need && !seeded!(EndpointsIgnored) {
        let what = format!(
            "{need} ready endpoints of revision {hash} in {}; there are {listed}",
            to.object
        );
        return Some(Split::hold(what));
    }
    let at = to.confirmed_at(&s.view.config)?;
    if s.now() >= at || seeded!(ConfirmationIgnored) {
        return None;
    }
    let mut split = Split::hold(format!("proxies to learn what {} selects", to.object));
    split.wake = Some(Wake { at, reason: WakeReason::RouteConfirmed });
    Some(split)
}
