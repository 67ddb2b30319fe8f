//! An API server in a value.
//!
//! [`ApiServer::handle`] takes a request and the time and returns the reply that a real API server would give; there is no
//! clock, no randomness and no IO inside, and a clone is a snapshot. Watches are cursors into its history. What is modelled:
//! CRUD, list, watch, selectors, paging, preconditions, the three patches, server-side apply, subresources, generation,
//! garbage collection, CustomResourceDefinitions, discovery and Tables. What is not: admission plugins, authorisation, strict
//! schema validation, protobuf.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sluice_crds::object::{Kind, ObjectRef, Write};

mod admit;
mod discovery;
mod eviction;
mod failure;
mod garbage;
mod http;
mod list;
mod mutate;
mod patch;
mod quiet;
mod resources;
mod scale;
mod select;
mod ssa;
mod store;
mod table;
mod watch;

pub use failure::Failure;
pub use http::{Call, Query, Target};
pub use resources::{Column, Resource};
pub use select::Selector;
pub use store::{Change, Key};
pub use watch::{Watch, WatchEvent};

use discovery::Discovery;
use mutate::{DeleteOptions, Writer};
use patch::PatchKind;
use store::Store;

/// One recorded request.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// When it was handled.
    pub at: DateTime<Utc>,
    /// Who asked: the user agent.
    pub actor: String,
    /// Kubernetes verb: `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: &'static str,
    /// Path without query.
    pub path: String,
    /// HTTP status of the reply.
    pub code: u16,
}

/// The reply to a [`Call`].
#[derive(Clone, Debug)]
pub enum Reply {
    /// A JSON body.
    Json {
        /// HTTP status.
        code: u16,
        /// Body.
        body: Value,
    },
    /// A plain text body with status 200.
    Text(&'static str),
    /// An open watch.
    Watch(Box<Watch>),
}

impl Reply {
    fn refusal(failure: &Failure) -> Self {
        Self::Json { code: failure.code, body: failure.body() }
    }

    /// Returns the HTTP status.
    pub fn code(&self) -> u16 {
        match self {
            Self::Json { code, .. } => *code,
            Self::Text(_) | Self::Watch(_) => 200,
        }
    }
}

/// The server: objects, their history, the served resources, and the requests it was asked.
#[derive(Clone, Debug)]
pub struct ApiServer {
    pub(crate) store: Store,
    pub(crate) resources: BTreeMap<(String, String), Resource>,
    pub(crate) now: DateTime<Utc>,
    drawn: u64,
    addresses: u64,
    requests: Vec<Recorded>,
}

impl ApiServer {
    /// Returns a server that has the namespaces and the Service of a fresh cluster, Argo's kinds and Istio's.
    pub fn new(now: DateTime<Utc>) -> Self {
        let mut server = Self::bare(now);
        server.resources.extend(resources::installed().into_iter().map(|r| (r.key(), r)));
        server
    }

    /// Returns a server without custom resources; a CustomResourceDefinition adds one.
    pub fn bare(now: DateTime<Utc>) -> Self {
        let mut server = Self {
            store: Store::default(),
            resources: resources::built_in().into_iter().map(|r| (r.key(), r)).collect(),
            now,
            drawn: 0,
            addresses: 0,
            requests: Vec::new(),
        };
        for name in ["default", "kube-node-lease", "kube-public", "kube-system"] {
            let body = json!({ "metadata": { "name": name } });
            server.put(Kind::NAMESPACE, None, body);
        }
        let spec = json!({ "ports": [{ "name": "https", "port": 443, "targetPort": 6443 }] });
        let body = json!({ "metadata": { "name": "kubernetes" }, "spec": spec });
        server.put(Kind::SERVICE, Some("default"), body);
        server
    }

    fn put(&mut self, kind: Kind, namespace: Option<&str>, body: Value) {
        let call = Call::new("POST", &kind.collection_path(namespace));
        let reply = self.answer(&call.with_body("application/json", &body).by("kube-apiserver"));
        debug_assert_eq!(reply.map(|reply| reply.code()), Ok(201));
    }

    /// Answers a request at this time and records it.
    pub fn handle(&mut self, now: DateTime<Utc>, call: &Call) -> Reply {
        self.now = now;
        let reply = self.answer(call).unwrap_or_else(|failure| Reply::refusal(&failure));
        let (path, _) = http::split_query(&call.path);
        self.requests.push(Recorded {
            at: now,
            actor: call.actor.clone(),
            verb: call.verb(),
            path: path.into(),
            code: reply.code(),
        });
        reply
    }

    fn answer(&mut self, call: &Call) -> Result<Reply, Failure> {
        let (path, query) = http::split_query(&call.path);
        let path = path.to_owned();
        if let Some(found) = self.discover(&path) {
            return Ok(match found {
                Discovery::Json(body) => Reply::Json { code: 200, body },
                Discovery::Text(text) => Reply::Text(text),
            });
        }
        let target = http::target(&path).ok_or_else(Failure::no_such_path)?;
        let resource = self
            .resource(&target.group, &target.plural)
            .ok()
            .filter(|resource| resource.versions.contains(&target.version))
            .cloned()
            .ok_or_else(Failure::no_such_path)?;
        if query.get("dryRun").is_some() && call.method != "GET" {
            let mut copy = self.clone();
            return copy.on_resource(call, &resource, &target, &query);
        }
        self.on_resource(call, &resource, &target, &query)
    }

    fn on_resource(
        &mut self,
        call: &Call,
        resource: &Resource,
        target: &Target,
        query: &Query,
    ) -> Result<Reply, Failure> {
        let as_table = table::is_asked_for(&call.accept);
        let body = |server: &Self, code, object: &Value| {
            let body = server.presented(resource, &target.version, object, as_table);
            Ok(Reply::Json { code, body })
        };
        if target.subresource.as_deref() == Some("scale") {
            let scale = self.on_scale(call, resource, target, query)?;
            return Ok(Reply::Json { code: 200, body: scale });
        }
        if target.subresource.as_deref() == Some("eviction") {
            return self.on_eviction(call, resource, target, query);
        }
        match (call.method.as_str(), &target.name) {
            ("GET", _) if query.is_true("watch") => {
                Ok(Reply::Watch(Box::new(self.watch(resource, target, query, as_table)?)))
            }
            ("GET", None) => {
                let body = self.list(resource, target, query, as_table)?;
                Ok(Reply::Json { code: 200, body })
            }
            ("GET", Some(name)) => {
                let found = self.store.get(&key(target));
                let found = found.ok_or_else(|| Failure::not_found(resource, name))?;
                // In these words, and with this status, an API server refuses to show one object as a list.
                if call.accept.contains("as=PartialObjectMetadataList") {
                    return Err(Failure::new(500, "InternalError", "content is not a list"));
                }
                body(self, 200, &found.value)
            }
            ("POST", None) => {
                let object = parsed(call)?;
                check_kind(resource, &object)?;
                let writer = self.writer(call, target, query);
                let created = self.create(&writer, resource, key(target), object)?;
                body(self, 201, &created)
            }
            ("PUT", Some(_)) => {
                let object = parsed(call)?;
                check_kind(resource, &object)?;
                let writer = self.writer(call, target, query);
                let updated = self.update(&writer, resource, &key(target), true, |_| Ok(object))?;
                body(self, 200, &updated)
            }
            ("PATCH", Some(_)) => {
                let (code, patched) = self.on_patch(call, resource, target, query)?;
                body(self, code, &patched)
            }
            ("DELETE", Some(_)) => self.on_delete(call, resource, target, query),
            ("DELETE", None) => self.on_delete_collection(call, resource, target, query),
            _ => Err(Failure::new(
                405,
                "MethodNotAllowed",
                "the server does not allow this method on the requested resource",
            )),
        }
    }

    fn writer(&self, call: &Call, target: &Target, query: &Query) -> Writer {
        let agent = call.actor.split('/').next().unwrap_or_default();
        let manager = query.get("fieldManager").unwrap_or(agent);
        let manager = if manager.is_empty() { "unknown" } else { manager };
        Writer { subresource: target.subresource.clone(), ..Writer::new(self.now, manager) }
    }

    fn on_patch(
        &mut self,
        call: &Call,
        resource: &Resource,
        target: &Target,
        query: &Query,
    ) -> Result<(u16, Arc<Value>), Failure> {
        let kind = PatchKind::of(&call.content_type)?;
        let patch = parsed(call)?;
        let mut writer = self.writer(call, target, query);
        let key = key(target);
        if kind == PatchKind::Apply {
            check_kind(resource, &patch)?;
            if query.get("fieldManager").is_none() {
                let message = "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch";
                return Err(Failure::new(422, "Invalid", message));
            }
            writer.apply = true;
            let code = if self.store.get(&key).is_some() { 200 } else { 201 };
            let force = query.is_true("force");
            return Ok((code, self.apply(&writer, resource, &key, patch, force)?));
        }
        let shape = mutate::shape(resource);
        let patched = self.update(&writer, resource, &key, false, |live| {
            patch::patched(kind, shape, live, &patch)
        })?;
        Ok((200, patched))
    }

    fn on_delete(
        &mut self,
        call: &Call,
        resource: &Resource,
        target: &Target,
        query: &Query,
    ) -> Result<Reply, Failure> {
        let body = if call.body.is_empty() { Value::Null } else { parsed(call)? };
        let mut options = DeleteOptions::parse(&body);
        if let Some(propagation) = query.get("propagationPolicy") {
            options.propagation = Some(propagation.into());
        }
        let writer = self.writer(call, target, query);
        let key = key(target);
        let last = self.delete(&writer, resource, &key, &options)?;
        if self.store.get(&key).is_some() {
            let body = self.presented(resource, &target.version, &last, false);
            return Ok(Reply::Json { code: 200, body });
        }
        let mut details = json!({ "name": key.name, "kind": resource.plural });
        details["uid"] = last["metadata"]["uid"].clone();
        if !resource.group.is_empty() {
            details["group"] = json!(resource.group);
        }
        let body = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details,
        });
        Ok(Reply::Json { code: 200, body })
    }

    fn on_delete_collection(
        &mut self,
        call: &Call,
        resource: &Resource,
        target: &Target,
        query: &Query,
    ) -> Result<Reply, Failure> {
        let body = if call.body.is_empty() { Value::Null } else { parsed(call)? };
        let mut options = DeleteOptions::parse(&body);
        (options.uid, options.version) = (None, None);
        let writer = self.writer(call, target, query);
        let selected = self.selected(target, query)?;
        let items: Vec<Value> = selected.iter().map(|(_, object)| (**object).clone()).collect();
        for (key, _) in selected {
            self.delete(&writer, resource, &key, &options)?;
        }
        Ok(Reply::Json { code: 200, body: self.list_body(resource, target, items) })
    }

    pub(crate) fn resource(&self, group: &str, plural: &str) -> Result<&Resource, Failure> {
        let found = self.resources.get(&(group.to_owned(), plural.to_owned()));
        found.ok_or_else(Failure::no_such_path)
    }

    /// Returns the next of a fixed sequence of numbers: names and uids must not depend on anything else.
    fn draw(&mut self) -> u64 {
        self.drawn += 1;
        let mut z = self.drawn.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn next_uid(&mut self) -> String {
        let (head, drawn) = (self.draw(), self.drawn);
        let (time, rest) = (head >> 32, head & 0xfff);
        format!("{time:08x}-{:04x}-4{rest:03x}-8000-{drawn:012x}", (head >> 16) & 0xffff)
    }

    /// Returns five characters of the alphabet that Kubernetes draws name suffixes from.
    pub(crate) fn next_suffix(&mut self) -> String {
        const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
        let mut number = self.draw();
        let mut next = || {
            let index = number % 27;
            number /= 27;
            char::from(ALPHABET[index as usize])
        };
        (0..5).map(|_| next()).collect()
    }

    pub(crate) fn next_cluster_ip(&mut self) -> String {
        self.addresses += 1;
        format!("10.96.{}.{}", self.addresses / 250, self.addresses % 250 + 1)
    }

    /// Returns the version of the last change.
    pub fn version(&self) -> u64 {
        self.store.version()
    }

    /// Returns the requests so far, oldest first.
    pub fn requests(&self) -> &[Recorded] {
        &self.requests
    }

    /// Puts an object there as it is, without any rule.
    pub(crate) fn place(&mut self, object: &Value) {
        if let Ok(target) = self.target_of(object) {
            self.store.put(key(&target), object.clone(), ssa::Owners::new());
        }
    }

    /// Forgets the recorded requests.
    pub fn forget_requests(&mut self) {
        self.requests.clear();
    }

    /// Forgets the history up to `version`: older watches and continue tokens answer 410.
    pub fn compact(&mut self, version: u64) {
        self.store.compact(version);
    }

    /// Returns the changes after `version`, oldest first; `None` if some are compacted.
    pub fn changes_since(&self, version: u64) -> Option<&[Change]> {
        self.store.since(version)
    }

    /// Returns the object, outside of the recorded requests.
    pub fn get(&self, object: &ObjectRef) -> Option<Arc<Value>> {
        self.store.get(&place(object)).map(|stored| Arc::clone(&stored.value))
    }

    /// Returns whether the kind is installed.
    pub fn serves(&self, kind: &Kind) -> bool {
        self.resource(&kind.group, &kind.plural).is_ok()
    }

    /// Returns the objects of a kind, all namespaces or one, outside of the recorded requests.
    pub fn objects(&self, kind: &Kind, namespace: Option<&str>) -> Vec<Arc<Value>> {
        let all = self.store.list(&kind.group, &kind.plural, namespace);
        all.map(|(_, object)| Arc::clone(object)).collect()
    }

    /// Performs one [`Write`], as the shell would: through its request.
    ///
    /// # Errors
    /// What the server answers.
    pub fn write(
        &mut self,
        now: DateTime<Utc>,
        actor: &str,
        write: &Write,
    ) -> Result<Value, Failure> {
        let request = write.request();
        let call = Call::new(request.method, &request.path).by(actor);
        outcome(self.handle(now, &call.with_body(request.content_type, &request.body)))
    }

    /// Creates or replaces an object from a manifest, as `kubectl create` or `kubectl replace` would.
    ///
    /// # Errors
    /// What the server answers, or 400 for a manifest of an unknown kind.
    pub fn load(
        &mut self,
        now: DateTime<Utc>,
        actor: &str,
        manifest: Value,
    ) -> Result<Value, Failure> {
        let target = self.target_of(&manifest)?;
        let collection = collection_path(&target);
        let name = target.name.unwrap_or_default();
        let object = format!("{collection}/{name}");
        let exists =
            self.store.get(&key(&Target { name: Some(name), ..self.target_of(&manifest)? }));
        let call = match exists {
            Some(_) => Call::new("PUT", &object),
            None => Call::new("POST", &collection),
        };
        outcome(self.handle(now, &call.by(actor).with_body("application/json", &manifest)))
    }

    /// Returns the path of the object that a manifest names.
    ///
    /// # Errors
    /// 400 for a manifest of an unknown kind.
    pub fn path_of(&self, manifest: &Value) -> Result<String, Failure> {
        let target = self.target_of(manifest)?;
        Ok(format!("{}/{}", collection_path(&target), target.name.unwrap_or_default()))
    }

    /// Returns the first object with this kind and name, in any namespace.
    pub fn find(&self, kind: &str, name: &str) -> Option<Value> {
        let mut all = self.store.all();
        let found = all.find(|(key, object)| key.name == name && object["kind"] == kind);
        found.map(|(_, object)| (**object).clone())
    }

    fn target_of(&self, manifest: &Value) -> Result<Target, Failure> {
        let text = |path: &str| mutate::text(manifest, path).to_owned();
        let api_version = text("/apiVersion");
        let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
        let kind = text("/kind");
        let resource = self.resources.values().find(|r| r.group == group && r.kind == kind);
        let resource = resource.ok_or_else(|| {
            Failure::bad_request(format!("no resource serves kind `{kind}` of `{api_version}`"))
        })?;
        let namespace = match text("/metadata/namespace") {
            _ if !resource.namespaced => None,
            empty if empty.is_empty() => Some("default".to_owned()),
            namespace => Some(namespace),
        };
        Ok(Target {
            group: group.into(),
            version: version.into(),
            plural: resource.plural.clone(),
            namespace,
            name: Some(text("/metadata/name")),
            subresource: None,
        })
    }
}

fn outcome(reply: Reply) -> Result<Value, Failure> {
    match reply {
        Reply::Json { code, body } if code < 300 => Ok(body),
        Reply::Json { code, body } => Err(Failure {
            code,
            reason: reason(&body),
            message: mutate::text(&body, "/message").into(),
            details: body["details"].clone(),
        }),
        Reply::Text(text) => Ok(json!(text)),
        Reply::Watch(_) => Err(Failure::bad_request("a watch is not a write")),
    }
}

fn reason(status: &Value) -> &'static str {
    const REASONS: [&str; 9] = [
        "AlreadyExists",
        "BadRequest",
        "Conflict",
        "Expired",
        "Forbidden",
        "Invalid",
        "MethodNotAllowed",
        "NotFound",
        "UnsupportedMediaType",
    ];
    let reason = mutate::text(status, "/reason");
    REASONS.iter().copied().find(|known| *known == reason).unwrap_or("Unknown")
}

fn collection_path(target: &Target) -> String {
    let kind = Kind {
        group: target.group.clone().into(),
        version: target.version.clone().into(),
        kind: "".into(),
        plural: target.plural.clone().into(),
        status_subresource: false,
    };
    kind.collection_path(target.namespace.as_deref())
}

fn place(object: &ObjectRef) -> Key {
    Key {
        group: object.kind.group.to_string(),
        plural: object.kind.plural.to_string(),
        namespace: object.namespace.clone().unwrap_or_default(),
        name: object.name.clone(),
    }
}

fn key(target: &Target) -> Key {
    Key {
        group: target.group.clone(),
        plural: target.plural.clone(),
        namespace: target.namespace.clone().unwrap_or_default(),
        name: target.name.clone().unwrap_or_default(),
    }
}

fn check_kind(resource: &Resource, object: &Value) -> Result<(), Failure> {
    let kind = mutate::text(object, "/kind");
    if kind.is_empty() || kind == resource.kind {
        return Ok(());
    }
    Err(Failure::bad_request(format!(
        "the kind of the object ({kind}) does not match the kind of the URL ({})",
        resource.kind
    )))
}

/// Reads a body: JSON, or YAML as an apply may send it.
fn parsed(call: &Call) -> Result<Value, Failure> {
    if let Ok(value) = serde_json::from_slice(&call.body) {
        return Ok(value);
    }
    if call.content_type.contains("protobuf") {
        let message = "the simulated API server does not read protobuf; send JSON, for example with `kubectl apply -f`";
        return Err(Failure::new(415, "UnsupportedMediaType", message));
    }
    let text = std::str::from_utf8(&call.body)
        .map_err(|_| Failure::bad_request("the body is neither JSON nor text"))?;
    serde_saphyr::from_str(text).map_err(|error| {
        Failure::bad_request(format!("the object provided is unrecognized: {error}"))
    })
}

#[cfg(test)]
mod tests;
