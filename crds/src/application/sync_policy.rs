use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use super::Info;

/// Whether and how an application is synced.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SyncPolicy {
    /// Present, even empty: new revisions are synced by themselves.
    pub automated: Option<AutomatedSync>,
    /// Options of the form `Key=value`, such as `CreateNamespace=true`; the first of a key decides.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sync_options: Vec<String>,
    /// How a failed sync is retried.
    pub retry: Option<RetryStrategy>,
    /// Labels and annotations for the namespace that `CreateNamespace=true` creates.
    pub managed_namespace_metadata: Option<NamespaceMetadata>,
    /// The same as `spec.info` (Sluice): some write it here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub info: Vec<Info>,
}

impl SyncPolicy {
    /// Returns the value of a sync option, such as `true` for `CreateNamespace=true`; the first entry of the key decides.
    pub fn option(&self, key: &str) -> Option<&str> {
        sync_option(&self.sync_options, key)
    }
}

/// Returns the value of a sync option in a list of `Key=value`; the first entry of the key decides.
pub fn sync_option<'a>(options: &'a [String], key: &str) -> Option<&'a str> {
    options.iter().find_map(|option| {
        let (name, value) = option.split_once('=')?;
        (name.trim() == key).then(|| value.trim())
    })
}

/// What may happen without being asked.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AutomatedSync {
    /// `false` switches automated sync off and keeps the other settings. Default true.
    pub enabled: Option<bool>,
    /// Whether objects that left the source are deleted. Default false.
    pub prune: Option<bool>,
    /// Whether live changes are undone at the same revision. Default false.
    pub self_heal: Option<bool>,
    /// Whether a sync may delete everything because the source is empty. Default false.
    pub allow_empty: Option<bool>,
}

/// How a failed sync is retried.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RetryStrategy {
    /// Number of retries; 0 is none, below 0 without end. Default 0; 5 for automated syncs without a retry block.
    pub limit: Option<i64>,
    /// Waiting time between retries.
    pub backoff: Option<Backoff>,
    /// Whether a retry uses the newest revision in place of the one that failed. Default false.
    pub refresh: Option<bool>,
}

/// Waiting time between retries.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Backoff {
    /// First wait, such as `5s`; a plain number is seconds. Default `5s`.
    pub duration: Option<String>,
    /// Factor from one wait to the next. Default 2.
    pub factor: Option<i64>,
    /// Longest wait. Default `3m`.
    pub max_duration: Option<String>,
}

/// Labels and annotations of a namespace.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NamespaceMetadata {
    /// Labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}
