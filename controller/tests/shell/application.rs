use serde_json::{Value, json};
use sluice_controller::config::Config;
use sluice_crds::object::{Kind, ObjectRef};

use super::stage::{Stage, W5, canary_weight, rollout, virtual_service};

const APPLICATION: &str = r"
apiVersion: argoproj.io/v1alpha1
kind: AppProject
metadata: { name: default, namespace: argocd }
spec:
  sourceRepos: ['*']
  destinations: [{ server: '*', namespace: '*' }]
  clusterResourceWhitelist: [{ group: '*', kind: '*' }]
---
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: { name: shop, namespace: argocd }
spec:
  project: default
  refreshInterval: 1s
  source: { repoURL: 'https://git.example/shop.git', path: ., targetRevision: HEAD }
  destination: { server: 'https://kubernetes.default.svc', namespace: shop }
  syncPolicy: { automated: { prune: true, selfHeal: true } }
";

fn application() -> ObjectRef {
    ObjectRef::namespaced(Kind::APPLICATION, "argocd", "shop")
}

async fn synced() -> (Stage, super::stage::Running) {
    let stage = Stage::new();
    stage.create("{ apiVersion: v1, kind: Namespace, metadata: { name: argocd } }");
    let (namespace, manifests) = W5.trim_start().split_once("---\n").unwrap();
    stage.create(namespace);
    stage.fakes.push(manifests);
    let controller = stage.controller("one");
    stage.create(APPLICATION);
    is(&stage, 60, "Synced", "Healthy").await;
    (stage, controller)
}

async fn is(stage: &Stage, seconds: u64, sync: &str, health: &str) {
    stage
        .until(seconds, &format!("{sync}, {health}"), |stage| {
            let status = stage.get(&application())["status"].clone();
            status["sync"]["status"] == sync && status["health"]["status"] == health
        })
        .await;
}

fn pushed(stage: &Stage, version: &str) -> String {
    let (_, manifests) = W5.trim_start().split_once("---\n").unwrap();
    stage.fakes.push(&manifests.replace("registry/web:1", &format!("registry/web:{version}")))
}

#[tokio::test(start_paused = true)]
async fn the_first_sync_is_one_operation_and_no_drift() {
    let (stage, controller) = synced().await;
    stage.pass(std::time::Duration::from_secs(30)).await;
    let status = stage.get(&application())["status"].clone();
    assert_eq!(status["sync"]["status"], "Synced", "{status:#}");
    assert_eq!(status.pointer("/sluice/selfHeal"), None, "{status:#}");
    controller.terminate().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_controller_of_one_namespace_syncs_it_and_lists_nothing_else() {
    let stage = Stage::new();
    stage.create("{ apiVersion: v1, kind: Namespace, metadata: { name: argocd } }");
    stage.fakes.push("{ apiVersion: v1, kind: ConfigMap, metadata: { name: settings } }");
    let config = Config::for_tests("one");
    let controller =
        stage.controller_with(Config { namespace: Some("argocd".to_owned()), ..config });
    stage.create(&APPLICATION.replace(
        "namespace: shop }\n  syncPolicy: {",
        "namespace: argocd }\n  syncPolicy: { syncOptions: [CreateNamespace=true],",
    ));
    is(&stage, 60, "Synced", "Healthy").await;
    let everywhere =
        |request: &String| request.starts_with("list ") && !request.contains("/namespaces/argocd/");
    let listed: Vec<_> = stage.requests_of("sluice-reads").into_iter().filter(everywhere).collect();
    assert!(listed.is_empty(), "{listed:#?}");
    controller.terminate().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_push_becomes_a_canary_and_the_promoted_version() {
    let (stage, controller) = synced().await;
    let commit = pushed(&stage, "2");
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
    is(&stage, 60, "Synced", "Healthy").await;
    let status = stage.get(&application())["status"].clone();
    assert_eq!(status["sync"]["revision"], json!(commit));
    let image = stage.get(&rollout());
    let image = image.pointer("/spec/template/spec/containers/0/image").cloned();
    assert_eq!(image, Some(json!("registry/web:2")));
    controller.terminate().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_aborted_commit_is_quarantined_and_the_last_healthy_content_comes_back() {
    let (stage, controller) = synced().await;
    let bad = pushed(&stage, "2");
    stage.until(60, "weight 20", |stage| canary_weight(&stage.get(&virtual_service())) == 20).await;
    let abort = json!({ "status": { "abort": true } });
    stage.patch_at(&format!("{}/status", rollout().path()), &abort);
    stage
        .until(60, "the last healthy content", |stage| {
            let rollout = stage.get(&rollout());
            let image = rollout.pointer("/spec/template/spec/containers/0/image").cloned();
            image == Some(json!("registry/web:1"))
        })
        .await;
    stage.phase(60, "Healthy").await;
    stage.pass(std::time::Duration::from_secs(120)).await;
    assert_eq!(canary_weight(&stage.get(&virtual_service())), 0);
    let status = stage.get(&application())["status"].clone();
    let entries = status.pointer("/sluice/quarantine").and_then(Value::as_array).unwrap();
    assert_eq!(entries[0]["revision"], json!(bad));
    assert_eq!(status["sync"]["status"], "OutOfSync");
    controller.terminate().await.unwrap();
}
