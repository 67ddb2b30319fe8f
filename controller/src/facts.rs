//! Results of measurements that no status records yet. Both the run's decision and the Rollout's read them, and a new one
//! wakes both at once: the weight-0 write does not wait for the run's own patch.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use sluice_engine::view::MeasurementFact;

/// Facts by uid of the run.
#[derive(Default)]
pub(crate) struct Facts(Mutex<BTreeMap<String, Vec<MeasurementFact>>>);

impl Facts {
    /// Returns the facts of a run, in the order in which they ended.
    pub(crate) fn of(&self, run_uid: &str) -> Vec<MeasurementFact> {
        let facts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        facts.get(run_uid).cloned().unwrap_or_default()
    }

    pub(crate) fn add(&self, run_uid: &str, fact: MeasurementFact) {
        let mut facts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        facts.entry(run_uid.to_owned()).or_default().push(fact);
    }

    /// Keeps only facts that are not in the run's status yet: those whose number is not below what is recorded.
    pub(crate) fn prune(&self, run_uid: &str, recorded: impl Fn(&str) -> u32) {
        let mut facts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_run) = facts.get_mut(run_uid) {
            of_run.retain(|fact| fact.sequence >= recorded(&fact.metric));
            if of_run.is_empty() {
                facts.remove(run_uid);
            }
        }
    }

    /// Forgets the facts of all other runs.
    pub(crate) fn keep(&self, alive: &BTreeSet<String>) {
        let mut facts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        facts.retain(|run_uid, _| alive.contains(run_uid));
    }

    pub(crate) fn forget(&self, run_uid: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(run_uid);
    }
}
