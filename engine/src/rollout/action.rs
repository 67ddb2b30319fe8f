//! What a Rollout may do to the cluster; each action is exactly one write.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};
use sluice_crds::labels;
use sluice_crds::object::{Change, Meta, ObjectRef, Preconditions, Propagation, Write};

use super::ephemeral::Changes;
use super::events;
use crate::fence::Led;
use crate::plan::{Lower, Notice};
use crate::view::PodRecord;

/// The object of an action as the decision saw it, with the stamp that the write leaves on it.
#[derive(Clone, PartialEq, Debug)]
pub struct Target {
    /// Address.
    pub object: ObjectRef,
    /// Incarnation and version that the decision saw; empty for objects that are created.
    pub preconditions: Preconditions,
    stamp: Option<(String, String)>,
    old_stamp: Option<String>,
    has_annotations: bool,
}

impl Target {
    pub(crate) fn of(view: &impl Led, object: ObjectRef, meta: &Meta) -> Self {
        let epoch = view.epoch();
        let key = epoch.key();
        Self {
            preconditions: epoch.preconditions(meta),
            old_stamp: meta.annotations.get(&key).cloned(),
            has_annotations: !meta.annotations.is_empty(),
            ..Self::new(view, object)
        }
    }

    pub(crate) fn new(view: &impl Led, object: ObjectRef) -> Self {
        let epoch = view.epoch();
        let stamp = epoch.rules.epoch.then(|| (epoch.key(), epoch.stamp().to_string()));
        Self {
            object,
            preconditions: Preconditions::default(),
            stamp,
            old_stamp: None,
            has_annotations: false,
        }
    }

    /// A Pod whose metadata is written: without a stamp, because no plan relies on a Pod.
    pub(crate) fn unstamped(view: &impl Led, object: ObjectRef, meta: &Meta) -> Self {
        Self { stamp: None, ..Self::of(view, object, meta) }
    }

    /// A Pod that is evicted: known by its uid alone.
    pub(crate) fn of_pod(pod: &PodRecord) -> Self {
        let preconditions =
            Preconditions { uid: Some(pod.meta.uid.clone()), resource_version: None };
        Self {
            object: pod.object(),
            preconditions,
            stamp: None,
            old_stamp: None,
            has_annotations: false,
        }
    }

    fn stamped(&self, mut body: Value) -> Value {
        if let Some((key, value)) = &self.stamp
            && !seeded!(StampNotLeft)
        {
            annotate(&mut body, key, json!(value));
        }
        body
    }

    /// The operations of a JSON patch: the stamp, then `annotations`, then `operations`.
    fn operations(&self, annotations: &[(&str, &str)], operations: &[Value]) -> Vec<Value> {
        let mut all = Vec::new();
        if !self.has_annotations && (self.stamp.is_some() || !annotations.is_empty()) {
            // Stores drop kubectl's own annotation, and adding the map would erase it; but an object that a plan patches
            // was touched before, so its map exists. This is the case of the fence being off.
            all.push(json!({ "op": "add", "path": "/metadata/annotations", "value": {} }));
        }
        if let Some((key, value)) = &self.stamp {
            let path = annotation_path(key);
            if let Some(old) = &self.old_stamp
                && self.preconditions.resource_version.is_some()
            {
                all.push(json!({ "op": "test", "path": path, "value": old }));
            }
            all.push(json!({ "op": "add", "path": path, "value": value }));
        }
        for (key, value) in annotations {
            all.push(json!({ "op": "add", "path": annotation_path(key), "value": value }));
        }
        all.extend(operations.iter().cloned());
        all
    }

    fn write(&self, change: Change) -> Write {
        Write {
            object: self.object.clone(),
            preconditions: self.preconditions.clone(),
            manager: labels::MANAGER_ROLLOUT.into(),
            change,
        }
    }
}

fn annotation_path(key: &str) -> String {
    format!("/metadata/annotations/{}", key.replace('~', "~0").replace('/', "~1"))
}

fn annotate(body: &mut Value, key: &str, value: Value) {
    let Value::Object(object) = body else { return };
    let metadata = object.entry("metadata").or_insert_with(|| json!({}));
    let Value::Object(metadata) = metadata else { return };
    let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
    if let Value::Object(annotations) = annotations {
        annotations.insert(key.to_owned(), value);
    }
}

/// Which destination: one of the two of a canary, or one of the two of a blue-green update.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Role {
    /// Receives the canary's share.
    Canary,
    /// Receives the rest.
    Stable,
    /// Receives all users of a blue-green Rollout.
    Active,
    /// Receives those who look at its new version before users do.
    Preview,
}

impl Role {
    /// Returns `canary`, `stable`, `active` or `preview`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Canary => "canary",
            Self::Stable => "stable",
            Self::Active => "active",
            Self::Preview => "preview",
        }
    }
}

/// One write, in the words of the domain.
#[derive(Clone, PartialEq, Debug)]
pub enum Action {
    /// Stamps the object with the present term and changes nothing that anybody acts on.
    Touch {
        /// Object.
        target: Target,
        /// Instants on the object that are set to now: a write of a former leader may have landed just before the touch.
        refresh: BTreeMap<String, String>,
    },
    /// Writes `spec.replicas` of the Rollout when it is absent: an autoscaler needs a value.
    SetReplicas {
        /// The Rollout.
        target: Target,
        /// Value.
        replicas: u32,
    },
    /// Becomes the owner of a ReplicaSet that nobody owns.
    AdoptReplicaSet {
        /// ReplicaSet.
        target: Target,
        /// The `ownerReferences` entry.
        owner: Value,
    },
    /// Creates the ReplicaSet of a revision, with 0 replicas.
    CreateReplicaSet {
        /// ReplicaSet.
        target: Target,
        /// Its hash.
        hash: String,
        /// Whole object.
        body: Value,
    },
    /// Changes the size of a Deployment whose Pods give way to those of the Rollout.
    ScaleWorkload {
        /// Deployment.
        target: Target,
        /// Size as observed.
        from: u32,
        /// Wanted size.
        to: u32,
        /// Annotations that change with it; `None` removes.
        annotations: BTreeMap<String, Option<String>>,
    },
    /// Puts metadata of a role on the Pod template of a ReplicaSet, or takes it off.
    SetPodMetadata {
        /// ReplicaSet.
        target: Target,
        /// Labels of its Pods; `None` removes.
        labels: Changes,
        /// Annotations of its Pods; `None` removes.
        annotations: Changes,
        /// Annotations of the ReplicaSet itself: what was put there; `None` removes.
        notes: Changes,
    },
    /// Puts metadata of a role on a Pod, or takes it off.
    LabelPod {
        /// Pod.
        target: Target,
        /// Labels; `None` removes.
        labels: Changes,
        /// Annotations; `None` removes.
        annotations: Changes,
    },
    /// Replaces the affinity in the Pod template of a ReplicaSet; `None` removes it.
    SetAffinity {
        /// ReplicaSet.
        target: Target,
        /// Affinity.
        affinity: Option<Value>,
    },
    /// Asks for the eviction of a Pod, so that its ReplicaSet makes a new one.
    Evict {
        /// Pod.
        target: Target,
    },
    /// Changes the size of a ReplicaSet.
    Scale {
        /// ReplicaSet.
        target: Target,
        /// Its hash.
        hash: String,
        /// Size as observed.
        from: u32,
        /// Wanted size.
        to: u32,
        /// Annotations that change with it; `None` removes.
        annotations: BTreeMap<String, Option<String>>,
    },
    /// Changes `minReadySeconds` of a ReplicaSet.
    SetMinReady {
        /// ReplicaSet.
        target: Target,
        /// Wanted value.
        seconds: u32,
    },
    /// Makes a Service select one revision.
    SelectPods {
        /// Service.
        target: Target,
        /// Which destination it is.
        role: Role,
        /// Hash in the selector as observed.
        from: Option<String>,
        /// Wanted hash.
        to: String,
        /// Annotations that change with it: owner, instant of the switch.
        annotations: BTreeMap<String, String>,
    },
    /// Gives a Service back that the Rollout names no longer.
    ReleaseService {
        /// Service.
        target: Target,
        /// Hash in the selector as observed.
        from: String,
    },
    /// Makes the subsets of a DestinationRule select revisions.
    SelectSubsets {
        /// DestinationRule.
        target: Target,
        /// Hash of the canary subset.
        canary: Option<String>,
        /// Hash of the stable subset.
        stable: Option<String>,
        /// Operations on the spec.
        operations: Vec<Value>,
        /// Annotations that change with it: owner, instant of the switch.
        annotations: BTreeMap<String, String>,
    },
    /// Sets the weights of every managed route of one object.
    Route {
        /// Router object.
        target: Target,
        /// The canary's share as observed: the greatest of its routes.
        from: u32,
        /// The canary's wanted share of 100.
        to: u32,
        /// Names of the routes of steps that are there afterwards, if they are others than before.
        routes: Option<Vec<String>>,
        /// Shares of versions of Experiments afterwards, by Service, if they are others than before.
        versions: Option<Vec<(String, u32)>>,
        /// Operations on the spec, and on the note of what was made.
        operations: Vec<Value>,
        /// Annotations that change with it: instant of the change.
        annotations: BTreeMap<String, String>,
    },
    /// Creates an AnalysisRun.
    StartAnalysis {
        /// AnalysisRun.
        target: Target,
        /// Whole object.
        body: Value,
    },
    /// Ends an AnalysisRun with the measurements so far.
    StopAnalysis {
        /// AnalysisRun.
        target: Target,
    },
    /// Creates the Service of an Experiment's version.
    CreateService {
        /// Service.
        target: Target,
        /// Whole object.
        body: Value,
    },
    /// Creates an Experiment.
    StartExperiment {
        /// Experiment.
        target: Target,
        /// Whole object.
        body: Value,
    },
    /// Ends an Experiment: its versions go, and its analyses end with the measurements so far.
    StopExperiment {
        /// Experiment.
        target: Target,
    },
    /// Sets annotations; `None` removes.
    Annotate {
        /// Object.
        target: Target,
        /// Annotations.
        annotations: BTreeMap<String, Option<String>>,
    },
    /// Deletes an object that is beyond its limit of history.
    Delete {
        /// Object.
        target: Target,
    },
}

impl Action {
    /// Returns the object that is written.
    pub fn target(&self) -> &Target {
        match self {
            Self::Touch { target, .. }
            | Self::SetReplicas { target, .. }
            | Self::AdoptReplicaSet { target, .. }
            | Self::CreateReplicaSet { target, .. }
            | Self::ScaleWorkload { target, .. }
            | Self::SetPodMetadata { target, .. }
            | Self::LabelPod { target, .. }
            | Self::SetAffinity { target, .. }
            | Self::Evict { target }
            | Self::Scale { target, .. }
            | Self::SetMinReady { target, .. }
            | Self::SelectPods { target, .. }
            | Self::ReleaseService { target, .. }
            | Self::SelectSubsets { target, .. }
            | Self::Route { target, .. }
            | Self::StartAnalysis { target, .. }
            | Self::StopAnalysis { target }
            | Self::CreateService { target, .. }
            | Self::StartExperiment { target, .. }
            | Self::StopExperiment { target }
            | Self::Annotate { target, .. }
            | Self::Delete { target } => target,
        }
    }
}

/// Shares of versions of Experiments, in words.
fn shares(object: &ObjectRef, versions: &[(String, u32)]) -> String {
    let each: Vec<String> = versions.iter().map(|(to, weight)| format!("{to} {weight}")).collect();
    match each.as_slice() {
        [] => format!("take the shares of the experiment on {object} back"),
        each => format!("give shares of {object} to the experiment: {}", each.join(", ")),
    }
}

/// One line for people: reports, transcripts and traces.
impl std::fmt::Display for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let object = &self.target().object;
        match self {
            Self::Touch { .. } => write!(f, "fence {object}"),
            Self::SetReplicas { replicas, .. } => {
                write!(f, "set spec.replicas of {object} to {replicas}")
            }
            Self::AdoptReplicaSet { .. } => write!(f, "adopt {object}"),
            Self::CreateReplicaSet { .. } => write!(f, "create {object}"),
            Self::Scale { from, to, .. } | Self::ScaleWorkload { from, to, .. } => {
                write!(f, "scale {object} from {from} to {to}")
            }
            Self::SetPodMetadata { labels, annotations, .. } => {
                write!(f, "set metadata of the Pods of {object}")?;
                changes(f, labels, annotations)
            }
            Self::LabelPod { labels, annotations, .. } => {
                write!(f, "label {object}")?;
                changes(f, labels, annotations)
            }
            Self::SetAffinity { affinity: Some(_), .. } => {
                write!(f, "update the anti-affinity of {object}")
            }
            Self::SetAffinity { affinity: None, .. } => {
                write!(f, "remove the anti-affinity of {object}")
            }
            Self::Evict { .. } => write!(f, "evict {object}"),
            Self::SetMinReady { seconds, .. } => {
                write!(f, "set minReadySeconds of {object} to {seconds}")
            }
            Self::SelectPods { to, role, .. } => {
                write!(f, "point the {} {object} at {to}", role.as_str())
            }
            Self::ReleaseService { from, .. } => write!(f, "give {object} back, from {from}"),
            Self::SelectSubsets { canary, stable, .. } => write!(
                f,
                "point {object} at canary {} and stable {}",
                canary.as_deref().unwrap_or("-"),
                stable.as_deref().unwrap_or("-")
            ),
            Self::Route { from, to, routes, versions, .. } => {
                let mut parts = Vec::new();
                if from != to || (routes.is_none() && versions.is_none()) {
                    parts.push(format!("move the canary's weight on {object} from {from} to {to}"));
                }
                parts.extend(routes.as_deref().map(|names| match names {
                    [] => format!("remove the routes of steps on {object}"),
                    names => format!("set the routes of steps on {object}: {}", names.join(", ")),
                }));
                parts.extend(versions.as_deref().map(|versions| shares(object, versions)));
                f.write_str(&parts.join(", and "))
            }
            Self::StartAnalysis { .. } => write!(f, "start {object}"),
            Self::StopAnalysis { .. } | Self::StopExperiment { .. } => write!(f, "end {object}"),
            Self::CreateService { .. } => write!(f, "create {object}"),
            Self::StartExperiment { .. } => write!(f, "start {object}"),
            Self::Annotate { annotations, .. } => {
                write!(f, "annotate {object}")?;
                for (key, value) in annotations {
                    write!(f, " {key}={}", value.as_deref().unwrap_or("(removed)"))?;
                }
                Ok(())
            }
            Self::Delete { .. } => write!(f, "delete {object}"),
        }
    }
}

fn changes(
    f: &mut std::fmt::Formatter<'_>,
    labels: &Changes,
    annotations: &Changes,
) -> std::fmt::Result {
    for (key, value) in labels.iter().chain(annotations) {
        write!(f, " {key}={}", value.as_deref().unwrap_or("(removed)"))?;
    }
    Ok(())
}

impl Lower for Action {
    fn notices(&self) -> Vec<Notice> {
        events::of(self)
    }

    fn lower(&self) -> Write {
        let target = self.target();
        match self {
            Self::Touch { refresh, .. } => merged(target, json!({}), refresh),
            Self::SetReplicas { replicas, .. } => {
                set(target, &[], "/spec/replicas", json!(replicas))
            }
            Self::AdoptReplicaSet { owner, .. } => {
                set(target, &[], "/metadata/ownerReferences", json!([owner]))
            }
            Self::CreateReplicaSet { body, .. }
            | Self::StartAnalysis { body, .. }
            | Self::CreateService { body, .. }
            | Self::StartExperiment { body, .. } => {
                target.write(Change::Create { body: target.stamped(body.clone()) })
            }
            Self::Evict { .. } => target.write(Change::Evict),
            Self::SetPodMetadata { labels, annotations, notes, .. } => {
                let template = json!({ "metadata": metadata(labels, annotations) });
                merged(target, json!({ "spec": { "template": template } }), notes)
            }
            Self::LabelPod { labels, annotations, .. } => {
                let body = json!({ "metadata": metadata(labels, annotations) });
                merged(target, body, &Changes::new())
            }
            Self::SetAffinity { affinity, .. } => match affinity {
                Some(affinity) => set(target, &[], AFFINITY, affinity.clone()),
                None => patch(target, &[], &[json!({ "op": "remove", "path": AFFINITY })]),
            },
            Self::Scale { to, annotations, .. } | Self::ScaleWorkload { to, annotations, .. } => {
                merged(target, json!({ "spec": { "replicas": to } }), annotations)
            }
            Self::SetMinReady { seconds, .. } => {
                set(target, &[], "/spec/minReadySeconds", json!(seconds))
            }
            Self::SelectPods { from, to, annotations, .. } => {
                let path = format!("/spec/selector/{}", labels::POD_TEMPLATE_HASH);
                let mut operations = Vec::new();
                if let Some(from) = from {
                    operations.push(json!({ "op": "test", "path": path, "value": from }));
                }
                operations.push(json!({ "op": "add", "path": path, "value": to }));
                patch(target, &pairs(annotations), &operations)
            }
            Self::ReleaseService { from, .. } => {
                let path = format!("/spec/selector/{}", labels::POD_TEMPLATE_HASH);
                let operations = [
                    json!({ "op": "test", "path": path, "value": from }),
                    json!({ "op": "remove", "path": path }),
                    json!({ "op": "remove", "path": annotation_path(labels::MANAGED_BY) }),
                ];
                patch(target, &[], &operations)
            }
            Self::SelectSubsets { operations, annotations, .. }
            | Self::Route { operations, annotations, .. } => {
                patch(target, &pairs(annotations), operations)
            }
            Self::StopAnalysis { .. } | Self::StopExperiment { .. } => {
                let notes = BTreeMap::from([(labels::STOPPED.to_owned(), "true")]);
                merged(target, json!({ "spec": { "terminate": true } }), &notes)
            }
            Self::Annotate { annotations, .. } => merged(target, json!({}), annotations),
            Self::Delete { .. } => {
                target.write(Change::Delete { propagation: Propagation::Background })
            }
        }
    }

    fn is_touch(&self) -> bool {
        matches!(self, Self::Touch { .. })
    }
}

const AFFINITY: &str = "/spec/template/spec/affinity";

/// What of `metadata` changes: a field only if anything in it does.
fn metadata(labels: &Changes, annotations: &Changes) -> Value {
    let fields = [("labels", labels), ("annotations", annotations)];
    let changed = fields.into_iter().filter(|(_, map)| !map.is_empty());
    changed.map(|(field, map)| (field.to_owned(), json!(map))).collect()
}

/// The merge patch, with annotations that change with it.
fn merged<T: Serialize>(target: &Target, mut body: Value, notes: &BTreeMap<String, T>) -> Write {
    for (key, value) in notes {
        annotate(&mut body, key, json!(value));
    }
    target.write(Change::MergePatch { body: target.stamped(body) })
}

fn pairs(annotations: &BTreeMap<String, String>) -> Vec<(&str, &str)> {
    annotations.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
}

fn patch(target: &Target, annotations: &[(&str, &str)], operations: &[Value]) -> Write {
    target.write(Change::JsonPatch { operations: target.operations(annotations, operations) })
}

fn set(target: &Target, annotations: &[(&str, &str)], path: &str, value: Value) -> Write {
    patch(target, annotations, &[json!({ "op": "add", "path": path, "value": value })])
}
