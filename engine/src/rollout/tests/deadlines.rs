//! The progress deadline, where time passes for other reasons than a lack of progress (`spec-rollouts` 3.13).

use chrono::Duration;
use serde_json::json;

use super::{abort, hosts};

#[test]
fn a_pause_longer_than_the_deadline_costs_no_update() {
    let mut world = hosts();
    world.edit_rollout(|rollout| {
        rollout["spec"]["progressDeadlineSeconds"] = json!(60);
        rollout["spec"]["progressDeadlineAbort"] = json!(true);
        rollout["spec"]["paused"] = json!(true);
    });
    world.set_image("web:2");
    world.run(Duration::minutes(10));
    assert_eq!(world.phase(), "Paused");
    world.edit_rollout(|rollout| rollout["spec"]["paused"] = json!(false));
    world.run(Duration::seconds(20));
    assert_eq!(world.rollout().status.abort, None, "{}", world.log.join("\n"));
    assert_eq!(world.weight(), 20);
    abort(&mut world);
    world.run(Duration::seconds(5));
    world.check_history();
}
