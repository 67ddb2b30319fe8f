//! Builds the view of an Application, and runs its tasks: asking Git, rendering.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Duration, Utc};
use sluice_crds::application::ApplicationRecord;
use sluice_crds::labels::REFRESH;
use sluice_crds::object::{Kind, Meta, ObjectRef};
use sluice_crds::rollout::RolloutRecord;
use sluice_engine::fence::EpochView;
use sluice_engine::view::{Fact, Lookup};
use sluice_repo::Repo;
use sluice_sync::key::ResourceKey;
use sluice_sync::view::{
    ApplicationView, LiveObject, Refusal, RenderKey, Rendered, Revision, RevisionKey, SyncConfig,
    Task,
};
use sluice_sync::{ApplicationReconciler, hold, render_keys, revision_keys, target_keys, track};

use super::rollout::Quarantine;
use super::{Found, Observer, Sight, Work, subject};
use crate::clock::Clock;
use crate::execute::Outcome;
use crate::queue::Key;
use crate::stores::live::{address, class_of};
use crate::stores::{Stores, records};

pub(crate) mod discovery;
pub(crate) mod named;
mod source;

use discovery::Kinds;
use named::Named;

/// Argo's controller counts as alive this long after its last write.
const FOREIGN_MINUTES: i64 = 5;

/// What is remembered between decisions about Applications. All of it can be found out again.
#[derive(Default)]
pub(crate) struct Known {
    revisions: BTreeMap<RevisionKey, Fact<Revision>>,
    rendered: BTreeMap<RenderKey, Fact<Arc<Rendered>>>,
    /// Renderings that each Application's view contains.
    wanted: BTreeMap<Key, BTreeSet<RenderKey>>,
    refresh_seen: BTreeMap<Key, (String, DateTime<Utc>)>,
    refusals: BTreeMap<Key, BTreeMap<ResourceKey, Refusal>>,
}

/// Sees Applications.
pub(crate) struct ApplicationObserver {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) config: Arc<SyncConfig>,
    pub(crate) stores: Arc<Stores>,
    pub(crate) repo: Arc<Repo>,
    pub(crate) kinds: Arc<Kinds>,
    pub(crate) named: Arc<Named>,
    pub(crate) known: Arc<Mutex<Known>>,
}

impl Observer for ApplicationObserver {
    type R = ApplicationReconciler;

    fn observe(&self, key: &Key, epoch: EpochView) -> Sight<ApplicationView> {
        let Some(kept) = self.stores.applications.get(&key.namespace, &key.name) else {
            return Sight::Gone;
        };
        let application = Arc::clone(&kept.record);
        let Some(discovery) = self.kinds.discovery(key) else {
            return Sight::Waits("the list of kinds that the API server serves".into());
        };
        let config = &self.config;
        let now = self.clock.now();
        let within = Duration::minutes(FOREIGN_MINUTES);
        let project = application.spec.project_name();
        let record_object = hold::record_object(&application, config);
        let record = self.live_at(key, &record_object);
        let view = ApplicationView {
            now,
            config: Arc::clone(config),
            epoch: Some(epoch),
            project: self.stores.projects.lookup(&config.control_namespace, project),
            record,
            revisions: BTreeMap::new(),
            refresh_seen_at: self.refresh_seen(key, &application, now),
            jitter: jitter(&application),
            rendered: BTreeMap::new(),
            live: BTreeMap::new(),
            tracked: Lookup::Unknown,
            rollouts: Vec::new(),
            discovery,
            refusals: self.known().refusals.get(key).cloned().unwrap_or_default(),
            foreign_controller: sluice_sync::foreign_writer(&kept.writers, now, within),
            application: Arc::clone(&application),
        };
        let view = self.filled(key, view, record_object);
        Sight::Found(Box::new(Found {
            view,
            subject: subject(Kind::APPLICATION, &application.meta),
        }))
    }

    fn metas(view: &ApplicationView) -> Vec<&Meta> {
        let live = view.live.values().chain([&view.record]).filter_map(Lookup::present);
        std::iter::once(&view.application.meta).chain(live.map(|object| &object.meta)).collect()
    }

    fn run(&self, key: &Key, view: &ApplicationView, task: &Task) -> Work {
        match task {
            Task::FetchRevision(wanted) => self.resolve(wanted.clone()),
            Task::Render(wanted) => self.render(key, view, wanted.clone()),
        }
    }

    fn forget(&self, key: &Key) {
        let mut known = self.known();
        known.refresh_seen.remove(key);
        known.refusals.remove(key);
        known.wanted.remove(key);
        known.drop_unwanted();
        drop(known);
        self.stores.reads(key, BTreeSet::new());
    }

    /// Refusals are part of the view: the decision says so in a condition, and goes on with the other objects.
    const SEES_REFUSALS: bool = true;

    fn wrote(&self, key: &Key, object: &ObjectRef, outcome: &Outcome) {
        let resource = ResourceKey::of(object);
        self.named.forget(object);
        let mut known = self.known();
        match outcome {
            Outcome::Refused(message) => {
                let refusal = Refusal { message: message.clone(), at: self.clock.now() };
                known.refusals.entry(key.clone()).or_default().insert(resource, refusal);
            }
            Outcome::Applied(_) | Outcome::AlreadyExistsOurs(_) | Outcome::Gone => {
                if let Some(refusals) = known.refusals.get_mut(key) {
                    refusals.remove(&resource);
                }
            }
            Outcome::Conflict(_)
            | Outcome::Unavailable(_)
            | Outcome::Unknown(_)
            | Outcome::NotEvicted(_)
            | Outcome::NotLeading => {}
        }
    }
}

impl ApplicationObserver {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fills in what depends on the parts before: revisions, renderings, live objects.
    fn filled(&self, key: &Key, mut view: ApplicationView, record: ObjectRef) -> ApplicationView {
        let application = Arc::clone(&view.application);
        let mut known = self.known();
        for wanted in revision_keys(&application) {
            let fact = known.revisions.get(&wanted).cloned().unwrap_or(Fact::Pending);
            view.revisions.insert(wanted, fact);
        }
        let wanted = render_keys(&application, &view.revisions, &view.record);
        for wanted in &wanted {
            if let Some(fact) = known.rendered.get(wanted) {
                view.rendered.insert(wanted.clone(), fact.clone());
            }
        }
        known.wanted.insert(key.clone(), wanted);
        drop(known);
        let mut objects = BTreeSet::from([record]);
        let project = application.spec.project_name();
        let namespace = &*self.config.control_namespace;
        objects.insert(ObjectRef::namespaced(Kind::APP_PROJECT, namespace, project));
        // Rollouts are found in the namespaces of the objects, and are objects themselves: the second look is complete.
        view.rollouts = self.rollouts(&target_keys(&view));
        let targets = target_keys(&view);
        // Kinds that the application held lately count too: what Git dropped is found among them.
        let mut classes = BTreeSet::new();
        for resource in &application.status.resources {
            if let Some(kind) = self.kinds.kind(&resource.group, &resource.kind)
                && self.stores.may_list(&resource.namespace)
            {
                self.stores.live_store(&kind);
                classes.insert(class_of(&kind));
            }
        }
        let missing =
            |target: &&ResourceKey| view.discovery.get(&target.group, &target.kind).is_none();
        if targets.iter().any(|target| missing(&target)) {
            self.kinds.look_again(key);
        }
        for target in targets {
            let lookup = match self.kinds.kind(&target.group, &target.kind) {
                Some(kind) => {
                    let object = address(&kind, &target.namespace, &target.name);
                    objects.insert(object.clone());
                    if self.stores.may_list(&target.namespace) {
                        classes.insert(class_of(&kind));
                    }
                    self.live_at(key, &object)
                }
                None => Lookup::NoKind,
            };
            view.live.insert(target, lookup);
        }
        self.stores.reads(key, objects);
        let instance = track::instance(&application, &self.config.control_namespace);
        view.tracked = self.stores.live.tracked(&instance, &classes);
        view
    }

    fn live_at(&self, key: &Key, object: &ObjectRef) -> Lookup<Arc<LiveObject>> {
        let namespace = object.namespace.as_deref().unwrap_or_default();
        let may_list = self.stores.may_list(namespace);
        match may_list.then(|| self.stores.live_store(&object.kind)).flatten() {
            Some(store) => store.lookup(namespace, &object.name),
            None => self.named.lookup(key, object),
        }
    }

    fn rollouts(&self, targets: &BTreeSet<ResourceKey>) -> Vec<Arc<RolloutRecord>> {
        let namespaces: BTreeSet<&str> = targets.iter().map(|key| key.namespace.as_str()).collect();
        let inside = |rollout: &Arc<RolloutRecord>| namespaces.contains(&*rollout.meta.namespace);
        self.stores.rollouts.all().into_iter().filter(inside).collect()
    }

    /// Returns since when the refresh annotation is there.
    fn refresh_seen(
        &self,
        key: &Key,
        application: &ApplicationRecord,
        now: DateTime<Utc>,
    ) -> Option<DateTime<Utc>> {
        let mut known = self.known();
        let Some(asked) = application.meta.annotations.get(REFRESH) else {
            known.refresh_seen.remove(key);
            return None;
        };
        let seen = known.refresh_seen.entry(key.clone()).or_insert_with(|| (asked.clone(), now));
        if seen.0 != *asked {
            *seen = (asked.clone(), now);
        }
        Some(seen.1)
    }
}

impl Known {
    /// Drops renderings that no view contains any more.
    fn drop_unwanted(&mut self) {
        let wanted: BTreeSet<&RenderKey> = self.wanted.values().flatten().collect();
        self.rendered.retain(|key, _| wanted.contains(key));
    }
}

/// Argo adds up to 60 s to its own interval. Who names an interval gets that one.
fn jitter(application: &ApplicationRecord) -> Duration {
    if application.spec.refresh_interval.is_some() {
        return Duration::zero();
    }
    let sum = application
        .meta
        .uid
        .bytes()
        .fold(5381_u64, |sum, byte| sum.wrapping_mul(33).wrapping_add(u64::from(byte)));
    Duration::seconds(i64::try_from(sum % 61).unwrap_or(0))
}

/// Reads quarantine from the Application that tracks a Rollout.
pub(crate) struct FromApplications {
    pub(crate) stores: Arc<Stores>,
    pub(crate) control_namespace: String,
}

impl Quarantine for FromApplications {
    fn of(&self, rollout: &RolloutRecord) -> BTreeMap<String, String> {
        let resource = ResourceKey::of(&rollout.meta.object(Kind::ROLLOUT));
        let Some(name) = records::instance(&rollout.meta) else { return BTreeMap::new() };
        let (namespace, name) =
            name.split_once('_').unwrap_or((self.control_namespace.as_str(), name));
        match self.stores.applications.get(namespace, name) {
            Some(kept) => hold::quarantined_hashes(&kept.record, &resource),
            None => BTreeMap::new(),
        }
    }
}
