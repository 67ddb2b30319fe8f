//! What clients ask before they ask for objects: versions, groups, resources, health.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::ApiServer;
use super::resources::Resource;

/// Answer to a path that names no resource.
pub(crate) enum Discovery {
    Json(Value),
    Text(&'static str),
}

impl ApiServer {
    /// Returns the answer to a path outside of the resources, or `None` if there is none.
    pub(crate) fn discover(&self, path: &str) -> Option<Discovery> {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        match parts[..] {
            ["healthz" | "livez" | "readyz", ..] => Some(Discovery::Text("ok")),
            ["version"] => Some(Discovery::Json(json!({
                "major": "1",
                "minor": "36",
                "gitVersion": "v1.36.0-sluice-sim",
                "gitCommit": "",
                "gitTreeState": "clean",
                "buildDate": "1970-01-01T00:00:00Z",
                "goVersion": "none",
                "compiler": "rustc",
                "platform": "linux/amd64",
            }))),
            ["api"] => Some(Discovery::Json(json!({
                "kind": "APIVersions",
                "versions": ["v1"],
                "serverAddressByClientCIDRs": [],
            }))),
            ["apis"] => {
                let groups: Vec<Value> = self.groups().iter().map(|(g, v)| group(g, v)).collect();
                let list = json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups });
                Some(Discovery::Json(list))
            }
            ["apis", name] => {
                let mut found = group(name, self.groups().get(name)?);
                found["kind"] = json!("APIGroup");
                found["apiVersion"] = json!("v1");
                Some(Discovery::Json(found))
            }
            ["openapi", "v3"] => Some(Discovery::Json(self.open_api_paths())),
            ["openapi", "v3", "api", "v1"] => self.open_api("", "v1"),
            ["openapi", "v3", "apis", group, version] => self.open_api(group, version),
            ["api", "v1"] => self.resource_list("", "v1"),
            ["apis", group, version] => self.resource_list(group, version),
            _ => None,
        }
    }

    /// Returns the versions of each group but the core group, the preferred one first.
    fn groups(&self) -> BTreeMap<&str, Vec<&str>> {
        let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for resource in self.resources.values().filter(|resource| !resource.group.is_empty()) {
            let versions = groups.entry(&resource.group).or_default();
            for version in &resource.versions {
                if !versions.contains(&version.as_str()) {
                    versions.push(version);
                }
            }
        }
        groups
    }

    fn open_api_paths(&self) -> Value {
        let groups = self.groups();
        let named = groups.iter().flat_map(|(group, versions)| {
            versions.iter().map(move |version| format!("apis/{group}/{version}"))
        });
        let paths = named.chain(["api/v1".to_owned()]).map(|path| {
            let url = json!({ "serverRelativeURL": format!("/openapi/v3/{path}?hash=0") });
            (path, url)
        });
        json!({ "paths": paths.collect::<serde_json::Map<String, Value>>() })
    }

    /// Returns only what kubectl looks for: that the server validates fields itself. It has no schemas of built-in kinds.
    fn open_api(&self, group: &str, version: &str) -> Option<Discovery> {
        let served = |r: &&Resource| r.group == group && r.versions.iter().any(|v| v == version);
        let parameter =
            json!({ "name": "fieldValidation", "in": "query", "schema": { "type": "string" } });
        let all: Vec<&Resource> = self.resources.values().filter(served).collect();
        let prefix = if group.is_empty() { "/api".to_owned() } else { format!("/apis/{group}") };
        all.first()?;
        let paths = all.iter().map(|resource| {
            let namespaces = if resource.namespaced { "/namespaces/{namespace}" } else { "" };
            let path = format!("{prefix}/{version}{namespaces}/{}/{{name}}", resource.plural);
            let kind = json!({ "group": group, "version": version, "kind": resource.kind });
            let patch = json!({
                "parameters": [parameter],
                "responses": {},
                "x-kubernetes-action": "patch",
                "x-kubernetes-group-version-kind": kind,
            });
            (path, json!({ "patch": patch }))
        });
        Some(Discovery::Json(json!({
            "openapi": "3.0.0",
            "info": { "title": "Sluice simulation", "version": "v1.36.0" },
            "paths": paths.collect::<serde_json::Map<String, Value>>(),
        })))
    }

    fn resource_list(&self, group: &str, version: &str) -> Option<Discovery> {
        let served = |r: &&Resource| r.group == group && r.versions.iter().any(|v| v == version);
        let all: Vec<&Resource> = self.resources.values().filter(served).collect();
        let group_version = all.first()?.api_version(version);
        let resources: Vec<Value> = all.iter().flat_map(|resource| entries(resource)).collect();
        Some(Discovery::Json(json!({
            "kind": "APIResourceList",
            "apiVersion": "v1",
            "groupVersion": group_version,
            "resources": resources,
        })))
    }
}

fn group(name: &str, versions: &[&str]) -> Value {
    let unique: BTreeSet<&&str> = versions.iter().collect();
    debug_assert_eq!(unique.len(), versions.len());
    let all: Vec<Value> = versions
        .iter()
        .map(|version| json!({ "groupVersion": format!("{name}/{version}"), "version": version }))
        .collect();
    json!({ "name": name, "preferredVersion": all.first(), "versions": all })
}

fn entries(resource: &Resource) -> Vec<Value> {
    let base = |suffix: &str, verbs: &[&str]| {
        json!({
            "name": format!("{}{suffix}", resource.plural),
            "singularName": if suffix.is_empty() { resource.singular.as_str() } else { "" },
            "namespaced": resource.namespaced,
            "kind": resource.kind,
            "verbs": verbs,
        })
    };
    let all = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
    let mut main = base("", &all);
    main["shortNames"] = json!(resource.short_names);
    main["categories"] = json!(resource.categories);
    let mut entries = vec![main];
    if resource.status {
        entries.push(base("/status", &["get", "patch", "update"]));
    }
    if resource.scale {
        let mut scale = base("/scale", &["get", "patch", "update"]);
        scale["group"] = json!("autoscaling");
        scale["version"] = json!("v1");
        scale["kind"] = json!("Scale");
        entries.push(scale);
    }
    entries
}
