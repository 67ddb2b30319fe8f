//! What is broken around a Rollout, and what its user is told.

use std::sync::Arc;

use anyhow::{Result, ensure};
use serde_json::Value;
use sluice_e2e::bed::Bed;

use crate::stage::{Router, Stage, Web};

const QUICK: &str = "[{setWeight: 50}, {pause: {duration: 1s}}]";

pub(crate) async fn a_missing_service_is_named_and_waited_for(bed: Arc<Bed>) -> Result<()> {
    let stage = Stage::new(bed, "missing").await?;
    let web = Web::new(Router::Hosts, QUICK);
    let text = web.manifest("demo:v1") + &web.service("web-stable") + &web.route();
    stage.scene.given(&text).await?;

    let told = |r: &Value| r["status"]["conditions"].to_string().contains("web-canary");
    stage.then("a condition names the Service", "Rollout", "web", told).await?;
    stage.scene.given(&web.service("web-canary")).await?;
    stage.then_healthy("web", "demo:v1").await?;
    stage.when_image_is("web", "demo:v2").await?;
    let rollout = stage.then_healthy("web", "demo:v2").await?;

    let conditions = rollout["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let invalid = conditions.iter().any(|c| c["type"] == "InvalidSpec" && c["status"] == "True");
    ensure!(!invalid, "the condition stayed: {conditions:?}");
    stage.then_laws_held().await
}

pub(crate) async fn a_second_rollout_on_a_service_is_refused(bed: Arc<Bed>) -> Result<()> {
    let stage = Stage::new(bed, "rivals").await?;
    let web = Web::new(Router::Hosts, QUICK);
    stage.given_web(&web, "demo:v1").await?;

    let second = web.manifest("demo:v9").replace("metadata: {name: web}", "metadata: {name: two}");
    stage.scene.given(&second).await?;
    let told = |r: &Value| {
        let conditions = r["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let invalid = conditions.into_iter().find(|c| c["type"] == "InvalidSpec");
        invalid.is_some_and(|c| {
            let message = c["message"].as_str().unwrap_or_default();
            message.contains("web-") && message.contains("Rollout")
        })
    };
    stage.then("the second is refused", "Rollout", "two", told).await?;

    let history = stage.scene.bed.recorder.history("rivals")?;
    let sets = history.iter().filter(|r| {
        r.kind == "ReplicaSet" && r.object["metadata"]["ownerReferences"][0]["name"] == "two"
    });
    ensure!(sets.count() == 0, "the second Rollout has a ReplicaSet");
    stage.then_laws_held().await
}

pub(crate) async fn a_crash_looping_canary_is_aborted_at_its_deadline(bed: Arc<Bed>) -> Result<()> {
    let stage = Stage::new(bed, "crashing").await?;
    let mut web = Web::new(Router::Hosts, QUICK);
    web.spec = "  progressDeadlineSeconds: 8\n  progressDeadlineAbort: true".to_owned();
    stage.given_web(&web, "demo:v1").await?;

    let crash = serde_json::json!([
        { "op": "add", "path": "/spec/template/spec/containers/0/command",
            "value": ["sh", "-c", "exit 3"] },
    ]);
    stage.patch("Rollout", "web", &crash).await?;
    let aborted = |r: &Value| r["status"]["abort"] == true && r["status"]["phase"] == "Degraded";
    stage.then("the update is aborted", "Rollout", "web", aborted).await?;

    let weights = stage.weights("web", stage.since).await?;
    ensure!(weights.is_empty(), "a canary that never ran got weights {weights:?}");
    let rollout = stage.see("Rollout", "web").await?;
    let hash = rollout["status"]["stableRS"].as_str().unwrap_or_default();
    let set = stage.see("ReplicaSet", &format!("web-{hash}")).await?;
    ensure!(set["status"]["availableReplicas"] == 2, "the stable version is not whole: {set:#}");
    stage.then_laws_held().await
}
