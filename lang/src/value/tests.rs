use serde_json::json;

use super::Value;

#[test]
fn a_value_prints_as_argo_prints_a_measurement() {
    let cases: [(Value, &str); 8] = [
        (0.95.into(), "0.95"),
        (5.0.into(), "5"),
        (vec![0.95, f64::NAN, f64::INFINITY, f64::NEG_INFINITY].into(), "[0.95,NaN,+Inf,-Inf]"),
        (Vec::<f64>::new().into(), "[]"),
        ("a \"b\"".into(), r#""a \"b\"""#),
        (Value::Nil, "null"),
        (json!({"b": true, "a": [1, null]}).into(), r#"{"a":[1,null],"b":true}"#),
        ((-0.0).into(), "-0"),
    ];
    for (value, text) in cases {
        assert_eq!(value.to_string(), text);
    }
}

#[test]
fn only_values_without_content_are_empty() {
    for value in [Value::Nil, json!([]).into(), json!({}).into(), "".into()] {
        assert!(value.is_empty(), "{value}");
    }
    for value in [json!(0).into(), json!(false).into(), json!([null]).into(), Value::from(f64::NAN)]
    {
        assert!(!value.is_empty(), "{value}");
    }
}

#[test]
fn numbers_that_json_lacks_become_text_in_json() {
    let value: Value = vec![f64::NAN, f64::INFINITY, 1.5].into();
    assert_eq!(value.to_json(), json!(["NaN", "+Inf", 1.5]));
}
