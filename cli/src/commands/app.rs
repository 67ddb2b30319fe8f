//! `app …`: what Git wants, what is allowed, what is served, and the operations on it.

use std::process::ExitCode;

use crate::application::Application;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use sluice_crds::object::{Kind, ObjectRef};

use crate::arguments::{AppCommand, Dialect, Output};
use crate::commands::output;
use crate::connection::Connection;
use crate::failure::Failure;
use crate::names::nearest;
use crate::style::Style;

mod diff;
pub(in crate::commands) mod show;

/// Runs an `app` command.
pub(crate) async fn run(
    connection: &Connection,
    command: AppCommand,
    dialect: Dialect,
    style: Style,
) -> Result<ExitCode, Failure> {
    match command {
        AppCommand::Get { name, output } => {
            let app = get(connection, &name).await?;
            match output.filter(|form| form.is_document()) {
                Some(form) => output::one(&app, "application", form)?,
                None => anstream::print!("{}", show::application(&app, style, chrono::Utc::now())),
            }
        }
        AppCommand::List { output } => {
            let apps = list(connection).await?;
            match output.filter(|form| form.is_document()) {
                Some(form) => output::many(&apps, "application", form)?,
                None if apps.is_empty() => anstream::eprintln!(
                    "No Applications in namespace {}.",
                    connection.application_namespace
                ),
                None => {
                    let is_wide = output == Some(Output::Wide);
                    anstream::print!("{}", show::list(&apps, style, is_wide));
                }
            }
        }
        AppCommand::Diff { name, revision } => {
            return diff::run(connection, &name, revision).await;
        }
        AppCommand::Sync { name, revision, prune, dry_run } => {
            let app = get(connection, &name).await?;
            start(connection, &app, &sync_operation(&app, revision, prune, dry_run)).await?;
            anstream::println!("application '{name}' sync requested");
        }
        AppCommand::History { name, output } => {
            let app = get(connection, &name).await?;
            let history = app.status.as_ref().map(|s| s.history.as_slice()).unwrap_or_default();
            match output {
                Some(form) => output::plain(&history, form)?,
                None if history.is_empty() => {
                    anstream::eprintln!("application '{name}' was never synced.")
                }
                None => anstream::print!("{}", show::history(history, style)),
            }
        }
        AppCommand::Rollback { name, id } => {
            let app = get(connection, &name).await?;
            let (operation, target) = rollback_operation(&app, id, dialect)?;
            start(connection, &app, &operation).await?;
            anstream::println!("application '{name}' rollback to {target} requested");
            if app.spec.is_automated() {
                anstream::eprintln!(
                    "note: it stays there until Git wants another commit, or until `kubectl sluice app sync {name}`"
                );
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn api(connection: &Connection) -> Api<Application> {
    Api::namespaced(connection.client.clone(), &connection.application_namespace)
}

fn address(connection: &Connection, name: &str) -> ObjectRef {
    ObjectRef::namespaced(Kind::APPLICATION, connection.application_namespace.clone(), name)
}

/// Lists the Applications of the control namespace.
pub(crate) async fn list(connection: &Connection) -> Result<Vec<Application>, Failure> {
    let found = api(connection).list(&ListParams::default()).await;
    Ok(found.map_err(|e| Failure::of(&address(connection, "*"), "list", &e))?.items)
}

/// Reads an Application; if there is none of that name, says which there are.
pub(crate) async fn get(connection: &Connection, name: &str) -> Result<Application, Failure> {
    let error = match api(connection).get(name).await {
        Ok(app) => return Ok(app),
        Err(error) => error,
    };
    let failure = Failure::of(&address(connection, name), "get", &error);
    if !matches!(&error, kube::Error::Api(status) if status.code == 404) {
        return Err(failure);
    }
    let names: Vec<String> =
        list(connection).await.unwrap_or_default().iter().map(|a| a.name_any()).collect();
    Err(match nearest(name, &names) {
        Some(near) => failure.hint(format!("there is `{near}`")),
        None => failure.hint(format!(
            "namespace {} has {} Applications; another one: --application-namespace",
            connection.application_namespace,
            names.len()
        )),
    })
}

/// Writes the top-level `operation`, unless one is running.
async fn start(
    connection: &Connection,
    app: &Application,
    operation: &Value,
) -> Result<(), Failure> {
    let name = app.name_any();
    if app.operation.is_some() {
        return Err(Failure::new(format!(
            "application '{name}': another operation is already in progress"
        ))
        .hint(format!("kubectl sluice app get {name}")));
    }
    // The version makes two people who start at once start one operation, not the second one's over the first's.
    let patch = json!({
        "metadata": { "resourceVersion": app.metadata.resource_version },
        "operation": operation,
    });
    api(connection)
        .patch(&name, &PatchParams::default(), &Patch::Merge(&patch))
        .await
        .map_err(|e| Failure::of(&address(connection, &name), "patch", &e))?;
    Ok(())
}

fn sync_operation(
    app: &Application,
    revision: Option<String>,
    prune: bool,
    dry_run: bool,
) -> Value {
    let options = app.spec.sync_policy.as_ref().map(|p| &p.sync_options);
    let mut sync = json!({ "prune": prune, "syncOptions": options });
    if let Some(revision) = revision {
        sync["revision"] = json!(revision);
    }
    if dry_run {
        sync["dryRun"] = json!(true);
    }
    json!({ "initiatedBy": { "username": "kubectl-sluice" }, "sync": sync })
}

/// Returns the operation that goes back to an entry of the history, with the source that it had, and where it goes.
fn rollback_operation(
    app: &Application,
    id: Option<i64>,
    dialect: Dialect,
) -> Result<(Value, String), Failure> {
    let name = app.name_any();
    if dialect == Dialect::Argo && app.spec.is_automated() {
        return Err(Failure::new("rollback cannot be initiated when auto-sync is enabled"));
    }
    let history = app.status.as_ref().map(|s| s.history.as_slice()).unwrap_or_default();
    let entry = match id {
        Some(id) => history.iter().find(|h| h.id == id),
        None => history.iter().rev().nth(1),
    };
    let Some(entry) = entry else {
        let ids: Vec<String> = history.iter().map(|h| h.id.to_string()).collect();
        let wanted =
            id.map_or("no earlier sync".to_owned(), |id| format!("no sync {id} in its history"));
        return Err(Failure::new(format!("application '{name}' has {wanted}"))
            .hint(format!("its history has: {}", ids.join(", "))));
    };
    let operation = json!({
        "initiatedBy": { "username": "kubectl-sluice" },
        "sync": { "revision": entry.revision, "source": entry.source, "prune": true },
    });
    Ok((operation, format!("sync {}, commit {}", entry.id, show::short(entry.revision.as_deref()))))
}

/// Sets an annotation of an Application.
pub(crate) async fn annotate(
    connection: &Connection,
    name: &str,
    key: &str,
    value: &str,
) -> Result<(), Failure> {
    let patch = json!({ "metadata": { "annotations": { key: value } } });
    api(connection)
        .patch(name, &PatchParams::default(), &Patch::Merge(&patch))
        .await
        .map_err(|e| Failure::of(&address(connection, name), "patch", &e))?;
    Ok(())
}

#[cfg(test)]
mod tests;
