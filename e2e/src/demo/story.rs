//! The story that the demo plays: good, bad, worse luck, and good again.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use chrono::{DateTime, Utc};
use kube::api::{DeleteParams, Patch, PatchParams, PropagationPolicy};
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use super::ear::Ear;
use super::shop::{self, Eyes, HOST, NAME, Version};
use super::timeline::{Timeline, median_and_max};
use crate::bed::Bed;
use crate::bed::controller::{Controller, USER};
use crate::bed::git::Repository;
use crate::bed::mesh;
use crate::bed::process::until;
use crate::load::{Load, Plan, Record};
use crate::recorder::{Request, audit};

/// Requests a second.
const RATE: f64 = 200.0;
/// Weights that a canary passes through.
const WEIGHTS: [i64; 4] = [20, 40, 60, 80];
const LONG: Duration = Duration::from_secs(90);

/// Everything on the stage.
pub struct Stage {
    /// Prints and remembers.
    pub timeline: Timeline,
    /// Reads the shop.
    pub eyes: Eyes,
    /// The repository.
    pub repository: Repository,
    /// The controller.
    pub controller: Controller,
    /// Hears what Prometheus answers.
    pub ear: Ear,
    /// Everything that is not ours.
    pub bed: Bed,
    /// `kubectl-sluice`.
    pub cli: PathBuf,
    /// Kubeconfig of the user of the story.
    pub kubeconfig: PathBuf,
    /// Length of each pause step.
    pub pause: Duration,
}

/// What is measured over the whole run.
#[derive(Default)]
struct Figures {
    to_envoy: Vec<Duration>,
    to_zero: Vec<Duration>,
    first_pod: Vec<Duration>,
    requests: Vec<usize>,
}

impl Stage {
    /// Plays all chapters.
    ///
    /// # Errors
    /// When something that the story needs does not happen in time.
    pub async fn play(&mut self) -> Result<()> {
        let mut figures = Figures::default();
        let v = |number, error_rate| Version { number, error_rate };
        let load = self.first_version(v(1, 0.0)).await?;
        let from = Utc::now();
        self.good_version(v(2, 0.0), &load, &mut figures).await?;
        let calm = load.record().between(from, Utc::now());
        self.timeline.promise(
            "no request fails while version 2 comes",
            calm.failed() == 0,
            counts(&calm),
        );
        let good = self.bad_version(v(3, 0.2), v(2, 0.0), &load, &mut figures).await?;
        let since = Utc::now();
        let deleted = self.bad_luck(v(2, 0.0), &load).await?;
        self.never_again(v(3, 0.2), since, &load, &good).await?;
        self.good_version(v(4, 0.0), &load, &mut figures).await?;
        self.moot().await?;
        let all = load.stop().await;
        self.judge().await?;
        self.sums(&all, &figures, deleted);
        Ok(())
    }

    async fn first_version(&mut self, version: Version) -> Result<Load> {
        self.timeline.chapter("version 1 comes up");
        let files = shop::first_files(version, self.pause);
        let commit = self.push("sell things", &files).await?;
        self.timeline.moment("push", &commit);
        let application: Value = serde_saphyr::from_str(&shop::application(&self.repository.url))?;
        let patch = PatchParams::apply("demo").force();
        self.eyes.api("Application").patch("shop", &patch, &Patch::Apply(&application)).await?;
        self.timeline.moment("apply", "Application shop (automated, prune, selfHeal)");
        self.healthy(version).await?;
        self.timeline.moment("healthy", "version 1 serves");
        mesh::weights(HOST, &[("checkout-stable", 100)], Duration::from_secs(20)).await?;
        // The first seconds of a cold proxy are not part of the story.
        let probe = Load::start(Plan::new(HOST, 20.0).count(20)).finished().await;
        if probe.failed() > 0 {
            bail!("version 1 is up, but {} of {} requests fail", probe.failed(), probe.total());
        }
        self.timeline
            .moment("load", &format!("{RATE} requests a second through Envoy, until the end"));
        Ok(Load::start(Plan::new(HOST, RATE)))
    }

    async fn good_version(
        &mut self,
        version: Version,
        load: &Load,
        figures: &mut Figures,
    ) -> Result<()> {
        self.timeline.chapter(&format!("version {} is healthy", version.number));
        let from = Utc::now();
        self.push_version(version, figures).await?;
        for weight in WEIGHTS {
            self.weight(weight, version, load, figures).await?;
        }
        self.healthy(version).await?;
        self.timeline.moment("promoted", &format!("version {} is stable", version.number));
        mesh::weights(HOST, &[("checkout-stable", 100)], LONG).await?;
        let requests = self.own_requests(from)?;
        figures.requests.push(requests.len());
        let sequence = self.weights_since(from)?;
        self.timeline.promise(
            "the weights in the cluster are those of the plan, in order",
            sequence == [20, 40, 60, 80, 100, 0],
            format!("{sequence:?}"),
        );
        Ok(())
    }

    /// One step: weight in the VirtualService, in Envoy, and in the share of real responses.
    async fn weight(
        &mut self,
        weight: i64,
        version: Version,
        load: &Load,
        figures: &mut Figures,
    ) -> Result<()> {
        let what = format!("the canary has weight {weight}");
        let test = |v: &Value| shop::weight(v, "checkout-canary") == Some(weight);
        self.eyes.wait(&what, "VirtualService", NAME, LONG, test).await?;
        let written = self.weight_write_at(weight)?;
        let share = u32::try_from(weight).context("a weight")?;
        let split = [("checkout-canary", share), ("checkout-stable", 100 - share)];
        mesh::weights(HOST, &split, Duration::from_secs(5)).await?;
        let in_envoy = Utc::now();
        let took = (in_envoy - written).to_std().unwrap_or_default();
        figures.to_envoy.push(took);
        sleep(self.pause.mul_f64(0.6)).await;
        let part = load.record().between(in_envoy, Utc::now());
        let seen = part.share(&version.name()) * 100.0;
        let text = format!(
            "→ {weight}   Envoy {} ms later; responses {seen:.1} % of {}",
            took.as_millis(),
            part.total()
        );
        self.timeline.moment("weight", &text);
        #[allow(clippy::cast_precision_loss, reason = "a weight and a count of requests are small")]
        let (p, n) = (weight as f64 / 100.0, part.total() as f64);
        let margin = 400.0 * (p * (1.0 - p) / n.max(1.0)).sqrt() + 0.5;
        #[allow(clippy::cast_precision_loss, reason = "a weight is small")]
        let near = (seen - weight as f64).abs() <= margin;
        let promise = format!("{weight} % of responses come from the canary (± {margin:.1})");
        self.timeline.promise(&promise, near, format!("{seen:.1} %"));
        Ok(())
    }

    async fn bad_version(
        &mut self,
        version: Version,
        good: Version,
        load: &Load,
        figures: &mut Figures,
    ) -> Result<String> {
        self.timeline.chapter(&format!("version {} answers 20 % errors", version.number));
        let from = Utc::now();
        self.push_version(version, figures).await?;
        let raised = |v: &Value| shop::weight(v, "checkout-canary") == Some(20);
        self.eyes.wait("the canary has weight 20", "VirtualService", NAME, LONG, raised).await?;
        self.timeline.moment("weight", "→ 20");
        let back = |v: &Value| shop::weight(v, "checkout-canary") == Some(0);
        self.eyes.wait("the weight is taken back", "VirtualService", NAME, LONG, back).await?;
        let zero = self.weight_write_at(0)?;
        let mut failing = self.ear.since(from).into_iter().filter(|a| a.at <= zero);
        let failing = failing.rfind(|a| a.value.is_some_and(|v| v > 0.01));
        let failing = failing.context("no failing answer of Prometheus before the abort")?;
        let took = (zero - failing.at).to_std().unwrap_or_default();
        figures.to_zero.push(took);
        let text =
            format!("error-rate {:.1} % over 1 %", failing.value.unwrap_or_default() * 100.0);
        self.timeline.moment("analysis", &text);
        let text = format!("20 → 0   accepted {} ms after the failing sample", took.as_millis());
        self.timeline.moment("weight", &text);
        mesh::weights(HOST, &[("checkout-stable", 100)], Duration::from_secs(5)).await?;
        let held = |a: &Value| {
            a["status"]["sluice"]["quarantine"].as_array().is_some_and(|q| !q.is_empty())
        };
        let app =
            self.eyes.wait("the commit is held back", "Application", "shop", LONG, held).await?;
        let entry = &app["status"]["sluice"]["quarantine"][0];
        let hash = entry["templateHash"].as_str().unwrap_or_default().to_owned();
        self.timeline.moment("held", &format!("template {hash} quarantined: {}", entry["message"]));
        self.healthy(good).await?;
        self.timeline
            .moment("healthy", &format!("the content of version {} is applied", good.number));
        let reached = load.record().between(from, Utc::now()).served_by(&version.name());
        self.timeline.moment(
            "reached",
            &format!("{reached} requests had reached version {}", version.number),
        );
        Ok(hash)
    }

    /// What goes wrong in real life: drift, a crash, an unrelated commit, deletions. Returns requests that failed while the
    /// Rollout was plainly deleted.
    async fn bad_luck(&mut self, good: Version, load: &Load) -> Result<usize> {
        self.timeline.chapter("and then everything else happens");
        let from = Utc::now();
        let drift = json!({ "data": { "note": "by hand" } });
        let merge = PatchParams::default();
        self.eyes.api("ConfigMap").patch("checkout-notes", &merge, &Patch::Merge(&drift)).await?;
        self.note_is("first").await?;
        self.timeline.moment("self-heal", "an edit by hand is taken back");
        self.controller.kill_and_restart().await?;
        self.controller.healthy().await?;
        self.timeline.moment("kill -9", "the controller is back");
        let commit =
            self.push("change a note", &[("shop/config.yaml", shop::note("second"))]).await?;
        self.note_is("second").await?;
        self.timeline
            .moment("commit", &format!("{commit}, unrelated: the rest of the application syncs"));
        self.delete(PropagationPolicy::Orphan, good).await?;
        self.timeline
            .moment("delete", "Rollout with --cascade=orphan: its ReplicaSets are adopted again");
        let calm = load.record().between(from, Utc::now());
        let (kept, seen) = (calm.failed() == 0, counts(&calm));
        self.timeline.promise("no request fails through all of that", kept, seen);
        let plain = Utc::now();
        self.delete(PropagationPolicy::Background, good).await?;
        let storm = load.record().between(plain, Utc::now());
        let text = format!("Rollout plainly: {} requests failed until it was back", storm.failed());
        self.timeline.moment("delete", &text);
        let after = Utc::now();
        sleep(Duration::from_secs(2)).await;
        let calm = load.record().between(after, Utc::now());
        let (kept, seen) = (calm.failed() == 0, counts(&calm));
        self.timeline.promise(
            "no request fails once the re-created Rollout is available",
            kept,
            seen,
        );
        Ok(storm.failed())
    }

    async fn delete(&mut self, how: PropagationPolicy, good: Version) -> Result<()> {
        let old = self.eyes.see("Rollout", NAME).await?.context("the Rollout is there")?;
        let options = DeleteParams { propagation_policy: Some(how), ..DeleteParams::default() };
        self.eyes.api("Rollout").delete(NAME, &options).await?;
        let image = format!("demo:{}", good.name());
        let again = |r: &Value| {
            r["metadata"]["uid"] != old["metadata"]["uid"] && shop::is_healthy(r, &image)
        };
        self.eyes.wait("the Rollout is back and healthy", "Rollout", NAME, LONG, again).await?;
        Ok(())
    }

    /// After the quarantine, version 3 serves nobody, and the user is told why.
    async fn never_again(
        &mut self,
        bad: Version,
        since: DateTime<Utc>,
        load: &Load,
        hash: &str,
    ) -> Result<()> {
        let record = load.record().between(since, Utc::now());
        let served = record.served_by(&bad.name());
        let (kept, seen) = (served == 0, format!("{served} of {} requests", record.total()));
        self.timeline.promise("version 3 never serves a request again", kept, seen);
        let pods = self.eyes.pods(&format!("demo:{}", bad.name())).await?;
        let young = pods.iter().filter(|(_, at)| at.is_some_and(|at| at > since)).count();
        self.timeline.promise(
            "no Pod of version 3 is made again",
            young == 0,
            format!("{young} Pods"),
        );
        let text = self.sluice(&["app", "get", "shop", "--no-color"]).await?;
        let told = text.contains("Held back") && text.contains(hash);
        self.timeline.promise("`kubectl sluice app get` says why", told, "its words follow");
        for line in text.lines() {
            self.timeline.moment("", line);
        }
        Ok(())
    }

    async fn moot(&mut self) -> Result<()> {
        let app = self.eyes.see("Application", "shop").await?.unwrap_or_default();
        let entries = app["status"]["sluice"]["quarantine"].as_array().cloned().unwrap_or_default();
        let moot = !entries.is_empty() && entries.iter().all(|e| e["moot"] == true);
        self.timeline.promise(
            "the quarantine of version 3 is moot, not forgotten",
            moot,
            format!("{} entries", entries.len()),
        );
        Ok(())
    }

    fn sums(&mut self, all: &Record, figures: &Figures, deleted: usize) {
        let timeline = &mut self.timeline;
        timeline.figure("push to first canary Pod", median_and_max(&figures.first_pod));
        timeline.figure("weight write to Envoy", median_and_max(&figures.to_envoy));
        timeline.figure("failing sample to accepted weight 0", median_and_max(&figures.to_zero));
        timeline.figure("requests sent", all.total().to_string());
        for (version, count) in all.by_version() {
            timeline.figure(
                &format!("  answered by {version}"),
                format!("{} ({} failed)", count.total, count.failed),
            );
        }
        timeline.figure("  failed while the Rollout was deleted", deleted.to_string());
        let requests: Vec<String> = figures.requests.iter().map(ToString::to_string).collect();
        timeline.figure("API requests of the controller per canary", requests.join(", "));
    }

    async fn push(&self, message: &str, files: &[(&str, String)]) -> Result<String> {
        let files: Vec<_> = files.iter().map(|(path, text)| (*path, Some(text.as_str()))).collect();
        let commit = self.repository.push(message, &files).await?;
        Ok(commit.chars().take(7).collect())
    }

    async fn push_version(&mut self, version: Version, figures: &mut Figures) -> Result<()> {
        let files = [("shop/rollout.yaml", version.manifest(self.pause))];
        let commit = self.push(&format!("version {}", version.number), &files).await?;
        let pushed = Instant::now();
        self.timeline.moment("push", &commit);
        let image = format!("demo:{}", version.name());
        until("the first canary Pod", LONG, || async {
            Ok((!self.eyes.pods(&image).await?.is_empty()).then_some(()))
        })
        .await?;
        figures.first_pod.push(pushed.elapsed());
        self.timeline.moment(
            "canary",
            &format!("first Pod {} ms after the push", pushed.elapsed().as_millis()),
        );
        Ok(())
    }

    async fn healthy(&self, version: Version) -> Result<()> {
        let image = format!("demo:{}", version.name());
        let what = format!("the Rollout is healthy with {image}");
        self.eyes.wait(&what, "Rollout", NAME, LONG, |r| shop::is_healthy(r, &image)).await?;
        Ok(())
    }

    async fn note_is(&self, text: &str) -> Result<()> {
        let test = |c: &Value| c["data"]["note"] == text;
        self.eyes
            .wait("the note is as Git has it", "ConfigMap", "checkout-notes", LONG, test)
            .await?;
        Ok(())
    }

    async fn sluice(&self, words: &[&str]) -> Result<String> {
        let output = Command::new(&self.cli)
            .args(words)
            .env("KUBECONFIG", &self.kubeconfig)
            .output()
            .await
            .with_context(|| format!("cannot run {}", self.cli.display()))?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn own_requests(&self, from: DateTime<Utc>) -> Result<Vec<Request>> {
        let all = audit(self.bed.control_plane.audit_log(), USER, from)?;
        let counts = |r: &Request| {
            let resource = r.object_ref.as_ref().map_or("", |o| o.resource.as_str());
            r.verb != "watch" && resource != "leases" && resource != "events"
        };
        Ok(all.into_iter().filter(counts).collect())
    }

    /// When the last write of the VirtualService by the controller was accepted.
    fn weight_write_at(&self, weight: i64) -> Result<DateTime<Utc>> {
        let from = Utc::now() - chrono::Duration::minutes(10);
        let accepted = |r: &Request| {
            r.is_write()
                && r.object_ref.as_ref().is_some_and(|o| o.resource == "virtualservices")
                && r.response_status.as_ref().is_some_and(|a| a.code < 300)
        };
        let all = audit(self.bed.control_plane.audit_log(), USER, from)?;
        let last = all.iter().rev().find(|r| accepted(r));
        let last = last.with_context(|| format!("no write of weight {weight} in the audit log"))?;
        Ok(last.stage_timestamp)
    }

    /// The canary's weights in the recorded revisions since an instant, without repeats.
    fn weights_since(&self, from: DateTime<Utc>) -> Result<Vec<i64>> {
        let mut weights: Vec<i64> = Vec::new();
        for revision in self.bed.recorder.history(shop::NAMESPACE)? {
            if revision.kind != "VirtualService" || revision.name != NAME || revision.seen < from {
                continue;
            }
            let Some(weight) = shop::weight(&revision.object, "checkout-canary") else { continue };
            if weights.last() != Some(&weight) && !(weights.is_empty() && weight == 0) {
                weights.push(weight);
            }
        }
        Ok(weights)
    }
}

fn counts(record: &Record) -> String {
    format!("{} of {} failed", record.failed(), record.total())
}
