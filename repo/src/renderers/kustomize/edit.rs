//! The Application's options, edited into the kustomization.

use serde_json::{Map, Value, json};
use sluice_crds::application::{KustomizeImage, KustomizeSource};

use crate::error::{RepoError, RepoErrorKind};
use crate::limits::Limits;
use crate::manifests::{object_of, parse_yaml};
use crate::tree::File;

/// Refuses what would otherwise silently do nothing.
pub(super) fn refuse_unsupported(options: &KustomizeSource) -> Result<(), RepoError> {
    let refused = [
        ("version", options.version.is_some()),
        ("commonAnnotationsEnvsubst", options.common_annotations_envsubst == Some(true)),
    ];
    match refused.iter().find(|(_, set)| *set) {
        Some((field, _)) => Err(RepoError::new(
            RepoErrorKind::Unsupported,
            format!("spec.source.kustomize.{field}"),
            "this option is not acted on yet",
        )
        .hint("remove it")),
        None => Ok(()),
    }
}

/// Returns the kustomization with the options; unchanged bytes if there are none.
pub(super) fn apply(
    options: &KustomizeSource,
    file: &File,
    limits: &Limits,
) -> Result<Vec<u8>, RepoError> {
    if *options == KustomizeSource::default() {
        return Ok(file.content.clone());
    }
    let object = object_of(&file.path);
    let mut documents = parse_yaml(&object, &String::from_utf8_lossy(&file.content), limits)?;
    let mut fields = match documents.pop() {
        None => Map::new(),
        Some(Value::Object(fields)) if documents.is_empty() => fields,
        _ => {
            return Err(RepoError::new(
                RepoErrorKind::RenderFailed,
                object,
                "a kustomization is one YAML object",
            ));
        }
    };
    for (field, value) in [
        ("namePrefix", &options.name_prefix),
        ("nameSuffix", &options.name_suffix),
        ("namespace", &options.namespace),
    ] {
        if let Some(value) = value.as_ref().filter(|value| !value.is_empty()) {
            fields.insert(field.to_owned(), json!(value));
        }
    }
    for (index, image) in options.images.iter().enumerate() {
        merge_by_name(&mut fields, "images", parts_of(image, index)?);
    }
    for (index, replica) in options.replicas.iter().enumerate() {
        let count = replica.count.as_int().filter(|count| *count >= 0).ok_or_else(|| {
            invalid(&format!("replicas[{index}].count"), "it is no whole number of replicas")
        })?;
        merge_by_name(&mut fields, "replicas", json!({"name": replica.name, "count": count}));
    }
    labels(options, &mut fields)?;
    annotations(options, &mut fields)?;
    for patch in &options.patches {
        push(&mut fields, "patches", serde_json::to_value(patch).unwrap_or_default());
    }
    for component in &options.components {
        push(&mut fields, "components", json!(component));
    }
    Ok(Value::Object(fields).to_string().into_bytes())
}

fn invalid(field: &str, observed: &str) -> RepoError {
    let object = format!("spec.source.kustomize.{field}");
    RepoError::new(RepoErrorKind::InvalidSource, object, observed)
}

fn push(fields: &mut Map<String, Value>, list: &str, item: Value) {
    match fields.get_mut(list) {
        Some(Value::Array(items)) => items.push(item),
        _ => {
            fields.insert(list.to_owned(), Value::Array(vec![item]));
        }
    }
}

/// An override replaces what the kustomization says about the same name.
fn merge_by_name(fields: &mut Map<String, Value>, list: &str, item: Value) {
    if let Some(Value::Array(items)) = fields.get_mut(list) {
        items.retain(|found| found.get("name") != item.get("name"));
    }
    push(fields, list, item);
}

/// Reads `[name=]new[:tag|@digest]`, or takes the object of a kustomization as it is.
fn parts_of(image: &KustomizeImage, index: usize) -> Result<Value, RepoError> {
    let field = format!("images[{index}]");
    let parsed = match image {
        KustomizeImage::Text(text) => image_of(text),
        KustomizeImage::Parts(parts) => serde_json::to_value(parts).unwrap_or_default(),
        KustomizeImage::Other(_) => {
            return Err(invalid(&field, "it is neither a text nor an object of texts")
                .hint("quote tags that look like numbers: `newTag: \"1.10\"`"));
        }
    };
    match parsed.get("name").and_then(Value::as_str) {
        Some(name) if !name.is_empty() => Ok(parsed),
        _ => Err(invalid(&field, "the name of the image is missing")),
    }
}

fn image_of(text: &str) -> Value {
    let (name, new) = match text.split_once('=') {
        Some((name, new)) => (Some(name), new),
        None => (None, text),
    };
    let (image, digest) = match new.split_once('@') {
        Some((image, digest)) => (image, Some(digest)),
        None => (new, None),
    };
    // A colon before the last slash belongs to the port of a registry.
    let after_slash = image.rfind('/').map_or(0, |slash| slash + 1);
    let (image, tag) = match image[after_slash..].split_once(':') {
        Some((last, tag)) => (&image[..after_slash + last.len()], Some(tag)),
        None => (image, None),
    };
    let mut parts = Map::new();
    parts.insert("name".into(), json!(name.unwrap_or(image)));
    if name.is_some() {
        parts.insert("newName".into(), json!(image));
    }
    if let Some(digest) = digest {
        parts.insert("digest".into(), json!(digest));
    } else if let Some(tag) = tag {
        parts.insert("newTag".into(), json!(tag));
    }
    Value::Object(parts)
}

fn labels(options: &KustomizeSource, fields: &mut Map<String, Value>) -> Result<(), RepoError> {
    if options.common_labels.is_empty() {
        return Ok(());
    }
    if options.label_without_selector.unwrap_or(false) {
        let item = json!({
            "pairs": options.common_labels,
            "includeSelectors": false,
            "includeTemplates": options.label_include_templates.unwrap_or(false),
        });
        push(fields, "labels", item);
        return Ok(());
    }
    let force = options.force_common_labels.unwrap_or(false);
    pairs(fields, "commonLabels", &options.common_labels, force, "forceCommonLabels")
}

fn annotations(
    options: &KustomizeSource,
    fields: &mut Map<String, Value>,
) -> Result<(), RepoError> {
    let force = options.force_common_annotations.unwrap_or(false);
    pairs(fields, "commonAnnotations", &options.common_annotations, force, "forceCommonAnnotations")
}

fn pairs(
    fields: &mut Map<String, Value>,
    field: &str,
    wanted: &std::collections::BTreeMap<String, String>,
    force: bool,
    option: &str,
) -> Result<(), RepoError> {
    if wanted.is_empty() {
        return Ok(());
    }
    let found = fields.entry(field).or_insert_with(|| json!({}));
    let Some(found) = found.as_object_mut() else {
        return Err(invalid(field, "the kustomization's own value is no object"));
    };
    for (key, value) in wanted {
        if found.contains_key(key) && !force {
            return Err(invalid(field, &format!("`{key}` is in the kustomization already"))
                .hint(format!("set `{option}: true` to overwrite it")));
        }
        found.insert(key.clone(), json!(value));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::image_of;

    #[test]
    fn an_image_override_is_read_as_kustomize_reads_it() {
        let cases = [
            ("nginx:1.2", json!({"name": "nginx", "newTag": "1.2"})),
            (
                "nginx=r:5000/a/b:v1",
                json!({"name": "nginx", "newName": "r:5000/a/b", "newTag": "v1"}),
            ),
            ("r:5000/a@sha256:ab", json!({"name": "r:5000/a", "digest": "sha256:ab"})),
            ("a=b", json!({"name": "a", "newName": "b"})),
            ("a=b:1@sha256:c", json!({"name": "a", "newName": "b", "digest": "sha256:c"})),
        ];
        for (text, wanted) in cases {
            assert_eq!(image_of(text), wanted, "{text}");
        }
    }
}
