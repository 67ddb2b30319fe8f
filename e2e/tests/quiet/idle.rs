//! Silence.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use sluice_e2e::{
    bed::{Bed, controller},
    recorder::{self, Request},
};
use tokio::time::sleep;

use crate::cast::cast;

/// How long nothing must be heard before the minute begins: what follows a last status (Events, deadlines) comes sooner.
const LULL: TimeDelta = TimeDelta::seconds(10);
const MINUTE: Duration = Duration::from_secs(60);

pub(crate) async fn fifty_idle_rollouts_make_no_request(bed: Arc<Bed>) -> Result<()> {
    cast(&bed).await?;
    let log = bed.control_plane.audit_log();
    lull(log).await?;

    let from = Utc::now();
    sleep(MINUTE).await;
    let to = Utc::now();

    // A watch is in the log when it ends, and opened anew then.
    let all = recorder::audit(log, controller::USER, from - TimeDelta::minutes(5))?;
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
        "idle for {} s: {} requests, besides {renewals} for the lease and {watches} watches that were opened anew",
        MINUTE.as_secs(),
        others.len()
    );
    ensure!(others.is_empty(), "{} requests in a minute: {others:#?}", others.len());
    // A log that holds nothing at all would prove nothing.
    ensure!(renewals >= 20, "only {renewals} renewals of the lease in a minute");
    Ok(())
}

/// Waits until the audit log holds no request but lease and watches for as long as [`LULL`].
async fn lull(log: &Path) -> Result<()> {
    let deadline = Utc::now() + TimeDelta::seconds(60);
    let mut since = Utc::now();
    loop {
        if let Ok(rest) = (since + LULL - Utc::now()).to_std() {
            sleep(rest).await;
        }
        let latest = latest(log, since)?;
        let Some(request) = latest else { return Ok(()) };
        let (what, at) = (format!("{} {}", request.verb, request.uri), request.stage_timestamp);
        ensure!(at < deadline, "the controller does not fall silent: at {at} came {what}");
        since = at;
    }
}

fn latest(log: &Path, since: DateTime<Utc>) -> Result<Option<Request>> {
    let mut all = recorder::audit(log, controller::USER, since)?;
    all.retain(|request| !is_lease(request) && request.verb != "watch");
    all.retain(|request| request.stage_timestamp > since);
    Ok(all.pop())
}

fn is_lease(request: &Request) -> bool {
    request.object_ref.as_ref().is_some_and(|target| target.resource == "leases")
}
