use serde_json::json;

use super::hold::manifests;
use super::world::{APPLICATION, V1, V2, World};

const TWO: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: first}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: second, annotations: {argocd.argoproj.io/sync-wave: '1'}}
";

fn deleted(finalizers: &[&str]) -> World {
    let mut world = World::new(APPLICATION);
    world.push(V1, TWO);
    world.settle();
    world.put("{apiVersion: v1, kind: ConfigMap, metadata: {name: foreign, namespace: shop}}");
    world.application["metadata"]["finalizers"] = json!(finalizers);
    world.application["metadata"]["deletionTimestamp"] = json!("2026-03-01T13:00:00Z");
    world.log.clear();
    world.settle();
    world
}

#[test]
fn a_deleted_application_takes_its_objects_along_and_no_others() {
    let world = deleted(&["resources-finalizer.argocd.argoproj.io", "other.example.com"]);
    assert_eq!(
        world.log,
        [
            "prune ConfigMap shop/second [--]",
            "prune ConfigMap shop/first [--]",
            "finalize Application argocd/shop [--]",
        ]
    );
    assert_eq!(world.application["metadata"]["finalizers"], json!(["other.example.com"]));
    assert!(world.object("ConfigMap", "foreign").is_some());
}

#[test]
fn without_a_finalizer_the_objects_stay() {
    let world = deleted(&[]);
    assert_eq!(world.log, Vec::<String>::new());
    assert!(world.object("ConfigMap", "first").is_some());
}

#[test]
fn an_ignored_application_is_left_alone() {
    let mut world = World::new(APPLICATION);
    world.annotate("argocd.argoproj.io/skip-reconcile", "true");
    world.log.clear();
    world.push(V1, TWO);
    world.settle();
    assert_eq!(world.log, ["# push 11"]);
}

#[test]
fn the_refresh_annotation_asks_git_once_and_goes() {
    let mut world = World::new(APPLICATION);
    world.push(V1, TWO);
    world.settle();
    world.commits.insert(V2.to_owned(), Ok(super::world::documents(TWO)));
    world.head = Ok(V2.to_owned());
    world.now += chrono::Duration::seconds(1);
    world.settle();
    assert_eq!(world.application["status"]["sync"]["revision"], V1, "not polled yet");
    world.annotate("argocd.argoproj.io/refresh", "normal");
    world.settle();
    assert_eq!(world.application["metadata"]["annotations"], json!({}));
    assert_eq!(world.application["status"]["sync"]["revision"], V2);
}

#[test]
fn the_history_has_each_whole_sync_and_is_trimmed() {
    let short = APPLICATION.replace("  project:", "  revisionHistoryLimit: 1\n  project:");
    let mut world = World::new(&short);
    world.push(V1, TWO);
    world.settle();
    world.push(V2, &TWO.replace("first", "third"));
    world.settle();
    let history = world.application["status"]["history"].as_array().unwrap();
    assert_eq!(history.len(), 1);
    assert_eq!((&history[0]["id"], &history[0]["revision"]), (&json!(1), &json!(V2)));
}

#[test]
fn a_secret_of_the_scope_is_never_kept_and_comes_from_git_again() {
    let with_secret = |image: &str, value: &str| {
        format!(
            "{}\n---\napiVersion: v1\nkind: Secret\nmetadata: {{name: token}}\nstringData: {{t: {value}}}\n",
            manifests(image, "a", "x")
                .replace("envFrom: [", "envFrom: [{secretRef: {name: token}}, ")
        )
    };
    let mut world = World::new(APPLICATION);
    world.push(V1, &with_secret("web:1", "good"));
    world.settle();
    world.promote("web");
    world.settle();
    world.push(V2, &with_secret("web:2", "evil"));
    world.settle();
    world.canary("web");
    world.restart();
    world.abort("web");
    world.settle();
    assert_eq!(world.image("web").as_deref(), Some("web:1"));
    let secret = world.object("Secret", "token").unwrap();
    assert_eq!(secret["data"]["t"], "Z29vZA==");
    let record = world.objects.iter().find(|(key, _)| key.namespace == "argocd").unwrap().1;
    assert!(!record.to_string().contains("Z29vZA") && !record.to_string().contains("ZXZpbA"));
}

#[test]
fn a_resource_that_does_not_become_healthy_in_time_takes_the_application_back() {
    let policy = "
  health: {resources: [{name: web, kind: Deployment, timeout: 5m}]}
  rollback: {enabled: true}
  syncPolicy:";
    let mut world = World::new(&APPLICATION.replace("\n  syncPolicy:", policy));
    let deployment = |image: &str| {
        format!(
            "
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec: {{replicas: 1, template: {{spec: {{containers: [{{name: web, image: '{image}'}}]}}}}}}
"
        )
    };
    let available = |world: &mut World, available: i64| {
        world.edit("Deployment", "web", |deployment| {
            deployment["status"] = json!({
                "observedGeneration": deployment["metadata"]["generation"], "replicas": 1, "updatedReplicas": 1, "availableReplicas": available,
            });
        });
        world.settle();
    };
    let image = |world: &World| {
        world.object("Deployment", "web").unwrap()["spec"]["template"]["spec"]["containers"][0]["image"].clone()
    };
    world.push(V1, &deployment("web:1"));
    world.settle();
    available(&mut world, 1);
    world.push(V2, &deployment("web:2"));
    world.settle();
    available(&mut world, 0);
    assert_eq!(image(&world), "web:2");
    world.now += chrono::Duration::seconds(301);
    world.settle();
    assert_eq!(image(&world), "web:1");
    insta::assert_yaml_snapshot!(world.story());
}
