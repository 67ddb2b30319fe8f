//! Kubernetes Events: written from a bounded queue of their own, in nobody's way, dropped first under pressure (H24).

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use sluice_crds::object::{Kind, ObjectRef, Request, ResourceVersion};
use sluice_crds::time::Time;
use sluice_engine::plan::Notice;
use tokio::sync::mpsc;

use crate::client;
use crate::clock::Clock;
use crate::leadership::Leadership;
use crate::telemetry::{self, Telemetry};

/// Events that may wait to be written.
const CAPACITY: usize = 1024;
/// Limit of one write.
const LIMIT: Duration = Duration::from_secs(5);

/// The object that an Event is about.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(crate) object: ObjectRef,
    pub(crate) uid: String,
    pub(crate) version: ResourceVersion,
}

/// Where notices go.
#[derive(Clone)]
pub(crate) struct Events {
    sender: mpsc::Sender<(Subject, Notice)>,
    telemetry: Arc<Telemetry>,
}

impl Events {
    /// Returns the sender, and the task that writes.
    pub(crate) fn new(
        client: kube::Client,
        clock: Arc<dyn Clock>,
        leadership: Arc<Leadership>,
        telemetry: Arc<Telemetry>,
        identity: String,
    ) -> (Self, impl Future<Output = ()>) {
        let (sender, receiver) = mpsc::channel(CAPACITY);
        let writer = Writer { client, clock, leadership, identity };
        (Self { sender, telemetry }, writer.run(receiver))
    }

    /// Hands over a notice, or drops it if too many wait.
    pub(crate) fn publish(&self, subject: &Subject, notice: &Notice) {
        if self.sender.try_send((subject.clone(), notice.clone())).is_err() {
            self.telemetry.dropped(notice.reason);
        }
    }
}

struct Writer {
    client: kube::Client,
    clock: Arc<dyn Clock>,
    leadership: Arc<Leadership>,
    identity: String,
}

impl Writer {
    async fn run(self, mut receiver: mpsc::Receiver<(Subject, Notice)>) {
        let mut number = 0_u64;
        while let Some((subject, notice)) = receiver.recv().await {
            if !self.leadership.leads() {
                continue;
            }
            number += 1;
            let request = self.request(&subject, &notice, number);
            match client::send(&self.client, &request, LIMIT).await {
                Ok(reply) if reply.is_success() => {}
                Ok(reply) => tracing::debug!(error = %reply.message(), "event is not written"),
                Err(error) => tracing::debug!(%error, "event is not written"),
            }
        }
    }

    fn request(&self, subject: &Subject, notice: &Notice, number: u64) -> Request {
        let now = self.clock.now();
        let name = &subject.object.name;
        // The instant tells terms apart, the number what one process writes at the same instant.
        let unique = format!("{:x}{number:x}", now.timestamp_micros());
        let namespace = subject.object.namespace.as_deref().unwrap_or("default");
        let mut path = Kind::EVENT.collection_path(Some(namespace));
        path.push_str("?fieldManager=sluice-events");
        Request {
            method: "POST",
            path,
            content_type: "application/json",
            body: body(subject, notice, &format!("{name}.{unique}"), now.into(), &self.identity),
        }
    }
}

fn body(subject: &Subject, notice: &Notice, name: &str, now: Time, identity: &str) -> Value {
    let object = &subject.object;
    let namespace = object.namespace.as_deref().unwrap_or("default");
    json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": { "name": name, "namespace": namespace },
        "involvedObject": {
            "apiVersion": object.kind.api_version(),
            "kind": object.kind.kind,
            "namespace": object.namespace,
            "name": object.name,
            "uid": subject.uid,
            "resourceVersion": subject.version,
        },
        "type": telemetry::severity(notice.severity),
        "reason": notice.reason,
        "message": notice.message.chars().take(1024).collect::<String>(),
        "source": { "component": "rollouts-controller" },
        "reportingComponent": "rollouts-controller",
        "reportingInstance": identity,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    })
}
