//! What stands in a status holds no Rollout for ever: it goes on to its end, or is taken back, or says that a person is waited for.

use chrono::TimeDelta;
use serde_json::{Value, json};
use sluice_crds::object::Kind;
use sluice_crds::rollout::RolloutStatus;

use super::{decided, stage, unharmed, values};
use crate::solo::Solo;

/// More decisions than any update needs: a Rollout that still writes then will do so for ever.
const DECISIONS: usize = 400;
/// Longer than any wait of the stage.
const LONG: TimeDelta = TimeDelta::days(1);

/// The stage with pauses that end by themselves, so that nobody is waited for.
fn unattended(mut solo: Solo) -> (Solo, Value) {
    let mut object = stage::object(&solo, &Kind::ROLLOUT, "web");
    let strategy = &mut object["spec"]["strategy"];
    if strategy["blueGreen"].is_object() {
        strategy["blueGreen"]["autoPromotionEnabled"] = json!(true);
        strategy["blueGreen"]["postPromotionAnalysis"] = Value::Null;
    } else {
        strategy["canary"]["analysis"] = Value::Null;
        strategy["canary"]["steps"] =
            json!([{ "setWeight": 25 }, { "pause": { "duration": 10 } }, { "setWeight": 75 }]);
    }
    solo.world.api.place(&object);
    for _ in 0..20 {
        let Some((view, decision)) = decided(&mut solo) else { break };
        let paused = view.rollout.status.pause_conditions.iter().flatten().next().is_some();
        let index = view.rollout.status.current_step_index;
        if paused && index.is_none_or(|index| index == 1) && decision.status_write.is_none() {
            break;
        }
        solo.follow(&decision).unwrap();
    }
    let object = stage::object(&solo, &Kind::ROLLOUT, "web");
    (solo, object)
}

/// Whether somebody who looks at the status sees an end, or what is waited for.
fn is_explained(status: &RolloutStatus) -> bool {
    let is_done = status.stable_rs == status.current_pod_hash;
    let awaits_person = status.pause_conditions.iter().flatten().next().is_some();
    is_done || status.abort == Some(true) || awaits_person
}

fn check(base: &Solo, case: &str, object: &Value) {
    unharmed(case, || {
        let mut solo = base.clone();
        solo.world.api.place(object);
        let start = solo.world.now();
        for _ in 0..DECISIONS {
            // One that cannot be read is refused by the schema of the next writer; nothing is decided on it.
            let Some((view, decision)) = decided(&mut solo) else { return };
            let goes_on = solo.follow(&decision).unwrap();
            let waits = &decision.report.waiting;
            let (status, late) = (&view.rollout.status, solo.world.now() - start > LONG);
            if !goes_on || late {
                assert!(is_explained(status), "held: {waits:?}\n{status:#?}");
                return;
            }
        }
        panic!("does not come to rest");
    });
}

#[test]
fn nothing_in_a_status_holds_a_rollout_for_ever() {
    let mut cases = 0;
    for (stage, base) in stage::updates() {
        let (base, object) = unattended(base);
        let in_status = |path: &String| path.starts_with("/status");
        let is_likely =
            |(path, change): &(String, Value)| match (object.pointer(path), change.pointer(path)) {
                (_, None) => true,
                (Some(Value::Number(_)), Some(Value::Number(_))) => true,
                (Some(Value::String(_)), Some(now)) => *now == "",
                (Some(Value::Array(_)), Some(now)) => *now == json!([]),
                (Some(Value::Object(_)), Some(now)) => *now == json!({}),
                _ => false,
            };
        let changes = values::changes(&object).filter(|(path, _)| in_status(path));
        for (path, change) in changes.filter(is_likely).step_by(stage::stride(stage)) {
            check(&base, &format!("{stage} {path} {:?}", change.pointer(&path)), &change);
            cases += 1;
        }
        for index in [-1, i32::MIN, 3, 4, i32::MAX] {
            let mut change = object.clone();
            change["status"]["currentStepIndex"] = json!(index);
            check(&base, &format!("{stage} step {index}"), &change);
        }
    }
    assert!(cases > 150, "{cases}");
}
