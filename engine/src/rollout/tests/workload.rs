//! Templates of other workloads, Deployments that give way, and Services that are given back.

use chrono::Duration;
use serde_json::{Value, json};
use sluice_crds::labels;
use sluice_crds::object::Kind;

use super::{HOSTS, NETWORK, STEPS, abort, world::World};
use crate::rollout::template_hash::template_hash;
use crate::rollout::workload::remaining;

const DEPLOYMENT: &str = r"
apiVersion: apps/v1
kind: Deployment
metadata: {name: src}
spec:
  replicas: 5
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: 'web:1'}]}
";

fn rollout(reference: &str, strategy: &str) -> String {
    let strategy = strategy.replace("\n\n", "\n");
    format!(
        "
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {{name: web}}
spec:
  replicas: 5
  workloadRef: {reference}
  strategy:
    canary:
{strategy}"
    )
}

fn to_deployment(scale_down: &str) -> String {
    format!("{{apiVersion: apps/v1, kind: Deployment, name: src, scaleDown: {scale_down}}}")
}

fn world(reference: &str, strategy: &str, others: &[&str]) -> World {
    let mut documents = vec![rollout(reference, strategy)];
    documents.extend(others.iter().map(|text| (*text).to_owned()));
    World::new(&documents.join("\n---\n"))
}

fn set_image(world: &mut World, image: &str) {
    world.edit(Kind::DEPLOYMENT, "src", |deployment| {
        deployment["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
    });
}

fn deployment(world: &World) -> Value {
    world.see(Kind::DEPLOYMENT, "src")
}

#[test]
fn a_rollout_takes_template_and_selector_from_its_deployment() {
    let mut world = world(&to_deployment("never"), "      maxSurge: 1\n", &[DEPLOYMENT]);
    world.run(Duration::minutes(2));
    assert_eq!(world.phase(), "Healthy", "{}", world.log.join("\n"));
    let rollout = world.rollout();
    let hash = rollout.status.stable_rs.clone().unwrap();
    let set = world.see(Kind::REPLICA_SET, &format!("web-{hash}"));
    assert_eq!(set["spec"]["template"]["spec"]["containers"][0]["image"], "web:1");
    assert_eq!(set["spec"]["selector"]["matchLabels"]["app"], "web");
    assert_eq!(hash, template_hash(&deployment(&world)["spec"]["template"], None));
    assert_eq!(rollout.status.workload_observed_generation.as_deref(), Some("1"));
    assert_eq!(rollout.meta.annotations[labels::WORKLOAD_GENERATION], "1");
    assert!(
        rollout.spec.template.is_none() && rollout.spec.selector.is_none(),
        "nothing is copied"
    );
    assert_eq!(rollout.status.selector.as_deref(), Some("app=web"));
    assert_eq!(deployment(&world)["spec"]["replicas"], 5);
    world.check_history();
}

#[test]
fn a_change_of_the_workload_is_a_new_revision() {
    let mut world =
        world(&to_deployment("never"), &[HOSTS, STEPS].concat(), &[DEPLOYMENT, NETWORK]);
    world.run(Duration::minutes(2));
    set_image(&mut world, "web:2");
    world.run(Duration::minutes(2));
    assert_eq!((world.phase(), world.weight()), ("Paused".to_owned(), 60));
    assert_eq!(world.rollout().status.workload_observed_generation.as_deref(), Some("2"));
    assert_eq!(world.rollout().meta.annotations[labels::WORKLOAD_GENERATION], "2");
    let decision = world.settle();
    assert!(decision.plan.is_empty() && decision.status_write.is_none(), "nothing is left to do");
    world.check_history();
}

#[test]
fn pod_templates_and_replica_sets_are_workloads_too() {
    let template =
        "metadata: {labels: {app: web}}, spec: {containers: [{name: web, image: 'web:1'}]}";
    let cases = [
        (
            "v1",
            "PodTemplate",
            format!(
                "{{apiVersion: v1, kind: PodTemplate, metadata: {{name: src}}, template: {{{template}}}}}"
            ),
        ),
        (
            "apps/v1",
            "ReplicaSet",
            format!(
                "{{apiVersion: apps/v1, kind: ReplicaSet, metadata: {{name: src, labels: {{}}}}, \
                 spec: {{replicas: 0, selector: {{matchLabels: {{app: web}}}}, template: {{{template}}}}}}}"
            ),
        ),
    ];
    for (version, kind, workload) in cases {
        let reference = format!("{{apiVersion: {version}, kind: {kind}, name: src}}");
        let mut world = world(&reference, "      maxSurge: 1\n", &[&workload]);
        // A PodTemplate has no selector: the Rollout brings its own.
        world.edit_rollout(|r| r["spec"]["selector"] = json!({ "matchLabels": { "app": "web" } }));
        world.run(Duration::minutes(2));
        assert_eq!(world.phase(), "Healthy", "{kind}: {}", world.log.join("\n"));
        let hash = world.rollout().status.stable_rs.unwrap();
        let set = world.see(Kind::REPLICA_SET, &format!("web-{hash}"));
        assert_eq!(set["spec"]["template"]["spec"]["containers"][0]["image"], "web:1", "{kind}");
    }
}

#[test]
fn a_missing_workload_is_named_and_waited_for() {
    let mut world = world(&to_deployment("progressively"), "      maxSurge: 1\n", &[]);
    world.run(Duration::minutes(1));
    let status = world.rollout().status;
    assert_eq!(status.phase.as_deref(), Some("Degraded"));
    let message = status.message.unwrap();
    assert!(message.contains("spec.workloadRef: Deployment shop/src not found"), "{message}");
    world.create(serde_saphyr::from_str(DEPLOYMENT).unwrap());
    world.run(Duration::minutes(1));
    assert_eq!(world.phase(), "Healthy");
    world.check_history();
}

#[test]
fn an_update_is_taken_back_although_its_workload_is_gone() {
    let mut world =
        world(&to_deployment("never"), &[HOSTS, STEPS].concat(), &[DEPLOYMENT, NETWORK]);
    world.run(Duration::minutes(2));
    set_image(&mut world, "web:2");
    world.run(Duration::minutes(2));
    assert_eq!(world.weight(), 60);
    world.remove(Kind::DEPLOYMENT, "src");
    world.run(Duration::seconds(10));
    assert_eq!((world.phase(), world.weight()), ("Degraded".to_owned(), 60), "traffic stays");
    abort(&mut world);
    world.run(Duration::seconds(10));
    assert_eq!(world.weight(), 0, "{}", world.log.join("\n"));
    world.check_history();
}

#[test]
fn a_template_of_its_own_beside_a_workload_is_refused() {
    let mut world = world(&to_deployment("never"), "      maxSurge: 1\n", &[DEPLOYMENT]);
    world.edit_rollout(|rollout| {
        rollout["spec"]["template"] = json!({ "metadata": { "labels": { "app": "web" } } });
    });
    world.run(Duration::minutes(1));
    let message = world.rollout().status.message.unwrap();
    assert!(message.contains("both `template` and `workloadRef` are set"), "{message}");
    assert!(world.sizes().is_empty());
}

#[test]
fn what_is_wrong_with_the_template_is_said_of_the_workload() {
    let mut world = world(&to_deployment("never"), "      maxSurge: 1\n", &[DEPLOYMENT]);
    world.edit(Kind::DEPLOYMENT, "src", |d| {
        d["spec"]["template"]["spec"]["containers"] = json!([]);
    });
    world.run(Duration::minutes(1));
    let message = world.rollout().status.message.unwrap();
    assert!(message.contains("Deployment shop/src: spec.template.spec.containers"), "{message}");
}

#[test]
fn a_deployment_keeps_the_share_that_the_rollout_does_not_serve() {
    let table = [
        (5, 5, 0, 5),
        (5, 5, 2, 3),
        (5, 5, 5, 0),
        (10, 4, 1, 8),
        (10, 3, 1, 7),
        (1, 3, 2, 1),
        (0, 3, 1, 0),
        (4, 0, 0, 4),
        (4, 4, 9, 0),
    ];
    for (original, n, serving, wanted) in table {
        let found = remaining(original, n, serving);
        assert_eq!(found, wanted, "{serving} of {n} serve beside {original}");
    }
}

#[test]
fn a_deployment_gives_way_pod_by_pod() {
    let mut world = world(
        &to_deployment("progressively"),
        "      stableService: web-stable\n",
        &[DEPLOYMENT, NETWORK],
    );
    let hash = template_hash(&deployment(&world)["spec"]["template"], None);
    for (available, left) in [(0, 5), (2, 3), (4, 1)] {
        world.healthy.insert(hash.clone(), available);
        world.run(Duration::seconds(5));
        assert_eq!(deployment(&world)["spec"]["replicas"], left, "{}", world.log.join("\n"));
    }
    // Pods that are lost meanwhile get the Deployment's back.
    world.healthy.insert(hash.clone(), 1);
    world.run(Duration::seconds(5));
    assert_eq!(deployment(&world)["spec"]["replicas"], 4);
    world.healthy.remove(&hash);
    world.run(Duration::minutes(1));
    assert_eq!(
        (world.phase(), &deployment(&world)["spec"]["replicas"]),
        ("Healthy".into(), &json!(0))
    );
    assert!(deployment(&world)["metadata"]["annotations"][labels::WORKLOAD_REPLICAS].is_null());
    world.check_history();
}

#[test]
fn a_pod_that_no_endpoint_lists_takes_nobodys_place() {
    let mut world = world(
        &to_deployment("progressively"),
        "      stableService: web-stable\n",
        &[DEPLOYMENT, NETWORK],
    );
    let hash = template_hash(&deployment(&world)["spec"]["template"], None);
    world.healthy.insert(hash.clone(), 4);
    world.listed.insert(hash, 1);
    world.run(Duration::seconds(5));
    assert_eq!(deployment(&world)["spec"]["replicas"], 4);
}

#[test]
fn on_success_means_at_once_when_the_rollout_is_healthy() {
    let mut world = world(&to_deployment("onsuccess"), "      maxSurge: 1\n", &[DEPLOYMENT]);
    let hash = template_hash(&deployment(&world)["spec"]["template"], None);
    world.healthy.insert(hash.clone(), 4);
    world.run(Duration::seconds(30));
    assert_eq!(deployment(&world)["spec"]["replicas"], 5, "not healthy");
    world.healthy.remove(&hash);
    world.run(Duration::seconds(30));
    assert_eq!(deployment(&world)["spec"]["replicas"], 0);
    world.check_history();
}

#[test]
fn only_the_first_revision_takes_over() {
    let mut world = world(&to_deployment("progressively"), "      maxSurge: 1\n", &[DEPLOYMENT]);
    world.run(Duration::minutes(1));
    assert_eq!(deployment(&world)["spec"]["replicas"], 0);
    set_image(&mut world, "web:2");
    world.run(Duration::minutes(1));
    world.edit(Kind::DEPLOYMENT, "src", |d| d["spec"]["replicas"] = json!(3));
    world.run(Duration::minutes(1));
    assert_eq!(deployment(&world)["spec"]["replicas"], 3, "the user's, from here on");
    world.check_history();
}

#[test]
fn a_deployment_of_size_zero_is_not_scaled_up() {
    let mut world = world(&to_deployment("progressively"), "      maxSurge: 1\n", &[DEPLOYMENT]);
    world.edit(Kind::DEPLOYMENT, "src", |d| d["spec"]["replicas"] = json!(0));
    world.run(Duration::minutes(1));
    assert!(!world.log.iter().any(|line| line.contains("Deployment")), "{}", world.log.join("\n"));
}

#[test]
fn a_service_that_is_named_no_longer_is_given_back() {
    let check = |selector: Value, ready: bool| {
        let mut world = super::serving(&["\n      stableService: web-stable\n"], &[NETWORK]);
        let hash = world.rollout().status.stable_rs.unwrap();
        if !ready {
            world.healthy.insert(hash, 0);
            world.settle_pods();
        }
        world.edit(Kind::SERVICE, "web-stable", |service| {
            if let Some(map) = selector.as_object() {
                service["spec"]["selector"] = json!(map);
            }
        });
        world.edit_rollout(|rollout| rollout["spec"]["strategy"]["canary"] = json!({}));
        world.run(Duration::minutes(1));
        let service = world.see(Kind::SERVICE, "web-stable");
        let kept = !service["spec"]["selector"][labels::POD_TEMPLATE_HASH].is_null();
        let marked = !service["metadata"]["annotations"][labels::MANAGED_BY].is_null();
        assert_eq!(kept, marked, "both or none");
        world.check_history();
        !kept
    };
    assert!(check(Value::Null, true));
    assert!(!check(Value::Null, false), "no Pod could serve");
    assert!(!check(json!({ labels::POD_TEMPLATE_HASH: "x" }), true), "it would select nothing");
    let stray = json!({ "app": "other", labels::POD_TEMPLATE_HASH: "x" });
    assert!(!check(stray, true), "it would select none of ours");
}
