//! Blue-green updates, rule by rule (`spec-rollouts` 5).

use chrono::Duration;
use serde_json::{Value, json};
use sluice_crds::object::Kind;
use sluice_crds::rollout::status::BlueGreenStatus;

use super::world::World;
use super::{TEMPLATE, abort, promote};
use crate::plan::Lower;

mod aborts;
mod both;
mod properties;
mod switches;

const ROLLOUT: &str = r"
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {name: web}
spec:
  replicas: 4
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: 'web:1'}]}
  strategy:
    blueGreen:
      activeService: web-active
      previewService: web-preview
";

const SERVICES: &str = r"
apiVersion: v1
kind: Service
metadata: {name: web-active}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: web-preview}
spec: {selector: {app: web}, ports: [{port: 80}]}
";

const MANUAL: &str = "      autoPromotionEnabled: false\n";
const PRE: &str = "      prePromotionAnalysis: {templates: [{templateName: errors}]}\n";
const POST: &str = "      postPromotionAnalysis: {templates: [{templateName: errors}]}\n";
const PREVIEW_OF_ONE: &str = "      previewReplicaCount: 1\n";

const V1: &str = "web:1";
const V2: &str = "web:2";
const V3: &str = "web:3";

/// A world before anything is deployed.
fn fresh(fields: &[&str]) -> World {
    let rollout = format!("{ROLLOUT}{}", fields.concat());
    World::new(&[&rollout, SERVICES, TEMPLATE].join("\n---\n"))
}

/// A world in which version 1 serves.
fn serving(fields: &[&str]) -> World {
    let mut world = fresh(fields);
    world.run(Duration::minutes(2));
    assert_eq!(world.phase(), "Healthy", "{}", world.log.join("\n"));
    world.log.clear();
    world.touches = 0;
    world
}

/// A world in which version 2 can be looked at, and users are with version 1.
fn previewing(fields: &[&str]) -> World {
    let mut world = serving(fields);
    world.set_image(V2);
    world.run(Duration::seconds(20));
    assert_eq!(users(&world), V1);
    world.log.clear();
    world
}

/// The image that a Service selects; empty if it selects all.
fn selected(world: &World, service: &str) -> String {
    let hash = &world.get(Kind::SERVICE, service)["spec"]["selector"]["rollouts-pod-template-hash"];
    let of = |image: &&str| json!(world.hash_of(image)) == *hash;
    [V1, V2, V3].into_iter().find(of).unwrap_or_default().to_owned()
}

fn users(world: &World) -> String {
    selected(world, "web-active")
}

fn testers(world: &World) -> String {
    selected(world, "web-preview")
}

fn stable(world: &World) -> String {
    let stable = world.rollout().status.stable_rs.unwrap_or_default();
    [V1, V2, V3].into_iter().find(|image| world.hash_of(image) == stable).unwrap().to_owned()
}

fn own(world: &World) -> BlueGreenStatus {
    world.rollout().status.blue_green.unwrap_or_default()
}

fn pauses(world: &World) -> Vec<String> {
    let pauses = world.rollout().status.pause_conditions.unwrap_or_default();
    pauses.into_iter().map(|pause| pause.reason).collect()
}

/// Ends the run whose name ends so.
fn finish(world: &mut World, suffix: &str, phase: &str) {
    let name = world.runs().into_iter().find(|name| name.ends_with(suffix));
    let name = name.unwrap_or_else(|| panic!("no run …{suffix} among {:?}", world.runs()));
    let status = json!({ "phase": phase, "message": "said the judge" });
    world.edit(Kind::ANALYSIS_RUN, &name, |run| run["status"] = status);
}

fn set(world: &mut World, field: &str, value: Value) {
    world.edit_rollout(|rollout| rollout["spec"][field] = value);
}

fn set_healthy(world: &mut World, image: &str, pods: u32) {
    let hash = world.hash_of(image);
    world.healthy.insert(hash, pods);
    world.settle_pods();
}

fn log_of(world: &World) -> String {
    world.log.join("\n")
}

/// Where in the log something was done.
#[track_caller]
fn place(world: &World, what: &str) -> usize {
    let found = world.log.iter().position(|line| line.contains(what));
    found.unwrap_or_else(|| panic!("`{what}` is not in\n{}", log_of(world)))
}

#[test]
fn rule_1_the_stable_set_follows_replicas_also_while_paused() {
    let mut world = previewing(&[MANUAL]);
    set(&mut world, "paused", json!(true));
    set(&mut world, "replicas", json!(6));
    world.run(Duration::seconds(10));
    assert_eq!((world.sizes(), world.phase()), (vec![6, 6], "Paused".into()));
    set(&mut world, "replicas", json!(3));
    world.run(Duration::minutes(1));
    assert_eq!(world.sizes(), [3, 3]);
    world.check_history();
}

#[test]
fn rule_2_a_preview_has_its_own_size_until_the_pause_is_over() {
    let mut world = previewing(&[MANUAL, PREVIEW_OF_ONE]);
    assert_eq!((world.sizes(), pauses(&world)), (vec![4, 1], vec!["BlueGreenPause".into()]));
    set(&mut world, "replicas", json!(6));
    world.run(Duration::seconds(10));
    assert_eq!(world.sizes(), [6, 1]);
    promote(&mut world);
    world.run(Duration::seconds(10));
    assert_eq!((world.sizes(), users(&world)), (vec![6, 6], V2.into()));
    world.check_history();
}

#[test]
fn rule_2_full_promotion_gives_the_preview_its_full_size_at_once() {
    let mut world = previewing(&[MANUAL, PREVIEW_OF_ONE]);
    world.edit_rollout(|rollout| rollout["status"]["promoteFull"] = json!(true));
    world.run(Duration::seconds(5));
    assert_eq!((world.sizes(), users(&world), stable(&world)), (vec![4, 4], V2.into(), V2.into()));
    assert_eq!(world.rollout().status.promote_full, None);
    world.check_history();
}

#[test]
fn rule_3_no_pause_begins_before_the_preview_is_whole() {
    let mut world = serving(&[MANUAL]);
    set_healthy(&mut world, V2, 3);
    world.set_image(V2);
    world.run(Duration::minutes(1));
    assert_eq!((pauses(&world), world.phase()), (vec![], "Progressing".into()));
    set_healthy(&mut world, V2, 4);
    world.run(Duration::seconds(5));
    assert_eq!((pauses(&world), world.phase()), (vec!["BlueGreenPause".into()], "Paused".into()));
    world.check_history();
}

#[test]
fn rule_4_who_switches_and_when() {
    let after = |fields: &[&str], seconds: i64| {
        let mut world = serving(fields);
        world.set_image(V2);
        world.run(Duration::seconds(seconds));
        world.check_history();
        (users(&world), pauses(&world).join(","))
    };
    let timed = "      autoPromotionSeconds: 40\n";
    let (old, new) = (V1.to_owned(), V2.to_owned());
    let pause = || "BlueGreenPause".to_owned();
    assert_eq!(after(&[], 5), (new.clone(), String::new()), "at once by default");
    assert_eq!(after(&[timed], 35), (old.clone(), pause()), "after a while");
    assert_eq!(after(&[timed], 50), (new, String::new()));
    assert_eq!(after(&[MANUAL], 3000), (old.clone(), pause()), "on a word");
    assert_eq!(after(&[MANUAL, timed], 3000), (old, pause()), "seconds count only if enabled");
}

#[test]
fn rule_4_a_word_ends_the_pause() {
    let mut world = previewing(&[MANUAL]);
    promote(&mut world);
    world.run(Duration::minutes(2));
    insta::assert_snapshot!(log_of(&world));
    assert_eq!((world.phase(), world.sizes()), ("Healthy".into(), vec![0, 4]));
    world.check_history();
}

#[test]
fn rule_4_a_word_that_finds_too_few_pods_is_not_forgotten() {
    let mut world = previewing(&[MANUAL]);
    set_healthy(&mut world, V2, 2);
    promote(&mut world);
    world.run(Duration::minutes(1));
    assert_eq!((users(&world), pauses(&world)), (V1.into(), vec![]));
    set_healthy(&mut world, V2, 4);
    world.run(Duration::seconds(5));
    assert_eq!(users(&world), V2);
    world.check_history();
}

#[test]
fn rule_6_the_check_point_is_passed_once() {
    let mut world = previewing(&[MANUAL, PREVIEW_OF_ONE]);
    assert_eq!(own(&world).scale_up_preview_check_point, None);
    set_healthy(&mut world, V2, 2);
    promote(&mut world);
    world.run(Duration::minutes(1));
    assert_eq!((users(&world), world.sizes()), (V1.into(), vec![4, 4]), "it grows first");
    assert_eq!(own(&world).scale_up_preview_check_point, Some(true));
    set(&mut world, "paused", json!(true));
    world.run(Duration::minutes(1));
    assert_eq!(world.sizes(), [4, 4], "a pause takes nothing away");
    set(&mut world, "paused", json!(false));
    world.set_image(V3);
    world.run(Duration::seconds(10));
    assert_eq!(own(&world).scale_up_preview_check_point, None, "a new version starts anew");
    assert_eq!(world.sizes()[2], 1);
    promote(&mut world);
    world.run(Duration::seconds(10));
    assert_eq!((stable(&world), own(&world).scale_up_preview_check_point), (V3.into(), None));
    world.check_history();
}

#[test]
fn rule_7_pre_promotion_analysis_looks_at_a_whole_preview_and_lets_users_pass() {
    let mut world = serving(&[PRE]);
    set_healthy(&mut world, V2, 3);
    world.set_image(V2);
    world.run(Duration::seconds(20));
    assert_eq!(world.runs().len(), 0, "not while a Pod is missing");
    set_healthy(&mut world, V2, 4);
    world.run(Duration::seconds(20));
    let name = world.runs().pop().unwrap();
    assert_eq!(name, format!("web-{}-2-pre", world.hash_of(V2)));
    let run = world.get(Kind::ANALYSIS_RUN, &name);
    assert_eq!(run["metadata"]["labels"]["rollout-type"], "PrePromotion");
    assert_eq!((users(&world), testers(&world)), (V1.into(), V2.into()));
    let recorded = own(&world).pre_promotion_analysis_run_status.unwrap();
    assert_eq!((recorded.name, recorded.status), (name, "Running".into()));
    finish(&mut world, "-pre", "Successful");
    world.run(Duration::seconds(5));
    assert_eq!((users(&world), stable(&world)), (V2.into(), V2.into()));
    assert_eq!(own(&world).pre_promotion_analysis_run_status.unwrap().status, "Successful");
    world.check_history();
}

#[test]
fn rule_7_the_pause_comes_after_the_analysis() {
    let mut world = previewing(&[MANUAL, PRE]);
    assert_eq!(pauses(&world), Vec::<String>::new());
    finish(&mut world, "-pre", "Successful");
    world.run(Duration::seconds(5));
    assert_eq!((users(&world), pauses(&world)), (V1.into(), vec!["BlueGreenPause".into()]));
    promote(&mut world);
    world.run(Duration::seconds(5));
    assert_eq!(users(&world), V2);
    world.check_history();
}

#[test]
fn rule_7_an_inconclusive_analysis_waits_for_a_person_and_then_runs_again() {
    let mut world = previewing(&[PRE]);
    finish(&mut world, "-pre", "Inconclusive");
    world.run(Duration::minutes(5));
    assert_eq!(
        (users(&world), pauses(&world)),
        (V1.into(), vec!["InconclusiveAnalysisRun".into()])
    );
    promote(&mut world);
    world.run(Duration::seconds(5));
    assert_eq!(world.runs().len(), 2, "{}", log_of(&world));
    finish(&mut world, "-pre.1", "Successful");
    world.run(Duration::seconds(5));
    assert_eq!(users(&world), V2);
    world.check_history();
}

#[test]
fn rule_8_post_promotion_analysis_begins_after_the_switch_and_lets_the_version_be_stable() {
    let mut world = serving(&[POST]);
    world.set_image(V2);
    world.run(Duration::seconds(20));
    assert_eq!((users(&world), stable(&world)), (V2.into(), V1.into()));
    let name = world.runs().pop().unwrap();
    assert_eq!(name, format!("web-{}-2-post", world.hash_of(V2)));
    let label = &world.get(Kind::ANALYSIS_RUN, &name)["metadata"]["labels"]["rollout-type"];
    assert_eq!(label, "PostPromotion");
    let status = world.rollout().status;
    assert_eq!(status.message.as_deref(), Some("waiting for analysis to complete"));
    world.run(Duration::minutes(10));
    assert_eq!((world.sizes(), world.phase()), (vec![4, 4], "Progressing".into()));
    finish(&mut world, "-post", "Successful");
    world.run(Duration::minutes(1));
    assert_eq!((stable(&world), world.sizes()), (V2.into(), vec![0, 4]));
    assert_eq!(own(&world).post_promotion_analysis_run_status.unwrap().status, "Successful");
    world.check_history();
}

#[test]
fn rule_9_full_promotion_waits_for_no_verdict_but_for_pods() {
    let mut world = previewing(&[PRE, POST]);
    set_healthy(&mut world, V2, 3);
    world.edit_rollout(|rollout| rollout["status"]["promoteFull"] = json!(true));
    world.run(Duration::seconds(20));
    assert_eq!(users(&world), V1);
    let run = world.runs().pop().unwrap();
    assert_eq!(world.get(Kind::ANALYSIS_RUN, &run)["spec"]["terminate"], true);
    set_healthy(&mut world, V2, 4);
    world.run(Duration::seconds(5));
    assert_eq!((users(&world), stable(&world)), (V2.into(), V2.into()));
    let duration = world.rollout().status.duration.unwrap();
    assert_eq!(duration.completion_status.as_deref(), Some("FastPromoted"));
    world.check_history();
}

#[test]
fn rule_10_the_old_set_stays_for_its_delay_and_follows_replicas() {
    let mut world = serving(&["      scaleDownDelaySeconds: 60\n"]);
    world.set_image(V2);
    world.run(Duration::seconds(10));
    assert_eq!((users(&world), world.sizes()), (V2.into(), vec![4, 4]));
    assert_eq!(world.phase(), "Healthy", "what waits for its end is no work left");
    set(&mut world, "replicas", json!(6));
    world.run(Duration::seconds(10));
    assert_eq!(world.sizes(), [6, 6], "so that going back is a switch and nothing else");
    world.run(Duration::seconds(30));
    assert_eq!(world.sizes(), [6, 6]);
    world.run(Duration::seconds(20));
    assert_eq!(world.sizes(), [0, 6]);
    world.check_history();
}

#[test]
fn rule_10_without_a_delay_the_old_set_goes_once_proxies_follow() {
    let mut world = serving(&["      scaleDownDelaySeconds: 0\n"]);
    world.set_image(V2);
    world.run(Duration::seconds(4));
    assert_eq!((users(&world), world.sizes()), (V2.into(), vec![4, 4]));
    world.run(Duration::seconds(4));
    assert_eq!(world.sizes(), [0, 4]);
    world.check_history();
}

#[test]
fn rule_10_no_more_old_sets_wait_than_may() {
    let fields = "      scaleDownDelaySeconds: 600\n      scaleDownDelayRevisionLimit: 1\n";
    let mut world = serving(&[fields]);
    for image in [V2, V3] {
        world.set_image(image);
        world.run(Duration::seconds(20));
    }
    assert_eq!((users(&world), world.sizes()), (V3.into(), vec![0, 4, 4]));
    world.check_history();
}

#[test]
fn rule_12_the_first_version_waits_for_nothing_but_its_pods() {
    let mut world = fresh(&[MANUAL, PRE, POST, PREVIEW_OF_ONE]);
    set_healthy(&mut world, V1, 3);
    world.run(Duration::seconds(20));
    assert_eq!((users(&world), testers(&world)), (String::new(), V1.into()));
    assert_eq!((stable(&world), world.sizes()), (V1.into(), vec![4]));
    set_healthy(&mut world, V1, 4);
    world.run(Duration::seconds(20));
    assert_eq!((users(&world), world.phase()), (V1.into(), "Healthy".into()));
    assert!(world.runs().is_empty() && pauses(&world).is_empty());
    world.check_history();
}

#[test]
fn rule_12_the_first_deployment_in_order() {
    let mut world = fresh(&[]);
    world.run(Duration::minutes(1));
    insta::assert_snapshot!(log_of(&world));
    world.check_history();
}

#[test]
fn rule_13_the_status_counts_what_serves() {
    let mut world = previewing(&[MANUAL]);
    let check = |world: &World, image: &str| {
        let status = world.rollout().status;
        let selector = format!("app=web,rollouts-pod-template-hash={}", world.hash_of(image));
        assert_eq!(status.selector, Some(selector));
        let counts = [status.hpa_replicas, status.ready_replicas, status.available_replicas];
        assert_eq!(counts, [Some(4); 3]);
        status
    };
    let status = check(&world, V1);
    assert_eq!((status.replicas, status.updated_replicas), (Some(8), Some(4)));
    let own = own(&world);
    assert_eq!(own.active_selector, Some(world.hash_of(V1)));
    assert_eq!(own.preview_selector, Some(world.hash_of(V2)));
    promote(&mut world);
    world.run(Duration::seconds(5));
    check(&world, V2);
}

#[test]
fn events_tell_of_each_switch_with_argos_word() {
    let mut world = previewing(&[MANUAL]);
    promote(&mut world);
    let mut heard = Vec::new();
    for _ in 0..6 {
        let (_, decision) = world.decide();
        let of_actions = decision.plan.actions().flat_map(Lower::notices);
        let all = of_actions.chain(decision.notices.clone());
        heard.extend(all.map(|notice| (notice.reason, notice.message)));
        world.settle_pods();
    }
    let (from, to) = (world.hash_of(V1), world.hash_of(V2));
    let switch = format!("Switched selector for service 'web-active' from '{from}' to '{to}'");
    let reasons: Vec<&str> = heard.iter().map(|(reason, _)| *reason).collect();
    assert_eq!(reasons, ["SwitchService", "RolloutResumed", "RolloutCompleted"]);
    assert_eq!(heard[0].1, switch);
}

#[test]
fn two_decisions_without_new_input_write_nothing() {
    for fields in [&[MANUAL][..], &[PRE], &[POST], &[]] {
        let mut world = serving(fields);
        world.set_image(V2);
        let decision = world.run(Duration::minutes(5));
        assert!(decision.plan.is_empty() && decision.status_write.is_none(), "{fields:?}");
        let before = world.log.len();
        for _ in 0..5 {
            world.decide();
            world.now += Duration::seconds(7);
        }
        assert_eq!(world.log.len(), before, "{}", log_of(&world));
        world.check_history();
    }
}

#[test]
fn the_deadline_watches_pods_and_no_pause() {
    let mut world = serving(&[MANUAL]);
    world.edit_rollout(|rollout| {
        rollout["spec"]["progressDeadlineSeconds"] = json!(60);
        rollout["spec"]["progressDeadlineAbort"] = json!(true);
    });
    world.set_image(V2);
    world.run(Duration::minutes(30));
    assert_eq!(world.phase(), "Paused", "{}", log_of(&world));
    promote(&mut world);
    world.run(Duration::seconds(5));
    assert_eq!((users(&world), stable(&world)), (V2.into(), V2.into()), "{}", log_of(&world));
    set_healthy(&mut world, V3, 3);
    world.set_image(V3);
    world.run(Duration::minutes(3));
    assert_eq!((users(&world), world.phase()), (V2.into(), "Degraded".into()));
    assert_eq!(world.rollout().status.abort, Some(true));
    world.check_history();
}

#[test]
fn a_paused_rollout_switches_nobody() {
    let mut world = serving(&[]);
    set(&mut world, "paused", json!(true));
    world.set_image(V2);
    world.run(Duration::minutes(5));
    assert_eq!((users(&world), testers(&world)), (V1.into(), V1.into()));
    assert_eq!((world.sizes(), world.phase()), (vec![4, 4], "Paused".into()));
    set(&mut world, "paused", json!(false));
    world.run(Duration::seconds(5));
    assert_eq!((users(&world), stable(&world)), (V2.into(), V2.into()));
    world.check_history();
}

#[test]
fn a_canary_that_becomes_blue_green_leaves_its_pods_and_users_alone() {
    let mut world = serving(&[]);
    world.edit_rollout(|rollout| {
        let status = &mut rollout["status"];
        status["currentStepHash"] = json!("abc");
        status["currentStepIndex"] = json!(2);
        status["canary"] = json!({ "currentExperiment": "x" });
    });
    world.run(Duration::minutes(1));
    let status = world.rollout().status;
    assert_eq!(
        (status.canary, status.current_step_hash, status.current_step_index),
        (None, None, None)
    );
    assert_eq!((world.sizes(), world.phase()), (vec![4], "Healthy".into()));
    world.check_history();
}
