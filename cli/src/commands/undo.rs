//! `undo NAME`: the template of an earlier revision again.

use std::process::ExitCode;

use k8s_openapi::api::apps::v1::ReplicaSet;
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use sluice_crds::labels;
use sluice_crds::rollout::Rollout;

use crate::arguments::UndoArguments;
use crate::commands::act::patch_spec;
use crate::connection::Connection;
use crate::failure::Failure;

pub(crate) async fn run(
    connection: &Connection,
    undo: &UndoArguments,
) -> Result<ExitCode, Failure> {
    let name = &undo.name;
    let rollout = connection.get_rollout(name).await?;
    if rollout.spec.workload_ref.is_some() {
        return Err(Failure::new(format!(
            "rollout '{name}' takes its template from another workload"
        ))
        .hint("undo it there: spec.workloadRef names it"));
    }
    if let Some(id) = rollout.annotations().get(labels::TRACKING_ID) {
        let app = id.split(':').next().unwrap_or_default();
        return Err(Failure::new(format!(
            "rollout '{name}' is applied from Git by Application {app}: an undo here would be put back"
        ))
        .hint(format!("revert the commit, or: kubectl sluice app rollback {app}")));
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
    let template = template_of(target);
    if Some(&template) == rollout.spec.template.as_ref() {
        anstream::println!("skipped rollback (current template already matches revision)");
        return Ok(ExitCode::SUCCESS);
    }
    replace_template(connection, name, &rollout, template).await?;
    anstream::println!("rollout '{name}' undo");
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

fn revision<'a>(
    owned: &'a [DynamicObject],
    wanted: i64,
    name: &str,
) -> Result<&'a DynamicObject, Failure> {
    let number = |rs: &DynamicObject| {
        rs.annotations().get(labels::REVISION).and_then(|r| r.parse::<i64>().ok()).unwrap_or(0)
    };
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

/// Returns the Pod template of a ReplicaSet without the label that identifies the revision.
fn template_of(rs: &DynamicObject) -> Value {
    let mut template = rs.data["spec"]["template"].clone();
    if let Some(labels) = template["metadata"]["labels"].as_object_mut() {
        labels.remove(labels::POD_TEMPLATE_HASH);
    }
    template
}
