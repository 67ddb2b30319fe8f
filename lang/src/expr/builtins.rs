//! Functions: Argo's own, those with a closure (ours), and the rest of the language from `expr-lang`.

use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use expr::{Context, ContextProvider, Environment, Program, Value};

use super::ExprError;

/// How a function is called.
pub(super) struct Shape {
    /// The second argument is a closure.
    pub(super) takes_closure: bool,
    /// …and may not be left out.
    pub(super) needs_closure: bool,
}

const WITH_CLOSURE: [&str; 13] = [
    "all",
    "any",
    "filter",
    "find",
    "findIndex",
    "findLast",
    "findLastIndex",
    "groupBy",
    "map",
    "none",
    "one",
    "reduce",
    "sortBy",
];
const WITH_OPTIONAL_CLOSURE: [&str; 2] = ["count", "sum"];
const OF_ARGO: [&str; 6] = ["asFloat", "asInt", "default", "isInf", "isNaN", "isNil"];
/// Of `expr-lang`: a function of its arguments alone.
const PLAIN: [&str; 57] = [
    "abs",
    "bitand",
    "bitnand",
    "bitnot",
    "bitor",
    "bitshl",
    "bitshr",
    "bitushr",
    "bitxor",
    "ceil",
    "concat",
    "date",
    "duration",
    "first",
    "flatten",
    "float",
    "floor",
    "fromBase64",
    "fromJSON",
    "fromPairs",
    "get",
    "hasPrefix",
    "hasSuffix",
    "indexOf",
    "int",
    "join",
    "keys",
    "last",
    "lastIndexOf",
    "len",
    "lower",
    "max",
    "mean",
    "median",
    "min",
    "now",
    "repeat",
    "replace",
    "reverse",
    "round",
    "sort",
    "split",
    "splitAfter",
    "string",
    "take",
    "timezone",
    "toBase64",
    "toJSON",
    "toPairs",
    "trim",
    "trimPrefix",
    "trimSuffix",
    "type",
    "uniq",
    "upper",
    "values",
    "sum",
];

/// Returns how `name` is called, or nothing if there is no such function.
pub(super) fn shape(name: &str) -> Option<Shape> {
    let needs_closure = WITH_CLOSURE.contains(&name);
    let takes_closure = needs_closure || WITH_OPTIONAL_CLOSURE.contains(&name);
    let known = takes_closure || OF_ARGO.contains(&name) || PLAIN.contains(&name);
    known.then_some(Shape { takes_closure, needs_closure })
}

/// Evaluates one of Argo's own functions; nothing if `name` is none.
///
/// `isNil` and `default` look at the measured result and ignore their first argument, as Argo's do.
pub(super) fn of_argo(
    name: &str,
    arguments: &[Value],
    result: &Value,
) -> Option<Result<Value, ExprError>> {
    let wanted = if name == "default" { 2 } else { 1 };
    if !OF_ARGO.contains(&name) {
        return None;
    }
    if arguments.len() != wanted {
        let message = format!("{name}() takes {wanted} argument(s), found {}", arguments.len());
        return Some(Err(ExprError::Evaluation(message)));
    }
    let first = &arguments[0];
    Some(match name {
        "asInt" => as_int(first),
        "asFloat" => as_float(first),
        "isNaN" => number(name, first).map(|value| value.is_nan().into()),
        "isInf" => number(name, first).map(|value| value.is_infinite().into()),
        "isNil" => Ok(matches!(result, Value::Nil).into()),
        _ => Ok(if matches!(result, Value::Nil) { arguments[1].clone() } else { result.clone() }),
    })
}

fn as_int(value: &Value) -> Result<Value, ExprError> {
    let converted = match value {
        Value::Integer(value) => Some(*value),
        // Go truncates; out of range is undefined there and saturates here. NaN is no integer.
        Value::Float(value) if !value.is_nan() => Some(*value as i64),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    converted.map(Value::Integer).ok_or_else(|| not_a("asInt", "an integer", value))
}

fn as_float(value: &Value) -> Result<Value, ExprError> {
    let converted = match value {
        Value::Integer(value) => Some(*value as f64),
        Value::Float(value) => Some(*value),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    converted.map(Value::Float).ok_or_else(|| not_a("asFloat", "a number", value))
}

fn number(name: &str, value: &Value) -> Result<f64, ExprError> {
    match value {
        Value::Integer(value) => Ok(*value as f64),
        Value::Float(value) => Ok(*value),
        _ => Err(not_a(name, "a number", value)),
    }
}

fn not_a(name: &str, wanted: &str, value: &Value) -> ExprError {
    ExprError::Evaluation(format!("{name}() needs {wanted}, found {}", describe(value)))
}

/// Evaluates a function of `expr-lang`. `now` is the instant that `now()` answers.
pub(super) fn plain(
    name: &str,
    arguments: Vec<Value>,
    now: Option<DateTime<Utc>>,
) -> Result<Value, ExprError> {
    static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(Environment::new);
    match (name, arguments.as_slice()) {
        ("now", []) => {
            let now = now.ok_or_else(|| {
                ExprError::Evaluation("now() is not available in this place".to_owned())
            })?;
            return Ok(Value::DateTime(now.fixed_offset().into()));
        }
        // The zone of the process is not a fact of the measurement.
        ("timezone", [Value::String(zone)]) if zone == "Local" => {
            return Err(ExprError::Evaluation("timezone(\"Local\") is not supported".to_owned()));
        }
        _ => {}
    }
    let context = Context::default();
    ENVIRONMENT.eval_func(&context, name, arguments, None).map_err(evaluation)
}

/// Evaluates a binary operator on values that have no faster way, as `expr-lang` does.
pub(super) fn operator(symbol: &str, left: &Value, right: &Value) -> Result<Value, ExprError> {
    static PROGRAMS: LazyLock<Vec<(&'static str, Program)>> = LazyLock::new(|| {
        let symbols = [
            "==",
            "!=",
            "<",
            ">",
            "<=",
            ">=",
            "in",
            "matches",
            "contains",
            "startsWith",
            "endsWith",
            "+",
            "-",
            "*",
            "/",
            "%",
            "**",
            "^",
        ];
        let program = |symbol: &str| {
            expr::compile(&format!("a {symbol} b")).expect("two names and an operator do parse")
        };
        symbols.map(|symbol| (symbol, program(symbol))).into()
    });
    let operands = Operands(left, right);
    match PROGRAMS.iter().find(|(name, _)| *name == symbol) {
        Some((_, program)) => expr::run(program, &operands).map_err(|_| {
            let (left, right) = (describe(left), describe(right));
            ExprError::Evaluation(format!("`{symbol}` cannot be applied to {left} and {right}"))
        }),
        None => Err(ExprError::Evaluation(format!("unknown operator `{symbol}`"))),
    }
}

struct Operands<'a>(&'a Value, &'a Value);

impl ContextProvider for Operands<'_> {
    fn get(&self, key: &str) -> Option<&Value> {
        match key {
            "a" => Some(self.0),
            "b" => Some(self.1),
            _ => None,
        }
    }

    fn to_context(&self) -> Context {
        Context::from_iter([("a", self.0.clone()), ("b", self.1.clone())])
    }
}

/// Evaluates a method of an instant or a duration, such as `now().Hour()`.
pub(super) fn method(name: &str, base: Value, arguments: Vec<Value>) -> Result<Value, ExprError> {
    let names: Vec<String> = (0..arguments.len()).map(|index| format!("a{index}")).collect();
    let program = expr::compile(&format!("x.{name}({})", names.join(", "))).map_err(evaluation)?;
    let mut context = Context::default();
    context.insert("x", base);
    for (name, argument) in names.into_iter().zip(arguments) {
        context.insert(name, argument);
    }
    expr::run(&program, &context).map_err(evaluation)
}

fn evaluation(error: expr::Error) -> ExprError {
    ExprError::Evaluation(error.to_string())
}

/// Returns a short text for messages: what kind of value, and the value if it is small.
pub(super) fn describe(value: &Value) -> String {
    match value {
        Value::Nil => "nil".to_owned(),
        Value::Bool(value) => format!("`{value}`"),
        Value::Integer(value) => format!("the number {value}"),
        Value::Float(value) => format!("the number {value}"),
        Value::String(text) => {
            let short: String = text.chars().take(40).collect();
            format!("the text {short:?}")
        }
        Value::Array(items) => format!("a list of {}", items.len()),
        Value::Bytes(bytes) => format!("{} bytes", bytes.len()),
        Value::Map(entries) => format!("an object of {}", entries.len()),
        Value::KeyedMap(entries) => format!("an object of {}", entries.len()),
        Value::DateTime(_) => "an instant".to_owned(),
        Value::Duration(_) => "a duration".to_owned(),
        Value::Timezone(_) | Value::Month(_) | Value::Weekday(_) => "a part of a date".to_owned(),
    }
}
