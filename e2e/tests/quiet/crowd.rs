//! Two hundred Rollouts that are in the middle of something.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Context as _, Result, bail, ensure};
use chrono::{DateTime, Utc};
use futures::{
    FutureExt as _, Stream, StreamExt as _, TryStreamExt as _, future::try_join_all, stream,
};
use serde_json::Value;
use sluice_e2e::{
    bed::Bed,
    recorder::{self, Revision},
    stage::{Router, Stage, is_phase, small},
};
use tokio::task::JoinHandle;

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
    /// All of them, not yet healthy. Every twentieth is routed by Istio.
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
            stage.then_all(EACH, what, &test).await?;
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

    /// Shows that at each of the instants (sorted) they were in the middle of an update, but for those that were just done and
    /// about to be pushed again; that they made steps meanwhile; and that each of them goes on.
    pub(crate) async fn then_went_on(&self, instants: &[DateTime<Utc>]) -> Result<()> {
        let (Some(from), Some(to)) = (instants.first(), instants.last()) else {
            bail!("no instant to look at")
        };
        let histories = self.histories()?;
        let (mut steps, mut busy) = (0, vec![0; instants.len()]);
        for revisions in histories.values() {
            steps += moves(revisions, *from, *to);
            for (count, at) in busy.iter_mut().zip(instants) {
                *count += usize::from(phase(&at_instant(revisions, *at).object) != "Healthy");
            }
        }
        let least = busy.iter().min().copied().unwrap_or(0);
        let seconds = (*to - *from).as_seconds_f64();
        eprintln!(
            "meanwhile at least {least} of {CROWD} Rollouts were in mid-update and made {steps} steps in {seconds:.1} s"
        );
        ensure!(least >= CROWD * 4 / 5, "only {least} of {CROWD} were in the middle of an update");
        ensure!(steps >= CROWD / 2, "{CROWD} Rollouts made {steps} steps in {seconds:.1} s");
        for stage in &self.stages {
            let namespace = &stage.scene.namespace;
            stage
                .then_all(EACH, "gone on", |rollout| {
                    let name = rollout["metadata"]["name"].as_str().unwrap_or_default();
                    let before = histories.get(&(namespace.clone(), name.to_owned()));
                    before
                        .is_some_and(|all| place(&at_instant(all, *from).object) != place(rollout))
                })
                .await?;
        }
        Ok(())
    }

    /// All revisions of every Rollout, by namespace and name.
    fn histories(&self) -> Result<BTreeMap<(String, String), Vec<Revision>>> {
        let mut all: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for stage in &self.stages {
            for revision in stage.scene.bed.recorder.history(&stage.scene.namespace)? {
                if revision.kind == "Rollout" {
                    let key = (revision.namespace.clone(), revision.name.clone());
                    all.entry(key).or_default().push(revision);
                }
            }
        }
        ensure!(all.len() == CROWD, "{} of {CROWD} Rollouts were recorded", all.len());
        Ok(all)
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

/// Eight steps and more, and pauses that differ: so not all Rollouts move, or end, at the same instant.
fn manifest(number: usize) -> String {
    let pause = |step: usize| 2 + (number + step) % 3;
    let steps: Vec<_> = (0..8 + number % 6)
        .map(|step| {
            format!("{{setWeight: {}}}, {{pause: {{duration: {}s}}}}", 5 + 7 * step, pause(step))
        })
        .collect();
    let steps = format!("[{}]", steps.join(", "));
    match number % 20 {
        0 => small::routed(&name(number), "", Router::Hosts, &steps),
        _ => small::plain(&name(number), "", &steps),
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

/// Where a Rollout is: its step, and the revision that it steps towards.
fn place(rollout: &Value) -> (i64, &Value) {
    (step(rollout), &rollout["status"]["currentPodHash"])
}

/// The revision that was the last one at an instant; the first one before there was any.
fn at_instant(revisions: &[Revision], at: DateTime<Utc>) -> &Revision {
    &revisions[revisions.partition_point(|r| r.seen <= at).saturating_sub(1)]
}

/// How often the place changed between two instants.
fn moves(revisions: &[Revision], from: DateTime<Utc>, to: DateTime<Utc>) -> usize {
    let within = |r: &&Revision| r.seen > from && r.seen <= to;
    let first = std::iter::once(at_instant(revisions, from));
    let all: Vec<_> = first.chain(revisions.iter().filter(within)).collect();
    all.windows(2).filter(|pair| place(&pair[0].object) != place(&pair[1].object)).count()
}
