use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_with::skip_serializing_none;

use crate::intstr::IntOrString;

/// Where manifests come from: a Git repository, a Helm chart or an OCI artifact.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ApplicationSource {
    /// URL of the Git or Helm repository; `oci://…` for an OCI artifact. Required.
    #[serde(rename = "repoURL")]
    pub repo_url: String,
    /// Folder in the repository, relative, inside it. Git sources need `path` or `ref`.
    pub path: Option<String>,
    /// Branch, tag or commit; for charts a version or a range. Default `HEAD`.
    pub target_revision: Option<String>,
    /// Name of the chart: makes `repoURL` a Helm repository.
    pub chart: Option<String>,
    /// Name by which value files of other sources refer to this one, as `$name/file`.
    #[serde(rename = "ref")]
    pub reference: Option<String>,
    /// Name of this source, for people.
    pub name: Option<String>,
    /// Only tags that begin with this are considered for a version range.
    pub tag_prefix: Option<String>,
    /// Helm options.
    pub helm: Option<HelmSource>,
    /// Kustomize options.
    pub kustomize: Option<KustomizeSource>,
    /// Options for a folder of plain YAML, JSON or Jsonnet.
    pub directory: Option<DirectorySource>,
    /// Configuration of a config management plugin.
    pub plugin: Option<PluginSource>,
}

impl ApplicationSource {
    /// Returns the wanted revision, with Argo's default.
    pub fn revision(&self) -> &str {
        match self.target_revision.as_deref() {
            None | Some("") => "HEAD",
            Some(revision) => revision,
        }
    }

    /// Returns whether the source is a Helm chart from a Helm repository.
    pub fn is_chart(&self) -> bool {
        self.chart.as_deref().is_some_and(|chart| !chart.is_empty())
    }

    /// Returns whether the source is an OCI artifact.
    pub fn is_oci(&self) -> bool {
        self.repo_url.starts_with("oci://")
    }
}

/// Helm options. The chart is rendered as by `helm template`; no release is stored.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HelmSource {
    /// Value files, relative to the chart, or `$ref/…` of another source; later ones win.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub value_files: Vec<String>,
    /// Values as a block of YAML; wins over `valueFiles`.
    pub values: Option<String>,
    /// Values as an object; replaces `values`.
    #[schemars(schema_with = "crate::schema::any_object")]
    pub values_object: Option<Value>,
    /// Single values, as `--set`; win over all others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<HelmParameter>,
    /// Single values read from files, as `--set-file`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub file_parameters: Vec<HelmFileParameter>,
    /// Release name. Default: the application's name.
    pub release_name: Option<String>,
    /// Release namespace. Default: the destination's namespace.
    pub namespace: Option<String>,
    /// Helm version; only `v3` is accepted.
    pub version: Option<String>,
    /// Whether credentials are sent to all hosts of the chart's dependencies. Default false.
    pub pass_credentials: Option<bool>,
    /// Whether a missing value file is skipped. Default false.
    pub ignore_missing_value_files: Option<bool>,
    /// Whether CRDs of the chart are left out. Default false.
    pub skip_crds: Option<bool>,
    /// Whether test hooks of the chart are left out. Default false.
    pub skip_tests: Option<bool>,
    /// Whether `values.schema.json` is not checked. Default false.
    pub skip_schema_validation: Option<bool>,
    /// Kubernetes version that templates see. Default: the destination's.
    pub kube_version: Option<String>,
    /// API versions that templates see. Default: the destination's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub api_versions: Vec<String>,
}

/// A single Helm value.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HelmParameter {
    /// Path of the value, such as `image.tag`.
    pub name: String,
    /// The value.
    pub value: Option<String>,
    /// Whether it stays a string even if it looks like a number or a boolean. Default false.
    pub force_string: Option<bool>,
}

/// A single Helm value that is read from a file.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HelmFileParameter {
    /// Path of the value.
    pub name: String,
    /// Path of the file, relative to the chart.
    pub path: String,
}

/// Kustomize options: what is edited into the kustomization before it is built.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct KustomizeSource {
    /// Prefix of all names.
    pub name_prefix: Option<String>,
    /// Suffix of all names.
    pub name_suffix: Option<String>,
    /// Namespace of all objects.
    pub namespace: Option<String>,
    /// Image overrides: `[name=]new[:tag|@digest]`, or objects with `name`, `newName`, `newTag`, `digest`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<KustomizeImage>,
    /// Replica overrides.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub replicas: Vec<KustomizeReplica>,
    /// Labels for all objects.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub common_labels: BTreeMap<String, String>,
    /// Annotations for all objects.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub common_annotations: BTreeMap<String, String>,
    /// Whether build variables are replaced in the values of `commonAnnotations`. Default false.
    pub common_annotations_envsubst: Option<bool>,
    /// Whether labels that exist are overwritten. Default false.
    pub force_common_labels: Option<bool>,
    /// Whether annotations that exist are overwritten. Default false.
    pub force_common_annotations: Option<bool>,
    /// Whether `commonLabels` leaves selectors alone. Default false.
    pub label_without_selector: Option<bool>,
    /// Whether `commonLabels` reaches pod templates if selectors are left alone. Default false.
    pub label_include_templates: Option<bool>,
    /// Patches.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub patches: Vec<KustomizePatch>,
    /// Components, relative to the kustomization.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<String>,
    /// Whether a missing component is skipped. Default false.
    pub ignore_missing_components: Option<bool>,
    /// Name of a registered kustomize binary. Default: the controller's.
    pub version: Option<String>,
    /// Kubernetes version that charts see.
    pub kube_version: Option<String>,
    /// API versions that charts see.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub api_versions: Vec<String>,
}

/// An image override, as Argo's string or as the object of a kustomization.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum KustomizeImage {
    /// `[name=]new[:tag|@digest]`.
    Text(String),
    /// The form of `kustomization.yaml` (Sluice).
    Parts(KustomizeImageParts),
    /// Neither, such as an object whose `newTag: 1.10` is a number: kept, so that one image does not make the whole Application
    /// unreadable, and reported by [`crate::validate`].
    Other(Value),
}

/// An image override in parts.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KustomizeImageParts {
    /// Image as the manifests name it.
    pub name: String,
    /// Image to use instead.
    pub new_name: Option<String>,
    /// Tag to use.
    pub new_tag: Option<String>,
    /// Digest to use; wins over `newTag`.
    pub digest: Option<String>,
}

/// Argo's string form: `name[=newName][:newTag|@digest]`.
impl std::fmt::Display for KustomizeImage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Parts(parts) => {
                f.write_str(&parts.name)?;
                if let Some(new_name) = &parts.new_name {
                    write!(f, "={new_name}")?;
                }
                match (&parts.digest, &parts.new_tag) {
                    (Some(digest), _) => write!(f, "@{digest}"),
                    (None, Some(tag)) => write!(f, ":{tag}"),
                    (None, None) => Ok(()),
                }
            }
            Self::Other(value) => write!(f, "{value}"),
        }
    }
}

/// A structural schema knows no "string or object", so the API server takes anything and [`crate::validate`] looks closer.
impl JsonSchema for KustomizeImage {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "KustomizeImage".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        crate::schema::any_value(generator)
    }
}

/// A replica override.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KustomizeReplica {
    /// Name of the workload.
    #[schemars(extend("x-required" = true))]
    pub name: String,
    /// Number of replicas.
    #[schemars(extend("x-required" = true))]
    pub count: IntOrString,
}

/// A kustomize patch.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct KustomizePatch {
    /// File that holds the patch.
    pub path: Option<String>,
    /// The patch itself, strategic merge or JSON 6902.
    pub patch: Option<String>,
    /// Which objects are patched.
    pub target: Option<KustomizeSelector>,
    /// Options of kustomize, such as `allowNameChange`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, bool>,
}

/// Which objects a kustomize patch applies to; absent fields match all.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct KustomizeSelector {
    /// API group.
    pub group: Option<String>,
    /// API version.
    pub version: Option<String>,
    /// Kind.
    pub kind: Option<String>,
    /// Name, as a regular expression.
    pub name: Option<String>,
    /// Namespace, as a regular expression.
    pub namespace: Option<String>,
    /// Label selector.
    pub label_selector: Option<String>,
    /// Annotation selector.
    pub annotation_selector: Option<String>,
}

/// Options for a folder of plain manifests.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DirectorySource {
    /// Whether sub-folders are read. Default false.
    pub recurse: Option<bool>,
    /// Glob of the files to read, such as `*.yaml` or `{a,b}.yaml`. Default: all.
    pub include: Option<String>,
    /// Glob of the files to leave out; wins over `include`.
    pub exclude: Option<String>,
    /// Whether files without a known extension are read, too. Default false: `.yaml`, `.yml`, `.json`, `.jsonnet`.
    pub disable_extension_filter: Option<bool>,
    /// Jsonnet options.
    pub jsonnet: Option<JsonnetSource>,
}

/// Jsonnet options.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct JsonnetSource {
    /// External variables.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ext_vars: Vec<JsonnetVar>,
    /// Top-level arguments.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tlas: Vec<JsonnetVar>,
    /// Library folders, relative to the repository.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub libs: Vec<String>,
}

/// A Jsonnet variable or argument.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct JsonnetVar {
    /// Name.
    #[schemars(extend("x-required" = true))]
    pub name: String,
    /// Value.
    #[schemars(extend("x-required" = true))]
    pub value: String,
    /// Whether the value is Jsonnet code. Default false: a string.
    pub code: Option<bool>,
}

/// Configuration of a config management plugin.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PluginSource {
    /// Name of the plugin; absent: the plugin that recognises the source.
    pub name: Option<String>,
    /// Environment variables for the plugin.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<EnvEntry>,
    /// Parameters for the plugin.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<PluginParameter>,
}

/// An environment variable.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvEntry {
    /// Name.
    #[schemars(extend("x-required" = true))]
    pub name: String,
    /// Value.
    #[schemars(extend("x-required" = true))]
    pub value: String,
}

/// A parameter of a plugin: one of string, map and list.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PluginParameter {
    /// Name.
    pub name: String,
    /// Value, if it is a string.
    pub string: Option<String>,
    /// Value, if it is a map.
    pub map: Option<BTreeMap<String, String>>,
    /// Value, if it is a list.
    pub array: Option<Vec<String>>,
}

/// Rendered-manifests pattern: what is rendered, and where the result is committed.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SourceHydrator {
    /// The source that is rendered.
    pub dry_source: DrySource,
    /// Where rendered manifests are synced from.
    pub sync_source: SyncSource,
    /// A different branch to write to, so that a pull request promotes it.
    pub hydrate_to: Option<HydrateTo>,
}

/// The source that is rendered.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DrySource {
    /// URL of the Git repository.
    #[serde(rename = "repoURL")]
    pub repo_url: String,
    /// Branch, tag or commit.
    pub target_revision: String,
    /// Folder in the repository.
    pub path: String,
    /// Helm options.
    pub helm: Option<HelmSource>,
    /// Kustomize options.
    pub kustomize: Option<KustomizeSource>,
    /// Options for a folder of plain manifests.
    pub directory: Option<DirectorySource>,
    /// Configuration of a config management plugin.
    pub plugin: Option<PluginSource>,
}

/// Where rendered manifests are synced from.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SyncSource {
    /// URL of the repository. Default: that of the dry source.
    #[serde(rename = "repoURL")]
    pub repo_url: Option<String>,
    /// Branch.
    pub target_branch: String,
    /// Folder in the repository.
    pub path: String,
}

/// The branch that rendered manifests are written to.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HydrateTo {
    /// Branch.
    pub target_branch: String,
}
