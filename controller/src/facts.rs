//! Results of measurements that no status records yet. Both the run's decision and the Rollout's read them, and a new one
//! wakes both at once: the weight-0 write does not wait for the run's own patch. It is the other way round: a measurement that
//! ends an update is recorded once the Rollout has acted on it, so that nothing is written before the weight is taken away.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use sluice_engine::view::MeasurementFact;
use tokio::time::Instant;

/// Facts by uid of the run.
#[derive(Default)]
pub(crate) struct Facts(Mutex<State>);

#[derive(Default)]
struct State {
    facts: BTreeMap<String, Vec<MeasurementFact>>,
    /// The fact of each run that its Rollout is to act on first, by metric and number, and when it came.
    fatal: BTreeMap<String, (String, u32, Instant)>,
}

impl State {
    fn forget(&mut self, run_uid: &str) {
        self.facts.remove(run_uid);
        self.fatal.remove(run_uid);
    }
}

impl Facts {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the facts of a run, in the order in which they ended.
    pub(crate) fn of(&self, run_uid: &str) -> Vec<MeasurementFact> {
        self.state().facts.get(run_uid).cloned().unwrap_or_default()
    }

    pub(crate) fn add(&self, run_uid: &str, fact: MeasurementFact) {
        self.state().facts.entry(run_uid.to_owned()).or_default().push(fact);
    }

    /// Adds a fact with which the run fails.
    pub(crate) fn add_fatal(&self, run_uid: &str, fact: MeasurementFact) {
        let mut state = self.state();
        let mark = (fact.metric.clone(), fact.sequence, Instant::now());
        state.fatal.entry(run_uid.to_owned()).or_insert(mark);
        state.facts.entry(run_uid.to_owned()).or_default().push(fact);
    }

    /// Returns when the fact came with which the run fails, if its Rollout has not acted on it yet.
    pub(crate) fn fatal_since(&self, run_uid: &str) -> Option<Instant> {
        self.state().fatal.get(run_uid).map(|(_, _, since)| *since)
    }

    /// Says that the Rollout has acted on a view with these facts. Returns whether the run waited for that.
    pub(crate) fn acted_on(&self, run_uid: &str, seen: &[MeasurementFact]) -> bool {
        let mut state = self.state();
        let Some((metric, sequence, _)) = state.fatal.get(run_uid) else { return false };
        let was_seen = seen.iter().any(|f| f.metric == *metric && f.sequence == *sequence);
        if was_seen {
            state.fatal.remove(run_uid);
        }
        was_seen
    }

    /// Keeps only facts that are not in the run's status yet: those whose number is not below what is recorded.
    pub(crate) fn prune(&self, run_uid: &str, recorded: impl Fn(&str) -> u32) {
        let mut state = self.state();
        if let Some(of_run) = state.facts.get_mut(run_uid) {
            of_run.retain(|fact| fact.sequence >= recorded(&fact.metric));
            if of_run.is_empty() {
                state.forget(run_uid);
            }
        }
    }

    /// Forgets the facts of all other runs.
    pub(crate) fn keep(&self, alive: &BTreeSet<String>) {
        let mut state = self.state();
        state.facts.retain(|run_uid, _| alive.contains(run_uid));
        state.fatal.retain(|run_uid, _| alive.contains(run_uid));
    }

    pub(crate) fn forget(&self, run_uid: &str) {
        self.state().forget(run_uid);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use sluice_engine::view::MeasuredValue;

    use super::*;

    fn fact(sequence: u32) -> MeasurementFact {
        let at = chrono::DateTime::UNIX_EPOCH;
        MeasurementFact {
            metric: "errors".into(),
            sequence,
            started_at: at,
            finished_at: at,
            outcome: Ok(MeasuredValue::Number(1.0)),
            metadata: BTreeMap::new(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_fatal_fact_waits_until_a_view_with_it_was_acted_on() {
        let facts = Facts::default();
        facts.add("u1", fact(0));
        let before = facts.of("u1");
        facts.add_fatal("u1", fact(1));
        assert_eq!(facts.fatal_since("u1"), Some(Instant::now()));
        assert!(!facts.acted_on("u1", &before), "an older view shows nothing");
        assert!(facts.fatal_since("u1").is_some());
        assert!(facts.acted_on("u1", &facts.of("u1")));
        assert_eq!(facts.fatal_since("u1"), None);
        assert_eq!(facts.of("u1").len(), 2, "the run still has to record both");
    }

    #[test]
    fn what_is_recorded_or_gone_is_waited_for_no_more() {
        let facts = Facts::default();
        facts.add_fatal("u1", fact(0));
        facts.add_fatal("u2", fact(0));
        facts.prune("u1", |_| 1);
        facts.keep(&BTreeSet::new());
        assert_eq!((facts.fatal_since("u1"), facts.fatal_since("u2")), (None, None));
    }
}
