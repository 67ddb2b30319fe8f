//! What is known of the cluster: one store per kind, each filled by a feed of its own, and who must hear of a change.
//!
//! Nothing here decides. A change of an object wakes the keys whose views contain it, found through owners and through the
//! reverse index of references; a view is then built from the stores at once ([`crate::reconcile`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use serde::de::DeserializeOwned;
use sluice_crds::analysis::{AnalysisRunRecord, AnalysisTemplateRecord};
use sluice_crds::app_project::AppProjectRecord;
use sluice_crds::experiment::ExperimentRecord;
use sluice_crds::labels;
use sluice_crds::object::{Kind, Meta, ObjectRef, ResourceVersion};
use sluice_crds::rollout::RolloutRecord;
use sluice_engine::view::{
    EndpointCounts, JobRecord, JobSight, Lookup, ReplicaSetRecord, RouteRecord, ServiceRecord,
    WorkloadRecord,
};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::client::{self, Form};
use crate::clock::{Backoff, Jitter};
use crate::config::{Config, Role};
use crate::expectations::{Expectations, Seen};
use crate::queue::{Key, Queue};

pub(crate) mod feed;
pub(crate) mod live;
pub(crate) mod records;
pub(crate) mod references;
pub(crate) mod store;
mod wakes;
mod workloads;

use feed::{Feed, Interest, Sink, Source, Told};
use live::{Feeding, Live, class_of};
use records::{
    ApplicationKept, JobPodRecord, PodRecord, SliceRecord, WireDestinationRule, WireVirtualService,
};
use references::References;
use store::{Availability, Changed, Kept, Observed, Store};
use workloads::Asked;

/// Every store, and the indexes between them.
pub(crate) struct Stores {
    pub(crate) rollouts: Arc<Store<RolloutRecord>>,
    pub(crate) replica_sets: Arc<Store<ReplicaSetRecord>>,
    pub(crate) services: Arc<Store<ServiceRecord>>,
    pub(crate) slices: Arc<Store<SliceRecord>>,
    pub(crate) pods: Arc<Store<PodRecord>>,
    pub(crate) runs: Arc<Store<AnalysisRunRecord>>,
    pub(crate) experiments: Arc<Store<ExperimentRecord>>,
    /// Jobs of metrics.
    pub(crate) jobs: Arc<Store<JobRecord>>,
    /// Pods of those Jobs.
    pub(crate) job_pods: Arc<Store<JobPodRecord>>,
    pub(crate) templates: Arc<Store<AnalysisTemplateRecord>>,
    pub(crate) cluster_templates: Arc<Store<AnalysisTemplateRecord>>,
    pub(crate) virtual_services: Arc<Store<RouteRecord>>,
    pub(crate) destination_rules: Arc<Store<RouteRecord>>,
    pub(crate) applications: Arc<Store<ApplicationKept>>,
    pub(crate) projects: Arc<Store<AppProjectRecord>>,
    pub(crate) live: Live,
    pub(crate) asked: Asked,
    pub(crate) references: References,
    pub(crate) expectations: Expectations,
    pub(crate) queue: Arc<Queue>,
    /// Route objects that are known to exist and whose content is wanted.
    wanted: Mutex<BTreeSet<ObjectRef>>,
    fetch: Notify,
    feeding: OnceLock<Feeding>,
    progressed: Notify,
    fed: Mutex<BTreeSet<Kind>>,
}

/// State of one store, for metrics and readiness.
#[derive(Clone, Debug)]
pub(crate) struct StoreState {
    pub(crate) kind: Kind,
    pub(crate) availability: Availability,
    pub(crate) heard: Instant,
    pub(crate) went_back: u64,
}

impl Stores {
    pub(crate) fn new(queue: Arc<Queue>) -> Arc<Self> {
        Arc::new(Self {
            rollouts: Arc::new(Store::new(Kind::ROLLOUT)),
            replica_sets: Arc::new(Store::new(Kind::REPLICA_SET)),
            services: Arc::new(Store::new(Kind::SERVICE)),
            slices: Arc::new(Store::new(Kind::ENDPOINT_SLICE)),
            pods: Arc::new(Store::new(Kind::POD)),
            runs: Arc::new(Store::new(Kind::ANALYSIS_RUN)),
            experiments: Arc::new(Store::new(Kind::EXPERIMENT)),
            jobs: Arc::new(Store::new(Kind::JOB)),
            job_pods: Arc::new(Store::new(Kind::POD)),
            templates: Arc::new(Store::new(Kind::ANALYSIS_TEMPLATE)),
            cluster_templates: Arc::new(Store::new(Kind::CLUSTER_ANALYSIS_TEMPLATE)),
            virtual_services: Arc::new(Store::new(Kind::VIRTUAL_SERVICE)),
            destination_rules: Arc::new(Store::new(Kind::DESTINATION_RULE)),
            applications: Arc::new(Store::new(Kind::APPLICATION)),
            projects: Arc::new(Store::new(Kind::APP_PROJECT)),
            live: Live::default(),
            asked: Asked::default(),
            references: References::default(),
            expectations: Expectations::default(),
            queue,
            wanted: Mutex::default(),
            fetch: Notify::new(),
            feeding: OnceLock::new(),
            progressed: Notify::new(),
            fed: Mutex::default(),
        })
    }

    /// Starts the feeds of the roles. They run until `tasks` is dropped.
    pub(crate) fn start(
        self: &Arc<Self>,
        config: &Config,
        client: &kube::Client,
        tasks: &mut JoinSet<()>,
    ) {
        let mut feeds = Feeds {
            stores: self,
            client,
            config,
            jitter: Arc::new(Jitter::seeded(config.seed)),
            tasks,
        };
        let ours = instance_selector(&config.instance_id);
        let revisions = labels::POD_TEMPLATE_HASH;
        if config.has(Role::Analysis) || config.has(Role::Rollouts) {
            feeds.start::<_, AnalysisRunRecord>(&self.runs, &ours, 60, Self::run_changed);
            let of_runs = labels::RUN_UID;
            feeds.start::<_, JobRecord>(&self.jobs, of_runs, 60, Self::job_changed);
            feeds.start::<_, JobPodRecord>(&self.job_pods, of_runs, 60, Self::job_pod_changed);
        }
        if config.has(Role::Rollouts) {
            feeds.start::<_, RolloutRecord>(&self.rollouts, &ours, 60, Self::rollout_changed);
            let experiments = &self.experiments;
            feeds.start::<_, ExperimentRecord>(experiments, &ours, 60, Self::experiment_changed);
            feeds.start::<_, ReplicaSetRecord>(
                &self.replica_sets,
                revisions,
                60,
                Self::set_changed,
            );
            feeds.start::<_, ServiceRecord>(&self.services, "", 60, Self::service_changed);
            feeds.start::<_, SliceRecord>(&self.slices, "", 60, Self::slice_changed);
            feeds.start::<_, PodRecord>(&self.pods, revisions, 300, Self::pod_changed);
            let templates = &self.templates;
            feeds.start::<_, AnalysisTemplateRecord>(templates, "", 300, Self::template_changed);
            feeds.start::<_, WireVirtualService>(
                &self.virtual_services,
                "",
                60,
                Self::route_changed,
            );
            feeds.start::<_, WireDestinationRule>(
                &self.destination_rules,
                "",
                60,
                Self::route_changed,
            );
            if config.namespace.is_none() {
                feeds.start::<_, AnalysisTemplateRecord>(
                    &self.cluster_templates,
                    "",
                    300,
                    Self::cluster_template_changed,
                );
            }
        }
        if config.has(Role::Applications) {
            let applications = &self.applications;
            feeds.start::<_, ApplicationKept>(applications, "", 60, Self::application_changed);
            feeds.start::<_, AppProjectRecord>(&self.projects, "", 60, Self::project_changed);
        }
        let feeding = Feeding {
            client: client.clone(),
            config: Arc::new(config.clone()),
            jitter: Arc::clone(&feeds.jitter),
            runtime: tokio::runtime::Handle::current(),
        };
        // A second start of the same stores would be a mistake of ours, and would change nothing.
        let _ = self.feeding.set(feeding);
        let (stores, client, limit) = (Arc::clone(self), client.clone(), config.request_timeout);
        let jitter = Jitter::seeded(config.seed ^ 1);
        feeds.tasks.spawn(async move { stores.fetch_wanted(client, limit, jitter).await });
    }

    /// Waits until every store that is fed can be asked, or is known to be unavailable.
    pub(crate) async fn settled(&self) {
        loop {
            let progressed = self.progressed.notified();
            if self.pending().is_empty() {
                return;
            }
            progressed.await;
        }
    }

    async fn rollouts_listed(&self) {
        loop {
            let progressed = self.progressed.notified();
            if self.rollouts.availability() != Availability::Pending {
                return;
            }
            progressed.await;
        }
    }

    /// Returns the kinds that have not been listed yet.
    pub(crate) fn pending(&self) -> Vec<Kind> {
        let pending = |state: &StoreState| state.availability == Availability::Pending;
        self.states().into_iter().filter(pending).map(|state| state.kind).collect()
    }

    /// Returns the state of every store that is fed.
    pub(crate) fn states(&self) -> Vec<StoreState> {
        let fed = self.fed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let all = [
            state(&*self.rollouts),
            state(&*self.replica_sets),
            state(&*self.services),
            state(&*self.slices),
            state(&*self.pods),
            state(&*self.runs),
            state(&*self.experiments),
            state(&*self.jobs),
            state(&*self.templates),
            state(&*self.cluster_templates),
            state(&*self.virtual_services),
            state(&*self.destination_rules),
            state(&*self.applications),
            state(&*self.projects),
        ];
        all.into_iter().filter(|state| fed.contains(&state.kind)).collect()
    }

    /// Returns every key there is, for the beginning of a term.
    pub(crate) fn keys(&self) -> Vec<Key> {
        let key = |role, meta: &Meta| Key::new(role, &*meta.namespace, &*meta.name);
        let rollouts = self.rollouts.all();
        let runs = self.runs.all();
        let experiments = self.experiments.all();
        let applications = self.applications.all();
        let rollouts = rollouts.iter().map(|record| key(Role::Rollouts, &record.meta));
        let runs = runs.iter().map(|record| key(Role::Analysis, &record.meta));
        let experiments = experiments.iter().map(|record| key(Role::Experiments, &record.meta));
        let applications =
            applications.iter().map(|kept| key(Role::Applications, &kept.record.meta));
        rollouts.chain(runs).chain(experiments).chain(applications).collect()
    }

    /// Sets what the key's view reads, and asks for the content of what is new to it.
    ///
    /// A key that begins to read something is decided once more: what was looked up before it was registered here may have
    /// changed with nobody to hear of it.
    pub(crate) fn reads(&self, key: &Key, objects: BTreeSet<ObjectRef>) {
        let rewired = self.references.set(key, objects);
        if !rewired.added.is_empty() {
            self.queue.wake(key.clone());
        }
        let stub = |object: &ObjectRef| {
            let namespace = object.namespace.as_deref().unwrap_or_default();
            let live = self.live.store(&object.kind);
            let workloads = self.asked.workloads_of(&object.kind);
            self.routes_of(&object.kind).is_some_and(|store| store.is_stub(namespace, &object.name))
                || workloads.is_some_and(|store| store.is_stub(namespace, &object.name))
                || live.is_some_and(|store| store.is_stub(namespace, &object.name))
        };
        let missing: Vec<ObjectRef> = rewired.added.into_iter().filter(stub).collect();
        self.want(missing);
        rewired.sharers.into_iter().for_each(|key| self.queue.wake(key));
    }

    fn want(&self, objects: impl IntoIterator<Item = ObjectRef>) {
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        wanted.extend(objects);
        if !wanted.is_empty() {
            self.fetch.notify_one();
        }
    }

    pub(crate) fn routes_of(&self, kind: &Kind) -> Option<&Arc<Store<RouteRecord>>> {
        [&self.virtual_services, &self.destination_rules]
            .into_iter()
            .find(|store| store.kind == *kind)
    }

    /// A store can be asked, or no longer: every view that looked there is another one, also where it found nothing.
    fn turned(&self, kind: &Kind) {
        tracing::debug!(kind = %kind.kind, "availability changed");
        self.keys().into_iter().for_each(|key| self.queue.wake(key));
    }

    fn advanced(&self, kind: &Kind) {
        self.expectations.met_by(kind, self).into_iter().for_each(|key| self.queue.wake(key));
        self.progressed.notify_waiters();
    }

    /// Returns the ready endpoints of a Service, by hash.
    pub(crate) fn endpoints(&self, namespace: &str, service: &str) -> EndpointCounts {
        let slices = self.slices.indexed(&records::slices_of(namespace, service));
        let hash_of = |namespace: &str, pod: &str| {
            self.pods.get(namespace, pod).map(|record| record.hash.to_string())
        };
        let ready = records::ready_by_hash(slices.iter().map(AsRef::as_ref), hash_of);
        EndpointCounts { ready }
    }

    /// Returns the Jobs of a run, and what keeps their Pods from starting.
    pub(crate) fn jobs_of(&self, run: &AnalysisRunRecord) -> Lookup<Vec<JobSight>> {
        if !run.spec.metrics.iter().any(|metric| metric.provider.job.is_some()) {
            return Lookup::Present(Vec::new());
        }
        match self.jobs.availability() {
            Availability::Pending | Availability::Forbidden(_) => return Lookup::Unknown,
            Availability::NoKind => return Lookup::NoKind,
            Availability::Synced => {}
        }
        let jobs = self.jobs.indexed(&records::owned_by(&run.meta.uid)).into_iter();
        let sight = |job: Arc<JobRecord>| {
            let pods = self.job_pods.indexed(&records::owned_by(&job.meta.uid));
            JobSight { stuck: pods.iter().find_map(|pod| pod.stuck.clone()), job }
        };
        Lookup::Present(jobs.map(sight).collect())
    }

    /// Reads route objects that were stubs when a Rollout began to name them: one read each, once.
    async fn fetch_wanted(self: Arc<Self>, client: kube::Client, limit: Duration, jitter: Jitter) {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
        loop {
            let next = self.wanted.lock().unwrap_or_else(PoisonError::into_inner).first().cloned();
            let Some(object) = next else {
                self.fetch.notified().await;
                continue;
            };
            match self.fetch_one(&client, &object, limit).await {
                Ok(()) => {
                    backoff.reset();
                    let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
                    wanted.remove(&object);
                }
                Err(error) => {
                    tracing::warn!(%object, %error, "cannot be read");
                    tokio::time::sleep(backoff.next(&jitter)).await;
                }
            }
        }
    }

    async fn fetch_one(
        &self,
        client: &kube::Client,
        object: &ObjectRef,
        limit: Duration,
    ) -> Result<(), String> {
        let reply = client::get(client, &object.path(), Form::Whole, limit)
            .await
            .map_err(|error| error.to_string())?;
        match reply.status {
            // The watch says that it is gone.
            404 => return Ok(()),
            200 => {}
            _ => return Err(reply.message()),
        }
        if let Err(error) = self.take(object, &reply.body) {
            // Asking again brings the same; its next version may be better.
            tracing::error!(%object, %error, "object cannot be decoded and is left alone");
        }
        Ok(())
    }

    /// Puts what was read by name into the stores that keep objects of the kind.
    fn take(&self, object: &ObjectRef, body: &[u8]) -> Result<(), serde_json::Error> {
        if let Some(store) = self.routes_of(&object.kind) {
            let record: RouteRecord = if object.kind == Kind::VIRTUAL_SERVICE {
                serde_json::from_slice::<WireVirtualService>(body)?.into()
            } else {
                serde_json::from_slice::<WireDestinationRule>(body)?.into()
            };
            if let Some(change) = store.upsert(Observed::Whole(record)) {
                self.route_changed(&change);
            }
        }
        if let Some(store) = self.asked.workloads_of(&object.kind) {
            let record: WorkloadRecord = serde_json::from_slice(body)?;
            if let Some(change) = store.upsert(Observed::Whole(record)) {
                self.workload_changed(&object.kind, &change);
            }
        }
        if let Some(store) = self.live.store(&object.kind)
            && let Some(record) = live::live_object(&object.kind, serde_json::from_slice(body)?)
            && let Some(change) = store.upsert(Observed::Whole(record))
        {
            self.live_changed(&change);
        }
        Ok(())
    }

    fn store_of(&self, kind: &Kind) -> Option<&dyn Watched> {
        let all: [&dyn Watched; 14] = [
            &*self.rollouts,
            &*self.replica_sets,
            &*self.services,
            &*self.slices,
            &*self.pods,
            &*self.runs,
            &*self.experiments,
            &*self.jobs,
            &*self.templates,
            &*self.cluster_templates,
            &*self.virtual_services,
            &*self.destination_rules,
            &*self.applications,
            &*self.projects,
        ];
        all.into_iter().find(|store| class_of(store.kind()) == class_of(kind))
    }
}

/// The part of a store that does not depend on what it keeps.
trait Watched {
    fn kind(&self) -> &Kind;
    fn reached(&self) -> ResourceVersion;
    fn available(&self) -> bool;
    fn holds(&self, namespace: &str, name: &str, uid: &str) -> bool;
}

impl<T: Kept> Watched for Store<T> {
    fn kind(&self) -> &Kind {
        &self.kind
    }
    fn reached(&self) -> ResourceVersion {
        Store::reached(self)
    }
    fn available(&self) -> bool {
        self.availability() == Availability::Synced
    }
    fn holds(&self, namespace: &str, name: &str, uid: &str) -> bool {
        Store::holds(self, namespace, name, uid)
    }
}

impl Seen for Stores {
    fn reached(&self, kind: &Kind) -> Option<ResourceVersion> {
        // An object may be in two stores, as what it is and as what an Application holds: both must have seen it.
        let own = self.store_of(kind).filter(|store| store.available()).map(Watched::reached);
        [own, self.live.reached(kind), self.asked.reached(kind)].into_iter().flatten().min()
    }

    fn holds(&self, object: &ObjectRef, uid: &str) -> bool {
        let namespace = object.namespace.as_deref().unwrap_or_default();
        let live = self.live.store(&object.kind);
        self.store_of(&object.kind).is_some_and(|store| store.holds(namespace, &object.name, uid))
            || live.is_some_and(|store| store.holds(namespace, &object.name, uid))
            || self.asked.holds(object, uid)
    }
}

fn told(stores: Arc<Stores>, kind: Kind) -> Told {
    Arc::new(move |is_turn| {
        if is_turn {
            stores.turned(&kind);
        }
        stores.advanced(&kind);
    })
}

fn state<T: Kept>(store: &Store<T>) -> StoreState {
    StoreState {
        kind: store.kind.clone(),
        availability: store.availability(),
        heard: store.heard(),
        went_back: store.went_back(),
    }
}

/// Starts feeds that differ only in kind, selector and effect.
struct Feeds<'a> {
    stores: &'a Arc<Stores>,
    client: &'a kube::Client,
    config: &'a Config,
    jitter: Arc<Jitter>,
    tasks: &'a mut JoinSet<()>,
}

impl Feeds<'_> {
    fn start<T, W>(
        &mut self,
        store: &Arc<Store<T>>,
        selector: &str,
        watch_seconds: u32,
        changed: fn(&Stores, &Changed<T>),
    ) where
        T: Kept + From<W>,
        W: DeserializeOwned + 'static,
    {
        let kind = store.kind.clone();
        let namespace = match &kind {
            kind if *kind == Kind::CLUSTER_ANALYSIS_TEMPLATE => None,
            kind if *kind == Kind::APPLICATION || *kind == Kind::APP_PROJECT => {
                Some(self.config.application_namespace.as_str())
            }
            _ => self.config.namespace.as_deref(),
        };
        let (for_sink, for_advance) = (Arc::clone(self.stores), Arc::clone(self.stores));
        let sink: Sink<T> = Arc::new(move |change| changed(&for_sink, change));
        let told = told(for_advance, kind.clone());
        let is_route = self.stores.routes_of(&kind).is_some();
        let interest = is_route.then(|| self.interest(&kind));
        let source = Source {
            path: kind.collection_path(namespace),
            selector: encoded(selector),
            form: if selector == labels::POD_TEMPLATE_HASH && kind == Kind::POD {
                Form::Metadata
            } else {
                Form::Whole
            },
            page: 250,
            watch_seconds,
            limit: self.config.request_timeout,
        };
        // Pods of Jobs are a second store of their kind; nothing waits for them.
        if selector != labels::RUN_UID || kind != Kind::POD {
            self.stores.fed.lock().unwrap_or_else(PoisonError::into_inner).insert(kind);
        }
        let feed = Feed {
            store: Arc::clone(store),
            client: self.client.clone(),
            source,
            sink,
            told,
            interest,
            jitter: Arc::clone(&self.jitter),
            make: Arc::new(|wire: W| Some(T::from(wire))),
        };
        let stores = Arc::clone(self.stores);
        self.tasks.spawn(async move {
            if is_route {
                // Which routes are kept whole is known once the Rollouts are: so nothing has to be read twice.
                stores.rollouts_listed().await;
            }
            feed.run().await;
        });
    }

    fn interest<T: Kept>(&self, kind: &Kind) -> Interest<T> {
        let (stores, of_kind) = (Arc::clone(self.stores), kind.clone());
        let wanted = move |record: &T| {
            let identity = record.identity();
            let (namespace, name) = (identity.namespace, identity.name);
            stores.references.is_read(&ObjectRef::namespaced(of_kind.clone(), namespace, name))
        };
        let (stores, of_kind) = (Arc::clone(self.stores), kind.clone());
        let stubbed = move |namespace: &str, name: &str| {
            let object = ObjectRef::namespaced(of_kind.clone(), namespace, name);
            if stores.references.is_read(&object) {
                stores.want([object]);
            }
        };
        Interest { wanted: Arc::new(wanted), stubbed: Arc::new(stubbed) }
    }
}

/// Returns the label selector of objects that this instance acts on, as Argo's.
fn instance_selector(instance: &str) -> String {
    if instance.is_empty() {
        format!("!{}", labels::INSTANCE_ID)
    } else {
        format!("{}={instance}", labels::INSTANCE_ID)
    }
}

/// Percent-encodes a selector for a query.
fn encoded(selector: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~/".contains(c);
    let mut text = String::new();
    for c in selector.chars() {
        if plain(c) {
            text.push(c);
        } else {
            let mut bytes = [0; 4];
            c.encode_utf8(&mut bytes)
                .bytes()
                .for_each(|byte| text.push_str(&format!("%{byte:02X}")));
        }
    }
    text
}

/// Returns the view of a lookup in maps of views: by name.
pub(crate) fn by_name<T: Kept>(
    store: &Store<T>,
    namespace: &str,
    names: impl IntoIterator<Item = String>,
) -> BTreeMap<String, Lookup<Arc<T>>> {
    names.into_iter().map(|name| (name.clone(), store.lookup(namespace, &name))).collect()
}
