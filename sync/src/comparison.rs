//! What may be applied against what is live: one row for each resource, and what is live beyond it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use sluice_crds::application::HealthStatusCode;
use sluice_crds::object::ObjectRef;
use sluice_engine::view::Lookup;

use crate::apply::{Applier, OwnedFields};
use crate::compare::{Difference, IgnoreRules, differences};
use crate::health::{self, Health};
use crate::hold::Effective;
use crate::key::ResourceKey;
use crate::manifest::{self, COMPARE_OPTIONS, Manifest};
use crate::project::Permission;
use crate::track;
use crate::view::{ApplicationView, LiveObject};

/// A comparison.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Comparison {
    /// Rows, sorted by key.
    pub items: Vec<Item>,
    /// Live objects that carry our tracking id and are not wanted any more, sorted by key.
    pub extras: Vec<Extra>,
    /// Objects whose tracking id names another application: key and application.
    pub shared: Vec<(ResourceKey, String)>,
    /// Number of live objects that carry our tracking id.
    pub tracked: usize,
    /// Resources about which nothing is known: a store is not filled, or may not be read. Then nothing is written (G3).
    pub unknown: Vec<ResourceKey>,
    /// The application's health.
    pub health: HealthStatusCode,
    /// Why.
    pub health_message: String,
}

/// One wanted resource.
#[derive(Clone, PartialEq, Debug)]
pub struct Item {
    /// Key.
    pub key: ResourceKey,
    /// What is wanted; `None` for a resource that is left as it is.
    pub manifest: Option<Manifest>,
    /// Address; `None` while the kind is not served.
    pub object: Option<ObjectRef>,
    /// The live object.
    pub live: Option<Arc<LiveObject>>,
    /// What would be applied.
    pub body: Value,
    /// How live differs from that.
    pub differences: Vec<Difference>,
    /// Result.
    pub state: ItemState,
    /// Health of the live object.
    pub health: Option<Health>,
    /// Whether the resource belongs to what is held back by a quarantine.
    pub is_held: bool,
}

/// Result of the comparison of one resource.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ItemState {
    /// As wanted, or left as it is on purpose.
    Synced,
    /// Live differs.
    Differs,
    /// Not there.
    Missing,
    /// Not there, and neither is its namespace.
    NoNamespace,
    /// The API server does not serve the kind.
    NoKind,
    /// The project does not permit it.
    Forbidden(String),
}

/// A live object that is not wanted any more.
#[derive(Clone, PartialEq, Debug)]
pub struct Extra {
    /// Key.
    pub key: ResourceKey,
    /// The object.
    pub live: Arc<LiveObject>,
    /// Whether it counts for the sync status (`compare-options: IgnoreExtraneous` says no).
    pub counts: bool,
}

impl Item {
    /// Returns whether a sync has something to do here.
    pub fn is_open(&self) -> bool {
        match self.state {
            ItemState::Synced => false,
            ItemState::Differs
            | ItemState::Missing
            | ItemState::NoNamespace
            | ItemState::NoKind
            | ItemState::Forbidden(_) => true,
        }
    }

    /// Returns whether a write would bring it to where it should be.
    pub fn is_writable(&self) -> bool {
        matches!(self.state, ItemState::Differs | ItemState::Missing)
    }

    /// Returns the sync wave.
    pub fn wave(&self) -> i64 {
        self.manifest.as_ref().map_or(0, |manifest| manifest.wave)
    }
}

impl Comparison {
    /// Returns whether the cluster differs from what may be applied.
    pub fn is_out_of_sync(&self) -> bool {
        self.items.iter().any(Item::is_open) || self.extras.iter().any(|extra| extra.counts)
    }
}

/// Compares. `permission` is the project's word; `overwrites_ignored` is true when `RespectIgnoreDifferences=false`.
pub(crate) fn compare(
    view: &ApplicationView,
    effective: &Effective,
    permission: &Permission<'_>,
) -> Comparison {
    let instance = track::instance(&view.application, &view.config.control_namespace);
    let ignore = IgnoreRules::new(&view.application.spec.ignore_differences);
    let owned = owned_fields(view, effective);
    let applier = Applier { instance: &instance, owned: &owned, ignore: &ignore };
    let mut result = Comparison::default();
    for (key, manifest) in &effective.manifests {
        match view.live.get(key) {
            Some(Lookup::Unknown) => result.unknown.push(key.clone()),
            None if manifest.object.is_some() => result.unknown.push(key.clone()),
            None | Some(Lookup::Absent | Lookup::NoKind | Lookup::Present(_)) => {
                let item = item(view, &applier, effective, permission, key, manifest);
                result.items.push(item);
            }
        }
    }
    for key in &effective.untouched {
        if let Some(item) = untouched(view, key) {
            result.items.push(item);
        }
    }
    result.items.sort_by(|a, b| a.key.cmp(&b.key));
    for item in &result.items {
        let owner = item.live.as_ref().and_then(|live| track::tracked_by(&live.body, &item.key));
        if let Some(owner) = owner.filter(|owner| *owner != instance) {
            result.shared.push((item.key.clone(), owner.to_owned()));
        }
    }
    extras(view, effective, &instance, permission, &mut result);
    judge(&mut result, view);
    result
}

/// Collects what sync leaves to others.
pub(crate) fn owned_fields(view: &ApplicationView, effective: &Effective) -> OwnedFields {
    let wanted = effective.manifests.iter().map(|(key, manifest)| (key, &manifest.body));
    let live = view.live.iter().filter_map(|(key, found)| Some((key, &found.present()?.body)));
    OwnedFields::collect(wanted.chain(live), &view.rollouts)
}

fn item(
    view: &ApplicationView,
    applier: &Applier<'_>,
    effective: &Effective,
    permission: &Permission<'_>,
    key: &ResourceKey,
    manifest: &Manifest,
) -> Item {
    let live = view.live(key).cloned();
    let body = applier.body(manifest, live.as_deref());
    let mut found = Vec::new();
    let state = if let Err(why) = permission.resource(key, manifest.object.as_ref()) {
        ItemState::Forbidden(why)
    } else if let Some(live) = &live {
        found = differences(key, &body, live);
        if found.is_empty() { ItemState::Synced } else { ItemState::Differs }
    } else if manifest.object.is_none() || view.live.get(key) == Some(&Lookup::NoKind) {
        ItemState::NoKind
    } else if lacks_namespace(view, effective, key) {
        ItemState::NoNamespace
    } else {
        ItemState::Missing
    };
    Item {
        key: key.clone(),
        object: manifest.object.clone(),
        health: live.as_ref().and_then(|live| health::check(key, &live.body)),
        live,
        body,
        differences: found,
        state,
        is_held: effective.is_held(key),
        manifest: Some(manifest.clone()),
    }
}

fn lacks_namespace(view: &ApplicationView, effective: &Effective, key: &ResourceKey) -> bool {
    if key.namespace.is_empty() {
        return false;
    }
    let namespace = ResourceKey::namespace(&key.namespace);
    view.live.get(&namespace) == Some(&Lookup::Absent)
        && !effective.manifests.contains_key(&namespace)
}

fn untouched(view: &ApplicationView, key: &ResourceKey) -> Option<Item> {
    let live = view.live(key)?.clone();
    Some(Item {
        key: key.clone(),
        manifest: None,
        object: Some(live.object.clone()),
        body: live.body.clone(),
        differences: Vec::new(),
        state: ItemState::Synced,
        health: health::check(key, &live.body),
        live: Some(live),
        is_held: true,
    })
}

fn extras(
    view: &ApplicationView,
    effective: &Effective,
    instance: &str,
    permission: &Permission<'_>,
    result: &mut Comparison,
) {
    let Lookup::Present(tracked) = &view.tracked else {
        return;
    };
    let mut extras: BTreeMap<ResourceKey, Extra> = BTreeMap::new();
    for live in tracked {
        let key = live.key();
        if track::tracked_by(&live.body, &key) != Some(instance) {
            continue;
        }
        result.tracked += 1;
        let wanted = effective.manifests.contains_key(&key) || effective.untouched.contains(&key);
        if wanted || permission.resource(&key, Some(&live.object)).is_err() {
            continue;
        }
        let options = crate::key::annotation(&live.body, COMPARE_OPTIONS).unwrap_or_default();
        let counts = !options.split(',').any(|option| option.trim() == "IgnoreExtraneous");
        extras.insert(key.clone(), Extra { key, live: live.clone(), counts });
    }
    result.extras = extras.into_values().collect();
}

fn judge(result: &mut Comparison, view: &ApplicationView) {
    let own = &view.application.meta;
    let mut present = Vec::new();
    for item in &result.items {
        let (Some(live), Some(health)) = (&item.live, &item.health) else { continue };
        let is_self = item.key.is("argoproj.io", "Application")
            && item.key.name == own.name
            && item.key.namespace == own.namespace;
        if !is_self && health::counts(&item.key, &live.body, health) {
            present.push((item.key.clone(), health.clone()));
        }
    }
    let all_missing =
        !result.items.is_empty() && result.items.iter().all(|item| item.live.is_none());
    let health = health::aggregate(&present, all_missing);
    result.health = health.status;
    result.health_message = health.message;
}

/// Returns whether a manifest has a sync option with a value, of its own or of the application.
pub(crate) fn option_is(body: &Value, application: &[String], key: &str, value: &str) -> bool {
    let own = manifest::sync_option(body, key);
    let shared = sluice_crds::application::sync_option(application, key);
    own.or(shared) == Some(value)
}
