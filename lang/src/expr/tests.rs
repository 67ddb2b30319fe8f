use serde_json::json;

use super::{Condition, ExprError, MAX_DEPTH, MAX_TEXT_BYTES};
use crate::Value;

fn outcome(condition: &str, result: impl Into<Value>) -> Result<bool, ExprError> {
    Condition::compile(condition)?.eval(&result.into())
}

fn check(condition: &str, result: impl Into<Value>, wanted: bool) {
    let result = result.into();
    assert_eq!(outcome(condition, result.clone()), Ok(wanted), "{condition} on {result}");
}

fn fails(condition: &str, result: impl Into<Value>, wanted: &str) {
    let result = result.into();
    let error = outcome(condition, result.clone()).unwrap_err();
    assert_eq!(error.to_string(), wanted, "{condition} on {result}");
}

#[test]
fn the_conditions_of_argos_documentation_answer_as_documented() {
    check("result[0] >= 0.95", vec![0.97], true);
    check("result[0] >= 0.95", vec![0.94], false);
    check("result[0] <= 0.05", vec![0.05], true);
    check("result >= 0.95", 0.95, true);
    check("result == 'true'", "true", true);
    check("len(result) == 0 || isNaN(result[0])", Vec::<f64>::new(), true);
    check("len(result) == 0 || isNaN(result[0])", vec![f64::NAN], true);
    check("len(result) == 0 || isNaN(result[0]) || result[0] < 5", vec![7.0], false);
    check("isNaN(result) || result >= 0.95", f64::NAN, true);
    check("isInf(result)", f64::NEG_INFINITY, true);
    check("isInf(result) or result > 3", 4.0, true);
    check("all(result, # < 5)", vec![1.0, 4.9], true);
    check("all(result, # < 5)", vec![1.0, 5.0], false);
    check("all(result, {# > 1})", vec![2.0, 3.0], true);
    check("any(result, {# > 10})", vec![2.0, 11.0], true);
    check("none(result, {# > 10})", vec![2.0, 3.0], true);
    check("one(result, # == 2)", vec![2.0, 3.0], true);
    check("asFloat(result) < 0.5", "0.25", true);
    check("asInt(result) < 200", "199", true);
    check("asInt(result) == 2", 2.9, true);
    check(
        "result.ok && result.successPercent >= 0.90",
        json!({"ok": true, "successPercent": 0.95}),
        true,
    );
    check("result.ok && result.successPercent >= 0.90", json!({"ok": false}), false);
    check("isNil(result) || result > 5", Value::Nil, true);
    check("isNil(result) || result > 5", 6.0, true);
    check("default(result, 0) < 0.05", Value::Nil, true);
    check("default(result, 0) < 0.05", 0.5, false);
    check("default(result, 0.01) == 0.01", Value::Nil, true);
    check("result[\"errors\"][0].code == 500", json!({"errors": [{"code": 500}]}), true);
    check("result.data.status in ['ok', 'warn']", json!({"data": {"status": "warn"}}), true);
    check("result matches '^v[0-9]+$'", "v12", true);
    check("result contains 'succ' && result startsWith 's'", "success", true);
    check("filter(result, {# > 1}) | len() == 2", vec![1.0, 2.0, 3.0], true);
    check(
        "mean(result) < 2.5 && max(result) == 3 && median(result) == 2",
        vec![1.0, 2.0, 3.0],
        true,
    );
    check("result.metrics.latency ?? 100 <= 100", json!({"metrics": {}}), true);
    check("result > 0.9 ? true : result > 0.8", 0.85, true);
}

#[test]
fn numbers_of_json_and_of_the_text_compare_across_kinds() {
    check("result == 200", json!(200), true);
    check("result in [200, 204]", json!(204), true);
    check("result not in [200, 204]", json!(500), true);
    check("result / 4 == 0.5", 2.0, true);
    check("5 / 2 == 2.5", Value::Nil, true);
    check("7 % 4 == 3 && 2 ** 3 ** 2 == 512 && -2 ^ 2 == -4", Value::Nil, true);
    check("result[1] == 2 && result[-1] == 3", vec![1.0, 2.0, 3.0], true);
    check("result[result[0]] == 2", vec![1.0, 2.0], true);
    check("0x10 == 16 && 1_000 == 1e3 && .5 == 0.5", Value::Nil, true);
    check("result != result", f64::NAN, true);
    check("result < 1 || result >= 1", f64::NAN, false);
}

#[test]
fn precedence_is_that_of_gos_expr() {
    check("1 + 2 * 3 == 7 && !(1 > 2) || false", Value::Nil, true);
    check("false || true && false", Value::Nil, false);
    check("not false and true", Value::Nil, true);
    check("!false == true", Value::Nil, true);
    check("1 < result < 3", 2.0, true);
    check("1 < result < 3", 3.0, false);
    check("1 < result == true", 2.0, false);
    check("true ? false : true || true", Value::Nil, false);
    check("(true ? 1 : 2) + 1 == 2", Value::Nil, true);
    check("result ?? 5 + 1 == 6", Value::Nil, true);
    check("1..3 == [1, 2, 3] && 2 in 1..3", Value::Nil, true);
    check("result | filter(# > 1) | map(# * 2) | sum() == 10", vec![1.0, 2.0, 3.0], true);
}

#[test]
fn closures_see_element_field_index_and_accumulator() {
    let pods = json!([{"name": "a", "up": true, "n": 1}, {"name": "b", "up": false, "n": 2}]);
    check("all(result, .n < 3)", pods.clone(), true);
    check("count(result, .up) == 1", pods.clone(), true);
    check("find(result, .name == 'b').n == 2", pods.clone(), true);
    check(
        "findIndex(result, #.name == 'b') == 1 && findLastIndex(result, .n > 5) == -1",
        pods.clone(),
        true,
    );
    check("map(result, .name) == ['a', 'b']", pods.clone(), true);
    check("sum(result, .n) == 3", pods.clone(), true);
    check("reduce(result, #acc + #.n, 0) == 3", pods.clone(), true);
    check("map(result, #index) == [0, 1]", pods.clone(), true);
    check("sortBy(result, .n, 'desc')[0].name == 'b'", pods.clone(), true);
    check("groupBy(result, .up)[true][0].name == 'a'", pods.clone(), true);
    check("all(result, any([1, 2], # == 1) && .n > 0)", pods, true);
}

#[test]
fn let_if_optional_chains_and_slices_work() {
    check(
        "let total = result.ok + result.bad; result.bad / total < 0.1",
        json!({"ok": 95, "bad": 5}),
        true,
    );
    check("if result > 1 { true } else if result > 0 { false } else { true }", 0.5, false);
    check("result?.a.b.c == nil", Value::Nil, true);
    check("(result.a?.b.c ?? 7) == 7", json!({"a": null}), true);
    check("result?.[0] == nil", Value::Nil, true);
    check(
        "result[1:] == [2, 3] && result[:-1] == [1, 2] && result[5:9] == []",
        vec![1.0, 2.0, 3.0],
        true,
    );
    check("{'a': 1, b: 2}.b == 2", Value::Nil, true);
    check("/* why */ result > 1 // because", 2.0, true);
    check(r#"result == "a\u0041\n" || `raw\n` == 'raw\\n'"#, "x", true);
}

#[test]
fn an_answer_without_data_is_an_error_and_never_a_verdict() {
    let empty = Vec::<f64>::new;
    fails("result[0] >= 0.95", empty(), "no data: index 0 of an empty list");
    fails("result[0] == 1", empty(), "no data: index 0 of an empty list");
    fails("!(result[0] > 1)", empty(), "no data: index 0 of an empty list");
    fails("result[1] > 1", vec![1.0], "no data: index 1 of a list of 1");
    fails("result[-2] > 1", vec![1.0], "no data: index -2 of a list of 1");
    fails("result.x > 1", Value::Nil, "no data: the text \"x\" of nil");
    fails("result >= 0.95", Value::Nil, "`>=` cannot be applied to nil and the number 0.95");
    fails(
        "all(result, .ok)",
        json!([{}]),
        "the predicate of all() must be true or false, found nil",
    );
    fails("result.missing < 5", json!({}), "`<` cannot be applied to nil and the number 5");
}

#[test]
fn a_condition_must_be_true_or_false() {
    fails("result", 1.0, "a condition must be true or false, this one is the number 1");
    fails("result", Value::Nil, "a condition must be true or false, this one is nil");
    fails("result.a", json!({}), "a condition must be true or false, this one is nil");
    fails("'yes'", 1.0, "a condition must be true or false, this one is the text \"yes\"");
    fails("result && true", 1.0, "`&&` needs true or false, found the number 1");
    fails("!result", "x", "`!` needs true or false, found the text \"x\"");
    fails("result ? true : false", 1.0, "`?` needs true or false, found the number 1");
}

#[test]
fn operations_that_values_do_not_have_are_errors() {
    fails("asInt(result) > 1", "1.5", "asInt() needs an integer, found the text \"1.5\"");
    fails("asFloat(result) > 1", json!([]), "asFloat() needs a number, found a list of 0");
    fails("asInt(result) > 1", f64::NAN, "asInt() needs an integer, found the number NaN");
    fails("isNaN(result)", "x", "isNaN() needs a number, found the text \"x\"");
    fails("result > 1", "x", "`>` cannot be applied to the text \"x\" and the number 1");
    fails("1 % 0 == 0", 1.0, "`%` cannot be applied to the number 1 and the number 0");
    fails("result.a == 1", 1.0, "the number 1 has no element the text \"a\"");
    fails("all(result, # > 1)", 1.0, "all() needs a list, found the number 1");
    fails(
        "result matches '['",
        "x",
        "`matches` cannot be applied to the text \"x\" and the text \"[\"",
    );
    fails("default(result) == 1", 1.0, "default() takes 2 argument(s), found 1");
    fails("timezone('Local') == 1", 1.0, "timezone(\"Local\") is not supported");
    fails("now() == now()", 1.0, "now() is not available in this place");
    check("int('-9223372036854775808') == -9223372036854775807 - 1", 1.0, true);
}

#[test]
fn now_is_an_argument() {
    let now = "2026-11-21T13:00:00Z".parse().unwrap();
    let eval = |text: &str| Condition::compile(text).unwrap().eval_at(&Value::Nil, now);
    assert_eq!(eval("now().Hour() == 13"), Ok(true));
    assert_eq!(eval("now() - date('2026-11-21T12:00:00Z') == duration('1h')"), Ok(true));
    assert_eq!(eval("duration('90m').Hours() > 1"), Ok(true));
    let earlier = super::instant("now() - duration('1h')", now);
    assert_eq!(earlier, Ok("2026-11-21T12:00:00Z".parse().unwrap()));
    let error = super::instant("5", now).unwrap_err();
    assert_eq!(error.to_string(), "expected an instant, found the number 5");
}

#[test]
fn what_is_no_expression_is_refused_with_its_column() {
    let cases = [
        ("", "column 1: found the end, expected a value"),
        ("result >", "column 9: found the end, expected a value"),
        ("result > > 1", "column 10: found `>`, expected a value"),
        ("result[0", "column 9: found the end, expected `]`"),
        ("(result", "column 8: found the end, expected `)`"),
        ("result 5", "column 8: found `5`, expected an operator or the end"),
        ("results > 5", "column 1: unknown name `results`: a condition knows `result`"),
        ("foo(result)", "column 4: unknown function `foo`"),
        ("all(result)", "column 12: `all` needs a predicate, such as `# > 0`"),
        (
            "# > 1",
            "column 1: `#` has a meaning inside of a function like `all(result, # < 5)` only",
        ),
        ("result == 'x", "column 11: text without end"),
        ("result == 1e999", "column 11: `1e999` is no number that can be represented"),
        (
            "99999999999999999999 > 1",
            "column 1: `99999999999999999999` is no number that can be represented",
        ),
        ("result @ 1", "column 8: unexpected character `@`"),
        ("result.", "column 8: found the end, expected a field name after `.`"),
        ("let x = 1; y > 1", "column 12: unknown name `y`: a condition knows `result`, `x`"),
        ("result = 1", "column 8: found `=`, expected an operator or the end"),
        ("/* open", "column 1: comment without end"),
        ("'\\u00'", "column 2: `\\u00'` is no character"),
    ];
    for (text, wanted) in cases {
        let error = Condition::compile(text).map(|_| ()).unwrap_err();
        assert_eq!(error.to_string(), wanted, "{text}");
    }
}

#[test]
fn the_deepest_and_the_longest_accepted_conditions_fit_the_stack_of_a_test_thread() {
    let long = vec!["1"; 149].join("+");
    check(&format!("{long} > 148"), Value::Nil, true);
    check(&format!("result{} == nil", "?.a".repeat(290)), Value::Nil, true);
    let chained = format!("result{} == 1", "[0]".repeat(60));
    fails(&chained, vec![1.0], "the number 1 has no element the number 0");
    let depth = MAX_DEPTH / 2 - 2;
    check(&format!("{}result{} > 0", "(".repeat(depth), ")".repeat(depth)), 1.0, true);
}

#[test]
fn conditions_beyond_the_limits_are_refused_before_anything_runs() {
    let cases = [
        " ".repeat(MAX_TEXT_BYTES + 1),
        format!("{}true{}", "(".repeat(500), ")".repeat(500)),
        format!("{}0{}", "result[".repeat(500), "]".repeat(500)),
        format!("{}true", "!".repeat(500)),
        format!("{}1", "true ? 1 : ".repeat(200)),
        format!("{}1 == 1", "2 ** ".repeat(400)),
        vec!["1"; 1000].join("+"),
        "if(".repeat(400),
        "a(".repeat(400),
        "[".repeat(4000),
        "{a:".repeat(1000),
        format!("{}true", "let x = 1; ".repeat(100)),
        format!("{}1{} == 1", "(1 < ".repeat(100), " < 3)".repeat(100)),
    ];
    for text in cases {
        let error = Condition::compile(&text).map(|_| ()).unwrap_err();
        let refused = matches!(error, ExprError::TooBig { .. } | ExprError::Syntax { .. });
        assert!(refused, "{error}");
    }
}

#[test]
fn work_and_memory_are_bounded() {
    let many = vec![1.0; 1000];
    let bombs = [
        "all(result, all(result, all(result, true)))",
        "len(1..100000000000) > 1",
        "len(repeat('x', 100000000000)) > 1",
        "let a = map(result, result); let b = map(a, a); len(b) > 1",
        "reduce(result, concat(#acc, #acc), [1]) == 1",
        "let s = repeat('x', 100000); replace(s, 'x', s) == s",
        "let s = repeat('x', 100000); join(result, s) == s",
        "any(result, uniq(result) == 2)",
        "sum(map(1..900000, # * 2)) > 0 && sum(1..900000) > 0",
    ];
    for text in bombs {
        assert_eq!(outcome(text, many.clone()), Err(ExprError::TooMuchWork), "{text}");
    }
    let doubling = (0..60).fold(String::from("let x0 = 'x'; "), |text, n| {
        text + &format!("let x{} = x{n} + x{n}; ", n + 1)
    });
    assert!(outcome(&format!("{doubling} x60 == ''"), Value::Nil).is_err());
    check("all(result, any(result, # == 1))", many, true);
}

#[test]
fn a_result_with_odd_content_never_panics() {
    let odd = [
        Value::Nil,
        f64::NAN.into(),
        "\u{0}\u{fffd}".into(),
        json!([[[[]]], {"": null}]).into(),
        json!({"a": {"b": [1e308, -1e308]}}).into(),
    ];
    let names = [
        "abs",
        "len",
        "first",
        "last",
        "int",
        "float",
        "string",
        "keys",
        "values",
        "sort",
        "uniq",
        "flatten",
        "max",
        "min",
        "mean",
        "median",
        "sum",
        "trim",
        "upper",
        "toJSON",
        "fromJSON",
        "toBase64",
        "fromBase64",
        "duration",
        "date",
        "timezone",
        "bitnot",
        "type",
        "reverse",
        "round",
    ];
    for result in odd {
        for name in names {
            let text = format!(
                "{name}(result) == nil || {name}() == nil || {name}(result, result, 1) == nil"
            );
            // Whatever the answer is, it is an answer.
            let _ = outcome(&text, result.clone());
        }
    }
}
