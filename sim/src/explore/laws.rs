//! The invariants S1–S7, S10 and S19, over the truth: they know the laws and not the algorithm.

use sluice_crds::analysis::AnalysisPhase;
use sluice_engine::view::EndpointCounts;

use super::catalog::{
    CANARY_SERVICE, Catalog, Content, Facts, REPLICA_SETS, ROLLOUT, ROUTE, RUNS, SLOTS,
    STABLE_SERVICE,
};
use super::state::State;

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

/// Returns the Pods that a share of `n` needs: rounded up.
pub(super) fn need(n: u32, weight: u32) -> u32 {
    (n * weight).div_ceil(100)
}

/// The objects of a place, as facts.
pub(super) struct Facets<'a> {
    catalog: &'a Catalog,
    contents: [Content; SLOTS],
}

impl<'a> Facets<'a> {
    pub(super) fn new(catalog: &'a Catalog, contents: [Content; SLOTS]) -> Self {
        Self { catalog, contents }
    }

    pub(super) fn truth(catalog: &'a Catalog, state: &State) -> Self {
        Self::new(catalog, state.truth.map(|copy| copy.content))
    }

    pub(super) fn of(&self, slot: usize) -> &'a Facts {
        self.catalog.facts(self.contents[slot])
    }

    /// Returns what the canary's and the stable destination reach; nothing if they tell no revisions apart.
    pub(super) fn reached(&self) -> (&'a str, &'a str) {
        let stable = self.of(STABLE_SERVICE);
        let canary = stable.canary_hash.as_ref().unwrap_or(&self.of(CANARY_SERVICE).hash);
        (canary, &stable.hash)
    }

    /// Returns the weight that reaches a revision.
    pub(super) fn weight(&self, hash: &str) -> u32 {
        let (canary, stable, _) = self.of(ROUTE).weights;
        let (to_canary, to_stable) = self.reached();
        let via = |to: &str, weight| if to == hash { weight } else { 0 };
        via(to_canary, canary) + via(to_stable, stable)
    }

    /// Whether a destination was switched since the last tick, and what its Service lists.
    fn destination<'b>(
        &self,
        slot: usize,
        listed: [&'b EndpointCounts; 2],
    ) -> (bool, &'b EndpointCounts) {
        let by_subset = self.of(STABLE_SERVICE).canary_hash.is_some();
        let slot = if by_subset { STABLE_SERVICE } else { slot };
        (self.of(slot).fresh, listed[slot - STABLE_SERVICE])
    }

    fn sets(&self) -> impl Iterator<Item = &'a Facts> + '_ {
        REPLICA_SETS.filter(|slot| self.contents[*slot] != 0).map(|slot| self.of(slot))
    }

    pub(super) fn set(&self, hash: &str) -> Option<&'a Facts> {
        self.sets().find(|set| set.hash == hash)
    }
}

/// Checks a state.
pub(super) fn state(catalog: &Catalog, state: &State) -> Option<Broken> {
    let facts = Facets::truth(catalog, state);
    let (canary, stable, sum) = facts.of(ROUTE).weights;
    if sum != 100 {
        return broken("S1", format!("weights {canary} and {stable} of the route sum up to {sum}"));
    }
    if state.spent.foreign != 0 {
        // What others did is not ours to answer for; what we then do is judged as it lands.
        return None;
    }
    let n = facts.of(ROLLOUT).desired;
    let stable_hash = &facts.of(ROLLOUT).stable;
    for set in facts.sets() {
        let weight = facts.weight(&set.hash);
        let need = need(n, weight);
        let law = if set.hash == *stable_hash { "S4" } else { "S2" };
        if set.desired < need {
            let detail = format!(
                "{} serves {weight} % of {n} and has spec.replicas {}",
                set.hash, set.desired
            );
            return broken(law, detail);
        }
        if state.spent.pod_failures == 0 && set.available < need {
            let detail = format!(
                "{} serves {weight} % of {n} and has {} available",
                set.hash, set.available
            );
            return broken("S4", detail);
        }
    }
    if facts.set(stable_hash).is_some_and(|set| set.desired < n) {
        return broken("S4", format!("the stable set {stable_hash} has less than {n} wanted Pods"));
    }
    let served: Vec<&str> = facts
        .sets()
        .map(|set| set.hash.as_str())
        .filter(|hash| *hash != stable_hash && facts.weight(hash) > 0)
        .collect();
    if served.len() > 1 && !stable_hash.is_empty() {
        return broken("S10", format!("two candidates are served: {}", served.join(", ")));
    }
    None
}

/// Checks a write of ours that has landed, of this term, on this slot.
pub(super) fn landed(
    catalog: &Catalog,
    before: &State,
    after: &State,
    slot: usize,
    term: u8,
    fenced: bool,
) -> Option<Broken> {
    let (was, is) = (Facets::truth(catalog, before), Facets::truth(catalog, after));
    if fenced && was.of(slot).term > term {
        let detail =
            format!("a write of term {term} landed on an object of term {}", was.of(slot).term);
        return broken("S19", detail);
    }
    let n = was.of(ROLLOUT).desired;
    let rollout = was.of(ROLLOUT);
    let undisturbed = before.spent.foreign == 0;
    if undisturbed && REPLICA_SETS.contains(&slot) && is.of(slot).desired < was.of(slot).desired {
        let set = was.of(slot);
        let recent = u32::from(before.recent_weight[slot - REPLICA_SETS.start]);
        if is.of(slot).desired < need(n, recent) {
            let detail = format!(
                "{} is scaled from {} to {} within the delay after it served {recent} %",
                set.hash,
                set.desired,
                is.of(slot).desired
            );
            return broken("S5", detail);
        }
        let served = was.weight(&set.hash);
        if rollout.aborted && set.hash == rollout.hash && served > 0 {
            return broken(
                "S7",
                format!("aborted {} is scaled down while it serves {served} %", set.hash),
            );
        }
    }
    if undisturbed && before.spent.pod_failures == 0 {
        let (canary, stable, _) = was.of(ROUTE).weights;
        let ((from_canary, from_stable), (to_canary, to_stable)) = (was.reached(), is.reached());
        let both = [(from_canary, to_canary, canary), (from_stable, to_stable, stable)];
        for (from, to, weight) in both {
            let carries = is.set(to).is_some_and(|set| set.available >= need(n, weight));
            // The first switch of a destination that told no revisions apart takes nothing away from anybody.
            if from != to && !from.is_empty() && weight > 0 && !carries {
                return broken(
                    "S6",
                    format!(
                        "a destination with weight {weight} is switched to {to}, which cannot carry it"
                    ),
                );
            }
        }
    }
    if slot == ROUTE && rollout.aborted && rollout.hash != rollout.stable {
        let (from, to) = (was.weight(&rollout.hash), is.weight(&rollout.hash));
        if to > from {
            return broken(
                "S7",
                format!("weight of aborted {} rises from {from} to {to}", rollout.hash),
            );
        }
    }
    if slot == ROLLOUT && rollout.stable != is.of(ROLLOUT).stable && !rollout.stable.is_empty() {
        return promoted(&was, &is, n);
    }
    judged(catalog, before, &was, &is, slot)
}

/// S12: the step of an analysis is left only with a run that succeeded.
fn judged(
    catalog: &Catalog,
    before: &State,
    was: &Facets<'_>,
    is: &Facets<'_>,
    slot: usize,
) -> Option<Broken> {
    let (from, to) = (was.of(ROLLOUT), is.of(ROLLOUT));
    let analysis = from.analysis_step?;
    let leaves = slot == ROLLOUT
        && from.hash == to.hash
        && from.step == analysis
        && to.step == analysis + 1
        && !from.promotes_fully
        && !from.stable.is_empty();
    let evidence = RUNS
        .map(|slot| catalog.facts(before.truth[slot].content))
        .any(|run| run.phase == Some(AnalysisPhase::Successful) && run.hash == from.hash);
    if leaves && !evidence {
        return broken("S12", format!("{} leaves its analysis, and no run succeeded", from.hash));
    }
    None
}

fn promoted(was: &Facets<'_>, is: &Facets<'_>, n: u32) -> Option<Broken> {
    let (rollout, to) = (was.of(ROLLOUT), &is.of(ROLLOUT).stable);
    if rollout.aborted && *to == rollout.hash {
        return broken("S8", format!("aborted {to} becomes stable"));
    }
    let set = was.set(to);
    if set.is_none_or(|set| set.desired < n) {
        return broken("S9", format!("{to} becomes stable with less than {n} wanted Pods"));
    }
    None
}

/// Checks, on what a leader sees, that its plan raises no weight towards Pods that it does not see (S3).
///
/// One exception is the lesser evil: the stable set takes all when what loses the weight cannot carry its part either.
pub(super) fn raise(seen: &Facets<'_>, routed: &Facets<'_>) -> Option<Broken> {
    let n = seen.of(ROLLOUT).desired;
    for set in seen.sets() {
        let (from, to) = (seen.weight(&set.hash), routed.weight(&set.hash));
        if to <= from || set.proved >= need(n, to) {
            continue;
        }
        let least = 100_u32.saturating_sub(set.proved * 100 / n.max(1));
        let carries = |other: &Facts| {
            let kept = seen.weight(&other.hash).min(least);
            other.hash != set.hash && kept > 0 && other.proved >= need(n, kept).max(1)
        };
        if set.hash == seen.of(ROLLOUT).stable && !seen.sets().any(carries) {
            continue;
        }
        let detail = format!(
            "weight of {} is raised from {from} to {to} with {} of {} available",
            set.hash,
            set.proved,
            need(n, to)
        );
        return broken("S3", detail);
    }
    None
}

/// Checks, on what a leader sees, that weight rises only on destinations whose last switch proxies know, and that list the
/// Pods for it ("endpoints before weight"). Of an abort that takes weight from what
/// failed nothing but speed is asked.
pub(super) fn endpoints_first(
    seen: &Facets<'_>,
    routed: &Facets<'_>,
    listed: [&EndpointCounts; 2],
) -> Option<Broken> {
    let n = seen.of(ROLLOUT).desired;
    let (canary_hash, stable_hash) = seen.reached();
    let rollout = seen.of(ROLLOUT);
    let failed = |run: &Facts| {
        run.hash == rollout.hash
            && matches!(run.phase, Some(AnalysisPhase::Failed | AnalysisPhase::Error))
    };
    let aborts = rollout.asked_abort || RUNS.map(|slot| seen.of(slot)).any(failed);
    if aborts && *canary_hash == *rollout.hash {
        return None;
    }
    let stable = (STABLE_SERVICE, seen.of(ROUTE).weights.1, routed.of(ROUTE).weights.1);
    let canary = (CANARY_SERVICE, seen.of(ROUTE).weights.0, routed.of(ROUTE).weights.0);
    for (slot, from, to) in [stable, canary] {
        let (hash, lost) = if slot == STABLE_SERVICE {
            (stable_hash, canary_hash)
        } else {
            (canary_hash, stable_hash)
        };
        if to <= from || hash.is_empty() {
            continue;
        }
        // What loses the weight has no Pods at all: anything is better.
        if seen.set(lost).is_none_or(|set| set.proved == 0) {
            continue;
        }
        let (fresh, listed) = seen.destination(slot, listed);
        let (ready, need) = (listed.of(hash), need(n, to));
        if fresh || ready < need {
            let detail = format!(
                "weight of {hash} rises from {from} to {to}: {ready} of {need} endpoints are listed, switched just now: {fresh}"
            );
            return broken("endpoints before weight", detail);
        }
    }
    None
}

/// Checks a sight on which a leader does nothing: no weight stays on Pods that are gone while the stable set could take it
/// (S4, F25).
pub(super) fn stays(seen: &Facets<'_>, listed: [&EndpointCounts; 2]) -> Option<Broken> {
    let rollout = seen.of(ROLLOUT);
    let (to_canary, to_stable) = seen.reached();
    let is_canary = rollout.hash != rollout.stable && *to_canary == *rollout.hash;
    if !is_canary || *to_stable != *rollout.stable {
        return None;
    }
    let (canary, stable) = (seen.set(&rollout.hash)?, seen.set(&rollout.stable)?);
    let (weight, n) = (seen.weight(&rollout.hash), rollout.desired);
    let lost = canary.observed && canary.proved < need(n, weight);
    let (fresh, listed) = seen.destination(STABLE_SERVICE, listed);
    // One percent more for the stable set is progress already.
    let spare =
        stable.proved.min(listed.of(&stable.hash)) >= need(n, 101_u32.saturating_sub(weight));
    if weight > 0 && lost && spare && !fresh {
        let detail = format!(
            "{weight} % stay on {} with {} available, and {} could take some of it",
            rollout.hash, canary.proved, rollout.stable
        );
        return broken("S4", detail);
    }
    None
}

/// Checks a state in which nothing happens any more by itself: the stable revision serves all and has all its Pods, and what
/// it replaces is either promoted or aborted (L1, L2).
pub(super) fn rest(catalog: &Catalog, state: &State) -> Option<Broken> {
    let facts = Facets::truth(catalog, state);
    let rollout = facts.of(ROLLOUT);
    let weight = facts.weight(&rollout.stable);
    if rollout.hash != rollout.stable && !rollout.aborted {
        return broken(
            "L1",
            format!(
                "nothing happens any more, and {} is neither promoted nor aborted",
                rollout.hash
            ),
        );
    }
    if weight != 100 {
        return broken(
            "L2",
            format!("nothing happens any more, and the stable {} has {weight} %", rollout.stable),
        );
    }
    None
}
