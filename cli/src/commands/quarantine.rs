//! `quarantine list|release`.

use std::process::ExitCode;

use crate::application::Application;
use kube::ResourceExt as _;
use sluice_crds::labels;

use crate::arguments::QuarantineCommand;
use crate::commands::app;
use crate::connection::Connection;
use crate::failure::Failure;

/// Runs a `quarantine` command.
pub(crate) async fn run(
    connection: &Connection,
    command: QuarantineCommand,
) -> Result<ExitCode, Failure> {
    match command {
        QuarantineCommand::List { app } => {
            let apps = match app {
                Some(name) => vec![app::get(connection, &name).await?],
                None => app::list(connection).await?,
            };
            list(&apps);
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

fn list(apps: &[Application]) {
    let now = chrono::Utc::now();
    let mut any = false;
    for app in apps {
        let entries =
            app.status.iter().filter_map(|s| s.sluice.as_ref()).flat_map(|s| &s.quarantine);
        for entry in entries {
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
    let entries: Vec<_> =
        app.status.iter().filter_map(|s| s.sluice.as_ref()).flat_map(|s| &s.quarantine).collect();
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
