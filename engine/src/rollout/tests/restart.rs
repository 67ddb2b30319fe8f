//! Restarts: old Pods go, a few at a time, as budgets allow.

use chrono::Duration;
use serde_json::json;
use sluice_crds::object::Kind;

use super::{HOSTS, NETWORK, STEPS, fresh, promote, world::World};
use crate::plan::WakeReason;
use crate::rollout::Action;
use crate::view::RefusedEviction;

fn running(strategy: &[&str], network: &[&str]) -> World {
    let mut world = fresh(strategy, network);
    world.with_pods = true;
    world.run(Duration::minutes(2));
    assert_eq!(world.phase(), "Healthy", "{}", world.log.join("\n"));
    world.log.clear();
    world
}

fn restart(world: &mut World, after: Duration) {
    let at = (world.now + after).to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    world.edit_rollout(|rollout| rollout["spec"]["restartAt"] = json!(at));
}

/// Decides once; returns how many Pods were evicted.
fn evicted(world: &mut World) -> usize {
    let (_, decision) = world.decide();
    decision.plan.actions().filter(|action| matches!(action, Action::Evict { .. })).count()
}

#[test]
fn every_old_pod_is_replaced_and_then_the_restart_is_on_record() {
    let mut world = running(&["\n      maxSurge: 1\n"], &[]);
    let old: Vec<String> = world.pods("web").iter().map(|p| p["name"].to_string()).collect();
    restart(&mut world, Duration::zero());
    world.settle();
    let new: Vec<String> = world.pods("web").iter().map(|p| p["name"].to_string()).collect();
    assert!(new.len() == 5 && !new.iter().any(|name| old.contains(name)), "{old:?} {new:?}");
    let rollout = world.rollout();
    assert_eq!(rollout.status.restarted_at, rollout.spec.restart_at);
    assert_eq!(rollout.status.phase.as_deref(), Some("Healthy"));
    let evictions = world.log.iter().filter(|line| line.starts_with("evict")).count();
    assert_eq!(evictions, 5, "{}", world.log.join("\n"));
    world.check_history();
}

#[test]
fn as_many_go_at_once_as_may_be_missing() {
    // Of 5: none may be missing means one; 25 % is one; 50 % two; all five leave one for the end.
    for (share, most) in [("0", 1), ("25%", 1), ("50%", 2), ("100%", 4)] {
        let mut world = running(&[&format!("\n      maxUnavailable: '{share}'\n")], &[]);
        restart(&mut world, Duration::zero());
        let first = evicted(&mut world);
        assert_eq!(first, most, "maxUnavailable {share}: {}", world.log.join("\n"));
    }
}

#[test]
fn the_next_pod_waits_until_the_last_ones_successor_is_available() {
    let mut world = running(&["\n      maxSurge: 1\n"], &[]);
    restart(&mut world, Duration::zero());
    world.with_pods = false;
    assert_eq!(evicted(&mut world), 1);
    for _ in 0..3 {
        assert_eq!(evicted(&mut world), 0, "four of five are there");
    }
    assert!(world.rollout().status.restarted_at.is_none());
    assert_eq!(world.rollout().status.message.as_deref(), Some("rollout is restarting"));
    world.with_pods = true;
    world.settle();
    assert!(world.rollout().status.restarted_at.is_some());
}

#[test]
fn a_pod_that_is_not_available_goes_first_and_costs_nothing() {
    let mut world = running(&["\n      maxSurge: 1\n"], &[]);
    let broken = world.pods("web")[3]["name"].as_str().unwrap().to_owned();
    world.edit(Kind::POD, &broken, |pod| pod["status"]["conditions"][0]["status"] = json!("False"));
    restart(&mut world, Duration::zero());
    world.with_pods = false;
    assert_eq!(evicted(&mut world), 1);
    assert!(world.log.contains(&format!("evict Pod shop/{broken}")), "{}", world.log.join("\n"));
    assert_eq!(evicted(&mut world), 0);
}

#[test]
fn what_a_budget_forbids_is_a_wait() {
    let mut world = running(&["\n      maxSurge: 1\n"], &[]);
    restart(&mut world, Duration::zero());
    for pod in
        world.pods("web").iter().map(|p| p["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    {
        let refused = RefusedEviction { at: world.now, why: "the budget `web`".to_owned() };
        world.refused.insert(pod, refused);
    }
    let decision = world.settle();
    assert!(!world.log.iter().any(|line| line.starts_with("evict")));
    let wake = decision.wake.unwrap();
    assert_eq!((wake.reason, wake.at), (WakeReason::Restart, world.now + Duration::seconds(10)));
    assert!(decision.report.waiting.iter().any(|wait| wait.what.contains("the budget `web`")));
    world.now += Duration::seconds(10);
    world.settle();
    assert!(world.rollout().status.restarted_at.is_some(), "{}", world.log.join("\n"));
}

#[test]
fn a_restart_in_the_future_waits_for_its_time() {
    let mut world = running(&["\n      maxSurge: 1\n"], &[]);
    restart(&mut world, Duration::minutes(10));
    let decision = world.settle();
    let wake = decision.wake.unwrap();
    assert_eq!((wake.reason, wake.at), (WakeReason::Restart, world.now + Duration::minutes(10)));
    assert!(!world.log.iter().any(|line| line.starts_with("evict")));
    world.run(Duration::minutes(11));
    assert!(world.rollout().status.restarted_at.is_some());
}

#[test]
fn pods_of_after_the_instant_stay() {
    let mut world = running(&["\n      maxSurge: 1\n"], &[]);
    restart(&mut world, Duration::hours(-1));
    world.settle();
    assert!(!world.log.iter().any(|line| line.starts_with("evict")), "{}", world.log.join("\n"));
    assert!(world.rollout().status.restarted_at.is_some());
}

#[test]
fn a_restart_in_mid_canary_replaces_both_versions_and_moves_no_step() {
    let mut world = running(&[HOSTS, STEPS], &[NETWORK]);
    world.set_image("web:2");
    world.run(Duration::minutes(2));
    assert_eq!((world.phase(), world.weight()), ("Paused".to_owned(), 60));
    world.log.clear();
    restart(&mut world, Duration::zero());
    world.run(Duration::seconds(30));
    let evictions = world.log.iter().filter(|line| line.starts_with("evict")).count();
    assert_eq!(evictions, 8, "{}", world.log.join("\n"));
    assert_eq!((world.weight(), world.rollout().status.current_step_index), (60, Some(3)));
    promote(&mut world);
    world.run(Duration::minutes(2));
    assert_eq!(world.phase(), "Healthy");
    world.check_history();
}

#[test]
fn nobody_looks_at_pods_without_a_reason() {
    let mut world = running(&["\n      maxSurge: 1\n"], &[]);
    assert!(world.view().pods.is_none());
    restart(&mut world, Duration::zero());
    assert!(world.view().pods.is_some());
    world.settle();
    assert!(world.view().pods.is_none(), "the restart is over");
}
