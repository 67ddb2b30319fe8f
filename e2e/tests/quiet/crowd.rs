//! Two hundred Rollouts that are in the middle of something.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Context as _, Result, bail, ensure};
use chrono::{DateTime, Utc};
use futures::{
    FutureExt as _, Stream, StreamExt as _, TryStreamExt as _, future::try_join_all, stream,
};
use serde_json::Value;
use sluice_e2e::{
    bed::{Bed, process::until},
    recorder::{self, Revision},
    stage::{LONG, Router, Stage, is_phase},
};
use tokio::task::JoinHandle;

use crate::cast::{plain, routed};

const NAMESPACES: usize = 10;
const EACH: usize = 20;
pub(crate) const CROWD: usize = NAMESPACES * EACH;
/// Pushes under way at the same time.
const AT_ONCE: usize = 16;

/// The Rollouts, by namespace.
pub(crate) struct Crowd {
    stages: Vec<Stage>,
}

/// Pushes a new version to each Rollout that has become healthy, until it is dropped.
pub(crate) struct Progress {
    task: JoinHandle<Result<()>>,
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Crowd {
    /// All of them, not yet healthy. Every fifth is routed by Istio.
    pub(crate) async fn given(bed: Arc<Bed>) -> Result<Self> {
        let stages = (0..NAMESPACES).map(|number| {
            let bed = Arc::clone(&bed);
            async move {
                let stage = Stage::new(bed, &format!("crowd-{number}")).await?;
                let all: String = (0..EACH).map(manifest).collect();
                stage.scene.given(&all).await.context("the crowd")?;
                anyhow::Ok(stage)
            }
        });
        Ok(Self { stages: try_join_all(stages).await? })
    }

    pub(crate) async fn then_healthy(&self) -> Result<()> {
        self.then_all("healthy", |rollout| is_phase(rollout, "Healthy")).await
    }

    /// Waits until all are in the middle of an update.
    pub(crate) async fn then_under_way(&self) -> Result<()> {
        self.then_all("under way", |rollout| phase(rollout) != "Healthy" && step(rollout) >= 1)
            .await
    }

    async fn then_all(&self, what: &str, test: impl Fn(&Value) -> bool) -> Result<()> {
        for stage in &self.stages {
            then_all(stage, EACH, what, &test).await?;
        }
        Ok(())
    }

    /// Pushes to all of them, and again to each that is done.
    pub(crate) async fn when_pushed_again_and_again(&self) -> Result<Progress> {
        let Some(any) = self.stages.first() else { bail!("nobody is there") };
        let bed = Arc::clone(&any.scene.bed);
        let seen = bed.recorder.count();
        let first = |stage: &Stage, number| push(stage.clone(), name(number), 1).boxed();
        let pushes: Vec<_> =
            self.stages.iter().flat_map(|stage| (0..EACH).map(|n| first(stage, n))).collect();
        stream::iter(pushes).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        let stages = self.stages.clone();
        let task = tokio::spawn(async move {
            let done = done(recorder::live(&bed.recorder, seen), stages).map(anyhow::Ok);
            done.try_for_each_concurrent(AT_ONCE, |(stage, name, generation)| {
                push(stage, name, generation)
            })
            .await
        });
        Ok(Progress { task })
    }

    /// Shows that all of them went on from `from` to `to`, and that they were in the middle of an update at each of `instants`
    /// (but for the few that were just done and pushed again). Returns how many steps were made.
    pub(crate) fn then_went_on(
        &self,
        (from, to): (DateTime<Utc>, DateTime<Utc>),
        instants: &[DateTime<Utc>],
    ) -> Result<usize> {
        let mut steps = 0;
        let mut busy = vec![0; instants.len()];
        for stage in &self.stages {
            let mut history: BTreeMap<String, Vec<Revision>> = BTreeMap::new();
            for revision in stage.scene.bed.recorder.history(&stage.scene.namespace)? {
                if revision.kind == "Rollout" {
                    history.entry(revision.name.clone()).or_default().push(revision);
                }
            }
            ensure!(history.len() == EACH, "{} Rollouts in a namespace", history.len());
            for (name, revisions) in history {
                let made = progress(&revisions, from, to);
                ensure!(made > 0, "{}/{name} stood still", stage.scene.namespace);
                steps += made;
                for (count, at) in busy.iter_mut().zip(instants) {
                    let last = revisions.iter().rfind(|revision| revision.seen <= *at);
                    *count += usize::from(last.is_some_and(|r| phase(&r.object) != "Healthy"));
                }
            }
        }
        let least = busy.iter().min().copied().unwrap_or(0);
        ensure!(least >= CROWD - 10, "only {least} of {CROWD} were in the middle of an update");
        Ok(steps)
    }
}

/// Pushes the version that comes after the one of this generation.
async fn push(stage: Stage, name: String, generation: i64) -> Result<()> {
    stage.when_image_is(&name, &format!("demo:v{}", generation + 1)).await
}

/// Every Rollout of the stages that is done with a version that was pushed, once for each version, and its generation.
fn done(
    revisions: impl Stream<Item = Revision>,
    stages: Vec<Stage>,
) -> impl Stream<Item = (Stage, String, i64)> {
    let mut known: BTreeMap<(String, String), i64> = BTreeMap::new();
    revisions.filter_map(move |revision| {
        let Revision { kind, namespace, name, object, .. } = revision;
        let stage = stages.iter().find(|stage| stage.scene.namespace == namespace);
        let generation = object["metadata"]["generation"].as_i64().unwrap_or(0);
        let last = known.entry((namespace, name.clone())).or_insert(1);
        let is_done = kind == "Rollout" && is_phase(&object, "Healthy") && generation > *last;
        if is_done {
            *last = generation;
        }
        let done = stage.filter(|_| is_done).map(|stage| (stage.clone(), name, generation));
        futures::future::ready(done)
    })
}

/// Waits until `count` Rollouts of a stage are as `test` wants them, by what the recorder has seen: asking for hundreds of objects
/// again and again would be a load of its own.
pub(crate) async fn then_all(
    stage: &Stage,
    count: usize,
    what: &str,
    test: impl Fn(&Value) -> bool,
) -> Result<()> {
    let namespace = &stage.scene.namespace;
    until(&format!("{count} Rollouts of {namespace} are {what}"), LONG, || async {
        let all = stage.scene.bed.recorder.latest("Rollout", namespace);
        Ok((all.values().filter(|rollout| test(rollout)).count() == count).then_some(()))
    })
    .await
}

/// Ten steps, with pauses that differ so that not all Rollouts move at the same instant.
fn manifest(number: usize) -> String {
    let pause = |step: usize| 2 + (number + step) % 3;
    let steps: Vec<_> = (0..10)
        .map(|step| {
            format!("{{setWeight: {}}}, {{pause: {{duration: {}s}}}}", 5 + 9 * step, pause(step))
        })
        .collect();
    let steps = format!("[{}]", steps.join(", "));
    match number % 5 {
        0 => routed(&name(number), Router::Hosts, &steps),
        _ => plain(&name(number), &steps),
    }
}

fn name(number: usize) -> String {
    format!("busy-{number}")
}

fn phase(rollout: &Value) -> &str {
    rollout["status"]["phase"].as_str().unwrap_or_default()
}

fn step(rollout: &Value) -> i64 {
    rollout["status"]["currentStepIndex"].as_i64().unwrap_or(0)
}

/// How often the step or the revision changed between two instants.
fn progress(revisions: &[Revision], from: DateTime<Utc>, to: DateTime<Utc>) -> usize {
    let place = |r: &Revision| (step(&r.object), r.object["status"]["currentPodHash"].clone());
    let within = |r: &&Revision| r.seen >= from && r.seen <= to;
    let places: Vec<_> = revisions.iter().filter(within).map(place).collect();
    places.windows(2).filter(|pair| pair[0] != pair[1]).count()
}
