//! One bridge, and for each Pod a network namespace with an address on it.
//!
//! Envoy, Prometheus and the controller stay in the bed's own network namespace and reach Pods over
//! the bridge: no routing, no address translation, no packet filter.

use std::{
    collections::VecDeque,
    net::Ipv4Addr,
    process::Stdio,
    sync::{Mutex, PoisonError},
};

use anyhow::{Context as _, Result, ensure};
use tokio::{io::AsyncWriteExt as _, process::Command};

/// Address of the bed on the bridge; Pods are in the rest of 10.77.0.0/16.
pub const BRIDGE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const FIRST: u32 = u32::from_be_bytes([10, 77, 1, 1]);
/// About 8,000 addresses: each one freed is used again last, so that a stale endpoint does not
/// silently point to a new Pod.
const COUNT: u32 = 8_000;

/// The bridge and the pool of addresses.
#[derive(Debug)]
pub struct Network {
    free: Mutex<VecDeque<Ipv4Addr>>,
}

/// The network namespace of one Pod.
#[derive(Debug, Clone)]
pub struct PodNetwork {
    pub address: Ipv4Addr,
    /// Name of the namespace for `ip netns` and below `/run/netns`.
    pub name: String,
}

impl Network {
    /// Makes the bridge.
    ///
    /// # Errors
    /// When the kernel refuses it (no right, no bridge device).
    pub async fn start() -> Result<Self> {
        ip(
            &["-batch", "-"],
            &format!("link add br0 type bridge\naddr add {BRIDGE}/16 dev br0\nlink set br0 up\n"),
        )
        .await?;
        let free = (FIRST..FIRST + COUNT).map(Ipv4Addr::from).collect();
        Ok(Self { free: Mutex::new(free) })
    }

    /// Takes an address and makes the namespace for it.
    ///
    /// # Errors
    /// When all addresses are in use or the kernel refuses.
    pub async fn add_pod(&self) -> Result<PodNetwork> {
        let address = self.pool().pop_front().context("all Pod addresses are in use")?;
        let [_, _, high, low] = address.octets();
        let suffix = format!("{high}-{low}");
        let name = format!("pod-{suffix}");
        ip(&["netns", "add", &name], "").await?;
        let host = format!(
            "link add v{suffix} type veth peer name eth0 netns {name}\n\
             link set v{suffix} master br0 up\n"
        );
        ip(&["-batch", "-"], &host).await?;
        let pod = format!(
            "link set lo up\nlink set eth0 up\naddr add {address}/16 dev eth0\n\
             route add default via {BRIDGE}\n"
        );
        ip(&["-n", &name, "-batch", "-"], &pod).await?;
        Ok(PodNetwork { address, name })
    }

    /// Removes the namespace; its processes must have ended.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn remove_pod(&self, pod: &PodNetwork) -> Result<()> {
        let [_, _, high, low] = pod.address.octets();
        ip(&["link", "del", &format!("v{high}-{low}")], "").await?;
        ip(&["netns", "del", &pod.name], "").await?;
        self.pool().push_back(pod.address);
        Ok(())
    }

    fn pool(&self) -> std::sync::MutexGuard<'_, VecDeque<Ipv4Addr>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PodNetwork {
    /// A command that runs `program` in the Pod's network namespace, under the same process id.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.name)).arg("--").arg(program);
        command
    }
}

async fn ip(args: &[&str], batch: &str) -> Result<()> {
    let mut child = Command::new("ip")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run `ip` (package iproute2)")?;
    let mut stdin = child.stdin.take().context("stdin was piped")?;
    stdin.write_all(batch.as_bytes()).await?;
    drop(stdin);
    let out = child.wait_with_output().await?;
    let errors = String::from_utf8_lossy(&out.stderr);
    ensure!(out.status.success(), "`ip {}`: {}\n{batch}", args.join(" "), errors.trim());
    Ok(())
}
