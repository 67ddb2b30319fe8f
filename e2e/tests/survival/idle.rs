//! Silence: Rollouts of a controller of their own, on a bed where others are busy.

use std::{path::Path, slice::from_mut, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use sluice_crds::labels::INSTANCE_ID;
use sluice_e2e::{
    bed::Bed,
    given::Scene,
    recorder::{self, Request},
    stage::{Router, Stage, is_phase, small},
};
use tokio::time::sleep;

use crate::cast;

/// Rollouts that nobody touches during the minute; some have an update behind them.
const IDLE: usize = 50;
/// Instance id of their controller.
const ID: &str = "idle";
/// How long nothing must be heard before the minute begins: what follows a last status (Events, deadlines) comes sooner.
const LULL: TimeDelta = TimeDelta::seconds(10);
const MINUTE: Duration = Duration::from_secs(60);

pub(crate) async fn fifty_idle_rollouts_make_no_request(bed: Arc<Bed>) -> Result<()> {
    let installation = cast::installation(&bed).await?.with_own_token(ID).await?;
    let mut controller = installation.start(cast::instance(ID, 8490, ID, None)?).await?;
    let by = controller.credential().await?;
    let silence = silence(&bed, &by);
    cast::kept_alive(from_mut(&mut controller), silence).await?;
    ensure!(controller.restarts == 0, "the controller ended by itself");
    Ok(())
}

async fn silence(bed: &Arc<Bed>, by: &str) -> Result<()> {
    let stage = idlers(Arc::clone(bed)).await?;
    let log = bed.control_plane.audit_log();
    lull(log, by).await?;

    let from = Utc::now();
    sleep(MINUTE).await;
    let to = Utc::now();

    // A watch is in the log when it ends, and opened anew then.
    let all = recorder::audit_of(log, by, from - TimeDelta::minutes(5))?;
    let within = |at: DateTime<Utc>| from <= at && at <= to;
    let watches = all.iter().filter(|r| r.verb == "watch" && within(r.stage_timestamp)).count();
    let (mut renewals, mut others) = (0, Vec::new());
    for request in all.iter().filter(|r| within(r.request_received_timestamp)) {
        if is_lease(request) {
            renewals += 1;
        } else if request.verb != "watch" {
            others.push(format!("{} {}", request.verb, request.uri));
        }
    }
    eprintln!(
        "{IDLE} Rollouts idle for {} s: {} requests, besides {renewals} for the lease and {watches} watches that were opened anew",
        MINUTE.as_secs(),
        others.len()
    );
    ensure!(others.is_empty(), "{} requests in a minute: {others:#?}", others.len());
    // A log that holds nothing at all would prove nothing.
    ensure!(renewals >= 20, "only {renewals} renewals of the lease in a minute");
    stage.then_all(IDLE, "healthy", |rollout| is_phase(rollout, "Healthy")).await
}

/// Every fifth is routed by Istio, every tenth updated once.
async fn idlers(bed: Arc<Bed>) -> Result<Stage> {
    let stage = Stage { scene: Scene::new(bed, "idle").await?, since: Utc::now() };
    let (labels, steps) = (format!("{{{INSTANCE_ID}: {ID}}}"), "[{setWeight: 50}]");
    let one = |number| {
        let name = format!("idle-{number}");
        match number % 10 {
            0 => small::routed(&name, &labels, Router::Hosts, steps),
            5 => small::routed(&name, &labels, Router::Subsets, steps),
            _ => small::plain(&name, &labels, steps),
        }
    };
    let all: String = (0..IDLE).map(one).collect();
    stage.scene.given(&all).await.context("idle Rollouts")?;
    stage.then_all(IDLE, "healthy", |rollout| is_phase(rollout, "Healthy")).await?;
    for number in (0..IDLE).step_by(10) {
        stage.when_image_is(&format!("idle-{number}"), "demo:v2").await?;
    }
    for number in (0..IDLE).step_by(10) {
        stage.then_healthy(&format!("idle-{number}"), "demo:v2").await?;
    }
    Ok(stage)
}

/// Waits until the audit log holds no request but lease and watches for as long as [`LULL`].
async fn lull(log: &Path, by: &str) -> Result<()> {
    let deadline = Utc::now() + TimeDelta::seconds(60);
    let mut since = Utc::now();
    loop {
        if let Ok(rest) = (since + LULL - Utc::now()).to_std() {
            sleep(rest).await;
        }
        let mut all = recorder::audit_of(log, by, since)?;
        all.retain(|r| !is_lease(r) && r.verb != "watch" && r.stage_timestamp > since);
        let Some(request) = all.pop() else { return Ok(()) };
        let (what, at) = (format!("{} {}", request.verb, request.uri), request.stage_timestamp);
        ensure!(at < deadline, "the controller does not fall silent: at {at} came {what}");
        since = at;
    }
}

fn is_lease(request: &Request) -> bool {
    request.object_ref.as_ref().is_some_and(|target| target.resource == "leases")
}
