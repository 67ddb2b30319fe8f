//! Asks istiod which routes proxies use, so that what waits for proxies waits no longer than they need (`design.md` 3).
//!
//! Opt-in (`--istio-debug-address`). It looks only while a VirtualService that a Rollout reads was written by us a moment ago, and its
//! present version is not confirmed yet. A confirmation only shortens the wait: without an answer the configured delay decides. istiod
//! works out what it tells for a proxy from the state that it sends next, so a version counts once two looks in a row agree.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sluice_crds::labels::ROUTED_AT;
use sluice_crds::object::{Kind, ObjectRef};
use sluice_engine::traffic::istio::proxies::{self, Proxy};
use sluice_engine::view::{Fact, RouteRecord};

use crate::clock::Clock;
use crate::stores::Stores;

/// Between two looks.
const INTERVAL: Duration = Duration::from_millis(200);
/// Before the next look after a failure.
const PAUSE: Duration = Duration::from_secs(5);
/// After so long the configured delay has decided anyway.
const PATIENCE: chrono::Duration = chrono::Duration::seconds(60);
/// Proxies asked in one look; with more of them istiod would have to work too hard.
const MOST_PROXIES: usize = 200;

/// Versions that proxies are known to use, by object.
#[derive(Default)]
pub(crate) struct Confirmations(Mutex<BTreeMap<ObjectRef, Fact<String>>>);

impl Confirmations {
    fn known(&self) -> MutexGuard<'_, BTreeMap<ObjectRef, Fact<String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what is known of the objects.
    pub(crate) fn of<'a>(
        &self,
        objects: impl Iterator<Item = &'a ObjectRef>,
    ) -> BTreeMap<ObjectRef, Fact<String>> {
        let known = self.known();
        objects.filter_map(|object| Some((object.clone(), known.get(object)?.clone()))).collect()
    }
}

/// How far the search for one version is.
struct Look {
    version: String,
    since: DateTime<Utc>,
    /// Whether the last look found it everywhere.
    agreed: bool,
}

/// The task that looks.
pub(crate) struct Mesh {
    pub(crate) addresses: Vec<String>,
    pub(crate) http: reqwest::Client,
    pub(crate) stores: Arc<Stores>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) confirmations: Arc<Confirmations>,
}

impl Mesh {
    /// Looks until the process ends.
    pub(crate) async fn watch(self) {
        let mut looks = BTreeMap::new();
        let mut failing = false;
        loop {
            tokio::time::sleep(if failing { PAUSE } else { INTERVAL }).await;
            let open = self.open(&mut looks);
            if open.is_empty() {
                continue;
            }
            match self.proxies().await {
                Ok(proxies) => {
                    failing = false;
                    self.compare(&open, &proxies, &mut looks);
                }
                Err(error) if failing => tracing::debug!(%error, "istiod still does not tell"),
                Err(error) => {
                    tracing::warn!(%error, "istiod does not tell what proxies use; the configured delays decide");
                    failing = true;
                }
            }
        }
    }

    /// VirtualServices whose present version is not confirmed, and for which that is worth a look: we wrote them a moment ago, or
    /// an earlier version was confirmed. Each version is looked for as long as [`PATIENCE`] lasts.
    fn open(&self, looks: &mut BTreeMap<ObjectRef, Look>) -> Vec<Arc<RouteRecord>> {
        let Some(store) = self.stores.routes_of(&Kind::VIRTUAL_SERVICE) else { return Vec::new() };
        let now = self.clock.now();
        let known = self.confirmations.known();
        let is_fresh = |route: &RouteRecord| {
            let at = route.meta.annotations.get(ROUTED_AT);
            let at = at.and_then(|at| DateTime::parse_from_rfc3339(at).ok());
            at.is_some_and(|at| now - at.to_utc() < PATIENCE)
        };
        let mut all = store.all();
        all.retain(|route| {
            let version = &route.meta.resource_version.0;
            let seen = match known.get(&route.object) {
                Some(Fact::Known(seen, _)) => Some(seen),
                _ => None,
            };
            let wanted =
                seen.is_some_and(|seen| seen != version) || (seen.is_none() && is_fresh(route));
            wanted && self.stores.references.is_read(&route.object)
        });
        looks.retain(|object, _| all.iter().any(|route| route.object == *object));
        all.retain(|route| {
            let version = &route.meta.resource_version.0;
            let new = || Look { version: version.clone(), since: now, agreed: false };
            let look = looks.entry(route.object.clone()).or_insert_with(new);
            if look.version != *version {
                *look = new();
            }
            now - look.since < PATIENCE
        });
        all
    }

    fn compare(
        &self,
        open: &[Arc<RouteRecord>],
        proxies: &[Proxy],
        looks: &mut BTreeMap<ObjectRef, Look>,
    ) {
        for route in open {
            let Some(look) = looks.get_mut(&route.object) else { continue };
            let agrees = proxies::confirms(route, proxies) == Some(true);
            if agrees && look.agreed {
                let fact = Fact::Known(look.version.clone(), self.clock.now());
                self.confirmations.known().insert(route.object.clone(), fact);
                for key in self.stores.references.readers(&route.object) {
                    self.stores.queue.wake(key);
                }
            }
            look.agreed = agrees;
        }
    }

    async fn proxies(&self) -> Result<Vec<Proxy>, String> {
        let mut all = Vec::new();
        for address in &self.addresses {
            let before = self.sync_state(address).await?;
            if all.len() + before.len() > MOST_PROXIES {
                return Err(format!("there are more than {MOST_PROXIES} proxies"));
            }
            let mut dumps = Vec::new();
            for id in before.keys() {
                let path = format!("/debug/config_dump?types=rds&proxyID={id}");
                dumps.push((id, self.get(address, &path).await?));
            }
            let after = self.sync_state(address).await?;
            all.extend(dumps.into_iter().map(|(id, routes)| Proxy {
                acknowledged: before.get(id) == after.get(id) && is_acknowledged(&before[id]),
                id: id.clone(),
                routes,
            }));
        }
        Ok(all)
    }

    /// What was sent to each proxy last, and what it acknowledged.
    async fn sync_state(
        &self,
        address: &str,
    ) -> Result<BTreeMap<String, (String, String)>, String> {
        let state = self.get(address, "/debug/syncz").await?;
        let text =
            |proxy: &Value, field: &str| proxy[field].as_str().unwrap_or_default().to_owned();
        let proxies = state.as_array().into_iter().flatten();
        Ok(proxies
            .map(|proxy| {
                (text(proxy, "proxy"), (text(proxy, "route_sent"), text(proxy, "route_acked")))
            })
            .collect())
    }

    async fn get(&self, address: &str, path: &str) -> Result<Value, String> {
        let url = format!("{}{path}", address.trim_end_matches('/'));
        let request = self.http.get(&url).timeout(Duration::from_secs(2)).send();
        let answer = request.await.and_then(reqwest::Response::error_for_status);
        let body = match answer {
            Ok(answer) => answer.bytes().await,
            Err(error) => Err(error),
        };
        let body = body.map_err(|error| format!("{url}: {}", error.without_url()))?;
        serde_json::from_slice(&body).map_err(|error| format!("{url}: {error}"))
    }
}

fn is_acknowledged((sent, acknowledged): &(String, String)) -> bool {
    !sent.is_empty() && sent == acknowledged
}
