//! YAML of several documents, as people write Kubernetes manifests: read under limits, with the place of every value.
//!
//! Read as kubectl does: YAML 1.1 booleans (`yes`, `off`) and octal numbers (`0644`) as values, merge keys, anchors. Unlike
//! kubectl, duplicate keys are an error, and a key `on` stays `on` (kubectl makes it `true`: see [`crate::application::Notification`]).

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::Spanned;

use crate::validate::FieldPath;

/// Longest input that is read, in bytes.
pub const LONGEST_INPUT: usize = 64 << 20;

/// Where something is in a text, counted from 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Place {
    /// Line.
    pub line: u64,
    /// Column, in characters.
    pub column: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// One document, with the place of every value in it.
#[derive(Clone, PartialEq, Debug)]
pub struct Document {
    /// The content.
    pub value: Value,
    places: BTreeMap<FieldPath, Place>,
}

impl Document {
    /// Returns where the value of a field begins; if it is not there, where the nearest field above it begins.
    pub fn place(&self, path: &FieldPath) -> Option<Place> {
        let mut text = path.as_str();
        loop {
            if let Some(place) = self.places.get(&FieldPath::root().field(text)) {
                return Some(*place);
            }
            if text.is_empty() {
                return None;
            }
            text = text.rfind(['.', '[']).map_or("", |end| &text[..end]);
        }
    }
}

/// Why a text is no YAML.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct NotYaml {
    /// What is wrong.
    pub message: String,
    /// Where.
    pub place: Option<Place>,
}

/// Reads all documents of a text. Empty documents are left out.
///
/// # Errors
/// The text is no YAML, has a key twice in one map, is above a limit (size, depth, number of values, expansion of anchors), or has
/// a key that is no text, number or boolean.
pub fn load(text: &str) -> Result<Vec<Document>, NotYaml> {
    if text.len() > LONGEST_INPUT {
        return Err(NotYaml {
            message: format!("{} bytes are above the limit of {LONGEST_INPUT}", text.len()),
            place: None,
        });
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_documents: 10_000,
            max_nodes: 2_000_000,
            max_events: 5_000_000,
            max_depth: 100,
        },
        legacy_octal_numbers: true,
        with_snippet: false,
    };
    let nodes: Vec<Spanned<Node>> = serde_saphyr::from_str_multiple_with_options(text, options)
        .map_err(|error| NotYaml {
            place: error.location().map(|location| place(&location)),
            message: in_our_words(&error.without_snippet().to_string()),
        })?;
    Ok(nodes.into_iter().map(document).filter(|document| !document.value.is_null()).collect())
}

/// Leaves out the place, which is told apart, and what only programmers of the parser can act on.
fn in_our_words(message: &str) -> String {
    let message = message.rsplit_once(" at line ").map_or(message, |(what, _)| what);
    message
        .replace("duplicate mapping key: ", "a key is there twice: ")
        .replace(", set DuplicateKeyPolicy in Options if acceptable", "")
        .replace("rejected by the configured policy", "is no number of JSON")
}

/// Reads all documents of a text, without their places.
///
/// # Errors
/// As [`load`].
pub fn values(text: &str) -> Result<Vec<Value>, NotYaml> {
    Ok(load(text)?.into_iter().map(|document| document.value).collect())
}

fn document(node: Spanned<Node>) -> Document {
    let mut places = BTreeMap::new();
    let value = flatten(FieldPath::root(), node, &mut places);
    Document { value, places }
}

fn place(location: &serde_saphyr::Location) -> Place {
    Place { line: location.line(), column: location.column() }
}

/// A value whose parts know where they are.
enum Node {
    Scalar(Value),
    List(Vec<Spanned<Node>>),
    Map(Vec<(String, Spanned<Node>)>),
}

fn flatten(path: FieldPath, node: Spanned<Node>, places: &mut BTreeMap<FieldPath, Place>) -> Value {
    if node.referenced.line() > 0 {
        places.insert(path.clone(), place(&node.referenced));
    }
    match node.value {
        Node::Scalar(value) => value,
        Node::List(items) => items
            .into_iter()
            .enumerate()
            .map(|(index, item)| flatten(path.index(index), item, places))
            .collect(),
        Node::Map(entries) => {
            let mut object = Map::new();
            for (key, entry) in entries {
                // Keys of maps in the schema are written `[key]`, but which maps those are only the schema knows: both ways work.
                let below = flatten(path.field(&key), entry, places);
                if let Some(place) = places.get(&path.field(&key)).copied() {
                    places.insert(path.key(&key), place);
                }
                object.insert(key, below);
            }
            Value::Object(object)
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any YAML value")
    }
    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Bool(value)))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }
    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Node, E> {
        let number = Number::from_f64(value)
            .ok_or_else(|| E::custom(format!("`{value}` cannot be written as JSON")))?;
        Ok(Node::Scalar(Value::Number(number)))
    }
    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }
    fn visit_string<E>(self, value: String) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }
    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Null))
    }
    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Null))
    }
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Node::Map(entries))
    }
}

#[cfg(test)]
mod tests;
