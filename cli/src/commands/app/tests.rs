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
fn argos_name_refuses_a_rollback_while_syncs_are_automated() {
    let refused = rollback_operation(&shop(true), None, Dialect::Argo).unwrap_err();
    assert_eq!(refused.to_string(), "rollback cannot be initiated when auto-sync is enabled");
}

#[test]
fn a_rollback_goes_to_the_sync_before_the_last_with_the_source_that_it_had() {
    let (operation, target) = rollback_operation(&shop(true), None, Dialect::Sluice).unwrap();
    assert_eq!(operation["sync"]["revision"], "4f1c2ab000000000000000000000000000000000");
    assert_eq!(operation["sync"]["source"]["path"], "apps/shop");
    assert_eq!(target, "sync 1, commit 4f1c2ab");
    let missing = rollback_operation(&shop(false), Some(77), Dialect::Argo).unwrap_err();
    assert_eq!(
        missing.shown(Dialect::Sluice),
        "error: application 'shop' has no sync 77 in its history\nhint: its history has: 1, 2"
    );
}

#[test]
fn lists_fit_a_terminal() {
    let style = Style { color: false, ascii: false };
    let app = shop(true);
    let history = show::history(&app.status.as_ref().unwrap().history, style);
    let list = show::list(&[app], style, false);
    insta::assert_snapshot!(format!("{list}\n{history}"));
}
