//! One Pod: its network, its containers in order, its status, its end.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use chrono::{DateTime, Utc};
use k8s_openapi::api::core::v1::{Container, Pod};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use super::{
    Context, START_DELAY,
    container::{Restart, Snapshot, Supervisor},
    image::{self, Behaviour},
    status::{self, Facts},
};
use crate::bed::network::PodNetwork;

/// Newest version of the Pod; closed when it is gone from the API server.
type Updates = watch::Receiver<Arc<Pod>>;

/// Runs a Pod from its scheduling to its removal.
pub(super) async fn run(context: Arc<Context>, mut updates: Updates) {
    let pod = updates.borrow_and_update().clone();
    let name = format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any());
    let network = match context.network.add_pod().await {
        Ok(network) => network,
        Err(error) => return tracing::error!("Pod {name}: {error:#}"),
    };
    let (stop, _) = watch::channel(None);
    let (reports, received) = mpsc::channel(64);
    let task = Task {
        api: Api::namespaced(context.client.clone(), &pod.namespace().unwrap_or_default()),
        network: network.clone(),
        since: Utc::now(),
        restart: restart_policy(&pod),
        init: Vec::new(),
        containers: Vec::new(),
        stop,
        reports,
        written: Value::Null,
        context: Arc::clone(&context),
        pod,
    };
    if let Err(error) = task.work(&mut updates, received).await {
        tracing::error!("Pod {name}: {error:#}");
    }
    if let Err(error) = context.network.remove_pod(&network).await {
        tracing::warn!("Pod {name}: {error:#}");
    }
}

struct Task {
    context: Arc<Context>,
    api: Api<Pod>,
    pod: Arc<Pod>,
    network: PodNetwork,
    since: DateTime<Utc>,
    restart: Restart,
    init: Vec<Snapshot>,
    containers: Vec<Snapshot>,
    stop: watch::Sender<Option<Duration>>,
    reports: mpsc::Sender<(usize, Snapshot)>,
    written: Value,
}

/// Index of the containers' reports from here on; below are the init containers'.
const MAIN: usize = 1000;

impl Task {
    async fn work(
        mut self,
        updates: &mut Updates,
        mut received: mpsc::Receiver<(usize, Snapshot)>,
    ) -> Result<()> {
        self.start_next();
        loop {
            self.write_status().await?;
            if self.over() {
                break;
            }
            tokio::select! {
                changed = updates.changed() => {
                    if changed.is_err() {
                        // Deleted by force: nobody waits for a grace period any more.
                        self.stop.send_replace(Some(Duration::ZERO));
                        self.drain(&mut received).await;
                        self.targets_leave();
                        return Ok(());
                    }
                    let pod = updates.borrow_and_update().clone();
                    self.adopt(pod);
                }
                Some(report) = received.recv() => self.note(report),
            }
            while let Ok(report) = received.try_recv() {
                self.note(report);
            }
            self.start_next();
        }
        self.targets_leave();
        self.remove().await
    }

    /// Whether the Pod is to be removed and nothing of it lives.
    fn over(&self) -> bool {
        let all = self.init.iter().chain(&self.containers);
        self.ending() && all.clone().all(|container| container.finished)
    }

    fn ending(&self) -> bool {
        self.pod.metadata.deletion_timestamp.is_some()
    }

    /// Takes a newer version of the Pod; the watch may be behind our own last write, and an old
    /// version would show readiness gates as they were.
    fn adopt(&mut self, pod: Arc<Pod>) {
        let version = |pod: &Pod| pod.resource_version().and_then(|v| v.parse::<u64>().ok());
        if version(&pod) < version(&self.pod) {
            return;
        }
        self.pod = pod;
        if self.ending() && self.stop.borrow().is_none() {
            let grace = self.pod.metadata.deletion_grace_period_seconds.unwrap_or(30);
            let grace = Duration::from_secs(u64::try_from(grace).unwrap_or_default());
            self.stop.send_replace(Some(grace));
        }
    }

    /// Starts the next init container once the one before succeeded, then all containers at once.
    fn start_next(&mut self) {
        if self.ending() || !self.containers.is_empty() {
            return;
        }
        let Some(spec) = self.pod.spec.clone() else { return };
        let init = spec.init_containers.unwrap_or_default();
        let succeeded = |c: &Snapshot| matches!(&c.state, super::container::State::Terminated(e) if e.exit_code == 0);
        if !self.init.iter().all(|c| c.finished && succeeded(c)) {
            return;
        }
        if let Some(next) = init.get(self.init.len()) {
            let restart =
                if self.restart == Restart::Never { Restart::Never } else { Restart::OnFailure };
            self.supervise(next.clone(), restart, self.init.len());
            self.init.push(Snapshot::waiting("ContainerCreating"));
            return;
        }
        for (index, container) in spec.containers.into_iter().enumerate() {
            self.supervise(container, self.restart, MAIN + index);
            self.containers.push(Snapshot::waiting("ContainerCreating"));
        }
    }

    fn supervise(&self, spec: Container, restart: Restart, index: usize) {
        let steered = self.pod.annotations().get(START_DELAY).and_then(|ms| ms.parse().ok());
        let delay = steered.map(Duration::from_millis);
        let supervisor = Supervisor {
            context: Arc::clone(&self.context),
            pod: Arc::clone(&self.pod),
            spec,
            network: self.network.clone(),
            restart,
            start_delay: delay.unwrap_or(self.context.options.start_delay),
            stop: self.stop.subscribe(),
            index,
            reports: self.reports.clone(),
        };
        tokio::spawn(supervisor.run());
    }

    fn note(&mut self, (index, snapshot): (usize, Snapshot)) {
        let main = index >= MAIN;
        if main {
            self.announce(index - MAIN, &snapshot);
        }
        let list = if main { &mut self.containers } else { &mut self.init };
        if let Some(place) = list.get_mut(if main { index - MAIN } else { index }) {
            *place = snapshot;
        }
    }

    /// A backend that runs is scraped.
    fn announce(&self, index: usize, snapshot: &Snapshot) {
        let spec = self.pod.spec.as_ref().and_then(|spec| spec.containers.get(index));
        let Some(spec) = spec.filter(|spec| image::behaviour(spec) == Behaviour::Backend) else {
            return;
        };
        if matches!(snapshot.state, super::container::State::Running { .. }) {
            let address = format!("{}:{}", self.network.address, image::port(spec));
            self.context.targets.add(&self.pod, &address);
        }
    }

    fn targets_leave(&self) {
        self.context.targets.remove(&self.pod);
    }

    async fn write_status(&mut self) -> Result<()> {
        let facts = Facts {
            address: Some(self.network.address.to_string()),
            since: self.since,
            restart: self.restart,
            init: &self.init,
            containers: &self.containers,
            ending: self.ending(),
        };
        let status = status::status(&self.pod, &facts);
        if same(&status, &self.written) {
            return Ok(());
        }
        // The uid keeps a status from landing on a new Pod of the same name.
        let uid = self.pod.uid();
        let patch = json!({ "metadata": { "uid": uid }, "status": status });
        let patch = Patch::Strategic(patch);
        match self.api.patch_status(&self.pod.name_any(), &PatchParams::default(), &patch).await {
            Ok(pod) => self.adopt(Arc::new(pod)),
            Err(kube::Error::Api(error)) if matches!(error.code, 404 | 409) => {}
            Err(error) => return Err(error).context("cannot write the status"),
        }
        self.written = status;
        Ok(())
    }

    async fn remove(&self) -> Result<()> {
        let now = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(Preconditions { uid: self.pod.uid(), resource_version: None }),
            ..DeleteParams::default()
        };
        match self.api.delete(&self.pod.name_any(), &now).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(error)) if matches!(error.code, 404 | 409) => Ok(()),
            Err(error) => Err(error).context("cannot remove the Pod"),
        }
    }

    async fn drain(&mut self, received: &mut mpsc::Receiver<(usize, Snapshot)>) {
        while self.init.iter().chain(&self.containers).any(|container| !container.finished) {
            let Some(report) = received.recv().await else { return };
            self.note(report);
        }
    }
}

/// Equal but for the times of conditions: a condition that did not change keeps its time.
fn same(new: &Value, old: &Value) -> bool {
    let timeless = |status: &Value| {
        let mut status = status.clone();
        for condition in status["conditions"].as_array_mut().into_iter().flatten() {
            condition["lastTransitionTime"] = Value::Null;
        }
        status
    };
    !old.is_null() && timeless(new) == timeless(old)
}

fn restart_policy(pod: &Pod) -> Restart {
    match pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()) {
        Some("Never") => Restart::Never,
        Some("OnFailure") => Restart::OnFailure,
        _ => Restart::Always,
    }
}
