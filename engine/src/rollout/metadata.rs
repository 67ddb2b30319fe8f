//! ReplicaSets come into being and are adopted; revision numbers (`spec-rollouts` 2.2–2.4).

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use sluice_crds::labels;
use sluice_crds::object::{Kind, ObjectRef, controller_reference};

use super::action::{Action, Target};
use super::situation::{Roles, revision_of};
use super::{affinity, ephemeral, workload};
use crate::view::RolloutView;

/// Annotation of the notification engine, never copied.
const NOTIFIED: &str = "notified.notifications.argoproj.io";

/// Returns the adoption of ReplicaSets that nobody owns and our selector matches; the view holds no others.
pub(crate) fn adoptions(view: &RolloutView) -> Vec<Action> {
    let owner = controller_reference(&view.object(), &view.rollout.meta.uid);
    view.replica_sets
        .iter()
        .filter(|rs| rs.meta.owner.is_none() && rs.meta.deletion_timestamp.is_none())
        .filter(|rs| rs.hash().is_some())
        .map(|rs| Action::AdoptReplicaSet {
            target: Target::of(view, rs.object(), &rs.meta),
            owner: owner.clone(),
        })
        .collect()
}

/// Returns the creation of the ReplicaSet of `spec.template`, if there is none.
pub(crate) fn creation(s: &Roles<'_>) -> Option<Action> {
    if s.current.is_some() || s.is_taken() {
        return None;
    }
    let name = format!("{}-{}", s.rollout.meta.name, s.hash);
    let object = ObjectRef {
        kind: Kind::REPLICA_SET,
        namespace: s.view.object().namespace,
        name: name.clone(),
    };
    let mut template = s.rollout.spec.template.clone().unwrap_or_default();
    let mut pod_labels = label_map(template.pointer("/metadata/labels"));
    pod_labels.insert(labels::POD_TEMPLATE_HASH.to_owned(), json!(s.hash));
    if let Value::Object(template) = &mut template {
        let metadata = template.entry("metadata").or_insert_with(|| json!({}));
        metadata["labels"] = Value::Object(pod_labels.clone());
    }
    let injected = ephemeral::at_birth(s);
    ephemeral::inject(&mut template, &injected);
    if let Some(affinity) = affinity::wanted(s)
        && template["spec"].is_object()
    {
        template["spec"]["affinity"] = affinity;
    }
    let mut selector = serde_json::to_value(&s.rollout.spec.selector).unwrap_or_else(|_| json!({}));
    let mut matched = label_map(selector.get("matchLabels"));
    matched.insert(labels::POD_TEMPLATE_HASH.to_owned(), json!(s.hash));
    if !selector.is_object() {
        selector = json!({});
    }
    selector["matchLabels"] = Value::Object(matched);
    let mut annotations = copied_annotations(s);
    annotations.insert(labels::REVISION.to_owned(), s.revision().to_string());
    annotations.insert(labels::DESIRED_REPLICAS.to_owned(), s.n.to_string());
    annotations.extend(injected.note().map(|note| (labels::EPHEMERAL_METADATA.to_owned(), note)));
    let body = json!({
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": name,
            "namespace": s.rollout.meta.namespace,
            "labels": pod_labels,
            "annotations": annotations,
            "ownerReferences": [controller_reference(&s.view.object(), &s.rollout.meta.uid)],
        },
        "spec": {
            "replicas": 0,
            "minReadySeconds": s.rollout.spec.min_ready_seconds.unwrap_or(0),
            "selector": selector,
            "template": template,
        },
    });
    Some(Action::CreateReplicaSet {
        target: Target::new(s.view, object),
        hash: s.hash.clone(),
        body,
    })
}

fn label_map(value: Option<&Value>) -> Map<String, Value> {
    value.and_then(Value::as_object).cloned().unwrap_or_default()
}

/// Annotations of the Rollout that its ReplicaSets carry.
fn copied_annotations(s: &Roles<'_>) -> BTreeMap<String, String> {
    let own = [
        labels::REVISION,
        labels::REVISION_HISTORY,
        labels::DESIRED_REPLICAS,
        labels::WORKLOAD_GENERATION,
        labels::EPHEMERAL_METADATA,
    ];
    s.rollout
        .meta
        .annotations
        .iter()
        .filter(|(key, _)| {
            !own.contains(&key.as_str())
                && key.as_str() != labels::LAST_APPLIED
                && key.as_str() != labels::TRACKING_ID
                && !key.starts_with(NOTIFIED)
                && !key.starts_with(labels::EPOCH_PREFIX)
                && !key.starts_with(labels::SLUICE_PREFIX)
        })
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// Returns annotations and settings of the current revision that are not as they should be.
pub(crate) fn upkeep(s: &Roles<'_>) -> Vec<Action> {
    let mut actions = Vec::new();
    let revision = s.revision();
    if let Some(current) = s.current {
        let own = revision_of(&current.meta);
        let mut annotations = BTreeMap::new();
        if own != revision {
            annotations.insert(labels::REVISION.to_owned(), Some(revision.to_string()));
            if own > 0 {
                let mut history = current
                    .meta
                    .annotations
                    .get(labels::REVISION_HISTORY)
                    .cloned()
                    .unwrap_or_default();
                if !history.is_empty() {
                    history.push(',');
                }
                history.push_str(&own.to_string());
                annotations.insert(labels::REVISION_HISTORY.to_owned(), Some(history));
            }
        }
        for (key, value) in copied_annotations(s) {
            if current.meta.annotations.get(&key) != Some(&value) {
                annotations.insert(key, Some(value));
            }
        }
        let target = Target::of(s.view, current.object(), &current.meta);
        if !annotations.is_empty() {
            actions.push(Action::Annotate { target, annotations });
        } else if let Ok(seconds) = u32::try_from(s.rollout.spec.min_ready_seconds.unwrap_or(0))
            && seconds != current.min_ready_seconds
        {
            actions.push(Action::SetMinReady { target, seconds });
        }
    }
    let text = revision.to_string();
    let renumbered = s.rollout.meta.annotations.get(labels::REVISION) != Some(&text);
    let revision = renumbered.then(|| (labels::REVISION.to_owned(), Some(text)));
    let annotations: BTreeMap<String, Option<String>> =
        revision.into_iter().chain(workload::generation_note(s.view)).collect();
    if !annotations.is_empty() {
        let target = Target::of(s.view, s.view.object(), &s.rollout.meta);
        actions.push(Action::Annotate { target, annotations });
    }
    actions
}

/// Returns the write of the default of `spec.replicas`, if it is absent.
pub(crate) fn default_replicas(view: &RolloutView) -> Option<Action> {
    view.rollout.spec.replicas.is_none().then(|| Action::SetReplicas {
        target: Target::of(view, view.object(), &view.rollout.meta),
        replicas: 1,
    })
}
