//! Which objects a plan relies on (S19, `design.md` 3): the Experiment and its ReplicaSets. A Rollout may send traffic to them;
//! a late write of a former leader must not take their Pods away.

use std::collections::BTreeMap;

use sluice_crds::object::{Kind, Meta, ObjectRef};

use crate::fence::FenceState;
use crate::rollout::{Action, Target};
use crate::view::{ExperimentView, Lookup};

/// Whether a plan may be carried out.
pub(super) enum Fence {
    /// All that it relies on carries the stamp of this term.
    Closed,
    /// These touches come first.
    Touch(Vec<Action>),
}

/// Looks for an object that forbids every write, and says what is wrong.
pub(super) fn stop(view: &ExperimentView) -> Option<String> {
    for (object, meta) in everything(view) {
        match view.epoch.state(&object, meta) {
            FenceState::Lost(stamp) => {
                return Some(format!(
                    "leadership: {object} carries the stamp {stamp} of a newer term"
                ));
            }
            FenceState::ForeignLease(stamp) => {
                return Some(format!(
                    "leadership: {object} carries the stamp {stamp} of a Lease that is not ours"
                ));
            }
            FenceState::Fenced | FenceState::NeedsTouch => {}
        }
    }
    None
}

/// Returns the touches that must come before anything else, if there are any.
pub(super) fn fence(view: &ExperimentView) -> Fence {
    let mut needed: BTreeMap<ObjectRef, &Meta> = BTreeMap::new();
    needed.insert(view.object(), &view.experiment.meta);
    for set in &view.replica_sets {
        let ours = set.meta.is_owned_by(&view.experiment.meta.uid);
        if ours && set.meta.deletion_timestamp.is_none() {
            needed.insert(set.object(), &set.meta);
        }
    }
    let touches: Vec<Action> = needed
        .into_iter()
        .filter(|(object, meta)| view.epoch.state(object, meta) == FenceState::NeedsTouch)
        .map(|(object, meta)| Action::Touch {
            target: Target::of(view, object, meta),
            refresh: BTreeMap::new(),
        })
        .collect();
    if touches.is_empty() { Fence::Closed } else { Fence::Touch(touches) }
}

fn everything(view: &ExperimentView) -> Vec<(ObjectRef, &Meta)> {
    let mut all = vec![(view.object(), &view.experiment.meta)];
    all.extend(view.replica_sets.iter().map(|set| (set.object(), &set.meta)));
    let services = view.services.values().filter_map(Lookup::present);
    all.extend(services.map(|service| (service.object(), &service.meta)));
    let routes = view.routes.values().filter_map(Lookup::present);
    all.extend(routes.map(|route| (route.object.clone(), &route.meta)));
    let runs = view.analysis_runs.iter();
    all.extend(runs.map(|run| (run.run.meta.object(Kind::ANALYSIS_RUN), &run.run.meta)));
    all
}
