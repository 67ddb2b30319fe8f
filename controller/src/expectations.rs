//! Read your writes: a key is not decided before every store has seen what the key itself wrote (`design.md` 3.2).
//!
//! There is no timer: what is waited for is a version, and the watch brings it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sluice_crds::object::{Kind, ObjectRef, ResourceVersion};

use crate::queue::Key;
use crate::stores::live::{Class, class_of};

/// What a store must have seen.
#[derive(Clone, Debug, Default)]
struct Waits {
    /// Versions of acknowledged writes, by kind; the API version of a kind does not count.
    versions: BTreeMap<Class, (Kind, ResourceVersion)>,
    /// Incarnations that were deleted.
    gone: Vec<(ObjectRef, String)>,
}

impl Waits {
    fn is_empty(&self) -> bool {
        self.versions.is_empty() && self.gone.is_empty()
    }
}

/// Tells what the stores have seen.
pub(crate) trait Seen {
    /// Returns the version that the store of the kind has reached; `None` if there is no store to wait for.
    fn reached(&self, kind: &Kind) -> Option<ResourceVersion>;
    /// Returns whether a store still holds this incarnation, with no sign of its deletion.
    fn holds(&self, object: &ObjectRef, uid: &str) -> bool;
}

/// What each key waits for.
#[derive(Default)]
pub(crate) struct Expectations(Mutex<BTreeMap<Key, Waits>>);

impl Expectations {
    fn waits(&self) -> MutexGuard<'_, BTreeMap<Key, Waits>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records an acknowledged write.
    pub(crate) fn wrote(&self, key: &Key, kind: &Kind, version: &ResourceVersion) {
        let mut waits = self.waits();
        let versions = &mut waits.entry(key.clone()).or_default().versions;
        let fresh = || (kind.clone(), ResourceVersion::default());
        let (_, known) = versions.entry(class_of(kind)).or_insert_with(fresh);
        if *version > *known {
            *known = version.clone();
        }
    }

    /// Records an acknowledged deletion.
    pub(crate) fn deleted(&self, key: &Key, object: &ObjectRef, uid: &str) {
        let gone = (object.clone(), uid.to_owned());
        self.waits().entry(key.clone()).or_default().gone.push(gone);
    }

    /// Returns whether the key may be decided: everything that it wrote has been seen.
    pub(crate) fn are_met(&self, key: &Key, seen: &dyn Seen) -> bool {
        let mut waits = self.waits();
        let Some(waiting) = waits.get_mut(key) else { return true };
        settle(waiting, seen);
        let met = waiting.is_empty();
        if met {
            waits.remove(key);
        }
        met
    }

    /// Returns the keys that wait for this kind and may be decided.
    pub(crate) fn met_by(&self, kind: &Kind, seen: &dyn Seen) -> Vec<Key> {
        let mut waits = self.waits();
        let class = class_of(kind);
        let concerned = |waiting: &Waits| {
            waiting.versions.contains_key(&class)
                || waiting.gone.iter().any(|(object, _)| class_of(&object.kind) == class)
        };
        let mut met = Vec::new();
        waits.retain(|key, waiting| {
            if !concerned(waiting) {
                return true;
            }
            settle(waiting, seen);
            if waiting.is_empty() {
                met.push(key.clone());
            }
            !waiting.is_empty()
        });
        met
    }

    /// Forgets a key whose object is gone.
    pub(crate) fn forget(&self, key: &Key) {
        self.waits().remove(key);
    }
}

fn settle(waits: &mut Waits, seen: &dyn Seen) {
    waits.versions.retain(|_, (kind, version)| match seen.reached(kind) {
        Some(reached) => reached < *version,
        None => false,
    });
    waits.gone.retain(|(object, uid)| seen.holds(object, uid));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Role;

    struct Fake(ResourceVersion, bool);

    impl Seen for Fake {
        fn reached(&self, kind: &Kind) -> Option<ResourceVersion> {
            (*kind == Kind::SERVICE).then(|| self.0.clone())
        }
        fn holds(&self, _: &ObjectRef, _: &str) -> bool {
            self.1
        }
    }

    fn key() -> Key {
        Key::new(Role::Rollouts, "shop", "web")
    }

    #[test]
    fn a_key_waits_until_its_write_is_seen() {
        let expectations = Expectations::default();
        expectations.wrote(&key(), &Kind::SERVICE, &10.into());
        expectations.wrote(&key(), &Kind::SERVICE, &9.into());
        assert!(!expectations.are_met(&key(), &Fake(9.into(), true)));
        assert!(expectations.met_by(&Kind::POD, &Fake(10.into(), true)).is_empty());
        assert_eq!(expectations.met_by(&Kind::SERVICE, &Fake(10.into(), true)), [key()]);
        assert!(expectations.are_met(&key(), &Fake(0.into(), true)));
    }

    #[test]
    fn a_write_to_a_kind_that_is_not_watched_is_not_waited_for() {
        let expectations = Expectations::default();
        expectations.wrote(&key(), &Kind::CONFIG_MAP, &10.into());
        assert!(expectations.are_met(&key(), &Fake(0.into(), true)));
    }

    #[test]
    fn a_deletion_is_waited_for_until_the_incarnation_is_gone() {
        let expectations = Expectations::default();
        let object = ObjectRef::namespaced(Kind::SERVICE, "shop", "web");
        expectations.deleted(&key(), &object, "u1");
        assert!(!expectations.are_met(&key(), &Fake(99.into(), true)));
        assert!(expectations.are_met(&key(), &Fake(0.into(), false)));
    }
}
