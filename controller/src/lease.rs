//! Holds the Lease: real time and real requests around the rules of leader election (`reliability.md` H25).
//!
//! Expiry is judged by the local clock since the record was last *seen to change*, so that skewed clocks cannot elect two.
//! Permission to write ends a renew deadline after the last successful renewal was *sent*, and others wait for a longer
//! lease duration after they saw it.

use std::sync::Arc;
use std::time::Duration;

use chrono::SecondsFormat;
use serde::Deserialize;
use serde_json::{Value, json};
use sluice_crds::object::{Kind, Meta, ObjectRef, Request};
use sluice_engine::fence::Term;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::client::{self, Form};
use crate::clock::{Clock, Jitter};
use crate::config::LeaseConfig;
use crate::leadership::Leadership;

/// Where the Lease is, and who we are.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    object: ObjectRef,
    identity: String,
}

impl Address {
    pub(crate) fn of(config: &LeaseConfig) -> Self {
        let object = ObjectRef::namespaced(Kind::LEASE, &*config.namespace, &*config.name);
        Self { object, identity: config.identity.clone() }
    }
}

#[derive(Clone, PartialEq, Debug, Deserialize)]
struct Lease {
    metadata: Meta,
    #[serde(default)]
    spec: Spec,
}

#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    holder_identity: Option<String>,
    lease_duration_seconds: Option<u64>,
    acquire_time: Option<String>,
    lease_transitions: Option<u64>,
}

impl Lease {
    fn holder(&self) -> &str {
        self.spec.holder_identity.as_deref().unwrap_or_default()
    }
}

/// Limit of the read that asks whether the Lease is ours.
const LIMIT: Duration = Duration::from_secs(5);

/// Asks the API server whether the Lease of this uid is held by this process.
pub(crate) async fn is_held(
    client: &kube::Client,
    address: &Address,
    uid: &str,
) -> Result<bool, String> {
    let lease = read(client, &address.object, LIMIT).await?;
    Ok(lease.is_some_and(|lease| lease.metadata.uid == uid && lease.holder() == address.identity))
}

async fn read(
    client: &kube::Client,
    object: &ObjectRef,
    limit: Duration,
) -> Result<Option<Lease>, String> {
    let reply = client::get(client, &object.path(), Form::Whole, limit)
        .await
        .map_err(|error| error.to_string())?;
    match reply.status {
        200 => serde_json::from_slice(&reply.body).map(Some).map_err(|error| error.to_string()),
        404 => Ok(None),
        _ => Err(reply.message()),
    }
}

/// The term in which this process leads.
struct Held {
    lease: Lease,
    term: Term,
    /// When the request of the last successful renewal was sent.
    renewed: Instant,
}

/// What another holder's record looked like, and since when it has not changed.
struct Seen {
    lease: Lease,
    since: Instant,
}

/// Takes, renews and releases the Lease.
pub(crate) struct Driver {
    address: Address,
    config: LeaseConfig,
    client: kube::Client,
    clock: Arc<dyn Clock>,
    leadership: Arc<Leadership>,
    jitter: Jitter,
}

impl Driver {
    pub(crate) fn new(
        config: &LeaseConfig,
        client: kube::Client,
        clock: Arc<dyn Clock>,
        leadership: Arc<Leadership>,
        seed: u64,
    ) -> Self {
        let (address, config) = (Address::of(config), config.clone());
        Self { address, config, client, clock, leadership, jitter: Jitter::seeded(seed) }
    }

    /// Runs until the Lease is lost, or until `release` becomes true: then gives it back.
    pub(crate) async fn run(self, mut release: watch::Receiver<bool>) {
        let held = tokio::select! {
            held = self.acquire() => held,
            () = asked(&mut release) => return,
        };
        let mut held = held;
        let reason = tokio::select! {
            reason = self.keep(&mut held) => Some(reason),
            () = asked(&mut release) => None,
        };
        match reason {
            Some(reason) => self.leadership.lose(reason),
            None => self.give_back(&held).await,
        }
    }

    async fn acquire(&self) -> Held {
        let mut seen: Option<Seen> = None;
        loop {
            match self.try_acquire(&mut seen).await {
                Ok(Some(held)) => {
                    self.grant(&held);
                    return held;
                }
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, lease = %self.address.object, "not acquired"),
            }
            let base = self.config.retry_period;
            tokio::time::sleep(base / 2 + self.jitter.spread(base) / 2).await;
        }
    }

    async fn try_acquire(&self, seen: &mut Option<Seen>) -> Result<Option<Held>, String> {
        let limit = self.config.renew_deadline / 2;
        let found = read(&self.client, &self.address.object, limit).await?;
        let sent = Instant::now();
        let Some(lease) = found else {
            return Ok(Some(self.held(self.create().await?, sent)));
        };
        let unchanged = seen.as_ref().filter(|seen| seen.lease == lease).map(|seen| seen.since);
        let since = unchanged.unwrap_or_else(Instant::now);
        let seconds = lease.spec.lease_duration_seconds.unwrap_or(0);
        let expires = since + Duration::from_secs(seconds);
        let free = lease.holder().is_empty() || lease.holder() == self.address.identity;
        if !free && expires > Instant::now() {
            *seen = Some(Seen { lease, since });
            return Ok(None);
        }
        let taken = self.put(&lease, &self.address.identity, true, limit).await;
        taken.map(|lease| Some(self.held(lease, sent))).map_err(|failure| failure.reason)
    }

    fn held(&self, lease: Lease, renewed: Instant) -> Held {
        let term = Term {
            lease: self.config.name.clone(),
            lease_uid: lease.metadata.uid.clone(),
            acquired: lease.metadata.resource_version.clone(),
        };
        Held { lease, term, renewed }
    }

    fn grant(&self, held: &Held) {
        self.leadership.grant(held.term.clone(), held.renewed + self.config.renew_deadline);
    }

    /// Renews until that is impossible, and says why.
    async fn keep(&self, held: &mut Held) -> String {
        let mut trouble = String::new();
        loop {
            let deadline = held.renewed + self.config.renew_deadline;
            let next = Instant::now() + self.config.retry_period;
            tokio::time::sleep_until(next.min(deadline)).await;
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return format!("not renewed within {:?}: {trouble}", self.config.renew_deadline);
            }
            let sent = Instant::now();
            // Several tries fit into the deadline.
            let limit = left.min(self.config.renew_deadline / 2);
            match self.put(&held.lease, &self.address.identity, false, limit).await {
                Ok(lease) => {
                    (held.lease, held.renewed) = (lease, sent);
                    self.grant(held);
                }
                Err(Failure { conflict: true, reason }) => match self.reread(held, limit).await {
                    Ok(lease) => held.lease = lease,
                    Err(Some(lost)) => return lost,
                    Err(None) => trouble = reason,
                },
                Err(Failure { reason, .. }) => {
                    tracing::warn!(error = %reason, "the Lease is not renewed");
                    trouble = reason;
                }
            }
        }
    }

    /// Reads the Lease after a conflict: is it still ours? `Err(None)` if that cannot be said.
    async fn reread(&self, held: &Held, limit: Duration) -> Result<Lease, Option<String>> {
        match read(&self.client, &self.address.object, limit).await {
            Ok(Some(lease))
                if lease.holder() == self.address.identity
                    && lease.metadata.uid == held.term.lease_uid =>
            {
                Ok(lease)
            }
            Ok(Some(lease)) => Err(Some(format!("`{}` holds the Lease", lease.holder()))),
            Ok(None) => Err(Some("the Lease was deleted".to_owned())),
            Err(_) => Err(None),
        }
    }

    async fn give_back(&self, held: &Held) {
        self.leadership.resign();
        match self.put(&held.lease, "", false, LIMIT).await {
            Ok(_) => tracing::info!("the Lease is released"),
            Err(failure) => tracing::warn!(error = %failure.reason, "the Lease is not released"),
        }
    }

    fn now(&self) -> String {
        self.clock.now().to_rfc3339_opts(SecondsFormat::Micros, true)
    }

    /// The lease duration in whole seconds, rounded up: others must not wait for less than we count on.
    fn seconds(&self) -> u64 {
        self.config.duration.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX)
    }

    async fn create(&self) -> Result<Lease, String> {
        let namespace = self.address.object.namespace.as_deref();
        let now = self.now();
        let spec = json!({
            "holderIdentity": self.address.identity,
            "leaseDurationSeconds": self.seconds(),
            "acquireTime": now,
            "renewTime": now,
            "leaseTransitions": 0,
        });
        let request = Request {
            method: "POST",
            path: Kind::LEASE.collection_path(namespace),
            content_type: "application/json",
            body: self.body(json!({}), spec),
        };
        self.exchange(&request, self.config.renew_deadline / 2)
            .await
            .map_err(|failure| failure.reason)
    }

    /// Replaces the Lease as it was read; another version answers a conflict.
    async fn put(
        &self,
        lease: &Lease,
        holder: &str,
        acquires: bool,
        limit: Duration,
    ) -> Result<Lease, Failure> {
        let now = self.now();
        let transitions = lease.spec.lease_transitions.unwrap_or(0) + u64::from(acquires);
        let acquired = if acquires { Some(&now) } else { lease.spec.acquire_time.as_ref() };
        let seconds = if holder.is_empty() { 1 } else { self.seconds() };
        let spec = json!({
            "holderIdentity": holder,
            "leaseDurationSeconds": seconds,
            "acquireTime": acquired,
            "renewTime": now,
            "leaseTransitions": transitions,
        });
        let metadata = json!({
            "uid": lease.metadata.uid,
            "resourceVersion": lease.metadata.resource_version,
        });
        let request = Request {
            method: "PUT",
            path: self.address.object.path(),
            content_type: "application/json",
            body: self.body(metadata, spec),
        };
        self.exchange(&request, limit).await
    }

    fn body(&self, mut metadata: Value, spec: Value) -> Value {
        metadata["name"] = json!(self.address.object.name);
        metadata["namespace"] = json!(self.address.object.namespace);
        json!({
            "apiVersion": Kind::LEASE.api_version(),
            "kind": Kind::LEASE.kind,
            "metadata": metadata,
            "spec": spec,
        })
    }

    async fn exchange(&self, request: &Request, limit: Duration) -> Result<Lease, Failure> {
        let failed = |conflict: bool, reason: String| Failure { conflict, reason };
        let reply = client::send(&self.client, request, limit)
            .await
            // A write whose outcome is unknown changed the version if it happened: reading tells.
            .map_err(|error| failed(true, error.to_string()))?;
        if !reply.is_success() {
            let conflict = matches!(reply.status, 404 | 409) || reply.status >= 500;
            return Err(failed(conflict, reply.message()));
        }
        serde_json::from_slice(&reply.body).map_err(|error| failed(true, error.to_string()))
    }
}

struct Failure {
    /// Whether the Lease must be read again before the next try.
    conflict: bool,
    reason: String,
}

async fn asked(release: &mut watch::Receiver<bool>) {
    if release.wait_for(|release| *release).await.is_err() {
        std::future::pending::<()>().await;
    }
}
