//! From the answer that fails an update to the weight that is gone.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, Utc};
use futures::future::try_join_all;
use serde_json::Value;
use sluice_e2e::{
    bed::{Bed, controller, process::until},
    demo::timeline::median_and_max,
    recorder::{self, Request},
    stage::{LONG, Stage},
};
use tokio::sync::Mutex;

use crate::{
    cast::{Cast, LANES, Lane, cast},
    crowd::CROWD,
};

/// How long two hundred and some canaries may take to get their Pods on a machine that builds as well.
const CANARY: Duration = Duration::from_secs(200);
/// No abort may take longer (`reliability.md` L3); figures are printed. Two hundred Rollouts fill a machine of two cores, on which
/// the API server and the Pods run as well.
const QUIET: Duration = Duration::from_secs(2);
const BUSY: Duration = Duration::from_secs(5);

pub(crate) async fn failing_answers_on_a_quiet_bed_are_followed_by_weight_zero(
    bed: Arc<Bed>,
) -> Result<()> {
    let cast = cast(&bed).await?;
    let aborts = aborts(cast, "demo:v2", async { Ok(()) }).await?;
    then_in_time(&aborts, QUIET, "on a quiet bed")?;
    then_nothing_else_happened(cast).await
}

pub(crate) async fn failing_answers_among_200_progressing_rollouts_are_followed_by_weight_zero(
    bed: Arc<Bed>,
) -> Result<()> {
    let cast = cast(&bed).await?;
    let progress = cast.crowd.when_pushed_again_and_again().await?;
    let aborts = aborts(cast, "demo:v3", cast.crowd.then_under_way()).await?;
    then_in_time(&aborts, BUSY, &format!("with {CROWD} other Rollouts progressing"))?;
    let mut answers: Vec<_> = aborts.iter().map(|abort| abort.answer).collect();
    answers.sort();
    cast.crowd.then_went_on(&answers).await?;
    drop(progress);
    then_nothing_else_happened(cast).await
}

struct Abort {
    answer: DateTime<Utc>,
    took: Duration,
    /// The part of it that the API server took.
    served: Duration,
}

/// Updates every lane and lets its canary wait for a first answer; after `ready` each gets a failing one, one after the other.
async fn aborts(
    cast: &Cast,
    image: &str,
    ready: impl Future<Output = Result<()>>,
) -> Result<Vec<Abort>> {
    let turn = Mutex::new(());
    let not_yet = turn.lock().await;
    let ready = async move {
        ready.await?;
        drop(not_yet);
        anyhow::Ok(())
    };
    let lanes = try_join_all(cast.lanes.iter().map(|lane| fail(lane, image, &turn)));
    let (answers, ()) = tokio::try_join!(lanes, ready)?;
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
    until("a question", CANARY, || async { Ok((oracle.questions() > questions).then_some(())) })
        .await
        .with_context(|| stage.scene.namespace.clone())?;
    // What the question itself leads to is written by then, and the last counts of Pods, which come up to 5 s late.
    let is_told = |r: &Value| {
        let status = &r["status"];
        let counts = ["replicas", "readyReplicas", "availableReplicas"];
        status["canary"]["currentStepAnalysisRunStatus"]["status"] == "Running"
            && counts.iter().all(|count| status[*count] == 2)
    };
    stage.then_all(1, "judged", is_told).await?;
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
    let served = zero.stage_timestamp - zero.request_received_timestamp;
    Ok(Abort { answer, took, served: served.to_std()? })
}

fn then_in_time(aborts: &[Abort], limit: Duration, circumstances: &str) -> Result<()> {
    ensure!(aborts.len() == LANES && LANES >= 20, "{} aborts", aborts.len());
    let took: Vec<_> = aborts.iter().map(|abort| abort.took).collect();
    let served: Vec<_> = aborts.iter().map(|abort| abort.served).collect();
    eprintln!(
        "failing answer to accepted weight 0, {circumstances}: {}; in the API server {}",
        median_and_max(&took),
        median_and_max(&served)
    );
    let worst = took.iter().max().copied().unwrap_or_default();
    ensure!(worst < limit, "{circumstances} the slowest abort took {worst:?}");
    Ok(())
}

/// Each update had its weight and lost it, its failure is on record, and no law was broken.
async fn then_nothing_else_happened(cast: &Cast) -> Result<()> {
    let all = cast.lanes.iter().map(|lane| tokio::spawn(then_only_aborted(lane.stage.clone())));
    for checked in try_join_all(all).await? {
        checked?;
    }
    Ok(())
}

async fn then_only_aborted(stage: Stage) -> Result<()> {
    let namespace = &stage.scene.namespace;
    let weights = stage.weights("web", stage.since).await?;
    let aborts = weights.len() / 2;
    let expected = aborts > 0 && weights.chunks(2).all(|pair| pair == [20, 0]);
    ensure!(expected, "{namespace}: the weights were {weights:?}");
    let failed = |run: &Value| run["status"]["phase"] == "Failed";
    until("the failures are on record", LONG, || async {
        let runs = stage.scene.bed.recorder.now("AnalysisRun", namespace, failed);
        Ok((runs == aborts).then_some(()))
    })
    .await?;
    stage.then_laws_held().await
}
