//! `quarantine list|release`.

use std::process::ExitCode;

use kube::ResourceExt as _;
use serde_json::{Value, json};
use sluice_crds::application::QuarantineEntry;
use sluice_crds::labels;

use crate::application::Application;
use crate::arguments::QuarantineCommand;
use crate::commands::{app, output};
use crate::connection::Connection;
use crate::failure::Failure;

/// Runs a `quarantine` command.
pub(crate) async fn run(
    connection: &Connection,
    command: QuarantineCommand,
) -> Result<ExitCode, Failure> {
    match command {
        QuarantineCommand::List { app, output } => {
            let apps = match app {
                Some(name) => vec![app::get(connection, &name).await?],
                None => app::list(connection).await?,
            };
            match output {
                Some(form) => output::plain(&document(&apps), form)?,
                None => list(&apps),
            }
        }
        QuarantineCommand::Release { app, rollout } => {
            let found = app::get(connection, &app).await?;
            let hash = held_hash(&found, &rollout)?;
            app::annotate(connection, &app, labels::QUARANTINE_RELEASE, &hash).await?;
            anstream::println!(
                "application '{app}': template {hash} of rollout '{rollout}' is released"
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// All entries, each with its Application.
fn document(apps: &[Application]) -> Value {
    let mut items = Vec::new();
    for app in apps {
        for entry in entries(app) {
            let mut item = json!(entry);
            item["application"] = json!(app.name_any());
            items.push(item);
        }
    }
    json!({ "items": items })
}

fn entries(app: &Application) -> impl Iterator<Item = &QuarantineEntry> {
    app.status.iter().filter_map(|s| s.sluice.as_ref()).flat_map(|s| &s.quarantine)
}

fn list(apps: &[Application]) {
    let now = chrono::Utc::now();
    let mut any = false;
    for app in apps {
        for entry in entries(app) {
            any = true;
            if entry.moot == Some(true) {
                anstream::println!(
                    "{:<13}{} {}/{}, template {} (Git wants something else by now)",
                    "Moot",
                    entry.kind,
                    entry.namespace,
                    entry.name,
                    entry.template_hash
                );
            } else {
                anstream::print!("{}", app::show::held(&app.name_any(), entry, now));
            }
        }
    }
    if !any {
        anstream::eprintln!("Nothing is held back.");
    }
}

/// Returns the template hash of what is held back of a Rollout.
fn held_hash(app: &Application, rollout: &str) -> Result<String, Failure> {
    let entries: Vec<_> = entries(app).collect();
    let wanted = |moot: bool| {
        entries.iter().rev().find(|e| e.name == rollout && (e.moot == Some(true)) == moot)
    };
    if let Some(entry) = wanted(false).or_else(|| wanted(true)) {
        return Ok(entry.template_hash.clone());
    }
    let name = app.name_any();
    Err(Failure::new(format!("application '{name}' holds nothing back of rollout '{rollout}'"))
        .hint(format!("kubectl sluice quarantine list {name}")))
}
