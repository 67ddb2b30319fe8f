//! A Rollout that takes its template from another workload, what it leaves behind, and what it tells.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, Utc};
use kube::api::{DeleteParams, ListParams, PropagationPolicy};
use serde_json::{Value, json};
use sluice_e2e::{
    bed::{Bed, http, mesh, ports, process::until},
    stage::{LONG, Router, Stage, Web, api, is_phase},
};

const HOLD: &str = "[{setWeight: 20}, {pause: {}}, {setWeight: 60}, {pause: {duration: 1s}}]";

/// A Pod template as a user writes it, indented by `indent`.
fn template(image: &str, indent: usize) -> String {
    let text = format!(
        "
template:
  metadata: {{labels: {{app: web}}}}
  spec:
    containers:
      - name: app
        image: {image}
        ports: [{{name: http, containerPort: 8080}}]
        readinessProbe: {{httpGet: {{path: /healthz, port: 8080}}, periodSeconds: 1}}
        lifecycle: {{preStop: {{sleep: {{seconds: 2}}}}}}"
    );
    let indent = " ".repeat(indent);
    text.lines().filter(|line| !line.is_empty()).map(|line| format!("{indent}{line}\n")).collect()
}

fn deployment(image: &str, replicas: u32) -> String {
    format!(
        "
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: source}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: web}}}}
{}",
        template(image, 2)
    )
}

/// A Rollout `web` of three Pods that refers to `source`, routed by host.
fn referring(api_version: &str, kind: &str, scale_down: &str) -> String {
    format!(
        "
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {{name: web}}
spec:
  replicas: 3
  selector: {{matchLabels: {{app: web}}}}
  workloadRef: {{apiVersion: {api_version}, kind: {kind}, name: source, scaleDown: {scale_down}}}
  strategy:
    canary:
      canaryService: web-canary
      stableService: web-stable
      trafficRouting: {{istio: {{virtualService: {{name: web, routes: [primary]}}}}}}
      steps: {HOLD}
"
    )
}

fn surroundings() -> String {
    Web::new(Router::Hosts, HOLD).surroundings()
}

async fn set_image(stage: &Stage, kind: &str, path: &str, image: &str) -> Result<()> {
    let path = format!("{path}/spec/containers/0/image");
    stage.patch(kind, "source", &json!([{ "op": "replace", "path": path, "value": image }])).await
}

async fn then_stable(stage: &Stage, image: &str) -> Result<Value> {
    let rollout = stage.then("the Rollout is healthy", "Rollout", "web", |r| {
        is_phase(r, "Healthy") && r["status"]["stableRS"] == r["status"]["currentPodHash"]
    });
    let rollout = rollout.await?;
    let hash = rollout["status"]["stableRS"].as_str().unwrap_or_default();
    let set = stage.see("ReplicaSet", &format!("web-{hash}")).await?;
    let found = &set["spec"]["template"]["spec"]["containers"][0]["image"];
    ensure!(found == image, "{}: the stable image is {found}", stage.scene.namespace);
    Ok(rollout)
}

async fn size(stage: &Stage) -> Result<i64> {
    Ok(stage.see("Deployment", "source").await?["spec"]["replicas"].as_i64().unwrap_or(-1))
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

pub(crate) async fn a_change_of_a_deployment_goes_through_the_steps_of_its_rollout(
    bed: Arc<Bed>,
) -> Result<()> {
    let stage = Stage::new(bed, "ref-change").await?;
    let text = referring("apps/v1", "Deployment", "never") + &deployment("demo:v1", 0);
    stage.scene.given(&(text + &surroundings())).await?;
    let rollout = then_stable(&stage, "demo:v1").await?;
    ensure!(rollout["spec"]["template"].is_null(), "the template was copied");

    set_image(&stage, "Deployment", "/spec/template", "demo:v2").await?;
    stage.then_weight("web", 20).await?;
    let paused = stage.then_phase("web", "Paused").await?;
    let generation = stage.see("Deployment", "source").await?["metadata"]["generation"].to_string();
    ensure!(paused["status"]["workloadObservedGeneration"] == generation.as_str(), "{paused:#}");
    let note = &paused["metadata"]["annotations"]["rollout.argoproj.io/workload-generation"];
    ensure!(note == generation.as_str(), "the annotation is {note}");
    stage.when_user_says(&["promote", "web"]).await?;
    then_stable(&stage, "demo:v2").await?;
    ensure!(size(&stage).await? == 0, "`never` scales nothing");
    stage.then_laws_held().await
}

pub(crate) async fn a_pod_template_is_a_workload_too(bed: Arc<Bed>) -> Result<()> {
    let stage = Stage::new(bed, "ref-template").await?;
    let workload = format!(
        "
---
apiVersion: v1
kind: PodTemplate
metadata: {{name: source}}
{}",
        template("demo:v1", 0)
    );
    let text = referring("v1", "PodTemplate", "never") + &workload;
    stage.scene.given(&(text + &surroundings())).await?;
    then_stable(&stage, "demo:v1").await?;

    set_image(&stage, "PodTemplate", "/template", "demo:v2").await?;
    stage.then_phase("web", "Paused").await?;
    stage.when_user_says(&["promote", "web", "--full"]).await?;
    then_stable(&stage, "demo:v2").await?;
    stage.then_laws_held().await
}

pub(crate) async fn a_deployment_gives_way_to_a_rollout_and_no_request_fails(
    bed: Arc<Bed>,
) -> Result<()> {
    let stage = Stage::new(bed, "ref-progress").await?;
    stage.scene.given(&(deployment("demo:v1", 3) + &surroundings())).await?;
    let ready = |d: &Value| d["status"]["availableReplicas"] == 3;
    stage.then("the Deployment serves", "Deployment", "source", ready).await?;
    stage.scene.then_routed(&[("web-stable", 100)]).await?;
    answered(&stage).await?;
    let load = stage.scene.when_load_runs(stage.scene.load(50.0));

    stage.scene.given(&referring("apps/v1", "Deployment", "progressively")).await?;
    then_stable(&stage, "demo:v1").await?;
    let gone = |d: &Value| {
        d["spec"]["replicas"] == 0 && d["status"]["replicas"].as_i64().unwrap_or(0) == 0
    };
    stage.then("the Deployment has gone", "Deployment", "source", gone).await?;
    let done = Utc::now();
    until("200 requests after that", LONG, || async {
        Ok((load.record().between(done, Utc::now()).total() >= 200).then_some(()))
    })
    .await?;
    let record = load.stop().await;

    ensure!(record.failed() == 0, "failed requests: {:?}", record.by_version());
    stage.caught_up("Deployment", "source").await?;
    let history = stage.scene.bed.recorder.history("ref-progress")?;
    let sizes: Vec<i64> = history
        .iter()
        .filter(|r| r.kind == "Deployment")
        .filter_map(|r| r.object["spec"]["replicas"].as_i64())
        .collect();
    ensure!(sizes.windows(2).all(|two| two[1] <= two[0]), "it grew again: {sizes:?}");
    stage.then_laws_held().await
}

pub(crate) async fn a_deployment_stays_until_the_rollout_is_healthy(bed: Arc<Bed>) -> Result<()> {
    let stage = Stage::new(bed, "ref-success").await?;
    let text = referring("apps/v1", "Deployment", "onsuccess") + &deployment("demo:v1", 3);
    stage.scene.given(&(text + &surroundings())).await?;
    then_stable(&stage, "demo:v1").await?;
    stage.then("it is scaled down", "Deployment", "source", |d| d["spec"]["replicas"] == 0).await?;

    stage.caught_up("Deployment", "source").await?;
    let history = stage.scene.bed.recorder.history("ref-success")?;
    let healthy = history.iter().find(|r| r.kind == "Rollout" && is_phase(&r.object, "Healthy"));
    let healthy = healthy.context("it was never Healthy")?.resource_version.parse::<u64>()?;
    for revision in history.iter().filter(|r| r.kind == "Deployment") {
        let size = revision.object["spec"]["replicas"].as_i64();
        let before = revision.resource_version.parse::<u64>()? < healthy;
        ensure!(size == Some(3) || (size == Some(0) && !before), "{size:?} before it was Healthy");
    }
    // Its second version is none of the Deployment's business.
    stage.patch("Deployment", "source", &json!([
        { "op": "replace", "path": "/spec/replicas", "value": 1 },
        { "op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "demo:v2" },
    ])).await?;
    stage.then_phase("web", "Paused").await?;
    stage.when_user_says(&["promote", "web", "--full"]).await?;
    then_stable(&stage, "demo:v2").await?;
    stage.then_laws_held().await
}

pub(crate) async fn a_missing_workload_is_named_and_waited_for(bed: Arc<Bed>) -> Result<()> {
    let stage = Stage::new(bed, "ref-missing").await?;
    let text = referring("apps/v1", "Deployment", "never");
    stage.scene.given(&(text + &surroundings())).await?;
    let degraded = stage.then_phase("web", "Degraded").await?;
    let message = degraded["status"]["message"].as_str().unwrap_or_default();
    ensure!(message.contains("Deployment ref-missing/source not found"), "{message}");

    stage.scene.given(&deployment("demo:v1", 0)).await?;
    then_stable(&stage, "demo:v1").await?;
    stage.then_laws_held().await
}

pub(crate) async fn an_update_is_aborted_although_its_workload_is_gone(
    bed: Arc<Bed>,
) -> Result<()> {
    let stage = Stage::new(bed, "ref-gone").await?;
    let text = referring("apps/v1", "Deployment", "never") + &deployment("demo:v1", 0);
    stage.scene.given(&(text + &surroundings())).await?;
    then_stable(&stage, "demo:v1").await?;
    set_image(&stage, "Deployment", "/spec/template", "demo:v2").await?;
    stage.then_weight("web", 20).await?;
    stage.then_phase("web", "Paused").await?;

    let deployments = api(&stage.scene.bed, "Deployment", "ref-gone");
    deployments.delete("source", &DeleteParams::default()).await?;
    stage.then_phase("web", "Degraded").await?;
    stage.then_weight("web", 20).await?;
    stage.when_user_says(&["abort", "web"]).await?;
    stage.then_weight("web", 0).await?;
    stage.then_laws_held().await
}

pub(crate) async fn syncs_leave_the_size_of_a_deployment_that_gave_way(
    bed: Arc<Bed>,
) -> Result<()> {
    let repository = bed.git.create("ref-git").await?;
    let stage = Stage::new(bed, "ref-git").await?;
    let text = |text: String| {
        text.replace("$HOST", &stage.scene.host)
            .replace("$GATEWAY_PORT", &ports::GATEWAY.to_string())
    };
    let all = text(referring("apps/v1", "Deployment", "progressively") + &deployment("demo:v1", 3));
    let rest = text(surroundings());
    let files = [("app/web.yaml", Some(all.as_str())), ("app/rest.yaml", Some(rest.as_str()))];
    repository.push("first", &files).await?;
    stage.given_application(&repository, &json!({ "prune": true, "selfHeal": true })).await?;
    until("the Rollout is there", LONG, || async {
        Ok(stage.see("Rollout", "web").await.is_ok().then_some(()))
    })
    .await?;
    then_stable(&stage, "demo:v1").await?;
    stage.then("it gave way", "Deployment", "source", |d| d["spec"]["replicas"] == 0).await?;
    let gave_way = stage.see("Deployment", "source").await?;

    // Git asks for another image, and still for three Pods.
    let all = all.replace("demo:v1", "demo:v2");
    let files = [("app/web.yaml", Some(all.as_str()))];
    repository.push("second", &files).await?;
    stage.then_phase("web", "Paused").await?;
    stage.when_user_says(&["promote", "web", "--full"]).await?;
    then_stable(&stage, "demo:v2").await?;

    stage.caught_up("Deployment", "source").await?;
    let since =
        gave_way["metadata"]["resourceVersion"].as_str().unwrap_or_default().parse::<u64>()?;
    for revision in stage.scene.bed.recorder.history("ref-git")? {
        if revision.kind == "Deployment" && revision.resource_version.parse::<u64>()? >= since {
            let size = &revision.object["spec"]["replicas"];
            ensure!(size == 0, "sync made it {size} at {}", revision.resource_version);
        }
    }
    stage.then_laws_held().await
}

pub(crate) async fn a_deleted_rollout_leaves_services_and_routes_serving(
    bed: Arc<Bed>,
) -> Result<()> {
    let stage = Stage::new(bed, "retired").await?;
    stage.given_web(&Web::new(Router::Hosts, HOLD), "demo:v1").await?;
    stage.when_image_is("web", "demo:v2").await?;
    stage.then_phase("web", "Paused").await?;
    stage.then_weight("web", 20).await?;
    answered(&stage).await?;
    let host = format!("{}:{}", stage.scene.host, ports::GATEWAY);
    let host = if mesh::routes(&host).await?.is_empty() { stage.scene.host.clone() } else { host };
    mesh::weights(&host, &[("web-stable", 80), ("web-canary", 20)], LONG).await?;
    let services =
        [stage.see("Service", "web-stable").await?, stage.see("Service", "web-canary").await?];
    let load = stage.scene.when_load_runs(stage.scene.load(50.0));

    let since = Utc::now();
    let rollouts = api(&stage.scene.bed, "Rollout", "retired");
    let orphan = PropagationPolicy::Orphan;
    let options = DeleteParams { propagation_policy: Some(orphan), ..DeleteParams::default() };
    rollouts.delete("web", &options).await?;
    until("the Rollout is gone", LONG, || async {
        Ok(rollouts.get_opt("web").await?.is_none().then_some(()))
    })
    .await?;
    let gone = Utc::now();
    until("300 requests after that", LONG, || async {
        Ok((load.record().between(gone, Utc::now()).total() >= 300).then_some(()))
    })
    .await?;
    let record = load.stop().await;

    ensure!(record.failed() == 0, "failed requests: {:?}", record.by_version());
    let after = record.between(gone, Utc::now());
    ensure!(after.served_by("v2") > 0, "the split stays as it was: {:?}", after.by_version());
    for (name, before) in ["web-stable", "web-canary"].into_iter().zip(&services) {
        let after = stage.see("Service", name).await?;
        ensure!(after["spec"]["selector"] == before["spec"]["selector"], "{name} selects others");
    }
    stage.then_weight("web", 20).await?;
    let written = |r: &sluice_e2e::recorder::Request| {
        let resource = r.object_ref.as_ref().map(|o| o.resource.clone()).unwrap_or_default();
        ["services", "virtualservices", "destinationrules"].contains(&resource.as_str())
    };
    let writes = stage.writes(since)?;
    let stray = writes.iter().find(|request| written(request));
    ensure!(stray.is_none(), "written after the end: {:?}", stray.map(|r| &r.uri));
    Ok(())
}

pub(crate) async fn a_service_that_is_named_no_longer_is_given_back(bed: Arc<Bed>) -> Result<()> {
    let stage = Stage::new(bed, "given-back").await?;
    let mut web = Web::new(Router::None, "[{setWeight: 50}, {pause: {}}]");
    web.canary = "      stableService: web-old".to_owned();
    let text = web.manifest("demo:v1") + &web.service("web-old") + &web.service("web-new");
    stage.scene.given(&text).await?;
    stage.then_healthy("web", "demo:v1").await?;
    let hash = "rollouts-pod-template-hash";
    let hashed = |s: &Value| !s["spec"]["selector"][hash].is_null();
    stage.then("the old Service is ours", "Service", "web-old", hashed).await?;

    let rename = json!([{ "op": "replace", "path": "/spec/strategy/canary/stableService", "value": "web-new" }]);
    stage.patch("Rollout", "web", &rename).await?;
    stage.then("the new Service is ours", "Service", "web-new", hashed).await?;
    let free = |s: &Value| {
        s["spec"]["selector"] == json!({ "app": "web" })
            && s["metadata"]["annotations"]["argo-rollouts.argoproj.io/managed-by-rollouts"]
                .is_null()
    };
    stage.then("the old Service is given back", "Service", "web-old", free).await?;
    stage.then_laws_held().await
}

/// Reasons of the Events about the Rollout since an instant, oldest first.
async fn reasons(stage: &Stage, since: DateTime<Utc>) -> Result<Vec<String>> {
    let events = api(&stage.scene.bed, "Event", &stage.scene.namespace);
    let list = events.list(&ListParams::default()).await?;
    let mut all: Vec<(String, String)> = Vec::new();
    for event in list {
        let event = serde_json::to_value(event)?;
        let about = &event["involvedObject"];
        let at =
            event["firstTimestamp"].as_str().and_then(|t| DateTime::parse_from_rfc3339(t).ok());
        // Whole seconds.
        let is_new = at.is_some_and(|at| at.timestamp() >= since.timestamp());
        if about["kind"] == "Rollout" && is_new {
            // Names of one process end with the instant and a number, both in hexadecimal.
            let name = event["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            all.push((name, event["reason"].as_str().unwrap_or_default().to_owned()));
        }
    }
    all.sort();
    Ok(all.into_iter().map(|(_, reason)| reason).collect())
}

pub(crate) async fn events_of_a_canary_come_in_order_and_in_argos_words(
    bed: Arc<Bed>,
) -> Result<()> {
    let stage = Stage::new(bed, "events").await?;
    stage.given_web(&Web::new(Router::Hosts, "[{setWeight: 20}, {pause: {}}]"), "demo:v1").await?;
    // Events have whole seconds: those of the first version must be a second older.
    until("a new second", LONG, || async {
        Ok((Utc::now().timestamp_subsec_millis() > 900).then_some(()))
    })
    .await?;
    let since = Utc::now() + chrono::Duration::seconds(1);
    until("that second has come", LONG, || async { Ok((Utc::now() > since).then_some(())) })
        .await?;

    stage.when_image_is("web", "demo:v2").await?;
    stage.then_phase("web", "Paused").await?;
    stage.when_user_says(&["promote", "web"]).await?;
    stage.then_healthy("web", "demo:v2").await?;
    stage.then_weight("web", 0).await?;

    let wanted = [
        "NewReplicaSetCreated",
        "RolloutUpdated",
        "RolloutNotCompleted",
        "ScalingReplicaSet",
        "SwitchService",
        "Updated VirtualService",
        "TrafficWeightUpdated",
        "RolloutStepCompleted",
        "RolloutPaused",
        "ScalingReplicaSet",
        "TrafficWeightUpdated",
        "RolloutCompleted",
        "SwitchService",
    ];
    let found = until("all events are there", LONG, || async {
        let found = reasons(&stage, since).await?;
        let mut rest = found.iter();
        let all = wanted.iter().all(|wanted| rest.any(|reason| reason == wanted));
        Ok(all.then_some(found))
    })
    .await;
    if let Err(error) = found {
        let seen = reasons(&stage, since).await?;
        anyhow::bail!("{error:#}: of {wanted:?}, in this order; there are {seen:?}");
    }
    stage.then_laws_held().await
}

pub(crate) async fn metrics_of_a_rollout_have_argos_names_and_end_with_it(
    bed: Arc<Bed>,
) -> Result<()> {
    let stage = Stage::new(bed, "metrics").await?;
    stage.given_web(&Web::new(Router::Hosts, "[{setWeight: 20}]"), "demo:v1").await?;
    stage.when_image_is("web", "demo:v2").await?;
    stage.then_healthy("web", "demo:v2").await?;
    let address = format!("127.0.0.1:{}", ports::CONTROLLER);
    let of_web = "namespace=\"metrics\",name=\"web\"";
    let text = until("the Rollout is complete in the metrics", LONG, || async {
        let text = http::get_ok(&address, "/metrics").await?;
        let line = format!(
            "rollout_info{{{of_web},strategy=\"canary\",traffic_router=\"Istio\",phase=\"Completed\"}} 1"
        );
        Ok(text.contains(&line).then_some(text))
    })
    .await?;
    for name in [
        "rollout_info_replicas_available",
        "rollout_info_replicas_unavailable",
        "rollout_info_replicas_desired",
        "rollout_info_replicas_updated",
        "rollout_phase",
        "rollout_reconcile_bucket",
        "rollout_events_total",
        "rollout_duration_seconds_bucket",
        "rollout_progression_duration_seconds_bucket",
        "rollout_manual_pause_duration_seconds_bucket",
        "controller_clientset_k8s_request_total",
        "argo_rollouts_controller_info",
        "build_info",
    ] {
        let head = format!("\n{name}{{");
        ensure!(text.contains(&head), "no series of {name}");
    }
    let event = "reason=\"RolloutCompleted\"";
    let counted = text.lines().any(|line| {
        line.starts_with("rollout_events_total{")
            && line.contains("namespace=\"metrics\"")
            && line.contains(event)
    });
    ensure!(counted, "RolloutCompleted is not counted");

    let rollouts = api(&stage.scene.bed, "Rollout", "metrics");
    rollouts.delete("web", &DeleteParams::default()).await?;
    until("no series of it is left", LONG, || async {
        let text = http::get_ok(&address, "/metrics").await?;
        let left = text
            .lines()
            .find(|line| line.contains("namespace=\"metrics\"") && line.contains("name=\"web\""));
        Ok(left.is_none().then_some(()))
    })
    .await
}
