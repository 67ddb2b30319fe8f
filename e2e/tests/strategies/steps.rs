//! What each step of a canary does, and what its user may do meanwhile.

use std::sync::Arc;

use anyhow::{Result, ensure};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sluice_e2e::{
    bed::{Bed, process::until},
    oracle::Oracle,
    stage::{LONG, Router, Stage, Web, image_of, is_phase},
};

const TWO_PAUSES: &str = "[{setWeight: 50}, {pause: {}}, {setWeight: 75}, {pause: {}}]";

/// A Rollout of four Pods without router, healthy with its first version.
async fn plain(bed: Arc<Bed>, namespace: &str, steps: &str, canary: &str) -> Result<Stage> {
    let mut web = Web::new(Router::None, steps);
    web.replicas = 4;
    canary.clone_into(&mut web.canary);
    given(bed, namespace, &web).await
}

async fn routed(bed: Arc<Bed>, namespace: &str, steps: &str, canary: &str) -> Result<Stage> {
    let mut web = Web::new(Router::Hosts, steps);
    web.replicas = 4;
    canary.clone_into(&mut web.canary);
    given(bed, namespace, &web).await
}

async fn given(bed: Arc<Bed>, namespace: &str, web: &Web) -> Result<Stage> {
    let stage = Stage::new(bed, namespace).await?;
    stage.given_web(web, "demo:v1").await?;
    Ok(stage)
}

fn index(rollout: &Value) -> i64 {
    rollout["status"]["currentStepIndex"].as_i64().unwrap_or(-1)
}

async fn then_paused_at(stage: &Stage, step: i64) -> Result<Value> {
    let what = format!("the Rollout pauses at step {step}");
    stage.then(&what, "Rollout", "web", |r| is_phase(r, "Paused") && index(r) == step).await
}

/// Pods wanted of the revision in a field of the status.
async fn wanted(stage: &Stage, hash: &str) -> Result<i64> {
    let rollout = stage.see("Rollout", "web").await?;
    let set = format!("web-{}", rollout["status"][hash].as_str().unwrap_or_default());
    Ok(stage.see("ReplicaSet", &set).await?["spec"]["replicas"].as_i64().unwrap_or(-1))
}

/// Shows that the canary and the stable set have these sizes: a pause begins when the step before it is done.
async fn then_sizes(stage: &Stage, canary: i64, stable: i64) -> Result<()> {
    let found = (wanted(stage, "currentPodHash").await?, wanted(stage, "stableRS").await?);
    ensure!(found == (canary, stable), "{}: sizes are {found:?}", stage.scene.namespace);
    Ok(())
}

/// When the history first shows the Rollout so, since an instant.
async fn first_seen(
    stage: &Stage,
    since: DateTime<Utc>,
    what: &str,
    test: impl Fn(&Value) -> bool,
) -> Result<DateTime<Utc>> {
    stage.caught_up("Rollout", "web").await?;
    let history = stage.scene.bed.recorder.history(&stage.scene.namespace)?;
    let mut of = history.iter().filter(|r| r.kind == "Rollout" && r.name == "web");
    let found = of.find(|r| r.seen >= since && test(&r.object)).map(|r| r.seen);
    found.ok_or_else(|| anyhow::anyhow!("{}: never was {what}", stage.scene.namespace))
}

pub(crate) async fn a_pause_with_a_duration_ends_by_itself(bed: Arc<Bed>) -> Result<()> {
    let steps = "[{setWeight: 50}, {pause: {duration: 2s}}]";
    let stage = plain(bed, "timed-pause", steps, "").await?;
    stage.when_image_is("web", "demo:v2").await?;
    stage.then_healthy("web", "demo:v2").await?;

    let paused = first_seen(&stage, stage.since, "paused", |r| is_phase(r, "Paused")).await?;
    let took = first_seen(&stage, paused, "over", |r| index(r) == 2).await? - paused;
    ensure!((1900..6000).contains(&took.num_milliseconds()), "the pause took {took}");
    stage.then_laws_held().await
}

pub(crate) async fn a_pause_of_a_set_weight_is_a_step_of_its_own_length(
    bed: Arc<Bed>,
) -> Result<()> {
    let steps = "[{setWeight: 50, duration: 2s}, {setWeight: 75, duration: 1s}]";
    let stage = plain(bed, "weight-for-a-while", steps, "").await?;
    stage.when_image_is("web", "demo:v2").await?;
    stage.then_healthy("web", "demo:v2").await?;

    let at = |step: i64| move |r: &Value| image_of(r) == "demo:v2" && index(r) == step;
    let first = first_seen(&stage, stage.since, "updated", at(0)).await?;
    let took = first_seen(&stage, first, "past the first step", at(1)).await? - first;
    ensure!(took.num_milliseconds() >= 1900, "the first step took {took}");
    stage.then_laws_held().await
}

pub(crate) async fn a_promotion_ends_one_pause_and_stops_at_the_next(bed: Arc<Bed>) -> Result<()> {
    let stage = plain(bed, "two-pauses", TWO_PAUSES, "").await?;
    stage.when_image_is("web", "demo:v2").await?;
    then_paused_at(&stage, 1).await?;
    then_sizes(&stage, 2, 2).await?;
    stage.when_user_says(&["promote", "web"]).await?;
    then_paused_at(&stage, 3).await?;
    then_sizes(&stage, 3, 1).await?;
    stage.when_user_says(&["promote", "web"]).await?;
    stage.then_healthy("web", "demo:v2").await?;
    stage.then_laws_held().await
}

pub(crate) async fn full_promotion_skips_what_is_left(bed: Arc<Bed>) -> Result<()> {
    let stage = routed(bed, "full", TWO_PAUSES, "").await?;
    stage.when_image_is("web", "demo:v2").await?;
    then_paused_at(&stage, 1).await?;
    stage.when_user_says(&["promote", "web", "--full"]).await?;
    stage.then_healthy("web", "demo:v2").await?;
    let weights = stage.weights("web", stage.since).await?;
    ensure!(weights == [50, 100, 0], "the weights were {weights:?}");
    stage.then_laws_held().await
}

pub(crate) async fn argos_own_patch_of_the_status_resumes(bed: Arc<Bed>) -> Result<()> {
    let stage = plain(bed, "status-patch", "[{setWeight: 50}, {pause: {}}]", "").await?;
    stage.when_image_is("web", "demo:v2").await?;
    then_paused_at(&stage, 1).await?;
    let patch = json!({ "status": { "pauseConditions": null } });
    stage.merge_status("Rollout", "web", &patch).await?;
    stage.then_healthy("web", "demo:v2").await?;
    stage.then_laws_held().await
}

pub(crate) async fn a_rollout_paused_by_its_user_makes_no_step(bed: Arc<Bed>) -> Result<()> {
    let stage = routed(bed, "held", "[{setWeight: 50}, {pause: {duration: 1s}}]", "").await?;
    stage.when_user_says(&["pause", "web"]).await?;
    stage.when_image_is("web", "demo:v2").await?;
    stage.then_phase("web", "Paused").await?;
    let rollout = stage.see("Rollout", "web").await?;
    ensure!(index(&rollout) == 0, "it is at step {}", index(&rollout));
    stage.then_weight("web", 0).await?;
    stage.when_user_says(&["promote", "web"]).await?;
    stage.then_healthy("web", "demo:v2").await?;
    let weights = stage.weights("web", stage.since).await?;
    ensure!(weights == [50, 100, 0], "the weights were {weights:?}");
    stage.then_laws_held().await
}

pub(crate) async fn steps_that_change_in_mid_canary_start_anew(bed: Arc<Bed>) -> Result<()> {
    let stage = plain(bed, "new-steps", TWO_PAUSES, "").await?;
    stage.when_image_is("web", "demo:v2").await?;
    then_paused_at(&stage, 1).await?;
    stage.when_user_says(&["promote", "web"]).await?;
    then_paused_at(&stage, 3).await?;
    let steps = json!([{ "setWeight": 25 }, { "pause": {} }]);
    let edit = json!([{ "op": "replace", "path": "/spec/strategy/canary/steps", "value": steps }]);
    stage.patch("Rollout", "web", &edit).await?;
    then_paused_at(&stage, 1).await?;
    then_sizes(&stage, 1, 3).await?;
    stage.when_user_says(&["promote", "web"]).await?;
    stage.then_healthy("web", "demo:v2").await?;
    stage.then_laws_held().await
}

pub(crate) async fn steps_that_change_when_all_is_done_move_nothing(bed: Arc<Bed>) -> Result<()> {
    let stage = plain(bed, "idle-steps", "[{setWeight: 50}]", "").await?;
    let before = stage.see("Rollout", "web").await?["status"]["currentStepHash"].clone();
    let steps = json!([{ "setWeight": 25 }, { "pause": {} }]);
    let edit = json!([{ "op": "replace", "path": "/spec/strategy/canary/steps", "value": steps }]);
    stage.patch("Rollout", "web", &edit).await?;
    let known = |r: &Value| is_phase(r, "Healthy") && r["status"]["currentStepHash"] != before;
    let rollout = stage.then("the steps are known", "Rollout", "web", known).await?;
    ensure!(index(&rollout) == 2, "it is at step {}", index(&rollout));
    stage.then_laws_held().await
}

pub(crate) async fn without_steps_a_canary_is_a_rolling_update(bed: Arc<Bed>) -> Result<()> {
    let stage = plain(bed, "rolling", "[]", "      maxSurge: 1\n      maxUnavailable: 0").await?;
    let since = Utc::now();
    stage.when_image_is("web", "demo:v2").await?;
    stage.then_healthy("web", "demo:v2").await?;
    stage.then_available_since("web", since, 4, 5).await?;
    stage.then_laws_held().await
}

pub(crate) async fn an_abort_without_router_brings_the_old_pods_back(bed: Arc<Bed>) -> Result<()> {
    let stage = plain(bed, "plain-abort", TWO_PAUSES, "").await?;
    stage.when_image_is("web", "demo:v2").await?;
    then_paused_at(&stage, 1).await?;
    let since = Utc::now();
    stage.when_user_says(&["abort", "web"]).await?;
    stage.then_phase("web", "Degraded").await?;
    let back = |r: &Value| r["status"]["replicas"] == 4 && r["status"]["updatedReplicas"] == 0;
    stage.then("four old Pods are left", "Rollout", "web", back).await?;
    then_sizes(&stage, 0, 4).await?;
    stage.then_available_since("web", since, 3, 5).await?;
    stage.then_laws_held().await
}

pub(crate) async fn a_retry_begins_with_the_first_step(bed: Arc<Bed>) -> Result<()> {
    let stage = routed(bed, "retried", TWO_PAUSES, "").await?;
    stage.when_image_is("web", "demo:v2").await?;
    then_paused_at(&stage, 1).await?;
    stage.when_user_says(&["promote", "web"]).await?;
    then_paused_at(&stage, 3).await?;
    stage.when_user_says(&["abort", "web"]).await?;
    stage.then_phase("web", "Degraded").await?;
    stage.then_weight("web", 0).await?;
    let since = Utc::now();
    stage.when_user_says(&["retry", "rollout", "web"]).await?;
    then_paused_at(&stage, 1).await?;
    stage.when_user_says(&["promote", "web", "--full"]).await?;
    stage.then_healthy("web", "demo:v2").await?;
    let weights = stage.weights("web", since).await?;
    ensure!(weights == [50, 100, 0], "the weights were {weights:?}");
    stage.then_laws_held().await
}

pub(crate) async fn undo_brings_the_former_version_by_all_steps(bed: Arc<Bed>) -> Result<()> {
    let stage = plain(bed, "undone", "[{setWeight: 50}, {pause: {duration: 1s}}]", "").await?;
    stage.when_image_is("web", "demo:v2").await?;
    stage.then_healthy("web", "demo:v2").await?;
    let since = Utc::now();
    stage.when_user_says(&["undo", "web"]).await?;
    let rollout = stage.then_healthy("web", "demo:v1").await?;
    let revision = &rollout["metadata"]["annotations"]["rollout.argoproj.io/revision"];
    ensure!(revision == "3", "the revision is {revision}");
    let paused = |r: &Value| is_phase(r, "Paused") && image_of(r) == "demo:v1";
    first_seen(&stage, since, "paused on the way back", paused).await?;
    stage.then_laws_held().await
}

pub(crate) async fn within_the_rollback_window_the_steps_are_skipped(bed: Arc<Bed>) -> Result<()> {
    let mut web = Web::new(Router::None, "[{setWeight: 50}, {pause: {}}]");
    web.spec = "  rollbackWindow: {revisions: 3}".to_owned();
    let stage = given(bed, "window", &web).await?;
    stage.when_image_is("web", "demo:v2").await?;
    then_paused_at(&stage, 1).await?;
    stage.when_user_says(&["promote", "web"]).await?;
    stage.then_healthy("web", "demo:v2").await?;
    // No pause holds it.
    stage.when_image_is("web", "demo:v1").await?;
    stage.then_healthy("web", "demo:v1").await?;
    stage.then_laws_held().await
}

pub(crate) async fn set_canary_scale_moves_pods_and_no_weight(bed: Arc<Bed>) -> Result<()> {
    let steps = "[{setCanaryScale: {replicas: 3}}, {pause: {}}, {setCanaryScale: {weight: 25}}, \
                 {pause: {}}, {setCanaryScale: {matchTrafficWeight: true}}, {setWeight: 50}, {pause: {}}]";
    let stage = routed(bed, "scaled", steps, "").await?;
    // Creation has whole seconds: a set of the second in which the stable Service was switched may have had its traffic.
    let switched = Utc::now();
    until("the second of the switch is over", LONG, || async {
        Ok((Utc::now() - switched > chrono::Duration::seconds(1)).then_some(()))
    })
    .await?;
    stage.when_image_is("web", "demo:v2").await?;
    for (step, size) in [(1, 3), (3, 1)] {
        then_paused_at(&stage, step).await?;
        then_sizes(&stage, size, 4).await?;
        stage.then_weight("web", 0).await?;
        stage.when_user_says(&["promote", "web"]).await?;
    }
    then_paused_at(&stage, 6).await?;
    then_sizes(&stage, 2, 4).await?;
    stage.then_weight("web", 50).await?;
    stage.when_user_says(&["promote", "web"]).await?;
    stage.then_healthy("web", "demo:v2").await?;
    stage.then_laws_held().await
}

pub(crate) async fn a_background_analysis_judges_from_its_step_and_ends_with_the_update(
    bed: Arc<Bed>,
) -> Result<()> {
    let stage = Stage::new(bed, "background").await?;
    let oracle = Oracle::start(Some(0.0)).await?;
    stage.scene.given(&oracle.template().replace("      count: 3\n", "")).await?;
    let mut web = Web::new(Router::Hosts, TWO_PAUSES);
    web.canary = "      analysis: {startingStep: 2, templates: [{templateName: judge}]}".to_owned();
    stage.given_web(&web, "demo:v1").await?;
    stage.when_image_is("web", "demo:v2").await?;
    then_paused_at(&stage, 1).await?;
    ensure!(oracle.questions() == 0, "it was judged before its step");
    stage.when_user_says(&["promote", "web"]).await?;
    then_paused_at(&stage, 3).await?;
    oracle.say(Some(1.0));
    stage.then_phase("web", "Degraded").await?;
    stage.then_weight("web", 0).await?;
    let weights = stage.weights("web", stage.since).await?;
    ensure!(weights == [50, 75, 0], "the weights were {weights:?}");
    stage.then_laws_held().await
}

pub(crate) async fn an_edit_in_mid_canary_that_changes_no_pod_moves_nothing(
    bed: Arc<Bed>,
) -> Result<()> {
    let stage = plain(bed, "no-change", TWO_PAUSES, "").await?;
    stage.when_image_is("web", "demo:v2").await?;
    let before = then_paused_at(&stage, 1).await?;
    let edit = json!([{ "op": "add", "path": "/spec/minReadySeconds", "value": 1 }]);
    stage.patch("Rollout", "web", &edit).await?;
    let after = then_paused_at(&stage, 1).await?;
    let hash = |r: &Value| r["status"]["currentPodHash"].clone();
    ensure!(hash(&before) == hash(&after), "another revision: {}", hash(&after));
    let set = format!("web-{}", hash(&after).as_str().unwrap_or_default());
    let follows = |set: &Value| set["spec"]["minReadySeconds"] == 1;
    stage.then("the set follows", "ReplicaSet", &set, follows).await?;
    stage.then_laws_held().await
}
