//! `undo NAME`: the template of an earlier revision again.

use std::process::ExitCode;

use k8s_openapi::api::apps::v1::ReplicaSet;
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use sluice_crds::labels;
use sluice_crds::rollout::Rollout;
use sluice_engine::rollout::template_hash::{same_template, template_hash};
use sluice_engine::view::ReplicaSetRecord;

use crate::arguments::{Dialect, UndoArguments};
use crate::commands::act::patch_spec;
use crate::commands::workload::Workload;
use crate::connection::Connection;
use crate::failure::Failure;
use crate::git;

pub(crate) async fn run(
    connection: &Connection,
    undo: &UndoArguments,
    dialect: Dialect,
) -> Result<ExitCode, Failure> {
    let name = &undo.name;
    let rollout = connection.get_rollout(name).await?;
    let workload = Workload::of(connection, &rollout).await?;
    let owner = git::owner(connection, &rollout).await;
    if let Some(owner) = &owner {
        owner.refuse_overwritten(name)?;
    }
    // Dynamic, so that fields which this program does not know survive the way back.
    let kind = ApiResource::erase::<ReplicaSet>(&());
    let sets = Api::<DynamicObject>::namespaced_with(
        connection.client.clone(),
        &connection.namespace,
        &kind,
    )
    .list(&ListParams::default())
    .await
    .map_err(|e| Failure::of(&connection.rollout(name), "list the ReplicaSets of", &e))?;
    let uid = rollout.uid().unwrap_or_default();
    let owned: Vec<DynamicObject> = sets
        .items
        .into_iter()
        .filter(|rs| rs.owner_references().iter().any(|owner| owner.uid == uid))
        .collect();
    let target = revision(&owned, undo.to_revision, name)?;
    let template = template_of(target)?;
    let is_current = match &workload {
        // The workload's template has the API server's defaults, as that of the ReplicaSet.
        Some(workload) => same_template(&template, &workload.template()),
        None => Some(&template) == rollout.spec.template.as_ref(),
    };
    if is_current {
        let number = number(target);
        anstream::println!("skipped rollback (current template already matches revision {number})");
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(owner) = &owner {
        let collisions = rollout.status.as_ref().and_then(|s| s.collision_count);
        owner.refuse_held(name, &template_hash(&template, collisions))?;
    }
    match &workload {
        Some(workload) => workload.undo(&template).await?,
        None => replace_template(connection, name, &rollout, template).await?,
    }
    anstream::println!("rollout '{name}' undo");
    if let (Some(owner), Dialect::Sluice) = (&owner, dialect) {
        owner.note();
    }
    Ok(ExitCode::SUCCESS)
}

async fn replace_template(
    connection: &Connection,
    name: &str,
    rollout: &Rollout,
    template: Value,
) -> Result<(), Failure> {
    // A merge patch would keep fields that only the present template has, so those are named and set to null.
    let before = rollout.spec.template.clone().unwrap_or_else(|| json!({}));
    let Some(difference) = sluice_crds::object::merge_patch(&before, &template) else {
        return Ok(());
    };
    patch_spec(connection, name, &json!({ "spec": { "template": difference } })).await
}

fn number(rs: &DynamicObject) -> i64 {
    rs.annotations().get(labels::REVISION).and_then(|r| r.parse().ok()).unwrap_or(0)
}

fn revision<'a>(
    owned: &'a [DynamicObject],
    wanted: i64,
    name: &str,
) -> Result<&'a DynamicObject, Failure> {
    let mut sorted: Vec<&DynamicObject> = owned.iter().collect();
    sorted.sort_by_key(|rs| std::cmp::Reverse(number(rs)));
    let found = if wanted == 0 {
        sorted.get(1).copied()
    } else {
        sorted.iter().copied().find(|rs| number(rs) == wanted)
    };
    found.ok_or_else(|| {
        let known: Vec<String> = sorted.iter().map(|rs| number(rs).to_string()).collect();
        let what = if wanted == 0 {
            "an earlier revision".to_owned()
        } else {
            format!("revision {wanted}")
        };
        Failure::new(format!("rollout '{name}' has no {what}"))
            .hint(format!("its revisions are: {}", known.join(", ")))
    })
}

/// Returns the Pod template that the ReplicaSet was made of.
fn template_of(rs: &DynamicObject) -> Result<Value, Failure> {
    let unreadable = |error: serde_json::Error| {
        Failure::new(format!("ReplicaSet {}: {error}", rs.metadata.name.as_deref().unwrap_or("")))
    };
    let object = serde_json::to_value(rs).map_err(unreadable)?;
    let record: ReplicaSetRecord = serde_json::from_value(object).map_err(unreadable)?;
    Ok(sluice_engine::rollout::template_of(&record))
}
