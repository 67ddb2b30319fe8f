//! What stands above the tree. In our own words the second line answers the question; under Argo's name it is Argo's list.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use kube::ResourceExt as _;
use sluice_crds::rollout::{CanaryStep, Rollout};

use crate::arguments::Dialect;
use crate::phase;
use crate::span::span;

use super::{Drawing, Family, hash, revision};

pub(super) fn draw(family: &Family, drawing: Drawing, now: DateTime<Utc>) -> String {
    match drawing.dialect {
        Dialect::Argo => argo(family, drawing),
        Dialect::Sluice => own(family, drawing, now),
    }
}

fn own(family: &Family, drawing: Drawing, now: DateTime<Utc>) -> String {
    let rollout = &family.rollout;
    let status = rollout.status.clone().unwrap_or_default();
    let mut text = String::new();
    let mut line = |key: &str, value: &str| {
        text.push_str(format!("{key:<12}{value}").trim_end());
        text.push('\n');
    };
    let namespace = rollout.namespace().unwrap_or_default();
    line("Name:", &format!("{:<34}Namespace: {namespace}", rollout.name_any()));
    let shown = phase::of(rollout);
    let (state, tone) = drawing.style.state(&shown.phase);
    let waiting = status.sluice.as_ref().and_then(|s| s.waiting.clone()).unwrap_or_default();
    let mut answer: Vec<String> = Vec::new();
    if shown.phase != "Healthy" {
        answer.extend(step(rollout));
        let does = waiting.first().cloned().or_else(|| doing(family, now)).or(Some(shown.message));
        answer.extend(does.filter(|text| !text.is_empty()));
    }
    let state = drawing.style.paint(tone, state);
    line("Status:", &format!("{state}   {}", answer.join(": ")));
    for more in waiting.iter().skip(1) {
        line("", &format!("    {more}"));
    }
    if rollout.spec.strategy.canary.is_some() {
        let Weights { set, actual } = weights(family);
        let is_done = status.stable_rs.is_some() && status.stable_rs == status.current_pod_hash;
        line(
            "Weight:",
            &match is_done {
                true => "all on the stable version".to_owned(),
                false if is_unconfirmed(rollout) => {
                    format!("{set} set, {actual} sent, and not confirmed by all proxies")
                }
                false => format!("{set} set, {actual} in force"),
            },
        );
    }
    if let Some(services) = services(rollout) {
        line("Services:", &services);
    }
    let newest = family.replica_sets.iter().map(|rs| revision(rs.annotations())).max();
    let images: Vec<String> = images(family).into_iter().collect();
    line("Revision:", &format!("{}   {}", newest.unwrap_or(0), images.join(", ")));
    let number = |n: Option<i32>| n.unwrap_or(0);
    let mut replicas = format!(
        "{} wanted, {} ready",
        number(rollout.spec.replicas.or(Some(1))),
        number(status.ready_replicas)
    );
    if status.stable_rs != status.current_pod_hash {
        let word = if rollout.spec.strategy.canary.is_some() { "of them canary" } else { "new" };
        replicas.push_str(&format!(", {} {word}", ready_of_new(family)));
    }
    line("Replicas:", &replicas);
    if let Some(owner) = &family.owner {
        let name = &owner.name;
        let held = owner.held(&rollout.name_any()).filter(|entry| entry.moot != Some(true)).count();
        let more = match held {
            0 => String::new(),
            _ => format!(", which holds content back: see `app get {name}`"),
        };
        line("Git:", &format!("Application {name}{more}"));
    }
    text
}

/// Returns the index of the step that a canary is at, and all steps.
fn current(rollout: &Rollout) -> Option<(usize, &[CanaryStep])> {
    let steps = rollout.spec.strategy.canary.as_ref()?.steps.as_deref()?;
    let status = rollout.status.as_ref()?;
    let index = usize::try_from(status.current_step_index?).ok()?;
    let is_under_way = status.stable_rs != status.current_pod_hash && status.abort != Some(true);
    (is_under_way && index < steps.len()).then_some((index, steps))
}

/// Returns which step a canary is at, such as `step 3 of 8`.
fn step(rollout: &Rollout) -> Option<String> {
    current(rollout).map(|(index, steps)| format!("step {} of {}", index + 1, steps.len()))
}

/// Returns what the present step waits for, as far as status and runs tell.
fn doing(family: &Family, now: DateTime<Utc>) -> Option<String> {
    let (index, steps) = current(&family.rollout)?;
    let step = &steps[index];
    let status = family.rollout.status.as_ref()?;
    if family.rollout.spec.paused == Some(true) {
        return None;
    }
    let mut pauses = status.pause_conditions.iter().flatten();
    if let Some(pause) = pauses.find(|pause| pause.reason == "CanaryPauseStep") {
        return Some(match step.pause_length()? {
            None => "paused until promoted".to_owned(),
            Some(length) => {
                let left = pause.start_time.at() + length - now;
                format!("paused, goes on in {}", span(left.num_seconds()))
            }
        });
    }
    if status.controller_pause == Some(true) {
        return None;
    }
    if step.analysis.is_some() {
        return Some(analysis(family).unwrap_or_else(|| "analysis begins".to_owned()));
    }
    if let Some(weight) = step.set_weight {
        return Some(format!("weight {weight}"));
    }
    step.set_canary_scale.as_ref().map(|_| "size of the canary".to_owned())
}

/// Returns how far the analysis of the present step is, such as `analysis error-rate, 3 of 5 samples`.
fn analysis(family: &Family) -> Option<String> {
    let canary = family.rollout.status.as_ref()?.canary.as_ref()?;
    let named = canary.current_step_analysis_run_status.as_ref()?;
    let run = family.runs.iter().find(|run| run.name_any() == named.name)?;
    let results = run.status.as_ref().and_then(|s| s.metric_results.as_deref()).unwrap_or_default();
    let metrics = run.spec.metrics.iter().map(|metric| {
        let result = results.iter().find(|result| result.name == metric.name);
        let taken = result.and_then(|result| result.count).unwrap_or(0);
        match &metric.count {
            Some(count) => format!("{}, {taken} of {count} samples", metric.name),
            None => format!("{}, {taken} samples", metric.name),
        }
    });
    Some(format!("analysis {}", metrics.collect::<Vec<_>>().join("; ")))
}

/// Ready Pods of the revision of the template.
fn ready_of_new(family: &Family) -> i32 {
    let status = family.rollout.status.as_ref();
    let current = status.and_then(|status| status.current_pod_hash.as_deref());
    let is_new = |labels| current.is_some() && hash(labels) == current;
    let sets = family.replica_sets.iter().filter(|rs| is_new(rs.labels()));
    sets.filter_map(|rs| rs.status.as_ref()?.ready_replicas).sum()
}

/// Returns which version users and testers of a blue-green Rollout reach.
fn services(rollout: &Rollout) -> Option<String> {
    let strategy = rollout.spec.strategy.blue_green.as_deref()?;
    let status = rollout.status.clone().unwrap_or_default();
    let own = status.blue_green.clone().unwrap_or_default();
    let version = |selector: &Option<String>| match selector.as_deref() {
        None => "no version yet".to_owned(),
        Some(hash) if status.stable_rs.as_deref() == Some(hash) => "the stable version".to_owned(),
        Some(hash) if status.current_pod_hash.as_deref() == Some(hash) => {
            "the new version".to_owned()
        }
        Some(hash) => format!("an older version, {hash}"),
    };
    let mut text = format!("active on {}", version(&own.active_selector));
    if strategy.preview_service.is_some() {
        text.push_str(&format!(", preview on {}", version(&own.preview_selector)));
    }
    Some(text)
}

/// Argo's lines (`spec-rollouts` 10.1).
fn argo(family: &Family, drawing: Drawing) -> String {
    let rollout = &family.rollout;
    let shown = phase::of(rollout);
    let (state, tone) = drawing.style.state(&shown.phase);
    let mut text = String::new();
    let mut line = |key: &str, value: &str| {
        text.push_str(format!("{key:<17}{value}").trim_end());
        text.push('\n');
    };
    line("Name:", &rollout.name_any());
    line("Namespace:", &rollout.namespace().unwrap_or_default());
    line("Status:", &drawing.style.paint(tone, state));
    if !shown.message.is_empty() {
        line("Message:", &shown.message);
    }
    let canary = rollout.spec.strategy.canary.as_deref();
    line("Strategy:", if canary.is_some() { "Canary" } else { "BlueGreen" });
    let status = rollout.status.clone().unwrap_or_default();
    if let Some(canary) = canary {
        if let Some(steps) = canary.steps.as_ref().filter(|s| !s.is_empty()) {
            let index = status.current_step_index.unwrap_or(0);
            line("  Step:", &format!("{index}/{}", steps.len()));
        }
        let weights = weights(family);
        line("  SetWeight:", &weights.set.to_string());
        line("  ActualWeight:", &weights.actual.to_string());
    }
    for (i, image) in images(family).iter().enumerate() {
        line(if i == 0 { "Images:" } else { "" }, image);
    }
    let number = |n: Option<i32>| n.unwrap_or(0).to_string();
    line("Replicas:", "");
    line("  Desired:", &number(rollout.spec.replicas.or(Some(1))));
    line("  Current:", &number(status.replicas));
    line("  Updated:", &number(status.updated_replicas));
    line("  Ready:", &number(status.ready_replicas));
    line("  Available:", &number(status.available_replicas));
    text
}

/// Whether somebody watches proxies, and they do not have the present weights yet.
fn is_unconfirmed(rollout: &Rollout) -> bool {
    let canary = rollout.status.as_ref().and_then(|status| status.canary.as_ref());
    canary.and_then(|canary| canary.weights.as_ref()?.verified) == Some(false)
}

/// Weight that the steps want, and weight that is in force.
struct Weights {
    set: i32,
    actual: i32,
}

/// Returns the weights as Argo's plugin computes them (`spec-rollouts` 10.1).
fn weights(family: &Family) -> Weights {
    let status = family.rollout.status.clone().unwrap_or_default();
    let set = set_weight(&family.rollout);
    let canary = family.rollout.spec.strategy.canary.as_deref();
    let routed = canary.is_some_and(|c| c.traffic_routing.is_some());
    let done = status.stable_rs.is_some() && status.stable_rs == status.current_pod_hash;
    let actual = if done {
        100
    } else if routed {
        status.canary.and_then(|c| c.weights).map_or(set, |w| w.canary.weight)
    } else {
        let current = status.current_pod_hash.as_deref();
        let available: i32 = family
            .replica_sets
            .iter()
            .filter(|rs| current.is_some() && hash(rs.labels()) == current)
            .filter_map(|rs| rs.status.as_ref().and_then(|s| s.available_replicas))
            .sum();
        available * 100 / status.available_replicas.unwrap_or(0).max(1)
    };
    Weights { set, actual }
}

/// Returns the nearest `setWeight` at or before the current step: 0 when aborted, 100 past the last step.
pub(crate) fn set_weight(rollout: &Rollout) -> i32 {
    let status = rollout.status.clone().unwrap_or_default();
    let steps = rollout.spec.strategy.canary.as_ref().and_then(|c| c.steps.clone());
    let steps = steps.unwrap_or_default();
    let index = usize::try_from(status.current_step_index.unwrap_or(0)).unwrap_or(0);
    if status.abort == Some(true) {
        return 0;
    }
    if steps.is_empty() || index >= steps.len() {
        return 100;
    }
    steps[..=index].iter().rev().find_map(|s| s.set_weight).unwrap_or(0)
}

/// Returns the images of ReplicaSets that have Pods, each with the roles in which it serves.
fn images(family: &Family) -> BTreeSet<String> {
    let mut by_image: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for rs in &family.replica_sets {
        let spec = rs.spec.as_ref();
        if spec.and_then(|s| s.replicas).unwrap_or(0) == 0 {
            continue;
        }
        let pod = spec.and_then(|s| s.template.as_ref()).and_then(|t| t.spec.as_ref());
        for container in pod.into_iter().flat_map(|p| &p.containers) {
            let roles = by_image.entry(container.image.clone().unwrap_or_default()).or_default();
            roles.extend(super::roles(&family.rollout, hash(rs.labels())));
        }
    }
    by_image
        .into_iter()
        .map(|(image, roles)| {
            if roles.is_empty() {
                return image;
            }
            let known = ["canary", "stable", "active", "preview"].into_iter();
            let roles: Vec<_> = known.filter(|role| roles.contains(role)).collect();
            format!("{image} ({})", roles.join(", "))
        })
        .collect()
}
