//! What a project permits: sources, destinations, kinds (`spec-sync` 8.1, G5). Project `default` is an object like any other;
//! as Argo creates it, it permits everything.

use globset::GlobBuilder;
use serde_json::json;
use sluice_crds::app_project::{AppProjectSpec, ClusterResource, GroupKind, ProjectDestination};
use sluice_crds::application::{ApplicationDestination, IN_CLUSTER_NAME, IN_CLUSTER_SERVER};
use sluice_crds::labels;
use sluice_crds::object::{Change, Kind, ObjectRef, Preconditions, Write};

use crate::action::{Action, Verb};
use crate::key::ResourceKey;

/// Name of the project of Applications that name none.
pub const DEFAULT: &str = "default";

/// Returns the creation of project `default`, which permits everything, as Argo CD creates it at its first start.
pub(crate) fn create_default(namespace: &str) -> Action {
    let object = ObjectRef::namespaced(Kind::APP_PROJECT, namespace, DEFAULT);
    let body = json!({
        "apiVersion": Kind::APP_PROJECT.api_version(),
        "kind": Kind::APP_PROJECT.kind,
        "metadata": { "name": DEFAULT, "namespace": namespace },
        "spec": {
            "sourceRepos": ["*"],
            "destinations": [{ "server": "*", "namespace": "*" }],
            "clusterResourceWhitelist": [{ "group": "*", "kind": "*" }],
        },
    });
    Action {
        verb: Verb::Project,
        key: ResourceKey::of(&object),
        commit: String::new(),
        because: "Applications without a project belong to it".to_owned(),
        write: Write {
            object,
            preconditions: Preconditions::default(),
            manager: labels::MANAGER_SYNC.into(),
            change: Change::Create { body },
        },
    }
}

/// A project's word on one application.
#[derive(Clone, Copy, Debug)]
pub struct Permission<'a> {
    /// Name of the project.
    pub name: &'a str,
    /// Its spec.
    pub project: &'a AppProjectSpec,
    /// The application's destination.
    pub destination: &'a ApplicationDestination,
}

impl Permission<'_> {
    /// Returns whether the repository may be used.
    ///
    /// # Errors
    /// Returns why not, for people.
    pub fn source(&self, url: &str) -> Result<(), String> {
        let url = normal(url);
        let mut allowed = false;
        for pattern in &self.project.source_repos {
            match pattern.strip_prefix('!') {
                Some(denied) if denied != "*" && glob(&normal(denied), &url, true) => {
                    return Err(self.refusal(&format!("repository `{url}`"), "sourceRepos"));
                }
                Some(_) => {}
                None => allowed |= pattern == "*" || glob(&normal(pattern), &url, true),
            }
        }
        if allowed {
            Ok(())
        } else {
            Err(self.refusal(&format!("repository `{url}`"), "sourceRepos"))
        }
    }

    /// Returns whether the namespace of the destination cluster may be deployed to.
    ///
    /// # Errors
    /// Returns why not, for people.
    pub fn namespace(&self, namespace: &str) -> Result<(), String> {
        let mut allowed = false;
        for rule in &self.project.destinations {
            let is_denial = [&rule.server, &rule.name, &rule.namespace]
                .into_iter()
                .flatten()
                .any(|part| part.starts_with('!'));
            if self.matches(rule, namespace) {
                if is_denial {
                    return Err(self.refusal(&format!("namespace `{namespace}`"), "destinations"));
                }
                allowed = true;
            }
        }
        if allowed {
            Ok(())
        } else {
            Err(self.refusal(&format!("namespace `{namespace}`"), "destinations"))
        }
    }

    fn matches(&self, rule: &ProjectDestination, namespace: &str) -> bool {
        let part = |pattern: &Option<String>, text: &str| {
            pattern.as_deref().is_some_and(|p| glob(p.trim_start_matches('!'), text, false))
        };
        // In-cluster goes by both names.
        let (server, name) = if self.destination.is_in_cluster() {
            (IN_CLUSTER_SERVER, IN_CLUSTER_NAME)
        } else {
            let of = |text: &'_ Option<String>| text.as_deref().unwrap_or_default().to_owned();
            let (server, name) = (of(&self.destination.server), of(&self.destination.name));
            return (part(&rule.server, &server) || part(&rule.name, &name))
                && part(&rule.namespace, namespace);
        };
        (part(&rule.server, server) || part(&rule.name, name)) && part(&rule.namespace, namespace)
    }

    /// Returns whether the resource's kind and namespace may be used.
    ///
    /// # Errors
    /// Returns why not, for people.
    pub fn resource(&self, key: &ResourceKey, object: Option<&ObjectRef>) -> Result<(), String> {
        let is_namespaced = match object {
            Some(object) => object.namespace.is_some(),
            None => !key.namespace.is_empty(),
        };
        let project = self.project;
        let permitted = if is_namespaced {
            let listed = project.namespace_resource_whitelist.as_ref();
            listed.is_none_or(|list| list.iter().any(|kind| is_kind(kind, key)))
                && !project.namespace_resource_blacklist.iter().any(|kind| is_kind(kind, key))
        } else {
            let listed = project.cluster_resource_whitelist.iter().flatten();
            listed.into_iter().any(|kind| is_cluster_kind(kind, key))
                && !project.cluster_resource_blacklist.iter().any(|kind| is_cluster_kind(kind, key))
        };
        if !permitted {
            let field = if is_namespaced { "namespaceResource" } else { "clusterResource" };
            let kind = format!("kind `{}/{}`", key.group, key.kind);
            return Err(self.refusal(&kind, &format!("{field}Whitelist or {field}Blacklist")));
        }
        if is_namespaced { self.namespace(&key.namespace) } else { Ok(()) }
    }

    fn refusal(&self, what: &str, field: &str) -> String {
        format!("{what} is not permitted in project `{}` (spec.{field})", self.name)
    }
}

fn is_kind(rule: &GroupKind, key: &ResourceKey) -> bool {
    glob(&rule.group, &key.group, false) && glob(&rule.kind, &key.kind, false)
}

fn is_cluster_kind(rule: &ClusterResource, key: &ResourceKey) -> bool {
    let name = rule.name.as_deref().filter(|name| !name.is_empty());
    glob(&rule.group, &key.group, false)
        && glob(&rule.kind, &key.kind, false)
        && name.is_none_or(|name| glob(name, &key.name, false))
}

fn glob(pattern: &str, text: &str, slash_separates: bool) -> bool {
    pattern == text
        || GlobBuilder::new(pattern)
            .literal_separator(slash_separates)
            .build()
            .is_ok_and(|glob| glob.compile_matcher().is_match(text))
}

/// Returns a repository URL as Argo compares it: lower-case host part left to the user, without `.git` and slash at the end.
fn normal(url: &str) -> String {
    let url = url.trim().trim_end_matches('/');
    url.strip_suffix(".git").unwrap_or(url).to_owned()
}

#[cfg(test)]
mod tests;
