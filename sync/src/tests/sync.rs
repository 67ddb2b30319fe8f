use serde_json::json;

use super::world::{APPLICATION, V1, V2, World};

const WAVES: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: late, annotations: {argocd.argoproj.io/sync-wave: '1'}}
data: {a: b}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: early}
spec: {replicas: 1, selector: {matchLabels: {app: a}}, template: {metadata: {labels: {app: a}}, spec: {containers: [{name: a, image: a}]}}}
---
apiVersion: v1
kind: Service
metadata: {name: early}
spec: {ports: [{port: 80}]}
";

fn healthy(world: &mut World) {
    world.edit("Deployment", "early", |deployment| {
        deployment["status"] =
            json!({ "observedGeneration": 9, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1 });
    });
}

#[test]
fn a_wave_waits_for_the_one_before_it_to_be_healthy() {
    let mut world = World::new(APPLICATION);
    world.push(V1, WAVES);
    world.settle();
    assert!(world.object("ConfigMap", "late").is_none());
    insta::assert_yaml_snapshot!(world.story());
    healthy(&mut world);
    world.settle();
    assert!(world.object("ConfigMap", "late").is_some());
    insta::assert_yaml_snapshot!(world.story());
}

#[test]
fn what_a_rollout_names_is_created_before_it() {
    let mut world = World::new(APPLICATION);
    // In the order of Git and of the alphabet, what a Rollout names comes after it.
    let manifest = |kind: &str, version: &str| {
        format!("\napiVersion: {version}\nkind: {kind}\nmetadata: {{name: web}}\nspec: {{}}\n")
    };
    let manifests = [
        manifest("Rollout", "argoproj.io/v1alpha1"),
        manifest("VirtualService", "networking.istio.io/v1"),
        manifest("DestinationRule", "networking.istio.io/v1"),
        manifest("AnalysisTemplate", "argoproj.io/v1alpha1"),
        manifest("Service", "v1"),
    ];
    world.push(V1, &manifests.join("---"));
    world.settle();
    let created: Vec<&str> =
        world.log.iter().filter(|l| l.starts_with("create")).map(|l| &**l).collect();
    assert_eq!(created.len(), manifests.len(), "{created:?}");
    assert!(created[0].contains("Service") && created[4].contains("Rollout"), "{created:?}");
}

#[test]
fn two_decisions_without_news_write_nothing() {
    let mut world = World::new(APPLICATION);
    world.push(V1, WAVES);
    world.settle();
    healthy(&mut world);
    world.settle();
    world.log.clear();
    let before = world.application.clone();
    world.poll();
    world.settle();
    assert_eq!(world.application, before);
    assert_eq!(world.log, Vec::<String>::new());
}

#[test]
fn self_heal_undoes_an_edit_and_gives_up_on_somebody_who_insists() {
    let mut world = World::new(APPLICATION);
    world.push(V1, "\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: b}\n");
    world.settle();
    let mut healed = 0;
    for _ in 0..8 {
        world.edit("ConfigMap", "a", |map| map["data"]["a"] = json!("c"));
        world.now += chrono::Duration::seconds(60);
        world.settle();
        if world.object("ConfigMap", "a").unwrap()["data"]["a"] == "b" {
            healed += 1;
        }
    }
    assert_eq!(healed, 5);
    world.log.clear();
    insta::assert_yaml_snapshot!(world.story());
    world.now += chrono::Duration::minutes(11);
    world.settle();
    assert_eq!(world.object("ConfigMap", "a").unwrap()["data"]["a"], "b");
}

#[test]
fn without_self_heal_an_edit_stays_and_is_shown() {
    let mut world = World::new(&APPLICATION.replace(", selfHeal: true", ""));
    world.push(V1, "\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: b}\n");
    world.settle();
    world.edit("ConfigMap", "a", |map| map["data"]["a"] = json!("c"));
    world.settle();
    assert_eq!(world.object("ConfigMap", "a").unwrap()["data"]["a"], "c");
    assert_eq!(world.application["status"]["sync"]["status"], "OutOfSync");
}

#[test]
fn an_application_that_is_not_automated_waits_for_a_sync_by_hand() {
    let manual =
        APPLICATION.replace("  syncPolicy: {automated: {prune: true, selfHeal: true}}\n", "");
    let mut world = World::new(&manual);
    world.push(V1, WAVES);
    world.settle();
    assert!(world.object("Service", "early").is_none());
    world.application["operation"] = json!({ "sync": { "dryRun": true } });
    world.settle();
    assert!(world.object("Service", "early").is_none());
    world.application["operation"] =
        json!({ "sync": { "resources": [{ "kind": "Service", "name": "early" }] } });
    world.settle();
    assert!(world.object("Service", "early").is_some());
    assert!(world.object("Deployment", "early").is_none());
    insta::assert_yaml_snapshot!(world.story());
}

#[test]
fn a_rollback_by_hand_holds_until_git_moves_on() {
    let map = |text: &str| {
        format!("\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\ndata: {{a: {text}}}\n")
    };
    let mut world = World::new(APPLICATION);
    world.push(V1, &map("one"));
    world.settle();
    world.push(V2, &map("two"));
    world.settle();
    world.application["operation"] =
        json!({ "sync": { "revision": V1 }, "initiatedBy": { "username": "admin" } });
    world.settle();
    world.restart();
    world.poll();
    world.settle();
    assert_eq!(world.object("ConfigMap", "a").unwrap()["data"]["a"], "one");
    insta::assert_yaml_snapshot!(world.story());
    world.push(super::world::V3, &map("three"));
    world.settle();
    assert_eq!(world.object("ConfigMap", "a").unwrap()["data"]["a"], "three");
}

#[test]
fn a_missing_namespace_is_created_if_the_application_says_so() {
    let with =
        APPLICATION.replace("{automated", "{syncOptions: ['CreateNamespace=true'], automated");
    let check = |application: &str| {
        let mut world = World::new(application);
        world.delete("Namespace", "shop");
        world.push(V1, WAVES);
        world.settle();
        world
    };
    assert!(check(&with).object("Namespace", "shop").is_some());
    let mut without = check(APPLICATION);
    assert!(without.object("Namespace", "shop").is_none());
    insta::assert_yaml_snapshot!(without.story());
}

#[test]
fn a_comparison_shows_what_a_sync_would_change_and_writes_nothing() {
    let mut world = World::new(APPLICATION);
    world.push(V1, WAVES);
    world.settle();
    world.edit("Service", "early", |service| service["spec"]["ports"][0]["port"] = json!(81));
    let comparison = crate::compare_view(&world.view()).unwrap();
    let open: Vec<_> = comparison.items.iter().filter(|item| item.is_open()).collect();
    assert_eq!(open.len(), 2, "the edited Service, and the ConfigMap of a later wave");
    let service = open.iter().find(|item| item.key.kind == "Service").unwrap();
    let shown = crate::compare::masked(&service.key, &service.differences);
    assert_eq!(shown[0].field(), "spec.ports[0]");
    world.restart();
    let why = crate::compare_view(&world.view()).unwrap_err();
    assert!(why.contains("resolving `HEAD`"), "{why}");
}

#[test]
fn what_a_sync_by_hand_asks_for_in_vain_is_said() {
    let mut world = World::new(APPLICATION);
    world.push(V1, WAVES);
    world.settle();
    healthy(&mut world);
    world.settle();
    world.application["operation"] = json!({ "sync": {
        "syncOptions": ["Replace=true", "Prune=true"],
        "syncStrategy": { "hook": { "force": true } },
    } });
    world.settle();
    assert_eq!(
        world.application["status"]["operationState"]["message"],
        "successfully synced (all tasks run); operation.sync.syncStrategy.hook.force: accepted, not acted on yet; \
         operation.sync.syncOptions[0]: `Replace=true`: accepted, not acted on yet"
    );
}
