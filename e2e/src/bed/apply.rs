//! YAML to objects and objects to the API server, by server-side apply.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, TypeMeta},
    discovery::{Scope, pinned_kind},
};
use serde_json::Value;
use tokio::sync::Mutex;

use super::process::until;

const CRD: &str = "CustomResourceDefinition";

/// What serves a kind, by API version and kind.
type Resources = BTreeMap<(String, String), (ApiResource, Scope)>;

/// Applies objects of any kind; remembers which resource serves a kind.
#[derive(Clone)]
pub struct Applier {
    client: Client,
    manager: &'static str,
    known: Arc<Mutex<Resources>>,
}

impl Applier {
    /// Applies as field manager `manager`, taking fields over by force.
    #[must_use]
    pub fn new(client: Client, manager: &'static str) -> Self {
        Self { client, manager, known: Arc::default() }
    }

    /// Applies every document of `yaml`; namespaced ones without a namespace go to `namespace`.
    ///
    /// # Errors
    /// When the text is no YAML or the API server refuses an object; the message names it.
    pub async fn yaml(&self, namespace: &str, yaml: &str) -> Result<Vec<DynamicObject>> {
        self.objects(namespace, documents(yaml)?).await
    }

    /// Applies objects, CRDs first (and waits until they are served), the rest eight at a time.
    ///
    /// # Errors
    /// When the API server refuses an object; the message names it.
    pub async fn objects(&self, namespace: &str, all: Vec<Value>) -> Result<Vec<DynamicObject>> {
        let (crds, rest): (Vec<_>, Vec<_>) = all.into_iter().partition(|o| o["kind"] == CRD);
        let (spaces, rest): (Vec<_>, Vec<_>) =
            rest.into_iter().partition(|o| o["kind"] == "Namespace");
        let mut applied = Vec::new();
        for batch in [crds, spaces, rest] {
            let has_crds = batch.iter().any(|o| o["kind"] == CRD);
            let futures: Vec<_> =
                batch.into_iter().map(|object| self.one(namespace, object).boxed()).collect();
            let done: Vec<_> = stream::iter(futures).buffered(8).try_collect().await?;
            if has_crds {
                let served: Vec<_> = done.iter().map(|crd| self.established(crd).boxed()).collect();
                stream::iter(served).buffered(8).try_collect::<Vec<()>>().await?;
            }
            applied.extend(done);
        }
        Ok(applied)
    }

    /// The API of the kind of an object, in its namespace or in `namespace`.
    ///
    /// # Errors
    /// When the API server does not serve the kind.
    pub async fn api(
        &self,
        api_version: &str,
        kind: &str,
        namespace: &str,
    ) -> Result<Api<DynamicObject>> {
        let (resource, scope) = self.resource(api_version, kind).await?;
        Ok(match scope {
            Scope::Namespaced => Api::namespaced_with(self.client.clone(), namespace, &resource),
            Scope::Cluster => Api::all_with(self.client.clone(), &resource),
        })
    }

    async fn one(&self, namespace: &str, object: Value) -> Result<DynamicObject> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (version, kind) = (text(&object["apiVersion"]), text(&object["kind"]));
        let name = text(&object["metadata"]["name"]);
        let own = text(&object["metadata"]["namespace"]);
        let namespace = if own.is_empty() { namespace } else { &own };
        let what = format!("{kind} `{namespace}/{name}`");
        let api = self.api(&version, &kind, namespace).await?;
        let params = PatchParams::apply(self.manager).force();
        api.patch(&name, &params, &Patch::Apply(&object))
            .await
            .with_context(|| format!("cannot apply {what}"))
    }

    async fn resource(&self, api_version: &str, kind: &str) -> Result<(ApiResource, Scope)> {
        let key = (api_version.to_owned(), kind.to_owned());
        if let Some(known) = self.known.lock().await.get(&key) {
            return Ok(known.clone());
        }
        let types = TypeMeta { api_version: api_version.to_owned(), kind: kind.to_owned() };
        let kind_id = GroupVersionKind::try_from(&types)?;
        let (resource, capabilities) = pinned_kind(&self.client, &kind_id)
            .await
            .with_context(|| format!("kind `{kind}` of `{api_version}` is not served"))?;
        let found = (resource, capabilities.scope);
        self.known.lock().await.insert(key, found.clone());
        Ok(found)
    }

    async fn established(&self, crd: &DynamicObject) -> Result<()> {
        let name = crd.metadata.name.clone().unwrap_or_default();
        let api = self.api("apiextensions.k8s.io/v1", CRD, "").await?;
        until(&format!("CRD `{name}` is served"), Duration::from_secs(20), || async {
            let conditions = api.get(&name).await?.data["status"]["conditions"].clone();
            let established = |c: &Value| c["type"] == "Established" && c["status"] == "True";
            let yes = conditions.as_array().is_some_and(|all| all.iter().any(established));
            Ok(yes.then_some(()))
        })
        .await
    }
}

/// The documents of a YAML text, empty ones left out.
///
/// # Errors
/// When the text is no YAML.
pub fn documents(yaml: &str) -> Result<Vec<Value>> {
    // Istio's CRDs are one text of 900 KB; the default budget is for texts of strangers.
    let mut options = serde_saphyr::Options::default();
    options.budget = None;
    let all: Vec<Value> = serde_saphyr::from_multiple_with_options(yaml, options)?;
    Ok(all.into_iter().filter(|document| !document.is_null()).collect())
}

/// The documents of every `*.yaml` file of a folder, in the order of their names.
///
/// # Errors
/// When the folder cannot be read or a file is no YAML.
pub fn folder(path: &Path) -> Result<Vec<Value>> {
    let mut files: Vec<_> = std::fs::read_dir(path)
        .with_context(|| format!("cannot read the folder `{}`", path.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "yaml" || e == "yml"))
        .collect();
    files.sort();
    let mut all = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file)?;
        let parsed = documents(&text).with_context(|| format!("in `{}`", file.display()))?;
        all.extend(parsed);
    }
    Ok(all)
}
