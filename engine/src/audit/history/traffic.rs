//! S1–S7, S10: weights, capacity, switches.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sluice_crds::labels::POD_TEMPLATE_HASH;

use super::super::law::{RouteShares, Routing, need, replicas};
use super::super::state::State;
use super::{DECIDED_AGO, History, Step, TOLERANCE};
use crate::traffic::made::Note;

/// Whether weight goes back to a stable version that is too small, away from one that cannot carry it either.
fn is_lesser_evil(before: &State, after: &State, hash: &str) -> bool {
    let weight = |state: &State| state.weights.get(hash).copied().unwrap_or(0);
    after.stable_hash() == Some(hash)
        && weight(after) > weight(before)
        && before.weights.iter().any(|(other, weight)| {
            other != hash && *weight > 0 && before.available(other) < before.least(other, *weight)
        })
}

impl History {
    /// S1.
    pub(super) fn weights_are_whole(&mut self, step: &Step<'_>, after: &State) {
        let Some(routing) = Routing::of(&after.rollout) else { return };
        let (true, Some(old)) = (step.is("VirtualService"), &step.old) else { return };
        let shares_of = |object: &Value| {
            let own = routing.own(&Note::of(object).made(&after.rollout.meta.name).routes);
            routing.shares(&step.key.2, &object["spec"], &own)
        };
        let shares = shares_of(&step.revision.object);
        if shares == shares_of(old) {
            return;
        }
        if let Some(bad) = shares.iter().find(|s| !s.in_range || s.total != 100) {
            let total = bad.total;
            self.fail("S1", step, format!("weights of a managed route add up to {total}"));
        }
        let first = shares.first().map_or(0, |s| s.canary);
        if let Some(other) = shares.iter().find(|s| s.canary != first) {
            let detail = format!("one write leaves routes at weights {first} and {}", other.canary);
            self.fail("S1", step, detail);
        }
    }

    /// S2, S4: an ours-write leaves no set smaller than its weight needs, or smaller than it was needed before, unless it takes
    /// weight from a set that cannot carry it. A step that takes `setCanaryScale` out of force takes nothing away: the set grows
    /// before the weight does.
    pub(super) fn capacity_suffices(&mut self, step: &Step<'_>, before: &State, after: &State) {
        let moves_on = step.is("Rollout") && before.stable_hash() == after.stable_hash();
        for (hash, weight) in &after.weights {
            let (was, is) = (before.deficit(hash), after.deficit(hash));
            if is > was && !moves_on && !is_lesser_evil(before, after, hash) {
                let detail = format!("{hash} has {weight} % and {is} Pods too few wanted");
                self.fail("S2", step, detail);
            }
        }
        let n = replicas(&after.rollout.spec);
        if let Some(st) = after.stable_hash()
            && before.stable_hash() == Some(st)
            && !after.shares.is_empty()
            && !after.scales_stable()
        {
            let (was, is) = (before.size(st), after.size(st));
            if is < was && is < n {
                self.fail("S4", step, format!("stable {st} shrinks to {is}, below {n}"));
            }
        }
    }

    /// S3, S7: weight rises only onto available Pods, and not on what is aborted.
    pub(super) fn raises_are_safe(&mut self, step: &Step<'_>, before: &State, after: &State) {
        if !step.is("VirtualService") || replicas(&after.rollout.spec) == 0 {
            return;
        }
        for (hash, weight) in &after.weights {
            let was = before.weights.get(hash).copied().unwrap_or(0);
            if *weight <= was {
                continue;
            }
            let least = after.least(hash, *weight);
            let available = self.lately(after, hash, step.at());
            if available < least && !is_lesser_evil(before, after, hash) {
                let detail =
                    format!("{hash} gets {weight} % with {available} of {least} available Pods");
                self.fail("S3", step, detail);
            }
            if after.is_aborted() && before.is_aborted() && after.candidate() == Some(hash) {
                self.fail("S7", step, format!("aborted {hash} gets {weight} %"));
            }
        }
    }

    /// S3, S7: a route of our own, which leads to the canary as a whole, comes only when Pods of the candidate are behind it, and
    /// not to what is aborted.
    pub(super) fn own_routes_are_safe(&mut self, step: &Step<'_>, before: &State, after: &State) {
        let appears = after.exposed && !before.exposed && replicas(&after.rollout.spec) > 0;
        if !step.is("VirtualService") || !appears {
            return;
        }
        let reached = after.canary.clone().unwrap_or_default();
        if self.lately(after, &reached, step.at()) == 0 {
            let detail =
                format!("a route of its own leads to {reached}, which has no available Pod");
            self.fail("S3", step, detail);
        }
        if after.is_aborted() && before.is_aborted() && after.candidate() == Some(&reached) {
            self.fail("S7", step, format!("aborted {reached} gets a route of its own"));
        }
    }

    /// The most Pods of the hash that were available when the write may have been decided.
    pub(super) fn lately(&self, state: &State, hash: &str, at: DateTime<Utc>) -> u32 {
        let seen = self
            .memory
            .get(&state.rollout.meta.uid)
            .and_then(|memory| memory.available.get(hash))
            .into_iter()
            .flatten()
            .filter(|(until, _)| at - *until <= DECIDED_AGO)
            .map(|(_, available)| *available)
            .max();
        state.available(hash).max(seen.unwrap_or(0))
    }

    /// S6.
    pub(super) fn switches_are_safe(&mut self, step: &Step<'_>, before: &State, after: &State) {
        if before.is_blue_green() || (!step.is("Service") && !step.is("DestinationRule")) {
            return;
        }
        let most = |of: fn(&RouteShares) -> i64| {
            u32::try_from(after.shares.iter().map(of).max().unwrap_or(0).max(0)).unwrap_or(100)
        };
        let canary = most(|s| s.canary).max(u32::from(before.exposed));
        let sides = [
            (&before.canary, &after.canary, canary),
            (&before.stable, &after.stable, most(|s| s.stable)),
        ];
        for (from, to, weight) in sides {
            if from == to || weight == 0 {
                continue;
            }
            let able = to
                .as_ref()
                .is_some_and(|to| self.lately(after, to, step.at()) >= after.least(to, weight));
            if !able {
                let to = to.as_deref().unwrap_or("nothing");
                self.fail("S6", step, format!("a destination with {weight} % is switched to {to}"));
            }
        }
    }

    /// S5, and the last part of S7: traffic leaves first, then replicas.
    pub(super) fn shrinking_is_safe(&mut self, step: &Step<'_>, before: &State, after: &State) {
        if !step.is("ReplicaSet") || after.shares.is_empty() {
            return;
        }
        let hash = step.revision.object["metadata"]["labels"][POD_TEMPLATE_HASH].as_str();
        let Some(hash) = hash.map(str::to_owned) else { return };
        let (was, is) = (before.size(&hash), after.size(&hash));
        if is >= was || !after.sets.contains_key(&hash) {
            return;
        }
        let since = step.at() - after.window(&hash) + TOLERANCE;
        let weight = self.most_weight(after, &hash, since);
        let wanted = need(&after.rollout.spec, &after.rollout.status, &hash, weight);
        if is < wanted {
            let detail = format!(
                "{hash} shrinks from {was} to {is} and lately had {weight} %, which needs {wanted}"
            );
            self.fail("S5", step, detail);
        }
        if after.is_exposed(&hash) && is == 0 {
            let detail = format!("{hash} shrinks to 0 while a route of its own leads to it");
            self.fail("S5", step, detail);
        }
        let carried = after.weights.get(&hash).copied().unwrap_or(0);
        let drains = after.scales_stable() && is >= wanted;
        if after.is_aborted() && after.candidate() == Some(&hash) && carried > 0 && !drains {
            self.fail("S7", step, format!("aborted {hash} shrinks with {carried} %"));
        }
    }

    /// Greatest W(h) since the instant.
    fn most_weight(&self, state: &State, hash: &str, since: DateTime<Utc>) -> u32 {
        let now = state.weights.get(hash).copied().unwrap_or(0);
        let Some(memory) = self.memory.get(&state.rollout.meta.uid) else { return now };
        let mut most = now;
        // An entry holds until the next one begins.
        let ends = memory.weights.iter().skip(1).map(|(at, _)| Some(*at)).chain([None]);
        for ((_, weights), end) in memory.weights.iter().zip(ends) {
            if end.is_none_or(|end| end > since) {
                most = most.max(weights.get(hash).copied().unwrap_or(0));
            }
        }
        most
    }

    /// S7: the first write to a route after the abort takes the weight away. A touch decides nothing.
    pub(super) fn abort_holds(&mut self, step: &Step<'_>, before: &State, after: &State) {
        let aborted = before.is_aborted() && after.is_aborted();
        if !step.is("VirtualService") || !aborted || step.is_touch() {
            return;
        }
        let Some(cd) = after.candidate() else { return };
        let weight = after.weights.get(cd).copied().unwrap_or(0);
        let able =
            after.stable_hash().is_some_and(|st| after.available(st) >= after.least(st, 100));
        let several = before.shares.len() > 1;
        if weight > 0 && able && !several {
            let detail = format!("aborted {cd} keeps {weight} % after a write to its route");
            self.fail("S7", step, detail);
        }
        if after.is_exposed(cd) && !several {
            let detail =
                format!("aborted {cd} keeps a route of its own after a write to its route");
            self.fail("S7", step, detail);
        }
    }

    /// S10.
    pub(super) fn one_candidate(&mut self, step: &Step<'_>, before: &State, after: &State) {
        let count = |state: &State| {
            let stable = state.stable_hash().map(str::to_owned);
            state.weights.iter().filter(|(h, w)| **w > 0 && Some((*h).clone()) != stable).count()
        };
        if after.stable_hash().is_some() && count(after) > 1 && count(after) > count(before) {
            self.fail("S10", step, "more than one candidate has weight");
        }
    }
}
