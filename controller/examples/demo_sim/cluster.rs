//! The simulated cluster on its port, what is seen of it, and the controller that runs against it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use chrono::{DateTime, TimeDelta, Utc};
use clap::Parser as _;
use serde_json::{Value, json};
use sluice_controller::client::{Clients, Target};
use sluice_controller::config::{Config, Flags};
use sluice_controller::{Deps, RunError, telemetry};
use sluice_crds::object::{Kind, ObjectRef};
use sluice_sim::api_server::{Call, Recorded, Reply};
use sluice_sim::clock::Clock;
use sluice_sim::serve::serve;
use sluice_sim::service::SimService;
use sluice_sim::workloads::WorkloadConfig;
use sluice_sim::world::World;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::shop;

/// The lease is short, so that a successor need not wait long.
const FLAGS: [&str; 9] = [
    "sluice-controller",
    "--namespace=sluice-system",
    "--leader-election-lease-duration=6s",
    "--leader-election-renew-deadline=5s",
    "--leader-election-retry-period=500ms",
    "--route-confirmation-delay=1s",
    "--logformat=text",
    "--loglevel=info",
    "--application-namespace=argocd",
];

/// The cluster and its controller.
pub(crate) struct Cluster {
    /// Where its API server listens.
    pub(crate) url: String,
    /// The same server, without a connection.
    pub(crate) service: SimService,
    cache: PathBuf,
    started: u32,
    controller: Option<Running>,
}

struct Running {
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<(), RunError>>,
}

impl Cluster {
    /// Starts the API server on a free port, and a controller.
    ///
    /// # Errors
    /// When no port can be had, or the controller cannot start.
    pub(crate) async fn start(folder: &Path, log: bool) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let times = WorkloadConfig {
            ready_after: TimeDelta::milliseconds(400),
            terminated_after: TimeDelta::milliseconds(400),
            endpoint_delay: TimeDelta::milliseconds(50),
        };
        let start = Utc::now();
        let service = SimService::new(World::new(start, times), Clock::running(start));
        tokio::spawn(service.clone().drive());
        tokio::spawn(serve(service.clone(), listener));
        let cache = folder.join("cache");
        let mut cluster = Self { url, service, cache, started: 0, controller: None };
        for name in ["sluice-system", "argocd"] {
            let metadata = json!({ "name": name });
            let namespace =
                json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": metadata });
            cluster.create(&Kind::NAMESPACE, None, &namespace)?;
        }
        if log {
            telemetry::log(&Config::validated(Flags::parse_from(FLAGS), "log".to_owned(), 1)?);
        }
        cluster.start_controller().await?;
        Ok(cluster)
    }

    /// Starts another controller, with an identity of its own, and waits until it leads.
    ///
    /// # Errors
    /// When it does not take the Lease.
    pub(crate) async fn start_controller(&mut self) -> Result<()> {
        self.started += 1;
        let identity = format!("demo-{}", self.started);
        let mut config =
            Config::validated(Flags::parse_from(FLAGS), identity.clone(), u64::from(self.started))?;
        config.metrics_address = None;
        config.health_address = None;
        config.cache_dir = self.cache.join(&identity);
        config.target = Target { server: Some(self.url.clone()), ..Target::default() };
        let clients = Clients::connect(&config.target).await?;
        let (stop, asked) = watch::channel(false);
        let deps = Deps::real(&config, asked)?;
        let task = tokio::spawn(sluice_controller::run(config, clients, deps));
        self.controller = Some(Running { stop, task });
        let lease = ("Lease", "argo-rollouts-controller-lock");
        let leads = |lease: &Value| lease["spec"]["holderIdentity"] == identity.as_str();
        self.wait(&format!("{identity} leads"), lease, Duration::from_secs(15), leads).await?;
        Ok(())
    }

    /// Ends the controller as `kill -9` would: nothing of it runs any further, and its Lease is not released.
    pub(crate) async fn kill_controller(&mut self) {
        if let Some(running) = self.controller.take() {
            running.task.abort();
            // Its end is what was asked for.
            running.task.await.ok();
        }
    }

    /// Ends the controller as SIGTERM would.
    pub(crate) async fn end(&mut self) {
        if let Some(running) = self.controller.take() {
            running.stop.send(true).ok();
            tokio::time::timeout(Duration::from_secs(5), running.task).await.ok();
        }
    }

    /// Creates an object as a user would.
    ///
    /// # Errors
    /// What the server answers.
    pub(crate) fn create(&self, kind: &Kind, namespace: Option<&str>, body: &Value) -> Result<()> {
        let call = Call::new("POST", &kind.collection_path(namespace));
        self.call(&call.with_body("application/json", body))
    }

    /// Merges into an object as a user would.
    ///
    /// # Errors
    /// What the server answers.
    pub(crate) fn patch(&self, object: &ObjectRef, body: &Value) -> Result<()> {
        let call = Call::new("PATCH", &object.path());
        self.call(&call.with_body("application/merge-patch+json", body))
    }

    /// Deletes an object as a user would, with this propagation.
    ///
    /// # Errors
    /// What the server answers.
    pub(crate) fn delete(&self, object: &ObjectRef, propagation: &str) -> Result<()> {
        let options = json!({ "propagationPolicy": propagation });
        self.call(&Call::new("DELETE", &object.path()).with_body("application/json", &options))
    }

    fn call(&self, call: &Call) -> Result<()> {
        let call = call.clone().by("user");
        match self.service.with_world(|world| world.handle(&call)) {
            Reply::Json { code, body } if code >= 300 => {
                bail!("{} {}: {code} {}", call.method, call.path, body["message"])
            }
            Reply::Json { .. } | Reply::Text(_) | Reply::Watch(_) => Ok(()),
        }
    }

    /// The object of a kind and name, wherever it is; null where there is none.
    pub(crate) fn see(&self, (kind, name): (&str, &str)) -> Value {
        self.service.with_world(|world| world.api.find(kind, name)).unwrap_or_default()
    }

    /// Waits until the object is as `test` wants it and returns it.
    ///
    /// # Errors
    /// When it is not within `limit`, or the controller ended; the message holds the object's status as it was last.
    pub(crate) async fn wait(
        &self,
        what: &str,
        object: (&str, &str),
        limit: Duration,
        test: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let deadline = Instant::now() + limit;
        loop {
            let seen = self.see(object);
            if test(&seen) {
                return Ok(seen);
            }
            let (kind, name) = object;
            if Instant::now() > deadline {
                let application = self.see(("Application", "shop"));
                bail!(
                    "waited {limit:?} in vain: {what}; {kind} {name}: {:#}; Application shop: {:#}",
                    seen["status"],
                    application["status"]
                );
            }
            if self.controller.as_ref().is_some_and(|running| running.task.is_finished()) {
                bail!("the controller ended while waiting: {what}");
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Version of the last change.
    pub(crate) fn version(&self) -> u64 {
        self.service.with_world(|world| world.api.version())
    }

    /// The canary's weights after a version, without repeats, from the first above 0.
    ///
    /// # Errors
    /// When the history does not reach back so far.
    pub(crate) fn weights_since(&self, version: u64) -> Result<Vec<i64>> {
        let mut weights: Vec<i64> = Vec::new();
        self.service.with_world(|world| {
            let changes = world.api.changes_since(version).context("the history is too short")?;
            for change in changes.iter().filter(|c| c.key.plural == "virtualservices") {
                let weight = shop::weight(&change.after, "checkout-canary").unwrap_or(0);
                if weights.last() != Some(&weight) && !(weights.is_empty() && weight == 0) {
                    weights.push(weight);
                }
            }
            Ok(weights)
        })
    }

    /// Number of Pods of an image that were made after a version.
    ///
    /// # Errors
    /// When the history does not reach back so far.
    pub(crate) fn pods_made_since(&self, version: u64, image: &str) -> Result<usize> {
        self.service.with_world(|world| {
            let changes = world.api.changes_since(version).context("the history is too short")?;
            let made = changes.iter().filter(|c| c.key.plural == "pods" && c.before.is_none());
            Ok(made.filter(|c| shop::image(&c.after["spec"]) == image).count())
        })
    }

    /// Requests of the controller since an instant, without watches, the Lease and Events.
    pub(crate) fn requests_since(&self, from: DateTime<Utc>) -> Vec<Recorded> {
        let counts = |r: &Recorded| {
            let set_apart = ["/leases/", "/events"].iter().any(|part| r.path.contains(part));
            r.at >= from
                && r.verb != "watch"
                && r.actor.starts_with("sluice-controller")
                && !set_apart
        };
        self.service.with_world(|world| {
            world.api.requests().iter().filter(|r| counts(r)).cloned().collect()
        })
    }

    /// When the controller's last accepted write of the VirtualService was.
    pub(crate) fn last_weight_write(&self, from: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let writes =
            |r: &&Recorded| r.path.contains("/virtualservices/") && r.verb != "get" && r.code < 300;
        let requests = self.requests_since(from);
        requests.iter().rev().find(writes).map(|request| request.at)
    }
}

/// Tells the moment at which something was first true of the world.
pub(crate) async fn first_time(
    service: &SimService,
    limit: Duration,
    test: impl Fn(&World) -> bool,
) -> Result<Duration> {
    let began = Instant::now();
    while !service.with_world(|world| test(world)) {
        if began.elapsed() > limit {
            bail!("nothing happened within {limit:?}");
        }
        sleep(Duration::from_millis(5)).await;
    }
    Ok(began.elapsed())
}
