//! What an image name means, and the environment of a container.
//!
//! | image | what runs |
//! |---|---|
//! | contains `does-not-exist` or `nonexistent`, or ends in `-error` | nothing: the pull fails |
//! | any, with `command` | the command, as nobody, in the Pod's network namespace |
//! | `demo:<version>` | the bundled backend as that version |
//! | any other | the bundled backend, with the image's tag as version |
//!
//! The backend listens on the first `containerPort` (default 80) unless `PORT` says otherwise.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use k8s_openapi::api::core::v1::{ConfigMap, Container, EnvVarSource, Pod};
use kube::{Api, Client, ResourceExt as _};
use tokio::process::Command;

use crate::bed::network::PodNetwork;

/// What to do for a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Behaviour {
    PullFails,
    Backend,
    Command(Vec<String>),
}

pub(super) fn behaviour(container: &Container) -> Behaviour {
    let image = container.image.as_deref().unwrap_or_default();
    let command = container.command.clone().unwrap_or_default();
    if image.contains("does-not-exist")
        || image.contains("nonexistent")
        || image.ends_with("-error")
    {
        Behaviour::PullFails
    } else if command.is_empty() {
        Behaviour::Backend
    } else {
        let args = container.args.clone().unwrap_or_default();
        Behaviour::Command([command, args].concat())
    }
}

/// The image's tag, `latest` when it has none.
pub(super) fn version(image: &str) -> String {
    let name = image.rsplit('/').next().unwrap_or(image);
    name.split_once(':').map_or("latest", |(_, tag)| tag).to_owned()
}

pub(super) fn port(container: &Container) -> u16 {
    let first = container.ports.as_ref().and_then(|ports| ports.first());
    first.and_then(|port| u16::try_from(port.container_port).ok()).unwrap_or(80)
}

/// The process of a container, or why it cannot be started (the reason of `RunContainerError`).
pub(super) fn process(
    behaviour: &Behaviour,
    container: &Container,
    network: &PodNetwork,
    backend: &Path,
) -> Result<Command, String> {
    let mut command = match behaviour {
        Behaviour::PullFails => return Err("the image is not there".to_owned()),
        Behaviour::Backend => {
            let mut command = network.command(&backend.to_string_lossy());
            let image = container.image.as_deref().unwrap_or_default();
            command.env("VERSION", version(image)).env("PORT", port(container).to_string());
            command
        }
        Behaviour::Command(words) => {
            let (program, args) = words.split_first().ok_or("empty command")?;
            if find(program).is_none() {
                return Err(format!("exec: \"{program}\": executable file not found in $PATH"));
            }
            let mut command = Command::new("nsenter");
            command.arg(format!("--net=/run/netns/{}", network.name));
            command.args(["-S", "65534", "-G", "65534", "--", program]).args(args);
            command.current_dir("/");
            command
        }
    };
    command.process_group(0).kill_on_drop(true);
    Ok(command)
}

fn find(program: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return Some(PathBuf::from(program)).filter(|path| path.is_file());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// The variables of a container in order, or the message of a `CreateContainerConfigError`.
pub(super) async fn environment(
    client: &Client,
    pod: &Pod,
    container: &Container,
    network: &PodNetwork,
) -> Result<Vec<(String, String)>, String> {
    let namespace = pod.namespace().unwrap_or_default();
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
    let mut all = Vec::new();
    for source in container.env_from.iter().flatten() {
        let Some(reference) = &source.config_map_ref else {
            return Err("envFrom: only configMapRef is supported by the bed".to_owned());
        };
        let found = config_map(&maps, &reference.name).await?;
        match found {
            Some(data) => all.extend(data),
            None if reference.optional == Some(true) => {}
            None => return Err(format!("configmap \"{}\" not found", reference.name)),
        }
    }
    for variable in container.env.iter().flatten() {
        let value = match (&variable.value, &variable.value_from) {
            (Some(value), _) => Some(value.clone()),
            (None, Some(source)) => from_source(&maps, pod, source, network).await?,
            (None, None) => Some(String::new()),
        };
        all.extend(value.map(|value| (variable.name.clone(), value)));
    }
    Ok(all)
}

async fn from_source(
    maps: &Api<ConfigMap>,
    pod: &Pod,
    source: &EnvVarSource,
    network: &PodNetwork,
) -> Result<Option<String>, String> {
    if let Some(reference) = &source.config_map_key_ref {
        let data = config_map(maps, &reference.name).await?;
        let value = data.and_then(|mut data| data.remove(&reference.key));
        return match value {
            Some(value) => Ok(Some(value)),
            None if reference.optional == Some(true) => Ok(None),
            None => {
                Err(format!("couldn't find key {} in ConfigMap {}", reference.key, reference.name))
            }
        };
    }
    let Some(field) = &source.field_ref else {
        return Err("valueFrom: only configMapKeyRef and fieldRef are supported by the bed".into());
    };
    let node = || pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default();
    let keyed = |prefix: &str| {
        field.field_path.strip_prefix(prefix)?.strip_prefix("['")?.strip_suffix("']")
    };
    let value = match field.field_path.as_str() {
        "metadata.name" => pod.name_any(),
        "metadata.namespace" => pod.namespace().unwrap_or_default(),
        "metadata.uid" => pod.uid().unwrap_or_default(),
        "spec.nodeName" => node(),
        "status.podIP" => network.address.to_string(),
        _ => match (keyed("metadata.labels"), keyed("metadata.annotations")) {
            (Some(key), _) => pod.labels().get(key).cloned().unwrap_or_default(),
            (_, Some(key)) => pod.annotations().get(key).cloned().unwrap_or_default(),
            _ => return Err(format!("fieldRef `{}` is not supported", field.field_path)),
        },
    };
    Ok(Some(value))
}

async fn config_map(
    maps: &Api<ConfigMap>,
    name: &str,
) -> Result<Option<BTreeMap<String, String>>, String> {
    let found = maps.get_opt(name).await.map_err(|error| format!("configmap {name}: {error}"))?;
    Ok(found.map(|map| map.data.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_images_name_chooses_what_runs() {
        let check = |image: &str, command: &[&str], wanted: Behaviour| {
            let command: Vec<_> = command.iter().map(|word| (*word).to_owned()).collect();
            let container = Container {
                image: Some(image.to_owned()),
                command: Some(command),
                args: Some(vec!["last".to_owned()]),
                ..Container::default()
            };
            assert_eq!(behaviour(&container), wanted, "image `{image}`");
        };
        check("demo:v1", &[], Behaviour::Backend);
        check("example.org/shop/web:1.2", &[], Behaviour::Backend);
        check("does-not-exist:v1", &[], Behaviour::PullFails);
        check("example.org/nonexistent/web", &["sh"], Behaviour::PullFails);
        check("demo:v1-error", &[], Behaviour::PullFails);
        let words = vec!["sh".to_owned(), "last".to_owned()];
        check("demo:v1", &["sh"], Behaviour::Command(words));
    }

    #[test]
    fn a_version_is_the_images_tag() {
        assert_eq!(version("demo:v1"), "v1");
        assert_eq!(version("example.org:5000/demo"), "latest");
        assert_eq!(version("example.org:5000/demo:v2"), "v2");
    }
}
