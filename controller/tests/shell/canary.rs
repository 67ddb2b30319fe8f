use serde_json::json;
use sluice_engine::rollout::template_hash::template_hash;

use super::stage::{Stage, W5, canary_weight, image, rollout, virtual_service};

#[tokio::test(start_paused = true)]
async fn a_canary_in_a_fenced_term_costs_at_most_22_writes_and_no_read() {
    let stage = Stage::new();
    stage.create(W5);
    let controller = stage.controller("one");
    stage.phase(60, "Healthy").await;
    let (writes, reads) =
        (stage.recorded("sluice-writes").len(), stage.recorded("sluice-reads").len());
    stage.patch(&rollout(), &image("2"));
    stage.phase(120, "Healthy").await;
    // What is left to do after the promotion, such as taking the old version down, belongs to the canary's cost.
    stage.pass(std::time::Duration::from_secs(60)).await;
    let writes = stage.since("sluice-writes", writes);
    insta::assert_snapshot!(writes.join("\n"));
    assert!(writes.len() <= 22, "{} writes", writes.len());
    assert_eq!(stage.since("sluice-reads", reads), Vec::<String>::new());
    assert_eq!(canary_weight(&stage.get(&virtual_service())), 0);
    controller.terminate().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn weights_follow_the_plan_and_nothing_else() {
    let stage = Stage::new();
    stage.create(W5);
    let controller = stage.controller("one");
    stage.phase(60, "Healthy").await;
    stage.patch(&rollout(), &image("2"));
    let mut weights = vec![0];
    stage
        .until(120, "promotion", |stage| {
            let weight = canary_weight(&stage.get(&virtual_service()));
            if weights.last() != Some(&weight) {
                weights.push(weight);
            }
            weights.len() > 1 && weight == 0
        })
        .await;
    assert_eq!(weights, [0, 20, 60, 100, 0]);
    controller.terminate().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_replica_set_of_somebody_else_with_the_name_of_ours_makes_another_hash() {
    let stage = Stage::new();
    stage.create(W5);
    let controller = stage.controller("one");
    stage.phase(60, "Healthy").await;
    let mut template = stage.get(&rollout())["spec"]["template"].clone();
    template["spec"]["containers"] = image("2")["spec"]["template"]["spec"]["containers"].clone();
    let first = template_hash(&template, None);
    stage.create(&format!(
        "
apiVersion: apps/v1
kind: ReplicaSet
metadata: {{ name: web-{first}, namespace: shop, labels: {{ app: other }} }}
spec:
  replicas: 0
  selector: {{ matchLabels: {{ app: other }} }}
  template:
    metadata: {{ labels: {{ app: other }} }}
    spec: {{ containers: [{{ name: other, image: 'registry/other:1' }}] }}
"
    ));
    stage.patch(&rollout(), &image("2"));
    let second = template_hash(&template, Some(1));
    stage
        .until(120, "promotion", |stage| stage.get(&rollout())["status"]["stableRS"] == *second)
        .await;
    assert_eq!(stage.get(&rollout())["status"]["collisionCount"], json!(1));
    controller.terminate().await.unwrap();
}
