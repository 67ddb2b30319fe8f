//! etcd, the API server with RBAC and an audit log, the controller manager and the scheduler.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use kube::Client;
use serde_json::json;
use tokio::process::Command;

use super::{
    apply::Applier,
    http,
    identity::{self, Authority},
    network::BRIDGE,
    parts::Parts,
    ports,
    process::{Process, until},
};

/// Cluster roles of the bed's own programs (kubelet, recorder, istiod); not those of the product.
const ROLES: &str = include_str!("../../bed/rbac-bed.yaml");
const READY: Duration = Duration::from_secs(60);

/// The running servers. Dropping it kills them.
#[derive(Debug)]
pub struct ControlPlane {
    pub etcd: Process,
    pub apiserver: Process,
    pub controller_manager: Process,
    pub scheduler: Process,
    audit: PathBuf,
}

impl ControlPlane {
    /// Starts all four and waits until the API server is ready and knows the bed's roles.
    ///
    /// # Errors
    /// When one of them ends early or is not ready in time; the end of its log is in the message.
    pub async fn start(parts: &Parts, run: &Path, authority: &Authority) -> Result<(Self, Client)> {
        let logs = run.join("logs");
        let etcd = etcd(parts, run, &logs)?;
        let audit = run.join("audit.log");
        let mut apiserver = apiserver(parts, run, authority, &audit)?;
        let admin = authority.kubeconfig("admin", Some("system:masters"))?;
        let client = identity::client(&admin).await?;
        apiserver
            .ready(READY, || async {
                let request = hyper::Request::get("/readyz").body(Vec::new())?;
                let answer = client.request_text(request).await?;
                ensure!(answer == "ok", "/readyz: {answer}");
                Ok(())
            })
            .await?;
        let controller_manager = controller_manager(parts, authority, &logs)?;
        let scheduler = scheduler(parts, run, authority, &logs)?;
        let applier = Applier::new(client.clone(), "sluice-bed");
        applier.yaml("default", ROLES).await.context("the bed's own roles")?;
        Ok((Self { etcd, apiserver, controller_manager, scheduler, audit }, client))
    }

    /// Waits until the controller manager and the scheduler serve.
    ///
    /// # Errors
    /// When they do not in time.
    pub async fn workers_ready(&self, client: &Client) -> Result<()> {
        let accounts: kube::Api<k8s_openapi::api::core::v1::ServiceAccount> =
            kube::Api::namespaced(client.clone(), "default");
        until("the controller manager makes service accounts", READY, || async {
            Ok(accounts.get_opt("default").await?)
        })
        .await?;
        Ok(())
    }

    /// Where the API server writes its audit log; older parts lie beside it.
    #[must_use]
    pub fn audit_log(&self) -> &Path {
        &self.audit
    }
}

fn etcd(parts: &Parts, run: &Path, logs: &Path) -> Result<Process> {
    let client = format!("http://127.0.0.1:{}", ports::ETCD);
    let peer = format!("http://127.0.0.1:{}", ports::ETCD_PEER);
    let mut command = Command::new(&parts.etcd);
    command.args(["--name", "bed", "--unsafe-no-fsync", "--log-level", "warn"]);
    command.arg("--data-dir").arg(run.join("etcd"));
    command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
    command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
    command.args(["--initial-cluster", &format!("bed={peer}")]);
    Process::start("etcd", command, logs)
}

fn apiserver(parts: &Parts, run: &Path, authority: &Authority, audit: &Path) -> Result<Process> {
    let policy = run.join("audit-policy.yaml");
    fs::write(
        &policy,
        json!({
            "apiVersion": "audit.k8s.io/v1",
            "kind": "Policy",
            "omitStages": ["RequestReceived", "ResponseStarted"],
            "rules": [{ "level": "Metadata" }],
        })
        .to_string(),
    )?;
    let mut command = Command::new(&parts.apiserver);
    for (flag, file) in [
        ("tls-cert-file", "server.crt"),
        ("tls-private-key-file", "server.key"),
        ("client-ca-file", "ca.crt"),
        ("service-account-key-file", "sa.pub"),
        ("service-account-signing-key-file", "sa.key"),
    ] {
        command.arg(format!("--{flag}={}", authority.file(file).display()));
    }
    command.args([
        format!("--etcd-servers=http://127.0.0.1:{}", ports::ETCD),
        format!("--secure-port={}", ports::APISERVER),
        format!("--advertise-address={BRIDGE}"),
        format!("--cert-dir={}", run.join("apiserver").display()),
        format!("--audit-policy-file={}", policy.display()),
        format!("--audit-log-path={}", audit.display()),
    ]);
    command.args([
        "--bind-address=127.0.0.1",
        "--authorization-mode=RBAC",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--service-cluster-ip-range=10.96.0.0/16",
        // Pods would get token volumes that only a kubelet with volumes could fill.
        "--disable-admission-plugins=ServiceAccount",
        "--endpoint-reconciler-type=none",
        "--max-requests-inflight=1200",
        "--max-mutating-requests-inflight=600",
        // Written before the answer is sent: who has the answer finds its line in the log.
        "--audit-log-mode=blocking",
        "--audit-log-maxsize=200",
        "--shutdown-delay-duration=0",
    ]);
    Process::start("kube-apiserver", command, &run.join("logs"))
}

fn controller_manager(parts: &Parts, authority: &Authority, logs: &Path) -> Result<Process> {
    let name = "system:kube-controller-manager";
    let kubeconfig = authority.kubeconfig(name, None)?;
    let mut command = Command::new(&parts.controller_manager);
    for flag in ["kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig"] {
        command.arg(format!("--{flag}={}", kubeconfig.display()));
    }
    command.args([
        format!("--secure-port={}", ports::CONTROLLER_MANAGER),
        format!("--cert-dir={}", logs.join("kcm-certs").display()),
        format!("--service-account-private-key-file={}", authority.file("sa.key").display()),
        format!("--root-ca-file={}", authority.file("ca.crt").display()),
    ]);
    command.args([
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
        "--use-service-account-credentials=true",
        // The default of 20 caps Pod creation at 21 a second.
        "--kube-api-qps=500",
        "--kube-api-burst=1000",
        // Our kubelet renews no node leases and our nodes have no address range.
        "--controllers=*,-node-ipam-controller,-node-lifecycle-controller,-taint-eviction-controller",
    ]);
    Process::start("kube-controller-manager", command, logs)
}

fn scheduler(parts: &Parts, run: &Path, authority: &Authority, logs: &Path) -> Result<Process> {
    let kubeconfig = authority.kubeconfig("system:kube-scheduler", None)?;
    let config = run.join("scheduler.yaml");
    fs::write(
        &config,
        json!({
            "apiVersion": "kubescheduler.config.k8s.io/v1",
            "kind": "KubeSchedulerConfiguration",
            "clientConnection": { "kubeconfig": kubeconfig, "qps": 500, "burst": 1000 },
            "leaderElection": { "leaderElect": false },
        })
        .to_string(),
    )?;
    let mut command = Command::new(&parts.scheduler);
    command.arg(format!("--config={}", config.display()));
    for flag in ["authentication-kubeconfig", "authorization-kubeconfig"] {
        command.arg(format!("--{flag}={}", kubeconfig.display()));
    }
    command.args([
        format!("--secure-port={}", ports::SCHEDULER),
        format!("--cert-dir={}", logs.join("scheduler-certs").display()),
        "--bind-address=127.0.0.1".to_owned(),
    ]);
    Process::start("kube-scheduler", command, logs)
}

/// Whether etcd answers; used by `sluice-bed status`.
///
/// # Errors
/// When it does not.
pub async fn etcd_health() -> Result<String> {
    http::get_ok(&format!("127.0.0.1:{}", ports::ETCD), "/health").await
}
