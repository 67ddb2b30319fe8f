use super::*;

fn family() -> Family {
    let yaml = |text: &str| -> serde_json::Value { serde_saphyr::from_str(text).unwrap() };
    let fixture = yaml(include_str!("../../tests/fixtures/checkout.yaml"));
    let list = |key: &str| fixture[key].clone();
    Family {
        rollout: serde_json::from_value(list("rollout")).unwrap(),
        replica_sets: serde_json::from_value(list("replicaSets")).unwrap(),
        pods: serde_json::from_value(list("pods")).unwrap(),
        runs: serde_json::from_value(list("analysisRuns")).unwrap(),
        owner: None,
    }
}

fn draw_plain(dialect: Dialect, ascii: bool) -> String {
    let now = "2026-11-21T12:01:00Z".parse().unwrap();
    let drawing = Drawing { dialect, style: Style { color: false, ascii }, is_wide: false };
    draw(&family(), drawing, now)
}

#[test]
fn a_canary_in_mid_analysis_is_a_tree_of_revisions() {
    insta::assert_snapshot!(draw_plain(Dialect::Sluice, false));
}

#[test]
fn the_tree_can_be_drawn_in_ascii() {
    let text = draw_plain(Dialect::Sluice, true);
    assert!(text.is_ascii(), "{text}");
}

#[test]
fn argos_name_gets_argos_words() {
    insta::assert_snapshot!(draw_plain(Dialect::Argo, false));
}

#[test]
fn the_second_line_says_what_the_step_waits_for() {
    let mut family = family();
    let mut check = |change: serde_json::Value, answer: &str| {
        let mut status = serde_json::to_value(family.rollout.status.clone()).unwrap();
        for (key, value) in change.as_object().unwrap() {
            status[key] = value.clone();
        }
        family.rollout.status = serde_json::from_value(status).unwrap();
        let drawing = Drawing {
            dialect: Dialect::Sluice,
            style: Style { color: false, ascii: false },
            is_wide: false,
        };
        let text = draw(&family, drawing, "2026-11-21T12:01:00Z".parse().unwrap());
        let line = text.lines().nth(1).unwrap();
        assert_eq!(line, format!("Status:     ◌ Progressing   step {answer}"));
    };
    check(serde_json::json!({ "sluice": null }), "3 of 4: analysis begins");
    check(serde_json::json!({ "currentStepIndex": 3 }), "4 of 4: weight 60");
    let pause =
        [serde_json::json!({ "reason": "CanaryPauseStep", "startTime": "2026-11-21T12:00:54Z" })];
    check(
        serde_json::json!({ "currentStepIndex": 1, "controllerPause": true, "pauseConditions": pause }),
        "2 of 4: paused, goes on in 4s",
    );
}

/// The same Pods, as a blue-green update in its pause.
fn blue_green() -> Family {
    let mut family = family();
    let mut rollout = serde_json::to_value(&family.rollout).unwrap();
    rollout["spec"]["strategy"] = serde_json::json!({ "blueGreen": {
        "activeService": "checkout", "previewService": "checkout-preview",
    } });
    let pause =
        serde_json::json!({ "reason": "BlueGreenPause", "startTime": "2026-11-21T12:00:54Z" });
    for (key, value) in [
        ("phase", serde_json::json!("Paused")),
        ("message", serde_json::json!("BlueGreenPause")),
        ("controllerPause", serde_json::json!(true)),
        ("pauseConditions", serde_json::json!([pause])),
        ("currentStepIndex", serde_json::Value::Null),
        ("canary", serde_json::Value::Null),
        ("sluice", serde_json::Value::Null),
        (
            "blueGreen",
            serde_json::json!({ "activeSelector": "5f7c9d8b6", "previewSelector": "6b9d7f5c4" }),
        ),
    ] {
        rollout["status"][key] = value;
    }
    family.rollout = serde_json::from_value(rollout).unwrap();
    family
}

#[test]
fn a_blue_green_update_shows_who_reaches_which_version() {
    let now = "2026-11-21T12:01:00Z".parse().unwrap();
    for (name, dialect) in [("blue_green", Dialect::Sluice), ("blue_green_argo", Dialect::Argo)] {
        let style = Style { color: false, ascii: false };
        let drawing = Drawing { dialect, style, is_wide: false };
        insta::assert_snapshot!(name, draw(&blue_green(), drawing, now));
    }
}
