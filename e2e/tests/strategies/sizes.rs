//! How many Pods each revision has, for how long, and who may change that.

use std::sync::Arc;

use anyhow::{Result, ensure};
use chrono::Utc;
use serde_json::{Value, json};
use sluice_e2e::{
    bed::Bed,
    stage::{Router, Stage, Web, is_phase},
};

const HOLD: &str = "[{setWeight: 50}, {pause: {}}]";
const DEADLINE: &str = "scale-down-deadline";

async fn given(bed: Arc<Bed>, namespace: &str, web: &Web) -> Result<Stage> {
    let stage = Stage::new(bed, namespace).await?;
    stage.given_web(web, "demo:v1").await?;
    Ok(stage)
}

fn four(router: Router, canary: &str) -> Web {
    Web { replicas: 4, canary: canary.to_owned(), ..Web::new(router, HOLD) }
}

/// Name of the set of the revision in a field of the status.
async fn set(stage: &Stage, field: &str) -> Result<String> {
    let rollout = stage.see("Rollout", "web").await?;
    Ok(format!("web-{}", rollout["status"][field].as_str().unwrap_or_default()))
}

async fn then_size(stage: &Stage, set: &str, size: i64) -> Result<Value> {
    let what = format!("{set} has {size} Pods");
    let is = |s: &Value| {
        s["spec"]["replicas"] == size && s["status"]["replicas"].as_i64().unwrap_or(0) == size
    };
    stage.then(&what, "ReplicaSet", set, is).await
}

async fn when_scaled(stage: &Stage, replicas: i64) -> Result<()> {
    let edit = json!([{ "op": "replace", "path": "/spec/replicas", "value": replicas }]);
    stage.patch("Rollout", "web", &edit).await
}

pub(crate) async fn replicas_that_change_in_mid_canary_are_followed(bed: Arc<Bed>) -> Result<()> {
    let stage = given(bed, "grows", &four(Router::Hosts, "")).await?;
    stage.when_image_is("web", "demo:v2").await?;
    stage.then_phase("web", "Paused").await?;
    let (canary, stable) = (set(&stage, "currentPodHash").await?, set(&stage, "stableRS").await?);
    for (replicas, of_canary) in [(6, 3), (2, 1)] {
        when_scaled(&stage, replicas).await?;
        then_size(&stage, &stable, replicas).await?;
        then_size(&stage, &canary, of_canary).await?;
        stage.then_weight("web", 50).await?;
    }
    stage.when_user_says(&["promote", "web"]).await?;
    stage.then_healthy("web", "demo:v2").await?;
    stage.then_laws_held().await
}

pub(crate) async fn replicas_that_change_while_the_user_pauses_are_followed(
    bed: Arc<Bed>,
) -> Result<()> {
    let stage = given(bed, "paused-grows", &four(Router::None, "")).await?;
    stage.when_user_says(&["pause", "web"]).await?;
    stage.then_phase("web", "Paused").await?;
    let stable = set(&stage, "stableRS").await?;
    when_scaled(&stage, 6).await?;
    then_size(&stage, &stable, 6).await?;
    stage.then_laws_held().await
}

pub(crate) async fn an_autoscaler_finds_what_it_needs(bed: Arc<Bed>) -> Result<()> {
    let stage = given(bed, "autoscaled", &four(Router::Hosts, "")).await?;
    let scale = stage.scale("web").await?;
    ensure!(scale["spec"]["replicas"] == 4, "it wants {}", scale["spec"]["replicas"]);
    ensure!(scale["status"]["replicas"] == 4, "it has {}", scale["status"]["replicas"]);
    let selector = scale["status"]["selector"].as_str().unwrap_or_default();
    ensure!(selector == "app=web", "the selector is `{selector}`");
    stage.when_scaled("web", 5).await?;
    let has = |r: &Value| r["status"]["HPAReplicas"] == 5 && is_phase(r, "Healthy");
    stage.then("five Pods are there", "Rollout", "web", has).await?;
    stage.then_laws_held().await
}

pub(crate) async fn no_replicas_at_all_are_an_update_too(bed: Arc<Bed>) -> Result<()> {
    let mut web = four(Router::Hosts, "");
    web.replicas = 0;
    "[{setWeight: 50}]".clone_into(&mut web.steps);
    let stage = Stage::new(bed, "zero").await?;
    stage.scene.given(&(web.manifest("demo:v1") + &web.surroundings())).await?;
    stage.then_healthy("web", "demo:v1").await?;
    stage.when_image_is("web", "demo:v2").await?;
    let rollout = stage.then_healthy("web", "demo:v2").await?;
    let status = &rollout["status"];
    ensure!(status["stableRS"] == status["currentPodHash"], "{status:#}");
    stage.then_laws_held().await
}

pub(crate) async fn min_ready_seconds_hold_the_next_step(bed: Arc<Bed>) -> Result<()> {
    let mut web = four(Router::None, "");
    web.spec = "  minReadySeconds: 3".to_owned();
    "[{setWeight: 50}]".clone_into(&mut web.steps);
    let stage = given(bed, "settling", &web).await?;
    let since = Utc::now();
    stage.when_image_is("web", "demo:v2").await?;
    stage.then_healthy("web", "demo:v2").await?;
    let took = Utc::now() - since;
    // Two waves of Pods, each of which has to be ready for 3 s.
    ensure!(took.num_seconds() >= 6, "the update took {took}");
    stage.then_laws_held().await
}

pub(crate) async fn a_deadline_that_passes_is_told_and_forgotten_when_pods_come(
    bed: Arc<Bed>,
) -> Result<()> {
    let mut web = four(Router::None, "");
    web.spec = "  progressDeadlineSeconds: 3".to_owned();
    let stage = given(bed, "late", &web).await?;
    stage.when_image_is("web", "demo:v2-error").await?;
    let rollout = stage.then_phase("web", "Degraded").await?;
    let conditions = rollout["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let progressing = conditions.iter().find(|c| c["type"] == "Progressing").cloned();
    let reason = progressing.unwrap_or_default()["reason"].clone();
    ensure!(reason == "ProgressDeadlineExceeded", "the reason is {reason}");
    ensure!(rollout["status"]["abort"] != true, "it was aborted without being asked to");
    stage.when_image_is("web", "demo:v3").await?;
    stage.then_phase("web", "Paused").await?;
    stage.when_user_says(&["promote", "web"]).await?;
    stage.then_healthy("web", "demo:v3").await?;
    stage.then_laws_held().await
}

pub(crate) async fn the_history_keeps_as_many_revisions_as_it_may(bed: Arc<Bed>) -> Result<()> {
    let mut web = four(Router::None, "");
    web.replicas = 1;
    web.spec = "  revisionHistoryLimit: 1".to_owned();
    "[]".clone_into(&mut web.steps);
    let stage = given(bed, "short-memory", &web).await?;
    for version in ["demo:v2", "demo:v3", "demo:v4"] {
        stage.when_image_is("web", version).await?;
        stage.then_healthy("web", version).await?;
    }
    let two = |sets: &[Value]| sets.len() == 2;
    stage.then_list("two sets are left", "ReplicaSet", two).await?;
    stage.then_laws_held().await
}

pub(crate) async fn a_template_that_returns_uses_its_old_set(bed: Arc<Bed>) -> Result<()> {
    let mut web = four(Router::None, "");
    "[]".clone_into(&mut web.steps);
    let stage = given(bed, "returns", &web).await?;
    let first = set(&stage, "stableRS").await?;
    stage.when_image_is("web", "demo:v2").await?;
    stage.then_healthy("web", "demo:v2").await?;
    stage.when_image_is("web", "demo:v1").await?;
    stage.then_healthy("web", "demo:v1").await?;
    ensure!(set(&stage, "stableRS").await? == first, "another set was made");
    let annotations = stage.see("ReplicaSet", &first).await?["metadata"]["annotations"].clone();
    let revision = &annotations["rollout.argoproj.io/revision"];
    ensure!(revision == "3", "its revision is {revision}");
    let history = &annotations["rollout.argoproj.io/revision-history"];
    ensure!(history == "1", "its former revisions are {history}");
    stage.then_laws_held().await
}

pub(crate) async fn an_old_set_goes_after_the_scale_down_delay(bed: Arc<Bed>) -> Result<()> {
    let stage =
        given(bed, "leaves", &four(Router::Hosts, "      scaleDownDelaySeconds: 3")).await?;
    let old = set(&stage, "stableRS").await?;
    stage.when_image_is("web", "demo:v2").await?;
    stage.then_phase("web", "Paused").await?;
    stage.when_user_says(&["promote", "web"]).await?;
    stage.then_healthy("web", "demo:v2").await?;
    let promoted = Utc::now();
    let marked = |s: &Value| s["metadata"]["annotations"][DEADLINE].is_string();
    let kept = stage.then("it has a deadline", "ReplicaSet", &old, marked).await?;
    ensure!(kept["spec"]["replicas"] == 4, "it was scaled to {}", kept["spec"]["replicas"]);
    let gone = then_size(&stage, &old, 0).await?;
    ensure!((Utc::now() - promoted).num_seconds() >= 2, "it went at once");
    ensure!(gone["metadata"]["annotations"][DEADLINE].is_null(), "the deadline is still there");
    stage.then_laws_held().await
}

pub(crate) async fn no_more_old_sets_wait_than_may(bed: Arc<Bed>) -> Result<()> {
    let canary = "      scaleDownDelaySeconds: 600\n      scaleDownDelayRevisionLimit: 1";
    let mut web = four(Router::Hosts, canary);
    "[]".clone_into(&mut web.steps);
    web.replicas = 1;
    let stage = given(bed, "limited", &web).await?;
    let first = set(&stage, "stableRS").await?;
    stage.when_image_is("web", "demo:v2").await?;
    stage.then_healthy("web", "demo:v2").await?;
    let second = set(&stage, "stableRS").await?;
    stage.when_image_is("web", "demo:v3").await?;
    stage.then_healthy("web", "demo:v3").await?;
    then_size(&stage, &first, 0).await?;
    then_size(&stage, &second, 1).await?;
    stage.then_laws_held().await
}

pub(crate) async fn an_aborted_canary_may_be_kept(bed: Arc<Bed>) -> Result<()> {
    let stage =
        given(bed, "kept", &four(Router::Hosts, "      abortScaleDownDelaySeconds: 0")).await?;
    stage.when_image_is("web", "demo:v2").await?;
    stage.then_phase("web", "Paused").await?;
    let canary = set(&stage, "currentPodHash").await?;
    stage.when_user_says(&["abort", "web"]).await?;
    stage.then_phase("web", "Degraded").await?;
    stage.then_weight("web", 0).await?;
    let kept = then_size(&stage, &canary, 2).await?;
    ensure!(kept["metadata"]["annotations"][DEADLINE].is_null(), "it has a deadline");
    stage.then_laws_held().await
}

pub(crate) async fn an_aborted_canary_goes_after_its_delay(bed: Arc<Bed>) -> Result<()> {
    let stage =
        given(bed, "goes", &four(Router::Hosts, "      abortScaleDownDelaySeconds: 2")).await?;
    stage.when_image_is("web", "demo:v2").await?;
    stage.then_phase("web", "Paused").await?;
    let canary = set(&stage, "currentPodHash").await?;
    stage.when_user_says(&["abort", "web"]).await?;
    stage.then_weight("web", 0).await?;
    let aborted = Utc::now();
    then_size(&stage, &canary, 0).await?;
    ensure!((Utc::now() - aborted).num_seconds() >= 1, "it went at once");
    stage.then_laws_held().await
}

pub(crate) async fn a_canary_has_at_least_min_pods(bed: Arc<Bed>) -> Result<()> {
    let mut web = four(Router::Hosts, "      minPodsPerReplicaSet: 3");
    "[{setWeight: 10}, {pause: {}}]".clone_into(&mut web.steps);
    let stage = given(bed, "floor", &web).await?;
    stage.when_image_is("web", "demo:v2").await?;
    stage.then_phase("web", "Paused").await?;
    then_size(&stage, &set(&stage, "currentPodHash").await?, 3).await?;
    stage.then_weight("web", 10).await?;
    stage.then_laws_held().await
}

pub(crate) async fn a_threshold_lets_a_step_go_on_with_fewer_pods(bed: Arc<Bed>) -> Result<()> {
    let canary = "      replicaProgressThreshold: {type: Percent, value: 50}";
    let stage = given(bed, "threshold", &four(Router::Hosts, canary)).await?;
    stage.when_image_is("web", "demo:v2").await?;
    stage.then_phase("web", "Paused").await?;
    stage.when_user_says(&["promote", "web"]).await?;
    stage.then_healthy("web", "demo:v2").await?;
    stage.then_laws_held().await
}

pub(crate) async fn a_spec_that_is_wrong_is_named_and_harms_nothing(bed: Arc<Bed>) -> Result<()> {
    let stage = given(bed, "wrong", &four(Router::Hosts, "")).await?;
    let set_weight = |weight: i64| json!([{ "op": "replace", "path": "/spec/strategy/canary/steps/0/setWeight", "value": weight }]);
    stage.patch("Rollout", "web", &set_weight(120)).await?;
    let rollout = stage.then_phase("web", "Degraded").await?;
    let message = rollout["status"]["message"].as_str().unwrap_or_default();
    ensure!(message.contains("steps[0].setWeight"), "the message names no path: {message}");
    ensure!(message.contains("120"), "the message names no value: {message}");
    stage.then_weight("web", 0).await?;
    stage.patch("Rollout", "web", &set_weight(50)).await?;
    stage.then_healthy("web", "demo:v1").await?;
    stage.then_laws_held().await
}

pub(crate) async fn a_deleted_rollout_leaves_its_traffic_serving(bed: Arc<Bed>) -> Result<()> {
    let stage = given(bed, "retired", &four(Router::Hosts, "")).await?;
    let before = stage.see("VirtualService", "web").await?["spec"].clone();
    stage.when_orphaned("web").await?;
    let load = stage.scene.when_load_runs(stage.scene.load(100.0).count(100));
    let record = load.finished().await;
    ensure!(record.served_by("v1") == 100, "answers: {:?}", record.by_version());
    let after = stage.see("VirtualService", "web").await?["spec"].clone();
    ensure!(before == after, "the route was changed to {after:#}");
    Ok(())
}
