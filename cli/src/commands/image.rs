//! `set image NAME CONTAINER=IMAGE…`.

use std::process::ExitCode;

use kube::api::PostParams;
use serde_json::{Value, json};
use sluice_crds::rollout::Rollout;
use sluice_engine::rollout::template_hash::template_hash;

use crate::arguments::Dialect;
use crate::commands::workload::Workload;
use crate::connection::Connection;
use crate::failure::Failure;
use crate::git;

/// How often a write that met another writer is tried again.
const ATTEMPTS: usize = 5;

pub(crate) async fn run(
    connection: &Connection,
    name: &str,
    images: &[String],
    dialect: Dialect,
) -> Result<ExitCode, Failure> {
    let images: Vec<(&str, &str)> =
        images.iter().map(|text| parse(text)).collect::<Result<_, _>>()?;
    let api = connection.api::<Rollout>();
    for _ in 0..ATTEMPTS {
        let mut rollout = connection.get_rollout(name).await?;
        let mut workload = Workload::of(connection, &rollout).await?;
        let mut template = match &workload {
            Some(workload) => workload.template(),
            None => rollout.spec.template.take().unwrap_or_else(|| json!({})),
        };
        for (container, image) in &images {
            replace(&mut template, container, image, name)?;
        }
        let collisions = rollout.status.as_ref().and_then(|s| s.collision_count);
        let hash = template_hash(&template, collisions);
        let owner = git::owner(connection, &rollout).await;
        if let Some(owner) = &owner {
            owner.refuse_held(name, &hash)?;
            owner.refuse_overwritten(name)?;
        }
        let done = match &mut workload {
            Some(workload) => workload.replace(template).await?,
            None => {
                rollout.spec.template = Some(template);
                match api.replace(name, &PostParams::default(), &rollout).await {
                    Ok(_) => true,
                    Err(kube::Error::Api(status)) if status.code == 409 => false,
                    Err(error) => {
                        return Err(Failure::of(&connection.rollout(name), "update", &error));
                    }
                }
            }
        };
        if done {
            anstream::println!("rollout \"{name}\" image updated");
            if let (Some(owner), Dialect::Sluice) = (&owner, dialect) {
                owner.note();
            }
            return Ok(ExitCode::SUCCESS);
        }
    }
    Err(Failure::new(format!("rollout '{name}' changed {ATTEMPTS} times meanwhile"))
        .hint("try again"))
}

fn parse(text: &str) -> Result<(&str, &str), Failure> {
    text.split_once('=').filter(|(c, i)| !c.is_empty() && !i.is_empty()).ok_or_else(|| {
        Failure::new(format!("`{text}` is not CONTAINER=IMAGE"))
            .hint("`*=IMAGE` means every container")
    })
}

/// Sets the image of init, regular and ephemeral containers of that name.
fn replace(template: &mut Value, wanted: &str, image: &str, rollout: &str) -> Result<(), Failure> {
    let mut found = 0;
    let mut names = Vec::new();
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        let containers = template["spec"].get_mut(list).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            let name = container["name"].as_str().unwrap_or_default().to_owned();
            if wanted == "*" || name == wanted {
                container["image"] = json!(image);
                found += 1;
            }
            names.push(name);
        }
    }
    if found > 0 {
        return Ok(());
    }
    Err(Failure::new(format!("rollout '{rollout}' has no container `{wanted}`"))
        .hint(format!("it has: {}", names.join(", "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_set_on_the_named_container_only() {
        let mut template = json!({ "spec": {
            "initContainers": [{ "name": "setup", "image": "a" }],
            "containers": [{ "name": "app", "image": "a" }, { "name": "side", "image": "a" }],
        }});
        replace(&mut template, "app", "b", "web").unwrap();
        assert_eq!(template["spec"]["containers"][0]["image"], "b");
        assert_eq!(template["spec"]["containers"][1]["image"], "a");
        replace(&mut template, "*", "c", "web").unwrap();
        assert_eq!(template["spec"]["initContainers"][0]["image"], "c");
        assert!(replace(&mut template, "nobody", "d", "web").is_err());
    }
}
