//! What an Experiment does, told by scenarios on a small bench.

use serde_json::{Value, json};
use sluice_crds::object::Kind;

use crate::plan::{Lower, Reconciler, WakeReason};
use crate::view::Refusal;

use super::ExperimentReconciler;

mod bench;
mod laws;

use bench::{Bench, shop};

/// Two versions of the shop, one with a Service.
const TWO: &str = "
templates:
- name: old
  replicas: 2
  selector: {matchLabels: {app: web, version: old}}
  template:
    metadata: {labels: {app: web, version: old}}
    spec: {containers: [{name: web, image: 'web:1'}]}
- name: new
  minReadySeconds: 5
  service: {}
  selector: {matchLabels: {app: web, version: new}}
  template:
    metadata: {labels: {app: web, version: new}}
    spec: {containers: [{name: web, image: 'web:2', ports: [{name: http, containerPort: 8080}]}]}
";

fn two(more: &str) -> Bench {
    Bench::new(&format!("{TWO}{more}\n"))
}

/// With an analysis of the given further fields; its template is there.
fn judged(analysis: &str, more: &str) -> Bench {
    let analyses = format!("analyses: [{{name: check, templateName: errors{analysis}}}]\n{more}");
    let mut bench = two(&analyses);
    bench.given_template("errors", "[]");
    bench
}

#[test]
fn versions_start_without_pods_run_for_their_time_and_go_after_their_delay() {
    let mut bench = two("duration: 5m");
    bench.pass(600);
    insta::assert_snapshot!(bench.log.join("\n"));
    assert_eq!(bench.phase(), "Successful");
    assert!(bench.sizes().values().all(|size| *size == 0), "{:?}", bench.sizes());
    assert!(bench.names(&Kind::SERVICE).is_empty());
    assert_eq!(bench.touches, 1, "the Experiment itself; what it creates is stamped from birth");
}

#[test]
fn a_finished_experiment_costs_no_write_and_no_wake() {
    let mut bench = two("duration: 1m");
    bench.pass(600);
    bench.term += 1;
    let (wrote, decision) = bench.decide();
    assert!(!wrote && decision.wake.is_none(), "{:#?}", decision.plan);
}

#[test]
fn without_a_duration_versions_run_until_somebody_ends_them() {
    let mut bench = two("scaleDownDelaySeconds: 0");
    bench.pass(86_400);
    assert_eq!((bench.phase(), bench.states()), ("Running", vec!["Running"; 2]));
    bench.edit(Kind::EXPERIMENT, "exp", |exp| exp["spec"]["terminate"] = json!(true));
    bench.settle();
    assert_eq!((bench.phase(), bench.states()), ("Successful", vec!["Successful"; 2]));
    assert!(bench.sizes().values().all(|size| *size == 0));
}

#[test]
fn the_clock_of_the_duration_starts_when_all_versions_are_available() {
    let mut bench = two("duration: 5m");
    bench.healthy.insert("exp-new".into(), 0);
    bench.pass(400);
    assert_eq!((bench.phase(), bench.states()), ("Pending", vec!["Running", "Progressing"]));
    bench.healthy.clear();
    bench.pass(290);
    assert_eq!((bench.phase(), bench.states()), ("Running", vec!["Running"; 2]));
    bench.pass(20);
    assert_eq!(bench.phase(), "Successful");
}

#[test]
fn a_version_that_makes_no_progress_fails_the_experiment() {
    let mut bench = two("progressDeadlineSeconds: 60");
    bench.healthy.insert("exp-new".into(), 0);
    bench.pass(50);
    assert_eq!(bench.phase(), "Pending");
    bench.pass(200);
    assert_eq!((bench.phase(), bench.states()), ("Failed", vec!["Successful", "Failed"]));
    assert_eq!(bench.message(), "Template 'new' exceeded its progressDeadlineSeconds (60)");
    assert!(bench.sizes().values().all(|size| *size == 0));
}

#[test]
fn progress_puts_the_deadline_off() {
    let mut bench = two("progressDeadlineSeconds: 60");
    for pods in 0..2 {
        bench.healthy.insert("exp-old".into(), pods);
        bench.pass(50);
        assert_eq!(bench.phase(), "Pending", "with {pods} Pods");
    }
}

#[test]
fn a_lost_pod_is_waited_for_and_restarts_no_clock() {
    let mut bench = two("duration: 5m");
    bench.pass(60);
    let available = bench.status()["availableAt"].clone();
    bench.healthy.insert("exp-old".into(), 1);
    bench.pass(60);
    assert_eq!((bench.phase(), bench.states()), ("Running", vec!["Progressing", "Running"]));
    bench.healthy.clear();
    bench.pass(1);
    assert_eq!(bench.states(), ["Running"; 2]);
    assert_eq!(bench.status()["availableAt"], available);
}

#[test]
fn no_analysis_begins_before_all_versions_are_available() {
    let mut bench = judged("", "");
    bench.healthy.insert("exp-new".into(), 0);
    bench.pass(60);
    assert!(bench.names(&Kind::ANALYSIS_RUN).is_empty());
    bench.healthy.clear();
    bench.pass(60);
    assert_eq!(bench.names(&Kind::ANALYSIS_RUN), ["exp-check"]);
}

/// Analysis fields | how it ends | phase | message.
#[test]
fn how_an_analysis_ends_decides_at_once() {
    let required = ", requiredForCompletion: true";
    for (fields, end, phase, message) in [
        ("", "Failed", "Failed", "Analysis 'check' is Failed: said so"),
        ("", "Error", "Error", "Analysis 'check' is Error: said so"),
        ("", "Inconclusive", "Inconclusive", "Analysis 'check' is Inconclusive: said so"),
        ("", "Successful", "Running", ""),
        (required, "Failed", "Failed", "Analysis 'check' is Failed: said so"),
        (required, "Successful", "Successful", ""),
    ] {
        let mut bench = judged(fields, "duration: 1h");
        bench.pass(10);
        bench.judge("exp-check", end);
        bench.pass(60);
        assert_eq!((bench.phase(), bench.message()), (phase, message), "{fields} {end}");
        let gone = bench.sizes().values().all(|size| *size == 0);
        assert_eq!(gone, phase != "Running", "{fields} {end}");
    }
}

#[test]
fn required_success_ends_the_others_and_their_end_says_nothing() {
    let mut bench =
        two("analyses: [{name: check, templateName: errors, requiredForCompletion: true}, \
         {name: watch, templateName: errors}]");
    bench.given_template("errors", "[]");
    bench.pass(10);
    bench.judge("exp-check", "Successful");
    bench.settle();
    assert_eq!(bench.get(Kind::ANALYSIS_RUN, "exp-watch")["spec"]["terminate"], true);
    bench.judge("exp-watch", "Inconclusive");
    bench.pass(60);
    assert_eq!(bench.phase(), "Successful");
}

#[test]
fn versions_that_are_done_wait_for_a_required_analysis() {
    let mut bench = judged(", requiredForCompletion: true", "duration: 1m");
    bench.pass(300);
    assert_eq!((bench.phase(), bench.states()), ("Running", vec!["Successful"; 2]));
    assert_eq!(bench.message(), "waiting for the required analysis 'check'");
    bench.judge("exp-check", "Successful");
    bench.pass(60);
    assert_eq!(bench.phase(), "Successful");
}

#[test]
fn versions_that_are_done_wait_for_no_other_analysis() {
    let mut bench = judged("", "duration: 1m");
    bench.pass(300);
    assert_eq!(bench.phase(), "Successful");
    assert_eq!(bench.get(Kind::ANALYSIS_RUN, "exp-check")["spec"]["terminate"], true);
}

#[test]
fn an_end_before_a_required_analysis_has_a_verdict_is_inconclusive() {
    for (fields, phase) in [(", requiredForCompletion: true", "Inconclusive"), ("", "Successful")] {
        let mut bench = judged(fields, "");
        bench.edit(Kind::EXPERIMENT, "exp", |exp| exp["spec"]["terminate"] = json!(true));
        bench.pass(60);
        assert_eq!(bench.phase(), phase, "{fields}");
        assert!(bench.names(&Kind::REPLICA_SET).is_empty(), "nothing was begun");
    }
}

#[test]
fn a_missing_template_is_waited_for_before_any_pod_starts() {
    let mut bench = two("analyses: [{name: check, templateName: errors}]");
    bench.pass(3600);
    assert_eq!(bench.phase(), "Pending");
    assert_eq!(bench.message(), "waiting: AnalysisTemplate `errors` does not exist");
    assert!(bench.names(&Kind::REPLICA_SET).is_empty());
    bench.given_template("errors", "[]");
    bench.pass(10);
    assert_eq!(bench.phase(), "Running");
}

#[test]
fn a_template_that_goes_away_while_pods_run_is_an_error() {
    let mut bench = judged("", "");
    bench.healthy.insert("exp-new".into(), 0);
    bench.pass(10);
    bench.objects.remove(&shop(Kind::ANALYSIS_TEMPLATE, "errors"));
    bench.healthy.clear();
    bench.pass(60);
    assert_eq!(bench.phase(), "Error");
    let message = "Analysis 'check' is Error: AnalysisTemplate `errors` does not exist";
    assert_eq!(bench.message(), message);
}

#[test]
fn arguments_name_the_versions_and_the_times() {
    let given = "
  args:
  - {name: hash, value: '{{templates.new.podTemplateHash}}'}
  - {name: set, value: '{{ templates.old.replicaset.name }}'}
  - {name: from, value: '{{experiment.availableAt}}'}
  - {name: to, value: '{{experiment.finishedAt}}'}
  - {name: key, valueFrom: {secretKeyRef: {name: s, key: k}}}
";
    let mut bench =
        two(&format!("duration: 5m\nanalyses:\n- name: check\n  templateName: errors{given}"));
    let declared =
        "[{name: hash}, {name: set}, {name: from}, {name: to}, {name: key}, {name: d, value: x}]";
    bench.given_template("errors", declared);
    bench.pass(10);
    let hash =
        bench.get(Kind::REPLICA_SET, "exp-new")["metadata"]["labels"]["rollouts-pod-template-hash"]
            .clone();
    assert!(hash.is_string());
    assert_eq!(
        bench.get(Kind::ANALYSIS_RUN, "exp-check")["spec"]["args"],
        json!([
            { "name": "hash", "value": hash },
            { "name": "set", "value": "exp-old" },
            { "name": "from", "value": "2026-01-01T00:00:00Z" },
            { "name": "to", "value": "2026-01-01T00:05:00Z" },
            { "name": "key", "valueFrom": { "secretKeyRef": { "name": "s", "key": "k" } } },
            { "name": "d", "value": "x" },
        ])
    );
}

#[test]
fn an_unknown_tag_keeps_everything_from_beginning() {
    let mut bench = two(
        "analyses: [{name: check, templateName: errors, args: [{name: a, value: '{{templates.x.podTemplateHash}}'}]}]",
    );
    bench.given_template("errors", "[{name: a}]");
    bench.pass(60);
    assert!(bench.message().contains("unknown tag `{{templates.x.podTemplateHash}}`"));
    assert!(bench.names(&Kind::REPLICA_SET).is_empty());
}

#[test]
fn a_run_carries_what_the_experiment_says_about_runs() {
    let mut bench = judged(
        "",
        "dryRun: [{metricName: errors}]\nmeasurementRetention: [{metricName: errors, limit: 3}]\n\
         analysisRunMetadata: {labels: {team: web}, annotations: {note: hi}}",
    );
    bench.edit(Kind::EXPERIMENT, "exp", |exp| {
        let id = json!({ "argo-rollouts.argoproj.io/controller-instance-id": "blue" });
        exp["metadata"]["labels"] = id;
    });
    bench.pass(10);
    let run = bench.get(Kind::ANALYSIS_RUN, "exp-check");
    assert_eq!(run["spec"]["dryRun"], json!([{ "metricName": "errors" }]));
    let retention = json!([{ "metricName": "errors", "limit": 3 }]);
    assert_eq!(run["spec"]["measurementRetention"], retention);
    let labels = &run["metadata"]["labels"];
    assert_eq!(labels["argo-rollouts.argoproj.io/controller-instance-id"], "blue");
    assert_eq!(
        (&labels["team"], &run["metadata"]["annotations"]["note"]),
        (&json!("web"), &json!("hi"))
    );
    assert_eq!(run["metadata"]["ownerReferences"][0]["kind"], "Experiment");
}

#[test]
fn a_version_with_a_service_selects_its_own_pods_on_their_ports() {
    let mut bench = two("");
    bench.pass(10);
    let (set, service) =
        (bench.get(Kind::REPLICA_SET, "exp-new"), bench.get(Kind::SERVICE, "exp-new"));
    assert_eq!(service["spec"]["selector"], set["metadata"]["labels"]);
    assert_eq!(set["spec"]["selector"]["matchLabels"], set["metadata"]["labels"]);
    assert_eq!(set["spec"]["template"]["metadata"]["labels"], set["metadata"]["labels"]);
    assert_eq!(set["spec"]["minReadySeconds"], 5);
    let port = json!([{ "name": "http", "port": 8080, "targetPort": 8080, "protocol": "TCP" }]);
    assert_eq!(service["spec"]["ports"], port);
    let status = &bench.status()["templateStatuses"][1];
    assert_eq!(status["serviceName"], "exp-new");
    assert_eq!(status["podTemplateHash"], set["metadata"]["labels"]["rollouts-pod-template-hash"]);
}

#[test]
fn a_version_without_ports_has_no_service_and_waits_for_none() {
    let mut bench = two("");
    bench.edit(Kind::EXPERIMENT, "exp", |exp| {
        exp["spec"]["templates"][0]["service"] = json!({ "name": "silent" });
    });
    bench.pass(10);
    assert_eq!(bench.phase(), "Running");
    assert_eq!(bench.names(&Kind::SERVICE), ["exp-new"]);
}

#[test]
fn a_service_of_somebody_else_is_an_error_and_stays() {
    let mut bench = two("scaleDownDelaySeconds: 0");
    bench.edit(Kind::EXPERIMENT, "exp", |exp| {
        exp["spec"]["templates"][1]["service"] = json!({ "name": "web" });
    });
    bench.put(shop(Kind::SERVICE, "web"), json!({ "spec": { "selector": { "app": "web" } } }));
    bench.pass(10);
    assert_eq!(bench.phase(), "Error");
    assert_eq!(bench.message(), "Service `web` exists and is not ours");
    assert_eq!(bench.names(&Kind::SERVICE), ["web"]);
}

#[test]
fn a_name_that_somebody_else_has_is_avoided() {
    let mut bench = two("");
    bench.refused.insert(shop(Kind::REPLICA_SET, "exp-old"), Refusal::Taken);
    bench.pass(10);
    assert_eq!(bench.phase(), "Running");
    assert_eq!(bench.names(&Kind::REPLICA_SET), ["exp-new", "exp-old-1"]);
    assert_eq!(bench.status()["templateStatuses"][0]["collisionCount"], 1);
    assert_eq!(bench.status()["templateStatuses"].as_array().map(Vec::len), Some(2));
}

#[test]
fn what_the_api_server_refuses_is_an_error_in_its_words() {
    let refusal = || Refusal::Said("exceeded quota".into());
    for (kind, name, message) in [
        (Kind::REPLICA_SET, "exp-old", "ReplicaSet `exp-old` cannot be created: exceeded quota"),
        (Kind::SERVICE, "exp-new", "Service `exp-new` cannot be created: exceeded quota"),
        (
            Kind::ANALYSIS_RUN,
            "exp-check",
            "Analysis 'check' is Error: AnalysisRun `exp-check` cannot be created: exceeded quota",
        ),
    ] {
        let mut bench = judged("", "");
        bench.refused.insert(shop(kind, name), refusal());
        bench.pass(60);
        assert_eq!((bench.phase(), bench.message()), ("Error", message));
    }
}

#[test]
fn a_reset_status_begins_anew_with_a_run_of_its_own() {
    let mut bench = judged("", "duration: 1h");
    bench.pass(10);
    bench.judge("exp-check", "Failed");
    bench.pass(60);
    assert_eq!(bench.phase(), "Failed");
    bench.edit(Kind::EXPERIMENT, "exp", |exp| exp["status"] = json!({}));
    bench.pass(60);
    assert_eq!(bench.phase(), "Running");
    assert_eq!(bench.names(&Kind::ANALYSIS_RUN), ["exp-check", "exp-check.1"]);
    assert!(bench.sizes().values().all(|size| *size > 0), "{:?}", bench.sizes());
}

#[test]
fn a_version_that_the_spec_drops_goes() {
    let mut bench = two("scaleDownDelaySeconds: 10");
    bench.pass(10);
    bench.edit(Kind::EXPERIMENT, "exp", |exp| {
        exp["spec"]["templates"].as_array_mut().unwrap().pop();
    });
    bench.pass(60);
    assert_eq!(bench.sizes(), [("exp-new".to_owned(), 0), ("exp-old".to_owned(), 2)].into());
    assert!(bench.names(&Kind::SERVICE).is_empty());
}

#[test]
fn an_invalid_spec_is_told_and_nothing_is_touched() {
    let mut bench = two("");
    bench.edit(Kind::EXPERIMENT, "exp", |exp| {
        exp["spec"]["templates"][1]["selector"] = json!({});
    });
    bench.pass(60);
    let condition = &bench.status()["conditions"][0];
    assert_eq!((&condition["type"], &condition["status"]), (&json!("InvalidSpec"), &json!("True")));
    assert_eq!(
        condition["message"],
        "The Experiment \"exp\" is invalid: spec.templates[1].selector: empty: it would select every Pod of the namespace"
    );
    assert!(bench.names(&Kind::REPLICA_SET).is_empty());
    bench.edit(Kind::EXPERIMENT, "exp", |exp| {
        exp["spec"]["templates"][1]["selector"] = json!({ "matchLabels": { "version": "new" } });
    });
    bench.pass(10);
    let kinds = bench.status()["conditions"].as_array().into_iter().flatten();
    let kinds: Vec<&Value> = kinds.map(|condition| &condition["type"]).collect();
    assert_eq!((bench.phase(), kinds), ("Running", vec![&json!("Progressing")]));
}

#[test]
fn a_new_term_touches_what_it_relies_on_and_nothing_else_first() {
    let mut bench = two("duration: 5m");
    bench.pass(10);
    bench.term += 1;
    bench.now += chrono::Duration::minutes(6);
    let (_, decision) = bench.decide();
    let actions: Vec<String> = decision.plan.actions().map(ToString::to_string).collect();
    assert_eq!(
        actions,
        [
            "fence ReplicaSet shop/exp-new",
            "fence ReplicaSet shop/exp-old",
            "fence Experiment shop/exp"
        ]
    );
    assert!(decision.status_write.is_none());
    bench.pass(60);
    assert_eq!(bench.phase(), "Successful");
}

#[test]
fn a_process_that_lost_the_lease_writes_nothing() {
    let mut bench = two("duration: 5m");
    bench.pass(10);
    bench.term -= 1;
    bench.now += chrono::Duration::minutes(6);
    let (wrote, decision) = bench.decide();
    assert!(!wrote);
    assert!(decision.report.waiting[0].what.contains("newer term"));
}

#[test]
fn an_experiment_that_is_being_deleted_is_left_alone() {
    let mut bench = two("");
    bench.edit(Kind::EXPERIMENT, "exp", |exp| {
        exp["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    });
    let (wrote, decision) = bench.decide();
    assert!(!wrote && decision.wake.is_none());
}

#[test]
fn the_next_deadline_is_told_with_its_reason() {
    let mut bench = two("duration: 5m");
    let wake = bench.settle().wake.unwrap();
    assert_eq!(wake.reason, WakeReason::ExperimentEnds);
    let ready = chrono::Duration::seconds(301);
    assert_eq!(wake.at, bench.now + ready);
}

#[test]
fn many_pods_cost_few_writes_of_counts() {
    let mut bench = two("");
    bench.edit(Kind::EXPERIMENT, "exp", |exp| exp["spec"]["templates"][0]["replicas"] = json!(40));
    bench.healthy.insert("exp-old".into(), 0);
    bench.settle();
    let before = bench.log.len();
    let mut writes = 0;
    for pods in 1..40 {
        bench.healthy.insert("exp-old".into(), pods);
        bench.settle();
        let view = bench.view();
        writes += usize::from(ExperimentReconciler::decide(&view).status_write.is_some());
    }
    assert_eq!((writes, bench.log.len()), (0, before), "counts wait for company");
    bench.pass(6);
    assert_eq!(bench.status()["templateStatuses"][0]["availableReplicas"], 39);
}

#[test]
fn creates_are_stamped_owned_and_empty() {
    let mut bench = two("");
    bench.decide();
    let (_, decision) = bench.decide();
    for action in decision.plan.actions() {
        let body = action.lower().request().body;
        assert_eq!(body["spec"]["replicas"], 0);
        assert_eq!(body["metadata"]["ownerReferences"][0]["uid"], "uid-exp");
        let annotations = &body["metadata"]["annotations"];
        assert_eq!(annotations["experiment.argoproj.io/name"], "exp");
        assert!(annotations["epoch.sluice.dev/sluice"].is_string());
    }
    assert_eq!(decision.plan.actions().count(), 2);
}

#[test]
fn pods_stay_while_a_route_sends_anything_to_them() {
    let mut bench = two("scaleDownDelaySeconds: 0");
    bench.pass(10);
    let route = |weight: i64| {
        json!({ "spec": { "http": [{ "route": [
            { "destination": { "host": "web" }, "weight": 100 - weight },
            { "destination": { "host": "exp-new.shop.svc.cluster.local" }, "weight": weight },
        ] }] } })
    };
    bench.put(shop(Kind::VIRTUAL_SERVICE, "web"), route(5));
    bench.edit(Kind::EXPERIMENT, "exp", |exp| exp["spec"]["terminate"] = json!(true));
    let waits = bench.pass(3600).report.waiting;
    assert!(waits.iter().any(|wait| wait.what.contains("it sends 5 %")), "{waits:?}");
    assert_eq!(bench.sizes(), [("exp-new".to_owned(), 1), ("exp-old".to_owned(), 0)].into());
    let mut gone = route(0);
    gone["metadata"] = json!({ "annotations": { "sluice.dev/routed-at": bench.now } });
    bench.put(shop(Kind::VIRTUAL_SERVICE, "web"), gone);
    bench.pass(4);
    assert_eq!(bench.sizes()["exp-new"], 1, "proxies may not know yet");
    bench.pass(2);
    assert_eq!(bench.sizes()["exp-new"], 0);
}
