//! `CreateNamespace=true` and `managedNamespaceMetadata` (`spec-sync` 4.8).

use serde_json::json;
use sluice_crds::application::{ApplicationSpec, sync_option};
use sluice_crds::object::{Kind, ObjectRef};
use sluice_engine::view::Lookup;

use crate::action::{Action, Verb};
use crate::apply;
use crate::compare::differences;
use crate::key::ResourceKey;
use crate::manifest::Manifest;
use crate::view::ApplicationView;

/// Returns the namespace that a sync makes, if the application wants that.
pub(crate) fn wanted<'a>(spec: &'a ApplicationSpec, options: &[String]) -> Option<&'a str> {
    let namespace = spec.destination.namespace.as_deref().filter(|name| !name.is_empty())?;
    (sync_option(options, "CreateNamespace") == Some("true")).then_some(namespace)
}

/// Returns what has to be done about the destination's namespace before anything else: it is created, or gets its labels. It
/// carries no tracking id, so that it is never pruned. A Namespace in Git wins.
pub(crate) fn action(
    view: &ApplicationView,
    options: &[String],
    is_in_git: bool,
    commit: &str,
) -> Option<Action> {
    let name = wanted(&view.application.spec, options).filter(|_| !is_in_git)?;
    let key = ResourceKey::namespace(name);
    let object = ObjectRef::cluster(Kind::NAMESPACE, name);
    let policy = view.application.spec.sync_policy.as_ref();
    let managed = policy.and_then(|policy| policy.managed_namespace_metadata.as_ref());
    let mut body = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
    if let Some(managed) = managed {
        body["metadata"]["labels"] = json!(managed.labels);
        body["metadata"]["annotations"] = json!(managed.annotations);
    }
    let epoch = view.epoch.as_ref();
    let (verb, write, because) = match view.live.get(&key)? {
        Lookup::Unknown | Lookup::NoKind => return None,
        Lookup::Absent => {
            let write = apply::create(body, &object, epoch);
            (Verb::Create, write, "`CreateNamespace=true`")
        }
        Lookup::Present(live) => {
            if managed.is_none() || differences(&key, &body, live).is_empty() {
                return None;
            }
            let write = apply::apply(body, live, &object, epoch);
            (Verb::Apply, write, "`managedNamespaceMetadata` changed")
        }
    };
    Some(Action { verb, key, commit: commit.to_owned(), because: because.to_owned(), write })
}

/// Returns whether Git has the namespace itself.
pub(crate) fn is_in_git<'a>(
    manifests: impl Iterator<Item = &'a Manifest>,
    name: Option<&str>,
) -> bool {
    let Some(name) = name else { return false };
    let key = ResourceKey::namespace(name);
    manifests.into_iter().any(|manifest| manifest.key == key)
}
