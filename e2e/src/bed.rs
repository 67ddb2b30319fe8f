//! The bed: what is started, in which order, and how to reach it.
//!
//! etcd and the API server come first, together with what needs neither (Prometheus, git). Then, at
//! once: controller manager and scheduler, the kubelet, Istio's CRDs with istiod and Envoy behind
//! them, Sluice's CRDs. The bed is ready when each of them says so by itself; the checks trust the
//! bed's own certificate authority only, so that no other bed can answer for this one.

pub mod apply;
pub mod control_plane;
pub mod controller;
pub mod git;
pub mod http;
pub mod identity;
pub mod kubelet;
pub mod mesh;
pub mod metrics;
pub mod network;
pub mod parts;
pub mod ports;
pub mod process;
pub mod relay;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use kube::Client;

use crate::{inside::Inside, recorder::Recorder};
use apply::Applier;
use control_plane::ControlPlane;
use git::GitServer;
use identity::Authority;
use kubelet::Kubelet;
use mesh::Mesh;
use network::Network;
use parts::{Parts, Say};
use process::Process;

/// What differs between beds.
#[derive(Debug, Clone)]
pub struct Options {
    /// Folder with Sluice's CRDs as YAML.
    pub crds: PathBuf,
    /// Folder with the account and the rights of Sluice's controller as YAML.
    pub rbac: PathBuf,
    /// Time from scheduling to a started container.
    pub start_delay: Duration,
    /// The backend binary.
    pub backend: PathBuf,
}

impl Options {
    /// CRDs and rights of this work tree, a start delay of one second, the backend beside this program.
    ///
    /// # Errors
    /// When the backend is not built.
    pub fn standard() -> Result<Self> {
        let tree = Path::new(env!("CARGO_MANIFEST_DIR"));
        Ok(Self {
            crds: tree.join("../crds/yaml"),
            rbac: tree.join("../controller/rbac"),
            start_delay: Duration::from_secs(1),
            backend: sibling("sluice-backend")?,
        })
    }
}

/// A program that Cargo put beside this one (or, for a test, one folder up).
///
/// # Errors
/// When it is not there.
pub fn sibling(name: &str) -> Result<PathBuf> {
    let exe = std::env::current_exe()?;
    let found = exe.ancestors().skip(1).take(2).map(|f| f.join(name)).find(|p| p.is_file());
    found.with_context(|| {
        format!("`{name}` is not built: run `cargo build -p sluice-e2e --bins` (beside {exe:?})")
    })
}

/// The running bed; everything ends with it.
pub struct Bed {
    pub parts: Parts,
    pub inside: Inside,
    pub options: Options,
    pub authority: Authority,
    /// Client of a member of `system:masters`: for the bed and for tests, never for the product.
    pub admin: Client,
    pub control_plane: ControlPlane,
    pub kubelet: Kubelet,
    pub mesh: Mesh,
    pub prometheus: Process,
    pub git: GitServer,
    pub recorder: Recorder,
    /// How long the start took.
    pub took: Duration,
}

impl Bed {
    /// Starts everything inside the namespaces of [`crate::inside::enter`].
    ///
    /// # Errors
    /// When a program is not ready in time; the message names it and holds the end of its log.
    pub async fn start(
        parts: Parts,
        inside: Inside,
        options: Options,
        say: Say<'_>,
    ) -> Result<Self> {
        let started = Instant::now();
        let run = inside.run.clone();
        fs::create_dir_all(run.join("logs"))?;
        let targets = run.join("targets.json");
        let network = Arc::new(Network::start().await?);
        let authority = Authority::create(&run.join("identity"))?;
        let git = GitServer::start(&run, ports::GIT).await?;
        let mut prometheus = metrics::start(&parts, &run, &targets)?;
        let (control_plane, admin) = ControlPlane::start(&parts, &run, &authority).await?;
        say(&format!("  API server ready after {:.1} s", started.elapsed().as_secs_f64()));
        authority.kubeconfig("bed:kubelet", None)?;
        authority.kubeconfig("bed:recorder", None)?;
        let kubelet_options = kubelet::Options {
            nodes: 2,
            start_delay: options.start_delay,
            crash_backoff: Duration::from_secs(1),
            backend: options.backend.clone(),
            logs: run.join("pods"),
            targets,
        };
        let kubelet_client = authority.client("bed-kubelet").await?;
        let (mesh, kubelet, (), ()) = tokio::try_join!(
            Mesh::start(&parts, &run, &authority, &admin),
            Kubelet::start(kubelet_client, network, kubelet_options),
            control_plane.workers_ready(&admin),
            install(&admin, &options.crds),
        )?;
        say(&format!("  mesh ready after {:.1} s", started.elapsed().as_secs_f64()));
        let recorder = Recorder::start(authority.client("bed-recorder").await?, &run).await?;
        metrics::ready(&mut prometheus).await?;
        for (name, port) in [
            ("apiserver", ports::APISERVER),
            ("gateway", ports::GATEWAY),
            ("prometheus", ports::PROMETHEUS),
            ("envoy", ports::ENVOY_ADMIN),
            ("git", ports::GIT),
            ("controller", ports::CONTROLLER),
        ] {
            relay::serve(&run, name, port)?;
        }
        let took = started.elapsed();
        Ok(Self {
            parts,
            inside,
            options,
            authority,
            admin,
            control_plane,
            kubelet,
            mesh,
            prometheus,
            git,
            recorder,
            took,
        })
    }

    /// A kubeconfig of an administrator that works from the user's own shell, through the relay.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn outside_kubeconfig(&self) -> Result<PathBuf> {
        let port = self.inside.outside.get("apiserver").copied().unwrap_or_default();
        self.authority.for_server("admin", &format!("https://127.0.0.1:{port}"))
    }

    /// The address outside of what the relay passes on (`gateway`, `prometheus`, `envoy`, `git`,
    /// `controller`).
    #[must_use]
    pub fn outside_url(&self, name: &str) -> String {
        let port = self.inside.outside.get(name).copied().unwrap_or_default();
        format!("http://127.0.0.1:{port}")
    }
}

async fn install(admin: &Client, crds: &Path) -> Result<()> {
    let applier = Applier::new(admin.clone(), "sluice-install");
    applier.objects("", apply::folder(crds)?).await.context("Sluice's CRDs")?;
    Ok(())
}
