//! Creates that the API server would not do: views show them, so that a decision can end what waits for the object.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sluice_crds::object::ObjectRef;
use sluice_engine::view::Refusal;
use tokio::time::Instant;

use crate::execute::{NOT_OURS, Outcome};
use crate::queue::Key;

/// How long the server's words count. What was decided on them is on record by then; a later try is another question.
const FRESH: Duration = Duration::from_secs(30);

type Known = BTreeMap<Key, BTreeMap<ObjectRef, (Refusal, Instant)>>;

/// Refusals by key. Forgotten with the process: the next create meets them again.
#[derive(Default)]
pub(crate) struct Refusals(Mutex<Known>);

impl Refusals {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what a view of the key shows.
    pub(crate) fn of(&self, key: &Key) -> BTreeMap<ObjectRef, Refusal> {
        let mut known = self.known();
        let Some(mine) = known.get_mut(key) else { return BTreeMap::new() };
        let counts =
            |refusal: &Refusal, at: &Instant| *refusal == Refusal::Taken || at.elapsed() < FRESH;
        mine.retain(|_, (refusal, at)| counts(refusal, at));
        mine.iter().map(|(object, (refusal, _))| (object.clone(), refusal.clone())).collect()
    }

    /// Notes what became of a write.
    pub(crate) fn wrote(&self, key: &Key, object: &ObjectRef, outcome: &Outcome) {
        match outcome {
            Outcome::Refused(words) => {
                let taken = words.ends_with(NOT_OURS);
                let refusal = if taken { Refusal::Taken } else { Refusal::Said(words.clone()) };
                let entry = (refusal, Instant::now());
                self.known().entry(key.clone()).or_default().insert(object.clone(), entry);
            }
            Outcome::Applied(_) | Outcome::AlreadyExistsOurs(_) | Outcome::Gone => {
                if let Some(mine) = self.known().get_mut(key) {
                    mine.remove(object);
                }
            }
            Outcome::Conflict(_)
            | Outcome::Unavailable(_)
            | Outcome::Unknown(_)
            | Outcome::NotEvicted(_)
            | Outcome::NotLeading => {}
        }
    }

    pub(crate) fn forget(&self, key: &Key) {
        self.known().remove(key);
    }
}

#[cfg(test)]
mod tests {
    use sluice_crds::object::Kind;

    use super::*;
    use crate::config::Role;

    #[tokio::test(start_paused = true)]
    async fn words_are_forgotten_after_a_while_and_a_taken_name_is_not() {
        let (refusals, key) = (Refusals::default(), Key::new(Role::Experiments, "shop", "exp"));
        let set = |name: &str| ObjectRef::namespaced(Kind::REPLICA_SET, "shop", name);
        let taken = Outcome::Refused(format!("ReplicaSet shop/a {NOT_OURS}"));
        refusals.wrote(&key, &set("a"), &taken);
        refusals.wrote(&key, &set("b"), &Outcome::Refused("exceeded quota".into()));
        let said = Refusal::Said("exceeded quota".into());
        let both = [(set("a"), Refusal::Taken), (set("b"), said)];
        assert_eq!(refusals.of(&key), both.clone().into());
        tokio::time::advance(FRESH).await;
        assert_eq!(refusals.of(&key), [both[0].clone()].into());
        refusals.wrote(&key, &set("a"), &Outcome::Gone);
        assert!(refusals.of(&key).is_empty());
    }
}
