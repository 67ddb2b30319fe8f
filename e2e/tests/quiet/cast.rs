//! Everybody on the bed, made before the first test: what is made later would be no quiet.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use futures::future::try_join_all;
use sluice_e2e::{
    bed::Bed,
    oracle::Oracle,
    stage::{Router, Stage, Web, is_phase},
};
use tokio::sync::OnceCell;

use crate::crowd::Crowd;

/// Rollouts that are aborted, in namespaces of their own.
pub(crate) const LANES: usize = 22;

/// A step that lasts as long as the metrics server is silent.
const JUDGED: &str = "[{setWeight: 20}, {analysis: {templates: [{templateName: judge}]}}]";

static CAST: OnceCell<Cast> = OnceCell::const_new();

pub(crate) struct Cast {
    pub(crate) lanes: Vec<Lane>,
    pub(crate) crowd: Crowd,
}

/// A Rollout `web` behind a route, and the metrics server that judges it.
pub(crate) struct Lane {
    pub(crate) stage: Stage,
    pub(crate) oracle: Oracle,
}

/// All Rollouts, healthy.
pub(crate) async fn cast(bed: &Arc<Bed>) -> Result<&'static Cast> {
    CAST.get_or_try_init(|| make(Arc::clone(bed))).await
}

async fn make(bed: Arc<Bed>) -> Result<Cast> {
    let lanes = try_join_all((0..LANES).map(|number| Lane::given(Arc::clone(&bed), number)));
    let (lanes, crowd) = tokio::try_join!(lanes, Crowd::given(Arc::clone(&bed)))?;
    crowd.then_healthy().await?;
    Ok(Cast { lanes, crowd })
}

impl Lane {
    async fn given(bed: Arc<Bed>, number: usize) -> Result<Self> {
        let stage = Stage::new(bed, &format!("lane-{number}")).await?;
        let oracle = Oracle::silent().await?;
        let router = if number.is_multiple_of(2) { Router::Hosts } else { Router::Subsets };
        let web = Web { replicas: 1, ..Web::new(router, JUDGED) };
        let text = web.manifest("demo:v1") + &web.surroundings() + "---" + &oracle.template();
        stage.scene.given(&text).await.context("a lane")?;
        stage.then_all(1, "healthy", |rollout| is_phase(rollout, "Healthy")).await?;
        Ok(Self { stage, oracle })
    }
}
