//! What a Rollout does, told by scenarios in a small world: writes in order, in words.

use chrono::Duration;
use serde_json::{Value, json};
use sluice_crds::object::Kind;

mod world;

use world::World;

const BASE: &str = r"
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {name: web}
spec:
  replicas: 5
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: 'web:1'}]}
  strategy:
    canary:
      canaryService: web-canary
      stableService: web-stable
      trafficRouting: {istio: {virtualService: {name: web, routes: [primary]}}}
      steps:
      - setWeight: 20
      - pause: {duration: 30}
      - setWeight: 60
      - pause: {}
      - setWeight: 100
---
apiVersion: v1
kind: Service
metadata: {name: web-canary}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: web-stable}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web}
spec:
  hosts: [web]
  http:
  - name: primary
    retries: {attempts: 3}
    route:
    - {destination: {host: web-stable}, weight: 100}
    - {destination: {host: web-canary}, weight: 0}
";

/// A world in which version 1 serves.
fn serving() -> World {
    let mut world = World::new(BASE);
    world.run(Duration::minutes(2));
    world.log.clear();
    world.touches = 0;
    world
}

fn promote(world: &mut World) {
    world.edit_rollout(|rollout| rollout["status"]["pauseConditions"] = Value::Null);
}

#[test]
fn the_first_version_is_deployed_at_once() {
    let mut world = World::new(BASE);
    world.run(Duration::minutes(2));
    insta::assert_snapshot!(world.log.join("\n"));
    world.check_history();
}

#[test]
fn a_canary_goes_step_by_step_and_is_promoted() {
    let mut world = serving();
    world.set_image("web:2");
    world.run(Duration::minutes(2));
    promote(&mut world);
    world.run(Duration::minutes(2));
    insta::assert_snapshot!(world.log.join("\n"));
    assert!(world.log.len() <= 22, "{} writes", world.log.len());
    assert_eq!(world.touches, 0, "the term is fenced");
    assert_eq!(world.rollout().status.phase.as_deref(), Some("Healthy"));
    world.check_history();
}

#[test]
fn an_abort_begins_with_the_weight() {
    let mut world = serving();
    world.set_image("web:2");
    world.run(Duration::minutes(2));
    assert_eq!(world.weight(), 60);
    world.log.clear();
    world.edit_rollout(|rollout| rollout["status"]["abort"] = json!(true));
    world.run(Duration::minutes(2));
    insta::assert_snapshot!(world.log.join("\n"));
    assert!(world.log.len() <= 8);
    assert_eq!(world.weight(), 0);
    assert_eq!(world.sizes(), [5, 0]);
    world.check_history();
}

#[test]
fn a_new_term_touches_each_object_once() {
    let mut world = serving();
    world.term = 8;
    world.set_image("web:2");
    world.run(Duration::minutes(2));
    promote(&mut world);
    world.run(Duration::minutes(2));
    assert_eq!(world.touches, 5, "Rollout, VirtualService, two Services, stable ReplicaSet");
    assert_eq!(world.get(Kind::ROLLOUT, "web")["status"]["phase"], "Healthy");
}
