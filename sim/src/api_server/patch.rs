//! JSON, merge and strategic merge patches.

use serde_json::Value;

use super::failure::Failure;
use super::ssa::{self, Shape};

/// The type of a patch, from the content type of its request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PatchKind {
    Json,
    Merge,
    Strategic,
    Apply,
}

impl PatchKind {
    pub(crate) fn of(content_type: &str) -> Result<Self, Failure> {
        let media = content_type.split(';').next().unwrap_or_default().trim();
        match media {
            "application/json-patch+json" => Ok(Self::Json),
            "application/merge-patch+json" => Ok(Self::Merge),
            "application/strategic-merge-patch+json" => Ok(Self::Strategic),
            "application/apply-patch+yaml" => Ok(Self::Apply),
            _ => {
                let message = format!("the body of the request was in an unknown format - {media}");
                Err(Failure::new(415, "UnsupportedMediaType", message))
            }
        }
    }
}

/// Returns the object after the patch.
///
/// # Errors
/// 422 without details if a `test` of a JSON patch failed or a path is missing, as a real server answers; 400 if the patch
/// itself is malformed.
pub(crate) fn patched(
    kind: PatchKind,
    shape: Shape,
    live: &Value,
    patch: &Value,
) -> Result<Value, Failure> {
    match kind {
        PatchKind::Json => {
            let patch: json_patch::Patch = serde_json::from_value(patch.clone())
                .map_err(|error| Failure::bad_request(error.to_string()))?;
            let mut object = live.clone();
            json_patch::patch(&mut object, &patch).map_err(|_| Failure::unappliable_patch())?;
            Ok(object)
        }
        PatchKind::Merge => {
            let mut object = live.clone();
            json_patch::merge(&mut object, patch);
            Ok(object)
        }
        PatchKind::Strategic if shape.custom => {
            let message = "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";
            Err(Failure::new(415, "UnsupportedMediaType", message))
        }
        PatchKind::Strategic => Ok(ssa::strategic(shape, live, patch)),
        PatchKind::Apply => Err(Failure::bad_request("an apply is not a plain patch")),
    }
}
