use std::sync::Arc;

use serde_json::Value;
use sluice_crds::rollout::RolloutRecord;

use super::OwnedFields;
use crate::compare::IgnoreRules;
use crate::key::ResourceKey;

const ROLLOUT: &str = "
metadata: {name: web, namespace: shop}
spec:
  strategy:
    canary:
      stableService: web
      canaryService: web-canary
      trafficRouting: {istio: {virtualService: {name: web, routes: [main]}, destinationRule: {name: web}}}
status: {stableRS: aaa}
";

fn owned(yaml: &str) -> OwnedFields {
    let rollout: RolloutRecord = serde_saphyr::from_str(yaml).unwrap();
    OwnedFields::collect(std::iter::empty(), &[Arc::new(rollout)])
}

fn key(kind: &str, name: &str) -> ResourceKey {
    let group = match kind {
        "Service" => "",
        _ => "networking.istio.io",
    };
    ResourceKey {
        group: group.into(),
        kind: kind.into(),
        namespace: "shop".into(),
        name: name.into(),
    }
}

fn carried(kind: &str, name: &str, git: &str, live: &str) -> Value {
    let mut body: Value = serde_saphyr::from_str(git).unwrap();
    let live: Value = serde_saphyr::from_str(live).unwrap();
    owned(ROLLOUT).carry(&key(kind, name), &mut body, &live);
    body
}

fn created(kind: &str, name: &str, git: &str) -> Value {
    let mut body: Value = serde_saphyr::from_str(git).unwrap();
    owned(ROLLOUT).initial(&key(kind, name), &mut body);
    body
}

const GIT_ROUTE: &str = "
spec:
  http:
  - name: main
    retries: {attempts: 3}
    route:
    - {destination: {host: web, subset: stable}, weight: 100}
    - {destination: {host: web, subset: canary}, weight: 0}
  - name: other
    route: [{destination: {host: blog}, weight: 100}]
";

#[test]
fn weights_in_git_never_reach_a_live_virtual_service_while_other_fields_do() {
    let live = "
spec:
  http:
  - name: main
    route:
    - {destination: {host: web, subset: stable}, weight: 60}
    - {destination: {host: web, subset: canary}, weight: 40}
  - name: other
    route: [{destination: {host: blog}, weight: 7}]
";
    insta::assert_yaml_snapshot!(carried("VirtualService", "web", GIT_ROUTE, live));
}

#[test]
fn a_destination_that_is_not_live_gets_no_weight() {
    let live = "
spec:
  http:
  - name: main
    route: [{destination: {host: web, subset: stable}, weight: 100}]
";
    let body = carried("VirtualService", "web", GIT_ROUTE, live);
    assert_eq!(body["spec"]["http"][0]["route"][0]["weight"], 100);
    assert_eq!(body["spec"]["http"][0]["route"][1]["weight"], 0);
}

#[test]
fn a_new_virtual_service_sends_everything_to_the_stable_version() {
    let git = GIT_ROUTE.replace("weight: 100", "weight: 1").replace("weight: 0", "weight: 99");
    let body = created("VirtualService", "web", &git);
    assert_eq!(body["spec"]["http"][0]["route"][0]["weight"], 100);
    assert_eq!(body["spec"]["http"][0]["route"][1]["weight"], 0);
    assert_eq!(body["spec"]["http"][1]["route"][0]["weight"], 1, "not a managed route");
}

#[test]
fn what_the_engine_made_in_a_virtual_service_survives_a_sync() {
    let git = "
spec:
  http:
  - route:
    - {destination: {host: web, subset: stable}, weight: 100}
    - {destination: {host: web, subset: canary}, weight: 0}
  tls:
  - route:
    - {destination: {host: web, subset: stable}, weight: 100}
    - {destination: {host: web, subset: canary}, weight: 0}
  - route: [{destination: {host: vault}, weight: 5}]
";
    let live = r#"
metadata: {annotations: {sluice.dev/made: '{"web":{"destinations":["web-exp"],"routes":["staff"]}}'}}
spec:
  http:
  - {name: staff, route: [{destination: {host: web, subset: canary}, weight: 100}]}
  - route:
    - {destination: {host: web, subset: stable}, weight: 60}
    - {destination: {host: web, subset: canary}, weight: 30}
    - {destination: {host: web-exp}, weight: 10}
  tls:
  - route:
    - {destination: {host: web, subset: stable}, weight: 70}
    - {destination: {host: web, subset: canary}, weight: 30}
  - route: [{destination: {host: vault}, weight: 1}]
"#;
    let rollout = ROLLOUT.replace(", routes: [main]", "");
    let mut body: Value = serde_saphyr::from_str(git).unwrap();
    let live: Value = serde_saphyr::from_str(live).unwrap();
    owned(&rollout).carry(&key("VirtualService", "web"), &mut body, &live);
    assert_eq!(body["spec"]["http"], live["spec"]["http"]);
    assert_eq!(body["spec"]["tls"][0], live["spec"]["tls"][0]);
    assert_eq!(body["spec"]["tls"][1]["route"][0]["weight"], 5, "not ours");
    let created = {
        let mut body: Value = serde_saphyr::from_str(git).unwrap();
        owned(&rollout).initial(&key("VirtualService", "web"), &mut body);
        body
    };
    assert_eq!(created["spec"]["tls"][0]["route"][0]["weight"], 100);
}

#[test]
fn a_route_of_a_step_in_git_gives_way_to_the_engine_s_own() {
    let rollout = "
metadata: {name: web, namespace: shop}
spec:
  strategy:
    canary:
      pingPong: {pingService: web-ping, pongService: web-pong}
      trafficRouting: {managedRoutes: [{name: staff}], istio: {virtualService: {name: web}}}
      steps: [{setHeaderRoute: {name: staff}}]
status: {stableRS: aaa, canary: {stablePingPong: pong}}
";
    let git = "
spec:
  http:
  - {name: staff, route: [{destination: {host: web-ping}}]}
  - route:
    - {destination: {host: web-ping}, weight: 50}
    - {destination: {host: web-pong}, weight: 50}
";
    let mut body: Value = serde_saphyr::from_str(git).unwrap();
    owned(rollout).initial(&key("VirtualService", "web"), &mut body);
    let http = body["spec"]["http"].as_array().unwrap();
    assert_eq!(http.len(), 1, "nothing leads to a canary that is not there: {http:?}");
    assert_eq!(http[0]["route"][0]["weight"], 0);
    assert_eq!(http[0]["route"][1]["weight"], 100, "pong is the stable Service");
}

#[test]
fn subsets_that_the_engine_made_survive_a_sync() {
    let git = "spec: {subsets: [{name: stable}, {name: canary}]}";
    let live = r#"
metadata: {annotations: {sluice.dev/made: '{"web":{"subsets":["web-exp"]}}'}}
spec: {subsets: [{name: stable}, {name: canary}, {name: web-exp, labels: {rollouts-pod-template-hash: bbb}}]}
"#;
    let body = carried("DestinationRule", "web", git, live);
    assert_eq!(body["spec"]["subsets"][2]["labels"]["rollouts-pod-template-hash"], "bbb");
}

#[test]
fn hashes_are_the_engine_s() {
    let service = "spec: {selector: {app: web}}";
    let live = "spec: {selector: {app: web, rollouts-pod-template-hash: bbb}}";
    let hash = |body: Value| body["spec"]["selector"]["rollouts-pod-template-hash"].clone();
    assert_eq!(hash(carried("Service", "web-canary", service, live)), "bbb");
    assert_eq!(hash(carried("Service", "blog", service, live)), Value::Null);
    assert_eq!(hash(created("Service", "web-canary", service)), "aaa", "the stable version serves");

    let rule =
        "spec: {subsets: [{name: stable, labels: {app: web}}, {name: canary}, {name: other}]}";
    insta::assert_yaml_snapshot!(created("DestinationRule", "web", rule));
}

#[test]
fn an_autoscaler_owns_the_replicas_of_its_target() {
    let scaler: Value = serde_saphyr::from_str(
        "spec: {scaleTargetRef: {apiVersion: argoproj.io/v1alpha1, kind: Rollout, name: web}}",
    )
    .unwrap();
    let scaler_key = ResourceKey {
        group: "autoscaling".into(),
        kind: "HorizontalPodAutoscaler".into(),
        namespace: "shop".into(),
        name: "web".into(),
    };
    let owned = OwnedFields::collect([(&scaler_key, &scaler)].into_iter(), &[]);
    let rollout = ResourceKey {
        group: "argoproj.io".into(),
        kind: "Rollout".into(),
        namespace: "shop".into(),
        name: "web".into(),
    };
    let mut body: Value = serde_saphyr::from_str("spec: {replicas: 2}").unwrap();
    owned.carry(&rollout, &mut body, &serde_saphyr::from_str("spec: {replicas: 9}").unwrap());
    assert_eq!(body["spec"]["replicas"], 9);
}

#[test]
fn a_rollout_owns_the_replicas_of_a_deployment_that_gives_way() {
    let deployment = ResourceKey {
        group: "apps".into(),
        kind: "Deployment".into(),
        namespace: "shop".into(),
        name: "web".into(),
    };
    for (scale_down, applied) in [("progressively", 1), ("onsuccess", 1), ("never", 5)] {
        let owned = owned(&format!(
            "metadata: {{name: web, namespace: shop}}
spec:
  workloadRef: {{apiVersion: apps/v1, kind: Deployment, name: web, scaleDown: {scale_down}}}
  strategy: {{canary: {{}}}}
"
        ));
        let mut body: Value = serde_saphyr::from_str("spec: {replicas: 5}").unwrap();
        owned.initial(&deployment, &mut body);
        assert_eq!(body["spec"]["replicas"], 5, "it is created as Git has it");
        let live = serde_saphyr::from_str("spec: {replicas: 1}").unwrap();
        owned.carry(&deployment, &mut body, &live);
        assert_eq!(body["spec"]["replicas"], applied, "{scale_down}");
    }
}

#[test]
fn an_ignored_field_keeps_its_live_value() {
    let rules = "[{kind: Deployment, group: apps, jsonPointers: [/spec/replicas, /spec/gone]}]";
    let rules = IgnoreRules::new(&serde_saphyr::from_str::<Vec<_>>(rules).unwrap());
    let deployment = ResourceKey {
        group: "apps".into(),
        kind: "Deployment".into(),
        namespace: "shop".into(),
        name: "web".into(),
    };
    let mut body: Value = serde_saphyr::from_str("spec: {replicas: 2, gone: 1, x: 1}").unwrap();
    let live: Value = serde_saphyr::from_str("spec: {replicas: 5, x: 0}").unwrap();
    rules.carry(&deployment, &mut body, &live);
    assert_eq!(body, serde_json::json!({ "spec": { "replicas": 5, "x": 1 } }));
}

#[test]
fn what_git_dropped_and_changed_goes_in_one_write() {
    use sluice_crds::object::{Change, Kind, ObjectRef};

    let live: Value = serde_saphyr::from_str(
        "
metadata:
  name: web
  namespace: shop
  labels: {app: web, old: x}
  finalizers: [other]
  managedFields:
  - manager: sluice-sync
    operation: Apply
    fieldsV1:
      f:metadata: {f:labels: {f:app: {}, f:old: {}}}
      f:spec:
        f:template:
          f:spec:
            f:containers:
              'k:{\"name\":\"a\"}': {.: {}, f:image: {}, f:name: {}}
              'k:{\"name\":\"b\"}': {.: {}, f:image: {}, f:name: {}}
spec: {template: {spec: {containers: [{name: a, image: a:1}, {name: b, image: b:1}, {name: c, image: c:1}]}}}
",
    )
    .unwrap();
    let wanted: Value = serde_saphyr::from_str(
        "
metadata: {name: web, namespace: shop, labels: {app: web, new: z}, finalizers: [ours]}
spec: {template: {spec: {containers: [{name: d, image: d:1}, {name: c, image: c:2}]}}}
",
    )
    .unwrap();
    let object = ObjectRef::namespaced(Kind::DEPLOYMENT, "shop", "web");
    let key = ResourceKey::of(&object);
    let live = crate::view::LiveObject::new(object, live).unwrap();
    let found = crate::compare::differences(&key, &wanted, &live);
    assert!(super::needs_patch(&found));
    let Change::JsonPatch { operations } = super::patch(&found, &live, None).change else {
        panic!("{found:?}");
    };
    let patch: json_patch::Patch = serde_json::from_value(Value::from(operations)).unwrap();
    let mut body = live.body.clone();
    json_patch::patch(&mut body, &patch).unwrap();
    insta::assert_yaml_snapshot!(body);
    let after = crate::view::LiveObject { body, ours: live.ours.clone(), ..live };
    assert!(crate::compare::differences(&key, &wanted, &after).is_empty());
}
