use serde_json::{Value, json};
use sluice_crds::object::{Kind, ObjectRef};

use super::{DifferenceKind, differences};
use crate::key::ResourceKey;
use crate::view::LiveObject;

/// Compares two objects in YAML; returns `kind field` lines.
fn check(api_version: &str, kind: &str, wanted: &str, live: &str) -> Vec<String> {
    let read = |yaml: &str| -> Value {
        let mut value: Value = serde_saphyr::from_str(yaml).unwrap();
        value["apiVersion"] = json!(api_version);
        value["kind"] = json!(kind);
        value["metadata"]["name"] = json!("x");
        value
    };
    let (group, version) = crate::key::group_version(api_version);
    let object = ObjectRef::namespaced(
        Kind {
            group: group.to_owned().into(),
            version: version.to_owned().into(),
            kind: kind.to_owned().into(),
            plural: "xs".into(),
            status_subresource: true,
        },
        "shop",
        "x",
    );
    let key = ResourceKey::of(&object);
    let live = LiveObject::new(object, read(live)).unwrap();
    differences(&key, &read(wanted), &live)
        .iter()
        .map(|d| {
            let kind = match d.kind {
                DifferenceKind::Changed => "changed",
                DifferenceKind::Missing => "missing",
                DifferenceKind::Extra => "extra",
            };
            format!("{kind} {}", d.field())
        })
        .collect()
}

const NOTHING: [&str; 0] = [];

#[test]
fn defaults_of_the_api_server_are_no_difference() {
    let wanted = "
spec:
  template:
    spec:
      hostNetwork: false
      containers:
      - {name: web, image: a, resources: {limits: {cpu: 1000m, memory: 1Gi}}, env: [{name: A, value: ''}]}
";
    let live = "
spec:
  replicas: 1
  template:
    spec:
      dnsPolicy: ClusterFirst
      containers:
      - {name: web, image: a, imagePullPolicy: Always, resources: {limits: {cpu: '1', memory: 1024Mi}}, env: [{name: A}]}
";
    assert_eq!(check("apps/v1", "Deployment", wanted, live), NOTHING);
}

#[test]
fn a_port_without_protocol_is_tcp() {
    let wanted = "spec: {ports: [{port: 80, targetPort: http}]}";
    let live = "spec: {ports: [{port: 80, protocol: TCP, targetPort: http}], clusterIP: 10.0.0.1}";
    assert_eq!(check("v1", "Service", wanted, live), NOTHING);
    let changed = "spec: {ports: [{port: 80, protocol: TCP, targetPort: 8080}]}";
    assert_eq!(check("v1", "Service", wanted, changed), ["changed spec.ports[0].targetPort"]);
}

#[test]
fn a_changed_and_a_missing_field_are_named() {
    let wanted = "
metadata: {labels: {app: web}}
data: {a: '1', b: '2'}
";
    let live = "
metadata: {labels: {app: web, other: x}}
data: {a: '0', c: '3'}
";
    assert_eq!(check("v1", "ConfigMap", wanted, live), ["changed data.a", "missing data.b"]);
}

#[test]
fn values_of_secrets_are_never_shown() {
    let wanted = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}, "data": {"a": "c2VjcmV0"}});
    let live = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}, "data": {"a": "b3RoZXI="}});
    let object = ObjectRef::namespaced(Kind::SECRET, "shop", "x");
    let key = ResourceKey::of(&object);
    let found = differences(&key, &wanted, &LiveObject::new(object, live).unwrap());
    let found = super::masked(&key, &found);
    assert_eq!(found.len(), 1);
    assert!(!format!("{found:?}").contains("c2VjcmV0") && !format!("{found:?}").contains("b3Ro"));
}

#[test]
fn zero_values_count_in_custom_resources() {
    let wanted = "spec: {weight: 0}";
    assert_eq!(
        check("networking.istio.io/v1", "VirtualService", wanted, "spec: {x: 1}"),
        ["missing spec.weight"]
    );
}

#[test]
fn what_we_set_and_git_dropped_is_extra() {
    let wanted = "
metadata: {labels: {app: web}}
spec: {template: {spec: {containers: [{name: web, image: a}]}}}
";
    let live = "
metadata:
  labels: {app: web, old: x, foreign: z}
  annotations: {epoch.sluice.dev/a: 'u:1:1'}
  managedFields:
  - manager: sluice-sync
    operation: Apply
    fieldsV1:
      f:metadata:
        f:annotations: {.: {}, 'f:epoch.sluice.dev/a': {}}
        f:labels: {.: {}, f:app: {}, f:old: {}}
      f:spec:
        f:template:
          f:spec:
            f:containers:
              'k:{\"name\":\"web\"}': {.: {}, f:image: {}, f:name: {}}
              'k:{\"name\":\"side\"}': {.: {}, f:image: {}, f:name: {}}
  - manager: kubectl-edit
    operation: Update
    fieldsV1: {f:metadata: {f:labels: {f:foreign: {}}}}
spec: {template: {spec: {containers: [{name: web, image: a}, {name: side, image: b}, {name: injected, image: c}]}}}
";
    assert_eq!(
        check("apps/v1", "Deployment", wanted, live),
        ["extra metadata.labels.old", "extra spec.template.spec.containers[1]"]
    );
}

#[test]
fn what_the_api_server_filled_in_at_creation_is_not_what_git_dropped() {
    let live = |operation: &str| {
        format!(
            "
metadata:
  managedFields:
  - manager: sluice-sync
    operation: {operation}
    fieldsV1:
      f:spec: {{f:type: {{}}, f:sessionAffinity: {{}}}}
spec: {{type: ClusterIP, sessionAffinity: None}}
"
        )
    };
    let wanted = "spec: {type: ClusterIP}";
    let compared = |operation: &str| check("v1", "Service", wanted, &live(operation));
    assert_eq!(compared("Update"), ["changed metadata.managedFields"]);
    assert_eq!(compared("Apply"), ["extra spec.sessionAffinity"]);
}

#[test]
fn what_somebody_adds_inside_an_atomic_list_counts_unless_the_list_is_ours() {
    let wanted = "spec: {http: [{name: main, route: [{weight: 100}]}]}";
    let live = |owner: &str| {
        format!(
            "
metadata:
  managedFields: [{{manager: {owner}, operation: Apply, fieldsV1: {{f:spec: {{f:http: {{}}}}}}}}]
spec: {{http: [{{name: main, retries: {{attempts: 9}}, route: [{{weight: 100}}]}}]}}
"
        )
    };
    let compared =
        |owner: &str| check("networking.istio.io/v1", "VirtualService", wanted, &live(owner));
    assert_eq!(compared("sluice-sync"), NOTHING);
    assert_eq!(compared("kubectl-edit"), ["changed spec.http[0].retries"]);
}
