//! What simulations promise.

use super::{Before, Deed, Input, Outcome, SimulateError, Timeline, read_trace, simulate};
use chrono::TimeDelta;
use serde_json::Value;
use sluice_crds::yaml;

const CANARY: &str = "
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {name: web, namespace: shop}
spec:
  replicas: 5
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: 'demo:2'}]}
  strategy:
    canary:
      canaryService: web-canary
      stableService: web-stable
      trafficRouting: {istio: {virtualService: {name: web}}}
      steps:
      - setWeight: 20
      - analysis: {templates: [{templateName: errors}]}
      - setWeight: 60
      - pause: {}
---
apiVersion: argoproj.io/v1alpha1
kind: AnalysisTemplate
metadata: {name: errors}
spec:
  metrics:
  - name: error-rate
    interval: 10s
    count: 3
    successCondition: result[0] < 0.05
    provider: {prometheus: {address: 'http://prometheus', query: errors}}
";

fn input(text: &str) -> Input {
    Input::new(yaml::values(text).unwrap())
}

fn played(input: &Input) -> Timeline {
    let timeline = simulate(input).unwrap();
    assert_eq!(timeline, simulate(input).unwrap(), "equal inputs give equal timelines");
    timeline
}

fn weights(timeline: &Timeline) -> Vec<u32> {
    let mut weights: Vec<u32> = timeline.samples.iter().map(|sample| sample.weight).collect();
    weights.dedup();
    weights
}

#[test]
fn a_pause_without_end_is_reported_with_its_step() {
    let timeline = played(&input(CANARY));
    let Outcome::Paused { why, .. } = &timeline.outcome else { panic!("{timeline:#?}") };
    assert_eq!(why, "step 4 of 4: pause until promoted");
    assert_eq!(weights(&timeline), [0, 20, 60]);
}

#[test]
fn somebody_who_promotes_ends_every_pause() {
    let input = Input { promote_after: Some(TimeDelta::minutes(2)), ..input(CANARY) };
    let timeline = played(&input);
    assert!(matches!(timeline.outcome, Outcome::Promoted { .. }), "{timeline:#?}");
    assert_eq!(weights(&timeline), [0, 20, 60, 100]);
    let last = timeline.samples.last().unwrap();
    assert_eq!((last.new.available, last.old.wanted), (5, 0));
}

#[test]
fn what_is_missing_is_made_up_and_said() {
    let timeline = played(&input(CANARY));
    let said = timeline.assumed.join("\n");
    for part in [
        "the former version is the same with image demo:before",
        "Service web-canary, Service web-stable, VirtualService web",
        "error-rate: no answers given, each measurement is [0], which passes",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn a_trace_decides_what_is_measured() {
    for trace in [
        "time,metric,value,error\n0,error-rate,0.01,\n20s,error-rate,0.2,\n",
        "measurement,metric,value\n1,error-rate,0.01\n2,error-rate,0.2\n",
        "metric,time,value\nerror-rate,2026-11-01T10:00:00Z,0.01\nerror-rate,2026-11-01T10:00:20Z,0.2\n",
        "error-rate: [{value: 0.01}, {from: 20, value: [0.2]}]",
    ] {
        let mut input = input(CANARY);
        input.answers.scripts = read_trace(trace).unwrap();
        let timeline = played(&input);
        let Outcome::Aborted { why, .. } = &timeline.outcome else {
            panic!("{trace}: {timeline:#?}")
        };
        assert!(why.contains("error-rate"), "{why}");
        assert_eq!(weights(&timeline), [0, 20, 0], "{trace}");
        let measured = &timeline.analysis[0].measurements;
        assert_eq!(measured.last().unwrap().phase, "Failed", "{trace}");
    }
}

#[test]
fn a_trace_that_cannot_be_read_names_its_line() {
    for (trace, said) in [
        ("time,metric,value\n5,a\n", "line 2: there is neither a value nor an error"),
        (
            "time,metric,valu\n",
            "line 1: `valu` is no column; there are time, at, measurement, metric, value, error",
        ),
        (
            "time,metric,value\nsoon,a,1\n",
            "line 2: `soon` is no time and no number of a measurement",
        ),
        ("value,metric\n", "line 1: the head needs `metric`, and `time` or `measurement`"),
        ("a: [{value: 1, error: x}]", "`a`: one of `value`, `error` and `unreachable` is needed"),
        (
            "a: [{valu: 1}]",
            "`a`: `valu` is no field; there are from, measurement, value, error, unreachable",
        ),
    ] {
        assert_eq!(read_trace(trace).unwrap_err().to_string(), said);
    }
}

#[test]
fn pods_that_never_become_ready_hold_the_weight_at_0() {
    let mut input = input(CANARY);
    input.pods.failing = 1;
    let timeline = played(&input);
    let Outcome::Stuck { why, .. } = &timeline.outcome else { panic!("{timeline:#?}") };
    assert!(why.contains("progress"), "{why}");
    assert_eq!(weights(&timeline), [0]);
}

#[test]
fn a_person_can_take_it_back() {
    let input = Input { deeds: vec![(TimeDelta::minutes(3), Deed::Abort)], ..input(CANARY) };
    let timeline = played(&input);
    let Outcome::Aborted { at_seconds, .. } = timeline.outcome else { panic!("{timeline:#?}") };
    assert!((at_seconds - 180.0).abs() < 0.5, "{at_seconds}");
    assert_eq!(weights(&timeline), [0, 20, 60, 0]);
}

#[test]
fn versions_are_told_by_image_or_by_manifest() {
    let before = |before| Input { before, ..input(CANARY) };
    let by_image = played(&before(Before::Image("web=demo:1".into())));
    assert_eq!((&*by_image.before, &*by_image.after), ("demo:1", "demo:2"));
    let former = yaml::values(&CANARY.replace("demo:2", "demo:0")).unwrap();
    assert_eq!(played(&before(Before::Manifests(former))).before, "demo:0");
    let pushed = played(&Input { image: Some("demo:3".into()), ..input(CANARY) });
    assert_eq!((&*pushed.before, &*pushed.after), ("demo:2", "demo:3"));
}

#[test]
fn what_makes_no_update_is_refused() {
    let rollout = |change: fn(&mut Value)| {
        let mut manifests = yaml::values(CANARY).unwrap();
        change(&mut manifests[0]);
        Input::new(manifests)
    };
    let error = |input: &Input| simulate(input).unwrap_err();
    let same = Input { before: Before::Image("demo:2".into()), ..input(CANARY) };
    assert!(matches!(error(&same), SimulateError::NothingNew));
    let unknown = Input { image: Some("side=demo:3".into()), ..input(CANARY) };
    assert!(matches!(error(&unknown), SimulateError::NoContainer(_)));
    assert!(matches!(error(&rollout(|o| o["kind"] = "Job".into())), SimulateError::NoRollout));
}

#[test]
fn a_template_that_is_not_there_is_a_problem_and_moves_nothing() {
    let text = CANARY.split("---").next().unwrap();
    let timeline = played(&input(text));
    assert!(matches!(timeline.outcome, Outcome::Invalid { .. }), "{timeline:#?}");
    assert_eq!(weights(&timeline), [0]);
}

/// The canary with other steps first.
fn canary_with(steps: &str) -> Input {
    let istio = "istio: {virtualService: {name: web}}";
    let text =
        CANARY.replace("      - setWeight: 20\n", &format!("{steps}      - setWeight: 20\n"));
    let mut input =
        input(&text.replace(istio, &format!("{istio}, managedRoutes: [{{name: staff}}]")));
    input.promote_after = Some(TimeDelta::zero());
    input
}

/// What leads to the new version besides the weight, each state once.
fn routes(timeline: &Timeline) -> Vec<Vec<String>> {
    let mut routes: Vec<_> = timeline.samples.iter().map(|sample| sample.routes.clone()).collect();
    routes.dedup();
    routes
}

#[test]
fn a_route_of_a_step_is_seen_while_it_is_there() {
    let steps = "      - setCanaryScale: {replicas: 1}
      - setHeaderRoute: {name: staff, match: [{headerName: x-staff, headerValue: {exact: '1'}}]}\n";
    let timeline = played(&canary_with(steps));
    assert!(matches!(timeline.outcome, Outcome::Promoted { .. }), "{timeline:#?}");
    assert_eq!(routes(&timeline), [vec![], vec!["staff".to_owned()], vec![]]);
    let words = |event: &&super::Event| event.text.starts_with("set the routes of steps");
    let told = timeline.events.iter().find(words).map(|event| event.kind);
    assert_eq!(told, Some(super::EventKind::Action));
}

#[test]
fn a_preview_service_is_seen_once_it_selects_the_new_version() {
    let (head, _) = CANARY.split_once("    canary:").unwrap();
    let strategy = "    blueGreen: {activeService: web, previewService: web-preview}\n";
    let timeline = played(&input(&format!("{head}{strategy}")));
    assert_eq!(routes(&timeline), [vec![], vec!["web-preview".to_owned()]]);
}

#[test]
fn pods_of_an_experiment_are_counted_apart_and_named_by_its_name() {
    let steps = "      - experiment:
          duration: 10s
          scaleDownDelaySeconds: 0
          templates: [{name: trial, specRef: canary, replicas: 2}]\n";
    let timeline = played(&canary_with(steps));
    assert!(matches!(timeline.outcome, Outcome::Promoted { .. }), "{timeline:#?}");
    let most = timeline.samples.iter().map(|sample| sample.experiment.available).max();
    assert_eq!(most, Some(2));
    assert!(timeline.samples.last().unwrap().experiment.is_empty());
    let of_trial = |event: &&super::Event| event.text.contains("-trial from 0 to 2");
    let said = &timeline.events.iter().find(of_trial).unwrap().text;
    assert!(!said.contains("new version"), "{said}");
}
