//! What a Rollout does, told by scenarios in a small world: writes in order, in words.

use chrono::Duration;
use serde_json::{Value, json};
use sluice_crds::object::{Kind, ObjectRef};

use crate::plan::{Reconciler, WakeReason};
use crate::rollout::RolloutReconciler;

mod blue_green;
mod contention;
mod deadlines;
mod dynamic;
mod ephemeral;
mod experiments;
mod losses;
mod managed;
mod ping_pong;
mod properties;
mod restart;
mod tables;
mod times;
mod versions;
mod workload;
mod world;

use world::World;

const ROLLOUT: &str = r"
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {name: web}
spec:
  replicas: 5
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: 'web:1'}]}
  strategy:
    canary:
";

const HOSTS: &str = r"
      canaryService: web-canary
      stableService: web-stable
      trafficRouting: {istio: {virtualService: {name: web, routes: [primary]}}}
";

const SUBSETS: &str = r"
      trafficRouting:
        istio:
          virtualService: {name: web}
          destinationRule: {name: web, canarySubsetName: canary, stableSubsetName: stable}
";

const STEPS: &str = r"
      steps:
      - setWeight: 20
      - pause: {duration: 30}
      - setWeight: 60
      - pause: {}
      - setWeight: 100
";

const NETWORK: &str = r"
apiVersion: v1
kind: Service
metadata: {name: web-canary}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: web-stable}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web}
spec:
  hosts: [web]
  http:
  - name: primary
    retries: {attempts: 3}
    route:
    - {destination: {host: web-stable}, weight: 100}
    - {destination: {host: web-canary}, weight: 0}
";

const SUBSET_NETWORK: &str = r"
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web}
spec:
  hosts: [web]
  http:
  - route:
    - {destination: {host: web, subset: stable}, weight: 100}
    - {destination: {host: web, subset: canary}, weight: 0}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web}
spec:
  host: web
  subsets:
  - {name: canary, labels: {app: web}}
  - {name: stable, labels: {app: web}}
";

const TEMPLATE: &str = r#"
apiVersion: argoproj.io/v1alpha1
kind: AnalysisTemplate
metadata: {name: errors}
spec:
  metrics:
  - name: errors
    interval: 10s
    count: 3
    successCondition: result[0] < 0.05
    failureLimit: 0
    provider: {prometheus: {address: 'http://prometheus', query: errors}}
"#;

/// A world before anything is deployed.
fn fresh(strategy: &[&str], network: &[&str]) -> World {
    let rollout = format!("{ROLLOUT}{}", strategy.concat().replace("\n\n", "\n"));
    let mut documents = vec![rollout];
    documents.extend(network.iter().map(|text| (*text).to_owned()));
    World::new(&documents.join("\n---\n"))
}

/// A world in which version 1 serves.
fn serving(strategy: &[&str], network: &[&str]) -> World {
    let mut world = fresh(strategy, network);
    world.run(Duration::minutes(2));
    assert_eq!(world.phase(), "Healthy", "{}", world.log.join("\n"));
    world.log.clear();
    world.touches = 0;
    world
}

fn hosts() -> World {
    serving(&[HOSTS, STEPS], &[NETWORK])
}

/// A world in which version 2 has 60 % and waits for a word.
fn midway() -> World {
    let mut world = hosts();
    world.set_image("web:2");
    world.run(Duration::minutes(2));
    assert_eq!(world.weight(), 60);
    world.log.clear();
    world
}

fn promote(world: &mut World) {
    world.edit_rollout(|rollout| rollout["status"]["pauseConditions"] = Value::Null);
}

fn abort(world: &mut World) {
    world.edit_rollout(|rollout| rollout["status"]["abort"] = json!(true));
}

#[test]
fn the_first_version_is_deployed_at_once() {
    let mut world = fresh(&[HOSTS, STEPS], &[NETWORK]);
    world.run(Duration::minutes(2));
    insta::assert_snapshot!(world.log.join("\n"));
    world.check_history();
}

#[test]
fn a_canary_goes_step_by_step_and_is_promoted() {
    let mut world = hosts();
    world.set_image("web:2");
    world.run(Duration::minutes(2));
    promote(&mut world);
    world.run(Duration::minutes(2));
    insta::assert_snapshot!(world.log.join("\n"));
    assert!(world.log.len() <= 22, "{} writes", world.log.len());
    assert_eq!(world.touches, 0, "the term is fenced");
    assert_eq!(world.phase(), "Healthy");
    world.check_history();
}

#[test]
fn a_canary_by_subsets_goes_the_same_way() {
    let mut world = serving(&[SUBSETS, STEPS], &[SUBSET_NETWORK]);
    world.set_image("web:2");
    world.run(Duration::minutes(2));
    promote(&mut world);
    world.run(Duration::minutes(2));
    insta::assert_snapshot!(world.log.join("\n"));
    assert_eq!(world.phase(), "Healthy");
    world.check_history();
}

#[test]
fn a_canary_without_router_keeps_within_its_bounds() {
    let strategy = "\n      maxSurge: 1\n      maxUnavailable: 0\n";
    let mut world = serving(&[strategy, STEPS], &[]);
    world.set_image("web:2");
    world.run(Duration::minutes(2));
    promote(&mut world);
    world.run(Duration::minutes(2));
    insta::assert_snapshot!(world.log.join("\n"));
    assert_eq!(world.phase(), "Healthy");
}

#[test]
fn an_update_without_steps_is_a_rolling_update() {
    let mut world = serving(&["\n      maxSurge: 2\n"], &[]);
    world.set_image("web:2");
    world.run(Duration::minutes(2));
    insta::assert_snapshot!(world.log.join("\n"));
    assert_eq!(world.sizes(), [0, 5]);
}

#[test]
fn an_abort_begins_with_the_weight() {
    let mut world = midway();
    abort(&mut world);
    world.run(Duration::minutes(2));
    insta::assert_snapshot!(world.log.join("\n"));
    assert!(world.log.len() <= 8);
    assert_eq!(world.weight(), 0);
    assert_eq!(world.sizes(), [5, 0]);
    world.check_history();
}

#[test]
fn a_canary_with_weight_keeps_a_pod_whatever_its_step_declares() {
    let steps = "      steps:
      - setWeight: 40
      - setCanaryScale: {replicas: 0}
      - pause: {duration: 60}
      - setWeight: 60
";
    let mut world = serving(&[HOSTS, steps], &[NETWORK]);
    world.set_image("web:2");
    world.run(Duration::seconds(20));
    assert_eq!((world.weight(), world.sizes()), (40, vec![5, 2]));
    // The scale-down delay is over: as small as the step says, but for one.
    world.run(Duration::seconds(30));
    assert_eq!((world.weight(), world.sizes()), (40, vec![5, 1]));
    // And the next weight is not waited for in vain.
    world.run(Duration::minutes(5));
    assert_eq!(world.phase(), "Healthy");
    world.check_history();
}

#[test]
fn an_abort_takes_as_much_as_the_stable_set_can_carry() {
    let mut world = midway();
    let stable = world.rollout().status.stable_rs.unwrap();
    world.healthy.insert(stable.clone(), 3);
    world.settle();
    abort(&mut world);
    world.settle();
    assert_eq!(world.weight(), 40, "3 of 5 stable Pods carry 60 %");
    world.healthy.remove(&stable);
    world.settle();
    assert_eq!(world.weight(), 0);
    world.check_history();
}

#[test]
fn a_retry_starts_anew_with_a_new_attempt() {
    let mut world = midway();
    abort(&mut world);
    world.run(Duration::seconds(10));
    world.edit_rollout(|rollout| rollout["status"]["abort"] = json!(false));
    world.run(Duration::seconds(10));
    assert_eq!(world.weight(), 20);
    assert_eq!(world.rollout().status.sluice.unwrap().attempt, Some(2));
    world.run(Duration::minutes(2));
    promote(&mut world);
    world.run(Duration::minutes(2));
    assert_eq!((world.phase(), world.sizes()), ("Healthy".into(), vec![0, 5]));
    world.check_history();
}

#[test]
fn a_new_revision_in_the_middle_sends_all_traffic_back_first() {
    let mut world = midway();
    world.set_image("web:3");
    world.run(Duration::seconds(20));
    insta::assert_snapshot!(world.log.join("\n"));
    world.run(Duration::minutes(2));
    assert_eq!(world.sizes(), [5, 0, 3]);
    world.check_history();
}

#[test]
fn going_back_to_the_stable_template_needs_no_steps() {
    let mut world = midway();
    world.set_image("web:1");
    world.run(Duration::minutes(2));
    insta::assert_snapshot!(world.log.join("\n"));
    assert_eq!((world.phase(), world.weight(), world.sizes()), ("Healthy".into(), 0, vec![5, 0]));
    world.check_history();
}

#[test]
fn full_promotion_skips_the_rest_and_waits_for_all_pods() {
    let mut world = midway();
    world.edit_rollout(|rollout| rollout["status"]["promoteFull"] = json!(true));
    world.run(Duration::minutes(2));
    insta::assert_snapshot!(world.log.join("\n"));
    assert_eq!((world.phase(), world.sizes()), ("Healthy".into(), vec![0, 5]));
    world.check_history();
}

#[test]
fn a_paused_rollout_advances_no_step() {
    let mut world = hosts();
    world.edit_rollout(|rollout| rollout["spec"]["paused"] = json!(true));
    world.set_image("web:2");
    world.run(Duration::minutes(5));
    assert_eq!((world.phase(), world.weight()), ("Paused".into(), 0));
    assert_eq!(world.rollout().status.current_step_index, Some(0));
    world.edit_rollout(|rollout| rollout["spec"]["paused"] = json!(false));
    world.run(Duration::minutes(2));
    assert_eq!(world.weight(), 60);
    world.check_history();
}

#[test]
fn an_autoscaler_is_heard_while_a_canary_without_router_is_paused() {
    let mut world = serving(&[STEPS], &[]);
    world.set_image("web:2");
    world.run(Duration::seconds(10));
    let before = world.sizes();
    assert_eq!(before.iter().sum::<i64>(), 5, "{}", world.log.join("\n"));
    world.edit_rollout(|rollout| rollout["spec"]["paused"] = json!(true));
    world.settle();
    world.edit_rollout(|rollout| rollout["spec"]["replicas"] = json!(9));
    world.settle();
    assert_eq!(world.sizes(), [9 - before[1], before[1]], "the stable set grows");
    world.edit_rollout(|rollout| rollout["spec"]["replicas"] = json!(5));
    world.settle();
    assert_eq!(world.sizes(), before);
    assert_eq!(world.phase(), "Paused");
}

#[test]
fn a_skipped_step_is_the_users_word() {
    let mut world = hosts();
    world.set_image("web:2");
    world.run(Duration::seconds(10));
    assert_eq!(world.rollout().status.current_step_index, Some(1));
    world.edit_rollout(|rollout| {
        rollout["status"]["currentStepIndex"] = json!(2);
        rollout["status"]["pauseConditions"] = Value::Null;
    });
    world.run(Duration::seconds(10));
    assert_eq!(world.weight(), 60);
    world.check_history();
}

#[test]
fn a_step_index_that_is_none_is_the_first_step_or_the_end() {
    let low = [-1, i32::MIN].map(|index| (index, 20));
    let high = [6, i32::MAX].map(|index| (index, 100));
    for (index, weight) in low.into_iter().chain(high) {
        let mut world = hosts();
        world.set_image("web:2");
        world.run(Duration::seconds(10));
        assert_eq!(world.weight(), 20);
        world.edit_rollout(|rollout| {
            rollout["status"]["currentStepIndex"] = json!(index);
            rollout["status"]["pauseConditions"] = Value::Null;
            rollout["status"]["controllerPause"] = json!(false);
        });
        world.run(Duration::seconds(10));
        let (reached, end) = (world.weight(), world.phase());
        assert_eq!((reached, end == "Healthy"), (weight % 100, weight == 100), "{index}");
        world.run(Duration::seconds(40));
        promote(&mut world);
        world.run(Duration::seconds(40));
        assert_eq!(world.phase(), "Healthy", "{index}\n{}", world.log.join("\n"));
        world.check_history();
    }
}

#[test]
fn more_replicas_in_the_middle_come_before_any_weight() {
    let mut world = midway();
    world.edit_rollout(|rollout| rollout["spec"]["replicas"] = json!(10));
    world.settle();
    assert_eq!((world.sizes(), world.weight()), (vec![10, 6], 60));
    world.edit_rollout(|rollout| rollout["spec"]["replicas"] = json!(5));
    world.run(Duration::minutes(1));
    assert_eq!((world.sizes(), world.weight()), (vec![5, 3], 60));
    world.check_history();
}

#[test]
fn weight_waits_for_pods_and_leaves_a_canary_that_lost_all() {
    let mut world = hosts();
    let mut probe = serving(&[HOSTS, STEPS], &[NETWORK]);
    probe.set_image("web:2");
    probe.settle();
    let hash = probe.rollout().status.current_pod_hash.unwrap();
    world.healthy.insert(hash.clone(), 0);
    world.set_image("web:2");
    world.run(Duration::seconds(20));
    assert_eq!(world.weight(), 0);
    world.healthy.remove(&hash);
    world.run(Duration::seconds(20));
    assert_eq!(world.weight(), 20);
    world.healthy.insert(hash, 0);
    world.run(Duration::seconds(20));
    assert_eq!(world.weight(), 0, "no available Pod, no weight");
    world.check_history();
}

#[test]
fn the_progress_deadline_is_said_and_aborts_if_asked() {
    for asked in [false, true] {
        let mut world = hosts();
        world.edit_rollout(|rollout| {
            rollout["spec"]["progressDeadlineSeconds"] = json!(60);
            rollout["spec"]["progressDeadlineAbort"] = json!(asked);
        });
        world.set_image("web:2");
        world.decide();
        let hash = world.hash_of("web:2");
        world.healthy.insert(hash, 0);
        world.run(Duration::minutes(3));
        let status = world.rollout().status;
        let wanted = if asked { "RolloutAborted" } else { "ProgressDeadlineExceeded" };
        let message = status.message.unwrap();
        assert!(message.starts_with(wanted), "{message}");
        assert_eq!(status.phase.as_deref(), Some("Degraded"));
        assert_eq!(status.abort == Some(true), asked);
        world.check_history();
    }
}

#[test]
fn two_decisions_without_new_input_write_nothing() {
    for mut world in [hosts(), midway(), serving(&[SUBSETS, STEPS], &[SUBSET_NETWORK])] {
        let decision = world.run(Duration::minutes(5));
        assert!(decision.plan.is_empty() && decision.status_write.is_none());
        let before = world.log.len();
        for _ in 0..5 {
            world.decide();
            world.now += Duration::seconds(7);
        }
        assert_eq!(world.log.len(), before, "{}", world.log.join("\n"));
    }
}

#[test]
fn a_new_term_touches_each_object_once_and_idle_ones_never() {
    let mut world = hosts();
    world.term = 8;
    world.run(Duration::minutes(5));
    assert_eq!(world.touches, 0, "an idle Rollout is left alone");
    world.set_image("web:2");
    world.run(Duration::minutes(2));
    promote(&mut world);
    world.run(Duration::minutes(2));
    assert_eq!(world.touches, 5, "Rollout, VirtualService, two Services, stable ReplicaSet");
    assert_eq!(world.phase(), "Healthy");
}

#[test]
fn a_set_with_an_unknown_write_behind_it_is_touched_though_it_has_no_pods() {
    let mut world = hosts();
    let old = world.hash_of("web:1");
    world.set_image("web:2");
    world.run(Duration::minutes(2));
    promote(&mut world);
    world.run(Duration::minutes(2));
    assert_eq!(world.sizes(), [0, 5]);
    world.set_image("web:3");
    let mut view = world.view();
    let set = ObjectRef::namespaced(Kind::REPLICA_SET, "shop", format!("web-{old}"));
    let is_touched = |view: &crate::view::RolloutView| {
        let decision = RolloutReconciler::decide(view);
        decision.plan.actions().any(|action| action.target().object == set)
    };
    assert!(!is_touched(&view), "nothing is known against it");
    view.epoch.needed.insert(set.clone(), view.epoch.n);
    assert!(is_touched(&view));
}

#[test]
fn an_older_term_writes_nothing() {
    let mut world = midway();
    world.term = 6;
    abort(&mut world);
    let (wrote, decision) = world.decide();
    assert!(!wrote);
    assert_eq!(decision.report.waiting.len(), 1);
}

#[test]
fn something_missing_is_said_and_freezes_traffic() {
    for (kind, name, wanted) in [
        (Kind::VIRTUAL_SERVICE, "web", "VirtualService shop/web does not exist"),
        (Kind::SERVICE, "web-canary", "service \"web-canary\" not found"),
    ] {
        let mut world = midway();
        let address = ObjectRef::namespaced(kind.clone(), "shop", name);
        let kept = world.objects[&address].clone();
        world.remove(kind, name);
        world.run(Duration::minutes(1));
        let status = world.rollout().status;
        let message = status.message.clone().unwrap();
        assert!(message.starts_with("InvalidSpec: The Rollout \"web\" is invalid: "), "{message}");
        assert!(message.contains(wanted), "{message}");
        assert_eq!(status.phase.as_deref(), Some("Degraded"));
        let writes = world.log.iter().filter(|line| !line.starts_with("status")).count();
        assert_eq!(writes, 0, "{}", world.log.join("\n"));
        world.objects.insert(address, kept);
        world.settle();
        assert_eq!(world.phase(), "Paused");
    }
}

#[test]
fn a_service_of_two_rollouts_is_refused() {
    let mut world = hosts();
    let service = ObjectRef::namespaced(Kind::SERVICE, "shop", "web-canary");
    world.claims.insert(service, "shop/other".to_owned());
    world.set_image("web:2");
    world.run(Duration::minutes(1));
    let message = world.rollout().status.message.unwrap();
    assert!(message.contains("is also named by Rollout shop/other"), "{message}");
    assert_eq!(world.sizes(), [5]);
}

#[test]
fn content_in_quarantine_does_not_start() {
    let mut world = hosts();
    let hash = world.hash_of("web:3");
    world.quarantined.insert(hash, "commit 0123 failed its analysis".to_owned());
    world.set_image("web:3");
    world.run(Duration::minutes(1));
    let message = world.rollout().status.message.unwrap();
    assert!(message.contains("commit 0123 failed its analysis"), "{message}");
    assert_eq!((world.sizes(), world.weight()), (vec![5], 0));
    world.set_image("web:4");
    world.run(Duration::minutes(2));
    assert_eq!(world.weight(), 60);
}

#[test]
fn content_put_in_quarantine_on_its_way_is_taken_back_and_stays_so() {
    let mut world = midway();
    let hash = world.rollout().status.current_pod_hash.unwrap();
    world.quarantined.insert(hash, "commit 0123 failed its analysis".to_owned());
    world.run(Duration::minutes(1));
    assert_eq!((world.phase(), world.weight()), ("Degraded".into(), 0));
    world.edit_rollout(|rollout| rollout["status"]["abort"] = json!(false));
    world.run(Duration::minutes(1));
    assert_eq!((world.phase(), world.weight()), ("Degraded".into(), 0));
    world.check_history();
}

#[test]
fn a_rollout_created_again_adopts_what_its_former_self_left() {
    let mut world = hosts();
    let mut rollout = world.get(Kind::ROLLOUT, "web").clone();
    world.remove(Kind::ROLLOUT, "web");
    let sets: Vec<ObjectRef> =
        world.objects.keys().filter(|a| a.kind == Kind::REPLICA_SET).cloned().collect();
    for set in sets {
        world.edit(Kind::REPLICA_SET, &set.name, |rs| {
            rs["metadata"].as_object_mut().unwrap().remove("ownerReferences");
        });
    }
    rollout.as_object_mut().unwrap().remove("status");
    rollout["metadata"].as_object_mut().unwrap().remove("annotations");
    world.create(rollout);
    world.log.clear();
    world.run(Duration::minutes(2));
    insta::assert_snapshot!(world.log.join("\n"));
    assert_eq!((world.phase(), world.sizes()), ("Healthy".into(), vec![5]));
    world.check_history();
}

const ANALYSIS: &str = r"
      steps:
      - setWeight: 20
      - analysis: {templates: [{templateName: errors}]}
      - setWeight: 100
";

fn finish_run(world: &mut World, phase: &str, message: &str) {
    let name = world.runs().pop().unwrap();
    world.edit(Kind::ANALYSIS_RUN, &name, |run| {
        run["status"] = json!({ "phase": phase, "message": message });
    });
}

#[test]
fn a_failed_analysis_takes_the_weight_away_in_the_decision_that_learns_of_it() {
    let mut world = serving(&[HOSTS, ANALYSIS], &[NETWORK, TEMPLATE]);
    world.set_image("web:2");
    world.run(Duration::seconds(20));
    assert_eq!(world.runs().len(), 1);
    world.log.clear();
    finish_run(&mut world, "Failed", "too many errors");
    let (_, decision) = world.decide();
    assert!(decision.plan.stages[0][0].to_string().contains("from 20 to 0"));
    world.run(Duration::minutes(2));
    insta::assert_snapshot!(world.log.join("\n"));
    assert!(world.log.len() <= 7, "and one patch of the AnalysisRun");
    world.check_history();
}

#[test]
fn a_successful_analysis_lets_the_step_pass() {
    let mut world = serving(&[HOSTS, ANALYSIS], &[NETWORK, TEMPLATE]);
    world.set_image("web:2");
    world.run(Duration::seconds(20));
    finish_run(&mut world, "Successful", "");
    world.run(Duration::minutes(2));
    assert_eq!((world.phase(), world.sizes()), ("Healthy".into(), vec![0, 5]));
    world.check_history();
}

#[test]
fn an_inconclusive_analysis_waits_for_a_person_and_then_runs_again() {
    let mut world = serving(&[HOSTS, ANALYSIS], &[NETWORK, TEMPLATE]);
    world.set_image("web:2");
    world.run(Duration::seconds(20));
    finish_run(&mut world, "Inconclusive", "");
    world.run(Duration::minutes(2));
    assert_eq!((world.phase(), world.weight()), ("Paused".into(), 20));
    assert_eq!(world.rollout().status.message.as_deref(), Some("InconclusiveAnalysisRun"));
    promote(&mut world);
    world.run(Duration::seconds(20));
    assert_eq!(world.runs().len(), 2, "{}", world.log.join("\n"));
    finish_run(&mut world, "Successful", "");
    world.run(Duration::minutes(2));
    assert_eq!(world.phase(), "Healthy");
    world.check_history();
}

#[test]
fn analysis_in_the_background_starts_at_its_step_and_ends_with_the_update() {
    let background = "\n      analysis: {startingStep: 1, templates: [{templateName: errors}]}\n";
    let mut world = serving(&[HOSTS, STEPS, background], &[NETWORK, TEMPLATE]);
    world.set_image("web:2");
    world.run(Duration::seconds(20));
    assert_eq!(world.runs().len(), 1);
    world.run(Duration::minutes(2));
    promote(&mut world);
    world.run(Duration::minutes(2));
    assert_eq!(world.phase(), "Healthy");
    let run = world.runs().pop().unwrap();
    assert_eq!(world.get(Kind::ANALYSIS_RUN, &run)["spec"]["terminate"], true);
}

#[test]
fn a_retry_after_a_failed_background_analysis_is_a_new_attempt() {
    let background = "\n      analysis: {templates: [{templateName: errors}]}\n";
    let mut world = serving(&[HOSTS, STEPS, background], &[NETWORK, TEMPLATE]);
    world.set_image("web:2");
    world.run(Duration::seconds(20));
    finish_run(&mut world, "Failed", "too many errors");
    world.run(Duration::minutes(1));
    assert_eq!((world.phase(), world.weight()), ("Degraded".into(), 0));
    world.edit_rollout(|rollout| rollout["status"]["abort"] = json!(false));
    world.run(Duration::seconds(20));
    assert_eq!((world.runs().len(), world.weight()), (2, 20), "{}", world.log.join("\n"));
    assert_eq!(world.rollout().status.sluice.unwrap().attempt, Some(2));
    world.check_history();
}

#[test]
fn a_canary_scale_apart_from_the_weight_is_kept() {
    let steps = "\n      steps:\n      - setCanaryScale: {replicas: 2}\n      - setWeight: 10\n      - pause: {}\n";
    let mut world = serving(&[HOSTS, steps], &[NETWORK]);
    world.set_image("web:2");
    world.run(Duration::minutes(1));
    assert_eq!((world.sizes(), world.weight()), (vec![5, 2], 10));
    promote(&mut world);
    world.run(Duration::minutes(2));
    assert_eq!(world.sizes(), [0, 5]);
    world.check_history();
}

#[test]
fn what_is_not_acted_on_yet_is_refused() {
    let refused = [
        (
            "\n      steps: [{plugin: {name: x}}]\n",
            "spec.strategy.canary.steps[0].plugin: is not acted on by this version",
        ),
        ("\n      steps: [{setWeight: 120}]\n", "spec.strategy.canary.steps[0].setWeight: 120"),
    ];
    for (field, wanted) in refused {
        let mut world = fresh(&[HOSTS, field], &[NETWORK]);
        world.settle();
        let message = world.rollout().status.message.unwrap();
        assert!(message.contains(wanted), "{message}");
        assert!(world.sizes().is_empty());
    }
}

#[test]
fn a_timed_pause_says_when_it_ends() {
    let mut world = hosts();
    world.set_image("web:2");
    world.run(Duration::seconds(5));
    let view = world.view();
    let decision = RolloutReconciler::decide(&view);
    let wake = decision.wake.unwrap();
    assert_eq!(wake.reason, WakeReason::PauseEnds);
    assert!(wake.at - view.now <= Duration::seconds(31));
}

#[test]
fn old_revisions_beyond_the_limit_are_deleted() {
    let mut world = hosts();
    world.edit_rollout(|rollout| {
        rollout["spec"]["revisionHistoryLimit"] = json!(1);
        rollout["spec"]["strategy"]["canary"]["steps"] = json!([{ "setWeight": 50 }]);
    });
    for image in ["web:2", "web:3", "web:4"] {
        world.set_image(image);
        world.run(Duration::minutes(2));
    }
    assert_eq!((world.phase(), world.sizes()), ("Healthy".into(), vec![0, 5]));
    world.check_history();
}

#[test]
fn a_canary_with_weight_is_fenced_before_anything_happens() {
    let mut world = midway();
    world.term = 8;
    world.settle();
    assert_eq!((world.touches, world.log.len()), (6, 0), "{}", world.log.join("\n"));
    abort(&mut world);
    let (_, decision) = world.decide();
    assert!(decision.plan.stages[0][0].to_string().contains("from 60 to 0"));
}
