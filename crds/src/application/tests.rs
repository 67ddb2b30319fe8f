use serde_json::{Value, json};

use super::*;

fn round_trip(spec: Value) {
    let parsed: ApplicationSpec = serde_json::from_value(spec.clone()).unwrap();
    assert_eq!(serde_json::to_value(parsed).unwrap(), spec);
}

#[test]
fn what_users_write_survives_a_round_trip() {
    round_trip(json!({
        "project": "default",
        "source": {
            "repoURL": "https://git.example/config.git",
            "path": "apps/api",
            "targetRevision": "main",
            "kustomize": { "images": ["api=registry.example/api:1", { "name": "web", "newTag": "v2" }] },
        },
        "destination": { "server": IN_CLUSTER_SERVER, "namespace": "shop" },
        "syncPolicy": {
            "automated": {},
            "syncOptions": ["CreateNamespace=true"],
            "retry": { "limit": 5, "backoff": { "duration": "5s", "factor": 2, "maxDuration": "3m" } },
            "info": [{ "name": "Documentation", "value": "https://wiki.example" }],
        },
        "refreshInterval": "1m",
        "notifications": [
            { "name": "slack", "destination": "#a", "on": "OutOfSync" },
            { "name": "slack", "destination": "#a", "true": "Degraded" },
        ],
        "health": { "resources": [{ "name": "api", "kind": "Deployment", "timeout": "5m", "healthLevel": "Progressing" }] },
        "rollback": { "enabled": true, "onHealthFailure": true, "maxRetries": 3 },
    }));
}

#[test]
fn an_application_without_operation_writes_no_operation() {
    let record: ApplicationRecord = serde_json::from_value(json!({
        "metadata": { "name": "a" },
        "spec": { "destination": {} },
        "operation": { "sync": { "revision": "abc" } },
    }))
    .unwrap();
    let sync = record.operation.and_then(|operation| operation.sync).unwrap();
    assert_eq!(serde_json::to_value(sync).unwrap(), json!({ "revision": "abc" }));
    assert_eq!(serde_json::to_value(Operation::default()).unwrap(), json!({}));
}

#[test]
fn a_notification_is_read_under_either_key() {
    let check = |value: Value, event: &str| {
        let notification: Notification = serde_json::from_value(value).unwrap();
        assert_eq!(notification.event(), Some(event));
    };
    check(json!({ "name": "slack", "on": "OutOfSync" }), "OutOfSync");
    check(json!({ "name": "slack", "true": "Degraded" }), "Degraded");
}

#[test]
fn image_objects_become_argos_strings() {
    let check = |value: Value, text: &str| {
        let image: KustomizeImage = serde_json::from_value(value).unwrap();
        assert_eq!(image.to_string(), text);
    };
    check(json!("api=registry/api:1"), "api=registry/api:1");
    check(json!({ "name": "api", "newTag": "v2" }), "api:v2");
    check(
        json!({ "name": "api", "newName": "r/api", "digest": "sha256:00" }),
        "api=r/api@sha256:00",
    );
}

#[test]
fn an_unknown_phase_counts_as_ended_and_is_not_an_error() {
    let state: OperationState =
        serde_json::from_value(json!({ "operation": {}, "phase": "Dreaming" })).unwrap();
    assert_eq!(state.phase, OperationPhase::Unknown);
    assert!(state.phase.is_completed());
}

#[test]
fn the_own_cluster_has_two_spellings() {
    let check = |server: Option<&str>, name: Option<&str>, own: bool| {
        let destination = ApplicationDestination {
            server: server.map(Into::into),
            name: name.map(Into::into),
            namespace: None,
        };
        assert_eq!(destination.is_in_cluster(), own);
    };
    check(Some("https://kubernetes.default.svc"), None, true);
    check(Some("https://kubernetes.default.svc/"), None, true);
    check(None, Some("in-cluster"), true);
    check(Some("https://kubernetes.default.svc"), Some("in-cluster"), false);
    check(None, None, false);
}

#[test]
fn the_first_sync_option_of_a_key_decides() {
    let policy = SyncPolicy {
        sync_options: vec!["Prune=false".into(), "Prune=true".into(), "odd".into()],
        ..SyncPolicy::default()
    };
    assert_eq!(policy.option("Prune"), Some("false"));
    assert_eq!(policy.option("odd"), None);
}
