//! `status NAME`: exit codes as `spec-rollouts` 10.2.

use std::process::ExitCode;
use std::time::Duration;

use futures::StreamExt as _;
use kube::runtime::{WatchStreamExt as _, watcher};
use sluice_crds::rollout::Rollout;

use crate::arguments::{Dialect, StatusArguments};
use crate::connection::Connection;
use crate::failure::Failure;
use crate::phase::{self, Shown};

pub(crate) async fn run(
    connection: &Connection,
    status: &StatusArguments,
    dialect: Dialect,
) -> Result<ExitCode, Failure> {
    let timeout = sluice_crds::duration::parse_or_seconds(&status.timeout)
        .ok()
        .and_then(|d| d.to_std().ok())
        .ok_or_else(|| {
            Failure::new(format!("--timeout: `{}` is no duration", status.timeout))
                .hint("such as 60s or 10m; 0 means never")
        })?;
    let asked = Asked { name: &status.name, dialect };
    let shown = phase::of(&connection.get_rollout(&status.name).await?);
    if !status.watch {
        return asked.once(&shown);
    }
    let mut last = shown.clone();
    let watching = asked.until_settled(connection, &mut last);
    if timeout == Duration::ZERO {
        return watching.await;
    }
    match tokio::time::timeout(timeout, watching).await {
        Ok(ended) => ended,
        Err(_) => Err(asked.timed_out(&last, &status.timeout)),
    }
}

/// What is asked, and in whose words the answer is.
#[derive(Clone, Copy)]
struct Asked<'a> {
    name: &'a str,
    dialect: Dialect,
}

impl Asked<'_> {
    fn once(self, shown: &Shown) -> Result<ExitCode, Failure> {
        match shown.phase.as_str() {
            "Healthy" | "Degraded" => anstream::println!("{}", shown.phase),
            _ => anstream::println!("{}", line(shown)),
        }
        if shown.phase == "Degraded" {
            return Err(self.degraded(shown));
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Prints what changes until the Rollout is Healthy or Degraded; `shown` is what was seen last.
    async fn until_settled(
        self,
        connection: &Connection,
        shown: &mut Shown,
    ) -> Result<ExitCode, Failure> {
        let only = watcher::Config::default().fields(&format!("metadata.name={}", self.name));
        let mut changes =
            std::pin::pin!(watcher(connection.api::<Rollout>(), only).default_backoff());
        let mut printed: Option<Shown> = None;
        loop {
            if printed.as_ref() != Some(shown) {
                anstream::println!("{}", line(shown));
                printed = Some(shown.clone());
            }
            match shown.phase.as_str() {
                "Healthy" => return Ok(ExitCode::SUCCESS),
                "Degraded" => return Err(self.degraded(shown)),
                _ => {}
            }
            match changes.next().await {
                Some(Ok(watcher::Event::Apply(rollout) | watcher::Event::InitApply(rollout))) => {
                    *shown = phase::of(&rollout);
                }
                Some(Ok(watcher::Event::Delete(_))) => {
                    return Err(Failure::new(format!(
                        "{} was deleted",
                        connection.rollout(self.name)
                    )));
                }
                Some(Ok(watcher::Event::Init | watcher::Event::InitDone)) => {}
                Some(Err(_)) => {} // The watcher backs off and tries again by itself.
                None => return Err(Failure::new("the watch ended")),
            }
        }
    }

    fn degraded(self, shown: &Shown) -> Failure {
        let message = &shown.message;
        match self.dialect {
            Dialect::Argo => {
                Failure::new(format!("The rollout is in a degraded state with message: {message}"))
            }
            Dialect::Sluice => {
                Failure::new(format!("rollout '{}' is Degraded: {message}", self.name))
                    .hint(format!("kubectl sluice why rollout {}", self.name))
            }
        }
    }

    fn timed_out(self, shown: &Shown, timeout: &str) -> Failure {
        match self.dialect {
            Dialect::Argo => Failure::new("Rollout status watch exceeded timeout"),
            Dialect::Sluice => Failure::new(format!(
                "rollout '{}' is not Healthy after {timeout}: {}",
                self.name,
                line(shown)
            ))
            .hint(format!("kubectl sluice why rollout {}", self.name)),
        }
    }
}

fn line(shown: &Shown) -> String {
    if shown.message.is_empty() {
        return shown.phase.clone();
    }
    format!("{} - {}", shown.phase, shown.message)
}
