//! From templates to the metrics of a run: joining, arguments, substitution (`spec-rollouts` 6.3).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};
use sluice_crds::analysis::{
    AnalysisRunSpec, AnalysisTemplateRecord, AnalysisTemplateSpec, Argument, DryRun,
    MeasurementRetention, Metric,
};
use sluice_crds::rollout::steps::{AnalysisArgument, TemplateRef};
use sluice_crds::rollout::{RolloutAnalysis, RolloutRecord};
use sluice_lang::legacy;

use crate::view::{AnalysisRunView, Lookup};

mod experiment;

pub use experiment::{Words, experiment_run_spec, guessed_words, passed_on, template_of};

/// Templates by reference, as a view holds them.
pub type Templates = BTreeMap<TemplateRef, Lookup<Arc<AnalysisTemplateRecord>>>;

/// Why there is no run, or no metric, yet.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ArgumentError {
    /// A template is not there.
    #[error("{} `{}` does not exist", kind(.0), .0.template_name)]
    Missing(TemplateRef),
    /// A template has not been read yet.
    #[error("{} `{}` has not been read yet", kind(.0), .0.template_name)]
    Unknown(TemplateRef),
    /// A Secret that an argument needs has not been read yet.
    #[error("the Secret of argument `{0}` has not been read yet")]
    SecretUnknown(String),
    /// Templates or arguments contradict each other, or are not complete.
    #[error("{0}")]
    Invalid(String),
}

fn kind(reference: &TemplateRef) -> &'static str {
    if reference.cluster_scope == Some(true) {
        "ClusterAnalysisTemplate"
    } else {
        "AnalysisTemplate"
    }
}

/// The Rollout that arguments may ask about.
#[derive(Clone, Copy, Debug)]
pub struct RolloutSource<'a> {
    /// The Rollout.
    pub rollout: &'a RolloutRecord,
    /// Hash of the current revision (`podTemplateHashValue: Latest`).
    pub latest: Option<&'a str>,
    /// Hash of the stable revision (`podTemplateHashValue: Stable`).
    pub stable: Option<&'a str>,
}

/// Returns the references of the templates and of all templates that they name, as far as those are known: what a view must
/// hold. Ask again when one of them arrives, because it may name more.
pub fn references(refs: &[TemplateRef], templates: &Templates) -> BTreeSet<TemplateRef> {
    let mut found = BTreeSet::new();
    let mut waiting: Vec<TemplateRef> = refs.iter().map(normal).collect();
    while let Some(reference) = waiting.pop() {
        let template = lookup(&reference, templates).and_then(Lookup::present);
        if found.insert(reference)
            && let Some(template) = template
        {
            waiting.extend(template.spec.templates.iter().flatten().map(normal));
        }
    }
    found
}

/// `clusterScope: false` and no `clusterScope` name the same template.
fn normal(reference: &TemplateRef) -> TemplateRef {
    let cluster_scope = reference.cluster_scope.filter(|cluster| *cluster);
    TemplateRef { template_name: reference.template_name.clone(), cluster_scope }
}

fn lookup<'a>(
    reference: &TemplateRef,
    templates: &'a Templates,
) -> Option<&'a Lookup<Arc<AnalysisTemplateRecord>>> {
    templates.get(reference).or_else(|| {
        let cluster_scope = Some(reference.cluster_scope == Some(true));
        templates.get(&TemplateRef { cluster_scope, ..reference.clone() })
    })
}

/// Returns one template that holds everything of the named ones and of those that they name.
///
/// # Errors
///
/// *Missing*: a template that is not there. *Invalid*: two metrics of one name, two values of one argument, two dry runs or
/// retentions of one metric.
pub fn flatten(
    refs: &[TemplateRef],
    templates: &Templates,
) -> Result<AnalysisTemplateSpec, ArgumentError> {
    let mut order = Vec::new();
    for reference in refs {
        collect(reference, templates, &mut order)?;
    }
    // Namespaced ones first, as Argo joins them.
    order.sort_by_key(|(reference, _)| reference.cluster_scope == Some(true));
    let mut joined = AnalysisTemplateSpec::default();
    for (_, spec) in order {
        joined.metrics.get_or_insert_default().extend(spec.metrics.iter().flatten().cloned());
        join_arguments(joined.args.get_or_insert_default(), spec.args.iter().flatten())?;
        joined.dry_run.get_or_insert_default().extend(spec.dry_run.iter().flatten().cloned());
        joined
            .measurement_retention
            .get_or_insert_default()
            .extend(spec.measurement_retention.iter().flatten().cloned());
    }
    let metrics = joined.metrics.iter().flatten().map(|metric| metric.name.as_str());
    unique("metric", metrics)?;
    rules_are_unique(&joined.dry_run, &joined.measurement_retention)?;
    Ok(joined)
}

type Found<'a> = (TemplateRef, &'a AnalysisTemplateSpec);

fn collect<'a>(
    reference: &TemplateRef,
    templates: &'a Templates,
    order: &mut Vec<Found<'a>>,
) -> Result<(), ArgumentError> {
    let reference = normal(reference);
    if order.iter().any(|(known, _)| *known == reference) {
        return Ok(());
    }
    let template = match lookup(&reference, templates) {
        Some(Lookup::Present(template)) => template,
        Some(Lookup::Absent | Lookup::NoKind) => return Err(ArgumentError::Missing(reference)),
        Some(Lookup::Unknown) | None => return Err(ArgumentError::Unknown(reference)),
    };
    order.push((reference, &template.spec));
    for inner in template.spec.templates.iter().flatten() {
        collect(inner, templates, order)?;
    }
    Ok(())
}

fn join_arguments<'a>(
    joined: &mut Vec<Argument>,
    more: impl Iterator<Item = &'a Argument>,
) -> Result<(), ArgumentError> {
    for argument in more {
        let Some(known) = joined.iter_mut().find(|known| known.name == argument.name) else {
            joined.push(argument.clone());
            continue;
        };
        match (&known.value, &argument.value) {
            (Some(one), Some(other)) if one != other => {
                return Err(ArgumentError::Invalid(format!(
                    "argument `{}` has two values in the templates: `{one}` and `{other}`",
                    argument.name
                )));
            }
            (None, Some(_)) => known.value.clone_from(&argument.value),
            (Some(_), _) | (None, None) => {}
        }
        if known.value_from.is_none() {
            known.value_from.clone_from(&argument.value_from);
        }
    }
    Ok(())
}

fn unique<'a>(what: &str, names: impl Iterator<Item = &'a str>) -> Result<(), ArgumentError> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(ArgumentError::Invalid(format!("two {what}s are named `{name}`")));
        }
    }
    Ok(())
}

fn rules_are_unique(
    dry_run: &Option<Vec<DryRun>>,
    retention: &Option<Vec<MeasurementRetention>>,
) -> Result<(), ArgumentError> {
    unique("dryRun rule", dry_run.iter().flatten().map(|rule| rule.metric_name.as_str()))?;
    let retention = retention.iter().flatten().map(|rule| rule.metric_name.as_str());
    unique("measurementRetention rule", retention)
}

/// Returns the spec of the run that an analysis of a Rollout asks for.
///
/// # Errors
///
/// As [`flatten`]; also an argument without a value, and a field of the Rollout that does not exist.
pub fn run_spec(
    analysis: &RolloutAnalysis,
    templates: &Templates,
    source: &RolloutSource<'_>,
) -> Result<AnalysisRunSpec, ArgumentError> {
    let given = analysis.args.as_deref().unwrap_or_default();
    let (dry_run, retention) = (&analysis.dry_run, &analysis.measurement_retention);
    let templates_of = analysis.templates.as_deref().unwrap_or_default();
    assembled(templates_of, templates, dry_run.as_ref(), retention.as_ref(), |declared| {
        let given = given.iter().find(|argument| argument.name == declared.name);
        resolved_argument(declared, given, source)
    })
}

/// Joins templates, and rules that come with the reference to them, to the spec of a run.
fn assembled(
    refs: &[TemplateRef],
    templates: &Templates,
    dry_run: Option<&Vec<DryRun>>,
    retention: Option<&Vec<MeasurementRetention>>,
    resolve: impl Fn(Argument) -> Result<Argument, ArgumentError>,
) -> Result<AnalysisRunSpec, ArgumentError> {
    let template = flatten(refs, templates)?;
    let args: Result<Vec<Argument>, ArgumentError> =
        template.args.into_iter().flatten().map(resolve).collect();
    let joined = |mut own: Vec<DryRun>| {
        own.extend(dry_run.into_iter().flatten().cloned());
        Some(own).filter(|rules| !rules.is_empty())
    };
    let dry_run = joined(template.dry_run.unwrap_or_default());
    let mut kept = template.measurement_retention.unwrap_or_default();
    kept.extend(retention.into_iter().flatten().cloned());
    let measurement_retention = Some(kept).filter(|rules| !rules.is_empty());
    rules_are_unique(&dry_run, &measurement_retention)?;
    Ok(AnalysisRunSpec {
        metrics: template.metrics.unwrap_or_default(),
        args: Some(args?).filter(|args| !args.is_empty()),
        dry_run,
        measurement_retention,
        terminate: None,
        ttl_strategy: None,
    })
}

fn resolved_argument(
    declared: Argument,
    given: Option<&AnalysisArgument>,
    source: &RolloutSource<'_>,
) -> Result<Argument, ArgumentError> {
    let name = declared.name.clone();
    let literal =
        |value: String| Argument { name: name.clone(), value: Some(value), value_from: None };
    if let Some(given) = given
        && let Some(value) = given_value(&name, given, source)?
    {
        return Ok(literal(value));
    }
    if declared.value.is_some() {
        return Ok(Argument { value_from: None, ..declared });
    }
    let from = declared.value_from.as_ref();
    if let Some(field) = from.and_then(|from| from.field_ref.as_ref()) {
        return field_of_rollout(&name, &field.field_path, source).map(literal);
    }
    if from.is_some_and(|from| from.secret_key_ref.is_some()) {
        return Ok(declared);
    }
    Err(without_value(&name))
}

fn without_value(name: &str) -> ArgumentError {
    ArgumentError::Invalid(format!("argument `{name}` has no value: pass it in `args`"))
}

/// The value that a Rollout's analysis gives an argument; `None` if it gives none.
fn given_value(
    name: &str,
    given: &AnalysisArgument,
    source: &RolloutSource<'_>,
) -> Result<Option<String>, ArgumentError> {
    if let Some(value) = &given.value {
        return Ok(Some(value.clone()));
    }
    let from = given.value_from.as_ref();
    if let Some(which) = from.and_then(|from| from.pod_template_hash_value.as_deref()) {
        return hash(name, which, source).map(Some);
    }
    match from.and_then(|from| from.field_ref.as_ref()) {
        Some(field) => field_of_rollout(name, &field.field_path, source).map(Some),
        None => Ok(None),
    }
}

fn hash(name: &str, which: &str, source: &RolloutSource<'_>) -> Result<String, ArgumentError> {
    let hash = match which {
        "Latest" => source.latest,
        "Stable" => source.stable,
        other => {
            return Err(ArgumentError::Invalid(format!(
                "argument `{name}`: `podTemplateHashValue` is `{other}`, and must be `Latest` or `Stable`"
            )));
        }
    };
    hash.map(str::to_owned).ok_or_else(|| {
        ArgumentError::Invalid(format!("argument `{name}`: there is no `{which}` revision yet"))
    })
}

fn field_of_rollout(
    name: &str,
    path: &str,
    source: &RolloutSource<'_>,
) -> Result<String, ArgumentError> {
    let rollout = json!({
        "metadata": source.rollout.meta,
        "spec": source.rollout.spec,
        "status": source.rollout.status,
    });
    field_of(name, path, "Rollout", &rollout)
}

/// Metadata as the downward API gives it; everything else is a path into the object that must end in a plain value.
fn field_of(name: &str, path: &str, kind: &str, object: &Value) -> Result<String, ArgumentError> {
    let mut value = object;
    for part in path_parts(path) {
        let inner = match value {
            Value::Array(items) => part.parse().ok().and_then(|index: usize| items.get(index)),
            value => value.get(&part),
        };
        value = inner.ok_or_else(|| {
            ArgumentError::Invalid(format!(
                "argument `{name}`: the {kind} has no field `{path}` (nothing at `{part}`)"
            ))
        })?;
    }
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(flag) => Ok(flag.to_string()),
        Value::Object(entries) if path.starts_with("metadata.") => Ok(entries
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect::<Vec<_>>()
            .join("\n")),
        Value::Null | Value::Array(_) | Value::Object(_) => Err(ArgumentError::Invalid(format!(
            "argument `{name}`: field `{path}` of the {kind} is no plain value"
        ))),
    }
}

/// Splits `spec.template.metadata.labels['a.b/c']` and `spec.containers[0].image`. Quotes keep dots together.
fn path_parts(path: &str) -> Vec<String> {
    let mut parts = Vec::new();
    let mut part = String::new();
    let mut quote = None;
    for c in path.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, '.' | '[' | ']') => {
                if !part.is_empty() {
                    parts.push(std::mem::take(&mut part));
                }
            }
            (_, c) => part.push(c),
        }
    }
    if !part.is_empty() {
        parts.push(part);
    }
    parts
}

/// Returns the metrics of a run with their arguments filled in. Values of Secrets are in them: never print them.
///
/// # Errors
///
/// *Invalid*: an argument without a value, a Secret that is not there, a tag that names no argument, a text where a number must
/// be. [`ArgumentError::SecretUnknown`]: a Secret that has not been read yet.
pub fn metrics(view: &AnalysisRunView) -> Result<Vec<Metric>, ArgumentError> {
    let mut values = BTreeMap::new();
    for argument in view.run.spec.args.iter().flatten() {
        let name = &argument.name;
        let is_secret =
            argument.value_from.as_ref().is_some_and(|from| from.secret_key_ref.is_some());
        let value = match (&argument.value, view.secrets.get(name)) {
            (Some(value), _) => value.clone(),
            (None, Some(Ok(secret))) => secret.clone(),
            (None, Some(Err(problem))) => {
                return Err(ArgumentError::Invalid(format!("argument `{name}`: {problem}")));
            }
            (None, None) if is_secret => return Err(ArgumentError::SecretUnknown(name.clone())),
            (None, None) => {
                return Err(ArgumentError::Invalid(format!("argument `{name}` has no value")));
            }
        };
        values.insert(name.clone(), value);
    }
    view.run.spec.metrics.iter().map(|metric| filled_in(metric, &values)).collect()
}

fn filled_in(metric: &Metric, values: &BTreeMap<String, String>) -> Result<Metric, ArgumentError> {
    let at =
        |message: String| ArgumentError::Invalid(format!("metric `{}`: {message}", metric.name));
    let value = serde_json::to_value(metric).map_err(|error| at(error.to_string()))?;
    let filled =
        legacy::substitute(&value, &legacy::args(values)).map_err(|error| at(error.to_string()))?;
    serde_json::from_value(filled).map_err(|error| at(error.to_string()))
}

#[cfg(test)]
mod tests;
