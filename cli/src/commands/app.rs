//! `app …`: what Git wants, what is allowed, what is served, and the operations on it.

use std::process::ExitCode;

use crate::application::Application;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use sluice_crds::object::{Kind, ObjectRef};

use crate::arguments::AppCommand;
use crate::commands::output;
use crate::connection::{Connection, nearest};
use crate::failure::Failure;
use crate::style::Style;

mod diff;
pub(in crate::commands) mod show;

/// Runs an `app` command.
pub(crate) async fn run(
    connection: &Connection,
    command: AppCommand,
    style: Style,
) -> Result<ExitCode, Failure> {
    match command {
        AppCommand::Get { name, output } => {
            let app = get(connection, &name).await?;
            match output {
                Some(form) => output::print(&app, "application", form)?,
                None => anstream::print!("{}", show::application(&app, style, chrono::Utc::now())),
            }
        }
        AppCommand::List { output } => {
            let apps = list(connection).await?;
            match output {
                Some(form) => {
                    for app in &apps {
                        output::print(app, "application", form)?;
                    }
                }
                None if apps.is_empty() => anstream::eprintln!(
                    "No Applications in namespace {}.",
                    connection.application_namespace
                ),
                None => anstream::print!("{}", show::list(&apps)),
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
        AppCommand::History { name } => {
            anstream::print!("{}", show::history(&get(connection, &name).await?));
        }
        AppCommand::Rollback { name, id } => {
            let app = get(connection, &name).await?;
            let operation = rollback_operation(&app, id)?;
            start(connection, &app, &operation).await?;
            anstream::println!("application '{name}' rollback requested");
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

/// Returns the operation that goes back to an entry of the history, with the source that it had.
fn rollback_operation(app: &Application, id: Option<i64>) -> Result<Value, Failure> {
    let name = app.name_any();
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
    let automated = app.spec.sync_policy.as_ref().and_then(|p| p.automated.as_ref());
    if automated.is_some_and(|a| a.enabled != Some(false)) {
        return Err(Failure::new(format!(
            "application '{name}' syncs by itself: a rollback would be overtaken by Git"
        ))
        .hint(
            "revert the commit; a version that failed its analysis is held back without your doing",
        ));
    }
    Ok(json!({
        "initiatedBy": { "username": "kubectl-sluice" },
        "sync": {
            "revision": entry.revision,
            "source": entry.source,
            "prune": true,
            "syncStrategy": { "apply": {} },
        },
    }))
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
