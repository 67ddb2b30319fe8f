//! Promises of the bed itself: what other tests stand on.

use std::{process::ExitCode, sync::Arc};

use anyhow::{Result, ensure};
use sluice_e2e::{
    bed::{Bed, mesh},
    given::Scene,
    harness,
};

fn main() -> ExitCode {
    harness::main(&sluice_e2e::tests![a_weighted_route_splits_real_requests])
}

async fn a_weighted_route_splits_real_requests(bed: Arc<Bed>) -> Result<()> {
    let scene = Scene::new(bed, "split").await?;
    scene.given_backends("stable", "v1", 2).await?;
    scene.given_backends("canary", "v2", 1).await?;
    scene.given_route(&[("stable", 80), ("canary", 20)]).await?;
    scene.then_available("stable").await?;
    scene.then_available("canary").await?;
    scene.then_routed(&[("stable", 80), ("canary", 20)]).await?;

    let load = scene.when_load_runs(scene.load(1000.0).count(2000));
    let record = load.finished().await;

    ensure!(record.total() == 2000, "{} requests were sent", record.total());
    ensure!(record.failed() == 0, "failed requests: {:?}", record.by_version());
    // Three standard deviations of a binomial share of 20 % in 2,000 requests are 2.7 points.
    let share = record.share("v2");
    ensure!((0.173..=0.227).contains(&share), "the canary served {share} of the requests");
    mesh::nothing_rejected().await
}
