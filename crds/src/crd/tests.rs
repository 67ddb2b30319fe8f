use std::path::PathBuf;

use super::*;

fn committed(plural: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("yaml/{plural}.yaml"))
}

#[test]
fn the_committed_definitions_are_the_generated_ones() {
    for definition in &DEFINITIONS {
        let path = committed(&definition.kind.plural);
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            text == to_yaml(&definition.crd()),
            "{} is not what the types say: run `cargo run -p sluice-crds --bin crdgen`",
            path.display(),
        );
    }
}

#[test]
fn every_schema_is_structural() {
    for definition in &DEFINITIONS {
        assert_eq!(
            violations(&definition.schema()),
            Vec::<String>::new(),
            "{}",
            definition.kind.kind
        );
    }
}

#[test]
fn a_schema_that_is_not_structural_is_noticed() {
    let check = |schema: Value, expected: &str| {
        let found = violations(&json!({ "type": "object", "properties": { "a": schema } }));
        assert!(found.iter().any(|problem| problem.contains(expected)), "{found:?}");
    };
    check(json!({ "$ref": "#/definitions/a" }), "$ref");
    check(json!({ "anyOf": [{ "type": "string" }, { "type": "object" }] }), "no type");
    check(json!({ "type": "integer", "format": "uint32" }), "uint32");
    check(json!({ "type": "array" }), "items");
    check(json!({ "type": "object", "properties": {}, "required": ["b"] }), "no property");
    check(json!(true), "must be an object");
}

#[test]
fn only_rollout_and_application_set_have_a_status_subresource() {
    for definition in &DEFINITIONS {
        let crd = definition.crd();
        let kind = definition.kind.kind.as_ref();
        let version = &crd["spec"]["versions"][0];
        assert_eq!(
            version["subresources"]["status"].is_object(),
            ["Rollout", "ApplicationSet"].contains(&kind),
            "{kind}",
        );
        assert_eq!(version["subresources"]["scale"].is_object(), kind == "Rollout", "{kind}");
    }
}

#[test]
fn a_rollout_can_be_scaled_and_keeps_its_selector() {
    let crd = definition("Rollout").unwrap().crd();
    let version = &crd["spec"]["versions"][0];
    let spec = &version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
    assert_eq!(spec["replicas"]["default"], 1);
    assert_eq!(spec["selector"]["x-kubernetes-validations"][0]["rule"], "self == oldSelf");
    assert_eq!(spec["template"]["x-kubernetes-preserve-unknown-fields"], true);
    assert_eq!(spec["template"]["type"], "object");
    assert_eq!(version["subresources"]["scale"]["statusReplicasPath"], ".status.HPAReplicas");
    let columns = version["additionalPrinterColumns"].as_array().unwrap();
    let names: Vec<&str> = columns.iter().filter_map(|column| column["name"].as_str()).collect();
    assert_eq!(names[..5], ["Desired", "Current", "Up-to-date", "Available", "Age"]);
}

#[test]
fn every_field_of_a_spec_is_described() {
    for definition in &DEFINITIONS {
        for field in fields(&definition.schema()) {
            assert!(!field.description.is_empty(), "{} {}", definition.kind.kind, field.path);
        }
    }
}

#[test]
fn an_application_has_an_operation_and_accepts_both_keys_of_a_notification() {
    let schema = definition("Application").unwrap().schema();
    let paths: Vec<String> = fields(&schema).into_iter().map(|field| field.path).collect();
    for path in [
        "operation.sync.revision",
        "spec.notifications[].on",
        "spec.notifications[].true",
        "spec.rollback.enabled",
        "status.sluice.quarantine[].templateHash",
    ] {
        assert!(paths.iter().any(|known| known == path), "{path}");
    }
}

#[test]
fn the_api_server_fills_in_nothing_but_the_replicas_of_a_rollout() {
    fn defaults(schema: &Value, path: &str, found: &mut Vec<String>) {
        if schema.get("default").is_some() {
            found.push(path.to_string());
        }
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            defaults(property, &format!("{path}.{name}"), found);
        }
        for keyword in ["items", "additionalProperties"] {
            if let Some(inner) = schema.get(keyword) {
                defaults(inner, path, found);
            }
        }
    }
    let mut found = Vec::new();
    for definition in &DEFINITIONS {
        defaults(&definition.schema(), &definition.kind.kind, &mut found);
    }
    assert_eq!(found, ["Rollout.spec.replicas"]);
}

#[test]
fn a_route_without_a_name_is_refused_by_the_api_server() {
    let schema = definition("Rollout").unwrap().schema();
    let routing = &schema["properties"]["spec"]["properties"]["strategy"]["properties"]["canary"]["properties"]
        ["trafficRouting"]["properties"];
    assert_eq!(routing["istio"]["properties"]["virtualService"]["required"], json!(["name"]));
    let metrics = &definition("AnalysisTemplate").unwrap().schema()["properties"]["spec"]["properties"]
        ["metrics"]["items"]["required"];
    assert_eq!(*metrics, json!(["name", "provider"]));
}
