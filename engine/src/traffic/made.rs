//! The note of what a Rollout made in a router object that is not its own: routes, destinations, subsets.
//!
//! It is an annotation, written in the patch that makes them, so it is as true as they are. Without it, what a step made
//! could not be told from what a user wrote once the step is gone from the spec.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sluice_crds::labels;

/// What one Rollout made in one object.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Made {
    /// Names of HTTP routes.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub routes: BTreeSet<String>,
    /// Services to which destinations were added.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub destinations: BTreeSet<String>,
    /// Names of subsets.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub subsets: BTreeSet<String>,
}

/// The note of one object: what was made, by name of the Rollout.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Note(BTreeMap<String, Made>);

impl Note {
    /// Reads the annotation; what cannot be read notes nothing.
    ///
    /// Example: `{"web":{"routes":["x-canary"]}}`.
    pub fn read(annotations: &BTreeMap<String, String>) -> Self {
        Self::parse(annotations.get(labels::MADE).map(String::as_str))
    }

    /// Likewise, of an object in wire form.
    pub fn of(object: &Value) -> Self {
        Self::parse(object["metadata"]["annotations"][labels::MADE].as_str())
    }

    fn parse(text: Option<&str>) -> Self {
        Self(text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default())
    }

    /// Returns what the Rollout made.
    pub fn made(&self, rollout: &str) -> Made {
        self.0.get(rollout).cloned().unwrap_or_default()
    }

    /// Returns what all Rollouts made.
    pub fn all(&self) -> Made {
        let mut all = Made::default();
        for made in self.0.values() {
            all.routes.extend(made.routes.iter().cloned());
            all.destinations.extend(made.destinations.iter().cloned());
            all.subsets.extend(made.subsets.iter().cloned());
        }
        all
    }

    /// Returns the JSON patch operation that notes what the Rollout made from now on; `None` if that is noted already.
    pub(crate) fn change(&self, rollout: &str, made: Made) -> Option<Value> {
        if self.made(rollout) == made {
            return None;
        }
        let mut all = self.0.clone();
        all.insert(rollout.to_owned(), made);
        all.retain(|_, made| *made != Made::default());
        let path =
            format!("/metadata/annotations/{}", labels::MADE.replace('~', "~0").replace('/', "~1"));
        Some(if all.is_empty() {
            json!({ "op": "remove", "path": path })
        } else {
            json!({ "op": "add", "path": path, "value": json!(all).to_string() })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(routes: &[&str]) -> Made {
        Made { routes: routes.iter().map(|r| (*r).to_owned()).collect(), ..Made::default() }
    }

    #[test]
    fn two_rollouts_note_what_they_made_side_by_side() {
        let text = r#"{"api":{"destinations":["api-exp"]}}"#;
        let annotations = BTreeMap::from([(labels::MADE.to_owned(), text.to_owned())]);
        let note = Note::read(&annotations);
        assert_eq!(note.change("web", Made::default()), None);
        let change = note.change("web", made(&["a"])).unwrap();
        assert_eq!(change["path"], "/metadata/annotations/sluice.dev~1made");
        let text = change["value"].as_str().unwrap();
        assert_eq!(text, r#"{"api":{"destinations":["api-exp"]},"web":{"routes":["a"]}}"#);
        let note = Note::of(&json!({"metadata": {"annotations": {"sluice.dev/made": text}}}));
        assert_eq!((note.made("web"), note.made("api").routes), (made(&["a"]), BTreeSet::new()));
        assert_eq!(note.change("web", made(&["a"])), None);
    }

    #[test]
    fn the_last_thing_that_is_removed_takes_the_note_with_it() {
        let text = r#"{"web":{"routes":["a"]}}"#;
        let note = Note::of(&json!({"metadata": {"annotations": {"sluice.dev/made": text}}}));
        assert_eq!(note.change("web", Made::default()).unwrap()["op"], "remove");
    }

    #[test]
    fn a_note_that_cannot_be_read_notes_nothing() {
        for text in ["", "web", "[1]", r#"{"web":7}"#] {
            let note = Note::of(&json!({"metadata": {"annotations": {"sluice.dev/made": text}}}));
            assert_eq!(note, Note::default(), "{text}");
        }
    }
}
