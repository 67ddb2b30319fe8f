//! From method, path and query to what is asked.

use std::collections::BTreeMap;

/// One request, before it is understood.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Call {
    /// `GET`, `POST`, `PUT`, `PATCH` or `DELETE`.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// `Content-Type`.
    pub content_type: String,
    /// `Accept`.
    pub accept: String,
    /// Who asks: the user agent, as the recorded requests name it.
    pub actor: String,
    /// Body.
    pub body: Vec<u8>,
}

impl Call {
    /// Returns a call without body.
    pub fn new(method: &str, path: &str) -> Self {
        Self { method: method.into(), path: path.into(), ..Self::default() }
    }

    /// Returns the call with a body of this type.
    pub fn with_body(mut self, content_type: &str, body: &serde_json::Value) -> Self {
        self.content_type = content_type.into();
        self.body = body.to_string().into_bytes();
        self
    }

    /// Returns what the path names, if it names a resource.
    pub fn target(&self) -> Option<Target> {
        target(split_query(&self.path).0)
    }

    /// Returns the Kubernetes verb.
    pub fn verb(&self) -> &'static str {
        let (path, query) = split_query(&self.path);
        let target = target(path);
        let named = target.as_ref().is_some_and(|target| target.name.is_some());
        match (self.method.as_str(), named) {
            ("GET", _) if query.is_true("watch") => "watch",
            ("GET", false) if target.is_some() => "list",
            ("GET", _) => "get",
            ("POST", _) => "create",
            ("PUT", _) => "update",
            ("PATCH", _) => "patch",
            ("DELETE", false) => "deletecollection",
            _ => "delete",
        }
    }

    /// Returns the call with this actor.
    pub fn by(mut self, actor: &str) -> Self {
        self.actor = actor.into();
        self
    }
}

/// A path under `/api` or `/apis`, taken apart.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Target {
    /// Group; empty for the core group.
    pub group: String,
    /// Version.
    pub version: String,
    /// Plural.
    pub plural: String,
    /// Namespace, if the path has one.
    pub namespace: Option<String>,
    /// Name, if the path has one.
    pub name: Option<String>,
    /// Subresource, if the path has one.
    pub subresource: Option<String>,
}

/// Parameters of the query, decoded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Query(BTreeMap<String, String>);

impl Query {
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    pub(crate) fn number(&self, key: &str) -> Option<u64> {
        self.get(key).and_then(|value| value.parse().ok())
    }

    pub(crate) fn is_true(&self, key: &str) -> bool {
        matches!(self.get(key), Some("true" | "1"))
    }
}

/// Splits `path?query`.
pub(crate) fn split_query(path: &str) -> (&str, Query) {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(key), decoded(value))
    });
    (path, Query(pairs.collect()))
}

/// Returns the target of a path with a resource in it, or `None`.
pub(crate) fn target(path: &str) -> Option<Target> {
    let parts: Vec<String> = path.split('/').filter(|part| !part.is_empty()).map(decoded).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let (group, version, rest) = match &parts[..] {
        ["api", version, rest @ ..] => ("", *version, rest),
        ["apis", group, version, rest @ ..] => (*group, *version, rest),
        _ => return None,
    };
    let make = |plural: &str, namespace: Option<&str>, name: Option<&str>, sub: Option<&str>| {
        Some(Target {
            group: group.into(),
            version: version.into(),
            plural: plural.into(),
            namespace: namespace.map(Into::into),
            name: name.map(Into::into),
            subresource: sub.map(Into::into),
        })
    };
    match rest {
        ["namespaces", name, sub @ ("status" | "finalize")] if group.is_empty() => {
            make("namespaces", None, Some(name), Some(sub))
        }
        ["namespaces", namespace, plural, tail @ ..] => {
            let (name, sub) = (tail.first().copied(), tail.get(1).copied());
            if tail.len() > 2 { None } else { make(plural, Some(namespace), name, sub) }
        }
        [plural, tail @ ..] if tail.len() <= 2 => {
            make(plural, None, tail.first().copied(), tail.get(1).copied())
        }
        _ => None,
    }
}

fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while let Some(&byte) = bytes.get(index) {
        let hex = bytes.get(index + 1..index + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        match (byte, hex.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'%', Some(value)) => {
                out.push(value);
                index += 3;
            }
            (b'+', _) => {
                out.push(b' ');
                index += 1;
            }
            _ => {
                out.push(byte);
                index += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
