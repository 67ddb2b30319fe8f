use std::time::Duration;

use serde_json::json;

use super::stage::{Stage, W5, canary_weight, image, rollout, virtual_service};

#[tokio::test(start_paused = true)]
async fn an_abort_takes_the_weight_away_first_and_costs_at_most_8_requests() {
    let stage = Stage::new();
    stage.create(W5);
    let controller = stage.controller("one");
    stage.phase(60, "Healthy").await;
    stage.patch(&rollout(), &image("2"));
    stage.until(60, "weight 60", |stage| canary_weight(&stage.get(&virtual_service())) == 60).await;
    stage.pass(Duration::from_secs(3)).await;
    let (writes, reads) =
        (stage.recorded("sluice-writes").len(), stage.recorded("sluice-reads").len());
    stage
        .patch_at(&format!("{}/status", rollout().path()), &json!({ "status": { "abort": true } }));
    stage.pass(Duration::from_secs(40)).await;
    let requests = stage.since("sluice-writes", writes);
    insta::assert_snapshot!(requests.join("\n"));
    assert!(requests[0].contains("/virtualservices/web"), "{requests:#?}");
    assert!(requests.len() <= 8, "{} requests", requests.len());
    assert_eq!(stage.since("sluice-reads", reads), Vec::<String>::new());
    assert_eq!(canary_weight(&stage.get(&virtual_service())), 0);
    controller.terminate().await.unwrap();
}
