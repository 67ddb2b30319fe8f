//! What the controller does not do.

use std::{fmt::Write as _, sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use chrono::Utc;
use sluice_e2e::{
    bed::{Bed, controller, process::until},
    recorder,
};

use crate::stage::{LONG, Router, Stage, Web};

const IDLE: usize = 50;

pub(crate) async fn fifty_idle_rollouts_cost_no_requests(bed: Arc<Bed>) -> Result<()> {
    let stage = Stage::new(bed, "idle").await?;
    let mut all = String::new();
    for number in 0..IDLE {
        let mut web = Web::new(Router::None, "[{setWeight: 50}]");
        web.name = format!("idle-{number}");
        web.replicas = 1;
        write!(all, "---{}", web.manifest("demo:v1"))?;
    }
    stage.scene.given(&all).await?;
    for number in 0..IDLE {
        stage.then_healthy(&format!("idle-{number}"), "demo:v1").await?;
    }
    // What follows the last status (touches of terms, Events) has 5 s.
    let from = Utc::now() + chrono::Duration::seconds(5);
    let to = from + chrono::Duration::seconds(60);
    let minute = Duration::from_secs(70).max(LONG);
    until("a quiet minute has passed", minute, || async { Ok((Utc::now() > to).then_some(())) })
        .await?;

    let log = stage.scene.bed.control_plane.audit_log();
    let requests = recorder::audit(log, controller::USER, from)?;
    let idle = requests.iter().filter(|r| {
        let target = r.object_ref.clone().unwrap_or_default();
        target.namespace == "idle" && r.verb != "watch" && r.request_received_timestamp < to
    });
    let idle: Vec<_> = idle.map(|r| format!("{} {}", r.verb, r.uri)).collect();
    ensure!(idle.is_empty(), "{} requests in a minute: {idle:#?}", idle.len());
    stage.then_laws_held().await
}
