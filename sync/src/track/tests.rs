use serde_json::json;

use super::{tracked_by, tracking_id};
use crate::key::ResourceKey;

fn key(group: &str, kind: &str, namespace: &str, name: &str) -> ResourceKey {
    ResourceKey {
        group: group.into(),
        kind: kind.into(),
        namespace: namespace.into(),
        name: name.into(),
    }
}

fn check(id: &str, key: &ResourceKey, wanted: Option<&str>) {
    let body = json!({ "metadata": { "annotations": { "argocd.argoproj.io/tracking-id": id } } });
    assert_eq!(tracked_by(&body, key), wanted, "{id}");
}

#[test]
fn the_id_has_the_form_of_argo() {
    assert_eq!(
        tracking_id("shop", &key("apps", "Deployment", "shop", "web")),
        "shop:apps/Deployment:shop/web"
    );
    assert_eq!(tracking_id("shop", &key("", "Service", "shop", "web")), "shop:/Service:shop/web");
}

#[test]
fn a_copied_id_does_not_make_another_object_ours() {
    let service = key("", "Service", "shop", "web");
    check("shop:/Service:shop/web", &service, Some("shop"));
    check("shop:/Endpoints:shop/web", &service, None);
    check("shop:/Service:other/web", &service, None);
    check("shop:/Service:shop/web-canary", &service, None);
    check("nonsense", &service, None);
    check("shop:/Namespace:shop/shop", &key("", "Namespace", "", "shop"), Some("shop"));
}
