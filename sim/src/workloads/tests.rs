use super::*;
use crate::api_server::Call;
use crate::world::World;

fn start() -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000, 0).unwrap()
}

fn world(manifests: &str) -> World {
    let mut world = World::new(start(), WorkloadConfig::default());
    let manifests: Vec<Value> = serde_saphyr::from_str(manifests).unwrap();
    for manifest in manifests {
        world.api.load(start(), "setup", manifest).unwrap();
    }
    world.settle();
    world
}

fn rs(extra: &str, image: &str, annotations: &str) -> String {
    format!(
        "[{{apiVersion: apps/v1, kind: ReplicaSet, metadata: {{name: web-1}}, spec: {{replicas: 2, {extra} \
         selector: {{matchLabels: {{app: web}}}}, template: {{metadata: {{labels: {{app: web}}, annotations: {{{annotations}}}}}, \
         spec: {{containers: [{{name: c, image: \"{image}\"}}]}}}}}}}},\
         {{apiVersion: v1, kind: Service, metadata: {{name: web}}, spec: {{selector: {{app: web}}, ports: [{{port: 80}}]}}}}]"
    )
}

fn get(world: &mut World, path: &str) -> Value {
    match world.handle(&Call::new("GET", path)) {
        crate::api_server::Reply::Json { body, .. } => body,
        other => panic!("{other:?}"),
    }
}

/// Returns `replicas/ready/available` of the ReplicaSet, and how many endpoints are ready.
fn counts(world: &mut World) -> (String, usize) {
    let rs = get(world, "/apis/apps/v1/namespaces/default/replicasets/web-1");
    let slices = get(world, "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices");
    let endpoints = slices["items"][0]["endpoints"].as_array().cloned().unwrap_or_default();
    let ready = endpoints.iter().filter(|e| e["conditions"]["ready"] == true).count();
    let count = |field: &str| number(&rs, &format!("/status/{field}"));
    (
        format!("{}/{}/{}", count("replicas"), count("readyReplicas"), count("availableReplicas")),
        ready,
    )
}

#[test]
fn pods_become_ready_available_and_endpoints_in_their_time() {
    let cases = [
        ("plain", "", "demo:1", "", 999, "2/0/0", 0),
        ("plain", "", "demo:1", "", 1000, "2/2/2", 2),
        ("min ready", "minReadySeconds: 5,", "demo:1", "", 5999, "2/2/0", 2),
        ("min ready", "minReadySeconds: 5,", "demo:1", "", 6000, "2/2/2", 2),
        ("slow", "", "demo:1", "sim.sluice.dev/ready-after: '2.5'", 2499, "2/0/0", 0),
        ("slow", "", "demo:1", "sim.sluice.dev/ready-after: '2.5'", 2500, "2/2/2", 2),
        ("no image", "", "demo:does-not-exist", "", 60_000, "2/0/0", 0),
        ("bad probe", "", "demo:1", "sim.sluice.dev/behaviour: never-ready", 60_000, "2/0/0", 0),
        ("crash", "", "demo:1", "sim.sluice.dev/behaviour: crash", 60_000, "2/0/0", 0),
    ];
    for (name, extra, image, annotations, after_ms, status, endpoints) in cases {
        let mut world = world(&rs(extra, image, annotations));
        world.advance(TimeDelta::milliseconds(after_ms));
        assert_eq!(
            counts(&mut world),
            (status.to_owned(), endpoints),
            "{name} after {after_ms} ms"
        );
    }
}

#[test]
fn scaling_down_takes_endpoints_at_once_and_pods_later() {
    let mut world = world(&rs("", "demo:1", ""));
    world.advance(TimeDelta::seconds(2));
    let scale = json!({ "spec": { "replicas": 0 } });
    let path = "/apis/apps/v1/namespaces/default/replicasets/web-1";
    world.handle(&Call::new("PATCH", path).with_body("application/merge-patch+json", &scale));
    assert_eq!(counts(&mut world), ("0/0/0".to_owned(), 0));
    let pods = |world: &mut World| get(world, "/api/v1/pods")["items"].as_array().map(Vec::len);
    assert_eq!(pods(&mut world), Some(2), "terminating");
    world.advance(TimeDelta::seconds(1));
    assert_eq!(pods(&mut world), Some(0));
}

#[test]
fn a_lost_pod_is_replaced() {
    let mut world = world(&rs("", "demo:1", ""));
    world.advance(TimeDelta::seconds(2));
    let pods = get(&mut world, "/api/v1/pods");
    let name = text(&pods, "/items/0/metadata/name").to_owned();
    assert!(name.starts_with("web-1-") && name.len() == "web-1-".len() + 5, "{name}");
    world.handle(&Call::new("DELETE", &format!("/api/v1/namespaces/default/pods/{name}")));
    assert_eq!(counts(&mut world), ("2/1/1".to_owned(), 1));
    world.advance(TimeDelta::seconds(1));
    assert_eq!(counts(&mut world), ("2/2/2".to_owned(), 2));
}

#[test]
fn a_deployment_replaces_its_replica_set_when_the_new_one_is_available() {
    let mut world = world(
        "[{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {replicas: 2, \
          selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, \
          spec: {containers: [{name: c, image: 'demo:1'}]}}}}]",
    );
    world.advance(TimeDelta::seconds(2));
    let path = "/apis/apps/v1/namespaces/default/deployments/web";
    assert_eq!(get(&mut world, path)["status"]["availableReplicas"], 2);
    let patch = json!([{ "op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "demo:2" }]);
    world.handle(&Call::new("PATCH", path).with_body("application/json-patch+json", &patch));
    assert_eq!(get(&mut world, path)["status"]["replicas"], 4, "both");
    world.advance(TimeDelta::seconds(3));
    let status = get(&mut world, path)["status"].clone();
    assert_eq!((&status["replicas"], &status["updatedReplicas"]), (&json!(2), &json!(2)));
}

#[test]
fn deleting_the_owner_takes_the_pods() {
    let mut world = world(&rs("", "demo:1", ""));
    world.advance(TimeDelta::seconds(2));
    world.handle(&Call::new("DELETE", "/apis/apps/v1/namespaces/default/replicasets/web-1"));
    world.advance(TimeDelta::seconds(2));
    assert_eq!(get(&mut world, "/api/v1/pods")["items"], json!([]));
    assert_eq!(world.next_at(), None, "nothing is pending in a settled world");
}
