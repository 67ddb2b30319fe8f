use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use serde_json::json;

use super::*;
use crate::config::EngineConfig;
use crate::view::{AnalysisRunView, MeasuredValue, MeasurementFact};

fn now() -> DateTime<Utc> {
    "2026-01-02T03:04:05Z".parse().unwrap()
}

fn view(extra: &str, status: &str) -> RunView {
    let text = format!(
        "metadata: {{name: run, namespace: shop, uid: u, resourceVersion: '7'}}\nspec:\n  metrics: [{{name: m, provider: \
         {{prometheus: {{query: q}}}}}}]\n  {extra}\nstatus: {status}\n"
    );
    let run = Arc::new(serde_saphyr::from_str(&text).unwrap());
    RunView {
        now: now(),
        config: Arc::new(EngineConfig::default()),
        run: AnalysisRunView { run, facts: Vec::new(), secrets: BTreeMap::new() },
    }
}

fn decide(view: &RunView) -> Decision<AnalysisRunReconciler> {
    let decision = AnalysisRunReconciler::decide(view);
    assert_eq!(AnalysisRunReconciler::audit(view, &decision), []);
    decision
}

#[test]
fn a_new_run_is_measured_and_says_so_with_the_version_that_was_read() {
    let decision = decide(&view("", "{}"));
    assert_eq!(format!("{:?}", decision.tasks), "{Measure(AnalysisRun shop/run \"m\" #0)}");
    let request = decision.status_write.unwrap().request();
    assert_eq!(
        request.path,
        "/apis/argoproj.io/v1alpha1/namespaces/shop/analysisruns/run?fieldManager=sluice-status"
    );
    assert_eq!(request.body["metadata"], json!({"uid": "u", "resourceVersion": "7"}));
    assert_eq!(request.body["status"]["phase"], "Running");
}

#[test]
fn a_decision_on_its_own_status_writes_nothing() {
    let mut view = view("", "{}");
    let status = decide(&view).status;
    Arc::make_mut(&mut view.run.run).status = status;
    let again = decide(&view);
    assert!(again.status_write.is_none() && again.plan.is_empty());
    assert_eq!(again.tasks.len(), 1);
}

#[test]
fn the_end_is_recorded_once() {
    let mut view = view("", "{}");
    view.run.facts.push(MeasurementFact {
        metric: "m".into(),
        sequence: 0,
        started_at: now(),
        finished_at: now(),
        outcome: Ok(MeasuredValue::Number(1.0)),
        metadata: BTreeMap::new(),
    });
    let decision = decide(&view);
    assert_eq!(decision.status.phase, Some(AnalysisPhase::Successful));
    assert!(decision.tasks.is_empty() && decision.wake.is_none());
    assert_eq!(decision.notices.len(), 2);
    Arc::make_mut(&mut view.run.run).status = decision.status;
    let again = decide(&view);
    assert!(again.status_write.is_none() && again.notices.is_empty());
}

#[test]
fn a_finished_run_is_deleted_when_its_time_is_over() {
    for (ttl, phase, seconds) in [
        ("{secondsAfterCompletion: 60}", "Error", Some(60)),
        ("{secondsAfterCompletion: 60}", "Successful", Some(60)),
        ("{secondsAfterCompletion: 60, secondsAfterSuccess: 5}", "Successful", Some(5)),
        ("{secondsAfterFailure: 5}", "Failed", Some(5)),
        ("{secondsAfterFailure: 5}", "Successful", None),
    ] {
        let status = format!("{{phase: {phase}, completedAt: '2026-01-02T03:04:05Z'}}");
        let mut view = view(&format!("ttlStrategy: {ttl}"), &status);
        let waits = decide(&view);
        assert!(waits.plan.is_empty());
        assert_eq!(waits.wake.map(|wake| wake.at), seconds.map(|s| now() + Duration::seconds(s)));
        view.now = now() + Duration::hours(1);
        let later = decide(&view);
        assert_eq!(later.plan.is_empty(), seconds.is_none(), "{ttl} {phase}");
        for action in later.plan.actions() {
            let request = action.lower().request();
            assert_eq!(request.method, "DELETE");
            assert_eq!(request.body["preconditions"], json!({"uid": "u", "resourceVersion": "7"}));
        }
    }
}

#[test]
fn a_run_that_is_being_deleted_is_left_alone() {
    let mut view = view("", "{}");
    Arc::make_mut(&mut view.run.run).meta.deletion_timestamp = Some(now().into());
    let decision = decide(&view);
    assert!(decision.tasks.is_empty() && decision.status_write.is_none());
}
