//! Watches: a cursor into the history, so that the server itself keeps no state for a watcher.

use serde_json::{Value, json};

use super::ApiServer;
use super::failure::Failure;
use super::http::{Query, Target};
use super::resources::Resource;
use super::select::Selector;
use super::store::{Change, Key};
use super::table;

/// One open watch. [`ApiServer::watched`] advances it.
#[derive(Clone, Debug)]
pub struct Watch {
    /// Group of what is watched.
    pub group: String,
    /// Plural of what is watched.
    pub plural: String,
    /// Seconds after which the server ends it; `None` for the server's own limit.
    pub timeout_seconds: Option<u64>,
    version: String,
    namespace: Option<String>,
    labels: Selector,
    fields: Selector,
    cursor: u64,
    bookmarks: bool,
    as_table: bool,
    columns_sent: bool,
    initial: Vec<Value>,
}

/// One event of a watch, with the change that caused it (none for initial objects and bookmarks).
#[derive(Clone, Debug, PartialEq)]
pub struct WatchEvent {
    /// Version of the change; 0 for initial objects and bookmarks.
    pub version: u64,
    /// `{"type": …, "object": …}`.
    pub body: Value,
}

fn event(kind: &str, object: Value) -> Value {
    json!({ "type": kind, "object": object })
}

impl Watch {
    fn selects(&self, object: &Value) -> bool {
        self.labels.matches_labels(object) && self.fields.matches_fields(object)
    }

    fn concerns(&self, key: &Key) -> bool {
        key.group == self.group
            && key.plural == self.plural
            && self.namespace.as_ref().is_none_or(|namespace| *namespace == key.namespace)
    }

    fn event_of(&self, change: &Change) -> Option<(&'static str, Value)> {
        if !self.concerns(&change.key) {
            return None;
        }
        let was = change.before.as_ref().is_some_and(|before| self.selects(before));
        let is = !change.deleted && self.selects(&change.after);
        let after = || (*change.after).clone();
        match (was, is) {
            (false, false) => None,
            (false, true) => Some(("ADDED", after())),
            (true, true) => Some(("MODIFIED", after())),
            (true, false) if change.deleted => Some(("DELETED", after())),
            (true, false) => {
                // The object left the selection: its last selected state, under the new version.
                let mut last = change.before.as_deref().cloned().unwrap_or_default();
                last["metadata"]["resourceVersion"] = json!(change.version.to_string());
                Some(("DELETED", last))
            }
        }
    }

    fn bookmark(&self, resource: &Resource, version: u64, ends_initial: bool) -> Value {
        let mut metadata = json!({ "resourceVersion": version.to_string() });
        if ends_initial {
            metadata["annotations"] = json!({ "k8s.io/initial-events-end": "true" });
        }
        let api_version = resource.api_version(&self.version);
        event(
            "BOOKMARK",
            json!({ "kind": resource.kind, "apiVersion": api_version, "metadata": metadata }),
        )
    }
}

impl ApiServer {
    pub(crate) fn watch(
        &self,
        resource: &Resource,
        target: &Target,
        query: &Query,
        as_table: bool,
    ) -> Result<Watch, Failure> {
        let from = query.get("resourceVersion").unwrap_or_default();
        let cursor =
            match from {
                "" | "0" => None,
                text => Some(text.parse::<u64>().map_err(|_| {
                    Failure::bad_request(format!("invalid resource version `{text}`"))
                })?),
            };
        let mut fields = query.get("fieldSelector").unwrap_or_default().to_owned();
        if let Some(name) = &target.name {
            fields = format!("metadata.name={name}");
        }
        let mut watch = Watch {
            group: target.group.clone(),
            plural: target.plural.clone(),
            version: target.version.clone(),
            timeout_seconds: query.number("timeoutSeconds"),
            namespace: target.namespace.clone(),
            labels: Selector::parse(query.get("labelSelector").unwrap_or_default())?,
            fields: Selector::parse(&fields)?,
            cursor: cursor.unwrap_or(self.store.version()),
            bookmarks: query.is_true("allowWatchBookmarks"),
            as_table,
            columns_sent: false,
            initial: Vec::new(),
        };
        let wants_initial = query.is_true("sendInitialEvents");
        if cursor.is_none() || wants_initial {
            watch.cursor = self.store.version();
            let objects = self.store.list(&watch.group, &watch.plural, watch.namespace.as_deref());
            let selected = objects.filter(|(_, object)| watch.selects(object));
            watch.initial =
                selected.map(|(_, object)| event("ADDED", (**object).clone())).collect();
            if wants_initial {
                watch.initial.push(watch.bookmark(resource, watch.cursor, true));
            }
        }
        Ok(watch)
    }

    /// Returns the events since the last call and moves the watch past them.
    ///
    /// # Errors
    /// 410 if they are compacted; a real server sends it as an `ERROR` event and ends the watch.
    pub fn watched(&self, watch: &mut Watch) -> Result<Vec<WatchEvent>, Failure> {
        let resource = self.resource(&watch.group, &watch.plural)?;
        let initial = std::mem::take(&mut watch.initial);
        let changes = self
            .store
            .since(watch.cursor)
            .ok_or_else(|| Failure::expired(watch.cursor, self.store.compacted()))?;
        let later = changes.iter().filter_map(|change| {
            let (kind, object) = watch.event_of(change)?;
            Some(WatchEvent { version: change.version, body: event(kind, object) })
        });
        let initial = initial.into_iter().map(|body| WatchEvent { version: 0, body });
        let mut events: Vec<WatchEvent> = initial.chain(later).collect();
        watch.cursor = self.store.version().max(watch.cursor);
        for event in &mut events {
            self.dress(resource, watch, event);
        }
        Ok(events)
    }

    /// Gives the object of an event the version and the form that the watcher asked for.
    fn dress(&self, resource: &Resource, watch: &mut Watch, event: &mut WatchEvent) {
        let object = &mut event.body["object"];
        object["apiVersion"] = json!(resource.api_version(&watch.version));
        if watch.as_table && event.body["type"] != "BOOKMARK" {
            let object = event.body["object"].take();
            let mut table = table::table(resource, &[&object], self.now);
            if std::mem::replace(&mut watch.columns_sent, true) {
                table["columnDefinitions"] = json!([]);
            }
            event.body["object"] = table;
        }
    }

    /// Returns the bookmark that a watcher at its cursor may be sent, if it asked for bookmarks.
    pub fn bookmark(&self, watch: &Watch) -> Option<Value> {
        let resource = self.resource(&watch.group, &watch.plural).ok()?;
        (watch.bookmarks && !watch.as_table).then(|| watch.bookmark(resource, watch.cursor, false))
    }
}
