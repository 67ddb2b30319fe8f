//! The workload that a Rollout takes its Pod template from (`spec.workloadRef`).

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use sluice_crds::object::{Kind, Meta, ObjectRef};
use sluice_crds::rollout::{LabelSelector, RolloutRecord};

use super::Lookup;

/// A Deployment, ReplicaSet or PodTemplate, cut down to what a Rollout takes from it.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(from = "WireWorkload")]
pub struct WorkloadRecord {
    /// Pruned metadata.
    pub meta: Meta,
    /// `spec.replicas`; `None` for a PodTemplate.
    pub replicas: Option<u32>,
    /// `spec.selector`; `None` for a PodTemplate.
    pub selector: Option<LabelSelector>,
    /// `spec.template`, of a PodTemplate `template`, as the API server returned it (with its defaults).
    pub template: Arc<Value>,
}

#[derive(Deserialize)]
struct WireWorkload {
    metadata: Meta,
    #[serde(default)]
    spec: WireSpec,
    #[serde(default)]
    template: Value,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WireSpec {
    replicas: Option<u32>,
    selector: Option<LabelSelector>,
    template: Value,
}

impl From<WireWorkload> for WorkloadRecord {
    fn from(wire: WireWorkload) -> Self {
        let WireWorkload { metadata, spec, template } = wire;
        let template = if spec.template.is_null() { template } else { spec.template };
        Self {
            meta: metadata,
            replicas: spec.replicas,
            selector: spec.selector,
            template: template.into(),
        }
    }
}

/// What becomes of the Pods of a Deployment whose template a Rollout took over (`spec.workloadRef.scaleDown`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum ScaleDown {
    /// They stay.
    #[default]
    Never,
    /// They go once the Rollout's first revision is healthy.
    OnSuccess,
    /// They go as Pods of the Rollout's first revision take their place.
    Progressively,
}

/// The workload of a Rollout, as far as it is known.
#[derive(Clone, PartialEq, Debug)]
pub struct WorkloadView {
    /// Address.
    pub object: ObjectRef,
    /// What becomes of its Pods.
    pub scale_down: ScaleDown,
    /// What the store says about it.
    pub found: Lookup<Arc<WorkloadRecord>>,
}

impl WorkloadView {
    /// Returns the view of the workload that the Rollout refers to; `find` looks it up. `None` without a reference, and for
    /// one that is no valid reference: validation says what is wrong with it.
    pub fn of(
        rollout: &RolloutRecord,
        find: impl FnOnce(&ObjectRef) -> Lookup<Arc<WorkloadRecord>>,
    ) -> Option<Self> {
        let (object, scale_down) = referred(rollout)?;
        let found = find(&object);
        Some(Self { object, scale_down, found })
    }
}

/// Returns the workload that a Rollout refers to, if its reference is valid.
pub fn workload_of(rollout: &RolloutRecord) -> Option<ObjectRef> {
    referred(rollout).map(|(object, _)| object)
}

fn referred(rollout: &RolloutRecord) -> Option<(ObjectRef, ScaleDown)> {
    let reference = rollout.spec.workload_ref.as_ref()?;
    let version = reference.api_version.as_deref().unwrap_or_default();
    let group = version.split_once('/').map_or("", |(group, _)| group);
    let kind = match (group, reference.kind.as_deref().unwrap_or_default()) {
        ("apps", "Deployment") => Kind::DEPLOYMENT,
        ("apps", "ReplicaSet") => Kind::REPLICA_SET,
        ("", "PodTemplate") => Kind::POD_TEMPLATE,
        _ => return None,
    };
    let name = reference.name.as_deref().filter(|name| !name.is_empty())?;
    let scale_down = match reference.scale_down.as_deref() {
        None | Some("" | "never") => ScaleDown::Never,
        Some("onsuccess") => ScaleDown::OnSuccess,
        Some("progressively") => ScaleDown::Progressively,
        Some(_) => return None,
    };
    Some((ObjectRef::namespaced(kind, &rollout.meta.namespace, name), scale_down))
}
