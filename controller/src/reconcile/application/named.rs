//! Objects that are read by name because they must not be listed: Secrets that a repository declares, and what lies outside of
//! the one namespace that is watched.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sluice_crds::object::ObjectRef;
use sluice_engine::view::Lookup;
use sluice_sync::view::LiveObject;
use tokio::time::Instant;

use crate::client::{self, Form};
use crate::queue::{Key, Queue};
use crate::stores::live::live_object;

/// How long a reading counts.
const FRESH: Duration = Duration::from_secs(60);
/// Time between two attempts at a reading.
const PAUSE: Duration = Duration::from_secs(5);

#[derive(Default)]
struct State {
    known: BTreeMap<ObjectRef, (Lookup<Arc<LiveObject>>, Instant)>,
    asked: BTreeMap<ObjectRef, BTreeSet<Key>>,
}

/// Readings by name.
pub(crate) struct Named {
    client: kube::Client,
    queue: Arc<Queue>,
    limit: Duration,
    state: Mutex<State>,
}

impl Named {
    pub(crate) fn new(client: kube::Client, queue: Arc<Queue>, limit: Duration) -> Arc<Self> {
        Arc::new(Self { client, queue, limit, state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the object as it was read lately; else it is read, and the reader is woken.
    pub(crate) fn lookup(
        self: &Arc<Self>,
        reader: &Key,
        object: &ObjectRef,
    ) -> Lookup<Arc<LiveObject>> {
        let mut state = self.state();
        if let Some((known, until)) = state.known.get(object)
            && *until > Instant::now()
        {
            return known.clone();
        }
        let first = !state.asked.contains_key(object);
        state.asked.entry(object.clone()).or_default().insert(reader.clone());
        drop(state);
        if first {
            let (named, object) = (Arc::clone(self), object.clone());
            tokio::spawn(async move { named.read(object).await });
        }
        Lookup::Unknown
    }

    /// Says that the object was written.
    pub(crate) fn forget(&self, object: &ObjectRef) {
        self.state().known.remove(object);
    }

    /// Reads until there is an answer: who asked has nobody else to wait for.
    async fn read(&self, object: ObjectRef) {
        let lookup = loop {
            match self.attempt(&object).await {
                Ok(lookup) => break lookup,
                Err(error) => tracing::warn!(%object, %error, "cannot be read"),
            }
            tokio::time::sleep(PAUSE).await;
        };
        let mut state = self.state();
        state.known.retain(|_, (_, until)| *until > Instant::now());
        state.known.insert(object.clone(), (lookup, Instant::now() + FRESH));
        let readers = state.asked.remove(&object).unwrap_or_default();
        drop(state);
        readers.into_iter().for_each(|key| self.queue.wake(key));
    }

    async fn attempt(&self, object: &ObjectRef) -> Result<Lookup<Arc<LiveObject>>, String> {
        let reply = client::get(&self.client, &object.path(), Form::Whole, self.limit)
            .await
            .map_err(|error| error.to_string())?;
        if reply.status == 404 {
            return Ok(Lookup::Absent);
        }
        if !reply.is_success() {
            return Err(reply.message());
        }
        let body = serde_json::from_slice(&reply.body).map_err(|error| error.to_string())?;
        let live = live_object(&object.kind, body).ok_or("it has no metadata")?;
        Ok(Lookup::Present(Arc::new(live)))
    }
}
