//! Fills one store: list, then watch, each kind on its own, so that none can hold up another (`reliability.md` H7).

use std::sync::Arc;
use std::time::Duration;

use futures::AsyncBufReadExt;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sluice_crds::object::{Meta, ResourceVersion};
use tokio::time::Instant;

use super::records;
use super::store::{Availability, Changed, Kept, Name, Observed, Store};
use crate::client::{self, CallError, Form, OpenError};
use crate::clock::{Backoff, Jitter};

/// Where a feed reads from.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// Path of the collection.
    pub(crate) path: String,
    /// Label selector, already encoded; empty for all.
    pub(crate) selector: String,
    pub(crate) form: Form,
    /// Items of a page of a list.
    pub(crate) page: u32,
    /// Seconds after which the server ends a watch: bounds how long a dead connection goes unnoticed (H8).
    pub(crate) watch_seconds: u32,
    /// Limit of one list call, and of the answer to the opening of a watch.
    pub(crate) limit: Duration,
}

/// Says what a change means to whom.
pub(crate) type Sink<T> = Arc<dyn Fn(&Changed<T>) + Send + Sync>;
/// Told after each advance of a store, and whether it can be asked now and could not before, or the other way round.
pub(crate) type Told = Arc<dyn Fn(bool) + Send + Sync>;
/// Makes a record of the wire form; `None` if it is not an object at all.
pub(crate) type Make<T, W> = Arc<dyn Fn(W) -> Option<T> + Send + Sync>;

/// Told of a stub, by namespace and name.
pub(crate) type Stubbed = Arc<dyn Fn(&str, &str) + Send + Sync>;

/// Who wants to know more of an object than that it exists.
#[derive(Clone)]
pub(crate) struct Interest<T> {
    /// Says whether anybody does.
    pub(crate) wanted: Arc<dyn Fn(&T) -> bool + Send + Sync>,
    /// Told of each stub, by namespace and name, after it was stored: interest may have begun meanwhile.
    pub(crate) stubbed: Stubbed,
}

/// Fills one store, for ever. `W` is the wire form.
pub(crate) struct Feed<T, W> {
    pub(crate) store: Arc<Store<T>>,
    pub(crate) client: kube::Client,
    pub(crate) source: Source,
    pub(crate) sink: Sink<T>,
    pub(crate) told: Told,
    pub(crate) interest: Option<Interest<T>>,
    pub(crate) jitter: Arc<Jitter>,
    pub(crate) make: Make<T, W>,
}

#[derive(Debug)]
enum Failure {
    /// The version is compacted: list again.
    Expired,
    NoKind,
    Forbidden(String),
    Other(String),
}

#[derive(Deserialize)]
struct ListMeta {
    #[serde(rename = "resourceVersion", default)]
    version: ResourceVersion,
    #[serde(rename = "continue", default)]
    next: String,
}

#[derive(Deserialize)]
struct List<W> {
    metadata: ListMeta,
    /// An empty list of metadata is written as `null`.
    #[serde(default = "none")]
    items: Option<Vec<W>>,
}

fn none<W>() -> Option<Vec<W>> {
    None
}

#[derive(Deserialize)]
struct Head {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Event<W> {
    object: W,
}

#[derive(Deserialize)]
struct OnlyMeta {
    metadata: Meta,
}

#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    code: u16,
    #[serde(default)]
    message: String,
}

impl<T, W> Feed<T, W>
where
    T: Kept,
    W: DeserializeOwned + 'static,
{
    pub(crate) async fn run(self) {
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));
        let mut probe = Backoff::new(Duration::from_secs(10), Duration::from_secs(60));
        let mut version: Option<ResourceVersion> = None;
        loop {
            let outcome = match &mut version {
                None => self.list().await.map(|listed| version = Some(listed)),
                Some(version) => self.watch(version, &mut backoff).await,
            };
            let pause = match outcome {
                Ok(()) => {
                    probe.reset();
                    continue;
                }
                Err(Failure::Expired) => {
                    version = None;
                    self.jitter.spread(Duration::from_millis(100))
                }
                Err(Failure::NoKind) => {
                    version = None;
                    self.unavailable(Availability::NoKind);
                    probe.next(&self.jitter)
                }
                Err(Failure::Forbidden(message)) => {
                    version = None;
                    tracing::warn!(kind = %self.store.kind.kind, error = %message, "may not be listed");
                    self.unavailable(Availability::Forbidden(message));
                    probe.next(&self.jitter)
                }
                Err(Failure::Other(error)) => {
                    tracing::warn!(kind = %self.store.kind.kind, %error, "watch is interrupted");
                    backoff.next(&self.jitter)
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    fn unavailable(&self, availability: Availability) {
        let before = self.store.availability();
        let changes = self.store.unavailable(availability.clone());
        changes.iter().for_each(|change| (self.sink)(change));
        if before != availability {
            (self.told)(true);
        }
    }

    /// Lists with quorum semantics (no version asked for), page by page.
    async fn list(&self) -> Result<ResourceVersion, Failure> {
        let mut observed = Vec::new();
        let mut next = String::new();
        loop {
            let path = self.path(&[("limit", &self.source.page.to_string()), ("continue", &next)]);
            let reply = client::list(&self.client, &path, self.source.form, self.source.limit)
                .await
                .map_err(|error: CallError| Failure::Other(error.to_string()))?;
            match reply.status {
                200 => {}
                404 => return Err(Failure::NoKind),
                403 => return Err(Failure::Forbidden(reply.message())),
                410 => return Err(Failure::Expired),
                _ => return Err(Failure::Other(reply.message())),
            }
            let (meta, items) = self.decode_page(&reply.body)?;
            observed.extend(items);
            next = meta.next;
            if next.is_empty() {
                let version = meta.version;
                if version < self.store.reached() {
                    return Err(Failure::Other(format!(
                        "the list is at version {version}, and {} was seen before",
                        self.store.reached()
                    )));
                }
                let stubs: Vec<_> = observed.iter().filter_map(stub_name).collect();
                let is_turn = self.store.availability() != Availability::Synced;
                let changes = self.store.replace(observed, &version);
                stubs.iter().for_each(|name| self.stubbed(name));
                changes.iter().for_each(|change| (self.sink)(change));
                (self.told)(is_turn);
                return Ok(version);
            }
        }
    }

    /// Decodes a page at once; if one item does not decode, item by item, so that it harms no other: that one is kept as a
    /// stub, so that it is neither acted on nor taken for absent.
    fn decode_page(&self, body: &[u8]) -> Result<(ListMeta, Vec<Observed<T>>), Failure> {
        if let Ok(list) = serde_json::from_slice::<List<W>>(body) {
            let items =
                list.items.into_iter().flatten().filter_map(|item| self.observed(item)).collect();
            return Ok((list.metadata, items));
        }
        let list: List<serde_json::Value> =
            serde_json::from_slice(body).map_err(|error| Failure::Other(error.to_string()))?;
        let decode = |item: serde_json::Value| match W::deserialize(&item) {
            Ok(item) => self.observed(item),
            Err(error) => {
                let broken = OnlyMeta::deserialize(&item).ok()?.metadata;
                self.undecodable(&broken.name, &error);
                Some(stub(broken))
            }
        };
        Ok((list.metadata, list.items.into_iter().flatten().filter_map(decode).collect()))
    }

    fn undecodable(&self, name: &str, error: &dyn std::fmt::Display) {
        let kind = &self.store.kind.kind;
        tracing::error!(%kind, name, %error, "object cannot be decoded and is left alone");
    }

    fn observed(&self, item: W) -> Option<Observed<T>> {
        let record = (self.make)(item)?;
        Some(match &self.interest {
            Some(interest) if !(interest.wanted)(&record) => {
                let identity = record.identity();
                Observed::Stub {
                    namespace: identity.namespace.to_owned(),
                    name: identity.name.to_owned(),
                    uid: identity.uid.to_owned(),
                    version: identity.version.clone(),
                }
            }
            Some(_) | None => Observed::Whole(record),
        })
    }

    fn stubbed(&self, (namespace, name): &Name) {
        if let Some(interest) = &self.interest {
            (interest.stubbed)(namespace, name);
        }
    }

    fn path(&self, parameters: &[(&str, &str)]) -> String {
        let selector = [("labelSelector", self.source.selector.as_str())];
        let all = parameters.iter().chain(&selector).filter(|(_, value)| !value.is_empty());
        let query: Vec<String> = all.map(|(key, value)| format!("{key}={value}")).collect();
        format!("{}?{}", self.source.path, query.join("&"))
    }

    /// Watches until the server ends it.
    async fn watch(
        &self,
        version: &mut ResourceVersion,
        backoff: &mut Backoff,
    ) -> Result<(), Failure> {
        let path = self.path(&[
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", &version.0),
            ("timeoutSeconds", &self.source.watch_seconds.to_string()),
        ]);
        let opened = Instant::now();
        let open = client::open(&self.client, &path, self.source.form, self.source.limit);
        let mut stream = std::pin::pin!(open.await.map_err(failure)?);
        let silence = Duration::from_secs(u64::from(self.source.watch_seconds) + 5);
        let mut line = Vec::new();
        let mut events = 0_u32;
        loop {
            line.clear();
            let read = stream.read_until(b'\n', &mut line);
            match tokio::time::timeout(silence, read).await {
                Err(_) => return Err(Failure::Other(format!("nothing was heard for {silence:?}"))),
                Ok(Err(error)) => return Err(Failure::Other(client::chain(&error))),
                Ok(Ok(0)) => break,
                Ok(Ok(_)) => self.event(&line, version)?,
            }
            backoff.reset();
            events += 1;
        }
        // A server that ends every watch at once must not be asked in a tight loop.
        if events == 0 && opened.elapsed() < Duration::from_secs(1) {
            return Err(Failure::Other("the watch ended at once".to_owned()));
        }
        Ok(())
    }

    fn event(&self, line: &[u8], version: &mut ResourceVersion) -> Result<(), Failure> {
        if line.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        let broken = |error: serde_json::Error| Failure::Other(format!("watch line: {error}"));
        let head: Head = serde_json::from_slice(line).map_err(broken)?;
        if head.kind == "ERROR" {
            let status: Event<Status> = serde_json::from_slice(line).map_err(broken)?;
            let Status { code, message } = status.object;
            return Err(if code == 410 { Failure::Expired } else { Failure::Other(message) });
        }
        let changed = match head.kind.as_str() {
            "ADDED" | "MODIFIED" => {
                // Read apart from the record: an object that does not decode has a version too.
                let meta: Event<OnlyMeta> = serde_json::from_slice(line).map_err(broken)?;
                let meta = meta.object.metadata;
                *version = meta.resource_version.clone();
                let observed = match serde_json::from_slice::<Event<W>>(line) {
                    Ok(event) => self.observed(event.object),
                    Err(error) => {
                        self.undecodable(&meta.name, &error);
                        Some(stub(meta))
                    }
                };
                let name = observed.as_ref().and_then(stub_name);
                let changed = observed.and_then(|observed| self.store.upsert(observed));
                name.iter().for_each(|name| self.stubbed(name));
                changed
            }
            "DELETED" => {
                let meta: Event<OnlyMeta> = serde_json::from_slice(line).map_err(broken)?;
                let changed = self.store.remove(records::identity(&meta.object.metadata));
                *version = meta.object.metadata.resource_version;
                changed
            }
            _ => {
                let meta: Event<OnlyMeta> = serde_json::from_slice(line).map_err(broken)?;
                *version = meta.object.metadata.resource_version;
                None
            }
        };
        self.store.advance(version);
        if let Some(changed) = &changed {
            (self.sink)(changed);
        }
        (self.told)(false);
        Ok(())
    }
}

fn stub_name<T>(observed: &Observed<T>) -> Option<Name> {
    match observed {
        Observed::Stub { namespace, name, .. } => Some((namespace.clone(), name.clone())),
        Observed::Whole(_) => None,
    }
}

fn stub<T>(meta: Meta) -> Observed<T> {
    Observed::Stub {
        namespace: meta.namespace,
        name: meta.name,
        uid: meta.uid,
        version: meta.resource_version,
    }
}

fn failure(error: OpenError) -> Failure {
    match error {
        OpenError::Status(410, _) => Failure::Expired,
        OpenError::Status(404, _) => Failure::NoKind,
        OpenError::Status(403, message) => Failure::Forbidden(message),
        OpenError::Status(code, message) => Failure::Other(format!("status {code}: {message}")),
        OpenError::Call(error) => Failure::Other(error.to_string()),
    }
}
