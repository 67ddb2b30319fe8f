use std::time::Duration;

use sluice_controller::RunError;
use sluice_crds::object::{Kind, ObjectRef};
use sluice_sim::faults::{Fault, Matches, WatchFault};

use super::stage::{Stage, W5, canary_weight, image, rollout, virtual_service};

const BASIC: &str = r"
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: { name: web, namespace: shop }
spec:
  replicas: 2
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec: { containers: [{ name: web, image: 'registry/web:1' }] }
  strategy: { canary: { steps: [{ setWeight: 50 }] } }
";

fn lease() -> ObjectRef {
    ObjectRef::namespaced(Kind::LEASE, "sluice-system", "argo-rollouts-controller-lock")
}

#[tokio::test(start_paused = true)]
async fn a_successor_finishes_what_a_killed_process_began() {
    let stage = Stage::new();
    stage.create(W5);
    let first = stage.controller("one");
    stage.phase(60, "Healthy").await;
    stage.patch(&rollout(), &image("2"));
    stage.until(60, "weight 20", |stage| canary_weight(&stage.get(&virtual_service())) == 20).await;
    first.kill().await;
    let second = stage.controller("two");
    stage.promoted(120).await;
    second.terminate().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_clean_stop_releases_the_lease_and_the_standby_takes_over_at_once() {
    let stage = Stage::new();
    stage.create(W5);
    let first = stage.controller("one");
    stage.phase(60, "Healthy").await;
    let second = stage.controller("two");
    stage.pass(Duration::from_secs(10)).await;
    let lists = stage.recorded("sluice-reads").len();
    first.terminate().await.unwrap();
    let holder = |stage: &Stage| stage.get(&lease())["spec"]["holderIdentity"].clone();
    stage.until(5, "takeover", |stage| holder(stage) == "two").await;
    stage.patch(&rollout(), &image("2"));
    stage.phase(120, "Healthy").await;
    assert_eq!(stage.since("sluice-reads", lists), Vec::<String>::new(), "the standby is warm");
    second.terminate().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_process_that_cannot_renew_stops_writing_and_ends() {
    let stage = Stage::new();
    stage.create(W5);
    let controller = stage.controller("one");
    stage.phase(60, "Healthy").await;
    let matches = Matches::plural("leases").verb("patch");
    stage.service.with_faults(|plan| plan.on(matches, 0, u32::MAX, Fault::ErrorBefore(503)));
    let ended = tokio::time::timeout(Duration::from_secs(30), controller.ended()).await;
    assert!(matches!(ended.expect("it ends"), Err(RunError::Lost(_))));
    let writes = stage.recorded("sluice-writes").len();
    stage.patch(&rollout(), &image("2"));
    stage.pass(Duration::from_secs(30)).await;
    assert_eq!(stage.recorded("sluice-writes").len(), writes);
}

#[tokio::test(start_paused = true)]
async fn without_istio_other_rollouts_go_on_and_its_kinds_are_found_when_they_come() {
    let stage = Stage::bare();
    for kind in [Kind::ROLLOUT, Kind::ANALYSIS_RUN, Kind::ANALYSIS_TEMPLATE] {
        stage.define(&kind);
    }
    stage.create("{ apiVersion: v1, kind: Namespace, metadata: { name: shop } }");
    stage.create(BASIC);
    let controller = stage.controller("one");
    stage.phase(60, "Healthy").await;
    let listed = |stage: &Stage| {
        let requests = stage.recorded("sluice-reads");
        let lists = requests.iter().filter(|r| r.path.ends_with("/virtualservices"));
        lists.map(|request| request.code).collect::<Vec<_>>()
    };
    let before = listed(&stage).len();
    stage.pass(Duration::from_secs(300)).await;
    let probes = listed(&stage).len() - before;
    assert!((4..=12).contains(&probes), "asked {probes} times in 300 s");
    stage.define(&Kind::VIRTUAL_SERVICE);
    stage.until(61, "a list", |stage| listed(stage).contains(&200)).await;
    controller.terminate().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_object_that_does_not_decode_harms_no_other() {
    let stage = Stage::new();
    stage.create(W5);
    let broken =
        BASIC.replace("name: web,", "name: broken,").replace("replicas: 2", "replicas: two");
    stage.create(&broken);
    let controller = stage.controller("one");
    stage.phase(60, "Healthy").await;
    controller.terminate().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn lost_replies_conflicts_and_busy_servers_do_not_stop_a_canary() {
    let stage = Stage::new();
    stage.create(W5);
    let controller = stage.controller("one");
    stage.phase(60, "Healthy").await;
    let faults = [
        ("virtualservices", Fault::LoseReply),
        ("replicasets", Fault::Conflict),
        ("services", Fault::ErrorAfter(503)),
        ("rollouts", Fault::LoseRequest),
        ("replicasets", Fault::Throttle { retry_after_seconds: 2 }),
    ];
    for (plural, fault) in faults {
        let matches = Matches::plural(plural).verb("patch").actor("sluice-writes");
        stage.service.with_faults(|plan| plan.on(matches, 0, 1, fault));
    }
    stage.patch(&rollout(), &image("2"));
    stage.promoted(180).await;
    controller.terminate().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_write_that_lands_late_moves_no_traffic() {
    let stage = Stage::new();
    stage.create(W5);
    let controller = stage.controller("one");
    stage.phase(60, "Healthy").await;
    let matches = Matches::plural("virtualservices").verb("patch").actor("sluice-writes");
    let late = Fault::Zombie(Duration::from_secs(15));
    stage.service.with_faults(|plan| plan.on(matches, 0, 1, late));
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
    stage.pass(Duration::from_secs(30)).await;
    assert_eq!(weights, [0, 20, 60, 100, 0]);
    assert_eq!(canary_weight(&stage.get(&virtual_service())), 0);
    let codes = stage.recorded("sluice-writes");
    let refused = |code: u16| matches!(code, 409 | 422);
    assert!(codes.iter().any(|request| refused(request.code)), "the late write is refused");
    controller.terminate().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_rollout_that_is_gone_adopts_nothing_even_while_the_cache_still_holds_it() {
    let stage = Stage::new();
    stage.create(W5);
    let controller = stage.controller("one");
    stage.phase(60, "Healthy").await;
    let pods = |stage: &Stage| {
        stage.service.with_world(|world| world.api.objects(&Kind::POD, Some("shop")).len())
    };
    assert_eq!(pods(&stage), 5);
    let hold = Matches::plural("rollouts").actor("sluice-reads");
    let hold = stage.service.with_faults(|faults| faults.on_watch(hold, WatchFault::Hold));
    stage.delete(&rollout(), "Orphan");
    stage.pass(Duration::from_secs(30)).await;
    let asked = format!("get {}", rollout().path().replace("/namespaces/shop", ""));
    let asked = stage.requests_of("sluice-writes").iter().any(|line| line.starts_with(&asked));
    assert!(asked, "the test saw no adoption: {:#?}", stage.requests_of("sluice-writes"));
    assert_eq!(pods(&stage), 5);
    stage.service.with_faults(|faults| faults.withdraw(hold));
    stage.create(W5.rsplit("---\n").next().unwrap());
    stage.phase(60, "Healthy").await;
    assert_eq!(pods(&stage), 5);
    controller.terminate().await.unwrap();
}
