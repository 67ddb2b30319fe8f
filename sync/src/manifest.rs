//! What a rendering wants: manifests by key, cleaned of what only a live object has, and what is wrong with them.

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Map, Value};
use sluice_crds::labels;
use sluice_crds::object::{Kind, ObjectRef};

use crate::key::{Discovery, ResourceKey, annotation, group_version, text};
use crate::view::Rendered;

/// Annotation of an object: its sync wave (Argo CD).
pub const SYNC_WAVE: &str = "argocd.argoproj.io/sync-wave";
/// Annotation of an object: the hooks that it is (Argo CD).
pub const HOOK: &str = "argocd.argoproj.io/hook";
/// Annotation of an object: how it is compared, such as `IgnoreExtraneous` (Argo CD).
pub const COMPARE_OPTIONS: &str = "argocd.argoproj.io/compare-options";

/// One wanted object.
#[derive(Clone, PartialEq, Debug)]
pub struct Manifest {
    /// Key.
    pub key: ResourceKey,
    /// Address; `None` while the API server does not serve the kind.
    pub object: Option<ObjectRef>,
    /// The object, cleaned; see [`clean`].
    pub body: Value,
    /// Commit that it was rendered from.
    pub commit: String,
    /// Sync wave.
    pub wave: i64,
}

/// What a rendering wants.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ManifestSet {
    /// Wanted objects; of several with one key the last counts.
    pub manifests: BTreeMap<ResourceKey, Manifest>,
    /// Hooks, with the kinds of hook; they are not run yet, and never applied.
    pub hooks: BTreeMap<ResourceKey, String>,
    /// Keys that were rendered more than once.
    pub repeated: Vec<ResourceKey>,
    /// What is wrong with manifests: a rendering error, so that nothing is written (G3).
    pub problems: Vec<String>,
}

/// Reads a rendering. Namespaced objects without a namespace get the destination's, cluster-scoped ones lose theirs; of kinds
/// that the API server does not serve (yet) the manifest's word is taken.
pub fn read(
    rendered: &Rendered,
    commit: &str,
    destination_namespace: Option<&str>,
    discovery: &Discovery,
) -> ManifestSet {
    let mut set = ManifestSet::default();
    for (index, value) in rendered.manifests.iter().enumerate() {
        let items = match value.get("items") {
            Some(Value::Array(items))
                if text(value, "/kind").is_some_and(|k| k.ends_with("List")) =>
            {
                items.as_slice()
            }
            Some(_) | None => std::slice::from_ref(value),
        };
        for item in items {
            match one(item, commit, destination_namespace, discovery) {
                Ok(Some(manifest)) => set.insert(manifest),
                Ok(None) => {}
                Err(problem) => set.problems.push(format!("manifest {}: {problem}", index + 1)),
            }
        }
    }
    set
}

impl ManifestSet {
    fn insert(&mut self, manifest: Manifest) {
        if let Some(hook) = hook_of(&manifest.body) {
            self.hooks.insert(manifest.key, hook);
            return;
        }
        let key = manifest.key.clone();
        if self.manifests.insert(key.clone(), manifest).is_some() {
            self.repeated.push(key);
        }
    }
}

fn one(
    item: &Value,
    commit: &str,
    destination_namespace: Option<&str>,
    discovery: &Discovery,
) -> Result<Option<Manifest>, String> {
    if item.is_null() {
        return Ok(None);
    }
    let (Some(api_version), Some(kind)) = (text(item, "/apiVersion"), text(item, "/kind")) else {
        return Err("`apiVersion` or `kind` is missing".to_owned());
    };
    let Some(name) = text(item, "/metadata/name").filter(|name| !name.is_empty()) else {
        return Err(format!("{kind}: `metadata.name` is missing"));
    };
    let (group, version) = group_version(api_version);
    let info = discovery.get(group, kind);
    let declared = text(item, "/metadata/namespace").or(destination_namespace);
    let namespace = match info {
        Some(info) if !info.namespaced => None,
        Some(_) | None => declared,
    };
    if info.is_some_and(|info| info.namespaced) && namespace.is_none() {
        return Err(format!(
            "{kind} `{name}` has no namespace, and neither has spec.destination.namespace"
        ));
    }
    let body = clean(item, namespace);
    let object = info.map(|info| ObjectRef {
        kind: Kind {
            group: group.to_owned().into(),
            version: version.to_owned().into(),
            kind: kind.to_owned().into(),
            plural: info.plural.clone().into(),
            status_subresource: info.status_subresource,
        },
        namespace: namespace.map(str::to_owned),
        name: name.to_owned(),
    });
    let key = ResourceKey {
        group: group.to_owned(),
        kind: kind.to_owned(),
        namespace: namespace.unwrap_or_default().to_owned(),
        name: name.to_owned(),
    };
    Ok(Some(Manifest { key, object, wave: wave_of(&body), body, commit: commit.to_owned() }))
}

/// Returns a manifest without what is not Git's to say: status, what the API server sets, nulls (absent, as kubectl reads
/// them), our own annotations and the fence; and with the `stringData` of a Secret in `data`.
pub fn clean(manifest: &Value, namespace: Option<&str>) -> Value {
    let mut body = without_nulls(manifest);
    let Some(object) = body.as_object_mut() else { return body };
    object.remove("status");
    let is_secret = object.get("kind").is_some_and(|kind| kind == "Secret");
    if is_secret && let Some(Value::Object(plain)) = object.remove("stringData") {
        let data = object.entry("data").or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(data) = data {
            for (key, value) in plain {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                data.insert(key, Value::String(BASE64_STANDARD.encode(text)));
            }
        }
    }
    if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
        for field in [
            "creationTimestamp",
            "deletionTimestamp",
            "generation",
            "managedFields",
            "resourceVersion",
            "selfLink",
            "uid",
        ] {
            metadata.remove(field);
        }
        metadata.remove("namespace");
        if let Some(namespace) = namespace {
            metadata.insert("namespace".to_owned(), Value::String(namespace.to_owned()));
        }
        if let Some(Value::Object(annotations)) = metadata.get_mut("annotations") {
            annotations.retain(|key, _| !is_own_annotation(key) && key != labels::LAST_APPLIED);
        }
    }
    body
}

/// Returns whether an annotation is ours: the fence, or anything under `sluice.dev/`. Those are never taken from Git.
pub fn is_own_annotation(key: &str) -> bool {
    key.starts_with(labels::EPOCH_PREFIX) || key.starts_with(labels::SLUICE_PREFIX)
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| (key.clone(), without_nulls(value)))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.iter().map(without_nulls).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

/// Returns the hooks that an object is, as written; `None` for ordinary objects. Helm's `crd-install` is ordinary.
fn hook_of(body: &Value) -> Option<String> {
    let hook = annotation(body, HOOK).or_else(|| {
        annotation(body, "helm.sh/hook")
            .filter(|hook| !hook.split(',').any(|h| h.trim() == "crd-install"))
    })?;
    Some(hook.to_owned())
}

/// Returns the sync wave: Argo's annotation, else Helm's hook weight, else 0; what is no number counts as 0.
pub fn wave_of(body: &Value) -> i64 {
    annotation(body, SYNC_WAVE)
        .or_else(|| annotation(body, "helm.sh/hook-weight"))
        .and_then(|wave| wave.trim().parse().ok())
        .unwrap_or(0)
}

/// Returns the value of a sync option in the annotation of an object, such as `false` for `Prune=false`.
pub fn sync_option<'a>(body: &'a Value, key: &str) -> Option<&'a str> {
    annotation(body, labels::SYNC_OPTIONS)?.split(',').find_map(|option| {
        let (name, value) = option.split_once('=')?;
        (name.trim() == key).then(|| value.trim())
    })
}

/// Returns a digest of a value that does not depend on the order of keys: 16 hexadecimal digits of FNV-1a.
pub fn digest(value: &Value) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    feed(value, &mut |byte| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    format!("{hash:016x}")
}

fn feed(value: &Value, out: &mut impl FnMut(u8)) {
    match value {
        Value::Object(map) => {
            out(b'{');
            let sorted: BTreeMap<&String, &Value> = map.iter().collect();
            for (key, value) in sorted {
                key.bytes().for_each(&mut *out);
                out(0);
                feed(value, out);
            }
            out(b'}');
        }
        Value::Array(items) => {
            out(b'[');
            for item in items {
                feed(item, out);
                out(b',');
            }
            out(b']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            value.to_string().bytes().for_each(&mut *out);
        }
    }
}

#[cfg(test)]
mod tests;
