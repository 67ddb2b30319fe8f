//! Values that arguments take from Secrets: read by name, when a run needs them, kept for minutes. Secrets are never listed
//! or watched (`reliability.md` 5.1).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Deserialize;
use sluice_crds::object::{Kind, ObjectRef};
use tokio::time::Instant;

use crate::client::{self, Form};
use crate::queue::{Key, Queue};

/// How long a value is used before it is read again.
const FRESH: Duration = Duration::from_secs(120);
/// How long a failure is believed.
const FAILED: Duration = Duration::from_secs(10);

type Content = Result<BTreeMap<String, String>, String>;

#[derive(Default)]
struct State {
    known: BTreeMap<ObjectRef, (Content, Instant)>,
    asked: BTreeMap<ObjectRef, BTreeSet<Key>>,
}

/// The Secrets that runs named lately.
pub(crate) struct Secrets {
    client: kube::Client,
    queue: Arc<Queue>,
    limit: Duration,
    state: Mutex<State>,
}

impl Secrets {
    pub(crate) fn new(client: kube::Client, queue: Arc<Queue>, limit: Duration) -> Arc<Self> {
        Arc::new(Self { client, queue, limit, state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a key's value, or why there is none; `None` while it is being read: the key is woken then.
    pub(crate) fn value(
        self: &Arc<Self>,
        reader: &Key,
        secret: &str,
        key: &str,
    ) -> Option<Result<String, String>> {
        let object = ObjectRef::namespaced(Kind::SECRET, &*reader.namespace, secret);
        let mut state = self.state();
        if let Some((content, until)) = state.known.get(&object)
            && *until > Instant::now()
        {
            return Some(match content {
                Ok(values) => {
                    values.get(key).cloned().ok_or_else(|| format!("{object} has no key `{key}`"))
                }
                Err(error) => Err(error.clone()),
            });
        }
        let first = !state.asked.contains_key(&object);
        state.asked.entry(object.clone()).or_default().insert(reader.clone());
        drop(state);
        if first {
            let secrets = Arc::clone(self);
            tokio::spawn(async move { secrets.read(object).await });
        }
        None
    }

    async fn read(&self, object: ObjectRef) {
        let read = client::get(&self.client, &object.path(), Form::Whole, self.limit).await;
        let content = match read {
            Ok(reply) if reply.is_success() => decode(&object, &reply.body),
            Ok(reply) => Err(format!("{object}: {}", reply.message())),
            Err(error) => Err(format!("{object}: {error}")),
        };
        let lasts = if content.is_ok() { FRESH } else { FAILED };
        let mut state = self.state();
        state.known.retain(|_, (_, until)| *until > Instant::now());
        state.known.insert(object.clone(), (content, Instant::now() + lasts));
        let readers = state.asked.remove(&object).unwrap_or_default();
        drop(state);
        readers.into_iter().for_each(|key| self.queue.wake(key));
    }
}

fn decode(object: &ObjectRef, body: &[u8]) -> Content {
    #[derive(Deserialize)]
    struct Wire {
        #[serde(default)]
        data: Option<BTreeMap<String, String>>,
    }
    let wire: Wire = serde_json::from_slice(body).map_err(|error| format!("{object}: {error}"))?;
    let text = |(key, value): (String, String)| {
        let bytes = BASE64_STANDARD.decode(&value).ok()?;
        Some((key, String::from_utf8(bytes).ok()?))
    };
    Ok(wire.data.unwrap_or_default().into_iter().filter_map(text).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_text_is_no_value() {
        let secret = ObjectRef::namespaced(Kind::SECRET, "shop", "token");
        let body = br#"{ "data": { "text": "YWI=", "bytes": "/w==", "broken": "?" } }"#;
        let wanted = BTreeMap::from([("text".to_owned(), "ab".to_owned())]);
        assert_eq!(decode(&secret, body), Ok(wanted));
        assert_eq!(decode(&secret, b"{}"), Ok(BTreeMap::new()));
        assert!(decode(&secret, b"no").is_err());
    }
}
