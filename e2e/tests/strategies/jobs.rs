//! Metrics that are measured by Jobs, run by a real Job controller.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use chrono::Utc;
use serde_json::Value;
use sluice_e2e::{
    bed::{Bed, process::until},
    stage::{LONG, Router, Stage, Web},
};

use crate::experiments::all;

const STEPS: &str = "[{setWeight: 20}, {analysis: {templates: [{templateName: smoke}], \
    args: [{name: hash, valueFrom: {podTemplateHashValue: Latest}}]}}, {setWeight: 60}]";

/// An AnalysisTemplate `smoke` whose metric is a Job that runs `command` in `image`.
fn smoke(image: &str, command: &str) -> String {
    format!(
        "
apiVersion: argoproj.io/v1alpha1
kind: AnalysisTemplate
metadata: {{name: smoke}}
spec:
  args: [{{name: hash}}]
  metrics:
    - name: smoke
      provider:
        job:
          spec:
            backoffLimit: 0
            template:
              spec:
                restartPolicy: Never
                containers:
                  - {{name: smoke, image: '{image}', command: [sh, -c, '{command}']}}
"
    )
}

async fn given(bed: Arc<Bed>, namespace: &str, template: &str) -> Result<Stage> {
    let stage = Stage::new(bed, namespace).await?;
    stage.scene.given(template).await?;
    stage.given_web(&Web::new(Router::Hosts, STEPS), "demo:v1").await?;
    stage.when_image_is("web", "demo:v2").await?;
    Ok(stage)
}

/// The one measurement of the one run, and the run.
async fn measurement(stage: &Stage) -> Result<(Value, Value)> {
    let run = all(stage, "AnalysisRun").await?.pop().context("there is no AnalysisRun")?;
    Ok((run["status"]["metricResults"][0]["measurements"][0].clone(), run))
}

pub(crate) async fn a_good_job_lets_a_canary_go_on(bed: Arc<Bed>) -> Result<()> {
    let stage = given(bed, "job-good", &smoke("any:1", "test -n \"{{args.hash}}\"")).await?;

    stage.then_healthy("web", "demo:v2").await?;
    let weights = stage.weights("web", stage.since).await?;
    ensure!(weights == [20, 60, 100, 0], "the weights were {weights:?}");
    let (measured, run) = measurement(&stage).await?;
    ensure!(measured["phase"] == "Successful", "measured: {measured}");
    let uid = run["metadata"]["uid"].as_str().unwrap_or_default();
    let job = stage.see("Job", &format!("{uid}.smoke.1")).await?;
    ensure!(measured["metadata"]["job-name"] == job["metadata"]["name"], "measured: {measured}");
    ensure!(job["metadata"]["labels"]["analysisrun.argoproj.io/uid"] == uid, "whose is {job}?");
    stage.then_laws_held().await
}

pub(crate) async fn a_failing_job_takes_the_update_back(bed: Arc<Bed>) -> Result<()> {
    let stage = given(bed, "job-bad", &smoke("any:1", "exit 3")).await?;

    stage.then_phase("web", "Degraded").await?;
    let weights = stage.weights("web", stage.since).await?;
    ensure!(weights == [20, 0], "the weights were {weights:?}");
    let rollout = stage.see("Rollout", "web").await?;
    let message = rollout["status"]["message"].as_str().unwrap_or_default();
    ensure!(message.contains("Metric \"smoke\" assessed Failed"), "message: {message}");
    stage.then_laws_held().await
}

pub(crate) async fn a_job_without_an_image_proves_nothing(bed: Arc<Bed>) -> Result<()> {
    let stage = given(bed, "job-image", &smoke("does-not-exist:1", "exit 0")).await?;

    let paused = stage.then_phase("web", "Paused").await?;
    let reason = &paused["status"]["pauseConditions"][0]["reason"];
    ensure!(reason == "InconclusiveAnalysisRun", "paused for {reason}");
    stage.then_weight("web", 20).await?;
    let ended = |run: &Value| run["status"]["phase"] == "Inconclusive";
    let (_, run) = measurement(&stage).await?;
    let name = run["metadata"]["name"].as_str().unwrap_or_default();
    stage.then("the run is Inconclusive", "AnalysisRun", name, ended).await?;
    let (measured, _) = measurement(&stage).await?;
    let message = measured["message"].as_str().unwrap_or_default();
    ensure!(message.contains("does-not-exist:1: not found"), "measured: {measured}");
    stage.then_laws_held().await
}

pub(crate) async fn a_job_that_nobody_waits_for_goes_with_its_pods(bed: Arc<Bed>) -> Result<()> {
    let stage = given(bed, "job-abort", &smoke("any:1", "sleep 600")).await?;
    let runs = |job: &Value| job["status"]["active"] == 1;
    until("a Job runs", LONG, || async {
        Ok(all(&stage, "Job").await?.iter().any(runs).then_some(()))
    })
    .await?;

    let aborted = Utc::now();
    stage.when_user_says(&["abort", "web"]).await?;
    stage.then_phase("web", "Degraded").await?;
    until("the Job and its Pods are gone", LONG, || async {
        let is_job = |pod: &Value| pod["metadata"]["ownerReferences"][0]["kind"] == "Job";
        let pods = all(&stage, "Pod").await?;
        let gone = all(&stage, "Job").await?.is_empty() && !pods.iter().any(is_job);
        Ok(gone.then_some(()))
    })
    .await?;
    let deletes = stage.writes(aborted)?.into_iter().filter(|w| w.verb == "delete");
    let jobs = deletes.filter(|w| w.uri.contains("/jobs/")).count();
    ensure!(jobs == 1, "{jobs} deletions of Jobs");
    stage.then_laws_held().await
}
