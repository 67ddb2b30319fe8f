//! Taking an update back (`spec-rollouts` 3.7, 5.11, 11.1 number 1), and going back to an earlier version.

use chrono::Duration;
use serde_json::{Value, json};
use sluice_crds::object::Kind;

use super::{
    MANUAL, POST, PRE, PREVIEW_OF_ONE, V1, V2, V3, abort, finish, log_of, own, pauses, place,
    previewing, promote, serving, set, set_healthy, stable, testers, users,
};
use crate::rollout::tests::world::World;

/// Users are with version 2, which is not the stable one yet.
fn after_switch() -> World {
    let mut world = serving(&[POST]);
    world.set_image(V2);
    world.run(Duration::seconds(20));
    assert_eq!((users(&world), stable(&world)), (V2.into(), V1.into()));
    world.log.clear();
    world
}

fn retry(world: &mut World) {
    world.edit_rollout(|rollout| rollout["status"]["abort"] = json!(false));
}

#[test]
fn an_abort_before_the_switch_moves_nobody_and_keeps_the_preview_for_its_delay() {
    let mut world = previewing(&[MANUAL]);
    abort(&mut world);
    world.run(Duration::seconds(20));
    assert_eq!((users(&world), world.sizes()), (V1.into(), vec![4, 4]));
    assert_eq!((world.phase(), pauses(&world)), ("Degraded".into(), vec![]));
    world.run(Duration::seconds(20));
    assert_eq!(world.sizes(), [4, 0]);
    world.check_history();
}

#[test]
fn a_superseded_preview_goes_although_its_successor_is_aborted() {
    let mut world = previewing(&[MANUAL]);
    // The next version is aborted before testers are sent to it.
    set_healthy(&mut world, V3, 0);
    world.set_image(V3);
    world.settle();
    abort(&mut world);
    world.run(Duration::minutes(3));
    assert_eq!((testers(&world), users(&world)), (V2.into(), V1.into()));
    assert_eq!((world.sizes(), world.phase()), (vec![4, 0, 0], "Degraded".into()));
    world.check_history();
}

#[test]
fn an_abort_after_the_switch_begins_with_the_users() {
    let mut world = after_switch();
    abort(&mut world);
    let (_, decision) = world.decide();
    let first = decision.plan.stages[0].iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        first,
        [format!("point the active Service shop/web-active at {}", world.hash_of(V1))]
    );
    assert_eq!(decision.status.aborted_at.map(|at| at.at()), Some(world.now));
    world.run(Duration::minutes(2));
    insta::assert_snapshot!(log_of(&world));
    assert_eq!(
        (users(&world), world.sizes(), world.phase()),
        (V1.into(), vec![4, 0], "Degraded".into())
    );
    world.check_history();
}

#[test]
fn an_abort_takes_users_back_while_the_new_version_crashes() {
    for left in [0, 1, 3] {
        let mut world = after_switch();
        set_healthy(&mut world, V2, left);
        world.run(Duration::minutes(1));
        assert_eq!(users(&world), V2, "nobody asked");
        abort(&mut world);
        world.decide();
        assert_eq!(users(&world), V1, "at once, with {left} Pods left");
        world.run(Duration::minutes(2));
        assert_eq!(world.sizes(), [4, 0]);
        world.check_history();
    }
}

#[test]
fn a_failed_post_promotion_analysis_takes_users_back_in_the_decision_that_learns_of_it() {
    let mut world = after_switch();
    set_healthy(&mut world, V2, 2);
    finish(&mut world, "-post", "Failed");
    world.decide();
    assert_eq!(users(&world), V1);
    world.run(Duration::minutes(2));
    let status = world.rollout().status;
    let cause = "RolloutAborted: Rollout aborted update to revision 2: Post-promotion analysis phase error/failed: said the judge";
    assert_eq!(status.message.as_deref(), Some(cause));
    assert_eq!(own(&world).post_promotion_analysis_run_status.unwrap().status, "Failed");
    world.check_history();
}

#[test]
fn a_failed_pre_promotion_analysis_ends_the_update_before_anybody_saw_it() {
    let mut world = previewing(&[PRE, PREVIEW_OF_ONE]);
    finish(&mut world, "-pre", "Error");
    world.run(Duration::minutes(2));
    assert_eq!(
        (users(&world), world.sizes(), world.phase()),
        (V1.into(), vec![4, 0], "Degraded".into())
    );
    assert_eq!(own(&world).pre_promotion_analysis_run_status.unwrap().status, "Error");
    assert!(!log_of(&world).contains("active"), "{}", log_of(&world));
    world.check_history();
}

#[test]
fn an_abort_waits_only_for_the_pods_that_must_be_there_at_any_time() {
    let mut world = after_switch();
    set_healthy(&mut world, V1, 2);
    abort(&mut world);
    world.run(Duration::seconds(20));
    assert_eq!(users(&world), V2, "two of four stable Pods, four of the other");
    set_healthy(&mut world, V1, 3);
    world.decide();
    assert_eq!(users(&world), V1, "25 % may be missing");
    world.check_history();

    let mut world = after_switch();
    set_healthy(&mut world, V1, 1);
    set_healthy(&mut world, V2, 1);
    abort(&mut world);
    world.decide();
    assert_eq!(users(&world), V1, "as many as what is left");
    world.check_history();
}

#[test]
fn an_abort_acts_while_paused_and_while_the_preview_service_is_missing() {
    let mut world = after_switch();
    set(&mut world, "paused", json!(true));
    world.run(Duration::seconds(5));
    world.remove(Kind::SERVICE, "web-preview");
    abort(&mut world);
    world.run(Duration::seconds(5));
    assert_eq!(users(&world), V1);
    world.check_history();
}

#[test]
fn an_aborted_version_is_kept_where_the_delay_is_zero() {
    let mut world = previewing(&[MANUAL, "      abortScaleDownDelaySeconds: 0\n"]);
    abort(&mut world);
    world.run(Duration::minutes(10));
    assert_eq!((users(&world), world.sizes()), (V1.into(), vec![4, 4]));
    world.check_history();
}

#[test]
fn a_retry_starts_anew_in_every_phase() {
    let mut world = previewing(&[MANUAL, PRE]);
    finish(&mut world, "-pre", "Failed");
    world.run(Duration::minutes(2));
    assert_eq!(world.sizes(), [4, 0]);
    retry(&mut world);
    world.run(Duration::seconds(20));
    assert_eq!((world.sizes(), users(&world)), (vec![4, 4], V1.into()));
    assert_eq!(world.runs().len(), 2, "the verdict of the first attempt counts no more");
    finish(&mut world, "-pre.1", "Successful");
    world.run(Duration::seconds(5));
    assert_eq!(pauses(&world), ["BlueGreenPause"]);
    abort(&mut world);
    world.run(Duration::seconds(10));
    retry(&mut world);
    world.run(Duration::seconds(10));
    let set = format!("web-{}", world.hash_of(V2));
    let deadline =
        &world.get(Kind::REPLICA_SET, &set)["metadata"]["annotations"]["scale-down-deadline"];
    assert_eq!(*deadline, Value::Null, "it is wanted again");
    assert_eq!(users(&world), V1, "a retry is no rollback: it is judged again");
    assert_eq!(world.rollout().status.sluice.unwrap().attempt, Some(3));
    world.check_history();
}

#[test]
fn going_back_to_stable_after_the_switch_needs_no_steps_and_goes_first() {
    let mut world = after_switch();
    set_healthy(&mut world, V2, 0);
    world.set_image(V1);
    world.run(Duration::minutes(1));
    insta::assert_snapshot!(log_of(&world));
    assert_eq!((users(&world), testers(&world), stable(&world)), (V1.into(), V1.into(), V1.into()));
    assert_eq!((world.phase(), world.sizes()), ("Healthy".into(), vec![4, 0]));
    world.check_history();
}

#[test]
fn a_version_within_its_scale_down_delay_comes_back_at_once() {
    let mut world = serving(&[MANUAL, PRE, POST]);
    world.set_image(V2);
    world.edit_rollout(|rollout| rollout["status"]["promoteFull"] = json!(true));
    world.run(Duration::seconds(10));
    if stable(&world) != V2 {
        world.edit_rollout(|rollout| rollout["status"]["promoteFull"] = json!(true));
        world.run(Duration::seconds(10));
    }
    assert_eq!((stable(&world), world.sizes()), (V2.into(), vec![4, 4]));
    world.set_image(V1);
    world.run(Duration::seconds(3));
    assert_eq!((users(&world), stable(&world)), (V1.into(), V1.into()), "{}", log_of(&world));
    assert!(world.runs().iter().all(|run| !run.contains(&world.hash_of(V1))));
    let duration = world.rollout().status.duration.unwrap();
    assert_eq!(duration.completion_status.as_deref(), Some("FastRolledBack"));
    world.run(Duration::minutes(2));
    assert_eq!((world.sizes(), world.phase()), (vec![4, 0], "Healthy".into()));
    world.check_history();
}

#[test]
fn a_version_beyond_its_delay_and_the_window_is_judged_like_a_new_one() {
    let versions = |window: Option<i64>| {
        let mut world = serving(&[]);
        world.set_image(V2);
        world.run(Duration::minutes(2));
        assert_eq!(world.sizes(), [0, 4]);
        world.edit_rollout(|rollout| {
            rollout["spec"]["strategy"]["blueGreen"]["autoPromotionEnabled"] = json!(false);
            if let Some(revisions) = window {
                rollout["spec"]["rollbackWindow"] = json!({ "revisions": revisions });
            }
        });
        world.set_image(V1);
        world.run(Duration::seconds(20));
        world.check_history();
        (users(&world), pauses(&world).join(","))
    };
    assert_eq!(versions(None), (V2.to_owned(), "BlueGreenPause".to_owned()));
    assert_eq!(versions(Some(1)), (V1.to_owned(), String::new()));
}

#[test]
fn an_aborted_rollback_is_no_fast_one_when_it_is_tried_again() {
    let mut world = serving(&[PRE]);
    world.set_image(V2);
    world.run(Duration::seconds(10));
    finish(&mut world, "-pre", "Successful");
    world.run(Duration::minutes(2));
    world.set_image(V1);
    world.run(Duration::seconds(10));
    assert_eq!(users(&world), V2, "the delay is over");
    abort(&mut world);
    world.run(Duration::seconds(5));
    retry(&mut world);
    world.run(Duration::seconds(20));
    assert_eq!(users(&world), V2, "the deadline of an abort is no proof of health");
    world.check_history();
}

#[test]
fn a_third_version_in_the_middle_takes_the_place_of_the_second() {
    let mut world = previewing(&[MANUAL]);
    world.set_image(V3);
    world.run(Duration::seconds(10));
    assert_eq!((users(&world), testers(&world)), (V1.into(), V3.into()));
    assert_eq!(pauses(&world), ["BlueGreenPause"]);
    promote(&mut world);
    world.run(Duration::minutes(1));
    assert_eq!((stable(&world), world.sizes()), (V3.into(), vec![0, 0, 4]));
    world.check_history();
}

#[test]
fn a_third_version_after_the_switch_leaves_users_where_they_are_until_it_is_ready() {
    let mut world = after_switch();
    set_healthy(&mut world, V3, 1);
    world.set_image(V3);
    world.run(Duration::minutes(2));
    assert_eq!((users(&world), stable(&world)), (V2.into(), V1.into()));
    assert_eq!(world.sizes(), [4, 4, 4], "what users reach keeps its size");
    abort(&mut world);
    world.decide();
    assert_eq!(users(&world), V1, "an abort goes to the stable version");
    world.run(Duration::minutes(2));
    assert_eq!(world.sizes(), [4, 0, 0]);
    world.check_history();
}

#[test]
fn a_superseded_version_that_dies_under_its_users_gives_them_to_the_stable_one() {
    let mut world = after_switch();
    set_healthy(&mut world, V3, 1);
    world.set_image(V3);
    world.run(Duration::seconds(10));
    set_healthy(&mut world, V2, 0);
    world.settle();
    assert_eq!(users(&world), V1);
    place(&world, "point the active Service");
    world.check_history();
}

#[test]
fn a_preview_that_is_lost_in_a_timed_pause_is_taken_back_at_the_deadline() {
    for fields in [
        "      autoPromotionSeconds: 30\n",
        "      autoPromotionSeconds: 30\n      previewReplicaCount: 1\n",
    ] {
        let mut world = serving(&[fields]);
        world.edit_rollout(|rollout| {
            rollout["spec"]["progressDeadlineSeconds"] = json!(60);
            rollout["spec"]["progressDeadlineAbort"] = json!(true);
        });
        world.set_image(V2);
        world.run(Duration::seconds(10));
        assert_eq!(pauses(&world), ["BlueGreenPause"]);
        set_healthy(&mut world, V2, 0);
        world.run(Duration::seconds(40));
        assert_eq!(
            (world.phase(), pauses(&world)),
            ("Progressing".into(), vec![]),
            "{}",
            log_of(&world)
        );
        world.run(Duration::seconds(90));
        assert_eq!(
            (users(&world), world.phase()),
            (V1.into(), "Degraded".into()),
            "{}",
            log_of(&world)
        );
        world.check_history();
    }
}

#[test]
fn a_timed_pause_that_is_over_while_a_pod_is_missing_is_not_asked_for_again() {
    let mut world = serving(&["      autoPromotionSeconds: 30\n"]);
    world.set_image(V2);
    world.run(Duration::seconds(10));
    set_healthy(&mut world, V2, 3);
    world.run(Duration::seconds(40));
    assert_eq!(users(&world), V1);
    set_healthy(&mut world, V2, 4);
    world.run(Duration::seconds(5));
    assert_eq!(users(&world), V2, "{}", log_of(&world));
    world.check_history();
}
