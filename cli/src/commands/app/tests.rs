use super::*;

fn shop(automated: bool) -> Application {
    let mut app: Value =
        serde_saphyr::from_str(include_str!("../../../tests/fixtures/shop.yaml")).unwrap();
    if !automated {
        app["spec"]["syncPolicy"] = json!({});
    }
    serde_json::from_value(app).unwrap()
}

#[test]
fn a_held_back_commit_says_why_and_what_lets_it_go() {
    let style = Style { color: false, ascii: false };
    let now = "2026-11-21T12:12:00Z".parse().unwrap();
    insta::assert_snapshot!(show::application(&shop(true), style, now));
}

#[test]
fn a_rollback_that_git_would_overtake_is_refused() {
    let refused = rollback_operation(&shop(true), None).unwrap_err();
    assert!(refused.to_string().contains("syncs by itself"), "{refused}");
}

#[test]
fn a_rollback_goes_to_the_sync_before_the_last_with_the_source_that_it_had() {
    let operation = rollback_operation(&shop(false), None).unwrap();
    assert_eq!(operation["sync"]["revision"], "4f1c2ab000000000000000000000000000000000");
    assert_eq!(operation["sync"]["source"]["path"], "apps/shop");
    assert!(rollback_operation(&shop(false), Some(77)).is_err());
}
