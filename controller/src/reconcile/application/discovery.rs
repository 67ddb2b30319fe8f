//! Which kinds the API server serves: asked once, and again while an Application names a kind that is not among them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use sluice_crds::object::Kind;
use sluice_sync::key::{Discovery, KindInfo};
use tokio::time::Instant;

use crate::client::{self, Form};
use crate::queue::{Key, Queue};

/// Least time between two looks.
const PAUSE: Duration = Duration::from_secs(10);

#[derive(Default)]
struct State {
    discovery: Option<Arc<Discovery>>,
    kinds: BTreeMap<(String, String), Kind>,
    asked: BTreeSet<Key>,
    looking: bool,
    looked_at: Option<Instant>,
}

/// The kinds that are served, with their preferred versions.
pub(crate) struct Kinds {
    client: kube::Client,
    queue: Arc<Queue>,
    limit: Duration,
    state: Mutex<State>,
}

#[derive(Deserialize)]
struct Groups {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    name: String,
    preferred_version: Version,
}

#[derive(Deserialize)]
struct Version {
    version: String,
}

#[derive(Deserialize)]
struct Resources {
    resources: Vec<Resource>,
}

#[derive(Deserialize)]
struct Resource {
    name: String,
    kind: String,
    namespaced: bool,
}

type Found = BTreeMap<(String, String), (Kind, KindInfo)>;

impl Kinds {
    pub(crate) fn new(client: kube::Client, queue: Arc<Queue>, limit: Duration) -> Arc<Self> {
        Arc::new(Self { client, queue, limit, state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what is served; `None` while that is being asked: the key is woken then.
    pub(crate) fn discovery(self: &Arc<Self>, reader: &Key) -> Option<Arc<Discovery>> {
        let mut state = self.state();
        if state.discovery.is_none() {
            // Under the same lock: an answer that comes between asking and being known as one who asks would wake nobody.
            self.ask_for(&mut state, reader);
        }
        state.discovery.clone()
    }

    /// Returns the kind in its preferred version.
    pub(crate) fn kind(&self, group: &str, kind: &str) -> Option<Kind> {
        self.state().kinds.get(&(group.to_owned(), kind.to_owned())).cloned()
    }

    /// Asks again, and wakes the key when that is done.
    pub(crate) fn look_again(self: &Arc<Self>, reader: &Key) {
        self.ask_for(&mut self.state(), reader);
    }

    fn ask_for(self: &Arc<Self>, state: &mut State, reader: &Key) {
        state.asked.insert(reader.clone());
        if std::mem::replace(&mut state.looking, true) {
            return;
        }
        let earliest = state.looked_at.map(|at| at + PAUSE);
        let kinds = Arc::clone(self);
        tokio::spawn(async move {
            if let Some(earliest) = earliest {
                tokio::time::sleep_until(earliest).await;
            }
            // A list that is not complete lets nobody write: asked until it is.
            while !kinds.look().await {
                tokio::time::sleep(PAUSE).await;
            }
        });
    }

    /// Asks what is served. Returns whether the answer is complete.
    async fn look(&self) -> bool {
        let (found, failed) = self.ask().await;
        let complete = failed.is_none();
        if let Some(error) = &failed {
            tracing::warn!(%error, "the list of kinds is not complete");
        }
        let mut state = self.state();
        let infos = found.iter().map(|(class, (_, info))| (class.clone(), info.clone())).collect();
        let discovery = Discovery { kinds: infos, failed };
        let changed = state.discovery.as_deref() != Some(&discovery);
        state.discovery = Some(Arc::new(discovery));
        state.kinds = found.into_iter().map(|(class, (kind, _))| (class, kind)).collect();
        state.looking = !complete;
        state.looked_at = Some(Instant::now());
        let readers: BTreeSet<Key> =
            if complete { std::mem::take(&mut state.asked) } else { state.asked.clone() };
        drop(state);
        if changed {
            readers.into_iter().for_each(|key| self.queue.wake(key));
        } else {
            // Nothing new: who still misses a kind comes back with the next look at Git or at the cluster.
            tracing::debug!("no new kinds");
        }
        complete
    }

    async fn ask(&self) -> (Found, Option<String>) {
        let mut found = Found::new();
        let mut failed = None;
        let groups: Groups = match self.read("/apis").await {
            Ok(groups) => groups,
            Err(error) => return (found, Some(error)),
        };
        let core = ("/api/v1".to_owned(), String::new(), "v1".to_owned());
        let named = groups.groups.into_iter().map(|group| {
            let version = group.preferred_version.version;
            (format!("/apis/{}/{version}", group.name), group.name, version)
        });
        for (path, group, version) in std::iter::once(core).chain(named) {
            match self.read::<Resources>(&path).await {
                Ok(resources) => add(&mut found, &group, &version, resources.resources),
                Err(error) => failed = Some(error),
            }
        }
        (found, failed)
    }

    async fn read<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<T, String> {
        let reply = client::get(&self.client, path, Form::Whole, self.limit)
            .await
            .map_err(|error| format!("{path}: {error}"))?;
        if !reply.is_success() {
            return Err(format!("{path}: {}", reply.message()));
        }
        serde_json::from_slice(&reply.body).map_err(|error| format!("{path}: {error}"))
    }
}

fn add(found: &mut Found, group: &str, version: &str, resources: Vec<Resource>) {
    let with_status: BTreeSet<String> = resources
        .iter()
        .filter_map(|resource| resource.name.strip_suffix("/status").map(str::to_owned))
        .collect();
    for resource in resources.into_iter().filter(|resource| !resource.name.contains('/')) {
        let status_subresource = with_status.contains(&resource.name);
        let kind = Kind {
            group: group.to_owned().into(),
            version: version.to_owned().into(),
            kind: resource.kind.clone().into(),
            plural: resource.name.clone().into(),
            status_subresource,
        };
        let info =
            KindInfo { plural: resource.name, namespaced: resource.namespaced, status_subresource };
        found.entry((group.to_owned(), resource.kind)).or_insert((kind, info));
    }
}
