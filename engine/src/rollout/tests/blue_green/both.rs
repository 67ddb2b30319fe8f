//! What both strategies have: other workloads, restarts, metadata of roles, anti-affinity, times and words.

use chrono::Duration;
use serde_json::{Value, json};
use sluice_crds::labels;
use sluice_crds::object::Kind;

use super::super::world::World;
use super::super::{TEMPLATE, promote};
use super::{
    MANUAL, PRE, SERVICES, V1, V2, finish, fresh, log_of, previewing, serving, set_healthy, stable,
    users,
};

const ROLES: &str = r"
      previewMetadata: {labels: {role: preview}, annotations: {note: fresh}}
      activeMetadata: {labels: {role: active}}
";
const APART: &str = "      antiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {}}\n";

fn with_pods(fields: &[&str]) -> World {
    let mut world = fresh(fields);
    world.with_pods = true;
    world.run(Duration::minutes(2));
    assert_eq!(world.phase(), "Healthy", "{}", log_of(&world));
    world.log.clear();
    world
}

/// The label `role` of each Pod of the image's revision.
fn roles(world: &World, image: &str) -> Vec<Value> {
    let prefix = format!("web-{}-", world.hash_of(image));
    world.pods(&prefix).iter().map(|pod| pod["labels"]["role"].clone()).collect()
}

#[test]
fn pods_carry_the_metadata_of_their_role_also_when_it_changes() {
    let mut world = with_pods(&[ROLES, MANUAL]);
    assert_eq!(roles(&world, V1), vec![json!("active"); 4]);
    world.set_image(V2);
    world.run(Duration::seconds(20));
    assert_eq!(roles(&world, V2), vec![json!("preview"); 4]);
    assert_eq!(roles(&world, V1), vec![json!("active"); 4]);
    promote(&mut world);
    world.run(Duration::seconds(20));
    assert_eq!((users(&world), stable(&world)), (V2.to_owned(), V2.to_owned()));
    assert_eq!(roles(&world, V2), vec![json!("active"); 4], "{}", log_of(&world));
    assert_eq!(roles(&world, V1), vec![Value::Null; 4], "the former version plays no role");
    world.check_history();
}

#[test]
fn a_new_version_is_kept_off_the_nodes_of_the_stable_one_until_it_is_stable() {
    let terms = |world: &World, image: &str| {
        let set = world.see(Kind::REPLICA_SET, &format!("web-{}", world.hash_of(image)));
        set["spec"]["template"]["spec"]["affinity"].clone()
    };
    let mut world = serving(&[APART, MANUAL]);
    assert_eq!(terms(&world, V1), Value::Null, "nothing to keep off");
    world.set_image(V2);
    world.run(Duration::seconds(20));
    let path = "/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution/0/labelSelector/matchExpressions/0/values/0";
    assert_eq!(terms(&world, V2).pointer(path), Some(&json!(world.hash_of(V1))));
    promote(&mut world);
    world.run(Duration::minutes(2));
    assert_eq!((world.phase(), terms(&world, V2)), ("Healthy".to_owned(), Value::Null));
    world.check_history();
}

#[test]
fn a_restart_replaces_the_pods_of_both_versions_and_moves_nobody() {
    let mut world = with_pods(&[MANUAL]);
    world.set_image(V2);
    world.run(Duration::seconds(20));
    let names = |world: &World| -> Vec<String> {
        world.pods("web-").iter().map(|pod| pod["name"].to_string()).collect()
    };
    let old = names(&world);
    world.now += Duration::seconds(5);
    let at = world.now.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    world.edit_rollout(|rollout| rollout["spec"]["restartAt"] = json!(at));
    world.run(Duration::seconds(20));
    let new = names(&world);
    assert!(new.len() == 8 && !new.iter().any(|name| old.contains(name)), "{old:?} {new:?}");
    let rollout = world.rollout();
    assert_eq!(rollout.status.restarted_at, rollout.spec.restart_at);
    assert_eq!((users(&world), world.phase()), (V1.to_owned(), "Paused".to_owned()));
    world.check_history();
}

const DEPLOYMENT: &str = r"
apiVersion: apps/v1
kind: Deployment
metadata: {name: src}
spec:
  replicas: 4
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: 'web:1'}]}
";

fn of_deployment(scale_down: &str) -> World {
    let rollout = format!(
        "
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {{name: web}}
spec:
  replicas: 4
  workloadRef: {{apiVersion: apps/v1, kind: Deployment, name: src, scaleDown: {scale_down}}}
  strategy:
    blueGreen:
      activeService: web-active
      previewService: web-preview
      autoPromotionEnabled: false
"
    );
    World::new(&[&rollout, DEPLOYMENT, SERVICES, TEMPLATE].join("\n---\n"))
}

fn of_the_deployment(world: &World) -> u64 {
    world.see(Kind::DEPLOYMENT, "src")["spec"]["replicas"].as_u64().unwrap()
}

#[test]
fn a_deployment_gives_way_to_the_first_version() {
    for scale_down in ["progressively", "onsuccess"] {
        let mut world = of_deployment(scale_down);
        let hash = world.hash_of(V1);
        world.healthy.insert(hash, 1);
        world.run(Duration::minutes(1));
        let kept = if scale_down == "progressively" { 3 } else { 4 };
        assert_eq!(of_the_deployment(&world), kept, "{scale_down}: {}", log_of(&world));
        set_healthy(&mut world, V1, 4);
        world.run(Duration::minutes(2));
        assert_eq!((of_the_deployment(&world), world.phase()), (0, "Healthy".to_owned()));
        world.check_history();
    }
}

#[test]
fn a_change_of_the_deployment_is_a_blue_green_update() {
    let mut world = of_deployment("never");
    world.run(Duration::minutes(2));
    world.edit(Kind::DEPLOYMENT, "src", |deployment| {
        deployment["spec"]["template"]["spec"]["containers"][0]["image"] = json!(V2);
    });
    world.run(Duration::seconds(20));
    assert_eq!((users(&world), world.phase()), (V1.to_owned(), "Paused".to_owned()));
    assert_eq!(world.rollout().meta.annotations[labels::WORKLOAD_GENERATION], "2");
    promote(&mut world);
    world.run(Duration::minutes(2));
    assert_eq!((users(&world), world.phase()), (V2.to_owned(), "Healthy".to_owned()));
    assert_eq!(of_the_deployment(&world), 4, "never scaled");
    world.check_history();
}

#[test]
fn the_time_that_people_took_before_the_switch_is_counted() {
    let mut world = previewing(&[MANUAL]);
    assert!(world.rollout().status.duration.unwrap().manual_pause_started_at.is_some());
    world.now += Duration::minutes(10);
    promote(&mut world);
    world.run(Duration::minutes(2));
    let duration = world.rollout().status.duration.unwrap();
    let paused = duration.total_manual_pause_duration_seconds.unwrap();
    assert!((600..660).contains(&paused), "{paused}");
    assert_eq!(duration.completion_status.as_deref(), Some("Promoted"));
    assert!(duration.finished_at.is_some() && duration.manual_pause_started_at.is_none());
}

#[test]
fn a_run_before_the_switch_is_told_with_argos_words() {
    let mut world = serving(&[PRE, MANUAL]);
    world.set_image(V2);
    world.run(Duration::seconds(20));
    finish(&mut world, "-pre", "Successful");
    let (_, decision) = world.decide();
    let said = |reason: &str| {
        let notice = decision.notices.iter().find(|notice| notice.reason == reason);
        notice.map(|notice| notice.message.clone()).unwrap_or_default()
    };
    let message = said("AnalysisRunSuccessful");
    assert!(
        message.starts_with("PrePromotion Analysis Run 'web-") && message.contains("'Successful'"),
        "{message} of {:?}",
        decision.notices
    );
}
