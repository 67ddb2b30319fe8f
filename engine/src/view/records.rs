//! Observed objects of built-in and router kinds, cut down to what decisions look at.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use sluice_crds::object::{Kind, Meta, ObjectRef};

use super::hash_of;

/// A ReplicaSet. `template` is kept whole: adoption compares it, and it is shared, not copied.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(from = "WireReplicaSet")]
pub struct ReplicaSetRecord {
    /// Pruned metadata.
    pub meta: Meta,
    /// `spec.replicas`.
    pub replicas: u32,
    /// `spec.minReadySeconds`.
    pub min_ready_seconds: u32,
    /// `spec.template`, as the API server returned it (with its defaults).
    pub template: Arc<Value>,
    /// `status.observedGeneration`.
    pub observed_generation: i64,
    /// `status.replicas`: Pods that exist.
    pub existing: u32,
    /// `status.readyReplicas`.
    pub ready: u32,
    /// `status.availableReplicas` as reported; decisions use [`ReplicaSetRecord::available`].
    pub reported_available: u32,
    /// Message of a `ReplicaFailure` condition, such as a quota that is used up.
    pub failure: Option<String>,
}

#[derive(Deserialize)]
struct WireReplicaSet {
    metadata: Meta,
    #[serde(default)]
    spec: WireSpec,
    #[serde(default)]
    status: WireStatus,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct WireSpec {
    replicas: Option<u32>,
    min_ready_seconds: u32,
    template: Value,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct WireStatus {
    replicas: u32,
    ready_replicas: u32,
    available_replicas: u32,
    observed_generation: i64,
    conditions: Option<Vec<WireCondition>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WireCondition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
    message: String,
}

impl From<WireReplicaSet> for ReplicaSetRecord {
    fn from(wire: WireReplicaSet) -> Self {
        let failure = wire
            .status
            .conditions
            .unwrap_or_default()
            .into_iter()
            .find(|c| c.kind == "ReplicaFailure" && c.status == "True")
            .map(|c| c.message);
        Self {
            meta: wire.metadata,
            replicas: wire.spec.replicas.unwrap_or(1),
            min_ready_seconds: wire.spec.min_ready_seconds,
            template: Arc::new(wire.spec.template),
            observed_generation: wire.status.observed_generation,
            existing: wire.status.replicas,
            ready: wire.status.ready_replicas,
            reported_available: wire.status.available_replicas,
            failure,
        }
    }
}

impl ReplicaSetRecord {
    /// Returns the pod-template-hash label: the identity of the revision, always trusted over a recomputed hash.
    pub fn hash(&self) -> Option<&str> {
        hash_of(&self.meta)
    }

    /// Returns the available Pods, at most `spec.replicas`; 0 while the status does not describe the present spec.
    pub fn available(&self) -> u32 {
        if self.observed_generation < self.meta.generation {
            return 0;
        }
        self.last_available()
    }

    /// Returns the Pods that were available when the status was written, at most `spec.replicas`: the best guess while that
    /// status does not describe the present spec. For what must not move because of a count that is missing; who needs
    /// Pods asks [`available`](Self::available).
    pub fn last_available(&self) -> u32 {
        self.reported_available.min(self.replicas)
    }

    /// Returns the address.
    pub fn object(&self) -> ObjectRef {
        self.meta.object(Kind::REPLICA_SET)
    }
}

/// A Service.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(from = "WireService")]
pub struct ServiceRecord {
    /// Pruned metadata.
    pub meta: Meta,
    /// `spec.selector`.
    pub selector: BTreeMap<String, String>,
    /// Numbers of `spec.ports`.
    pub ports: Vec<u16>,
}

#[derive(Deserialize)]
struct WireService {
    metadata: Meta,
    #[serde(default)]
    spec: WireServiceSpec,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WireServiceSpec {
    selector: Option<BTreeMap<String, String>>,
    ports: Option<Vec<WirePort>>,
}

#[derive(Deserialize)]
struct WirePort {
    port: u16,
}

impl From<WireService> for ServiceRecord {
    fn from(wire: WireService) -> Self {
        Self {
            meta: wire.metadata,
            selector: wire.spec.selector.unwrap_or_default(),
            ports: wire.spec.ports.unwrap_or_default().into_iter().map(|p| p.port).collect(),
        }
    }
}

impl ServiceRecord {
    /// Returns the hash that the selector names.
    pub fn hash(&self) -> Option<&str> {
        self.selector.get(sluice_crds::labels::POD_TEMPLATE_HASH).map(String::as_str)
    }

    /// Returns the address.
    pub fn object(&self) -> ObjectRef {
        self.meta.object(Kind::SERVICE)
    }
}

/// Ready endpoints of one Service.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct EndpointCounts {
    /// Ready Pods by pod-template-hash: EndpointSlice endpoints with `conditions.ready`, resolved by `targetRef` to a Pod.
    pub ready: BTreeMap<String, u32>,
}

impl EndpointCounts {
    /// Returns the ready Pods of the hash.
    pub fn of(&self, hash: &str) -> u32 {
        self.ready.get(hash).copied().unwrap_or(0)
    }
}

/// A VirtualService or DestinationRule; the spec is kept whole, because patches must leave foreign content alone.
#[derive(Clone, PartialEq, Debug)]
pub struct RouteRecord {
    /// Address.
    pub object: ObjectRef,
    /// Pruned metadata.
    pub meta: Meta,
    /// `spec`.
    pub spec: Arc<Value>,
}
