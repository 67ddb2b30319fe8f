use serde_json::json;

use super::world::{APPLICATION, V1, V2, World};

const TWO: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: a}
data: {a: b}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {ports: [{port: 80}]}
";

fn synced() -> World {
    let mut world = World::new(APPLICATION);
    world.push(V1, TWO);
    world.settle();
    world.log.clear();
    world
}

#[test]
fn a_vanished_branch_keeps_the_last_good_revision() {
    let mut world = synced();
    world.head = Err("no branch `main`".to_owned());
    world.poll();
    world.settle();
    world.delete("ConfigMap", "a");
    world.settle();
    assert!(world.object("Service", "web").is_some());
    insta::assert_yaml_snapshot!(world.story());
    world.head = Ok(V1.to_owned());
    world.poll();
    world.settle();
    assert_eq!(world.application["status"]["sync"]["status"], "Synced");
}

#[test]
fn a_commit_that_does_not_render_changes_nothing() {
    let mut world = synced();
    world.commits.insert(V2.to_owned(), Err("deploy/x.yaml:3: not YAML".to_owned()));
    world.head = Ok(V2.to_owned());
    world.poll();
    world.settle();
    insta::assert_yaml_snapshot!(world.story());
}

#[test]
fn a_manifest_without_a_name_changes_nothing() {
    let mut world = synced();
    world.push(V2, &format!("{TWO}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{}}\n"));
    world.settle();
    insta::assert_yaml_snapshot!(world.story());
}

#[test]
fn a_refused_object_is_named_and_the_others_go_on() {
    let mut world = synced();
    let key = world.key("ConfigMap", "a");
    world.refuses.insert(key.clone(), "denied by policy `no-c`".to_owned());
    world.push(V2, &TWO.replace("a: b", "a: c").replace("port: 80", "port: 81"));
    for _ in 0..8 {
        world.settle();
        world.now += chrono::Duration::seconds(200);
    }
    assert_eq!(world.object("Service", "web").unwrap()["spec"]["ports"][0]["port"], 81);
    insta::assert_yaml_snapshot!(world.story());
}

#[test]
fn what_the_project_forbids_is_not_written() {
    let mut world = synced();
    world.project["spec"]["namespaceResourceBlacklist"] =
        json!([{ "group": "", "kind": "Service" }]);
    world.push(V2, &TWO.replace("port: 80", "port: 81"));
    world.settle();
    world.now += chrono::Duration::seconds(2000);
    world.settle();
    assert_eq!(world.object("Service", "web").unwrap()["spec"]["ports"][0]["port"], 80);
    world.project["spec"]["sourceRepos"] = json!(["https://other.example.com/*"]);
    world.settle();
    insta::assert_yaml_snapshot!(world.story());
}

#[test]
fn a_contradictory_spec_says_all_that_is_wrong() {
    let bad = APPLICATION
        .replace("{name: in-cluster, namespace: shop}", "{name: other, namespace: shop}")
        .replace(", path: deploy", "");
    let mut world = World::new(&bad);
    world.push(V1, TWO);
    world.settle();
    insta::assert_yaml_snapshot!(world.story());
}

#[test]
fn what_is_not_acted_on_is_said_and_the_rest_is_synced() {
    let asking = APPLICATION
        .replace(
            "path: deploy}",
            "path: deploy, kustomize: {kubeVersion: '1.36', apiVersions: [v1]}}",
        )
        .replace(
            "  syncPolicy: {",
            "  refreshInterval: often\n  syncPolicy: {syncOptions: ['Replace=true'], ",
        );
    let mut world = World::new(&asking);
    world.project["metadata"] = json!({ "name": "default" });
    let spec = &mut world.project["spec"];
    spec["orphanedResources"] = json!({ "warn": true });
    spec["destinationServiceAccounts"] = json!([{ "server": "*", "defaultServiceAccount": "ci" }]);
    spec["roles"] = json!([{ "name": "dev" }]);
    spec["sourceNamespaces"] = json!(["apps"]);
    world.push(V1, TWO);
    world.settle();
    assert_eq!(world.application["status"]["sync"]["status"], "Synced");
    world.log.clear();
    insta::assert_yaml_snapshot!(world.story());
}

#[test]
fn what_a_project_demands_and_nobody_checks_stops_its_applications() {
    let check = |field: &str, value: serde_json::Value, by_hand: bool| {
        let mut world = synced();
        world.project["metadata"] = json!({ "name": "default" });
        world.project["spec"][field] = value;
        world.push(V2, &TWO.replace("port: 80", "port: 81"));
        world.settle();
        let port = |world: &World| {
            world.object("Service", "web").unwrap()["spec"]["ports"][0]["port"].clone()
        };
        assert_eq!(port(&world), 80, "{field}");
        let said = world.application["status"]["conditions"].to_string();
        assert!(said.contains(&format!("AppProject default: spec.{field}")), "{said}");
        world.application["operation"] = json!({ "sync": {} });
        world.settle();
        assert_eq!(port(&world) == 81, by_hand, "{field}");
    };
    check("signatureKeys", json!([{ "keyID": "4AEE18F83AFDEB23" }]), false);
    check(
        "sourceIntegrity",
        json!({ "git": { "policies": [{ "repos": [{ "url": "*" }] }] } }),
        false,
    );
    check("permitOnlyProjectScopedClusters", json!(true), false);
    let window = json!([{ "kind": "deny", "schedule": "* * * * *", "duration": "1h", "applications": ["*"] }]);
    check("syncWindows", window, true);
}

#[test]
fn a_kind_that_is_not_installed_is_named_and_the_others_go_on() {
    let mut world = synced();
    let more = "\n---\napiVersion: example.com/v1\nkind: Widget\nmetadata: {name: w}\n";
    world.push(V2, &format!("{}{more}", TWO.replace("port: 80", "port: 81")));
    for _ in 0..8 {
        world.settle();
        world.now += chrono::Duration::seconds(200);
    }
    assert_eq!(world.object("Service", "web").unwrap()["spec"]["ports"][0]["port"], 81);
    insta::assert_yaml_snapshot!(world.story());
}

#[test]
fn another_controller_is_noticed_and_nothing_is_written() {
    let mut world = synced();
    let mut view = world.view();
    view.foreign_controller = Some("field manager `argocd-controller` wrote it".to_owned());
    let decision = <crate::ApplicationReconciler as sluice_engine::plan::Reconciler>::decide(&view);
    assert!(decision.plan.is_empty() && decision.tasks.is_empty());
    let condition = &decision.status.conditions[0];
    assert_eq!(condition.condition_type, "ForeignController");
    world.log.clear();
}
