//! The plugin's own binary against a simulated cluster on a loopback port.
#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it should be")]

use std::process::{Command, Output};

use serde_json::{Value, json};
use sluice_crds::object::{Change, Kind, ObjectRef, Preconditions, Write};
use sluice_sim::clock::Clock;
use sluice_sim::service::SimService;
use sluice_sim::workloads::WorkloadConfig;
use sluice_sim::world::World;

/// A cluster with one paused Rollout `checkout` in namespace `shop`.
struct Cluster {
    service: SimService,
    address: String,
    runtime: tokio::runtime::Runtime,
}

impl Cluster {
    fn new() -> Self {
        let start = "2026-11-21T12:00:00Z".parse().unwrap();
        let world = World::new(start, WorkloadConfig::default());
        let service = SimService::new(world, Clock::manual(start));
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let served = service.connect("kubectl-sluice");
        runtime.spawn(sluice_sim::serve::serve(served, listener));
        let cluster = Self { service, address, runtime };
        let namespace = json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "shop" },
        });
        cluster.service.with_world(|world| world.api.load(start, "test", namespace).unwrap());
        cluster.load(&rollout());
        cluster
    }

    fn load(&self, object: &Value) {
        self.service.with_world(|world| {
            let now = world.now();
            world.api.load(now, "test", object.clone()).unwrap();
            // As on a real API server, a status is only taken at its own endpoint.
            let name = object["metadata"]["name"].as_str().unwrap();
            let status = Write {
                object: ObjectRef::namespaced(Kind::ROLLOUT, "shop", name),
                preconditions: Preconditions::default(),
                manager: "test".into(),
                change: Change::Status { body: object["status"].clone() },
            };
            world.api.write(now, "test", &status).unwrap();
        });
    }

    fn run(&self, words: &[&str]) -> Output {
        let _inside = self.runtime.enter();
        Command::new(env!("CARGO_BIN_EXE_kubectl-sluice"))
            .args(["--server", &self.address, "-n", "shop", "--no-color"])
            .args(words)
            .env_remove("KUBECONFIG")
            .output()
            .unwrap()
    }

    fn rollout(&self) -> Value {
        let object = ObjectRef::namespaced(Kind::ROLLOUT, "shop", "checkout");
        self.service.with_world(|world| world.api.get(&object).map(|o| (*o).clone()).unwrap())
    }
}

fn rollout() -> Value {
    json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "metadata": { "name": "checkout", "namespace": "shop" },
        "spec": {
            "replicas": 2,
            "selector": { "matchLabels": { "app": "checkout" } },
            "template": {
                "metadata": { "labels": { "app": "checkout" } },
                "spec": { "containers": [{ "name": "app", "image": "demo:v1" }] },
            },
            "strategy": { "canary": { "steps": [{ "setWeight": 20 }, { "pause": {} }] } },
        },
        "status": {
            "observedGeneration": "1",
            "phase": "Paused",
            "message": "CanaryPauseStep",
            "currentStepIndex": 1,
            "controllerPause": true,
            "pauseConditions": [{ "reason": "CanaryPauseStep", "startTime": "2026-11-21T12:00:00Z" }],
            "currentPodHash": "b",
            "stableRS": "a",
        },
    })
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn promote_ends_the_pause() {
    let cluster = Cluster::new();
    let output = cluster.run(&["promote", "checkout"]);
    assert_eq!(out(&output), "rollout 'checkout' promoted\n", "{}", err(&output));
    assert!(cluster.rollout()["status"].get("pauseConditions").is_none());
}

#[test]
fn abort_retry_pause_and_restart_set_their_fields() {
    let cluster = Cluster::new();
    assert_eq!(out(&cluster.run(&["abort", "checkout"])), "rollout 'checkout' aborted\n");
    assert_eq!(cluster.rollout()["status"]["abort"], true);
    assert_eq!(
        out(&cluster.run(&["retry", "rollout", "checkout"])),
        "rollout 'checkout' retried\n"
    );
    assert_eq!(cluster.rollout()["status"]["abort"], false);
    assert_eq!(out(&cluster.run(&["pause", "checkout"])), "rollout 'checkout' paused\n");
    assert_eq!(cluster.rollout()["spec"]["paused"], true);
    let output = cluster.run(&["restart", "checkout", "--in", "10s"]);
    assert_eq!(out(&output), "rollout 'checkout' restarts in 10s\n");
    assert!(cluster.rollout()["spec"]["restartAt"].is_string());
}

#[test]
fn set_image_changes_the_template() {
    let cluster = Cluster::new();
    let output = cluster.run(&["set", "image", "checkout", "app=demo:v2"]);
    assert_eq!(out(&output), "rollout \"checkout\" image updated\n", "{}", err(&output));
    let image = &cluster.rollout()["spec"]["template"]["spec"]["containers"][0]["image"];
    assert_eq!(image, "demo:v2");
}

#[test]
fn a_wrong_name_is_answered_with_the_right_one() {
    let cluster = Cluster::new();
    let output = cluster.run(&["promote", "chekout"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        err(&output),
        "error: Rollout shop/chekout not found\nhint: there is `checkout` in namespace shop\n"
    );
}

#[test]
fn status_without_watch_prints_once() {
    let cluster = Cluster::new();
    let output = cluster.run(&["status", "checkout", "--watch=false"]);
    assert_eq!(out(&output), "Paused - CanaryPauseStep\n", "{}", err(&output));
    assert!(output.status.success());
}

#[test]
fn list_and_get_show_the_rollout() {
    let cluster = Cluster::new();
    let list = out(&cluster.run(&["list", "rollouts"]));
    assert!(list.starts_with("NAME      STRATEGY  STATUS  STEP"), "{list}");
    assert!(list.contains("checkout  Canary    Paused  1/2   20"), "{list}");
    let get = cluster.run(&["get", "rollout", "checkout"]);
    assert!(out(&get).contains("Status:          ॥ Paused"), "{} {}", out(&get), err(&get));
    let name = cluster.run(&["get", "rollout", "checkout", "-o", "name"]);
    assert_eq!(out(&name), "rollout.argoproj.io/checkout\n");
}

#[test]
fn undo_of_what_git_applies_is_refused() {
    let cluster = Cluster::new();
    let mut tracked = rollout();
    tracked["metadata"]["name"] = json!("cart");
    tracked["metadata"]["annotations"] =
        json!({ "argocd.argoproj.io/tracking-id": "shop:argoproj.io/Rollout:shop/cart" });
    cluster.load(&tracked);
    let output = cluster.run(&["undo", "cart"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("applied from Git by Application shop"), "{}", err(&output));
}
