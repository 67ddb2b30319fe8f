use std::time::Duration;

use serde_json::{Value, json};
use sluice_crds::object::{Kind, ObjectRef};

use super::stage::{Stage, W5, canary_weight, image, rollout, virtual_service};

const EXPERIMENT: &str = r"
apiVersion: v1
kind: Namespace
metadata: { name: shop }
---
apiVersion: argoproj.io/v1alpha1
kind: Experiment
metadata: { name: side, namespace: shop, labels: LABELS }
spec:
  duration: 20s
  scaleDownDelaySeconds: 5
  templates:
    - name: old
      selector: { matchLabels: { app: side, version: old } }
      template:
        metadata: { labels: { app: side, version: old } }
        spec: { containers: [{ name: web, image: 'registry/web:1' }] }
    - name: new
      service: { name: side-new }
      selector: { matchLabels: { app: side, version: new } }
      template:
        metadata: { labels: { app: side, version: new } }
        spec: { containers: [{ name: web, image: 'registry/web:2', ports: [{ containerPort: 80 }] }] }
";

fn side() -> ObjectRef {
    ObjectRef::namespaced(Kind::EXPERIMENT, "shop", "side")
}

fn created(labels: &str) -> Stage {
    let stage = Stage::new();
    stage.create(&EXPERIMENT.replace("LABELS", labels));
    stage
}

async fn is(stage: &Stage, seconds: u64, object: &ObjectRef, phase: &str) {
    stage.until(seconds, phase, |stage| stage.get(object)["status"]["phase"] == phase).await;
}

fn size(stage: &Stage, name: &str) -> Value {
    stage.get(&ObjectRef::namespaced(Kind::REPLICA_SET, "shop", name))["spec"]["replicas"].clone()
}

#[tokio::test(start_paused = true)]
async fn an_experiment_runs_ends_and_then_costs_nothing() {
    let stage = created("{}");
    let controller = stage.controller("one");
    is(&stage, 30, &side(), "Running").await;
    assert_eq!((size(&stage, "side-old"), size(&stage, "side-new")), (json!(1), json!(1)));
    let service = ObjectRef::namespaced(Kind::SERVICE, "shop", "side-new");
    assert!(stage.get(&service).is_object());
    is(&stage, 60, &side(), "Successful").await;
    stage.until(60, "no Pods", |stage| size(stage, "side-new") == 0).await;
    stage.until(60, "no Service", |stage| stage.get(&service).is_null()).await;
    stage.pass(Duration::from_secs(60)).await;
    let actors = ["sluice-writes", "sluice-reads", "sluice-events"];
    let before = actors.map(|actor| stage.recorded(actor).len());
    stage.pass(Duration::from_secs(600)).await;
    for (actor, before) in actors.into_iter().zip(before) {
        assert_eq!(stage.since(actor, before), Vec::<String>::new(), "{actor}");
    }
    controller.terminate().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_experiment_of_another_instance_is_left_alone() {
    let stage = created("{ 'argo-rollouts.argoproj.io/controller-instance-id': blue }");
    let controller = stage.controller("one");
    stage.pass(Duration::from_secs(120)).await;
    assert!(stage.get(&side())["status"].is_null());
    assert_eq!(stage.requests_of("sluice-writes"), Vec::<String>::new());
    controller.terminate().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_taken_is_avoided_by_the_real_shell() {
    let stage = created("{}");
    stage.create(
        "{ apiVersion: apps/v1, kind: ReplicaSet, metadata: { name: side-old, namespace: shop }, spec: { replicas: 0, \
         selector: { matchLabels: { app: x } }, template: { metadata: { labels: { app: x } }, \
         spec: { containers: [{ name: c, image: x }] } } } }",
    );
    let controller = stage.controller("one");
    is(&stage, 60, &side(), "Running").await;
    assert_eq!((size(&stage, "side-old"), size(&stage, "side-old-1")), (json!(0), json!(1)));
    controller.terminate().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_killed_controller_leaves_an_experiment_that_the_next_one_ends() {
    let stage = created("{}");
    let controller = stage.controller("one");
    is(&stage, 30, &side(), "Running").await;
    controller.kill().await;
    let controller = stage.controller("two");
    is(&stage, 120, &side(), "Successful").await;
    stage.until(60, "no Pods", |stage| size(stage, "side-new") == 0).await;
    controller.terminate().await.unwrap();
}

const SMOKE: &str = r"
apiVersion: argoproj.io/v1alpha1
kind: AnalysisTemplate
metadata: { name: smoke, namespace: shop }
spec:
  metrics:
    - name: smoke
      provider:
        job:
          spec:
            template:
              metadata: { annotations: { sim.sluice.dev/job-ends: ENDS } }
              spec: { restartPolicy: Never, containers: [{ name: smoke, image: smoke }] }
";

/// A canary at an analysis by a Job that ends so.
async fn at_job(ends: &str) -> (Stage, super::stage::Running) {
    let stage = Stage::new();
    stage.create(W5);
    stage.create(&SMOKE.replace("ENDS", ends));
    let steps = json!([
        { "setWeight": 20 }, { "analysis": { "templates": [{ "templateName": "smoke" }] } },
    ]);
    stage.patch(&rollout(), &json!({ "spec": { "strategy": { "canary": { "steps": steps } } } }));
    let controller = stage.controller("one");
    stage.phase(60, "Healthy").await;
    stage.patch(&rollout(), &image("2"));
    (stage, controller)
}

#[tokio::test(start_paused = true)]
async fn a_job_that_completes_lets_a_canary_through() {
    let (stage, controller) = at_job("well").await;
    stage.until(60, "a verdict", |stage| stage.runs()[0]["phase"] == "Successful").await;
    stage.promoted(120).await;
    let measurement = &stage.runs()[0]["metricResults"][0]["measurements"][0];
    assert_eq!(measurement["metadata"]["job-namespace"], "shop");
    let creates = stage.requests_of("sluice-writes");
    let creates =
        creates.iter().filter(|line| line.starts_with("create") && line.contains("/jobs"));
    assert_eq!(creates.count(), 1);
    controller.terminate().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_job_that_fails_takes_the_update_back() {
    let (stage, controller) = at_job("failed").await;
    stage.phase(120, "Degraded").await;
    assert_eq!(canary_weight(&stage.get(&virtual_service())), 0);
    controller.terminate().await.unwrap();
}
