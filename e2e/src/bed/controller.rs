//! The real controller binary, under the service account and the rights that the product ships.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kube::{Api, api::PostParams};
use serde_json::json;
use tokio::process::Command;

use super::{Bed, apply::Applier, http, ports, process::Process};

/// The namespace and the service account that the controller runs under.
pub const NAMESPACE: &str = "sluice-system";
pub const ACCOUNT: &str = "sluice";
/// The user of the controller's requests in the audit log.
pub const USER: &str = "system:serviceaccount:sluice-system:sluice";

/// Everything that a start of the controller needs; prepared once for each bed.
#[derive(Debug, Clone)]
pub struct Installation {
    kubeconfig: PathBuf,
    run: PathBuf,
    kustomize: PathBuf,
}

/// How one instance is started.
#[derive(Debug, Clone)]
pub struct Instance {
    /// Name of the process, of its log (`<name>.log`) and of its identity in the election.
    pub name: String,
    pub binary: PathBuf,
    /// Its metrics are on this port, its health on the next.
    pub port: u16,
    /// Further flags.
    pub args: Vec<String>,
}

impl Instance {
    /// One instance on the port that the bed's Prometheus scrapes.
    #[must_use]
    pub fn new(binary: &Path) -> Self {
        let (name, port) = ("controller".to_owned(), ports::CONTROLLER);
        Self { name, binary: binary.to_owned(), port, args: Vec::new() }
    }
}

/// A running instance. Dropping it kills the process.
#[derive(Debug)]
pub struct Controller {
    installation: Installation,
    instance: Instance,
    pub process: Process,
}

impl Installation {
    /// Makes the namespaces, the service account and the rights of the product's own YAML files
    /// ([`super::Options::rbac`]), and a kubeconfig with a token of that account.
    ///
    /// # Errors
    /// When the API server refuses one of them.
    pub async fn prepare(bed: &Bed) -> Result<Self> {
        let applier = Applier::new(bed.admin.clone(), "sluice-install");
        let namespace = |name: &str| json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
        let mut objects = vec![namespace(NAMESPACE), namespace("argocd")];
        objects.extend(super::apply::folder(&bed.options.rbac)?);
        applier.objects(NAMESPACE, objects).await.context("the controller's account and rights")?;
        let accounts: Api<ServiceAccount> = Api::namespaced(bed.admin.clone(), NAMESPACE);
        let day = 24 * 60 * 60;
        let spec = TokenRequestSpec { expiration_seconds: Some(day), ..Default::default() };
        let request = TokenRequest { spec: Some(spec), ..Default::default() };
        let token = accounts
            .create_token_request(ACCOUNT, &PostParams::default(), &request)
            .await?
            .status
            .and_then(|status| status.token)
            .context("a token request is answered with a token")?;
        let kubeconfig = bed.authority.token_kubeconfig("sluice", &token)?;
        let kustomize = bed.parts.kustomize.clone();
        Ok(Self { kubeconfig, run: bed.inside.run.clone(), kustomize })
    }

    /// Starts an instance and waits until it is healthy.
    ///
    /// # Errors
    /// When it ends early or is not healthy within 30 s.
    pub async fn start(&self, instance: Instance) -> Result<Controller> {
        let process = self.spawn(&instance)?;
        let mut controller = Controller { installation: self.clone(), instance, process };
        controller.healthy().await?;
        Ok(controller)
    }

    fn spawn(&self, instance: &Instance) -> Result<Process> {
        let mut command = Command::new(&instance.binary);
        command
            .env("POD_NAMESPACE", NAMESPACE)
            .env("POD_NAME", &instance.name)
            .arg(format!("--metricsport={}", instance.port))
            .arg(format!("--healthzPort={}", instance.port + 1))
            .arg(format!("--kubeconfig={}", self.kubeconfig.display()))
            .arg(format!("--kustomize-binary={}", self.kustomize.display()))
            .arg(format!("--cache-dir={}", self.run.join(&instance.name).display()))
            .args(&instance.args);
        Process::start(&instance.name, command, &self.run.join("logs"))
    }
}

impl Controller {
    /// SIGKILL, and the same instance again at once; does not wait until it is healthy.
    ///
    /// # Errors
    /// When the process cannot be killed or started.
    pub async fn kill_and_restart(&mut self) -> Result<()> {
        self.process.kill().await?;
        self.process = self.installation.spawn(&self.instance)?;
        Ok(())
    }

    /// Waits until `/healthz` answers 200.
    ///
    /// # Errors
    /// When it does not within 30 s, or the process ends.
    pub async fn healthy(&mut self) -> Result<()> {
        let address = format!("127.0.0.1:{}", self.instance.port + 1);
        let health = || async { http::get_ok(&address, "/healthz").await };
        self.process.ready(Duration::from_secs(30), health).await?;
        Ok(())
    }

    /// The text of `/metrics`.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn metrics(&self) -> Result<String> {
        http::get_ok(&format!("127.0.0.1:{}", self.instance.port), "/metrics").await
    }
}
