//! Probes: HTTP, TCP and commands, with Kubernetes' defaults and thresholds.

use std::{process::Stdio, time::Duration};

use k8s_openapi::{
    api::core::v1::{Container, HTTPGetAction, Probe},
    apimachinery::pkg::util::intstr::IntOrString,
};
use tokio::{
    net::TcpStream,
    sync::mpsc,
    time::{sleep, timeout},
};

use crate::bed::{http, network::PodNetwork};

/// Which of a container's probes spoke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Startup,
    Readiness,
    Liveness,
}

/// Runs a probe until it is dropped, and sends each change of its verdict (the first one always).
pub(super) async fn run(
    kind: Kind,
    probe: Probe,
    container: Container,
    network: PodNetwork,
    verdicts: mpsc::Sender<(Kind, bool)>,
) {
    let seconds = |value: Option<i32>, default: u64| {
        Duration::from_secs(value.and_then(|v| u64::try_from(v).ok()).unwrap_or(default))
    };
    let (period, limit) = (seconds(probe.period_seconds, 10), seconds(probe.timeout_seconds, 1));
    let period = period.max(Duration::from_secs(1));
    let needed_good = probe.success_threshold.unwrap_or(1).max(1);
    let needed_bad = probe.failure_threshold.unwrap_or(3).max(1);
    sleep(seconds(probe.initial_delay_seconds, 0)).await;
    let (mut good, mut bad, mut verdict) = (0, 0, None);
    loop {
        let passed = timeout(limit, once(&probe, &container, &network)).await.unwrap_or(false);
        (good, bad) = if passed { (good + 1, 0) } else { (0, bad + 1) };
        let now = match (good >= needed_good, bad >= needed_bad) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => verdict,
        };
        if now != verdict {
            verdict = now;
            if verdicts.send((kind, now == Some(true))).await.is_err() {
                return;
            }
        }
        // A backend needs some milliseconds to listen; the whole first period would be lost.
        let young = verdict.is_none() && !passed && kind != Kind::Liveness;
        sleep(if young { period.min(Duration::from_millis(100)) } else { period }).await;
    }
}

async fn once(probe: &Probe, container: &Container, network: &PodNetwork) -> bool {
    if let Some(get) = &probe.http_get {
        http_get(get, container, network).await
    } else if let Some(tcp) = &probe.tcp_socket {
        let port = number(&tcp.port, container);
        TcpStream::connect((network.address, port)).await.is_ok()
    } else if let Some(grpc) = &probe.grpc {
        let port = u16::try_from(grpc.port).unwrap_or_default();
        TcpStream::connect((network.address, port)).await.is_ok()
    } else if let Some(exec) = &probe.exec {
        command(exec.command.as_deref().unwrap_or_default(), network).await
    } else {
        true
    }
}

/// Whether the answer is below 400, as a kubelet judges.
pub(super) async fn http_get(
    get: &HTTPGetAction,
    container: &Container,
    network: &PodNetwork,
) -> bool {
    let address = format!("{}:{}", network.address, number(&get.port, container));
    let path = get.path.as_deref().unwrap_or("/");
    http::get(&address, path).await.is_ok_and(|(status, _)| (200..400).contains(&status))
}

/// Whether a command in the Pod's network namespace exits with 0.
pub(super) async fn command(words: &[String], network: &PodNetwork) -> bool {
    let Some((program, args)) = words.split_first() else { return false };
    let mut command = network.command(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.kill_on_drop(true).status().await.is_ok_and(|status| status.success())
}

fn number(port: &IntOrString, container: &Container) -> u16 {
    match port {
        IntOrString::Int(number) => u16::try_from(*number).unwrap_or_default(),
        IntOrString::String(name) => {
            let named = container.ports.iter().flatten().find(|p| p.name.as_ref() == Some(name));
            named.and_then(|p| u16::try_from(p.container_port).ok()).unwrap_or_default()
        }
    }
}
