//! Who owns which field, and server-side apply over it.
//!
//! As on a real API server: an apply merges what the manager declares into the live object, removes what the same manager
//! declared before and declares no longer (unless another manager owns it too), and refuses values that others own unless
//! forced. Every other write moves the ownership of the fields that it changes to its writer. Lists of custom resources are
//! atomic; lists of built-in kinds merge by the keys of [`Shape::list`].

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

/// One step of a path into an object.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Step {
    /// A field of an object.
    Field(String),
    /// The item of a keyed list; canonical JSON of its keys.
    Item(String),
    /// The member of a set; its JSON.
    Member(String),
}

pub(crate) type Path = Vec<Step>;
pub(crate) type Fields = BTreeSet<Path>;

/// A writer, as `managedFields` tells them apart.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Manager {
    pub(crate) name: String,
    pub(crate) apply: bool,
    pub(crate) subresource: Option<String>,
}

/// The fields that one manager owns.
#[derive(Clone, Debug)]
pub(crate) struct Owned {
    pub(crate) fields: Fields,
    pub(crate) at: String,
}

pub(crate) type Owners = BTreeMap<Manager, Owned>;

/// How a list is merged.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum ListKind {
    Atomic,
    Set,
    Keyed(&'static [&'static str]),
}

/// What the server knows of the structure of a resource.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Shape {
    /// Lists of custom resources are atomic and their maps are not.
    pub(crate) custom: bool,
}

impl Shape {
    fn list(self, path: &[Step]) -> ListKind {
        let Some(Step::Field(field)) = path.last() else { return ListKind::Atomic };
        let in_metadata = path.first() == Some(&Step::Field("metadata".into())) && path.len() == 2;
        match field.as_str() {
            "ownerReferences" if in_metadata => ListKind::Keyed(&["uid"]),
            "finalizers" if in_metadata => ListKind::Set,
            _ if self.custom => ListKind::Atomic,
            "containers"
            | "initContainers"
            | "ephemeralContainers"
            | "volumes"
            | "env"
            | "imagePullSecrets"
            | "secrets" => ListKind::Keyed(&["name"]),
            "ports" if matches!(path.iter().rev().nth(1), Some(Step::Item(_))) => {
                ListKind::Keyed(&["containerPort", "protocol"])
            }
            "ports" if path.len() == 2 => ListKind::Keyed(&["port", "protocol"]),
            "volumeMounts" => ListKind::Keyed(&["mountPath"]),
            "volumeDevices" => ListKind::Keyed(&["devicePath"]),
            "conditions" => ListKind::Keyed(&["type"]),
            "hostAliases" => ListKind::Keyed(&["ip"]),
            "topologySpreadConstraints" => ListKind::Keyed(&["topologyKey", "whenUnsatisfiable"]),
            _ => ListKind::Atomic,
        }
    }

    fn is_atomic_map(self, path: &[Step]) -> bool {
        let Some(Step::Field(field)) = path.last() else { return false };
        !self.custom && matches!(field.as_str(), "selector" | "nodeSelector" | "labelSelector")
    }
}

/// Returns the keys of a list item as canonical JSON; `protocol` defaults to TCP.
fn item_key(keys: &[&str], item: &Value) -> String {
    let value = |key: &str| match (item.get(key), key) {
        (None, "protocol") => json!("TCP"),
        (value, _) => value.cloned().unwrap_or(Value::Null),
    };
    let pairs: Map<String, Value> = keys.iter().map(|&key| (key.into(), value(key))).collect();
    Value::Object(pairs).to_string()
}

/// Returns the paths of the fields of an object, leaves and list items, except those that identify it.
pub(crate) fn fields(shape: Shape, object: &Value) -> Fields {
    let mut out = Fields::new();
    collect(shape, object, &mut Vec::new(), &mut out);
    out
}

const IDENTITY: [&str; 10] = [
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "selfLink",
];

fn is_tracked(path: &[Step]) -> bool {
    match path {
        [Step::Field(field)] => field != "apiVersion" && field != "kind",
        [Step::Field(first), Step::Field(second)] if first == "metadata" => {
            !IDENTITY.contains(&second.as_str())
        }
        _ => true,
    }
}

fn collect(shape: Shape, value: &Value, path: &mut Path, out: &mut Fields) {
    match value {
        Value::Object(map) if !shape.is_atomic_map(path) && !map.is_empty() => {
            for (key, value) in map {
                path.push(Step::Field(key.clone()));
                if is_tracked(path) {
                    collect(shape, value, path, out);
                }
                path.pop();
            }
        }
        Value::Array(items) => match shape.list(path) {
            ListKind::Atomic => {
                out.insert(path.clone());
            }
            ListKind::Set => {
                out.extend(items.iter().map(|item| {
                    let member = Step::Member(item.to_string());
                    path.iter().cloned().chain([member]).collect()
                }));
            }
            ListKind::Keyed(keys) => {
                for item in items {
                    path.push(Step::Item(item_key(keys, item)));
                    out.insert(path.clone());
                    collect(shape, item, path, out);
                    path.pop();
                }
            }
        },
        _ => {
            out.insert(path.clone());
        }
    }
}

fn position(list: &[Value], key: &str) -> Option<usize> {
    let keys: Map<String, Value> = serde_json::from_str(key).ok()?;
    let names: Vec<&str> = keys.keys().map(String::as_str).collect();
    list.iter().position(|item| item_key(&names, item) == key)
}

fn find<'a>(value: &'a Value, path: &[Step]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, step| match step {
        Step::Field(field) => value.get(field),
        Step::Item(key) => value.as_array().and_then(|list| list.get(position(list, key)?)),
        Step::Member(member) => value.as_array()?.iter().find(|item| item.to_string() == *member),
    })
}

/// What ownership compares: the value of a leaf; of a list item only that it is there.
fn probe<'a>(value: &'a Value, path: &[Step]) -> Option<&'a Value> {
    let found = find(value, path)?;
    if matches!(path.last(), Some(Step::Item(_))) { Some(&Value::Null) } else { Some(found) }
}

/// Removes what the path leads to, and the maps that this leaves empty.
fn remove(value: &mut Value, path: &[Step]) {
    let [first, rest @ ..] = path else { return };
    match (first, value) {
        (Step::Field(field), Value::Object(map)) => {
            if rest.is_empty() {
                map.remove(field);
            } else if let Some(inner) = map.get_mut(field) {
                remove(inner, rest);
                let empty = inner.as_object().is_some_and(Map::is_empty)
                    || inner.as_array().is_some_and(Vec::is_empty);
                if empty {
                    map.remove(field);
                }
            }
        }
        (Step::Item(key), Value::Array(list)) => {
            let Some(at) = position(list, key) else { return };
            if rest.is_empty() {
                list.remove(at);
            } else if let Some(item) = list.get_mut(at) {
                remove(item, rest);
            }
        }
        (Step::Member(member), Value::Array(list)) => {
            let gone: Option<Value> = serde_json::from_str(member).ok();
            list.retain(|item| Some(item) != gone.as_ref());
        }
        _ => {}
    }
}

/// Merges what an apply declares into the live value.
fn merge(shape: Shape, live: Option<&Value>, config: &Value, path: &mut Path) -> Value {
    match (live, config) {
        (Some(Value::Object(live)), Value::Object(config)) if !shape.is_atomic_map(path) => {
            let mut merged = live.clone();
            for (key, value) in config {
                path.push(Step::Field(key.clone()));
                let value = merge(shape, live.get(key), value, path);
                merged.insert(key.clone(), value);
                path.pop();
            }
            Value::Object(merged)
        }
        (Some(Value::Array(live)), Value::Array(config)) => match shape.list(path) {
            ListKind::Atomic => Value::Array(config.clone()),
            ListKind::Set => {
                let new = config.iter().filter(|item| !live.contains(item));
                Value::Array(live.iter().chain(new).cloned().collect())
            }
            ListKind::Keyed(keys) => {
                let mut merged = live.clone();
                for item in config {
                    let key = item_key(keys, item);
                    let at = position(&merged, &key);
                    path.push(Step::Item(key));
                    match at.and_then(|at| merged.get_mut(at)) {
                        Some(slot) => *slot = merge(shape, Some(slot), item, path),
                        None => merged.push(item.clone()),
                    }
                    path.pop();
                }
                Value::Array(merged)
            }
        },
        (_, config) => config.clone(),
    }
}

/// Drops `null`s: a field declared as null is not declared.
pub(crate) fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(key, value)| (key, without_nulls(value))).collect())
        }
        other => other,
    }
}

/// A field that an apply without force wants to take from another manager.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Contention {
    pub(crate) manager: String,
    pub(crate) path: String,
}

/// Returns the object and the ownership after `manager` has applied `config`.
pub(crate) fn apply(
    shape: Shape,
    live: &Value,
    owners: &Owners,
    manager: &Manager,
    config: &Value,
    now: &str,
) -> (Value, Owners, Vec<Contention>) {
    let wanted = fields(shape, config);
    let changes = |path: &Path| probe(live, path) != probe(config, path);
    let mut contentions = Vec::new();
    for (other, owned) in owners.iter().filter(|(other, _)| *other != manager) {
        let taken = owned.fields.iter().filter(|path| wanted.contains(*path) && changes(path));
        contentions.extend(
            taken.map(|path| Contention { manager: other.name.clone(), path: dotted(path) }),
        );
    }
    let mut merged = merge(shape, Some(live), config, &mut Vec::new());
    let declared_before = owners.get(manager).map(|owned| owned.fields.clone());
    // Deepest first, so that an item whose fields are all gone goes as well.
    for path in declared_before.into_iter().flatten().rev() {
        let below = |fields: &Fields| {
            fields.range(path.clone()..).next().is_some_and(|next| next.starts_with(&path))
        };
        let others = owners.iter().filter(|(other, _)| *other != manager);
        if !below(&wanted) && !others.into_iter().any(|(_, owned)| below(&owned.fields)) {
            remove(&mut merged, &path);
        }
    }
    let mut next = owners.clone();
    for (other, owned) in &mut next {
        if other != manager {
            owned.fields.retain(|path| {
                probe(&merged, path).is_some() && !(wanted.contains(path) && changes(path))
            });
        }
    }
    own(&mut next, manager, wanted, now);
    (merged, next, contentions)
}

/// Returns the ownership after `manager` has changed `before` into `after` by a write that is not an apply.
pub(crate) fn track(
    shape: Shape,
    before: &Value,
    after: &Value,
    owners: &Owners,
    manager: &Manager,
    now: &str,
) -> Owners {
    let there = fields(shape, after);
    let changed: Fields =
        there.into_iter().filter(|path| probe(before, path) != probe(after, path)).collect();
    let mut next = owners.clone();
    for owned in next.values_mut() {
        owned.fields.retain(|path| !changed.contains(path) && probe(after, path).is_some());
    }
    let mine = next.get(manager).map(|owned| owned.fields.clone()).unwrap_or_default();
    own(&mut next, manager, &mine | &changed, now);
    next
}

fn own(owners: &mut Owners, manager: &Manager, fields: Fields, now: &str) {
    let unchanged = owners.get(manager).is_some_and(|owned| owned.fields == fields);
    if !unchanged {
        owners.insert(manager.clone(), Owned { fields, at: now.into() });
    }
    owners.retain(|_, owned| !owned.fields.is_empty());
}

/// Returns whether two ownerships say the same, whenever they were recorded.
pub(crate) fn same_owners(a: &Owners, b: &Owners) -> bool {
    a.len() == b.len()
        && a.iter().zip(b).all(|((ma, oa), (mb, ob))| ma == mb && oa.fields == ob.fields)
}

fn dotted(path: &[Step]) -> String {
    path.iter()
        .map(|step| match step {
            Step::Field(field) => format!(".{field}"),
            Step::Item(key) => {
                let keys: Map<String, Value> = serde_json::from_str(key).unwrap_or_default();
                let pairs = keys.iter().map(|(key, value)| format!("{key}={value}"));
                format!("[{}]", pairs.collect::<Vec<_>>().join(","))
            }
            Step::Member(member) => format!("[={member}]"),
        })
        .collect()
}

/// Returns `metadata.managedFields`.
pub(crate) fn managed_fields(owners: &Owners, api_version: &str) -> Value {
    let entries = owners.iter().map(|(manager, owned)| {
        let mut tree = json!({});
        for path in &owned.fields {
            let mut node = &mut tree;
            for step in path {
                let key = match step {
                    Step::Field(field) => format!("f:{field}"),
                    Step::Item(key) => format!("k:{key}"),
                    Step::Member(member) => format!("v:{member}"),
                };
                node = &mut node[key];
                if node.is_null() {
                    *node = json!({});
                }
            }
            if matches!(path.last(), Some(Step::Item(_))) {
                node["."] = json!({});
            }
        }
        let mut entry = json!({
            "manager": manager.name,
            "operation": if manager.apply { "Apply" } else { "Update" },
            "apiVersion": api_version,
            "time": owned.at,
            "fieldsType": "FieldsV1",
            "fieldsV1": tree,
        });
        if let Some(subresource) = &manager.subresource {
            entry["subresource"] = json!(subresource);
        }
        entry
    });
    Value::Array(entries.collect())
}

/// Merges a strategic merge patch, as kubectl sends it for built-in kinds.
pub(crate) fn strategic(shape: Shape, live: &Value, patch: &Value) -> Value {
    strategic_at(shape, live, patch, &mut Vec::new())
}

fn strategic_at(shape: Shape, live: &Value, patch: &Value, path: &mut Path) -> Value {
    let Value::Object(patch) = patch else { return patch.clone() };
    if patch.get("$patch").and_then(Value::as_str) == Some("replace") {
        let kept = patch.iter().filter(|(key, _)| !key.starts_with('$'));
        return Value::Object(kept.map(|(key, value)| (key.clone(), value.clone())).collect());
    }
    let mut merged = live.as_object().cloned().unwrap_or_default();
    for (key, value) in patch.iter().filter(|(key, _)| !key.starts_with('$')) {
        path.push(Step::Field(key.clone()));
        match (merged.get(key), value) {
            (_, Value::Null) => {
                merged.remove(key);
            }
            (Some(Value::Array(live)), Value::Array(items)) => {
                let list = strategic_list(shape, live, items, path);
                merged.insert(key.clone(), Value::Array(list));
            }
            (before, value) => {
                let before = before.cloned().unwrap_or(json!({}));
                let value = strategic_at(shape, &before, value, path);
                merged.insert(key.clone(), value);
            }
        }
        path.pop();
    }
    Value::Object(merged)
}

fn strategic_list(shape: Shape, live: &[Value], items: &[Value], path: &mut Path) -> Vec<Value> {
    let keys = match shape.list(path) {
        ListKind::Atomic => return items.to_vec(),
        ListKind::Set => &[][..],
        ListKind::Keyed(keys) => keys,
    };
    let mut merged = live.to_vec();
    for item in items {
        let key = item_key(keys, item);
        let at = if keys.is_empty() {
            merged.iter().position(|present| present == item)
        } else {
            position(&merged, &key)
        };
        path.push(Step::Item(key));
        match at {
            Some(at) if item["$patch"] == "delete" => {
                merged.remove(at);
            }
            Some(at) => merged[at] = strategic_at(shape, &merged[at], item, path),
            None => merged.push(item.clone()),
        }
        path.pop();
    }
    merged
}
