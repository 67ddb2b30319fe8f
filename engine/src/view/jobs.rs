//! Jobs of metrics (`provider.job`), cut down to what decisions look at.

use std::sync::Arc;

use serde::Deserialize;
use sluice_crds::object::Meta;
use sluice_crds::time::Time;

/// A metric's Job, and what keeps its Pods from starting.
#[derive(Clone, PartialEq, Debug)]
pub struct JobSight {
    /// The Job.
    pub job: Arc<JobRecord>,
    /// Why an image of its Pods cannot be had, such as `ImagePullBackOff: …`; `None` if nothing is wrong.
    pub stuck: Option<String>,
}

/// A Job.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(from = "WireJob")]
pub struct JobRecord {
    /// Pruned metadata.
    pub meta: Meta,
    /// How it ended; `None` while it runs.
    pub end: Option<JobEnd>,
}

/// How a Job ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JobEnd {
    /// Whether it is `Complete`; else it is `Failed`.
    pub good: bool,
    /// When.
    pub at: Option<Time>,
    /// The Job controller's words.
    pub message: String,
}

#[derive(Deserialize)]
struct WireJob {
    metadata: Meta,
    #[serde(default)]
    status: WireStatus,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WireStatus {
    conditions: Option<Vec<WireCondition>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct WireCondition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
    message: String,
    last_transition_time: Option<Time>,
}

impl From<WireJob> for JobRecord {
    fn from(wire: WireJob) -> Self {
        let mut conditions = wire.status.conditions.unwrap_or_default().into_iter();
        let end = conditions
            .find(|c| c.status == "True" && ["Complete", "Failed"].contains(&c.kind.as_str()))
            .map(|c| JobEnd {
                good: c.kind == "Complete",
                at: c.last_transition_time,
                message: c.message,
            });
        Self { meta: wire.metadata, end }
    }
}
