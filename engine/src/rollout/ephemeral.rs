//! Labels and annotations that Pods carry while they play a role (`canaryMetadata`, `stableMetadata`, `previewMetadata`,
//! `activeMetadata`; `spec-rollouts` 2.7).
//!
//! A ReplicaSet's template gets them first, so that new Pods are born with them; then live Pods are patched. What was put on a
//! ReplicaSet is recorded on it in Argo's annotation. Keys that a role took with it are recorded in one of ours until no Pod
//! carries them any more: so a crash between the two writes leaves nothing behind (Argo forgets them).
//!
//! **Differences from Argo.** Labels that the selector needs are never touched. A key that the Rollout's own template has gets
//! the template's value back when the role ends, instead of being removed.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use sluice_crds::labels;
use sluice_crds::rollout::strategy::PodMetadata;

use super::action::{Action, Target};
use super::affinity;
use super::situation::{Roles, Set};
use super::template_hash;
use crate::view::{PodRecord, ReplicaSetRecord};

/// Pods that are patched in one decision, as in Argo.
const AT_ONCE: usize = 10;

/// Values by key; `None` removes.
pub(crate) type Changes = BTreeMap<String, Option<String>>;

/// Labels and annotations, never absent.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Injected {
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) annotations: BTreeMap<String, String>,
}

impl Injected {
    fn of(metadata: &PodMetadata) -> Self {
        Self {
            labels: metadata.labels.clone().unwrap_or_default(),
            annotations: metadata.annotations.clone().unwrap_or_default(),
        }
    }

    /// Reads the annotation of a ReplicaSet; what cannot be read is nothing.
    fn noted(set: &ReplicaSetRecord, key: &str) -> Self {
        let text = set.meta.annotations.get(key);
        let metadata = text.and_then(|text| serde_json::from_str::<PodMetadata>(text).ok());
        metadata.as_ref().map(Self::of).unwrap_or_default()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.annotations.is_empty()
    }

    /// Returns the value of the annotation, as Argo writes it; `None` if there is nothing to say.
    pub(crate) fn note(&self) -> Option<String> {
        let mut note = serde_json::Map::new();
        for (field, map) in [("annotations", &self.annotations), ("labels", &self.labels)] {
            if !map.is_empty() {
                note.insert(field.to_owned(), json!(map));
            }
        }
        (!note.is_empty()).then(|| Value::Object(note).to_string())
    }

    /// What is in `self` and not in `other`, by key.
    fn without(&self, other: &Self) -> Self {
        let rest = |mine: &BTreeMap<String, String>, theirs: &BTreeMap<String, String>| {
            let left = mine.keys().filter(|key| !theirs.contains_key(*key));
            left.map(|key| (key.clone(), String::new())).collect()
        };
        Self {
            labels: rest(&self.labels, &other.labels),
            annotations: rest(&self.annotations, &other.annotations),
        }
    }

    fn and(mut self, other: Self) -> Self {
        self.labels.extend(other.labels);
        self.annotations.extend(other.annotations);
        self
    }
}

/// Returns what the Pods of the set should carry for the role that it plays.
fn wanted(s: &Roles<'_>, set: Set<'_>) -> Injected {
    let is = |role: Option<Set<'_>>| role.is_some_and(|role| role.meta.name == set.meta.name);
    let whole = s.is_first() || s.is_promoted();
    if is(s.current) {
        given(s, !whole)
    } else if is(s.stable) {
        given(s, false)
    } else {
        Injected::default()
    }
}

/// Returns what is given to Pods of the new version (`is_new`), or to those of the stable one.
fn given(s: &Roles<'_>, is_new: bool) -> Injected {
    let strategy = &s.rollout.spec.strategy;
    let canary = strategy.canary.as_deref();
    let blue_green = strategy.blue_green.as_deref();
    let metadata = if is_new {
        canary
            .and_then(|c| c.canary_metadata.as_ref())
            .or_else(|| blue_green.and_then(|b| b.preview_metadata.as_ref()))
    } else {
        canary
            .and_then(|c| c.stable_metadata.as_ref())
            .or_else(|| blue_green.and_then(|b| b.active_metadata.as_ref()))
    };
    let mut given = metadata.map(Injected::of).unwrap_or_default();
    if !given.labels.is_empty() {
        let kept = selected_keys(s);
        given.labels.retain(|key, _| !kept.contains(key.as_str()));
    }
    given
}

/// Keys of labels that select the Pods: changing one would take the Pod from its ReplicaSet.
fn selected_keys<'a>(s: &Roles<'a>) -> BTreeSet<&'a str> {
    let selector = s.rollout.spec.selector.as_ref();
    let exact = selector.into_iter().flat_map(|s| s.match_labels.iter().flatten().map(|(k, _)| k));
    let further = selector
        .into_iter()
        .flat_map(|s| s.match_expressions.iter().flatten().map(|requirement| &requirement.key));
    let keys = exact.chain(further).map(String::as_str);
    keys.chain([labels::POD_TEMPLATE_HASH]).collect()
}

/// Returns what the Pods of a ReplicaSet that is created now are born with.
pub(crate) fn at_birth(s: &Roles<'_>) -> Injected {
    given(s, !s.is_first() && !s.is_promoted())
}

/// Puts metadata into a Pod template.
pub(crate) fn inject(template: &mut Value, injected: &Injected) {
    for (field, map) in [("labels", &injected.labels), ("annotations", &injected.annotations)] {
        if map.is_empty() {
            continue;
        }
        let Value::Object(object) = &mut *template else { return };
        let metadata = object.entry("metadata").or_insert_with(|| json!({}));
        let Value::Object(metadata) = metadata else { return };
        let place = metadata.entry(field).or_insert_with(|| json!({}));
        if !place.is_object() {
            *place = json!({});
        }
        for (key, value) in map {
            place[key] = json!(value);
        }
    }
}

/// Returns the writes that bring ReplicaSets and live Pods to what their roles ask for.
pub(crate) fn upkeep(s: &Roles<'_>) -> Vec<Action> {
    let mut actions = Vec::new();
    for set in s.owned().filter(|set| set.meta.deletion_timestamp.is_none()) {
        match template_change(s, set) {
            Some(action) => actions.push(action),
            None => actions.extend(pod_changes(s, set, AT_ONCE)),
        }
    }
    let mut pods = 0_usize;
    actions.retain(|action| {
        pods += usize::from(matches!(action, Action::LabelPod { .. }));
        !matches!(action, Action::LabelPod { .. }) || pods <= AT_ONCE
    });
    actions
}

fn template_change(s: &Roles<'_>, set: Set<'_>) -> Option<Action> {
    let (wanted, present) = (wanted(s, set), Injected::noted(set, labels::EPHEMERAL_METADATA));
    if wanted == present {
        return None;
    }
    let gone = present.without(&wanted);
    let has_pods = set.replicas > 0 || set.existing > 0;
    let known = Injected::noted(set, labels::FORMER_METADATA);
    let former = if has_pods { known.and(gone.clone()).without(&wanted) } else { known };
    let note = |key: &str, value: Option<String>| {
        (value.is_some() || set.meta.annotations.contains_key(key)).then(|| (key.to_owned(), value))
    };
    let notes = [
        note(labels::EPHEMERAL_METADATA, wanted.note()),
        note(labels::FORMER_METADATA, former.note()),
    ];
    let own = own_metadata(s, set);
    Some(Action::SetPodMetadata {
        target: Target::of(s.view, set.object(), &set.meta),
        labels: changes(&wanted.labels, &gone.labels, &own.labels),
        annotations: changes(&wanted.annotations, &gone.annotations, &own.annotations),
        notes: notes.into_iter().flatten().collect(),
    })
}

/// Labels and annotations that the template has by itself, as far as it is known: that of the current set is the Rollout's.
fn own_metadata(s: &Roles<'_>, set: Set<'_>) -> Injected {
    let is_current = s.current.is_some_and(|current| current.meta.name == set.meta.name);
    let template = s.rollout.spec.template.as_ref().filter(|_| is_current);
    let map = |field: &str| -> BTreeMap<String, String> {
        let map = template.and_then(|template| template["metadata"][field].as_object());
        let texts = map.into_iter().flatten();
        texts.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
    };
    Injected { labels: map("labels"), annotations: map("annotations") }
}

fn changes(
    wanted: &BTreeMap<String, String>,
    gone: &BTreeMap<String, String>,
    own: &BTreeMap<String, String>,
) -> Changes {
    let back = gone.keys().map(|key| (key.clone(), own.get(key).cloned()));
    let set = wanted.iter().map(|(key, value)| (key.clone(), Some(value.clone())));
    back.chain(set).collect()
}

/// Patches of live Pods; once none needs one, the record of former keys goes.
fn pod_changes(s: &Roles<'_>, set: Set<'_>, most: usize) -> Vec<Action> {
    let wanted = Injected::noted(set, labels::EPHEMERAL_METADATA);
    let former = Injected::noted(set, labels::FORMER_METADATA);
    if wanted.is_empty() && former.is_empty() {
        return Vec::new();
    }
    let own = own_metadata(s, set);
    let all_labels = changes(&wanted.labels, &former.labels, &own.labels);
    let all_annotations = changes(&wanted.annotations, &former.annotations, &own.annotations);
    let mut actions = Vec::new();
    match &s.view.pods {
        None if set.existing > 0 => return actions,
        None => {}
        Some(pods) => {
            let live = |pod: &&std::sync::Arc<PodRecord>| {
                pod.meta.is_owned_by(&set.meta.uid) && !pod.is_leaving()
            };
            for pod in pods.iter().filter(live) {
                let labels = differing(&all_labels, &pod.meta.labels);
                let annotations = differing(&all_annotations, &pod.meta.annotations);
                if !labels.is_empty() || !annotations.is_empty() {
                    let target = Target::unstamped(s.view, pod.object(), &pod.meta);
                    actions.push(Action::LabelPod { target, labels, annotations });
                }
            }
        }
    }
    if actions.is_empty() && set.meta.annotations.contains_key(labels::FORMER_METADATA) {
        actions.push(Action::Annotate {
            target: Target::of(s.view, set.object(), &set.meta),
            annotations: BTreeMap::from([(labels::FORMER_METADATA.to_owned(), None)]),
        });
    }
    actions.truncate(most);
    actions
}

/// What of the changes is not so already.
fn differing(changes: &Changes, present: &BTreeMap<String, String>) -> Changes {
    let differs = |(key, value): &(&String, &Option<String>)| present.get(*key) != value.as_ref();
    let open = changes.iter().filter(differs);
    open.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// Returns whether the ReplicaSet is of the template: what was injected into it does not count.
pub(crate) fn is_of(set: &ReplicaSetRecord, template: &Value) -> bool {
    if affinity::has_term(template) {
        // A user who writes the term that we would inject means it: ours and theirs cannot be told apart.
        return template_hash::same_template(&set.template, template);
    }
    template_hash::same_template(&without_injections(set), template)
}

/// Returns the template of a ReplicaSet without what was injected into it: metadata of a role, and anti-affinity.
pub(crate) fn without_injections(set: &ReplicaSetRecord) -> Cow<'_, Value> {
    let injected = Injected::noted(set, labels::EPHEMERAL_METADATA);
    if injected.is_empty() && !affinity::has_term(&set.template) {
        return Cow::Borrowed(&set.template);
    }
    let mut template = Value::clone(&set.template);
    for (field, keys) in [("labels", &injected.labels), ("annotations", &injected.annotations)] {
        let map = template.pointer_mut(&format!("/metadata/{field}"));
        if let Some(Value::Object(map)) = map {
            map.retain(|key, _| !keys.contains_key(key));
        }
    }
    affinity::strip(&mut template);
    Cow::Owned(template)
}

/// Returns the Pod template that a ReplicaSet was made of: without the label of the revision, metadata of a role, and injected
/// anti-affinity. What `undo` writes back.
pub fn template_of(set: &ReplicaSetRecord) -> Value {
    without_hash(without_injections(set).into_owned())
}

/// Returns the template without the label that its ReplicaSet added.
fn without_hash(mut template: Value) -> Value {
    if let Some(Value::Object(map)) = template.pointer_mut("/metadata/labels") {
        map.remove(labels::POD_TEMPLATE_HASH);
    }
    template
}
