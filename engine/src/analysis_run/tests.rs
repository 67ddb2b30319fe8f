use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use serde_json::json;

use super::*;
use crate::config::EngineConfig;
use crate::view::{
    AnalysisRunView, FailureKind, JobEnd, MeasuredValue, MeasurementFact, MeasurementFailure,
};

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
        run: AnalysisRunView { run, facts: Vec::new(), jobs: Vec::new(), secrets: BTreeMap::new() },
    }
}

/// A run with one metric by a Job, of the given further fields.
fn by_job(fields: &str, spec: &str) -> RunView {
    let mut view = view(spec, "{}");
    let job = "job: {metadata: {labels: {kind: smoke}}, spec: {backoffLimit: 0, template: {spec: {containers: [{args: ['{{args.hash}}']}]}}}}";
    let text = format!("{{name: m, {fields}, provider: {{{job}}}}}");
    let run = Arc::make_mut(&mut view.run.run);
    run.spec.metrics = vec![serde_saphyr::from_str(&text).unwrap()];
    let hash = "{name: hash, value: abc}";
    run.spec.args = Some(vec![serde_saphyr::from_str(hash).unwrap()]);
    view
}

/// Lets the API server take the Jobs of a decision, and the shell write its status.
fn carry_out(view: &mut RunView, decision: &Decision<AnalysisRunReconciler>) {
    for action in decision.plan.actions() {
        match action {
            RunAction::CreateJob { .. } => {
                let mut body = action.lower().request().body;
                body["metadata"]["uid"] = json!("uid-of-the-job");
                body["metadata"]["resourceVersion"] = json!("9");
                body["metadata"]["creationTimestamp"] = json!(view.now);
                let job = Arc::new(serde_json::from_value(body).unwrap());
                view.run.jobs.push(JobSight { job, stuck: None });
            }
            RunAction::DeleteJob { object, .. } => {
                view.run.jobs.retain(|sight| sight.job.meta.name != object.name);
            }
            RunAction::Delete { .. } => {}
        }
    }
    Arc::make_mut(&mut view.run.run).status = decision.status.clone();
}

fn ends(view: &mut RunView, good: bool) {
    let end = JobEnd { good, at: Some(view.now.into()), message: "said the Job".into() };
    let sight = view.run.jobs.last_mut().unwrap();
    Arc::make_mut(&mut sight.job).end = Some(end);
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

#[test]
fn a_job_is_created_as_it_is_written_with_what_tells_whose_it_is() {
    let view = by_job("count: 1", "");
    let decision = decide(&view);
    assert!(decision.tasks.is_empty());
    let request = decision.plan.actions().next().unwrap().lower().request();
    assert_eq!(request.path, "/apis/batch/v1/namespaces/shop/jobs?fieldManager=sluice-rollout");
    assert_eq!(
        request.body,
        json!({
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {
                "name": "u.m.1",
                "namespace": "shop",
                "labels": { "kind": "smoke", "analysisrun.argoproj.io/uid": "u" },
                "annotations": {
                    "analysisrun.argoproj.io/name": "run",
                    "analysisrun.argoproj.io/namespace": "shop",
                    "analysisrun.argoproj.io/metric-name": "m",
                },
                "ownerReferences": [{
                    "apiVersion": "argoproj.io/v1alpha1",
                    "kind": "AnalysisRun",
                    "name": "run",
                    "uid": "u",
                    "controller": true,
                    "blockOwnerDeletion": true,
                }],
            },
            "spec": {
                "backoffLimit": 0,
                "template": {
                    "metadata": { "labels": { "analysisrun.argoproj.io/uid": "u" } },
                    "spec": { "containers": [{ "args": ["abc"] }] },
                },
            },
        })
    );
    assert!(!format!("{:?}", decision.plan).contains("abc"), "arguments may be secret");
}

#[test]
fn a_job_that_runs_is_waited_for_and_made_once() {
    let mut view = by_job("count: 1", "");
    let decision = decide(&view);
    carry_out(&mut view, &decision);
    view.now += Duration::hours(9);
    let again = decide(&view);
    assert!(again.plan.is_empty() && again.status_write.is_none() && again.wake.is_none());
    assert_eq!(again.status.phase, Some(AnalysisPhase::Running));
}

#[test]
fn how_a_job_ends_is_the_measurement() {
    for (end, phase, message) in [
        (Some(true), AnalysisPhase::Successful, None),
        (Some(false), AnalysisPhase::Failed, Some("said the Job")),
        (None, AnalysisPhase::Inconclusive, Some("ImagePullBackOff")),
    ] {
        let mut view = by_job("count: 1", "");
        let decision = decide(&view);
        carry_out(&mut view, &decision);
        view.now += Duration::seconds(30);
        match end {
            Some(good) => ends(&mut view, good),
            None => view.run.jobs[0].stuck = Some("ImagePullBackOff".into()),
        }
        let decision = decide(&view);
        assert_eq!(decision.status.phase, Some(phase));
        let result = &decision.status.metric_results.as_ref().unwrap()[0];
        let measurement = &result.measurements.as_ref().unwrap()[0];
        assert_eq!((measurement.phase, measurement.message.as_deref()), (Some(phase), message));
        let metadata = measurement.metadata.as_ref().unwrap();
        assert_eq!((&*metadata["job-name"], &*metadata["job-namespace"]), ("u.m.1", "shop"));
        assert_eq!(measurement.finished_at.unwrap().at(), now() + Duration::seconds(30));
        assert_eq!(measurement.started_at.unwrap().at(), now());
        let deletes = decision.plan.actions().count();
        assert_eq!(deletes, usize::from(end.is_none()), "a Job that hangs goes with the run");
    }
}

#[test]
fn older_jobs_go_with_their_measurements() {
    let mut view =
        by_job("interval: 10s, count: 4", "measurementRetention: [{metricName: m, limit: 2}]");
    let mut deleted = Vec::new();
    for _ in 0..12 {
        let decision = decide(&view);
        let words = decision.plan.actions().map(ToString::to_string);
        deleted.extend(words.filter(|word| word.starts_with("delete")));
        let made = decision.plan.actions().any(|a| matches!(a, RunAction::CreateJob { .. }));
        carry_out(&mut view, &decision);
        if made {
            ends(&mut view, true);
        } else if let Some(wake) = decision.wake {
            view.now = wake.at;
        }
    }
    assert_eq!(view.run.run.status.phase, Some(AnalysisPhase::Successful));
    assert_eq!(deleted, ["delete Job shop/u.m.1", "delete Job shop/u.m.2"]);
}

#[test]
fn who_ends_a_run_ends_its_job_with_its_pods() {
    let mut view = by_job("count: 1", "");
    let decision = decide(&view);
    carry_out(&mut view, &decision);
    Arc::make_mut(&mut view.run.run).spec.terminate = Some(true);
    let decision = decide(&view);
    assert_eq!(decision.status.phase, Some(AnalysisPhase::Inconclusive), "nothing was proved");
    let request = decision.plan.actions().next().unwrap().lower().request();
    assert_eq!(
        (request.method, &request.body["propagationPolicy"]),
        ("DELETE", &json!("Foreground"))
    );
    let preconditions = json!({"uid": "uid-of-the-job", "resourceVersion": "9"});
    assert_eq!(request.body["preconditions"], preconditions);
    // The status may have been written and the Job not: the next decision does it.
    Arc::make_mut(&mut view.run.run).status = decision.status.clone();
    let again = decide(&view);
    assert_eq!(again.plan.actions().count(), 1);
    carry_out(&mut view, &again);
    assert!(decide(&view).plan.is_empty());
}

#[test]
fn a_job_that_cannot_be_created_is_an_error_and_the_next_has_the_next_number() {
    let mut view = by_job("count: 1", "");
    view.run.facts.push(MeasurementFact {
        metric: "m".into(),
        sequence: 0,
        started_at: now(),
        finished_at: now(),
        outcome: Err(MeasurementFailure { kind: FailureKind::Bad, message: "forbidden".into() }),
        metadata: BTreeMap::new(),
    });
    let decision = decide(&view);
    assert!(decision.plan.is_empty());
    assert_eq!(decision.status.metric_results.as_ref().unwrap()[0].error, Some(1));
    view.run.facts.clear();
    carry_out(&mut view, &decision);
    view.now += Duration::seconds(10);
    let later = decide(&view);
    assert_eq!(later.plan.actions().next().unwrap().to_string(), "create Job shop/u.m.2");
    assert_eq!(jobs::measurement_of(&view.run.run, "u.m.2"), Some(("m".into(), 1)));
    assert_eq!(jobs::measurement_of(&view.run.run, "u.m.1"), None);
}
