//! A blue-green update on its way, and what its user does meanwhile.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, Utc};
use kube::api::ListParams;
use serde_json::{Value, json};
use sluice_e2e::{
    bed::{Bed, process::until},
    load::{Load, Record},
    oracle::Oracle,
    recorder::Revision,
    stage::{LONG, Stage, api, image_of, is_phase},
};

const MANUAL: &str = "autoPromotionEnabled: false";
const PRE: &str = "prePromotionAnalysis: {templates: [{templateName: judge}]}";
const POST: &str = "postPromotionAnalysis: {templates: [{templateName: judge}]}";
const HASH: &str = "rollouts-pod-template-hash";

/// A Rollout `web` of two Pods; `fields` are those of its strategy beside the Services, `spec` further ones of the spec.
fn manifest(fields: &[&str], spec: &[&str]) -> String {
    let lines = |indent: &str, all: &[&str]| -> String {
        all.iter().map(|line| format!("{indent}{line}\n")).collect()
    };
    let service = |name: &str| {
        format!(
            "
---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  selector: {{app: web}}
  ports: [{{name: http, port: 80, targetPort: 8080}}]
"
        )
    };
    format!(
        "
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {{name: web}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: web}}}}
{spec}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      containers:
        - name: app
          image: demo:v1
          ports: [{{name: http, containerPort: 8080}}]
          readinessProbe: {{httpGet: {{path: /healthz, port: 8080}}, periodSeconds: 1}}
          lifecycle: {{preStop: {{sleep: {{seconds: 2}}}}}}
  strategy:
    blueGreen:
      activeService: web-active
      previewService: web-preview
{fields}
{active}{preview}",
        spec = lines("  ", spec),
        fields = lines("      ", fields),
        active = service("web-active"),
        preview = service("web-preview"),
    )
}

/// Version 1 serves, and the gateway answers with it.
async fn given(bed: Arc<Bed>, namespace: &str, fields: &[&str], spec: &[&str]) -> Result<Stage> {
    let stage = Stage::new(bed, namespace).await?;
    given_on(&stage, fields, spec).await?;
    Ok(stage)
}

async fn given_on(stage: &Stage, fields: &[&str], spec: &[&str]) -> Result<()> {
    stage.scene.given(&manifest(fields, spec)).await.context("given")?;
    stage.then_healthy("web", "demo:v1").await?;
    stage.scene.given_route(&[("web-active", 100)]).await?;
    stage.scene.then_routed(&[("web-active", 100)]).await
}

/// Version 1 serves; an oracle that says `value` judges what comes.
async fn given_judged(
    bed: Arc<Bed>,
    namespace: &str,
    fields: &[&str],
    value: f64,
) -> Result<(Stage, Oracle)> {
    let stage = Stage::new(bed, namespace).await?;
    let oracle = Oracle::start(Some(value)).await?;
    stage.scene.given(&oracle.template()).await?;
    given_on(&stage, fields, &[]).await?;
    Ok((stage, oracle))
}

/// Hash of the ReplicaSet with the image.
async fn hash_of(stage: &Stage, image: &str) -> Result<String> {
    let sets = api(&stage.scene.bed, "ReplicaSet", &stage.scene.namespace);
    for set in sets.list(&ListParams::default()).await? {
        let set = serde_json::to_value(set)?;
        if image_of(&set) == image {
            let hash = set["metadata"]["labels"][HASH].as_str().context("a set without hash")?;
            return Ok(hash.to_owned());
        }
    }
    anyhow::bail!("no ReplicaSet has the image {image}")
}

async fn set_of(stage: &Stage, image: &str) -> Result<Value> {
    let hash = hash_of(stage, image).await?;
    stage.see("ReplicaSet", &format!("web-{hash}")).await
}

/// Waits until the Service selects the version.
async fn then_selects(stage: &Stage, service: &str, image: &str) -> Result<()> {
    let what = format!("{}: {service} selects {image}", stage.scene.namespace);
    until(&what, LONG, || async {
        let hash = match hash_of(stage, image).await {
            Ok(hash) => hash,
            Err(_) => return Ok(None),
        };
        let found = stage.scene.get("v1", "Service", service).await?;
        Ok((found["spec"]["selector"][HASH] == hash.as_str()).then_some(()))
    })
    .await
}

/// What the Service selected since the instant, each version once in a row.
async fn selected(stage: &Stage, service: &str, since: DateTime<Utc>) -> Result<Vec<String>> {
    let now = stage.scene.get("v1", "Service", service).await?;
    let version = now["metadata"]["resourceVersion"].as_str().unwrap_or_default();
    stage.scene.bed.recorder.caught_up("Service", service, version).await?;
    let mut all: Vec<String> = Vec::new();
    for revision in stage.scene.bed.recorder.history(&stage.scene.namespace)? {
        if revision.kind == "Service" && revision.name == service && revision.seen >= since {
            let hash = revision.object["spec"]["selector"][HASH].as_str().unwrap_or_default();
            if all.last().is_none_or(|last| last != hash) {
                all.push(hash.to_owned());
            }
        }
    }
    Ok(all)
}

/// Reasons of the Events about the Rollout.
async fn reasons(stage: &Stage) -> Result<BTreeSet<String>> {
    let api: kube::Api<k8s_openapi::api::core::v1::Event> =
        kube::Api::namespaced(stage.scene.bed.admin.clone(), &stage.scene.namespace);
    let all = api.list(&ListParams::default()).await?;
    let about = all.into_iter().filter(|e| e.involved_object.kind.as_deref() == Some("Rollout"));
    Ok(about.filter_map(|event| event.reason).collect())
}

async fn then_heard(stage: &Stage, wanted: &[&str]) -> Result<()> {
    until("the Events are there", LONG, || async {
        let heard = reasons(stage).await?;
        Ok(wanted.iter().all(|reason| heard.contains(*reason)).then_some(()))
    })
    .await
    .with_context(|| format!("wanted {wanted:?}"))
}

/// Waits until so many more requests were answered.
async fn after_requests(load: &Load, count: usize) -> Result<Record> {
    let from = Utc::now();
    until("requests", LONG, || async {
        let part = load.record().between(from, Utc::now());
        Ok((part.total() >= count).then_some(part))
    })
    .await
}

fn all_by(record: &Record, version: &str) -> Result<()> {
    ensure!(record.served_by(version) == record.total(), "{version}: {:?}", record.by_version());
    Ok(())
}

/// Everything that was recorded, in the order of the API server.
fn in_order(stage: &Stage) -> Result<Vec<(u64, Revision)>> {
    let history = stage.scene.bed.recorder.history(&stage.scene.namespace)?;
    let number = |revision: &Revision| revision.resource_version.parse::<u64>().unwrap_or(0);
    let mut all: Vec<_> = history.into_iter().map(|r| (number(&r), r)).collect();
    all.sort_by_key(|(number, _)| *number);
    Ok(all)
}

/// The abort is on record only after users were sent back to the version.
async fn users_before_record(stage: &Stage, back: &str) -> Result<()> {
    stage.caught_up("Rollout", "web").await?;
    selected(stage, "web-active", stage.since).await?;
    let hash = hash_of(stage, back).await?;
    let all = in_order(stage)?;
    let recorded = all
        .iter()
        .find(|(_, r)| r.kind == "Rollout" && r.object["status"]["abortedAt"].is_string());
    let recorded = recorded.context("no abort is on record")?.0;
    let users = all
        .iter()
        .rev()
        .find(|(number, r)| *number < recorded && r.kind == "Service" && r.name == "web-active");
    let users = &users.context("the active Service was not seen")?.1.object["spec"]["selector"];
    ensure!(users[HASH] == hash.as_str(), "when the abort was recorded, users were with {users}");
    Ok(())
}

pub(crate) async fn a_blue_green_update_waits_for_a_word_and_fails_no_request(
    bed: Arc<Bed>,
) -> Result<()> {
    let stage = given(bed, "bg-word", &[MANUAL], &[]).await?;
    let load = stage.scene.when_load_runs(stage.scene.load(50.0));

    stage.when_image_is("web", "demo:v2").await?;
    let paused = stage.then_phase("web", "Paused").await?;
    ensure!(paused["status"]["message"] == "BlueGreenPause", "{:#}", paused["status"]);
    then_selects(&stage, "web-preview", "demo:v2").await?;
    all_by(&after_requests(&load, 100).await?, "v1")?;
    stage.when_user_says(&["promote", "web"]).await?;
    let done = stage.then_healthy("web", "demo:v2").await?;
    then_selects(&stage, "web-active", "demo:v2").await?;
    until("users reach version 2", LONG, || async {
        let record = load.record();
        Ok(record.samples.last().is_some_and(|s| s.version.as_deref() == Some("v2")).then_some(()))
    })
    .await?;
    all_by(&after_requests(&load, 100).await?, "v2")?;
    let record = load.stop().await;

    ensure!(record.failed() == 0, "failed requests: {:?}", record.by_version());
    let own = &done["status"]["blueGreen"];
    ensure!(own["activeSelector"] == done["status"]["stableRS"], "{own}");
    ensure!(own["previewSelector"] == own["activeSelector"], "{own}");
    let events = ["RolloutPaused", "SwitchService", "RolloutResumed", "RolloutCompleted"];
    then_heard(&stage, &events).await?;
    let old = set_of(&stage, "demo:v1").await?;
    ensure!(old["spec"]["replicas"] == 2, "the old version went at once: {:#}", old["spec"]);
    stage.then_laws_held().await
}

pub(crate) async fn a_blue_green_update_promotes_itself_after_its_time(
    bed: Arc<Bed>,
) -> Result<()> {
    let fields = ["autoPromotionSeconds: 4", "scaleDownDelaySeconds: 3"];
    let stage = given(bed, "bg-timed", &fields, &[]).await?;
    stage.when_image_is("web", "demo:v2").await?;
    let paused = stage.then_phase("web", "Paused").await?;
    let start = paused["status"]["pauseConditions"][0]["startTime"].as_str().unwrap_or_default();
    let start = DateTime::parse_from_rfc3339(start)?.to_utc();
    then_selects(&stage, "web-active", "demo:v2").await?;
    ensure!(Utc::now() - start >= chrono::Duration::seconds(4), "switched before its time");
    stage.then_healthy("web", "demo:v2").await?;

    let hash = hash_of(&stage, "demo:v1").await?;
    let gone = |set: &Value| set["spec"]["replicas"] == 0;
    stage.then("the old version goes", "ReplicaSet", &format!("web-{hash}"), gone).await?;
    stage.then_laws_held().await
}

pub(crate) async fn a_preview_of_one_pod_is_whole_before_users_come(bed: Arc<Bed>) -> Result<()> {
    let stage = given(bed, "bg-one", &[MANUAL, "previewReplicaCount: 1"], &[]).await?;
    stage.when_image_is("web", "demo:v2").await?;
    stage.then_phase("web", "Paused").await?;
    let preview = set_of(&stage, "demo:v2").await?;
    ensure!(preview["spec"]["replicas"] == 1, "the preview wants {}", preview["spec"]["replicas"]);
    stage.when_user_says(&["promote", "web"]).await?;
    stage.then_healthy("web", "demo:v2").await?;
    selected(&stage, "web-active", stage.since).await?;

    let hash = hash_of(&stage, "demo:v2").await?;
    let mut available = Value::Null;
    for (_, revision) in in_order(&stage)? {
        match (revision.kind.as_str(), revision.name.as_str()) {
            ("ReplicaSet", name) if name == format!("web-{hash}") => {
                available = revision.object["status"]["availableReplicas"].clone();
            }
            ("Service", "web-active")
                if revision.object["spec"]["selector"][HASH] == hash.as_str() =>
            {
                ensure!(available == 2, "users came to {available} available Pods");
            }
            _ => {}
        }
    }
    stage.then_laws_held().await
}

pub(crate) async fn the_first_version_needs_no_word_and_no_verdict(bed: Arc<Bed>) -> Result<()> {
    let fields = [MANUAL, PRE, POST, "previewReplicaCount: 1"];
    let (stage, oracle) = given_judged(bed, "bg-first", &fields, 1.0).await?;

    ensure!(oracle.questions() == 0, "the first version was judged");
    let set = set_of(&stage, "demo:v1").await?;
    ensure!(set["status"]["availableReplicas"] == 2, "{:#}", set["status"]);
    then_selects(&stage, "web-preview", "demo:v1").await?;
    stage.then_laws_held().await
}

pub(crate) async fn a_failed_pre_promotion_analysis_keeps_users_where_they_are(
    bed: Arc<Bed>,
) -> Result<()> {
    let fields = [PRE, "abortScaleDownDelaySeconds: 2"];
    let (stage, _oracle) = given_judged(bed, "bg-pre", &fields, 1.0).await?;
    let since = Utc::now();
    stage.when_image_is("web", "demo:v2").await?;
    let failed = stage.then_phase("web", "Degraded").await?;

    let message = failed["status"]["message"].as_str().unwrap_or_default();
    ensure!(message.contains("Pre-promotion analysis"), "{message}");
    let run = &failed["status"]["blueGreen"]["prePromotionAnalysisRunStatus"];
    ensure!(run["status"] == "Failed", "{run}");
    ensure!(run["name"].as_str().is_some_and(|name| name.ends_with("-2-pre")), "{run}");
    let hash = hash_of(&stage, "demo:v2").await?;
    let gone = |set: &Value| set["spec"]["replicas"] == 0;
    stage.then("the preview goes", "ReplicaSet", &format!("web-{hash}"), gone).await?;
    let users = selected(&stage, "web-active", since).await?;
    ensure!(!users.contains(&hash), "users were with {users:?}");
    stage.then_laws_held().await
}

pub(crate) async fn an_inconclusive_pre_promotion_analysis_waits_for_a_person(
    bed: Arc<Bed>,
) -> Result<()> {
    let (stage, oracle) = given_judged(bed, "bg-unsure", &[PRE], 0.3).await?;
    stage.when_image_is("web", "demo:v2").await?;
    let paused = stage.then_phase("web", "Paused").await?;
    ensure!(paused["status"]["message"] == "InconclusiveAnalysisRun", "{:#}", paused["status"]);
    then_selects(&stage, "web-active", "demo:v1").await?;

    oracle.say(Some(0.0));
    stage.when_user_says(&["promote", "web"]).await?;
    stage.then_healthy("web", "demo:v2").await?;
    stage.then_laws_held().await
}

pub(crate) async fn a_failed_post_promotion_analysis_is_answered_by_the_switch_first(
    bed: Arc<Bed>,
) -> Result<()> {
    let (stage, oracle) = given_judged(bed, "bg-post", &[POST], 0.0).await?;
    oracle.be_silent();
    stage.when_image_is("web", "demo:v2").await?;
    then_selects(&stage, "web-active", "demo:v2").await?;
    until("a question", LONG, || async { Ok((oracle.questions() >= 1).then_some(())) }).await?;
    let load = stage.scene.when_load_runs(stage.scene.load(50.0));
    oracle.say(Some(1.0));
    let failed = stage.then_phase("web", "Degraded").await?;

    users_before_record(&stage, "demo:v1").await?;
    let message = failed["status"]["message"].as_str().unwrap_or_default();
    ensure!(message.contains("Post-promotion analysis"), "{message}");
    then_selects(&stage, "web-active", "demo:v1").await?;
    until("users reach version 1", LONG, || async {
        let record = load.record();
        Ok(record.samples.last().is_some_and(|s| s.version.as_deref() == Some("v1")).then_some(()))
    })
    .await?;
    all_by(&after_requests(&load, 100).await?, "v1")?;
    let record = load.stop().await;
    ensure!(record.failed() == 0, "failed requests: {:?}", record.by_version());
    stage.then_laws_held().await
}

pub(crate) async fn a_good_post_promotion_analysis_makes_the_version_stable(
    bed: Arc<Bed>,
) -> Result<()> {
    let (stage, oracle) = given_judged(bed, "bg-good", &[POST], 0.0).await?;
    oracle.be_silent();
    stage.when_image_is("web", "demo:v2").await?;
    then_selects(&stage, "web-active", "demo:v2").await?;
    let waits = |r: &Value| r["status"]["message"] == "waiting for analysis to complete";
    let judged = stage.then("it is judged", "Rollout", "web", waits).await?;
    ensure!(
        judged["status"]["stableRS"] == hash_of(&stage, "demo:v1").await?.as_str(),
        "too early"
    );
    oracle.say(Some(0.0));
    let done = stage.then_healthy("web", "demo:v2").await?;

    let run = &done["status"]["blueGreen"]["postPromotionAnalysisRunStatus"];
    ensure!(run["status"] == "Successful", "{run}");
    stage.then_laws_held().await
}

pub(crate) async fn an_abort_in_the_pause_moves_nobody(bed: Arc<Bed>) -> Result<()> {
    let fields = [MANUAL, "abortScaleDownDelaySeconds: 2"];
    let stage = given(bed, "bg-pause", &fields, &[]).await?;
    let load = stage.scene.when_load_runs(stage.scene.load(50.0));
    stage.when_image_is("web", "demo:v2").await?;
    stage.then_phase("web", "Paused").await?;
    let since = Utc::now();
    stage.when_user_says(&["abort", "web"]).await?;
    stage.then_phase("web", "Degraded").await?;

    let hash = hash_of(&stage, "demo:v2").await?;
    let gone = |set: &Value| set["spec"]["replicas"] == 0;
    stage.then("the preview goes", "ReplicaSet", &format!("web-{hash}"), gone).await?;
    let users = selected(&stage, "web-active", since).await?;
    ensure!(!users.contains(&hash), "users were with {users:?}");
    let record = load.stop().await;
    all_by(&record, "v1")?;
    ensure!(record.failed() == 0, "failed requests: {:?}", record.by_version());
    stage.then_laws_held().await
}

pub(crate) async fn an_abort_takes_users_back_while_the_new_version_crashes(
    bed: Arc<Bed>,
) -> Result<()> {
    let (stage, oracle) = given_judged(bed, "bg-crash", &[POST], 0.0).await?;
    oracle.be_silent();
    // Ready while it runs, and it does not run for long; each start comes later than the one before.
    let crash = json!([
        { "op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "demo:v2" },
        { "op": "add", "path": "/spec/template/spec/containers/0/command",
            "value": ["sh", "-c", "sleep 6; exit 3"] },
        { "op": "remove", "path": "/spec/template/spec/containers/0/readinessProbe" },
    ]);
    stage.patch("Rollout", "web", &crash).await?;
    then_selects(&stage, "web-active", "demo:v2").await?;
    let hash = hash_of(&stage, "demo:v2").await?;
    let dead = |set: &Value| set["status"]["availableReplicas"].as_u64().unwrap_or(0) == 0;
    stage.then("all crash", "ReplicaSet", &format!("web-{hash}"), dead).await?;
    let since = Utc::now();
    stage.when_user_says(&["abort", "web"]).await?;
    then_selects(&stage, "web-active", "demo:v1").await?;
    let took = Utc::now() - since;

    ensure!(took < chrono::Duration::seconds(10), "it took {took}");
    users_before_record(&stage, "demo:v1").await?;
    until("version 1 answers", LONG, || async {
        let probe = stage.scene.load(100.0).count(20);
        let record = stage.scene.when_load_runs(probe).finished().await;
        Ok((record.served_by("v1") == 20).then_some(()))
    })
    .await?;
    stage.then_phase("web", "Degraded").await?;
    stage.then_laws_held().await
}

pub(crate) async fn a_retry_of_an_aborted_version_is_judged_again(bed: Arc<Bed>) -> Result<()> {
    let (stage, oracle) = given_judged(bed, "bg-retry", &[PRE], 1.0).await?;
    stage.when_image_is("web", "demo:v2").await?;
    stage.then_phase("web", "Degraded").await?;
    let asked = oracle.questions();
    oracle.say(Some(0.0));
    stage.when_user_says(&["retry", "rollout", "web"]).await?;
    let done = stage.then_healthy("web", "demo:v2").await?;

    ensure!(oracle.questions() > asked, "nobody asked again");
    let run = &done["status"]["blueGreen"]["prePromotionAnalysisRunStatus"];
    ensure!(run["name"].as_str().is_some_and(|name| name.ends_with("-pre.1")), "{run}");
    stage.then_laws_held().await
}

pub(crate) async fn going_back_within_the_scale_down_delay_starts_no_pod(
    bed: Arc<Bed>,
) -> Result<()> {
    let fields = ["scaleDownDelaySeconds: 120"];
    let stage = given(bed, "bg-delay", &fields, &[]).await?;
    stage.when_image_is("web", "demo:v2").await?;
    stage.then_healthy("web", "demo:v2").await?;
    stage.patch(
        "Rollout",
        "web",
        &json!([{ "op": "add", "path": "/spec/strategy/blueGreen/autoPromotionEnabled", "value": false }]),
    )
    .await?;
    let load = stage.scene.when_load_runs(stage.scene.load(50.0));
    let pods: kube::Api<k8s_openapi::api::core::v1::Pod> =
        kube::Api::namespaced(stage.scene.bed.admin.clone(), "bg-delay");
    let names = || async {
        let all = pods.list(&ListParams::default()).await?;
        let names = all.into_iter().filter_map(|pod| pod.metadata.name);
        Ok::<BTreeSet<String>, anyhow::Error>(names.collect())
    };
    let before = names().await?;
    ensure!(before.len() == 4, "{before:?}");
    let since = Utc::now();
    stage.when_image_is("web", "demo:v1").await?;
    let done = stage.then_healthy("web", "demo:v1").await?;
    let took = Utc::now() - since;

    ensure!(took < chrono::Duration::seconds(15), "it took {took}");
    let after = names().await?;
    ensure!(after == before, "Pods were {before:?}, and are {after:?}");
    let completion = &done["status"]["duration"]["completionStatus"];
    ensure!(*completion == "FastRolledBack", "{completion}");
    let record = load.stop().await;
    ensure!(record.failed() == 0, "failed requests: {:?}", record.by_version());
    stage.then_laws_held().await
}

pub(crate) async fn going_back_to_stable_after_the_switch_needs_no_word(
    bed: Arc<Bed>,
) -> Result<()> {
    let (stage, oracle) = given_judged(bed, "bg-back", &[MANUAL, POST], 0.0).await?;
    oracle.be_silent();
    stage.when_image_is("web", "demo:v2").await?;
    stage.then_phase("web", "Paused").await?;
    stage.when_user_says(&["promote", "web"]).await?;
    then_selects(&stage, "web-active", "demo:v2").await?;
    let load = stage.scene.when_load_runs(stage.scene.load(50.0));
    stage.when_image_is("web", "demo:v1").await?;
    stage.then_healthy("web", "demo:v1").await?;

    then_selects(&stage, "web-active", "demo:v1").await?;
    then_selects(&stage, "web-preview", "demo:v1").await?;
    let record = load.stop().await;
    ensure!(record.failed() == 0, "failed requests: {:?}", record.by_version());
    stage.then_laws_held().await
}

pub(crate) async fn replicas_that_change_in_the_pause_are_followed(bed: Arc<Bed>) -> Result<()> {
    let stage = given(bed, "bg-sizes", &[MANUAL], &[]).await?;
    stage.when_image_is("web", "demo:v2").await?;
    stage.then_phase("web", "Paused").await?;
    let size = json!([{ "op": "replace", "path": "/spec/replicas", "value": 3 }]);
    stage.patch("Rollout", "web", &size).await?;
    for image in ["demo:v1", "demo:v2"] {
        let name = format!("web-{}", hash_of(&stage, image).await?);
        let whole = |set: &Value| set["status"]["availableReplicas"] == 3;
        stage.then("it has three Pods", "ReplicaSet", &name, whole).await?;
    }
    let paused = stage.then_phase("web", "Paused").await?;
    ensure!(paused["status"]["HPAReplicas"] == 3, "{:#}", paused["status"]);
    stage.when_user_says(&["promote", "web"]).await?;
    stage.then_healthy("web", "demo:v2").await?;
    stage.then_laws_held().await
}

pub(crate) async fn full_promotion_skips_pause_and_verdict_and_waits_for_pods(
    bed: Arc<Bed>,
) -> Result<()> {
    let fields = [MANUAL, PRE, POST, "previewReplicaCount: 1"];
    let (stage, oracle) = given_judged(bed, "bg-full", &fields, 0.0).await?;
    oracle.be_silent();
    stage.when_image_is("web", "demo:v2").await?;
    until("a question", LONG, || async { Ok((oracle.questions() >= 1).then_some(())) }).await?;
    stage.when_user_says(&["promote", "web", "--full"]).await?;
    let done = stage.then_healthy("web", "demo:v2").await?;

    let completion = &done["status"]["duration"]["completionStatus"];
    ensure!(*completion == "FastPromoted", "{completion}");
    let set = set_of(&stage, "demo:v2").await?;
    ensure!(set["status"]["availableReplicas"] == 2, "{:#}", set["status"]);
    stage.then_laws_held().await
}

pub(crate) async fn a_third_version_in_the_pause_takes_the_place_of_the_second(
    bed: Arc<Bed>,
) -> Result<()> {
    let stage = given(bed, "bg-third", &[MANUAL, "scaleDownDelaySeconds: 2"], &[]).await?;
    stage.when_image_is("web", "demo:v2").await?;
    stage.then_phase("web", "Paused").await?;
    let since = Utc::now();
    stage.when_image_is("web", "demo:v3").await?;
    let paused = |r: &Value| is_phase(r, "Paused") && image_of(r) == "demo:v3";
    stage.then("the Rollout pauses with v3", "Rollout", "web", paused).await?;
    then_selects(&stage, "web-preview", "demo:v3").await?;
    let second = format!("web-{}", hash_of(&stage, "demo:v2").await?);
    let gone = |set: &Value| set["spec"]["replicas"] == 0;
    stage.then("the second goes", "ReplicaSet", &second, gone).await?;
    stage.when_user_says(&["promote", "web"]).await?;
    stage.then_healthy("web", "demo:v3").await?;

    let users = selected(&stage, "web-active", since).await?;
    let second = hash_of(&stage, "demo:v2").await?;
    ensure!(!users.contains(&second), "users were with {users:?}");
    stage.then_laws_held().await
}

pub(crate) async fn an_active_service_that_is_led_astray_is_given_back(
    bed: Arc<Bed>,
) -> Result<()> {
    let stage = given(bed, "bg-stray", &[MANUAL], &[]).await?;
    stage.when_image_is("web", "demo:v2").await?;
    stage.then_phase("web", "Paused").await?;
    let stable = hash_of(&stage, "demo:v1").await?;
    // As a foreign tool does that has a selector of its own.
    let bare = "
apiVersion: v1
kind: Service
metadata: {name: web-active}
spec:
  selector: {app: web, rollouts-pod-template-hash: nobody}
  ports: [{name: http, port: 80, targetPort: 8080}]
";
    let since = Utc::now();
    stage.scene.given(bare).await?;
    then_selects(&stage, "web-active", "demo:v1").await?;
    let users = selected(&stage, "web-active", since).await?;
    ensure!(users.last() == Some(&stable), "{users:?}");
    let rollout = stage.see("Rollout", "web").await?;
    ensure!(rollout["status"]["stableRS"] == stable.as_str(), "{:#}", rollout["status"]);
    ensure!(is_phase(&rollout, "Paused"), "{:#}", rollout["status"]);
    stage.then_laws_held().await
}

pub(crate) async fn a_preview_that_never_comes_up_is_aborted_at_its_deadline(
    bed: Arc<Bed>,
) -> Result<()> {
    let spec = ["progressDeadlineSeconds: 6", "progressDeadlineAbort: true"];
    let stage = given(bed, "bg-late", &[], &spec).await?;
    let load = stage.scene.when_load_runs(stage.scene.load(20.0));
    let since = Utc::now();
    stage.when_image_is("web", "does-not-exist:v2").await?;
    let aborted = |r: &Value| r["status"]["abort"] == true && is_phase(r, "Degraded");
    stage.then("the update is aborted", "Rollout", "web", aborted).await?;

    ensure!(Utc::now() - since >= chrono::Duration::seconds(5), "before its deadline");
    let preview = selected(&stage, "web-preview", since).await?;
    let hash = hash_of(&stage, "does-not-exist:v2").await?;
    ensure!(!preview.contains(&hash), "testers were sent to no Pod: {preview:?}");
    tokio::time::timeout(Duration::from_secs(30), after_requests(&load, 20)).await??;
    let record = load.stop().await;
    all_by(&record, "v1")?;
    stage.then_laws_held().await
}
