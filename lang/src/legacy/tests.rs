use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{TagError, args, substitute, substitute_text, tags};

fn check(value: Value, wanted: Value) {
    let values: BTreeMap<String, String> =
        [("service", "checkout"), ("limit", "5"), ("quote", "a\"b\\c\n{{args.service}}")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
    assert_eq!(substitute(&value, &args(&values)).unwrap(), wanted);
}

#[test]
fn arguments_are_filled_in_wherever_a_string_is() {
    check(
        json!({"name": "m", "count": "{{args.limit}}", "provider": {"web": {"headers": [{"key": "x", "value": "{{ args.service }}-{{args.limit}}"}]}}}),
        json!({"name": "m", "count": "5", "provider": {"web": {"headers": [{"key": "x", "value": "checkout-5"}]}}}),
    );
    check(json!({"{{args.service}}": 1}), json!({"checkout": 1}));
    check(json!([1, true, null, "plain }} text {"]), json!([1, true, null, "plain }} text {"]));
}

#[test]
fn a_value_cannot_leave_its_string_and_is_not_filled_in_again() {
    check(json!({"q": "x{{args.quote}}y"}), json!({"q": "xa\"b\\c\n{{args.service}}y"}));
}

#[test]
fn an_unknown_tag_is_an_error_that_names_tag_and_place() {
    let none = BTreeMap::new();
    let error = substitute(
        &json!({"provider": {"prometheus": {"query": "rate({{ args.nope }})"}}}),
        &args(&none),
    )
    .unwrap_err();
    assert_eq!(error.to_string(), "provider.prometheus.query: unknown tag `{{args.nope}}`");
    let error = substitute(&json!({"metrics": [{"name": "{{pod}}"}]}), &args(&none)).unwrap_err();
    assert_eq!(error, TagError::Unknown { tag: "pod".into(), path: "metrics[0].name".into() });
}

#[test]
fn a_tag_that_is_not_closed_is_an_error() {
    let error = substitute_text("a {{args.x", "value", &|_| Some(String::new())).unwrap_err();
    assert_eq!(error.to_string(), "value: `{{` without `}}` in `args.x`");
}

#[test]
fn experiment_tags_go_through_the_same_resolver() {
    let text = substitute_text("hash={{templates.canary.podTemplateHash}}", "value", &|tag| {
        (tag == "templates.canary.podTemplateHash").then(|| "abc".to_owned())
    });
    assert_eq!(text.unwrap(), "hash=abc");
}

#[test]
fn tags_lists_what_a_metric_uses() {
    let found = tags(&json!({"a": "{{args.b}} {{ args.a }}", "c": ["{{args.b}}"]})).unwrap();
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["args.a", "args.b"]);
}
