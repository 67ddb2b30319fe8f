//! `status NAME`: exit codes as `spec-rollouts` 10.2.

use std::process::ExitCode;
use std::time::Duration;

use futures::StreamExt as _;
use kube::runtime::{WatchStreamExt as _, watcher};
use sluice_crds::rollout::Rollout;

use crate::arguments::StatusArguments;
use crate::connection::Connection;
use crate::failure::Failure;
use crate::phase::{self, Shown};

pub(crate) async fn run(
    connection: &Connection,
    status: &StatusArguments,
) -> Result<ExitCode, Failure> {
    let shown = phase::of(&connection.get_rollout(&status.name).await?);
    if !status.watch {
        return once(&shown);
    }
    let timeout = sluice_crds::duration::parse_or_seconds(&status.timeout)
        .ok()
        .and_then(|d| d.to_std().ok())
        .ok_or_else(|| {
            Failure::new(format!("--timeout: `{}` is no duration", status.timeout))
                .hint("such as 60s or 10m; 0 means never")
        })?;
    let watching = until_settled(connection, &status.name, shown);
    if timeout == Duration::ZERO {
        return watching.await;
    }
    match tokio::time::timeout(timeout, watching).await {
        Ok(ended) => ended,
        Err(_) => Err(Failure::new("Rollout status watch exceeded timeout")),
    }
}

fn once(shown: &Shown) -> Result<ExitCode, Failure> {
    match shown.phase.as_str() {
        "Healthy" | "Degraded" => anstream::println!("{}", shown.phase),
        _ => anstream::println!("{}", line(shown)),
    }
    if shown.phase == "Degraded" {
        return Err(degraded(shown));
    }
    Ok(ExitCode::SUCCESS)
}

fn line(shown: &Shown) -> String {
    if shown.message.is_empty() {
        return shown.phase.clone();
    }
    format!("{} - {}", shown.phase, shown.message)
}

fn degraded(shown: &Shown) -> Failure {
    Failure::new(format!("The rollout is in a degraded state with message: {}", shown.message))
}

async fn until_settled(
    connection: &Connection,
    name: &str,
    first: Shown,
) -> Result<ExitCode, Failure> {
    let only = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut changes = std::pin::pin!(
        watcher(connection.api::<Rollout>(), only).default_backoff().applied_objects()
    );
    let mut shown = first;
    let mut printed: Option<Shown> = None;
    loop {
        if printed.as_ref() != Some(&shown) {
            anstream::println!("{}", line(&shown));
            printed = Some(shown.clone());
        }
        match shown.phase.as_str() {
            "Healthy" => return Ok(ExitCode::SUCCESS),
            "Degraded" => return Err(degraded(&shown)),
            _ => {}
        }
        match changes.next().await {
            Some(Ok(rollout)) => shown = phase::of(&rollout),
            Some(Err(_)) => {} // The watcher backs off and tries again by itself.
            None => return Err(Failure::new("the watch ended")),
        }
    }
}
