//! `promote NAME`: the patches of `spec-rollouts` 10.3.

use std::process::ExitCode;

use kube::ResourceExt as _;
use kube::api::{Patch, PatchParams};
use serde_json::{Map, Value, json};
use sluice_crds::rollout::Rollout;

use crate::arguments::PromoteArguments;
use crate::connection::Connection;
use crate::failure::Failure;

/// How often a write that met another writer is tried again.
const ATTEMPTS: usize = 5;

pub(crate) async fn run(
    connection: &Connection,
    promote: &PromoteArguments,
) -> Result<ExitCode, Failure> {
    let name = &promote.name;
    let mut rollout = connection.get_rollout(name).await?;
    let meant = patches(&rollout, promote)?;
    for attempt in 1..=ATTEMPTS {
        match write(connection, &rollout, &meant).await {
            Ok(()) => {
                let words = if promote.full { "fully promoted" } else { "promoted" };
                anstream::println!("rollout '{name}' {words}");
                return Ok(ExitCode::SUCCESS);
            }
            Err(kube::Error::Api(status)) if status.code == 409 && attempt < ATTEMPTS => {}
            Err(error) => return Err(Failure::of(&connection.rollout(name), "patch", &error)),
        }
        rollout = connection.get_rollout(name).await?;
        if patches(&rollout, promote)? != meant {
            return Err(Failure::new(format!(
                "rollout '{name}' moved on meanwhile; nothing was skipped"
            ))
            .hint(format!("look at it: kubectl sluice get rollout {name}")));
        }
    }
    Err(Failure::new(format!("rollout '{name}' changed {ATTEMPTS} times meanwhile"))
        .hint("try again"))
}

/// The step index is computed from what was read, so the patch holds only for that version: unlike with Argo's plugin, a
/// promote that races with the controller's own step does not skip one.
async fn write(
    connection: &Connection,
    rollout: &Rollout,
    patches: &Patches,
) -> Result<(), kube::Error> {
    let api = connection.api::<Rollout>();
    let name = rollout.name_any();
    if let Some(mut status) = patches.status.clone() {
        status["metadata"] = json!({ "resourceVersion": rollout.metadata.resource_version });
        api.patch_status(&name, &PatchParams::default(), &Patch::Merge(&status)).await?;
    }
    if patches.unpause {
        let patch = json!({ "spec": { "paused": false } });
        api.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
    }
    Ok(())
}

/// What a promote writes.
#[derive(Debug, PartialEq)]
struct Patches {
    status: Option<Value>,
    unpause: bool,
}

fn patches(rollout: &Rollout, promote: &PromoteArguments) -> Result<Patches, Failure> {
    let status = rollout.status.clone().unwrap_or_default();
    let unpause = rollout.spec.paused == Some(true);
    let steps = rollout.spec.strategy.canary.as_ref().and_then(|c| c.steps.as_ref());
    let steps = steps.map_or(0, Vec::len);
    let count = i32::try_from(steps).unwrap_or(i32::MAX);
    let index = status.current_step_index.unwrap_or(0);
    if promote.skip_current_step || promote.skip_all_steps {
        if steps == 0 {
            return Err(Failure::new("a Rollout without canary steps has none to skip")
                .hint("leave out --skip-current-step and --skip-all-steps, or use --full"));
        }
        let next = if promote.skip_all_steps { count } else { (index + 1).min(count) };
        let status = json!({ "status": { "currentStepIndex": next } });
        return Ok(Patches { status: Some(status), unpause: false });
    }
    let mut fields = Map::new();
    if promote.full {
        if status.current_pod_hash != status.stable_rs {
            fields.insert("promoteFull".into(), json!(true));
        }
    } else {
        let pauses = status.pause_conditions.as_deref().unwrap_or_default();
        // As Argo's plugin: only the run of a step is left behind; one in the background is run again.
        let run = status.canary.as_ref().and_then(|c| c.current_step_analysis_run_status.as_ref());
        let inconclusive = run.is_some_and(|run| run.status == "Inconclusive");
        if inconclusive && !pauses.is_empty() && status.controller_pause == Some(true) {
            fields.insert("pauseConditions".into(), Value::Null);
            fields.insert("controllerPause".into(), json!(false));
            fields.insert("currentStepIndex".into(), json!((index + 1).min(count)));
        } else if !pauses.is_empty() {
            fields.insert("pauseConditions".into(), Value::Null);
        } else if steps > 0 && !unpause {
            fields.insert("pauseConditions".into(), Value::Null);
            fields.insert("currentStepIndex".into(), json!((index + 1).min(count)));
        }
    }
    let status = (!fields.is_empty()).then(|| json!({ "status": fields }));
    Ok(Patches { status, unpause })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(status: Value, full: bool, expected: Option<Value>) {
        let rollout: Rollout = serde_json::from_value(json!({
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Rollout",
            "metadata": { "name": "web" },
            "spec": { "strategy": { "canary": { "steps": [{ "setWeight": 20 }, { "pause": {} }] } } },
            "status": status,
        }))
        .unwrap();
        let promote = PromoteArguments {
            name: "web".into(),
            full,
            skip_current_step: false,
            skip_all_steps: false,
        };
        let expected = expected.map(|fields| json!({ "status": fields }));
        assert_eq!(
            patches(&rollout, &promote).unwrap(),
            Patches { status: expected, unpause: false }
        );
    }

    #[test]
    fn promote_ends_a_pause_and_otherwise_skips_one_step() {
        let pause = |reason| json!([{ "reason": reason, "startTime": "2026-11-21T12:00:00Z" }]);
        check(
            json!({ "currentStepIndex": 1, "controllerPause": true, "pauseConditions": pause("CanaryPauseStep") }),
            false,
            Some(json!({ "pauseConditions": null })),
        );
        check(
            json!({ "currentStepIndex": 0 }),
            false,
            Some(json!({ "pauseConditions": null, "currentStepIndex": 1 })),
        );
        check(
            json!({
                "currentStepIndex": 0,
                "controllerPause": true,
                "pauseConditions": pause("InconclusiveAnalysisRun"),
                "canary": { "currentStepAnalysisRunStatus": { "name": "web-1", "status": "Inconclusive" } },
            }),
            false,
            Some(
                json!({ "pauseConditions": null, "controllerPause": false, "currentStepIndex": 1 }),
            ),
        );
    }

    #[test]
    fn promote_after_an_inconclusive_analysis_in_the_background_skips_no_step() {
        let pause =
            json!([{ "reason": "InconclusiveAnalysisRun", "startTime": "2026-11-21T12:00:00Z" }]);
        let run = json!({ "name": "web-1", "status": "Inconclusive" });
        check(
            json!({
                "currentStepIndex": 0,
                "controllerPause": true,
                "pauseConditions": pause,
                "canary": { "currentBackgroundAnalysisRunStatus": run },
            }),
            false,
            Some(json!({ "pauseConditions": null })),
        );
    }

    #[test]
    fn promote_ends_each_pause_of_a_blue_green_rollout_and_skips_no_step() {
        let promoted = |status: Value| {
            let rollout: Rollout = serde_json::from_value(json!({
                "apiVersion": "argoproj.io/v1alpha1",
                "kind": "Rollout",
                "metadata": { "name": "web" },
                "spec": { "paused": true, "strategy": { "blueGreen": { "activeService": "web" } } },
                "status": status,
            }))
            .unwrap();
            let name = "web".into();
            let promote = PromoteArguments {
                name,
                full: false,
                skip_current_step: false,
                skip_all_steps: false,
            };
            patches(&rollout, &promote).unwrap()
        };
        for reason in ["BlueGreenPause", "InconclusiveAnalysisRun"] {
            let pause = json!([{ "reason": reason, "startTime": "2026-11-21T12:00:00Z" }]);
            let patches = promoted(json!({ "controllerPause": true, "pauseConditions": pause }));
            let status = Some(json!({ "status": { "pauseConditions": null } }));
            assert_eq!(patches, Patches { status, unpause: true });
        }
        assert_eq!(promoted(json!({})), Patches { status: None, unpause: true });
    }

    #[test]
    fn promote_full_asks_only_where_there_is_something_to_promote() {
        check(
            json!({ "currentPodHash": "b", "stableRS": "a" }),
            true,
            Some(json!({ "promoteFull": true })),
        );
        check(json!({ "currentPodHash": "a", "stableRS": "a" }), true, None);
    }
}
