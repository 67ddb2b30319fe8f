//! What Services select, whatever happens around them (`spec-rollouts` 2.5, 5.5).

use std::collections::BTreeMap;

use chrono::Duration;
use serde_json::{Value, json};
use sluice_crds::object::{Kind, ObjectRef};

use super::{
    MANUAL, POST, V1, V2, fresh, log_of, place, previewing, promote, serving, set, set_healthy,
    stable, testers, users,
};
use crate::plan::Reconciler;
use crate::rollout::RolloutReconciler;
use crate::rollout::tests::world::World;

fn stray(world: &mut World, service: &str, hash: Value) {
    world.edit(Kind::SERVICE, service, |service| {
        let selector = service["spec"]["selector"].as_object_mut().unwrap();
        selector.remove("rollouts-pod-template-hash");
        if !hash.is_null() {
            selector.insert("rollouts-pod-template-hash".to_owned(), hash);
        }
    });
}

#[test]
fn rule_5_users_are_switched_only_onto_a_whole_set() {
    let mut world = previewing(&[MANUAL]);
    set(&mut world, "replicas", json!(6));
    set_healthy(&mut world, V2, 5);
    promote(&mut world);
    world.run(Duration::minutes(1));
    assert_eq!((users(&world), world.sizes()), (V1.into(), vec![6, 6]));
    set_healthy(&mut world, V2, 6);
    world.run(Duration::seconds(5));
    assert_eq!(users(&world), V2);
    world.check_history();
}

#[test]
fn users_are_switched_only_onto_pods_that_endpoints_list() {
    let mut world = serving(&[]);
    let hash = world.hash_of(V2);
    world.listed.insert(hash, 3);
    world.set_image(V2);
    let decision = world.run(Duration::minutes(1));
    assert_eq!((users(&world), testers(&world)), (V1.into(), V2.into()));
    let waits: Vec<&str> = decision.report.waiting.iter().map(|w| w.what.as_str()).collect();
    assert!(waits[0].contains("4 ready endpoints of revision"), "{waits:?}");
    world.listed = BTreeMap::new();
    world.run(Duration::seconds(5));
    assert_eq!((users(&world), stable(&world)), (V2.into(), V2.into()));
    world.check_history();
}

#[test]
fn testers_get_the_new_version_with_its_first_pod() {
    let mut world = serving(&[]);
    set_healthy(&mut world, V2, 0);
    world.set_image(V2);
    world.run(Duration::minutes(1));
    assert_eq!(testers(&world), V1, "not before there is a Pod to look at");
    set_healthy(&mut world, V2, 1);
    world.run(Duration::seconds(5));
    assert_eq!((testers(&world), users(&world)), (V2.into(), V1.into()));
    world.check_history();
}

#[test]
fn a_strategy_without_preview_service_works_the_same() {
    let mut world = fresh(&[MANUAL]);
    world.edit_rollout(|rollout| {
        rollout["spec"]["strategy"]["blueGreen"]["previewService"] = Value::Null;
    });
    world.run(Duration::minutes(1));
    assert_eq!(world.phase(), "Healthy");
    world.set_image(V2);
    world.run(Duration::seconds(10));
    assert_eq!((users(&world), testers(&world)), (V1.into(), String::new()));
    promote(&mut world);
    world.run(Duration::minutes(1));
    assert_eq!((stable(&world), world.sizes()), (V2.into(), vec![0, 4]));
    world.check_history();
}

#[test]
fn an_active_service_that_somebody_blurred_or_led_astray_goes_back_to_stable() {
    for wrong in [Value::Null, json!("nobody")] {
        let mut world = previewing(&[MANUAL]);
        stray(&mut world, "web-active", wrong.clone());
        world.decide();
        assert_eq!(users(&world), V1, "led to {wrong}");
        world.run(Duration::seconds(10));
        assert_eq!((users(&world), world.phase()), (V1.into(), "Paused".into()));
        world.check_history();
    }
}

#[test]
fn a_blurred_active_service_promotes_nothing() {
    let mut world = previewing(&[MANUAL]);
    set_healthy(&mut world, V1, 0);
    stray(&mut world, "web-active", Value::Null);
    world.run(Duration::minutes(5));
    assert_eq!(stable(&world), V1, "Argo would have taken it for a first deployment");
    set_healthy(&mut world, V1, 4);
    world.run(Duration::minutes(1));
    assert_eq!(users(&world), V1);
    world.check_history();
}

#[test]
fn a_service_that_somebody_keeps_changing_is_left_alone_for_a_while() {
    let mut world = serving(&[]);
    world.log.clear();
    for _ in 0..60 {
        stray(&mut world, "web-preview", json!("mine"));
        world.run(Duration::seconds(1));
    }
    let writes = world.log.iter().filter(|line| line.contains("point the preview")).count();
    assert!((2..=3).contains(&writes), "{writes} writes:\n{}", log_of(&world));
    let conditions = world.rollout().status.conditions.unwrap();
    let contended = conditions.iter().find(|c| c.kind == "FieldContended").unwrap();
    assert!(contended.message.contains("Service shop/web-preview"), "{}", contended.message);
}

#[test]
fn a_new_version_has_its_pods_before_anybody_is_sent_to_it() {
    let mut world = serving(&[]);
    world.set_image(V2);
    world.run(Duration::minutes(2));
    let order = ["create ReplicaSet", "scale ReplicaSet", "point the preview", "point the active"];
    let places: Vec<usize> = order.iter().map(|what| place(&world, what)).collect();
    assert!(places.is_sorted(), "{}", log_of(&world));
    assert!(place(&world, "from 4 to 0") > places[3]);
    assert_eq!(world.touches, 0, "the term is fenced");
    assert!(world.log.len() <= 16, "{} writes:\n{}", world.log.len(), log_of(&world));
    world.check_history();
}

#[test]
fn a_new_term_stamps_everything_before_an_abort_could_need_it() {
    let mut world = serving(&[POST]);
    world.set_image(V2);
    world.run(Duration::seconds(20));
    assert_eq!(users(&world), V2);
    world.log.clear();
    world.term = 8;
    world.settle();
    assert_eq!((world.touches, world.log.len()), (5, 0), "{}", log_of(&world));
}

#[test]
fn replicas_of_nothing_and_back() {
    let mut world = serving(&[]);
    set(&mut world, "replicas", json!(0));
    world.run(Duration::minutes(1));
    assert_eq!((world.sizes(), world.phase()), (vec![0], "Healthy".into()));
    world.set_image(V2);
    world.run(Duration::minutes(1));
    assert_eq!((users(&world), stable(&world)), (V2.into(), V2.into()));
    set(&mut world, "replicas", json!(3));
    world.run(Duration::minutes(1));
    assert_eq!((world.sizes(), world.phase()), (vec![0, 3], "Healthy".into()));
    world.check_history();
}

#[test]
fn a_missing_service_is_said_and_freezes_users() {
    for (name, field) in [("web-active", "activeService"), ("web-preview", "previewService")] {
        let mut world = previewing(&[MANUAL]);
        let address = ObjectRef::namespaced(Kind::SERVICE, "shop", name);
        let kept = world.objects[&address].clone();
        world.remove(Kind::SERVICE, name);
        promote(&mut world);
        world.run(Duration::minutes(1));
        let message = world.rollout().status.message.unwrap();
        let wanted = format!("spec.strategy.blueGreen.{field}: service \"{name}\" not found");
        assert!(message.contains(&wanted), "{message}");
        let writes = world.log.iter().filter(|line| !line.starts_with("status")).count();
        assert_eq!(writes, 0, "{}", log_of(&world));
        world.objects.insert(address, kept);
        world.run(Duration::seconds(5));
        assert_eq!(users(&world), V2);
    }
}

#[test]
fn a_missing_template_of_an_analysis_is_said_before_users_move() {
    let mut world = serving(&[]);
    world.edit_rollout(|rollout| {
        rollout["spec"]["strategy"]["blueGreen"]["postPromotionAnalysis"] =
            json!({ "templates": [{ "templateName": "gone" }] });
    });
    world.set_image(V2);
    world.run(Duration::minutes(1));
    let message = world.rollout().status.message.unwrap();
    assert!(message.contains("spec.strategy.blueGreen.postPromotionAnalysis"), "{message}");
    assert_eq!((users(&world), world.sizes()), (V1.into(), vec![4]));
}

#[test]
fn the_audit_refuses_a_switch_that_is_not_due() {
    let mut world = previewing(&[MANUAL]);
    promote(&mut world);
    let decision = RolloutReconciler::decide(&world.view());
    let switch = decision.plan.actions().any(|action| action.to_string().contains("the active"));
    assert!(switch, "{:?}", decision.plan);
    let check = |world: &mut World, law: &str| {
        let found = RolloutReconciler::audit(&world.view(), &decision);
        assert!(found.iter().any(|violation| violation.id == law), "{law}: {found:?}");
    };
    world.edit_rollout(|rollout| rollout["status"]["abort"] = json!(true));
    check(&mut world, "S7");
    world.edit_rollout(|rollout| {
        rollout["status"]["abort"] = Value::Null;
        rollout["status"]["controllerPause"] = Value::Null;
    });
    check(&mut world, "S11");
    world.edit_rollout(|rollout| {
        rollout["spec"]["strategy"]["blueGreen"]["prePromotionAnalysis"] =
            json!({ "templates": [{ "templateName": "errors" }] });
    });
    check(&mut world, "S12");
    set_healthy(&mut world, V2, 3);
    check(&mut world, "S3");
}
