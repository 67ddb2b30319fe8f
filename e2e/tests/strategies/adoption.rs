//! What an Argo controller leaves behind is taken over as it is. The objects are made by hand after the specification
//! (`spec-rollouts` 1.6, 2.1, 2.2); until all are there, a label keeps the Rollout out of our controller's sight.

use std::{collections::BTreeSet, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sluice_crds::{
    labels::{
        DESIRED_REPLICAS, EPOCH_PREFIX, INSTANCE_ID, MANAGED_BY, POD_TEMPLATE_HASH, REVISION,
    },
    rollout::CanaryStep,
};
use sluice_e2e::{
    bed::Bed,
    stage::{Router, Stage, Web, is_phase},
};
use sluice_engine::rollout::template_hash;

const STEPS: &str = "[{setWeight: 25}, {pause: {}}]";
/// An old controller hashed otherwise; what the label says counts.
const FOREIGN: &str = "5d8c7b9f64";

/// A Rollout of four Pods, as its user wrote it, that belongs to another controller.
struct Left {
    stage: Stage,
    uid: String,
}

impl Left {
    async fn given(bed: Arc<Bed>, namespace: &str) -> Result<Self> {
        let stage = Stage::new(bed, namespace).await?;
        let mut web = Web { replicas: 4, ..Web::new(Router::Hosts, STEPS) };
        web.labels = format!("{{{INSTANCE_ID}: argo}}");
        stage.scene.given(&(web.manifest("demo:v1") + &web.surroundings())).await?;
        let rollout = stage.see("Rollout", "web").await?;
        let uid = rollout["metadata"]["uid"].as_str().context("a uid")?.to_owned();
        Ok(Self { stage, uid })
    }

    /// The Pod template with an image, as the Rollout holds it.
    async fn template(&self, image: &str) -> Result<Value> {
        let mut rollout = self.stage.see("Rollout", "web").await?;
        let mut template = rollout["spec"]["template"].take();
        template["spec"]["containers"][0]["image"] = json!(image);
        Ok(template)
    }

    /// The ReplicaSet of a revision, with all its Pods.
    async fn given_set(
        &self,
        hash: &str,
        image: &str,
        revision: &str,
        replicas: i64,
    ) -> Result<()> {
        let mut template = self.template(image).await?;
        template["metadata"]["labels"][POD_TEMPLATE_HASH] = json!(hash);
        let labels = json!({ "app": "web", POD_TEMPLATE_HASH: hash });
        let owner = json!({ "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "web",
            "uid": self.uid, "controller": true, "blockOwnerDeletion": true });
        let name = format!("web-{hash}");
        let set = json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": { "name": name, "labels": labels, "ownerReferences": [owner],
                "annotations": { REVISION: revision, DESIRED_REPLICAS: "4" } },
            "spec": { "replicas": replicas, "selector": { "matchLabels": labels }, "template": template },
        });
        self.stage.scene.given(&set.to_string()).await?;
        let whole = |s: &Value| s["status"]["availableReplicas"] == replicas;
        self.stage.then("its Pods are available", "ReplicaSet", &name, whole).await?;
        Ok(())
    }

    /// What both Services select, and the canary's weight.
    async fn given_traffic(&self, stable: &str, canary: &str, weight: i64) -> Result<()> {
        for (service, hash) in [("web-stable", stable), ("web-canary", canary)] {
            let patch = json!([
                { "op": "add", "path": "/metadata/annotations", "value": { MANAGED_BY: "web" } },
                { "op": "add", "path": format!("/spec/selector/{POD_TEMPLATE_HASH}"), "value": hash },
            ]);
            self.stage.patch("Service", service, &patch).await?;
        }
        let patch = json!([
            { "op": "replace", "path": "/spec/http/0/route/0/weight", "value": 100 - weight },
            { "op": "replace", "path": "/spec/http/0/route/1/weight", "value": weight },
        ]);
        self.stage.patch("VirtualService", "web", &patch).await
    }

    /// The status that every Argo Rollout of this shape has, and `more`.
    async fn given_status(&self, stable: &str, current: &str, more: &Value) -> Result<()> {
        let steps: Vec<CanaryStep> = serde_json::from_value(json!([
            { "setWeight": 25 }, { "pause": {} }
        ]))?;
        let revision = if stable == current { "1" } else { "2" };
        let annotate = json!([{ "op": "add", "path": "/metadata/annotations",
            "value": { REVISION: revision } }]);
        self.stage.patch("Rollout", "web", &annotate).await?;
        let rollout = self.stage.see("Rollout", "web").await?;
        let mut status = json!({
            "HPAReplicas": 4, "availableReplicas": 4, "readyReplicas": 4, "replicas": 4,
            "blueGreen": {}, "canary": {}, "selector": "app=web",
            "currentPodHash": current, "stableRS": stable, "updatedReplicas": 4,
            "currentStepHash": template_hash::step_hash(Some(&steps)), "currentStepIndex": 2,
            "observedGeneration": rollout["metadata"]["generation"].to_string(),
            "phase": "Healthy",
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            status[key] = value.clone();
        }
        self.stage.merge_status("Rollout", "web", &json!({ "status": status })).await
    }

    /// Takes the label away that kept the Rollout out of sight.
    async fn when_taken_over(&self) -> Result<DateTime<Utc>> {
        let label = format!("/metadata/labels/{}", INSTANCE_ID.replace('/', "~1"));
        let since = Utc::now();
        self.stage.patch("Rollout", "web", &json!([{ "op": "remove", "path": label }])).await?;
        Ok(since)
    }

    /// Names and uids of all Pods.
    async fn pods(&self) -> Result<BTreeSet<String>> {
        let pods = self.stage.list("Pod").await?;
        let uid = |pod: &Value| pod["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        Ok(pods.iter().map(uid).collect())
    }

    /// Shows that since an instant sizes, selectors and weights are what they were.
    async fn then_nothing_moved(
        &self,
        since: DateTime<Utc>,
        pods: &BTreeSet<String>,
    ) -> Result<()> {
        ensure!(self.pods().await? == *pods, "Pods were replaced");
        let essence = |kind: &str, object: &Value| match kind {
            "ReplicaSet" => object["spec"]["replicas"].clone(),
            "Service" => object["spec"]["selector"].clone(),
            "VirtualService" => object["spec"].clone(),
            _ => Value::Null,
        };
        let history = self.stage.scene.bed.recorder.history(&self.stage.scene.namespace)?;
        let mut last = std::collections::BTreeMap::new();
        for revision in history {
            let now = essence(&revision.kind, &revision.object);
            let key = (revision.kind.clone(), revision.name.clone());
            let before = last.insert(key, now.clone());
            let moved = revision.seen >= since && before != Some(now);
            ensure!(!moved, "{} {} was changed", revision.kind, revision.name);
        }
        Ok(())
    }
}

pub(crate) async fn a_healthy_rollout_of_argo_is_taken_over_untouched(bed: Arc<Bed>) -> Result<()> {
    let left = Left::given(bed, "argo-healthy").await?;
    let hash = template_hash::template_hash(&left.template("demo:v1").await?, None);
    left.given_set(&hash, "demo:v1", "1", 4).await?;
    left.given_traffic(&hash, &hash, 0).await?;
    left.given_status(&hash, &hash, &json!({})).await?;
    let pods = left.pods().await?;
    let since = left.when_taken_over().await?;
    // An edit that changes no Pod is answered, so it was decided; no write to anything else may have come of it.
    let edit = json!([{ "op": "add", "path": "/spec/progressDeadlineSeconds", "value": 300 }]);
    left.stage.patch("Rollout", "web", &edit).await?;
    left.stage.then_phase("web", "Healthy").await?;
    left.then_nothing_moved(since, &pods).await?;

    left.stage.when_image_is("web", "demo:v2").await?;
    left.stage.then_phase("web", "Paused").await?;
    left.stage.then_weight("web", 25).await?;
    left.stage.when_user_says(&["promote", "web"]).await?;
    left.stage.then_healthy("web", "demo:v2").await?;
    Ok(())
}

pub(crate) async fn a_set_that_an_old_controller_hashed_otherwise_is_kept(
    bed: Arc<Bed>,
) -> Result<()> {
    let left = Left::given(bed, "argo-old-hash").await?;
    left.given_set(FOREIGN, "demo:v1", "1", 4).await?;
    left.given_traffic(FOREIGN, FOREIGN, 0).await?;
    left.given_status(FOREIGN, FOREIGN, &json!({})).await?;
    let pods = left.pods().await?;
    let since = left.when_taken_over().await?;
    let edit = json!([{ "op": "add", "path": "/spec/progressDeadlineSeconds", "value": 300 }]);
    left.stage.patch("Rollout", "web", &edit).await?;
    let rollout = left.stage.then_phase("web", "Healthy").await?;
    ensure!(rollout["status"]["currentPodHash"] == FOREIGN, "{:#}", rollout["status"]);
    left.then_nothing_moved(since, &pods).await
}

pub(crate) async fn a_canary_of_argo_is_taken_over_in_its_pause(bed: Arc<Bed>) -> Result<()> {
    let left = Left::given(bed, "argo-canary").await?;
    let stable = template_hash::template_hash(&left.template("demo:v1").await?, None);
    left.stage.when_image_is("web", "demo:v2").await?;
    let canary = template_hash::template_hash(&left.template("demo:v2").await?, None);
    left.given_set(&stable, "demo:v1", "1", 4).await?;
    left.given_set(&canary, "demo:v2", "2", 1).await?;
    left.given_traffic(&stable, &canary, 25).await?;
    let weight = |weight: i64, service: &str, hash: &str| {
        json!({ "weight": weight, "serviceName": service,
        "podTemplateHash": hash })
    };
    let more = json!({
        "HPAReplicas": 5, "replicas": 5, "readyReplicas": 5, "availableReplicas": 5, "updatedReplicas": 1,
        "currentStepIndex": 1, "controllerPause": true, "phase": "Paused", "message": "CanaryPauseStep",
        "pauseConditions": [{ "reason": "CanaryPauseStep", "startTime": "2026-01-01T00:00:00Z" }],
        "canary": { "weights": { "canary": weight(25, "web-canary", &canary),
            "stable": weight(75, "web-stable", &stable) } },
    });
    left.given_status(&stable, &canary, &more).await?;
    let pods = left.pods().await?;
    let since = left.when_taken_over().await?;
    // A canary with weight is fenced at once, so that an abort would wait for nothing.
    let fenced = |v: &Value| {
        let annotations = v["metadata"]["annotations"].as_object();
        annotations.is_some_and(|all| all.keys().any(|key| key.starts_with(EPOCH_PREFIX)))
    };
    left.stage.then("the route is fenced", "VirtualService", "web", fenced).await?;
    left.stage.then_phase("web", "Paused").await?;
    left.then_nothing_moved(since, &pods).await?;

    left.stage.when_user_says(&["promote", "web"]).await?;
    let done = |r: &Value| is_phase(r, "Healthy") && r["status"]["stableRS"] == canary.as_str();
    left.stage.then("it is promoted", "Rollout", "web", done).await?;
    let weights = left.stage.weights("web", since).await?;
    ensure!(weights == [25, 100, 0], "the weights were {weights:?}");
    Ok(())
}

pub(crate) async fn an_abort_of_argo_stays_an_abort(bed: Arc<Bed>) -> Result<()> {
    let left = Left::given(bed, "argo-aborted").await?;
    let stable = template_hash::template_hash(&left.template("demo:v1").await?, None);
    left.stage.when_image_is("web", "demo:v2").await?;
    let canary = template_hash::template_hash(&left.template("demo:v2").await?, None);
    left.given_set(&stable, "demo:v1", "1", 4).await?;
    left.given_traffic(&stable, &stable, 0).await?;
    let more = json!({
        "updatedReplicas": 0, "currentStepIndex": 0, "abort": true, "abortedAt": "2026-01-01T00:00:00Z",
        "phase": "Degraded", "message": "RolloutAborted: Rollout aborted update to revision 2",
    });
    left.given_status(&stable, &canary, &more).await?;
    let pods = left.pods().await?;
    let since = left.when_taken_over().await?;
    let edit = json!([{ "op": "add", "path": "/spec/progressDeadlineSeconds", "value": 300 }]);
    left.stage.patch("Rollout", "web", &edit).await?;
    left.stage.then_phase("web", "Degraded").await?;
    ensure!(left.pods().await? == pods, "Pods were replaced");
    let weights = left.stage.weights("web", since).await?;
    ensure!(weights.is_empty(), "the weights were {weights:?}");
    left.stage.when_user_says(&["retry", "rollout", "web"]).await?;
    left.stage.then_phase("web", "Paused").await?;
    left.stage.then_weight("web", 25).await?;
    Ok(())
}
