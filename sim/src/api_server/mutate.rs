//! What a create, an update and a delete do to an object besides storing it.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sluice_crds::time::Time;

use super::ApiServer;
use super::admit;
use super::failure::Failure;
use super::resources::{self, Resource};
use super::ssa::{self, Manager, Owners, Shape};
use super::store::Key;

/// Who writes, when, and through which endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    pub(crate) now: DateTime<Utc>,
    pub(crate) manager: String,
    pub(crate) apply: bool,
    pub(crate) subresource: Option<String>,
}

impl Writer {
    pub(crate) fn new(now: DateTime<Utc>, manager: &str) -> Self {
        Self { now, manager: manager.into(), apply: false, subresource: None }
    }

    fn owner(&self) -> Manager {
        Manager {
            name: self.manager.clone(),
            apply: self.apply,
            subresource: self.subresource.clone(),
        }
    }

    fn stamp(&self) -> String {
        Time::new(self.now).to_string()
    }
}

/// `DeleteOptions`, as far as they are honoured.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeleteOptions {
    pub(crate) uid: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) propagation: Option<String>,
    pub(crate) grace_seconds: Option<i64>,
}

impl DeleteOptions {
    pub(crate) fn parse(body: &Value) -> Self {
        let text = |path: &str| body.pointer(path).and_then(Value::as_str).map(str::to_owned);
        Self {
            uid: text("/preconditions/uid"),
            version: text("/preconditions/resourceVersion"),
            propagation: text("/propagationPolicy"),
            grace_seconds: body["gracePeriodSeconds"].as_i64(),
        }
    }
}

pub(crate) fn shape(resource: &Resource) -> Shape {
    Shape { custom: resource.custom }
}

pub(crate) fn text<'a>(object: &'a Value, path: &str) -> &'a str {
    object.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

fn has_finalizers(object: &Value) -> bool {
    object.pointer("/metadata/finalizers").and_then(Value::as_array).is_some_and(|f| !f.is_empty())
}

fn is_terminating(object: &Value) -> bool {
    !object["metadata"]["deletionTimestamp"].is_null()
}

/// Returns the object without what ownership and equality do not look at.
fn bare(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("managedFields");
        metadata.remove("resourceVersion");
    }
    object
}

impl ApiServer {
    /// Creates the object; `key.name` may be empty where the body has `generateName`.
    pub(crate) fn create(
        &mut self,
        writer: &Writer,
        resource: &Resource,
        mut key: Key,
        mut body: Value,
    ) -> Result<Arc<Value>, Failure> {
        if !body.is_object() {
            return Err(Failure::bad_request("the body is no object"));
        }
        self.check_namespace(resource, &key, &body)?;
        if !body["metadata"].is_object() {
            body["metadata"] = json!({});
        }
        if key.name.is_empty() {
            key.name = self.chosen_name(resource, &body)?;
        }
        if self.store.get(&key).is_some() {
            return Err(Failure::already_exists(resource, &key.name));
        }
        if !text(&body, "/metadata/resourceVersion").is_empty() {
            let message = "resourceVersion should not be set on objects to be created";
            return Err(Failure::bad_request(message));
        }
        let uid = self.next_uid();
        admit::identify(&mut body, resource, &key, &uid, &writer.stamp());
        if resource.status
            && let Some(object) = body.as_object_mut()
        {
            object.remove("status");
        }
        self.default_fields(resource, &mut body);
        let owners = ssa::track(
            shape(resource),
            &json!({}),
            &body,
            &Owners::new(),
            &writer.owner(),
            &writer.stamp(),
        );
        Ok(self.commit(resource, key, body, owners))
    }

    fn check_namespace(&self, resource: &Resource, key: &Key, body: &Value) -> Result<(), Failure> {
        let stated = text(body, "/metadata/namespace");
        if !resource.namespaced {
            return Ok(());
        }
        if !stated.is_empty() && stated != key.namespace {
            let message = format!(
                "the namespace of the provided object does not match the namespace sent on the request: `{stated}` and `{}`",
                key.namespace
            );
            return Err(Failure::bad_request(message));
        }
        let namespaces = self.resource("", "namespaces")?;
        let Some(namespace) = self.store.get(&namespace_key(&key.namespace)) else {
            return Err(Failure::not_found(namespaces, &key.namespace));
        };
        if is_terminating(&namespace.value) {
            let message = format!(
                "{} \"{}\" is forbidden: unable to create new content in namespace {} because it is being terminated",
                resource.qualified_plural(),
                key.name,
                key.namespace
            );
            let mut failure = Failure::new(403, "Forbidden", message);
            failure.details = json!({
                "name": key.name,
                "kind": resource.plural,
                "causes": [{
                    "reason": "NamespaceTerminating",
                    "message": format!("namespace {} is being terminated", key.namespace),
                    "field": "metadata.namespace",
                }],
            });
            return Err(failure);
        }
        Ok(())
    }

    fn chosen_name(&mut self, resource: &Resource, body: &Value) -> Result<String, Failure> {
        let name = text(body, "/metadata/name");
        if !name.is_empty() {
            return Ok(name.into());
        }
        let prefix = text(body, "/metadata/generateName").to_owned();
        if prefix.is_empty() {
            let why = "Required value: name or generateName is required";
            return Err(Failure::invalid(resource, "", "metadata.name", why));
        }
        Ok(format!("{prefix}{}", self.next_suffix()))
    }

    /// Replaces the object by what `change` makes of it, under the rules of the endpoint that the writer came through.
    pub(crate) fn update(
        &mut self,
        writer: &Writer,
        resource: &Resource,
        key: &Key,
        is_put: bool,
        change: impl FnOnce(&Value) -> Result<Value, Failure>,
    ) -> Result<Arc<Value>, Failure> {
        let stored = self.store.get(key).ok_or_else(|| Failure::not_found(resource, &key.name))?;
        let (before, owners) = (Arc::clone(&stored.value), Arc::clone(&stored.owners));
        let proposed = change(&before)?;
        let after = admitted(writer, resource, key, &before, proposed, is_put)?;
        let owners =
            ssa::track(shape(resource), &before, &after, &owners, &writer.owner(), &writer.stamp());
        self.replace(resource, key, &before, after, owners)
    }

    /// Applies the declared fields server-side; creates the object if it is absent.
    pub(crate) fn apply(
        &mut self,
        writer: &Writer,
        resource: &Resource,
        key: &Key,
        config: Value,
        force: bool,
    ) -> Result<Arc<Value>, Failure> {
        let declared_uid = text(&config, "/metadata/uid").to_owned();
        let declared_version = text(&config, "/metadata/resourceVersion").to_owned();
        let config = ssa::without_nulls(config);
        let Some(stored) = self.store.get(key) else {
            if !declared_uid.is_empty() || !declared_version.is_empty() {
                let why = format!(
                    "uid mismatch: the provided object specified uid {declared_uid}, and no existing object was found"
                );
                return Err(Failure::conflict(resource, &key.name, &why));
            }
            return self.create(writer, resource, key.clone(), config);
        };
        let (before, owners) = (Arc::clone(&stored.value), Arc::clone(&stored.owners));
        let config = admit::part_of_endpoint(resource, writer.subresource.as_deref(), config);
        let (mut merged, owners, contentions) = ssa::apply(
            shape(resource),
            &before,
            &owners,
            &writer.owner(),
            &config,
            &writer.stamp(),
        );
        if let (false, Some(first)) = (force, contentions.first()) {
            return Err(contended(resource, &key.name, &contentions, first));
        }
        for (field, declared) in [("uid", declared_uid), ("resourceVersion", declared_version)] {
            if !declared.is_empty() {
                merged["metadata"][field] = json!(declared);
            }
        }
        let after = admitted(writer, resource, key, &before, merged, false)?;
        self.replace(resource, key, &before, after, owners)
    }

    fn replace(
        &mut self,
        resource: &Resource,
        key: &Key,
        before: &Arc<Value>,
        mut after: Value,
        owners: Owners,
    ) -> Result<Arc<Value>, Failure> {
        self.default_fields(resource, &mut after);
        let unchanged_owners =
            self.store.get(key).is_some_and(|stored| ssa::same_owners(&stored.owners, &owners));
        if unchanged_owners && bare(before) == bare(&after) {
            return Ok(Arc::clone(before));
        }
        admit::count_generation(resource, before, &mut after);
        let ends_otherwise = matches!(resource.plural.as_str(), "pods" | "namespaces");
        let gone = is_terminating(&after) && !has_finalizers(&after) && !ends_otherwise;
        let stored = self.commit(resource, key.clone(), after, owners);
        if gone {
            self.forget(key).ok_or_else(|| Failure::not_found(resource, &key.name))
        } else {
            Ok(stored)
        }
    }

    fn commit(
        &mut self,
        resource: &Resource,
        key: Key,
        mut object: Value,
        owners: Owners,
    ) -> Arc<Value> {
        let api_version = resource.api_version(resource.stored_version());
        object["metadata"]["managedFields"] = ssa::managed_fields(&owners, &api_version);
        let defines = resource.group == resources::CRD_GROUP;
        let stored = self.store.put(key, object, owners);
        if defines && let Some(defined) = resources::defined_by(&stored) {
            self.resources.insert(defined.key(), defined);
        }
        stored
    }

    fn forget(&mut self, key: &Key) -> Option<Arc<Value>> {
        let last = self.store.remove(key)?;
        if key.group == resources::CRD_GROUP
            && let Some(defined) = resources::defined_by(&last)
        {
            let all = self.store.list(&defined.group, &defined.plural, None);
            let orphans: Vec<Key> = all.map(|(key, _)| key.clone()).collect();
            for orphan in orphans {
                self.store.remove(&orphan);
            }
            self.resources.remove(&defined.key());
        }
        Some(last)
    }

    /// Deletes the object, or marks it where finalizers, a grace period or its dependents come first.
    pub(crate) fn delete(
        &mut self,
        writer: &Writer,
        resource: &Resource,
        key: &Key,
        options: &DeleteOptions,
    ) -> Result<Arc<Value>, Failure> {
        let stored = self.store.get(key).ok_or_else(|| Failure::not_found(resource, &key.name))?;
        let (before, owners) = (Arc::clone(&stored.value), Arc::clone(&stored.owners));
        let uid = text(&before, "/metadata/uid").to_owned();
        let expectations = [
            ("UID", &options.uid, uid.as_str()),
            ("ResourceVersion", &options.version, text(&before, "/metadata/resourceVersion")),
        ];
        for (name, expected, actual) in expectations {
            if let Some(expected) = expected.as_deref().filter(|expected| *expected != actual) {
                let why = format!(
                    "Precondition failed: {name} in precondition: {expected}, {name} in object meta: {actual}"
                );
                return Err(Failure::conflict(resource, &key.name, &why));
            }
        }
        let mut after = (*before).clone();
        match options.propagation.as_deref() {
            Some("Orphan") => self.orphan_dependents(writer, &uid),
            Some("Foreground") if self.has_dependents(&uid) => {
                add_finalizer(&mut after, FOREGROUND);
            }
            _ => {}
        }
        let grace_seconds =
            if resource.plural == "pods" && !text(&before, "/spec/nodeName").is_empty() {
                options.grace_seconds.unwrap_or(30)
            } else {
                0
            };
        let holds = has_finalizers(&after) || grace_seconds > 0 || resource.plural == "namespaces";
        if !holds {
            return self.forget(key).ok_or_else(|| Failure::not_found(resource, &key.name));
        }
        if !is_terminating(&after) {
            after["metadata"]["deletionTimestamp"] = json!(writer.stamp());
            after["metadata"]["deletionGracePeriodSeconds"] = json!(grace_seconds);
            if let Some(generation) = after["metadata"]["generation"].as_i64() {
                after["metadata"]["generation"] = json!(generation + 1);
            }
            if resource.plural == "namespaces" {
                after["status"]["phase"] = json!("Terminating");
            }
        }
        if bare(&before) == bare(&after) {
            return Ok(before);
        }
        Ok(self.commit(resource, key.clone(), after, (*owners).clone()))
    }

    /// Removes a Namespace or an object whose finalizers are gone.
    pub(crate) fn finish_deletion(&mut self, key: &Key) {
        self.forget(key);
    }
}

/// The finalizer of a foreground deletion.
pub(crate) const FOREGROUND: &str = "foregroundDeletion";

fn add_finalizer(object: &mut Value, finalizer: &str) {
    let finalizers = &mut object["metadata"]["finalizers"];
    let mut list = finalizers.as_array().cloned().unwrap_or_default();
    if !list.iter().any(|present| present == finalizer) {
        list.push(json!(finalizer));
    }
    *finalizers = Value::Array(list);
}

pub(crate) fn namespace_key(name: &str) -> Key {
    Key {
        group: String::new(),
        plural: "namespaces".into(),
        namespace: String::new(),
        name: name.into(),
    }
}

/// Checks the preconditions in the proposed object and keeps what its endpoint may not change.
fn admitted(
    writer: &Writer,
    resource: &Resource,
    key: &Key,
    before: &Value,
    mut after: Value,
    is_put: bool,
) -> Result<Value, Failure> {
    if !after["metadata"].is_object() {
        return Err(Failure::bad_request("metadata is no object"));
    }
    let version = text(&after, "/metadata/resourceVersion");
    if !version.is_empty() && version != text(before, "/metadata/resourceVersion") {
        return Err(Failure::modified(resource, &key.name));
    }
    let (uid, actual) = (text(&after, "/metadata/uid"), text(before, "/metadata/uid"));
    if !uid.is_empty() && uid != actual {
        if is_put {
            let why = format!(
                "Precondition failed: UID in precondition: {uid}, UID in object meta: {actual}"
            );
            return Err(Failure::conflict(resource, &key.name, &why));
        }
        let why = format!("Invalid value: \"{uid}\": field is immutable");
        return Err(Failure::invalid(resource, &key.name, "metadata.uid", &why));
    }
    let name = text(&after, "/metadata/name");
    if !name.is_empty() && name != key.name {
        let message = format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            key.name
        );
        return Err(Failure::bad_request(message));
    }
    admit::keep_identity(before, &mut after);
    let after = admit::keep_other_endpoint(resource, writer.subresource.as_deref(), before, after);
    admit::immutable(resource, &key.name, before, &after)?;
    Ok(after)
}

fn contended(
    resource: &Resource,
    name: &str,
    all: &[ssa::Contention],
    first: &ssa::Contention,
) -> Failure {
    let causes = all.iter().map(|contention| {
        json!({
            "reason": "FieldManagerConflict",
            "message": format!("conflict with \"{}\"", contention.manager),
            "field": contention.path,
        })
    });
    let plural = if all.len() == 1 { "" } else { "s" };
    let message = format!(
        "Apply failed with {} conflict{plural}: conflict with \"{}\": {}",
        all.len(),
        first.manager,
        first.path
    );
    let mut failure = Failure::conflict(resource, name, "");
    failure.message = message;
    failure.details["causes"] = causes.collect();
    failure
}
