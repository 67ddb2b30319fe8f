//! What is legal but unwise: for `lint` and the controller's warnings. Nothing of it stops an object.

use crate::application::{ApplicationSpec, sync_option};
use crate::rollout::strategy::{BackgroundAnalysis, CanaryStrategy};
use crate::rollout::{CanaryStep, RolloutSpec};
use crate::validate::{FieldPath, Problem};

/// Returns advice on a Rollout.
pub fn rollout(spec: &RolloutSpec) -> Vec<Problem> {
    let mut advice = Vec::new();
    let Some(canary) = &spec.strategy.canary else { return advice };
    let path = FieldPath::spec().field("strategy.canary");
    let steps = canary.steps.as_deref().unwrap_or_default();
    weights(&path.field("steps"), steps, &mut advice);
    judgement(&path, canary, steps, &mut advice);
    if let Some(background) = &canary.analysis {
        background_start(&path.field("analysis"), background, steps, &mut advice);
    }
    if spec.progress_deadline_abort != Some(true) && !steps.is_empty() {
        let path = FieldPath::spec().field("progressDeadlineAbort");
        advice.push(
            Problem::new(path, "an update that makes no progress stays as it is")
                .hint("write `progressDeadlineAbort: true` to take it back"),
        );
    }
    if steps.is_empty() && canary.traffic_routing.is_some() {
        advice.push(
            Problem::new(path.field("steps"), "without steps all traffic moves at once")
                .hint("add steps such as `setWeight: 20` and `pause: {duration: 5m}`"),
        );
    }
    advice
}

fn weights(path: &FieldPath, steps: &[CanaryStep], advice: &mut Vec<Problem>) {
    let mut before = 0;
    for (index, step) in steps.iter().enumerate() {
        let Some(weight) = step.set_weight else { continue };
        if weight < before {
            let path = path.index(index).field("setWeight");
            advice.push(Problem::new(
                path,
                format!("{weight} is below {before}, the weight before it"),
            ));
        }
        before = weight;
    }
}

fn judgement(
    path: &FieldPath,
    canary: &CanaryStrategy,
    steps: &[CanaryStep],
    advice: &mut Vec<Problem>,
) {
    let judged = canary.analysis.is_some()
        || steps.iter().any(|step| step.analysis.is_some() || step.experiment.is_some());
    let paused = steps.iter().any(|step| step.pause.is_some() || step.duration.is_some());
    if !steps.is_empty() && !judged {
        advice.push(
            Problem::new(path.field("analysis"), "nothing judges the canary")
                .hint("name an AnalysisTemplate here or in a step"),
        );
    }
    if !steps.is_empty() && !judged && !paused {
        advice.push(
            Problem::new(path.field("steps"), "no step pauses: all weights are passed in seconds")
                .hint("add `pause: {duration: 5m}` after each weight"),
        );
    }
}

fn background_start(
    path: &FieldPath,
    background: &BackgroundAnalysis,
    steps: &[CanaryStep],
    advice: &mut Vec<Problem>,
) {
    let start = background.starting_step.unwrap_or(0);
    if usize::try_from(start).is_ok_and(|start| start > 0 && start >= steps.len()) {
        advice.push(Problem::new(
            path.field("startingStep"),
            format!("{start} is behind the last step, so the analysis never starts: steps are counted from 0"),
        ));
    }
}

/// Returns advice on an Application.
pub fn application(spec: &ApplicationSpec) -> Vec<Problem> {
    let mut advice = Vec::new();
    let path = FieldPath::spec();
    if let Some(policy) = &spec.sync_policy {
        let asked = sync_option(&policy.sync_options, "SelfHeal") == Some("true");
        if asked && policy.automated.is_none() {
            advice.push(
                Problem::new(
                    path.field("syncPolicy.syncOptions"),
                    "`SelfHeal=true` does nothing without `automated`",
                )
                .hint("add `automated: {selfHeal: true}`"),
            );
        }
        let retries_for_ever =
            policy.retry.as_ref().is_some_and(|retry| retry.limit.is_some_and(|limit| limit < 0));
        if retries_for_ever {
            let path = path.field("syncPolicy.retry.limit");
            advice.push(Problem::new(path, "below 0: a sync that fails is retried without end"));
        }
    }
    for (index, notification) in spec.notifications.iter().enumerate() {
        if notification.on.is_some() && notification.on_as_read_by_yaml_1_1.is_none() {
            advice.push(
                Problem::new(
                    path.field("notifications").index(index).field("on"),
                    "kubectl reads the unquoted key `on` as `true`",
                )
                .hint("both keys work; write `\"on\":` to be plain"),
            );
        }
    }
    if !spec.sources.is_empty() && spec.source.is_some() {
        advice.push(Problem::new(path.field("source"), "is ignored, because `sources` is there"));
    }
    advice
}

#[cfg(test)]
mod tests;
