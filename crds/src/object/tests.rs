use super::*;

fn service() -> ObjectRef {
    ObjectRef::namespaced(Kind::SERVICE, "shop", "web")
}

fn write(change: Change) -> Write {
    Write {
        object: service(),
        preconditions: Preconditions {
            uid: Some("u1".into()),
            resource_version: Some(ResourceVersion::from(7)),
        },
        manager: labels::MANAGER_ROLLOUT.into(),
        change,
    }
}

#[test]
fn a_longer_resource_version_is_newer() {
    assert!(ResourceVersion::from(10) > ResourceVersion::from(9));
    assert!(ResourceVersion::from(100) < ResourceVersion::from(101));
}

#[test]
fn a_json_patch_begins_with_its_preconditions() {
    let operation = json!({ "op": "add", "path": "/spec/selector/x", "value": "y" });
    let request = write(Change::JsonPatch { operations: vec![operation.clone()] }).request();
    assert_eq!(
        request.body,
        json!([
            { "op": "replace", "path": "/metadata/resourceVersion", "value": "7" },
            { "op": "test", "path": "/metadata/uid", "value": "u1" },
            operation,
        ])
    );
}

#[test]
fn a_merge_patch_carries_its_preconditions_in_the_body() {
    let request = write(Change::MergePatch { body: json!({ "spec": {} }) }).request();
    assert_eq!(request.body["metadata"], json!({ "uid": "u1", "resourceVersion": "7" }));
}

#[test]
fn the_status_of_a_kind_without_the_subresource_is_written_on_the_main_endpoint() {
    let mut status = write(Change::Status { body: json!({}) });
    status.object = ObjectRef::namespaced(Kind::ANALYSIS_RUN, "shop", "run");
    assert!(
        status
            .request()
            .path
            .starts_with("/apis/argoproj.io/v1alpha1/namespaces/shop/analysisruns/run?")
    );
    status.object = ObjectRef::namespaced(Kind::ROLLOUT, "shop", "web");
    assert!(status.request().path.contains("/rollouts/web/status?"));
}

#[test]
fn a_merge_patch_of_equal_values_is_nothing() {
    let value = json!({ "a": { "b": [1, 2] } });
    assert_eq!(merge_patch(&value, &value), None);
    assert_eq!(
        merge_patch(&value, &json!({ "a": { "c": 1 } })),
        Some(json!({ "a": { "b": null, "c": 1 } }))
    );
}

#[test]
fn metadata_keeps_the_controlling_owner_and_drops_what_kubectl_left() {
    let meta: Meta = serde_json::from_value(json!({
        "name": "web",
        "annotations": { labels::LAST_APPLIED: "{}", "a": "b" },
        "managedFields": [{ "manager": "x" }],
        "ownerReferences": [
            { "apiVersion": "v1", "kind": "A", "name": "a", "uid": "1" },
            { "apiVersion": "v1", "kind": "B", "name": "b", "uid": "2", "controller": true },
        ],
    }))
    .unwrap();
    assert_eq!(meta.owner.unwrap().uid, "2");
    assert_eq!(meta.annotations.len(), 1);
}

#[test]
fn an_eviction_is_asked_for_by_uid_whatever_the_version() {
    let mut eviction = write(Change::Evict);
    eviction.object = ObjectRef::namespaced(Kind::POD, "shop", "web-1");
    let request = eviction.request();
    assert_eq!(request.method, "POST");
    assert!(request.path.starts_with("/api/v1/namespaces/shop/pods/web-1/eviction?"));
    assert_eq!(request.body["kind"], "Eviction");
    assert_eq!(request.body["deleteOptions"]["preconditions"], json!({ "uid": "u1" }));
}
