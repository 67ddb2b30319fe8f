//! The shell around the pure engine: watches, caches, leader election, views, execution, metrics, configuration, wiring.
//!
//! Nothing here decides what happens to an object. One direction (`design.md` 5): a watch event fills a [`stores`] record and
//! wakes a key; [`reconcile`] builds a view of it, asks the engine, and [`execute`] sends what it answers. Permission to write
//! comes from [`leadership`], which only [`lease`] grants. [`run`] ties it together; `main`, the simulator and the tests call it.

use std::sync::Arc;
use std::time::Duration;

use sluice_analysis::Provided;
use sluice_repo::{GitConfig, GixGit, Limits, RenderDeps, Repo};
use sluice_server::{Face, LiveState};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

pub mod client;
pub mod clock;
pub mod config;
pub mod telemetry;

#[cfg(feature = "bench")]
pub mod bench;

mod events;
mod execute;
mod expectations;
mod facts;
mod leadership;
mod lease;
mod mesh;
mod pace;
mod queue;
mod reconcile;
mod roles;
mod secrets;
mod stores;

use client::Clients;
use clock::Clock;
use config::Config;
use leadership::Leadership;
use pace::Pace;
use queue::{Key, Queue};
use roles::Roles;
use stores::Stores;
use telemetry::Telemetry;

/// What a process is given from outside: time, connections, the wish to stop.
pub struct Deps {
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Where measurements come from.
    pub providers: Arc<Vec<Provided>>,
    /// Where manifests come from.
    pub repo: Arc<Repo>,
    /// Becomes true when the process is asked to stop.
    pub stop: watch::Receiver<bool>,
}

impl Deps {
    /// Returns the real ones: the system's clock, HTTP, Git. The process must have installed a rustls provider before.
    ///
    /// # Errors
    /// If TLS cannot be set up.
    pub fn real(config: &Config, stop: watch::Receiver<bool>) -> Result<Self, reqwest::Error> {
        let clients = sluice_analysis::Clients::build(client::AGENT)?;
        let mut analysis = sluice_analysis::Deps::new(clients);
        analysis.prometheus_address = config.prometheus_address.clone();
        let git = GixGit::new(GitConfig::new(config.cache_dir.clone()));
        let render = RenderDeps {
            kustomize: Some(config.kustomize_binary.clone()),
            kustomize_version: config.kustomize_version.clone(),
        };
        Ok(Self {
            clock: Arc::new(clock::SystemClock),
            providers: Arc::new(sluice_analysis::providers(&analysis)),
            repo: Arc::new(Repo::new(Arc::new(git), &render, Limits::default())),
            stop,
        })
    }
}

/// Why a process ended without being asked to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The Lease was lost; a restart is the simplest fence for what is in memory.
    #[error("leadership is lost: {0}")]
    Lost(String),
    /// A port cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

/// Runs a controller until it is asked to stop or loses the Lease.
///
/// Stores are filled before the Lease is won, so that a standby takes over warm. On a stop, running decisions end within
/// [`Config::drain`], and the Lease is released last. On loss of the Lease the permission to write is gone before this
/// returns, and everything that runs is cancelled.
///
/// # Errors
/// If the Lease is lost, or a port cannot be listened on.
pub async fn run(config: Config, clients: Clients, deps: Deps) -> Result<(), RunError> {
    let leadership = Arc::new(Leadership::default());
    let telemetry = Arc::new(Telemetry::new());
    let stores = Stores::new(Arc::new(Queue::default()));
    // Everything in here ends when this function does.
    let mut background = JoinSet::new();
    let live = Arc::new(Live {
        stores: Arc::clone(&stores),
        leadership: Arc::clone(&leadership),
        telemetry: Arc::clone(&telemetry),
    });
    serve(&config, &live, &mut background).await?;
    stores.start(&config, &clients.reads, &mut background);
    let _feeds = ClearOnDrop(Arc::clone(&stores));
    let (release, released) = watch::channel(false);
    let elector = lease::Driver::new(
        &config.lease,
        clients.lease.clone(),
        Arc::clone(&deps.clock),
        Arc::clone(&leadership),
    );
    let elector = tokio::spawn(elector.run(released));
    let abort = AbortOnDrop(elector.abort_handle());
    let pace = Arc::new(Pace::new(config.concurrency));
    let parts = roles::Parts {
        config: &config,
        pace: &pace,
        clients: &clients,
        deps: &deps,
        leadership: &leadership,
        telemetry: &telemetry,
        stores: &stores,
    };
    let roles = Arc::new(Roles::new(parts, &mut background));
    let mut stop = deps.stop.clone();
    let ended = tokio::select! {
        reason = leadership.lost() => Err(RunError::Lost(reason)),
        () = lead(&config, &pace, &stores, &leadership, &roles, &mut stop) => Ok(()),
    };
    if ended.is_ok() {
        let _ = release.send(true);
        if elector.await.is_err() {
            tracing::warn!("the Lease is not released");
        }
    }
    drop(abort);
    ended
}

/// Feeds that began later hold the stores that hold them.
struct ClearOnDrop(Arc<Stores>);

impl Drop for ClearOnDrop {
    fn drop(&mut self) {
        self.0.live.clear();
        self.0.asked.clear();
    }
}

struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Waits until this process leads, then decides key after key until it is asked to stop, and lets what runs come to its end.
async fn lead(
    config: &Config,
    pace: &Pace,
    stores: &Arc<Stores>,
    leadership: &Leadership,
    roles: &Arc<Roles>,
    stop: &mut watch::Receiver<bool>,
) {
    tokio::select! {
        () = async { tokio::join!(leadership.won(), stores.settled()); } => {}
        () = asked(stop) => return,
    }
    tracing::info!(identity = %config.lease.identity, "leads");
    stores.keys().into_iter().for_each(|key| stores.queue.wake(key));
    let mut workers = JoinSet::new();
    tokio::select! {
        () = dispatch(config, pace, stores, roles, &mut workers) => {}
        () = asked(stop) => {}
    }
    stores.queue.close();
    let drained = async { while workers.join_next().await.is_some() {} };
    if tokio::time::timeout(config.drain, drained).await.is_err() {
        tracing::warn!(running = stores.queue.in_flight(), "decisions are cut off");
    }
}

async fn dispatch(
    config: &Config,
    pace: &Pace,
    stores: &Arc<Stores>,
    roles: &Arc<Roles>,
    workers: &mut JoinSet<()>,
) {
    // An abort waits for no slot that slow writes of others hold.
    let urgent = Arc::new(Semaphore::new(config.concurrency));
    loop {
        let next = tokio::select! {
            biased;
            next = with_slot(&urgent, stores.queue.next_urgent()) => next,
            next = with_slot(pace.slots(), stores.queue.next()) => next,
        };
        let Some((key, slot)) = next else { return };
        while workers.try_join_next().is_some() {}
        let (roles, stores) = (Arc::clone(roles), Arc::clone(stores));
        workers.spawn(async move {
            roles.reconcile(&key).await;
            stores.queue.done(&key);
            drop(slot);
        });
    }
}

/// Waits for a slot, and then for a key. Nothing is lost if this is dropped while it waits.
async fn with_slot(
    slots: &Arc<Semaphore>,
    key: impl Future<Output = Option<Key>>,
) -> Option<(Key, OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.ok()?;
    Some((key.await?, slot))
}

/// Waits until the process is asked to stop. A sender that is gone asks for nothing.
async fn asked(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn serve(
    config: &Config,
    live: &Arc<Live>,
    background: &mut JoinSet<()>,
) -> Result<(), RunError> {
    let faces = [(config.metrics_address, Face::Metrics), (config.health_address, Face::Health)];
    for (address, face) in faces {
        let Some(address) = address else { continue };
        let listener = TcpListener::bind(address)
            .await
            .map_err(|source| RunError::Listen { address, source })?;
        let live: Arc<dyn LiveState> = Arc::<Live>::clone(live);
        background.spawn(async move {
            if let Err(error) = sluice_server::serve(listener, face, live).await {
                tracing::error!(%error, ?face, "the listener broke");
            }
        });
    }
    Ok(())
}

/// What this process says about itself.
struct Live {
    stores: Arc<Stores>,
    leadership: Arc<Leadership>,
    telemetry: Arc<Telemetry>,
}

/// Silence of a watch after which the process should be restarted: many times what bookmarks and timeouts allow.
const DEAF: Duration = Duration::from_secs(1800);

impl LiveState for Live {
    fn metrics(&self) -> String {
        let mut text = self.telemetry.text();
        text.push_str(&telemetry::objects::text(&self.stores, &self.leadership));
        text
    }

    fn healthy(&self) -> Result<(), String> {
        match self.stores.states().into_iter().find(|state| state.heard.elapsed() > DEAF) {
            Some(state) => Err(format!("nothing was heard of {} for {DEAF:?}", state.kind.plural)),
            None => Ok(()),
        }
    }

    fn ready(&self) -> Result<(), String> {
        let pending = self.stores.pending();
        if pending.is_empty() {
            return Ok(());
        }
        let kinds: Vec<&str> = pending.iter().map(|kind| &*kind.plural).collect();
        Err(format!("waiting for the lists of {}", kinds.join(", ")))
    }
}
