//! Workloads and single Pods: watched when somebody asks, heard of at once, forgotten again.

use std::time::Duration;

use chrono::SecondsFormat;
use serde_json::{Value, json};
use sluice_crds::object::{Kind, ObjectRef};

use super::stage::{Stage, W5, rollout};

const REFERRING: &str = r"
apiVersion: v1
kind: Namespace
metadata: { name: shop }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: source, namespace: shop }
spec:
  replicas: 3
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec: { containers: [{ name: web, image: 'registry/web:1' }] }
---
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: { name: web, namespace: shop }
spec:
  replicas: 3
  workloadRef: { apiVersion: apps/v1, kind: Deployment, name: source, scaleDown: progressively }
  strategy: { canary: {} }
";

fn source() -> ObjectRef {
    ObjectRef::namespaced(Kind::DEPLOYMENT, "shop", "source")
}

/// How often the path was watched.
fn watches(stage: &Stage, path: &str) -> usize {
    let all = stage.recorded("sluice-reads");
    all.iter().filter(|request| request.verb == "watch" && request.path == path).count()
}

fn restart(stage: &Stage) {
    let at = stage.service.clock().now() + Duration::from_secs(2);
    let at = at.to_rfc3339_opts(SecondsFormat::Secs, true);
    stage.patch(&rollout(), &json!({ "spec": { "restartAt": at } }));
}

fn is_restarted(stage: &Stage) -> bool {
    let rollout = stage.get(&rollout());
    rollout["status"]["restartedAt"] == rollout["spec"]["restartAt"]
}

/// Uids of the Pods that are not on their way out.
fn pods(stage: &Stage) -> Vec<Value> {
    stage.service.with_world(|world| {
        let pods = world.api.objects(&Kind::POD, Some("shop"));
        let live = pods.iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        live.map(|pod| pod["metadata"]["uid"].clone()).collect()
    })
}

#[tokio::test(start_paused = true)]
async fn a_rollout_hears_of_its_deployment_which_gives_way_to_it() {
    let stage = Stage::new();
    stage.create(REFERRING);
    let controller = stage.controller("one");
    stage.phase(60, "Healthy").await;
    stage
        .until(30, "the Deployment gives way", |s| s.get(&source())["spec"]["replicas"] == 0)
        .await;
    let first = stage.get(&rollout())["status"]["stableRS"].clone();
    let container = json!({ "name": "web", "image": "registry/web:2" });
    let template = json!({ "spec": { "containers": [container] } });
    stage.patch(&source(), &json!({ "spec": { "template": template } }));
    stage
        .until(60, "the new version is stable", |stage| {
            let status = stage.get(&rollout())["status"].clone();
            status["stableRS"] != first && status["phase"] == "Healthy"
        })
        .await;
    let generation = stage.get(&source())["metadata"]["generation"].to_string();
    stage
        .until(10, "its generation is on record", |stage| {
            stage.get(&rollout())["status"]["workloadObservedGeneration"] == generation.as_str()
        })
        .await;
    assert_eq!(stage.get(&source())["spec"]["replicas"], 0, "nothing brings it back");
    let before = stage.recorded("sluice-writes").len();
    stage.pass(Duration::from_secs(300)).await;
    assert_eq!(stage.since("sluice-writes", before), Vec::<String>::new(), "it is idle");
    controller.terminate().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn workloads_are_watched_only_when_a_rollout_refers_to_one() {
    let stage = Stage::new();
    stage.create(W5);
    let controller = stage.controller("one");
    stage.phase(60, "Healthy").await;
    stage.pass(Duration::from_secs(120)).await;
    for plural in ["apis/apps/v1/deployments", "api/v1/podtemplates"] {
        assert_eq!(watches(&stage, &format!("/{plural}")), 0, "{plural}");
    }
    controller.terminate().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_restart_replaces_all_pods_and_watches_them_meanwhile_only() {
    const PODS: &str = "/api/v1/namespaces/shop/pods";
    let stage = Stage::new();
    stage.create(W5);
    let controller = stage.controller("one");
    stage.phase(60, "Healthy").await;
    stage.pass(Duration::from_secs(5)).await;
    let before = pods(&stage);
    assert_eq!(watches(&stage, PODS), 0);
    restart(&stage);
    stage.until(120, "the restart", is_restarted).await;
    stage.phase(60, "Healthy").await;
    let after = pods(&stage);
    assert!(
        after.len() == 5 && !after.iter().any(|uid| before.contains(uid)),
        "{before:?} {after:?}"
    );
    let evictions = |request: &&String| request.contains("/eviction 201");
    assert_eq!(stage.requests_of("sluice-writes").iter().filter(evictions).count(), 5);
    let watched = watches(&stage, PODS);
    assert!(watched > 0);
    stage.pass(Duration::from_secs(300)).await;
    assert_eq!(watches(&stage, PODS), watched, "nobody looks any more");
    controller.terminate().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_budget_is_asked_again_every_ten_seconds_and_no_abort_waits_for_it() {
    let stage = Stage::new();
    stage.create(W5);
    stage.create(
        "
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: { name: web, namespace: shop }
spec: { minAvailable: 5, selector: { matchLabels: { app: web } } }
",
    );
    let controller = stage.controller("one");
    stage.phase(60, "Healthy").await;
    stage.pass(Duration::from_secs(5)).await;
    restart(&stage);
    stage.pass(Duration::from_secs(62)).await;
    let refused = |request: &&String| request.contains("/eviction 429");
    let asked = stage.requests_of("sluice-writes").iter().filter(refused).count();
    assert!((5..=7).contains(&asked), "{asked} in a minute");
    let status = stage.get(&rollout())["status"].clone();
    assert_eq!(
        (&status["phase"], &status["message"]),
        (&json!("Progressing"), &json!("rollout is restarting"))
    );
    let budget = "/apis/policy/v1/namespaces/shop/poddisruptionbudgets/web";
    stage.patch_at(budget, &json!({ "spec": { "minAvailable": 1 } }));
    stage.until(120, "the restart", is_restarted).await;
    controller.terminate().await.unwrap();
}
