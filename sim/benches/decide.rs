//! `decide` and the explorer against the clock, and `decide` against the allocator: run by `cargo xtask bench`.
//!
//! Views are those of a real update: a canary of ten steps whose Rollout has ten ReplicaSets, played on a simulated cluster.
//! Times are medians over many runs of each view. Ends with 1 if a limit is missed.
#![expect(clippy::print_stdout, reason = "a benchmark: its output is its purpose")]

use std::alloc::System;
use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sluice_crds::object::Kind;
use sluice_engine::plan::Reconciler;
use sluice_engine::rollout::RolloutReconciler;
use sluice_engine::view::RolloutView;
use sluice_sim::solo::Solo;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Longest median of a decision.
const DECISION: Duration = Duration::from_micros(20);
/// Most allocations of a decision that does nothing.
const ALLOCATIONS: usize = 100;
/// Revisions that the Rollout has been through.
const REVISIONS: usize = 10;
/// Runs of each view.
const RUNS: usize = 400;

fn main() -> ExitCode {
    let mut bench = Bench { is_missed: false };
    let views = played();
    bench.decisions(&views);
    bench.no_op(still(&views));
    if bench.is_missed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

struct Bench {
    is_missed: bool,
}

impl Bench {
    fn decisions(&mut self, views: &[RolloutView]) {
        let mut times: Vec<Duration> = views.iter().map(|view| median(view, RUNS / 4)).collect();
        times.sort();
        let middle = times[times.len() / 2];
        self.limit("decide, median of an update's views", middle, DECISION);
        let worst = times.last().copied().unwrap_or_default();
        let words = "decide, the slowest of an update's views";
        println!("{words:<44} {:>9.1} µs   ({} views)", micros(worst), views.len());
    }

    fn no_op(&mut self, view: &RolloutView) {
        self.limit("decide, nothing to do: median", median(view, RUNS), DECISION);
        let region = Region::new(ALLOCATOR);
        let decision = RolloutReconciler::decide(black_box(view));
        let change = region.change();
        drop(black_box(decision));
        let count = change.allocations + change.reallocations;
        let verdict = self.judged(count <= ALLOCATIONS);
        println!(
            "{:<44} {count:>9}      at most {ALLOCATIONS}  {verdict}",
            "decide, nothing to do: allocations"
        );
    }

    fn limit(&mut self, words: &str, time: Duration, most: Duration) {
        let verdict = self.judged(time <= most);
        println!(
            "{words:<44} {:>9.1} µs   at most {} µs  {verdict}",
            micros(time),
            most.as_micros()
        );
    }

    fn judged(&mut self, is_kept: bool) -> &'static str {
        self.is_missed |= !is_kept;
        if is_kept { "kept" } else { "MISSED" }
    }
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn median(view: &RolloutView, runs: usize) -> Duration {
    let time = || {
        let start = Instant::now();
        let decision = RolloutReconciler::decide(black_box(view));
        let time = start.elapsed();
        drop(black_box(decision));
        time
    };
    let mut times: Vec<Duration> = (0..runs).map(|_| time()).collect();
    times.sort();
    times[times.len() / 2]
}

/// Plays the Rollout through its revisions, and returns what was decided on during the last update.
fn played() -> Vec<RolloutView> {
    let mut solo = Solo::new("web", manifests()).expect("the manifests are accepted");
    let mut views = Vec::new();
    for revision in 1..=REVISIONS {
        solo.set_image(&format!("demo:{revision}"));
        views = solo.run(|_| false).expect("nobody else writes");
    }
    let sets = solo.world.api.objects(&Kind::REPLICA_SET, None).len();
    assert_eq!(sets, REVISIONS, "each revision has its ReplicaSet");
    views
}

/// Returns a view in mid-update on which nothing is to be done: what an idle canary costs.
fn still(views: &[RolloutView]) -> &RolloutView {
    let is_still = |view: &&RolloutView| {
        let decision = RolloutReconciler::decide(view);
        let status = &view.rollout.status;
        decision.plan.is_empty()
            && decision.status_write.is_none()
            && status.pause_conditions.iter().flatten().next().is_some()
            && status.current_step_index.unwrap_or(0) > 0
    };
    views.iter().find(is_still).expect("a pause waits for its end")
}

fn manifests() -> Vec<Value> {
    let service = |name: &str| {
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": { "name": name },
            "spec": { "selector": { "app": "web" }, "ports": [{ "port": 80 }] },
        })
    };
    let steps: Vec<Value> = (1..=5)
        .flat_map(|step| {
            [json!({ "setWeight": step * 20 - 10 }), json!({ "pause": { "duration": "10s" } })]
        })
        .collect();
    let route = json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": { "name": "web" },
        "spec": { "hosts": ["web"], "http": [{ "name": "primary", "route": [
            { "destination": { "host": "web-stable" }, "weight": 100 },
            { "destination": { "host": "web-canary" }, "weight": 0 },
        ] }] },
    });
    vec![service("web-stable"), service("web-canary"), route, rollout(&steps)]
}

/// A Pod template of ordinary size.
fn rollout(steps: &[Value]) -> Value {
    let container = json!({
        "name": "web",
        "image": "demo:0",
        "ports": [{ "name": "http", "containerPort": 8080 }, { "name": "metrics", "containerPort": 9090 }],
        "env": [
            { "name": "LOG_LEVEL", "value": "info" },
            { "name": "POOL", "value": "20" },
            { "name": "TOKEN", "valueFrom": { "secretKeyRef": { "name": "web", "key": "token" } } },
        ],
        "resources": { "requests": { "cpu": "500m", "memory": "512Mi" }, "limits": { "memory": "1Gi" } },
        "readinessProbe": { "httpGet": { "path": "/ready", "port": "http" }, "periodSeconds": 5 },
        "livenessProbe": { "httpGet": { "path": "/live", "port": "http" }, "periodSeconds": 10 },
        "volumeMounts": [{ "name": "config", "mountPath": "/etc/web" }],
    });
    json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "metadata": { "name": "web" },
        "spec": {
            "replicas": 5,
            "revisionHistoryLimit": 10,
            "selector": { "matchLabels": { "app": "web" } },
            "template": {
                "metadata": { "labels": { "app": "web" }, "annotations": { "prometheus.io/scrape": "true" } },
                "spec": {
                    "containers": [container],
                    "serviceAccountName": "web",
                    "volumes": [{ "name": "config", "configMap": { "name": "web" } }],
                },
            },
            "strategy": { "canary": {
                "canaryService": "web-canary",
                "stableService": "web-stable",
                "trafficRouting": { "istio": { "virtualService": { "name": "web", "routes": ["primary"] } } },
                "steps": steps,
            } },
        },
    })
}
