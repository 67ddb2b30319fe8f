//! Where the parameters of an ApplicationSet come from.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_with::skip_serializing_none;

use super::{PullRequestGenerator, ScmProviderGenerator};
use crate::rollout::LabelSelector;

/// A source of parameters: exactly one of its fields, and `selector`.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Generator {
    /// Elements that are written down.
    pub list: Option<ListGenerator>,
    /// Registered clusters.
    pub clusters: Option<ClusterGenerator>,
    /// Folders or files of a Git repository.
    pub git: Option<GitGenerator>,
    /// Repositories of an organisation.
    pub scm_provider: Option<ScmProviderGenerator>,
    /// Open pull requests.
    pub pull_request: Option<PullRequestGenerator>,
    /// Clusters that another object decides on.
    pub cluster_decision_resource: Option<DuckTypeGenerator>,
    /// What a plugin answers.
    pub plugin: Option<PluginGenerator>,
    /// Every combination of two generators.
    pub matrix: Option<MatrixGenerator>,
    /// The parameters of the first generator, overridden by the others.
    pub merge: Option<MergeGenerator>,
    /// Only parameter sets that match.
    pub selector: Option<LabelSelector>,
}

/// A source of parameters inside `matrix` or `merge`.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NestedGenerator {
    /// Elements that are written down.
    pub list: Option<ListGenerator>,
    /// Registered clusters.
    pub clusters: Option<ClusterGenerator>,
    /// Folders or files of a Git repository.
    pub git: Option<GitGenerator>,
    /// Repositories of an organisation.
    pub scm_provider: Option<ScmProviderGenerator>,
    /// Open pull requests.
    pub pull_request: Option<PullRequestGenerator>,
    /// Clusters that another object decides on.
    pub cluster_decision_resource: Option<DuckTypeGenerator>,
    /// What a plugin answers.
    pub plugin: Option<PluginGenerator>,
    /// Every combination of two generators, kept as written.
    #[schemars(schema_with = "crate::schema::any_object")]
    pub matrix: Option<Value>,
    /// The first generator, overridden by the others, kept as written.
    #[schemars(schema_with = "crate::schema::any_object")]
    pub merge: Option<Value>,
    /// Only parameter sets that match.
    pub selector: Option<LabelSelector>,
}

/// Elements that are written down.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ListGenerator {
    /// Elements: objects of strings, and with Go templates of anything.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::any_objects")]
    pub elements: Vec<Value>,
    /// Elements as a block of YAML; may be a template.
    pub elements_yaml: Option<String>,
    /// Template of this generator alone, merged over `spec.template`.
    #[schemars(schema_with = "crate::schema::any_object")]
    pub template: Option<Value>,
}

/// Registered clusters.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterGenerator {
    /// Labels of the cluster Secrets. Absent: all, with the controller's own cluster.
    pub selector: Option<LabelSelector>,
    /// Further parameters, as `values.<key>`; may be templates.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, String>,
    /// Whether all clusters make one parameter set, under `clusters`. Default false.
    pub flat_list: Option<bool>,
    /// Template of this generator alone, merged over `spec.template`.
    #[schemars(schema_with = "crate::schema::any_object")]
    pub template: Option<Value>,
}

/// Folders or files of a Git repository.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GitGenerator {
    /// URL of the repository.
    #[serde(rename = "repoURL")]
    pub repo_url: String,
    /// Branch, tag or commit. Default `HEAD` (Sluice; Argo requires it).
    pub revision: Option<String>,
    /// Folders; each makes a parameter set.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub directories: Vec<GitDirectory>,
    /// Files of YAML or JSON; each element makes a parameter set.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<GitFile>,
    /// Seconds until the source is asked again. Default 180.
    pub requeue_after_seconds: Option<i64>,
    /// Prefix of the `path` parameters.
    pub path_param_prefix: Option<String>,
    /// Further parameters, as `values.<key>`; may be templates.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, String>,
    /// Template of this generator alone, merged over `spec.template`.
    #[schemars(schema_with = "crate::schema::any_object")]
    pub template: Option<Value>,
}

/// A folder pattern.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GitDirectory {
    /// Glob; `*` does not cross `/`.
    pub path: String,
    /// Whether matches are left out. Default false.
    pub exclude: Option<bool>,
}

/// A file pattern.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GitFile {
    /// Glob; `**` crosses `/`.
    pub path: String,
    /// Whether matches are left out. Default false.
    pub exclude: Option<bool>,
}

/// Clusters that another object decides on.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DuckTypeGenerator {
    /// ConfigMap that says which object, and where in its status the clusters are.
    pub config_map_ref: String,
    /// Name of the object.
    pub name: Option<String>,
    /// Labels of the object.
    pub label_selector: Option<LabelSelector>,
    /// Seconds until the source is asked again. Default 180.
    pub requeue_after_seconds: Option<i64>,
    /// Further parameters, as `values.<key>`; may be templates.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, String>,
    /// Template of this generator alone, merged over `spec.template`.
    #[schemars(schema_with = "crate::schema::any_object")]
    pub template: Option<Value>,
}

/// What a plugin answers.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PluginGenerator {
    /// ConfigMap with the plugin's address and token.
    pub config_map_ref: PluginConfigMapRef,
    /// What the plugin is asked.
    pub input: Option<PluginInput>,
    /// Seconds until the source is asked again. Default 1800.
    pub requeue_after_seconds: Option<i64>,
    /// Further parameters, as `values.<key>`; may be templates.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, String>,
    /// Template of this generator alone, merged over `spec.template`.
    #[schemars(schema_with = "crate::schema::any_object")]
    pub template: Option<Value>,
}

/// ConfigMap with the plugin's address and token.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PluginConfigMapRef {
    /// Name.
    pub name: String,
}

/// What the plugin is asked.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PluginInput {
    /// Parameters of any shape.
    #[schemars(schema_with = "crate::schema::any_object")]
    pub parameters: Option<Value>,
}

/// Every combination of two generators.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MatrixGenerator {
    /// The two generators; the second may use the parameters of the first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub generators: Vec<NestedGenerator>,
    /// Template of this generator alone, merged over `spec.template`.
    #[schemars(schema_with = "crate::schema::any_object")]
    pub template: Option<Value>,
}

/// The parameters of the first generator, overridden by the others.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MergeGenerator {
    /// Two or more generators.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub generators: Vec<NestedGenerator>,
    /// Parameters by which sets are matched.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub merge_keys: Vec<String>,
    /// Template of this generator alone, merged over `spec.template`.
    #[schemars(schema_with = "crate::schema::any_object")]
    pub template: Option<Value>,
}
