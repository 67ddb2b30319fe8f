use serde::Deserialize;
use serde_json::json;

use super::*;

#[derive(Deserialize)]
struct Vectors {
    templates: Vec<TemplateVector>,
    steps: Vec<StepsVector>,
    quantities: Vec<(String, String)>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TemplateVector {
    name: String,
    template: Value,
    collision_count: Option<i32>,
    bytes: Option<String>,
    hash: String,
    legacy: String,
}

#[derive(Deserialize)]
struct StepsVector {
    name: String,
    steps: Value,
    bytes: String,
    hash: String,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("../../../tests/hash_vectors/vectors.json")).unwrap()
}

#[test]
fn templates_hash_as_argo_hashes_them() {
    let templates = vectors().templates;
    assert!(templates.len() >= 60);
    for vector in templates {
        let encoded = go_json::encode("PodTemplateSpec", &vector.template, Form::Argo);
        if let Some(bytes) = vector.bytes {
            assert_eq!(encoded.text, bytes, "{}", vector.name);
        }
        assert_eq!(encoded.rest, "", "{}", vector.name);
        let count = vector.collision_count;
        assert_eq!(template_hash(&vector.template, count), vector.hash, "{}", vector.name);
        assert_eq!(legacy_template_hash(&vector.template, count), vector.legacy, "{}", vector.name);
    }
}

#[test]
fn steps_hash_as_argo_hashes_them() {
    for vector in vectors().steps {
        let encoded = go_json::encode("[]CanaryStep", &vector.steps, Form::Argo);
        assert_eq!(encoded.text, vector.bytes, "{}", vector.name);
        let steps: Option<Vec<CanaryStep>> = serde_json::from_value(vector.steps).unwrap();
        assert_eq!(step_hash(steps.as_deref()), vector.hash, "{}", vector.name);
    }
}

#[test]
fn quantities_are_written_as_go_writes_them() {
    for (text, canonical) in vectors().quantities {
        let expected = (canonical != "error").then_some(canonical);
        assert_eq!(quantity::canonical(&text), expected, "{text}");
    }
}

#[test]
fn a_change_in_a_field_that_argo_does_not_know_is_a_new_revision() {
    let plain = json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}]}});
    let mut future = plain.clone();
    future["spec"]["containers"][1]["futureField"] = json!({"size": 1});
    let hash = template_hash(&future, None);
    assert_ne!(hash, template_hash(&plain, None));
    let mut moved = plain.clone();
    moved["spec"]["containers"][0]["futureField"] = json!({"size": 1});
    assert_ne!(hash, template_hash(&moved, None));
    future["spec"]["containers"][1]["futureField"] = json!({"size": 2});
    assert_ne!(hash, template_hash(&future, None));
}

#[test]
fn an_unknown_field_without_a_value_changes_nothing() {
    let plain = json!({"spec": {"containers": [{"name": "a"}]}});
    let with = json!({"spec": {"containers": [{"name": "a"}], "futureField": null}});
    assert_eq!(template_hash(&plain, None), template_hash(&with, None));
}

#[test]
fn a_value_of_a_wrong_type_still_counts() {
    let good = json!({"spec": {"containers": [{"name": "a"}]}});
    let bad = json!({"spec": {"containers": [{"name": "a", "image": 5}]}});
    assert_ne!(template_hash(&good, None), template_hash(&bad, None));
}

#[test]
fn any_json_has_a_hash() {
    for template in
        [json!(null), json!([]), json!("x"), json!({"spec": 1}), json!({"metadata": []})]
    {
        assert!(!template_hash(&template, Some(-1)).is_empty());
    }
}

/// As the API server 1.36 returned the template of a ReplicaSet.
fn defaulted() -> Value {
    json!({
        "metadata": {"creationTimestamp": null, "labels": {"app": "web", "rollouts-pod-template-hash": "abc"}},
        "spec": {
            "containers": [{
                "name": "web", "image": "web:1", "imagePullPolicy": "IfNotPresent",
                "ports": [{"containerPort": 80, "protocol": "TCP"}],
                "env": [{"name": "IP", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.podIP"}}}],
                "readinessProbe": {"httpGet": {"path": "/", "port": 80, "scheme": "HTTP"},
                    "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3},
                "resources": {"limits": {"cpu": "1", "memory": "1Gi"}},
                "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
            }],
            "volumes": [{"name": "c", "configMap": {"name": "c", "defaultMode": 420}}, {"name": "e", "emptyDir": {}}],
            "dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "schedulerName": "default-scheduler",
            "securityContext": {}, "terminationGracePeriodSeconds": 30,
            "serviceAccount": "web", "serviceAccountName": "web",
        }
    })
}

fn written() -> Value {
    json!({
        "metadata": {"labels": {"app": "web"}},
        "spec": {
            "containers": [{
                "name": "web", "image": "web:1", "ports": [{"containerPort": 80}],
                "env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
                "readinessProbe": {"httpGet": {"port": 80}},
                "resources": {"limits": {"cpu": "1000m", "memory": "1024Mi"}},
            }],
            "volumes": [{"name": "c", "configMap": {"name": "c"}}, {"name": "e"}],
            "serviceAccountName": "web",
        }
    })
}

#[test]
fn defaults_of_the_api_server_are_no_difference() {
    assert!(same_template(&defaulted(), &written()));
}

#[test]
fn any_other_change_is_a_difference() {
    for (path, value) in [
        ("/spec/containers/0/image", json!("web:2")),
        ("/spec/containers/0/imagePullPolicy", json!("Always")),
        ("/spec/containers/0/ports/0/protocol", json!("UDP")),
        ("/spec/terminationGracePeriodSeconds", json!(0)),
        ("/spec/serviceAccountName", json!("other")),
        ("/spec/volumes/0/configMap/defaultMode", json!(0)),
        ("/metadata/labels/app", json!("other")),
    ] {
        let mut changed = defaulted();
        *changed.pointer_mut(path).unwrap() = value;
        assert!(!same_template(&changed, &written()), "{path}");
    }
}

#[test]
fn the_pull_policy_follows_the_tag() {
    for (image, policy) in [
        ("web", "Always"),
        ("web:latest", "Always"),
        ("registry:5000/web", "Always"),
        ("registry:5000/web:1", "IfNotPresent"),
        ("web@sha256:00", "IfNotPresent"),
        ("web:latest@sha256:00", "Always"),
    ] {
        let template = |container: Value| json!({"spec": {"containers": [container]}});
        let live = template(json!({"name": "a", "image": image, "imagePullPolicy": policy}));
        assert!(same_template(&live, &template(json!({"name": "a", "image": image}))), "{image}");
    }
}
