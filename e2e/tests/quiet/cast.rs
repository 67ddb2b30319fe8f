//! Everybody on the bed, made before the first test: what is made later would be no idleness.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use futures::future::try_join_all;
use serde_json::Value;
use sluice_e2e::{
    bed::Bed,
    oracle::Oracle,
    stage::{Router, Stage, Web, is_phase},
};
use tokio::sync::OnceCell;

use crate::crowd::{Crowd, then_all};

/// Rollouts that nobody touches during the tests; some have an update behind them.
const IDLE: usize = 50;
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
    let crowd = Crowd::given(Arc::clone(&bed));
    let ((), lanes, crowd) = tokio::try_join!(idlers(Arc::clone(&bed)), lanes, crowd)?;
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
        then_all(&stage, 1, "healthy", |rollout| is_phase(rollout, "Healthy")).await?;
        Ok(Self { stage, oracle })
    }
}

/// Every fifth is routed by Istio, every tenth updated once.
async fn idlers(bed: Arc<Bed>) -> Result<()> {
    let stage = Stage::new(bed, "idle").await?;
    let mut all = String::new();
    for number in 0..IDLE {
        let name = format!("idle-{number}");
        all += &match number % 10 {
            0 => routed(&name, Router::Hosts, "[{setWeight: 50}]"),
            5 => routed(&name, Router::Subsets, "[{setWeight: 50}]"),
            _ => plain(&name, "[{setWeight: 50}]"),
        };
    }
    stage.scene.given(&all).await.context("idle Rollouts")?;
    let healthy = |rollout: &Value| is_phase(rollout, "Healthy");
    then_all(&stage, IDLE, "healthy", healthy).await?;
    for number in (0..IDLE).step_by(10) {
        stage.when_image_is(&format!("idle-{number}"), "demo:v2").await?;
    }
    for number in (0..IDLE).step_by(10) {
        stage.then_healthy(&format!("idle-{number}"), "demo:v2").await?;
    }
    Ok(())
}

/// A Rollout of one Pod behind a route of its own.
pub(crate) fn routed(name: &str, router: Router, steps: &str) -> String {
    let mut web = Web { name: name.to_owned(), replicas: 1, ..Web::new(router, steps) };
    web.canary = "      scaleDownDelaySeconds: 1".to_owned();
    let text = web.manifest("demo:v1") + &web.surroundings();
    format!("---{}", text.replace("$HOST", &format!("{name}.$NAMESPACE.test")))
}

/// A Rollout of one Pod without a router. The Pod only sleeps: hundreds of them fit on one machine.
pub(crate) fn plain(name: &str, steps: &str) -> String {
    format!(
        "
---
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {{name: {name}}}
spec:
  replicas: 1
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      containers: [{{name: app, image: 'demo:v1', command: [sleep, infinity]}}]
  strategy: {{canary: {{steps: {steps}}}}}
"
    )
}
