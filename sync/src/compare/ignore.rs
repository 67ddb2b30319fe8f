//! Differences that do not count: `spec.ignoreDifferences`. Ignored fields keep their live value in a sync.
//!
//! Deliberate difference from Argo CD, listed in `design` 12: there, any apply writes Git's value into ignored fields unless
//! `RespectIgnoreDifferences=true`; here the live value is carried into what is applied, unless `RespectIgnoreDifferences=false`.

use globset::Glob;
use serde_json::Value;
use sluice_crds::application::ResourceIgnoreDifferences;

use crate::key::ResourceKey;

/// The rules of an application.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct IgnoreRules {
    rules: Vec<ResourceIgnoreDifferences>,
}

impl IgnoreRules {
    /// Returns the rules of a spec.
    pub fn new(rules: &[ResourceIgnoreDifferences]) -> Self {
        Self { rules: rules.to_vec() }
    }

    /// Returns the JSON pointers that are ignored in objects with the key.
    pub fn pointers<'a>(&'a self, key: &'a ResourceKey) -> impl Iterator<Item = &'a str> {
        self.rules
            .iter()
            .filter(move |rule| matches(rule, key))
            .flat_map(|rule| rule.json_pointers.iter().map(String::as_str))
    }

    /// Copies the live value of each ignored field into the body that would be applied; a field that is not live goes away.
    pub fn carry(&self, key: &ResourceKey, body: &mut Value, live: &Value) {
        for pointer in self.pointers(key) {
            match live.pointer(pointer) {
                Some(value) => {
                    // What Git does not declare is not declared by us either.
                    if let Some(place) = body.pointer_mut(pointer) {
                        *place = value.clone();
                    }
                }
                None => remove(body, pointer),
            }
        }
    }
}

fn matches(rule: &ResourceIgnoreDifferences, key: &ResourceKey) -> bool {
    let exact = |wanted: &Option<String>, have: &str| match wanted.as_deref() {
        None | Some("") => true,
        Some(wanted) => wanted == have,
    };
    glob(&rule.group, &key.group)
        && glob(&rule.kind, &key.kind)
        && exact(&rule.name, &key.name)
        && exact(&rule.namespace, &key.namespace)
}

fn glob(pattern: &str, text: &str) -> bool {
    pattern == text || Glob::new(pattern).is_ok_and(|glob| glob.compile_matcher().is_match(text))
}

fn remove(body: &mut Value, pointer: &str) {
    let Some((parent, last)) = pointer.rsplit_once('/') else { return };
    let last = last.replace("~1", "/").replace("~0", "~");
    match body.pointer_mut(parent) {
        Some(Value::Object(map)) => {
            map.remove(&last);
        }
        Some(Value::Array(items)) => {
            if let Some(index) = last.parse::<usize>().ok().filter(|index| *index < items.len()) {
                items.remove(index);
            }
        }
        Some(_) | None => {}
    }
}
