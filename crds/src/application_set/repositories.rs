//! Generators that ask a hosting service: repositories of an organisation, open pull requests.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_with::skip_serializing_none;

/// Repositories of an organisation: exactly one service.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ScmProviderGenerator {
    /// GitHub.
    pub github: Option<ScmGithub>,
    /// GitLab.
    pub gitlab: Option<ScmGitlab>,
    /// Gitea.
    pub gitea: Option<ScmGitea>,
    /// Bitbucket Cloud.
    pub bitbucket: Option<ScmBitbucket>,
    /// Bitbucket Server.
    pub bitbucket_server: Option<ScmBitbucketServer>,
    /// Azure DevOps.
    pub azure_dev_ops: Option<ScmAzureDevOps>,
    /// AWS CodeCommit.
    pub aws_code_commit: Option<ScmAwsCodeCommit>,
    /// Only repositories that match one of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<ScmFilter>,
    /// `ssh` or `https`. Default: the service's.
    pub clone_protocol: Option<String>,
    /// Seconds until the source is asked again. Default 1800.
    pub requeue_after_seconds: Option<i64>,
    /// Further parameters, as `values.<key>`; may be templates.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, String>,
    /// Template of this generator alone, merged over `spec.template`.
    #[schemars(schema_with = "crate::schema::any_object")]
    pub template: Option<Value>,
}

/// GitHub organisation.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ScmGithub {
    /// Organisation.
    pub organization: String,
    /// URL of the API. Default: the public service's.
    pub api: Option<String>,
    /// Token.
    pub token_ref: Option<SecretRef>,
    /// Secret with the credentials of a GitHub App.
    pub app_secret_name: Option<String>,
    /// Whether every branch makes a parameter set. Default false: the default branch.
    pub all_branches: Option<bool>,
    /// Whether archived repositories are left out. Default false.
    pub exclude_archived_repos: Option<bool>,
}

/// GitLab group.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ScmGitlab {
    /// Group, by id or path.
    pub group: String,
    /// Whether sub-groups count. Default false.
    pub include_subgroups: Option<bool>,
    /// Whether shared projects count. Default true.
    pub include_shared_projects: Option<bool>,
    /// Topic that a project must have.
    pub topic: Option<String>,
    /// URL of the API. Default: the public service's.
    pub api: Option<String>,
    /// Token.
    pub token_ref: Option<SecretRef>,
    /// Whether any TLS certificate is accepted. Default false.
    pub insecure: Option<bool>,
    /// CA certificates.
    pub ca_ref: Option<ConfigMapKeyRef>,
    /// Whether every branch makes a parameter set. Default false: the default branch.
    pub all_branches: Option<bool>,
    /// Whether archived projects count. Default false.
    pub include_archived_repos: Option<bool>,
}

/// Gitea owner.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ScmGitea {
    /// Owner.
    pub owner: String,
    /// URL of the API. Default: the public service's.
    pub api: Option<String>,
    /// Token.
    pub token_ref: Option<SecretRef>,
    /// Whether any TLS certificate is accepted. Default false.
    pub insecure: Option<bool>,
    /// Whether every branch makes a parameter set. Default false: the default branch.
    pub all_branches: Option<bool>,
    /// Whether archived repositories are left out. Default false.
    pub exclude_archived_repos: Option<bool>,
}

/// Bitbucket Cloud owner.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ScmBitbucket {
    /// Owner.
    pub owner: String,
    /// User.
    pub user: String,
    /// App password.
    pub app_password_ref: Option<SecretRef>,
    /// Whether every branch makes a parameter set. Default false: the default branch.
    pub all_branches: Option<bool>,
}

/// Bitbucket Server project.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ScmBitbucketServer {
    /// Project key.
    pub project: String,
    /// URL of the API. Default: the public service's.
    pub api: Option<String>,
    /// User name and app password.
    pub basic_auth: Option<BasicAuthRef>,
    /// Token.
    pub bearer_token: Option<BearerToken>,
    /// Whether any TLS certificate is accepted. Default false.
    pub insecure: Option<bool>,
    /// CA certificates.
    pub ca_ref: Option<ConfigMapKeyRef>,
    /// Whether every branch makes a parameter set. Default false: the default branch.
    pub all_branches: Option<bool>,
}

/// Azure DevOps project.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ScmAzureDevOps {
    /// Organisation.
    pub organization: String,
    /// Project.
    pub team_project: String,
    /// URL of the API. Default: the public service's.
    pub api: Option<String>,
    /// Access token.
    pub access_token_ref: Option<SecretRef>,
    /// Whether every branch makes a parameter set. Default false: the default branch.
    pub all_branches: Option<bool>,
}

/// AWS CodeCommit.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ScmAwsCodeCommit {
    /// Tags that a repository must have.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tag_filters: Vec<TagFilter>,
    /// IAM role.
    pub role: Option<String>,
    /// Region.
    pub region: Option<String>,
    /// Whether every branch makes a parameter set. Default false: the default branch.
    pub all_branches: Option<bool>,
}

/// A tag.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TagFilter {
    /// Key.
    pub key: String,
    /// Value; absent is any.
    pub value: Option<String>,
}

/// Which repositories count: all fields must match.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ScmFilter {
    /// Regular expression over the name.
    pub repository_match: Option<String>,
    /// Paths that must exist.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paths_exist: Vec<String>,
    /// Paths that must not exist.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paths_do_not_exist: Vec<String>,
    /// Regular expression over labels.
    pub label_match: Option<String>,
    /// Regular expression over the branch.
    pub branch_match: Option<String>,
}

/// Open pull requests: exactly one service.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PullRequestGenerator {
    /// GitHub.
    pub github: Option<PullRequestGithub>,
    /// GitLab.
    pub gitlab: Option<PullRequestGitlab>,
    /// Gitea.
    pub gitea: Option<PullRequestGitea>,
    /// Bitbucket Cloud.
    pub bitbucket: Option<PullRequestBitbucket>,
    /// Bitbucket Server.
    pub bitbucket_server: Option<PullRequestBitbucketServer>,
    /// Azure DevOps.
    pub azuredevops: Option<PullRequestAzureDevOps>,
    /// Only pull requests that match one of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<PullRequestFilter>,
    /// Seconds until the source is asked again. Default 1800.
    pub requeue_after_seconds: Option<i64>,
    /// Whether a repository that does not exist counts as one without pull requests. Default false.
    pub continue_on_repo_not_found_error: Option<bool>,
    /// Further parameters, as `values.<key>`; may be templates.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, String>,
    /// Template of this generator alone, merged over `spec.template`.
    #[schemars(schema_with = "crate::schema::any_object")]
    pub template: Option<Value>,
}

/// GitHub repository.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PullRequestGithub {
    /// Owner.
    pub owner: String,
    /// Repository.
    pub repo: String,
    /// URL of the API. Default: the public service's.
    pub api: Option<String>,
    /// Token.
    pub token_ref: Option<SecretRef>,
    /// Secret with the credentials of a GitHub App.
    pub app_secret_name: Option<String>,
    /// Labels that a pull request must have.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
}

/// GitLab project.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PullRequestGitlab {
    /// Project, by id or path.
    pub project: String,
    /// URL of the API. Default: the public service's.
    pub api: Option<String>,
    /// Token.
    pub token_ref: Option<SecretRef>,
    /// Labels that a pull request must have.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// `opened`, `closed`, `merged` or `locked`. Default: any.
    pub pull_request_state: Option<String>,
    /// Whether any TLS certificate is accepted. Default false.
    pub insecure: Option<bool>,
    /// CA certificates.
    pub ca_ref: Option<ConfigMapKeyRef>,
}

/// Gitea repository.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PullRequestGitea {
    /// Owner.
    pub owner: String,
    /// Repository.
    pub repo: String,
    /// URL of the API. Default: the public service's.
    pub api: Option<String>,
    /// Token.
    pub token_ref: Option<SecretRef>,
    /// Whether any TLS certificate is accepted. Default false.
    pub insecure: Option<bool>,
    /// Labels that a pull request must have.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
}

/// Bitbucket Cloud repository.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PullRequestBitbucket {
    /// Owner.
    pub owner: String,
    /// Repository.
    pub repo: String,
    /// URL of the API. Default: the public service's.
    pub api: Option<String>,
    /// User name and app password.
    pub basic_auth: Option<BasicAuthRef>,
    /// Token.
    pub bearer_token: Option<BearerToken>,
}

/// Bitbucket Server repository.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PullRequestBitbucketServer {
    /// Project key.
    pub project: String,
    /// Repository.
    pub repo: String,
    /// URL of the API. Default: the public service's.
    pub api: Option<String>,
    /// User name and app password.
    pub basic_auth: Option<BasicAuthRef>,
    /// Token.
    pub bearer_token: Option<BearerToken>,
    /// Whether any TLS certificate is accepted. Default false.
    pub insecure: Option<bool>,
    /// CA certificates.
    pub ca_ref: Option<ConfigMapKeyRef>,
}

/// Azure DevOps repository.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PullRequestAzureDevOps {
    /// Organisation.
    pub organization: String,
    /// Project.
    pub project: String,
    /// Repository.
    pub repo: String,
    /// URL of the API. Default: the public service's.
    pub api: Option<String>,
    /// Token.
    pub token_ref: Option<SecretRef>,
    /// Labels that a pull request must have.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
}

/// Which pull requests count: all fields must match.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PullRequestFilter {
    /// Regular expression over the source branch.
    pub branch_match: Option<String>,
    /// Regular expression over the target branch.
    pub target_branch_match: Option<String>,
    /// Regular expression over the title.
    pub title_match: Option<String>,
}

/// A key of a Secret.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SecretRef {
    /// Name of the Secret.
    pub secret_name: String,
    /// Key in it.
    pub key: String,
}

/// A key of a ConfigMap.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ConfigMapKeyRef {
    /// Name of the ConfigMap.
    pub config_map_name: String,
    /// Key in it.
    pub key: String,
}

/// User name and password.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct BasicAuthRef {
    /// User name.
    pub username: String,
    /// Password.
    pub password_ref: Option<SecretRef>,
}

/// A token.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct BearerToken {
    /// Token.
    pub token_ref: Option<SecretRef>,
}
