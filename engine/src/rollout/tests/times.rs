//! How long updates take, by `status.duration`.

use chrono::Duration;
use serde_json::{Value, json};

use super::{abort, hosts, midway, promote, world::World};
use crate::rollout::ended;

/// Completion, seconds from start to end, seconds of manual pauses.
fn duration(world: &World) -> (Option<String>, Option<i64>, i64) {
    let duration = world.rollout().status.duration.unwrap();
    let started = duration.rollout_started_at.unwrap().at();
    let total = duration.finished_at.map(|end| (end.at() - started).num_seconds());
    let paused = duration.total_manual_pause_duration_seconds.unwrap_or(0);
    (duration.completion_status, total, paused)
}

#[test]
fn a_promoted_update_has_its_time_and_that_of_its_pauses() {
    let mut world = midway();
    assert!(duration(&world).1.is_none(), "it is under way");
    let duration_then = world.rollout().status.duration.unwrap();
    assert!(duration_then.manual_pause_started_at.is_some(), "a pause without end is people's");
    world.now += Duration::minutes(30);
    promote(&mut world);
    world.run(Duration::minutes(5));
    let (status, total, paused) = duration(&world);
    assert_eq!(status.as_deref(), Some("Promoted"));
    assert!((30 * 60..33 * 60).contains(&paused), "{paused}");
    assert!(total.unwrap() > paused, "{total:?}");
    assert!(world.rollout().status.duration.unwrap().manual_pause_started_at.is_none());
}

#[test]
fn every_end_has_its_name() {
    type Deed = fn(&mut World);
    let cases: [(Deed, &str); 4] = [
        (|world| abort(world), "Aborted"),
        (|world| world.set_image("web:1"), "FastRolledBack"),
        (|world| world.edit_rollout(|r| r["status"]["promoteFull"] = json!(true)), "FastPromoted"),
        (
            |world| {
                world.edit_rollout(|r| r["status"]["pauseConditions"] = Value::Null);
            },
            "Promoted",
        ),
    ];
    for (deed, wanted) in cases {
        let mut world = midway();
        deed(&mut world);
        world.run(Duration::minutes(2));
        let (status, total, _) = duration(&world);
        assert_eq!(status.as_deref(), Some(wanted), "{}", world.log.join("\n"));
        assert!(total.is_some(), "{wanted}");
    }
}

#[test]
fn a_user_who_pauses_and_resumes_is_counted() {
    let mut world = hosts();
    world.set_image("web:2");
    world.run(Duration::seconds(10));
    world.edit_rollout(|r| r["spec"]["paused"] = json!(true));
    world.settle();
    world.now += Duration::seconds(100);
    world.edit_rollout(|r| r["spec"]["paused"] = json!(false));
    world.settle();
    assert_eq!(duration(&world).2, 100);
}

#[test]
fn an_update_that_the_next_one_overtakes_is_superseded() {
    let mut world = midway();
    let old = world.rollout().status;
    world.now += Duration::seconds(50);
    world.set_image("web:3");
    world.settle();
    let new = world.rollout().status;
    let all = ended(&old, &new, world.now);
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].status, "Superseded");
    assert!(all[0].total > all[0].paused && all[0].paused >= Duration::seconds(50), "{all:?}");
    assert!(ended(&new, &new, world.now).is_empty(), "once");
}

#[test]
fn an_update_ends_once() {
    let mut world = midway();
    let under_way = world.rollout().status;
    promote(&mut world);
    world.run(Duration::minutes(2));
    let done = world.rollout().status;
    let all = ended(&under_way, &done, world.now);
    assert_eq!(all.iter().map(|e| e.status.as_str()).collect::<Vec<_>>(), ["Promoted"]);
    assert!(all[0].progression() + all[0].paused == all[0].total);
    assert!(ended(&done, &done, world.now).is_empty());
}
