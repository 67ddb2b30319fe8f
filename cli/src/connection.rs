//! The cluster that the caller means, with the caller's rights: kubectl's rules.

use std::path::Path;

use kube::config::{
    AuthInfo, Cluster, Context, KubeConfigOptions, Kubeconfig, NamedAuthInfo, NamedCluster,
    NamedContext,
};
use kube::{Api, Client, Config, ResourceExt as _};
use sluice_crds::object::{Kind, ObjectRef};
use sluice_crds::rollout::Rollout;

use crate::arguments::ConnectionArguments;
use crate::failure::Failure;
use crate::names::nearest;

/// Name under which flags and kubeconfig together are the context.
const OWN: &str = "sluice-flags";

/// A client and the namespaces that the caller means.
#[derive(Clone)]
pub struct Connection {
    /// Client.
    pub client: Client,
    /// Namespace of Rollouts.
    pub namespace: String,
    /// Namespace of Applications.
    pub application_namespace: String,
}

impl Connection {
    /// Connects as the arguments, the kubeconfig or the Pod's service account say.
    ///
    /// # Errors
    /// If there is no usable configuration.
    pub async fn open(arguments: &ConnectionArguments) -> Result<Self, Failure> {
        let mut config = match kubeconfig(arguments)? {
            Some(kubeconfig) => with_flags(kubeconfig, arguments).await?,
            None if arguments.server.is_some() => {
                with_flags(Kubeconfig::default(), arguments).await?
            }
            None => Config::incluster().map_err(|e| {
                Failure::new(format!("no cluster configured: no kubeconfig, and no Pod: {e}"))
                    .hint("set KUBECONFIG, or use --kubeconfig or --server")
            })?,
        };
        let timeout = sluice_crds::duration::parse_or_seconds(&arguments.request_timeout)
            .ok()
            .and_then(|timeout| timeout.to_std().ok())
            .ok_or_else(|| {
                let text = &arguments.request_timeout;
                Failure::new(format!("--request-timeout: `{text}` is no duration"))
                    .hint("such as 10s; 0 means for ever")
            })?;
        config.read_timeout = (!timeout.is_zero()).then_some(timeout);
        let namespace = set(arguments.namespace.as_ref()).cloned();
        let namespace = namespace.unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config).map_err(|e| {
            Failure::new(format!("could not set up a connection: {}", crate::failure::chain(&e)))
        })?;
        let application_namespace = arguments.application_namespace.clone();
        Ok(Self { client, namespace, application_namespace })
    }

    /// Returns the API of a namespaced kind in the caller's namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Returns the address of a Rollout in the caller's namespace.
    pub fn rollout(&self, name: &str) -> ObjectRef {
        ObjectRef::namespaced(Kind::ROLLOUT, self.namespace.clone(), name)
    }

    /// Reads a Rollout; if there is none of that name, says which there are.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn get_rollout(&self, name: &str) -> Result<Rollout, Failure> {
        let api = self.api::<Rollout>();
        match api.get(name).await {
            Ok(rollout) => Ok(rollout),
            Err(error) => {
                let failure = Failure::of(&self.rollout(name), "get", &error);
                let missing = matches!(&error, kube::Error::Api(status) if status.code == 404);
                if !missing {
                    return Err(failure);
                }
                let Ok(others) = api.list(&Default::default()).await else {
                    // Without the kind there is no list either.
                    return Err(
                        failure.hint("are the CRDs of Rollouts installed? see `kubectl get crd`")
                    );
                };
                let names: Vec<String> = others.items.iter().map(|r| r.name_any()).collect();
                Err(match nearest(name, &names) {
                    Some(near) => {
                        failure.hint(format!("there is `{near}` in namespace {}", self.namespace))
                    }
                    None => failure.hint(format!(
                        "namespace {} has {} Rollouts; see `kubectl sluice list rollouts -A`",
                        self.namespace,
                        names.len()
                    )),
                })
            }
        }
    }
}

/// An empty text is as good as none.
fn set(text: Option<&String>) -> Option<&String> {
    text.filter(|text| !text.is_empty())
}

/// Reads `--kubeconfig`, else the files of KUBECONFIG, else `~/.kube/config`; files that are not there count only if they were
/// named by the flag.
fn kubeconfig(arguments: &ConnectionArguments) -> Result<Option<Kubeconfig>, Failure> {
    let read = |path: &Path| {
        Kubeconfig::read_from(path)
            .map_err(|e| Failure::new(format!("{}: {}", path.display(), crate::failure::chain(&e))))
    };
    if let Some(path) = arguments.kubeconfig.as_ref().filter(|path| !path.as_os_str().is_empty()) {
        return read(path).map(Some);
    }
    let named = std::env::var_os("KUBECONFIG").unwrap_or_default();
    let mut paths: Vec<_> =
        std::env::split_paths(&named).filter(|path| !path.as_os_str().is_empty()).collect();
    if paths.is_empty() {
        paths.extend(std::env::home_dir().map(|home| home.join(".kube/config")));
    }
    let mut merged: Option<Kubeconfig> = None;
    for path in paths.iter().filter(|path| path.exists()) {
        let next = read(path)?;
        merged = Some(match merged {
            None => next,
            Some(before) => {
                before.merge(next).map_err(|e| Failure::new(format!("{}: {e}", path.display())))?
            }
        });
    }
    Ok(merged)
}

/// Returns the configuration of the chosen context with what flags say instead.
async fn with_flags(
    mut kubeconfig: Kubeconfig,
    flags: &ConnectionArguments,
) -> Result<Config, Failure> {
    let chosen = set(flags.context.as_ref()).or(set(kubeconfig.current_context.as_ref())).cloned();
    let context = kubeconfig.contexts.iter().find(|c| Some(&c.name) == chosen.as_ref());
    let context = context.and_then(|c| c.context.clone());
    if let (Some(name), None) = (set(flags.context.as_ref()), &context) {
        let names: Vec<String> = kubeconfig.contexts.iter().map(|c| c.name.clone()).collect();
        return Err(Failure::new(format!("--context: `{name}` is not in the kubeconfig"))
            .hint(format!("it has: {}", names.join(", "))));
    }
    let context = context.unwrap_or_default();
    let cluster_name = set(flags.cluster.as_ref()).unwrap_or(&context.cluster);
    let found = kubeconfig.clusters.iter().find(|c| c.name == *cluster_name);
    let mut cluster = found.and_then(|c| c.cluster.clone()).unwrap_or_default();
    override_cluster(&mut cluster, flags);
    if cluster.server.is_none() {
        return Err(Failure::new("the kubeconfig names no API server")
            .hint("choose a context with --context, or name the server with --server"));
    }
    let user_name = set(flags.user.as_ref()).or(context.user.as_ref());
    let found = kubeconfig.auth_infos.iter().find(|u| Some(&u.name) == user_name);
    let mut user = found.and_then(|u| u.auth_info.clone()).unwrap_or_default();
    override_user(&mut user, flags);
    let server = cluster.server.clone().unwrap_or_default();
    kubeconfig.clusters.push(NamedCluster {
        name: OWN.into(),
        cluster: Some(cluster),
        ..NamedCluster::default()
    });
    kubeconfig.auth_infos.push(NamedAuthInfo {
        name: OWN.into(),
        auth_info: Some(user),
        ..NamedAuthInfo::default()
    });
    let context = Context { cluster: OWN.into(), user: Some(OWN.into()), ..context };
    kubeconfig.contexts.push(NamedContext {
        name: OWN.into(),
        context: Some(context),
        ..NamedContext::default()
    });
    let options = KubeConfigOptions { context: Some(OWN.into()), cluster: None, user: None };
    Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|e| {
        Failure::new(format!("cannot connect to `{server}`: {}", crate::failure::chain(&e)))
            .hint("write the address as `https://host:port`; see --server, --context, --kubeconfig")
    })
}

fn override_cluster(cluster: &mut Cluster, flags: &ConnectionArguments) {
    if let Some(server) = set(flags.server.as_ref()) {
        // As kubectl: without a scheme it is plain HTTP.
        let is_whole = server.contains("://");
        cluster.server = Some(if is_whole { server.clone() } else { format!("http://{server}") });
    }
    if let Some(path) = set(flags.certificate_authority.as_ref()) {
        cluster.certificate_authority = Some(path.clone());
        cluster.certificate_authority_data = None;
    }
    if let Some(name) = set(flags.tls_server_name.as_ref()) {
        cluster.tls_server_name = Some(name.clone());
    }
    if flags.insecure_skip_tls_verify {
        cluster.insecure_skip_tls_verify = Some(true);
    }
}

fn override_user(user: &mut AuthInfo, flags: &ConnectionArguments) {
    if let Some(token) = set(flags.token.as_ref()) {
        user.token = Some(token.clone().into());
        user.token_file = None;
    }
    if let Some(path) = set(flags.client_certificate.as_ref()) {
        user.client_certificate = Some(path.clone());
        user.client_certificate_data = None;
    }
    if let Some(path) = set(flags.client_key.as_ref()) {
        user.client_key = Some(path.clone());
        user.client_key_data = None;
    }
    if let Some(name) = set(flags.act_as.as_ref()) {
        user.impersonate = Some(name.clone());
    }
    if let Some(uid) = set(flags.act_as_uid.as_ref()) {
        user.impersonate_uid = Some(uid.clone());
    }
    if !flags.act_as_groups.is_empty() {
        user.impersonate_groups = Some(flags.act_as_groups.clone());
    }
}
