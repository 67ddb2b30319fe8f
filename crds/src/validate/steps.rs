use super::{FieldPath, Findings, listed, routing};
use crate::intstr::IntOrString;
use crate::rollout::steps::{
    ExperimentStep, RouteMatch, SetCanaryScale, SetHeaderRoute, SetMirrorRoute, StringMatch,
};
use crate::rollout::{CanaryStep, CanaryStrategy, RolloutAnalysis};

pub(super) fn check(
    path: &FieldPath,
    step: &CanaryStep,
    canary: &CanaryStrategy,
    max_weight: i32,
    findings: &mut Findings,
) {
    one_type(path, step, findings);
    if let Some(weight) = step.set_weight
        && !(0..=max_weight).contains(&weight)
    {
        findings.add(path.field("setWeight"), format!("{weight} is not in 0..={max_weight}"));
    }
    if let Some(duration) = &step.duration {
        if step.set_weight.is_none() {
            findings.hint(
                path.field("duration"),
                "only a `setWeight` may have a duration of its own",
                "write `pause: {duration: …}`",
            );
        }
        pause_duration(&path.field("duration"), duration, findings);
    }
    if let Some(duration) = step.pause.as_ref().and_then(|pause| pause.duration.as_ref()) {
        pause_duration(&path.field("pause.duration"), duration, findings);
    }
    if let Some(scale) = &step.set_canary_scale {
        canary_scale(&path.field("setCanaryScale"), scale, canary, findings);
    }
    if let Some(analysis) = &step.analysis {
        check_analysis(&path.field("analysis"), analysis, findings);
    }
    if let Some(experiment) = &step.experiment {
        check_experiment(&path.field("experiment"), experiment, canary, findings);
    }
    if let Some(route) = &step.set_header_route {
        header_route(&path.field("setHeaderRoute"), route, canary, findings);
    }
    if let Some(route) = &step.set_mirror_route {
        mirror_route(&path.field("setMirrorRoute"), route, canary, findings);
    }
    if let Some(plugin) = &step.plugin {
        findings.required(path.field("plugin.name"), &plugin.name);
    }
}

fn one_type(path: &FieldPath, step: &CanaryStep, findings: &mut Findings) {
    let types: Vec<&str> = [
        ("setWeight", step.set_weight.is_some()),
        ("pause", step.pause.is_some()),
        ("setCanaryScale", step.set_canary_scale.is_some()),
        ("analysis", step.analysis.is_some()),
        ("experiment", step.experiment.is_some()),
        ("setHeaderRoute", step.set_header_route.is_some()),
        ("setMirrorRoute", step.set_mirror_route.is_some()),
        ("plugin", step.plugin.is_some()),
    ]
    .into_iter()
    .filter_map(|(name, is_set)| is_set.then_some(name))
    .collect();
    match types.as_slice() {
        [] => findings
            .add(path.clone(), "does nothing: a step needs exactly one type, such as `setWeight`"),
        [_] => {}
        several => findings.hint(
            path.clone(),
            format!("has {} at once", listed(several)),
            "make a step of each",
        ),
    }
}

fn pause_duration(path: &FieldPath, duration: &IntOrString, findings: &mut Findings) {
    let seconds = match duration {
        IntOrString::Int(seconds) => Ok(*seconds),
        IntOrString::String(text) => {
            crate::duration::parse_or_seconds(text).map(|duration| duration.num_seconds())
        }
    };
    match seconds {
        Ok(seconds) if seconds < 0 => {
            findings.add(path.clone(), format!("`{duration}` is below 0"))
        }
        Ok(_) => {}
        Err(error) => {
            findings.hint(
                path.clone(),
                error.to_string(),
                "write seconds, or `30s`, `5m`, `1h30m`",
            );
        }
    }
}

fn canary_scale(
    path: &FieldPath,
    scale: &SetCanaryScale,
    canary: &CanaryStrategy,
    findings: &mut Findings,
) {
    if canary.traffic_routing.is_none() {
        findings.hint(
            path.clone(),
            "needs trafficRouting: without a router the weight is the share of Pods",
            "remove the step, or use `setWeight`",
        );
    }
    if scale.replicas.is_none() && scale.weight.is_none() && scale.match_traffic_weight.is_none() {
        findings
            .add(path.clone(), "one of `replicas`, `weight` and `matchTrafficWeight` must be set");
    }
    findings.at_least(path.field("replicas"), scale.replicas, 0);
    if let Some(weight) = scale.weight
        && !(0..=100).contains(&weight)
    {
        findings.add(path.field("weight"), format!("{weight} is not in 0..=100"));
    }
}

/// Names templates, and arguments that can be resolved.
pub(super) fn check_analysis(
    path: &FieldPath,
    analysis: &RolloutAnalysis,
    findings: &mut Findings,
) {
    let templates = analysis.templates.as_deref().unwrap_or_default();
    if templates.is_empty() {
        findings.add(path.field("templates"), "required: at least one template");
    }
    for (index, template) in templates.iter().enumerate() {
        let path = path.field("templates").index(index).field("templateName");
        findings.required(path, &template.template_name);
    }
    check_arguments(path, analysis, findings);
}

/// Checks arguments, dry runs and retention.
pub(super) fn check_arguments(
    path: &FieldPath,
    analysis: &RolloutAnalysis,
    findings: &mut Findings,
) {
    arguments(path, analysis.args.as_deref().unwrap_or_default(), findings);
    for (index, dry_run) in analysis.dry_run.iter().flatten().enumerate() {
        let path = path.field("dryRun").index(index).field("metricName");
        findings.required(path, &dry_run.metric_name);
    }
    for (index, retention) in analysis.measurement_retention.iter().flatten().enumerate() {
        let path = path.field("measurementRetention").index(index);
        findings.required(path.field("metricName"), &retention.metric_name);
        findings.at_least(path.field("limit"), Some(retention.limit), 1);
    }
}

fn arguments(
    path: &FieldPath,
    arguments: &[crate::rollout::steps::AnalysisArgument],
    findings: &mut Findings,
) {
    let path = path.field("args");
    for (index, argument) in arguments.iter().enumerate() {
        let path = path.index(index);
        findings.required(path.field("name"), &argument.name);
        let Some(source) = &argument.value_from else { continue };
        let path = path.field("valueFrom");
        if argument.value.is_some() {
            findings.add(path.clone(), "`value` and `valueFrom` exclude each other");
        }
        let hash = source.pod_template_hash_value.as_deref();
        findings.one_of(path.field("podTemplateHashValue"), hash, &["Stable", "Latest"]);
        match &source.field_ref {
            Some(field) => {
                field_reference(&path.field("fieldRef.fieldPath"), &field.field_path, findings)
            }
            None if hash.is_none() => {
                findings.add(path, "one of `podTemplateHashValue` and `fieldRef` must be set");
            }
            None => {}
        }
    }
    let names = arguments.iter().enumerate();
    findings.unique(
        names.map(|(index, argument)| (path.index(index).field("name"), argument.name.as_str())),
    );
}

/// Under `metadata` only what the downward API knows; anything else is looked up in the Rollout when the run begins.
fn field_reference(path: &FieldPath, field: &str, findings: &mut Findings) {
    findings.required(path.clone(), field);
    let quoted = |prefix: &str| {
        field.strip_prefix(prefix).is_some_and(|key| key.ends_with("']") && key.len() > 2)
    };
    let known = ["metadata.name", "metadata.namespace", "metadata.uid"].contains(&field)
        || ["metadata.labels['", "metadata.annotations['"].into_iter().any(quoted);
    if field.starts_with("metadata") && !known {
        findings.hint(
            path.clone(),
            format!("`{field}` is no field that can be passed on"),
            "use metadata.name, metadata.namespace, metadata.uid, metadata.labels['…'] or metadata.annotations['…']",
        );
    }
}

fn check_experiment(
    path: &FieldPath,
    experiment: &ExperimentStep,
    canary: &CanaryStrategy,
    findings: &mut Findings,
) {
    findings.duration(path.field("duration"), experiment.duration.as_deref());
    findings.at_least(path.field("scaleDownDelaySeconds"), experiment.scale_down_delay_seconds, 0);
    let templates = experiment.templates.as_deref().unwrap_or_default();
    let templates_path = path.field("templates");
    if templates.is_empty() {
        findings.add(templates_path.clone(), "required: at least one template");
    }
    for (index, template) in templates.iter().enumerate() {
        let path = templates_path.index(index);
        findings.required(path.field("name"), &template.name);
        let origin = template.spec_ref.as_deref().unwrap_or_default();
        findings.one_of(path.field("specRef"), Some(origin), &["canary", "stable"]);
        findings.at_least(path.field("replicas"), template.replicas, 0);
        findings.at_least(path.field("weight"), template.weight, 0);
        if template.weight.is_some() {
            let able = |router: &routing::Router| router.experiment_weights;
            routing::need(
                &path.field("weight"),
                canary,
                "give an experiment a weight",
                able,
                findings,
            );
            if template.replicas == Some(0) && template.weight.is_some_and(|weight| weight > 0) {
                findings.add(path.field("replicas"), "0, with a weight: nobody would answer");
            }
        }
    }
    let names = templates.iter().enumerate();
    findings.unique(names.map(|(index, template)| {
        (templates_path.index(index).field("name"), template.name.as_str())
    }));
    for (index, analysis) in experiment.analyses.iter().flatten().enumerate() {
        let path = path.field("analyses").index(index);
        findings.required(path.field("name"), &analysis.name);
        findings.required(path.field("templateName"), &analysis.template_name);
        arguments(&path, analysis.args.as_deref().unwrap_or_default(), findings);
    }
}

/// What versions of experiments get besides the canary must leave nobody with less than nothing.
pub(super) fn shares(path: &FieldPath, canary: &CanaryStrategy, findings: &mut Findings) {
    let mut present = 0_i64;
    for (index, step) in canary.steps.iter().flatten().enumerate() {
        present = step.set_weight.map_or(present, i64::from);
        let templates = step.experiment.iter().flat_map(|e| e.templates.iter().flatten());
        let given: i64 = templates.map(|template| i64::from(template.weight.unwrap_or(0))).sum();
        if given > 0 && present + given > 100 {
            findings.hint(
                path.index(index).field("experiment.templates"),
                format!("their weights add up to {given}, and the canary has {present} of 100"),
                "lower the weights, or those of the steps before",
            );
        }
    }
}

/// Returns the places of versions that get traffic.
pub(super) fn weighed(canary: &CanaryStrategy) -> Vec<(usize, usize)> {
    let steps = canary.steps.iter().flatten().enumerate();
    let templates = steps.flat_map(|(step, content)| {
        let templates = content.experiment.iter().flat_map(|e| e.templates.iter().flatten());
        templates.enumerate().map(move |(index, template)| (step, index, template))
    });
    templates
        .filter(|(_, _, template)| template.weight.is_some_and(|weight| weight > 0))
        .map(|(step, index, _)| (step, index))
        .collect()
}

fn header_route(
    path: &FieldPath,
    route: &SetHeaderRoute,
    canary: &CanaryStrategy,
    findings: &mut Findings,
) {
    routing::need(path, canary, "match headers", |router| router.headers, findings);
    managed(path, &route.name, canary, findings);
    let is_alb = canary.traffic_routing.as_ref().is_some_and(|routing| routing.alb.is_some());
    for (index, header) in route.matches.iter().flatten().enumerate() {
        let path = path.field("match").index(index);
        findings.required(path.field("headerName"), &header.header_name);
        let path = path.field("headerValue");
        match &header.header_value {
            None => findings.add(path, "required"),
            Some(value) => {
                string_match(&path, value, findings);
                if is_alb && value.exact.is_none() {
                    findings.add(path, "router `alb` matches exact values only");
                }
            }
        }
    }
}

fn mirror_route(
    path: &FieldPath,
    route: &SetMirrorRoute,
    canary: &CanaryStrategy,
    findings: &mut Findings,
) {
    routing::need(path, canary, "mirror requests", |router| router.mirror, findings);
    managed(path, &route.name, canary, findings);
    if let Some(percentage) = route.percentage
        && !(0..=100).contains(&percentage)
    {
        findings.add(path.field("percentage"), format!("{percentage} is not in 0..=100"));
    }
    for (index, RouteMatch { method, path: url, headers }) in
        route.matches.iter().flatten().enumerate()
    {
        let path = path.field("match").index(index);
        for (name, value) in [("method", method), ("path", url)] {
            if let Some(value) = value {
                string_match(&path.field(name), value, findings);
            }
        }
        for (name, value) in headers.iter().flatten() {
            string_match(&path.field("headers").key(name), value, findings);
        }
    }
}

fn managed(path: &FieldPath, name: &str, canary: &CanaryStrategy, findings: &mut Findings) {
    findings.required(path.field("name"), name);
    let routes =
        canary.traffic_routing.as_ref().and_then(|routing| routing.managed_routes.as_ref());
    let known = routes.into_iter().flatten().any(|route| route.name == name);
    if !name.is_empty() && !known {
        findings.hint(
            path.field("name"),
            format!("`{name}` is not in spec.strategy.canary.trafficRouting.managedRoutes"),
            format!("add `- name: {name}` there"),
        );
    }
    let istio = canary.traffic_routing.as_ref().and_then(|routing| routing.istio.as_ref());
    let mut weighed = istio
        .into_iter()
        .flat_map(|istio| istio.all_virtual_services())
        .flat_map(|service| service.routes.iter().flatten());
    if weighed.any(|route| route == name) {
        findings.hint(
            path.field("name"),
            format!("`{name}` is a route whose weights the Rollout sets"),
            "give the route of the step a name of its own: it is removed with the step",
        );
    }
}

fn string_match(path: &FieldPath, value: &StringMatch, findings: &mut Findings) {
    let set = [&value.exact, &value.prefix, &value.regex]
        .into_iter()
        .filter(|text| text.as_ref().is_some_and(|text| !text.is_empty()))
        .count();
    if set != 1 {
        findings.add(path.clone(), "exactly one of `exact`, `prefix` and `regex` must be set");
    }
}
