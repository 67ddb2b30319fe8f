//! Bad input: whatever stands in a field, a decision says what is wrong or goes on lawfully; it never panics, and an invalid
//! spec never moves traffic.
//!
//! Every field of every kind is set to values of every kind ([`values`]): wrong types, numbers at and beyond the limits of their
//! types, empty and giant ones, odd Unicode, members that nobody knows, and nothing at all. The same is done to each value that
//! is there in the objects of an update in progress. What is found so is decoded, validated, decided, audited and lowered.
//!
//! What is written into a status does not hold a Rollout for ever either: it goes on to an end, or says what it waits for.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::{Value, json};
use sluice_crds::analysis::AnalysisRunRecord;
use sluice_crds::experiment::ExperimentRecord;
use sluice_crds::object::Kind;
use sluice_crds::rollout::RolloutRecord;
use sluice_crds::rollout::status::Condition;
use sluice_crds::{crd, validate};
use sluice_engine::analysis_run::AnalysisRunReconciler;
use sluice_engine::plan::{Decision, Lower, Reconciler};
use sluice_engine::rollout::{Action, RolloutReconciler};
use sluice_engine::view::{RolloutView, RunView};

use crate::observe;
use crate::solo::Solo;

mod experiments;
mod fuzz;
mod holds;
mod stage;
mod values;

/// Runs a check of one case; a panic fails with the case's name.
fn unharmed<T>(case: &str, check: impl FnOnce() -> T) -> T {
    match catch_unwind(AssertUnwindSafe(check)) {
        Ok(value) => value,
        Err(_) => panic!("{case}: panics"),
    }
}

/// Decides on a Rollout as it would be seen; `None` if it cannot be read, so that nothing is decided.
fn decided(solo: &mut Solo) -> Option<(RolloutView, Decision<RolloutReconciler>)> {
    let view = solo.view()?;
    let decision = RolloutReconciler::decide(&view);
    let violations = RolloutReconciler::audit(&view, &decision);
    assert!(violations.is_empty(), "unlawful: {violations:#?}\n{:#?}", decision.plan);
    for action in decision.plan.actions() {
        action.lower().request();
    }
    Some((view, decision))
}

/// Whether an action changes who gets requests, or how many Pods answer them.
fn moves_traffic(action: &Action) -> bool {
    matches!(
        action,
        Action::Route { .. }
            | Action::SelectPods { .. }
            | Action::SelectSubsets { .. }
            | Action::Scale { .. }
    )
}

/// Longest message of a condition, in characters: Kubernetes' own conditions allow no more, and an object with many of them
/// must fit into a request.
const LONGEST_MESSAGE: usize = 32_768;

/// Checks that the condition `InvalidSpec` says the first problem, in a length that fits.
fn check_said(conditions: &[Condition], found: &[validate::Problem]) {
    let said = conditions.iter().filter(|c| c.kind == "InvalidSpec" && c.status == "True");
    let said: Vec<&str> = said.map(|condition| condition.message.as_str()).collect();
    let path = found[0].path.to_string();
    assert!(
        said.iter().any(|message| message.contains(&path)),
        "`{path}` is not in the condition: {said:?}"
    );
    let longest = said.iter().map(|message| message.len()).max().unwrap_or(0);
    assert!(longest <= LONGEST_MESSAGE, "a message of {longest} characters");
}

/// Whether somebody is told why an object cannot be read. Schemas leave a status open, for other controllers write it, too: one
/// that cannot be read is logged, and its object left alone.
fn is_named(object: &Value, problems: Option<Vec<validate::Problem>>) -> bool {
    let mut without = object.clone();
    without["status"] = json!({});
    let is_the_status = match object["kind"].as_str() {
        Some("AnalysisRun") => serde_json::from_value::<AnalysisRunRecord>(without).is_ok(),
        Some("Experiment") => serde_json::from_value::<ExperimentRecord>(without).is_ok(),
        _ => serde_json::from_value::<RolloutRecord>(without).is_ok(),
    };
    is_the_status || problems.is_some_and(|problems| !problems.is_empty())
}

/// Checks one Rollout of the stage: `base` in mid-update with a change.
fn check_rollout(base: &Solo, case: &str, object: &Value) {
    unharmed(case, || {
        let problems = validate::object(object);
        let mut solo = base.clone();
        solo.world.api.place(object);
        let Some((view, decision)) = decided(&mut solo) else {
            assert!(is_named(object, problems), "cannot be read, and nothing says why");
            return;
        };
        let found = validate::rollout(&view.rollout.spec);
        if found.is_empty() {
            return;
        }
        let moved: Vec<&Action> = decision.plan.actions().filter(|a| moves_traffic(a)).collect();
        assert!(moved.is_empty(), "invalid, and moves traffic: {found:?}: {moved:#?}");
        check_said(decision.status.conditions.as_deref().unwrap_or_default(), &found);
    });
}

/// Sets the field in a copy. A field of a step is set in a step that has nothing else: a step with two types is refused for that.
fn with(object: &Value, path: &str, value: Value) -> Value {
    let mut object = object.clone();
    if path.starts_with("spec.strategy.canary.steps[].") {
        object["spec"]["strategy"]["canary"]["steps"][0] = json!({});
    }
    values::put(&mut object, path, value);
    object
}

fn check_fields(base: &Solo, is_wanted: impl Fn(&str) -> bool) -> usize {
    let object = stage::object(base, &Kind::ROLLOUT, "web");
    let schema = crd::definition("Rollout").unwrap().schema();
    let mut cases = 0;
    for field in crd::fields(&schema).iter().filter(|field| is_wanted(&field.path)) {
        for (name, value) in values::of_type(&field.value_type) {
            let object = with(&object, &field.path, value);
            check_rollout(base, &format!("{}: {name}", field.path), &object);
            cases += 1;
        }
    }
    cases
}

#[test]
fn every_field_of_a_canary_may_hold_anything() {
    let of_canary = |path: &str| !path.contains("blueGreen");
    let cases = check_fields(&stage::mid_update(), of_canary);
    assert!(cases > 3_000, "{cases}");
}

#[test]
fn every_field_of_a_blue_green_rollout_may_hold_anything() {
    let of_blue_green = |path: &str| path.contains("blueGreen") || path.matches('.').count() < 2;
    let cases = check_fields(&stage::mid_update_of_blue_green(), of_blue_green);
    assert!(cases > 500, "{cases}");
}

#[test]
fn every_value_of_a_rollout_in_an_update_may_be_another() {
    for (stage, base) in stage::updates() {
        let object = stage::object(&base, &Kind::ROLLOUT, "web");
        let changes = values::changes(&object).chain(values::annotations(&object));
        for (path, change) in changes.step_by(stage::stride(stage)) {
            check_rollout(&base, &format!("{stage} {path}"), &change);
        }
    }
}

/// Objects that a Rollout reads: each value of each, and annotations that the engine reads.
#[test]
fn every_value_of_what_a_rollout_reads_may_be_another() {
    let mut cases = 0;
    for (stage, base) in stage::updates() {
        for object in stage::read(&base) {
            let (kind, name) = (&object["kind"], &object["metadata"]["name"]);
            let changes = values::changes(&object).chain(values::annotations(&object));
            for (path, change) in changes.step_by(stage::stride(stage)) {
                unharmed(&format!("{stage} {kind} {name}{path}"), || {
                    let mut solo = base.clone();
                    solo.world.api.place(&change);
                    decided(&mut solo);
                });
                cases += 1;
            }
        }
    }
    assert!(cases > 2_000, "{cases}");
}

#[test]
fn every_field_of_an_analysis_run_may_hold_anything() {
    let mut base = stage::mid_update();
    let around = base.surroundings();
    let run = stage::analysis_run();
    let schema = crd::definition("AnalysisRun").unwrap().schema();
    let check = |case: &str, object: &Value| {
        unharmed(case, || {
            let problems = validate::object(object);
            let Ok(record) = serde_json::from_value::<AnalysisRunRecord>(object.clone()) else {
                assert!(is_named(object, problems), "cannot be read, and nothing says why");
                return;
            };
            let run = observe::run_view(&base.world.api, record, &around);
            let view = RunView { now: around.now, config: around.config.clone(), run };
            let decision = AnalysisRunReconciler::decide(&view);
            let violations = AnalysisRunReconciler::audit(&view, &decision);
            assert!(violations.is_empty(), "unlawful: {violations:#?}");
        });
        unharmed(case, || {
            let mut solo = base.clone();
            solo.world.api.place(object);
            decided(&mut solo);
        });
    };
    for field in crd::fields(&schema) {
        for (name, value) in values::of_type(&field.value_type) {
            let mut object = run.clone();
            values::put(&mut object, &field.path, value);
            check(&format!("{}: {name}", field.path), &object);
        }
    }
    values::changes(&run).for_each(|(path, change)| check(&path, &change));
}

/// What is decided elsewhere is decoded and validated here.
#[test]
fn every_field_of_every_kind_is_refused_with_its_path_or_understood() {
    for definition in &crd::DEFINITIONS {
        let kind = &definition.kind;
        let object = json!({
            "apiVersion": kind.api_version(),
            "kind": kind.kind,
            "metadata": { "name": "a", "namespace": "default" },
        });
        let schema = definition.schema();
        for field in crd::fields(&schema) {
            for (name, value) in values::of_type(&field.value_type) {
                let mut object = object.clone();
                values::put(&mut object, &field.path, value.clone());
                let case = format!("{} {}: {name}", kind.kind, field.path);
                let problems = unharmed(&case, || validate::object(&object)).unwrap_or_default();
                if !values::is_of_type(&field.value_type, &value) {
                    let plain = field.path.replace("[]", "[0]").replace(".*", "[a]");
                    let is_named = |problem: &validate::Problem| {
                        let path = problem.path.to_string();
                        path.starts_with(&plain) || plain.starts_with(&path) && !path.is_empty()
                    };
                    assert!(problems.iter().any(is_named), "{case}: not refused: {problems:?}");
                }
            }
        }
    }
}

/// A record that decodes is one that the engine meets; so what validation lets through must decode.
#[test]
fn what_validation_lets_through_can_be_read() {
    let base = stage::mid_update();
    let object = stage::object(&base, &Kind::ROLLOUT, "web");
    let in_spec = |(path, _): &(String, Value)| path.starts_with("/spec");
    for (path, change) in values::changes(&object).filter(in_spec) {
        if validate::object(&change).is_some_and(|problems| problems.is_empty()) {
            let read = serde_json::from_value::<RolloutRecord>(change);
            assert!(read.is_ok(), "{path}: {:?}", read.err());
        }
    }
}
