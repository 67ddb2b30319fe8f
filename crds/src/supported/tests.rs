use serde_json::json;

use super::*;
use crate::crd::{DEFINITIONS, fields};

#[test]
fn every_field_of_every_kind_has_a_row() {
    let mut missing = Vec::new();
    for definition in &DEFINITIONS {
        for field in fields(&definition.schema()) {
            if feature(&definition.kind.kind, &field.path).is_none() {
                missing.push(format!("{} {}", definition.kind.kind, field.path));
            }
        }
    }
    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn every_row_is_about_a_field() {
    let mut idle = Vec::new();
    for row in FEATURES.iter().flat_map(|rows| rows.iter()) {
        let schema = crate::crd::definition(row.kind).unwrap().schema();
        let known = fields(&schema);
        for path in row.paths {
            let base = path.trim_end_matches(".**");
            if !known.iter().any(|field| field.path == base) {
                idle.push(format!("{} {path}", row.kind));
            }
        }
    }
    assert_eq!(idle, Vec::<String>::new());
}

#[test]
fn the_committed_document_is_the_generated_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/compatibility.md");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        text == document(),
        "docs/compatibility.md is not current: run `cargo run -p sluice-crds --bin crdgen`"
    );
}

fn check(kind: &str, spec: Value, expected: &[&str]) {
    let found: Vec<String> = not_acted_on(kind, &json!({ "spec": spec }))
        .iter()
        .map(|(_, problem)| problem.to_string())
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn what_is_not_acted_on_is_named_once_at_its_uppermost_field() {
    check(
        "Rollout",
        json!({
            "strategy": { "canary": {
                "dynamicStableScale": true,
                "pingPong": { "pingService": "a", "pongService": "b" },
                "trafficRouting": { "maxTrafficWeight": 100, "istio": { "virtualServices": [{ "name": "a", "tcpRoutes": [{ "port": 1 }] }] }, "smi": { "rootService": "a" } },
                "steps": [{ "setWeight": 10 }, { "pause": {} }, { "setHeaderRoute": { "name": "a" } }, { "plugin": { "name": "a" } }],
            } },
        }),
        &[
            "spec.strategy.canary.steps[3].plugin: refused",
            "spec.strategy.canary.trafficRouting.smi: refused",
        ],
    );
}

#[test]
fn a_whole_kind_that_is_not_acted_on_says_so_once() {
    check(
        "ApplicationSet",
        json!({ "generators": [{ "list": {} }] }),
        &["spec: accepted, not acted on yet"],
    );
}

#[test]
fn an_experiment_works_also_with_traffic_of_its_versions() {
    check("Experiment", json!({ "templates": [{ "name": "a" }], "duration": "5m" }), &[]);
    let template = json!({ "name": "a", "specRef": "canary", "weight": 5 });
    let step = json!({ "experiment": { "templates": [template] } });
    check("Rollout", json!({ "strategy": { "canary": { "steps": [step] } } }), &[]);
}

#[test]
fn sync_options_are_known_or_reported() {
    check(
        "Application",
        json!({ "syncPolicy": { "syncOptions": ["CreateNamespace=true", "Replace=true", "CreateNamespaces=true", "Prune=maybe", "odd"] } }),
        &[
            "spec.syncPolicy.syncOptions[1]: `Replace=true`: accepted, not acted on yet",
            "spec.syncPolicy.syncOptions[2]: `CreateNamespaces` is no sync option",
            "spec.syncPolicy.syncOptions[3]: `maybe` is no value of the sync option `Prune`",
            "spec.syncPolicy.syncOptions[4]: `odd` is no `Key=value`",
        ],
    );
}

#[test]
fn what_an_application_asks_for_by_value_is_refused() {
    check(
        "Application",
        json!({
            "sources": [
                { "repoURL": "oci://registry.example.com/app", "path": "." },
                { "repoURL": "r", "ref": "values" },
            ],
            "destination": { "name": "east" },
            "syncPolicy": { "syncOptions": ["SelfHeal=true"] },
        }),
        &[
            "spec.sources[1].ref: accepted, not acted on yet",
            "spec.sources: 2 entries: refused",
            "spec.sources[0].repoURL: `oci://registry.example.com/app` is an OCI artifact: refused",
            "spec.sources[1].path: missing: a source that is only referred to renders nothing",
            "spec.destination.name: cluster `east` is not known",
            "spec.syncPolicy.syncOptions: `SelfHeal=true`: accepted, not acted on yet",
        ],
    );
}

#[test]
fn what_a_project_demands_and_nobody_checks_is_refused() {
    check(
        "AppProject",
        json!({
            "clusterResourceWhitelist": [{ "group": "*", "kind": "*" }],
            "destinationServiceAccounts": [{ "server": "*", "defaultServiceAccount": "a" }],
            "orphanedResources": { "warn": true },
            "signatureKeys": [{ "keyID": "A" }],
            "syncWindows": [{ "kind": "deny" }],
        }),
        &[
            "spec.destinationServiceAccounts: accepted, not acted on yet",
            "spec.orphanedResources: accepted, not acted on yet",
            "spec.signatureKeys: refused",
            "spec.syncWindows: refused",
        ],
    );
}

#[test]
fn what_works_is_not_reported() {
    check(
        "Application",
        json!({
            "project": "default",
            "source": { "repoURL": "r", "path": "p", "kustomize": { "images": ["a:b"], "kubeVersion": "" } },
            "destination": { "name": "in-cluster" },
            "syncPolicy": { "automated": { "prune": true, "selfHeal": true } },
            "ignoreDifferences": [{ "kind": "Deployment", "jsonPointers": ["/spec/replicas"] }],
        }),
        &[],
    );
    check(
        "AnalysisTemplate",
        json!({ "metrics": [{ "name": "a", "provider": { "prometheus": { "query": "up" } } }, { "name": "b", "provider": { "job": { "spec": {} } } }, { "name": "c", "provider": { "graphite": { "query": "q" } } }] }),
        &["spec.metrics[2].provider.graphite: refused"],
    );
}
