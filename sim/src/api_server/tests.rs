use sluice_crds::object::{Change as Body, Preconditions, Propagation, ResourceVersion};

use super::*;

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000, 0).unwrap()
}

fn server() -> ApiServer {
    ApiServer::new(now())
}

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

/// Sends a request whose path is relative to namespace `default` of the group's collection.
fn send(
    server: &mut ApiServer,
    method: &str,
    path: &str,
    content: &str,
    body: &str,
) -> (u16, Value) {
    let mut call = Call::new(method, path).by("test/1.0");
    if !body.is_empty() {
        call = call.with_body(content, &yaml(body));
    }
    match server.handle(now(), &call) {
        Reply::Json { code, body } => (code, body),
        Reply::Text(text) => (200, json!(text)),
        Reply::Watch(_) => panic!("unexpected watch"),
    }
}

fn get(server: &mut ApiServer, path: &str) -> Value {
    let (code, body) = send(server, "GET", path, "", "");
    assert_eq!(code, 200, "{path}: {body}");
    body
}

const ROLLOUTS: &str = "/apis/argoproj.io/v1alpha1/namespaces/default/rollouts";
const WEB: &str = "/apis/argoproj.io/v1alpha1/namespaces/default/rollouts/web";
const RUN: &str = "/apis/argoproj.io/v1alpha1/namespaces/default/analysisruns/run";
const SERVICE: &str = "/api/v1/namespaces/default/services/web";
const VS: &str = "/apis/networking.istio.io/v1/namespaces/default/virtualservices/web";
const RS: &str = "/apis/apps/v1/namespaces/default/replicasets/web-1";
const MERGE: &str = "application/merge-patch+json";
const JSON_PATCH: &str = "application/json-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const APPLY: &str = "application/apply-patch+yaml";
const JSON: &str = "application/json";

const MANIFESTS: &str = r#"
- {apiVersion: argoproj.io/v1alpha1, kind: Rollout, metadata: {name: web, labels: {app: web}},
   spec: {replicas: 2, selector: {matchLabels: {app: web}}, template: {spec: {containers: [{name: c, image: "demo:1"}]}}},
   status: {phase: Healthy}}
- {apiVersion: argoproj.io/v1alpha1, kind: AnalysisRun, metadata: {name: run}, spec: {metrics: []}}
- {apiVersion: v1, kind: Service, metadata: {name: web}, spec: {selector: {app: web}, ports: [{port: 80}]}}
- {apiVersion: v1, kind: ConfigMap, metadata: {name: web}, data: {a: "1"}}
- {apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: web},
   spec: {hosts: [web], http: [{name: primary, route: [{destination: {host: a}, weight: 100}, {destination: {host: b}, weight: 0}]}]}}
- {apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: web-1}, spec: {replicas: 0, selector: {matchLabels: {app: web}},
   template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c, image: "demo:1"}]}}}}
"#;

fn loaded() -> ApiServer {
    let mut server = server();
    for manifest in yaml(MANIFESTS).as_array().unwrap() {
        server.load(now(), "setup", manifest.clone()).unwrap();
    }
    server
}

fn version(object: &Value) -> u64 {
    mutate::text(object, "/metadata/resourceVersion").parse().unwrap()
}

/// Method, path, content type and body; code, reason and message (empty: not compared).
type Refusal =
    (&'static str, &'static str, &'static str, &'static str, u16, &'static str, &'static str);

const REFUSALS: &[Refusal] = &[
    (
        "GET",
        "/apis/argoproj.io/v1alpha1/namespaces/default/rollouts/no",
        "",
        "",
        404,
        "NotFound",
        r#"rollouts.argoproj.io "no" not found"#,
    ),
    (
        "POST",
        ROLLOUTS,
        JSON,
        "metadata: {name: web}",
        409,
        "AlreadyExists",
        r#"rollouts.argoproj.io "web" already exists"#,
    ),
    (
        "PATCH",
        WEB,
        MERGE,
        r#"metadata: {resourceVersion: "1"}"#,
        409,
        "Conflict",
        r#"Operation cannot be fulfilled on rollouts.argoproj.io "web": the object has been modified; please apply your changes to the latest version and try again"#,
    ),
    (
        "PATCH",
        WEB,
        JSON_PATCH,
        r#"[{op: replace, path: /metadata/resourceVersion, value: "1"}]"#,
        409,
        "Conflict",
        r#"Operation cannot be fulfilled on rollouts.argoproj.io "web": the object has been modified; please apply your changes to the latest version and try again"#,
    ),
    (
        "PATCH",
        WEB,
        JSON_PATCH,
        "[{op: test, path: /metadata/uid, value: other}]",
        422,
        "Invalid",
        "the server rejected our request due to an error in our request",
    ),
    (
        "PATCH",
        WEB,
        JSON_PATCH,
        "[{op: replace, path: /spec/absent/x, value: 1}]",
        422,
        "Invalid",
        "the server rejected our request due to an error in our request",
    ),
    (
        "PATCH",
        WEB,
        MERGE,
        "metadata: {uid: other}",
        422,
        "Invalid",
        r#"Rollout.argoproj.io "web" is invalid: metadata.uid: Invalid value: "other": field is immutable"#,
    ),
    (
        "PATCH",
        WEB,
        STRATEGIC,
        "spec: {replicas: 3}",
        415,
        "UnsupportedMediaType",
        "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
    ),
    (
        "PATCH",
        RS,
        MERGE,
        "spec: {selector: {matchLabels: {app: other}}}",
        422,
        "Invalid",
        r#"ReplicaSet.apps "web-1" is invalid: spec.selector: Invalid value: field is immutable"#,
    ),
    ("DELETE", SERVICE, JSON, "preconditions: {uid: other}", 409, "Conflict", ""),
    (
        "POST",
        "/api/v1/namespaces/nowhere/configmaps",
        JSON,
        "metadata: {name: x}",
        404,
        "NotFound",
        r#"namespaces "nowhere" not found"#,
    ),
    (
        "GET",
        "/apis/example.com/v1/widgets",
        "",
        "",
        404,
        "NotFound",
        "the server could not find the requested resource",
    ),
    (
        "PATCH",
        "/api/v1/namespaces/default/configmaps/absent?fieldManager=m",
        APPLY,
        r#"metadata: {name: absent, uid: "1"}"#,
        409,
        "Conflict",
        "",
    ),
];

#[test]
fn refusals_name_the_object_and_the_reason_as_a_real_server_does() {
    for (method, path, content, body, code, reason, message) in REFUSALS.iter().copied() {
        let mut server = loaded();
        let before = server.version();
        let (got, status) = send(&mut server, method, path, content, body);
        assert_eq!((got, &status["reason"]), (code, &json!(reason)), "{method} {path}: {status}");
        assert_eq!((&status["kind"], &status["code"]), (&json!("Status"), &json!(code)));
        if !message.is_empty() {
            assert_eq!(status["message"], message);
        }
        assert_eq!(server.version(), before, "a refusal changes nothing");
    }
}

#[test]
fn a_failed_json_patch_test_has_empty_details_and_a_refused_field_has_causes() {
    let mut server = loaded();
    let test = "[{op: test, path: /metadata/name, value: other}]";
    assert_eq!(send(&mut server, "PATCH", WEB, JSON_PATCH, test).1["details"], json!({}));
    let refused = send(&mut server, "PATCH", WEB, MERGE, "metadata: {uid: other}").1;
    assert_eq!(refused["details"]["causes"][0]["field"], "metadata.uid");
}

#[test]
fn generation_counts_what_the_kind_says() {
    let cases = [
        (WEB, "spec: {replicas: 3}", 2),
        (WEB, "metadata: {annotations: {a: b}}", 1),
        (WEB, "status: {phase: Degraded}", 1),
        (RUN, "status: {phase: Running}", 2),
        (RUN, "metadata: {labels: {a: b}}", 1),
        (RS, "spec: {replicas: 1}", 2),
        (RS, "metadata: {annotations: {a: b}}", 1),
    ];
    for (path, patch, generation) in cases {
        let mut server = loaded();
        let (_, object) = send(&mut server, "PATCH", path, MERGE, patch);
        assert_eq!(object["metadata"]["generation"], generation, "{path} {patch}");
    }
    let mut server = loaded();
    let patch = "status: {phase: Progressing}";
    let (_, rollout) = send(&mut server, "PATCH", &format!("{WEB}/status"), MERGE, patch);
    assert_eq!(rollout["metadata"]["generation"], 1, "a status write is not a new generation");
}

#[test]
fn each_endpoint_changes_its_own_part_only() {
    let mut server = loaded();
    assert_eq!(get(&mut server, WEB).get("status"), None, "status of a new object is dropped");
    let both = "{metadata: {annotations: {a: b}}, spec: {replicas: 9}, status: {phase: Paused}}";
    let (_, rollout) = send(&mut server, "PATCH", &format!("{WEB}/status"), MERGE, both);
    assert_eq!(rollout["status"]["phase"], "Paused");
    assert_eq!(rollout["spec"]["replicas"], 2);
    assert_eq!(rollout["metadata"].get("annotations"), None);
    let other = "{spec: {replicas: 9}, status: {phase: Healthy}}";
    let (_, rollout) = send(&mut server, "PATCH", WEB, MERGE, other);
    assert_eq!(
        (&rollout["spec"]["replicas"], &rollout["status"]["phase"]),
        (&json!(9), &json!("Paused"))
    );
    let (_, run) = send(&mut server, "PATCH", RUN, MERGE, "status: {phase: Running}");
    assert_eq!(
        run["status"]["phase"], "Running",
        "no status subresource: the main endpoint writes it"
    );
}

#[test]
fn a_write_without_change_makes_no_new_version() {
    for (path, content, body) in [
        (WEB, MERGE, "spec: {replicas: 2}"),
        (WEB, JSON_PATCH, "[{op: add, path: /spec/replicas, value: 2}]"),
        (SERVICE, STRATEGIC, "spec: {ports: [{port: 80, protocol: TCP}]}"),
    ] {
        let mut server = loaded();
        let before = server.version();
        let (code, _) = send(&mut server, "PATCH", path, content, body);
        assert_eq!((code, server.version()), (200, before), "{path} {body}");
    }
}

#[test]
fn scale_reads_and_writes_replicas() {
    for path in [WEB, RS] {
        let mut server = loaded();
        let scale = format!("{path}/scale");
        let (code, body) = send(&mut server, "PATCH", &scale, MERGE, "spec: {replicas: 7}");
        assert_eq!((code, &body["spec"]["replicas"]), (200, &json!(7)));
        assert_eq!(get(&mut server, path)["spec"]["replicas"], 7);
        assert_eq!(get(&mut server, &scale)["kind"], "Scale");
    }
}

/// Applies as a manager and returns the object.
fn apply(server: &mut ApiServer, path: &str, manager: &str, body: &str) -> Value {
    let path = format!("{path}?fieldManager={manager}&force=true");
    let (code, object) = send(server, "PATCH", &path, APPLY, body);
    assert!(code < 300, "{object}");
    object
}

#[test]
fn an_apply_removes_what_its_manager_declared_before_and_omits_now() {
    let cm = "/api/v1/namespaces/default/configmaps/app";
    let cases = [
        (
            "own field goes",
            "data: {a: '1', b: '2'}",
            "",
            "data: {a: '1'}",
            "/data",
            json!({"a": "1"}),
        ),
        (
            "a field of others stays",
            "data: {a: '1'}",
            "data: {b: '2'}",
            "data: {a: '3'}",
            "/data",
            json!({"a": "3", "b": "2"}),
        ),
        (
            "a field that another manager declares too stays",
            "data: {a: '1', b: '2'}",
            "data: {b: '2'}",
            "data: {a: '1'}",
            "/data",
            json!({"a": "1", "b": "2"}),
        ),
        (
            "labels go with their map",
            "metadata: {labels: {x: y}}",
            "",
            "data: {a: '1'}",
            "/metadata/labels",
            Value::Null,
        ),
    ];
    for (name, first, other, second, at, expected) in cases {
        let mut server = server();
        apply(&mut server, cm, "git", first);
        if !other.is_empty() {
            apply(&mut server, cm, "other", other);
        }
        let object = apply(&mut server, cm, "git", second);
        assert_eq!(object.pointer(at).cloned().unwrap_or_default(), expected, "{name}");
    }
}

#[test]
fn a_field_that_another_writer_changed_is_no_longer_the_appliers() {
    let mut server = loaded();
    let rs = |extra: &str| format!("{{metadata: {{name: web-1}}, spec: {{{extra}}}}}");
    apply(&mut server, RS, "git", &rs("replicas: 5"));
    send(&mut server, "PATCH", RS, MERGE, "spec: {replicas: 3}");
    let after = apply(&mut server, RS, "git", &rs("minReadySeconds: 1"));
    assert_eq!(after["spec"]["replicas"], 3);
    apply(&mut server, RS, "git", &rs("replicas: 5"));
    let after = apply(&mut server, RS, "git", &rs("minReadySeconds: 1"));
    assert_eq!(after["spec"]["replicas"], 1, "removed, then defaulted");
}

#[test]
fn an_apply_replaces_atomic_lists_and_maps_and_merges_keyed_lists() {
    let mut server = loaded();
    let vs = apply(&mut server, VS, "git", "spec: {http: [{name: other}]}");
    assert_eq!(vs["spec"]["http"], json!([{ "name": "other" }]));
    assert_eq!(vs["spec"]["hosts"], json!(["web"]));
    let service =
        apply(&mut server, SERVICE, "git", "spec: {selector: {tier: front}, ports: [{port: 81}]}");
    assert_eq!(service["spec"]["selector"], json!({ "tier": "front" }));
    let ports =
        service["spec"]["ports"].as_array().unwrap().iter().map(|port| port["port"].clone());
    assert_eq!(ports.collect::<Vec<_>>(), [json!(80), json!(81)]);
}

#[test]
fn an_apply_without_force_names_the_manager_and_the_field() {
    let mut server = loaded();
    let path = format!("{RS}?fieldManager=git");
    let (code, status) = send(&mut server, "PATCH", &path, APPLY, "spec: {replicas: 4}");
    assert_eq!((code, &status["reason"]), (409, &json!("Conflict")));
    assert_eq!(
        status["details"]["causes"],
        json!([{ "reason": "FieldManagerConflict", "message": "conflict with \"setup\"", "field": ".spec.replicas" }])
    );
}

#[test]
fn an_apply_carries_preconditions_and_creates_what_is_absent() {
    let mut server = loaded();
    let rs = get(&mut server, RS);
    let stale = "{metadata: {resourceVersion: '1'}, spec: {replicas: 4}}";
    let path = format!("{RS}?fieldManager=git&force=true");
    assert_eq!(send(&mut server, "PATCH", &path, APPLY, stale).0, 409);
    let fresh =
        format!("{{metadata: {{resourceVersion: '{}'}}, spec: {{replicas: 4}}}}", version(&rs));
    assert_eq!(send(&mut server, "PATCH", &path, APPLY, &fresh).0, 200);
    let absent = "/api/v1/namespaces/default/configmaps/new?fieldManager=git";
    assert_eq!(send(&mut server, "PATCH", absent, APPLY, "data: {a: b}").0, 201);
    let again = server.version();
    assert_eq!(send(&mut server, "PATCH", absent, APPLY, "data: {a: b}").0, 200);
    assert_eq!(server.version(), again, "the same apply again changes nothing");
}

fn open(server: &mut ApiServer, path: &str) -> Watch {
    match server.handle(now(), &Call::new("GET", path)) {
        Reply::Watch(watch) => *watch,
        other => panic!("{other:?}"),
    }
}

fn events(server: &ApiServer, watch: &mut Watch) -> Vec<String> {
    let events = server.watched(watch).unwrap();
    let describe = |event: WatchEvent| {
        let name = mutate::text(&event.body, "/object/metadata/name").to_owned();
        format!("{} {name}", mutate::text(&event.body, "/type"))
    };
    events.into_iter().map(describe).collect()
}

#[test]
fn a_watch_resumes_where_the_list_ended_and_sees_objects_enter_and_leave_its_selection() {
    let mut server = loaded();
    let from = mutate::text(&get(&mut server, ROLLOUTS), "/metadata/resourceVersion").to_owned();
    let path = format!("{ROLLOUTS}?watch=true&resourceVersion={from}");
    let mut all = open(&mut server, &path);
    let mut selected = open(&mut server, &format!("{path}&labelSelector=tier%3Dfront"));
    assert!(events(&server, &mut all).is_empty());
    send(&mut server, "PATCH", WEB, MERGE, "metadata: {labels: {tier: front}}");
    send(&mut server, "PATCH", WEB, MERGE, "spec: {replicas: 5}");
    send(&mut server, "PATCH", SERVICE, MERGE, "metadata: {labels: {tier: front}}");
    assert_eq!(events(&server, &mut all), ["MODIFIED web", "MODIFIED web"]);
    assert_eq!(events(&server, &mut selected), ["ADDED web", "MODIFIED web"]);
    send(&mut server, "PATCH", WEB, MERGE, "metadata: {labels: {tier: null}}");
    send(&mut server, "DELETE", WEB, "", "");
    assert_eq!(events(&server, &mut all), ["MODIFIED web", "DELETED web"]);
    assert_eq!(events(&server, &mut selected), ["DELETED web"]);
    assert!(events(&server, &mut all).is_empty());
}

#[test]
fn a_watch_from_zero_begins_with_what_exists_and_may_end_its_beginning_with_a_bookmark() {
    let mut server = loaded();
    let mut zero = open(&mut server, &format!("{ROLLOUTS}?watch=1&resourceVersion=0"));
    assert_eq!(events(&server, &mut zero), ["ADDED web"]);
    let streaming =
        "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut streaming = open(&mut server, &format!("{ROLLOUTS}?{streaming}"));
    assert_eq!(events(&server, &mut streaming), ["ADDED web", "BOOKMARK "]);
}

#[test]
fn a_compacted_version_is_expired_for_watches_and_pages() {
    let mut server = loaded();
    let first = get(&mut server, "/api/v1/namespaces?limit=2");
    let token = first["metadata"]["continue"].as_str().unwrap().to_owned();
    let mut watch = open(&mut server, &format!("{ROLLOUTS}?watch=1&resourceVersion=3"));
    server.compact(server.version());
    assert_eq!(server.watched(&mut watch).unwrap_err().code, 410);
    send(&mut server, "PATCH", WEB, MERGE, "spec: {replicas: 5}");
    server.compact(server.version());
    let (code, status) =
        send(&mut server, "GET", &format!("/api/v1/namespaces?limit=2&continue={token}"), "", "");
    assert_eq!((code, &status["reason"]), (410, &json!("Expired")));
}

#[test]
fn pages_show_the_state_of_the_first_one() {
    let mut server = loaded();
    let names = |list: &Value| -> Vec<String> {
        let items = list["items"].as_array().unwrap().iter();
        items.map(|item| mutate::text(item, "/metadata/name").to_owned()).collect()
    };
    let first = get(&mut server, "/api/v1/namespaces?limit=3");
    assert_eq!(names(&first), ["default", "kube-node-lease", "kube-public"]);
    assert_eq!(first["metadata"]["remainingItemCount"], 1);
    send(&mut server, "POST", "/api/v1/namespaces", JSON, "metadata: {name: zoo}");
    let token = first["metadata"]["continue"].as_str().unwrap().to_owned();
    let second = get(&mut server, &format!("/api/v1/namespaces?limit=3&continue={token}"));
    assert_eq!(names(&second), ["kube-system"]);
    assert_eq!(second["metadata"].get("continue"), None);
}

#[test]
fn lists_select_by_labels_and_fields() {
    let mut server = loaded();
    for (selector, count) in [
        ("labelSelector=app%3Dweb", 1),
        ("labelSelector=app+in+(web,api)", 1),
        ("labelSelector=app,!tier", 1),
        ("labelSelector=app!%3Dweb", 0),
        ("labelSelector=app+notin+(web)", 0),
        ("fieldSelector=metadata.name%3Dweb", 1),
        ("fieldSelector=metadata.name!%3Dweb", 0),
        ("fieldSelector=metadata.namespace%3Ddefault,spec.replicas%3D2", 1),
    ] {
        let list = get(&mut server, &format!("{ROLLOUTS}?{selector}"));
        assert_eq!(list["items"].as_array().unwrap().len(), count, "{selector}");
    }
}

const CHILDREN: &str = "/api/v1/namespaces/default/configmaps/child";

fn with_child() -> ApiServer {
    let mut server = loaded();
    let uid = mutate::text(&get(&mut server, WEB), "/metadata/uid").to_owned();
    let child = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "child", "ownerReferences": [{
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "web", "uid": uid,
            "controller": true, "blockOwnerDeletion": true,
        }] },
    });
    server.load(now(), "setup", child).unwrap();
    server
}

#[test]
fn deletion_leaves_or_takes_the_dependents_as_it_was_asked_to() {
    for (policy, owner_at_once, child_stays) in
        [("Orphan", true, true), ("Background", true, false), ("Foreground", false, false)]
    {
        let mut server = with_child();
        send(&mut server, "DELETE", WEB, JSON, &format!("propagationPolicy: {policy}"));
        let gone = send(&mut server, "GET", WEB, "", "").0 == 404;
        assert_eq!(gone, owner_at_once, "{policy}");
        while server.collect_garbage(now()) {}
        assert_eq!(send(&mut server, "GET", WEB, "", "").0, 404, "{policy}");
        let (code, child) = send(&mut server, "GET", CHILDREN, "", "");
        assert_eq!(code == 200, child_stays, "{policy}");
        if child_stays {
            assert_eq!(child["metadata"].get("ownerReferences"), None);
        }
    }
}

#[test]
fn finalizers_and_terminating_namespaces_hold_objects_until_they_are_done() {
    let mut server = loaded();
    send(&mut server, "PATCH", WEB, MERGE, "metadata: {finalizers: [example.com/hold]}");
    send(&mut server, "DELETE", WEB, "", "");
    let held = get(&mut server, WEB);
    assert!(held["metadata"]["deletionTimestamp"].is_string());
    send(&mut server, "PATCH", WEB, MERGE, "metadata: {finalizers: null}");
    assert_eq!(send(&mut server, "GET", WEB, "", "").0, 404);
    send(&mut server, "DELETE", "/api/v1/namespaces/default", "", "");
    let (code, status) = send(&mut server, "POST", ROLLOUTS, JSON, "metadata: {name: late}");
    assert_eq!(
        (code, &status["details"]["causes"][0]["reason"]),
        (403, &json!("NamespaceTerminating"))
    );
    while server.collect_garbage(now()) {}
    assert_eq!(send(&mut server, "GET", "/api/v1/namespaces/default", "", "").0, 404);
}

const WIDGETS: &str = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {kind: Widget, plural: widgets, singular: widget, shortNames: [wd]}
  versions:
  - name: v1
    served: true
    storage: true
    additionalPrinterColumns: [{name: Size, type: integer, jsonPath: .spec.size}]
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            properties:
              size: {type: integer, default: 3}
              free: {type: object, x-kubernetes-preserve-unknown-fields: true}
"#;

#[test]
fn a_definition_brings_its_kind_with_defaults_pruning_and_columns_and_takes_it_away() {
    let mut server = ApiServer::bare(now());
    let widgets = "/apis/example.com/v1/namespaces/default/widgets";
    assert_eq!(send(&mut server, "GET", widgets, "", "").0, 404);
    server.load(now(), "setup", yaml(WIDGETS)).unwrap();
    let widget = "{metadata: {name: w}, spec: {unknown: 1, free: {any: 1}}}";
    let (_, made) = send(&mut server, "POST", widgets, JSON, widget);
    assert_eq!(made["spec"], json!({ "size": 3, "free": { "any": 1 } }));
    let mut call = Call::new("GET", widgets);
    call.accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json".into();
    let Reply::Json { body, .. } = server.handle(now(), &call) else { panic!() };
    assert_eq!(body["rows"][0]["cells"], json!(["w", 3]));
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.example.com";
    send(&mut server, "DELETE", path, "", "");
    assert_eq!(send(&mut server, "GET", widgets, "", "").0, 404);
}

#[test]
fn discovery_lists_groups_resources_and_short_names() {
    let mut server = server();
    let groups = get(&mut server, "/apis");
    let names: Vec<&str> = groups["groups"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|group| group["name"].as_str())
        .collect();
    assert!(names.contains(&"argoproj.io") && names.contains(&"networking.istio.io"), "{names:?}");
    let list = get(&mut server, "/apis/argoproj.io/v1alpha1");
    let resources = list["resources"].as_array().unwrap();
    let find = |name: &str| resources.iter().find(|resource| resource["name"] == name);
    assert_eq!(find("rollouts").unwrap()["shortNames"], json!(["ro"]));
    assert!(find("rollouts/status").is_some() && find("rollouts/scale").is_some());
    assert!(find("applications/status").is_none());
    assert_eq!(get(&mut server, "/readyz"), "ok");
}

#[test]
fn a_dry_run_answers_and_changes_nothing() {
    let mut server = loaded();
    let before = server.version();
    let (_, object) =
        send(&mut server, "PATCH", &format!("{WEB}?dryRun=All"), MERGE, "spec: {replicas: 9}");
    assert_eq!((&object["spec"]["replicas"], server.version()), (&json!(9), before));
}

#[test]
fn every_write_of_our_vocabulary_is_understood_with_its_preconditions() {
    let body = |server: &ApiServer| server.get(&rollout()).unwrap();
    fn rollout() -> ObjectRef {
        ObjectRef::namespaced(Kind::ROLLOUT, "default", "web")
    }
    let changes = || {
        vec![
            Body::MergePatch { body: json!({ "metadata": { "annotations": { "a": "b" } } }) },
            Body::JsonPatch {
                operations: vec![json!({ "op": "add", "path": "/spec/replicas", "value": 5 })],
            },
            Body::Status { body: json!({ "phase": "Paused" }) },
            Body::Apply { body: json!({ "spec": { "replicas": 6 } }) },
            Body::Delete { propagation: Propagation::Orphan },
        ]
    };
    for change in changes() {
        let mut server = loaded();
        let live = body(&server);
        let uid = mutate::text(&live, "/metadata/uid").to_owned();
        let write = |version: u64, change: &Body| Write {
            object: rollout(),
            preconditions: Preconditions {
                uid: Some(uid.clone()),
                resource_version: Some(ResourceVersion::from(version)),
            },
            manager: "sluice-rollout".into(),
            change: change.clone(),
        };
        let stale = server.write(now(), "sluice", &write(1, &change)).unwrap_err();
        assert_eq!(stale.code, 409, "{change:?}");
        server.write(now(), "sluice", &write(version(&live), &change)).unwrap();
        assert!(server.version() > version(&live), "{change:?}");
    }
}

#[test]
fn requests_are_recorded_with_actor_verb_path_and_code() {
    let mut server = loaded();
    server.forget_requests();
    get(&mut server, ROLLOUTS);
    get(&mut server, WEB);
    open(&mut server, &format!("{ROLLOUTS}?watch=true"));
    send(&mut server, "PATCH", WEB, MERGE, "metadata: {resourceVersion: '1'}");
    let lines: Vec<String> = server
        .requests()
        .iter()
        .map(|r| format!("{} {} {} {}", r.actor, r.verb, r.path, r.code))
        .collect();
    assert_eq!(
        lines,
        [
            format!("test/1.0 list {ROLLOUTS} 200"),
            format!("test/1.0 get {WEB} 200"),
            format!(" watch {ROLLOUTS} 200"),
            format!("test/1.0 patch {WEB} 409"),
        ]
    );
}

#[test]
fn equal_requests_make_equal_servers() {
    let (mut a, mut b) = (with_child(), with_child());
    assert_eq!(get(&mut a, ROLLOUTS), get(&mut b, ROLLOUTS));
    assert_eq!(a.requests(), b.requests());
}
