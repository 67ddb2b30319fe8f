//! What keeps a Rollout from being acted on: an invalid spec, something missing, something that is not acted on yet
//! (`spec-rollouts` 1.7). Traffic stays as it is until it is repaired.

use sluice_crds::labels;
use sluice_crds::object::ObjectRef;
use sluice_crds::rollout::steps::TemplateRef;
use sluice_crds::rollout::strategy::CanaryStrategy;
use sluice_crds::rollout::{RolloutAnalysis, RolloutRecord};
use sluice_crds::supported::State;

use super::destinations;
use super::situation::{Chosen, Roles, Situation, current_set, wanted_hash};
use super::spec_facts::SpecFacts;
use super::{analysis, experiment, routes, workload};
use crate::analysis::arguments::{self, ArgumentError};
use crate::analysis::named;
use crate::view::{Lookup, RolloutView, ServiceRecord};

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Problem {
    /// Field path in the Rollout, or the other object and its field.
    pub(crate) at: String,
    pub(crate) message: String,
    pub(crate) hint: String,
}

impl Problem {
    pub(crate) fn new(
        at: impl Into<String>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self { at: at.into(), message: message.into(), hint: hint.into() }
    }
}

/// What a view allows.
pub(crate) enum Check<'a> {
    /// All that decisions need is there and makes sense.
    Ready(Chosen<'a>),
    /// A store has not been filled yet: wait, and say nothing in the status.
    Unread(String),
    /// Somebody must repair something; never empty.
    Problems(Vec<Problem>),
    /// Likewise, but only in analyses, or in where nobody but testers look: an update can be taken back.
    Unjudged(Chosen<'a>, Vec<Problem>),
}

/// Checks the spec, and everything that it names.
pub(crate) fn check(view: &RolloutView) -> Check<'_> {
    let spec_problems = spec(view);
    let Some(chosen) = Chosen::of(&view.rollout.spec.strategy) else {
        return Check::Problems(spec_problems);
    };
    if !spec_problems.is_empty() {
        return Check::Problems(spec_problems);
    }
    if let Some(unread) = workload::unread(view).or_else(|| unread(view, chosen)) {
        return Check::Unread(unread);
    }
    let (mut problems, mut lesser) = references(view, chosen);
    problems.extend(quarantine(view));
    lesser.extend(template_problems(view, chosen));
    // With a workload that is gone an update can be taken back, as without templates.
    let missing = workload::problem(view);
    if view.rollout.spec.workload_ref.is_some() {
        problems.extend(missing);
    } else {
        lesser.extend(missing);
    }
    match (problems.is_empty(), lesser.is_empty()) {
        (true, true) => Check::Ready(chosen),
        (true, false) => Check::Unjudged(chosen, lesser),
        (false, _) => {
            problems.extend(lesser);
            Check::Problems(problems)
        }
    }
}

const CANARY: &str = "spec.strategy.canary";
const BLUE_GREEN: &str = "spec.strategy.blueGreen";

/// What is wrong with the spec by itself, and what of it would be dangerous to ignore.
fn spec(view: &RolloutView) -> Vec<Problem> {
    let facts = SpecFacts::of(&view.rollout);
    let hint = |problem: &sluice_crds::validate::Problem| problem.hint.clone().unwrap_or_default();
    let invalid = facts.invalid.iter().map(|problem| {
        let at = workload::located(view, problem.path.as_str());
        Problem::new(at, problem.message.as_str(), hint(problem))
    });
    let refused = facts.in_vain.iter().filter(|(state, _)| *state == State::Refused);
    let refused = refused.map(|(_, problem)| {
        Problem::new(problem.path.as_str(), "is not acted on by this version", hint(problem))
    });
    invalid.chain(refused).collect()
}

/// Returns the fields that are accepted and not acted on yet.
pub(crate) fn not_acted_on(rollout: &RolloutRecord) -> Vec<String> {
    let in_vain = SpecFacts::of(rollout).in_vain.iter();
    in_vain
        .filter(|(state, _)| *state == State::Accepted)
        .map(|(_, problem)| problem.path.as_str().to_owned())
        .collect()
}

/// The Services that the strategy names, with the field that does.
pub(crate) fn services(chosen: Chosen<'_>) -> Vec<(&'static str, &str)> {
    match chosen {
        Chosen::Canary(canary) => destinations::named(canary).collect(),
        Chosen::BlueGreen(strategy) => [
            ("activeService", &strategy.active_service),
            (PREVIEW_SERVICE, &strategy.preview_service),
        ]
        .into_iter()
        .filter_map(|(field, name)| Some((field, name.as_deref().filter(|n| !n.is_empty())?)))
        .collect(),
    }
}

const PREVIEW_SERVICE: &str = "previewService";

/// Path of the strategy.
fn root(chosen: Chosen<'_>) -> &'static str {
    match chosen {
        Chosen::Canary(_) => CANARY,
        Chosen::BlueGreen(_) => BLUE_GREEN,
    }
}

fn canary_of(chosen: Chosen<'_>) -> Option<&CanaryStrategy> {
    match chosen {
        Chosen::Canary(canary) => Some(canary),
        Chosen::BlueGreen(_) => None,
    }
}

/// Every analysis of the strategy, with its path.
fn analyses(chosen: Chosen<'_>) -> Vec<(String, &RolloutAnalysis)> {
    match chosen {
        Chosen::Canary(canary) => {
            let background =
                canary.analysis.iter().map(|b| (format!("{CANARY}.analysis"), &b.analysis));
            let steps = canary.steps.iter().flatten().enumerate().filter_map(|(index, step)| {
                Some((format!("{CANARY}.steps[{index}].analysis"), step.analysis.as_ref()?))
            });
            background.chain(steps).collect()
        }
        Chosen::BlueGreen(strategy) => [
            ("prePromotionAnalysis", &strategy.pre_promotion_analysis),
            ("postPromotionAnalysis", &strategy.post_promotion_analysis),
        ]
        .into_iter()
        .filter_map(|(field, analysis)| Some((format!("{BLUE_GREEN}.{field}"), analysis.as_ref()?)))
        .collect(),
    }
}

/// Every template that the strategy names.
pub(crate) fn templates(chosen: Chosen<'_>) -> Vec<TemplateRef> {
    let trials = canary_of(chosen).into_iter().flat_map(experiment::templates);
    analyses(chosen)
        .into_iter()
        .flat_map(|(_, analysis)| analysis.templates.clone().unwrap_or_default())
        .chain(trials)
        .collect()
}

fn unread(view: &RolloutView, chosen: Chosen<'_>) -> Option<String> {
    let service = services(chosen)
        .into_iter()
        .find(|(_, name)| matches!(view.services.get(*name), None | Some(Lookup::Unknown)))
        .map(|(_, name)| format!("Service `{name}`"));
    let route = || {
        routes::reads(&view.rollout)
            .into_iter()
            .find(|object| matches!(view.routes.get(object), None | Some(Lookup::Unknown)))
            .map(|object| object.to_string())
    };
    let asks = canary_of(chosen).is_some_and(experiment::is_asked_for);
    if asks && matches!(view.experiments, Lookup::Unknown) {
        return Some("Experiments".to_owned());
    }
    let template = || {
        arguments::references(&templates(chosen), &view.templates)
            .into_iter()
            .find(|name| matches!(view.templates.get(name), None | Some(Lookup::Unknown)))
            .map(|name| format!("AnalysisTemplate `{}`", name.template_name))
    };
    service.or_else(route).or_else(template)
}

/// What is wrong with the objects that the spec names; apart from it, what does not keep an update from being taken back.
fn references(view: &RolloutView, chosen: Chosen<'_>) -> (Vec<Problem>, Vec<Problem>) {
    let (mut problems, mut lesser) = (Vec::new(), Vec::new());
    for (field, name) in services(chosen) {
        let at = format!("{}.{field}", root(chosen));
        let problem = match view.services.get(name) {
            Some(Lookup::Present(service)) => service_problem(view, &at, service),
            Some(Lookup::Absent | Lookup::NoKind | Lookup::Unknown) | None => Some(Problem::new(
                at,
                format!("service \"{name}\" not found"),
                "create the Service, or correct the name",
            )),
        };
        if field == PREVIEW_SERVICE { &mut lesser } else { &mut problems }.extend(problem);
    }
    if let Chosen::Canary(canary) = chosen {
        for problem in routes::check(view, canary) {
            let at = match &problem.object {
                Some(object) => format!("{object}: {}", problem.path),
                None => problem.path,
            };
            problems.push(Problem::new(at, problem.message, problem.hint.unwrap_or_default()));
        }
    }
    for (object, other) in &view.claims {
        problems.push(claimed(object, other));
    }
    (problems, lesser)
}

fn template_problems(view: &RolloutView, chosen: Chosen<'_>) -> Vec<Problem> {
    let all = analyses(chosen).into_iter();
    let mut problems: Vec<Problem> = all
        .filter_map(|(path, analysis)| template_problem(view, chosen, &path, analysis))
        .collect();
    let background = canary_of(chosen).and_then(|canary| canary.analysis.as_ref());
    if let Some(background) = background.filter(|background| named::is_inline(background)) {
        let error = analysis::background_spec(&Roles::observe(view, chosen), background).err();
        problems.extend(error.map(|error| {
            Problem::new(format!("{CANARY}.analysis"), error.to_string(), hint(&error))
        }));
    }
    if let Some(canary) = canary_of(chosen).filter(|canary| experiment::is_asked_for(canary)) {
        let found = experiment::problems(&Situation::observe(view, canary));
        problems.extend(
            found.into_iter().map(|(at, error)| Problem::new(at, error.to_string(), hint(&error))),
        );
    }
    problems
}

fn claimed(object: &ObjectRef, other: &str) -> Problem {
    Problem::new(
        object.to_string(),
        format!("is also named by Rollout {other}"),
        "a Service or route belongs to one Rollout: give each its own",
    )
}

fn service_problem(view: &RolloutView, at: &str, service: &ServiceRecord) -> Option<Problem> {
    let name = &service.meta.name;
    if let Some(owner) = service.meta.annotations.get(labels::MANAGED_BY)
        && *owner != view.rollout.meta.name
    {
        return Some(Problem::new(
            at,
            format!("Service `{name}` is managed by another Rollout (`{owner}`)"),
            format!("name another Service, or remove the annotation `{}`", labels::MANAGED_BY),
        ));
    }
    if service.selector.is_empty() {
        return Some(Problem::new(
            at,
            format!("Service `{name}` has no selector"),
            "give it the labels of the Pod template",
        ));
    }
    let template = view.rollout.spec.template.as_ref();
    let labels_of = template.and_then(|template| template.pointer("/metadata/labels"));
    let stray = service.selector.iter().find(|(key, value)| {
        key.as_str() != labels::POD_TEMPLATE_HASH
            && labels_of.and_then(|l| l.get(key.as_str())).and_then(|v| v.as_str())
                != Some(value.as_str())
    })?;
    Some(Problem::new(
        at,
        format!(
            "Service `{name}` selects `{}={}`, which `spec.template` does not have",
            stray.0, stray.1
        ),
        "give the Pod template this label, or remove it from the selector",
    ))
}

fn template_problem(
    view: &RolloutView,
    chosen: Chosen<'_>,
    path: &str,
    analysis: &RolloutAnalysis,
) -> Option<Problem> {
    analysis.templates.iter().flatten().next()?;
    let s = Roles::observe(view, chosen);
    let error = analysis::run_spec(&s, analysis).err()?;
    Some(Problem::new(path, error.to_string(), hint(&error)))
}

fn hint(error: &ArgumentError) -> &'static str {
    match error {
        ArgumentError::Missing(_) => "create it, or correct the name",
        ArgumentError::Unknown(_) | ArgumentError::SecretUnknown(_) => "wait",
        ArgumentError::Invalid(_) => "correct the template or its arguments",
    }
}

/// Content in quarantine does not start; one that has started is aborted instead.
fn quarantine(view: &RolloutView) -> Option<Problem> {
    let hash = match current_set(view).and_then(|rs| rs.hash()) {
        Some(hash) => hash.to_owned(),
        None => wanted_hash(&view.rollout),
    };
    let evidence = view.quarantined.get(&hash)?;
    let status = &view.rollout.status;
    let started = status.current_pod_hash.as_deref() == Some(hash.as_str())
        && status.stable_rs.as_deref().is_some_and(|stable| !stable.is_empty());
    if started || status.stable_rs.as_deref() == Some(hash.as_str()) {
        return None;
    }
    Some(Problem::new(
        workload::located(view, "spec.template"),
        format!("revision {hash} is in quarantine: {evidence}"),
        "change it, or allow it with `kubectl sluice quarantine release`",
    ))
}
