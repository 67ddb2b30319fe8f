//! A measured value: JSON, with the numbers that JSON lacks.

use std::collections::BTreeMap;
use std::fmt;

/// What a metric provider answered, as a condition sees it in `result`.
///
/// All numbers are 64 bit floats, as they are for Argo (Go decodes JSON numbers so); unlike JSON, NaN and the infinities are
/// values, because Prometheus answers with them.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// No value: JSON's `null`, or an answer without data.
    #[default]
    Nil,
    /// A truth value.
    Bool(bool),
    /// A number, NaN and infinities included.
    Number(f64),
    /// A text.
    String(String),
    /// A list, such as the values of a Prometheus vector.
    Array(Vec<Value>),
    /// An object.
    Map(BTreeMap<String, Value>),
}

impl Value {
    /// Returns true for nil and for an empty list, object or text: there is nothing that could be evidence.
    pub fn is_empty(&self) -> bool {
        match self {
            Value::Nil => true,
            Value::Bool(_) | Value::Number(_) => false,
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Map(entries) => entries.is_empty(),
        }
    }

    /// Returns the value as JSON; NaN and infinities become the strings `NaN`, `+Inf` and `-Inf`.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Value::Nil => serde_json::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::Number(value) => serde_json::Number::from_f64(*value)
                .map_or_else(|| number_text(*value).into(), serde_json::Value::Number),
            Value::String(value) => value.as_str().into(),
            Value::Array(items) => items.iter().map(Value::to_json).collect(),
            Value::Map(entries) => serde_json::Value::Object(
                entries.iter().map(|(key, value)| (key.clone(), value.to_json())).collect(),
            ),
        }
    }
}

impl From<serde_json::Value> for Value {
    fn from(value: serde_json::Value) -> Self {
        match value {
            serde_json::Value::Null => Value::Nil,
            serde_json::Value::Bool(value) => Value::Bool(value),
            serde_json::Value::Number(value) => Value::Number(value.as_f64().unwrap_or(f64::NAN)),
            serde_json::Value::String(value) => Value::String(value),
            serde_json::Value::Array(items) => {
                Value::Array(items.into_iter().map(Value::from).collect())
            }
            serde_json::Value::Object(entries) => {
                Value::Map(entries.into_iter().map(|(key, value)| (key, value.into())).collect())
            }
        }
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Value::Number(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Value::String(value.to_owned())
    }
}

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(items: Vec<T>) -> Self {
        Value::Array(items.into_iter().map(Into::into).collect())
    }
}

/// Compact JSON as Argo writes it into `measurement.value` (`[0.95,0.99]`); NaN and infinities as `NaN`, `+Inf`, `-Inf`.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Nil => f.write_str("null"),
            Value::Bool(value) => write!(f, "{value}"),
            Value::Number(value) => f.write_str(&number_text(*value)),
            Value::String(value) => write!(f, "{}", serde_json::Value::from(value.as_str())),
            Value::Array(items) => {
                f.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if index == 0 { "" } else { "," })?;
                }
                f.write_str("]")
            }
            Value::Map(entries) => {
                f.write_str("{")?;
                for (index, (key, value)) in entries.iter().enumerate() {
                    let comma = if index == 0 { "" } else { "," };
                    write!(f, "{comma}{}:{value}", serde_json::Value::from(key.as_str()))?;
                }
                f.write_str("}")
            }
        }
    }
}

fn number_text(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value == f64::INFINITY {
        "+Inf".to_owned()
    } else if value == f64::NEG_INFINITY {
        "-Inf".to_owned()
    } else {
        value.to_string()
    }
}

#[cfg(test)]
mod tests;
