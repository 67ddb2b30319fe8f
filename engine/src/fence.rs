//! Why a write is safe although leaders change, packets come late and caches lag (S19).
//!
//! Each object that a plan acts on carries a stamp: which term of leadership wrote it last. A decision acts only if every
//! object that it relies on carries a stamp of the present term; otherwise it writes those stamps and nothing else, and the
//! next view decides anew on the versions that were returned. A touch gives the object a new version, and a write that an old
//! leader still has in flight was decided on the version before it: the API server refuses it. An object with a stamp of a
//! *newer* term means that this process has lost the lease: nothing is written at all.
//!
//! After a write whose outcome is unknown, the same process may be its own late writer; so the stamp also carries a number,
//! and the object must show one drawn after the unknown write.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use sluice_crds::labels::EPOCH_PREFIX;
use sluice_crds::object::{Change, Meta, ObjectRef, Preconditions, ResourceVersion, Write};

/// One term of leadership: a Lease and the version that the acquiring write returned.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Term {
    /// Name of the Lease; part of the annotation's key.
    pub lease: String,
    /// Uid of the Lease object.
    pub lease_uid: String,
    /// `resourceVersion` that the acquiring write returned: grows with each term, also over deletions of the Lease.
    pub acquired: ResourceVersion,
}

/// The value of the annotation: who wrote the object last.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Stamp {
    /// Uid of the Lease.
    pub lease_uid: String,
    /// Acquiring version of the term.
    pub acquired: ResourceVersion,
    /// Number from a counter of the process; makes each stamp different from the one before.
    pub n: u64,
}

impl Stamp {
    /// Reads `<lease uid>:<acquiring version>:<n>`; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (lease_uid, acquired, n) = Self::parts(text)?;
        let acquired = ResourceVersion(acquired.to_owned());
        Some(Self { lease_uid: lease_uid.to_owned(), acquired, n })
    }

    fn parts(text: &str) -> Option<(&str, &str, u64)> {
        let mut parts = text.split(':');
        let (lease_uid, acquired, n) = (parts.next()?, parts.next()?, parts.next()?);
        let digits = !acquired.is_empty() && acquired.bytes().all(|b| b.is_ascii_digit());
        if parts.next().is_some() || lease_uid.is_empty() || !digits {
            return None;
        }
        Some((lease_uid, acquired, n.parse().ok()?))
    }
}

impl std::fmt::Display for Stamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.lease_uid, self.acquired, self.n)
    }
}

/// Parts of the fence, so that the explorer can show that each is needed. Production has them all on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FenceRules {
    /// Writes carry uid and resourceVersion.
    pub preconditions: bool,
    /// Objects must carry a stamp of the present term before a plan relies on them.
    pub epoch: bool,
    /// An object with a stamp of a newer term stops everything.
    pub refuse_newer: bool,
    /// After an unknown outcome a stamp drawn later is needed.
    pub renew_after_unknown: bool,
}

impl FenceRules {
    /// Everything on.
    pub const ALL: Self =
        Self { preconditions: true, epoch: true, refuse_newer: true, renew_after_unknown: true };
}

/// What a view knows about leadership.
#[derive(Clone, PartialEq, Debug)]
pub struct EpochView {
    /// The present term.
    pub term: Term,
    /// A number drawn for this decision from the process's counter; greater than any drawn before.
    pub n: u64,
    /// Objects with an unknown write behind them, and the least number that their stamp must show.
    pub needed: BTreeMap<ObjectRef, u64>,
    /// Uids of Leases that a live read proved not to be ours any more (restored backup, re-created Lease); stamped over.
    pub disowned: BTreeSet<String>,
    /// Which rules are on.
    pub rules: FenceRules,
}

/// A view that knows about leadership.
pub(crate) trait Led {
    /// Returns what it knows.
    fn epoch(&self) -> &EpochView;
}

/// Whether a plan may rely on an object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FenceState {
    /// It carries a stamp of this term that is new enough.
    Fenced,
    /// It must be touched first.
    NeedsTouch,
    /// It carries a stamp of a newer term: this process has lost the lease.
    Lost(Stamp),
    /// It carries a stamp of a Lease with another uid, not yet proved to be gone: the shell must read our own Lease.
    ForeignLease(Stamp),
}

impl EpochView {
    /// Returns the annotation's key.
    pub fn key(&self) -> String {
        format!("{EPOCH_PREFIX}{}", self.term.lease)
    }

    /// Returns the stamp that writes of this decision carry.
    pub fn stamp(&self) -> Stamp {
        Stamp {
            lease_uid: self.term.lease_uid.clone(),
            acquired: self.term.acquired.clone(),
            n: self.n,
        }
    }

    /// Returns whether a plan may rely on the object.
    pub fn state(&self, object: &ObjectRef, meta: &Meta) -> FenceState {
        let lease = self.term.lease.as_str();
        let is_ours = |key: &str| key.strip_prefix(EPOCH_PREFIX) == Some(lease);
        let text = meta.annotations.iter().find(|(key, _)| is_ours(key)).map(|(_, text)| text);
        let Some((uid, acquired, n)) = text.and_then(|text| Stamp::parts(text)) else {
            return self.untouched();
        };
        // Nearly every stamp is of this term: it is compared where it stands.
        if uid == self.term.lease_uid && acquired == self.term.acquired.0 {
            return if n >= self.needed_of(object) { FenceState::Fenced } else { self.untouched() };
        }
        let acquired = ResourceVersion(acquired.to_owned());
        let stamp = Stamp { lease_uid: uid.to_owned(), acquired, n };
        if stamp.lease_uid != self.term.lease_uid {
            return if self.disowned.contains(&stamp.lease_uid) {
                self.untouched()
            } else {
                FenceState::ForeignLease(stamp)
            };
        }
        let refuses = self.rules.refuse_newer && !seeded!(FenceNewerTermIgnored);
        if stamp.acquired > self.term.acquired && refuses {
            return FenceState::Lost(stamp);
        }
        let equal = !seeded!(FenceEqualNumber) || stamp.n == self.n;
        if stamp.acquired == self.term.acquired && stamp.n >= self.needed_of(object) && equal {
            FenceState::Fenced
        } else {
            self.untouched()
        }
    }

    /// The least number of a stamp of this term. "At least", not "equal": two Rollouts that share a VirtualService would else
    /// touch each other for ever.
    fn needed_of(&self, object: &ObjectRef) -> u64 {
        match self.needed.get(object) {
            Some(_) if seeded!(FenceWithoutRenewal) => 0,
            Some(needed) if self.rules.renew_after_unknown => *needed,
            Some(_) | None => 0,
        }
    }

    fn untouched(&self) -> FenceState {
        let touches = self.rules.epoch && !seeded!(FenceWithoutTouch);
        if touches { FenceState::NeedsTouch } else { FenceState::Fenced }
    }

    /// Returns the preconditions of a write to the object.
    pub fn preconditions(&self, meta: &Meta) -> Preconditions {
        let wanted = self.rules.preconditions && !seeded!(FenceWithoutPreconditions);
        if wanted { Preconditions::of(meta) } else { Preconditions::default() }
    }

    /// Returns the write that stamps the object and changes nothing else.
    pub fn touch(&self, object: ObjectRef, meta: &Meta, manager: &'static str) -> Write {
        Write {
            object,
            preconditions: self.preconditions(meta),
            manager: manager.into(),
            change: Change::MergePatch { body: self.stamped(json!({})) },
        }
    }

    /// Returns `body` with the stamp among its annotations: for merge patches, applies and creates.
    pub fn stamped(&self, mut body: Value) -> Value {
        if !self.rules.epoch {
            return body;
        }
        if let Value::Object(object) = &mut body {
            let metadata = object.entry("metadata").or_insert_with(|| json!({}));
            if let Some(metadata) = metadata.as_object_mut() {
                let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
                annotations[self.key()] = json!(self.stamp().to_string());
            }
        }
        body
    }

    /// Returns the JSON patch operations that stamp the object: the old stamp is tested where there is one.
    pub fn stamp_operations(&self, meta: &Meta) -> Vec<Value> {
        if !self.rules.epoch {
            return Vec::new();
        }
        let path =
            format!("/metadata/annotations/{}", self.key().replace('~', "~0").replace('/', "~1"));
        let mut operations = Vec::new();
        if meta.annotations.is_empty() {
            // kubectl's own annotation may be there although stores drop it: adding the map would erase it. An object that a
            // plan patches this way was touched before, so its map exists; this is the case of rules being off.
            operations.push(json!({ "op": "add", "path": "/metadata/annotations", "value": {} }));
        }
        if let Some(old) = meta.annotations.get(&self.key())
            && self.rules.preconditions
        {
            operations.push(json!({ "op": "test", "path": path, "value": old }));
        }
        operations.push(json!({ "op": "add", "path": path, "value": self.stamp().to_string() }));
        operations
    }
}

#[cfg(test)]
mod tests;
