//! Text to Kubernetes objects, within budgets.

use serde_json::Value;
use serde_saphyr::options::{DuplicateKeyPolicy, NonFiniteFloatPolicy};

use crate::error::{RepoError, RepoErrorKind};
use crate::limits::Limits;
use crate::tree::file_object;

/// A file that says so is not rendered, as in Argo CD.
const SKIP_MARK: &str = "+argocd:skip-file-rendering";

/// Objects of a source as they come together.
pub(crate) struct Collector<'l> {
    limits: &'l Limits,
    objects: Vec<Value>,
    bytes: u64,
}

impl<'l> Collector<'l> {
    pub(crate) fn new(limits: &'l Limits) -> Self {
        Collector { limits, objects: Vec::new(), bytes: 0 }
    }

    pub(crate) fn finish(self) -> (Vec<Value>, u64) {
        (self.objects, self.bytes)
    }

    /// Adds all documents of a YAML or JSON text. `object` is what errors name.
    pub(crate) fn add(&mut self, object: &str, content: &[u8]) -> Result<(), RepoError> {
        self.bytes += content.len() as u64;
        if self.bytes > self.limits.manifest_bytes {
            return Err(self.too_big(format!("more than {} bytes", self.limits.manifest_bytes)));
        }
        let text = std::str::from_utf8(content).map_err(|error| {
            invalid(object, format!("byte {} is no UTF-8", error.valid_up_to()))
        })?;
        if text.lines().any(|line| line.trim_start().starts_with('#') && line.contains(SKIP_MARK)) {
            return Ok(());
        }
        // JSON is YAML: one parser, so that duplicate keys are found in both.
        let documents = parse_yaml(object, text, self.limits)?;
        for (index, document) in documents.into_iter().enumerate() {
            self.add_document(object, index + 1, document)?;
        }
        Ok(())
    }

    fn add_document(
        &mut self,
        object: &str,
        number: usize,
        document: Value,
    ) -> Result<(), RepoError> {
        let place = format!("{object}, document {number}");
        match document {
            Value::Null => Ok(()),
            Value::Array(items) => {
                items.into_iter().try_for_each(|item| self.add_document(object, number, item))
            }
            Value::Object(mut fields) if is_list(&fields) => {
                let Some(Value::Array(items)) = fields.remove("items") else { return Ok(()) };
                items.into_iter().try_for_each(|item| self.add_document(object, number, item))
            }
            Value::Object(fields) => {
                check_object(&place, &fields)?;
                if self.objects.len() >= self.limits.objects {
                    return Err(self.too_big(format!("more than {} objects", self.limits.objects)));
                }
                self.objects.push(Value::Object(fields));
                Ok(())
            }
            _ => Err(invalid(&place, "expected an object with apiVersion and kind")),
        }
    }

    fn too_big(&self, observed: String) -> RepoError {
        RepoError::new(RepoErrorKind::TooBig, "rendered manifests", observed)
            .hint("split the application, or raise the limit")
    }
}

pub(crate) fn parse_yaml(
    object: &str,
    text: &str,
    limits: &Limits,
) -> Result<Vec<Value>, RepoError> {
    let mut budget = serde_saphyr::Budget::default();
    budget.max_depth = limits.yaml_depth;
    budget.flow_nesting_limit = limits.yaml_depth;
    budget.max_nodes = limits.yaml_nodes;
    budget.max_events = limits.yaml_nodes * 3;
    budget.max_documents = limits.objects * 2;
    budget.max_aliases = limits.yaml_aliases;
    budget.max_anchors = limits.yaml_aliases;
    let mut options = serde_saphyr::Options::default();
    options.budget = Some(budget);
    options.alias_limits.max_total_replayed_events = limits.yaml_nodes;
    options.alias_limits.max_replay_stack_depth = 32;
    options.duplicate_keys = DuplicateKeyPolicy::Error;
    options.non_finite_float_policy = NonFiniteFloatPolicy::Reject;
    // `0644` is a file mode: Kubernetes' YAML is 1.1 here, as with `yes` and `on`.
    options.legacy_octal_numbers = true;
    options.with_snippet = false;
    serde_saphyr::from_multiple_with_options::<Value>(text, options).map_err(|error| {
        let place = match error.location() {
            Some(location) if location.line() > 0 => format!("{object}, line {}", location.line()),
            _ => object.to_owned(),
        };
        invalid(
            &place,
            format!("no YAML that we accept: {}", crate::git::excerpt(&error.to_string())),
        )
    })
}

fn is_list(fields: &serde_json::Map<String, Value>) -> bool {
    let list =
        fields.get("kind").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("List"));
    list && fields.get("items").is_some_and(Value::is_array)
}

fn check_object(place: &str, fields: &serde_json::Map<String, Value>) -> Result<(), RepoError> {
    let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
    for field in ["apiVersion", "kind"] {
        if text(field).is_empty() {
            return Err(invalid(
                place,
                format!("`{field}` is missing: this is no Kubernetes object"),
            )
            .hint("move other YAML out of the path, or leave it out with `directory.exclude`"));
        }
    }
    let metadata = fields.get("metadata").and_then(Value::as_object);
    let named = ["name", "generateName"].iter().any(|name| {
        let value = metadata.and_then(|metadata| metadata.get(*name)).and_then(Value::as_str);
        value.is_some_and(|value| !value.is_empty())
    });
    if !named {
        let kind = text("kind");
        return Err(invalid(
            place,
            format!("`metadata.name` of this {kind} is missing or no text"),
        ));
    }
    Ok(())
}

fn invalid(object: &str, observed: impl Into<String>) -> RepoError {
    RepoError::new(RepoErrorKind::InvalidManifest, object, observed)
}

pub(crate) fn object_of(path: &str) -> String {
    file_object(path)
}

#[cfg(test)]
mod tests;
