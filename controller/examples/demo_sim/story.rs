//! The story: good, bad, worse luck, and good again, as in the demo on the bed.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use chrono::Utc;
use serde_json::{Value, json};
use sluice_crds::object::{Kind, ObjectRef};
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use super::cluster::{Cluster, first_time};
use super::git::{GitServer, Repository};
use super::metrics::Prometheus;
use super::shop::{self, NAME, NAMESPACE, Version};
use super::timeline::{Timeline, median_and_max};
use super::traffic::{self, RATE, Record, Traffic};

/// Weights that a canary passes through.
const WEIGHTS: [i64; 4] = [20, 40, 60, 80];
const LONG: Duration = Duration::from_secs(20);

const ROLLOUT: (&str, &str) = ("Rollout", NAME);
const VIRTUAL_SERVICE: (&str, &str) = ("VirtualService", NAME);
const APPLICATION: (&str, &str) = ("Application", "shop");
const NOTES: (&str, &str) = ("ConfigMap", "checkout-notes");

/// Everything on the stage.
pub(crate) struct Stage {
    /// Prints and remembers.
    pub(crate) timeline: Timeline,
    /// The simulated cluster, and the controller.
    pub(crate) cluster: Cluster,
    repository: Repository,
    prometheus: Prometheus,
    traffic: Traffic,
    cli: PathBuf,
}

/// What is measured over the whole run.
#[derive(Default)]
struct Figures {
    first_pod: Vec<Duration>,
    to_zero: Vec<Duration>,
    requests: Vec<usize>,
    failed_while_deleted: usize,
}

impl Stage {
    /// Makes the repository and the metrics server.
    ///
    /// # Errors
    /// When one of them cannot be made.
    pub(crate) async fn new(
        timeline: Timeline,
        cluster: Cluster,
        git: &GitServer,
        cli: PathBuf,
    ) -> Result<Self> {
        let traffic = Traffic::default();
        let prometheus = Prometheus::start(traffic.clone()).await?;
        let repository = git.create("shop").await?;
        Ok(Self { timeline, cluster, repository, prometheus, traffic, cli })
    }

    /// Plays all chapters.
    ///
    /// # Errors
    /// When something that the story needs does not happen in time.
    pub(crate) async fn play(&mut self) -> Result<()> {
        let mut figures = Figures::default();
        let v = |number, error_rate| Version { number, error_rate };
        let began = Instant::now();
        self.first_version(v(1, 0.0)).await?;
        let from = Instant::now();
        self.good_version(v(2, 0.0), &mut figures).await?;
        let calm = self.traffic.since(from);
        let (kept, seen) = (calm.failed() == 0, counts(&calm));
        self.timeline.promise("no request fails while version 2 comes", kept, seen);
        let hash = self.bad_version(v(3, 0.2), v(2, 0.0), &mut figures).await?;
        let (since, version) = (Instant::now(), self.cluster.version());
        self.bad_luck(v(2, 0.0), &mut figures).await?;
        self.never_again(v(3, 0.2), since, version, &hash).await?;
        self.good_version(v(4, 0.0), &mut figures).await?;
        self.moot();
        self.sums(&self.traffic.since(began), &figures);
        Ok(())
    }

    async fn first_version(&mut self, version: Version) -> Result<()> {
        self.timeline.chapter("version 1 comes up");
        let files = shop::first_files(version, &self.prometheus.url);
        let commit = self.push("sell things", &files).await?;
        self.timeline.moment("push", &commit);
        let application: Value = serde_saphyr::from_str(&shop::application(&self.repository.url))?;
        self.cluster.create(&Kind::APPLICATION, Some("argocd"), &application)?;
        self.timeline.moment("apply", "Application shop (automated, prune, selfHeal)");
        self.healthy(version).await?;
        self.reachable().await?;
        self.timeline.moment("healthy", "version 1 serves");
        self.traffic.start(self.cluster.service.clone());
        let text = format!("{RATE} simulated requests a second, until the end");
        self.timeline.moment("load", &text);
        Ok(())
    }

    async fn good_version(&mut self, version: Version, figures: &mut Figures) -> Result<()> {
        self.timeline.chapter(&format!("version {} is healthy", version.number));
        let (from, revision) = (Utc::now(), self.cluster.version());
        self.push_version(version, figures).await?;
        for weight in WEIGHTS {
            self.weight(weight, version).await?;
        }
        self.healthy(version).await?;
        let settled = |v: &Value| shop::weight(v, "checkout-canary") == Some(0);
        self.cluster.wait("the canary has weight 0", VIRTUAL_SERVICE, LONG, settled).await?;
        self.timeline.moment("promoted", &format!("version {} is stable", version.number));
        figures.requests.push(self.cluster.requests_since(from).len());
        let sequence = self.cluster.weights_since(revision)?;
        let planned = sequence == [20, 40, 60, 80, 100, 0];
        let promise = "the weights in the cluster are those of the plan, in order";
        self.timeline.promise(promise, planned, format!("{sequence:?}"));
        Ok(())
    }

    /// One step: weight in the VirtualService, and in the share of simulated responses.
    async fn weight(&mut self, weight: i64, version: Version) -> Result<()> {
        let what = format!("the canary has weight {weight}");
        let test = |v: &Value| shop::weight(v, "checkout-canary") == Some(weight);
        self.cluster.wait(&what, VIRTUAL_SERVICE, LONG, test).await?;
        let from = Instant::now();
        sleep(Duration::from_secs(shop::PAUSE_SECONDS).mul_f64(0.8)).await;
        let part = self.traffic.since(from);
        let (served, total) = (part.served_by(&version.image()), part.total());
        let seen = percent(served, total);
        let text = format!("→ {weight}   {seen:.1} % of {total} simulated responses");
        self.timeline.moment("weight", &text);
        let wanted = f64::from(i32::try_from(weight)?);
        let promise = format!("{weight} % of simulated responses come from the canary (± 3)");
        self.timeline.promise(&promise, (seen - wanted).abs() <= 3.0, format!("{seen:.1} %"));
        Ok(())
    }

    async fn bad_version(
        &mut self,
        version: Version,
        good: Version,
        figures: &mut Figures,
    ) -> Result<String> {
        self.timeline.chapter(&format!("version {} answers 20 % errors", version.number));
        let (from, began) = (Utc::now(), Instant::now());
        self.push_version(version, figures).await?;
        let raised = |v: &Value| shop::weight(v, "checkout-canary") == Some(20);
        self.cluster.wait("the canary has weight 20", VIRTUAL_SERVICE, LONG, raised).await?;
        self.timeline.moment("weight", "→ 20");
        let back = |v: &Value| shop::weight(v, "checkout-canary") == Some(0);
        self.cluster.wait("the weight is taken back", VIRTUAL_SERVICE, LONG, back).await?;
        let zero = self.cluster.last_weight_write(from).context("nobody wrote weight 0")?;
        let mut failing = self.prometheus.since(from).into_iter().filter(|a| a.at <= zero);
        let failing = failing.rfind(|a| a.value.is_some_and(|v| v > 0.01));
        let failing = failing.context("no failing answer of Prometheus before the abort")?;
        let took = (zero - failing.at).to_std().unwrap_or_default();
        figures.to_zero.push(took);
        let share = failing.value.unwrap_or_default() * 100.0;
        self.timeline.moment("analysis", &format!("error-rate {share:.1} % over 1 %"));
        let text = format!("20 → 0   accepted {} ms after the failing sample", took.as_millis());
        self.timeline.moment("weight", &text);
        let held = |a: &Value| {
            a["status"]["sluice"]["quarantine"].as_array().is_some_and(|q| !q.is_empty())
        };
        let app = self.cluster.wait("the commit is held back", APPLICATION, LONG, held).await?;
        let entry = &app["status"]["sluice"]["quarantine"][0];
        let hash = entry["templateHash"].as_str().unwrap_or_default().to_owned();
        self.timeline.moment("held", &format!("template {hash} quarantined: {}", entry["message"]));
        self.healthy(good).await?;
        let text = format!("the content of version {} is applied", good.number);
        self.timeline.moment("healthy", &text);
        let reached = self.traffic.since(began).served_by(&version.image());
        let text = format!("{reached} requests had reached version {}", version.number);
        self.timeline.moment("reached", &text);
        let weights = self.cluster.see(VIRTUAL_SERVICE);
        let stable = shop::weight(&weights, "checkout-stable") == Some(100);
        let promise = "after the abort the stable version serves all";
        self.timeline.promise(promise, stable, format!("stable weight 100: {stable}"));
        Ok(hash)
    }

    /// What goes wrong in real life: drift, a crash, an unrelated commit, deletions.
    async fn bad_luck(&mut self, good: Version, figures: &mut Figures) -> Result<()> {
        self.timeline.chapter("and then everything else happens");
        let from = Instant::now();
        let notes = ObjectRef::namespaced(Kind::CONFIG_MAP, NAMESPACE, NOTES.1);
        self.cluster.patch(&notes, &json!({ "data": { "note": "by hand" } }))?;
        self.note_is("first").await?;
        self.timeline.moment("self-heal", "an edit by hand is taken back");
        self.cluster.kill_controller().await;
        self.cluster.start_controller().await?;
        self.timeline.moment("restart", "the controller was cut off; another one leads");
        let files = [("shop/config.yaml", shop::note("second"))];
        let commit = self.push("change a note", &files).await?;
        self.note_is("second").await?;
        let text = format!("{commit}, unrelated: the rest of the application syncs");
        self.timeline.moment("commit", &text);
        self.delete("Orphan", good).await?;
        let text = "Rollout with --cascade=orphan: its ReplicaSets are adopted again";
        self.timeline.moment("delete", text);
        let calm = self.traffic.since(from);
        let (kept, seen) = (calm.failed() == 0, counts(&calm));
        self.timeline.promise("no request fails through all of that", kept, seen);
        let plain = Instant::now();
        self.delete("Background", good).await?;
        let storm = self.traffic.since(plain);
        figures.failed_while_deleted = storm.failed();
        let text = format!("Rollout plainly: {} requests failed until it was back", storm.failed());
        self.timeline.moment("delete", &text);
        let after = Instant::now();
        sleep(Duration::from_secs(1)).await;
        let calm = self.traffic.since(after);
        let (kept, seen) = (calm.failed() == 0, counts(&calm));
        let promise = "no request fails once the re-created Rollout is available";
        self.timeline.promise(promise, kept, seen);
        Ok(())
    }

    async fn delete(&self, how: &str, good: Version) -> Result<()> {
        let old = self.cluster.see(ROLLOUT)["metadata"]["uid"].clone();
        let rollout = ObjectRef::namespaced(Kind::ROLLOUT, NAMESPACE, NAME);
        self.cluster.delete(&rollout, how)?;
        let image = good.image();
        let again = |r: &Value| r["metadata"]["uid"] != old && shop::is_healthy(r, &image);
        self.cluster.wait("the Rollout is back and healthy", ROLLOUT, LONG, again).await?;
        self.reachable().await
    }

    /// Waits until requests reach a Pod: endpoints follow readiness a moment later, and here nothing else serves meanwhile.
    async fn reachable(&self) -> Result<()> {
        let service = &self.cluster.service;
        let reached = first_time(service, LONG, |world| {
            !traffic::ready_pods(world, "checkout-stable").is_empty()
        });
        reached.await.context("no endpoint of checkout-stable")?;
        Ok(())
    }

    /// After the quarantine, version 3 serves nobody, and the user is told why.
    async fn never_again(
        &mut self,
        bad: Version,
        since: Instant,
        version: u64,
        hash: &str,
    ) -> Result<()> {
        let record = self.traffic.since(since);
        let served = record.served_by(&bad.image());
        let seen = format!("{served} of {} requests", record.total());
        self.timeline.promise("version 3 never serves a request again", served == 0, seen);
        let young = self.cluster.pods_made_since(version, &bad.image())?;
        let promise = "no Pod of version 3 is made again";
        self.timeline.promise(promise, young == 0, format!("{young} Pods"));
        let text = self.sluice(&["app", "get", "shop", "--no-color"]).await?;
        let told = text.contains("Held back") && !hash.is_empty() && text.contains(hash);
        self.timeline.promise("`kubectl sluice app get` says why", told, "its words follow");
        for line in text.lines() {
            self.timeline.moment("", line);
        }
        Ok(())
    }

    fn moot(&mut self) {
        let app = self.cluster.see(APPLICATION);
        let entries = app["status"]["sluice"]["quarantine"].as_array().cloned().unwrap_or_default();
        let moot = !entries.is_empty() && entries.iter().all(|e| e["moot"] == true);
        let promise = "the quarantine of version 3 is moot, not forgotten";
        self.timeline.promise(promise, moot, format!("{} entries", entries.len()));
    }

    fn sums(&mut self, all: &Record, figures: &Figures) {
        let timeline = &mut self.timeline;
        timeline.figure("push to first canary Pod", median_and_max(&figures.first_pod));
        timeline.figure("failing sample to accepted weight 0", median_and_max(&figures.to_zero));
        timeline.figure("simulated requests", all.total().to_string());
        for (image, (total, failed)) in all.by_image() {
            timeline
                .figure(&format!("  answered by {image}"), format!("{total} ({failed} failed)"));
        }
        let deleted = figures.failed_while_deleted.to_string();
        timeline.figure("  failed while the Rollout was deleted", deleted);
        let requests: Vec<String> = figures.requests.iter().map(ToString::to_string).collect();
        timeline.figure("API requests of the controller per canary", requests.join(", "));
    }

    /// Pushes files and returns the commit's short id.
    async fn push(&self, message: &str, files: &[(&str, String)]) -> Result<String> {
        let files: Vec<_> = files.iter().map(|(path, text)| (*path, Some(text.as_str()))).collect();
        let commit = self.repository.push(message, &files).await?;
        Ok(commit.chars().take(7).collect())
    }

    async fn push_version(&self, version: Version, figures: &mut Figures) -> Result<()> {
        let files = [("shop/rollout.yaml", version.manifest())];
        let commit = self.push(&format!("version {}", version.number), &files).await?;
        self.timeline.moment("push", &commit);
        let image = version.image();
        let took = first_time(&self.cluster.service, LONG, |world| {
            let pods = world.api.objects(&Kind::POD, Some(NAMESPACE));
            pods.iter().any(|pod| shop::image(&pod["spec"]) == image)
        });
        let took = took.await.context("no canary Pod")?;
        figures.first_pod.push(took);
        let text = format!("first Pod {} ms after the push", took.as_millis());
        self.timeline.moment("canary", &text);
        Ok(())
    }

    async fn healthy(&self, version: Version) -> Result<()> {
        let image = version.image();
        let what = format!("the Rollout is healthy with {image}");
        self.cluster.wait(&what, ROLLOUT, LONG, |r| shop::is_healthy(r, &image)).await?;
        Ok(())
    }

    async fn note_is(&self, text: &str) -> Result<()> {
        let test = |c: &Value| c["data"]["note"] == text;
        self.cluster.wait("the note is as Git has it", NOTES, LONG, test).await?;
        Ok(())
    }

    async fn sluice(&self, words: &[&str]) -> Result<String> {
        let output = Command::new(&self.cli)
            .args(["--server", &self.cluster.url])
            .args(words)
            .env_remove("KUBECONFIG")
            .output()
            .await
            .with_context(|| format!("cannot run {}", self.cli.display()))?;
        let (said, wrong) = (&output.stdout, &output.stderr);
        Ok(format!("{}{}", String::from_utf8_lossy(said), String::from_utf8_lossy(wrong)))
    }
}

fn counts(record: &Record) -> String {
    format!("{} of {} failed", record.failed(), record.total())
}

#[expect(clippy::cast_precision_loss, reason = "counts of requests are small")]
fn percent(part: usize, all: usize) -> f64 {
    100.0 * part as f64 / all.max(1) as f64
}
