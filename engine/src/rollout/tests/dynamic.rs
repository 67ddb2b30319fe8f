//! `dynamicStableScale`: the stable set follows its share, down and up.

use std::fmt::Write;

use chrono::Duration;
use serde_json::json;
use sluice_crds::{object::Kind, rollout::CanaryStep};

use super::{HOSTS, NETWORK, abort, promote, serving, world::World};
use crate::rollout::dynamic::{Ladder, rung};
use crate::rollout::replicas::share;

const DYNAMIC: &str = r"
      dynamicStableScale: true
      steps:
      - setWeight: 20
      - pause: {}
      - setWeight: 60
      - pause: {}
      - setWeight: 80
      - pause: {}
";

/// A world of ten Pods in which version 2 has the weight and waits for a word.
fn at(weight: i64) -> World {
    let mut world = serving(&[HOSTS, DYNAMIC], &[NETWORK]);
    world.edit_rollout(|rollout| rollout["spec"]["replicas"] = json!(10));
    world.run(Duration::minutes(1));
    world.set_image("web:2");
    loop {
        world.run(Duration::minutes(1));
        if world.weight() == weight {
            break;
        }
        promote(&mut world);
    }
    world.log.clear();
    world
}

#[test]
fn the_stable_set_shrinks_behind_its_traffic() {
    for (weight, sizes) in [(20, [8, 2]), (60, [4, 6]), (80, [2, 8])] {
        let world = at(weight);
        assert_eq!(world.sizes(), sizes);
    }
    let mut world = at(80);
    promote(&mut world);
    world.run(Duration::minutes(2));
    assert_eq!((world.phase(), world.sizes()), ("Healthy".into(), vec![0, 10]));
    insta::assert_snapshot!(world.log.join("\n"));
    world.check_history();
}

#[test]
fn pods_leave_only_after_proxies_had_time_to_follow() {
    let mut world = at(20);
    promote(&mut world);
    while world.weight() == 20 {
        world.decide();
        world.settle_pods();
        world.now += Duration::milliseconds(200);
    }
    world.settle();
    assert_eq!((world.weight(), world.sizes()), (60, vec![8, 6]));
    world.run(Duration::seconds(4));
    assert_eq!(world.sizes(), [8, 6]);
    world.run(Duration::seconds(2));
    assert_eq!(world.sizes(), [4, 6]);
    world.check_history();
}

#[test]
fn an_abort_walks_back_as_the_stable_set_grows() {
    let mut world = at(80);
    abort(&mut world);
    world.run(Duration::minutes(2));
    assert_eq!((world.phase(), world.weight()), ("Degraded".into(), 0));
    assert_eq!(world.sizes(), [10, 0]);
    insta::assert_snapshot!(world.log.join("\n"));
    world.check_history();
}

#[test]
fn an_abort_needs_no_fresh_status_to_walk_back_without_a_stumble() {
    let mut world = at(80);
    abort(&mut world);
    let mut least = world.sizes()[0];
    for _ in 0..120 {
        for _ in 0..3 {
            // Nobody has counted yet what the last decision asked for.
            world.decide();
            let stable = world.sizes()[0];
            assert!(stable >= least, "{stable} after {least}: {}", world.log.join("\n"));
            least = stable;
            let set = format!("web-{}", world.rollout().status.stable_rs.unwrap());
            let available =
                world.get(Kind::REPLICA_SET, &set)["status"]["availableReplicas"].as_i64();
            let share = 100 - world.weight();
            let carried = available.unwrap_or(0) * 10;
            assert!(share <= carried, "{share} of {carried} %: {}", world.log.join("\n"));
        }
        world.settle_pods();
        world.now += Duration::seconds(1);
    }
    assert_eq!((world.weight(), world.sizes()), (0, vec![10, 0]));
    world.check_history();
}

#[test]
fn an_aborted_canary_keeps_its_weight_as_long_as_nobody_can_take_it() {
    let mut world = at(80);
    let stable = world.rollout().status.stable_rs.unwrap();
    world.healthy.insert(stable.clone(), 2);
    abort(&mut world);
    world.run(Duration::minutes(1));
    assert_eq!((world.weight(), world.sizes()[1]), (80, 8), "{}", world.log.join("\n"));
    world.healthy.insert(stable.clone(), 3);
    world.run(Duration::minutes(1));
    assert_eq!((world.weight(), world.sizes()[1]), (70, 7));
    world.healthy.clear();
    world.run(Duration::minutes(2));
    assert_eq!((world.weight(), world.sizes()), (0, vec![10, 0]));
    world.check_history();
}

#[test]
fn an_abort_with_a_delay_of_its_own_keeps_the_canary() {
    let mut world = at(80);
    world.edit_rollout(|rollout| {
        rollout["spec"]["strategy"]["canary"]["abortScaleDownDelaySeconds"] = json!(60);
    });
    world.settle();
    abort(&mut world);
    world.run(Duration::seconds(30));
    assert_eq!((world.weight(), world.sizes()), (0, vec![10, 8]), "{}", world.log.join("\n"));
    world.run(Duration::minutes(2));
    assert_eq!(world.sizes(), [10, 0]);
    world.check_history();
}

#[test]
fn going_back_to_the_stable_template_grows_it_first() {
    let mut world = at(80);
    let stable = world.rollout().status.stable_rs.unwrap();
    world.healthy.insert(stable, 6);
    world.set_image("web:1");
    world.run(Duration::minutes(1));
    assert_eq!(world.weight(), 40, "{}", world.log.join("\n"));
    world.healthy.clear();
    world.run(Duration::minutes(2));
    assert_eq!((world.phase(), world.weight(), world.sizes()), ("Healthy".into(), 0, vec![10, 0]));
    world.check_history();
}

#[test]
fn a_new_revision_in_the_middle_grows_the_stable_set_first() {
    let mut world = at(60);
    world.set_image("web:3");
    world.run(Duration::minutes(2));
    assert_eq!((world.weight(), world.sizes()), (20, vec![8, 0, 2]), "{}", world.log.join("\n"));
    world.check_history();
}

#[test]
fn full_promotion_moves_weight_with_each_pod() {
    let mut world = at(20);
    let canary = world.rollout().status.current_pod_hash.unwrap();
    world.healthy.insert(canary, 5);
    world.edit_rollout(|rollout| rollout["status"]["promoteFull"] = json!(true));
    world.run(Duration::minutes(1));
    assert_eq!((world.weight(), world.sizes()), (50, vec![5, 10]), "{}", world.log.join("\n"));
    world.healthy.clear();
    world.run(Duration::minutes(2));
    assert_eq!((world.phase(), world.sizes()), ("Healthy".into(), vec![0, 10]));
    world.check_history();
}

#[test]
fn lost_pods_of_the_canary_let_the_stable_set_grow() {
    let mut world = at(80);
    let canary = world.rollout().status.current_pod_hash.unwrap();
    world.healthy.insert(canary, 4);
    world.run(Duration::minutes(1));
    assert_eq!(world.weight(), 40, "four of ten: {}", world.log.join("\n"));
    assert_eq!(world.sizes()[0], 6);
    world.healthy.clear();
    world.run(Duration::minutes(1));
    assert_eq!((world.weight(), world.sizes()), (80, vec![2, 8]));
    world.check_history();
}

#[test]
fn more_replicas_in_the_middle_grow_both_sets() {
    let mut world = at(60);
    world.edit_rollout(|rollout| rollout["spec"]["replicas"] = json!(20));
    world.run(Duration::minutes(1));
    assert_eq!((world.weight(), world.sizes()), (60, vec![8, 12]));
    world.check_history();
}

fn steps(weights: &[i32]) -> Vec<CanaryStep> {
    let step = |weight: &i32| CanaryStep { set_weight: Some(*weight), ..CanaryStep::default() };
    weights.iter().map(step).collect()
}

/// Every way back from a weight, one line for each rung: the weight aimed at, sizes of stable and canary.
fn way_back(weights: &[i32], n: u32, from: u32, keeps_canary: bool) -> String {
    let steps = steps(weights);
    let (mut present, mut stable, mut canary) = (from, share(n, 100 - from), share(n, from));
    let mut line = String::new();
    for _ in 0..20 {
        let goal = rung(&Ladder {
            steps: &steps,
            n,
            present,
            stable_available: stable,
            canary_available: canary,
            canary_size: share(n, present),
            keeps_canary,
        });
        stable = share(n, 100 - goal.min(present)).max(share(n, 100 - present));
        present = present.min(goal);
        if !keeps_canary {
            canary = share(n, present);
        }
        write!(line, " {present}:{stable}+{canary}").unwrap();
        if present == 0 {
            return line;
        }
    }
    panic!("no way back from {from} of {weights:?} with {n}:{line}")
}

#[test]
fn the_way_back_of_an_abort_goes_down_the_steps() {
    let mut table = String::from("N steps from: weight:stable+canary by rungs\n");
    for n in [1, 3, 5, 10, 33] {
        for weights in [&[10, 25, 50, 75, 100][..], &[20, 60, 80], &[50], &[1, 2, 99]] {
            for from in weights.iter().rev() {
                let from = u32::try_from(*from).unwrap();
                let way = way_back(weights, n, from, false);
                writeln!(table, "{n} {weights:?} {from}:{way}").unwrap();
            }
        }
    }
    writeln!(table, "with a delay of its own:").unwrap();
    for from in [100, 75, 50, 25, 10] {
        let way = way_back(&[10, 25, 50, 75, 100], 10, from, true);
        writeln!(table, "10 {from}:{way}").unwrap();
    }
    insta::assert_snapshot!(table);
}

#[test]
fn a_rung_whose_canary_does_not_get_smaller_is_left_all_the_same() {
    // `minPodsPerReplicaSet: 3`: at 10 % the canary keeps three Pods.
    let steps = steps(&[10, 50]);
    let ladder = Ladder {
        steps: &steps,
        n: 10,
        present: 10,
        stable_available: 9,
        canary_available: 3,
        canary_size: 3,
        keeps_canary: false,
    };
    assert_eq!(rung(&ladder), 0);
}

#[test]
fn a_lower_weight_waits_until_the_stable_set_is_large_enough_whatever_the_threshold() {
    let fields = "      dynamicStableScale: true
      replicaProgressThreshold: {type: Pods, value: 1}
      steps: [{setWeight: 60}, {pause: {duration: 10}}, {setWeight: 20}, {pause: {}}]\n";
    let mut world = serving(&[HOSTS, fields], &[NETWORK]);
    world.set_image("web:2");
    world.run(Duration::minutes(1));
    let state = (world.weight(), world.phase());
    assert_eq!(state, (20, "Paused".into()), "{}", world.log.join("\n"));
    world.check_history();
}

#[test]
fn an_abort_waits_for_the_size_of_the_stable_set_whatever_the_threshold() {
    let fields = "      dynamicStableScale: true
      replicaProgressThreshold: {type: Pods, value: 1}
      steps: [{setWeight: 60}, {pause: {}}]\n";
    let mut world = serving(&[HOSTS, fields], &[NETWORK]);
    world.set_image("web:2");
    world.run(Duration::minutes(1));
    assert_eq!(world.weight(), 60, "{}", world.log.join("\n"));
    abort(&mut world);
    world.run(Duration::minutes(1));
    let state = (world.weight(), world.phase());
    assert_eq!(state, (0, "Degraded".into()), "{}", world.log.join("\n"));
    world.check_history();
}
