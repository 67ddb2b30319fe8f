//! `get rollout NAME`, once or again and again.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use chrono::Utc;
use futures::{FutureExt as _, StreamExt as _};
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt as _;
use kube::api::ListParams;
use kube::runtime::{WatchStreamExt as _, watcher};
use sluice_crds::analysis::AnalysisRun;
use sluice_crds::rollout::Rollout;

use crate::arguments::{Dialect, GetArguments, Output};
use crate::commands::output;
use crate::connection::Connection;
use crate::failure::Failure;
use crate::git;
use crate::style::Style;
use crate::tree::{self, Drawing, Family};

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
    if let Some(form) = get.output.filter(|form| form.is_document()) {
        let rollout = connection.get_rollout(&get.name).await?;
        output::one(&rollout, "rollout", form)?;
        return Ok(ExitCode::SUCCESS);
    }
    let drawing = Drawing { dialect, style, is_wide: get.output == Some(Output::Wide) };
    // The first reading also says whether the Rollout exists, before the screen is cleared.
    let family = family(connection, &get.name, dialect).await?;
    if !get.watch {
        anstream::print!("{}", tree::draw(&family, drawing, Utc::now()));
        return Ok(ExitCode::SUCCESS);
    }
    let mut screen = Screen::default();
    screen.show(&tree::draw(&family, drawing, Utc::now()))?;
    let watching = watch(connection, get, drawing, family, screen);
    match get.timeout_seconds {
        0 => watching.await,
        seconds => match tokio::time::timeout(Duration::from_secs(seconds), watching).await {
            Ok(ended) => ended,
            Err(_) => Ok(ExitCode::SUCCESS),
        },
    }
}

/// Reads everything that belongs to a Rollout.
async fn family(connection: &Connection, name: &str, dialect: Dialect) -> Result<Family, Failure> {
    let rollout = connection.get_rollout(name).await?;
    let object = connection.rollout(name);
    let failed = |e: &kube::Error| Failure::of(&object, "list what belongs to", e);
    let of_rollout = ListParams::default().labels(&selector(&rollout));
    let (sets, pods, runs) = tokio::try_join!(
        async { connection.api::<ReplicaSet>().list(&of_rollout).await },
        async { connection.api::<Pod>().list(&of_rollout).await },
        async { connection.api::<AnalysisRun>().list(&ListParams::default()).await },
    )
    .map_err(|e| failed(&e))?;
    let owner = match dialect {
        Dialect::Sluice => git::owner(connection, &rollout).await,
        Dialect::Argo => None,
    };
    let uid = rollout.uid().unwrap_or_default();
    let owned = |owners: &[OwnerReference]| owners.iter().any(|owner| owner.uid == uid);
    let replica_sets = sets.items.into_iter().filter(|rs| owned(rs.owner_references())).collect();
    let mut runs: Vec<AnalysisRun> =
        runs.items.into_iter().filter(|run| owned(run.owner_references())).collect();
    // By name, the eleventh step comes before the second.
    runs.sort_by_key(|run| run.metadata.creation_timestamp.as_ref().map(|at| at.0.as_second()));
    Ok(Family { rollout, replica_sets, pods: pods.items, runs, owner })
}

/// Returns the labels that a Rollout's ReplicaSets and Pods have.
fn selector(rollout: &Rollout) -> String {
    let labels = rollout.spec.selector.as_ref().and_then(|s| s.match_labels.as_ref());
    let labels: Vec<String> =
        labels.into_iter().flatten().map(|(key, value)| format!("{key}={value}")).collect();
    labels.join(",")
}

async fn watch(
    connection: &Connection,
    get: &GetArguments,
    drawing: Drawing,
    mut family: Family,
    mut screen: Screen,
) -> Result<ExitCode, Failure> {
    let only = watcher::Config::default().fields(&format!("metadata.name={}", get.name));
    let rollouts =
        watcher(connection.api::<Rollout>(), only).default_backoff().touched_objects().map(|_| ());
    let its = watcher::Config::default().labels(&selector(&family.rollout));
    let pods = watcher(connection.api::<Pod>(), its).default_backoff().touched_objects();
    let all = watcher::Config::default();
    let runs = watcher(connection.api::<AnalysisRun>(), all).default_backoff().touched_objects();
    let others = futures::stream::select(pods.map(|_| ()), runs.map(|_| ()));
    let mut changes = std::pin::pin!(futures::stream::select(rollouts, others));
    loop {
        tokio::time::sleep(REDRAW_AT_MOST_EVERY).await;
        tokio::select! {
            change = changes.next() => if change.is_none() { return Ok(ExitCode::SUCCESS) },
            () = tokio::time::sleep(REDRAW_AT_LEAST_EVERY), if screen.counts() => {
                screen.show(&tree::draw(&family, drawing, Utc::now()))?;
                continue;
            }
        }
        // Whatever else changed meanwhile is read with it.
        while changes.next().now_or_never().flatten().is_some() {}
        family = self::family(connection, &get.name, drawing.dialect).await?;
        screen.show(&tree::draw(&family, drawing, Utc::now()))?;
    }
}

/// Where a watch draws: over the drawing before it on a terminal, below it elsewhere.
#[derive(Default)]
struct Screen {
    before: Option<String>,
}

impl Screen {
    /// Whether drawings replace each other, so that ages may count on.
    fn counts(&self) -> bool {
        std::io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|t| t != "dumb")
    }

    fn show(&mut self, drawing: &str) -> Result<(), Failure> {
        let mut out = std::io::stdout().lock();
        let text = match (self.counts(), &self.before) {
            (true, None) => format!("\x1b[2J{}", over(drawing)),
            (true, Some(_)) => over(drawing),
            (false, Some(before)) if before == drawing => String::new(),
            (false, Some(_)) => format!("\n{drawing}"),
            (false, None) => drawing.to_owned(),
        };
        self.before = Some(drawing.to_owned());
        // Past `anstream`: without colours it would drop what moves the cursor, too.
        out.write_all(text.as_bytes())
            .and_then(|()| out.flush())
            .map_err(|e| Failure::new(format!("standard output: {e}")))
    }
}

/// Draws from the upper left corner over what is there, without a moment of emptiness. Long lines are cut by the terminal.
fn over(drawing: &str) -> String {
    let lines: String = drawing.lines().map(|line| format!("{line}\x1b[K\n")).collect();
    format!("\x1b[?7l\x1b[H{lines}\x1b[J\x1b[?7h")
}
