//! A history in the making.

use chrono::{DateTime, Duration, Utc};
use serde_json::{Value, json};
use sluice_crds::object::Kind;

use crate::audit::{HistoryRequest, HistoryRevision, check_history, check_requests};
use crate::plan::Violation;

#[derive(Clone)]
pub(super) struct Story {
    pub(super) at: DateTime<Utc>,
    version: u64,
    pub(super) revisions: Vec<HistoryRevision>,
    pub(super) requests: Vec<HistoryRequest>,
}

fn kind(name: &str) -> Kind {
    match name {
        "Rollout" => Kind::ROLLOUT,
        "ReplicaSet" => Kind::REPLICA_SET,
        "Service" => Kind::SERVICE,
        "VirtualService" => Kind::VIRTUAL_SERVICE,
        "DestinationRule" => Kind::DESTINATION_RULE,
        "AnalysisRun" => Kind::ANALYSIS_RUN,
        other => panic!("no kind {other}"),
    }
}

pub(super) const OURS: &str = "sluice-rollout";
pub(super) const STATUS: &str = "sluice-status";

impl Story {
    /// Version `old` serves all, `new` has two of four Pods and 50 % at a step with that weight.
    pub(super) fn new() -> Self {
        let at = DateTime::parse_from_rfc3339("2026-01-01T00:00:00Z").unwrap().to_utc();
        let mut story = Self { at, version: 0, revisions: Vec::new(), requests: Vec::new() };
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
                        "steps": [
                            { "setWeight": 50 }, { "pause": {} },
                            { "analysis": { "templates": [{ "templateName": "judge" }] } },
                            { "pause": { "duration": "1m" } },
                        ],
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
        story.network();
        story.at += Duration::minutes(5);
        story
    }

    fn network(&mut self) {
        for (name, hash) in [("canary", "new"), ("stable", "old")] {
            self.put(
                "user",
                &json!({
                    "kind": "Service",
                    "metadata": { "name": name, "uid": name },
                    "spec": { "selector": { "rollouts-pod-template-hash": hash } },
                }),
            );
        }
        self.put(
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
    }

    pub(super) fn put(&mut self, writer: &str, object: &Value) {
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

    pub(super) fn edit(
        mut self,
        writer: &str,
        name: (&str, &str),
        edit: impl FnOnce(&mut Value),
    ) -> Self {
        self.at += Duration::seconds(10);
        let of =
            |r: &&HistoryRevision| r.kind.kind == name.0 && r.object["metadata"]["name"] == name.1;
        let mut object = self.revisions.iter().rev().find(of).unwrap().object.clone();
        edit(&mut object);
        self.put(writer, &object);
        self
    }

    pub(super) fn weigh(self, writer: &str, canary: i64, stable: i64) -> Self {
        self.edit(writer, ("VirtualService", "web"), |vs| {
            vs["spec"]["http"][0]["route"][0]["weight"] = json!(stable);
            vs["spec"]["http"][0]["route"][1]["weight"] = json!(canary);
        })
    }

    pub(super) fn size(self, writer: &str, hash: &str, pods: i64) -> Self {
        self.edit(writer, ("ReplicaSet", &format!("web-{hash}")), |rs| {
            rs["spec"]["replicas"] = json!(pods);
        })
    }

    pub(super) fn status(self, writer: &str, edit: impl FnOnce(&mut Value)) -> Self {
        self.edit(writer, ("Rollout", "web"), |rollout| edit(&mut rollout["status"]))
    }

    pub(super) fn aborted(self) -> Self {
        self.status("sluice-status", |status| {
            status["abort"] = json!(true);
            status["abortedAt"] = json!("2026-01-01T00:05:00Z");
            status["currentStepIndex"] = json!(0);
        })
    }

    /// The status at a step, with what a pause there needs to be over.
    pub(super) fn at_step(self, index: i64) -> Self {
        self.status("user", |status| {
            status["currentStepIndex"] = json!(index);
            status["controllerPause"] = json!(true);
        })
    }

    /// A run of the analysis step, or in the background.
    pub(super) fn run(mut self, name: &str, index: Option<u32>, phase: &str) -> Self {
        let mut run = json!({
            "kind": "AnalysisRun",
            "metadata": {
                "name": name, "uid": name, "generation": 1,
                "creationTimestamp": "2026-01-01T00:04:00Z",
                "labels": { "rollouts-pod-template-hash": "new", "rollout-type": "Background" },
                "annotations": { "sluice.dev/attempt": "1" },
                "ownerReferences": [
                    { "kind": "Rollout", "name": "web", "uid": "ro", "controller": true },
                ],
            },
            "spec": { "metrics": [{ "name": "errors", "failureLimit": 1, "provider": {} }] },
            "status": { "phase": phase, "metricResults": [{
                "name": "errors", "phase": phase, "count": 1, "successful": 1,
                "measurements": [{ "phase": "Successful", "value": "[0.01]" }],
            }] },
        });
        if let Some(index) = index {
            run["metadata"]["labels"]["rollout-type"] = json!("Step");
            run["metadata"]["labels"]["step-index"] = json!(index.to_string());
        }
        self.at += Duration::seconds(10);
        self.put(STATUS, &run);
        self
    }

    /// Version `new` is stable and nothing is left to do.
    pub(super) fn at_rest(self) -> Self {
        let sized = |pods: i64| {
            move |set: &mut Value| {
                set["spec"]["replicas"] = json!(pods);
                for field in ["replicas", "readyReplicas", "availableReplicas"] {
                    set["status"][field] = json!(pods);
                }
            }
        };
        self.at_step(3)
            .weigh("user", 100, 0)
            .edit("user", ("ReplicaSet", "web-new"), sized(4))
            .edit("user", ("ReplicaSet", "web-old"), sized(0))
            .status(STATUS, |status| {
                status["stableRS"] = json!("new");
                status["currentStepIndex"] = json!(4);
                status["phase"] = json!("Healthy");
                status["sluice"]["stableSeq"] = json!(2);
            })
    }

    /// Time passes.
    pub(super) fn after(mut self, seconds: i64) -> Self {
        self.at += Duration::seconds(seconds);
        self
    }

    /// The last revision was asked for by `process`.
    pub(super) fn by(mut self, process: &str) -> Self {
        let last = self.revisions.last().unwrap().clone();
        let verb = "patch";
        let name = last.object["metadata"]["name"].as_str().unwrap();
        let mut request = self.request(&last.kind, name, verb, 200);
        request.process = process.to_owned();
        request.manager = last.writer.unwrap_or_default();
        self.requests.push(request);
        self
    }

    pub(super) fn asked(mut self, kind: &Kind, name: &str, verb: &str, code: u16) -> Self {
        let request = self.request(kind, name, verb, code);
        self.requests.push(request);
        self
    }

    fn request(&self, kind: &Kind, name: &str, verb: &str, code: u16) -> HistoryRequest {
        HistoryRequest {
            verb: verb.to_owned(),
            group: kind.group.to_string(),
            resource: kind.plural.to_string(),
            namespace: "shop".to_owned(),
            name: name.to_owned(),
            code,
            received: self.at,
            answered: self.at,
            ..HistoryRequest::default()
        }
    }

    /// The stamp of a term on the route.
    pub(super) fn stamped(self, acquired: u32, n: u32) -> Self {
        self.edit(OURS, ("VirtualService", "web"), |vs| {
            let stamp = format!("lease:{acquired}:{n}");
            vs["metadata"]["annotations"]["epoch.sluice.dev/main"] = json!(stamp);
        })
    }

    pub(super) fn found(&self) -> Vec<Violation> {
        let mut found = check_history(&self.revisions);
        found.extend(check_requests(&self.revisions, &self.requests));
        found
    }

    pub(super) fn ids(&self) -> Vec<&'static str> {
        let mut ids: Vec<_> = self.found().into_iter().map(|v| v.id).collect();
        ids.dedup();
        ids
    }
}
