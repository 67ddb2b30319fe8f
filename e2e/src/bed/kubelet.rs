//! The bed's own kubelet: nodes on paper, Pods as real processes in network namespaces of their own.
//!
//! It keeps the parts of a kubelet's contract that a rollout can see: readiness from probes and
//! readiness gates, start-up time, lifecycle hooks, termination with grace, exit codes, restarts
//! with back-off, image pull errors. There are no images: an image's *name* chooses what runs
//! ([`image`]). One task for each Pod ([`pod`]) owns its status; one task for each container
//! ([`container`]) owns its process.
//!
//! Annotations on a Pod that steer it: `bed.sluice.dev/start-delay-ms` (time from scheduling to a
//! started container, instead of [`Options::start_delay`]).

mod container;
mod image;
mod pod;
mod probe;
mod status;
mod targets;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Result;
use futures::{StreamExt as _, pin_mut};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{
    Api, Client, ResourceExt as _,
    api::{Patch, PatchParams, PostParams},
    runtime::{WatchStreamExt as _, watcher},
};
use serde_json::json;
use tokio::{sync::watch, task::JoinHandle};

use super::network::Network;
use targets::Targets;

/// Annotation with the start delay of one Pod, in milliseconds.
pub const START_DELAY: &str = "bed.sluice.dev/start-delay-ms";

/// Knobs of the kubelet.
#[derive(Debug, Clone)]
pub struct Options {
    /// Number of nodes, named `node-1` and so on.
    pub nodes: u32,
    /// Time from scheduling to a started container; what people see in mid-update assumes about
    /// a second.
    pub start_delay: Duration,
    /// First pause before a crashed container is started again; doubles up to 5 minutes.
    pub crash_backoff: Duration,
    /// The backend binary (`sluice-backend`).
    pub backend: PathBuf,
    /// Where container output goes: `<logs>/<namespace>_<pod>_<container>.log`.
    pub logs: PathBuf,
    /// The list of scrape targets for Prometheus, rewritten when Pods come and go.
    pub targets: PathBuf,
}

/// The running kubelet; dropping it stops watching, the Pods' processes stay.
#[derive(Debug)]
pub struct Kubelet {
    task: JoinHandle<()>,
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Context {
    client: Client,
    network: Arc<Network>,
    options: Options,
    targets: Targets,
}

impl Kubelet {
    /// Registers the nodes and starts to run Pods.
    ///
    /// # Errors
    /// When a node cannot be registered.
    pub async fn start(client: Client, network: Arc<Network>, options: Options) -> Result<Self> {
        std::fs::create_dir_all(&options.logs)?;
        for number in 1..=options.nodes {
            register(&client, &format!("node-{number}")).await?;
        }
        let targets = Targets::new(options.targets.clone())?;
        let context = Arc::new(Context { client, network, options, targets });
        Ok(Self { task: tokio::spawn(run(context)) })
    }
}

async fn register(client: &Client, name: &str) -> Result<()> {
    let api: Api<Node> = Api::all(client.clone());
    let node: Node = serde_json::from_value(json!({
        "metadata": { "name": name, "labels": { "kubernetes.io/hostname": name } },
    }))?;
    match api.create(&PostParams::default(), &node).await {
        Err(kube::Error::Api(status)) if status.code == 409 => {}
        created => drop(created?),
    }
    // Admission taints every new node as not ready; nobody but us would take that away.
    let untaint = json!({ "spec": { "taints": null } });
    api.patch(name, &PatchParams::default(), &Patch::Merge(untaint)).await?;
    let room = json!({ "cpu": "64", "memory": "256Gi", "pods": "2000" });
    let since = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    let status = json!({ "status": {
        "capacity": room,
        "allocatable": room,
        "conditions": [{ "type": "Ready", "status": "True", "reason": "KubeletReady",
            "lastTransitionTime": since, "lastHeartbeatTime": since }],
        "nodeInfo": { "architecture": "amd64", "bootID": "", "containerRuntimeVersion": "bed://1",
            "kernelVersion": "", "kubeProxyVersion": "", "kubeletVersion": "v1.36.3",
            "machineID": "", "operatingSystem": "linux", "osImage": "", "systemUUID": "" },
    } });
    api.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await?;
    Ok(())
}

/// One task for each Pod on a node; each gets the newest version of its Pod, and a closed channel
/// once the Pod is gone from the API server.
async fn run(context: Arc<Context>) {
    let api: Api<Pod> = Api::all(context.client.clone());
    let events = watcher(api, watcher::Config::default()).default_backoff();
    pin_mut!(events);
    let mut pods: BTreeMap<String, watch::Sender<Arc<Pod>>> = BTreeMap::new();
    let mut listed: Option<BTreeMap<String, watch::Sender<Arc<Pod>>>> = None;
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::Init) => listed = Some(BTreeMap::new()),
            Ok(watcher::Event::InitApply(pod)) => {
                let uid = pod.uid().unwrap_or_default();
                accept(&context, &mut pods, pod);
                if let (Some(listed), Some(sender)) = (&mut listed, pods.remove(&uid)) {
                    listed.insert(uid, sender);
                }
            }
            Ok(watcher::Event::InitDone) => {
                if let Some(listed) = listed.take() {
                    pods = listed;
                }
            }
            Ok(watcher::Event::Apply(pod)) => accept(&context, &mut pods, pod),
            Ok(watcher::Event::Delete(pod)) => {
                pods.remove(&pod.uid().unwrap_or_default());
            }
            Err(error) => tracing::warn!("kubelet's watch of Pods: {error:#}"),
        }
    }
}

fn accept(context: &Arc<Context>, pods: &mut BTreeMap<String, watch::Sender<Arc<Pod>>>, pod: Pod) {
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
    if !node.is_some_and(|node| node.starts_with("node-")) {
        return;
    }
    let uid = pod.uid().unwrap_or_default();
    let pod = Arc::new(pod);
    if let Some(sender) = pods.get(&uid) {
        sender.send_replace(pod);
    } else {
        let (sender, receiver) = watch::channel(pod);
        tokio::spawn(pod::run(Arc::clone(context), receiver));
        pods.insert(uid, sender);
    }
}
