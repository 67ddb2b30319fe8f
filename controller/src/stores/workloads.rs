//! Stores that exist only while a Rollout asks for them: workloads that `spec.workloadRef` names, by kind, and Pods one by one,
//! by namespace.
//!
//! A cluster in which nobody uses either pays nothing for them. Of workloads only those that a Rollout names are kept whole.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sluice_crds::labels;
use sluice_crds::object::{Kind, ObjectRef, ResourceVersion};
use sluice_engine::view::{Lookup, PodRecord, ReplicaSetRecord, WorkloadRecord};
use tokio::task::AbortHandle;

use super::feed::{Feed, Interest, Source};
use super::live::Feeding;
use super::records::owned_by;
use super::store::{Availability, Changed, Identity, Kept, Store};
use super::{Stores, encoded, told};
use crate::client::Form;
use crate::config::Role;
use crate::queue::Key;

impl Kept for WorkloadRecord {
    fn identity(&self) -> Identity<'_> {
        super::records::identity(&self.meta)
    }

    /// Its status, which changes with each of its Pods, means nothing to a Rollout.
    fn same(&self, other: &Self) -> bool {
        let a = &self.meta;
        let b = &other.meta;
        a.uid == b.uid
            && a.generation == b.generation
            && a.annotations == b.annotations
            && a.deletion_timestamp == b.deletion_timestamp
    }
}

impl Kept for PodRecord {
    fn identity(&self) -> Identity<'_> {
        super::records::identity(&self.meta)
    }

    fn index(&self) -> Option<String> {
        self.meta.owner.as_ref().map(|owner| owned_by(&owner.uid))
    }

    fn same(&self, other: &Self) -> bool {
        let (a, b) = (&self.meta, &other.meta);
        a.uid == b.uid
            && a.labels == b.labels
            && a.annotations == b.annotations
            && a.deletion_timestamp == b.deletion_timestamp
            && self.ready_since == other.ready_since
    }

    fn is_leaving(&self) -> bool {
        PodRecord::is_leaving(self)
    }
}

struct Entry<T> {
    store: Arc<Store<T>>,
    feed: AbortHandle,
}

impl<T> Drop for Entry<T> {
    fn drop(&mut self) {
        self.feed.abort();
    }
}

/// The stores that were asked for.
#[derive(Default)]
pub(crate) struct Asked {
    workloads: Mutex<BTreeMap<Kind, Entry<WorkloadRecord>>>,
    pods: Mutex<BTreeMap<String, Entry<PodRecord>>>,
    /// Rollouts that look at Pods one by one, by namespace.
    readers: Mutex<BTreeMap<String, BTreeSet<Key>>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Asked {
    pub(crate) fn workloads_of(&self, kind: &Kind) -> Option<Arc<Store<WorkloadRecord>>> {
        locked(&self.workloads).get(kind).map(|entry| Arc::clone(&entry.store))
    }

    /// Returns up to where the store of workloads of the kind has seen; `None` if there is none to wait for.
    pub(crate) fn reached(&self, kind: &Kind) -> Option<ResourceVersion> {
        let store = self.workloads_of(kind)?;
        (store.availability() == Availability::Synced).then(|| store.reached())
    }

    /// Returns whether a store of Pods holds this incarnation, with no sign of its deletion.
    pub(crate) fn holds(&self, object: &ObjectRef, uid: &str) -> bool {
        let namespace = object.namespace.as_deref().unwrap_or_default();
        let pods = locked(&self.pods);
        let store = pods.get(namespace).filter(|_| object.kind == Kind::POD);
        store.is_some_and(|entry| entry.store.holds(namespace, &object.name, uid))
    }

    /// Ends all feeds.
    pub(crate) fn clear(&self) {
        // Feeds hold their stores: taken out first, so that nothing is dropped under a lock.
        let workloads = std::mem::take(&mut *locked(&self.workloads));
        let pods = std::mem::take(&mut *locked(&self.pods));
        drop((workloads, pods));
    }
}

impl Stores {
    /// Looks a workload up, and begins to watch its kind if nobody has asked for it before.
    pub(crate) fn workload(self: &Arc<Self>, object: &ObjectRef) -> Lookup<Arc<WorkloadRecord>> {
        let namespace = object.namespace.as_deref().unwrap_or_default();
        match self.workload_store(&object.kind) {
            Some(store) => store.lookup(namespace, &object.name),
            None => Lookup::Unknown,
        }
    }

    fn workload_store(self: &Arc<Self>, kind: &Kind) -> Option<Arc<Store<WorkloadRecord>>> {
        let feeding = self.feeding.get()?;
        let mut entries = locked(&self.asked.workloads);
        if let Some(entry) = entries.get(kind) {
            return Some(Arc::clone(&entry.store));
        }
        tracing::debug!(kind = %kind.kind, "workloads of the kind are watched");
        let store = Arc::new(Store::new(kind.clone()));
        let feed = feeding.runtime.spawn(self.workload_feed(&store, feeding).run()).abort_handle();
        entries.insert(kind.clone(), Entry { store: Arc::clone(&store), feed });
        Some(store)
    }

    fn workload_feed(
        self: &Arc<Self>,
        store: &Arc<Store<WorkloadRecord>>,
        feeding: &Feeding,
    ) -> Feed<WorkloadRecord, WorkloadRecord> {
        let kind = store.kind.clone();
        let (for_sink, for_stub, for_wanted) =
            (Arc::clone(self), Arc::clone(self), Arc::clone(self));
        let (of_sink, of_stub, of_wanted) = (kind.clone(), kind.clone(), kind.clone());
        let wanted = move |record: &WorkloadRecord| {
            for_wanted.references.is_read(&record.meta.object(of_wanted.clone()))
        };
        let stubbed = move |namespace: &str, name: &str| {
            let object = ObjectRef::namespaced(of_stub.clone(), namespace, name);
            if for_stub.references.is_read(&object) {
                for_stub.want([object]);
            }
        };
        Feed {
            store: Arc::clone(store),
            client: feeding.client.clone(),
            source: source(&kind, feeding.config.namespace.as_deref(), "", feeding),
            sink: Arc::new(move |change| for_sink.workload_changed(&of_sink, change)),
            told: told(Arc::clone(self), kind.clone()),
            interest: Some(Interest { wanted: Arc::new(wanted), stubbed: Arc::new(stubbed) }),
            jitter: Arc::clone(&feeding.jitter),
            make: Arc::new(Some),
        }
    }

    pub(super) fn workload_changed(&self, kind: &Kind, change: &Changed<WorkloadRecord>) {
        if let Some(record) = change.new.as_ref().or(change.old.as_ref()) {
            self.wake_readers(&record.meta.object(kind.clone()));
        }
    }

    /// Returns the Pods of the ReplicaSets, one by one; `None` while they are being listed. The Pods of a namespace are watched as
    /// long as one of its Rollouts asks for them.
    pub(crate) fn pods_of(
        self: &Arc<Self>,
        key: &Key,
        sets: &[Arc<ReplicaSetRecord>],
    ) -> Option<Vec<Arc<PodRecord>>> {
        locked(&self.asked.readers)
            .entry(key.namespace.to_string())
            .or_default()
            .insert(key.clone());
        let store = self.pod_store(&key.namespace)?;
        if store.availability() != Availability::Synced {
            return None;
        }
        let mut pods: Vec<_> =
            sets.iter().flat_map(|set| store.indexed(&owned_by(&set.meta.uid))).collect();
        pods.sort_by(|a, b| a.meta.name.cmp(&b.meta.name));
        Some(pods)
    }

    /// Says that the Rollout does not look at its Pods any more.
    pub(crate) fn leave_pods(&self, key: &Key) {
        let mut readers = locked(&self.asked.readers);
        let Some(of_namespace) = readers.get_mut(&*key.namespace) else { return };
        of_namespace.remove(key);
        if of_namespace.is_empty() {
            readers.remove(&*key.namespace);
            let entry = locked(&self.asked.pods).remove(&*key.namespace);
            drop(readers);
            drop(entry);
        }
    }

    fn pod_store(self: &Arc<Self>, namespace: &str) -> Option<Arc<Store<PodRecord>>> {
        let feeding = self.feeding.get()?;
        let mut entries = locked(&self.asked.pods);
        if let Some(entry) = entries.get(namespace) {
            return Some(Arc::clone(&entry.store));
        }
        tracing::debug!(namespace, "Pods are watched one by one");
        let store = Arc::new(Store::new(Kind::POD));
        let (for_sink, for_told) = (Arc::clone(self), Arc::clone(self));
        let of_told = namespace.to_owned();
        let feed: Feed<PodRecord, PodRecord> = Feed {
            store: Arc::clone(&store),
            client: feeding.client.clone(),
            source: source(&Kind::POD, Some(namespace), labels::POD_TEMPLATE_HASH, feeding),
            sink: Arc::new(move |change| for_sink.single_pod_changed(change)),
            told: Arc::new(move |is_turn| {
                if is_turn {
                    for_told.wake_pod_readers(&of_told);
                }
                for_told.advanced(&Kind::POD);
            }),
            interest: None,
            jitter: Arc::clone(&feeding.jitter),
            make: Arc::new(Some),
        };
        let feed = feeding.runtime.spawn(feed.run()).abort_handle();
        entries.insert(namespace.to_owned(), Entry { store: Arc::clone(&store), feed });
        Some(store)
    }

    fn wake_pod_readers(&self, namespace: &str) {
        let keys = locked(&self.asked.readers).get(namespace).cloned().unwrap_or_default();
        keys.into_iter().for_each(|key| self.queue.wake(key));
    }

    fn single_pod_changed(&self, change: &Changed<PodRecord>) {
        let Some(pod) = change.new.as_ref().or(change.old.as_ref()) else { return };
        let Some(owner) = &pod.meta.owner else { return };
        let Some(set) = self.replica_sets.get(&pod.meta.namespace, &owner.name) else { return };
        let reads = set.meta.owner.as_ref().is_some_and(|rollout| {
            let key = Key::new(Role::Rollouts, &*pod.meta.namespace, &*rollout.name);
            let readers = locked(&self.asked.readers);
            readers.get(&*pod.meta.namespace).is_some_and(|keys| keys.contains(&key))
        });
        if reads {
            self.wake_owner(&set.meta);
        }
    }
}

fn source(kind: &Kind, namespace: Option<&str>, selector: &str, feeding: &Feeding) -> Source {
    Source {
        path: kind.collection_path(namespace),
        selector: encoded(selector),
        form: Form::Whole,
        page: 250,
        watch_seconds: 60,
        limit: feeding.config.request_timeout,
    }
}
