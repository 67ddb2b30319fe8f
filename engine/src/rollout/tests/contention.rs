//! Other writers who undo what the engine writes (F13).

use chrono::Duration;
use serde_json::{Value, json};
use sluice_crds::object::Kind;

use super::{STEPS, SUBSET_NETWORK, SUBSETS, abort, hosts, midway, serving, world::World};

/// Writes of the engine to the object in the last run of the log.
fn writes(world: &World, object: &str) -> usize {
    world.log.iter().filter(|line| line.contains(object) && !line.starts_with("status")).count()
}

fn contended(world: &World) -> Option<String> {
    let conditions = world.rollout().status.conditions.unwrap_or_default();
    conditions.into_iter().find(|c| c.kind == "FieldContended").map(|c| c.message)
}

/// Somebody writes every second for some seconds; returns how many seconds.
fn insists(world: &mut World, seconds: u32, mut edit: impl FnMut(&mut World)) {
    world.log.clear();
    for _ in 0..seconds {
        edit(world);
        world.run(Duration::seconds(1));
    }
}

fn set_weights(world: &mut World, canary: i64) {
    world.edit(Kind::VIRTUAL_SERVICE, "web", |route| {
        route["spec"]["http"][0]["route"][0]["weight"] = json!(100 - canary);
        route["spec"]["http"][0]["route"][1]["weight"] = json!(canary);
    });
}

#[test]
fn weights_that_somebody_keeps_changing_are_left_alone_after_three_writes() {
    let mut world = midway();
    insists(&mut world, 60, |world| set_weights(world, 0));
    // The first of the three was the step's own.
    let count = writes(&world, "VirtualService");
    assert!((2..=3).contains(&count), "{count} writes:\n{}", world.log.join("\n"));
    let message = contended(&world).expect("it is said");
    assert!(
        message.contains("VirtualService shop/web: somebody undoes our writes of the weights"),
        "{message}"
    );
    assert!(message.contains("metadata.managedFields"), "{message}");
    world.log.clear();
    world.run(Duration::minutes(4));
    assert_eq!(writes(&world, "VirtualService"), 0, "{}", world.log.join("\n"));
    world.run(Duration::minutes(2));
    assert_eq!((world.weight(), contended(&world)), (60, None), "{}", world.log.join("\n"));
    world.check_history();
}

#[test]
fn a_field_that_the_other_writer_puts_right_is_not_contended_any_more() {
    let mut world = midway();
    insists(&mut world, 20, |world| set_weights(world, 0));
    assert!(contended(&world).is_some());
    set_weights(&mut world, 60);
    world.settle();
    assert_eq!(contended(&world), None);
    world.check_history();
}

#[test]
fn a_single_edit_is_put_right_at_once() {
    let mut world = midway();
    set_weights(&mut world, 0);
    world.settle();
    assert_eq!((world.weight(), contended(&world)), (60, None));
    world.check_history();
}

#[test]
fn weight_that_is_put_back_on_a_failed_canary_is_fought_for_longer() {
    let mut world = midway();
    abort(&mut world);
    world.settle();
    insists(&mut world, 120, |world| set_weights(world, 60));
    let count = writes(&world, "VirtualService");
    assert!((6..=16).contains(&count), "{count} writes in two minutes");
    assert!(contended(&world).is_some());
    world.run(Duration::minutes(1));
    assert_eq!((world.weight(), contended(&world)), (0, None));
}

#[test]
fn an_abort_takes_the_weight_away_whoever_else_insists_on_it() {
    let mut world = midway();
    insists(&mut world, 20, |world| set_weights(world, 80));
    assert!(contended(&world).is_some());
    abort(&mut world);
    let (_, decision) = world.decide();
    assert!(decision.plan.stages[0][0].to_string().contains("from 80 to 0"));
}

#[test]
fn a_selector_that_somebody_keeps_changing_is_left_alone() {
    let mut world = hosts();
    let foreign = |world: &mut World| {
        world.edit(Kind::SERVICE, "web-stable", |service| {
            service["spec"]["selector"] = json!({ "app": "web" });
        });
    };
    insists(&mut world, 60, foreign);
    let count = writes(&world, "Service");
    assert!((2..=3).contains(&count), "{count} writes:\n{}", world.log.join("\n"));
    let message = contended(&world).expect("it is said");
    assert!(message.contains("Service shop/web-stable"), "{message}");
    world.run(Duration::minutes(6));
    assert_eq!(contended(&world), None);
    let stable = world.rollout().status.stable_rs.unwrap();
    let selector = &world.get(Kind::SERVICE, "web-stable")["spec"]["selector"];
    assert_eq!(selector["rollouts-pod-template-hash"], json!(stable));
}

#[test]
fn subsets_that_somebody_keeps_changing_are_left_alone() {
    let mut world = serving(&[SUBSETS, STEPS], &[SUBSET_NETWORK]);
    let foreign = |world: &mut World| {
        world.edit(Kind::DESTINATION_RULE, "web", |rule| {
            rule["spec"]["subsets"][0]["labels"] = json!({ "app": "web" });
        });
    };
    insists(&mut world, 60, foreign);
    let count = writes(&world, "DestinationRule");
    assert!((2..=3).contains(&count), "{count} writes:\n{}", world.log.join("\n"));
    assert!(contended(&world).expect("it is said").contains("DestinationRule shop/web"));
}

#[test]
fn a_size_that_somebody_keeps_changing_is_left_alone_and_nothing_goes_on_meanwhile() {
    let mut world = midway();
    let hash = world.rollout().status.current_pod_hash.unwrap();
    let name = format!("web-{hash}");
    let foreign = |world: &mut World| {
        world.edit(Kind::REPLICA_SET, &name, |set| set["spec"]["replicas"] = json!(2));
    };
    insists(&mut world, 60, foreign);
    let count = writes(&world, "scale ReplicaSet");
    assert!((2..=3).contains(&count), "{count} writes:\n{}", world.log.join("\n"));
    assert!(contended(&world).expect("it is said").contains("spec.replicas"));
    world.edit_rollout(|rollout| rollout["status"]["pauseConditions"] = Value::Null);
    world.run(Duration::seconds(30));
    assert!(world.weight() <= 60, "no weight without Pods");
    world.run(Duration::minutes(10));
    assert_eq!(world.phase(), "Healthy", "{}", world.log.join("\n"));
}

#[test]
fn an_abort_waits_for_a_stable_service_that_was_led_astray() {
    let mut world = midway();
    let canary = world.rollout().status.current_pod_hash.unwrap();
    world.edit(Kind::SERVICE, "web-stable", |service| {
        service["spec"]["selector"]["rollouts-pod-template-hash"] = json!(canary);
    });
    abort(&mut world);
    // `decide` asserts that the audit lets each decision pass.
    world.run(Duration::seconds(5));
    let at = |what: &str| world.log.iter().position(|line| line.contains(what));
    let (switch, weight) = (at("point the stable Service"), at("from 60 to 0"));
    assert!(switch.is_some() && switch < weight, "{}", world.log.join("\n"));
    assert_eq!(world.weight(), 0);
}
