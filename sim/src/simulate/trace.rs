//! What measurements give, from a file that people write or export: rows with a head, or YAML.
//!
//! ```text
//! time,metric,value,error          metrics in rows: `time` in seconds, as `1m30s`, or as RFC 3339 (from the first row on),
//! 0,error-rate,0.001,              or `measurement` with its number from 1; a value is a number, `NaN`, `+Inf`, JSON, or
//! 90s,error-rate,0.2,              text; an error that begins with `unreachable` is a server out of reach
//! 2m,error-rate,,unreachable: timeout
//! ```
//!
//! ```yaml
//! error-rate: [{from: 0, value: 0.001}, {from: 90s, value: 0.2}, {measurement: 5, error: bad query}]
//! latency: [{value: [120, 130]}, {from: 2m, unreachable: timeout}]
//! ```

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use sluice_crds::{duration, yaml};
use sluice_engine::view::{FailureKind, MeasuredValue, MeasurementFailure};

use super::answers::{Script, Since};
use crate::scenario::controller::{Answered, measured};

/// Why a trace cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{}{message}", .line.map(|line| format!("line {line}: ")).unwrap_or_default())]
pub struct TraceError {
    /// Line, from 1.
    pub line: Option<usize>,
    /// What is wrong.
    pub message: String,
}

fn wrong<T>(line: usize, message: impl Into<String>) -> Result<T, TraceError> {
    Err(TraceError { line: Some(line), message: message.into() })
}

type Scripts = BTreeMap<String, Vec<Script>>;

/// Reads either form.
pub(super) fn read(text: &str) -> Result<Scripts, TraceError> {
    let head = text.lines().find(|line| is_row(line)).unwrap_or_default();
    if !head.contains(':') && head.split(',').any(|column| column.trim() == "metric") {
        rows(text)
    } else {
        document(text)
    }
}

fn is_row(line: &str) -> bool {
    !line.trim().is_empty() && !line.trim_start().starts_with('#')
}

/// Where the columns are.
struct Head {
    place: usize,
    is_time: bool,
    metric: usize,
    value: Option<usize>,
    error: Option<usize>,
}

fn rows(text: &str) -> Result<Scripts, TraceError> {
    let mut scripts = Scripts::new();
    let mut head: Option<Head> = None;
    let mut first: Option<DateTime<Utc>> = None;
    for (index, line) in text.lines().enumerate().filter(|(_, line)| is_row(line)) {
        let line_number = index + 1;
        let cells = cells(line);
        let Some(head) = &head else {
            head = Some(columns(&cells, line_number)?);
            continue;
        };
        let cell = |column: Option<usize>| {
            column.and_then(|column| cells.get(column)).map(|cell| cell.trim()).unwrap_or_default()
        };
        let place = cell(Some(head.place));
        let from = if head.is_time {
            time(place, &mut first).map(Since::Time)
        } else {
            place.parse().ok().filter(|number| *number > 0).map(Since::Measurement)
        };
        let Some(from) = from else {
            return wrong(
                line_number,
                format!("`{place}` is no time and no number of a measurement"),
            );
        };
        let metric = cell(Some(head.metric));
        if metric.is_empty() {
            return wrong(line_number, "there is no metric");
        }
        let gives = match (cell(head.value), cell(head.error)) {
            ("", "") => return wrong(line_number, "there is neither a value nor an error"),
            (value, "") => Ok(value_of(value)),
            (_, error) => Err(failure(error)),
        };
        scripts.entry(metric.to_owned()).or_default().push(Script { from, gives });
    }
    if head.is_none() {
        return wrong(1, "there is no head `time,metric,value,error`");
    }
    Ok(sorted(scripts))
}

/// Splits a row; a cell in double quotes may contain commas, and doubled quotes.
fn cells(line: &str) -> Vec<String> {
    let mut cells = vec![String::new()];
    let mut is_quoted = false;
    let mut characters = line.trim_end_matches('\r').chars().peekable();
    while let Some(character) = characters.next() {
        let last = cells.len() - 1;
        match character {
            '"' if is_quoted && characters.peek() == Some(&'"') => {
                characters.next();
                cells[last].push('"');
            }
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => cells.push(String::new()),
            other => cells[last].push(other),
        }
    }
    cells
}

fn columns(cells: &[String], line: usize) -> Result<Head, TraceError> {
    const KNOWN: [&str; 6] = ["time", "at", "measurement", "metric", "value", "error"];
    let find = |name: &str| cells.iter().position(|cell| cell.trim() == name);
    if let Some(other) = cells.iter().find(|cell| !KNOWN.contains(&cell.trim())) {
        return wrong(
            line,
            format!("`{}` is no column; there are {}", other.trim(), KNOWN.join(", ")),
        );
    }
    let time = find("time").or(find("at"));
    match (time.or(find("measurement")), find("metric")) {
        (Some(place), Some(metric)) => Ok(Head {
            place,
            is_time: time.is_some(),
            metric,
            value: find("value"),
            error: find("error"),
        }),
        _ => wrong(line, "the head needs `metric`, and `time` or `measurement`"),
    }
}

/// Reads a time: seconds, a duration, or an instant, which counts from the first one.
fn time(text: &str, first: &mut Option<DateTime<Utc>>) -> Option<TimeDelta> {
    if let Ok(seconds) = text.parse::<f64>() {
        return seconds.is_finite().then(|| crate::scenario::seconds(seconds));
    }
    if let Ok(length) = duration::parse(text) {
        return Some(length);
    }
    let instant = DateTime::parse_from_rfc3339(text).ok()?.to_utc();
    Some(instant - *first.get_or_insert(instant))
}

fn value_of(text: &str) -> MeasuredValue {
    match text {
        "NaN" => MeasuredValue::Number(f64::NAN),
        "+Inf" | "Inf" => MeasuredValue::Number(f64::INFINITY),
        "-Inf" => MeasuredValue::Number(f64::NEG_INFINITY),
        _ => match serde_json::from_str::<Value>(text) {
            Ok(value) => measured(&value),
            Err(_) => MeasuredValue::Text(text.to_owned()),
        },
    }
}

fn failure(text: &str) -> MeasurementFailure {
    let is_unreachable = text.starts_with("unreachable");
    let kind = if is_unreachable { FailureKind::Unreachable } else { FailureKind::Bad };
    let message = text.strip_prefix("unreachable:").unwrap_or(text).trim();
    MeasurementFailure { kind, message: message.to_owned() }
}

fn document(text: &str) -> Result<Scripts, TraceError> {
    let documents = yaml::load(text).map_err(|error| TraceError {
        line: error.place.and_then(|place| usize::try_from(place.line).ok()),
        message: format!("neither rows with a head `time,metric,value,error` nor YAML: {error}"),
    })?;
    let mut scripts = Scripts::new();
    for document in &documents {
        let metrics = match &document.value {
            Value::Object(members) => members,
            _ => return wrong(1, "the document is no map from metrics to answers"),
        };
        for (metric, answers) in metrics {
            for answer in answers.as_array().map_or(std::slice::from_ref(answers), Vec::as_slice) {
                let script = script(answer).map_err(|message| TraceError {
                    line: None,
                    message: format!("`{metric}`: {message}"),
                })?;
                scripts.entry(metric.clone()).or_default().push(script);
            }
        }
    }
    Ok(sorted(scripts))
}

/// Reads `{from, value}` and its kin; anything that is no map is a value.
fn script(answer: &Value) -> Result<Script, String> {
    const KNOWN: [&str; 5] = ["from", "measurement", "value", "error", "unreachable"];
    let at_start = Since::Time(TimeDelta::zero());
    let Some(members) = answer.as_object() else {
        return Ok(Script { from: at_start, gives: Ok(measured(answer)) });
    };
    if let Some(other) = members.keys().find(|key| !KNOWN.contains(&key.as_str())) {
        return Err(format!("`{other}` is no field; there are {}", KNOWN.join(", ")));
    }
    let from = match (&answer["from"], &answer["measurement"]) {
        (Value::Null, Value::Null) => at_start,
        (Value::Null, number) => {
            let number = number.as_u64().and_then(|number| u32::try_from(number).ok());
            Since::Measurement(number.filter(|n| *n > 0).ok_or("`measurement` counts from 1")?)
        }
        (from, _) => {
            let text = from.as_str().map_or_else(|| from.to_string(), str::to_owned);
            Since::Time(time(&text, &mut None).ok_or(format!("`{text}` is no time"))?)
        }
    };
    let failed = |kind, value: &Value| {
        let message = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        Err(MeasurementFailure { kind, message })
    };
    let gives: Answered = match (members.get("value"), &answer["error"], &answer["unreachable"]) {
        (Some(value), Value::Null, Value::Null) => Ok(measured(value)),
        (None, Value::Null, unreachable) if !unreachable.is_null() => {
            failed(FailureKind::Unreachable, unreachable)
        }
        (None, error, Value::Null) if !error.is_null() => failed(FailureKind::Bad, error),
        _ => return Err("one of `value`, `error` and `unreachable` is needed".to_owned()),
    };
    Ok(Script { from, gives })
}

/// Puts answers in order: rows may come in any.
fn sorted(mut scripts: Scripts) -> Scripts {
    for answers in scripts.values_mut() {
        answers.sort_by_key(|script| match script.from {
            Since::Time(from) => (from, 0),
            Since::Measurement(number) => (TimeDelta::zero(), number),
        });
    }
    scripts
}
