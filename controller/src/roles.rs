//! Wires the reconciles of the roles, and sends each key to its own.

use std::sync::Arc;

use sluice_sync::view::SyncConfig;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::Deps;
use crate::client::Clients;
use crate::clock::Jitter;
use crate::config::{Config, Role};
use crate::events::Events;
use crate::execute::Executor;
use crate::facts::Facts;
use crate::leadership::Leadership;
use crate::lease;
use crate::mesh::{Confirmations, Mesh};
use crate::pace::Pace;
use crate::queue::Key;
use crate::reconcile::analysis_run::{PARALLEL_MEASUREMENTS, RunObserver};
use crate::reconcile::application::discovery::Kinds;
use crate::reconcile::application::named::Named;
use crate::reconcile::application::{ApplicationObserver, FromApplications};
use crate::reconcile::experiment::ExperimentObserver;
use crate::reconcile::refusals::Refusals;
use crate::reconcile::rollout::{RefusedEvictions, RolloutObserver, Taken};
use crate::reconcile::{Reconcile, Shell};
use crate::secrets::Secrets;
use crate::stores::Stores;
use crate::telemetry::Telemetry;

/// What the roles are made of.
pub(crate) struct Parts<'a> {
    pub(crate) config: &'a Config,
    pub(crate) pace: &'a Arc<Pace>,
    pub(crate) clients: &'a Clients,
    pub(crate) deps: &'a Deps,
    pub(crate) leadership: &'a Arc<Leadership>,
    pub(crate) telemetry: &'a Arc<Telemetry>,
    pub(crate) stores: &'a Arc<Stores>,
}

/// The reconciles of every role.
pub(crate) struct Roles {
    rollouts: Reconcile<RolloutObserver>,
    runs: Reconcile<RunObserver>,
    experiments: Reconcile<ExperimentObserver>,
    applications: Reconcile<ApplicationObserver>,
}

impl Roles {
    pub(crate) fn new(parts: Parts<'_>, background: &mut JoinSet<()>) -> Self {
        let shell = shell(&parts, background);
        let Parts { config, clients, deps, telemetry, stores, .. } = &parts;
        let engine = Arc::new(config.engine.clone());
        let facts = Arc::new(Facts::default());
        let queue = Arc::clone(&stores.queue);
        let secrets = Secrets::new(clients.reads.clone(), queue, config.request_timeout);
        let confirmations = confirmations(&parts, background);
        let rollouts = RolloutObserver {
            confirmations,
            clock: Arc::clone(&deps.clock),
            config: Arc::clone(&engine),
            stores: Arc::clone(stores),
            facts: Arc::clone(&facts),
            secrets: Arc::clone(&secrets),
            quarantine: Arc::new(FromApplications {
                stores: Arc::clone(stores),
                control_namespace: config.application_namespace.clone(),
            }),
            taken: Taken::default(),
            refused: RefusedEvictions::default(),
            telemetry: Arc::clone(telemetry),
        };
        let experiments = ExperimentObserver {
            clock: Arc::clone(&deps.clock),
            config: Arc::clone(&engine),
            stores: Arc::clone(stores),
            facts: Arc::clone(&facts),
            secrets: Arc::clone(&secrets),
            refusals: Refusals::default(),
        };
        let runs = RunObserver {
            clock: Arc::clone(&deps.clock),
            config: engine,
            stores: Arc::clone(stores),
            facts,
            secrets,
            providers: Arc::clone(&deps.providers),
            slots: Arc::new(Semaphore::new(PARALLEL_MEASUREMENTS)),
            telemetry: Arc::clone(telemetry),
        };
        let applications = applications(&parts);
        Self {
            rollouts: Reconcile::new(Arc::new(rollouts), Arc::clone(&shell)),
            runs: Reconcile::new(Arc::new(runs), Arc::clone(&shell)),
            experiments: Reconcile::new(Arc::new(experiments), Arc::clone(&shell)),
            applications: Reconcile::new(Arc::new(applications), shell),
        }
    }

    pub(crate) async fn reconcile(&self, key: &Key) {
        match key.role {
            Role::Rollouts => self.rollouts.reconcile(key).await,
            Role::Applications => self.applications.reconcile(key).await,
            Role::Analysis => self.runs.reconcile(key).await,
            Role::Experiments => self.experiments.reconcile(key).await,
        }
    }
}

/// What proxies are known to use; nothing, unless istiod may be asked.
fn confirmations(parts: &Parts<'_>, background: &mut JoinSet<()>) -> Arc<Confirmations> {
    let confirmations = Arc::new(Confirmations::default());
    let addresses = parts.config.istio_debug_addresses.clone();
    if !addresses.is_empty() {
        let mesh = Mesh {
            addresses,
            http: reqwest::Client::new(),
            stores: Arc::clone(parts.stores),
            clock: Arc::clone(&parts.deps.clock),
            confirmations: Arc::clone(&confirmations),
        };
        background.spawn(mesh.watch());
    }
    confirmations
}

fn shell(parts: &Parts<'_>, background: &mut JoinSet<()>) -> Arc<Shell> {
    let Parts { config, pace, clients, deps, leadership, telemetry, stores } = parts;
    let (events, writer) = Events::new(
        clients.events.clone(),
        Arc::clone(&deps.clock),
        Arc::clone(leadership),
        Arc::clone(telemetry),
        config.lease.identity.clone(),
    );
    background.spawn(writer);
    Arc::new(Shell {
        clock: Arc::clone(&deps.clock),
        stores: Arc::clone(stores),
        executor: Executor {
            client: clients.writes.clone(),
            leadership: Arc::clone(leadership),
            telemetry: Arc::clone(telemetry),
            pace: Arc::clone(pace),
            limit: config.request_timeout,
        },
        leadership: Arc::clone(leadership),
        lease: lease::Address::of(&config.lease),
        events,
        telemetry: Arc::clone(telemetry),
        jitter: Jitter::seeded(config.seed ^ 2),
        rules: config.engine.fence,
    })
}

fn applications(parts: &Parts<'_>) -> ApplicationObserver {
    let Parts { config, clients, deps, stores, .. } = parts;
    let limit = config.request_timeout;
    let sync = SyncConfig {
        control_namespace: config.application_namespace.clone(),
        ..SyncConfig::default()
    };
    ApplicationObserver {
        clock: Arc::clone(&deps.clock),
        config: Arc::new(sync),
        stores: Arc::clone(stores),
        repo: Arc::clone(&deps.repo),
        kinds: Kinds::new(clients.reads.clone(), Arc::clone(&stores.queue), limit),
        named: Named::new(clients.reads.clone(), Arc::clone(&stores.queue), limit),
        known: Arc::default(),
    }
}
