use serde_json::json;

use super::{clean, digest};

#[test]
fn a_manifest_says_nothing_that_is_not_git_s_to_say() {
    let manifest = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {
            "name": "s", "uid": "1", "resourceVersion": "2", "creationTimestamp": null,
            "annotations": {
                "epoch.sluice.dev/a": "x:1:1", "sluice.dev/quarantine-release": "all", "keep": "me",
            },
        },
        "data": { "a": "YQ==" }, "stringData": { "b": "b" }, "status": { "x": 1 },
    });
    assert_eq!(
        clean(&manifest, Some("shop")),
        json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": { "name": "s", "namespace": "shop", "annotations": { "keep": "me" } },
            "data": { "a": "YQ==", "b": "Yg==" },
        })
    );
}

#[test]
fn a_digest_does_not_depend_on_the_order_of_keys() {
    let a: serde_json::Value = serde_json::from_str(r#"{"a":1,"b":[1,2]}"#).unwrap();
    let b: serde_json::Value = serde_json::from_str(r#"{"b":[1,2],"a":1}"#).unwrap();
    assert_eq!(digest(&a), digest(&b));
    assert_ne!(digest(&a), digest(&json!({ "a": 1, "b": [2, 1] })));
}
