//! `{{args.name}}`: the substitution that Argo applies to metrics and experiment arguments.
//!
//! Argo marshals the metric to JSON, replaces each `{{tag}}` in that text by the JSON-quoted value and parses it again. Here
//! each string (and key) is substituted in place, which gives the same value without a text in between that could be broken:
//! a value cannot end its string, and what a value contains is not substituted again.
//!
//! Source: `spec-rollouts` 6.3.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// A template that cannot be filled in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TagError {
    /// The tag is none that the caller can resolve.
    #[error("{path}: unknown tag `{{{{{tag}}}}}`")]
    Unknown {
        /// Text between the braces, trimmed.
        tag: String,
        /// Where the tag is, such as `provider.prometheus.query`.
        path: String,
    },
    /// A `{{` without `}}`.
    #[error("{path}: `{{{{` without `}}}}` in `{text}`")]
    Unclosed {
        /// The first characters of what follows the braces.
        text: String,
        /// Where the text is.
        path: String,
    },
}

/// Resolves the text between the braces, trimmed: `args.name`, `templates.baseline.podTemplateHash`.
pub type Resolver<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// Returns a resolver for `args.NAME`.
pub fn args(values: &BTreeMap<String, String>) -> impl Fn(&str) -> Option<String> + '_ {
    |tag| values.get(tag.strip_prefix("args.")?).cloned()
}

/// Returns `value` with every tag in its strings and keys resolved.
///
/// # Errors
///
/// *Invalid*: a tag that `resolve` does not know, or one that is not closed; the first in document order.
pub fn substitute(value: &Value, resolve: &Resolver<'_>) -> Result<Value, TagError> {
    walk(value, "", &|text, path| fill(text, path, resolve))
}

/// Returns `text` with every tag resolved; `path` is where the text stands, for errors.
///
/// # Errors
///
/// As [`substitute`].
pub fn substitute_text(text: &str, path: &str, resolve: &Resolver<'_>) -> Result<String, TagError> {
    fill(text, path, resolve)
}

/// Returns all tags in `value`, for `lint` and for reading only the Secrets that a metric uses.
///
/// # Errors
///
/// *Invalid*: a tag that is not closed.
pub fn tags(value: &Value) -> Result<BTreeSet<String>, TagError> {
    let found = std::cell::RefCell::new(BTreeSet::new());
    substitute(value, &|tag| {
        found.borrow_mut().insert(tag.to_owned());
        Some(String::new())
    })?;
    Ok(found.into_inner())
}

type Fill<'a> = dyn Fn(&str, &str) -> Result<String, TagError> + 'a;

fn walk(value: &Value, path: &str, fill: &Fill<'_>) -> Result<Value, TagError> {
    match value {
        Value::String(text) => Ok(Value::String(fill(text, path)?)),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(index, item)| walk(item, &format!("{path}[{index}]"), fill))
            .collect(),
        Value::Object(entries) => {
            let mut filled = serde_json::Map::new();
            for (key, item) in entries {
                let dot = if path.is_empty() { "" } else { "." };
                let path = format!("{path}{dot}{key}");
                filled.insert(fill(key, &path)?, walk(item, &path, fill)?);
            }
            Ok(Value::Object(filled))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(value.clone()),
    }
}

fn fill(text: &str, path: &str, resolve: &Resolver<'_>) -> Result<String, TagError> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("{{") {
        let inside = &rest[start + 2..];
        let Some(end) = inside.find("}}") else {
            let text = inside.chars().take(40).collect();
            return Err(TagError::Unclosed { text, path: path.to_owned() });
        };
        let tag = inside[..end].trim();
        let value = resolve(tag)
            .ok_or_else(|| TagError::Unknown { tag: tag.to_owned(), path: path.to_owned() })?;
        filled.push_str(&rest[..start]);
        filled.push_str(&value);
        rest = &inside[end + 2..];
    }
    filled.push_str(rest);
    Ok(filled)
}

#[cfg(test)]
mod tests;
