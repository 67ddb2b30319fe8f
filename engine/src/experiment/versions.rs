//! ReplicaSets and Services of the versions: created empty, scaled, and taken away after a delay (`spec-rollouts` 7.1–7.4).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};
use sluice_crds::experiment::ExperimentTemplate;
use sluice_crds::labels;
use sluice_crds::object::{Kind, ObjectRef, controller_reference};

use super::names;
use super::situation::{Situation, Version};
use super::traffic::{self, Hold};
use super::verdict;
use crate::plan::{Wake, WakeReason};
use crate::report::Report;
use crate::rollout::template_hash::template_hash;
use crate::rollout::{Action, Target};
use crate::view::{Lookup, ReplicaSetRecord, ServiceRecord};

/// What is to be done to ReplicaSets and Services.
#[derive(Default)]
pub(super) struct Changes {
    /// Independent of each other.
    pub(super) actions: Vec<Action>,
    pub(super) wake: Option<Wake>,
}

/// Returns what brings every version to its size.
pub(super) fn changes(s: &Situation<'_>, report: &mut Report) -> Changes {
    let mut out = Changes::default();
    // Nothing begins that could not be judged.
    let held = verdict::obstacle(s).is_some();
    for version in &s.versions {
        let wanted = s.wanted(version);
        match version.set {
            None if wanted > 0 && !held => out.actions.extend(creation(s, version)),
            None => {}
            Some(set) if wanted > 0 => grow(s, version, set, wanted, &mut out),
            Some(set) => {
                let service = version.status.and_then(|status| status.service_name.as_deref());
                retire(s, set, service, report, &mut out);
            }
        }
    }
    for set in &s.strays {
        let of = set.meta.annotations.get(labels::EXPERIMENT_TEMPLATE);
        let status = of.and_then(|name| names::status_of(s.experiment, name));
        let service = status.and_then(|status| status.service_name.as_deref());
        retire(s, set, service, report, &mut out);
    }
    out.actions.extend(service_deletions(s));
    out
}

/// The ReplicaSet of a version, without Pods.
fn creation(s: &Situation<'_>, version: &Version<'_>) -> Option<Action> {
    let name = &version.set_name;
    if s.refusal(Kind::REPLICA_SET, name).is_some() || s.is_taken(name) {
        return None;
    }
    let template = version.template;
    let collisions = version.status.and_then(|status| status.collision_count);
    let hash = template_hash(&template.template, collisions);
    let object = object(s, Kind::REPLICA_SET, &version.set_name);
    let mut pods = template.template.clone();
    let mut pod_labels = label_map(pods.pointer("/metadata/labels"));
    pod_labels.insert(labels::POD_TEMPLATE_HASH.to_owned(), json!(hash));
    if let Value::Object(pods) = &mut pods {
        let metadata = pods.entry("metadata").or_insert_with(|| json!({}));
        metadata["labels"] = Value::Object(pod_labels.clone());
    }
    let mut selector = serde_json::to_value(&template.selector).unwrap_or_else(|_| json!({}));
    let mut matched = label_map(selector.get("matchLabels"));
    matched.insert(labels::POD_TEMPLATE_HASH.to_owned(), json!(hash));
    selector["matchLabels"] = Value::Object(matched);
    let body = json!({
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": metadata(s, template, &version.set_name, &Value::Object(pod_labels)),
        "spec": {
            "replicas": 0,
            "minReadySeconds": template.min_ready_seconds.unwrap_or(0),
            "selector": selector,
            "template": pods,
        },
    });
    Some(Action::CreateReplicaSet { target: Target::new(s.view, object), hash, body })
}

fn object(s: &Situation<'_>, kind: Kind, name: &str) -> ObjectRef {
    ObjectRef::namespaced(kind, &s.experiment.meta.namespace, name)
}

fn metadata(
    s: &Situation<'_>,
    template: &ExperimentTemplate,
    name: &str,
    labels_of: &Value,
) -> Value {
    json!({
        "name": name,
        "namespace": s.experiment.meta.namespace,
        "labels": labels_of,
        "annotations": {
            (labels::EXPERIMENT_NAME): s.experiment.meta.name,
            (labels::EXPERIMENT_TEMPLATE): template.name,
        },
        "ownerReferences": [controller_reference(&s.view.object(), &s.experiment.meta.uid)],
    })
}

fn label_map(value: Option<&Value>) -> Map<String, Value> {
    value.and_then(Value::as_object).cloned().unwrap_or_default()
}

/// Brings a version to its size, and makes its Service.
fn grow(
    s: &Situation<'_>,
    version: &Version<'_>,
    set: &Arc<ReplicaSetRecord>,
    wanted: u32,
    out: &mut Changes,
) {
    if set.replicas != wanted {
        out.actions.push(scale(s, set, wanted));
    } else if deadline_of(set).is_some() {
        // It is wanted again.
        out.actions.push(annotate(s, set, None));
    }
    out.actions.extend(service_creation(s, version, set));
}

fn scale(s: &Situation<'_>, set: &Arc<ReplicaSetRecord>, to: u32) -> Action {
    let has = set.meta.annotations.contains_key(labels::SCALE_DOWN_DEADLINE);
    let removed = has.then(|| (labels::SCALE_DOWN_DEADLINE.to_owned(), None));
    Action::Scale {
        target: Target::of(s.view, set.object(), &set.meta),
        hash: set.hash().unwrap_or_default().to_owned(),
        from: set.replicas,
        to,
        annotations: removed.into_iter().collect(),
    }
}

fn annotate(
    s: &Situation<'_>,
    set: &Arc<ReplicaSetRecord>,
    deadline: Option<DateTime<Utc>>,
) -> Action {
    let text = deadline.map(|at| at.to_rfc3339_opts(SecondsFormat::Secs, true));
    Action::Annotate {
        target: Target::of(s.view, set.object(), &set.meta),
        annotations: BTreeMap::from([(labels::SCALE_DOWN_DEADLINE.to_owned(), text)]),
    }
}

fn deadline_of(set: &ReplicaSetRecord) -> Option<DateTime<Utc>> {
    let text = set.meta.annotations.get(labels::SCALE_DOWN_DEADLINE)?;
    DateTime::parse_from_rfc3339(text).ok().map(|at| at.to_utc())
}

/// Takes a version's Pods away once its delay is over, and nothing is sent to them any more.
fn retire(
    s: &Situation<'_>,
    set: &Arc<ReplicaSetRecord>,
    service: Option<&str>,
    report: &mut Report,
    out: &mut Changes,
) {
    if set.replicas == 0 {
        return;
    }
    let delay = s.scale_down_delay();
    let hold = service.and_then(|service| traffic::hold(s.view, service));
    match deadline_of(set) {
        Some(at) if s.now() < at => {
            report.waits(format!("{} to be scaled down", set.object()), Some(at));
            let next = Wake { at, reason: WakeReason::ScaleDownDelay };
            out.wake = Wake::earliest(out.wake.take(), Some(next));
        }
        None if !delay.is_zero() => out.actions.push(annotate(s, set, Some(s.now() + delay))),
        Some(_) | None if hold.is_some() => {
            if let Some(Hold { what, until }) = hold {
                report.waits(what, until);
                let next = until.map(|at| Wake { at, reason: WakeReason::RouteConfirmed });
                out.wake = Wake::earliest(out.wake.take(), next);
            }
        }
        Some(_) | None => out.actions.push(scale(s, set, 0)),
    }
}

/// The Service of a version: it selects its Pods and has a port for each of their containers' ports. Without any port there is
/// nothing to serve (Argo).
fn service_creation(
    s: &Situation<'_>,
    version: &Version<'_>,
    set: &Arc<ReplicaSetRecord>,
) -> Option<Action> {
    let name = version.service_name.as_ref().filter(|_| version.service.is_none())?;
    let ports = ports(&version.template.template);
    if ports.is_empty() || s.refusal(Kind::SERVICE, name).is_some() {
        return None;
    }
    // Somebody else's: the create would meet it, and the status says so.
    if let Some(Lookup::Present(_)) = s.view.services.get(name) {
        return None;
    }
    let labels_of = json!(set.meta.labels);
    let mut own_labels = Map::new();
    if let Some(id) = s.experiment.meta.labels.get(labels::INSTANCE_ID) {
        own_labels.insert(labels::INSTANCE_ID.to_owned(), json!(id));
    }
    let body = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(s, version.template, name, &Value::Object(own_labels)),
        "spec": { "selector": labels_of, "ports": ports },
    });
    let target = Target::new(s.view, object(s, Kind::SERVICE, name));
    Some(Action::CreateService { target, body })
}

/// One port for each container port; a port without a name gets one, because a Service with several ports needs them.
fn ports(template: &Value) -> Vec<Value> {
    let containers = template.pointer("/spec/containers").and_then(Value::as_array);
    let containers = containers.into_iter().flatten();
    let all = containers
        .flat_map(|container| container["ports"].as_array().into_iter().flatten())
        .filter_map(|port| Some((port, port["containerPort"].as_u64()?)));
    let mut seen = BTreeSet::new();
    let mut ports = Vec::new();
    for (port, number) in all {
        let protocol = port["protocol"].as_str().unwrap_or("TCP");
        if seen.insert((protocol.to_owned(), number)) {
            let unnamed = format!("port-{number}");
            let name = port["name"].as_str().unwrap_or(&unnamed);
            ports.push(json!({
                "name": name, "port": number, "targetPort": number, "protocol": protocol,
            }));
        }
    }
    ports
}

/// Returns whether a version has a Service to wait for.
pub(super) fn wants_service(version: &Version<'_>) -> bool {
    version.service_name.is_some() && !ports(&version.template.template).is_empty()
}

/// Services of versions that have no Pods any more.
fn service_deletions(s: &Situation<'_>) -> Vec<Action> {
    let ours = |service: &&Arc<ServiceRecord>| {
        service.meta.is_owned_by(&s.experiment.meta.uid)
            && service.meta.deletion_timestamp.is_none()
    };
    let is_needed = |service: &Arc<ServiceRecord>| {
        let of = service.meta.annotations.get(labels::EXPERIMENT_TEMPLATE);
        let version = s.versions.iter().find(|version| Some(&version.template.name) == of);
        let strays = s.strays.iter().copied();
        let strays =
            strays.filter(|set| set.meta.annotations.get(labels::EXPERIMENT_TEMPLATE) == of);
        let mut sets = version.and_then(|version| version.set).into_iter().chain(strays);
        let has_pods = sets.any(|set| set.replicas > 0 || set.existing > 0);
        has_pods || version.is_some_and(|version| s.wanted(version) > 0)
    };
    let known = names::services(s.experiment);
    let services = known.iter().filter_map(|name| s.view.services.get(name)?.present());
    services
        .filter(ours)
        .filter(|service| !is_needed(service))
        .map(|service| Action::Delete {
            target: Target::of(s.view, service.object(), &service.meta),
        })
        .collect()
}
