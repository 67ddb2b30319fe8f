//! Arguments of an Experiment's analyses (`spec-rollouts` 6.3): `{{templates.canary.podTemplateHash}}` and the like.

use std::collections::BTreeMap;

use serde_json::json;
use sluice_crds::analysis::{AnalysisRunSpec, Argument};
use sluice_crds::experiment::{ExperimentAnalysis, ExperimentRecord};
use sluice_crds::rollout::steps::{AnalysisArgument, TemplateRef};
use sluice_lang::legacy;

use super::{
    ArgumentError, RolloutSource, Templates, assembled, field_of, given_value, without_value,
};

/// What the tags of an experiment's arguments stand for, by the text between the braces.
pub type Words = BTreeMap<String, String>;

/// Returns the reference of the template that an analysis of an Experiment names.
pub fn template_of(analysis: &ExperimentAnalysis) -> TemplateRef {
    TemplateRef {
        template_name: analysis.template_name.clone(),
        cluster_scope: analysis.cluster_scope.filter(|cluster| *cluster),
    }
}

/// Returns the spec of the run that an analysis of an Experiment asks for.
///
/// # Errors
///
/// As [`run_spec`](super::run_spec); also a tag that stands for nothing.
pub fn experiment_run_spec(
    experiment: &ExperimentRecord,
    analysis: &ExperimentAnalysis,
    templates: &Templates,
    words: &Words,
) -> Result<AnalysisRunSpec, ArgumentError> {
    let spec = &experiment.spec;
    let (dry_run, retention) = (Some(&spec.dry_run), Some(&spec.measurement_retention));
    assembled(&[template_of(analysis)], templates, dry_run, retention, |declared| {
        let given = analysis.args.iter().find(|argument| argument.name == declared.name);
        argument(experiment, declared, given, words)
    })
}

fn argument(
    experiment: &ExperimentRecord,
    declared: Argument,
    given: Option<&Argument>,
    words: &Words,
) -> Result<Argument, ArgumentError> {
    let name = declared.name.clone();
    let literal =
        |value: String| Argument { name: name.clone(), value: Some(value), value_from: None };
    if let Some(value) = given.and_then(|given| given.value.as_ref()) {
        let path = format!("argument `{name}`");
        return legacy::substitute_text(value, &path, &|tag| words.get(tag).cloned())
            .map(literal)
            .map_err(|error| ArgumentError::Invalid(error.to_string()));
    }
    let sources = [given.and_then(|given| given.value_from.as_ref()), declared.value_from.as_ref()];
    if declared.value.is_some() && sources[0].is_none() {
        return Ok(Argument { value_from: None, ..declared });
    }
    for source in sources.into_iter().flatten() {
        if source.secret_key_ref.is_some() {
            let value_from = Some(source.clone());
            return Ok(Argument { name: name.clone(), value: None, value_from });
        }
        if let Some(field) = &source.field_ref {
            let object = json!({
                "metadata": experiment.meta,
                "spec": experiment.spec,
                "status": experiment.status,
            });
            return field_of(&name, &field.field_path, "Experiment", &object).map(literal);
        }
    }
    Err(without_value(&name))
}

/// Returns words as there will be once the versions of these names run: so arguments are checked before anything runs.
pub fn guessed_words<'a>(
    versions: impl IntoIterator<Item = &'a str>,
    duration: Option<&str>,
) -> Words {
    let mut words = Words::new();
    for name in versions {
        words.insert(format!("templates.{name}.podTemplateHash"), "-".into());
        words.insert(format!("templates.{name}.replicaset.name"), "-".into());
    }
    words.insert("experiment.availableAt".into(), "-".into());
    if duration.is_some_and(|text| !text.is_empty()) {
        words.insert("experiment.finishedAt".into(), "-".into());
    }
    words
}

/// Returns the arguments that a step of a Rollout passes on to the analyses of its Experiment: what is taken from the Rollout
/// is filled in; tags about the Experiment's own versions stay, because only the Experiment knows them.
///
/// # Errors
///
/// *Invalid*: a hash that there is not yet, a field of the Rollout that does not exist.
pub fn passed_on(
    arguments: &[AnalysisArgument],
    source: &RolloutSource<'_>,
) -> Result<Vec<Argument>, ArgumentError> {
    let resolved = |argument: &AnalysisArgument| {
        let value = given_value(&argument.name, argument, source)?;
        Ok(Argument { name: argument.name.clone(), value, value_from: None })
    };
    arguments.iter().map(resolved).collect()
}
