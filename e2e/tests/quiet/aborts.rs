//! From the answer that fails an update to the weight that is gone.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, Utc};
use futures::future::try_join_all;
use sluice_e2e::{
    bed::{Bed, controller, process::until},
    demo::timeline::median_and_max,
    recorder::{self, Request},
    stage::LONG,
};
use tokio::sync::Mutex;

use crate::{
    cast::{Cast, LANES, Lane, cast},
    crowd::CROWD,
};

/// A promise of seconds on a machine that does nothing else, and on one that is full (`reliability.md` L3).
const QUIET: Duration = Duration::from_secs(1);
const BUSY: Duration = Duration::from_secs(2);

pub(crate) async fn failing_answers_on_a_quiet_bed_are_followed_by_weight_zero(
    bed: Arc<Bed>,
) -> Result<()> {
    let cast = cast(&bed).await?;
    let aborts = aborts(cast, "demo:v2").await?;
    then_in_time(&aborts, QUIET, "on a quiet bed")?;
    then_nothing_else_happened(cast).await
}

pub(crate) async fn failing_answers_among_200_progressing_rollouts_are_followed_by_weight_zero(
    bed: Arc<Bed>,
) -> Result<()> {
    let cast = cast(&bed).await?;
    let progress = cast.crowd.when_pushed_again_and_again().await?;
    cast.crowd.then_under_way().await?;
    let from = Utc::now();
    let aborts = aborts(cast, "demo:v3").await?;
    let to = Utc::now();
    drop(progress);

    then_in_time(&aborts, BUSY, &format!("with {CROWD} other Rollouts progressing"))?;
    let answers: Vec<_> = aborts.iter().map(|abort| abort.answer).collect();
    let steps = cast.crowd.then_went_on((from, to), &answers)?;
    let seconds = (to - from).as_seconds_f64();
    eprintln!("meanwhile {CROWD} Rollouts made {steps} steps in {seconds:.1} s");
    then_nothing_else_happened(cast).await
}

struct Abort {
    answer: DateTime<Utc>,
    took: Duration,
}

/// Updates every lane and lets its canary wait for a first answer; then each gets a failing one, one after the other.
async fn aborts(cast: &Cast, image: &str) -> Result<Vec<Abort>> {
    let turn = Mutex::new(());
    let answers = try_join_all(cast.lanes.iter().map(|lane| fail(lane, image, &turn))).await?;
    let first = answers.iter().min().copied().context("nobody was asked")?;
    let stage = &cast.lanes.first().context("there are lanes")?.stage;
    let log = stage.scene.bed.control_plane.audit_log();
    let requests = recorder::audit(log, controller::USER, first)?;
    let judged = cast.lanes.iter().zip(answers);
    judged.map(|(lane, answer)| judge(&lane.stage.scene.namespace, answer, &requests)).collect()
}

/// Returns when the failing answer left.
async fn fail(lane: &Lane, image: &str, turn: &Mutex<()>) -> Result<DateTime<Utc>> {
    let Lane { stage, oracle } = lane;
    oracle.be_silent();
    let (questions, answers) = (oracle.questions(), oracle.answers().len());
    stage.when_image_is("web", image).await?;
    until("a question", LONG, || async { Ok((oracle.questions() > questions).then_some(())) })
        .await
        .with_context(|| stage.scene.namespace.clone())?;
    let _turn = turn.lock().await;
    oracle.say(Some(1.0));
    stage.then_phase("web", "Degraded").await?;
    oracle.answers().get(answers).copied().context("nobody was answered")
}

/// Finds the write that took the weight away, and shows that nothing of ours was written to the Rollout's objects before.
fn judge(namespace: &str, answer: DateTime<Utc>, requests: &[Request]) -> Result<Abort> {
    let target = |r: &Request| r.object_ref.clone().unwrap_or_default();
    let writes: Vec<_> = requests
        .iter()
        .filter(|r| r.is_write() && r.request_received_timestamp >= answer)
        .filter(|r| r.response_status.as_ref().is_some_and(|status| status.code < 300))
        .filter(|r| target(r).namespace == namespace && target(r).resource != "events")
        .collect();
    let zero = writes
        .iter()
        .find(|r| target(r).resource == "virtualservices")
        .with_context(|| format!("{namespace}: no route was written"))?;
    let before: Vec<_> = writes
        .iter()
        .filter(|r| r.request_received_timestamp < zero.stage_timestamp && r.uri != zero.uri)
        .map(|r| format!("{} {}", r.verb, r.uri))
        .collect();
    ensure!(before.is_empty(), "{namespace}: between the answer and weight 0 came {before:#?}");
    let took = (zero.stage_timestamp - answer).to_std().context("the answer came first")?;
    Ok(Abort { answer, took })
}

fn then_in_time(aborts: &[Abort], limit: Duration, circumstances: &str) -> Result<()> {
    ensure!(aborts.len() == LANES && LANES >= 20, "{} aborts", aborts.len());
    let took: Vec<_> = aborts.iter().map(|abort| abort.took).collect();
    eprintln!("failing answer to accepted weight 0, {circumstances}: {}", median_and_max(&took));
    let worst = took.iter().max().copied().unwrap_or_default();
    ensure!(worst < limit, "{circumstances} the slowest abort took {worst:?}");
    Ok(())
}

/// Each update had its weight and lost it, its failure is on record, and no law was broken.
async fn then_nothing_else_happened(cast: &Cast) -> Result<()> {
    for Lane { stage, .. } in &cast.lanes {
        let weights = stage.weights("web", stage.since).await?;
        let namespace = &stage.scene.namespace;
        ensure!(
            !weights.is_empty() && weights.chunks(2).all(|pair| pair == [20, 0]),
            "{namespace}: the weights were {weights:?}"
        );
        let failed = |revisions: &[recorder::Revision]| {
            revisions.iter().any(|r| {
                r.kind == "AnalysisRun" && !r.deleted && r.object["status"]["phase"] == "Failed"
            })
        };
        until("the failure is on record", LONG, || async {
            let history = stage.scene.bed.recorder.history(namespace)?;
            Ok(failed(&history).then_some(()))
        })
        .await?;
        stage.then_laws_held().await?;
    }
    Ok(())
}
