//! Objects as a Table, the form in which kubectl asks for them.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::resources::{Column, Resource};

/// Returns whether the `Accept` header asks for a Table.
pub(crate) fn is_asked_for(accept: &str) -> bool {
    accept.split(',').next().is_some_and(|first| first.contains("as=Table"))
}

/// Returns the objects as a `meta.k8s.io/v1` Table.
pub(crate) fn table(resource: &Resource, objects: &[&Value], now: DateTime<Utc>) -> Value {
    let columns = columns(resource);
    let definition = |name: &str, kind: &str, priority: i64| {
        let format = if name == "Name" { "name" } else { "" };
        json!({ "name": name, "type": kind, "format": format, "description": "", "priority": priority })
    };
    let mut definitions = vec![definition("Name", "string", 0)];
    definitions.extend(columns.iter().map(|column| {
        // A date is sent as its age, in words.
        let kind = if column.kind == "date" { "string" } else { &column.kind };
        definition(&column.name, kind, column.priority)
    }));
    let rows = objects.iter().map(|object| {
        let mut cells = vec![object["metadata"]["name"].clone()];
        cells.extend(columns.iter().map(|column| cell(resource, column, object, now)));
        json!({
            "cells": cells,
            "object": {
                "kind": "PartialObjectMetadata",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": object["metadata"],
            },
        })
    });
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {},
        "columnDefinitions": definitions,
        "rows": rows.collect::<Vec<_>>(),
    })
}

fn columns(resource: &Resource) -> Vec<Column> {
    let column = |name: &str, kind: &str, path: &str| Column {
        name: name.into(),
        kind: kind.into(),
        path: path.into(),
        priority: 0,
    };
    let mut columns = match (resource.group.as_str(), resource.plural.as_str()) {
        ("", "pods") => vec![
            column("Ready", "string", "computed:ready"),
            column("Status", "string", "computed:phase"),
            column("Restarts", "integer", "computed:restarts"),
        ],
        ("", "services") => vec![
            column("Type", "string", ".spec.type"),
            column("Cluster-IP", "string", ".spec.clusterIP"),
            column("Port(s)", "string", "computed:ports"),
        ],
        ("", "namespaces") => vec![column("Status", "string", ".status.phase")],
        ("apps", "replicasets") => vec![
            column("Desired", "integer", ".spec.replicas"),
            column("Current", "integer", ".status.replicas"),
            column("Ready", "integer", ".status.readyReplicas"),
        ],
        ("apps", "deployments") => vec![
            column("Ready", "string", "computed:ready-replicas"),
            column("Up-to-date", "integer", ".status.updatedReplicas"),
            column("Available", "integer", ".status.availableReplicas"),
        ],
        _ => Vec::new(),
    };
    columns.extend(resource.columns.iter().cloned());
    columns
}

fn cell(resource: &Resource, column: &Column, object: &Value, now: DateTime<Utc>) -> Value {
    if let Some(computed) = column.path.strip_prefix("computed:") {
        return computed_cell(computed, object);
    }
    let value = super::table::path(object, &column.path);
    match (column.kind.as_str(), value) {
        ("date", Some(Value::String(at))) => json!(age(at, now)),
        ("date", _) => json!("<unknown>"),
        ("integer", None) if !resource.custom => json!(0),
        (_, Some(value)) => value.clone(),
        (_, None) => Value::Null,
    }
}

/// Follows a printer column's path: field names, quoted or not, and indices.
fn path<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    let escaped = path.replace("\\.", "\u{0}");
    let mut value = object;
    for part in escaped.split(['.', '[']).filter(|part| !part.is_empty()) {
        let part = part.trim_end_matches(']').trim_matches('\'').replace('\u{0}', ".");
        value = match part.parse::<usize>() {
            Ok(index) if value.is_array() => value.get(index)?,
            _ => value.get(&part)?,
        };
    }
    (!value.is_null()).then_some(value)
}

fn computed_cell(what: &str, object: &Value) -> Value {
    let statuses = || object["status"]["containerStatuses"].as_array().into_iter().flatten();
    match what {
        "ready" => {
            let ready = statuses().filter(|status| status["ready"] == true).count();
            let all = object["spec"]["containers"].as_array().map_or(0, Vec::len);
            json!(format!("{ready}/{all}"))
        }
        "phase" => {
            let waiting = statuses().find_map(|status| status.pointer("/state/waiting/reason"));
            if object["metadata"]["deletionTimestamp"].is_null() {
                waiting.unwrap_or(&object["status"]["phase"]).clone()
            } else {
                json!("Terminating")
            }
        }
        "restarts" => {
            json!(statuses().filter_map(|status| status["restartCount"].as_i64()).sum::<i64>())
        }
        "ports" => {
            let ports = object["spec"]["ports"].as_array().into_iter().flatten();
            let ports = ports.map(|port| {
                format!("{}/{}", port["port"], port["protocol"].as_str().unwrap_or("TCP"))
            });
            json!(ports.collect::<Vec<_>>().join(","))
        }
        _ => {
            let ready = object["status"]["readyReplicas"].as_i64().unwrap_or(0);
            json!(format!("{ready}/{}", object["spec"]["replicas"]))
        }
    }
}

/// Returns the age as kubectl writes it: `45s`, `5m10s`, `3h`, `12d`.
fn age(at: &str, now: DateTime<Utc>) -> String {
    let Ok(at) = DateTime::parse_from_rfc3339(at) else { return "<unknown>".into() };
    let seconds = (now - at.with_timezone(&Utc)).num_seconds().max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 if seconds % 60 != 0 => format!("{minutes}m{}s", seconds % 60),
        120..10800 => format!("{minutes}m"),
        10800..28800 if minutes % 60 != 0 => format!("{hours}h{}m", minutes % 60),
        10800..172_800 => format!("{hours}h"),
        172_800..691_200 if hours % 24 != 0 => format!("{days}d{}h", hours % 24),
        _ => format!("{days}d"),
    }
}
