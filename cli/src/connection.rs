//! The cluster that the caller means, with the caller's rights.

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, ResourceExt as _};
use sluice_crds::object::{Kind, ObjectRef};
use sluice_crds::rollout::Rollout;

use crate::arguments::ConnectionArguments;
use crate::failure::Failure;

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
        // A second installation in one process (tests) keeps the first; both are the same provider.
        let config = Self::config(arguments).await?;
        let namespace =
            arguments.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config)
            .map_err(|e| Failure::new(format!("could not set up a connection: {e}")))?;
        Ok(Self {
            client,
            namespace,
            application_namespace: arguments.application_namespace.clone(),
        })
    }

    async fn config(arguments: &ConnectionArguments) -> Result<Config, Failure> {
        if let Some(server) = &arguments.server
            && arguments.kubeconfig.is_none()
            && arguments.context.is_none()
        {
            let uri = server.parse().map_err(|e| {
                Failure::new(format!("--server: `{server}` is no address: {e}"))
                    .hint("write it as `https://host:port`")
            })?;
            return Ok(Config::new(uri));
        }
        let options =
            KubeConfigOptions { context: arguments.context.clone(), cluster: None, user: None };
        let mut config = match &arguments.kubeconfig {
            Some(path) => {
                let kubeconfig = Kubeconfig::read_from(path)
                    .map_err(|e| Failure::new(format!("{}: {e}", path.display())))?;
                Config::from_custom_kubeconfig(kubeconfig, &options)
                    .await
                    .map_err(|e| Failure::new(format!("{}: {e}", path.display())))?
            }
            None if arguments.context.is_some() => Config::from_kubeconfig(&options)
                .await
                .map_err(|e| Failure::new(format!("kubeconfig: {e}")))?,
            None => Config::infer().await.map_err(|e| {
                Failure::new(format!("no cluster configured: {e}"))
                    .hint("set KUBECONFIG, or use --kubeconfig or --server")
            })?,
        };
        if let Some(server) = &arguments.server {
            config.cluster_url = server
                .parse()
                .map_err(|e| Failure::new(format!("--server: `{server}` is no address: {e}")))?;
        }
        Ok(config)
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
                let others =
                    api.list(&Default::default()).await.map(|l| l.items).unwrap_or_default();
                let names: Vec<String> = others.iter().map(|r| r.name_any()).collect();
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

/// Returns the name that differs in the fewest edits, if those are few.
pub(crate) fn nearest<'a>(wanted: &str, names: &'a [String]) -> Option<&'a str> {
    names
        .iter()
        .map(|name| (edits(wanted, name), name.as_str()))
        .filter(|(edits, name)| *edits <= name.chars().count().max(3) / 3)
        .min()
        .map(|(_, name)| name)
}

/// Levenshtein distance, one row at a time.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = (diagonal + usize::from(x != *y)).min(above + 1).min(row[j] + 1);
            diagonal = above;
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_typing_error_finds_the_name_that_was_meant() {
        let names = ["checkout".to_owned(), "cart".to_owned()];
        assert_eq!(nearest("chekout", &names), Some("checkout"));
        assert_eq!(nearest("payments", &names), None);
    }
}
