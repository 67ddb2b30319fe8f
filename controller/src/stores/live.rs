//! Live objects of any kind that an Application holds: a store per kind, begun when the first Application names the kind.
//!
//! Kept whole are objects that carry a tracking id, and those that an Application's view names; of all others only that
//! they exist. Secrets are never listed: they are read by name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use sluice_crds::object::{Kind, ObjectRef, ResourceVersion};
use sluice_engine::view::Lookup;
use sluice_sync::view::LiveObject;
use tokio::task::AbortHandle;

use super::Stores;
use super::feed::{Feed, Interest, Source};
use super::store::{Availability, Changed, Identity, Kept, Store};
use crate::client::Form;
use crate::clock::Jitter;
use crate::config::{Config, Role};

impl Kept for LiveObject {
    fn identity(&self) -> Identity<'_> {
        super::records::identity(&self.meta)
    }

    /// The Application that the tracking id names, whatever else it says.
    fn index(&self) -> Option<String> {
        instance_of(self).map(str::to_owned)
    }
}

fn instance_of(object: &LiveObject) -> Option<&str> {
    super::records::instance(&object.meta)
}

/// Group and kind.
pub(crate) type Class = (String, String);

pub(crate) fn class_of(kind: &Kind) -> Class {
    (kind.group.to_string(), kind.kind.to_string())
}

struct Entry {
    store: Arc<Store<LiveObject>>,
    feed: AbortHandle,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.feed.abort();
    }
}

/// The stores of live objects, by group and kind.
#[derive(Default)]
pub(crate) struct Live(Mutex<BTreeMap<Class, Entry>>);

impl Live {
    fn entries(&self) -> MutexGuard<'_, BTreeMap<Class, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn store(&self, kind: &Kind) -> Option<Arc<Store<LiveObject>>> {
        self.entries().get(&class_of(kind)).map(|entry| Arc::clone(&entry.store))
    }

    /// Returns every object of these kinds that names the instance, or that this cannot be said.
    pub(crate) fn tracked(
        &self,
        instance: &str,
        classes: &BTreeSet<Class>,
    ) -> Lookup<Vec<Arc<LiveObject>>> {
        let mut objects = Vec::new();
        for (_, entry) in self.entries().iter().filter(|(class, _)| classes.contains(*class)) {
            match entry.store.availability() {
                Availability::Pending | Availability::Forbidden(_) => return Lookup::Unknown,
                Availability::NoKind => {}
                Availability::Synced => objects.extend(entry.store.indexed(instance)),
            }
        }
        Lookup::Present(objects)
    }

    /// Ends all feeds.
    pub(crate) fn clear(&self) {
        // Feeds hold their stores: taken out first, so that nothing is dropped under the lock.
        let entries = std::mem::take(&mut *self.entries());
        drop(entries);
    }

    pub(crate) fn reached(&self, kind: &Kind) -> Option<ResourceVersion> {
        let store = self.store(kind)?;
        (store.availability() == Availability::Synced).then(|| store.reached())
    }
}

/// What feeds need that begin later.
pub(crate) struct Feeding {
    pub(crate) client: kube::Client,
    pub(crate) config: Arc<Config>,
    pub(crate) jitter: Arc<Jitter>,
    pub(crate) runtime: tokio::runtime::Handle,
}

impl Stores {
    /// Returns the store of live objects of the kind, and begins it if need be. Secrets have none.
    pub(crate) fn live_store(self: &Arc<Self>, kind: &Kind) -> Option<Arc<Store<LiveObject>>> {
        let feeding = self.feeding.get()?;
        if *kind == Kind::SECRET {
            return None;
        }
        let mut entries = self.live.entries();
        if let Some(entry) = entries.get(&class_of(kind)) {
            return Some(Arc::clone(&entry.store));
        }
        tracing::debug!(kind = %kind.kind, group = %kind.group, "live objects of the kind are watched");
        let store = Arc::new(Store::new(kind.clone()));
        let feed = self.live_feed(&store, feeding);
        let feed = feeding.runtime.spawn(feed.run()).abort_handle();
        entries.insert(class_of(kind), Entry { store: Arc::clone(&store), feed });
        Some(store)
    }

    /// Whether objects of the namespace may be listed. With `--namespaced` only those of one are; what is elsewhere, or in none
    /// (the Namespace itself), is read by name.
    pub(crate) fn may_list(&self, namespace: &str) -> bool {
        let watched = self.feeding.get().and_then(|feeding| feeding.config.namespace.as_deref());
        watched.is_none_or(|watched| watched == namespace)
    }

    fn live_feed(
        self: &Arc<Self>,
        store: &Arc<Store<LiveObject>>,
        feeding: &Feeding,
    ) -> Feed<LiveObject, Value> {
        let kind = store.kind.clone();
        let (for_sink, for_stub) = (Arc::clone(self), Arc::clone(self));
        let (made, stubbed) = (kind.clone(), kind.clone());
        let for_wanted = Arc::clone(self);
        let wanted = move |object: &LiveObject| {
            instance_of(object).is_some() || for_wanted.references.is_read(&object.object)
        };
        let stubbed = move |namespace: &str, name: &str| {
            let object = address(&stubbed, namespace, name);
            if for_stub.references.is_read(&object) {
                for_stub.want([object]);
            }
        };
        Feed {
            store: Arc::clone(store),
            client: feeding.client.clone(),
            source: Source {
                path: kind.collection_path(feeding.config.namespace.as_deref()),
                selector: String::new(),
                form: Form::Whole,
                page: 250,
                watch_seconds: 60,
                limit: feeding.config.request_timeout,
            },
            sink: Arc::new(move |change| for_sink.live_changed(change)),
            told: super::told(Arc::clone(self), kind.clone()),
            interest: Some(Interest { wanted: Arc::new(wanted), stubbed: Arc::new(stubbed) }),
            jitter: Arc::clone(&feeding.jitter),
            make: Arc::new(move |body| live_object(&made, body)),
        }
    }

    /// Wakes the Application that tracks the object, did so before, or names it.
    pub(crate) fn live_changed(&self, change: &Changed<LiveObject>) {
        let Some(feeding) = self.feeding.get() else { return };
        for object in change.old.iter().chain(&change.new) {
            self.wake_readers(&object.object);
            let Some(instance) = instance_of(object) else { continue };
            let (namespace, name) = match instance.split_once('_') {
                Some((namespace, name)) => (namespace, name),
                None => (feeding.config.application_namespace.as_str(), instance),
            };
            self.wake(Role::Applications, namespace, name);
        }
    }
}

/// Returns the object; items of lists lack the type.
pub(crate) fn live_object(kind: &Kind, mut body: Value) -> Option<LiveObject> {
    body["apiVersion"] = json!(kind.api_version());
    body["kind"] = json!(kind.kind);
    let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let object = address(kind, text("/metadata/namespace"), text("/metadata/name"));
    LiveObject::new(object, body)
}

pub(crate) fn address(kind: &Kind, namespace: &str, name: &str) -> ObjectRef {
    let namespace = (!namespace.is_empty()).then(|| namespace.to_owned());
    ObjectRef { kind: kind.clone(), namespace, name: name.to_owned() }
}
