//! Objects and their history under one counter of versions.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::ssa::Owners;

/// Where an object is stored. Versions of one group share objects, so the version is not part of it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Key {
    /// Group.
    pub group: String,
    /// Plural.
    pub plural: String,
    /// Namespace; empty for cluster-scoped objects.
    pub namespace: String,
    /// Name.
    pub name: String,
}

/// One committed change.
#[derive(Clone, Debug)]
pub struct Change {
    /// The version that it made.
    pub version: u64,
    /// The object's place.
    pub key: Key,
    /// The object before, unless the change created it.
    pub before: Option<Arc<Value>>,
    /// The object after; for a deletion its last state under the deletion's version.
    pub after: Arc<Value>,
    /// Whether the object is gone.
    pub deleted: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) value: Arc<Value>,
    pub(crate) owners: Arc<Owners>,
}

/// Every change is kept until [`Store::compact`] or until this many newer ones exist.
const HISTORY: usize = 50_000;

#[derive(Clone, Debug, Default)]
pub(crate) struct Store {
    objects: BTreeMap<Key, Stored>,
    history: Vec<Change>,
    version: u64,
    compacted: u64,
}

impl Store {
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn get(&self, key: &Key) -> Option<&Stored> {
        self.objects.get(key)
    }

    /// Returns the objects of a resource, all namespaces or one, in order of namespace and name.
    pub(crate) fn list<'a>(
        &'a self,
        group: &'a str,
        plural: &'a str,
        namespace: Option<&'a str>,
    ) -> impl Iterator<Item = (&'a Key, &'a Arc<Value>)> {
        let start = Key {
            group: group.into(),
            plural: plural.into(),
            namespace: namespace.unwrap_or_default().into(),
            name: String::new(),
        };
        let same = move |key: &Key| {
            key.group == group
                && key.plural == plural
                && namespace.is_none_or(|namespace| key.namespace == namespace)
        };
        let rest = self.objects.range(start..).take_while(move |(key, _)| same(key));
        rest.map(|(key, stored)| (key, &stored.value))
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (&Key, &Arc<Value>)> {
        self.objects.iter().map(|(key, stored)| (key, &stored.value))
    }

    /// Stores the object under the next version.
    pub(crate) fn put(&mut self, key: Key, mut value: Value, owners: Owners) -> Arc<Value> {
        self.version += 1;
        value["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let value = Arc::new(value);
        let stored = Stored { value: Arc::clone(&value), owners: Arc::new(owners) };
        let before = self.objects.insert(key.clone(), stored).map(|stored| stored.value);
        self.record(Change {
            version: self.version,
            key,
            before,
            after: Arc::clone(&value),
            deleted: false,
        });
        value
    }

    /// Removes the object; the deletion has a version of its own.
    pub(crate) fn remove(&mut self, key: &Key) -> Option<Arc<Value>> {
        let stored = self.objects.remove(key)?;
        self.version += 1;
        let mut last = (*stored.value).clone();
        last["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let last = Arc::new(last);
        self.record(Change {
            version: self.version,
            key: key.clone(),
            before: Some(stored.value),
            after: Arc::clone(&last),
            deleted: true,
        });
        Some(last)
    }

    fn record(&mut self, change: Change) {
        self.history.push(change);
        if self.history.len() > HISTORY {
            let mut dropped = self.history.drain(..HISTORY / 2);
            self.compacted = dropped.next_back().map_or(self.compacted, |change| change.version);
        }
    }

    /// Forgets the history up to and including `version`.
    pub(crate) fn compact(&mut self, version: u64) {
        self.compacted = self.compacted.max(version.min(self.version));
        let compacted = self.compacted;
        self.history.retain(|change| change.version > compacted);
    }

    pub(crate) fn compacted(&self) -> u64 {
        self.compacted
    }

    /// Returns the changes after `version`, oldest first, or `None` if some of them are compacted.
    pub(crate) fn since(&self, version: u64) -> Option<&[Change]> {
        if version < self.compacted {
            return None;
        }
        let start = self.history.partition_point(|change| change.version <= version);
        Some(&self.history[start..])
    }

    /// Returns the objects of a resource as they were at `version`, or `None` if that is compacted.
    pub(crate) fn list_at(
        &self,
        version: u64,
        group: &str,
        plural: &str,
        namespace: Option<&str>,
    ) -> Option<BTreeMap<Key, Arc<Value>>> {
        let now = self.list(group, plural, namespace);
        let mut objects: BTreeMap<Key, Arc<Value>> =
            now.map(|(key, value)| (key.clone(), Arc::clone(value))).collect();
        let concerned = |key: &Key| {
            key.group == group
                && key.plural == plural
                && namespace.is_none_or(|namespace| key.namespace == namespace)
        };
        for change in self.since(version)?.iter().rev().filter(|change| concerned(&change.key)) {
            match &change.before {
                Some(before) => objects.insert(change.key.clone(), Arc::clone(before)),
                None => objects.remove(&change.key),
            };
        }
        Some(objects)
    }
}
