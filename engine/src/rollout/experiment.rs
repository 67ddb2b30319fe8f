//! Experiments as steps of a canary: begun when their step is reached, judged, ended when it is left (`spec-rollouts` 3.11).

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sluice_crds::analysis::AnalysisPhase;
use sluice_crds::experiment::{
    ExperimentAnalysis, ExperimentRecord, ExperimentService, ExperimentSpec, ExperimentStatus,
    ExperimentTemplate,
};
use sluice_crds::labels;
use sluice_crds::object::{Kind, Memo, Meta, ObjectRef, controller_reference};
use sluice_crds::rollout::steps::{self, ExperimentStep, TemplateRef};
use sluice_crds::rollout::strategy::CanaryStrategy;

use super::abort::Abort;
use super::action::{Action, Target};
use super::analysis::Verdicts;
use super::situation::{Roles, Set, Situation};
use crate::analysis::arguments::{self, ArgumentError, RolloutSource};
use crate::view::{ExperimentSight, hash_of};

/// What the experiment of the present step says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Trial {
    pub(crate) name: String,
    pub(crate) phase: AnalysisPhase,
    message: String,
}

/// Reads what the experiment of the present attempt at the present step says, and what follows from it.
pub(crate) fn judge(s: &Roles<'_>, verdicts: &mut Verdicts) {
    let Some(sight) = latest(s) else { return };
    let status = &sight.experiment.status;
    let trial = Trial {
        name: sight.experiment.meta.name.clone(),
        phase: status.phase.unwrap_or(AnalysisPhase::Pending),
        message: status.message.clone().unwrap_or_default(),
    };
    match trial.phase {
        AnalysisPhase::Failed | AnalysisPhase::Error if seeded!(TrialFailureIgnored) => {}
        AnalysisPhase::Failed | AnalysisPhase::Error => {
            let phase = trial.phase.as_str().to_lowercase();
            let cause = format!("Experiment {} phase {phase}: {}", trial.name, trial.message);
            verdicts.failure.get_or_insert(cause);
        }
        AnalysisPhase::Inconclusive => {
            let pauses = s.status().pause_conditions.iter().flatten().next().is_some();
            verdicts.resumed |= s.status().controller_pause == Some(true) && !pauses;
        }
        AnalysisPhase::Pending | AnalysisPhase::Running | AnalysisPhase::Successful => {}
    }
    verdicts.trial = Some(trial);
}

impl Verdicts {
    /// Whether the experiment of the step ended without a verdict.
    pub(crate) fn trial_is_inconclusive(&self) -> bool {
        self.trial.as_ref().is_some_and(|trial| trial.phase == AnalysisPhase::Inconclusive)
    }
}

/// Whether the experiment of the step is done; else what it waits for.
pub(crate) fn is_done(s: &Situation<'_>, verdicts: &Verdicts) -> Result<(), String> {
    let of = format!("the experiment of step {} of {}", s.index() + 1, s.steps.len());
    match &verdicts.trial {
        _ if seeded!(TrialSkipped) => Ok(()),
        Some(trial) if trial.phase == AnalysisPhase::Successful => Ok(()),
        Some(trial) => {
            let why = if trial.message.is_empty() {
                String::new()
            } else {
                format!(": {}", trial.message)
            };
            Err(format!("{of} ({}, {}){why}", trial.name, trial.phase.as_str()))
        }
        None => Err(of),
    }
}

/// The Experiments of the Rollout.
pub(crate) fn all<'a>(s: &Roles<'a>) -> impl Iterator<Item = &'a ExperimentSight> {
    let uid = s.rollout.meta.uid.clone();
    let sights = s.view.experiments.present().into_iter().flatten();
    sights.filter(move |sight| sight.experiment.meta.is_owned_by(&uid))
}

/// The newest experiment of the present attempt at the present step. One that we ended ourselves does not count. One that
/// another controller made has no label for its step, and is known by the status.
pub(crate) fn latest<'a>(s: &Roles<'a>) -> Option<&'a ExperimentSight> {
    s.step()?.experiment.as_ref()?;
    let index = s.index().to_string();
    let attempt = s.sluice().attempt.unwrap_or(1).to_string();
    let recorded = s.status().canary.as_ref().and_then(|canary| canary.current_experiment.clone());
    all(s)
        .filter(|sight| {
            let meta = &sight.experiment.meta;
            let of_step = match meta.labels.get(labels::STEP_INDEX) {
                Some(step) => *step == index,
                None => recorded.as_ref() == Some(&meta.name),
            };
            of_step
                && meta.deletion_timestamp.is_none()
                && (!meta.annotations.contains_key(labels::STOPPED) || seeded!(StoppedTrialCounts))
                && hash_of(meta) == Some(s.hash.as_str())
                && meta.annotations.get(labels::ATTEMPT).is_none_or(|of| *of == attempt)
        })
        .max_by_key(|sight| {
            let meta = &sight.experiment.meta;
            (meta.creation_timestamp, meta.name.len(), meta.name.clone())
        })
}

/// Returns the starts and ends of experiments that are due.
pub(crate) fn changes(s: &Situation<'_>, verdicts: &Verdicts, abort: &Abort) -> Vec<Action> {
    let mut actions = Vec::new();
    let held = s.is_promoted()
        || s.is_first()
        || s.is_changed()
        || s.skips_steps()
        || abort.is_on()
        || s.status().aborted_at.is_some();
    let wanted = if held { None } else { verdicts.trial.as_ref().map(|trial| trial.name.clone()) };
    if !held && let Some(step) = s.step().and_then(|step| step.experiment.as_ref()) {
        actions.extend(start(s, step, verdicts));
    }
    let open = all(s).filter(|sight| {
        let experiment = &sight.experiment;
        Some(&experiment.meta.name) != wanted.as_ref()
            && experiment.meta.deletion_timestamp.is_none()
            && experiment.spec.terminate != Some(true)
            && !seeded!(TrialGoesOn)
            && !experiment.status.phase.is_some_and(AnalysisPhase::is_completed)
    });
    actions.extend(open.map(|sight| {
        let meta = &sight.experiment.meta;
        Action::StopExperiment { target: Target::of(s.view, meta.object(Kind::EXPERIMENT), meta) }
    }));
    actions
}

fn start(s: &Situation<'_>, step: &ExperimentStep, verdicts: &Verdicts) -> Option<Action> {
    let again = verdicts.resumed && verdicts.trial_is_inconclusive();
    let paused = s.status().pause_conditions.iter().flatten().next().is_some();
    if (verdicts.trial.is_some() && !again) || paused || s.is_paused_by_user() {
        return None;
    }
    s.view.experiments.present()?;
    // A spec that cannot be resolved is reported by `problems` before a decision comes this far.
    let spec = spec(s, step).ok()?;
    let base = format!("{}-{}-{}-{}", s.rollout.meta.name, s.hash, s.revision(), s.index());
    let name = free_name(s, &base);
    let body = body(s, &name, &spec);
    let object = ObjectRef { kind: Kind::EXPERIMENT, namespace: s.view.object().namespace, name };
    Some(Action::StartExperiment { target: Target::new(s.view, object), body })
}

fn free_name(s: &Situation<'_>, base: &str) -> String {
    let known = |name: &str| {
        let mut sights = s.view.experiments.present().into_iter().flatten();
        sights.any(|sight| sight.experiment.meta.name == name) || s.view.taken.contains(name)
    };
    let mut name = base.to_owned();
    let mut n = 0_u32;
    while known(&name) {
        n += 1;
        name = format!("{base}-{n}");
    }
    name
}

fn body(s: &Situation<'_>, name: &str, spec: &ExperimentSpec) -> Value {
    let mut own_labels = s.rollout.meta.labels.clone();
    own_labels.insert(labels::POD_TEMPLATE_HASH.to_owned(), s.hash.clone());
    own_labels.insert(labels::STEP_INDEX.to_owned(), s.index().to_string());
    let attempt = s.sluice().attempt.unwrap_or(1);
    json!({
        "apiVersion": Kind::EXPERIMENT.api_version(),
        "kind": "Experiment",
        "metadata": {
            "name": name,
            "namespace": s.rollout.meta.namespace,
            "labels": own_labels,
            "annotations": {
                (labels::REVISION): s.revision().to_string(),
                (labels::ATTEMPT): attempt.to_string(),
            },
            "ownerReferences": [controller_reference(&s.view.object(), &s.rollout.meta.uid)],
        },
        "spec": spec,
    })
}

/// Returns the spec of the Experiment that the step asks for.
fn spec(s: &Situation<'_>, step: &ExperimentStep) -> Result<ExperimentSpec, ArgumentError> {
    let templates: Result<Vec<ExperimentTemplate>, ArgumentError> =
        step.templates.iter().flatten().map(|template| version(s, template)).collect();
    let source = RolloutSource {
        rollout: s.rollout,
        latest: Some(&s.hash),
        stable: s.stable_hash.or(Some(&s.hash)),
    };
    let analyses = step.analyses.iter().flatten().map(|analysis| {
        Ok(ExperimentAnalysis {
            name: analysis.name.clone(),
            template_name: analysis.template_name.clone(),
            cluster_scope: analysis.cluster_scope,
            args: arguments::passed_on(analysis.args.as_deref().unwrap_or_default(), &source)?,
            required_for_completion: analysis.required_for_completion,
        })
    });
    let analyses: Result<Vec<ExperimentAnalysis>, ArgumentError> = analyses.collect();
    Ok(ExperimentSpec {
        templates: templates?,
        duration: step.duration.clone(),
        progress_deadline_seconds: s.rollout.spec.progress_deadline_seconds,
        terminate: None,
        analyses: analyses?,
        scale_down_delay_seconds: step.scale_down_delay_seconds,
        dry_run: step.dry_run.clone().unwrap_or_default(),
        measurement_retention: Vec::new(),
        analysis_run_metadata: step.analysis_run_metadata.clone(),
    })
}

/// A version that runs the Pods of the canary or of the stable revision, with labels of its own.
fn version(
    s: &Situation<'_>,
    step: &steps::ExperimentTemplate,
) -> Result<ExperimentTemplate, ArgumentError> {
    let origin = step.spec_ref.as_deref().unwrap_or_default();
    let set: Option<Set<'_>> = match origin {
        "stable" => s.stable,
        _ => s.current,
    };
    let set = set.ok_or_else(|| {
        let what =
            format!("experiment template `{}`: there is no {origin} revision yet", step.name);
        ArgumentError::Invalid(what)
    })?;
    let mut template = (*set.template).clone();
    let metadata = step.metadata.clone().unwrap_or_default();
    let more = [("labels", metadata.labels.clone()), ("annotations", metadata.annotations)];
    for (field, more) in more {
        for (key, value) in more.into_iter().flatten() {
            template["metadata"][field][key] = json!(value);
        }
    }
    let mut selector = match &step.selector {
        Some(selector) => selector.clone(),
        None => {
            let mut selector = s.rollout.spec.selector.clone().unwrap_or_default();
            let hash = set.hash().unwrap_or_default().to_owned();
            let matched = selector.match_labels.get_or_insert_default();
            matched.insert(labels::POD_TEMPLATE_HASH.to_owned(), hash);
            selector
        }
    };
    selector.match_labels.get_or_insert_default().extend(metadata.labels.unwrap_or_default());
    let named = step.service.as_ref().and_then(|service| service.name.clone());
    let service = (step.service.is_some() || step.weight.is_some())
        .then_some(ExperimentService { name: named });
    Ok(ExperimentTemplate {
        name: step.name.clone(),
        replicas: step.replicas,
        min_ready_seconds: i32::try_from(set.min_ready_seconds).ok().filter(|seconds| *seconds > 0),
        selector,
        template,
        service,
    })
}

/// The experiments among the steps, with their index.
fn of_steps(canary: &CanaryStrategy) -> impl Iterator<Item = (usize, &ExperimentStep)> {
    let steps = canary.steps.iter().flatten().enumerate();
    steps.filter_map(|(index, step)| Some((index, step.experiment.as_ref()?)))
}

/// Returns whether any step is an experiment.
pub(crate) fn is_asked_for(canary: &CanaryStrategy) -> bool {
    of_steps(canary).next().is_some()
}

/// Every AnalysisTemplate that an experiment among the steps names.
pub(crate) fn templates(canary: &CanaryStrategy) -> impl Iterator<Item = TemplateRef> {
    of_steps(canary).flat_map(|(_, step)| step.analyses.iter().flatten()).map(|analysis| {
        TemplateRef {
            template_name: analysis.template_name.clone(),
            cluster_scope: analysis.cluster_scope.filter(|cluster| *cluster),
        }
    })
}

/// Returns what keeps the analyses of experiments among the steps from being begun, with the path of the step.
pub(crate) fn problems(s: &Situation<'_>) -> Vec<(String, ArgumentError)> {
    let mut found = Vec::new();
    for (index, step) in of_steps(s.canary) {
        let path = format!("spec.strategy.canary.steps[{index}].experiment");
        // The ReplicaSets are there when the step is reached, at the latest.
        let sizeless = ExperimentStep { templates: None, ..step.clone() };
        let spec = match spec(s, &sizeless) {
            Ok(spec) => spec,
            Err(error) => {
                found.push((path, error));
                continue;
            }
        };
        let names = step.templates.iter().flatten().map(|template| template.name.as_str());
        let words = arguments::guessed_words(names, step.duration.as_deref());
        let meta = Meta { namespace: s.rollout.meta.namespace.clone(), ..Meta::default() };
        let experiment = ExperimentRecord {
            meta,
            spec,
            status: ExperimentStatus::default(),
            memo: Memo::default(),
        };
        for analysis in &experiment.spec.analyses {
            let templates = &s.view.templates;
            let spec = arguments::experiment_run_spec(&experiment, analysis, templates, &words);
            if let Err(error) = spec {
                found.push((format!("{path}: analysis `{}`", analysis.name), error));
            }
        }
    }
    found
}

/// Returns the deletions of finished experiments that are beyond their limit, or whose revision is gone (`spec-rollouts` 2.4).
pub(crate) fn history(s: &Roles<'_>, verdicts: &Verdicts) -> Vec<Action> {
    let limits = s.rollout.spec.analysis.clone().unwrap_or_default();
    let limit = |value: Option<i32>| usize::try_from(value.unwrap_or(5)).unwrap_or(0);
    let current = verdicts.trial.as_ref().map(|trial| trial.name.as_str());
    let mut finished: Vec<&ExperimentRecord> = all(s)
        .map(|sight| &*sight.experiment)
        .filter(|experiment| experiment.meta.deletion_timestamp.is_none())
        .filter(|experiment| experiment.status.phase.is_some_and(AnalysisPhase::is_completed))
        .filter(|experiment| Some(experiment.meta.name.as_str()) != current)
        .collect();
    finished.sort_by(|a, b| {
        (b.meta.creation_timestamp, &b.meta.name).cmp(&(a.meta.creation_timestamp, &a.meta.name))
    });
    let mut kept: BTreeMap<bool, usize> = BTreeMap::new();
    let beyond = |experiment: &&ExperimentRecord| {
        let good = experiment.status.phase == Some(AnalysisPhase::Successful);
        let most = if good {
            limit(limits.successful_run_history_limit)
        } else {
            limit(limits.unsuccessful_run_history_limit)
        };
        let count = kept.entry(good).or_default();
        *count += 1;
        let hash = hash_of(&experiment.meta);
        let orphaned = hash.is_none_or(|hash| !s.owned().any(|set| set.hash() == Some(hash)));
        orphaned || *count > most
    };
    let deletion = |experiment: &ExperimentRecord| {
        let object = experiment.meta.object(Kind::EXPERIMENT);
        Action::Delete { target: Target::of(s.view, object, &experiment.meta) }
    };
    finished.into_iter().filter(beyond).map(deletion).collect()
}
