//! Header and mirror routes: when they come, where they lead, and how they go.

use chrono::Duration;
use serde_json::{Value, json};
use sluice_crds::object::Kind;

use super::{NETWORK, abort, promote, serving, world::World};

const ROUTED: &str = r"
      canaryService: web-canary
      stableService: web-stable
      trafficRouting:
        managedRoutes: [{name: staff}, {name: shadow}]
        istio: {virtualService: {name: web, routes: [primary]}}
";

const STEPS: &str = r#"
      steps:
      - setCanaryScale: {replicas: 1}
      - setHeaderRoute: {name: staff, match: [{headerName: x-staff, headerValue: {exact: "1"}}]}
      - pause: {}
      - setCanaryScale: {matchTrafficWeight: true}
      - setWeight: 40
      - pause: {}
      - setHeaderRoute: {name: staff}
      - pause: {}
"#;

const MIRROR: &str = r"
      steps:
      - setWeight: 20
      - setMirrorRoute: {name: shadow, percentage: 30, match: [{path: {prefix: /}}]}
      - pause: {}
      - setWeight: 60
      - pause: {}
";

fn routes(world: &World) -> Vec<String> {
    let http = &world.get(Kind::VIRTUAL_SERVICE, "web")["spec"]["http"];
    let http = http.as_array().unwrap().iter();
    http.map(|route| route["name"].as_str().unwrap().to_owned()).collect()
}

fn note(world: &World) -> Value {
    let object = world.get(Kind::VIRTUAL_SERVICE, "web");
    object["metadata"]["annotations"]["sluice.dev/made"].clone()
}

/// A world in which staff reach version 2, and nobody else does.
fn staffed() -> World {
    let mut world = serving(&[ROUTED, STEPS], &[NETWORK]);
    world.set_image("web:2");
    world.run(Duration::minutes(1));
    assert_eq!(routes(&world), ["staff", "primary"], "{}", world.log.join("\n"));
    assert_eq!((world.phase(), world.weight()), ("Paused".into(), 0));
    world.log.clear();
    world
}

/// Position of the first line of the log with the text.
fn first(world: &World, text: &str) -> usize {
    let found = world.log.iter().position(|line| line.contains(text));
    found.unwrap_or_else(|| panic!("no `{text}` in\n{}", world.log.join("\n")))
}

#[test]
fn a_header_route_is_there_from_its_step_to_the_step_that_removes_it() {
    let mut world = serving(&[ROUTED, STEPS], &[NETWORK]);
    world.set_image("web:2");
    world.run(Duration::minutes(1));
    let made = world.get(Kind::VIRTUAL_SERVICE, "web")["spec"]["http"][0].clone();
    assert_eq!(
        made,
        json!({
            "name": "staff",
            "match": [{ "headers": { "x-staff": { "exact": "1" } } }],
            "route": [{ "destination": { "host": "web-canary" }, "weight": 100 }],
        })
    );
    assert_eq!(note(&world), r#"{"web":{"routes":["staff"]}}"#);
    assert_eq!(world.sizes(), [5, 1]);
    promote(&mut world);
    world.run(Duration::minutes(1));
    assert_eq!((world.weight(), routes(&world).len()), (40, 2));
    promote(&mut world);
    world.run(Duration::minutes(1));
    assert_eq!((world.weight(), routes(&world)), (40, vec!["primary".to_owned()]));
    assert_eq!(note(&world), Value::Null);
    promote(&mut world);
    world.run(Duration::minutes(2));
    assert_eq!((world.phase(), world.sizes()), ("Healthy".into(), vec![0, 5]));
    insta::assert_snapshot!(world.log.join("\n"));
    world.check_history();
}

#[test]
fn a_header_route_comes_once_pods_behind_it_are_listed_and_known_to_proxies() {
    let mut world = serving(&[ROUTED, STEPS], &[NETWORK]);
    let canary = world.hash_of("web:2");
    world.listed.insert(canary.clone(), 0);
    world.set_image("web:2");
    world.run(Duration::minutes(1));
    assert_eq!(routes(&world), ["primary"], "available, and not listed");
    assert_eq!(world.rollout().status.current_step_index, Some(1), "the step waits for its route");
    let waits = world.settle().report.waiting;
    assert!(waits.iter().any(|wait| wait.what.contains("ready endpoints")), "{waits:?}");
    world.listed.clear();
    world.settle();
    assert_eq!(routes(&world), ["staff", "primary"]);
    let switched = first(&world, "point the canary Service");
    assert!(switched < first(&world, "set the routes of steps"));
    world.check_history();
}

#[test]
fn an_abort_removes_the_route_first_also_without_weight() {
    let mut world = staffed();
    abort(&mut world);
    let (_, decision) = world.decide();
    let first = decision.plan.actions().next().unwrap().to_string();
    assert_eq!(first, "remove the routes of steps on VirtualService shop/web");
    world.run(Duration::minutes(2));
    assert_eq!((routes(&world), world.sizes()), (vec!["primary".to_owned()], vec![5, 0]));
    assert_eq!(world.phase(), "Degraded");
    world.check_history();
}

#[test]
fn an_abort_takes_weight_and_routes_in_one_write() {
    let mut world = staffed();
    promote(&mut world);
    world.run(Duration::minutes(1));
    assert_eq!((world.weight(), routes(&world).len()), (40, 2));
    world.log.clear();
    abort(&mut world);
    world.settle();
    assert_eq!(
        world.log[0],
        "move the canary's weight on VirtualService shop/web from 40 to 0, and remove the routes of steps on VirtualService shop/web"
    );
    assert_eq!((world.weight(), routes(&world)), (0, vec!["primary".to_owned()]));
    world.check_history();
}

#[test]
fn a_promotion_takes_routes_with_the_weight() {
    let mut world = serving(
        &[ROUTED, &STEPS.replace("- setHeaderRoute: {name: staff}\n", "- pause: {duration: 1}\n")],
        &[NETWORK],
    );
    world.set_image("web:2");
    for _ in 0..4 {
        world.run(Duration::minutes(1));
        promote(&mut world);
    }
    world.run(Duration::minutes(2));
    assert_eq!((world.phase(), world.weight()), ("Healthy".into(), 0));
    assert_eq!(routes(&world), ["primary"]);
    let back = world.log.iter().find(|line| line.contains("from 100 to 0")).unwrap();
    assert!(back.contains("and remove the routes of steps"), "{back}");
    world.check_history();
}

#[test]
fn full_promotion_takes_the_routes_away() {
    let mut world = staffed();
    world.edit_rollout(|rollout| rollout["status"]["promoteFull"] = json!(true));
    world.settle();
    assert_eq!(routes(&world), ["primary"]);
    world.run(Duration::minutes(2));
    assert_eq!((world.phase(), world.sizes()), ("Healthy".into(), vec![0, 5]));
    world.check_history();
}

#[test]
fn a_canary_that_lost_its_pods_loses_its_route_and_gets_it_back_with_them() {
    let mut world = staffed();
    let canary = world.rollout().status.current_pod_hash.unwrap();
    world.healthy.insert(canary.clone(), 0);
    world.settle();
    assert_eq!(routes(&world), ["primary"]);
    world.healthy.clear();
    world.settle();
    assert_eq!(routes(&world), ["primary"], "not at once");
    world.run(Duration::seconds(10));
    assert_eq!(routes(&world), ["staff", "primary"]);
    world.check_history();
}

#[test]
fn a_new_revision_and_a_way_back_to_stable_remove_the_route_before_anything_is_switched() {
    for image in ["web:3", "web:1"] {
        let mut world = staffed();
        world.set_image(image);
        world.run(Duration::seconds(20));
        let removed = first(&world, "remove the routes of steps");
        let switched = world.log.iter().position(|line| line.contains("point the canary Service"));
        assert!(switched.is_none_or(|at| removed < at), "{}", world.log.join("\n"));
        world.check_history();
    }
}

#[test]
fn a_route_whose_step_is_gone_from_the_spec_is_removed() {
    let mut world = staffed();
    world.edit_rollout(|rollout| {
        let canary = &mut rollout["spec"]["strategy"]["canary"];
        canary["steps"] = json!([{ "setCanaryScale": { "replicas": 1 } }, { "pause": {} }]);
        canary["trafficRouting"].as_object_mut().unwrap().remove("managedRoutes");
    });
    world.run(Duration::seconds(20));
    assert_eq!(routes(&world), ["primary"], "{}", world.log.join("\n"));
    assert_eq!(note(&world), Value::Null);
    world.check_history();
}

#[test]
fn a_pod_stays_behind_a_route_of_its_own_when_the_weight_asks_for_none() {
    let steps = STEPS.replace("- setWeight: 40\n", "- setWeight: 0\n");
    let mut world = serving(&[ROUTED, &steps], &[NETWORK]);
    world.set_image("web:2");
    world.run(Duration::minutes(1));
    promote(&mut world);
    world.run(Duration::minutes(2));
    assert_eq!((routes(&world).len(), world.sizes()), (2, vec![5, 1]));
    promote(&mut world);
    world.run(Duration::minutes(2));
    assert_eq!((routes(&world).len(), world.sizes()), (1, vec![5, 0]));
    world.check_history();
}

#[test]
fn a_route_that_somebody_takes_out_is_put_back() {
    let mut world = staffed();
    world.edit(Kind::VIRTUAL_SERVICE, "web", |object| {
        object["spec"]["http"].as_array_mut().unwrap().remove(0);
    });
    world.settle();
    assert_eq!(routes(&world), ["staff", "primary"]);
    world.edit(Kind::VIRTUAL_SERVICE, "web", |object| {
        object["spec"]["http"][1]["timeout"] = json!("3s");
    });
    abort(&mut world);
    world.settle();
    let http = &world.get(Kind::VIRTUAL_SERVICE, "web")["spec"]["http"];
    assert_eq!(http[0]["timeout"], "3s", "what is not ours stays: {http}");
}

#[test]
fn without_pods_of_the_canary_the_step_of_a_route_does_not_wait() {
    let steps = r#"
      steps:
      - setHeaderRoute: {name: staff, match: [{headerName: x-staff, headerValue: {prefix: "1"}}]}
      - setWeight: 20
      - pause: {}
"#;
    let mut world = serving(&[ROUTED, steps], &[NETWORK]);
    world.set_image("web:2");
    world.run(Duration::minutes(1));
    assert_eq!((world.weight(), routes(&world).len()), (20, 2), "the route comes with the Pods");
    world.check_history();
}

#[test]
fn a_mirror_route_follows_the_weights() {
    let mut world = serving(&[ROUTED, MIRROR], &[NETWORK]);
    world.set_image("web:2");
    world.run(Duration::minutes(1));
    for weight in [20, 60] {
        assert_eq!((world.weight(), routes(&world).len()), (weight, 2));
        let mirror = world.get(Kind::VIRTUAL_SERVICE, "web")["spec"]["http"][0].clone();
        assert_eq!(
            mirror,
            json!({
                "name": "shadow",
                "match": [{ "uri": { "prefix": "/" } }],
                "route": [
                    { "destination": { "host": "web-stable" }, "weight": 100 - weight },
                    { "destination": { "host": "web-canary" }, "weight": weight },
                ],
                "mirror": { "host": "web-canary" },
                "mirrorPercentage": { "value": 30 },
            })
        );
        promote(&mut world);
        world.run(Duration::minutes(1));
    }
    assert_eq!((world.phase(), routes(&world)), ("Healthy".into(), vec!["primary".to_owned()]));
    world.check_history();
}

#[test]
fn nothing_is_written_twice_while_a_route_is_there() {
    let mut world = staffed();
    let before = world.log.len();
    for _ in 0..5 {
        world.decide();
        world.now += Duration::seconds(7);
    }
    assert_eq!(world.log.len(), before, "{}", world.log.join("\n"));
}
