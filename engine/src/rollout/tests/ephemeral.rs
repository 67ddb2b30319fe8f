//! What is put on Pods for the role that they play, and anti-affinity.

use chrono::Duration;
use serde_json::{Value, json};
use sluice_crds::labels;
use sluice_crds::object::Kind;

use super::{STEPS, fresh, promote, world::World};
use crate::rollout::ephemeral::{is_of, template_of};
use crate::rollout::template_hash::template_hash;
use crate::view::ReplicaSetRecord;

const ROLES: &str = r"
      maxSurge: 1
      canaryMetadata: {labels: {role: canary, track: new}, annotations: {note: fresh}}
      stableMetadata: {labels: {role: stable}}
";

const APART: &str = r"
      maxSurge: 1
      antiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {}}
";

fn running(strategy: &[&str]) -> World {
    let mut world = fresh(strategy, &[]);
    world.with_pods = true;
    world.run(Duration::minutes(2));
    assert_eq!(world.phase(), "Healthy", "{}", world.log.join("\n"));
    world
}

/// The labels `role` and `track` and the annotation `note` of all Pods of the revision; they must agree.
fn of_pods(world: &World, hash: &str) -> (Value, Value, Value) {
    let all: Vec<_> = world
        .pods(&format!("web-{hash}-"))
        .iter()
        .map(|pod| {
            let (labels, annotations) = (&pod["labels"], &pod["annotations"]);
            (labels["role"].clone(), labels["track"].clone(), annotations["note"].clone())
        })
        .collect();
    assert!(all.windows(2).all(|two| two[0] == two[1]), "{all:?}");
    all.first().cloned().unwrap_or_default()
}

fn set(world: &World, hash: &str) -> Value {
    world.see(Kind::REPLICA_SET, &format!("web-{hash}"))
}

#[test]
fn metadata_moves_with_the_role() {
    let mut world = running(&[ROLES, STEPS]);
    let first = world.rollout().status.stable_rs.unwrap();
    assert_eq!(of_pods(&world, &first), (json!("stable"), Value::Null, Value::Null));

    world.set_image("web:2");
    world.run(Duration::minutes(2));
    let second = world.rollout().status.current_pod_hash.unwrap();
    let canary = (json!("canary"), json!("new"), json!("fresh"));
    assert_eq!(of_pods(&world, &second), canary);
    assert_eq!(of_pods(&world, &first), (json!("stable"), Value::Null, Value::Null));
    let note = set(&world, &second)["metadata"]["annotations"][labels::EPHEMERAL_METADATA].clone();
    assert_eq!(
        note,
        r#"{"annotations":{"note":"fresh"},"labels":{"role":"canary","track":"new"}}"#
    );

    promote(&mut world);
    world.run(Duration::minutes(2));
    assert_eq!(world.phase(), "Healthy");
    assert_eq!(of_pods(&world, &second), (json!("stable"), Value::Null, Value::Null));
    let annotations = &set(&world, &second)["metadata"]["annotations"];
    assert_eq!(annotations[labels::EPHEMERAL_METADATA], r#"{"labels":{"role":"stable"}}"#);
    assert!(annotations[labels::FORMER_METADATA].is_null(), "every Pod lost it: {annotations}");
    let old = set(&world, &first);
    assert!(old["metadata"]["annotations"][labels::EPHEMERAL_METADATA].is_null(), "no role");
    assert!(old["spec"]["template"]["metadata"]["labels"]["role"].is_null());
    let decision = world.settle();
    assert!(decision.plan.is_empty() && decision.status_write.is_none(), "nothing is left to do");
    world.check_history();
}

#[test]
fn metadata_is_no_part_of_the_revision() {
    let plain = running(&["\n      maxSurge: 1\n", STEPS]).rollout().status.stable_rs;
    let mut world = running(&[ROLES, STEPS]);
    assert_eq!(world.rollout().status.stable_rs, plain);
    world.edit_rollout(|r| {
        r["spec"]["strategy"]["canary"]["stableMetadata"] = json!({ "labels": { "role": "main" } });
    });
    world.run(Duration::minutes(1));
    assert_eq!(world.rollout().status.stable_rs, plain, "no update");
    assert_eq!(of_pods(&world, &plain.clone().unwrap()).0, "main");
    world.edit_rollout(|r| {
        let canary = r["spec"]["strategy"]["canary"].as_object_mut().unwrap();
        canary.retain(|field, _| !field.ends_with("Metadata"));
    });
    world.run(Duration::minutes(1));
    assert_eq!(of_pods(&world, &plain.unwrap()).0, Value::Null);
    assert!(world.view().pods.is_none(), "nobody looks at Pods any more");
    world.check_history();
}

#[test]
fn a_key_that_the_template_has_gets_its_own_value_back() {
    let mut world = fresh(&[ROLES, STEPS], &[]);
    world.with_pods = true;
    world.edit_rollout(|r| r["spec"]["template"]["metadata"]["labels"]["track"] = json!("own"));
    world.run(Duration::minutes(2));
    world.set_image("web:2");
    world.run(Duration::minutes(2));
    let second = world.rollout().status.current_pod_hash.unwrap();
    assert_eq!(of_pods(&world, &second).1, "new");
    promote(&mut world);
    world.run(Duration::minutes(2));
    assert_eq!(of_pods(&world, &second).1, "own");
}

#[test]
fn labels_that_select_the_pods_are_left_alone() {
    let strategy = "\n      stableMetadata: {labels: {app: other, rollouts-pod-template-hash: x, role: stable}}\n";
    let world = running(&[strategy]);
    let hash = world.rollout().status.stable_rs.unwrap();
    let pods = world.pods("web");
    assert_eq!(pods.len(), 5);
    for pod in pods {
        assert_eq!(
            pod["labels"],
            json!({
                "app": "web", labels::POD_TEMPLATE_HASH: hash, "role": "stable",
            })
        );
    }
}

#[test]
fn only_ten_pods_are_patched_in_one_decision() {
    let mut world = fresh(&["\n      maxSurge: 1\n"], &[]);
    world.with_pods = true;
    world.edit_rollout(|r| r["spec"]["replicas"] = json!(25));
    world.run(Duration::minutes(2));
    world.edit_rollout(|r| {
        r["spec"]["strategy"]["canary"]["stableMetadata"] = json!({ "labels": { "role": "main" } });
    });
    let mut patched = Vec::new();
    for _ in 0..6 {
        let (_, decision) = world.decide();
        let labels = decision.plan.actions().filter(|a| a.to_string().starts_with("label Pod"));
        patched.push(labels.count());
    }
    assert_eq!(patched, [0, 10, 10, 5, 0, 0], "{}", world.log.join("\n"));
}

#[test]
fn new_pods_are_kept_off_the_nodes_of_stable_ones_until_they_are_stable_themselves() {
    let mut world = running(&[APART, STEPS]);
    let first = world.rollout().status.stable_rs.unwrap();
    assert!(set(&world, &first)["spec"]["template"]["spec"]["affinity"].is_null());
    let plain = world.hash_of("web:2");
    world.set_image("web:2");
    world.run(Duration::minutes(2));
    let second = world.rollout().status.current_pod_hash.unwrap();
    assert_eq!(second, plain, "no part of the hash");
    let affinity = set(&world, &second)["spec"]["template"]["spec"]["affinity"].clone();
    assert_eq!(
        affinity,
        json!({ "podAntiAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [{
            "labelSelector": { "matchExpressions": [
                { "key": labels::POD_TEMPLATE_HASH, "operator": "In", "values": [first] },
            ] },
            "namespaces": ["shop"],
            "topologyKey": "kubernetes.io/hostname",
        }],
    } })
    );
    promote(&mut world);
    world.run(Duration::minutes(2));
    assert!(set(&world, &second)["spec"]["template"]["spec"]["affinity"].is_null());
    world.check_history();
}

#[test]
fn a_preference_has_its_weight_and_stands_beside_the_users_own() {
    let strategy =
        "\n      antiAffinity: {preferredDuringSchedulingIgnoredDuringExecution: {weight: 7}}\n";
    let mut world = running(&[strategy, STEPS]);
    let own = json!({ "weight": 1, "podAffinityTerm": { "topologyKey": "zone" } });
    world.edit_rollout(|r| {
        r["spec"]["template"]["spec"]["affinity"]["podAntiAffinity"]
            ["preferredDuringSchedulingIgnoredDuringExecution"] = json!([own]);
    });
    world.run(Duration::minutes(2));
    let second = world.rollout().status.current_pod_hash.unwrap();
    let list = set(&world, &second)["spec"]["template"]["spec"]["affinity"]["podAntiAffinity"]
        ["preferredDuringSchedulingIgnoredDuringExecution"]
        .clone();
    assert_eq!((&list[0], &list[1]["weight"]), (&own, &json!(7)));
    promote(&mut world);
    world.run(Duration::minutes(2));
    let list = set(&world, &second)["spec"]["template"]["spec"]["affinity"]["podAntiAffinity"]
        ["preferredDuringSchedulingIgnoredDuringExecution"]
        .clone();
    assert_eq!(list, json!([own]), "the user's own stays");
}

#[test]
fn a_replica_set_is_known_by_its_template_without_what_was_injected() {
    let mut world =
        running(&[ROLES.trim_end(), APART.replace("      maxSurge: 1\n", "").as_str(), STEPS]);
    world.set_image("web:2");
    world.run(Duration::minutes(2));
    let hash = world.rollout().status.current_pod_hash.unwrap();
    let record: ReplicaSetRecord = serde_json::from_value(set(&world, &hash)).unwrap();
    let template = world.rollout().spec.template.unwrap();
    assert!(record.template["spec"]["affinity"].is_object());
    assert_eq!(record.template["metadata"]["labels"]["role"], "canary");
    assert!(is_of(&record, &template));
    assert_eq!(template_hash(&template_of(&record), None), hash);
    let mut other = template;
    other["spec"]["containers"][0]["image"] = json!("web:3");
    assert!(!is_of(&record, &other));
}
