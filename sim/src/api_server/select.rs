//! Label and field selectors.

use serde_json::Value;

use super::failure::Failure;

/// A label selector or a field selector: all requirements must hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq)]
struct Requirement {
    key: String,
    operator: Operator,
}

#[derive(Clone, Debug, PartialEq)]
enum Operator {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    DoesNotExist,
}

impl Operator {
    fn allows(&self, value: Option<&str>) -> bool {
        let listed = |values: &[String]| value.is_some_and(|v| values.iter().any(|x| x == v));
        match self {
            Self::In(values) => listed(values),
            Self::NotIn(values) => !listed(values),
            Self::Exists => value.is_some(),
            Self::DoesNotExist => value.is_none(),
        }
    }
}

impl Selector {
    /// Parses the form of `labelSelector=` and `fieldSelector=`: `a=b,c!=d,e in (f,g),h,!i`.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        let requirements = split(text).into_iter().map(|part| requirement(part.trim()));
        requirements
            .collect::<Option<_>>()
            .map(Self)
            .ok_or_else(|| Failure::bad_request(format!("unable to parse requirement: \"{text}\"")))
    }

    /// Returns the selector that matches exactly these labels.
    pub(crate) fn labels(labels: &Value) -> Self {
        let pairs = labels.as_object().into_iter().flatten();
        Self(pairs.map(|(key, value)| equals(key, value.as_str().unwrap_or_default())).collect())
    }

    /// Returns whether the object's labels satisfy it.
    pub(crate) fn matches_labels(&self, object: &Value) -> bool {
        let labels = object.pointer("/metadata/labels");
        let value = |key: &str| labels.and_then(|labels| labels.get(key)).and_then(Value::as_str);
        self.0.iter().all(|requirement| requirement.operator.allows(value(&requirement.key)))
    }

    /// Returns whether the object's fields satisfy it; a field that is absent counts as an empty string.
    pub(crate) fn matches_fields(&self, object: &Value) -> bool {
        let text = |key: &str| -> String {
            let field = key.split('.').try_fold(object, |value, name| value.get(name));
            match field {
                None | Some(Value::Null) => String::new(),
                Some(Value::String(text)) => text.clone(),
                Some(other) => other.to_string(),
            }
        };
        self.0.iter().all(|requirement| requirement.operator.allows(Some(&text(&requirement.key))))
    }
}

fn equals(key: &str, value: &str) -> Requirement {
    Requirement { key: key.into(), operator: Operator::In(vec![value.into()]) }
}

/// Splits at commas outside of parentheses.
fn split(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut depth, mut start) = (0_u32, 0);
    for (index, character) in text.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&text[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts.retain(|part| !part.trim().is_empty());
    parts
}

fn requirement(text: &str) -> Option<Requirement> {
    let make = |key: &str, operator| Some(Requirement { key: key.trim().into(), operator });
    let one = |value: &str| vec![value.trim().to_owned()];
    if let Some(key) = text.strip_prefix('!') {
        return make(key, Operator::DoesNotExist);
    }
    if let Some(values) = text.strip_suffix(')') {
        let (head, values) = values.split_once('(')?;
        let values = values.split(',').map(|value| value.trim().to_owned()).collect();
        return match head.split_whitespace().collect::<Vec<_>>()[..] {
            [key, "in"] => make(key, Operator::In(values)),
            [key, "notin"] => make(key, Operator::NotIn(values)),
            _ => None,
        };
    }
    if let Some((key, value)) = text.split_once("!=") {
        return make(key, Operator::NotIn(one(value)));
    }
    if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
        return make(key, Operator::In(one(value)));
    }
    (!text.contains(char::is_whitespace)).then(|| make(text, Operator::Exists)).flatten()
}
