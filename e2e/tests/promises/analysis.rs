//! What a metrics server says, and what it does to a canary.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use sluice_e2e::bed::{Bed, process::until};

use crate::{
    canary::first_write_is_route,
    oracle::Oracle,
    stage::{LONG, Router, Stage, Web, canary_weight},
};

const JUDGED: &str = "[{setWeight: 20}, {analysis: {templates: [{templateName: judge}]}}]";

pub(crate) async fn a_failing_analysis_is_answered_by_weight_zero_first(
    bed: Arc<Bed>,
) -> Result<()> {
    let stage = Stage::new(bed, "failing").await?;
    let oracle = Oracle::start(Some(0.0)).await?;
    stage.scene.given(&oracle.template()).await?;
    stage.given_web(&Web::new(Router::Hosts, JUDGED), "demo:v1").await?;

    oracle.say(Some(1.0));
    stage.when_image_is("web", "demo:v2").await?;
    stage.then_phase("web", "Degraded").await?;

    let answer = *oracle.answers().first().context("nobody asked")?;
    first_write_is_route(&stage, answer)?;
    let rollout = stage.see("Rollout", "web").await?;
    let message = rollout["status"]["message"].as_str().unwrap_or_default();
    ensure!(message.contains("errors"), "the message names no metric: {message}");
    let weights = stage.weights("web", stage.since).await?;
    ensure!(weights == [20, 0], "the weights were {weights:?}");
    stage.then_laws_held().await
}

pub(crate) async fn an_inconclusive_analysis_holds_the_weight(bed: Arc<Bed>) -> Result<()> {
    let stage = Stage::new(bed, "unsure").await?;
    let oracle = Oracle::start(Some(0.3)).await?;
    stage.scene.given(&oracle.template()).await?;
    stage.given_web(&Web::new(Router::Hosts, JUDGED), "demo:v1").await?;

    stage.when_image_is("web", "demo:v2").await?;
    stage.then_phase("web", "Paused").await?;
    stage.then_weight("web", 20).await?;
    oracle.say(Some(0.0));
    stage.when_user_says(&["promote", "web"]).await?;
    stage.then_healthy("web", "demo:v2").await?;

    let weights = stage.weights("web", stage.since).await?;
    ensure!(weights == [20, 100, 0], "the weights were {weights:?}");
    stage.then_laws_held().await
}

pub(crate) async fn an_unreachable_metrics_server_holds_the_weight(bed: Arc<Bed>) -> Result<()> {
    let stage = Stage::new(bed, "deaf").await?;
    let oracle = Oracle::start(None).await?;
    stage.scene.given(&oracle.template()).await?;
    stage.given_web(&Web::new(Router::Hosts, JUDGED), "demo:v1").await?;

    stage.when_image_is("web", "demo:v2").await?;
    until("three questions", LONG, || async { Ok((oracle.answers().len() >= 3).then_some(())) })
        .await?;
    let route = stage.see("VirtualService", "web").await?;
    ensure!(canary_weight(&route) == 20, "the weight is {}", canary_weight(&route));
    oracle.say(Some(0.0));
    stage.then_healthy("web", "demo:v2").await?;

    let weights = stage.weights("web", stage.since).await?;
    ensure!(weights == [20, 100, 0], "the weights were {weights:?}");
    stage.then_laws_held().await
}
