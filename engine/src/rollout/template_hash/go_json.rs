//! Go's `encoding/json` for the types in `go_types.txt`: what a decoded value is marshalled to.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::{defaults, quantity};

/// Which bytes are wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    /// Those that Argo v1.9 hashes.
    Argo,
    /// Those of older libraries, in which `omitzero` was not known: a zero time is written as `null`.
    Legacy,
    /// Those of Argo, after the API server's defaults: for comparing, not for hashing.
    Defaulted,
}

/// A value as Go writes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Encoded {
    /// Go's bytes.
    pub(super) text: String,
    /// Canonical JSON of everything that Go's types do not hold; empty if they hold everything.
    pub(super) rest: String,
}

/// Returns how Go writes `value` as the type, such as `PodTemplateSpec` or `[]CanaryStep`.
pub(super) fn encode(type_name: &str, value: &Value, form: Form) -> Encoded {
    let mut encoder = Encoder { form, text: String::new() };
    let rest = encoder.write(&Shape::parse(type_name), Some(value));
    Encoded { text: encoder.text, rest: rest.map(|rest| canonical(&rest)).unwrap_or_default() }
}

static TYPES: LazyLock<BTreeMap<&'static str, Vec<Field>>> = LazyLock::new(|| {
    let lines = include_str!("go_types.txt").lines();
    lines
        .map(|line| {
            let mut words = line.split(' ');
            (words.next().unwrap_or_default(), words.map(Field::parse).collect())
        })
        .collect()
});

struct Field {
    name: &'static str,
    omit_empty: bool,
    omit_zero: bool,
    shape: Shape,
}

impl Field {
    fn parse(word: &'static str) -> Self {
        let (name, shape) = word.split_once(':').expect("each word of go_types.txt has a colon");
        Self {
            name: name.trim_end_matches(['?', '~']),
            omit_empty: name.contains('?'),
            omit_zero: name.contains('~'),
            shape: Shape::parse(shape),
        }
    }
}

enum Shape {
    Text,
    Bool,
    Int { min: i64, max: i64 },
    Quantity,
    IntOrString,
    Time,
    Raw,
    Pointer(Box<Shape>),
    List(Box<Shape>),
    Map(Box<Shape>),
    Struct(String),
}

impl Shape {
    fn parse(text: &str) -> Self {
        if let Some(inner) = text.strip_prefix('*') {
            return Self::Pointer(Box::new(Self::parse(inner)));
        }
        if let Some(inner) = text.strip_prefix("[]") {
            return Self::List(Box::new(Self::parse(inner)));
        }
        if let Some(inner) = text.strip_prefix("{}") {
            return Self::Map(Box::new(Self::parse(inner)));
        }
        match text {
            "string" => Self::Text,
            "bool" => Self::Bool,
            "int32" => Self::Int { min: i32::MIN.into(), max: i32::MAX.into() },
            "int64" => Self::Int { min: i64::MIN, max: i64::MAX },
            "quantity" => Self::Quantity,
            "intstr" => Self::IntOrString,
            "time" => Self::Time,
            "raw" => Self::Raw,
            name => Self::Struct(name.to_owned()),
        }
    }

    /// What `omitempty` looks at. A struct, and what is a struct in Go, is never empty.
    fn is_empty(&self, value: Option<&Value>) -> bool {
        match (self, value) {
            (Self::Quantity | Self::IntOrString | Self::Time | Self::Struct(_), _) => false,
            (_, None | Some(Value::Null)) => true,
            (Self::Text, Some(value)) => value.as_str().is_none_or(str::is_empty),
            (Self::Bool, Some(value)) => value != &Value::Bool(true),
            (Self::Int { min, max }, Some(value)) => {
                whole(value).is_none_or(|n| n == 0 || n < *min || n > *max)
            }
            (Self::List(_), Some(value)) => value.as_array().is_none_or(Vec::is_empty),
            (Self::Map(_), Some(value)) => value.as_object().is_none_or(Map::is_empty),
            (Self::Pointer(inner), Some(value)) => !inner.accepts(value),
            (Self::Raw, Some(_)) => false,
        }
    }

    /// Whether Go decodes the value into this type, as far as its outermost layer tells.
    fn accepts(&self, value: &Value) -> bool {
        match self {
            Self::Text => value.is_string(),
            Self::Bool => value.is_boolean(),
            Self::Int { min, max } => whole(value).is_some_and(|n| n >= *min && n <= *max),
            Self::Quantity => quantity_text(value).is_some(),
            Self::IntOrString => value.is_string() || whole(value).is_some(),
            Self::Time => time_text(value).is_some(),
            Self::Raw => true,
            Self::Pointer(inner) => inner.accepts(value),
            Self::List(_) => value.is_array(),
            Self::Map(_) | Self::Struct(_) => value.is_object(),
        }
    }
}

struct Encoder {
    form: Form,
    text: String,
}

impl Encoder {
    /// Writes the value and returns what the type does not hold of it. `None` and JSON's `null` are Go's zero value.
    fn write(&mut self, shape: &Shape, value: Option<&Value>) -> Option<Value> {
        let value = value.filter(|value| !value.is_null());
        let Some(held) = value.filter(|value| shape.accepts(value)) else {
            self.zero(shape);
            return value.cloned();
        };
        match (shape, held) {
            (Shape::Pointer(inner), held) => return self.write(inner, Some(held)),
            (Shape::List(inner), Value::Array(items)) => return self.list(inner, items),
            (Shape::Map(inner), Value::Object(entries)) => return self.map(inner, entries),
            (Shape::Struct(name), Value::Object(entries)) => return self.object(name, entries),
            (Shape::Quantity, held) => {
                let canonical = quantity_text(held).expect("an accepted quantity is one");
                self.string(&canonical);
            }
            (Shape::Time, held) => {
                let time = time_text(held).expect("an accepted time is one");
                self.string(&time);
            }
            (_, Value::String(text)) => self.string(text),
            (_, Value::Bool(flag)) => self.text.push_str(if *flag { "true" } else { "false" }),
            (_, held) => match whole(held) {
                Some(number) => self.text.push_str(&number.to_string()),
                None => self.text.push_str(&canonical(held)),
            },
        }
        None
    }

    fn zero(&mut self, shape: &Shape) {
        match shape {
            Shape::Text => self.text.push_str("\"\""),
            Shape::Bool => self.text.push_str("false"),
            Shape::Int { .. } | Shape::IntOrString => self.text.push('0'),
            Shape::Quantity => self.text.push_str("\"0\""),
            Shape::Time | Shape::Raw | Shape::Pointer(_) | Shape::List(_) | Shape::Map(_) => {
                self.text.push_str("null");
            }
            Shape::Struct(name) => {
                self.object(name, &Map::new());
            }
        }
    }

    fn list(&mut self, inner: &Shape, items: &[Value]) -> Option<Value> {
        let mut rest = Map::new();
        self.text.push('[');
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                self.text.push(',');
            }
            if let Some(unheld) = self.write(inner, Some(item)) {
                rest.insert(index.to_string(), unheld);
            }
        }
        self.text.push(']');
        (!rest.is_empty()).then_some(Value::Object(rest))
    }

    fn map(&mut self, inner: &Shape, entries: &Map<String, Value>) -> Option<Value> {
        let mut rest = Map::new();
        let sorted: BTreeMap<&String, &Value> = entries.iter().collect();
        self.text.push('{');
        for (index, (key, item)) in sorted.into_iter().enumerate() {
            if index > 0 {
                self.text.push(',');
            }
            self.string(key);
            self.text.push(':');
            if let Some(unheld) = self.write(inner, Some(item)) {
                rest.insert(key.clone(), unheld);
            }
        }
        self.text.push('}');
        (!rest.is_empty()).then_some(Value::Object(rest))
    }

    fn object(&mut self, name: &str, entries: &Map<String, Value>) -> Option<Value> {
        let defaulted;
        let entries = if self.form == Form::Defaulted {
            defaulted = defaults::applied(name, entries);
            &defaulted
        } else {
            entries
        };
        let fields = TYPES.get(name).expect("go_types.txt names each type that it uses");
        let mut rest = Map::new();
        let mut comma = "";
        self.text.push('{');
        for field in fields {
            let value = entries.get(field.name);
            if self.omits(field, value) {
                if let Some(unheld) = unheld_by_omission(&field.shape, value) {
                    rest.insert(field.name.to_owned(), unheld);
                }
                continue;
            }
            self.text.push_str(comma);
            comma = ",";
            self.string(field.name);
            self.text.push(':');
            if let Some(unheld) = self.write(&field.shape, value) {
                rest.insert(field.name.to_owned(), unheld);
            }
        }
        self.text.push('}');
        for (key, value) in entries {
            if !value.is_null() && !fields.iter().any(|field| field.name == key) {
                rest.insert(key.clone(), value.clone());
            }
        }
        (!rest.is_empty()).then_some(Value::Object(rest))
    }

    fn omits(&self, field: &Field, value: Option<&Value>) -> bool {
        let zero = || value.is_none_or(|value| !field.shape.accepts(value));
        (field.omit_empty && field.shape.is_empty(value))
            || (field.omit_zero && self.form != Form::Legacy && zero())
    }

    fn string(&mut self, text: &str) {
        write_string(&mut self.text, text);
    }
}

/// A value of a wrong type is not in Go's bytes, so it belongs to the rest; an empty one of the right type is just empty.
fn unheld_by_omission(shape: &Shape, value: Option<&Value>) -> Option<Value> {
    value.filter(|value| !value.is_null() && !shape.accepts(value)).cloned()
}

/// A whole number, also one written with a fraction of 0: the API server normalises those.
fn whole(value: &Value) -> Option<i64> {
    let number = value.as_number()?;
    number.as_i64().or_else(|| {
        let float = number.as_f64()?;
        // 2^53: beyond it a float does not tell which number was meant.
        (float.fract() == 0.0 && float.abs() < 9_007_199_254_740_992.0).then_some(float as i64)
    })
}

fn quantity_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => quantity::canonical(text.trim()),
        Value::Number(number) => {
            quantity::canonical(&whole(value).map_or(number.to_string(), |n| n.to_string()))
        }
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

fn time_text(value: &Value) -> Option<String> {
    let time = chrono::DateTime::parse_from_rfc3339(value.as_str()?).ok()?;
    Some(time.to_utc().format("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// JSON with sorted keys and Go's escapes.
fn canonical(value: &Value) -> String {
    let mut text = String::new();
    write_canonical(&mut text, value);
    text
}

fn write_canonical(out: &mut String, value: &Value) {
    match value {
        Value::String(text) => write_string(out, text),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_canonical(out, item);
            }
            out.push(']');
        }
        Value::Object(entries) => {
            let sorted: BTreeMap<&String, &Value> = entries.iter().collect();
            out.push('{');
            for (index, (key, item)) in sorted.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_string(out, key);
                out.push(':');
                write_canonical(out, item);
            }
            out.push('}');
        }
        Value::Number(_) => match whole(value) {
            Some(number) => out.push_str(&number.to_string()),
            None => out.push_str(&value.to_string()),
        },
        Value::Null | Value::Bool(_) => out.push_str(&value.to_string()),
    }
}

/// Go escapes what HTML could misread, and the two line separators that JavaScript does not accept in strings.
fn write_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}
