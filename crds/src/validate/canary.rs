use super::rollout::anti_affinity;
use super::{FieldPath, Findings, is_set, routing, steps};
use crate::intstr::IntOrString;
use crate::named_query::NamedQuery;
use crate::rollout::CanaryStrategy;
use crate::rollout::strategy::{BackgroundAnalysis, PingPong};

/// Weight that means all traffic, unless `maxTrafficWeight` says otherwise.
const MAX_WEIGHT: i32 = 100;

pub(super) fn check(path: &FieldPath, canary: &CanaryStrategy, findings: &mut Findings) {
    services(path, canary, findings);
    sizes(path, canary, findings);
    anti_affinity(&path.field("antiAffinity"), canary.anti_affinity.as_ref(), findings);
    match &canary.traffic_routing {
        Some(router) => routing::check(&path.field("trafficRouting"), router, canary, findings),
        None => without_router(path, canary, findings),
    }
    if let Some(background) = &canary.analysis {
        let path = path.field("analysis");
        findings.at_least(path.field("startingStep"), background.starting_step, 0);
        if background.metrics.as_ref().is_some_and(|metrics| !metrics.is_empty()) {
            inline(&path, background, findings);
            steps::check_arguments(&path, &background.analysis, findings);
        } else {
            without_metrics(&path, background, findings);
            steps::check_analysis(&path, &background.analysis, findings);
        }
    }
    let max_weight = canary
        .traffic_routing
        .as_ref()
        .and_then(|router| router.max_traffic_weight)
        .unwrap_or(MAX_WEIGHT);
    for (index, step) in canary.steps.iter().flatten().enumerate() {
        steps::check(&path.field("steps").index(index), step, canary, max_weight, findings);
    }
    steps::shares(&path.field("steps"), canary, findings);
}

/// The inline form: queries by name, each with a range.
fn inline(path: &FieldPath, background: &BackgroundAnalysis, findings: &mut Findings) {
    findings.at_least(path.field("threshold"), background.threshold, 1);
    findings.duration(path.field("interval"), background.interval.as_deref());
    let metrics = background.metrics.as_deref().unwrap_or_default();
    for (index, metric) in metrics.iter().enumerate() {
        let path = path.field("metrics").index(index);
        findings.required(path.field("name"), &metric.name);
        if !metric.name.is_empty() && NamedQuery::of(&metric.name).is_none() {
            findings.hint(
                path.field("name"),
                format!("no query is known by the name `{}`: {}", metric.name, NamedQuery::listed()),
                "use one of these, or put the query into an AnalysisTemplate and name that under `templates`",
            );
        }
        findings.duration(path.field("interval"), metric.interval.as_deref());
        let range = metric.threshold_range.clone().unwrap_or_default();
        let path = path.field("thresholdRange");
        match (range.min, range.max) {
            (None, None) => findings.add(path, "required: `min`, `max` or both"),
            (Some(min), Some(max)) if min > max => {
                findings.add(path, format!("min {min} is above max {max}: no value is good"));
            }
            (Some(_), _) | (None, Some(_)) => {}
        }
    }
    let names = metrics.iter().enumerate();
    findings.unique(names.map(|(index, metric)| {
        (path.field("metrics").index(index).field("name"), metric.name.as_str())
    }));
}

/// What says nothing about templates must not look as if it did.
fn without_metrics(path: &FieldPath, background: &BackgroundAnalysis, findings: &mut Findings) {
    let given = [
        ("interval", background.interval.is_some()),
        ("threshold", background.threshold.is_some()),
    ];
    for (field, _) in given.into_iter().filter(|(_, is_given)| *is_given) {
        findings.hint(
            path.field(field),
            "is of the form with `metrics`, and there are none",
            "write it in the metrics of the AnalysisTemplate",
        );
    }
}

fn services(path: &FieldPath, canary: &CanaryStrategy, findings: &mut Findings) {
    let canary_service = canary.canary_service.as_ref();
    if is_set(canary_service) && canary_service == canary.stable_service.as_ref() {
        findings.add(path.field("canaryService"), "is the stableService, too: they must differ");
    }
    if let Some(PingPong { ping_service, pong_service }) = &canary.ping_pong {
        let path = path.field("pingPong");
        findings.required(path.field("pingService"), ping_service);
        findings.required(path.field("pongService"), pong_service);
        if is_set(canary_service) || is_set(canary.stable_service.as_ref()) {
            findings.hint(
                path.clone(),
                "excludes canaryService and stableService: routes can follow one pair only",
                "remove one of the two pairs",
            );
        }
        if !ping_service.is_empty() && ping_service == pong_service {
            findings.add(path.field("pongService"), "is the pingService, too: they must differ");
        }
    }
}

fn sizes(path: &FieldPath, canary: &CanaryStrategy, findings: &mut Findings) {
    let surge = share(&path.field("maxSurge"), canary.max_surge.as_ref(), findings);
    let unavailable =
        share(&path.field("maxUnavailable"), canary.max_unavailable.as_ref(), findings);
    if surge == Some(0) && unavailable == Some(0) {
        findings.hint(
            path.field("maxUnavailable"),
            "maxSurge and maxUnavailable are both 0: no Pod could ever be replaced",
            "let one of them be above 0",
        );
    }
    if let Some(IntOrString::String(text)) = &canary.max_unavailable
        && unavailable.is_some_and(|percent| percent > 100)
    {
        findings.add(path.field("maxUnavailable"), format!("`{text}` is above 100%"));
    }
    for (name, value) in [
        ("scaleDownDelaySeconds", canary.scale_down_delay_seconds),
        ("scaleDownDelayRevisionLimit", canary.scale_down_delay_revision_limit),
        ("abortScaleDownDelaySeconds", canary.abort_scale_down_delay_seconds),
        ("minPodsPerReplicaSet", canary.min_pods_per_replica_set),
    ] {
        findings.at_least(path.field(name), value, 0);
    }
    if canary.dynamic_stable_scale == Some(true) && canary.scale_down_delay_seconds.is_some() {
        findings.add(
            path.field("scaleDownDelaySeconds"),
            "excludes dynamicStableScale, which scales down as traffic moves",
        );
    }
    if let Some(threshold) = &canary.replica_progress_threshold {
        let path = path.field("replicaProgressThreshold");
        findings.one_of(path.field("type"), Some(&threshold.kind), &["Percent", "Pods"]);
        findings.at_least(path.field("value"), Some(threshold.value), 0);
        if threshold.kind == "Percent" && threshold.value > 100 {
            findings.add(path.field("value"), format!("{} is above 100", threshold.value));
        }
    }
}

fn without_router(path: &FieldPath, canary: &CanaryStrategy, findings: &mut Findings) {
    const HINT: &str = "remove it, or route traffic with `trafficRouting`";
    if canary.scale_down_delay_seconds.is_some() {
        findings.hint(path.field("scaleDownDelaySeconds"), "needs trafficRouting", HINT);
    }
    if canary.dynamic_stable_scale == Some(true) {
        findings.hint(path.field("dynamicStableScale"), "needs trafficRouting", HINT);
    }
    if canary.ping_pong.is_some() {
        findings.hint(path.field("pingPong"), "needs trafficRouting", HINT);
    }
}

/// Reports what is neither a number nor a percentage. Returns the bare number: Argo compares a percentage by it, too.
pub(super) fn share(
    path: &FieldPath,
    value: Option<&IntOrString>,
    findings: &mut Findings,
) -> Option<i64> {
    let value = value?;
    let number = match value {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(text) => text.trim().trim_end_matches('%').parse().ok(),
    };
    match number {
        Some(number) if number < 0 => findings.add(path.clone(), format!("`{value}` is below 0")),
        Some(_) => {}
        None => findings.hint(
            path.clone(),
            format!("`{value}` is neither a number nor a percentage"),
            "write it as `2` or `25%`",
        ),
    }
    number
}
