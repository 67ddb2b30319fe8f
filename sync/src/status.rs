//! `status` of an Application, from one comparison: the only place where its parts are put together.

use std::collections::BTreeSet;

use serde_json::Value;
use sluice_crds::application::{
    ApplicationSummary, ComparedTo, HealthStatus, HealthStatusCode, ResourceStatus, SluiceStatus,
    SyncStatus, SyncStatusCode,
};

use crate::comparison::{Comparison, Item, ItemState};
use crate::draft::Draft;
use crate::hold::{Effective, Record, content_hash};
use crate::key::{ResourceKey, annotation, text};
use crate::manifest::{ManifestSet, SYNC_WAVE, sync_option};
use crate::view::{ApplicationView, RenderKey};

/// Fills what follows from a comparison.
pub(crate) fn fill(
    draft: &mut Draft<'_>,
    desired: &RenderKey,
    steady: &RenderKey,
    wanted: &ManifestSet,
    effective: &Effective,
    comparison: &Comparison,
) {
    let view = draft.view;
    let spec = &view.application.spec;
    let is_rejected = !effective.held.is_empty() || desired != steady;
    let code = if comparison.is_out_of_sync() || is_rejected {
        SyncStatusCode::OutOfSync
    } else {
        SyncStatusCode::Synced
    };
    draft.status.sync = Some(SyncStatus {
        status: code,
        revision: Some(desired.commit.clone()),
        revisions: Vec::new(),
        compared_to: Some(ComparedTo {
            source: spec.effective_sources().first().cloned(),
            sources: Vec::new(),
            destination: spec.destination.clone(),
            ignore_differences: spec.ignore_differences.clone(),
        }),
    });
    draft.status.health = Some(HealthStatus {
        status: comparison.health,
        message: Some(comparison.health_message.clone()).filter(|message| !message.is_empty()),
        last_transition_time: None,
    });
    draft.status.resources = rows(wanted, comparison);
    draft.status.summary = Some(summary(comparison));
    draft.status.controller_namespace = Some(view.config.control_namespace.clone());
    if let Some(sluice_engine::view::Fact::Known(rendered, _)) = view.rendered.get(steady) {
        draft.status.source_type =
            Some(rendered.source_type.clone()).filter(|kind| !kind.is_empty());
    }
}

/// Says that nothing is known: the spec is bad, or Git or the cluster cannot be read. Rows stay as they were.
pub(crate) fn unknown(draft: &mut Draft<'_>, is_health_unknown: bool) {
    let sync = draft.status.sync.get_or_insert_default();
    sync.status = SyncStatusCode::Unknown;
    if is_health_unknown {
        draft.status.health = Some(HealthStatus {
            status: HealthStatusCode::Unknown,
            message: None,
            last_transition_time: None,
        });
    }
}

/// Fills which revision is wanted, allowed and served, and what is quarantined.
pub(crate) fn fill_sluice(
    status: &mut SluiceStatus,
    view: &ApplicationView,
    record: &Record,
    desired: &RenderKey,
    steady: &RenderKey,
    comparison: &Comparison,
    holding: usize,
) {
    status.desired = Some(desired.commit.clone());
    let has_open = comparison.items.iter().any(|item| item.is_open() && !item.is_held);
    let is_emptied = comparison.items.is_empty() && !comparison.extras.is_empty();
    if !has_open && !is_emptied {
        status.admitted = Some(steady.commit.clone());
    }
    // Without a Rollout there is no older version beside: what is applied is what serves.
    let whole = record.last_healthy.as_ref().filter(|_| holding > 0).map(|h| h.revision.as_str());
    let applied = whole.or(status.admitted.as_deref());
    status.effective = effective(view, record, comparison, applied).or(status.effective.take());
    fill_record(status, record);
    status.quarantined = u32::try_from(holding).ok().filter(|count| *count > 0);
}

/// Copies what the ConfigMap keeps as well.
pub(crate) fn fill_record(status: &mut SluiceStatus, record: &Record) {
    status.quarantine.clone_from(&record.quarantine);
    if record.last_healthy.is_some() {
        status.last_healthy.clone_from(&record.last_healthy);
    }
}

/// Returns the commit whose content the stable versions serve: the first that differs from the applied one, if any does.
fn effective(
    view: &ApplicationView,
    record: &Record,
    comparison: &Comparison,
    applied: Option<&str>,
) -> Option<String> {
    let mut served: Option<String> = None;
    let mut has_rollouts = false;
    for item in comparison.items.iter().filter(|item| item.key.is_rollout()) {
        has_rollouts = true;
        let Some(rollout) = view.rollout(&item.key) else { continue };
        let Some(stable) = rollout.status.stable_rs.as_deref().filter(|hash| !hash.is_empty())
        else {
            continue;
        };
        let collisions = rollout.status.collision_count;
        let from_git = item
            .manifest
            .as_ref()
            .filter(|manifest| content_hash(&item.key, &manifest.body, collisions) == stable);
        let healthy = record.healthy.get(&item.key.path()).filter(|h| h.template_hash == stable);
        let commit = match (from_git, healthy) {
            (Some(manifest), _) => Some(manifest.commit.clone()),
            (None, Some(healthy)) => Some(healthy.revision.clone()),
            (None, None) => None,
        };
        if commit.is_some() && commit.as_deref() != applied {
            return commit;
        }
        served = served.or(commit);
    }
    if has_rollouts { served } else { applied.map(str::to_owned) }
}

fn rows(wanted: &ManifestSet, comparison: &Comparison) -> Vec<ResourceStatus> {
    let mut rows: Vec<ResourceStatus> =
        comparison.items.iter().map(|item| row(wanted, item)).collect();
    for extra in &comparison.extras {
        let body = &extra.live.body;
        rows.push(ResourceStatus {
            version: extra.live.object.kind.version.to_string(),
            status: Some(SyncStatusCode::OutOfSync),
            health: crate::health::check(&extra.key, body).map(health),
            requires_pruning: Some(true),
            requires_deletion_confirmation: (sync_option(body, "Prune") == Some("confirm"))
                .then_some(true),
            ..named(&extra.key, body)
        });
    }
    for key in wanted.hooks.keys() {
        rows.push(ResourceStatus { hook: Some(true), ..named(key, &Value::Null) });
    }
    rows.sort_by(|a, b| {
        (&a.group, &a.kind, &a.namespace, &a.name).cmp(&(&b.group, &b.kind, &b.namespace, &b.name))
    });
    rows
}

fn row(wanted: &ManifestSet, item: &Item) -> ResourceStatus {
    // What is held back is not what Git wants, however well it agrees with what may be applied.
    let is_other = item.is_held
        && wanted.manifests.get(&item.key).map(|m| &m.body)
            != item.manifest.as_ref().map(|m| &m.body);
    let status = match &item.state {
        ItemState::Forbidden(_) => SyncStatusCode::Unknown,
        ItemState::Synced if !is_other => SyncStatusCode::Synced,
        ItemState::Synced
        | ItemState::Differs
        | ItemState::Missing
        | ItemState::NoNamespace
        | ItemState::NoKind => SyncStatusCode::OutOfSync,
    };
    let health = match (&item.health, &item.live) {
        (Some(found), _) => Some(health(found.clone())),
        (None, None) => Some(HealthStatus {
            status: HealthStatusCode::Missing,
            message: None,
            last_transition_time: None,
        }),
        (None, Some(_)) => None,
    };
    ResourceStatus {
        version: crate::compare::version_of(&item.body).to_owned(),
        status: Some(status),
        health,
        ..named(&item.key, &item.body)
    }
}

fn named(key: &ResourceKey, body: &Value) -> ResourceStatus {
    ResourceStatus {
        group: key.group.clone(),
        kind: key.kind.clone(),
        namespace: key.namespace.clone(),
        name: key.name.clone(),
        sync_wave: annotation(body, SYNC_WAVE).and_then(|wave| wave.trim().parse().ok()),
        ..ResourceStatus::default()
    }
}

fn health(health: crate::health::Health) -> HealthStatus {
    HealthStatus {
        status: health.status,
        message: Some(health.message).filter(|message| !message.is_empty()),
        last_transition_time: None,
    }
}

fn summary(comparison: &Comparison) -> ApplicationSummary {
    let mut images = BTreeSet::new();
    for item in &comparison.items {
        let Some(live) = &item.live else { continue };
        for list in ["containers", "initContainers"] {
            for pointer in ["/spec/template/spec", "/spec"] {
                let found =
                    live.body.pointer(&format!("{pointer}/{list}")).and_then(Value::as_array);
                images.extend(found.into_iter().flatten().filter_map(|c| text(c, "/image")));
            }
        }
    }
    let is_parent = comparison.items.iter().any(|item| item.key.is("argoproj.io", "Application"));
    ApplicationSummary {
        external_urls: Vec::new(),
        images: images.into_iter().map(str::to_owned).collect(),
        is_app_of_apps: is_parent.then_some(true),
    }
}
