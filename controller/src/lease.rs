//! Drives the elector of the engine with real time and real requests; what it decides becomes permission to write.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use sluice_crds::object::{Kind, ObjectRef};
use sluice_engine::lease::{Elector, LeaseEvent, LeaseRecord, LeaseRequest, LeaseTimes};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::client::{self, Form, Reply};
use crate::clock::Clock;
use crate::config::LeaseConfig;
use crate::leadership::Leadership;

/// Limit of the read that asks whether the Lease is ours.
const LIMIT: Duration = Duration::from_secs(5);

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

/// Asks the API server whether the Lease of this uid is held by this process.
pub(crate) async fn is_held(
    client: &kube::Client,
    address: &Address,
    uid: &str,
) -> Result<bool, String> {
    let reply = client::get(client, &address.object.path(), Form::Whole, LIMIT)
        .await
        .map_err(|error| error.to_string())?;
    if reply.status == 404 {
        return Ok(false);
    }
    if !reply.is_success() {
        return Err(reply.message());
    }
    let record = LeaseRecord::parse(&reply.body).map_err(|error| error.to_string())?;
    Ok(record.uid == uid && record.holder == address.identity)
}

/// Takes, renews and releases the Lease.
pub(crate) struct Driver {
    address: Address,
    elector: Elector,
    client: kube::Client,
    clock: Arc<dyn Clock>,
    leadership: Arc<Leadership>,
}

type Flight = Pin<Box<dyn Future<Output = LeaseEvent> + Send>>;

impl Driver {
    pub(crate) fn new(
        config: &LeaseConfig,
        client: kube::Client,
        clock: Arc<dyn Clock>,
        leadership: Arc<Leadership>,
    ) -> Self {
        let address = Address::of(config);
        let times = LeaseTimes {
            lease_duration: config.duration,
            renew_deadline: config.renew_deadline,
            retry_period: config.retry_period,
        };
        let elector = Elector::new(address.object.clone(), address.identity.clone(), times);
        Self { address, elector, client, clock, leadership }
    }

    /// Runs until the Lease is lost, or until `release` becomes true: then gives it back.
    pub(crate) async fn run(mut self, mut release: watch::Receiver<bool>) {
        let origin = Instant::now();
        let mut event = LeaseEvent::Tick;
        let mut flight: Option<Flight> = None;
        let mut releasing = false;
        loop {
            let output = self.elector.step(origin.elapsed(), self.clock.now(), event);
            match output.permission {
                Some(permission) => {
                    self.leadership.grant(permission.term, origin + permission.until);
                }
                None => self.leadership.resign(),
            }
            if let Some(reason) = output.lost {
                return self.leadership.lose(reason);
            }
            if let Some(request) = output.request {
                flight = Some(self.send(request));
            }
            let Some(wake) = output.wake else { return };
            event = tokio::select! {
                event = landed(&mut flight) => {
                    flight = None;
                    event
                }
                () = asked(&mut release), if !releasing => {
                    releasing = true;
                    LeaseEvent::Release
                }
                () = tokio::time::sleep_until(origin + wake) => LeaseEvent::Tick,
            };
        }
    }

    fn send(&self, request: LeaseRequest) -> Flight {
        let (client, object) = (self.client.clone(), self.address.object.clone());
        Box::pin(async move {
            let LeaseRequest { write, limit } = request;
            let answer = match &write {
                Some(write) => client::send(&client, &write.request(), limit).await,
                None => client::get(&client, &object.path(), Form::Whole, limit).await,
            };
            match answer {
                Ok(reply) => event_of(&object, write.is_some(), &reply),
                Err(error) => {
                    tracing::warn!(%object, %error, "no answer about the Lease");
                    LeaseEvent::Failed
                }
            }
        })
    }
}

fn event_of(object: &ObjectRef, is_write: bool, reply: &Reply) -> LeaseEvent {
    match (is_write, reply.status) {
        (false, 404) => LeaseEvent::Read(None),
        // A patch of a Lease that is gone, or of another incarnation: reading tells.
        (true, 404 | 409) => LeaseEvent::Conflict,
        _ if reply.is_success() => match LeaseRecord::parse(&reply.body) {
            Ok(record) if is_write => LeaseEvent::Written(record),
            Ok(record) => LeaseEvent::Read(Some(record)),
            Err(error) => {
                tracing::warn!(%object, %error, "the Lease cannot be decoded");
                LeaseEvent::Failed
            }
        },
        _ => {
            tracing::warn!(%object, error = %reply.message(), "the Lease is refused");
            LeaseEvent::Failed
        }
    }
}

async fn landed(flight: &mut Option<Flight>) -> LeaseEvent {
    match flight {
        Some(flight) => flight.await,
        None => std::future::pending().await,
    }
}

async fn asked(release: &mut watch::Receiver<bool>) {
    if release.wait_for(|release| *release).await.is_err() {
        std::future::pending::<()>().await;
    }
}
