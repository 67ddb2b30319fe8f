use sluice_crds::app_project::AppProjectSpec;
use sluice_crds::application::ApplicationDestination;
use sluice_crds::object::Change;

use super::Permission;
use crate::key::ResourceKey;

fn with<T>(yaml: &str, ask: impl FnOnce(Permission<'_>) -> T) -> T {
    let project: AppProjectSpec = serde_saphyr::from_str(yaml).unwrap();
    let destination = ApplicationDestination {
        server: Some("https://kubernetes.default.svc".into()),
        ..ApplicationDestination::default()
    };
    ask(Permission { name: "shop", project: &project, destination: &destination })
}

fn source(yaml: &str, url: &str) -> bool {
    with(yaml, |permission| permission.source(url).is_ok())
}

fn resource(yaml: &str, group: &str, kind: &str, namespace: &str) -> bool {
    let key = ResourceKey {
        group: group.into(),
        kind: kind.into(),
        namespace: namespace.into(),
        name: "x".into(),
    };
    with(yaml, |permission| permission.resource(&key, None).is_ok())
}

const ALL: &str = "
sourceRepos: ['*']
destinations: [{server: '*', namespace: '*'}]
clusterResourceWhitelist: [{group: '*', kind: '*'}]
";

#[test]
fn the_default_project_permits_everything() {
    assert!(source(ALL, "https://git.example.com/shop.git"));
    assert!(resource(ALL, "apps", "Deployment", "shop"));
    assert!(resource(ALL, "rbac.authorization.k8s.io", "ClusterRole", ""));
}

#[test]
fn a_source_needs_a_match_and_no_denial() {
    let project =
        "sourceRepos: ['https://git.example.com/shop/*', '!https://git.example.com/shop/secret']";
    assert!(source(project, "https://git.example.com/shop/web.git"));
    assert!(!source(project, "https://git.example.com/shop/secret"));
    assert!(!source(project, "https://git.example.com/shop/a/b"), "`*` stops at a slash");
    assert!(!source("{}", "https://git.example.com/shop/web"));
}

#[test]
fn a_namespace_needs_a_match_and_no_denial() {
    let project = "destinations: [{name: in-cluster, namespace: 'shop-*'}, {server: '*', namespace: '!shop-prod'}]";
    assert!(resource(project, "", "Service", "shop-dev"));
    assert!(!resource(project, "", "Service", "shop-prod"));
    assert!(!resource(project, "", "Service", "kube-system"));
}

#[test]
fn cluster_kinds_need_to_be_listed_and_namespaced_kinds_need_not() {
    let project = "
destinations: [{server: '*', namespace: '*'}]
clusterResourceWhitelist: [{group: '', kind: Namespace}]
namespaceResourceBlacklist: [{group: '', kind: ResourceQuota}]
";
    assert!(resource(project, "", "Namespace", ""));
    assert!(!resource(project, "rbac.authorization.k8s.io", "ClusterRole", ""));
    assert!(resource(project, "", "ConfigMap", "shop"));
    assert!(!resource(project, "", "ResourceQuota", "shop"));
    let nothing = "{destinations: [{server: '*', namespace: '*'}], namespaceResourceWhitelist: []}";
    assert!(!resource(nothing, "", "ConfigMap", "shop"));
}

#[test]
fn the_default_project_is_created_as_argo_creates_it() {
    let action = super::create_default("argocd");
    let Change::Create { body } = &action.write.change else { panic!("{action:?}") };
    assert_eq!(body["metadata"]["name"], "default");
    let spec: AppProjectSpec = serde_json::from_value(body["spec"].clone()).unwrap();
    let destination = ApplicationDestination {
        server: Some("https://kubernetes.default.svc".into()),
        ..ApplicationDestination::default()
    };
    let permission = Permission { name: "default", project: &spec, destination: &destination };
    assert_eq!(permission.source("https://git.example/any.git"), Ok(()));
    assert_eq!(permission.namespace("any"), Ok(()));
}
