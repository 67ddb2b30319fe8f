//! How Applications look.

use chrono::{DateTime, Utc};
use kube::ResourceExt as _;
use sluice_crds::application::{
    ApplicationStatus, QuarantineEntry, ResourceStatus, RevisionHistory,
};

use sluice_sync::hold;

use crate::application::Application;
use crate::span::span;
use crate::style::{Style, Tone};
use crate::table::{Cell, Table};

/// First characters of a commit.
pub(super) fn short(commit: Option<&str>) -> String {
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
        format!("{:<13}{:<27}Project {}\n", "Application", app.name_any(), app.spec.project_name());
    text.push_str(&sync_line(&status, style));
    text.push_str(&health_line(&status, style));
    if let Some(operation) = &status.operation_state {
        let message = operation.message.as_deref().unwrap_or_default();
        let said = format!("{}   {message}", word(&operation.phase));
        text.push_str(&paragraph("Operation", said.trim_end()));
    }
    let sluice = status.sluice.clone().unwrap_or_default();
    let active: Vec<_> = sluice.quarantine.iter().filter(|e| e.moot != Some(true)).collect();
    for condition in &status.conditions {
        // What is held back is told below, unless there is more to say of it.
        let tells_no_more = |entry: &&QuarantineEntry| {
            condition.message == format!("{}; {}", hold::evidence(entry), hold::advice(entry))
        };
        if active.iter().any(tells_no_more) {
            continue;
        }
        let said = format!("{}: {}", condition.condition_type, condition.message);
        text.push_str(&style.paint(Tone::Waiting, paragraph("Condition", &said).trim_end()));
        text.push('\n');
    }
    for entry in active {
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
    text.push_str(&paragraph("  why", &format!("{why}{run}")));
    if let Some(at) = entry.at {
        let seconds = (now - at.at()).num_seconds();
        text.push_str(&paragraph("  since", &format!("{} ago", span(seconds))));
    }
    let instead = match &entry.replaced_by {
        Some(commit) => format!("content of {} is applied", short(Some(commit))),
        None => "nothing: it is left as it is".to_owned(),
    };
    text.push_str(&paragraph("  instead", &instead));
    text.push_str(&paragraph("  clears", "when Git changes this content, or:"));
    text.push_str(&format!("{:13}kubectl sluice quarantine release {app} {}\n", "", entry.name));
    text
}

/// A text beside its key, in lines of at most 80 characters; words that are longer stand alone.
fn paragraph(key: &str, text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    for word in text.split(' ') {
        let is_full = line.chars().count() + 1 + word.chars().count() > 67;
        if is_full && !line.trim().is_empty() {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    let mut shown = String::new();
    for (i, line) in lines.iter().enumerate() {
        let key = if i == 0 { key } else { "" };
        shown.push_str(&format!("{key:<13}{line}\n"));
    }
    shown
}

fn resources(status: &ApplicationStatus, held: &[QuarantineEntry], style: Style) -> String {
    let mut table = Table::new(vec!["KIND", "NAME", "SYNC", "HEALTH", "INFO"]);
    for row in &status.resources {
        table.row(resource(row, held, style));
    }
    table.draw(style)
}

fn resource(resource: &ResourceStatus, held: &[QuarantineEntry], style: Style) -> Vec<Cell> {
    let health = resource.health.as_ref().map_or_else(|| "–".into(), |h| state(&h.status, style));
    let entry = held.iter().find(|e| {
        e.moot != Some(true)
            && (&e.kind, &e.name, &e.namespace)
                == (&resource.kind, &resource.name, &resource.namespace)
    });
    let mut info: Vec<String> = Vec::new();
    if let Some(entry) = entry {
        info.push(match entry.replaced_by.as_deref() {
            Some(commit) => format!("held at {}", short(Some(commit))),
            None => "held as it is".to_owned(),
        });
    }
    if resource.requires_pruning == Some(true) {
        info.push("not in Git: to be pruned".to_owned());
    }
    if resource.hook == Some(true) {
        info.push("hook: not run".to_owned());
    }
    let message = resource.health.as_ref().and_then(|h| h.message.clone());
    info.extend(message.filter(|m| !m.is_empty()));
    let sync = resource.status.as_ref().map_or_else(|| "–".to_owned(), word);
    let tone = if sync == "OutOfSync" { Tone::Waiting } else { Tone::Quiet };
    vec![
        resource.kind.clone().into(),
        resource.name.clone().into(),
        Cell::toned(sync, tone),
        health,
        info.join("; ").into(),
    ]
}

/// Glyph, word and colour of an enum of the API.
fn state(value: &impl serde::Serialize, style: Style) -> Cell {
    let (text, tone) = style.state(&word(value));
    Cell::toned(text, tone)
}

/// Draws a line for each Application.
pub(super) fn list(apps: &[Application], style: Style, is_wide: bool) -> String {
    let mut head = vec!["NAME", "PROJECT", "SYNC", "HEALTH", "SERVING", "HELD"];
    if is_wide {
        head.extend(["NAMESPACE", "REPOSITORY", "PATH", "TARGET"]);
    }
    let mut table = Table::new(head);
    for app in apps {
        let status = app.status.clone().unwrap_or_default();
        let sluice = status.sluice.unwrap_or_default();
        let held = sluice.quarantine.iter().filter(|e| e.moot != Some(true)).count();
        let mut cells = vec![
            app.name_any().into(),
            app.spec.project_name().into(),
            state(&status.sync.unwrap_or_default().status, style),
            state(&status.health.unwrap_or_default().status, style),
            short(sluice.effective.as_deref()).into(),
            held.to_string().into(),
        ];
        if is_wide {
            let source = app.spec.effective_sources().first().cloned().unwrap_or_default();
            cells.extend([
                app.spec.destination.namespace.clone().unwrap_or_default().into(),
                source.repo_url.clone().into(),
                source.path.clone().unwrap_or_default().into(),
                source.revision().into(),
            ]);
        }
        table.row(cells);
    }
    table.draw(style)
}

/// Draws the past syncs, newest last.
pub(super) fn history(history: &[RevisionHistory], style: Style) -> String {
    let mut table = Table::new(vec!["ID", "DATE", "REVISION", "BY"]);
    for entry in history {
        let by = match &entry.initiated_by {
            Some(by) if by.automated == Some(true) => "automated".to_owned(),
            Some(by) => by.username.clone().unwrap_or_default(),
            None => String::new(),
        };
        table.row(vec![
            entry.id.to_string().into(),
            entry.deployed_at.map(|at| at.to_string()).unwrap_or_default().into(),
            short(entry.revision.as_deref()).into(),
            by.into(),
        ]);
    }
    table.draw(style)
}
