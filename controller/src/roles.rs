//! Wires the reconciles of the roles, and sends each key to its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use sluice_crds::rollout::RolloutRecord;
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
use crate::queue::Key;
use crate::reconcile::rollout::{Quarantine, RolloutObserver};
use crate::reconcile::{Reconcile, Shell};
use crate::secrets::Secrets;
use crate::stores::Stores;
use crate::telemetry::Telemetry;

/// What the roles are made of.
pub(crate) struct Parts<'a> {
    pub(crate) config: &'a Config,
    pub(crate) clients: &'a Clients,
    pub(crate) deps: &'a Deps,
    pub(crate) leadership: &'a Arc<Leadership>,
    pub(crate) telemetry: &'a Arc<Telemetry>,
    pub(crate) stores: &'a Arc<Stores>,
}

/// The reconciles of every role.
pub(crate) struct Roles {
    rollouts: Reconcile<RolloutObserver>,
}

impl Roles {
    pub(crate) fn new(parts: Parts<'_>, background: &mut JoinSet<()>) -> Self {
        let shell = shell(&parts, background);
        let Parts { config, clients, deps, stores, .. } = parts;
        let engine = Arc::new(config.engine.clone());
        let facts = Arc::new(Facts::default());
        let queue = Arc::clone(&stores.queue);
        let secrets = Secrets::new(clients.reads.clone(), queue, config.request_timeout);
        let rollouts = RolloutObserver {
            clock: Arc::clone(&deps.clock),
            config: Arc::clone(&engine),
            stores: Arc::clone(stores),
            facts: Arc::clone(&facts),
            secrets: Arc::clone(&secrets),
            quarantine: Arc::new(NoQuarantine),
        };
        Self {
            rollouts: Reconcile::new(Arc::new(rollouts), Arc::clone(&shell)),
        }
    }

    pub(crate) async fn reconcile(&self, key: &Key) {
        match key.role {
            Role::Rollouts => self.rollouts.reconcile(key).await,
            Role::Analysis | Role::Applications => {}
        }
    }
}

fn shell(parts: &Parts<'_>, background: &mut JoinSet<()>) -> Arc<Shell> {
    let Parts { config, clients, deps, leadership, telemetry, stores } = parts;
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

/// Without Applications nothing is in quarantine.
struct NoQuarantine;

impl Quarantine for NoQuarantine {
    fn of(&self, _: &RolloutRecord) -> BTreeMap<String, String> {
        BTreeMap::new()
    }
}
