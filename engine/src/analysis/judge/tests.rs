use std::collections::BTreeMap;

use chrono::Duration;
use sluice_crds::analysis::AnalysisRunRecord;

use super::*;
use crate::view::{FailureKind, MeasuredValue, MeasurementFact, MeasurementFailure};

type Taken = Result<MeasuredValue, MeasurementFailure>;

fn number(value: f64) -> Taken {
    Ok(MeasuredValue::Number(value))
}

fn bad(message: &str) -> Taken {
    Err(MeasurementFailure { kind: FailureKind::Bad, message: message.into() })
}

fn unreachable() -> Taken {
    let message = "connection refused".into();
    Err(MeasurementFailure { kind: FailureKind::Unreachable, message })
}

fn start() -> DateTime<Utc> {
    "2026-01-02T03:04:05Z".parse().unwrap()
}

/// A run, its clock, and how many measurements each metric has had.
struct Bench {
    view: RunView,
    notices: Vec<String>,
}

impl Bench {
    fn new(spec: &str) -> Self {
        let text = format!(
            "metadata: {{name: run, namespace: shop, uid: u}}\nspec:\n{}",
            spec.lines().map(|line| format!("  {line}\n")).collect::<String>()
        );
        let run: AnalysisRunRecord = serde_saphyr::from_str(&text).unwrap();
        let run = AnalysisRunView {
            run: Arc::new(run),
            facts: Vec::new(),
            jobs: Vec::new(),
            secrets: BTreeMap::new(),
        };
        let config = Arc::new(EngineConfig::default());
        Self { view: RunView { now: start(), config, run }, notices: Vec::new() }
    }

    /// Decides and, as the shell would, writes the status and forgets the facts that are in it.
    fn decide(&mut self) -> RunVerdict {
        let early = verdict_of(&self.view.run, self.view.now, &self.view.config);
        let verdict = next_status(&self.view);
        assert_eq!(Some(early.phase), verdict.status.phase.or(Some(AnalysisPhase::Pending)));
        assert_eq!(early.message, verdict.status.message.clone().unwrap_or_default());
        Arc::make_mut(&mut self.view.run.run).status = verdict.status.clone();
        self.view.run.facts.clear();
        self.notices.extend(verdict.notices.iter().map(|n| format!("{}: {}", n.reason, n.message)));
        verdict
    }

    fn fact(&mut self, measure: &Measure, outcome: Taken) {
        self.view.run.facts.push(MeasurementFact {
            metric: measure.metric.clone(),
            sequence: measure.sequence,
            started_at: self.view.now,
            finished_at: self.view.now,
            outcome,
            metadata: BTreeMap::new(),
        });
    }

    /// Answers what is asked with the next of the metric's answers, and lets time pass, until nothing is left to say.
    fn play(&mut self, answers: &[(&str, Vec<Taken>)]) -> AnalysisRunStatus {
        let mut answers: BTreeMap<&str, std::collections::VecDeque<Taken>> =
            answers.iter().map(|(name, list)| (*name, list.iter().cloned().collect())).collect();
        loop {
            let verdict = self.decide();
            let mut answered = false;
            for measure in &verdict.due {
                let next =
                    answers.get_mut(measure.metric.as_str()).and_then(|list| list.pop_front());
                if let Some(outcome) = next {
                    self.fact(measure, outcome);
                    answered = true;
                }
            }
            match (answered, verdict.wake) {
                (true, _) => {}
                (false, Some(wake)) => self.view.now = wake.at,
                (false, None) => return verdict.status,
            }
        }
    }
}

const PROVIDER: &str = "provider: {prometheus: {query: q}}";

fn metric(fields: &str) -> String {
    format!("metrics:\n- {{name: errors, {fields}, {PROVIDER}}}\n")
}

/// Plays the answers against one metric and returns phase, message and counts.
fn outcome(fields: &str, answers: Vec<Taken>) -> (AnalysisPhase, String) {
    let status = Bench::new(&metric(fields)).play(&[("errors", answers)]);
    (status.phase.unwrap(), status.message.unwrap_or_default())
}

/// Fields beside the conditions | answers (good, poor, unclear, bad query, empty) | phase | reason.
const ENDINGS: &str = "
                                                    | g       | Successful   |
                                                    | p       | Failed       | failed (1) > failureLimit (0)
                                                    | u       | Inconclusive | inconclusive (1) > inconclusiveLimit (0)
interval: 10s, count: 3                             | gg      | Running      |
interval: 10s, count: 3                             | ggg     | Successful   |
interval: 10s, count: 3, failureLimit: 1            | pgg     | Successful   |
interval: 10s, count: 3, failureLimit: 1            | pgp     | Failed       | failed (2) > failureLimit (1)
interval: 10s, count: 2, inconclusiveLimit: 1       | ug      | Successful   |
interval: 10s                                       | ggggggg | Running      |
interval: 10s, failureLimit: -1, consecutiveSuccessLimit: 2           | gpgg | Successful   |
interval: 10s, count: 4, failureLimit: -1, consecutiveSuccessLimit: 2 | gpgp | Failed       | consecutiveSuccesses (0) < consecutiveSuccessLimit (2)
interval: 10s, count: 4, failureLimit: 2, consecutiveSuccessLimit: 2  | gpgp | Inconclusive | consecutiveSuccesses (0) < consecutiveSuccessLimit (2)
                                                    | bbbb    | Running      |
                                                    | bbbbb   | Error        | consecutiveErrors (5) > consecutiveErrorLimit (4): \"Error Message: parse error\"
consecutiveErrorLimit: 0                            | b       | Error        | consecutiveErrors (1) > consecutiveErrorLimit (0): \"Error Message: parse error\"
                                                    | bbbbg   | Successful   |
                                                    | eeeee   | Error        | consecutiveErrors (5) > consecutiveErrorLimit (4): \"Error Message: no data: the result is empty\"
";

#[test]
fn limits_decide_how_a_run_ends() {
    for line in ENDINGS.lines().filter(|line| !line.is_empty()) {
        let [fields, answers, phase, reason] =
            line.split('|').map(str::trim).collect::<Vec<_>>().try_into().unwrap();
        let answers = answers.chars().map(|letter| match letter {
            'g' => number(0.01),
            'p' => number(0.5),
            'u' => number(0.1),
            'b' => bad("parse error"),
            'e' => Ok(MeasuredValue::List(vec![])),
            other => panic!("{other}"),
        });
        let conditions = "successCondition: result < 0.05, failureCondition: result > 0.3";
        let comma = if fields.is_empty() { "" } else { ", " };
        let (found, message) = outcome(&format!("{conditions}{comma}{fields}"), answers.collect());
        assert_eq!(found.as_str(), phase, "{line}");
        let expected = match reason {
            "" => String::new(),
            reason => format!("Metric \"errors\" assessed {phase} due to {reason}"),
        };
        assert_eq!(message, expected, "{line}");
    }
}

#[test]
fn conditions_decide_what_a_measurement_is() {
    use AnalysisPhase::{Error, Failed, Inconclusive, Successful};
    let list = |numbers: &[f64]| {
        MeasuredValue::List(numbers.iter().copied().map(MeasuredValue::Number).collect())
    };
    let nan = || MeasuredValue::Number(f64::NAN);
    let cases: Vec<(&str, MeasuredValue, AnalysisPhase)> = vec![
        ("", MeasuredValue::Number(1.0), Successful),
        ("", MeasuredValue::Nil, Error),
        ("", nan(), Error),
        ("", list(&[]), Error),
        ("", MeasuredValue::Text(String::new()), Error),
        ("", MeasuredValue::Map(BTreeMap::new()), Error),
        ("successCondition: 'result[0] < 0.05'", list(&[0.01]), Successful),
        ("successCondition: 'result[0] < 0.05'", list(&[]), Error),
        ("successCondition: 'result[0] < 0.05'", list(&[0.05]), Failed),
        ("successCondition: '!(result > 0.05)'", nan(), Error),
        ("successCondition: '!(result > 0.05)'", MeasuredValue::Number(f64::NEG_INFINITY), Error),
        ("failureCondition: 'result > 0.05'", nan(), Error),
        ("failureCondition: 'result > 0.05'", MeasuredValue::Number(0.01), Successful),
        ("failureCondition: 'result > 0.05'", MeasuredValue::Number(0.06), Failed),
        ("successCondition: 'all(result, # < 0.05)'", list(&[]), Error),
        ("successCondition: 'all(result, # < 0.05)'", list(&[0.01, f64::NAN]), Error),
        ("successCondition: 'isNaN(result) || result < 0.05'", nan(), Successful),
        ("successCondition: 'default(result, 0) < 0.05'", MeasuredValue::Nil, Successful),
        ("successCondition: 'len(result) == 0 || result[0] < 0.05'", list(&[]), Successful),
        (
            "successCondition: 'result < 1', failureCondition: 'result > 2'",
            MeasuredValue::Number(1.5),
            Inconclusive,
        ),
        (
            "successCondition: 'result < 3', failureCondition: 'result > 2'",
            MeasuredValue::Number(2.5),
            Failed,
        ),
        ("successCondition: 'result'", MeasuredValue::Number(1.0), Error),
        (
            "successCondition: 'result.ok'",
            MeasuredValue::Map([("ok".to_owned(), MeasuredValue::Bool(true))].into()),
            Successful,
        ),
        ("successCondition: 'result.ok'", MeasuredValue::Text("<html>".into()), Error),
    ];
    for (fields, value, expected) in cases {
        let fields = if fields.is_empty() { "interval: 10s" } else { fields };
        let name = format!("{fields} {value:?}");
        let status = Bench::new(&metric(fields)).play(&[("errors", vec![Ok(value)])]);
        let measurements = status.metric_results.unwrap()[0].measurements.clone().unwrap();
        assert_eq!(measurements[0].phase, Some(expected), "{name}: {measurements:?}");
    }
}

#[test]
fn an_empty_answer_never_succeeds_however_often_it_comes() {
    let (phase, _) = outcome("interval: 10s, count: 3", vec![Ok(MeasuredValue::Nil); 50]);
    assert_eq!(phase, AnalysisPhase::Error);
}

#[test]
fn a_forgiving_limit_without_one_success_is_inconclusive() {
    let fields = "successCondition: result < 1, interval: 10s, count: 2, failureLimit: 2";
    assert_eq!(
        outcome(fields, vec![number(5.0), number(5.0)]),
        (AnalysisPhase::Inconclusive, "metric \"errors\" has no successful measurement".into())
    );
}

#[test]
fn a_server_out_of_reach_holds_for_the_budget_and_then_counts() {
    let mut bench = Bench::new(&metric("successCondition: result < 1"));
    let status = bench.play(&[("errors", vec![unreachable(); 60])]);
    assert_eq!(status.phase, Some(AnalysisPhase::Running));
    let result = &status.metric_results.unwrap()[0];
    assert_eq!((result.error, result.consecutive_error), (Some(60), None));
    assert_eq!(
        result.metadata.as_ref().unwrap()["sluice.dev/unreachable-since"],
        "2026-01-02T03:04:05Z"
    );
    let status = bench.play(&[("errors", vec![unreachable(); 5])]);
    assert_eq!(status.phase, Some(AnalysisPhase::Error));
    assert_eq!(bench.view.now - start(), Duration::seconds(640));
}

#[test]
fn an_answer_ends_an_outage() {
    let mut bench = Bench::new(&metric("successCondition: result < 1, interval: 10s"));
    let mut answers = vec![unreachable(); 50];
    answers.push(number(0.0));
    answers.extend(vec![unreachable(); 50]);
    let status = bench.play(&[("errors", answers)]);
    assert_eq!(status.phase, Some(AnalysisPhase::Running));
    assert_eq!(status.metric_results.unwrap()[0].consecutive_error, None);
}

#[test]
fn a_limit_of_its_own_counts_an_outage_at_once() {
    let fields = "successCondition: result < 1, consecutiveErrorLimit: 1";
    assert_eq!(outcome(fields, vec![unreachable(), unreachable()]).0, AnalysisPhase::Error);
}

#[test]
fn measurements_wait_for_delay_and_interval() {
    let fields = "successCondition: result < 1, initialDelay: 1m, interval: 30s, count: 3";
    let mut bench = Bench::new(&metric(fields));
    let first = bench.decide();
    assert!(first.due.is_empty());
    assert_eq!(first.wake.unwrap().at, start() + Duration::seconds(60));
    bench.play(&[("errors", vec![number(0.0), bad("x"), number(0.0), number(0.0)])]);
    // 60 s delay, 30 s interval, 10 s after the error, 30 s interval.
    assert_eq!(bench.view.now, start() + Duration::seconds(130));
}

#[test]
fn a_failing_metric_ends_the_others_at_once() {
    let spec = format!(
        "metrics:\n- {{name: slow, interval: 10s, count: 5, {PROVIDER}}}\n- {{name: errors, failureCondition: result > 1, \
         {PROVIDER}}}\n- {{name: late, initialDelay: 1h, {PROVIDER}}}\n"
    );
    let mut bench = Bench::new(&spec);
    let status = bench.play(&[("slow", vec![number(0.0)]), ("errors", vec![number(2.0)])]);
    assert_eq!(status.phase, Some(AnalysisPhase::Failed));
    let summary = status.run_summary.unwrap();
    assert_eq!((summary.count, summary.failed, summary.successful), (Some(3), Some(1), Some(1)));
    assert_eq!(
        bench.notices,
        [
            "MetricSuccessful: Metric 'slow' Completed. Result: Successful",
            "MetricFailed: Metric 'errors' Completed. Result: Failed",
            "AnalysisRunFailed: Analysis Completed. Result: Failed: Metric \"errors\" assessed Failed due to failed (1) > \
             failureLimit (0)",
        ]
    );
}

#[test]
fn a_dry_run_is_measured_and_does_not_count() {
    let spec = format!(
        "dryRun: [{{metricName: 'err.*'}}]\nmetrics:\n- {{name: errors, failureCondition: result > 1, {PROVIDER}}}\n\
         - {{name: good, {PROVIDER}}}\n"
    );
    let answers = [("errors", vec![number(2.0)]), ("good", vec![number(0.0)])];
    let status = Bench::new(&spec).play(&answers);
    assert_eq!(status.phase, Some(AnalysisPhase::Successful));
    let results = status.metric_results.unwrap();
    let dry = results.iter().find(|result| result.name == "errors").unwrap();
    assert_eq!((dry.phase, dry.dry_run), (Some(AnalysisPhase::Failed), Some(true)));
    assert!(dry.message.as_ref().unwrap().contains("failed (1) > failureLimit (0)"));
    assert_eq!(status.run_summary.unwrap().count, Some(1));
    assert_eq!(status.dry_run_summary.unwrap().failed, Some(1));
}

#[test]
fn a_run_of_dry_runs_only_succeeds() {
    let spec =
        format!("dryRun: [{{metricName: '.*'}}]\n{}", metric("failureCondition: result > 1"));
    let status = Bench::new(&spec).play(&[("errors", vec![number(2.0)])]);
    assert_eq!(status.phase, Some(AnalysisPhase::Successful));
}

#[test]
fn a_run_that_is_terminated_ends_with_what_it_has() {
    let terminated = |answers: Vec<Taken>| {
        let mut bench = Bench::new(&metric("successCondition: result < 1, interval: 10s"));
        bench.play(&[("errors", answers)]);
        Arc::make_mut(&mut bench.view.run.run).spec.terminate = Some(true);
        let verdict = bench.decide();
        assert!(verdict.due.is_empty());
        (verdict.status.phase.unwrap(), verdict.status.message.unwrap())
    };
    assert_eq!(
        terminated(vec![number(0.0)]),
        (AnalysisPhase::Successful, "Run Terminated".to_owned())
    );
    assert_eq!(
        terminated(vec![]),
        (
            AnalysisPhase::Inconclusive,
            "Run Terminated: metric \"errors\" has no successful measurement".to_owned()
        )
    );
}

#[test]
fn a_spec_that_cannot_be_measured_is_an_error_that_says_why() {
    for (spec, message) in [
        ("metrics: []\n".to_owned(), "spec.metrics: there is no metric"),
        (metric("successCondition: 'result <'"), "metric `errors`: successCondition `result <`: "),
        (metric("interval: soon, count: 2"), "spec.metrics[0].interval: "),
        (metric("count: 2"), "spec.metrics[0]"),
        (
            metric("successCondition: 'result < {{args.limit}}'"),
            "metric `errors`: successCondition: unknown tag `{{args.limit}}`",
        ),
        (
            format!("args: [{{name: limit}}]\n{}", metric("interval: 1s")),
            "argument `limit` has no value",
        ),
        (
            format!("dryRun: [{{metricName: x}}]\n{}", metric("interval: 1s")),
            "spec.dryRun[0].metricName: `x` matches none of the metrics",
        ),
        ("metrics:\n- {name: errors, provider: {}}\n".to_owned(), "spec.metrics[0].provider"),
    ] {
        let status = Bench::new(&spec).play(&[]);
        assert_eq!(status.phase, Some(AnalysisPhase::Error), "{spec}");
        let found = status.message.unwrap();
        assert!(found.starts_with(message), "{found} does not begin with {message}");
        assert!(status.completed_at.is_some());
    }
}

#[test]
fn secrets_are_waited_for_filled_in_and_never_shown() {
    let spec = "
args: [{name: token, valueFrom: {secretKeyRef: {name: s, key: k}}}]
metrics: [{name: errors, provider: {web: {url: 'http://x/{{args.token}}'}}}]
";
    let mut bench = Bench::new(spec);
    let waiting = bench.decide();
    assert!(waiting.due.is_empty());
    assert_eq!(
        waiting.report.waiting[0].what,
        "the Secret of argument `token` has not been read yet"
    );
    bench.view.run.secrets.insert("token".into(), Ok("hunter2".into()));
    let due = bench.decide().due;
    let measure = due.first().unwrap();
    assert_eq!(measure.provider.web.as_ref().unwrap().url, "http://x/hunter2");
    assert!(!format!("{measure:?}").contains("hunter2"));
    bench.fact(measure, bad("GET http://x/hunter2: 404"));
    let status = bench.decide().status;
    assert!(!format!("{status:?}").contains("hunter2"));
    bench.view.run.secrets.insert("token".into(), Err("Secret `s` does not exist".into()));
    let status = bench.decide().status;
    assert_eq!(status.message.as_deref(), Some("argument `token`: Secret `s` does not exist"));
}

#[test]
fn only_the_last_measurements_are_kept_and_the_count_goes_on() {
    let spec = format!(
        "measurementRetention: [{{metricName: errors, limit: 3}}]\n{}",
        metric("interval: 10s, count: 20")
    );
    let status = Bench::new(&spec).play(&[("errors", vec![number(0.0); 20])]);
    let result = &status.metric_results.unwrap()[0];
    assert_eq!(result.measurements.as_ref().unwrap().len(), 3);
    assert_eq!(result.count, Some(20));
}

#[test]
fn a_fact_that_is_recorded_already_is_not_counted_again() {
    let mut bench = Bench::new(&metric("interval: 10s, count: 5"));
    let due = bench.decide().due;
    for _ in 0..3 {
        bench.fact(due.first().unwrap(), number(0.0));
    }
    let status = bench.decide().status;
    assert_eq!(status.metric_results.unwrap()[0].count, Some(1));
}

#[test]
fn arguments_reach_conditions_and_limits() {
    let spec = format!(
        "args: [{{name: limit, value: '0.05'}}, {{name: tries, value: '1'}}]\n{}",
        metric(
            "successCondition: 'result < {{args.limit}}', interval: 10s, failureLimit: '{{args.tries}}'"
        )
    );
    let status = Bench::new(&spec).play(&[("errors", vec![number(1.0), number(1.0)])]);
    assert_eq!(
        status.message.as_deref(),
        Some("Metric \"errors\" assessed Failed due to failed (2) > failureLimit (1)")
    );
}
