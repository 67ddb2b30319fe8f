//! The controller as a Deployment of the chart starts it: its account, its flags, its probes.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, Utc};
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kube::{Api, api::PostParams};
use serde_json::Value;
use sluice_e2e::{
    bed::{
        Bed, http,
        process::{Process, until},
        sibling,
    },
    recorder::{self, Request},
};
use tokio::process::Command;

use crate::{
    helm::words,
    rights::{Right, used},
};

const SOON: Duration = Duration::from_secs(30);

/// What the bed decides instead of the Pod: where it listens, what it writes to, how it is known.
const OWN: [&str; 3] = ["--metricsport=", "--healthzPort=", "--cache-dir="];

/// A running controller.
pub(crate) struct Installed {
    bed: Arc<Bed>,
    process: Process,
    user: String,
    since: DateTime<Utc>,
    port: u16,
}

impl Installed {
    /// Starts what the Deployment says, with metrics on `port` and health on the next, and waits until its own readiness probe
    /// would let traffic in.
    pub(crate) async fn start(bed: Arc<Bed>, deployment: &Value, port: u16) -> Result<Self> {
        let namespace = deployment["metadata"]["namespace"].as_str().context("no namespace")?;
        let pod = &deployment["spec"]["template"]["spec"];
        let account = pod["serviceAccountName"].as_str().context("no service account")?;
        let container = &pod["containers"][0];
        let kubeconfig = bed.authority.token_kubeconfig(
            &format!("{namespace}-{account}"),
            &token(&bed, namespace, account).await?,
        )?;
        let mut command = Command::new(sibling("sluice-controller")?);
        for argument in words(&container["args"]) {
            if !OWN.iter().any(|own| argument.starts_with(own)) {
                command.arg(argument.replace("$(POD_NAMESPACE)", namespace));
            }
        }
        let name = format!("{namespace}-controller");
        command
            .env("POD_NAMESPACE", namespace)
            .env("POD_NAME", &name)
            .arg(format!("--metricsport={port}"))
            .arg(format!("--healthzPort={}", port + 1))
            .arg(format!("--kubeconfig={}", kubeconfig.display()))
            .arg(format!("--cache-dir={}", bed.inside.run.join(&name).display()));
        let process = Process::start(&name, command, &bed.inside.run.join("logs"))?;
        let user = format!("system:serviceaccount:{namespace}:{account}");
        let mut this = Self { bed, process, user, since: Utc::now(), port };
        this.probed(container, "livenessProbe").await?;
        this.probed(container, "readinessProbe").await?;
        Ok(this)
    }

    /// Waits until a probe passes; its port must be the one that the flags name.
    async fn probed(&mut self, container: &Value, probe: &str) -> Result<()> {
        let get = &container[probe]["httpGet"];
        let ports = container["ports"].as_array().into_iter().flatten();
        let port = ports.clone().find(|port| port["name"] == get["port"]);
        let port = &port.context("the probe's port is not the container's")?["containerPort"];
        let flag = format!("--healthzPort={port}");
        ensure!(words(&container["args"]).contains(&&*flag), "{probe} asks port {port}");
        let metrics =
            ports.filter(|port| port["name"] == "metrics").map(|port| &port["containerPort"]);
        let flag =
            metrics.map(|port| format!("--metricsport={port}")).next().context("no metrics")?;
        ensure!(words(&container["args"]).contains(&&*flag), "`{flag}` is not among the flags");
        let path = get["path"].as_str().context("the probe has no path")?;
        let address = format!("127.0.0.1:{}", self.port + 1);
        self.process.ready(SOON, || async { http::get_ok(&address, path).await }).await?;
        Ok(())
    }

    /// The text of its metrics.
    pub(crate) async fn metrics(&self) -> Result<String> {
        http::get_ok(&format!("127.0.0.1:{}", self.port), "/metrics").await
    }

    /// Ends it as a kubelet does, and returns all that it asked the API server for. `watched` are the watches that should be
    /// among it.
    pub(crate) async fn stopped(mut self, watched: &BTreeSet<Right>) -> Result<Vec<Request>> {
        ensure!(self.process.stop(Duration::from_secs(30)).await?, "it does not end at SIGTERM");
        let log = self.bed.control_plane.audit_log();
        let asked = || recorder::audit(log, &self.user, self.since);
        // A watch is in the log soon after it has ended.
        let logged = until("every watch is in the audit log", SOON, || async {
            let requests = asked()?;
            Ok(watched.is_subset(&used(&requests)).then_some(requests))
        })
        .await;
        // One that is missing is for the caller to name.
        logged.or_else(|_| asked())
    }
}

async fn token(bed: &Bed, namespace: &str, account: &str) -> Result<String> {
    let accounts: Api<ServiceAccount> = Api::namespaced(bed.admin.clone(), namespace);
    let request = TokenRequest { spec: Some(TokenRequestSpec::default()), ..Default::default() };
    let answer = accounts.create_token_request(account, &PostParams::default(), &request).await?;
    answer.status.and_then(|status| status.token).context("a request is answered with a token")
}
