//! The objects of one kind, as last seen. Only its feed writes it; it never goes back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sluice_crds::object::{Kind, ResourceVersion};
use sluice_engine::view::Lookup;
use tokio::time::Instant;

/// Who an object is, in which version.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identity<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    pub(crate) uid: &'a str,
    pub(crate) version: &'a ResourceVersion,
}

/// A pruned record that a store keeps.
pub(crate) trait Kept: Clone + Send + Sync + 'static {
    fn identity(&self) -> Identity<'_>;

    /// Returns the value by which the store finds it beside its name: the owner's uid, mostly.
    fn index(&self) -> Option<String> {
        None
    }

    /// Returns whether both mean the same to a decision, whatever their versions.
    fn same(&self, _other: &Self) -> bool {
        false
    }

    /// Returns whether its deletion was asked for, as far as the record says.
    fn is_leaving(&self) -> bool {
        false
    }
}

/// Namespace and name.
pub(crate) type Name = (String, String);

/// Whether a store can be asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Availability {
    /// Not listed yet.
    Pending,
    /// Listed.
    Synced,
    /// The kind is not installed.
    NoKind,
    /// May not be listed, in the server's words.
    Forbidden(String),
}

/// A change of one object.
#[derive(Clone, Debug)]
pub(crate) struct Changed<T> {
    pub(crate) old: Option<Arc<T>>,
    pub(crate) new: Option<Arc<T>>,
}

/// What a feed brings.
#[derive(Clone, Debug)]
pub(crate) enum Observed<T> {
    /// The object as it is.
    Whole(T),
    /// The object exists, and nobody wants to know more.
    Stub { namespace: String, name: String, uid: String, version: ResourceVersion },
}

impl<T: Kept> Observed<T> {
    fn identity(&self) -> Identity<'_> {
        match self {
            Self::Whole(record) => record.identity(),
            Self::Stub { namespace, name, uid, version } => {
                Identity { namespace, name, uid, version }
            }
        }
    }
}

#[derive(Clone)]
struct Slot<T> {
    uid: String,
    version: ResourceVersion,
    /// `None` for a stub.
    record: Option<Arc<T>>,
}

struct State<T> {
    slots: BTreeMap<Name, Slot<T>>,
    indexed: BTreeMap<String, BTreeSet<Name>>,
    availability: Availability,
    reached: ResourceVersion,
    heard: Instant,
    went_back: u64,
}

/// The objects of one kind.
pub(crate) struct Store<T> {
    pub(crate) kind: Kind,
    state: Mutex<State<T>>,
}

impl<T: Kept> Store<T> {
    pub(crate) fn new(kind: Kind) -> Self {
        let state = State {
            slots: BTreeMap::new(),
            indexed: BTreeMap::new(),
            availability: Availability::Pending,
            reached: ResourceVersion::default(),
            heard: Instant::now(),
            went_back: 0,
        };
        Self { kind, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        // A panic under this lock can only come from a record's own comparison; the map itself stays whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the object, its proved absence, or that nothing is known.
    pub(crate) fn lookup(&self, namespace: &str, name: &str) -> Lookup<Arc<T>> {
        let state = self.state();
        match &state.availability {
            Availability::Pending | Availability::Forbidden(_) => Lookup::Unknown,
            Availability::NoKind => Lookup::NoKind,
            Availability::Synced => match state.slots.get(&(namespace.into(), name.into())) {
                Some(Slot { record: Some(record), .. }) => Lookup::Present(Arc::clone(record)),
                Some(Slot { record: None, .. }) => Lookup::Unknown,
                None => Lookup::Absent,
            },
        }
    }

    pub(crate) fn get(&self, namespace: &str, name: &str) -> Option<Arc<T>> {
        self.state().slots.get(&(namespace.into(), name.into()))?.record.clone()
    }

    /// Returns the objects with this index value, by name.
    pub(crate) fn indexed(&self, value: &str) -> Vec<Arc<T>> {
        let state = self.state();
        let names = state.indexed.get(value).into_iter().flatten();
        names.filter_map(|name| state.slots.get(name)?.record.clone()).collect()
    }

    pub(crate) fn all(&self) -> Vec<Arc<T>> {
        self.state().slots.values().filter_map(|slot| slot.record.clone()).collect()
    }

    /// Returns whether the store holds this incarnation, with no sign of its deletion.
    pub(crate) fn holds(&self, namespace: &str, name: &str, uid: &str) -> bool {
        let state = self.state();
        let slot = state.slots.get(&(namespace.into(), name.into()));
        let leaves =
            |slot: &Slot<T>| slot.record.as_ref().is_some_and(|record| record.is_leaving());
        slot.is_some_and(|slot| slot.uid == uid && !leaves(slot))
    }

    pub(crate) fn is_stub(&self, namespace: &str, name: &str) -> bool {
        let state = self.state();
        let slot = state.slots.get(&(namespace.into(), name.into()));
        slot.is_some_and(|slot| slot.record.is_none())
    }

    pub(crate) fn availability(&self) -> Availability {
        self.state().availability.clone()
    }

    /// Returns the version up to which this store has seen everything of its kind.
    pub(crate) fn reached(&self) -> ResourceVersion {
        self.state().reached.clone()
    }

    pub(crate) fn heard(&self) -> Instant {
        self.state().heard
    }

    pub(crate) fn went_back(&self) -> u64 {
        self.state().went_back
    }

    /// Takes an object of a watch. `None` if nothing changed that matters.
    pub(crate) fn upsert(&self, observed: Observed<T>) -> Option<Changed<T>> {
        self.state().upsert(observed)
    }

    /// Takes the end of an object.
    pub(crate) fn remove(&self, identity: Identity<'_>) -> Option<Changed<T>> {
        let mut state = self.state();
        let name = (identity.namespace.to_owned(), identity.name.to_owned());
        let slot = state.slots.get(&name)?;
        if slot.uid != identity.uid && !identity.uid.is_empty() {
            return None;
        }
        state.take(&name)
    }

    /// Takes a whole list: what it lacks is gone.
    pub(crate) fn replace(
        &self,
        items: Vec<Observed<T>>,
        version: &ResourceVersion,
    ) -> Vec<Changed<T>> {
        let mut state = self.state();
        let present: BTreeSet<Name> = items.iter().map(|item| name_of(item.identity())).collect();
        let gone: Vec<Name> =
            state.slots.keys().filter(|name| !present.contains(*name)).cloned().collect();
        let mut changes: Vec<_> = gone.iter().filter_map(|name| state.take(name)).collect();
        changes.extend(items.into_iter().filter_map(|item| state.upsert(item)));
        state.availability = Availability::Synced;
        state.advance(version);
        changes
    }

    /// Says that everything up to this version was seen.
    pub(crate) fn advance(&self, version: &ResourceVersion) {
        self.state().advance(version);
    }

    /// Says that the kind cannot be listed. If it is not installed, its objects are gone.
    pub(crate) fn unavailable(&self, availability: Availability) -> Vec<Changed<T>> {
        let mut state = self.state();
        let missing = availability == Availability::NoKind;
        state.availability = availability;
        state.heard = Instant::now();
        let gone: Vec<Name> =
            if missing { state.slots.keys().cloned().collect() } else { Vec::new() };
        gone.iter().filter_map(|name| state.take(name)).collect()
    }
}

fn name_of(identity: Identity<'_>) -> Name {
    (identity.namespace.to_owned(), identity.name.to_owned())
}

impl<T: Kept> State<T> {
    fn advance(&mut self, version: &ResourceVersion) {
        self.heard = Instant::now();
        if *version > self.reached {
            self.reached = version.clone();
        }
    }

    fn take(&mut self, name: &Name) -> Option<Changed<T>> {
        let slot = self.slots.remove(name)?;
        if let Some(value) = slot.record.as_ref().and_then(|record| record.index()) {
            self.unindex(&value, name);
        }
        slot.record.map(|old| Changed { old: Some(old), new: None })
    }

    fn unindex(&mut self, value: &str, name: &Name) {
        if let Some(names) = self.indexed.get_mut(value) {
            names.remove(name);
            if names.is_empty() {
                self.indexed.remove(value);
            }
        }
    }

    fn upsert(&mut self, observed: Observed<T>) -> Option<Changed<T>> {
        let identity = observed.identity();
        let name = name_of(identity);
        let (uid, version) = (identity.uid.to_owned(), identity.version.clone());
        let known = self.slots.get(&name);
        if let Some(known) = known
            && known.uid == uid
            && (known.version > version || (known.version == version && known.record.is_some()))
        {
            if known.version > version {
                self.went_back += 1;
            }
            return None;
        }
        let old = known.and_then(|slot| slot.record.clone());
        let new = match observed {
            Observed::Whole(record) => Some(Arc::new(record)),
            Observed::Stub { .. } => None,
        };
        if let Some(value) = old.as_ref().and_then(|record| record.index()) {
            self.unindex(&value, &name);
        }
        if let Some(value) = new.as_ref().and_then(|record| record.index()) {
            self.indexed.entry(value).or_default().insert(name.clone());
        }
        self.slots.insert(name, Slot { uid, version, record: new.clone() });
        if let (Some(old), Some(new)) = (&old, &new)
            && old.same(new)
        {
            return None;
        }
        (old.is_some() || new.is_some()).then_some(Changed { old, new })
    }
}

#[cfg(test)]
mod tests;
