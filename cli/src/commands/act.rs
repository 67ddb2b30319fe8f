//! Commands that set one field: abort, retry, pause, restart.

use std::process::ExitCode;

use chrono::{Duration, Utc};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use sluice_crds::rollout::Rollout;
use sluice_crds::supported::{self, State};
use sluice_crds::time::Time;

use crate::arguments::RestartArguments;
use crate::connection::Connection;
use crate::failure::Failure;
use crate::git;

/// Sends a merge patch to the status of a Rollout.
pub(crate) async fn patch_status(
    connection: &Connection,
    name: &str,
    patch: &Value,
) -> Result<(), Failure> {
    let api = connection.api::<Rollout>();
    match api.patch_status(name, &PatchParams::default(), &Patch::Merge(patch)).await {
        Ok(_) => Ok(()),
        Err(error) => Err(explain(connection, name, "patch", error).await),
    }
}

/// Sends a merge patch to the spec of a Rollout.
pub(crate) async fn patch_spec(
    connection: &Connection,
    name: &str,
    patch: &Value,
) -> Result<(), Failure> {
    let api = connection.api::<Rollout>();
    match api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await {
        Ok(_) => Ok(()),
        Err(error) => Err(explain(connection, name, "patch", error).await),
    }
}

/// A missing Rollout gets the hint with the nearest name.
async fn explain(connection: &Connection, name: &str, verb: &str, error: kube::Error) -> Failure {
    if matches!(&error, kube::Error::Api(status) if status.code == 404)
        && let Err(better) = connection.get_rollout(name).await
    {
        return better;
    }
    Failure::of(&connection.rollout(name), verb, &error)
}

pub(crate) async fn abort(connection: &Connection, names: &[String]) -> Result<ExitCode, Failure> {
    for name in names {
        patch_status(connection, name, &json!({ "status": { "abort": true } })).await?;
        anstream::println!("rollout '{name}' aborted");
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn retry(connection: &Connection, words: &[String]) -> Result<ExitCode, Failure> {
    let names = match words.first().map(String::as_str) {
        Some("rollout" | "rollouts" | "ro") => &words[1..],
        _ => words,
    };
    if names.is_empty() {
        return Err(
            Failure::new("retry: no Rollout named").hint("kubectl sluice retry rollout NAME")
        );
    }
    for name in names {
        let rollout = connection.get_rollout(name).await?;
        let current = rollout.status.as_ref().and_then(|s| s.current_pod_hash.as_deref());
        if let (Some(owner), Some(hash)) = (git::owner(connection, &rollout).await, current) {
            owner.refuse_held(name, hash)?;
        }
        patch_status(connection, name, &json!({ "status": { "abort": false } })).await?;
        anstream::println!("rollout '{name}' retried");
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn pause(connection: &Connection, names: &[String]) -> Result<ExitCode, Failure> {
    for name in names {
        patch_spec(connection, name, &json!({ "spec": { "paused": true } })).await?;
        anstream::println!("rollout '{name}' paused");
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn restart(
    connection: &Connection,
    restart: &RestartArguments,
) -> Result<ExitCode, Failure> {
    let within = match &restart.within {
        None => Duration::zero(),
        Some(text) => sluice_crds::duration::parse(text).map_err(|_| {
            Failure::new(format!("--in: `{text}` is no duration")).hint("such as 10s or 5m")
        })?,
    };
    let at = Time::new(Utc::now() + within);
    let name = &restart.name;
    patch_spec(connection, name, &json!({ "spec": { "restartAt": at } })).await?;
    let shown = restart.within.as_deref().unwrap_or("0s");
    anstream::println!("rollout '{name}' restarts in {shown}");
    if let Some(row) = supported::feature("Rollout", "spec.restartAt")
        && row.state != State::Works
    {
        anstream::eprintln!(
            "note: spec.restartAt is set, but {}: {}",
            row.state.as_str(),
            row.note
        );
    }
    Ok(ExitCode::SUCCESS)
}
