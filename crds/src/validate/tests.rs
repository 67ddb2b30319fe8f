use serde_json::{Value, json};

use super::*;

const GOOD: &str = "
replicas: 5
selector: {matchLabels: {app: web}}
template:
  metadata: {labels: {app: web}}
  spec: {containers: [{name: web, image: web:1}]}
strategy:
  canary:
    canaryService: web-canary
    stableService: web-stable
    trafficRouting:
      managedRoutes: [{name: beta}]
      istio: {virtualService: {name: web, routes: [primary]}}
    steps:
    - setWeight: 20
    - pause: {duration: 5m}
    - setCanaryScale: {weight: 50}
    - analysis: {templates: [{templateName: errors}], args: [{name: service, value: web}]}
";

/// Merges `change` into the good Rollout and returns the problems as text.
fn problems(change: Value) -> Vec<String> {
    let mut spec = crate::yaml::values(GOOD).unwrap().remove(0);
    merge(&mut spec, change);
    let spec = serde_json::from_value(spec).unwrap();
    rollout(&spec).iter().map(ToString::to_string).collect()
}

fn merge(into: &mut Value, change: Value) {
    match (into, change) {
        (Value::Object(into), Value::Object(change)) => {
            for (key, value) in change {
                if value.is_null() {
                    into.remove(&key);
                } else {
                    merge(into.entry(key).or_insert(Value::Null), value);
                }
            }
        }
        (into, change) => *into = change,
    }
}

fn check(change: Value, expected: &[&str]) {
    assert_eq!(problems(change), expected);
}

fn steps(steps: Value) -> Value {
    json!({ "strategy": { "canary": { "steps": steps } } })
}

fn canary(canary: Value) -> Value {
    json!({ "strategy": { "canary": canary } })
}

#[test]
fn a_good_rollout_has_no_problem() {
    check(json!({}), &[]);
}

#[test]
fn all_problems_are_reported_not_the_first() {
    check(
        json!({ "replicas": -1, "minReadySeconds": 600, "template": { "metadata": { "labels": { "app": "api" } } } }),
        &[
            "spec.replicas: -1 is below 0",
            "spec.progressDeadlineSeconds: 600 is not above minReadySeconds, which is 600",
            "spec.selector.matchLabels[app]: selects `web`, but spec.template.metadata.labels has `api`",
        ],
    );
}

#[test]
fn exactly_one_strategy_is_needed() {
    check(
        json!({ "strategy": { "canary": null } }),
        &["spec.strategy: neither `canary` nor `blueGreen` is set"],
    );
    check(
        json!({ "strategy": { "blueGreen": { "activeService": "a" } } }),
        &["spec.strategy: both `canary` and `blueGreen` are set"],
    );
}

#[test]
fn a_template_is_needed_and_must_be_one() {
    check(json!({ "template": null }), &["spec.template: required, unless `workloadRef` is set"]);
    check(
        json!({ "template": { "spec": { "containers": [{ "name": "a", "image": "b" }, { "name": "a" }], "restartPolicy": "Never" } } }),
        &[
            "spec.template.spec.containers[1].image: required",
            "spec.template.spec.containers[1].name: `a` is used twice",
            "spec.template.spec.restartPolicy: `Never` is not one of `Always`",
        ],
    );
    check(
        json!({ "template": null, "workloadRef": { "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "w" } }),
        &[
            "spec.workloadRef.kind: `apps/v1` `StatefulSet` is none of Deployment and ReplicaSet of `apps/v1`, and PodTemplate of `v1`",
        ],
    );
}

#[test]
fn a_selector_selects_something_that_the_template_has() {
    check(json!({ "selector": null }), &["spec.selector: required"]);
    check(
        json!({ "selector": { "matchLabels": null } }),
        &["spec.selector: empty: it would select every Pod of the namespace"],
    );
    check(
        json!({ "selector": { "matchExpressions": [
            { "key": "app", "operator": "In", "values": ["web"] },
            { "key": "tier", "operator": "Exists" },
            ] } }),
        &[
            "spec.selector.matchExpressions[1]: does not match label `tier` of spec.template.metadata.labels",
        ],
    );
    check(
        json!({ "selector": { "matchExpressions": [{ "key": "app", "operator": "in", "values": ["web"] }] } }),
        &[
            "spec.selector.matchExpressions[0].operator: `in` is not one of `In`, `NotIn`, `Exists` and `DoesNotExist`",
        ],
    );
}

#[test]
fn weights_and_durations_are_in_range() {
    check(
        steps(
            json!([{ "setWeight": 101 }, { "setWeight": -1 }, { "pause": { "duration": "5 minutes" } }, { "pause": { "duration": -3 } }]),
        ),
        &[
            "spec.strategy.canary.steps[0].setWeight: 101 is not in 0..=100",
            "spec.strategy.canary.steps[1].setWeight: -1 is not in 0..=100",
            "spec.strategy.canary.steps[2].pause.duration: `5 minutes` is no duration",
            "spec.strategy.canary.steps[3].pause.duration: `-3` is below 0",
        ],
    );
    check(
        steps(
            json!([{ "pause": {} }, { "pause": { "duration": 30 } }, { "pause": { "duration": "90" } }]),
        ),
        &[],
    );
}

#[test]
fn a_step_has_one_type() {
    check(
        steps(
            json!([{}, { "setWeight": 5, "pause": {} }, { "setWeight": 5, "duration": "5m" }, { "pause": {}, "duration": "5m" }]),
        ),
        &[
            "spec.strategy.canary.steps[0]: does nothing: a step needs exactly one type, such as `setWeight`",
            "spec.strategy.canary.steps[1]: has `setWeight` and `pause` at once",
            "spec.strategy.canary.steps[3].duration: only a `setWeight` may have a duration of its own",
        ],
    );
}

#[test]
fn what_needs_a_router_says_so() {
    check(
        canary(json!({
            "trafficRouting": null, "scaleDownDelaySeconds": 5,
            "steps": [{ "setCanaryScale": { "replicas": 1 } }, { "setHeaderRoute": { "name": "beta" } }],
        })),
        &[
            "spec.strategy.canary.scaleDownDelaySeconds: needs trafficRouting",
            "spec.strategy.canary.steps[0].setCanaryScale: needs trafficRouting: without a router the weight is the share of Pods",
            "spec.strategy.canary.steps[1].setHeaderRoute: needs a traffic router that can match headers",
            "spec.strategy.canary.steps[1].setHeaderRoute.name: `beta` is not in spec.strategy.canary.trafficRouting.managedRoutes",
        ],
    );
}

#[test]
fn an_ability_that_the_router_lacks_is_named_with_those_that_have_it() {
    let mut spec = crate::yaml::values(GOOD).unwrap().remove(0);
    merge(
        &mut spec,
        canary(json!({
            "trafficRouting": { "istio": null, "nginx": { "stableIngress": "web" } },
            "steps": [{ "setHeaderRoute": { "name": "beta", "match": [{ "headerName": "x", "headerValue": { "exact": "1", "prefix": "2" } }] } }],
        })),
    );
    let found = rollout(&serde_json::from_value(spec).unwrap());
    let texts: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "spec.strategy.canary.steps[0].setHeaderRoute: router `nginx` cannot match headers",
            "spec.strategy.canary.steps[0].setHeaderRoute.match[0].headerValue: exactly one of `exact`, `prefix` and `regex` must be set",
        ]
    );
    assert_eq!(
        found[0].hint.as_deref(),
        Some("remove the step, or route through one of `istio`, `alb`, `apisix` and `plugins`")
    );
}

#[test]
fn both_services_are_needed_and_differ() {
    check(
        canary(json!({ "canaryService": null, "stableService": null })),
        &[
            "spec.strategy.canary.canaryService: required by spec.strategy.canary.trafficRouting.istio",
            "spec.strategy.canary.stableService: required by spec.strategy.canary.trafficRouting.istio",
        ],
    );
    check(
        canary(json!({ "canaryService": "web", "stableService": "web" })),
        &["spec.strategy.canary.canaryService: is the stableService, too: they must differ"],
    );
    check(
        canary(json!({ "canaryService": null, "stableService": null,
            "trafficRouting": { "istio": { "destinationRule": { "name": "web" } } } })),
        &[],
    );
}

#[test]
fn two_services_swap_roles_or_have_them_for_good() {
    let pair = json!({ "pingService": "a", "pongService": "b" });
    check(
        canary(json!({ "pingPong": pair })),
        &[
            "spec.strategy.canary.pingPong: excludes canaryService and stableService: routes can follow one pair only",
        ],
    );
    check(canary(json!({ "canaryService": null, "stableService": null, "pingPong": pair })), &[]);
    check(
        canary(json!({ "canaryService": null, "stableService": null,
            "pingPong": { "pingService": "a", "pongService": "a" } })),
        &["spec.strategy.canary.pingPong.pongService: is the pingService, too: they must differ"],
    );
}

#[test]
fn a_route_of_a_step_is_listed_and_is_no_weighed_one() {
    let matches = json!([{ "headerName": "x", "headerValue": { "exact": "1" } }]);
    let routing = json!({ "managedRoutes": [{ "name": "staff" }, { "name": "primary" }],
        "istio": { "virtualService": { "name": "web", "routes": ["primary"] } } });
    check(
        canary(json!({ "trafficRouting": routing, "steps": [
            { "setHeaderRoute": { "name": "staff", "match": matches } },
            { "setHeaderRoute": { "name": "primary", "match": matches } },
            { "setMirrorRoute": { "name": "shadow", "percentage": 101 } },
            { "setMirrorRoute": { "name": "staff", "match": [{ "headers": { "x": {} } }] } },
        ] })),
        &[
            "spec.strategy.canary.steps[1].setHeaderRoute.name: `primary` is a route whose weights the Rollout sets",
            "spec.strategy.canary.steps[2].setMirrorRoute.name: `shadow` is not in spec.strategy.canary.trafficRouting.managedRoutes",
            "spec.strategy.canary.steps[2].setMirrorRoute.percentage: 101 is not in 0..=100",
            "spec.strategy.canary.steps[3].setMirrorRoute.match[0].headers[x]: exactly one of `exact`, `prefix` and `regex` must be set",
        ],
    );
}

#[test]
fn istio_names_its_objects_once() {
    check(
        canary(
            json!({ "trafficRouting": { "istio": { "virtualServices": [{ "name": "a" }, { "name": "a" }] } } }),
        ),
        &[
            "spec.strategy.canary.trafficRouting.istio: only one of `virtualService` and `virtualServices` may be set",
            "spec.strategy.canary.trafficRouting.istio.virtualServices[1].name: `a` is used twice",
        ],
    );
    check(
        canary(json!({ "trafficRouting": { "istio": { "virtualService": null } } })),
        &[
            "spec.strategy.canary.trafficRouting.istio: one of `virtualService` and `virtualServices` must be set",
        ],
    );
    check(
        canary(json!({ "trafficRouting": { "maxTrafficWeight": 50 } })),
        &[
            "spec.strategy.canary.trafficRouting.maxTrafficWeight: only nginx and plugins have another weight than 100",
        ],
    );
}

#[test]
fn surge_and_unavailability_leave_a_way_forward() {
    check(
        canary(json!({ "maxSurge": 0, "maxUnavailable": "0%" })),
        &[
            "spec.strategy.canary.maxUnavailable: maxSurge and maxUnavailable are both 0: no Pod could ever be replaced",
        ],
    );
    check(
        canary(json!({ "maxSurge": "lots", "maxUnavailable": "101%" })),
        &[
            "spec.strategy.canary.maxSurge: `lots` is neither a number nor a percentage",
            "spec.strategy.canary.maxUnavailable: `101%` is above 100%",
        ],
    );
}

#[test]
fn analysis_arguments_can_be_resolved() {
    check(
        steps(json!([{ "analysis": { "args": [
            { "name": "a", "valueFrom": { "fieldRef": { "fieldPath": "metadata.generation" } } },
            { "name": "a", "valueFrom": { "podTemplateHashValue": "Newest" } },
            { "name": "ok", "valueFrom": { "fieldRef": { "fieldPath": "metadata.labels['app']" } } },
        ] } }])),
        &[
            "spec.strategy.canary.steps[0].analysis.templates: required: at least one template",
            "spec.strategy.canary.steps[0].analysis.args[0].valueFrom.fieldRef.fieldPath: `metadata.generation` is no field that can be passed on",
            "spec.strategy.canary.steps[0].analysis.args[1].valueFrom.podTemplateHashValue: `Newest` is not one of `Stable` and `Latest`",
            "spec.strategy.canary.steps[0].analysis.args[1].name: `a` is used twice",
        ],
    );
}

#[test]
fn blue_green_rules() {
    check(
        json!({ "strategy": { "canary": null, "blueGreen": {
            "activeService": "web", "previewService": "web", "scaleDownDelayRevisionLimit": 11,
            "antiAffinity": {},
        } } }),
        &[
            "spec.strategy.blueGreen.previewService: is the activeService, too: they must differ",
            "spec.strategy.blueGreen.scaleDownDelayRevisionLimit: 11 is above spec.revisionHistoryLimit, which is 10",
            "spec.strategy.blueGreen.antiAffinity: exactly one of `preferredDuringSchedulingIgnoredDuringExecution` and `requiredDuringSchedulingIgnoredDuringExecution` must be set",
        ],
    );
}

#[test]
fn queries_by_name_are_known_and_have_a_range() {
    let analysis = |analysis: Value| canary(json!({ "analysis": analysis }));
    let good = json!({ "name": "error-rate", "thresholdRange": { "max": 0.05 }, "interval": "1m" });
    check(analysis(json!({ "interval": "30s", "threshold": 5, "metrics": [good] })), &[]);
    check(
        analysis(json!({ "threshold": 0, "metrics": [
            { "name": "coffee-level", "thresholdRange": { "min": 2.0, "max": 1.0 } },
            { "name": "error-rate" },
        ] })),
        &[
            "spec.strategy.canary.analysis.threshold: 0 is below 1",
            "spec.strategy.canary.analysis.metrics[0].name: no query is known by the name `coffee-level`: `error-rate`, `request-success-rate`, `request-duration`",
            "spec.strategy.canary.analysis.metrics[0].thresholdRange: min 2 is above max 1: no value is good",
            "spec.strategy.canary.analysis.metrics[1].thresholdRange: required: `min`, `max` or both",
        ],
    );
    check(
        analysis(json!({ "interval": "1m", "templates": [{ "templateName": "a" }] })),
        &[
            "spec.strategy.canary.analysis.interval: is of the form with `metrics`, and there are none",
        ],
    );
}

#[test]
fn shares_of_versions_fit_beside_the_canary_and_have_one_port() {
    let ports = |ports: Value| {
        let container = json!({ "name": "a", "image": "a", "ports": ports });
        json!({ "metadata": { "labels": { "app": "web" } }, "spec": { "containers": [container] } })
    };
    let spec = |template: Value, weight: i64| {
        let versions = json!([
            { "name": "a", "specRef": "stable", "weight": 30 },
            { "name": "b", "specRef": "canary", "weight": 20, "replicas": 2 },
        ]);
        json!({ "template": template, "strategy": { "canary": {
            "steps": [{ "setWeight": weight }, { "experiment": { "templates": versions } }],
        } } })
    };
    let one = json!([{ "containerPort": 80 }]);
    check(spec(ports(one.clone()), 50), &[]);
    check(
        spec(ports(one), 51),
        &[
            "spec.strategy.canary.steps[1].experiment.templates: their weights add up to 50, and the canary has 51 of 100",
        ],
    );
    check(
        spec(ports(json!([])), 50),
        &[
            "spec.strategy.canary.steps[1].experiment.templates[0].weight: needs a Pod template with one port; this one has 0",
            "spec.strategy.canary.steps[1].experiment.templates[1].weight: needs a Pod template with one port; this one has 0",
        ],
    );
}

fn check_template(yaml: &str, expected: &[&str]) {
    let spec = serde_json::from_value(crate::yaml::values(yaml).unwrap().remove(0)).unwrap();
    let found: Vec<String> = analysis_template(&spec).iter().map(ToString::to_string).collect();
    assert_eq!(found, expected);
}

#[test]
fn metrics_can_come_to_a_verdict() {
    check_template(
        "
args: [{name: service}]
metrics:
- name: ok
  interval: 30s
  count: '{{args.service}}'
  provider: {prometheus: {address: 'http://p', query: 'up{job=\"{{args.service}}\"}'}}
- name: ok
  count: 3
  provider: {prometheus: {query: ''}, web: {url: example.com, jsonBody: {a: 1}}}
- name: limits
  interval: 5s
  count: 2
  failureLimit: 2
  consecutiveSuccessLimit: 1
  provider: {}
- name: endless
  failureLimit: -1
  interval: 1 minute
  provider: {plugin: {a/b: {}, c/d: {}}}
- name: argument
  provider: {web: {url: 'https://x/{{ args.missing }}'}}
",
        &[
            "spec.metrics[1].name: `ok` is used twice",
            "spec.metrics[1].interval: required, because count is 3",
            "spec.metrics[1].provider: names 2 providers: exactly one is allowed",
            "spec.metrics[1].provider.prometheus.query: required",
            "spec.metrics[1].provider.web.url: `example.com` is no URL",
            "spec.metrics[1].provider.web.method: a GET takes no body",
            "spec.metrics[2].count: 2 is below failureLimit + consecutiveSuccessLimit, which is 3",
            "spec.metrics[2].provider: names no provider",
            "spec.metrics[3].interval: `1 minute` is no duration",
            "spec.metrics[3].failureLimit: -1 switches failures off, so consecutiveSuccessLimit must be above 0: nothing would end the metric",
            "spec.metrics[3].provider: names 2 providers: exactly one is allowed",
            "spec.metrics[4]: uses `{{args.missing}}`, which is no argument",
        ],
    );
    check_template("{}", &["spec.metrics: required: at least one metric, here or in `templates`"]);
}

fn check_application(yaml: &str, expected: &[&str]) {
    let spec = serde_json::from_value(crate::yaml::values(yaml).unwrap().remove(0)).unwrap();
    let found: Vec<String> = application(&spec).iter().map(ToString::to_string).collect();
    assert_eq!(found, expected);
}

#[test]
fn an_application_names_one_place_and_one_source() {
    check_application(
        "{destination: {server: s}, source: {repoURL: r, path: apps, kustomize: {images: [a:b, {name: c, newTag: v2}]}}}",
        &[],
    );
    check_application(
        "{project: p}",
        &[
            "spec.destination: neither `server` nor `name` is set",
            "spec.source: required: one of `source` and `sources`",
        ],
    );
    check_application(
        "
destination: {server: s, name: other}
source: {repoURL: '', path: ../other, helm: {version: v2}, directory: {}}
syncPolicy: {retry: {backoff: {duration: soon, maxDuration: '180'}}}
ignoreDifferences: [{kind: '', jsonPointers: [spec/replicas]}]
refreshInterval: 500ms
notifications: [{name: slack}]
health: {resources: [{name: a, kind: B, timeout: '5', healthLevel: Bad}]}
rollback: {scope: everything}
",
        &[
            "spec.destination: both `server` and `name` are set",
            "spec.source.repoURL: required",
            "spec.source: at most one of `helm`, `kustomize`, `directory` and `plugin` may be set",
            "spec.source.path: `../other` leaves the repository",
            "spec.source.helm.version: `v2` is not one of `v3`",
            "spec.syncPolicy.retry.backoff.duration: `soon` is no duration",
            "spec.ignoreDifferences[0].kind: required",
            "spec.ignoreDifferences[0].jsonPointers[0]: `spec/replicas` is no JSON pointer",
            "spec.refreshInterval: `500ms` is below 1s",
            "spec.notifications[0].on: required",
            "spec.health.resources[0].timeout: `5` is no duration",
            "spec.health.resources[0].healthLevel: `Bad` is not one of `Progressing`, `Degraded`, `Missing`, `Suspended` and `Unknown`",
            "spec.rollback.scope: `everything` is not one of `rollout`, `application` and `hold`",
        ],
    );
}

#[test]
fn sources_that_refer_to_each_other_have_names_of_their_own() {
    check_application(
        "
destination: {name: in-cluster}
sources:
- {repoURL: r, ref: values}
- {repoURL: r, ref: values, chart: c}
- {repoURL: r, ref: 'a b'}
- {repoURL: r}
- {repoURL: r, path: a, kustomize: {images: [{name: web, newTag: 1.10}]}}
",
        &[
            "spec.sources[1].ref: a chart cannot be referred to",
            "spec.sources[2].ref: `a b` has other signs than a-z, A-Z, 0-9, `_` and `-`",
            "spec.sources[3].path: a Git source needs `path` or `ref`",
            "spec.sources[4].kustomize.images[0]: `{\"name\":\"web\",\"newTag\":1.1}` is neither `[name=]new[:tag|@digest]` nor an object of texts",
            "spec.sources[1].ref: `values` is used twice",
        ],
    );
}

#[test]
fn a_project_says_what_its_roles_may_do() {
    let spec = serde_json::from_value(json!({
        "sourceRepos": ["*", "!*"],
        "destinations": [{ "namespace": "shop" }],
        "roles": [{ "name": "dev-", "policies": [
            "p, proj:shop:dev-, applications, sync, shop/*, allow",
            "p, proj:other:dev-, applications, sync, shop/*, allow",
            "p, proj:shop:dev-, secrets, get, shop/*, allow",
            "p, proj:shop:dev-, applications, sync, */*, allow",
        ] }],
        "syncWindows": [{ "kind": "forbid", "schedule": "22 * *", "duration": "8" }],
    }))
    .unwrap();
    let found: Vec<String> = app_project("shop", &spec).iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "spec.sourceRepos[1]: `!*` denies everything",
            "spec.destinations[0]: neither `server` nor `name` is set",
            "spec.roles[0].name: `dev-` is no name of letters, digits, `-` and `_`",
            "spec.roles[0].policies[1]: `p, proj:other:dev-, applications, sync, shop/*, allow`: it must begin with `p, proj:shop:dev-`",
            "spec.roles[0].policies[2]: `p, proj:shop:dev-, secrets, get, shop/*, allow`: `secrets` is not one of `applications`, `applicationsets`, `repositories`, `clusters`, `logs` and `exec`",
            "spec.roles[0].policies[3]: `p, proj:shop:dev-, applications, sync, */*, allow`: the object must begin with `shop/`",
            "spec.syncWindows[0].kind: `forbid` is not one of `allow` and `deny`",
            "spec.syncWindows[0].schedule: `22 * *` has 3 fields, a cron schedule has 5",
            "spec.syncWindows[0].duration: `8` is no duration",
            "spec.syncWindows[0]: is about nothing: `applications`, `namespaces` and `clusters` are all empty",
        ]
    );
}

#[test]
fn the_schema_names_unknown_fields_and_wrong_types() {
    let schema = crate::crd::definition("Rollout").unwrap().schema();
    let object = json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
        "metadata": { "name": "web", "anything": 1 },
        "spec": {
            "replica": 3,
            "minReadySeconds": "5",
            "template": { "spec": { "unknown": [1] } },
            "strategy": { "canary": {
                "maxSurge": true,
                "steps": [{ "setWeight": 10, "setMirrorRoute": {} }, { "nonsense": 1 }],
                "canaryMetadata": { "labels": { "a": 1 } },
            } },
        },
    });
    let mut found: Vec<String> = schema::check(&schema, &object)
        .iter()
        .map(|problem| match &problem.hint {
            Some(hint) if hint.len() < 40 => format!("{problem} ({hint})"),
            _ => problem.to_string(),
        })
        .collect();
    found.sort();
    assert_eq!(
        found,
        [
            "spec.minReadySeconds: a whole number is wanted, there is `\"5\"`",
            "spec.replica: unknown field: the API server drops it (did you mean `replicas`?)",
            "spec.strategy.canary.canaryMetadata.labels[a]: a text is wanted, there is `1` (put it into quotes)",
            "spec.strategy.canary.maxSurge: a whole number or a text is wanted, there is `true`",
            "spec.strategy.canary.steps[0].setMirrorRoute.name: required",
            "spec.strategy.canary.steps[1].nonsense: unknown field: the API server drops it",
        ]
    );
}

#[test]
fn unknown_fields_of_a_pod_template_survive_the_types() {
    let spec = json!({
        "strategy": {},
        "template": { "spec": { "containers": [{ "name": "a", "fromTheFuture": { "x": [1, "2", null] } }] } },
    });
    let typed: crate::rollout::RolloutSpec = serde_json::from_value(spec.clone()).unwrap();
    assert_eq!(serde_json::to_value(typed).unwrap(), spec);
}

#[test]
fn an_experiment_and_a_set_are_checked() {
    let spec = serde_json::from_value(json!({
        "templates": [{ "name": "a", "minReadySeconds": 700, "selector": {}, "template": {} }, { "name": "a", "selector": { "matchLabels": { "a": "b" } }, "template": {} }],
        "duration": "long",
    }))
    .unwrap();
    let found: Vec<String> = experiment(&spec).iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "spec.templates[0].selector: empty: it would select every Pod of the namespace",
            "spec.templates[0].minReadySeconds: is above spec.progressDeadlineSeconds, which is 600",
            "spec.templates[1].name: `a` is used twice",
            "spec.duration: `long` is no duration",
        ]
    );
    let spec = serde_json::from_value(json!({
        "generators": [{ "matrix": { "generators": [{ "list": { "elements": [] } }] } }, {}],
        "template": { "metadata": {}, "spec": {} },
    }))
    .unwrap();
    let found: Vec<String> = application_set(&spec).iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "spec.generators[0].matrix.generators: has 1 generators, a matrix has exactly 2",
            "spec.generators[1]: names no generator",
            "spec.template.metadata.name: required",
        ]
    );
}

#[test]
fn an_object_is_checked_by_schema_and_by_rules_and_no_field_twice() {
    let value = json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
        "metadata": { "name": "Web" },
        "spec": { "replicas": -1, "minReadySeconds": 700, "strategy": {}, "template": {} },
    });
    let found: Vec<String> = object(&value).unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "spec.replicas: -1 is below 0",
            "metadata.name: `Web` is no name",
            "spec.progressDeadlineSeconds: 600 is not above minReadySeconds, which is 700",
            "spec.template: required, unless `workloadRef` is set",
            "spec.strategy: neither `canary` nor `blueGreen` is set",
        ]
    );
    assert_eq!(object(&json!({ "apiVersion": "v1", "kind": "Service" })), None);
    let empty =
        json!({ "apiVersion": "argoproj.io/v1alpha2", "kind": "Application", "metadata": {} });
    let found: Vec<String> = object(&empty).unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "spec: required",
            "apiVersion: `argoproj.io/v1alpha2` is not served, `argoproj.io/v1alpha1` is",
            "metadata.name: required",
            "spec.destination: neither `server` nor `name` is set",
            "spec.source: required: one of `source` and `sources`",
        ]
    );
}

#[test]
fn what_users_documents_show_is_accepted_as_written() {
    for value in crate::yaml::values(include_str!("../../tests/data/users.yaml")).unwrap() {
        let found = object(&value).unwrap();
        assert_eq!(found, Vec::new(), "{} {}", value["kind"], value["metadata"]["name"]);
    }
}
