//! That laws are judged on real histories, and not on nothing.

use std::{collections::BTreeSet, sync::Arc};

use anyhow::{Result, ensure};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use sluice_e2e::{bed::Bed, laws};

use crate::stage::{Router, Stage, Web, api};

const HOLD: &str = "[{setWeight: 50}, {pause: {}}]";

pub(crate) async fn faults_planted_under_our_names_are_found(bed: Arc<Bed>) -> Result<()> {
    let stage = Stage::new(bed, "planted").await?;
    stage.given_web(&Web::new(Router::Hosts, HOLD), "demo:v1").await?;
    let stable = stage.see("Rollout", "web").await?["status"]["stableRS"].clone();
    let stable = format!("web-{}", stable.as_str().unwrap_or_default());
    stage.when_image_is("web", "demo:v2").await?;
    stage.then_phase("web", "Paused").await?;
    stage.then_weight("web", 50).await?;

    let weight = |value: u32| json!([{ "op": "replace", "path": "/spec/http/0/route/1/weight", "value": value }]);
    let retries =
        json!([{ "op": "add", "path": "/spec/http/0/retries", "value": { "attempts": 2 } }]);
    let size = json!([{ "op": "replace", "path": "/spec/replicas", "value": 1 }]);
    for (manager, kind, name, patch) in [
        ("sluice-rollout", "VirtualService", "web", &weight(90)),
        ("sluice-rollout", "VirtualService", "web", &retries),
        ("sluice-sync", "VirtualService", "web", &weight(80)),
        ("sluice-rollout", "ReplicaSet", stable.as_str(), &size),
    ] {
        plant(&stage, manager, kind, name, patch).await?;
        stage.caught_up(kind, name).await?;
    }

    let verdict = laws::judge(&stage.scene.bed.recorder, "planted")?;
    let found: BTreeSet<&str> = verdict.broken.iter().map(|violation| violation.id).collect();
    let planted = BTreeSet::from(["G6", "S1", "S4", "S18"]);
    ensure!(planted.is_subset(&found), "found only {:#?}", verdict.broken);
    ensure!(verdict.requests >= verdict.ours, "{verdict:?}");
    ensure!(verdict.unknown * 20 <= verdict.revisions, "too few writers are known: {verdict:?}");
    Ok(())
}

async fn plant(stage: &Stage, manager: &str, kind: &str, name: &str, patch: &Value) -> Result<()> {
    let patch: Patch<()> = Patch::Json(serde_json::from_value(patch.clone())?);
    let params = PatchParams { field_manager: Some(manager.to_owned()), ..Default::default() };
    api(&stage.scene.bed, kind, &stage.scene.namespace).patch(name, &params, &patch).await?;
    Ok(())
}
