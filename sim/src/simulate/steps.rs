//! Steps in words.

use sluice_crds::rollout::steps::{CanaryStep, RolloutAnalysis, SetCanaryScale};
use sluice_crds::rollout::{RolloutSpec, Strategy};

use super::timeline::Step;

/// Returns the steps of a canary.
pub(super) fn of(spec: &RolloutSpec) -> Vec<Step> {
    let steps = spec.strategy.canary.iter().flat_map(|canary| canary.steps.iter().flatten());
    steps.map(step).collect()
}

/// Returns the word of the strategy.
pub(super) fn strategy(strategy: &Strategy) -> &'static str {
    if strategy.blue_green.is_some() { "blueGreen" } else { "canary" }
}

fn step(step: &CanaryStep) -> Step {
    let mut parts = Vec::new();
    if let Some(weight) = step.set_weight {
        parts.push(format!("setWeight {weight}"));
    }
    if let Some(scale) = &step.set_canary_scale {
        parts.push(format!("setCanaryScale {}", size(scale)));
    }
    if let Some(route) = &step.set_header_route {
        let verb = if route.matches.is_none() { "remove " } else { "" };
        parts.push(format!("setHeaderRoute {verb}{}", route.name));
    }
    if let Some(route) = &step.set_mirror_route {
        let verb = if route.matches.is_none() { "remove " } else { "" };
        parts.push(format!("setMirrorRoute {verb}{}", route.name));
    }
    if let Some(analysis) = &step.analysis {
        parts.push(format!("analysis {}", templates(analysis)));
    }
    if let Some(experiment) = &step.experiment {
        let names = experiment.templates.iter().flatten().map(|template| template.name.as_str());
        parts.push(format!("experiment {}", names.collect::<Vec<_>>().join(", ")));
    }
    if let Some(plugin) = &step.plugin {
        parts.push(format!("plugin {}", plugin.name));
    }
    let length = step.pause_length();
    match length {
        Some(Some(length)) => parts.push(format!("pause {}", sluice_crds::duration::print(length))),
        Some(None) => parts.push("pause until promoted".to_owned()),
        None => {}
    }
    let text = if parts.is_empty() { "nothing".to_owned() } else { parts.join(", ") };
    Step { text, waits_for_person: length == Some(None) }
}

fn size(scale: &SetCanaryScale) -> String {
    match (scale.replicas, scale.weight, scale.match_traffic_weight) {
        (Some(1), _, _) => "1 Pod".to_owned(),
        (Some(replicas), _, _) => format!("{replicas} Pods"),
        (None, Some(weight), _) => format!("{weight} %"),
        (None, None, Some(true)) => "as the weight".to_owned(),
        (None, None, Some(false) | None) => "unchanged".to_owned(),
    }
}

fn templates(analysis: &RolloutAnalysis) -> String {
    let names = analysis.templates.iter().flatten().map(|named| named.template_name.as_str());
    names.collect::<Vec<_>>().join(", ")
}
