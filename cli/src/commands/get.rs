//! `get rollout NAME`, once or again and again.

use std::process::ExitCode;
use std::time::Duration;

use chrono::Utc;
use futures::StreamExt as _;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::ListParams;
use kube::runtime::{WatchStreamExt as _, watcher};
use sluice_crds::analysis::AnalysisRun;
use sluice_crds::rollout::Rollout;

use crate::arguments::{Dialect, GetArguments};
use crate::commands::output;
use crate::connection::Connection;
use crate::failure::Failure;
use crate::style::Style;
use crate::tree::{self, Family};

/// Shortest time between two drawings of a watch.
const REDRAW_AT_MOST_EVERY: Duration = Duration::from_millis(200);
/// Ages are counted on although nothing changes.
const REDRAW_AT_LEAST_EVERY: Duration = Duration::from_secs(1);

pub(crate) async fn run(
    connection: &Connection,
    get: &GetArguments,
    dialect: Dialect,
    style: Style,
) -> Result<ExitCode, Failure> {
    if let Some(form) = get.output {
        let rollout = connection.get_rollout(&get.name).await?;
        output::print(&rollout, "rollout", form)?;
        return Ok(ExitCode::SUCCESS);
    }
    if !get.watch {
        let family = family(connection, &get.name).await?;
        anstream::print!("{}", tree::draw(&family, dialect, style, Utc::now()));
        return Ok(ExitCode::SUCCESS);
    }
    let watching = watch(connection, get, dialect, style);
    match get.timeout_seconds {
        0 => watching.await,
        seconds => match tokio::time::timeout(Duration::from_secs(seconds), watching).await {
            Ok(ended) => ended,
            Err(_) => Ok(ExitCode::SUCCESS),
        },
    }
}

/// Reads everything that belongs to a Rollout.
pub(crate) async fn family(connection: &Connection, name: &str) -> Result<Family, Failure> {
    let rollout = connection.get_rollout(name).await?;
    let object = connection.rollout(name);
    let failed = |e: &kube::Error| Failure::of(&object, "list what belongs to", e);
    let selector = rollout.spec.selector.as_ref().and_then(|s| s.match_labels.as_ref());
    let selector: Vec<String> =
        selector.into_iter().flatten().map(|(key, value)| format!("{key}={value}")).collect();
    let of_rollout = ListParams::default().labels(&selector.join(","));
    let (sets, pods, runs) = tokio::try_join!(
        async { connection.api::<ReplicaSet>().list(&of_rollout).await },
        async { connection.api::<Pod>().list(&of_rollout).await },
        async { connection.api::<AnalysisRun>().list(&ListParams::default()).await },
    )
    .map_err(|e| failed(&e))?;
    let uid = rollout.uid().unwrap_or_default();
    let owned = |owners: &[k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference]| {
        owners.iter().any(|owner| owner.uid == uid)
    };
    let replica_sets = sets.items.into_iter().filter(|rs| owned(rs.owner_references())).collect();
    let runs = runs.items.into_iter().filter(|run| owned(run.owner_references())).collect();
    Ok(Family { rollout, replica_sets, pods: pods.items, runs })
}

async fn watch(
    connection: &Connection,
    get: &GetArguments,
    dialect: Dialect,
    style: Style,
) -> Result<ExitCode, Failure> {
    // The first reading also says whether the Rollout exists, before the screen is cleared.
    let mut family = family(connection, &get.name).await?;
    let only = watcher::Config::default().fields(&format!("metadata.name={}", get.name));
    let rollouts =
        watcher(connection.api::<Rollout>(), only).default_backoff().applied_objects().map(|_| ());
    let pods = watcher(connection.api::<Pod>(), watcher::Config::default())
        .default_backoff()
        .touched_objects()
        .map(|_| ());
    let mut changes = std::pin::pin!(futures::stream::select(rollouts, pods));
    loop {
        let drawing = tree::draw(&family, dialect, style, Utc::now());
        anstream::print!("\x1b[H\x1b[2J\x1b[3J{drawing}");
        tokio::time::sleep(REDRAW_AT_MOST_EVERY).await;
        tokio::select! {
            change = changes.next() => if change.is_none() { return Ok(ExitCode::SUCCESS) },
            () = tokio::time::sleep(REDRAW_AT_LEAST_EVERY) => continue,
        }
        family = self::family(connection, &get.name).await?;
    }
}
