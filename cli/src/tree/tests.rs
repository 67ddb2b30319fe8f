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
    }
}

fn draw_plain(dialect: Dialect, ascii: bool) -> String {
    let now = "2026-11-21T12:01:00Z".parse().unwrap();
    draw(&family(), dialect, Style { color: false, ascii }, now)
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
fn argos_name_gets_argos_header() {
    assert!(!draw_plain(Dialect::Argo, false).contains("Waits for:"));
}

#[test]
fn spans_are_written_as_kubectl_writes_them() {
    for (seconds, text) in
        [(0, "0s"), (119, "119s"), (250, "4m10s"), (600, "10m"), (10_800, "3h"), (259_200, "3d")]
    {
        assert_eq!(span(seconds), text);
    }
}
