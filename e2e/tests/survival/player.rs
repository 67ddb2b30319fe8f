//! A user with a Rollout, who plays a lane's story: it acts on what it sees, never on the clock.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use chrono::Utc;
use serde_json::{Value, json};
use sluice_e2e::{
    bed::{Bed, git::Repository, ports},
    given::Scene,
    oracle::Oracle,
    stage::Stage,
};
use tokio::sync::{mpsc, watch};

use crate::{
    eyes::{Eyes, Glance, Objects},
    lanes::{Habit, Lane, Verdict},
};

/// How long a canary may take from push to push while its controller is being killed.
const PATIENCE: Duration = Duration::from_secs(240);
const FIRST: &str = "demo:v1";

/// Servers with Prometheus' API, one for each verdict.
pub(crate) struct Oracles {
    good: Oracle,
    bad: Oracle,
}

impl Oracles {
    pub(crate) async fn start() -> Result<Self> {
        Ok(Self { good: Oracle::start(Some(0.0)).await?, bad: Oracle::start(Some(1.0)).await? })
    }

    /// `judge` asks three times, `watch` until it is stopped.
    fn templates(&self, verdict: Verdict) -> String {
        let oracle = match verdict {
            Verdict::Good => &self.good,
            Verdict::Bad => &self.bad,
        };
        let judge = oracle.template();
        let watch = judge.replace("name: judge", "name: watch").replace("      count: 3\n", "");
        format!("{judge}---{watch}")
    }
}

/// Where the next version comes from.
pub(crate) enum Script {
    /// Makes it up until it is told that it is enough, and tells the one that follows.
    Leads { enough: watch::Receiver<bool>, copy: mpsc::UnboundedSender<String>, version: u32 },
    /// Does what the other did.
    Follows(mpsc::UnboundedReceiver<String>),
}

impl Script {
    /// Two that play the same story.
    pub(crate) fn pair(enough: watch::Receiver<bool>) -> (Self, Self) {
        let (copy, told) = mpsc::unbounded_channel();
        (Self::Leads { enough, copy, version: 1 }, Self::Follows(told))
    }

    async fn next(&mut self) -> Option<String> {
        match self {
            Self::Leads { enough, copy, version } => {
                if *enough.borrow() {
                    return None;
                }
                *version += 1;
                let image = format!("demo:v{version}");
                // One that follows no longer has failed, and its failure is reported.
                let _ = copy.send(image.clone());
                Some(image)
            }
            Self::Follows(told) => told.recv().await,
        }
    }
}

/// A lane's story in a namespace.
#[derive(Clone)]
pub(crate) struct Player {
    pub(crate) lane: Arc<Lane>,
    pub(crate) stage: Stage,
    eyes: Arc<Eyes>,
    /// What the Rollout's Application follows; none where the user speaks to the API server.
    repository: Option<Repository>,
    /// Everything around the Rollout.
    rest: String,
}

impl Player {
    /// The Rollout in a namespace of its own, for the controller with the instance id, healthy with its first version.
    pub(crate) async fn given(
        bed: &Arc<Bed>,
        eyes: &Arc<Eyes>,
        lane: &Lane,
        namespace: &str,
        instance: &str,
        oracles: &Oracles,
    ) -> Result<Self> {
        let mut lane = lane.clone();
        if !instance.is_empty() {
            lane.web.labels = format!("{{{}: {instance}}}", sluice_crds::labels::INSTANCE_ID);
        }
        let scene = Scene::new(Arc::clone(bed), namespace).await?;
        let stage = Stage { scene, since: Utc::now() };
        let rest = format!("{}\n---{}", lane.web.surroundings(), oracles.templates(lane.verdict));
        let repository = match lane.delivered && instance.is_empty() {
            true => Some(bed.git.create(namespace).await?),
            false => None,
        };
        let lane = Arc::new(lane);
        let player = Self { lane, stage, eyes: Arc::clone(eyes), repository, rest };
        player.begins().await.with_context(|| format!("given {namespace}"))?;
        player.then("is healthy at first", |g| g.is_about(FIRST) && g.phase == "Healthy").await?;
        Ok(player)
    }

    async fn begins(&self) -> Result<()> {
        let Some(repository) = &self.repository else {
            self.stage.scene.given(&self.manifests(FIRST)).await?;
            return Ok(());
        };
        self.pushes(FIRST).await?;
        let automated = json!({ "prune": true, "selfHeal": true });
        self.stage.given_application(repository, &automated).await
    }

    fn manifests(&self, image: &str) -> String {
        format!("{}{}", self.lane.web.manifest(image), self.rest)
    }

    async fn pushes(&self, image: &str) -> Result<()> {
        let Some(repository) = &self.repository else {
            return self.stage.when_image_is("web", image).await;
        };
        let text = self.manifests(image).replace("$HOST", &self.stage.scene.host);
        let text = text.replace("$GATEWAY_PORT", &ports::GATEWAY.to_string());
        repository.push(image, &[("app/all.yaml", Some(&text))]).await?;
        Ok(())
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.stage.scene.namespace
    }

    pub(crate) fn is_mid_canary(&self) -> bool {
        self.eyes.glance(self.namespace()).is_some_and(|glance| glance.is_mid_canary())
    }

    async fn then(&self, what: &str, test: impl Fn(&Glance) -> bool) -> Result<()> {
        let look = |objects: &Objects| Glance::of(objects).filter(|glance| test(glance));
        self.eyes.until(self.namespace(), what, PATIENCE, look).await?;
        Ok(())
    }

    /// Waits until the first version is being replaced.
    pub(crate) async fn then_under_way(&self) -> Result<()> {
        self.then("is in mid-canary", Glance::is_mid_canary).await
    }

    /// Plays to the end; how many versions were pushed.
    pub(crate) async fn plays(self, mut script: Script) -> Result<u32> {
        let (mut pushed, mut last) = (0, FIRST.to_owned());
        while let Some(image) = script.next().await {
            self.pushes(&image).await?;
            self.lets_run(&image).await.with_context(|| format!("after the push of {image}"))?;
            (pushed, last) = (pushed + 1, image);
        }
        self.ends(&last).await.context("at the end")?;
        if self.repository.is_some() {
            let key = ("Application".to_owned(), self.namespace().to_owned());
            let fine = |application: &Value| {
                let status = &application["status"];
                status["sync"]["status"] == "Synced" && status["health"]["status"] == "Healthy"
            };
            let look = |objects: &Objects| objects.get(&key).filter(|a| fine(a)).map(|_| ());
            let what = format!("{} is Synced and Healthy", self.namespace());
            self.eyes.until("argocd", &what, PATIENCE, look).await?;
        }
        Ok(pushed)
    }

    /// What happens between a push and the next.
    async fn lets_run(&self, image: &str) -> Result<()> {
        match self.lane.habit {
            Habit::AtTheEnd => self.then_at_rest(image).await,
            Habit::InTheMiddle(step) => self.then_step(image, step).await,
            Habit::Promotes(step) => {
                self.then_paused(image, step).await?;
                self.promotes(image, step).await?;
                self.then_at_rest(image).await
            }
            Habit::Fails => self.then_taken_back(image).await,
            Habit::GoesBack(step) => {
                self.then_step(image, step).await?;
                self.pushes(FIRST).await?;
                self.then("went back", |g| g.is_about(FIRST) && g.phase == "Healthy").await
            }
        }
    }

    async fn ends(&self, last: &str) -> Result<()> {
        match self.lane.habit {
            Habit::AtTheEnd | Habit::InTheMiddle(_) | Habit::Promotes(_) => {
                self.then_at_rest(last).await?;
                self.promotes(last, self.last_step()).await?;
                self.then("is promoted", |g| g.is_about(last) && g.phase == "Healthy").await
            }
            Habit::Fails => self.then_taken_back(last).await,
            Habit::GoesBack(_) => Ok(()),
        }
    }

    /// Index of the endless pause at the end.
    fn last_step(&self) -> i64 {
        let steps = self.lane.web.steps.matches("}, {").count();
        i64::try_from(steps).unwrap_or(i64::MAX)
    }

    async fn then_at_rest(&self, image: &str) -> Result<()> {
        self.then_paused(image, self.last_step()).await
    }

    async fn then_paused(&self, image: &str, step: i64) -> Result<()> {
        let paused = |g: &Glance| g.is_about(image) && is_paused_at(g, step);
        self.then(&format!("pauses at step {step}"), paused).await
    }

    async fn then_step(&self, image: &str, step: i64) -> Result<()> {
        let there = |g: &Glance| g.is_about(image) && g.is_mid_canary() && g.index >= step;
        self.then(&format!("reaches step {step}"), there).await
    }

    async fn then_taken_back(&self, image: &str) -> Result<()> {
        let back = |g: &Glance| g.is_about(image) && g.aborted && g.phase == "Degraded";
        self.then("is taken back", back).await
    }

    /// `kubectl sluice promote`, again if another write came between its reading and its writing.
    async fn promotes(&self, image: &str, step: i64) -> Result<()> {
        let mut refused = None;
        for _ in 0..20 {
            let still = |g: &Glance| g.is_about(image) && is_paused_at(g, step);
            if !self.eyes.glance(self.namespace()).is_some_and(|g| still(&g)) {
                break;
            }
            match self.stage.when_user_says(&["promote", "web"]).await {
                Ok(()) => break,
                Err(error) => refused = Some(error),
            }
        }
        let over = |g: &Glance| !is_paused_at(g, step);
        let result = self.then(&format!("leaves the pause at step {step}"), over).await;
        match refused {
            Some(refused) => result.with_context(|| format!("a promote was refused: {refused:#}")),
            None => result,
        }
    }
}

fn is_paused_at(glance: &Glance, step: i64) -> bool {
    glance.phase == "Paused" && glance.paused && glance.index == step && !glance.aborted
}
