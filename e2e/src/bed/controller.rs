//! The real controller binary, under the service account and the rights that the product ships.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};
use k8s_openapi::api::{
    authentication::v1::{SelfSubjectReview, TokenRequest, TokenRequestSpec},
    coordination::v1::Lease,
    core::v1::ServiceAccount,
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::process::Command;

use super::{Bed, apply::Applier, http, identity, ports, process::Process};

/// The namespace and the service account that the controller runs under.
pub const NAMESPACE: &str = "sluice-system";
pub const ACCOUNT: &str = "sluice";
/// The user of the controller's requests in the audit log.
pub const USER: &str = "system:serviceaccount:sluice-system:sluice";
/// Name of the Lease by default; `--instance-id=x` appends `-x`.
pub const LEASE: &str = "argo-rollouts-controller-lock";

/// Everything that a start of the controller needs; prepared once for each bed.
#[derive(Clone)]
pub struct Installation {
    admin: Client,
    /// Where kubeconfigs are.
    identities: PathBuf,
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
pub struct Controller {
    installation: Installation,
    instance: Instance,
    pub process: Process,
    /// How often [`Self::keep_alive`] has started it anew.
    pub restarts: u32,
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
        let identities = bed.authority.folder().to_owned();
        let kubeconfig = token_kubeconfig(&bed.admin, &identities, "sluice").await?;
        Ok(Self {
            admin: bed.admin.clone(),
            identities,
            kubeconfig,
            run: bed.inside.run.clone(),
            kustomize: bed.parts.kustomize.clone(),
        })
    }

    /// The same installation with another token of the same account, so that the audit log tells the requests of its instances
    /// from those of others, by [`Self::credential`].
    ///
    /// # Errors
    /// When the API server gives no token.
    pub async fn with_own_token(&self, name: &str) -> Result<Self> {
        let kubeconfig = token_kubeconfig(&self.admin, &self.identities, name).await?;
        Ok(Self { kubeconfig, ..self.clone() })
    }

    /// The id under which the API server knows the token: [`crate::recorder::User::credential`] of its requests.
    ///
    /// # Errors
    /// When the API server does not tell.
    pub async fn credential(&self) -> Result<String> {
        let reviews: Api<SelfSubjectReview> = Api::all(identity::client(&self.kubeconfig).await?);
        let review = reviews.create(&PostParams::default(), &SelfSubjectReview::default()).await?;
        let user = review.status.and_then(|status| status.user_info);
        let extra = user.and_then(|user| user.extra).unwrap_or_default();
        let ids = extra.get(CREDENTIAL).context("the API server tells no credential's id")?;
        ids.first().cloned().context("a credential has one id")
    }

    /// Starts an instance and waits until it is healthy.
    ///
    /// # Errors
    /// When it ends early or is not healthy within 30 s.
    pub async fn start(&self, instance: Instance) -> Result<Controller> {
        let process = self.spawn(&instance)?;
        let mut controller =
            Controller { installation: self.clone(), instance, process, restarts: 0 };
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

/// Where the API server tells which token of a user was used.
pub const CREDENTIAL: &str = "authentication.kubernetes.io/credential-id";

async fn token_kubeconfig(admin: &Client, identities: &Path, name: &str) -> Result<PathBuf> {
    let accounts: Api<ServiceAccount> = Api::namespaced(admin.clone(), NAMESPACE);
    let day = 24 * 60 * 60;
    let spec = TokenRequestSpec { expiration_seconds: Some(day), ..Default::default() };
    let request = TokenRequest { spec: Some(spec), ..Default::default() };
    let token = accounts
        .create_token_request(ACCOUNT, &PostParams::default(), &request)
        .await?
        .status
        .and_then(|status| status.token)
        .context("a token request is answered with a token")?;
    identity::token_kubeconfig(identities, name, &token)
}

/// The identity that holds a Lease of the controller's namespace; none where there is no Lease or nobody holds it.
///
/// # Errors
/// When the API server does not answer.
pub async fn holder(bed: &Bed, lease: &str) -> Result<Option<String>> {
    let leases: Api<Lease> = Api::namespaced(bed.admin.clone(), NAMESPACE);
    let holder = leases.get_opt(lease).await?.and_then(|lease| lease.spec?.holder_identity);
    Ok(holder.filter(|identity| !identity.is_empty()))
}

/// Frees a Lease whose holder is dead, as the holder itself does at a clean end: nobody waits for it to run out.
///
/// # Errors
/// When another holds it by now.
pub async fn free(bed: &Bed, lease: &str, holder: &str) -> Result<()> {
    let leases: Api<Lease> = Api::namespaced(bed.admin.clone(), NAMESPACE);
    let at = "/spec/holderIdentity";
    let operations = json!([{ "op": "test", "path": at, "value": holder },
        { "op": "replace", "path": at, "value": "" }]);
    let patch: Patch<()> = Patch::Json(serde_json::from_value(operations)?);
    leases.patch(lease, &PatchParams::default(), &patch).await?;
    Ok(())
}

/// Whether an identity in a Lease is that of the instance of this name, of any of its starts.
#[must_use]
pub fn is_of(identity: &str, name: &str) -> bool {
    identity.strip_prefix(name).is_some_and(|rest| rest.starts_with('_'))
}

impl Controller {
    /// Name of the instance.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.instance.name
    }

    /// Starts the instance anew whenever it ends by itself (as it does when it could not renew its Lease), as a kubelet would.
    /// Never ends; dropping it stops nothing.
    ///
    /// # Errors
    /// When the process cannot be waited for or started.
    pub async fn keep_alive(&mut self) -> Result<std::convert::Infallible> {
        loop {
            self.process.wait().await?;
            self.restart().await?;
            self.restarts += 1;
        }
    }

    /// Starts the instance anew after it has ended, with a token of its own; does not wait until it is healthy.
    ///
    /// # Errors
    /// When the API server gives no token, or the process cannot be started.
    pub async fn restart(&mut self) -> Result<()> {
        self.installation = self.installation.with_own_token(&self.instance.name).await?;
        self.process = self.installation.spawn(&self.instance)?;
        Ok(())
    }

    /// What the audit log calls the requests of this start: [`Installation::credential`].
    ///
    /// # Errors
    /// When the API server does not tell.
    pub async fn credential(&self) -> Result<String> {
        self.installation.credential().await
    }

    /// SIGKILL; nothing if it has ended already.
    ///
    /// # Errors
    /// When the process cannot be killed.
    pub async fn kill(&mut self) -> Result<()> {
        if self.process.ended()?.is_none() {
            self.process.kill().await?;
        }
        Ok(())
    }

    /// SIGKILL, and the same instance again at once; does not wait until it is healthy.
    ///
    /// # Errors
    /// When the process cannot be killed or started.
    pub async fn kill_and_restart(&mut self) -> Result<()> {
        self.kill().await?;
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
