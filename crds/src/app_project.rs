//! AppProject: which sources, destinations and kinds the applications of a project may use, and who may do what (Argo CD).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use crate::object::Record;

/// An AppProject as stores keep it.
pub type AppProjectRecord = Record<AppProjectSpec, AppProjectStatus>;

/// What the applications of a project may use. Lists of globs; an entry that begins with `!` denies.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AppProjectSpec {
    /// What the project is for; at most 255 characters.
    pub description: Option<String>,
    /// Repositories that may be used. `*` is any; `!…` denies; empty is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub source_repos: Vec<String>,
    /// Clusters and namespaces that may be deployed to. Empty is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub destinations: Vec<ProjectDestination>,
    /// Namespaces besides the control namespace in which the project's Applications may live: globs or `/regex/`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub source_namespaces: Vec<String>,
    /// Cluster-scoped kinds that may be used. Absent or empty is none.
    pub cluster_resource_whitelist: Option<Vec<ClusterResource>>,
    /// Cluster-scoped kinds that may not be used; wins over the whitelist.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cluster_resource_blacklist: Vec<ClusterResource>,
    /// Namespaced kinds that may be used. Absent is all, empty is none.
    pub namespace_resource_whitelist: Option<Vec<GroupKind>>,
    /// Namespaced kinds that may not be used; wins over the whitelist.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub namespace_resource_blacklist: Vec<GroupKind>,
    /// Who may do what.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<ProjectRole>,
    /// Present: objects that belong to no application are watched.
    pub orphaned_resources: Option<OrphanedResources>,
    /// When syncs are allowed or denied.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sync_windows: Vec<SyncWindow>,
    /// GPG keys that commits must be signed with. Obsolete: use `sourceIntegrity`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub signature_keys: Vec<SignatureKey>,
    /// What must be signed by whom.
    pub source_integrity: Option<SourceIntegrity>,
    /// Whether only clusters that are registered for this project may be deployed to. Default false.
    pub permit_only_project_scoped_clusters: Option<bool>,
    /// Service accounts that syncs act as, by destination.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub destination_service_accounts: Vec<DestinationServiceAccount>,
}

/// A cluster, by server or name, and a namespace; each a glob.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ProjectDestination {
    /// URL of the API server, as a glob.
    pub server: Option<String>,
    /// Name of the cluster, as a glob.
    pub name: Option<String>,
    /// Namespace, as a glob.
    pub namespace: Option<String>,
}

/// A cluster-scoped kind, and optionally names.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterResource {
    /// API group, as a glob; empty is the core group.
    #[schemars(extend("x-required" = true))]
    pub group: String,
    /// Kind, as a glob.
    #[schemars(extend("x-required" = true))]
    pub kind: String,
    /// Name, as a glob; absent is any.
    pub name: Option<String>,
}

/// A kind.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GroupKind {
    /// API group, as a glob; empty is the core group.
    #[schemars(extend("x-required" = true))]
    pub group: String,
    /// Kind, as a glob.
    #[schemars(extend("x-required" = true))]
    pub kind: String,
}

/// A role of a project.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ProjectRole {
    /// Name.
    #[schemars(extend("x-required" = true))]
    pub name: String,
    /// What the role is for.
    pub description: Option<String>,
    /// Policy lines: `p, proj:<project>:<role>, <resource>, <action>, <project>/<object>, allow|deny`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<String>,
    /// Groups of the identity provider that have the role.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Tokens issued for the role.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub jwt_tokens: Vec<JwtToken>,
}

/// A token issued for a role; the token itself is not kept.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct JwtToken {
    /// When it was issued, in seconds since 1970.
    #[schemars(extend("x-required" = true))]
    pub iat: i64,
    /// When it expires, in seconds since 1970; absent: never.
    pub exp: Option<i64>,
    /// Id.
    pub id: Option<String>,
}

/// How objects that belong to no application are treated.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct OrphanedResources {
    /// Whether they are reported as a condition. Default true.
    pub warn: Option<bool>,
    /// Objects that are left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<OrphanedResourceKey>,
}

/// Objects that are not reported as orphans; each field a glob.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct OrphanedResourceKey {
    /// API group.
    pub group: Option<String>,
    /// Kind.
    pub kind: Option<String>,
    /// Name.
    pub name: Option<String>,
}

/// When syncs are allowed or denied.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SyncWindow {
    /// `allow` or `deny`.
    pub kind: String,
    /// When it opens: cron, 5 fields.
    pub schedule: String,
    /// How long it stays open, such as `8h`.
    pub duration: String,
    /// IANA time zone. Default UTC.
    pub time_zone: Option<String>,
    /// Applications it is about: globs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub applications: Vec<String>,
    /// Namespaces it is about: globs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// Clusters it is about, by server or name: globs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub clusters: Vec<String>,
    /// Whether all of the three lists must match. Default false: any.
    #[serde(rename = "andOperator")]
    pub use_and_operator: Option<bool>,
    /// Whether syncs that people start are exempt. Default false.
    pub manual_sync: Option<bool>,
    /// Whether a sync that began while it was allowed may go on. Default false.
    pub sync_overrun: Option<bool>,
    /// What the window is for; at most 255 characters.
    pub description: Option<String>,
}

/// A GPG key.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SignatureKey {
    /// Id of the key.
    #[serde(rename = "keyID")]
    #[schemars(extend("x-required" = true))]
    pub key_id: String,
}

/// What must be signed by whom.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SourceIntegrity {
    /// Rules for Git sources.
    pub git: Option<GitIntegrity>,
}

/// Rules for Git sources; the first that matches a repository decides.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GitIntegrity {
    /// Rules.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<GitIntegrityPolicy>,
}

/// A rule for Git sources.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GitIntegrityPolicy {
    /// Repositories that the rule is about.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub repos: Vec<GitIntegrityRepo>,
    /// What their signatures must be.
    pub gpg: Option<GpgPolicy>,
}

/// A repository that a rule is about.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GitIntegrityRepo {
    /// URL, as a glob; `!…` leaves out.
    pub url: String,
}

/// What signatures must be.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GpgPolicy {
    /// `none`, `head` (the synced commit) or `strict` (all commits since the last sync).
    pub mode: String,
    /// Ids of the keys that count.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
}

/// The service account that syncs to a destination act as.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DestinationServiceAccount {
    /// URL of the API server, as a glob.
    #[schemars(extend("x-required" = true))]
    pub server: String,
    /// Namespace, as a glob.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// `name`, or `namespace:name`.
    #[schemars(extend("x-required" = true))]
    pub default_service_account: String,
}

/// Tokens issued for the roles.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AppProjectStatus {
    /// Tokens by role.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub jwt_tokens_by_role: BTreeMap<String, JwtTokens>,
}

/// Tokens of one role.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct JwtTokens {
    /// Tokens.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<JwtToken>,
}
