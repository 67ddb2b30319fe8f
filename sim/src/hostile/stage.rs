//! Updates in progress: a canary with weight, an analysis in the background, routes by host and by subset; one with every step
//! and protocol; a blue-green one; and an experiment that runs.

use std::collections::BTreeMap;

use chrono::DateTime;
use serde_json::{Value, json};
use sluice_crds::object::{Kind, ObjectRef};

use crate::scenario::Transcript;
use crate::scenario::controller::Controller;
use crate::solo::Solo;
use crate::workloads::WorkloadConfig;
use crate::world::World;

const MANIFESTS: &str = include_str!("stage.yaml");
const SUBSETS: &str = include_str!("subsets.yaml");
const RICH: &str = include_str!("rich.yaml");
const BLUE_GREEN: &str = include_str!("blue_green.yaml");
const EXPERIMENT: &str = include_str!("experiment.yaml");

/// Returns the cluster in the pause of the second step: the canary has weight, and nothing is to be done.
pub(super) fn mid_update() -> Solo {
    paused(MANIFESTS)
}

/// Likewise, with two subsets of one host instead of two Services.
pub(super) fn mid_update_of_subsets() -> Solo {
    paused(SUBSETS)
}

/// Likewise, with a Rollout that says all that a canary can.
pub(super) fn mid_update_of_everything() -> Solo {
    paused(RICH)
}

/// Returns the cluster in the pause before a blue-green update switches users.
pub(super) fn mid_update_of_blue_green() -> Solo {
    paused(BLUE_GREEN)
}

/// Every stage with a Rollout `web` in mid-update.
pub(super) fn updates() -> [(&'static str, Solo); 4] {
    [
        ("canary", mid_update()),
        ("subsets", mid_update_of_subsets()),
        ("everything", mid_update_of_everything()),
        ("blue-green", mid_update_of_blue_green()),
    ]
}

/// Which of the values are tried on a stage: all on the first, each third on the others, because the engine's passes over them
/// are the same, and time is dear.
pub(super) fn stride(stage: &str) -> usize {
    if stage == "canary" { 1 } else { 3 }
}

/// Returns a cluster in which the Experiment `compare` runs, and its analysis.
pub(super) fn mid_experiment() -> World {
    let start = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
    let mut world = World::new(start, WorkloadConfig::default());
    for manifest in sluice_crds::yaml::values(EXPERIMENT).unwrap() {
        world.api.load(start, "kubectl", manifest).unwrap();
    }
    let mut controller = Controller::new(Box::new(BTreeMap::new()));
    let mut transcript = Transcript::new(start);
    for _ in 0..30 {
        controller.settle(&mut world, &mut transcript);
        let phase = world.api.find("Experiment", "compare").unwrap()["status"]["phase"].clone();
        let runs = world.api.objects(&Kind::ANALYSIS_RUN, None).len();
        if phase == "Running" && runs == 1 {
            return world;
        }
        world.step().unwrap();
    }
    panic!("the experiment does not run:\n{transcript}");
}

fn paused(manifests: &str) -> Solo {
    let manifests = sluice_crds::yaml::values(manifests).unwrap();
    let mut solo = Solo::new("web", manifests).unwrap();
    solo.run(|_| false).unwrap();
    solo.set_image("demo:2");
    let is_paused = |view: &sluice_engine::view::RolloutView| {
        view.rollout.status.pause_conditions.iter().flatten().next().is_some()
    };
    let views = solo.run(is_paused).unwrap();
    let last = views.last().unwrap();
    assert!(is_paused(last), "the update pauses: {:#?}", last.rollout.status);
    let version = solo.world.api.version();
    solo.world.api.compact(version);
    solo.world.api.forget_requests();
    solo
}

/// Objects whose content decisions look at.
pub(super) fn read(solo: &Solo) -> Vec<Value> {
    let kinds = [
        Kind::SERVICE,
        Kind::VIRTUAL_SERVICE,
        Kind::DESTINATION_RULE,
        Kind::ANALYSIS_TEMPLATE,
        Kind::ANALYSIS_RUN,
        Kind::REPLICA_SET,
    ];
    let all = kinds.iter().flat_map(|kind| solo.world.api.objects(kind, Some("default")));
    all.map(|object| (*object).clone()).collect()
}

/// Returns an object of the cluster.
pub(super) fn object(solo: &Solo, kind: &Kind, name: &str) -> Value {
    in_world(&solo.world, kind, name)
}

/// Likewise.
pub(super) fn in_world(world: &World, kind: &Kind, name: &str) -> Value {
    let object = ObjectRef::namespaced(kind.clone(), "default", name);
    (*world.api.get(&object).unwrap()).clone()
}

/// Returns a run with everything in it.
pub(super) fn analysis_run() -> Value {
    let time = "2027-01-15T08:00:00Z";
    json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "AnalysisRun",
        "metadata": { "name": "run", "namespace": "default", "uid": "run", "resourceVersion": "1", "generation": 1 },
        "spec": {
            "args": [{ "name": "limit", "value": "0.05" }],
            "metrics": [{
                "name": "error-rate",
                "interval": "5s",
                "count": 5,
                "successCondition": "result[0] < {{args.limit}}",
                "provider": { "prometheus": { "address": "http://prometheus", "query": "errors" } },
            }],
        },
        "status": {
            "phase": "Running",
            "startedAt": time,
            "metricResults": [{
                "name": "error-rate",
                "phase": "Running",
                "count": 1,
                "successful": 1,
                "measurements": [{ "phase": "Successful", "value": "[0]", "startedAt": time, "finishedAt": time }],
            }],
        },
    })
}
