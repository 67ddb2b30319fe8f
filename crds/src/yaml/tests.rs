use serde_json::json;

use super::*;

#[test]
fn values_are_read_as_kubectl_reads_them() {
    let read = values(
        "a: yes\nb: 0644\nc: \"0644\"\nd: 1.10\ne: ~\nf: &x {g: 1}\nh: *x\ni: 2026-01-01\non: OutOfSync\n",
    )
    .unwrap();
    assert_eq!(
        read,
        [json!({
            "a": true, "b": 420, "c": "0644", "d": 1.1, "e": null, "f": { "g": 1 }, "h": { "g": 1 },
            "i": "2026-01-01", "on": "OutOfSync",
        })]
    );
}

#[test]
fn documents_are_separate_and_empty_ones_are_left_out() {
    assert_eq!(
        values("---\n# only a comment\n---\na: 1\n---\n---\nb: 2\n").unwrap(),
        [json!({ "a": 1 }), json!({ "b": 2 })]
    );
    assert_eq!(values("").unwrap(), Vec::<Value>::new());
}

#[test]
fn a_key_that_is_there_twice_is_an_error_with_its_place() {
    let error = load("a: 1\nb: 2\na: 3\n").unwrap_err();
    assert_eq!(error.place.map(|place| place.line), Some(3), "{error}");
}

#[test]
fn every_value_knows_its_place() {
    let text = "kind: Rollout\n---\nspec:\n  steps:\n  - setWeight: 10\n  - pause:\n      duration: 5m\n  labels: {a/b: c}\n";
    let document = &load(text).unwrap()[1];
    let check = |path: FieldPath, place: &str| {
        assert_eq!(
            document.place(&path).map(|place| place.to_string()).as_deref(),
            Some(place),
            "{path}"
        );
    };
    let steps = FieldPath::spec().field("steps");
    check(steps.index(0).field("setWeight"), "5:16");
    check(steps.index(1).field("pause.duration"), "7:17");
    check(steps.index(1).field("pause.missing"), "7:7");
    check(FieldPath::spec().field("labels").key("a/b"), "8:17");
}

#[test]
fn what_would_eat_all_memory_is_refused() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let before = format!("*a{}", level - 1);
        bomb.push_str(&format!("a{level}: &a{level} [{}]\n", vec![before; 10].join(", ")));
    }
    assert!(load(&bomb).is_err());
    assert!(load(&"[".repeat(100_000)).is_err());
    assert!(load("a: .nan").is_err());
    assert!(load("{unclosed: [").is_err());
}
