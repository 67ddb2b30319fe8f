//! How a story ended, so that two endings can be compared: without times, versions and the name of the namespace.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, bail};
use serde_json::{Value, json};
use sluice_crds::labels::{POD_TEMPLATE_HASH, REVISION, SCALE_DOWN_DEADLINE};

use crate::{
    eyes::{Eyes, Objects},
    player::Player,
};

/// How long what is left over may take to be put away.
const DEADLINE: Duration = Duration::from_secs(60);

/// Waits until the story has ended in both namespaces, and equally.
pub(crate) async fn then_same(eyes: &Arc<Eyes>, disturbed: &Player, calm: &Player) -> Result<()> {
    let (one, other) = (disturbed.namespace(), calm.namespace());
    let same = |both: &[&Objects]| {
        let put_away = both.iter().all(|objects| is_put_away(objects));
        (put_away && of(both[0], one) == of(both[1], other)).then_some(())
    };
    let what = format!("{one} ends as {other}");
    let result = eyes.until_all(&[one, other], &what, DEADLINE, same).await;
    let Err(error) = result else { return Ok(()) };
    let found = eyes.look(one, |objects| of(objects, one));
    let wanted = eyes.look(other, |objects| of(objects, other));
    let mut differences = Vec::new();
    compare("", &found, &wanted, &mut differences);
    bail!("{error:#}; found and wanted differ in: {}", differences.join("; "))
}

/// Whether no Pod of an old version is wanted or there.
fn is_put_away(objects: &Objects) -> bool {
    let rollout = &objects[&("Rollout".to_owned(), "web".to_owned())];
    let stable = &rollout["status"]["stableRS"];
    let mut old = objects.iter().filter(|((kind, _), set)| {
        kind == "ReplicaSet" && set["metadata"]["labels"][POD_TEMPLATE_HASH] != *stable
    });
    old.all(|(_, set)| {
        let left = set["status"]["replicas"].as_i64().unwrap_or(0);
        set["spec"]["replicas"] == 0 && left == 0
    })
}

fn of(objects: &Objects, namespace: &str) -> Value {
    let mut all = serde_json::Map::new();
    for ((kind, name), object) in objects {
        let part = match kind.as_str() {
            "Rollout" => of_rollout(object),
            "ReplicaSet" => of_replica_set(object),
            "Service" => object["spec"]["selector"].clone(),
            "VirtualService" | "DestinationRule" => object["spec"].clone(),
            _ => continue,
        };
        all.insert(format!("{kind} {name}"), part);
    }
    let text = Value::Object(all).to_string();
    // Both are JSON, and a namespace's name needs no escapes.
    serde_json::from_str(&text.replace(namespace, "NAMESPACE")).unwrap_or_default()
}

fn of_rollout(rollout: &Value) -> Value {
    let status = &rollout["status"];
    let mut conditions: Vec<_> = status["conditions"].as_array().into_iter().flatten().collect();
    conditions.sort_by_key(|condition| condition["type"].to_string());
    let condition = |c: &Value| {
        json!({ "type": c["type"], "status": c["status"], "reason": c["reason"],
            "message": c["message"] })
    };
    let conditions: Vec<_> = conditions.into_iter().map(condition).collect();
    json!({
        "template": rollout["spec"]["template"],
        "revision": rollout["metadata"]["annotations"][REVISION],
        "phase": status["phase"],
        "message": status["message"],
        "abort": status["abort"],
        "stable": status["stableRS"],
        "current": status["currentPodHash"],
        "step": status["currentStepIndex"],
        "steps": status["currentStepHash"],
        "pauses": status["pauseConditions"],
        "weights": status["canary"]["weights"],
        "promotions": status["sluice"]["stableSeq"],
        "attempt": status["sluice"]["attempt"],
        "conditions": conditions,
    })
}

fn of_replica_set(set: &Value) -> Value {
    let annotations = &set["metadata"]["annotations"];
    json!({
        "hash": set["metadata"]["labels"][POD_TEMPLATE_HASH],
        "owner": set["metadata"]["ownerReferences"][0]["name"],
        "revision": annotations[REVISION],
        "goes": annotations[SCALE_DOWN_DEADLINE].is_string(),
        "replicas": set["spec"]["replicas"],
        "available": set["status"]["availableReplicas"],
        "template": set["spec"]["template"],
    })
}

/// Notes where two values differ, as deep as they are alike.
fn compare(at: &str, found: &Value, wanted: &Value, differences: &mut Vec<String>) {
    match (found, wanted) {
        (Value::Object(one), Value::Object(other)) => {
            let missing = other.keys().filter(|key| !one.contains_key(*key));
            for key in one.keys().chain(missing) {
                compare(&format!("{at}/{key}"), &found[key], &wanted[key], differences);
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (number, (one, other)) in one.iter().zip(other).enumerate() {
                compare(&format!("{at}/{number}"), one, other, differences);
            }
        }
        _ if found == wanted => {}
        _ => differences.push(format!("{at}: {found} and {wanted}")),
    }
}
