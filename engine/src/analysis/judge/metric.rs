//! One metric: what is recorded of it, what its limits say, when it is measured again.

use chrono::{DateTime, Duration, Utc};
use sluice_crds::analysis::{AnalysisPhase, Measurement, Metric, MetricResult};
use sluice_crds::duration;
use sluice_crds::intstr::IntOrString;
use sluice_crds::time::Time;

use super::Terminating;
use crate::config::EngineConfig;
use crate::view::{FailureKind, MeasurementFact};

/// Time after an error until the next try (Argo).
const ERROR_INTERVAL: Duration = Duration::seconds(10);
/// Errors in a row that are tolerated by default (Argo).
const CONSECUTIVE_ERROR_LIMIT: i64 = 4;
/// Key in `metricResults[].metadata`: since when the metrics server has been out of reach.
const UNREACHABLE_SINCE: &str = "sluice.dev/unreachable-since";

/// Returns how many measurements of the metric were ever recorded, errors included: the number of the next one.
pub fn recorded(result: &MetricResult) -> u32 {
    let all = number(result.count).saturating_add(number(result.error));
    u32::try_from(all).unwrap_or(0)
}

pub(super) fn is_completed(result: &MetricResult) -> bool {
    result.phase.is_some_and(AnalysisPhase::is_completed)
}

/// Since when its server has been out of reach, if it is.
pub(super) fn unreachable_since(result: &MetricResult) -> Option<&str> {
    result.metadata.as_ref()?.get(UNREACHABLE_SINCE).map(String::as_str)
}

pub(super) fn increment(count: &mut Option<i32>) {
    *count = Some(count.unwrap_or(0).saturating_add(1));
}

fn number(count: Option<i32>) -> i64 {
    i64::from(count.unwrap_or(0))
}

/// The numbers that bound a metric, with Argo's defaults.
struct Limits {
    failure: i64,
    inconclusive: i64,
    consecutive_error: i64,
    consecutive_success: i64,
    /// Measurements to take; `None`: no end.
    count: Option<i64>,
}

impl Limits {
    fn of(metric: &Metric) -> Self {
        let number = |value: &Option<IntOrString>| value.as_ref().and_then(IntOrString::as_int);
        let unbounded = metric.interval.as_ref().is_some_and(|interval| !interval.is_empty());
        Self {
            failure: number(&metric.failure_limit).unwrap_or(0),
            inconclusive: number(&metric.inconclusive_limit).unwrap_or(0),
            consecutive_error: number(&metric.consecutive_error_limit)
                .unwrap_or(CONSECUTIVE_ERROR_LIMIT),
            consecutive_success: number(&metric.consecutive_success_limit).unwrap_or(0),
            count: match number(&metric.count) {
                Some(count) if count > 0 => Some(count),
                Some(_) | None if unbounded => None,
                Some(_) | None => Some(1),
            },
        }
    }
}

/// Adds a measurement to the metric's record.
pub(super) fn record(
    metric: &Metric,
    result: &mut MetricResult,
    measurement: Measurement,
    fact: &MeasurementFact,
    config: &EngineConfig,
) {
    let phase = measurement.phase.unwrap_or(AnalysisPhase::Error);
    let held = holds(metric, result, fact, config);
    match phase {
        AnalysisPhase::Successful => {
            increment(&mut result.successful);
            increment(&mut result.consecutive_success);
        }
        AnalysisPhase::Failed => increment(&mut result.failed),
        AnalysisPhase::Inconclusive => increment(&mut result.inconclusive),
        AnalysisPhase::Error | AnalysisPhase::Pending | AnalysisPhase::Running => {
            increment(&mut result.error);
            result.message.clone_from(&measurement.message);
            if !held {
                increment(&mut result.consecutive_error);
            }
        }
    }
    if phase != AnalysisPhase::Successful {
        result.consecutive_success = None;
    }
    if matches!(
        phase,
        AnalysisPhase::Successful | AnalysisPhase::Failed | AnalysisPhase::Inconclusive
    ) {
        increment(&mut result.count);
        result.consecutive_error = None;
        result.message = None;
    }
    result.measurements.get_or_insert_default().push(measurement);
}

/// Whether a failure to reach the server is within its budget; notes since when it has been out of reach. The first failure
/// starts the budget; any answer, good or bad, ends it.
fn holds(
    metric: &Metric,
    result: &mut MetricResult,
    fact: &MeasurementFact,
    config: &EngineConfig,
) -> bool {
    let unreachable =
        fact.outcome.as_ref().is_err_and(|failure| failure.kind == FailureKind::Unreachable);
    if !unreachable || metric.consecutive_error_limit.is_some() {
        if let Some(metadata) = &mut result.metadata {
            metadata.remove(UNREACHABLE_SINCE);
        }
        result.metadata = result.metadata.take().filter(|metadata| !metadata.is_empty());
        return false;
    }
    let since = unreachable_since(result)
        .and_then(|text| DateTime::parse_from_rfc3339(text).ok())
        .map(|since| since.to_utc());
    let since = since.unwrap_or_else(|| {
        let text = Time::new(fact.started_at).to_string();
        result.metadata.get_or_insert_default().insert(UNREACHABLE_SINCE.into(), text);
        fact.started_at
    });
    fact.finished_at - since < config.outage_budget && !seeded!(OutageCountsAtOnce)
}

/// Forgets the oldest measurements.
pub(super) fn trim(result: &mut MetricResult, keep: usize) {
    if let Some(measurements) = &mut result.measurements {
        let excess = measurements.len().saturating_sub(keep);
        measurements.drain(..excess);
    }
}

/// Sets the metric's phase from its counts. A completed one stays as it is.
pub(super) fn assess(metric: &Metric, result: &mut MetricResult, terminating: Terminating) {
    if is_completed(result) {
        return;
    }
    let phase = phase(metric, result, terminating);
    if phase.is_completed() && result.dry_run == Some(true) && phase != AnalysisPhase::Successful {
        result.message = Some(message(metric, result_with(result, phase)));
    }
    result.phase = Some(phase);
}

fn result_with(result: &mut MetricResult, phase: AnalysisPhase) -> &MetricResult {
    result.phase = Some(phase);
    result
}

fn phase(metric: &Metric, result: &MetricResult, terminating: Terminating) -> AnalysisPhase {
    let limits = Limits::of(metric);
    if recorded(result) == 0 {
        return match terminating {
            Terminating::Yes => AnalysisPhase::Successful,
            Terminating::No => AnalysisPhase::Pending,
        };
    }
    // In this order a later one prevails over an earlier one (Argo).
    let late = i64::from(seeded!(ErrorLimitLate));
    if number(result.consecutive_error) > limits.consecutive_error + late {
        return AnalysisPhase::Error;
    }
    if number(result.inconclusive) > limits.inconclusive {
        return AnalysisPhase::Inconclusive;
    }
    let late = i64::from(seeded!(FailureLimitLate));
    if limits.failure >= 0 && number(result.failed) > limits.failure + late {
        return AnalysisPhase::Failed;
    }
    let successes = limits.consecutive_success;
    if successes > 0 && number(result.consecutive_success) >= successes {
        return AnalysisPhase::Successful;
    }
    let late = i64::from(seeded!(CountLate));
    if limits.count.is_some_and(|count| number(result.count) >= count + late) {
        return match (successes > 0, limits.failure >= 0) {
            (true, true) => AnalysisPhase::Inconclusive,
            (true, false) => AnalysisPhase::Failed,
            (false, _) => AnalysisPhase::Successful,
        };
    }
    match terminating {
        Terminating::Yes => AnalysisPhase::Successful,
        Terminating::No => AnalysisPhase::Running,
    }
}

/// Returns why the metric ended as it did, in Argo's words: `Metric "errors" assessed Failed due to failed (1) > failureLimit
/// (0)`.
pub(super) fn message(metric: &Metric, result: &MetricResult) -> String {
    let limits = Limits::of(metric);
    let phase = result.phase.unwrap_or(AnalysisPhase::Pending);
    let over = |what: &str, count: Option<i32>, limit: &str, most: i64| {
        let count = number(count);
        (count > most).then(|| format!("{what} ({count}) > {limit} ({most})"))
    };
    let reason = match phase {
        AnalysisPhase::Failed => over("failed", result.failed, "failureLimit", limits.failure)
            .filter(|_| limits.failure >= 0),
        AnalysisPhase::Inconclusive => {
            over("inconclusive", result.inconclusive, "inconclusiveLimit", limits.inconclusive)
        }
        AnalysisPhase::Error => over(
            "consecutiveErrors",
            result.consecutive_error,
            "consecutiveErrorLimit",
            limits.consecutive_error,
        ),
        AnalysisPhase::Pending | AnalysisPhase::Running | AnalysisPhase::Successful => None,
    };
    // What is left: all measurements were taken, and there were never enough successes in a row.
    let reason = reason.unwrap_or_else(|| {
        let (most, wanted) = (number(result.consecutive_success), limits.consecutive_success);
        format!("consecutiveSuccesses ({most}) < consecutiveSuccessLimit ({wanted})")
    });
    let text = format!("Metric \"{}\" assessed {} due to {reason}", metric.name, phase.as_str());
    match (&result.message, phase) {
        (Some(error), AnalysisPhase::Error) => format!("{text}: \"Error Message: {error}\""),
        _ => text,
    }
}

/// Returns when the metric is to be measured next; `None` if never again.
pub(super) fn due_at(
    metric: &Metric,
    result: Option<&MetricResult>,
    started_at: Option<Time>,
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let length = |text: &Option<String>| {
        text.as_deref().filter(|text| !text.is_empty()).and_then(|text| duration::parse(text).ok())
    };
    if result.is_some_and(is_completed) {
        return None;
    }
    let last = result.and_then(|result| result.measurements.iter().flatten().next_back());
    let Some(last) = last else {
        let started = started_at.map_or(now, Time::at);
        return Some(length(&metric.initial_delay).map_or(started, |delay| started + delay));
    };
    let interval = if last.phase == Some(AnalysisPhase::Error) {
        ERROR_INTERVAL
    } else {
        length(&metric.interval).unwrap_or(ERROR_INTERVAL)
    };
    Some(last.finished_at.or(last.started_at).map_or(now, Time::at) + interval)
}
