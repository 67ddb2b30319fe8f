//! Pods, endpoints and metrics servers that are lost, and names that are taken.

use chrono::Duration;
use serde_json::{Value, json};
use sluice_crds::labels;
use sluice_crds::object::Kind;

use crate::rollout::template_hash::template_hash;

use super::{
    ANALYSIS, HOSTS, NETWORK, STEPS, SUBSET_NETWORK, SUBSETS, TEMPLATE, abort, finish_run, fresh,
    hosts, midway, promote, serving, world::World,
};

fn hashes(world: &World) -> (String, String) {
    let status = world.rollout().status;
    (status.stable_rs.unwrap(), status.current_pod_hash.unwrap())
}

#[test]
fn weight_follows_the_pods_of_the_canary_that_are_left() {
    // Of three Pods that carry 60 %, so many are left: so much weight stays.
    for (left, wanted) in [(2, 40), (1, 20), (0, 0)] {
        let mut world = midway();
        let (_, canary) = hashes(&world);
        world.healthy.insert(canary.clone(), left);
        let decision = world.settle();
        assert_eq!(world.weight(), wanted, "{left} Pods are left");
        assert!(!decision.report.waiting.is_empty());
        world.healthy.remove(&canary);
        world.settle();
        assert_eq!(world.weight(), wanted, "not at once");
        world.run(Duration::seconds(6));
        assert_eq!(world.weight(), 60, "{}", world.log.join("\n"));
        world.check_history();
    }
}

#[test]
fn weight_leaves_a_set_that_cannot_carry_it_for_one_that_is_too_small_as_well() {
    let mut world = fresh(&[HOSTS, STEPS], &[NETWORK]);
    world.settle();
    world.set_image("web:2");
    world.settle();
    abort(&mut world);
    world.edit_rollout(|r| r["spec"]["replicas"] = json!(6));
    world.edit(Kind::VIRTUAL_SERVICE, "web", |route| {
        let to = &mut route["spec"]["http"][0]["route"];
        (to[0]["weight"], to[1]["weight"]) = (json!(83), json!(17));
    });
    world.settle();
    assert_eq!(world.weight(), 0);
    world.check_history();
}

#[test]
fn pods_that_come_and_go_take_no_weight_with_them_each_time() {
    let mut world = midway();
    let (_, canary) = hashes(&world);
    for _ in 0..20 {
        world.healthy.insert(canary.clone(), 2);
        world.settle();
        world.healthy.remove(&canary);
        world.settle();
        world.now += Duration::milliseconds(500);
    }
    let moves = world.log.iter().filter(|line| line.contains("move the canary's weight")).count();
    assert!(moves <= 4, "{moves} moves in 10 seconds:\n{}", world.log.join("\n"));
    world.check_history();
}

#[test]
fn weight_stays_where_nobody_else_can_take_it() {
    let mut world = midway();
    let (stable, canary) = hashes(&world);
    world.healthy.insert(stable.clone(), 2);
    world.settle();
    assert_eq!(world.weight(), 60, "the stable set is no reason to expose more users");
    world.healthy.insert(canary.clone(), 1);
    world.settle();
    assert_eq!(world.weight(), 60, "two stable Pods carry 40 %, and have it");
    world.healthy.insert(stable, 3);
    world.settle();
    assert_eq!(world.weight(), 40, "as much less as the stable set can carry");
    world.check_history();
}

#[test]
fn a_rollout_that_grows_loses_nothing() {
    let mut world = midway();
    let (_, canary) = hashes(&world);
    world.healthy.insert(canary.clone(), 3);
    world.edit_rollout(|rollout| rollout["spec"]["replicas"] = json!(10));
    world.settle();
    assert_eq!(world.weight(), 60, "new Pods are on their way");
    world.healthy.insert(canary.clone(), 2);
    world.settle();
    assert_eq!(world.weight(), 40, "an old one was lost meanwhile");
    world.healthy.clear();
    world.run(Duration::seconds(10));
    assert_eq!(world.weight(), 60);
    world.healthy.insert(canary, 3);
    world.settle();
    assert_eq!(world.weight(), 30, "three of six");
    world.check_history();
}

#[test]
fn a_declared_canary_scale_is_lost_in_proportion() {
    let steps = "\n      steps:\n      - setCanaryScale: {replicas: 4}\n      - setWeight: 20\n      - pause: {}\n";
    let mut world = serving(&[HOSTS, steps], &[NETWORK]);
    world.set_image("web:2");
    world.run(Duration::minutes(1));
    let (_, canary) = hashes(&world);
    assert_eq!(world.weight(), 20);
    world.healthy.insert(canary, 1);
    world.settle();
    assert_eq!(world.weight(), 5, "one of four");
    world.check_history();
}

const HOST: &str = r"
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
";

#[test]
fn a_subset_gets_weight_once_its_endpoints_are_listed() {
    let mut world = serving(&[SUBSETS, STEPS], &[SUBSET_NETWORK, HOST]);
    let canary = world.hash_of("web:2");
    world.listed.insert(canary.clone(), 0);
    world.set_image("web:2");
    world.run(Duration::minutes(1));
    assert_eq!(world.weight(), 0, "available, and not listed");
    let decision = world.settle();
    let waits: Vec<&str> = decision.report.waiting.iter().map(|w| w.what.as_str()).collect();
    assert!(waits.iter().any(|what| what.contains("ready endpoints")), "{waits:?}");
    world.listed.insert(canary.clone(), 1);
    world.run(Duration::seconds(10));
    assert_eq!(world.weight(), 20, "one listed Pod carries 20 %");
    world.run(Duration::minutes(1));
    assert_eq!(world.weight(), 20, "60 % need three");
    world.listed.clear();
    world.run(Duration::minutes(1));
    assert_eq!(world.weight(), 60);
    let before = world.touches;
    world.term += 1;
    abort(&mut world);
    world.settle();
    assert_eq!(world.weight(), 0);
    assert_eq!(world.touches - before, 5, "the host's Service is not ours to touch");
    world.check_history();
}

#[test]
fn an_abort_waits_for_proxies_if_what_failed_gets_nothing_yet() {
    let mut world = midway();
    world.edit_rollout(|rollout| rollout["status"]["promoteFull"] = json!(true));
    while world.rollout().status.stable_rs == world.rollout().status.current_pod_hash
        || world.weight() != 100
    {
        world.decide();
        world.settle_pods();
    }
    // Promoted; the stable Service is switched, and its share comes back a second later.
    while world.weight() == 100 && !world.log.last().unwrap().contains("stable Service") {
        world.decide();
        world.settle_pods();
    }
    assert_eq!(world.weight(), 100);
    world.set_image("web:3");
    while world.rollout().status.current_pod_hash != Some(world.hash_of("web:3")) {
        world.decide();
    }
    abort(&mut world);
    world.settle();
    assert_eq!(world.weight(), 100, "what gets the traffic is the stable revision itself");
    world.run(Duration::seconds(2));
    assert_eq!(world.weight(), 0, "{}", world.log.join("\n"));
    world.check_history();
}

#[test]
fn an_update_is_taken_back_also_when_nobody_can_judge_it_any_more() {
    let mut world = serving(&[HOSTS, ANALYSIS], &[NETWORK, TEMPLATE]);
    world.set_image("web:2");
    world.run(Duration::seconds(20));
    world.remove(Kind::ANALYSIS_TEMPLATE, "errors");
    world.settle();
    assert_eq!((world.phase(), world.weight()), ("Degraded".into(), 20));
    finish_run(&mut world, "Failed", "too many errors");
    world.run(Duration::minutes(1));
    assert_eq!(world.weight(), 0);
    let message = world.rollout().status.message.unwrap();
    assert!(message.starts_with("RolloutAborted"), "{message}");
    world.check_history();
}

#[test]
fn a_run_that_starts_costs_no_status_write_of_the_rollout() {
    let mut world = serving(&[HOSTS, ANALYSIS], &[NETWORK, TEMPLATE]);
    world.set_image("web:2");
    world.run(Duration::milliseconds(4500));
    assert_eq!(world.runs().len(), 1, "{}", world.log.join("\n"));
    world.log.clear();
    finish_run(&mut world, "Running", "");
    world.settle();
    assert_eq!(world.log, Vec::<String>::new(), "an answer may come at any moment");
    world.run(Duration::seconds(10));
    let canary = world.rollout().status.canary.unwrap();
    let run = canary.current_step_analysis_run_status.unwrap();
    assert_eq!(run.status, "Running", "it is told a few seconds later");
    world.check_history();
}

#[test]
fn a_name_that_is_taken_makes_another_hash() {
    let mut world = hosts();
    let first = world.hash_of("web:2");
    world.taken.insert(format!("web-{first}"));
    world.set_image("web:2");
    world.run(Duration::minutes(2));
    let status = world.rollout().status;
    assert_eq!(status.collision_count, Some(1));
    let second = status.current_pod_hash.unwrap();
    assert_ne!(second, first);
    assert_eq!(world.weight(), 60, "{}", world.log.join("\n"));
    promote(&mut world);
    world.run(Duration::minutes(2));
    assert_eq!(world.phase(), "Healthy");
    // The former revisions keep the hashes that they got without the count.
    world.set_image("web:1");
    world.run(Duration::seconds(5));
    assert_eq!(world.sizes().len(), 2, "no third ReplicaSet: {}", world.log.join("\n"));
    world.check_history();
}

#[test]
fn a_count_of_collisions_that_cannot_grow_is_no_end() {
    let mut world = hosts();
    world.edit_rollout(|rollout| rollout["status"]["collisionCount"] = json!(i32::MAX));
    let template = world.rollout().spec.template.unwrap();
    let mut next = template.clone();
    next["spec"]["containers"][0]["image"] = json!("web:2");
    let taken = template_hash(&next, Some(i32::MAX));
    world.taken.insert(format!("web-{taken}"));
    world.set_image("web:2");
    world.run(Duration::minutes(2));
    let status = world.rollout().status;
    assert_eq!(status.collision_count, Some(i32::MIN));
    assert_ne!(status.current_pod_hash, Some(taken));
    assert_eq!(world.weight(), 60, "{}", world.log.join("\n"));
}

#[test]
fn an_instant_that_nobody_can_have_written_holds_nothing() {
    let far = "9999-01-01T00:00:00Z";
    let mut world = midway();
    for (kind, name, key) in [
        (Kind::VIRTUAL_SERVICE, "web", labels::ROUTED_AT),
        (Kind::SERVICE, "web-stable", labels::SWITCHED_AT),
        (Kind::SERVICE, "web-canary", labels::SWITCHED_AT),
    ] {
        world.edit(kind, name, |object| object["metadata"]["annotations"][key] = json!(far));
    }
    world.edit(Kind::VIRTUAL_SERVICE, "web", |route| {
        // As if 60 % had been written, and undone, many times.
        route["metadata"]["annotations"][labels::WROTE] = json!("web 60 9");
        let to = &mut route["spec"]["http"][0]["route"];
        (to[0]["weight"], to[1]["weight"]) = (json!(90), json!(10));
    });
    // As after any such fight: five minutes from now.
    world.run(Duration::minutes(6));
    assert_eq!(world.weight(), 60, "{}", world.log.join("\n"));
    promote(&mut world);
    let begun = world.now;
    world.run(Duration::minutes(2));
    assert_eq!(world.phase(), "Healthy", "{}", world.log.join("\n"));
    assert_eq!(world.sizes().iter().sum::<i64>(), 5, "the old Pods are gone");
    assert!(world.now - begun <= Duration::minutes(2));
    world.check_history();
}

#[test]
fn a_metrics_server_out_of_reach_is_said_by_the_rollout() {
    let mut world = serving(&[HOSTS, ANALYSIS], &[NETWORK, TEMPLATE]);
    world.set_image("web:2");
    world.run(Duration::seconds(20));
    let name = world.runs().pop().unwrap();
    let said = |world: &World| {
        let conditions = world.rollout().status.conditions.unwrap_or_default();
        conditions.into_iter().find(|c| c.kind == "MetricsUnreachable").map(|c| c.message)
    };
    world.edit(Kind::ANALYSIS_RUN, &name, |run| {
        run["status"] = json!({
            "phase": "Running",
            "metricResults": [{
                "name": "errors", "phase": "Running", "error": 1,
                "metadata": { "sluice.dev/unreachable-since": "2026-01-01T00:02:30Z" },
            }],
        });
    });
    world.settle();
    let message = said(&world).expect("it is said");
    for part in ["`errors`", &name, "since 2026-01-01T00:02:30Z", "until 2026-01-01T00:12:30Z"] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(world.rollout().status.message, Some(message));
    world.edit(Kind::ANALYSIS_RUN, &name, |run| {
        run["status"]["metricResults"][0]["metadata"] = Value::Null;
    });
    world.settle();
    assert_eq!(said(&world), None, "an answer ends it");
}

#[test]
fn a_retry_that_overtakes_the_record_of_an_abort_gets_a_run_of_its_own() {
    let mut world = serving(&[HOSTS, ANALYSIS], &[NETWORK, TEMPLATE]);
    world.set_image("web:2");
    world.run(Duration::seconds(20));
    abort(&mut world);
    let before = world.rollout().status;
    world.decide();
    // The abort ended the run; its status write lost against the retry.
    world.edit_rollout(|rollout| {
        rollout["status"] = serde_json::to_value(&before).unwrap();
        rollout["status"]["abort"] = json!(false);
    });
    finish_run(&mut world, "Inconclusive", "Run Terminated");
    world.run(Duration::seconds(20));
    assert_eq!(world.runs().len(), 2, "{}", world.log.join("\n"));
    finish_run(&mut world, "Successful", "");
    world.run(Duration::minutes(2));
    assert_eq!(world.phase(), "Healthy", "{}", world.log.join("\n"));
}

#[test]
fn a_weight_that_is_held_for_a_time_is_a_weight_and_a_pause() {
    for steps in [
        "      steps: [{setWeight: 60, duration: 30}, {setWeight: 80}]\n",
        "      steps: [{setWeight: 60}, {pause: {duration: 30}}, {setWeight: 80}]\n",
    ] {
        let mut world = serving(&[HOSTS, steps], &[NETWORK]);
        world.edit_rollout(|r| {
            r["spec"]["progressDeadlineSeconds"] = json!(60);
            r["spec"]["progressDeadlineAbort"] = json!(true);
        });
        world.set_image("web:2");
        world.run(Duration::seconds(10));
        assert_eq!(world.weight(), 60, "{steps}{}", world.log.join("\n"));
        let (_, canary) = hashes(&world);
        world.healthy.insert(canary, 2);
        world.settle();
        assert_eq!(world.weight(), 40, "{steps}{}", world.log.join("\n"));
        world.run(Duration::seconds(40));
        assert_eq!(world.phase(), "Progressing", "{steps}{}", world.log.join("\n"));
        assert_eq!(world.weight(), 40, "{steps}{}", world.log.join("\n"));
        world.run(Duration::seconds(90));
        assert_eq!(world.phase(), "Degraded", "{steps}{}", world.log.join("\n"));
        assert_eq!(world.weight(), 0, "{steps}{}", world.log.join("\n"));
        world.check_history();
    }
}
