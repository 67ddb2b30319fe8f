//! What leadership means to a write: permission until an instant, and the numbers of the fence (`design.md` 3.3).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sluice_crds::object::ObjectRef;
use sluice_engine::fence::{EpochView, FenceRules, Term};
use tokio::sync::Notify;
use tokio::time::Instant;

#[derive(Default)]
struct State {
    held: Option<(Term, Instant)>,
    n: u64,
    needed: BTreeMap<ObjectRef, u64>,
    disowned: BTreeSet<String>,
    lost: Option<String>,
}

/// The one place that says whether this process may write. The elector grants; everybody else asks.
#[derive(Default)]
pub(crate) struct Leadership {
    state: Mutex<State>,
    changed: Notify,
}

impl Leadership {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Grants permission to write until the instant.
    pub(crate) fn grant(&self, term: Term, until: Instant) {
        let mut state = self.state();
        if state.lost.is_none() {
            state.held = Some((term, until));
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// Takes the permission away, for ever: a process that lost the Lease ends.
    pub(crate) fn lose(&self, reason: impl Into<String>) {
        let mut state = self.state();
        state.held = None;
        state.lost.get_or_insert_with(|| reason.into());
        drop(state);
        self.changed.notify_waiters();
    }

    /// Takes the permission away at a clean end.
    pub(crate) fn resign(&self) {
        self.state().held = None;
    }

    /// Returns for how long this process may still write.
    pub(crate) fn permission(&self) -> Option<Duration> {
        let state = self.state();
        let (_, until) = state.held.as_ref()?;
        let left = until.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }

    pub(crate) fn leads(&self) -> bool {
        self.permission().is_some()
    }

    /// Waits until this process leads.
    pub(crate) async fn won(&self) {
        loop {
            let changed = self.changed.notified();
            if self.leads() {
                return;
            }
            changed.await;
        }
    }

    /// Waits until leadership is lost, and says why.
    pub(crate) async fn lost(&self) -> String {
        loop {
            let changed = self.changed.notified();
            if let Some(reason) = self.state().lost.clone() {
                return reason;
            }
            changed.await;
        }
    }

    /// Returns what a decision needs to know, with a freshly drawn number; `None` if this process does not lead.
    pub(crate) fn epoch(&self, rules: FenceRules) -> Option<EpochView> {
        let mut state = self.state();
        let (term, _) = state.held.clone()?;
        state.n += 1;
        Some(EpochView {
            term,
            n: state.n,
            needed: state.needed.clone(),
            disowned: state.disowned.clone(),
            rules,
        })
    }

    /// Records a write with unknown outcome: the object must show a number drawn after it.
    pub(crate) fn unknown(&self, object: &ObjectRef) {
        let mut state = self.state();
        state.n += 1;
        let n = state.n;
        state.needed.insert(object.clone(), n);
    }

    /// Records that stamps of this Lease are not of anybody who lives.
    pub(crate) fn disown(&self, lease_uid: String) {
        self.state().disowned.insert(lease_uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn term() -> Term {
        Term { lease: "l".into(), lease_uid: "u".into(), acquired: 7.into() }
    }

    #[tokio::test(start_paused = true)]
    async fn permission_ends_by_itself() {
        let leadership = Leadership::default();
        assert!(leadership.epoch(FenceRules::ALL).is_none());
        leadership.grant(term(), Instant::now() + Duration::from_secs(10));
        assert_eq!(leadership.permission(), Some(Duration::from_secs(10)));
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(leadership.permission(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn who_lost_the_lease_never_gets_permission_again() {
        let leadership = Leadership::default();
        leadership.lose("another holds it");
        leadership.grant(term(), Instant::now() + Duration::from_secs(10));
        assert!(!leadership.leads());
        assert_eq!(leadership.lost().await, "another holds it");
    }

    #[tokio::test(start_paused = true)]
    async fn an_unknown_write_needs_a_number_drawn_after_it() {
        let leadership = Leadership::default();
        leadership.grant(term(), Instant::now() + Duration::from_secs(10));
        let before = leadership.epoch(FenceRules::ALL).unwrap();
        let object = ObjectRef::cluster(sluice_crds::object::Kind::NAMESPACE, "shop");
        leadership.unknown(&object);
        let after = leadership.epoch(FenceRules::ALL).unwrap();
        assert!(after.needed[&object] > before.n);
        assert!(after.n > after.needed[&object]);
    }
}
