use std::time::Duration;

use serde_json::{Value, json};
use sluice_sim::faults::{Fault, Matches};

use super::stage::{Stage, W5, canary_weight, image, rollout, virtual_service};

const TEMPLATE: &str = r"
apiVersion: argoproj.io/v1alpha1
kind: AnalysisTemplate
metadata: { name: errors, namespace: shop }
spec:
  metrics:
    - name: error-rate
      interval: 5s
      failureLimit: 0
      successCondition: 'result[0] < 0.05'
      provider: { prometheus: { address: 'http://metrics.example', query: errors } }
";

fn route_patches() -> Matches {
    Matches::plural("virtualservices").verb("patch").actor("sluice-writes")
}

async fn analysed() -> (Stage, super::stage::Running) {
    let stage = Stage::new();
    stage.create(W5);
    stage.create(TEMPLATE);
    let background = json!({ "spec": { "strategy": { "canary": { "analysis": { "templates": [{ "templateName": "errors" }] } } } } });
    stage.patch(&rollout(), &background);
    stage.fakes.answers(0.0);
    let controller = stage.controller("one");
    stage.phase(60, "Healthy").await;
    stage.patch(&rollout(), &image("2"));
    stage.until(60, "weight 20", |stage| canary_weight(&stage.get(&virtual_service())) == 20).await;
    (stage, controller)
}

#[tokio::test(start_paused = true)]
async fn good_measurements_let_a_canary_through() {
    let (stage, controller) = analysed().await;
    stage.phase(120, "Healthy").await;
    assert_eq!(stage.get(&rollout()).pointer("/status/abort"), None);
    controller.terminate().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_bad_measurement_takes_the_weight_away_before_anything_else_is_written() {
    let (stage, controller) = analysed().await;
    let before = stage.recorded("sluice-writes").len();
    let slow = Fault::Delay(Duration::from_millis(500));
    stage.service.with_faults(|faults| faults.on(route_patches(), 0, 1, slow));
    stage.fakes.answers(0.2);
    stage.until(30, "weight 0", |stage| canary_weight(&stage.get(&virtual_service())) == 0).await;
    let writes = stage.since("sluice-writes", before);
    assert!(writes[0].contains("/virtualservices/web"), "{writes:#?}");
    stage.phase(60, "Degraded").await;
    let recorded = |stage: &Stage| stage.runs()[0]["phase"] == "Failed";
    stage.until(5, "a record of the failure", recorded).await;
    controller.terminate().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_route_that_cannot_be_written_keeps_no_failure_off_the_record() {
    let (stage, controller) = analysed().await;
    let refused = Fault::ErrorBefore(403);
    stage.service.with_faults(|faults| faults.on(route_patches(), 0, u32::MAX, refused));
    stage.fakes.answers(0.2);
    let recorded = |stage: &Stage| stage.runs()[0]["phase"] == "Failed";
    stage.until(20, "a record of the failure", recorded).await;
    assert_eq!(canary_weight(&stage.get(&virtual_service())), 20);
    controller.terminate().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_metrics_server_that_is_down_holds_the_weight_and_aborts_nothing_within_its_budget() {
    let (stage, controller) = analysed().await;
    *stage.fakes.metric.lock().unwrap() = None;
    stage.pass(Duration::from_secs(120)).await;
    assert_eq!(canary_weight(&stage.get(&virtual_service())), 20, "{:#}", stage.runs());
    let aborted = stage.get(&rollout()).pointer("/status/abort").cloned();
    assert_ne!(aborted, Some(Value::Bool(true)), "{:#}", stage.runs());
    stage.fakes.answers(0.0);
    stage.phase(120, "Healthy").await;
    controller.terminate().await.unwrap();
}
