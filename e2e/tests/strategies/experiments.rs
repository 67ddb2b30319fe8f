//! Experiments by themselves, and as steps of a canary.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use chrono::Utc;
use kube::api::{DynamicObject, ListParams};
use serde_json::{Value, json};
use sluice_e2e::{
    bed::{Bed, process::until},
    oracle::Oracle,
    stage::{LONG, Router, Stage, Web, api, canary_weight},
};

/// Lines of the two versions, each with one Pod; the second has a Service.
const TWO: &str = "
  templates:
    - name: old
      selector: {matchLabels: {app: side, version: old}}
      template:
        metadata: {labels: {app: side, version: old}}
        spec:
          containers:
            - {name: app, image: 'demo:v1', ports: [{containerPort: 8080}]}
    - name: new
      service: {name: side-new}
      selector: {matchLabels: {app: side, version: new}}
      template:
        metadata: {labels: {app: side, version: new}}
        spec:
          containers:
            - {name: app, image: 'demo:v2', ports: [{containerPort: 8080}]}
";

/// An Experiment `side` with two versions and further lines of its spec, indented by two.
fn side(more: &str) -> String {
    format!(
        "
apiVersion: argoproj.io/v1alpha1
kind: Experiment
metadata: {{name: side}}
spec:
  scaleDownDelaySeconds: 1
{TWO}
{more}
"
    )
}

fn has_phase(phase: &str) -> impl Fn(&Value) -> bool {
    move |object| object["status"]["phase"] == phase
}

async fn then_side_is(stage: &Stage, phase: &str) -> Result<Value> {
    let what = format!("the Experiment is {phase}");
    stage.then(&what, "Experiment", "side", has_phase(phase)).await
}

pub(crate) async fn all(stage: &Stage, kind: &str) -> Result<Vec<Value>> {
    let api = api(&stage.scene.bed, kind, &stage.scene.namespace);
    let objects: Vec<DynamicObject> = api.list(&ListParams::default()).await?.items;
    objects.iter().map(|object| Ok(serde_json::to_value(object)?)).collect()
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// Waits until no version of any Experiment wants Pods.
async fn then_versions_are_gone(stage: &Stage) -> Result<()> {
    let of_experiment = |set: &Value| set["metadata"]["ownerReferences"][0]["kind"] == "Experiment";
    until("the versions are gone", LONG, || async {
        let sets = all(stage, "ReplicaSet").await?;
        let open = sets.iter().filter(|set| of_experiment(set));
        Ok((open.filter(|set| set["spec"]["replicas"] != 0).count() == 0).then_some(()))
    })
    .await
}

pub(crate) async fn versions_of_an_experiment_run_side_by_side_and_go(bed: Arc<Bed>) -> Result<()> {
    let stage = Stage::new(bed, "side-by-side").await?;
    stage.scene.given(&side("  duration: 4s")).await?;

    let running = then_side_is(&stage, "Running").await?;
    let sets = all(&stage, "ReplicaSet").await?;
    let available = |set: &&Value| set["status"]["availableReplicas"] == 1;
    ensure!(sets.iter().filter(available).count() == 2, "ReplicaSets: {sets:#?}");
    let service = stage.see("Service", "side-new").await?;
    let hash = &service["spec"]["selector"]["rollouts-pod-template-hash"];
    ensure!(hash.is_string(), "the Service selects {}", service["spec"]["selector"]);
    let recorded = &running["status"]["templateStatuses"][1]["podTemplateHash"];
    ensure!(recorded == hash, "the status names {recorded}, the Service {hash}");
    let ended = then_side_is(&stage, "Successful").await?;
    then_versions_are_gone(&stage).await?;
    until("the Service is gone", LONG, || async {
        Ok(all(&stage, "Service").await?.is_empty().then_some(()))
    })
    .await?;

    let since = ended["status"]["availableAt"].as_str().context("availableAt")?;
    let since = chrono::DateTime::parse_from_rfc3339(since)?.to_utc();
    ensure!(Utc::now() - since >= chrono::Duration::seconds(4), "it ended early");
    stage.then_laws_held().await
}

const WITH_ANALYSIS: &str = "  analyses: [{name: check, templateName: judge}]";

pub(crate) async fn an_experiment_waits_for_what_shall_judge_it(bed: Arc<Bed>) -> Result<()> {
    let stage = Stage::new(bed, "side-waits").await?;
    let oracle = Oracle::start(Some(0.0)).await?;
    stage.scene.given(&side(WITH_ANALYSIS)).await?;

    let waits = |e: &Value| {
        e["status"]["message"].as_str().is_some_and(|m| m.contains("`judge` does not exist"))
    };
    stage.then("the Experiment names what it lacks", "Experiment", "side", waits).await?;
    ensure!(all(&stage, "ReplicaSet").await?.is_empty(), "Pods start before they can be judged");
    stage.scene.given(&oracle.template()).await?;
    then_side_is(&stage, "Running").await?;
    stage.then_laws_held().await
}

pub(crate) async fn a_required_analysis_ends_an_experiment_early(bed: Arc<Bed>) -> Result<()> {
    let stage = Stage::new(bed, "side-early").await?;
    let oracle = Oracle::start(Some(0.0)).await?;
    stage.scene.given(&oracle.template()).await?;
    let required = "  duration: 1h\n  analyses: [{name: check, templateName: judge, requiredForCompletion: true}]";
    stage.scene.given(&side(required)).await?;

    let ended = then_side_is(&stage, "Successful").await?;
    let run = &ended["status"]["analysisRuns"][0];
    ensure!(run["phase"] == "Successful" && run["analysisRun"] == "side-check", "run: {run}");
    then_versions_are_gone(&stage).await?;
    stage.then_laws_held().await
}

pub(crate) async fn a_failing_analysis_takes_the_versions_away(bed: Arc<Bed>) -> Result<()> {
    let stage = Stage::new(bed, "side-fails").await?;
    let oracle = Oracle::start(Some(1.0)).await?;
    stage.scene.given(&oracle.template()).await?;
    stage.scene.given(&side(WITH_ANALYSIS)).await?;

    let ended = then_side_is(&stage, "Failed").await?;
    let message = ended["status"]["message"].as_str().unwrap_or_default();
    ensure!(message.contains("check") && message.contains("errors"), "message: {message}");
    then_versions_are_gone(&stage).await?;
    stage.then_laws_held().await
}

pub(crate) async fn who_terminates_an_experiment_leaves_nothing_running(
    bed: Arc<Bed>,
) -> Result<()> {
    let stage = Stage::new(bed, "side-ends").await?;
    let oracle = Oracle::silent().await?;
    stage.scene.given(&oracle.template()).await?;
    stage.scene.given(&side(WITH_ANALYSIS)).await?;
    then_side_is(&stage, "Running").await?;
    until("the analysis has begun", LONG, || async {
        Ok((all(&stage, "AnalysisRun").await?.len() == 1).then_some(()))
    })
    .await?;

    let end = json!([{ "op": "add", "path": "/spec/terminate", "value": true }]);
    stage.patch("Experiment", "side", &end).await?;
    then_versions_are_gone(&stage).await?;
    then_side_is(&stage, "Successful").await?;
    let run = stage.see("AnalysisRun", "side-check").await?;
    ensure!(run["spec"]["terminate"] == true, "the analysis goes on: {}", run["spec"]);
    stage.then_laws_held().await
}

pub(crate) async fn a_version_that_cannot_start_fails_its_experiment(bed: Arc<Bed>) -> Result<()> {
    let stage = Stage::new(bed, "side-stuck").await?;
    let broken = side("  progressDeadlineSeconds: 5").replace("demo:v2", "does-not-exist:1");
    stage.scene.given(&broken).await?;

    let ended = then_side_is(&stage, "Failed").await?;
    let message = ended["status"]["message"].as_str().unwrap_or_default();
    ensure!(message.contains("'new' exceeded its progressDeadlineSeconds"), "message: {message}");
    then_versions_are_gone(&stage).await?;
    stage.then_laws_held().await
}

pub(crate) async fn an_invalid_experiment_says_so_and_starts_nothing(bed: Arc<Bed>) -> Result<()> {
    let stage = Stage::new(bed, "side-invalid").await?;
    let twice = side("  duration: 1s").replace("name: new", "name: old");
    stage.scene.given(&twice).await?;

    let invalid = |e: &Value| {
        let conditions = e["status"]["conditions"].as_array();
        conditions
            .into_iter()
            .flatten()
            .any(|c| c["type"] == "InvalidSpec" && c["status"] == "True")
    };
    let told = stage.then("the spec is told to be invalid", "Experiment", "side", invalid).await?;
    let message = told["status"]["conditions"][0]["message"].as_str().unwrap_or_default();
    ensure!(message.contains("spec.templates[1].name"), "message: {message}");
    ensure!(all(&stage, "ReplicaSet").await?.is_empty(), "it was begun");
    Ok(())
}

pub(crate) async fn a_finished_experiment_costs_no_write(bed: Arc<Bed>) -> Result<()> {
    let stage = Stage::new(bed, "side-idle").await?;
    stage.scene.given(&side("  duration: 1s")).await?;
    then_side_is(&stage, "Successful").await?;
    then_versions_are_gone(&stage).await?;
    let gone = |e: &Value| {
        let versions = e["status"]["templateStatuses"].as_array();
        versions.into_iter().flatten().all(|v| v["replicas"] == 0 && v["serviceName"].is_null())
    };
    stage.then("all is recorded", "Experiment", "side", gone).await?;

    let since = Utc::now();
    until("ten quiet seconds", LONG, || async {
        Ok((Utc::now() - since >= chrono::Duration::seconds(10)).then_some(()))
    })
    .await?;
    // Events tell late of what was before.
    let writes = stage.writes(since)?.into_iter().map(|write| write.uri);
    let writes: Vec<_> = writes.filter(|uri| !uri.contains("/events?")).collect();
    ensure!(writes.is_empty(), "an experiment that is over was written: {writes:?}");
    stage.then_laws_held().await
}

const STEPS: &str = "[{setWeight: 20}, {experiment: {scaleDownDelaySeconds: 1, \
    templates: [{name: baseline, specRef: stable, metadata: {labels: {role: baseline}}}, \
    {name: candidate, specRef: canary, metadata: {labels: {role: candidate}}}], \
    analyses: [{name: errors, templateName: judge, requiredForCompletion: true}]}}, {setWeight: 60}]";

/// A canary that is about to be judged by an experiment, with the answer to its question.
async fn given_step(
    bed: Arc<Bed>,
    namespace: &str,
    answer: Option<f64>,
) -> Result<(Stage, Oracle)> {
    let stage = Stage::new(bed, namespace).await?;
    let oracle = match answer {
        Some(value) => Oracle::start(Some(value)).await?,
        None => Oracle::silent().await?,
    };
    stage.scene.given(&oracle.template()).await?;
    stage.given_web(&Web::new(Router::Hosts, STEPS), "demo:v1").await?;
    stage.when_image_is("web", "demo:v2").await?;
    Ok((stage, oracle))
}

pub(crate) async fn an_experiment_step_lets_a_good_canary_go_on(bed: Arc<Bed>) -> Result<()> {
    let (stage, _oracle) = given_step(bed, "trial-good", Some(0.0)).await?;

    stage.then_healthy("web", "demo:v2").await?;
    let weights = stage.weights("web", stage.since).await?;
    ensure!(weights == [20, 60, 100, 0], "the weights were {weights:?}");
    let experiments = all(&stage, "Experiment").await?;
    let [experiment] = experiments.as_slice() else {
        anyhow::bail!("{} experiments", experiments.len())
    };
    ensure!(experiment["status"]["phase"] == "Successful", "{}", experiment["status"]);
    let images: Vec<&Value> = experiment["spec"]["templates"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|version| &version["template"]["spec"]["containers"][0]["image"])
        .collect();
    ensure!(images == ["demo:v1", "demo:v2"], "the versions ran {images:?}");
    then_versions_are_gone(&stage).await?;
    let rollout = stage.see("Rollout", "web").await?;
    let current = &rollout["status"]["canary"]["currentExperiment"];
    ensure!(current.is_null(), "the step was left, and the status names {current}");
    stage.then_laws_held().await
}

pub(crate) async fn an_experiment_step_that_fails_takes_the_weight_first(
    bed: Arc<Bed>,
) -> Result<()> {
    let (stage, _oracle) = given_step(bed, "trial-bad", Some(1.0)).await?;

    stage.then_phase("web", "Degraded").await?;
    let weights = stage.weights("web", stage.since).await?;
    ensure!(weights == [20, 0], "the weights were {weights:?}");
    let rollout = stage.see("Rollout", "web").await?;
    let message = rollout["status"]["message"].as_str().unwrap_or_default();
    ensure!(message.contains("Experiment") && message.contains("errors"), "message: {message}");
    then_versions_are_gone(&stage).await?;
    stage.then_laws_held().await
}

pub(crate) async fn an_experiment_step_without_a_verdict_asks_a_person(
    bed: Arc<Bed>,
) -> Result<()> {
    let (stage, oracle) = given_step(bed, "trial-unsure", Some(0.3)).await?;

    let paused = stage.then_phase("web", "Paused").await?;
    let reason = &paused["status"]["pauseConditions"][0]["reason"];
    ensure!(reason == "InconclusiveExperiment", "paused for {reason}");
    stage.then_weight("web", 20).await?;
    oracle.say(Some(0.0));
    stage.when_user_says(&["promote", "web"]).await?;
    stage.then_healthy("web", "demo:v2").await?;

    let mut phases: Vec<String> = all(&stage, "Experiment")
        .await?
        .iter()
        .map(|e| e["status"]["phase"].as_str().unwrap_or_default().to_owned())
        .collect();
    phases.sort();
    ensure!(phases == ["Inconclusive", "Successful"], "the experiments were {phases:?}");
    stage.then_laws_held().await
}

pub(crate) async fn an_abort_ends_the_experiment_of_its_step(bed: Arc<Bed>) -> Result<()> {
    let (stage, _oracle) = given_step(bed, "trial-abort", None).await?;
    until("an experiment runs", LONG, || async {
        let experiments = all(&stage, "Experiment").await?;
        Ok(experiments.iter().any(has_phase("Running")).then_some(()))
    })
    .await?;

    stage.when_user_says(&["abort", "web"]).await?;
    stage.then_weight("web", 0).await?;
    stage.then_phase("web", "Degraded").await?;
    let experiment = all(&stage, "Experiment").await?.pop().context("no experiment")?;
    let ended = |e: &Value| e["spec"]["terminate"] == true;
    stage.then("the experiment is ended", "Experiment", name(&experiment), ended).await?;
    then_versions_are_gone(&stage).await?;
    tokio::time::timeout(Duration::from_secs(10), stage.then_weight("web", 0)).await??;
    let route = stage.see("VirtualService", "web").await?;
    ensure!(canary_weight(&route) == 0, "the weight came back");
    stage.then_laws_held().await
}
