use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use sluice_crds::application::QuarantineEntry;
use sluice_engine::view::Fact;

use super::record::{HealthyScope, Record};
use super::scope::{content_digest, content_hash};
use super::{entry_key, short};
use crate::key::ResourceKey;
use crate::manifest::{self, Manifest, ManifestSet};
use crate::source::poll_interval;
use crate::view::{ApplicationView, RenderKey, Rendered};

/// What may be applied: the wanted manifests, with the last healthy ones in place of what is quarantined.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Effective {
    /// Manifests that may be applied.
    pub(crate) manifests: BTreeMap<ResourceKey, Manifest>,
    /// Keys that are neither applied nor pruned: their live form stays as it is.
    pub(crate) untouched: BTreeSet<ResourceKey>,
    /// What is held back.
    pub(crate) held: Vec<Held>,
    /// Renderings that are needed to know what to apply instead.
    pub(crate) wants: BTreeSet<RenderKey>,
    /// When a rendering that failed is tried again.
    pub(crate) retry_at: Option<DateTime<Utc>>,
}

/// One entry that holds something back.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Held {
    /// The entry.
    pub(crate) entry: QuarantineEntry,
    /// Objects whose last healthy form is applied instead.
    pub(crate) restored: BTreeSet<ResourceKey>,
    /// Why nothing, or not all, is applied instead, if so.
    pub(crate) not_restored: Option<String>,
}

impl Effective {
    /// Returns whether the key belongs to what is held back.
    pub(crate) fn is_held(&self, key: &ResourceKey) -> bool {
        self.untouched.contains(key) || self.held.iter().any(|held| held.restored.contains(key))
    }

    /// Asks again for a rendering that failed: its commit may be out of reach for a while only.
    fn retry(&mut self, view: &ApplicationView, key: &RenderKey, failed_at: DateTime<Utc>) {
        let at = failed_at + poll_interval(view);
        if at <= view.now {
            self.wants.insert(key.clone());
        } else {
            self.retry_at = Some(self.retry_at.map_or(at, |known| known.min(at)));
        }
    }
}

/// Returns what may be applied of what is wanted.
pub(crate) fn admit(view: &ApplicationView, desired: &ManifestSet, record: &Record) -> Effective {
    let mut effective = Effective { manifests: desired.manifests.clone(), ..Effective::default() };
    let active: Vec<&QuarantineEntry> =
        record.quarantine.iter().filter(|entry| holds(view, desired, entry)).collect();
    let mut why_not_whole = None;
    if active.iter().any(|entry| entry.scope.as_deref() == Some("application")) {
        match whole_application(view, desired, record, &active, &mut effective) {
            Whole::Held => return effective,
            Whole::Unknown => {}
            Whole::Lost(why) => why_not_whole = Some(why),
        }
    }
    for entry in active {
        one(view, record, entry, &mut effective);
    }
    if let Some(why) = why_not_whole {
        for held in &mut effective.held {
            let own = held.not_restored.take();
            held.not_restored = Some(own.map_or(why.clone(), |own| format!("{why}; {own}")));
        }
    }
    effective
}

/// Returns whether an entry holds something of the wanted manifests back.
pub(crate) fn holds(
    view: &ApplicationView,
    desired: &ManifestSet,
    entry: &QuarantineEntry,
) -> bool {
    let key = entry_key(entry);
    let Some(manifest) = desired.manifests.get(&key) else { return false };
    let collisions = view.rollout(&key).and_then(|rollout| rollout.status.collision_count);
    matches(entry, &key, &manifest.body, collisions)
}

/// Returns whether an object has the content that an entry is about.
pub(crate) fn matches(
    entry: &QuarantineEntry,
    key: &ResourceKey,
    body: &serde_json::Value,
    collision_count: Option<i32>,
) -> bool {
    content_hash(key, body, collision_count) == entry.template_hash
        || entry.digest.as_deref() == Some(&content_digest(key, body))
}

/// What became of a whole application that is to go back. Unless it is held, its Rollouts go back one by one.
enum Whole {
    Held,
    /// No commit is known at which all of it was healthy.
    Unknown,
    /// That commit cannot be rendered, and why.
    Lost(String),
}

/// Puts the whole application back to its last healthy commit.
fn whole_application(
    view: &ApplicationView,
    desired: &ManifestSet,
    record: &Record,
    active: &[&QuarantineEntry],
    effective: &mut Effective,
) -> Whole {
    let Some(healthy) = &record.last_healthy else { return Whole::Unknown };
    let key =
        RenderKey { commit: healthy.revision.clone(), source: record.last_healthy_source.clone() };
    let rendered = match view.rendered.get(&key) {
        Some(Fact::Known(rendered, _)) => rendered,
        Some(Fact::Failed(error, at)) => {
            effective.retry(view, &key, *at);
            let commit = short(&healthy.revision);
            return Whole::Lost(format!(
                "the last healthy commit {commit} cannot be rendered ({error}), so only Rollouts go back, and the rest stays"
            ));
        }
        Some(Fact::Pending) | None => {
            effective.wants.insert(key);
            effective.untouched.extend(desired.manifests.keys().cloned());
            effective.manifests.clear();
            let why = format!("commit {} is being rendered", short(&healthy.revision));
            effective.held.extend(active.iter().map(|entry| waiting(entry, why.clone())));
            return Whole::Held;
        }
    };
    let set = read(view, rendered, &healthy.revision);
    // Objects that only the failed commit has stay as they are: Git wants them, so they are not pruned (G1).
    let added = desired.manifests.keys().filter(|key| !set.manifests.contains_key(*key));
    effective.untouched.extend(added.cloned());
    let restored: BTreeSet<ResourceKey> = set.manifests.keys().cloned().collect();
    effective.manifests = set.manifests;
    effective.held.extend(active.iter().map(|entry| Held {
        entry: (*entry).clone(),
        restored: restored.clone(),
        not_restored: None,
    }));
    Whole::Held
}

fn waiting(entry: &QuarantineEntry, why: String) -> Held {
    Held { entry: entry.clone(), restored: BTreeSet::new(), not_restored: Some(why) }
}

/// Puts one Rollout back, with the ConfigMaps and Secrets that its template mentions.
fn one(
    view: &ApplicationView,
    record: &Record,
    entry: &QuarantineEntry,
    effective: &mut Effective,
) {
    let key = entry_key(entry);
    let healthy = record.healthy.get(&key.path());
    // To hold the spec means to leave it as it is; an object that is gone is not made from what failed.
    let leaves_spec = entry.scope.as_deref() == Some("hold") && view.live(&key).is_some();
    let Some(healthy) = healthy.filter(|_| !leaves_spec) else {
        effective.manifests.remove(&key);
        effective.untouched.insert(key);
        let why = if leaves_spec {
            "`spec.rollback.scope` is `hold`: the spec stays as it is, the stable version serves"
        } else {
            "no healthy content of it is known: it is left as it is"
        };
        effective.held.push(waiting(entry, why.to_owned()));
        return;
    };
    let (manifests, not_restored) = scope_manifests(view, &key, healthy, effective);
    if manifests.is_empty() {
        effective.manifests.remove(&key);
        effective.untouched.insert(key);
    }
    let restored = manifests.iter().map(|manifest| manifest.key.clone()).collect();
    for manifest in manifests {
        effective.manifests.insert(manifest.key.clone(), manifest);
    }
    effective.held.push(Held { entry: entry.clone(), restored, not_restored });
}

/// Returns the objects of a healthy scope: as kept, if that is all of it; else rendered again; else, when Git cannot give
/// them any more, what was kept. Says what is missing.
fn scope_manifests(
    view: &ApplicationView,
    key: &ResourceKey,
    healthy: &HealthyScope,
    effective: &mut Effective,
) -> (Vec<Manifest>, Option<String>) {
    let rendered = Rendered { manifests: healthy.manifests.clone(), ..Rendered::default() };
    let kept: Vec<Manifest> =
        read(view, &rendered, &healthy.revision).manifests.into_values().collect();
    if healthy.complete {
        return (kept, None);
    }
    let commit = short(&healthy.revision);
    let render = RenderKey { commit: healthy.revision.clone(), source: healthy.source.clone() };
    match view.rendered.get(&render) {
        Some(Fact::Known(rendered, _)) => {
            let mut set = read(view, rendered, &healthy.revision).manifests;
            let Some(rollout) = set.remove(key) else {
                return (kept, Some(format!("commit {commit} does not have it any more")));
            };
            let mentioned = super::mentions(key, &rollout.body);
            let mut scope = vec![rollout];
            scope.extend(mentioned.iter().filter_map(|key| set.remove(key)));
            (scope, None)
        }
        Some(Fact::Failed(error, at)) => {
            effective.retry(view, &render, *at);
            let rest = match kept.is_empty() {
                true => "it is left as it is",
                false => "its Secrets are left as they are",
            };
            (kept, Some(format!("commit {commit} cannot be rendered any more ({error}): {rest}")))
        }
        Some(Fact::Pending) | None => {
            effective.wants.insert(render);
            (Vec::new(), Some(format!("commit {commit} is being rendered")))
        }
    }
}

fn read(view: &ApplicationView, rendered: &Rendered, commit: &str) -> ManifestSet {
    let namespace = view.application.spec.destination.namespace.as_deref();
    manifest::read(rendered, commit, namespace, &view.discovery)
}
