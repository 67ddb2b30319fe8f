use serde_json::json;
use sluice_crds::object::Propagation;

use super::*;

fn patch() -> Change {
    Change::MergePatch { body: json!({}) }
}

fn create() -> Change {
    Change::Create { body: json!({}) }
}

fn check(change: Change, status: u16, body: Value) -> Outcome {
    let body = body.to_string().into_bytes().into();
    let reply = Reply { status, body, retry_after: Some(Duration::from_secs(3)) };
    match classify(&change, &reply) {
        Verdict::Is(outcome) => outcome,
        Verdict::AlreadyExists => Outcome::AlreadyExistsOurs(ResourceVersion::default()),
    }
}

fn words(outcome: &Outcome) -> &'static str {
    outcome.as_str()
}

#[test]
fn every_answer_has_the_class_that_the_design_names() {
    let causes =
        json!({ "message": "m", "details": { "causes": [{ "reason": "FieldValueInvalid" }] } });
    let managers =
        json!({ "message": "m", "details": { "causes": [{ "reason": "FieldManagerConflict" }] } });
    let typed = json!({ "message": "failed to create typed patch object (shop/web; v1)" });
    let exists = json!({ "reason": "AlreadyExists", "message": "m" });
    let table = [
        (patch(), 200, json!({}), "applied"),
        (create(), 201, json!({}), "applied"),
        (patch(), 409, json!({ "reason": "Conflict" }), "conflict"),
        (patch(), 409, managers, "refused"),
        (create(), 409, exists, "already_exists_ours"),
        (patch(), 404, json!({}), "conflict"),
        (create(), 404, json!({}), "refused"),
        (patch(), 422, json!({ "message": "m", "details": {} }), "conflict"),
        (patch(), 422, causes, "refused"),
        (patch(), 403, json!({}), "refused"),
        (patch(), 400, json!({}), "refused"),
        (patch(), 429, json!({}), "unavailable"),
        (patch(), 500, typed, "refused"),
        (patch(), 500, json!({}), "unknown"),
        (patch(), 503, json!({}), "unknown"),
        (patch(), 504, json!({}), "unknown"),
    ];
    for (change, status, body, wanted) in table {
        let what = format!("{status} {body} for {change:?}");
        assert_eq!(words(&check(change, status, body)), wanted, "{what}");
    }
}

#[test]
fn too_many_requests_says_when_to_try_again() {
    assert_eq!(check(patch(), 429, json!({})), Outcome::Unavailable(Some(Duration::from_secs(3))));
}

#[test]
fn a_refusal_keeps_the_servers_words() {
    let body = json!({ "message": "rollouts.argoproj.io \"web\" is forbidden: quota" });
    assert_eq!(
        check(patch(), 403, body),
        Outcome::Refused("rollouts.argoproj.io \"web\" is forbidden: quota".into())
    );
}

#[test]
fn an_acknowledged_write_brings_its_version() {
    let body = json!({ "metadata": { "name": "web", "resourceVersion": "17" } });
    assert_eq!(check(patch(), 200, body), Outcome::Applied(Some(17.into())));
}

#[test]
fn a_deletion_with_finalizers_lives_on_in_a_new_version() {
    let delete = || Change::Delete { propagation: Propagation::Background };
    assert_eq!(check(delete(), 200, json!({ "kind": "Status" })), Outcome::Gone);
    let marked = json!({ "kind": "ReplicaSet", "metadata": {
        "name": "web", "resourceVersion": "17", "deletionTimestamp": "2026-01-01T00:00:00Z" } });
    assert_eq!(check(delete(), 200, marked), Outcome::Applied(Some(17.into())));
}

#[test]
fn a_budget_that_keeps_a_pod_is_no_trouble_of_the_server() {
    let budget = json!({ "message": "m", "details": { "causes": [
        { "reason": "DisruptionBudget", "message": "web needs 4 healthy pods and has 4 currently" },
    ] } });
    let wanted = Outcome::NotEvicted("web needs 4 healthy pods and has 4 currently".into());
    assert_eq!(check(Change::Evict, 429, budget), wanted);
    assert_eq!(words(&check(Change::Evict, 429, json!({}))), "unavailable");
    let two = json!({ "message": "This pod has more than one PodDisruptionBudget" });
    assert!(matches!(check(Change::Evict, 500, two), Outcome::NotEvicted(_)));
    assert_eq!(words(&check(Change::Evict, 503, json!({}))), "unknown");
    assert_eq!(words(&check(Change::Evict, 404, json!({}))), "conflict");
    assert_eq!(check(Change::Evict, 201, json!({ "kind": "Status" })), Outcome::Applied(None));
}
