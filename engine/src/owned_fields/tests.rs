use sluice_crds::rollout::RolloutSpec;

use super::{RouteTarget, owned_fields};

fn spec(yaml: &str) -> RolloutSpec {
    serde_saphyr::from_str(yaml).unwrap()
}

fn shown(yaml: &str) -> Vec<String> {
    owned_fields("shop", &spec(yaml), None)
        .into_iter()
        .map(|f| format!("{}: {:?}", f.object, f.field))
        .collect()
}

#[test]
fn a_canary_with_subsets_owns_weights_hashes_and_selectors() {
    insta::assert_debug_snapshot!(shown(
        "
strategy:
  canary:
    stableService: web
    canaryService: web-canary
    trafficRouting:
      managedRoutes: [{name: header}, {name: not-set-by-a-step}]
      istio:
        virtualServices: [{name: web, routes: [main]}, {name: web.edge}]
        destinationRule: {name: web, canarySubsetName: next}
    steps: [{setHeaderRoute: {name: header}}]
"
    ));
}

#[test]
fn blue_green_owns_the_selectors_of_its_services() {
    insta::assert_debug_snapshot!(shown(
        "strategy: {blueGreen: {activeService: web, previewService: web-preview}}"
    ));
}

#[test]
fn the_size_of_a_deployment_that_gives_way_is_owned() {
    let check = |reference: &str| {
        let fields = shown(&format!("workloadRef: {reference}\nstrategy: {{canary: {{}}}}"));
        fields == ["Deployment shop/web: Replicas"]
    };
    assert!(check("{apiVersion: apps/v1, kind: Deployment, name: web, scaleDown: progressively}"));
    assert!(check("{apiVersion: apps/v1, kind: Deployment, name: web, scaleDown: onsuccess}"));
    assert!(!check("{apiVersion: apps/v1, kind: Deployment, name: web, scaleDown: never}"));
    assert!(!check("{apiVersion: apps/v1, kind: Deployment, name: web}"));
    assert!(!check("{apiVersion: apps/v1, kind: ReplicaSet, name: web, scaleDown: onsuccess}"));
}

#[test]
fn a_host_means_a_service_by_any_of_its_names() {
    let target = RouteTarget::Service { name: "web".into(), namespace: "shop".into() };
    let check = |host: &str| target.matches(Some(host), None);
    assert!(check("web"));
    assert!(check("web.shop"));
    assert!(check("web.shop.svc"));
    assert!(check("web.shop.svc.cluster.local"));
    assert!(!check("web.other.svc.cluster.local"));
    assert!(!check("web.shop.example.com"));
    assert!(!check("web-canary"));
}
