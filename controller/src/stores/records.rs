//! How each kind is decoded from a watch line and found again.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use sluice_crds::analysis::{AnalysisRunRecord, AnalysisTemplateRecord};
use sluice_crds::app_project::AppProjectRecord;
use sluice_crds::application::ApplicationRecord;
use sluice_crds::experiment::ExperimentRecord;
use sluice_crds::labels;
use sluice_crds::object::{Kind, Meta, Owner, ResourceVersion};
use sluice_crds::rollout::RolloutRecord;
use sluice_engine::view::{JobRecord, ReplicaSetRecord, RouteRecord, ServiceRecord};

use super::store::{Identity, Kept};

pub(crate) fn identity(meta: &Meta) -> Identity<'_> {
    Identity {
        namespace: &meta.namespace,
        name: &meta.name,
        uid: &meta.uid,
        version: &meta.resource_version,
    }
}

/// Returns the index value of what an object of this uid owns.
pub(crate) fn owned_by(uid: &str) -> String {
    format!("owner/{uid}")
}

/// Returns the index value of objects of a namespace that nobody owns.
pub(crate) fn unowned_in(namespace: &str) -> String {
    format!("unowned/{namespace}")
}

fn owner_index(meta: &Meta) -> Option<String> {
    Some(match &meta.owner {
        Some(owner) => owned_by(&owner.uid),
        None => unowned_in(&meta.namespace),
    })
}

/// Returns the index value of Services that say that a Rollout manages them.
pub(crate) fn managed_by(namespace: &str, rollout: &str) -> String {
    format!("managed/{namespace}/{rollout}")
}

fn manager_index(meta: &Meta) -> Option<String> {
    let rollout = meta.annotations.get(labels::MANAGED_BY)?;
    Some(managed_by(&meta.namespace, rollout))
}

macro_rules! kept_by_meta {
    ($($record:ty => $index:expr;)*) => {$(
        impl Kept for $record {
            fn identity(&self) -> Identity<'_> {
                identity(&self.meta)
            }
            fn index(&self) -> Option<String> {
                $index(&self.meta)
            }
        }
    )*};
}

fn none(_: &Meta) -> Option<String> {
    None
}

kept_by_meta! {
    RolloutRecord => none;
    AnalysisTemplateRecord => none;
    ServiceRecord => manager_index;
    RouteRecord => none;
    AppProjectRecord => none;
    AnalysisRunRecord => owner_index;
    ExperimentRecord => owner_index;
    JobRecord => owner_index;
    ReplicaSetRecord => owner_index;
}

/// Returns the instance that the tracking id of an object names, whatever else the id says.
pub(crate) fn instance(meta: &Meta) -> Option<&str> {
    meta.annotations.get(labels::TRACKING_ID)?.split_once(':').map(|(instance, _)| instance)
}

/// An Application, and who wrote it lately: another controller on the same objects must be noticed.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Value")]
pub(crate) struct ApplicationKept {
    pub(crate) record: Arc<ApplicationRecord>,
    /// Entries of `metadata.managedFields`, without the fields.
    pub(crate) writers: Vec<Value>,
}

impl TryFrom<Value> for ApplicationKept {
    type Error = serde_json::Error;

    fn try_from(mut body: Value) -> Result<Self, serde_json::Error> {
        let writers = body.pointer_mut("/metadata/managedFields").map(Value::take);
        let mut writers = match writers {
            Some(Value::Array(writers)) => writers,
            Some(_) | None => Vec::new(),
        };
        for writer in writers.iter_mut().filter_map(Value::as_object_mut) {
            writer.remove("fieldsV1");
        }
        Ok(Self { record: Arc::new(ApplicationRecord::deserialize(&body)?), writers })
    }
}

impl Kept for ApplicationKept {
    fn identity(&self) -> Identity<'_> {
        identity(&self.record.meta)
    }
}

/// A Pod: which revision it is of. Readiness is taken from EndpointSlices, where proxies take it from.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(from = "WirePod")]
pub(crate) struct PodRecord {
    pub(crate) namespace: Box<str>,
    pub(crate) name: Box<str>,
    pub(crate) uid: Box<str>,
    pub(crate) version: ResourceVersion,
    pub(crate) hash: Box<str>,
    /// Name of the owning ReplicaSet.
    pub(crate) owner: Option<Owner>,
    /// Whether its deletion was asked for.
    leaving: bool,
}

#[derive(Deserialize)]
struct WirePod {
    metadata: Meta,
}

impl From<WirePod> for PodRecord {
    fn from(wire: WirePod) -> Self {
        let mut meta = wire.metadata;
        let hash = meta.labels.remove(labels::POD_TEMPLATE_HASH).unwrap_or_default();
        Self {
            namespace: meta.namespace.into(),
            name: meta.name.into(),
            uid: meta.uid.into(),
            version: meta.resource_version,
            hash: hash.into(),
            owner: meta.owner,
            leaving: meta.deletion_timestamp.is_some(),
        }
    }
}

impl Kept for PodRecord {
    fn identity(&self) -> Identity<'_> {
        Identity {
            namespace: &self.namespace,
            name: &self.name,
            uid: &self.uid,
            version: &self.version,
        }
    }
    fn same(&self, other: &Self) -> bool {
        self.uid == other.uid && self.hash == other.hash && self.owner == other.owner
    }
    fn is_leaving(&self) -> bool {
        self.leaving
    }
}

/// A Pod of a metric's Job: whether its images can be had.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(from = "WireJobPod")]
pub(crate) struct JobPodRecord {
    pub(crate) meta: Meta,
    /// Why an image cannot be had.
    pub(crate) stuck: Option<String>,
}

#[derive(Deserialize)]
struct WireJobPod {
    metadata: Meta,
    #[serde(default)]
    status: WireJobPodStatus,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct WireJobPodStatus {
    init_container_statuses: Option<Vec<WireContainer>>,
    container_statuses: Option<Vec<WireContainer>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WireContainer {
    name: String,
    state: WireContainerState,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WireContainerState {
    waiting: Option<WireWaiting>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WireWaiting {
    reason: String,
    message: String,
}

/// Reasons of a container that waits for an image which will not come by itself.
const NO_IMAGE: [&str; 5] = [
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "RegistryUnavailable",
];

impl From<WireJobPod> for JobPodRecord {
    fn from(wire: WireJobPod) -> Self {
        let WireJobPodStatus { init_container_statuses, container_statuses } = wire.status;
        let containers = [init_container_statuses, container_statuses].into_iter().flatten();
        let stuck = containers.flatten().find_map(|container| {
            let waiting = container.state.waiting?;
            let colon = if waiting.message.is_empty() { "" } else { ": " };
            NO_IMAGE.contains(&waiting.reason.as_str()).then(|| {
                format!(
                    "container `{}`: {}{colon}{}",
                    container.name, waiting.reason, waiting.message
                )
            })
        });
        Self { meta: wire.metadata, stuck }
    }
}

impl Kept for JobPodRecord {
    fn identity(&self) -> Identity<'_> {
        identity(&self.meta)
    }
    fn index(&self) -> Option<String> {
        owner_index(&self.meta)
    }
    fn same(&self, other: &Self) -> bool {
        self.meta.uid == other.meta.uid && self.stuck == other.stuck
    }
}

/// An EndpointSlice: which Pods a Service reaches.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(from = "WireSlice")]
pub(crate) struct SliceRecord {
    namespace: String,
    name: String,
    uid: String,
    version: ResourceVersion,
    /// Service that the slice is of.
    pub(crate) service: String,
    /// Names of its Pods that are ready.
    pub(crate) ready: Vec<String>,
}

#[derive(Deserialize)]
struct WireSlice {
    metadata: Meta,
    #[serde(default)]
    endpoints: Option<Vec<WireEndpoint>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireEndpoint {
    #[serde(default)]
    conditions: WireConditions,
    #[serde(default)]
    target_ref: Option<WireTarget>,
}

#[derive(Deserialize, Default)]
struct WireConditions {
    /// Absent means unknown, which consumers take for ready (EndpointConditions in discovery.k8s.io/v1).
    #[serde(default)]
    ready: Option<bool>,
}

#[derive(Deserialize)]
struct WireTarget {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    name: String,
}

impl From<WireSlice> for SliceRecord {
    fn from(wire: WireSlice) -> Self {
        let mut meta = wire.metadata;
        let endpoints = wire.endpoints.unwrap_or_default().into_iter();
        let ready = endpoints.filter(|endpoint| endpoint.conditions.ready.unwrap_or(true));
        let pods = ready.filter_map(|endpoint| endpoint.target_ref).filter(|t| t.kind == "Pod");
        Self {
            service: meta.labels.remove("kubernetes.io/service-name").unwrap_or_default(),
            namespace: meta.namespace,
            name: meta.name,
            uid: meta.uid,
            version: meta.resource_version,
            ready: pods.map(|target| target.name).collect(),
        }
    }
}

impl SliceRecord {
    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }
}

/// Returns the index value of slices of a Service.
pub(crate) fn slices_of(namespace: &str, service: &str) -> String {
    format!("{namespace}/{service}")
}

impl Kept for SliceRecord {
    fn identity(&self) -> Identity<'_> {
        Identity {
            namespace: &self.namespace,
            name: &self.name,
            uid: &self.uid,
            version: &self.version,
        }
    }
    fn index(&self) -> Option<String> {
        Some(slices_of(&self.namespace, &self.service))
    }
    fn same(&self, other: &Self) -> bool {
        self.uid == other.uid && self.service == other.service && self.ready == other.ready
    }
}

/// The wire form of a router object.
#[derive(Deserialize)]
struct WireRoute {
    metadata: Meta,
    #[serde(default)]
    spec: Value,
}

macro_rules! route_of {
    ($name:ident, $kind:expr) => {
        /// A router object as the wire has it; becomes a [`RouteRecord`].
        #[derive(Deserialize)]
        #[serde(transparent)]
        pub(crate) struct $name(WireRoute);

        impl From<$name> for RouteRecord {
            fn from(wire: $name) -> Self {
                let $name(WireRoute { metadata, spec }) = wire;
                Self { object: metadata.object($kind), meta: metadata, spec: spec.into() }
            }
        }
    };
}

route_of!(WireVirtualService, Kind::VIRTUAL_SERVICE);
route_of!(WireDestinationRule, Kind::DESTINATION_RULE);

/// Counts ready endpoints by hash: Pods named by slices, resolved by `hash_of`.
pub(crate) fn ready_by_hash<'a>(
    slices: impl IntoIterator<Item = &'a SliceRecord>,
    hash_of: impl Fn(&str, &str) -> Option<String>,
) -> BTreeMap<String, u32> {
    let mut pods = std::collections::BTreeSet::new();
    for slice in slices {
        // A dual-stack Service has a slice for each address family: a Pod counts once.
        pods.extend(slice.ready.iter().map(|pod| (slice.namespace(), pod.as_str())));
    }
    let mut ready = BTreeMap::new();
    for hash in pods.into_iter().filter_map(|(namespace, pod)| hash_of(namespace, pod)) {
        *ready.entry(hash).or_insert(0) += 1;
    }
    ready
}
