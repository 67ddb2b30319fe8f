//! Bad input in Experiments.

use serde_json::Value;
use sluice_crds::object::{Kind, ObjectRef};
use sluice_crds::{crd, validate};
use sluice_engine::experiment::ExperimentReconciler;
use sluice_engine::plan::{Lower, Reconciler};

use super::{check_said, is_named, stage, unharmed, values};
use crate::observe::{self, Surroundings};
use crate::solo::Solo;
use crate::world::World;

/// An Experiment that runs, and what a decision on it knows.
pub(super) struct Running {
    pub(super) world: World,
    around: Surroundings,
    object: ObjectRef,
}

impl Running {
    pub(super) fn new() -> Self {
        let world = stage::mid_experiment();
        let mut solo = Solo::new("none", Vec::new()).unwrap();
        let around = Surroundings { now: world.now(), ..solo.surroundings() };
        let object = ObjectRef::namespaced(Kind::EXPERIMENT, "default", "compare");
        Self { world, around, object }
    }

    /// Places an object, and decides on the Experiment.
    pub(super) fn check(&self, case: &str, object: &Value) {
        unharmed(case, || {
            let problems = validate::object(object);
            let mut world = self.world.clone();
            world.api.place(object);
            let Some(view) = observe::experiment(&world.api, &self.object, &self.around) else {
                assert!(is_named(object, problems), "cannot be read, and nothing says why");
                return;
            };
            let decision = ExperimentReconciler::decide(&view);
            let violations = ExperimentReconciler::audit(&view, &decision);
            assert!(violations.is_empty(), "unlawful: {violations:#?}\n{:#?}", decision.plan);
            for action in decision.plan.actions() {
                action.lower().request();
            }
            let found = validate::experiment(&view.experiment.spec);
            if found.is_empty() {
                return;
            }
            let done: Vec<_> = decision.plan.actions().filter(|a| !a.is_touch()).collect();
            assert!(done.is_empty(), "invalid, and acts: {found:?}: {done:#?}");
            check_said(&decision.status.conditions, &found);
        });
    }
}

#[test]
fn every_field_of_an_experiment_may_hold_anything() {
    let running = Running::new();
    let object = stage::in_world(&running.world, &Kind::EXPERIMENT, "compare");
    let schema = crd::definition("Experiment").unwrap().schema();
    let mut cases = 0;
    for field in crd::fields(&schema) {
        for (name, value) in values::of_type(&field.value_type) {
            let mut object = object.clone();
            values::put(&mut object, &field.path, value);
            running.check(&format!("{}: {name}", field.path), &object);
            cases += 1;
        }
    }
    assert!(cases > 500, "{cases}");
}

#[test]
fn every_value_of_an_experiment_and_what_it_reads_may_be_another() {
    let running = Running::new();
    let kinds = [Kind::EXPERIMENT, Kind::ANALYSIS_TEMPLATE, Kind::ANALYSIS_RUN, Kind::REPLICA_SET];
    let kinds = kinds.into_iter().chain([Kind::SERVICE]);
    for object in kinds.flat_map(|kind| running.world.api.objects(&kind, Some("default"))) {
        let name = format!("{} {}", object["kind"], object["metadata"]["name"]);
        for (path, change) in values::changes(&object).chain(values::annotations(&object)) {
            running.check(&format!("{name}{path}"), &change);
        }
    }
}
