//! Pods that are restarted, and what Pods carry for the role that they play.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, SecondsFormat, Utc};
use kube::api::ListParams;
use serde_json::{Value, json};
use sluice_e2e::{
    bed::{Bed, process::until},
    stage::{LONG, Router, Stage, Web, api, is_phase},
};

const HOLD: &str = "[{setWeight: 50}, {pause: {}}]";

/// Metadata of the Pods of the Rollout `web` that are not on their way out, by uid.
async fn pods(stage: &Stage) -> Result<BTreeMap<String, Value>> {
    let pods = api(&stage.scene.bed, "Pod", &stage.scene.namespace);
    let list = pods.list(&ListParams::default().labels("rollouts-pod-template-hash")).await?;
    let mut all = BTreeMap::new();
    for pod in list {
        let metadata = serde_json::to_value(pod)?["metadata"].clone();
        if metadata["deletionTimestamp"].is_null() {
            let uid = metadata["uid"].as_str().unwrap_or_default().to_owned();
            all.insert(uid, metadata);
        }
    }
    Ok(all)
}

async fn restart_at(stage: &Stage, at: DateTime<Utc>) -> Result<()> {
    let at = at.to_rfc3339_opts(SecondsFormat::Secs, true);
    let patch = json!([{ "op": "add", "path": "/spec/restartAt", "value": at }]);
    stage.patch("Rollout", "web", &patch).await
}

/// Pods were created in an earlier second than now: instants have whole seconds.
async fn a_second_passes() -> Result<()> {
    let from = Utc::now().timestamp();
    until("the next second", LONG, || async {
        Ok((Utc::now().timestamp() > from + 1).then_some(()))
    })
    .await
}

async fn then_restarted(stage: &Stage) -> Result<Value> {
    let done = |r: &Value| {
        !r["spec"]["restartAt"].is_null() && r["status"]["restartedAt"] == r["spec"]["restartAt"]
    };
    stage.then("the restart is on record", "Rollout", "web", done).await
}

pub(crate) async fn a_restart_replaces_every_pod_and_no_request_fails(bed: Arc<Bed>) -> Result<()> {
    let stage = Stage::new(bed, "restart").await?;
    let mut web = Web::new(Router::Hosts, HOLD);
    web.replicas = 3;
    stage.given_web(&web, "demo:v1").await?;
    a_second_passes().await?;
    let before = pods(&stage).await?;
    let load = stage.scene.when_load_runs(stage.scene.load(50.0));
    let since = Utc::now();

    stage.when_user_says(&["restart", "web"]).await?;
    then_restarted(&stage).await?;
    stage.then_healthy("web", "demo:v1").await?;
    let record = load.stop().await;

    ensure!(record.failed() == 0, "failed requests: {:?}", record.by_version());
    let after = pods(&stage).await?;
    let kept = after.keys().find(|uid| before.contains_key(*uid));
    ensure!(kept.is_none() && after.len() == 3, "{kept:?} of {} Pods is an old one", after.len());
    stage.caught_up("Rollout", "web").await?;
    for revision in stage.scene.bed.recorder.history("restart")? {
        let status = &revision.object["status"];
        if revision.kind == "ReplicaSet" && revision.seen > since {
            let available = status["availableReplicas"].as_i64().unwrap_or(0);
            ensure!(available >= 2, "{available} available at {}", revision.resource_version);
        }
    }
    stage.then_laws_held().await
}

pub(crate) async fn a_budget_holds_a_restart_until_it_allows_it(bed: Arc<Bed>) -> Result<()> {
    let stage = Stage::new(bed, "budget").await?;
    let budget = |least: u32| {
        format!(
            "
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {{name: web}}
spec: {{minAvailable: {least}, selector: {{matchLabels: {{app: web}}}}}}
"
        )
    };
    stage.scene.given(&budget(2)).await?;
    stage.given_web(&Web::new(Router::None, HOLD), "demo:v1").await?;
    let known = |b: &Value| b["status"]["currentHealthy"] == 2;
    let name = ("policy/v1", "PodDisruptionBudget", "web");
    stage.scene.then(name, "counts both Pods", LONG, known).await?;
    a_second_passes().await?;
    let before = pods(&stage).await?;

    let since = Utc::now();
    stage.when_user_says(&["restart", "web"]).await?;
    let asked = || {
        let all = sluice_e2e::recorder::audit(
            stage.scene.bed.control_plane.audit_log(),
            sluice_e2e::bed::controller::USER,
            since,
        )?;
        let is_refused = |r: &&sluice_e2e::recorder::Request| {
            r.is_of("budget")
                && r.object_ref.as_ref().is_some_and(|o| o.subresource == "eviction")
                && r.response_status.as_ref().is_some_and(|a| a.code == 429)
        };
        anyhow::Ok(all.iter().filter(is_refused).count())
    };
    until("evictions are refused", LONG, || async { Ok((asked()? >= 2).then_some(())) }).await?;
    ensure!(
        pods(&stage).await?.keys().eq(before.keys()),
        "a Pod went although the budget forbids it"
    );
    let waiting = stage.see("Rollout", "web").await?;
    ensure!(waiting["status"]["message"] == "rollout is restarting", "{:#}", waiting["status"]);

    stage.scene.given(&budget(1)).await?;
    then_restarted(&stage).await?;
    stage.then_healthy("web", "demo:v1").await?;
    let after = pods(&stage).await?;
    ensure!(after.keys().all(|uid| !before.contains_key(uid)), "an old Pod is left");
    // Two Pods are asked for again every ten seconds, not in a loop.
    let seconds = (Utc::now() - since).num_seconds();
    let refused = i64::try_from(asked()?)?;
    ensure!(refused <= 2 * (seconds / 10 + 2), "{refused} refusals in {seconds} s");
    stage.then_laws_held().await
}

pub(crate) async fn a_restart_in_mid_canary_keeps_step_and_weight(bed: Arc<Bed>) -> Result<()> {
    let stage = Stage::new(bed, "mid-restart").await?;
    let mut web = Web::new(Router::Hosts, HOLD);
    web.replicas = 4;
    stage.given_web(&web, "demo:v1").await?;
    stage.when_image_is("web", "demo:v2").await?;
    stage.then_weight("web", 50).await?;
    stage.then_phase("web", "Paused").await?;
    a_second_passes().await?;
    let before = pods(&stage).await?;

    stage.when_user_says(&["restart", "web"]).await?;
    let restarted = then_restarted(&stage).await?;
    ensure!(restarted["status"]["currentStepIndex"] == 1, "{:#}", restarted["status"]);
    stage.then_weight("web", 50).await?;
    let after = pods(&stage).await?;
    ensure!(after.keys().all(|uid| !before.contains_key(uid)), "an old Pod is left");
    stage.when_user_says(&["promote", "web"]).await?;
    stage.then_healthy("web", "demo:v2").await?;
    stage.then_laws_held().await
}

pub(crate) async fn a_scheduled_restart_waits_for_its_time(bed: Arc<Bed>) -> Result<()> {
    let stage = Stage::new(bed, "scheduled").await?;
    stage.given_web(&Web::new(Router::None, HOLD), "demo:v1").await?;
    a_second_passes().await?;
    let before = pods(&stage).await?;

    let at = Utc::now() + chrono::Duration::seconds(8);
    restart_at(&stage, at).await?;
    let announced = |r: &Value| r["status"]["message"] == "rollout is restarting";
    stage.then("the restart is announced", "Rollout", "web", announced).await?;
    until("its time is near", LONG, || async {
        Ok((Utc::now() > at - chrono::Duration::seconds(2)).then_some(()))
    })
    .await?;
    let still = pods(&stage).await?;
    ensure!(still.keys().eq(before.keys()), "it came before its time");
    then_restarted(&stage).await?;
    let after = pods(&stage).await?;
    ensure!(after.keys().all(|uid| !before.contains_key(uid)), "an old Pod is left");
    for pod in after.values() {
        let created = pod["creationTimestamp"].as_str().context("a Pod has a creation time")?;
        let created = DateTime::parse_from_rfc3339(created)?;
        ensure!(created.timestamp() >= at.timestamp(), "a Pod was replaced at {created}");
    }
    stage.then_healthy("web", "demo:v1").await?;
    stage.then_laws_held().await
}

/// Labels `role` of the Pods of a revision, by uid.
async fn roles(stage: &Stage, hash: &Value) -> Result<BTreeMap<String, Value>> {
    let all = pods(stage).await?.into_iter();
    let of = all.filter(|(_, pod)| pod["labels"]["rollouts-pod-template-hash"] == *hash);
    Ok(of.map(|(uid, pod)| (uid, pod["labels"]["role"].clone())).collect())
}

async fn then_roles(stage: &Stage, hash: &Value, role: &Value) -> Result<BTreeMap<String, Value>> {
    until(&format!("the Pods of {hash} are {role}"), LONG, || async {
        let roles = roles(stage, hash).await?;
        let all = !roles.is_empty() && roles.values().all(|found| found == role);
        Ok(all.then_some(roles))
    })
    .await
}

pub(crate) async fn metadata_of_a_role_moves_on_live_pods(bed: Arc<Bed>) -> Result<()> {
    let stage = Stage::new(bed, "roles").await?;
    let mut web = Web::new(Router::Hosts, HOLD);
    web.canary =
        "      canaryMetadata: {labels: {role: canary}, annotations: {note: fresh}}\n      \
                  stableMetadata: {labels: {role: stable}}"
            .to_owned();
    stage.given_web(&web, "demo:v1").await?;
    let first = stage.see("Rollout", "web").await?["status"]["stableRS"].clone();
    then_roles(&stage, &first, &json!("stable")).await?;
    stage.when_image_is("web", "demo:v2").await?;
    let paused = stage.then_phase("web", "Paused").await?;
    let second = paused["status"]["currentPodHash"].clone();
    let canaries = then_roles(&stage, &second, &json!("canary")).await?;
    then_roles(&stage, &first, &json!("stable")).await?;

    stage.when_user_says(&["promote", "web"]).await?;
    stage.then_healthy("web", "demo:v2").await?;
    let stable = then_roles(&stage, &second, &json!("stable")).await?;
    let live = canaries.keys().filter(|uid| stable.contains_key(*uid)).count();
    ensure!(live == canaries.len(), "Pods were replaced for the sake of a label");
    let left = pods(&stage).await?.into_values().find(|pod| {
        pod["labels"]["rollouts-pod-template-hash"] == second
            && !pod["annotations"]["note"].is_null()
    });
    ensure!(left.is_none(), "the note of the canary is left: {left:?}");
    let name = format!("web-{}", second.as_str().unwrap_or_default());
    let set = stage.see("ReplicaSet", &name).await?;
    let note = &set["metadata"]["annotations"]["rollout.argoproj.io/ephemeral-metadata"];
    ensure!(*note == "{\"labels\":{\"role\":\"stable\"}}", "the ReplicaSet says {note}");
    stage.then_laws_held().await
}

pub(crate) async fn anti_affinity_names_the_stable_version_until_promotion(
    bed: Arc<Bed>,
) -> Result<()> {
    let stage = Stage::new(bed, "apart").await?;
    let mut web = Web::new(Router::Hosts, HOLD);
    web.canary =
        "      antiAffinity: {preferredDuringSchedulingIgnoredDuringExecution: {weight: 5}}"
            .to_owned();
    stage.given_web(&web, "demo:v1").await?;
    let first = stage.see("Rollout", "web").await?["status"]["stableRS"].clone();
    stage.when_image_is("web", "demo:v2").await?;
    let paused = stage.then_phase("web", "Paused").await?;
    let hash = paused["status"]["currentPodHash"].as_str().unwrap_or_default().to_owned();
    let affinity = |set: &Value| set["spec"]["template"]["spec"]["affinity"].clone();
    let set = stage.see("ReplicaSet", &format!("web-{hash}")).await?;
    let term =
        &affinity(&set)["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"][0];
    let named = &term["podAffinityTerm"]["labelSelector"]["matchExpressions"][0]["values"];
    ensure!(term["weight"] == 5 && *named == json!([first]), "the term is {term:#}");

    stage.when_user_says(&["promote", "web"]).await?;
    stage.then_healthy("web", "demo:v2").await?;
    let gone = |set: &Value| affinity(set).is_null();
    stage.then("the term is removed", "ReplicaSet", &format!("web-{hash}"), gone).await?;
    stage.then_laws_held().await
}

pub(crate) async fn the_duration_of_an_update_counts_what_people_took(bed: Arc<Bed>) -> Result<()> {
    let stage = Stage::new(bed, "duration").await?;
    stage.given_web(&Web::new(Router::None, HOLD), "demo:v1").await?;
    stage.when_image_is("web", "demo:v2").await?;
    let paused = stage.then_phase("web", "Paused").await?;
    let duration = &paused["status"]["duration"];
    ensure!(!duration["manualPauseStartedAt"].is_null(), "{duration:#}");
    ensure!(duration["finishedAt"].is_null(), "{duration:#}");
    let from = Utc::now();
    until("a person thinks", LONG, || async {
        Ok((Utc::now() > from + chrono::Duration::seconds(3)).then_some(()))
    })
    .await?;
    stage.when_user_says(&["promote", "web"]).await?;
    stage.then_healthy("web", "demo:v2").await?;
    let done =
        |r: &Value| !r["status"]["duration"]["finishedAt"].is_null() && is_phase(r, "Healthy");
    let rollout = stage.then("the update is measured", "Rollout", "web", done).await?;

    let duration = &rollout["status"]["duration"];
    ensure!(duration["completionStatus"] == "Promoted", "{duration:#}");
    let pauses = duration["totalManualPauseDurationSeconds"].as_i64().unwrap_or(0);
    ensure!((3..60).contains(&pauses), "{duration:#}");
    stage.then_laws_held().await
}
