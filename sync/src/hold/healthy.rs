use serde_json::Value;
use sluice_crds::application::LastHealthy;
use sluice_crds::rollout::RolloutRecord;
use sluice_crds::time::Time;

use super::record::{HealthyScope, Record};
use super::scope::{content_hash, mentions};
use crate::comparison::{Comparison, Item, ItemState};
use crate::manifest;
use crate::view::{ApplicationView, RenderKey};

/// Writes down what is healthy now: of each Rollout that is fully promoted and as wanted, and of the application as a whole.
/// `target` is what the comparison was made with.
pub(crate) fn observe(
    view: &ApplicationView,
    comparison: &Comparison,
    target: &RenderKey,
    is_whole_healthy: bool,
    record: &mut Record,
) {
    for item in comparison.items.iter().filter(|item| item.key.is_rollout()) {
        let Some(rollout) = view.rollout(&item.key) else { continue };
        if !item.is_held && item.state == ItemState::Synced && is_promoted(rollout) {
            observe_rollout(view, comparison, item, rollout, target, record);
        }
    }
    let seen = record.last_healthy.as_ref().map(|healthy| healthy.revision.as_str());
    if is_whole_healthy && seen != Some(&target.commit) {
        let bodies = comparison.items.iter().filter_map(|item| item.manifest.as_ref());
        let all: Vec<Value> = bodies.map(|manifest| manifest.body.clone()).collect();
        record.last_healthy = Some(LastHealthy {
            revision: target.commit.clone(),
            at: Some(Time::new(view.now)),
            digest: Some(manifest::digest(&Value::from(all))),
            config_map: Some(super::record_object(&view.application, &view.config).name),
        });
        record.last_healthy_source = target.source.clone();
    }
    let seen: Vec<String> = comparison.items.iter().map(|item| item.key.path()).collect();
    // What Git does not want any more needs no last healthy content, unless something of it is quarantined.
    let quarantined: Vec<String> =
        record.quarantine.iter().map(|entry| super::entry_key(entry).path()).collect();
    record.healthy.retain(|path, _| seen.contains(path) || quarantined.contains(path));
}

fn observe_rollout(
    view: &ApplicationView,
    comparison: &Comparison,
    item: &Item,
    rollout: &RolloutRecord,
    target: &RenderKey,
    record: &mut Record,
) {
    let Some(manifest) = &item.manifest else { return };
    let hash = content_hash(&item.key, &manifest.body, rollout.status.collision_count);
    let mentioned = mentions(&item.key, &manifest.body);
    let members = comparison
        .items
        .iter()
        .filter(|other| mentioned.contains(&other.key))
        .filter_map(|other| other.manifest.as_ref());
    let mut complete = true;
    let mut manifests = vec![manifest.body.clone()];
    let mut digested = vec![manifest.body.clone()];
    for member in members {
        digested.push(member.body.clone());
        if member.key.kind == "Secret" {
            complete = false;
        } else {
            manifests.push(member.body.clone());
        }
    }
    let digest = manifest::digest(&Value::from(digested));
    let path = item.key.path();
    if record.healthy.get(&path).is_some_and(|scope| scope.digest == digest) {
        return;
    }
    let scope = HealthyScope {
        revision: target.commit.clone(),
        source: target.source.clone(),
        template_hash: hash,
        digest,
        at: Some(Time::new(view.now)),
        complete,
        manifests,
    };
    record.healthy.insert(path, scope);
}

fn is_promoted(rollout: &RolloutRecord) -> bool {
    let status = &rollout.status;
    let current = status.current_pod_hash.as_deref().filter(|hash| !hash.is_empty());
    status.observed_generation.as_deref() == Some(&*rollout.meta.generation.to_string())
        && status.phase.as_deref() == Some("Healthy")
        && current.is_some()
        && current == status.stable_rs.as_deref()
        && status.abort != Some(true)
}
