//! What must be when nothing happens any more by itself (L1, L2).

use super::super::catalog::{Catalog, ROLLOUT, ROUTE};
use super::super::facts::Health;
use super::super::state::State;
use super::{Broken, Facets, Limits, broken};

/// Checks a state in which nothing happens any more by itself: the stable revision serves all and has all its Pods, what it
/// replaces is either promoted or aborted, and nothing is left of it (L1, L2).
pub(in super::super) fn rest(catalog: &Catalog, state: &State, limits: &Limits) -> Option<Broken> {
    let facts = Facets::truth(catalog, state);
    let rollout = facts.of(ROLLOUT);
    if rollout.waits_for_person {
        return None;
    }
    let (n, stable) = (rollout.desired, facts.hash(rollout.stable));
    let is_promoted = rollout.hash == rollout.stable;
    if !is_promoted && !rollout.aborted {
        let hash = facts.hash(rollout.hash);
        return broken(
            "L1",
            format!("nothing happens any more, and {hash} is neither promoted nor aborted"),
        );
    }
    let law = if is_promoted { "L1" } else { "L2" };
    let weight = facts.weight(rollout.stable);
    if limits.is_routed && n > 0 && weight != 100 {
        return broken(
            law,
            format!("nothing happens any more, and the stable {stable} has {weight} %"),
        );
    }
    if facts.of(ROUTE).rules > 0 {
        return broken(law, "nothing happens any more, and a route of a step is left".to_owned());
    }
    for set in facts.sets() {
        let wanted = if set.hash == rollout.stable { n } else { 0 };
        if set.desired != wanted || set.available != wanted {
            let (name, size, available) = (facts.hash(set.hash), set.desired, set.available);
            return broken(
                law,
                format!(
                    "nothing happens any more, and {name} has {available} of {size}, not {wanted}"
                ),
            );
        }
    }
    let due = if is_promoted { Health::Healthy } else { Health::Degraded };
    if rollout.health != due {
        return broken(law, format!("nothing happens any more, and it is not {due:?}"));
    }
    None
}
