//! What the measurements of a run mean: phases of metrics and of the run, and which measurements are due.
//!
//! Judging depends on the run's status, on the measurements that are not in it yet, and on configuration, never on who asks or
//! when: the Rollout sees a failure in the same instant as the run's own reconciler, and both see the same.
//!
//! Source: `spec-rollouts` 6.4–6.6. Deliberate differences: nothing, NaN, infinities and empty results are errors, not verdicts,
//! unless the condition itself asks for them (`isNaN`, `isNil`, `default`, `len`…); a run of which some metric (dry runs aside)
//! never had a successful measurement ends Inconclusive at best (S12), also when it is terminated or its `failureLimit` would
//! forgive everything; a metrics server that is out of reach holds for the outage budget before it counts as errors in a row, if
//! the metric has no `consecutiveErrorLimit` of its own.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use sluice_crds::analysis::status::RunSummary;
use sluice_crds::analysis::{
    AnalysisPhase, AnalysisRunSpec, AnalysisRunStatus, Metric, MetricResult, Provider,
};
use sluice_crds::object::{Kind, ObjectRef};
use sluice_crds::validate;

use super::arguments::{self, ArgumentError};
use super::jobs;
use crate::config::EngineConfig;
use crate::plan::{Notice, Severity, Wake, WakeReason};
use crate::report::Report;
use crate::view::{AnalysisRunView, MeasurementFact, RunView};

mod measurement;
mod metric;
mod rules;

pub use metric::recorded;

/// One measurement that should be taken now. Two of them are the same task if run, metric and number are.
#[derive(Clone)]
pub struct Measure {
    /// The run.
    pub run: ObjectRef,
    /// Uid of the run.
    pub uid: String,
    /// Metric.
    pub metric: String,
    /// Number of the measurement, from 0; see [`crate::view::MeasurementFact::sequence`].
    pub sequence: u32,
    /// What to ask, with arguments filled in. Values of Secrets are in it: it is never printed.
    pub provider: Arc<Provider>,
}

impl Measure {
    fn key(&self) -> (&str, &str, u32) {
        (&self.uid, &self.metric, self.sequence)
    }
}

impl PartialEq for Measure {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Measure {}

impl PartialOrd for Measure {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Measure {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl std::fmt::Debug for Measure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Measure({} {:?} #{})", self.run, self.metric, self.sequence)
    }
}

/// What to do with a run.
#[derive(Clone, Debug)]
pub struct RunVerdict {
    /// The whole next status.
    pub status: AnalysisRunStatus,
    /// Measurements that should be under way.
    pub due: BTreeSet<Measure>,
    /// Whether what is still being measured is to be ended: the run is over, or about to be.
    pub ending: bool,
    /// How many measurements, and Jobs, are kept of each metric that is measured by Jobs.
    pub kept: BTreeMap<String, usize>,
    /// When the next measurement is due.
    pub wake: Option<Wake>,
    /// Metrics and runs that ended.
    pub notices: Vec<Notice>,
    /// What it waits for.
    pub report: Report,
}

/// What a run says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// Phase of the run.
    pub phase: AnalysisPhase,
    /// Why; empty while nothing is to be said.
    pub message: String,
    /// A metric that counts, still runs, and whose server is out of reach: its name and since when.
    pub out_of_reach: Option<(String, String)>,
}

/// Returns what the run says, measurements that are not in its status yet included.
pub fn verdict_of(run: &AnalysisRunView, now: DateTime<Utc>, config: &EngineConfig) -> Outcome {
    let status = assess(run, now, config).status;
    let results = status.metric_results.iter().flatten();
    let out_of_reach = results
        .filter(|r| r.dry_run != Some(true) && !metric::is_completed(r))
        .find_map(|r| Some((r.name.clone(), metric::unreachable_since(r)?.to_owned())));
    Outcome {
        out_of_reach,
        phase: status.phase.unwrap_or(AnalysisPhase::Pending),
        message: status.message.unwrap_or_default(),
    }
}

/// Returns the next status of the run, the measurements that are due, and when to look again.
pub fn next_status(view: &RunView) -> RunVerdict {
    let assessed = assess(&view.run, view.now, &view.config);
    let mut verdict = RunVerdict {
        ending: assessed.terminating || is_completed(&assessed.status),
        status: assessed.status,
        due: BTreeSet::new(),
        kept: assessed.kept,
        wake: None,
        notices: Vec::new(),
        report: Report::default(),
    };
    verdict.notices = notices(&view.run.run.status, &verdict.status);
    if let Some(problem) = assessed.waiting {
        verdict.report.waits(problem, None);
    }
    if verdict.ending {
        return verdict;
    }
    for metric in &assessed.metrics {
        let result = result_of(&verdict.status, &metric.name);
        let Some(at) = metric::due_at(metric, result, verdict.status.started_at, view.now) else {
            continue;
        };
        if at > view.now {
            let next = Wake { at, reason: WakeReason::MeasurementDue };
            verdict.wake = Wake::earliest(verdict.wake.take(), Some(next));
            let since = result.and_then(metric::unreachable_since);
            let what = match since {
                Some(since) => format!(
                    "metric `{}`: its server has been out of reach since {since}; the weight holds",
                    metric.name
                ),
                None => format!("metric `{}`: next measurement", metric.name),
            };
            verdict.report.waits(what, Some(at));
            continue;
        }
        verdict.report.waits(format!("metric `{}`: being measured", metric.name), None);
        verdict.due.insert(Measure {
            run: view.run.run.meta.object(Kind::ANALYSIS_RUN),
            uid: view.run.run.meta.uid.clone(),
            metric: metric.name.clone(),
            sequence: result.map_or(0, recorded),
            provider: Arc::new(metric.provider.clone()),
        });
    }
    verdict
}

/// A run with all its measurements judged.
struct Assessed {
    status: AnalysisRunStatus,
    /// Metrics with arguments filled in; empty if they could not be.
    metrics: Vec<Metric>,
    terminating: bool,
    /// How many measurements are kept of each metric that is measured by Jobs.
    kept: BTreeMap<String, usize>,
    /// What keeps it from being measured, if that ends by itself.
    waiting: Option<String>,
}

fn assess(run: &AnalysisRunView, now: DateTime<Utc>, config: &EngineConfig) -> Assessed {
    let spec = &run.run.spec;
    let mut status = run.run.status.clone();
    let still = |status, waiting| Assessed {
        status,
        metrics: Vec::new(),
        terminating: false,
        kept: BTreeMap::new(),
        waiting,
    };
    if is_completed(&status) {
        return still(status, None);
    }
    let (metrics, rules) = match prepared(run) {
        Ok(prepared) => prepared,
        Err(waiting @ (ArgumentError::SecretUnknown(_) | ArgumentError::Unknown(_))) => {
            return still(status, Some(waiting.to_string()));
        }
        Err(problem @ (ArgumentError::Invalid(_) | ArgumentError::Missing(_))) => {
            status.started_at.get_or_insert(now.into());
            status.phase = Some(AnalysisPhase::Error);
            status.message = Some(problem.to_string());
            status.completed_at = Some(now.into());
            return still(status, None);
        }
    };
    status.started_at.get_or_insert(now.into());
    let take = Take { metrics: &metrics, rules: &rules, run, config };
    for fact in &run.facts {
        take.record(&mut status, fact);
    }
    for metric in &metrics {
        let sequence = result_of(&status, &metric.name).map_or(0, recorded);
        if let Some(fact) = jobs::fact(run, metric, sequence, now) {
            take.record(&mut status, &fact);
        }
    }
    let terminating = conclude(spec, &metrics, &rules, &mut status, now);
    let by_jobs = metrics.iter().filter(|metric| metric.provider.job.is_some());
    let kept = by_jobs.map(|metric| (metric.name.clone(), rules.retention(&metric.name))).collect();
    Assessed { status, metrics, terminating, kept, waiting: None }
}

/// What it takes to record a measurement.
struct Take<'a> {
    metrics: &'a [Metric],
    rules: &'a rules::Rules,
    run: &'a AnalysisRunView,
    config: &'a EngineConfig,
}

impl Take<'_> {
    /// Records a measurement, unless it is in the status already.
    fn record(&self, status: &mut AnalysisRunStatus, fact: &MeasurementFact) {
        let Some(metric) = self.metrics.iter().find(|metric| metric.name == fact.metric) else {
            return;
        };
        let results = status.metric_results.get_or_insert_default();
        let index = match results.iter().position(|result| result.name == metric.name) {
            Some(index) => index,
            None => {
                results.push(MetricResult {
                    name: metric.name.clone(),
                    dry_run: self.rules.is_dry_run(&metric.name).then_some(true),
                    ..MetricResult::default()
                });
                results.len() - 1
            }
        };
        let result = &mut results[index];
        if fact.sequence == recorded(result) && !metric::is_completed(result) {
            let taken = measurement::judged(metric, fact, &self.run.secrets);
            metric::record(metric, result, taken, fact, self.config);
            metric::trim(result, self.rules.retention(&metric.name));
            metric::assess(metric, result, Terminating::No);
        }
    }
}

/// Whether open metrics must end with what they have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Terminating {
    No,
    Yes,
}

fn prepared(run: &AnalysisRunView) -> Result<(Vec<Metric>, rules::Rules), ArgumentError> {
    let metrics = arguments::metrics(run)?;
    if metrics.is_empty() {
        return Err(ArgumentError::Invalid("spec.metrics: there is no metric".into()));
    }
    let path = validate::FieldPath::spec().field("metrics");
    if let Some(problem) = validate::metrics(&path, &metrics).first() {
        return Err(ArgumentError::Invalid(problem.to_string()));
    }
    for metric in &metrics {
        measurement::conditions(metric).map_err(ArgumentError::Invalid)?;
    }
    let rules = rules::Rules::of(&run.run.spec, &metrics).map_err(ArgumentError::Invalid)?;
    Ok((metrics, rules))
}

/// Decides whether the run is over, and how it went. Returns whether it is being terminated.
fn conclude(
    spec: &AnalysisRunSpec,
    metrics: &[Metric],
    rules: &rules::Rules,
    status: &mut AnalysisRunStatus,
    now: DateTime<Utc>,
) -> bool {
    let mut results = status.metric_results.take().unwrap_or_default();
    results.sort_by_key(|result| metrics.iter().position(|metric| metric.name == result.name));
    let failing = results.iter().any(|result| {
        result.dry_run != Some(true)
            && metric::is_completed(result)
            && result.phase != Some(AnalysisPhase::Successful)
    });
    let terminating = failing || spec.terminate == Some(true);
    if terminating {
        for metric in metrics {
            if let Some(result) = results.iter_mut().find(|result| result.name == metric.name) {
                metric::assess(metric, result, Terminating::Yes);
            }
        }
    }
    let of = |name: &str| results.iter().find(|result| result.name == name);
    let open = metrics.iter().any(|metric| !of(&metric.name).is_some_and(metric::is_completed));
    if open && !terminating {
        status.phase = Some(AnalysisPhase::Running);
    } else {
        let counting = || {
            metrics
                .iter()
                .filter(|metric| !rules.is_dry_run(&metric.name))
                .map(|m| (m, of(&m.name)))
        };
        let worst = counting().filter_map(|(metric, result)| Some((metric, result?))).max_by(
            |(_, a), (_, b)| badness(a.phase).cmp(&badness(b.phase)).then(Ordering::Greater),
        );
        let phase = worst.and_then(|(_, result)| result.phase).unwrap_or(AnalysisPhase::Successful);
        let unproved = counting()
            .find(|(_, result)| result.and_then(|result| result.successful).unwrap_or(0) == 0);
        let (phase, message) = match (phase, worst, unproved) {
            (AnalysisPhase::Successful, _, Some((metric, _))) => {
                let why = format!("metric \"{}\" has no successful measurement", metric.name);
                let terminated = if terminating { "Run Terminated: " } else { "" };
                (AnalysisPhase::Inconclusive, Some(format!("{terminated}{why}")))
            }
            (AnalysisPhase::Successful, _, None) => {
                (phase, terminating.then(|| "Run Terminated".to_owned()))
            }
            (phase, Some((metric, result)), _) => (phase, Some(metric::message(metric, result))),
            (phase, None, _) => (phase, None),
        };
        status.phase = Some(phase);
        status.message = message;
        status.completed_at = Some(now.into());
    }
    status.run_summary = Some(summary(metrics, &results, |name| !rules.is_dry_run(name)));
    status.dry_run_summary =
        rules.has_dry_runs().then(|| summary(metrics, &results, |name| rules.is_dry_run(name)));
    status.metric_results = (!results.is_empty()).then_some(results);
    terminating
}

/// From best to worst: Successful, Running, Pending, Inconclusive, Error, Failed.
fn badness(phase: Option<AnalysisPhase>) -> u8 {
    match phase {
        Some(AnalysisPhase::Successful) => 0,
        Some(AnalysisPhase::Running) => 1,
        Some(AnalysisPhase::Pending) | None => 2,
        Some(AnalysisPhase::Inconclusive) => 3,
        Some(AnalysisPhase::Error) => 4,
        Some(AnalysisPhase::Failed) => 5,
    }
}

/// Counts metrics, not measurements; one that is still good counts as successful (Argo).
fn summary(
    metrics: &[Metric],
    results: &[MetricResult],
    counts: impl Fn(&str) -> bool,
) -> RunSummary {
    let mut summary = RunSummary::default();
    for metric in metrics.iter().filter(|metric| counts(&metric.name)) {
        metric::increment(&mut summary.count);
        let result = results.iter().find(|result| result.name == metric.name);
        match result.and_then(|result| result.phase) {
            Some(AnalysisPhase::Failed) => metric::increment(&mut summary.failed),
            Some(AnalysisPhase::Error) => metric::increment(&mut summary.error),
            Some(AnalysisPhase::Inconclusive) => metric::increment(&mut summary.inconclusive),
            Some(AnalysisPhase::Successful | AnalysisPhase::Running) => {
                metric::increment(&mut summary.successful);
            }
            Some(AnalysisPhase::Pending) | None => {}
        }
    }
    summary
}

fn is_completed(status: &AnalysisRunStatus) -> bool {
    status.phase.is_some_and(AnalysisPhase::is_completed)
}

fn result_of<'a>(status: &'a AnalysisRunStatus, name: &str) -> Option<&'a MetricResult> {
    status.metric_results.iter().flatten().find(|result| result.name == name)
}

fn notices(before: &AnalysisRunStatus, after: &AnalysisRunStatus) -> Vec<Notice> {
    let mut notices = Vec::new();
    for result in after.metric_results.iter().flatten().filter(|r| metric::is_completed(r)) {
        let old = result_of(before, &result.name);
        if !old.is_some_and(metric::is_completed) {
            let phase = result.phase.unwrap_or(AnalysisPhase::Error);
            let (severity, reason, _) = reasons(phase);
            let message = format!("Metric '{}' Completed. Result: {}", result.name, phase.as_str());
            notices.push(Notice { severity, reason, message });
        }
    }
    if is_completed(after) && !is_completed(before) {
        let phase = after.phase.unwrap_or(AnalysisPhase::Error);
        let (severity, _, reason) = reasons(phase);
        let why = after.message.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        let message = format!("Analysis Completed. Result: {}{why}", phase.as_str());
        notices.push(Notice { severity, reason, message });
    }
    notices
}

/// Severity, and Argo's event reasons for a metric and for a run.
fn reasons(phase: AnalysisPhase) -> (Severity, &'static str, &'static str) {
    match phase {
        AnalysisPhase::Pending => (Severity::Normal, "MetricPending", "AnalysisRunPending"),
        AnalysisPhase::Running => (Severity::Normal, "MetricRunning", "AnalysisRunRunning"),
        AnalysisPhase::Successful => {
            (Severity::Normal, "MetricSuccessful", "AnalysisRunSuccessful")
        }
        AnalysisPhase::Failed => (Severity::Warning, "MetricFailed", "AnalysisRunFailed"),
        AnalysisPhase::Error => (Severity::Warning, "MetricError", "AnalysisRunError"),
        AnalysisPhase::Inconclusive => {
            (Severity::Normal, "MetricInconclusive", "AnalysisRunInconclusive")
        }
    }
}

#[cfg(test)]
mod tests;
