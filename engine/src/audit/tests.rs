//! Each law is broken once on purpose: an audit that finds nothing there would be worth nothing.

use chrono::{DateTime, Duration, Utc};
use serde_json::{Value, json};
use sluice_crds::object::Kind;

use super::{HistoryRevision, check_history};

/// A history in the making.
struct Story {
    at: DateTime<Utc>,
    version: u64,
    revisions: Vec<HistoryRevision>,
}

fn kind(name: &str) -> Kind {
    match name {
        "Rollout" => Kind::ROLLOUT,
        "ReplicaSet" => Kind::REPLICA_SET,
        "Service" => Kind::SERVICE,
        "VirtualService" => Kind::VIRTUAL_SERVICE,
        other => panic!("no kind {other}"),
    }
}

const OURS: &str = "sluice-rollout";

impl Story {
    /// Version `old` serves all, `new` has two of four Pods and 50 % at a step with that weight.
    fn new() -> Self {
        let at = DateTime::parse_from_rfc3339("2026-01-01T00:00:00Z").unwrap().to_utc();
        let mut story = Self { at, version: 0, revisions: Vec::new() };
        story.put(
            "user",
            &json!({
                "kind": "Rollout",
                "metadata": { "name": "web", "uid": "ro", "generation": 2 },
                "spec": {
                    "replicas": 4,
                    "strategy": { "canary": {
                        "canaryService": "canary", "stableService": "stable",
                        "trafficRouting": { "istio": { "virtualService": { "name": "web" } } },
                        "steps": [{ "setWeight": 50 }, { "pause": {} }, { "setWeight": 100 }],
                    } },
                },
                "status": {
                    "currentPodHash": "new", "stableRS": "old", "currentStepIndex": 1,
                    "observedGeneration": "2", "sluice": { "stableSeq": 1 },
                },
            }),
        );
        for (hash, pods) in [("old", 4), ("new", 2)] {
            story.put(
                "user",
                &json!({
                    "kind": "ReplicaSet",
                    "metadata": {
                        "name": format!("web-{hash}"), "uid": hash, "generation": 1,
                        "labels": { "rollouts-pod-template-hash": hash },
                        "ownerReferences": [
                            { "kind": "Rollout", "name": "web", "uid": "ro", "controller": true },
                        ],
                    },
                    "spec": { "replicas": pods, "template": {} },
                    "status": {
                        "replicas": pods, "readyReplicas": pods, "availableReplicas": pods,
                        "observedGeneration": 1,
                    },
                }),
            );
        }
        for (name, hash) in [("canary", "new"), ("stable", "old")] {
            story.put(
                "user",
                &json!({
                    "kind": "Service",
                    "metadata": { "name": name, "uid": name },
                    "spec": { "selector": { "rollouts-pod-template-hash": hash } },
                }),
            );
        }
        story.put(
            "user",
            &json!({
                "kind": "VirtualService",
                "metadata": {
                    "name": "web", "uid": "vs",
                    "annotations": { "epoch.sluice.dev/main": "lease:20:1" },
                },
                "spec": { "http": [{ "route": [
                    { "destination": { "host": "stable" }, "weight": 50 },
                    { "destination": { "host": "canary" }, "weight": 50 },
                ] }] },
            }),
        );
        story.at += Duration::minutes(5);
        story
    }

    fn put(&mut self, writer: &str, object: &Value) {
        self.version += 1;
        let mut object = object.clone();
        object["metadata"]["namespace"] = json!("shop");
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.revisions.push(HistoryRevision {
            kind: kind(object["kind"].as_str().unwrap()),
            object,
            deleted: false,
            at: self.at,
            writer: Some(writer.to_owned()),
        });
    }

    fn edit(mut self, writer: &str, name: (&str, &str), edit: impl FnOnce(&mut Value)) -> Self {
        self.at += Duration::seconds(10);
        let of =
            |r: &&HistoryRevision| r.kind.kind == name.0 && r.object["metadata"]["name"] == name.1;
        let mut object = self.revisions.iter().rev().find(of).unwrap().object.clone();
        edit(&mut object);
        self.put(writer, &object);
        self
    }

    fn weigh(self, writer: &str, canary: i64, stable: i64) -> Self {
        self.edit(writer, ("VirtualService", "web"), |vs| {
            vs["spec"]["http"][0]["route"][0]["weight"] = json!(stable);
            vs["spec"]["http"][0]["route"][1]["weight"] = json!(canary);
        })
    }

    fn size(self, writer: &str, hash: &str, pods: i64) -> Self {
        self.edit(writer, ("ReplicaSet", &format!("web-{hash}")), |rs| {
            rs["spec"]["replicas"] = json!(pods);
        })
    }

    fn status(self, writer: &str, edit: impl FnOnce(&mut Value)) -> Self {
        self.edit(writer, ("Rollout", "web"), |rollout| edit(&mut rollout["status"]))
    }

    fn aborted(self) -> Self {
        self.status("sluice-status", |status| {
            status["abort"] = json!(true);
            status["abortedAt"] = json!("2026-01-01T00:05:00Z");
            status["currentStepIndex"] = json!(0);
        })
    }

    fn ids(&self) -> Vec<&'static str> {
        let mut ids: Vec<_> = check_history(&self.revisions).into_iter().map(|v| v.id).collect();
        ids.dedup();
        ids
    }
}

#[track_caller]
fn check(story: Story, wanted: &[&str]) {
    assert_eq!(story.ids(), wanted, "{:#?}", check_history(&story.revisions));
}

#[test]
fn a_lawful_history_breaks_no_law() {
    check(Story::new(), &[]);
    check(Story::new().weigh(OURS, 0, 100), &[]);
    check(Story::new().aborted().weigh(OURS, 0, 100), &[]);
    // Somebody else's deeds are not ours to answer for.
    check(Story::new().weigh("kubectl", 90, 90), &[]);
    check(Story::new().size("kubectl", "new", 0), &[]);
}

#[test]
fn every_law_bites() {
    check(Story::new().weigh(OURS, 50, 40), &["S1"]);
    check(Story::new().weigh(OURS, 100, 0), &["S2", "S3"]);
    check(Story::new().size(OURS, "new", 1), &["S2", "S5"]);
    check(Story::new().size(OURS, "old", 3), &["S4"]);
    check(Story::new().weigh(OURS, 0, 100).size(OURS, "new", 0), &["S5"]);
    let switched = Story::new().edit(OURS, ("Service", "stable"), |service| {
        service["spec"]["selector"]["rollouts-pod-template-hash"] = json!("new");
    });
    check(switched, &["S2"]);
    let switched =
        Story::new().size("kubectl", "new", 0).edit(OURS, ("Service", "stable"), |service| {
            service["spec"]["selector"]["rollouts-pod-template-hash"] = json!("gone")
        });
    check(switched, &["S2", "S6", "S10"]);
    check(Story::new().aborted().weigh(OURS, 40, 60), &["S7"]);
    check(Story::new().aborted().size(OURS, "new", 1), &["S2", "S5", "S7"]);
    let promoted = |seq: i64| {
        move |status: &mut Value| {
            status["stableRS"] = json!("new");
            status["sluice"]["stableSeq"] = json!(seq);
            status["currentStepIndex"] = json!(3);
        }
    };
    check(Story::new().status("sluice-status", promoted(2)), &["S9"]);
    check(Story::new().aborted().status("sluice-status", promoted(2)), &["S8", "S9"]);
    check(
        Story::new().status("sluice-status", |status| status["currentStepIndex"] = json!(3)),
        &["S11"],
    );
    let stray = Story::new().edit(OURS, ("ReplicaSet", "web-new"), |rs| {
        rs["metadata"]["ownerReferences"] = json!([]);
        rs["metadata"]["annotations"] = json!({ "a": "b" });
    });
    assert!(stray.ids().contains(&"S16"));
    let back = Story::new().edit(OURS, ("VirtualService", "web"), |vs| {
        vs["metadata"]["annotations"]["epoch.sluice.dev/main"] = json!("lease:9:4");
    });
    check(back, &["S19"]);
    check(Story::new().weigh(OURS, 50, 50), &["S21"]);
    check(
        Story::new().status("sluice-status", |status| status["observedGeneration"] = json!("3")),
        &["S23"],
    );
    check(Story::new().weigh("sluice-sync", 20, 80), &["G6"]);
}

#[test]
fn a_service_of_two_rollouts_is_not_written() {
    let mut story = Story::new();
    let mut other = story.revisions[0].object.clone();
    other["metadata"]["name"] = json!("other");
    other["metadata"]["uid"] = json!("other");
    story.put("user", &other);
    let story = story.weigh("kubectl", 0, 100).edit(OURS, ("Service", "canary"), |service| {
        service["metadata"]["annotations"] = json!({ "x": "y" });
    });
    check(story, &["S17"]);
}
