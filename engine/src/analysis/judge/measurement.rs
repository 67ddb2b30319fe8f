//! From a measured value to the verdict on one measurement.

use std::collections::BTreeMap;

use sluice_crds::analysis::{AnalysisPhase, Measurement, Metric};
use sluice_lang::{Condition, ExprError, Value};

use crate::view::{MeasuredValue, MeasurementFact};

/// Functions by which a condition says that it knows what to make of NaN and infinities.
const FOR_NON_FINITE: &[&str] = &["isNaN", "isInf"];
/// The same for nil and empty results.
const FOR_EMPTY: &[&str] = &["isNil", "default", "len", "nil", "??", "isEmpty"];

/// Returns the conditions of a metric, parsed: success, failure.
pub(super) fn conditions(
    metric: &Metric,
) -> Result<(Option<Condition>, Option<Condition>), String> {
    let parsed = |field: &str, text: &Option<String>| match text.as_deref().map(str::trim) {
        None | Some("") => Ok(None),
        Some(text) => Condition::compile(text)
            .map(Some)
            .map_err(|error| format!("metric `{}`: {field} `{text}`: {error}", metric.name)),
    };
    Ok((
        parsed("successCondition", &metric.success_condition)?,
        parsed("failureCondition", &metric.failure_condition)?,
    ))
}

/// Returns the measurement that a fact is.
pub(super) fn judged(
    metric: &Metric,
    fact: &MeasurementFact,
    secrets: &BTreeMap<String, Result<String, String>>,
) -> Measurement {
    let redacted = |text: &str| redact(text, secrets);
    let (phase, message, value) = match &fact.outcome {
        Ok(MeasuredValue::Verdict { phase, message }) => {
            (*phase, Some(message.clone()).filter(|text| !text.is_empty()), None)
        }
        Ok(value) => {
            let (phase, message) = verdict(metric, value, fact);
            (phase, message, Some(text_of(value)))
        }
        Err(failure) => (AnalysisPhase::Error, Some(failure.message.clone()), None),
    };
    let metadata: BTreeMap<String, String> =
        fact.metadata.iter().map(|(key, text)| (key.clone(), redacted(text))).collect();
    Measurement {
        phase: Some(phase),
        message: message.map(|text| redacted(&text)),
        started_at: Some(fact.started_at.into()),
        finished_at: Some(fact.finished_at.into()),
        value: value.map(|text| redacted(&text)),
        metadata: (!metadata.is_empty()).then_some(metadata),
        resume_at: None,
    }
}

fn verdict(
    metric: &Metric,
    value: &MeasuredValue,
    fact: &MeasurementFact,
) -> (AnalysisPhase, Option<String>) {
    let (success, failure) = match conditions(metric) {
        Ok(conditions) => conditions,
        Err(problem) => return (AnalysisPhase::Error, Some(problem)),
    };
    if let Some(problem) = no_evidence(value, &[&success, &failure]) {
        return (AnalysisPhase::Error, Some(problem));
    }
    let result = value_of(value);
    let ask = |condition: &Option<Condition>| match condition {
        Some(condition) => condition.eval_at(&result, fact.finished_at).map(Some),
        None => Ok(None),
    };
    // Argo asks both before it answers: an error in either is an error.
    match (ask(&success), ask(&failure)) {
        (Err(error), _) | (_, Err(error)) => (AnalysisPhase::Error, Some(error_text(&error))),
        (Ok(success), Ok(failure)) => (decided(success, failure), None),
    }
}

fn decided(success: Option<bool>, failure: Option<bool>) -> AnalysisPhase {
    match (success, failure) {
        (_, Some(true)) | (Some(false), None) => AnalysisPhase::Failed,
        (Some(true), _) | (None, None | Some(false)) => AnalysisPhase::Successful,
        (Some(false), Some(false)) => AnalysisPhase::Inconclusive,
    }
}

fn error_text(error: &ExprError) -> String {
    match error {
        ExprError::NoData(_) => error.to_string(),
        ExprError::Syntax { .. }
        | ExprError::TooBig { .. }
        | ExprError::Evaluation(_)
        | ExprError::NotBool(_)
        | ExprError::TooMuchWork => format!("condition: {error}"),
    }
}

/// S12: nothing, NaN, infinities and empty results prove nothing. A negated comparison with NaN is true, and `all` of an empty
/// list is true too; so it is not left to the condition, unless that asks for the case.
fn no_evidence(value: &MeasuredValue, conditions: &[&Option<Condition>]) -> Option<String> {
    let mentions = |names: &[&str]| {
        let texts = conditions.iter().filter_map(|condition| condition.as_ref());
        texts.into_iter().any(|condition| names.iter().any(|name| condition.text().contains(name)))
    };
    if is_empty(value) && !mentions(FOR_EMPTY) {
        return Some("no data: the result is empty".into());
    }
    if !is_finite(value) && !mentions(FOR_NON_FINITE) && !seeded!(NanIsEvidence) {
        return Some(format!("no data: the result is `{}`", text_of(value)));
    }
    None
}

fn is_empty(value: &MeasuredValue) -> bool {
    match value {
        MeasuredValue::Nil => true,
        MeasuredValue::Bool(_) | MeasuredValue::Number(_) | MeasuredValue::Verdict { .. } => false,
        MeasuredValue::Text(text) => text.is_empty(),
        MeasuredValue::List(items) => items.is_empty(),
        MeasuredValue::Map(entries) => entries.is_empty(),
    }
}

fn is_finite(value: &MeasuredValue) -> bool {
    match value {
        MeasuredValue::Nil
        | MeasuredValue::Bool(_)
        | MeasuredValue::Text(_)
        | MeasuredValue::Verdict { .. } => true,
        MeasuredValue::Number(number) => number.is_finite(),
        MeasuredValue::List(items) => items.iter().all(is_finite),
        MeasuredValue::Map(entries) => entries.values().all(is_finite),
    }
}

fn value_of(value: &MeasuredValue) -> Value {
    match value {
        MeasuredValue::Nil | MeasuredValue::Verdict { .. } => Value::Nil,
        MeasuredValue::Bool(flag) => Value::Bool(*flag),
        MeasuredValue::Number(number) => Value::Number(*number),
        MeasuredValue::Text(text) => Value::String(text.clone()),
        MeasuredValue::List(items) => Value::Array(items.iter().map(value_of).collect()),
        MeasuredValue::Map(entries) => {
            Value::Map(entries.iter().map(|(key, item)| (key.clone(), value_of(item))).collect())
        }
    }
}

/// As Argo writes `measurement.value`: `0.05`, `[0.05,0.1]`, `{"ok":true}`.
fn text_of(value: &MeasuredValue) -> String {
    match value {
        MeasuredValue::Nil => "null".into(),
        MeasuredValue::Verdict { phase, .. } => phase.as_str().into(),
        MeasuredValue::Bool(flag) => flag.to_string(),
        MeasuredValue::Number(number) if number.is_infinite() => {
            if *number > 0.0 {
                "+Inf".into()
            } else {
                "-Inf".into()
            }
        }
        MeasuredValue::Number(number) => number.to_string(),
        MeasuredValue::Text(text) => text.clone(),
        MeasuredValue::List(items) => {
            format!("[{}]", items.iter().map(quoted).collect::<Vec<_>>().join(","))
        }
        MeasuredValue::Map(entries) => {
            let entries = entries.iter().map(|(key, item)| {
                format!("{}:{}", serde_json::Value::from(key.as_str()), quoted(item))
            });
            format!("{{{}}}", entries.collect::<Vec<_>>().join(","))
        }
    }
}

fn quoted(value: &MeasuredValue) -> String {
    match value {
        MeasuredValue::Text(text) => serde_json::Value::from(text.as_str()).to_string(),
        other => text_of(other),
    }
}

fn redact(text: &str, secrets: &BTreeMap<String, Result<String, String>>) -> String {
    let known = secrets.values().filter_map(|secret| secret.as_deref().ok());
    known
        .filter(|secret| !secret.is_empty())
        .fold(text.to_owned(), |text, secret| text.replace(secret, "*****"))
}
