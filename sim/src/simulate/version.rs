//! The two versions of an update: what runs before, and what is pushed.

use serde_json::{Value, json};

use super::SimulateError;

/// What runs before the update.
#[derive(Clone, PartialEq, Debug)]
pub enum Before {
    /// The version of the manifests with another image: `image`, or `container=image`.
    Image(String),
    /// Earlier manifests.
    Manifests(Vec<Value>),
    /// The version of the manifests, because another image is pushed.
    AsIs,
    /// The version of the manifests with an image that is made up.
    MadeUp,
}

/// Which of some manifests holds the Pod template of a Rollout.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub(super) index: usize,
    pointer: &'static str,
}

/// Finds the Rollout: the only one, or the one with the name.
pub(super) fn rollout(manifests: &[Value], name: Option<&str>) -> Result<usize, SimulateError> {
    let is_rollout = |object: &Value| {
        object["kind"] == "Rollout"
            && object["apiVersion"].as_str().is_some_and(|text| text.starts_with("argoproj.io/"))
    };
    let named = |object: &Value| name.is_none_or(|name| object["metadata"]["name"] == name);
    let found: Vec<usize> = (0..manifests.len())
        .filter(|index| is_rollout(&manifests[*index]) && named(&manifests[*index]))
        .collect();
    match found[..] {
        [] => Err(SimulateError::NoRollout),
        [only] => Ok(only),
        _ => {
            let names = found.iter().map(|index| text(&manifests[*index], "/metadata/name"));
            Err(SimulateError::Several(names.collect::<Vec<_>>().join(", ")))
        }
    }
}

/// Finds the Pod template of the Rollout, which may be in the workload that it refers to.
pub(super) fn template(manifests: &[Value], rollout: usize) -> Result<Place, SimulateError> {
    let reference = &manifests[rollout]["spec"]["workloadRef"];
    if !reference.is_object() {
        return Ok(Place { index: rollout, pointer: "/spec/template" });
    }
    let (kind, name) = (text(reference, "/kind"), text(reference, "/name"));
    let found = manifests
        .iter()
        .position(|object| object["kind"] == *kind && object["metadata"]["name"] == *name);
    let pointer = if kind == "PodTemplate" { "/template" } else { "/spec/template" };
    let index = found.ok_or_else(|| SimulateError::NoWorkload(format!("{kind} {name}")))?;
    Ok(Place { index, pointer })
}

impl Place {
    /// Returns the template.
    pub(super) fn of(self, manifests: &[Value]) -> Value {
        manifests[self.index].pointer(self.pointer).cloned().unwrap_or_default()
    }

    /// Sets an image: `image` for the first container, or `container=image`.
    pub(super) fn set_image(
        self,
        manifests: &mut [Value],
        wanted: &str,
    ) -> Result<(), SimulateError> {
        let (container, image) = match wanted.split_once('=') {
            Some((container, image)) => (Some(container), image),
            None => (None, wanted),
        };
        let absent = || SimulateError::NoContainer(container.unwrap_or("first").to_owned());
        let containers = manifests[self.index]
            .pointer_mut(self.pointer)
            .and_then(|template| template.pointer_mut("/spec/containers"))
            .and_then(Value::as_array_mut)
            .ok_or_else(absent)?;
        let found =
            containers.iter_mut().find(|entry| container.is_none_or(|name| entry["name"] == name));
        let entry = found.filter(|entry| entry.is_object()).ok_or_else(absent)?;
        entry["image"] = json!(image);
        Ok(())
    }

    /// Returns an image that stands for the version before: the same repository, with the tag `before`.
    pub(super) fn former_image(self, manifests: &[Value]) -> String {
        let template = self.of(manifests);
        let image = text(&template, "/spec/containers/0/image");
        let repository = image.split('@').next().unwrap_or_default();
        let tag = repository.rfind(':').filter(|colon| !repository[*colon..].contains('/'));
        format!("{}:before", &repository[..tag.unwrap_or(repository.len())])
    }
}

/// Says a version in words: the images of its containers that differ from the other version's, or all.
pub(super) fn words(template: &Value, other: &Value) -> String {
    let images = |template: &Value| -> Vec<String> {
        let containers = template.pointer("/spec/containers").and_then(Value::as_array);
        containers.into_iter().flatten().map(|c| text(c, "/image").to_owned()).collect()
    };
    let (mine, others) = (images(template), images(other));
    let differing: Vec<String> =
        mine.iter().filter(|image| !others.contains(image)).cloned().collect();
    if differing.is_empty() { mine.join(", ") } else { differing.join(", ") }
}

pub(super) fn text<'a>(object: &'a Value, path: &str) -> &'a str {
    object.pointer(path).and_then(Value::as_str).unwrap_or_default()
}
