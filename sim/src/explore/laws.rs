//! The invariants over the truth: they know the laws and not the algorithm. What a leader sees is judged in [`sight`].

use sluice_crds::analysis::AnalysisPhase;

use super::catalog::{
    CANARY_SERVICE, Catalog, Content, REPLICA_SETS, ROLLOUT, ROUTE, RUNS, SLOTS, STABLE_SERVICE,
};
use super::facts::{Facts, Health, Revision, need};
use super::state::State;

mod rest;
pub(super) mod sight;

pub(super) use rest::rest;

/// A broken law.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Identifier, such as `S2`.
    pub law: &'static str,
    /// What was found.
    pub detail: String,
}

fn broken(law: &'static str, detail: String) -> Option<Broken> {
    Some(Broken { law, detail })
}

/// What the laws must know of the configuration.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Limits {
    pub(super) is_routed: bool,
    /// Pods above and below `spec.replicas` that a basic canary may use.
    pub(super) surge: u32,
    pub(super) unavailable: u32,
    /// Least and greatest `spec.replicas` that the user may ask for.
    pub(super) least: u32,
    pub(super) most: u32,
}

/// A destination.
#[derive(Clone, Copy)]
pub(super) struct Reach {
    /// Its Service; with subsets that of the one or the other all the same.
    pub(super) slot: usize,
    pub(super) revision: Revision,
    pub(super) weight: u32,
}

/// The objects of a place, as facts.
pub(super) struct Facets<'a> {
    pub(super) catalog: &'a Catalog,
    contents: [Content; SLOTS],
}

impl<'a> Facets<'a> {
    pub(super) fn new(catalog: &'a Catalog, contents: [Content; SLOTS]) -> Self {
        Self { catalog, contents }
    }

    pub(super) fn truth(catalog: &'a Catalog, state: &State) -> Self {
        Self::new(catalog, state.truth.content)
    }

    pub(super) fn of(&self, slot: usize) -> &'a Facts {
        self.catalog.facts(self.contents[slot])
    }

    /// Returns the two destinations by their places: what each reaches (nothing if it tells no revisions apart), and its
    /// weight. All users of a blue-green Rollout are at its active Service.
    pub(super) fn destinations(&self) -> [Reach; 2] {
        let stable = self.of(STABLE_SERVICE);
        let to_canary = stable.canary_hash.unwrap_or(self.of(CANARY_SERVICE).hash);
        let weights = match self.of(ROLLOUT).is_blue_green {
            true => (0, 100),
            false => (self.of(ROUTE).weights.0, self.of(ROUTE).weights.1),
        };
        [
            Reach { slot: STABLE_SERVICE, revision: stable.hash, weight: weights.1 },
            Reach { slot: CANARY_SERVICE, revision: to_canary, weight: weights.0 },
        ]
    }

    /// Returns the canary's and the stable destination.
    pub(super) fn roles(&self) -> (Reach, Reach) {
        let [stable, canary] = self.destinations();
        if self.of(ROLLOUT).swapped { (stable, canary) } else { (canary, stable) }
    }

    /// Returns what the canary's and the stable destination reach; nothing if they tell no revisions apart.
    pub(super) fn reached(&self) -> (Revision, Revision) {
        let (canary, stable) = self.roles();
        (canary.revision, stable.revision)
    }

    /// Returns the weight that reaches a revision. A route of ours to it, whatever it matches, counts as the least weight.
    pub(super) fn weight(&self, revision: Revision) -> u32 {
        let to = self.destinations().into_iter().filter(|to| to.revision == revision);
        let weight = to.map(|to| to.weight).sum::<u32>().min(100);
        let led = self.of(ROUTE).exposes && self.reached().0 == revision;
        weight.max(u32::from(led))
    }

    pub(super) fn sets(&self) -> impl Iterator<Item = &'a Facts> + '_ {
        REPLICA_SETS.filter(|slot| self.contents[*slot] != 0).map(|slot| self.of(slot))
    }

    pub(super) fn set(&self, revision: Revision) -> Option<&'a Facts> {
        self.sets().find(|set| set.hash == revision)
    }

    pub(super) fn hash(&self, revision: Revision) -> &'a str {
        self.catalog.revisions.hash(revision)
    }

    /// Returns the Pods that the weight needs: the size that the step declares for the candidate, else its share. Between two
    /// steps the smaller declaration counts.
    fn need(&self, revision: Revision, n: u32, weight: u32) -> u32 {
        let share = need(n, weight);
        if weight == 0 || n == 0 || revision == self.of(ROLLOUT).stable {
            return share;
        }
        let rollout = self.of(ROLLOUT);
        if revision != rollout.hash {
            // What a former candidate was declared to have is not on record any more.
            return rollout.least_declared.map_or(share, |size| size.of(n)).min(share);
        }
        let [now, before] = rollout.declared.map(|size| size.map_or(share, |size| size.of(n)));
        now.min(before)
    }

    /// Returns the Pods that the weight needs at the current step.
    pub(super) fn need_now(&self, revision: Revision, weight: u32) -> u32 {
        let rollout = self.of(ROLLOUT);
        let share = need(rollout.desired, weight);
        let declared = rollout.declared[0].filter(|_| revision != rollout.stable && weight > 0);
        declared.map_or(share, |size| size.of(rollout.desired))
    }

    /// Whether every set has the Pods that its weight needs, and the stable one all, unless it follows its weight.
    fn suffices(&self, n: u32) -> bool {
        let rollout = self.of(ROLLOUT);
        let stable = if rollout.is_dynamic { 0 } else { rollout.stable };
        self.sets().all(|set| {
            let need = self.need(set.hash, n, self.weight(set.hash));
            let whole = set.hash != stable || (set.desired >= n && set.available >= n);
            whole && set.desired >= need && set.available >= need
        })
    }
}

/// Notes how many replicas the laws count on: fewer at once, more once they are there (S14).
pub(super) fn count(catalog: &Catalog, state: &mut State, is_routed: bool) {
    let facts = Facets::truth(catalog, state);
    let n = facts.of(ROLLOUT).desired;
    if n < u32::from(state.counted) || (is_routed && facts.suffices(n)) {
        state.counted = u8::try_from(n).unwrap_or(u8::MAX);
    }
}

/// Checks a state.
pub(super) fn state(catalog: &Catalog, state: &State, is_routed: bool) -> Option<Broken> {
    if !is_routed {
        return None;
    }
    let facts = Facets::truth(catalog, state);
    let (canary, stable, sum) = facts.of(ROUTE).weights;
    if sum != 100 && state.truth.content[ROUTE] != 0 {
        return broken("S1", format!("weights {canary} and {stable} of the route sum up to {sum}"));
    }
    if state.spent.foreign != 0 {
        // What others did is not ours to answer for; what we then do is judged as it lands.
        return None;
    }
    let n = u32::from(state.counted);
    let stable = facts.of(ROLLOUT).stable;
    let mut served = 0;
    for set in facts.sets() {
        let weight = facts.weight(set.hash);
        let need = facts.need(set.hash, n, weight);
        let law = if set.hash == stable { "S4" } else { "S2" };
        let name = facts.hash(set.hash);
        if set.desired < need {
            let wanted = set.desired;
            return broken(
                law,
                format!("{name} serves {weight} % of {n} and has spec.replicas {wanted}"),
            );
        }
        if state.spent.pod_failures == 0 && set.available < need {
            let available = set.available;
            return broken("S4", format!("{name} serves {weight} % of {n}: {available} available"));
        }
        served += u32::from(set.hash != stable && weight > 0);
    }
    let is_whole =
        facts.of(ROLLOUT).is_dynamic || facts.set(stable).is_none_or(|set| set.desired >= n);
    if !is_whole {
        let name = facts.hash(stable);
        return broken("S4", format!("the stable set {name} has less than {n} wanted Pods"));
    }
    if served > 1 && stable != 0 {
        return broken("S10", format!("{served} candidates are served"));
    }
    None
}

/// A write of ours that has landed.
pub(super) struct Landing<'a> {
    pub(super) slot: usize,
    /// Term of its sender.
    pub(super) term: u8,
    pub(super) before: &'a State,
    pub(super) after: &'a State,
}

/// Checks a write of ours that has landed.
pub(super) fn landed(
    catalog: &Catalog,
    landing: &Landing<'_>,
    limits: &Limits,
    is_fenced: bool,
) -> Option<Broken> {
    let (before, slot) = (landing.before, landing.slot);
    let (was, is) = (Facets::truth(catalog, before), Facets::truth(catalog, landing.after));
    let newest = was.of(slot).term;
    if is_fenced && newest > landing.term {
        let term = landing.term;
        return broken("S19", format!("a write of term {term} landed on one of term {newest}"));
    }
    if REPLICA_SETS.contains(&slot) {
        return if limits.is_routed {
            shrunk(before, &was, &is, slot)
        } else {
            within_bounds(before, &was, &is, limits)
        };
    }
    if slot == ROLLOUT {
        return stepped(&was, &is)
            .or_else(|| promoted(&was, &is))
            .or_else(|| judged(&was, &is))
            .or_else(|| healthy(before, &was, &is, limits));
    }
    let rollout = was.of(ROLLOUT);
    if rollout.aborted && rollout.hash != rollout.stable {
        let (from, to) = (was.weight(rollout.hash), is.weight(rollout.hash));
        if to > from {
            let hash = was.hash(rollout.hash);
            return broken("S7", format!("weight of aborted {hash} rises from {from} to {to}"));
        }
    }
    switched(before, &was, &is)
}

/// S5, S7: traffic leaves first, then replicas.
fn shrunk(before: &State, was: &Facets<'_>, is: &Facets<'_>, slot: usize) -> Option<Broken> {
    let (set, to) = (was.of(slot), is.of(slot).desired);
    if before.spent.foreign != 0 || to >= set.desired {
        return None;
    }
    let name = was.hash(set.hash);
    let recent = u32::from(before.recent_weight[slot - REPLICA_SETS.start]);
    if to < was.need(set.hash, u32::from(before.counted), recent) {
        let from = set.desired;
        return broken(
            "S5",
            format!(
                "{name} is scaled from {from} to {to} within the delay after it served {recent} %"
            ),
        );
    }
    let (rollout, served) = (was.of(ROLLOUT), was.weight(set.hash));
    // Where the stable set follows its share, the canary gives its Pods back with its weight, step by step.
    if rollout.aborted && set.hash == rollout.hash && served > 0 && !rollout.is_dynamic {
        return broken("S7", format!("aborted {name} is scaled down while it serves {served} %"));
    }
    None
}

/// S13: a basic canary stays within surge and unavailability by our own hand.
fn within_bounds(
    before: &State,
    was: &Facets<'_>,
    is: &Facets<'_>,
    limits: &Limits,
) -> Option<Broken> {
    let wanted = |facts: &Facets<'_>| facts.sets().map(|set| set.desired).sum::<u32>();
    let available = |facts: &Facets<'_>| facts.sets().map(|set| set.available).sum::<u32>();
    let most = limits.most + limits.surge;
    if wanted(is) > most && wanted(is) > wanted(was) {
        return broken("S13", format!("{} Pods are wanted, at most {most} may be", wanted(is)));
    }
    let least = limits.least.saturating_sub(limits.unavailable);
    let fewer = available(is) < least && available(is) < available(was);
    if fewer && before.spent.pod_failures == 0 {
        let left = available(is);
        return broken("S13", format!("{left} Pods are left, at least {least} must be"));
    }
    None
}

/// S6: what a destination with weight resolves to changes only onto Pods that can carry it.
fn switched(before: &State, was: &Facets<'_>, is: &Facets<'_>) -> Option<Broken> {
    if before.spent.foreign != 0 || before.spent.pod_failures != 0 {
        return None;
    }
    let n = u32::from(before.counted);
    let led = was.of(ROUTE).exposes.then_some(was.roles().0.slot);
    for (before, after) in was.destinations().into_iter().zip(is.destinations()) {
        let (from, to) = (before.revision, after.revision);
        let weight = before.weight.max(u32::from(led == Some(before.slot)));
        let carries = is.set(to).is_some_and(|set| set.available >= need(n, weight));
        // The first switch of a destination that told no revisions apart takes nothing away from anybody.
        if from != to && from != 0 && weight > 0 && !carries {
            let to = is.hash(to);
            return broken(
                "S6",
                format!(
                    "a destination with weight {weight} is switched to {to}, which cannot carry it"
                ),
            );
        }
    }
    None
}

/// S9, S11: steps move by one, and promotions are counted.
fn stepped(was: &Facets<'_>, is: &Facets<'_>) -> Option<Broken> {
    let (from, to) = (was.of(ROLLOUT), is.of(ROLLOUT));
    let counted = i64::from(from.stable != to.stable);
    if to.stable_seq != from.stable_seq + counted {
        let (from, to) = (from.stable_seq, to.stable_seq);
        return broken("S9", format!("stableSeq moves from {from} to {to}"));
    }
    let same = from.hash == to.hash && from.attempt == to.attempt && from.stable == to.stable;
    let free = from.stable == 0 || from.promotes_fully || from.asked_abort || to.asked_abort;
    if same && !free && to.step != from.step && to.step != from.step + 1 {
        let (from, to) = (from.step, to.step);
        return broken("S11", format!("the step moves from {from} to {to}"));
    }
    None
}

/// S12: the step of an analysis is left only with a run that succeeded.
fn judged(was: &Facets<'_>, is: &Facets<'_>) -> Option<Broken> {
    let (from, to) = (was.of(ROLLOUT), is.of(ROLLOUT));
    let on = to.step == from.step + 1 || to.stable != from.stable;
    let promoted = from.judged_after && to.stable != from.stable && !from.goes_back_fast;
    let leaves = (((from.at_analysis || from.at_experiment) && on) || promoted)
        && from.hash == to.hash
        && !from.promotes_fully
        && from.stable != 0;
    let evidence = RUNS.map(|slot| was.of(slot)).any(|run| {
        run.phase == Some(AnalysisPhase::Successful)
            && run.hash == from.hash
            && run.is_experiment == from.at_experiment
    });
    if leaves && !evidence {
        let hash = was.hash(from.hash);
        return broken("S12", format!("{hash} leaves its analysis, and no run succeeded"));
    }
    None
}

/// S8, S9: what becomes stable was not aborted and has all its Pods.
fn promoted(was: &Facets<'_>, is: &Facets<'_>) -> Option<Broken> {
    let (rollout, to) = (was.of(ROLLOUT), is.of(ROLLOUT).stable);
    if rollout.stable == to || rollout.stable == 0 {
        return None;
    }
    let name = was.hash(to);
    if rollout.aborted && to == rollout.hash {
        return broken("S8", format!("aborted {name} becomes stable"));
    }
    let n = rollout.desired;
    if was.set(to).is_none_or(|set| set.desired < n) {
        return broken("S9", format!("{name} becomes stable with less than {n} wanted Pods"));
    }
    None
}

/// S23: who is called Healthy is stable, whole, and has all traffic.
fn healthy(before: &State, was: &Facets<'_>, is: &Facets<'_>, limits: &Limits) -> Option<Broken> {
    let (from, rollout) = (was.of(ROLLOUT), is.of(ROLLOUT));
    let becomes = rollout.health == Health::Healthy && from.health != Health::Healthy;
    if !becomes || before.spent.foreign != 0 || before.spent.pod_failures != 0 {
        return None;
    }
    let (n, weight) = (u32::from(before.counted), is.weight(rollout.stable));
    let whole = is.set(rollout.stable).is_some_and(|set| set.desired >= n);
    let reached = !limits.is_routed || n == 0 || weight == 100;
    if rollout.hash == rollout.stable && whole && reached {
        return None;
    }
    let name = is.hash(rollout.stable);
    broken("S23", format!("Healthy with {weight} % on {name}, whole: {whole}"))
}
