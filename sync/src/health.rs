//! How healthy a live object is, by kind, and how healthy an application is.
//!
//! Source: `spec-sync` 5: Argo CD's Go checks for built-in kinds and its Lua checks for Argo's own. A kind without a check has
//! no health and does not count. A new kind is one function and one line in [`CHECKS`].

use serde_json::Value;
use sluice_crds::application::HealthStatusCode;

use crate::key::{ResourceKey, annotation, text};

mod argo;
mod batch;
mod cluster;
mod network;
mod pod;
mod workloads;

/// Annotation of an object: `true` leaves it out of the application's health (Argo CD).
pub const IGNORE_HEALTHCHECK: &str = "argocd.argoproj.io/ignore-healthcheck";

/// Health and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Health {
    /// Health.
    pub status: HealthStatusCode,
    /// Why; empty if there is nothing to say.
    pub message: String,
}

impl Health {
    pub(crate) fn new(status: HealthStatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    pub(crate) fn healthy() -> Self {
        Self::new(HealthStatusCode::Healthy, "")
    }

    pub(crate) fn progressing(message: impl Into<String>) -> Self {
        Self::new(HealthStatusCode::Progressing, message)
    }

    pub(crate) fn degraded(message: impl Into<String>) -> Self {
        Self::new(HealthStatusCode::Degraded, message)
    }

    pub(crate) fn suspended(message: impl Into<String>) -> Self {
        Self::new(HealthStatusCode::Suspended, message)
    }

    pub(crate) fn unknown(message: impl Into<String>) -> Self {
        Self::new(HealthStatusCode::Unknown, message)
    }
}

type Check = fn(&Value) -> Health;

/// Checks by group and kind, sorted.
static CHECKS: &[(&str, &str, Check)] = &[
    ("", "PersistentVolumeClaim", cluster::persistent_volume_claim),
    ("", "Pod", pod::pod),
    ("", "Service", network::service),
    ("apiextensions.k8s.io", "CustomResourceDefinition", cluster::custom_resource_definition),
    ("apiregistration.k8s.io", "APIService", cluster::api_service),
    ("apps", "DaemonSet", workloads::daemon_set),
    ("apps", "Deployment", workloads::deployment),
    ("apps", "ReplicaSet", workloads::replica_set),
    ("apps", "StatefulSet", workloads::stateful_set),
    ("argoproj.io", "AnalysisRun", argo::analysis_run),
    ("argoproj.io", "Application", argo::application),
    ("argoproj.io", "ApplicationSet", argo::application_set),
    ("argoproj.io", "Experiment", argo::analysis_run),
    ("argoproj.io", "Rollout", argo::rollout),
    ("argoproj.io", "Workflow", argo::workflow),
    ("autoscaling", "HorizontalPodAutoscaler", workloads::horizontal_pod_autoscaler),
    ("batch", "CronJob", batch::cron_job),
    ("batch", "Job", batch::job),
    ("extensions", "Ingress", network::ingress),
    ("networking.k8s.io", "Ingress", network::ingress),
    ("policy", "PodDisruptionBudget", cluster::pod_disruption_budget),
];

/// Returns the health of a live object; `None` for kinds without a check.
pub fn check(key: &ResourceKey, live: &Value) -> Option<Health> {
    if text(live, "/metadata/deletionTimestamp").is_some() {
        return Some(Health::progressing("Pending deletion"));
    }
    let (_, _, check) = CHECKS.iter().find(|(group, kind, _)| key.is(group, kind))?;
    Some(check(live))
}

/// Returns whether the object counts for the application's health.
pub fn counts(key: &ResourceKey, live: &Value, health: &Health) -> bool {
    // A child application that nobody has judged yet says nothing about its parent.
    let silent_child = key.is("argoproj.io", "Application")
        && matches!(health.status, HealthStatusCode::Missing | HealthStatusCode::Unknown);
    annotation(live, IGNORE_HEALTHCHECK) != Some("true") && !silent_child
}

/// Returns the health of an application: the worst that counts, with up to three causes; `Missing` if nothing is there.
/// `present` is the health of live resources, `missing` how many are wanted and not there.
pub fn aggregate(present: &[(ResourceKey, Health)], all_missing: bool) -> Health {
    if all_missing {
        return Health::new(HealthStatusCode::Missing, "");
    }
    let worst = present.iter().map(|(_, health)| health.status).max();
    let worst = worst.unwrap_or(HealthStatusCode::Healthy);
    if worst == HealthStatusCode::Healthy {
        return Health::healthy();
    }
    let causes: Vec<String> = present
        .iter()
        .filter(|(_, health)| health.status == worst)
        .map(|(key, health)| match health.message.as_str() {
            "" => key.to_string(),
            message => format!("{key}: {message}"),
        })
        .collect();
    let more = causes.len().saturating_sub(3);
    let tail = if more > 0 { format!(" and {more} more") } else { String::new() };
    let shown = causes.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
    Health::new(worst, format!("{shown}{tail}"))
}

/// Returns a condition of an object: status, reason, message.
pub(crate) fn condition<'a>(live: &'a Value, kind: &str) -> Option<(&'a str, &'a str, &'a str)> {
    let conditions = live.pointer("/status/conditions")?.as_array()?;
    let found = conditions.iter().find(|c| c["type"] == kind)?;
    let field = |name: &str| found[name].as_str().unwrap_or_default();
    Some((field("status"), field("reason"), field("message")))
}

#[cfg(test)]
mod tests;
