//! What keeps a Rollout from being acted on: an invalid spec, something missing, something that is not acted on yet
//! (`spec-rollouts` 1.7). Traffic stays as it is until it is repaired.

use sluice_crds::labels;
use sluice_crds::object::ObjectRef;
use sluice_crds::rollout::steps::TemplateRef;
use sluice_crds::rollout::strategy::CanaryStrategy;
use sluice_crds::rollout::{CanaryStep, LabelSelector, RolloutAnalysis, RolloutRecord};

use super::situation::{Situation, current_set, wanted_hash};
use super::{analysis, pause, routes};
use crate::analysis::arguments::{self, ArgumentError};
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
    fn new(at: impl Into<String>, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { at: at.into(), message: message.into(), hint: hint.into() }
    }
}

/// What a view allows.
pub(crate) enum Check<'a> {
    /// All that decisions need is there and makes sense.
    Ready(&'a CanaryStrategy),
    /// A store has not been filled yet: wait, and say nothing in the status.
    Unread(String),
    /// Somebody must repair something; never empty.
    Problems(Vec<Problem>),
}

/// Checks the spec, and everything that it names.
pub(crate) fn check(view: &RolloutView) -> Check<'_> {
    let spec_problems = spec(&view.rollout);
    let Some(canary) = view.rollout.spec.strategy.canary.as_deref() else {
        return Check::Problems(spec_problems);
    };
    if !spec_problems.is_empty() {
        return Check::Problems(spec_problems);
    }
    if let Some(unread) = unread(view, canary) {
        return Check::Unread(unread);
    }
    let mut problems = references(view, canary);
    problems.extend(quarantine(view));
    if problems.is_empty() { Check::Ready(canary) } else { Check::Problems(problems) }
}

const CANARY: &str = "spec.strategy.canary";
const NOT_YET: &str = "is not acted on yet";

fn spec(rollout: &RolloutRecord) -> Vec<Problem> {
    let spec = &rollout.spec;
    let mut problems = Vec::new();
    let mut refuse = |at: &str, message: &str, hint: &str| {
        problems.push(Problem::new(at, message, hint));
    };
    match (&spec.strategy.canary, &spec.strategy.blue_green) {
        (Some(_), Some(_)) => {
            refuse("spec.strategy", "both `canary` and `blueGreen` are set", "keep one of them");
        }
        (None, Some(_)) => refuse("spec.strategy.blueGreen", NOT_YET, "use `canary`"),
        (None, None) => refuse("spec.strategy", "no strategy is set", "set `canary`"),
        (Some(_), None) => {}
    }
    if spec.workload_ref.is_some() {
        refuse("spec.workloadRef", NOT_YET, "move the Pod template into `spec.template`");
    } else if spec.template.as_ref().and_then(|template| template.get("spec")).is_none() {
        refuse("spec.template", "there is no Pod template", "set `spec.template`");
    }
    let no_selector = spec.selector.as_ref().is_none_or(|selector| {
        selector.match_labels.as_ref().is_none_or(std::collections::BTreeMap::is_empty)
            && selector.match_expressions.as_ref().is_none_or(Vec::is_empty)
    });
    if no_selector {
        refuse("spec.selector", "is empty", "set `spec.selector.matchLabels`");
    } else if spec.selector.as_ref().is_some_and(|selector| !matches_template(selector, rollout)) {
        refuse(
            "spec.selector",
            "does not match the labels of `spec.template`",
            "give the template the labels of `matchLabels`",
        );
    }
    let deadline = spec.progress_deadline_seconds.unwrap_or(600);
    if deadline <= spec.min_ready_seconds.unwrap_or(0) {
        refuse(
            "spec.progressDeadlineSeconds",
            "is not above `minReadySeconds`",
            "raise the one or lower the other",
        );
    }
    if spec.replicas.is_some_and(|n| n < 0) {
        refuse("spec.replicas", "is negative", "set it to 0 or more");
    }
    if let Some(canary) = spec.strategy.canary.as_deref() {
        problems.extend(strategy(canary));
    }
    problems
}

fn matches_template(selector: &LabelSelector, rollout: &RolloutRecord) -> bool {
    let labels =
        rollout.spec.template.as_ref().and_then(|template| template.pointer("/metadata/labels"));
    selector.match_labels.iter().flatten().all(|(key, value)| {
        labels.and_then(|labels| labels.get(key)).and_then(|v| v.as_str()) == Some(value)
    })
}

fn strategy(canary: &CanaryStrategy) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut refuse = |field: &str, message: &str, hint: &str| {
        problems.push(Problem::new(format!("{CANARY}.{field}"), message, hint));
    };
    let named = |service: &Option<String>| service.clone().filter(|name| !name.is_empty());
    let services = (named(&canary.canary_service), named(&canary.stable_service));
    if services.0.is_some() && services.0 == services.1 {
        refuse("canaryService", "equals `stableService`", "name two Services");
    }
    if canary.ping_pong.is_some() {
        refuse("pingPong", NOT_YET, "use `canaryService` and `stableService`");
    }
    if canary.dynamic_stable_scale == Some(true) {
        refuse("dynamicStableScale", NOT_YET, "set it to false");
    }
    match canary.traffic_routing.as_deref() {
        Some(routing) => {
            let others = [
                ("nginx", routing.nginx.is_some()),
                ("alb", routing.alb.is_some()),
                ("smi", routing.smi.is_some()),
                ("ambassador", routing.ambassador.is_some()),
                ("appMesh", routing.app_mesh.is_some()),
                ("traefik", routing.traefik.is_some()),
                ("apisix", routing.apisix.is_some()),
                ("plugins", routing.plugins.is_some()),
                ("maxTrafficWeight", routing.max_traffic_weight.is_some_and(|w| w != 100)),
            ];
            for (field, _) in others.into_iter().filter(|(_, set)| *set) {
                refuse(&format!("trafficRouting.{field}"), NOT_YET, "route through `istio`");
            }
            if routing.istio.is_none() && !others.iter().any(|(_, set)| *set) {
                refuse("trafficRouting", "names no router", "set `istio`, or remove it");
            }
        }
        None => {
            if canary.scale_down_delay_seconds.is_some() {
                refuse("scaleDownDelaySeconds", "needs `trafficRouting`", "remove it");
            }
        }
    }
    if let Some(background) = &canary.analysis
        && background.metrics.is_some()
    {
        refuse("analysis.metrics", NOT_YET, "name an AnalysisTemplate under `templates`");
    }
    for (index, step) in canary.steps.iter().flatten().enumerate() {
        problems.extend(step_problem(index, step, canary.traffic_routing.is_some()));
    }
    problems
}

fn step_problem(index: usize, step: &CanaryStep, routed: bool) -> Option<Problem> {
    let at = |field: &str| format!("{CANARY}.steps[{index}].{field}");
    let unsupported = [
        ("experiment", step.experiment.is_some()),
        ("setHeaderRoute", step.set_header_route.is_some()),
        ("setMirrorRoute", step.set_mirror_route.is_some()),
        ("plugin", step.plugin.is_some()),
    ];
    if let Some((field, _)) = unsupported.into_iter().find(|(_, set)| *set) {
        return Some(Problem::new(at(field), NOT_YET, "remove the step"));
    }
    let kinds = [
        step.set_weight.is_some(),
        step.pause.is_some(),
        step.set_canary_scale.is_some(),
        step.analysis.is_some(),
    ];
    if kinds.into_iter().filter(|set| *set).count() != 1 {
        return Some(Problem::new(
            format!("{CANARY}.steps[{index}]"),
            "must have exactly one of setWeight, pause, setCanaryScale, analysis",
            "split it into several steps",
        ));
    }
    if let Some(weight) = step.set_weight.filter(|weight| !(0..=100).contains(weight)) {
        return Some(Problem::new(
            at("setWeight"),
            format!("{weight} is not in 0..=100"),
            "set a share of 100",
        ));
    }
    let pause = step.pause.as_ref().and_then(|pause| pause.duration.as_ref());
    for (field, duration) in [("pause.duration", pause), ("duration", step.duration.as_ref())] {
        if let Some(duration) = duration.filter(|duration| pause::parse(duration).is_none()) {
            return Some(Problem::new(
                at(field),
                format!("`{duration}` is no duration"),
                "write seconds, or a duration such as `5m`",
            ));
        }
    }
    if step.set_canary_scale.is_some() && !routed {
        return Some(Problem::new(
            at("setCanaryScale"),
            "needs `trafficRouting`",
            "remove the step",
        ));
    }
    None
}

/// Returns the fields that are accepted and not acted on yet.
pub(crate) fn not_acted_on(rollout: &RolloutRecord) -> Vec<String> {
    let Some(canary) = rollout.spec.strategy.canary.as_deref() else { return Vec::new() };
    let routing = canary.traffic_routing.as_deref();
    [
        ("spec.strategy.canary.antiAffinity", canary.anti_affinity.is_some()),
        ("spec.strategy.canary.canaryMetadata", canary.canary_metadata.is_some()),
        ("spec.strategy.canary.stableMetadata", canary.stable_metadata.is_some()),
        (
            "spec.strategy.canary.trafficRouting.managedRoutes",
            routing.is_some_and(|routing| routing.managed_routes.is_some()),
        ),
        ("spec.restartAt", rollout.spec.restart_at.is_some()),
    ]
    .into_iter()
    .filter(|(_, set)| *set)
    .map(|(field, _)| field.to_owned())
    .collect()
}

/// The Services that the strategy names, with the field that does.
fn services(canary: &CanaryStrategy) -> impl Iterator<Item = (&'static str, &str)> {
    [("canaryService", &canary.canary_service), ("stableService", &canary.stable_service)]
        .into_iter()
        .filter_map(|(field, name)| Some((field, name.as_deref().filter(|n| !n.is_empty())?)))
}

/// Every analysis of the strategy, with its path.
fn analyses(canary: &CanaryStrategy) -> Vec<(String, &RolloutAnalysis)> {
    let background = canary.analysis.iter().map(|b| (format!("{CANARY}.analysis"), &b.analysis));
    let steps = canary.steps.iter().flatten().enumerate().filter_map(|(index, step)| {
        Some((format!("{CANARY}.steps[{index}].analysis"), step.analysis.as_ref()?))
    });
    background.chain(steps).collect()
}

/// Every template that the strategy names.
pub(crate) fn templates(canary: &CanaryStrategy) -> Vec<TemplateRef> {
    analyses(canary)
        .into_iter()
        .flat_map(|(_, analysis)| analysis.templates.clone().unwrap_or_default())
        .collect()
}

fn unread(view: &RolloutView, canary: &CanaryStrategy) -> Option<String> {
    let service = services(canary)
        .find(|(_, name)| matches!(view.services.get(*name), None | Some(Lookup::Unknown)))
        .map(|(_, name)| format!("Service `{name}`"));
    let route = || {
        routes::reads(&view.rollout)
            .into_iter()
            .find(|object| matches!(view.routes.get(object), None | Some(Lookup::Unknown)))
            .map(|object| object.to_string())
    };
    let template = || {
        arguments::references(&templates(canary), &view.templates)
            .into_iter()
            .find(|name| matches!(view.templates.get(name), None | Some(Lookup::Unknown)))
            .map(|name| format!("AnalysisTemplate `{}`", name.template_name))
    };
    service.or_else(route).or_else(template)
}

fn references(view: &RolloutView, canary: &CanaryStrategy) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (field, name) in services(canary) {
        let at = format!("{CANARY}.{field}");
        match view.services.get(name) {
            Some(Lookup::Present(service)) => {
                problems.extend(service_problem(view, &at, service));
            }
            Some(Lookup::Absent | Lookup::NoKind | Lookup::Unknown) | None => {
                problems.push(Problem::new(
                    at,
                    format!("service \"{name}\" not found"),
                    "create the Service, or correct the name",
                ));
            }
        }
    }
    for problem in routes::check(view, canary) {
        let at = match &problem.object {
            Some(object) => format!("{object}: {}", problem.path),
            None => problem.path,
        };
        problems.push(Problem::new(at, problem.message, problem.hint.unwrap_or_default()));
    }
    for (path, analysis) in analyses(canary) {
        problems.extend(template_problem(view, canary, &path, analysis));
    }
    for (object, other) in &view.claims {
        problems.push(claimed(object, other));
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
    canary: &CanaryStrategy,
    path: &str,
    analysis: &RolloutAnalysis,
) -> Option<Problem> {
    if analysis.templates.iter().flatten().next().is_none() {
        return None;
    }
    let s = Situation::observe(view, canary);
    let error = analysis::run_spec(&s, analysis).err()?;
    let hint = match error {
        ArgumentError::Missing(_) => "create it, or correct the name",
        ArgumentError::Unknown(_) | ArgumentError::SecretUnknown(_) => "wait",
        ArgumentError::Invalid(_) => "correct the template or its arguments",
    };
    Some(Problem::new(path, error.to_string(), hint))
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
        "spec.template",
        format!("revision {hash} is in quarantine: {evidence}"),
        "change it, or allow it with `kubectl sluice quarantine release`",
    ))
}
