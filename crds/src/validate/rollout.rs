use std::collections::BTreeSet;

use serde_json::Value;

use super::{FieldPath, Findings, Problem, canary, is_set, steps};
use crate::rollout::strategy::{AntiAffinity, BlueGreenStrategy, CanaryStrategy};
use crate::rollout::{LabelSelector, RolloutSpec, WorkloadRef};

/// Default of `progressDeadlineSeconds`.
const PROGRESS_DEADLINE_SECONDS: i32 = 600;
/// Default of `revisionHistoryLimit`.
const REVISION_HISTORY_LIMIT: i32 = 10;

/// Returns everything that is wrong with a Rollout's spec by itself.
pub fn rollout(spec: &RolloutSpec) -> Vec<Problem> {
    let path = FieldPath::spec();
    let mut findings = Findings::default();
    numbers(&path, spec, &mut findings);
    template(&path, spec, &mut findings);
    let strategy = path.field("strategy");
    match (&spec.strategy.canary, &spec.strategy.blue_green) {
        (None, None) => findings.hint(
            strategy,
            "neither `canary` nor `blueGreen` is set",
            "write `canary: {}` for a rolling update",
        ),
        (Some(_), Some(_)) => {
            findings.hint(strategy, "both `canary` and `blueGreen` are set", "remove one of them");
        }
        (Some(canary), None) => {
            canary::check(&strategy.field("canary"), canary, &mut findings);
            if let Some(template) = spec.template.as_ref().filter(|_| has_template(spec)) {
                ports_of_versions(&strategy.field("canary.steps"), canary, template, &mut findings);
            }
        }
        (None, Some(blue_green)) => {
            check_blue_green(&strategy.field("blueGreen"), blue_green, spec, &mut findings);
        }
    }
    findings.problems
}

fn numbers(path: &FieldPath, spec: &RolloutSpec, findings: &mut Findings) {
    findings.at_least(path.field("replicas"), spec.replicas, 0);
    findings.at_least(path.field("minReadySeconds"), spec.min_ready_seconds, 0);
    findings.at_least(path.field("revisionHistoryLimit"), spec.revision_history_limit, 0);
    let deadline = path.field("progressDeadlineSeconds");
    findings.at_least(deadline.clone(), spec.progress_deadline_seconds, 0);
    let seconds = spec.progress_deadline_seconds.unwrap_or(PROGRESS_DEADLINE_SECONDS);
    let ready = spec.min_ready_seconds.unwrap_or(0);
    if seconds >= 0 && seconds <= ready {
        findings.add(deadline, format!("{seconds} is not above minReadySeconds, which is {ready}"));
    }
    if let Some(window) = &spec.rollback_window {
        findings.at_least(path.field("rollbackWindow.revisions"), window.revisions, 0);
    }
    if let Some(analysis) = &spec.analysis {
        let path = path.field("analysis");
        let successful = analysis.successful_run_history_limit;
        let unsuccessful = analysis.unsuccessful_run_history_limit;
        findings.at_least(path.field("successfulRunHistoryLimit"), successful, 0);
        findings.at_least(path.field("unsuccessfulRunHistoryLimit"), unsuccessful, 0);
    }
}

fn template(path: &FieldPath, spec: &RolloutSpec, findings: &mut Findings) {
    let template_path = path.field("template");
    let written = spec.template.as_ref().filter(|_| has_template(spec));
    match (&spec.workload_ref, written) {
        (Some(workload), Some(_)) => {
            findings.hint(
                template_path,
                "both `template` and `workloadRef` are set",
                "remove one of them",
            );
            workload_ref(&path.field("workloadRef"), workload, findings);
        }
        (Some(workload), None) => workload_ref(&path.field("workloadRef"), workload, findings),
        (None, None) => findings.add(template_path, "required, unless `workloadRef` is set"),
        (None, Some(template)) => {
            pod_template(&template_path, template, findings);
            match &spec.selector {
                None => findings.add(path.field("selector"), "required"),
                Some(selector) => {
                    let labels = &template["metadata"]["labels"];
                    check_selector(&path.field("selector"), selector, labels, findings);
                }
            }
        }
    }
    if spec.workload_ref.is_some()
        && let Some(selector) = &spec.selector
    {
        selector_form(&path.field("selector"), selector, findings);
    }
}

/// Returns whether a spec has a Pod template of its own: one with more than empty fields.
pub fn has_template(spec: &RolloutSpec) -> bool {
    spec.template.as_ref().is_some_and(|template| !is_empty(template))
}

/// Argo writes an empty template as an object with empty metadata and no containers.
fn is_empty(template: &Value) -> bool {
    match template {
        Value::Null => true,
        Value::Object(object) => object.values().all(is_empty),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

fn workload_ref(path: &FieldPath, workload: &WorkloadRef, findings: &mut Findings) {
    let version = workload.api_version.as_deref().unwrap_or_default();
    let kind = workload.kind.as_deref().unwrap_or_default();
    let group = version.split_once('/').map_or("", |(group, _)| group);
    if !matches!((group, kind), ("apps", "Deployment" | "ReplicaSet") | ("", "PodTemplate")) {
        findings.add(
            path.field("kind"),
            format!("`{version}` `{kind}` is none of Deployment and ReplicaSet of `apps/v1`, and PodTemplate of `v1`"),
        );
    }
    findings.required(path.field("name"), workload.name.as_deref().unwrap_or_default());
    let words = ["never", "onsuccess", "progressively"];
    findings.one_of(path.field("scaleDown"), workload.scale_down.as_deref(), &words);
}

/// The API server would refuse the ReplicaSet for these; what else it may refuse is reported when it does.
fn pod_template(path: &FieldPath, template: &Value, findings: &mut Findings) {
    let spec_path = path.field("spec");
    let containers_path = spec_path.field("containers");
    let spec = &template["spec"];
    let containers = spec["containers"].as_array().map(Vec::as_slice).unwrap_or_default();
    if containers.is_empty() {
        findings.add(containers_path.clone(), "required: a Pod needs a container");
    }
    for (index, container) in containers.iter().enumerate() {
        let path = containers_path.index(index);
        for field in ["name", "image"] {
            findings.required(path.field(field), container[field].as_str().unwrap_or_default());
        }
    }
    let names = containers.iter().enumerate().map(|(index, container)| {
        (containers_path.index(index).field("name"), container["name"].as_str().unwrap_or_default())
    });
    findings.unique(names);
    findings.one_of(spec_path.field("restartPolicy"), spec["restartPolicy"].as_str(), &["Always"]);
    if !spec["activeDeadlineSeconds"].is_null() {
        findings.add(spec_path.field("activeDeadlineSeconds"), "not allowed: the Pods are to stay");
    }
}

/// A version that gets traffic gets it through a Service of its own, which has the ports of its containers. Without any there is
/// no Service; of several Istio would not know which, because the destination that is added names none (Argo's form).
fn ports_of_versions(
    path: &FieldPath,
    canary: &CanaryStrategy,
    template: &Value,
    findings: &mut Findings,
) {
    let containers = template["spec"]["containers"].as_array().into_iter().flatten();
    let ports = containers.flat_map(|c| c["ports"].as_array().into_iter().flatten());
    let ports: BTreeSet<i64> = ports.filter_map(|port| port["containerPort"].as_i64()).collect();
    if ports.len() == 1 {
        return;
    }
    for (step, index) in steps::weighed(canary) {
        let path = path.index(step).field("experiment.templates").index(index).field("weight");
        findings.hint(
            path,
            format!("needs a Pod template with one port; this one has {}", ports.len()),
            "give one container one entry of `ports`",
        );
    }
}

fn check_selector(
    path: &FieldPath,
    selector: &LabelSelector,
    labels: &Value,
    findings: &mut Findings,
) {
    let before = findings.problems.len();
    selector_form(path, selector, findings);
    if findings.problems.len() > before {
        return;
    }
    for (key, wanted) in selector.match_labels.iter().flatten() {
        let label = labels[key].as_str();
        if label != Some(wanted) {
            let there = label.map_or("has none".into(), |label| format!("has `{label}`"));
            findings.hint(
                path.field("matchLabels").key(key),
                format!("selects `{wanted}`, but spec.template.metadata.labels {there}"),
                "give the template the labels that the selector wants",
            );
        }
    }
    for (index, requirement) in selector.match_expressions.iter().flatten().enumerate() {
        let label = labels[&requirement.key].as_str();
        let values = requirement.values.as_deref().unwrap_or_default();
        let listed = label.is_some_and(|label| values.iter().any(|value| value == label));
        let matches = match requirement.operator.as_str() {
            "In" => listed,
            "NotIn" => !listed,
            "Exists" => label.is_some(),
            _ => label.is_none(),
        };
        if !matches {
            findings.add(
                path.field("matchExpressions").index(index),
                format!(
                    "does not match label `{}` of spec.template.metadata.labels",
                    requirement.key
                ),
            );
        }
    }
}

fn selector_form(path: &FieldPath, selector: &LabelSelector, findings: &mut Findings) {
    let labels = selector.match_labels.as_ref().map_or(0, |labels| labels.len());
    let expressions = selector.match_expressions.as_deref().unwrap_or_default();
    if labels == 0 && expressions.is_empty() {
        findings.add(path.clone(), "empty: it would select every Pod of the namespace");
    }
    for (index, requirement) in expressions.iter().enumerate() {
        let path = path.field("matchExpressions").index(index);
        findings.required(path.field("key"), &requirement.key);
        let words = ["In", "NotIn", "Exists", "DoesNotExist"];
        findings.one_of(path.field("operator"), Some(&requirement.operator), &words);
        let values = requirement.values.as_ref().map_or(0, Vec::len);
        let wants_values = ["In", "NotIn"].contains(&requirement.operator.as_str());
        if words.contains(&requirement.operator.as_str()) && wants_values != (values > 0) {
            let wanted = if wants_values { "needs values" } else { "takes no values" };
            findings
                .add(path.field("values"), format!("operator `{}` {wanted}", requirement.operator));
        }
    }
}

fn check_blue_green(
    path: &FieldPath,
    blue_green: &BlueGreenStrategy,
    spec: &RolloutSpec,
    findings: &mut Findings,
) {
    let active = blue_green.active_service.as_ref();
    findings.required(path.field("activeService"), active.map_or("", String::as_str));
    if is_set(active) && active == blue_green.preview_service.as_ref() {
        findings.add(path.field("previewService"), "is the activeService, too: they must differ");
    }
    let limit = spec.revision_history_limit.unwrap_or(REVISION_HISTORY_LIMIT);
    if let Some(kept) = blue_green.scale_down_delay_revision_limit
        && kept > limit
    {
        findings.add(
            path.field("scaleDownDelayRevisionLimit"),
            format!("{kept} is above spec.revisionHistoryLimit, which is {limit}"),
        );
    }
    let seconds = [
        ("previewReplicaCount", blue_green.preview_replica_count),
        ("autoPromotionSeconds", blue_green.auto_promotion_seconds),
        ("scaleDownDelaySeconds", blue_green.scale_down_delay_seconds),
        ("abortScaleDownDelaySeconds", blue_green.abort_scale_down_delay_seconds),
    ];
    for (name, value) in seconds {
        findings.at_least(path.field(name), value, 0);
    }
    canary::share(&path.field("maxUnavailable"), blue_green.max_unavailable.as_ref(), findings);
    anti_affinity(&path.field("antiAffinity"), blue_green.anti_affinity.as_ref(), findings);
    for (name, analysis) in [
        ("prePromotionAnalysis", &blue_green.pre_promotion_analysis),
        ("postPromotionAnalysis", &blue_green.post_promotion_analysis),
    ] {
        if let Some(analysis) = analysis {
            steps::check_analysis(&path.field(name), analysis, findings);
        }
    }
}

/// Exactly one form, and a weight that Kubernetes takes.
pub(super) fn anti_affinity(
    path: &FieldPath,
    anti_affinity: Option<&AntiAffinity>,
    findings: &mut Findings,
) {
    let Some(anti_affinity) = anti_affinity else { return };
    let preferred = &anti_affinity.preferred_during_scheduling_ignored_during_execution;
    let required = &anti_affinity.required_during_scheduling_ignored_during_execution;
    if preferred.is_some() == required.is_some() {
        findings.add(
            path.clone(),
            "exactly one of `preferredDuringSchedulingIgnoredDuringExecution` and \
             `requiredDuringSchedulingIgnoredDuringExecution` must be set",
        );
    }
    if let Some(preferred) = preferred
        && !(1..=100).contains(&preferred.weight.unwrap_or(0))
    {
        findings.add(
            path.field("preferredDuringSchedulingIgnoredDuringExecution.weight"),
            format!("{} is not in 1..=100", preferred.weight.unwrap_or(0)),
        );
    }
}
