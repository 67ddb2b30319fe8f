//! The CustomResourceDefinitions of the eight kinds, made from the Rust types.
//!
//! Source: the CRDs of Argo CD and Argo Rollouts v1.9: names, short names, subresources and printer columns are theirs, ours
//! come after. The definition is built here and not by `kube`'s derive, because three things of it would be wrong: it always
//! declares a status subresource where a kind has a status, it knows no part beside spec and status (Application's
//! `operation`), and it writes schemars' dialect where Kubernetes wants a structural schema.

use std::sync::OnceLock;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use crate::analysis::{AnalysisRunSpec, AnalysisRunStatus, AnalysisTemplateSpec};
use crate::app_project::{AppProjectSpec, AppProjectStatus};
use crate::application::{ApplicationSpec, ApplicationStatus, Operation};
use crate::application_set::{ApplicationSetSpec, ApplicationSetStatus};
use crate::experiment::{ExperimentSpec, ExperimentStatus};
use crate::object::Kind;
use crate::rollout::{RolloutSpec, RolloutStatus};

mod columns;
mod structural;
mod walk;
mod yaml;

use columns::Column;
pub use structural::violations;
pub use walk::{Field, fields};
pub use yaml::to_yaml;

/// What there is to say about one kind beside its fields.
#[derive(Clone, Copy, Debug)]
pub struct Definition {
    /// Group, version, kind, plural, and whether status is a subresource.
    pub kind: &'static Kind,
    singular: &'static str,
    short_names: &'static [&'static str],
    cluster_scoped: bool,
    required: &'static [&'static str],
    columns: &'static [Column],
    /// Schemas of the parts beside `metadata`: `spec`, `status`, `operation`.
    parts: fn() -> Vec<(&'static str, Value)>,
}

/// The eight kinds, in the order of their plurals.
pub static DEFINITIONS: [Definition; 8] = [
    Definition {
        kind: &Kind::ANALYSIS_RUN,
        singular: "analysisrun",
        short_names: &["ar"],
        cluster_scoped: false,
        required: &["spec"],
        columns: columns::ANALYSIS_RUN,
        parts: || vec![spec::<AnalysisRunSpec>(), status::<AnalysisRunStatus>()],
    },
    Definition {
        kind: &Kind::ANALYSIS_TEMPLATE,
        singular: "analysistemplate",
        short_names: &["at"],
        cluster_scoped: false,
        required: &["spec"],
        columns: columns::TEMPLATE,
        parts: || vec![spec::<AnalysisTemplateSpec>()],
    },
    Definition {
        kind: &Kind::APPLICATION,
        singular: "application",
        short_names: &["app", "apps"],
        cluster_scoped: false,
        required: &["metadata", "spec"],
        columns: columns::APPLICATION,
        parts: || {
            vec![
                spec::<ApplicationSpec>(),
                status::<ApplicationStatus>(),
                part::<Operation>("operation"),
            ]
        },
    },
    Definition {
        kind: &Kind::APPLICATION_SET,
        singular: "applicationset",
        short_names: &["appset", "appsets"],
        cluster_scoped: false,
        required: &["metadata", "spec"],
        columns: columns::APPLICATION_SET,
        parts: || vec![spec::<ApplicationSetSpec>(), status::<ApplicationSetStatus>()],
    },
    Definition {
        kind: &Kind::APP_PROJECT,
        singular: "appproject",
        short_names: &["appproj", "appprojs"],
        cluster_scoped: false,
        required: &["metadata", "spec"],
        columns: columns::APP_PROJECT,
        parts: || vec![spec::<AppProjectSpec>(), status::<AppProjectStatus>()],
    },
    Definition {
        kind: &Kind::CLUSTER_ANALYSIS_TEMPLATE,
        singular: "clusteranalysistemplate",
        short_names: &["cat"],
        cluster_scoped: true,
        required: &["spec"],
        columns: columns::TEMPLATE,
        parts: || vec![spec::<AnalysisTemplateSpec>()],
    },
    Definition {
        kind: &Kind::EXPERIMENT,
        singular: "experiment",
        short_names: &["exp"],
        cluster_scoped: false,
        required: &["spec"],
        columns: columns::EXPERIMENT,
        parts: || vec![spec::<ExperimentSpec>(), status::<ExperimentStatus>()],
    },
    Definition {
        kind: &Kind::ROLLOUT,
        singular: "rollout",
        short_names: &["ro"],
        cluster_scoped: false,
        required: &["spec"],
        columns: columns::ROLLOUT,
        parts: || vec![spec::<RolloutSpec>(), status::<RolloutStatus>()],
    },
];

/// Category of all our kinds: `kubectl get sluice` lists them.
pub const CATEGORY: &str = "sluice";

/// Returns the definition of a kind by its name, such as `Rollout`.
pub fn definition(kind: &str) -> Option<&'static Definition> {
    DEFINITIONS.iter().find(|definition| definition.kind.kind == kind)
}

impl Definition {
    /// Returns the structural schema of the whole object (`openAPIV3Schema`).
    pub fn schema(&self) -> Value {
        let mut properties = json!({
            "apiVersion": {
                "type": "string",
                "description": "Version of the schema that the object is written in: `argoproj.io/v1alpha1`.",
            },
            "kind": { "type": "string", "description": "Kind of the object." },
            "metadata": { "type": "object" },
        });
        for (name, schema) in (self.parts)() {
            properties[name] = schema;
        }
        if self.kind.kind == "Rollout" {
            rollout_rules(&mut properties);
        }
        json!({ "type": "object", "properties": properties, "required": self.required })
    }

    /// Returns the same schema, made once in a process.
    pub fn schema_once(&self) -> &'static Value {
        static MADE: [OnceLock<Value>; DEFINITIONS.len()] =
            [const { OnceLock::new() }; DEFINITIONS.len()];
        let place = DEFINITIONS.iter().position(|known| known.kind == self.kind);
        MADE[place.expect("the definition is one of the list")].get_or_init(|| self.schema())
    }

    /// Returns the CustomResourceDefinition.
    pub fn crd(&self) -> Value {
        let kind = self.kind;
        let mut version = json!({
            "name": kind.version,
            "served": true,
            "storage": true,
            "schema": { "openAPIV3Schema": self.schema() },
            "subresources": self.subresources(),
            "additionalPrinterColumns": self.columns.iter().map(Column::value).collect::<Vec<_>>(),
        });
        if version["subresources"] == json!({}) {
            version.as_object_mut().expect("json! made an object").remove("subresources");
        }
        json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": { "name": format!("{}.{}", kind.plural, kind.group) },
            "spec": {
                "group": kind.group,
                "names": {
                    "categories": [CATEGORY],
                    "kind": kind.kind,
                    "listKind": format!("{}List", kind.kind),
                    "plural": kind.plural,
                    "shortNames": self.short_names,
                    "singular": self.singular,
                },
                "scope": if self.cluster_scoped { "Cluster" } else { "Namespaced" },
                "conversion": { "strategy": "None" },
                "versions": [version],
            },
        })
    }

    fn subresources(&self) -> Value {
        let mut subresources = json!({});
        if self.kind.status_subresource {
            subresources["status"] = json!({});
        }
        if self.kind.kind == "Rollout" {
            subresources["scale"] = json!({
                "specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.HPAReplicas",
                "labelSelectorPath": ".status.selector",
            });
        }
        subresources
    }
}

/// An autoscaler needs a number of replicas, and a changed selector would orphan every Pod.
fn rollout_rules(properties: &mut Value) {
    let spec = &mut properties["spec"]["properties"];
    spec["replicas"]["default"] = json!(1);
    spec["selector"]["x-kubernetes-validations"] = json!([{
        "rule": "self == oldSelf",
        "message": "the selector is immutable: delete the Rollout with `--cascade=orphan` and create it anew",
    }]);
}

fn spec<T: JsonSchema>() -> (&'static str, Value) {
    part::<T>("spec")
}

/// Other controllers write our status, too; what they write must not be refused over a word that we do not know.
fn status<T: JsonSchema>() -> (&'static str, Value) {
    let (name, mut schema) = part::<T>("status");
    structural::open(&mut schema);
    (name, schema)
}

fn part<T: JsonSchema>(name: &'static str) -> (&'static str, Value) {
    let mut settings = SchemaSettings::openapi3();
    settings.inline_subschemas = true;
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    structural::make_structural(&mut schema);
    (name, schema)
}

#[cfg(test)]
mod tests;
