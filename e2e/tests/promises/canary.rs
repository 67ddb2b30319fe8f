//! A canary on its way, and what its user does meanwhile.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use chrono::Utc;
use serde_json::{Value, json};
use sluice_e2e::bed::{Bed, mesh, ports, process::until};

use crate::stage::{LONG, Router, Stage, Web, canary_weight};

const HOLD: &str = "[{setWeight: 20}, {pause: {}}, {setWeight: 60}, {pause: {duration: 1s}}]";

pub(crate) async fn a_canary_split_by_host_serves_its_share_and_fails_no_request(
    bed: Arc<Bed>,
) -> Result<()> {
    serves_its_share(bed, "by-host", Router::Hosts, ["web-stable", "web-canary"]).await
}

pub(crate) async fn a_canary_split_by_subset_serves_its_share_and_fails_no_request(
    bed: Arc<Bed>,
) -> Result<()> {
    serves_its_share(bed, "by-subset", Router::Subsets, ["web/stable", "web/canary"]).await
}

async fn serves_its_share(
    bed: Arc<Bed>,
    namespace: &str,
    router: Router,
    [stable, canary]: [&str; 2],
) -> Result<()> {
    let stage = Stage::new(bed, namespace).await?;
    stage.given_web(&Web::new(router, HOLD), "demo:v1").await?;
    answered(&stage).await?;
    let load = stage.scene.when_load_runs(stage.scene.load(100.0));
    let since = Utc::now();

    stage.when_image_is("web", "demo:v2").await?;
    stage.then_phase("web", "Paused").await?;
    let host = host(&stage).await?;
    mesh::weights(&host, &[(stable, 80), (canary, 20)], LONG).await?;
    let from = Utc::now();
    until("600 requests at 20 %", LONG, || async {
        Ok((load.record().between(from, Utc::now()).total() >= 600).then_some(()))
    })
    .await?;
    let part = load.record().between(from, Utc::now());
    stage.when_user_says(&["promote", "web"]).await?;
    stage.then_healthy("web", "demo:v2").await?;
    mesh::weights(&host, &[(stable, 100)], LONG).await?;
    let promoted = Utc::now();
    until("200 requests after the promotion", LONG, || async {
        Ok((load.record().between(promoted, Utc::now()).total() >= 200).then_some(()))
    })
    .await?;
    let record = load.stop().await;

    // Four standard deviations of a binomial share of 20 % in 600 requests are 6.5 points.
    let share = part.share("v2");
    ensure!((0.135..=0.265).contains(&share), "{namespace}: the canary served {share}");
    ensure!(record.failed() == 0, "{namespace}: failed requests: {:?}", record.by_version());
    let after = record.between(promoted, Utc::now());
    ensure!(after.served_by("v2") == after.total(), "{namespace}: {:?}", after.by_version());
    let weights = stage.weights("web", since).await?;
    ensure!(weights == [20, 60, 100, 0], "{namespace}: the weights were {weights:?}");
    stage.then_laws_held().await
}

/// The name under which Envoy knows the scene's host.
async fn host(stage: &Stage) -> Result<String> {
    let host = format!("{}:{}", stage.scene.host, ports::GATEWAY);
    Ok(if mesh::routes(&host).await?.is_empty() { stage.scene.host.clone() } else { host })
}

async fn answered(stage: &Stage) -> Result<()> {
    until("twenty answers in a row", LONG, || async {
        let probe = stage.scene.load(100.0).count(20);
        let record = stage.scene.when_load_runs(probe).finished().await;
        let good = record.samples.iter().filter(|s| s.status == 200).count();
        Ok((good == 20).then_some(()))
    })
    .await
}

pub(crate) async fn an_abort_takes_the_weight_back_before_anything_else(
    bed: Arc<Bed>,
) -> Result<()> {
    let stage = Stage::new(bed, "user-abort").await?;
    stage.given_web(&Web::new(Router::Hosts, HOLD), "demo:v1").await?;
    stage.when_image_is("web", "demo:v2").await?;
    stage.then_phase("web", "Paused").await?;
    answered(&stage).await?;
    let load = stage.scene.when_load_runs(stage.scene.load(50.0));

    let aborted = Utc::now();
    stage.when_user_says(&["abort", "web"]).await?;
    stage.then_weight("web", 0).await?;
    stage.then_phase("web", "Degraded").await?;
    mesh::weights(&host(&stage).await?, &[("web-stable", 100)], LONG).await?;
    let back = Utc::now();
    until("100 requests after the abort", LONG, || async {
        Ok((load.record().between(back, Utc::now()).total() >= 100).then_some(()))
    })
    .await?;
    let record = load.stop().await;

    let after = record.between(back, Utc::now());
    ensure!(after.served_by("v1") == after.total(), "after the abort: {:?}", after.by_version());
    ensure!(record.failed() == 0, "failed requests: {:?}", record.by_version());
    first_write_is_route(&stage, aborted)?;
    stage.then_laws_held().await
}

/// The first write to the Rollout's objects since an instant is that of the VirtualService.
pub(crate) fn first_write_is_route(
    stage: &Stage,
    since: chrono::DateTime<Utc>,
) -> Result<chrono::DateTime<Utc>> {
    let resource = |r: &sluice_e2e::recorder::Request| {
        r.object_ref.as_ref().map(|o| o.resource.clone()).unwrap_or_default()
    };
    let aside = ["events", "analysisruns"];
    let writes = stage.writes(since)?;
    let first = writes.iter().find(|r| !aside.contains(&resource(r).as_str()));
    let first = first.context("nothing was written")?;
    ensure!(resource(first) == "virtualservices", "the first write was to {}", first.uri);
    Ok(first.stage_timestamp)
}

pub(crate) async fn a_new_version_in_mid_canary_starts_at_the_first_step(
    bed: Arc<Bed>,
) -> Result<()> {
    let stage = Stage::new(bed, "third").await?;
    stage.given_web(&Web::new(Router::Hosts, HOLD), "demo:v1").await?;
    stage.when_image_is("web", "demo:v2").await?;
    stage.then_phase("web", "Paused").await?;
    let since = Utc::now();

    stage.when_image_is("web", "demo:v3").await?;
    let paused =
        |r: &Value| crate::stage::is_phase(r, "Paused") && crate::stage::image_of(r) == "demo:v3";
    stage.then("the Rollout pauses with v3", "Rollout", "web", paused).await?;
    stage.then_weight("web", 20).await?;
    stage.when_user_says(&["promote", "web"]).await?;
    stage.then_healthy("web", "demo:v3").await?;

    let weights = stage.weights("web", since).await?;
    ensure!(weights == [0, 20, 60, 100, 0] || weights == [20, 60, 100, 0], "{weights:?}");
    stage.then_laws_held().await
}

pub(crate) async fn going_back_to_stable_in_mid_canary_needs_no_steps(bed: Arc<Bed>) -> Result<()> {
    let stage = Stage::new(bed, "back").await?;
    stage.given_web(&Web::new(Router::Hosts, HOLD), "demo:v1").await?;
    stage.when_image_is("web", "demo:v2").await?;
    stage.then_phase("web", "Paused").await?;
    stage.then_weight("web", 20).await?;
    let since = Utc::now();

    stage.when_image_is("web", "demo:v1").await?;
    stage.then_healthy("web", "demo:v1").await?;
    stage.then_weight("web", 0).await?;

    let weights = stage.weights("web", since).await?;
    ensure!(weights.is_empty(), "the weight went back by steps: {weights:?}");
    stage.then_laws_held().await
}

pub(crate) async fn an_edit_of_retries_in_mid_canary_survives_every_write(
    bed: Arc<Bed>,
) -> Result<()> {
    let stage = Stage::new(bed, "retries").await?;
    stage.given_web(&Web::new(Router::Hosts, HOLD), "demo:v1").await?;
    stage.when_image_is("web", "demo:v2").await?;
    stage.then_phase("web", "Paused").await?;

    let edit = json!([{ "op": "add", "path": "/spec/http/0/retries", "value": { "attempts": 7 } }]);
    stage.patch("VirtualService", "web", &edit).await?;
    let edited = Utc::now();
    stage.when_user_says(&["promote", "web"]).await?;
    stage.then_healthy("web", "demo:v2").await?;

    let weights = stage.weights("web", edited).await?;
    ensure!(weights.ends_with(&[60, 100, 0]), "the weights were {weights:?}");
    let history = stage.scene.bed.recorder.history(&stage.scene.namespace)?;
    let mut routes = history.iter().filter(|r| r.kind == "VirtualService");
    let attempts = |v: &Value| v["spec"]["http"][0]["retries"]["attempts"] == 7;
    routes.find(|r| attempts(&r.object)).context("the edit was not recorded")?;
    let lost = routes.find(|r| !attempts(&r.object));
    ensure!(
        lost.is_none(),
        "the edit was lost at weight {:?}",
        lost.map(|r| canary_weight(&r.object))
    );
    stage.then_laws_held().await
}

pub(crate) async fn a_rollout_that_is_created_again_adopts_what_it_left_behind(
    bed: Arc<Bed>,
) -> Result<()> {
    let stage = Stage::new(bed, "orphans").await?;
    let web = Web::new(Router::Hosts, HOLD);
    stage.given_web(&web, "demo:v1").await?;
    answered(&stage).await?;
    let load = stage.scene.when_load_runs(stage.scene.load(50.0));
    let old = stage.see("Rollout", "web").await?;
    let set = format!("web-{}", old["status"]["stableRS"].as_str().unwrap_or_default());
    let before = stage.see("ReplicaSet", &set).await?;

    stage.when_orphaned("web").await?;
    stage.scene.given(&web.manifest("demo:v1")).await?;
    let new = stage.then_healthy("web", "demo:v1").await?;

    let after = stage.see("ReplicaSet", &set).await?;
    let owner = &after["metadata"]["ownerReferences"][0]["uid"];
    ensure!(*owner == new["metadata"]["uid"], "the owner of {set} is {owner}");
    ensure!(after["metadata"]["uid"] == before["metadata"]["uid"], "{set} is another one");
    let record = load.stop().await;
    ensure!(record.failed() == 0, "failed requests: {:?}", record.by_version());
    stage.then_laws_held().await
}

pub(crate) async fn a_canary_without_router_keeps_to_surge_and_unavailability(
    bed: Arc<Bed>,
) -> Result<()> {
    let stage = Stage::new(bed, "plain").await?;
    let pause = "{pause: {duration: 1s}}";
    let steps = format!("[{{setWeight: 20}}, {pause}, {{setWeight: 60}}, {pause}]");
    let mut web = Web::new(Router::None, &steps);
    web.replicas = 5;
    web.canary = "      maxSurge: 1\n      maxUnavailable: 1".to_owned();
    stage.given_web(&web, "demo:v1").await?;
    let since = Utc::now();

    stage.when_image_is("web", "demo:v2").await?;
    stage.then_healthy("web", "demo:v2").await?;

    stage.then_available_since("web", since, 4, 6).await?;
    stage.then_laws_held().await
}
