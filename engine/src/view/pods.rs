//! Pods, where a decision looks at single ones: restarts, and metadata of live Pods. All else counts by ReplicaSet.

use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use serde::Deserialize;
use sluice_crds::labels;
use sluice_crds::object::{Kind, Meta, ObjectRef};
use sluice_crds::rollout::RolloutRecord;
use sluice_crds::rollout::strategy::PodMetadata;
use sluice_crds::time::Time;

use super::ReplicaSetRecord;

/// A Pod.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(from = "WirePod")]
pub struct PodRecord {
    /// Pruned metadata.
    pub meta: Meta,
    /// Since when it is ready; `None` while it is not.
    pub ready_since: Option<DateTime<Utc>>,
}

#[derive(Deserialize)]
struct WirePod {
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
    last_transition_time: Option<Time>,
}

impl From<WirePod> for PodRecord {
    fn from(wire: WirePod) -> Self {
        let conditions = wire.status.conditions.unwrap_or_default();
        let ready = conditions.into_iter().find(|c| c.kind == "Ready" && c.status == "True");
        let created = wire.metadata.creation_timestamp;
        let ready_since = ready.and_then(|c| c.last_transition_time.or(created)).map(Time::at);
        Self { meta: wire.metadata, ready_since }
    }
}

impl PodRecord {
    /// Returns whether its deletion was asked for.
    pub fn is_leaving(&self) -> bool {
        self.meta.deletion_timestamp.is_some()
    }

    /// Returns whether it counts as available: ready for `minReadySeconds`, and not leaving.
    pub fn is_available(&self, min_ready_seconds: u32, now: DateTime<Utc>) -> bool {
        let wait = Duration::seconds(i64::from(min_ready_seconds));
        !self.is_leaving() && self.ready_since.is_some_and(|since| now >= since + wait)
    }

    /// Returns the address.
    pub fn object(&self) -> ObjectRef {
        self.meta.object(Kind::POD)
    }
}

/// An eviction that was refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RefusedEviction {
    /// When it last was.
    pub at: DateTime<Utc>,
    /// The server's words.
    pub why: String,
}

/// Returns whether a decision on the Rollout looks at its Pods one by one: while a restart is under way, while its strategy
/// gives Pods metadata for their role, and until all Pods have lost that of a role that ended.
pub fn wants_pods(
    rollout: &RolloutRecord,
    replica_sets: &[Arc<ReplicaSetRecord>],
    now: DateTime<Utc>,
) -> bool {
    let restart = rollout.spec.restart_at;
    let restarts =
        restart.is_some_and(|at| at.at() <= now && rollout.status.restarted_at != restart);
    let gives = |metadata: &Option<PodMetadata>| {
        metadata.as_ref().is_some_and(|metadata| *metadata != PodMetadata::default())
    };
    let strategy = &rollout.spec.strategy;
    let labels_pods = strategy
        .canary
        .as_ref()
        .is_some_and(|c| gives(&c.canary_metadata) || gives(&c.stable_metadata))
        || strategy
            .blue_green
            .as_ref()
            .is_some_and(|b| gives(&b.preview_metadata) || gives(&b.active_metadata));
    let keys = [labels::EPHEMERAL_METADATA, labels::FORMER_METADATA];
    let marked = |rs: &Arc<ReplicaSetRecord>| {
        rs.existing > 0 && keys.iter().any(|key| rs.meta.annotations.contains_key(*key))
    };
    restarts || labels_pods || replica_sets.iter().any(marked)
}
