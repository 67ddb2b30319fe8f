use serde_json::json;

use super::world::{APPLICATION, V1, V2, World};

fn manifests(weights: (i64, i64), retries: i64) -> String {
    format!(
        "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: web}}
spec:
  hosts: [web]
  http:
  - name: main
    retries: {{attempts: {retries}}}
    route:
    - {{destination: {{host: web}}, weight: {}}}
    - {{destination: {{host: web-canary}}, weight: {}}}
---
apiVersion: v1
kind: Service
metadata: {{name: web-canary}}
spec: {{selector: {{app: web}}, ports: [{{port: 80}}]}}
---
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {{name: web}}
spec:
  selector: {{matchLabels: {{app: web}}}}
  template: {{metadata: {{labels: {{app: web}}}}, spec: {{containers: [{{name: web, image: 'web:1'}}]}}}}
  strategy:
    canary:
      stableService: web
      canaryService: web-canary
      trafficRouting: {{istio: {{virtualService: {{name: web, routes: [main]}}}}}}
",
        weights.0, weights.1
    )
}

fn weights(world: &World) -> Vec<i64> {
    let route = &world.object("VirtualService", "web").unwrap()["spec"]["http"][0];
    let routes = route["route"].as_array().unwrap();
    routes.iter().map(|r| r["weight"].as_i64().unwrap()).collect()
}

fn in_mid_canary() -> World {
    let mut world = World::new(APPLICATION);
    world.push(V1, &manifests((0, 100), 1));
    world.settle();
    assert_eq!(weights(&world), [100, 0], "a new route sends everything to the stable version");
    world.promote("web");
    world.settle();
    world.edit("VirtualService", "web", |service| {
        service["spec"]["http"][0]["route"][0]["weight"] = json!(60);
        service["spec"]["http"][0]["route"][1]["weight"] = json!(40);
    });
    world.edit("Service", "web-canary", |service| {
        service["spec"]["selector"]["rollouts-pod-template-hash"] = json!("abc");
    });
    world.settle();
    world
}

#[test]
fn sync_never_touches_the_weights_of_a_canary() {
    let mut world = in_mid_canary();
    world.application["operation"] = json!({ "sync": {} });
    world.settle();
    world.push(V2, &manifests((1, 99), 1));
    world.settle();
    assert_eq!(weights(&world), [60, 40]);
    let writes = world.log.iter().filter(|line| line.contains("apply")).count();
    assert_eq!(writes, 0, "{:?}", world.log);
}

#[test]
fn an_edit_of_retries_in_git_arrives_and_leaves_the_weights() {
    let mut world = in_mid_canary();
    world.push(V2, &manifests((100, 0), 5));
    world.settle();
    let service = world.object("VirtualService", "web").unwrap();
    assert_eq!(service["spec"]["http"][0]["retries"]["attempts"], 5);
    assert_eq!(weights(&world), [60, 40]);
    let selector = &world.object("Service", "web-canary").unwrap()["spec"]["selector"];
    assert_eq!(selector["rollouts-pod-template-hash"], "abc");
}
