use serde_json::json;

use super::world::{APPLICATION, V1, V2, V3, V4, World};

/// The manifests of an application with a Rollout that has the image, and a note that is no part of it.
pub(crate) fn manifests(image: &str, setting: &str, note: &str) -> String {
    format!(
        "
apiVersion: v1
kind: ConfigMap
metadata: {{name: note}}
data: {{text: '{note}'}}
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: settings}}
data: {{mode: '{setting}'}}
---
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {{name: web}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      containers: [{{name: web, image: '{image}', envFrom: [{{configMapRef: {{name: settings}}}}]}}]
  strategy: {{canary: {{steps: [{{setWeight: 20}}]}}}}
"
    )
}

/// Version 1 is healthy, version 2 failed and was taken back.
pub(crate) fn failed(application: &str) -> World {
    let mut world = World::new(application);
    world.push(V1, &manifests("web:1", "a", "x"));
    world.settle();
    world.promote("web");
    world.settle();
    world.push(V2, &manifests("web:2", "b", "y"));
    world.settle();
    world.canary("web");
    world.settle();
    world.abort("web");
    world.settle();
    world
}

/// The engine finishes the way back.
fn back(world: &mut World) {
    world.promote("web");
    world.settle();
}

#[test]
fn a_bad_commit_is_taken_back_and_the_rest_of_it_stays() {
    let mut world = failed(APPLICATION);
    back(&mut world);
    assert_eq!(world.image("web").as_deref(), Some("web:1"));
    assert_eq!(world.object("ConfigMap", "settings").unwrap()["data"]["mode"], "a");
    assert_eq!(world.object("ConfigMap", "note").unwrap()["data"]["text"], "y");
    insta::assert_yaml_snapshot!(world.story());
}

#[test]
fn a_bad_commit_is_never_applied_again() {
    let mut world = failed(APPLICATION);
    back(&mut world);
    let check = |world: &mut World, what: &str| {
        world.settle();
        assert_eq!(
            world.image("web").as_deref(),
            Some("web:1"),
            "{what}:\n{}",
            world.log.join("\n")
        );
    };
    world.poll();
    check(&mut world, "time passes");
    world.restart();
    check(&mut world, "restart");
    world.push(V3, &manifests("web:2", "b", "z"));
    check(&mut world, "unrelated commit");
    assert_eq!(world.object("ConfigMap", "note").unwrap()["data"]["text"], "z", "the rest syncs");
    world.delete("Rollout", "web");
    check(&mut world, "deletion of the Rollout");
    back(&mut world);
    world.edit("Rollout", "web", |rollout| {
        rollout["spec"]["template"]["spec"]["containers"][0]["image"] = json!("web:2");
    });
    check(&mut world, "`set image` to what is quarantined");
    let operation = json!({ "sync": { "prune": true }, "initiatedBy": { "username": "admin" } });
    world.application["operation"] = operation;
    check(&mut world, "sync by hand");
    let spec = world.application["spec"].clone();
    let metadata =
        json!({ "name": "shop", "namespace": "argocd", "uid": "new", "resourceVersion": "1" });
    world.application = json!({ "metadata": metadata, "spec": spec });
    check(&mut world, "re-creation of the Application");
    insta::assert_yaml_snapshot!(world.story());
}

#[test]
fn the_record_survives_the_loss_of_either_place() {
    let mut world = failed(APPLICATION);
    back(&mut world);
    let record = world.key("ConfigMap", "sluice-hold-shop");
    let record = crate::key::ResourceKey { namespace: "argocd".into(), ..record };
    world.objects.remove(&record);
    world.restart();
    world.settle();
    assert!(world.objects.contains_key(&record));
    assert_eq!(world.image("web").as_deref(), Some("web:1"));
    world.delete("Rollout", "web");
    world.settle();
    assert_ne!(world.image("web").as_deref(), Some("web:2"));
}

#[test]
fn a_changed_template_makes_an_entry_moot_and_the_same_content_is_refused_again() {
    let mut world = failed(APPLICATION);
    back(&mut world);
    world.push(V3, &manifests("web:3", "b", "y"));
    world.settle();
    assert_eq!(world.image("web").as_deref(), Some("web:3"));
    world.promote("web");
    world.settle();
    assert_eq!(world.application["status"]["sluice"]["quarantine"][0]["moot"], true);
    assert_eq!(world.application["status"]["sync"]["status"], "Synced");
    world.push(V4, &manifests("web:2", "b", "y"));
    world.settle();
    assert_eq!(world.image("web").as_deref(), Some("web:3"));
    insta::assert_yaml_snapshot!(world.story());
}

#[test]
fn a_released_entry_may_be_tried_again() {
    let mut world = failed(APPLICATION);
    back(&mut world);
    world.annotate("sluice.dev/quarantine-release", "all");
    world.settle();
    assert_eq!(world.application["metadata"]["annotations"], json!({}));
    assert_eq!(world.image("web").as_deref(), Some("web:2"));
    world.canary("web");
    world.now += chrono::Duration::seconds(60);
    world.abort("web");
    world.settle();
    assert_eq!(world.image("web").as_deref(), Some("web:1"), "it failed again, later");
    insta::assert_yaml_snapshot!(world.story());
}

#[test]
fn the_failure_is_recorded_in_both_places_before_anything_else_is_written() {
    let mut world = failed(APPLICATION);
    let log = world.log.join("\n");
    let after = log.split("# Rollout web is aborted\n").nth(1).unwrap();
    assert!(after.starts_with("record ConfigMap argocd/sluice-hold-shop"), "{after}");
    assert_eq!(world.application["status"]["sluice"]["quarantine"][0]["revision"], V2);
    world.settle();
}

#[test]
fn with_scope_hold_the_spec_stays_as_argo_leaves_it() {
    let hold = APPLICATION.replace("  syncPolicy:", "  rollback: {scope: hold}\n  syncPolicy:");
    let mut world = failed(&hold);
    assert_eq!(world.image("web").as_deref(), Some("web:2"));
    world.delete("Rollout", "web");
    world.settle();
    assert_eq!(world.image("web").as_deref(), Some("web:1"), "what failed is not made anew");
    insta::assert_yaml_snapshot!(world.story());
}

#[test]
fn with_rollback_enabled_the_whole_application_goes_back() {
    let whole = APPLICATION.replace("  syncPolicy:", "  rollback: {enabled: true}\n  syncPolicy:");
    let mut world = failed(&whole);
    back(&mut world);
    assert_eq!(world.image("web").as_deref(), Some("web:1"));
    assert_eq!(world.object("ConfigMap", "note").unwrap()["data"]["text"], "x");
    insta::assert_yaml_snapshot!(world.story());
}

#[test]
fn what_failed_is_taken_back_while_git_is_down() {
    let mut world = World::new(APPLICATION);
    world.push(V1, &manifests("web:1", "a", "x"));
    world.settle();
    world.promote("web");
    world.settle();
    world.push(V2, &manifests("web:2", "b", "y"));
    world.settle();
    world.canary("web");
    world.head = Err("connection refused".to_owned());
    world.poll();
    world.settle();
    world.abort("web");
    world.settle();
    assert_eq!(world.image("web").as_deref(), Some("web:1"));
    insta::assert_yaml_snapshot!(world.story());
}

#[test]
fn a_rewritten_history_brings_nothing_back_that_failed() {
    let mut world = failed(APPLICATION);
    back(&mut world);
    // Force-pushed: the branch has neither the failed commit nor the healthy one, and the server gives neither out.
    world.commits.clear();
    world.restart();
    world.push(V3, &manifests("web:2", "b", "z"));
    world.settle();
    assert_eq!(world.image("web").as_deref(), Some("web:1"), "the content is what failed");
    assert_eq!(world.object("ConfigMap", "note").unwrap()["data"]["text"], "z", "the rest syncs");
    world.delete("Rollout", "web");
    world.settle();
    assert_eq!(world.image("web").as_deref(), Some("web:1"), "made from what was kept");
    world.commits.clear();
    world.push(V4, &manifests("web:1", "a", "z"));
    world.settle();
    back(&mut world);
    assert_eq!(world.application["status"]["sluice"]["quarantine"][0]["moot"], true);
    assert_eq!(world.application["status"]["sync"]["status"], "Synced");
}

#[test]
fn a_healthy_commit_that_is_gone_is_said_and_asked_for_again() {
    let check = |application: &str, wanted: &str| {
        let mut world = World::new(application);
        let secret =
            "\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: token}\nstringData: {t: one}\n";
        let version = |image: &str| {
            let manifests = manifests(image, "a", "x");
            manifests.replace("envFrom: [", "envFrom: [{secretRef: {name: token}}, ") + secret
        };
        world.push(V1, &version("web:1"));
        world.settle();
        world.promote("web");
        world.settle();
        world.push(V2, &version("web:2"));
        world.settle();
        world.canary("web");
        let healthy = world.commits.remove(V1).unwrap();
        world.restart();
        world.abort("web");
        world.settle();
        assert_eq!(world.image("web").as_deref(), Some("web:1"), "{}", world.log.join("\n"));
        let said = |world: &World| world.application["status"]["conditions"].to_string();
        assert!(said(&world).contains(wanted), "{}", said(&world));
        world.commits.insert(V1.to_owned(), healthy);
        world.poll();
        world.settle();
        assert!(!said(&world).contains("cannot be rendered"), "{}", said(&world));
    };
    check(
        APPLICATION,
        "commit 11111111 cannot be rendered any more (no such commit): its Secrets are left as they are",
    );
    let whole = APPLICATION.replace("  syncPolicy:", "  rollback: {enabled: true}\n  syncPolicy:");
    check(&whole, "the last healthy commit 11111111 cannot be rendered (no such commit)");
}

#[test]
fn a_rollback_to_a_commit_that_is_gone_says_so() {
    let mut world = World::new(APPLICATION);
    world.push(V1, &manifests("web:1", "a", "x"));
    world.settle();
    world.promote("web");
    world.settle();
    world.application["operation"] =
        json!({ "sync": { "revision": V2 }, "initiatedBy": { "username": "admin" } });
    world.settle();
    let message = &world.application["status"]["operationState"]["message"];
    assert_eq!(*message, "cannot render commit 22222222: no such commit");
    assert_eq!(world.image("web").as_deref(), Some("web:1"));
}
