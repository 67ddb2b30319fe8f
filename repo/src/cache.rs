//! Rendered results by the content of their inputs: an unrelated commit costs nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

/// The objects of a source, shared.
pub type Objects = Arc<Vec<Value>>;

/// A bounded map from content key to objects; the least recently used entries go first.
pub struct RenderCache {
    max_bytes: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    entries: BTreeMap<String, Held>,
    /// Content keys by the time of their last use.
    by_use: BTreeMap<u64, String>,
    clock: u64,
    bytes: u64,
}

struct Held {
    objects: Objects,
    bytes: u64,
    used: u64,
}

impl RenderCache {
    /// Makes a cache that holds objects whose rendered text is at most `max_bytes` together.
    pub fn new(max_bytes: u64) -> Self {
        RenderCache { max_bytes, state: Mutex::default() }
    }

    /// Returns what was rendered from the same content.
    pub fn get(&self, key: &str) -> Option<Objects> {
        let mut state = self.lock();
        state.clock += 1;
        let clock = state.clock;
        let held = state.entries.get_mut(key)?;
        let (before, objects) = (std::mem::replace(&mut held.used, clock), held.objects.clone());
        state.by_use.remove(&before);
        state.by_use.insert(clock, key.to_owned());
        Some(objects)
    }

    /// Keeps a result of `bytes` of text; a result larger than the whole cache is not kept.
    pub fn put(&self, key: &str, objects: Objects, bytes: u64) {
        if bytes > self.max_bytes {
            return;
        }
        let mut state = self.lock();
        state.remove(key);
        while state.bytes + bytes > self.max_bytes {
            let Some((_, oldest)) = state.by_use.first_key_value() else { break };
            let oldest = oldest.clone();
            state.remove(&oldest);
        }
        state.clock += 1;
        let used = state.clock;
        state.bytes += bytes;
        state.by_use.insert(used, key.to_owned());
        state.entries.insert(key.to_owned(), Held { objects, bytes, used });
    }

    /// Returns how many results and bytes are held.
    pub fn size(&self) -> (usize, u64) {
        let state = self.lock();
        (state.entries.len(), state.bytes)
    }

    // A panic while the lock was held leaves a map that is at worst a little too large.
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn remove(&mut self, key: &str) {
        if let Some(held) = self.entries.remove(key) {
            self.by_use.remove(&held.used);
            self.bytes -= held.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::RenderCache;

    #[test]
    fn the_least_recently_used_result_goes_first_and_the_bytes_stay_bounded() {
        let cache = RenderCache::new(10);
        cache.put("a", Arc::new(vec![1.into()]), 4);
        cache.put("b", Arc::new(vec![2.into()]), 4);
        assert!(cache.get("a").is_some());
        cache.put("c", Arc::new(vec![3.into()]), 4);
        assert!(cache.get("b").is_none());
        assert_eq!(*cache.get("a").unwrap(), [serde_json::Value::from(1)]);
        cache.put("a", Arc::new(vec![]), 9);
        assert_eq!(cache.size(), (1, 9));
        cache.put("huge", Arc::new(vec![]), 11);
        assert_eq!(cache.size(), (1, 9));
    }
}
