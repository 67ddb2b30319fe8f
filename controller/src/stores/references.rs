//! Who looks at what: from an object to the keys whose decisions depend on it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use sluice_crds::object::ObjectRef;

use crate::queue::Key;

#[derive(Default)]
struct State {
    readers: BTreeMap<ObjectRef, BTreeSet<Key>>,
    reads: BTreeMap<Key, BTreeSet<ObjectRef>>,
}

/// The reverse index of references (`reliability.md` H10).
#[derive(Default)]
pub(crate) struct References(Mutex<State>);

/// What a change of references means.
#[derive(Debug, Default)]
pub(crate) struct Rewired {
    /// Objects that this key did not read before.
    pub(crate) added: Vec<ObjectRef>,
    /// Other keys that share an object that was added or removed: their claims changed.
    pub(crate) sharers: BTreeSet<Key>,
}

impl References {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the keys that read the object.
    pub(crate) fn readers(&self, object: &ObjectRef) -> Vec<Key> {
        self.state().readers.get(object).into_iter().flatten().cloned().collect()
    }

    /// Returns what the key reads.
    pub(crate) fn of(&self, key: &Key) -> BTreeSet<ObjectRef> {
        self.state().reads.get(key).cloned().unwrap_or_default()
    }

    /// Returns whether any key reads the object.
    pub(crate) fn is_read(&self, object: &ObjectRef) -> bool {
        self.state().readers.contains_key(object)
    }

    /// Sets what the key reads; an empty set forgets the key.
    pub(crate) fn set(&self, key: &Key, wanted: BTreeSet<ObjectRef>) -> Rewired {
        let mut state = self.state();
        let before = state.reads.remove(key).unwrap_or_default();
        let mut rewired = Rewired::default();
        for object in before.difference(&wanted) {
            if let Some(readers) = state.readers.get_mut(object) {
                readers.remove(key);
                rewired.sharers.extend(readers.iter().cloned());
                if readers.is_empty() {
                    state.readers.remove(object);
                }
            }
        }
        for object in wanted.difference(&before) {
            let readers = state.readers.entry(object.clone()).or_default();
            rewired.sharers.extend(readers.iter().cloned());
            readers.insert(key.clone());
            rewired.added.push(object.clone());
        }
        if !wanted.is_empty() {
            state.reads.insert(key.clone(), wanted);
        }
        rewired
    }
}

#[cfg(test)]
mod tests {
    use sluice_crds::object::Kind;

    use super::*;
    use crate::config::Role;

    fn key(name: &str) -> Key {
        Key::new(Role::Rollouts, "shop", name)
    }

    fn service(name: &str) -> ObjectRef {
        ObjectRef::namespaced(Kind::SERVICE, "shop", name)
    }

    #[test]
    fn a_removed_reference_still_wakes_those_who_share_it() {
        let references = References::default();
        references.set(&key("a"), [service("web")].into());
        let rewired = references.set(&key("b"), [service("web"), service("b")].into());
        assert_eq!(rewired.sharers, [key("a")].into());
        assert_eq!(references.readers(&service("web")), [key("a"), key("b")]);
        let rewired = references.set(&key("b"), [service("b")].into());
        assert_eq!(rewired.sharers, [key("a")].into());
        assert!(rewired.added.is_empty());
        assert_eq!(references.readers(&service("web")), [key("a")]);
    }

    #[test]
    fn an_object_that_nobody_reads_is_forgotten() {
        let references = References::default();
        references.set(&key("a"), [service("web")].into());
        references.set(&key("a"), BTreeSet::new());
        assert!(!references.is_read(&service("web")));
        assert!(references.state().reads.is_empty());
    }
}
