use chrono::{DateTime, Duration, Utc};
use sluice_crds::application::{ApplicationRecord, HealthStatusCode, QuarantineEntry};
use sluice_crds::duration;
use sluice_crds::rollout::RolloutRecord;
use sluice_crds::time::Time;

use super::record::Record;
use super::scope::{content_digest, content_hash};
use crate::comparison::Comparison;
use crate::key::ResourceKey;
use crate::manifest::ManifestSet;
use crate::track;
use crate::view::ApplicationView;

/// Finds Rollouts of the application whose current revision failed and is not recorded yet.
pub(crate) fn detect(
    view: &ApplicationView,
    instance: &str,
    desired: &ManifestSet,
    record: &Record,
) -> Vec<QuarantineEntry> {
    let mut found = Vec::new();
    for rollout in &view.rollouts {
        let key = ResourceKey::of(&rollout.meta.object(sluice_crds::object::Kind::ROLLOUT));
        let Some(live) = view.live(&key) else { continue };
        if track::tracked_by(&live.body, &key) != Some(instance) {
            continue;
        }
        let Some(failure) = failure(&view.application, rollout) else { continue };
        let entry = entry(view, &key, rollout, failure, desired, record);
        if !record.has(&entry) && !record.was_released(&entry) {
            found.push(entry);
        }
    }
    found
}

struct Failure {
    reason: &'static str,
    message: String,
    analysis_run: Option<String>,
    at: Option<Time>,
}

/// An abort always counts. A passed progress deadline without abort counts if the user wants a rollback on health failures.
fn failure(application: &ApplicationRecord, rollout: &RolloutRecord) -> Option<Failure> {
    let status = &rollout.status;
    let observed =
        status.observed_generation.as_deref() == Some(&*rollout.meta.generation.to_string());
    let current = status.current_pod_hash.as_deref().filter(|hash| !hash.is_empty())?;
    let stable = status.stable_rs.as_deref().filter(|hash| !hash.is_empty())?;
    if !observed || current == stable || status.phase.as_deref() != Some("Degraded") {
        return None;
    }
    let progressing = status.conditions.iter().flatten().find(|c| c.kind == "Progressing");
    let is_late = progressing.is_some_and(|c| c.reason == "ProgressDeadlineExceeded");
    let is_aborted = status.abort == Some(true);
    let counts = is_aborted || (is_late && on_health_failure(application));
    if !counts {
        return None;
    }
    let of_canary = status.canary.iter().flat_map(|canary| {
        [&canary.current_step_analysis_run_status, &canary.current_background_analysis_run_status]
    });
    let of_blue_green = status.blue_green.iter().flat_map(|blue_green| {
        [
            &blue_green.pre_promotion_analysis_run_status,
            &blue_green.post_promotion_analysis_run_status,
        ]
    });
    let failed_run = of_canary
        .chain(of_blue_green)
        .flatten()
        .find(|run| matches!(run.status.as_str(), "Failed" | "Error" | "Inconclusive"));
    let cause = status.sluice.as_ref().and_then(|sluice| sluice.abort_cause.clone());
    let said = status.message.clone().filter(|message| !message.is_empty());
    let reason = match (failed_run, is_late) {
        (Some(_), _) => "AnalysisFailed",
        (None, true) => "ProgressDeadlineExceeded",
        (None, false) => reason_of(cause.as_deref()),
    };
    Some(Failure {
        reason,
        message: cause.or(said).unwrap_or_else(|| "the update was aborted".to_owned()),
        analysis_run: failed_run.map(|run| run.name.clone()),
        at: status.aborted_at.or_else(|| progressing.and_then(|c| c.last_transition_time)),
    })
}

fn reason_of(cause: Option<&str>) -> &'static str {
    let cause = cause.unwrap_or_default().to_ascii_lowercase();
    if cause.contains("deadline") {
        "ProgressDeadlineExceeded"
    } else if cause.contains("analysis") || cause.contains("metric") {
        "AnalysisFailed"
    } else {
        "AbortedByUser"
    }
}

/// Returns whether a health failure counts as a failed revision: `spec.rollback.onHealthFailure`, by default as `enabled`.
fn on_health_failure(application: &ApplicationRecord) -> bool {
    application.spec.rollback.as_ref().is_some_and(|rollback| {
        rollback.enabled == Some(true) && rollback.on_health_failure != Some(false)
    })
}

/// Returns what goes back: `rollout`, `application` or `hold`.
pub(super) fn scope_of(application: &ApplicationRecord) -> &str {
    let rollback = application.spec.rollback.as_ref();
    match rollback.and_then(|r| r.scope.as_deref()) {
        Some(scope @ ("rollout" | "application" | "hold")) => scope,
        Some(_) | None if rollback.is_some_and(|r| r.enabled == Some(true)) => "application",
        Some(_) | None => "rollout",
    }
}

fn entry(
    view: &ApplicationView,
    key: &ResourceKey,
    rollout: &RolloutRecord,
    failure: Failure,
    desired: &ManifestSet,
    record: &Record,
) -> QuarantineEntry {
    let hash = rollout.status.current_pod_hash.clone().unwrap_or_default();
    let live = view.live(key);
    let wanted = desired.manifests.get(key);
    let is_wanted = wanted.is_some_and(|manifest| {
        content_hash(key, &manifest.body, rollout.status.collision_count) == hash
    });
    let synced = view.application.status.operation_state.as_ref();
    let synced = synced.and_then(|state| state.sync_result.as_ref()).map(|r| r.revision.clone());
    let revision = match wanted {
        Some(manifest) if is_wanted => manifest.commit.clone(),
        Some(_) | None => synced.unwrap_or_default(),
    };
    let scope = scope_of(&view.application);
    QuarantineEntry {
        group: key.group.clone(),
        kind: key.kind.clone(),
        namespace: key.namespace.clone(),
        name: key.name.clone(),
        template_hash: hash,
        digest: live.map(|live| content_digest(key, &live.body)),
        revision,
        at: failure.at.or(Some(Time::new(view.now))),
        reason: failure.reason.to_owned(),
        message: Some(failure.message),
        analysis_run: failure.analysis_run,
        scope: Some(scope.to_owned()),
        replaced_by: replacement(scope, key, record),
        moot: None,
    }
}

pub(crate) fn replacement(scope: &str, key: &ResourceKey, record: &Record) -> Option<String> {
    let rollout = || record.healthy.get(&key.path()).map(|scope| scope.revision.clone());
    match scope {
        "hold" => None,
        "application" => record.last_healthy.as_ref().map(|h| h.revision.clone()).or_else(rollout),
        _ => rollout(),
    }
}

/// Finds resources of `spec.health` that did not become healthy in time after the last sync, and when the next one is due.
/// Whatever fails this way takes the whole application back, for a resource without Rollout has no older version running.
pub(crate) fn health_failures(
    view: &ApplicationView,
    comparison: &Comparison,
    record: &Record,
) -> (Vec<QuarantineEntry>, Option<DateTime<Utc>>) {
    let application = &view.application;
    let mut found = Vec::new();
    let mut next: Option<DateTime<Utc>> = None;
    let policies = application.spec.health.iter().flat_map(|health| &health.resources);
    let Some(synced_at) = last_success(application).filter(|_| on_health_failure(application))
    else {
        return (found, next);
    };
    for policy in policies {
        let level = level_of(policy.health_level.as_deref());
        let timeout = policy.timeout.as_deref().and_then(|text| duration::parse(text).ok());
        let Some(timeout) = timeout.filter(|timeout| *timeout >= Duration::zero()) else {
            continue;
        };
        let item = comparison.items.iter().find(|item| {
            item.key.name == policy.name
                && item.key.kind == policy.kind
                && policy.group.as_deref().is_none_or(|group| group == item.key.group)
        });
        let Some((item, health)) = item.and_then(|i| Some((i, i.health.as_ref()?))) else {
            continue;
        };
        if health.status != level || item.is_held {
            continue;
        }
        let due = synced_at + timeout;
        if view.now < due {
            next = Some(next.map_or(due, |at| at.min(due)));
            continue;
        }
        let Some(manifest) = &item.manifest else { continue };
        let seconds = timeout.num_seconds();
        let entry = QuarantineEntry {
            group: item.key.group.clone(),
            kind: item.key.kind.clone(),
            namespace: item.key.namespace.clone(),
            name: item.key.name.clone(),
            template_hash: content_hash(&item.key, &manifest.body, None),
            digest: Some(content_digest(&item.key, &manifest.body)),
            revision: manifest.commit.clone(),
            at: Some(Time::new(view.now)),
            reason: "HealthFailed".to_owned(),
            message: Some(format!(
                "{level:?} for more than {seconds} s after the sync: {}",
                health.message
            )),
            analysis_run: None,
            scope: Some("application".to_owned()),
            replaced_by: replacement("application", &item.key, record),
            moot: None,
        };
        // Content that was healthy as a whole before is not the cause.
        let is_last_healthy =
            record.last_healthy.as_ref().map(|h| &h.revision) == Some(&manifest.commit);
        if !is_last_healthy && !record.has(&entry) && !record.was_released(&entry) {
            found.push(entry);
        }
    }
    (found, next)
}

fn level_of(level: Option<&str>) -> HealthStatusCode {
    match level {
        Some("Degraded") => HealthStatusCode::Degraded,
        Some("Missing") => HealthStatusCode::Missing,
        Some("Suspended") => HealthStatusCode::Suspended,
        Some("Unknown") => HealthStatusCode::Unknown,
        Some(_) | None => HealthStatusCode::Progressing,
    }
}

fn last_success(application: &ApplicationRecord) -> Option<DateTime<Utc>> {
    let state = application.status.operation_state.as_ref()?;
    if !state.phase.is_completed() {
        return None;
    }
    state.finished_at.map(Time::at)
}
