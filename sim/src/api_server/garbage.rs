//! Garbage collection: dependents of what is gone, orphans, foreground deletions, terminating namespaces.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::ApiServer;
use super::mutate::{DeleteOptions, FOREGROUND, Writer, namespace_key, text};
use super::store::Key;

const COLLECTOR: &str = "kube-controller-manager";

fn references(object: &Value) -> impl Iterator<Item = &Value> {
    object.pointer("/metadata/ownerReferences").and_then(Value::as_array).into_iter().flatten()
}

fn is_foreground(object: &Value) -> bool {
    let finalizers = object.pointer("/metadata/finalizers").and_then(Value::as_array);
    finalizers.is_some_and(|list| list.iter().any(|finalizer| finalizer == FOREGROUND))
}

impl ApiServer {
    pub(crate) fn has_dependents(&self, uid: &str) -> bool {
        let mut all = self.store.all();
        all.any(|(_, object)| references(object).any(|reference| reference["uid"] == uid))
    }

    /// Takes the owner out of its dependents, so that they stay.
    pub(crate) fn orphan_dependents(&mut self, writer: &Writer, uid: &str) {
        let dependents: Vec<Key> = self
            .store
            .all()
            .filter(|(_, object)| references(object).any(|reference| reference["uid"] == uid))
            .map(|(key, _)| key.clone())
            .collect();
        let writer = Writer::new(writer.now, COLLECTOR);
        for key in dependents {
            self.edit(&writer, &key, |object| {
                drop_references(object, |reference| reference["uid"] == uid)
            });
        }
    }

    fn edit(&mut self, writer: &Writer, key: &Key, change: impl FnOnce(&mut Value)) {
        let Ok(resource) = self.resource(&key.group, &key.plural).cloned() else { return };
        // The object may be gone by now; then there is nothing to change.
        let _ = self.update(writer, &resource, key, false, |object| {
            let mut object = object.clone();
            change(&mut object);
            Ok(object)
        });
    }

    /// Makes one pass and returns whether it changed anything: what a real garbage collector does in the background.
    pub fn collect_garbage(&mut self, now: DateTime<Utc>) -> bool {
        let version = self.store.version();
        let writer = Writer::new(now, COLLECTOR);
        self.collect_dependents(&writer);
        self.finish_foreground(&writer);
        self.empty_namespaces(&writer);
        self.store.version() != version
    }

    fn collect_dependents(&mut self, writer: &Writer) {
        let owners: BTreeMap<String, bool> = self
            .store
            .all()
            .map(|(_, object)| (text(object, "/metadata/uid").to_owned(), is_foreground(object)))
            .collect();
        let mut doomed = Vec::new();
        let mut dangling = Vec::new();
        for (key, object) in self.store.all() {
            let uids: Vec<&str> = references(object).filter_map(|r| r["uid"].as_str()).collect();
            let lives = |uid: &&&str| owners.get(**uid) == Some(&false);
            let absent = uids.iter().filter(|uid| !owners.contains_key(**uid)).count();
            if !uids.is_empty() && uids.iter().filter(lives).count() == 0 {
                doomed.push(key.clone());
            } else if absent > 0 {
                dangling.push(key.clone());
            }
        }
        for key in doomed {
            self.delete_in_background(writer, &key);
        }
        for key in dangling {
            self.edit(writer, &key, |object| {
                drop_references(object, |reference| {
                    let uid = reference["uid"].as_str().unwrap_or_default();
                    !owners.contains_key(uid)
                });
            });
        }
    }

    fn delete_in_background(&mut self, writer: &Writer, key: &Key) {
        let Ok(resource) = self.resource(&key.group, &key.plural).cloned() else { return };
        // Gone already is as good as deleted.
        let _ = self.delete(writer, &resource, key, &DeleteOptions::default());
    }

    fn finish_foreground(&mut self, writer: &Writer) {
        let blocked: BTreeSet<String> = self
            .store
            .all()
            .flat_map(|(_, object)| references(object))
            .filter(|reference| reference["blockOwnerDeletion"] == true)
            .filter_map(|reference| reference["uid"].as_str().map(str::to_owned))
            .collect();
        let free: Vec<Key> = self
            .store
            .all()
            .filter(|(_, object)| {
                is_foreground(object) && !blocked.contains(text(object, "/metadata/uid"))
            })
            .map(|(key, _)| key.clone())
            .collect();
        for key in free {
            self.edit(writer, &key, |object| {
                if let Some(list) = object["metadata"]["finalizers"].as_array_mut() {
                    list.retain(|finalizer| finalizer != FOREGROUND);
                }
            });
        }
    }

    fn empty_namespaces(&mut self, writer: &Writer) {
        let terminating: Vec<String> = self
            .store
            .list("", "namespaces", None)
            .filter(|(_, object)| !object["metadata"]["deletionTimestamp"].is_null())
            .map(|(key, _)| key.name.clone())
            .collect();
        for namespace in terminating {
            let all = self.store.all().filter(|(key, _)| key.namespace == namespace);
            let content: Vec<Key> = all.map(|(key, _)| key.clone()).collect();
            if content.is_empty() {
                self.finish_deletion(&namespace_key(&namespace));
            }
            for key in content {
                self.delete_in_background(writer, &key);
            }
        }
    }
}

fn drop_references(object: &mut Value, gone: impl Fn(&Value) -> bool) {
    let Some(metadata) = object["metadata"].as_object_mut() else { return };
    let Some(list) = metadata.get_mut("ownerReferences").and_then(Value::as_array_mut) else {
        return;
    };
    list.retain(|reference| !gone(reference));
    if list.is_empty() {
        metadata.remove("ownerReferences");
    }
}
