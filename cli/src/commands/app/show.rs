//! How Applications look.

use chrono::{DateTime, Utc};
use kube::ResourceExt as _;
use sluice_crds::application::{ApplicationStatus, QuarantineEntry, ResourceStatus};

use crate::application::Application;

use crate::style::{Style, Tone};
use crate::tree::span;

/// First characters of a commit.
fn short(commit: Option<&str>) -> String {
    commit.map_or_else(|| "–".to_owned(), |c| c.chars().take(7).collect())
}

/// Returns the word that an enum of the API is written as.
fn word(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        Ok(_) | Err(_) => "Unknown".to_owned(),
    }
}

/// Draws one Application: the first lines answer what Git wants, what is allowed and what is served.
pub(super) fn application(app: &Application, style: Style, now: DateTime<Utc>) -> String {
    let status = app.status.clone().unwrap_or_default();
    let mut text =
        format!("{:<13}{:<27}Project {}\n", "Application", app.name_any(), app.spec.project);
    text.push_str(&sync_line(&status, style));
    text.push_str(&health_line(&status, style));
    if let Some(operation) = &status.operation_state {
        let message = operation.message.as_deref().unwrap_or_default();
        text.push_str(&format!("{:<13}{}   {message}\n", "Operation", word(&operation.phase)));
    }
    for condition in &status.conditions {
        let line =
            format!("{:<13}{}: {}\n", "Condition", condition.condition_type, condition.message);
        text.push_str(&style.paint(Tone::Waiting, line));
    }
    let sluice = status.sluice.clone().unwrap_or_default();
    for entry in sluice.quarantine.iter().filter(|e| e.moot != Some(true)) {
        text.push('\n');
        text.push_str(&held(&app.name_any(), entry, now));
    }
    if !status.resources.is_empty() {
        text.push('\n');
        text.push_str(&resources(&status, &sluice.quarantine, style));
    }
    text
}

fn sync_line(status: &ApplicationStatus, style: Style) -> String {
    let sync = status.sync.clone().unwrap_or_default();
    let (state, tone) = style.state(&word(&sync.status));
    let sluice = status.sluice.clone().unwrap_or_default();
    let desired = short(sluice.desired.as_deref().or(sync.revision.as_deref()));
    let held = sluice.quarantine.iter().filter(|e| e.moot != Some(true)).count();
    let except = match held {
        0 => String::new(),
        1 => " except 1 object".to_owned(),
        n => format!(" except {n} objects"),
    };
    format!(
        "{:<13}{}   desired {desired}, admitted {}{except}\n",
        "Sync",
        style.paint(tone, state),
        short(sluice.admitted.as_deref())
    )
}

fn health_line(status: &ApplicationStatus, style: Style) -> String {
    let health = status.health.clone().unwrap_or_default();
    let (state, tone) = style.state(&word(&health.status));
    let sluice = status.sluice.clone().unwrap_or_default();
    let message = health.message.map(|m| format!("   {m}")).unwrap_or_default();
    format!(
        "{:<13}{}   serving {}{message}\n",
        "Health",
        style.paint(tone, state),
        short(sluice.effective.as_deref())
    )
}

/// Why something is held back, since when, and what lets it go.
pub(in crate::commands) fn held(app: &str, entry: &QuarantineEntry, now: DateTime<Utc>) -> String {
    let mut text = format!(
        "{:<13}{} {}/{}, template {}, commit {}\n",
        "Held back",
        entry.kind,
        entry.namespace,
        entry.name,
        entry.template_hash,
        short(Some(&entry.revision))
    );
    let run = entry.analysis_run.as_ref().map(|run| format!(" (run {run})")).unwrap_or_default();
    let why = entry.message.as_deref().unwrap_or(&entry.reason);
    text.push_str(&format!("  {:<11}{why}{run}\n", "why"));
    if let Some(at) = entry.at {
        let seconds = (now - at.at()).num_seconds();
        text.push_str(&format!("  {:<11}{} ago\n", "since", span(seconds)));
    }
    if let Some(commit) = &entry.replaced_by {
        text.push_str(&format!(
            "  {:<11}content of {} is applied\n",
            "instead",
            short(Some(commit))
        ));
    }
    text.push_str(&format!(
        "  {:<11}when Git changes this content, or: kubectl sluice quarantine release {app} {}\n",
        "clears", entry.name
    ));
    text
}

fn resources(status: &ApplicationStatus, held: &[QuarantineEntry], style: Style) -> String {
    let mut rows = vec![["KIND", "NAME", "SYNC", "HEALTH", "INFO"].map(str::to_owned)];
    rows.extend(status.resources.iter().map(|r| resource(r, held, style)));
    table(&rows)
}

fn resource(resource: &ResourceStatus, held: &[QuarantineEntry], style: Style) -> [String; 5] {
    let health = resource
        .health
        .as_ref()
        .map_or_else(|| "–".to_owned(), |h| style.state(&word(&h.status)).0);
    let entry = held.iter().find(|e| {
        e.moot != Some(true)
            && (&e.kind, &e.name, &e.namespace)
                == (&resource.kind, &resource.name, &resource.namespace)
    });
    let mut info: Vec<String> = Vec::new();
    if let Some(entry) = entry {
        info.push(format!("held at {}", short(entry.replaced_by.as_deref())));
    }
    if resource.requires_pruning == Some(true) {
        info.push("not in Git: to be pruned".to_owned());
    }
    let message = resource.health.as_ref().and_then(|h| h.message.clone());
    info.extend(message.filter(|m| !m.is_empty()));
    let sync = resource.status.as_ref().map_or_else(|| "–".to_owned(), word);
    [resource.kind.clone(), resource.name.clone(), sync, health, info.join("; ")]
}

/// Lays rows out in columns with two spaces between them.
pub(in crate::commands) fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |i: usize| rows.iter().map(|r| r[i].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// Draws a line for each Application.
pub(super) fn list(apps: &[Application]) -> String {
    let mut rows =
        vec![["NAME", "PROJECT", "SYNC", "HEALTH", "SERVING", "HELD"].map(str::to_owned)];
    for app in apps {
        let status = app.status.clone().unwrap_or_default();
        let sluice = status.sluice.unwrap_or_default();
        let held = sluice.quarantine.iter().filter(|e| e.moot != Some(true)).count();
        rows.push([
            app.name_any(),
            app.spec.project.clone(),
            word(&status.sync.unwrap_or_default().status),
            word(&status.health.unwrap_or_default().status),
            short(sluice.effective.as_deref()),
            held.to_string(),
        ]);
    }
    table(&rows)
}

/// Draws the past syncs, newest last.
pub(super) fn history(app: &Application) -> String {
    let mut rows = vec![["ID", "DATE", "REVISION", "BY"].map(str::to_owned)];
    for entry in app.status.iter().flat_map(|s| &s.history) {
        let by = entry.initiated_by.as_ref();
        let by = match by {
            Some(by) if by.automated == Some(true) => "automated".to_owned(),
            Some(by) => by.username.clone().unwrap_or_default(),
            None => String::new(),
        };
        rows.push([
            entry.id.to_string(),
            entry.deployed_at.map(|at| at.to_string()).unwrap_or_default(),
            short(entry.revision.as_deref()),
            by,
        ]);
    }
    table(&rows)
}
