//! A Rollout that comes from Git.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use chrono::Utc;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use sluice_e2e::bed::{Bed, git::Repository, ports, process::until};

use crate::{
    oracle::Oracle,
    stage::{LONG, Router, Stage, Web, api, canary_weight, image_of, is_phase},
};

const HOLD: &str = "[{setWeight: 20}, {pause: {}}, {setWeight: 60}, {pause: {duration: 1s}}]";

/// A Rollout in a repository, with an Application that follows it.
struct Follower {
    stage: Stage,
    web: Web,
    repository: Repository,
}

impl Follower {
    async fn given(bed: Arc<Bed>, name: &str, steps: &str) -> Result<Self> {
        let repository = bed.git.create(name).await?;
        let stage = Stage::new(bed, name).await?;
        let this = Self { stage, web: Web::new(Router::Hosts, steps), repository };
        this.push("first", "demo:v1", &this.web.surroundings()).await?;
        Ok(this)
    }

    async fn push(&self, message: &str, image: &str, surroundings: &str) -> Result<()> {
        let text = |text: &str| {
            text.replace("$HOST", &self.stage.scene.host)
                .replace("$GATEWAY_PORT", &ports::GATEWAY.to_string())
        };
        let (rollout, rest) = (text(&self.web.manifest(image)), text(surroundings));
        let note = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: note}}\ndata: {{note: '{message}'}}\n"
        );
        let files = [
            ("app/rollout.yaml", Some(rollout.as_str())),
            ("app/rest.yaml", Some(rest.as_str())),
            ("app/note.yaml", Some(note.as_str())),
        ];
        self.repository.push(message, &files).await?;
        Ok(())
    }

    async fn followed(&self) -> Result<()> {
        self.followed_with(&json!({ "prune": true, "selfHeal": true })).await
    }

    async fn followed_with(&self, automated: &Value) -> Result<()> {
        self.stage.given_application(&self.repository, automated).await?;
        self.stage
            .then("the Rollout is there", "Rollout", "web", |r| image_of(r) == "demo:v1")
            .await?;
        self.stage.then_healthy("web", "demo:v1").await?;
        Ok(())
    }

    async fn then_note(&self, message: &str) -> Result<()> {
        let test = |c: &Value| c["data"]["note"] == message;
        self.stage.then("the note is as Git has it", "ConfigMap", "note", test).await?;
        Ok(())
    }
}

pub(crate) async fn weights_in_git_stay_out_of_a_canary_and_retries_come_in(
    bed: Arc<Bed>,
) -> Result<()> {
    let app = Follower::given(bed, "git-weights", HOLD).await?;
    app.followed().await?;
    app.push("version 2", "demo:v2", &app.web.surroundings()).await?;
    app.stage.then_weight("web", 20).await?;
    app.stage.then_phase("web", "Paused").await?;

    let edited = app.web.surroundings().replace("weight: 100", "weight: 55");
    let edited = edited.replace("weight: 0", "weight: 45");
    let edited = edited.replace("- name: primary", "- name: primary\n      retries: {attempts: 7}");
    app.push("weights and retries", "demo:v2", &edited).await?;
    let arrived = |v: &Value| v["spec"]["http"][0]["retries"]["attempts"] == 7;
    app.stage.then("the retries arrive", "VirtualService", "web", arrived).await?;
    app.then_note("weights and retries").await?;
    let route = app.stage.see("VirtualService", "web").await?;
    ensure!(canary_weight(&route) == 20, "the weight is {}", canary_weight(&route));
    app.stage.when_user_says(&["promote", "web"]).await?;
    app.stage.then_healthy("web", "demo:v2").await?;

    let weights = app.stage.weights("web", app.stage.since).await?;
    ensure!(weights == [20, 60, 100, 0], "the weights were {weights:?}");
    let route = app.stage.see("VirtualService", "web").await?;
    ensure!(arrived(&route), "the retries are gone");
    app.stage.then_laws_held().await
}

pub(crate) async fn an_edit_of_retries_by_hand_survives_every_write_without_self_heal(
    bed: Arc<Bed>,
) -> Result<()> {
    let app = Follower::given(bed, "git-by-hand", HOLD).await?;
    app.followed_with(&json!({ "prune": true, "selfHeal": false })).await?;
    app.push("version 2", "demo:v2", &app.web.surroundings()).await?;
    app.stage.then_weight("web", 20).await?;
    app.stage.then_phase("web", "Paused").await?;

    let edit = json!([{ "op": "add", "path": "/spec/http/0/retries", "value": { "attempts": 7 } }]);
    app.stage.patch("VirtualService", "web", &edit).await?;
    app.stage.when_user_says(&["promote", "web"]).await?;
    app.stage.then_healthy("web", "demo:v2").await?;

    let weights = app.stage.weights("web", app.stage.since).await?;
    ensure!(weights == [20, 60, 100, 0], "the weights were {weights:?}");
    let history = app.stage.scene.bed.recorder.history("git-by-hand")?;
    let mut routes = history.iter().filter(|r| r.kind == "VirtualService");
    let attempts = |v: &Value| v["spec"]["http"][0]["retries"]["attempts"] == 7;
    routes.find(|r| attempts(&r.object)).context("the edit was not recorded")?;
    let after: Vec<_> = routes.collect();
    ensure!(after.len() >= 3, "only {} writes of the route after the edit", after.len());
    let lost = after.iter().find(|r| !attempts(&r.object));
    ensure!(
        lost.is_none(),
        "the edit was lost at weight {:?}",
        lost.map(|r| canary_weight(&r.object))
    );
    app.stage.then_laws_held().await
}

pub(crate) async fn what_git_drops_is_pruned_and_nothing_else(bed: Arc<Bed>) -> Result<()> {
    let app = Follower::given(bed, "git-prune", HOLD).await?;
    let map = |name: &str, more: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}{more}}}\ndata: {{a: b}}\n"
        )
    };
    let keep = ", annotations: {argocd.argoproj.io/sync-options: Prune=false}";
    let (dropped, kept) = (map("dropped", ""), map("kept", keep));
    let files =
        [("app/dropped.yaml", Some(dropped.as_str())), ("app/kept.yaml", Some(kept.as_str()))];
    app.repository.push("two more", &files).await?;
    app.stage.scene.given(&map("foreign", "")).await?;
    app.followed().await?;
    let is_there = |c: &Value| c["data"]["a"] == "b";
    for name in ["dropped", "kept"] {
        app.stage.then("Git's object is there", "ConfigMap", name, is_there).await?;
    }

    app.repository
        .push("drop both", &[("app/dropped.yaml", None), ("app/kept.yaml", None)])
        .await?;
    let maps = api(&app.stage.scene.bed, "ConfigMap", "git-prune");
    until("what Git dropped is gone", LONG, || async {
        Ok(maps.get_opt("dropped").await?.is_none().then_some(()))
    })
    .await?;
    app.push("another note", "demo:v1", &app.web.surroundings()).await?;
    app.then_note("another note").await?;

    for name in ["kept", "foreign"] {
        app.stage.see("ConfigMap", name).await?;
    }
    app.stage.then_laws_held().await
}

pub(crate) async fn a_commit_that_does_not_render_changes_nothing(bed: Arc<Bed>) -> Result<()> {
    let app = Follower::given(bed, "git-broken", HOLD).await?;
    app.followed().await?;
    let since = Utc::now();

    let broken = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: [unclosed\n";
    let note = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: note}\ndata: {note: half}\n";
    let files = [("app/broken.yaml", Some(broken)), ("app/note.yaml", Some(note))];
    app.repository.push("half a manifest", &files).await?;
    let name = &app.stage.scene.namespace;
    let applications = api(&app.stage.scene.bed, "Application", "argocd");
    until("the application says what is wrong", LONG, || async {
        let application = serde_json::to_value(applications.get(name).await?)?;
        let conditions = application["status"]["conditions"].as_array().cloned();
        let error = |c: &Value| {
            c["type"] == "ComparisonError" && c["message"].to_string().contains("broken.yaml")
        };
        Ok(conditions.unwrap_or_default().iter().any(error).then_some(()))
    })
    .await?;
    let mut writes = app.stage.writes(since)?;
    writes.retain(|r| r.manager() == Some("sluice-sync"));
    ensure!(writes.is_empty(), "something was written: {writes:?}");
    app.repository.push("whole again", &[("app/broken.yaml", None)]).await?;
    app.then_note("half").await?;
    app.stage.then_laws_held().await
}

pub(crate) async fn syncs_ten_times_a_second_leave_the_weights_to_the_plan(
    bed: Arc<Bed>,
) -> Result<()> {
    let pause = "{pause: {duration: 2s}}";
    let steps = format!("[{{setWeight: 20}}, {pause}, {{setWeight: 60}}, {pause}]");
    let app = Follower::given(bed, "git-storm", &steps).await?;
    app.followed().await?;
    let applications = api(&app.stage.scene.bed, "Application", "argocd");
    let storm = tokio::spawn(async move {
        let operation =
            json!({ "operation": { "initiatedBy": { "username": "storm" }, "sync": {} } });
        let mut ticks = tokio::time::interval(Duration::from_millis(100));
        loop {
            ticks.tick().await;
            let patch = Patch::Merge(&operation);
            let asked = applications.patch("git-storm", &PatchParams::default(), &patch).await;
            if let Err(error) = asked {
                return error;
            }
        }
    });

    app.push("version 2", "demo:v2", &app.web.surroundings()).await?;
    let done = app.stage.then_healthy("web", "demo:v2").await;
    if storm.is_finished() {
        return Err(storm.await?).context("the storm ended early");
    }
    storm.abort();
    done?;

    let weights = app.stage.weights("web", app.stage.since).await?;
    ensure!(weights == [20, 60, 100, 0], "the weights were {weights:?}");
    app.stage.then_laws_held().await
}

pub(crate) async fn a_bad_commit_is_never_applied_again(bed: Arc<Bed>) -> Result<()> {
    let steps = "[{setWeight: 20}, {analysis: {templates: [{templateName: judge}]}}]";
    let app = Follower::given(bed, "git-bad", steps).await?;
    let oracle = Oracle::start(Some(1.0)).await?;
    app.stage.scene.given(&oracle.template()).await?;
    app.followed().await?;
    app.push("bad", "demo:v2", &app.web.surroundings()).await?;
    app.stage.then_phase("web", "Degraded").await?;
    app.stage.then_weight("web", 0).await?;
    let held = |r: &Value| !crate::stage::is_phase(r, "Progressing");
    app.stage.then("the Rollout is at rest", "Rollout", "web", held).await?;

    let since = Utc::now();
    app.push("something else", "demo:v2", &app.web.surroundings()).await?;
    app.then_note("something else").await?;
    let patch = json!({ "operation": { "sync": {} } });
    let applications = api(&app.stage.scene.bed, "Application", "argocd");
    applications.patch("git-bad", &PatchParams::default(), &Patch::Merge(&patch)).await?;
    app.push("and more", "demo:v2", &app.web.surroundings()).await?;
    app.then_note("and more").await?;
    let weights = app.stage.weights("web", since).await?;
    ensure!(weights.is_empty(), "the bad version got weights {weights:?}");
    oracle.say(Some(0.0));
    app.push("good", "demo:v3", &app.web.surroundings()).await?;
    app.stage.then_healthy("web", "demo:v3").await?;

    let history = app.stage.scene.bed.recorder.history("git-bad")?;
    let bad = history.iter().filter(|r| r.kind == "Rollout" && r.seen > since);
    let again = bad
        .skip_while(|r| image_of(&r.object) == "demo:v2")
        .find(|r| image_of(&r.object) == "demo:v2");
    ensure!(again.is_none(), "the bad version was applied again");
    history
        .iter()
        .find(|r| r.kind == "Rollout" && is_phase(&r.object, "Healthy"))
        .context("seen")?;
    app.stage.then_laws_held().await
}
