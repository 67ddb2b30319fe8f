//! Requests, live objects and Git: each law is broken once on purpose, and kept beside.

use chrono::{DateTime, Duration, Utc};
use serde_json::{Value, json};
use sluice_crds::object::{Kind, ObjectRef};
use sluice_engine::audit::HistoryRequest;

use crate::audit::{Commit, Evidence, Revision, check_evidence, check_history};
use crate::tests::world::{V1, V2};

const URL: &str = "http://git/shop.git";
const ELSEWHERE: &str = "3333333333333333333333333333333333333333";

/// An application `shop` with one ConfigMap in Git, and what happens to it.
struct Story {
    at: DateTime<Utc>,
    history: Vec<Revision>,
    requests: Vec<HistoryRequest>,
    commits: Vec<Commit>,
}

fn note(text: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "note" },
        "data": { "note": text } })
}

fn commit(id: &str, manifests: Vec<Value>) -> Commit {
    let (url, path) = (URL.to_owned(), "app".to_owned());
    Commit { url, path, id: id.to_owned(), manifests: Ok(manifests) }
}

impl Story {
    /// `V1` is applied, and `V2` is in Git.
    fn new() -> Self {
        let at = DateTime::parse_from_rfc3339("2026-01-01T00:00:00Z").unwrap().to_utc();
        let commits = vec![commit(V1, vec![note("one")]), commit(V2, vec![note("two")])];
        let story = Self { at, history: Vec::new(), requests: Vec::new(), commits };
        story.app(|status| *status = operation("Running", 1, V1)).applied("one").app(|status| {
            *status = operation("Succeeded", 1, V1);
        })
    }

    fn seconds(mut self, seconds: i64) -> Self {
        self.at += Duration::seconds(seconds);
        self
    }

    fn put(mut self, kind: Kind, namespace: &str, body: Value) -> Self {
        self.at += Duration::seconds(1);
        let name = body["metadata"]["name"].as_str().unwrap();
        let object = ObjectRef::namespaced(kind, namespace, name);
        self.history.push(Revision { object, body: Some(body), at: self.at });
        self
    }

    fn last(&self, kind: &str) -> Option<Value> {
        self.history.iter().rev().find(|r| r.object.kind.kind == kind)?.body.clone()
    }

    fn app(self, edit: impl FnOnce(&mut Value)) -> Self {
        let first = json!({
            "metadata": { "name": "shop", "namespace": "argocd" },
            "spec": { "destination": { "namespace": "shop" },
                "source": { "repoURL": URL, "path": "app", "targetRevision": "main" } },
            "status": {},
        });
        let mut app = self.last("Application").unwrap_or(first);
        edit(&mut app["status"]);
        self.put(Kind::APPLICATION, "argocd", app)
    }

    /// Sync writes the ConfigMap.
    fn applied(self, text: &str) -> Self {
        self.written("sluice-sync", text, json!({}))
    }

    fn written(self, manager: &str, text: &str, more: Value) -> Self {
        let mut annotations =
            json!({ "argocd.argoproj.io/tracking-id": "shop:/ConfigMap:shop/note" });
        annotations.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let mut body = note(text);
        body["metadata"] = json!({
            "name": "note", "namespace": "shop", "annotations": annotations,
            "creationTimestamp": "2026-01-01T00:00:02Z",
            "managedFields": [{ "manager": manager, "operation": "Apply",
                "time": self.at.to_rfc3339() }],
        });
        self.put(Kind::CONFIG_MAP, "shop", body)
    }

    fn asked(mut self, verb: &str, name: &str, code: u16) -> Self {
        self.at += Duration::seconds(1);
        let manager = if verb == "create" { "sluice-sync" } else { "" };
        self.requests.push(HistoryRequest {
            verb: verb.to_owned(),
            manager: manager.to_owned(),
            resource: "configmaps".to_owned(),
            namespace: if name.is_empty() { String::new() } else { "shop".to_owned() },
            name: name.to_owned(),
            code,
            received: self.at,
            answered: self.at,
            ..HistoryRequest::default()
        });
        self
    }

    fn with(mut self, commit: Commit) -> Self {
        self.commits.retain(|known| known.id != commit.id);
        self.commits.push(commit);
        self
    }

    fn ids(&self) -> Vec<&'static str> {
        let evidence =
            Evidence { history: &self.history, requests: &self.requests, commits: &self.commits };
        let mut found = check_history(&self.history);
        found.extend(check_evidence(&evidence));
        found.into_iter().map(|violation| violation.id).collect()
    }
}

fn operation(phase: &str, start: u32, commit: &str) -> Value {
    let mut state = json!({
        "operation": { "sync": { "revision": commit } },
        "phase": phase,
        "startedAt": format!("2026-01-01T00:00:{start:02}Z"),
        "syncResult": { "revision": commit },
    });
    if phase != "Running" {
        state["finishedAt"] = state["startedAt"].clone();
    }
    json!({ "operationState": state })
}

fn runs(start: u32, commit: &'static str) -> impl FnOnce(&mut Value) {
    move |status| *status = operation("Running", start, commit)
}

fn ends(start: u32, commit: &'static str) -> impl FnOnce(&mut Value) {
    move |status| *status = operation("Succeeded", start, commit)
}

fn fails(status: &mut Value) {
    status["conditions"] = json!([{ "type": "ComparisonError", "message": "Git is down" }]);
}

fn quarantined(status: &mut Value) {
    status["sluice"] = json!({ "quarantine": [{
        "group": "argoproj.io", "kind": "Rollout", "namespace": "shop", "name": "web",
        "templateHash": "bad", "revision": V2, "replacedBy": V1,
    }] });
}

#[track_caller]
fn check(cases: Vec<(&str, Story, &[&str])>) {
    let wrong: Vec<_> = cases
        .into_iter()
        .map(|(what, story, wanted)| (what, story.ids(), wanted))
        .filter(|(_, found, wanted)| found != wanted)
        .collect();
    assert!(wrong.is_empty(), "found and wanted: {wrong:#?}");
}

#[test]
fn a_deletion_needs_a_tracking_id_and_a_commit_without_the_object() {
    let emptied = || Story::new().with(commit(V2, Vec::new())).app(runs(20, V2));
    let mine = || emptied().asked("delete", "note", 200).app(ends(20, V2));
    let told = |more: Value| {
        Story::new()
            .with(commit(V2, Vec::new()))
            .written("kubectl", "one", more)
            .app(runs(20, V2))
            .asked("delete", "note", 200)
    };
    let kept = json!({ "argocd.argoproj.io/sync-options": "Prune=false" });
    let other = json!({ "argocd.argoproj.io/tracking-id": "shop:/ConfigMap:shop/another" });
    let gone = emptied().app(|_| {}).asked("delete", "strange", 200);
    let broken = Commit { manifests: Err("line 3".to_owned()), ..commit(V2, Vec::new()) };
    check(vec![
        ("what Git dropped", mine(), &[]),
        ("refused", emptied().asked("delete", "strange", 403), &[]),
        ("what Git wants", Story::new().app(runs(20, V2)).asked("delete", "note", 200), &["G1"]),
        ("what nobody ever saw", gone, &["G1"]),
        ("Prune=false", told(kept), &["G1"]),
        ("a copied tracking id", told(other), &["G1"]),
        ("of a broken commit", emptied().with(broken).asked("delete", "note", 200), &["G1"]),
    ]);
}

#[test]
fn nothing_is_written_without_a_complete_picture() {
    let broken = Commit { manifests: Err("line 3".to_owned()), ..commit(V2, Vec::new()) };
    let synced = || Story::new().app(runs(20, V2)).applied("two").app(ends(20, V2));
    let first = |status: &mut Value| {
        *status = operation("Succeeded", 20, V2);
    };
    check(vec![
        ("a sync", synced(), &[]),
        ("a sync whose status comes after", Story::new().applied("two").app(first), &[]),
        (
            "a write outside of a sync",
            Story::new().applied("two").app(|status| status["x"] = json!(1)).app(fails),
            &["G3"],
        ),
        (
            "somebody else's write",
            Story::new().written("kubectl", "two", json!({})).app(fails),
            &[],
        ),
        (
            "a write under an error",
            Story::new().app(fails).app(runs(20, V2)).app(fails).applied("two").app(|status| {
                fails(status);
                status["sync"] = json!({ "status": "Unknown" });
            }),
            &["G3"],
        ),
        (
            "an error that went away",
            Story::new().app(fails).app(runs(20, V2)).applied("two").app(ends(20, V2)),
            &[],
        ),
        ("a commit that does not render", synced().with(broken), &["G3", "G4"]),
        (
            "there for long and created",
            Story::new().seconds(60).asked("create", "note", 409),
            &["G3"],
        ),
        ("there just now and created", Story::new().asked("create", "note", 409), &[]),
        (
            "deleted while a list fails",
            Story::new()
                .with(commit(V2, Vec::new()))
                .asked("list", "", 503)
                .app(runs(20, V2))
                .asked("delete", "note", 200),
            &["G3"],
        ),
        (
            "deleted once the list is back",
            Story::new()
                .with(commit(V2, Vec::new()))
                .asked("list", "", 503)
                .asked("list", "", 200)
                .app(runs(20, V2))
                .asked("delete", "note", 200),
            &[],
        ),
    ]);
}

#[test]
fn all_of_a_sync_comes_from_one_commit() {
    let running = || Story::new().app(runs(20, V2));
    check(vec![
        ("its commit", running().applied("two").app(ends(20, V2)), &[]),
        ("another commit", running().written("kubectl", "x", json!({})).applied("one"), &["G4"]),
        (
            "the healthy commit, restored",
            running()
                .applied("two")
                .app(ends(20, V2))
                .app(quarantined)
                .applied("one")
                .app(|status| status["x"] = json!(1)),
            &[],
        ),
        (
            "a commit that Git does not have",
            Story::new().app(runs(20, ELSEWHERE)).applied("two"),
            &["G4"],
        ),
        (
            "an object that the commit lacks",
            running().with(commit(V2, Vec::new())).applied("two"),
            &["G4"],
        ),
        ("a name for a commit", Story::new().app(runs(20, "main")), &["G4"]),
        ("two commits in one operation", running().app(runs(20, V1)), &["G4"]),
        (
            "two operations in one second",
            running().applied("two").app(ends(20, V2)).app(runs(20, V1)),
            &[],
        ),
    ]);
}
