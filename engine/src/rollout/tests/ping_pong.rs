//! `pingPong`: two Services that swap roles at each promotion.

use chrono::Duration;
use sluice_crds::labels::POD_TEMPLATE_HASH;
use sluice_crds::object::Kind;

use super::{abort, serving, world::World};

const PAIR: &str = r"
      pingPong: {pingService: web-ping, pongService: web-pong}
      trafficRouting: {istio: {virtualService: {name: web}}}
      steps:
      - setWeight: 40
      - pause: {duration: 10}
";

const NETWORK: &str = r"
apiVersion: v1
kind: Service
metadata: {name: web-ping}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: web-pong}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web}
spec:
  hosts: [web]
  http:
  - route:
    - {destination: {host: web-pong}, weight: 100}
    - {destination: {host: web-ping}, weight: 0}
";

/// Weights of pong and ping.
fn weights(world: &World) -> [i64; 2] {
    let route = &world.get(Kind::VIRTUAL_SERVICE, "web")["spec"]["http"][0]["route"];
    [0, 1].map(|index: usize| route[index]["weight"].as_i64().unwrap())
}

fn side(world: &World) -> Option<String> {
    world.rollout().status.canary.and_then(|canary| canary.stable_ping_pong)
}

fn selects(world: &World, service: &str) -> String {
    let selector = &world.get(Kind::SERVICE, service)["spec"]["selector"];
    selector[POD_TEMPLATE_HASH].as_str().unwrap_or_default().to_owned()
}

#[test]
fn the_pair_swaps_roles_at_each_promotion_and_no_weight_goes_back() {
    let mut world = serving(&[PAIR], &[NETWORK]);
    assert_eq!((side(&world).as_deref(), weights(&world)), (Some("ping"), [0, 100]));
    for (image, stable, expected) in [("web:2", "pong", [100, 0]), ("web:3", "ping", [0, 100])] {
        world.log.clear();
        world.set_image(image);
        world.run(Duration::seconds(8));
        let canary = if stable == "ping" { [60, 40] } else { [40, 60] };
        assert_eq!(weights(&world), canary, "{}", world.log.join("\n"));
        world.run(Duration::minutes(2));
        assert_eq!(world.phase(), "Healthy", "{}", world.log.join("\n"));
        assert_eq!((side(&world).as_deref(), weights(&world)), (Some(stable), expected));
        assert_eq!(selects(&world, &format!("web-{stable}")), world.hash_of(image));
        let back = world.log.iter().find(|line| line.contains("from 100 to 0"));
        assert_eq!(back, None, "the Service that has all traffic becomes the stable one");
    }
    insta::assert_snapshot!(world.log.join("\n"));
    assert_eq!(world.sizes(), [0, 0, 5]);
    world.check_history();
}

#[test]
fn an_abort_swaps_nothing() {
    let mut world = serving(&[PAIR], &[NETWORK]);
    world.set_image("web:2");
    world.run(Duration::seconds(8));
    assert_eq!(weights(&world), [40, 60]);
    abort(&mut world);
    world.run(Duration::minutes(2));
    assert_eq!((side(&world).as_deref(), weights(&world)), (Some("ping"), [0, 100]));
    assert_eq!((world.phase(), world.sizes()), ("Degraded".into(), vec![5, 0]));
    world.set_image("web:1");
    world.run(Duration::minutes(2));
    assert_eq!((world.phase(), side(&world).as_deref()), ("Healthy".into(), Some("ping")));
    world.check_history();
}

#[test]
fn a_template_that_goes_back_to_stable_swaps_nothing() {
    let mut world = serving(&[PAIR], &[NETWORK]);
    world.set_image("web:2");
    world.run(Duration::seconds(8));
    world.set_image("web:1");
    world.run(Duration::minutes(2));
    assert_eq!((world.phase(), side(&world).as_deref()), ("Healthy".into(), Some("ping")));
    assert_eq!((weights(&world), world.sizes()), ([0, 100], vec![5, 0]));
    world.check_history();
}
