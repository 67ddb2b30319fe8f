//! The invariants S1–S7, S10 and S19, over the truth: they know the laws and not the algorithm.

use sluice_engine::view::EndpointCounts;

use super::catalog::{
    CANARY_SERVICE, Catalog, Content, Facts, REPLICA_SETS, ROLLOUT, ROUTE, SLOTS, STABLE_SERVICE,
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

    /// Returns the weight that reaches a revision.
    pub(super) fn weight(&self, hash: &str) -> u32 {
        let (canary, stable, _) = self.of(ROUTE).weights;
        let via = |slot: usize, weight| if self.of(slot).hash == hash { weight } else { 0 };
        via(CANARY_SERVICE, canary) + via(STABLE_SERVICE, stable)
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
    if REPLICA_SETS.contains(&slot) && is.of(slot).desired < was.of(slot).desired {
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
    if slot == STABLE_SERVICE || slot == CANARY_SERVICE {
        let (canary, stable, _) = was.of(ROUTE).weights;
        let weight = if slot == STABLE_SERVICE { stable } else { canary };
        let to = &is.of(slot).hash;
        let carries = is.set(to).is_some_and(|set| set.available >= need(n, weight));
        // The first switch of a Service that told no revisions apart takes nothing away from anybody.
        let switches = was.of(slot).hash != *to && !was.of(slot).hash.is_empty();
        if switches && weight > 0 && !carries && before.spent.pod_failures == 0 {
            return broken(
                "S6",
                format!(
                    "a destination with weight {weight} is switched to {to}, which cannot carry it"
                ),
            );
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
/// Pods for it ("endpoints before weight"). Of an abort nothing but speed is asked.
pub(super) fn endpoints_first(
    seen: &Facets<'_>,
    routed: &Facets<'_>,
    listed: [&EndpointCounts; 2],
) -> Option<Broken> {
    let n = seen.of(ROLLOUT).desired;
    if seen.of(ROLLOUT).asked_abort {
        return None;
    }
    let stable = (STABLE_SERVICE, seen.of(ROUTE).weights.1, routed.of(ROUTE).weights.1);
    let canary = (CANARY_SERVICE, seen.of(ROUTE).weights.0, routed.of(ROUTE).weights.0);
    for ((slot, from, to), listed) in [stable, canary].into_iter().zip(listed) {
        let service = seen.of(slot);
        if to <= from || service.hash.is_empty() {
            continue;
        }
        // What loses the weight has no Pods at all: anything is better.
        let lost = if slot == STABLE_SERVICE { CANARY_SERVICE } else { STABLE_SERVICE };
        if seen.set(&seen.of(lost).hash).is_none_or(|set| set.proved == 0) {
            continue;
        }
        let (ready, need) = (listed.of(&service.hash), need(n, to));
        if service.fresh || ready < need {
            let detail = format!(
                "weight of {} rises from {from} to {to}: {ready} of {need} endpoints are listed, switched just now: {}",
                service.hash, service.fresh
            );
            return broken("endpoints before weight", detail);
        }
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
