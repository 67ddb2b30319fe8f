//! Experiments as steps of a canary.

use chrono::Duration;
use serde_json::{Value, json};
use sluice_crds::object::Kind;

use super::world::World;
use super::{HOSTS, NETWORK, TEMPLATE, abort, promote, serving};

const STEPS: &str = "
      steps:
      - setWeight: 20
      - experiment:
          duration: 5m
          scaleDownDelaySeconds: 7
          templates:
          - {name: baseline, specRef: stable, replicas: 2, metadata: {labels: {role: baseline}}}
          - {name: candidate, specRef: canary, metadata: {labels: {role: candidate}, annotations: {note: hi}}, service: {}}
          analyses:
          - name: errors
            templateName: errors
            requiredForCompletion: true
            args:
            - {name: latest, valueFrom: {podTemplateHashValue: Latest}}
            - {name: candidate, value: '{{templates.candidate.podTemplateHash}}'}
          analysisRunMetadata: {labels: {team: web}}
      - setWeight: 60
      - pause: {}
";

/// A canary at its experiment.
fn at_experiment() -> World {
    let mut world = serving(&[HOSTS, STEPS], &[NETWORK, TEMPLATE]);
    world.set_image("web:2");
    world.run(Duration::seconds(30));
    assert_eq!(
        (world.weight(), world.names(&Kind::EXPERIMENT).len()),
        (20, 1),
        "{}",
        world.log.join("\n")
    );
    world
}

fn end(world: &mut World, phase: &str) {
    let name = world.names(&Kind::EXPERIMENT).pop().unwrap();
    world.edit(Kind::EXPERIMENT, &name, |experiment| {
        experiment["status"] = json!({ "phase": phase, "message": "said so" });
    });
}

fn current(world: &World) -> Option<String> {
    world.rollout().status.canary.unwrap().current_experiment
}

#[test]
fn a_step_begins_its_experiment_with_what_it_asks_for() {
    let mut world = at_experiment();
    world.run(Duration::minutes(1));
    let names = world.names(&Kind::EXPERIMENT);
    let hash = world.hash_of("web:2");
    assert_eq!(names, [format!("web-{hash}-2-1")]);
    assert_eq!(current(&world), Some(names[0].clone()));
    let mut experiment = world.get(Kind::EXPERIMENT, &names[0]).clone();
    for key in ["uid", "resourceVersion", "creationTimestamp", "generation"] {
        experiment["metadata"].as_object_mut().unwrap().remove(key);
    }
    experiment["metadata"]["ownerReferences"][0]["uid"] = Value::Null;
    let text = serde_json::to_string_pretty(&experiment).unwrap();
    insta::assert_snapshot!(text);
    let waits = world.settle().report.waiting;
    assert!(waits[0].what.contains("the experiment of step 2 of 4"), "{waits:?}");
}

#[test]
fn success_lets_the_step_pass_and_is_forgotten_by_the_status() {
    let mut world = at_experiment();
    end(&mut world, "Running");
    world.run(Duration::hours(1));
    assert_eq!(world.weight(), 20, "no deadline runs during an experiment");
    end(&mut world, "Successful");
    world.run(Duration::minutes(1));
    assert_eq!((world.weight(), current(&world)), (60, None));
    world.check_history();
}

#[test]
fn failure_takes_the_update_back_and_says_why() {
    for phase in ["Failed", "Error"] {
        let mut world = at_experiment();
        world.log.clear();
        end(&mut world, phase);
        world.run(Duration::seconds(1));
        assert!(world.log[0].contains("from 20 to 0"), "{}", world.log.join("\n"));
        assert_eq!(world.phase(), "Degraded");
        let message = world.rollout().status.message.unwrap();
        assert!(message.contains("said so"), "{message}");
        assert!(current(&world).is_some(), "what took the update back stays on record");
        world.check_history();
    }
}

#[test]
fn without_a_verdict_a_person_decides_and_gets_a_new_experiment() {
    let mut world = at_experiment();
    end(&mut world, "Inconclusive");
    world.run(Duration::hours(1));
    assert_eq!((world.phase().as_str(), world.weight()), ("Paused", 20));
    let pause = &world.rollout().status.pause_conditions.unwrap()[0];
    assert_eq!(pause.reason, "InconclusiveExperiment");
    world.now += Duration::seconds(1);
    promote(&mut world);
    world.run(Duration::minutes(1));
    let names = world.names(&Kind::EXPERIMENT);
    assert_eq!(names.len(), 2);
    assert_eq!(names[1], format!("{}-1", names[0]));
    assert_eq!(current(&world).as_ref(), names.last());
    end(&mut world, "Successful");
    world.run(Duration::minutes(1));
    assert_eq!(world.weight(), 60);
}

#[test]
fn leaving_the_step_in_any_way_ends_the_experiment() {
    type Leave = fn(&mut World);
    let ways: [(&str, Leave); 4] = [
        ("abort", abort),
        ("full promotion", |world| {
            world.edit_rollout(|rollout| rollout["status"]["promoteFull"] = json!(true));
        }),
        ("skip", |world| {
            world.edit_rollout(|rollout| rollout["status"]["currentStepIndex"] = json!(2));
        }),
        ("new revision", |world| world.set_image("web:3")),
    ];
    for (way, leave) in ways {
        let mut world = at_experiment();
        end(&mut world, "Running");
        world.settle();
        let name = world.names(&Kind::EXPERIMENT).pop().unwrap();
        leave(&mut world);
        world.run(Duration::seconds(20));
        let experiment = world.get(Kind::EXPERIMENT, &name);
        assert_eq!(experiment["spec"]["terminate"], true, "{way}");
        // How it ends then is nobody's business.
        world.edit(Kind::EXPERIMENT, &name, |e| e["status"] = json!({ "phase": "Failed" }));
        world.run(Duration::seconds(20));
        let aborted = world.rollout().status.abort == Some(true);
        assert_eq!(aborted, way == "abort", "{way}");
    }
}

#[test]
fn a_retry_gets_an_experiment_of_its_own() {
    let mut world = at_experiment();
    end(&mut world, "Failed");
    world.run(Duration::seconds(10));
    world.edit_rollout(|rollout| rollout["status"]["abort"] = json!(false));
    world.run(Duration::seconds(30));
    assert_eq!(world.names(&Kind::EXPERIMENT).len(), 2);
    assert_eq!((world.weight(), world.phase().as_str()), (20, "Progressing"));
}

#[test]
fn an_experiment_that_another_controller_made_is_known_by_the_status() {
    let mut world = at_experiment();
    let name = world.names(&Kind::EXPERIMENT).pop().unwrap();
    world.edit(Kind::EXPERIMENT, &name, |experiment| {
        experiment["metadata"]["labels"].as_object_mut().unwrap().remove("step-index");
        experiment["metadata"]["annotations"].as_object_mut().unwrap().remove("sluice.dev/attempt");
        experiment["status"] = json!({ "phase": "Running" });
    });
    world.run(Duration::minutes(1));
    assert_eq!(world.names(&Kind::EXPERIMENT), [name]);
}

#[test]
fn a_missing_template_is_told_and_takes_nothing_back() {
    let mut world = serving(&[HOSTS, STEPS], &[NETWORK, TEMPLATE]);
    world.remove(Kind::ANALYSIS_TEMPLATE, "errors");
    world.set_image("web:2");
    world.run(Duration::minutes(1));
    let message = world.rollout().status.message.unwrap();
    assert!(
        message.contains("spec.strategy.canary.steps[1].experiment: analysis `errors`: AnalysisTemplate `errors` does not exist"),
        "{message}"
    );
    assert!(world.names(&Kind::EXPERIMENT).is_empty());
}

#[test]
fn finished_experiments_are_kept_within_their_limits() {
    let mut world = at_experiment();
    let name = world.names(&Kind::EXPERIMENT).pop().unwrap();
    let body = world.get(Kind::EXPERIMENT, &name).clone();
    for (index, phase) in ["Failed", "Successful"].iter().cycle().take(16).enumerate() {
        let mut old = body.clone();
        old["metadata"]["name"] = json!(format!("old-{index:02}"));
        old["metadata"]["labels"]["step-index"] = json!("0");
        old["status"] = json!({ "phase": phase });
        world.now += Duration::seconds(1);
        world.create(old);
    }
    world.run(Duration::seconds(10));
    let kept = world.names(&Kind::EXPERIMENT);
    assert_eq!(kept.len(), 11, "five of each, and the present one: {kept:?}");
    assert!(kept.contains(&name) && kept.contains(&"old-15".to_owned()));
    assert!(!kept.contains(&"old-00".to_owned()));
}

#[test]
fn a_weight_of_a_version_is_refused() {
    let steps = STEPS.replace("service: {}}", "weight: 5}");
    let mut world = super::fresh(&[HOSTS, &steps], &[NETWORK, TEMPLATE]);
    world.run(Duration::minutes(1));
    let message = world.rollout().status.message.unwrap();
    assert!(message.contains("steps[1].experiment.templates[1].weight"), "{message}");
}
