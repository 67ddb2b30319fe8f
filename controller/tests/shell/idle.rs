use std::time::Duration;

use super::stage::{Stage, W5};

#[tokio::test(start_paused = true)]
async fn an_idle_rollout_costs_nothing_but_watches_and_the_lease() {
    let stage = Stage::new();
    stage.create(W5);
    let controller = stage.controller("one");
    stage.phase(60, "Healthy").await;
    stage.pass(Duration::from_secs(120)).await;
    let actors = ["sluice-writes", "sluice-reads", "sluice-events"];
    let before = actors.map(|actor| stage.recorded(actor).len());
    stage.pass(Duration::from_secs(600)).await;
    for (actor, before) in actors.into_iter().zip(before) {
        assert_eq!(stage.since(actor, before), Vec::<String>::new(), "{actor}");
    }
    controller.terminate().await.unwrap();
}
