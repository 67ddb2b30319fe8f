//! Laws over what a leader sees when it decides: S3, S4 and "endpoints before weight".

use sluice_crds::analysis::AnalysisPhase;

use super::super::catalog::{ROLLOUT, RUNS, STABLE_SERVICE};
use super::super::facts::{Facts, need};
use super::{Broken, Facets, Reach, broken};

/// Checks that a plan raises no weight towards Pods that its leader does not see (S3).
///
/// One exception is the lesser evil: the stable set takes all when what loses the weight cannot carry its part either.
pub(in super::super) fn raise(seen: &Facets<'_>, routed: &Facets<'_>) -> Option<Broken> {
    let n = seen.of(ROLLOUT).desired;
    for set in seen.sets() {
        let (from, to) = (seen.weight(set.hash), routed.weight(set.hash));
        if to <= from || set.proved >= seen.need_now(set.hash, to) {
            continue;
        }
        let least = 100_u32.saturating_sub(set.proved * 100 / n.max(1));
        let carries = |other: &Facts| {
            let kept = seen.weight(other.hash).min(least);
            other.hash != set.hash
                && kept > 0
                && other.proved >= seen.need_now(other.hash, kept).max(1)
        };
        if set.hash == seen.of(ROLLOUT).stable && !seen.sets().any(carries) {
            continue;
        }
        let name = seen.hash(set.hash);
        let (has, needs) = (set.proved, seen.need_now(set.hash, to));
        return broken(
            "S3",
            format!(
                "weight of {name} is raised from {from} to {to} with {has} of {needs} available"
            ),
        );
    }
    None
}

/// Checks that weight rises only on destinations whose last switch proxies know, and that list the Pods for it ("endpoints
/// before weight"). Of an abort that takes weight from what failed nothing but speed is asked.
pub(in super::super) fn endpoints_first(
    seen: &Facets<'_>,
    routed: &Facets<'_>,
    listed: [u16; 2],
) -> Option<Broken> {
    let (canary_hash, _) = seen.reached();
    let rollout = seen.of(ROLLOUT);
    let failed = |run: &Facts| {
        run.hash == rollout.hash
            && matches!(run.phase, Some(AnalysisPhase::Failed | AnalysisPhase::Error))
    };
    let aborts = rollout.asked_abort || RUNS.map(|slot| seen.of(slot)).any(failed);
    if aborts && canary_hash == rollout.hash {
        return None;
    }
    let (before, after) = (seen.destinations(), routed.destinations());
    for (index, Reach { slot, revision, weight: from }) in before.into_iter().enumerate() {
        let to = after[index].weight;
        if to <= from || revision == 0 {
            continue;
        }
        // What loses the weight has no Pods at all: anything is better.
        let lost = before[1 - index].revision;
        if seen.set(lost).is_none_or(|set| set.proved == 0) {
            continue;
        }
        let (fresh, listed) = destination(seen, slot, listed);
        let (ready, need) = (seen.catalog.listed(listed, revision), seen.need_now(revision, to));
        if fresh || ready < need {
            let name = seen.hash(revision);
            return broken(
                "endpoints before weight",
                format!(
                    "weight of {name} rises from {from} to {to}: {ready} of {need} endpoints are listed, switched just now: {fresh}"
                ),
            );
        }
    }
    None
}

/// Checks a sight on which a leader does nothing: no weight stays on Pods that are gone while the stable set could take it
/// (S4, F25).
pub(in super::super) fn stays(seen: &Facets<'_>, listed: [u16; 2]) -> Option<Broken> {
    let rollout = seen.of(ROLLOUT);
    let (canary, stable) = seen.roles();
    let is_canary = rollout.hash != rollout.stable && canary.revision == rollout.hash;
    if !is_canary || stable.revision != rollout.stable || rollout.is_blue_green {
        return None;
    }
    let slot = stable.slot;
    let (canary, stable) = (seen.set(rollout.hash)?, seen.set(rollout.stable)?);
    let (weight, n) = (seen.weight(rollout.hash), rollout.desired);
    let lost = canary.observed && canary.proved < seen.need(rollout.hash, n, weight);
    let (fresh, listed) = destination(seen, slot, listed);
    // One percent more for the stable set is progress already.
    let ready = stable.proved.min(seen.catalog.listed(listed, stable.hash));
    let spare = ready >= need(n, 101_u32.saturating_sub(weight));
    if weight > 0 && lost && spare && !fresh {
        let (name, available) = (seen.hash(rollout.hash), canary.proved);
        let stable = seen.hash(rollout.stable);
        return broken(
            "S4",
            format!(
                "{weight} % stay on {name} with {available} available, and {stable} could take some of it"
            ),
        );
    }
    None
}

/// Whether a destination was switched since the last tick, and what its Service lists.
fn destination(seen: &Facets<'_>, slot: usize, listed: [u16; 2]) -> (bool, u16) {
    let by_subset = seen.of(STABLE_SERVICE).canary_hash.is_some();
    let slot = if by_subset { STABLE_SERVICE } else { slot };
    (seen.of(slot).fresh, listed[slot - STABLE_SERVICE])
}
