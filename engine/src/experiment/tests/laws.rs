//! Each law of an Experiment's decision is broken once on purpose: an audit that finds nothing there would be worth nothing.

use std::collections::BTreeMap;

use serde_json::json;
use sluice_crds::analysis::AnalysisPhase;
use sluice_crds::object::Kind;

use super::bench::{Bench, Decided, shop};
use super::{judged, two};
use crate::experiment::ExperimentReconciler;
use crate::plan::Reconciler;
use crate::rollout::{Action, Target};
use crate::view::ExperimentView;

/// Laws that a decision breaks once it was changed so.
fn found(
    bench: &mut Bench,
    change: impl FnOnce(&ExperimentView, &mut Decided),
) -> Vec<&'static str> {
    let view = bench.view();
    let mut decision = ExperimentReconciler::decide(&view);
    assert_eq!(ExperimentReconciler::audit(&view, &decision), []);
    change(&view, &mut decision);
    ExperimentReconciler::audit(&view, &decision).into_iter().map(|law| law.id).collect()
}

fn scaled(view: &ExperimentView, to: u32) -> Action {
    let set = view.replica_sets.iter().find(|set| set.meta.name == "exp-old").unwrap();
    Action::Scale {
        target: Target::of(view, set.object(), &set.meta),
        hash: String::new(),
        from: set.replicas,
        to,
        annotations: BTreeMap::new(),
    }
}

fn running() -> Bench {
    let mut bench = two("");
    bench.pass(10);
    bench
}

#[test]
fn sizes_are_judged() {
    for (to, law) in [(0, "S5"), (1, "S5"), (9, "S2"), (2, "S21")] {
        let laws = found(&mut running(), |view, decision| {
            decision.plan.then(vec![scaled(view, to)]);
        });
        assert_eq!(laws, [law], "2 to {to}");
    }
    let mut ended = running();
    ended.edit(Kind::EXPERIMENT, "exp", |exp| exp["spec"]["terminate"] = json!(true));
    ended.pass(600);
    let laws = found(&mut ended, |view, decision| decision.plan.then(vec![scaled(view, 2)]));
    assert_eq!(laws, ["S2"], "after the end");
}

#[test]
fn the_fence_is_judged() {
    let mut bench = running();
    bench.term += 1;
    let laws = found(&mut bench, |view, decision| {
        decision.plan = crate::plan::Plan::empty();
        decision.plan.then(vec![scaled(view, 0)]);
    });
    // The Experiment and both sets, and the size.
    assert_eq!(laws, ["S19", "S19", "S19", "S5"]);
}

#[test]
fn what_belongs_to_others_is_judged() {
    let mut bench = running();
    bench.put(shop(Kind::REPLICA_SET, "web"), json!({ "spec": { "replicas": 1, "template": {} } }));
    let laws = found(&mut bench, |view, decision| {
        let set = view.replica_sets.iter().find(|set| set.meta.name == "web").unwrap();
        let target = Target::of(view, set.object(), &set.meta);
        decision.plan.then(vec![Action::Delete { target }]);
    });
    assert_eq!(laws, ["S16"]);
    let laws = found(&mut running(), |view, decision| {
        let target = Target::new(view, shop(Kind::REPLICA_SET, "exp-more"));
        let body = json!({ "metadata": {}, "spec": { "replicas": 3 } });
        decision.plan.then(vec![Action::CreateReplicaSet { target, hash: "h".into(), body }]);
    });
    assert_eq!(laws, ["S16", "S16"], "not ours, and not empty");
}

#[test]
fn verdicts_are_judged() {
    let mut bench = judged(", requiredForCompletion: true", "");
    bench.pass(10);
    let laws = found(&mut bench, |_, decision| {
        decision.status.phase = Some(AnalysisPhase::Successful);
    });
    assert_eq!(laws, ["S12"], "without its analysis");
    bench.judge("exp-check", "Failed");
    bench.pass(60);
    let laws = found(&mut bench, |_, decision| {
        decision.status.phase = Some(AnalysisPhase::Running);
    });
    assert_eq!(laws, ["S12"], "after the end");
}
