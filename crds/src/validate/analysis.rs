use std::collections::BTreeSet;

use serde_json::Value;

use super::{FieldPath, Findings, Problem};
use crate::analysis::provider::{PrometheusMetric, WebMetric};
use crate::analysis::{AnalysisRunSpec, AnalysisTemplateSpec, Argument, Metric, Provider};
use crate::intstr::IntOrString;

/// Default of `consecutiveErrorLimit` is not needed here: it takes part in no rule.
const DEFAULT_LIMIT: i64 = 0;

/// Returns everything that is wrong with the spec of an AnalysisTemplate or ClusterAnalysisTemplate by itself.
pub fn analysis_template(spec: &AnalysisTemplateSpec) -> Vec<Problem> {
    let path = FieldPath::spec();
    let mut findings = Findings::default();
    let metrics = spec.metrics.as_deref().unwrap_or_default();
    let composed = spec.templates.as_deref().unwrap_or_default();
    if metrics.is_empty() && composed.is_empty() {
        findings
            .add(path.field("metrics"), "required: at least one metric, here or in `templates`");
    }
    check_metrics(&path.field("metrics"), metrics, &mut findings);
    check_arguments(
        &path.field("args"),
        spec.args.as_deref().unwrap_or_default(),
        false,
        &mut findings,
    );
    if composed.is_empty() {
        undeclared(
            &path.field("metrics"),
            metrics,
            spec.args.as_deref().unwrap_or_default(),
            &mut findings,
        );
    }
    for (index, template) in composed.iter().enumerate() {
        let path = path.field("templates").index(index).field("templateName");
        findings.required(path, &template.template_name);
    }
    findings.problems
}

/// Returns everything that is wrong with an AnalysisRun's spec by itself.
pub fn analysis_run(spec: &AnalysisRunSpec) -> Vec<Problem> {
    let path = FieldPath::spec();
    let mut findings = Findings::default();
    if spec.metrics.is_empty() {
        findings.add(path.field("metrics"), "required: at least one metric");
    }
    let arguments = spec.args.as_deref().unwrap_or_default();
    check_metrics(&path.field("metrics"), &spec.metrics, &mut findings);
    check_arguments(&path.field("args"), arguments, true, &mut findings);
    undeclared(&path.field("metrics"), &spec.metrics, arguments, &mut findings);
    if let Some(ttl) = &spec.ttl_strategy {
        let path = path.field("ttlStrategy");
        findings.at_least(path.field("secondsAfterCompletion"), ttl.seconds_after_completion, 0);
        findings.at_least(path.field("secondsAfterFailure"), ttl.seconds_after_failure, 0);
        findings.at_least(path.field("secondsAfterSuccess"), ttl.seconds_after_success, 0);
    }
    findings.problems
}

/// Returns everything that is wrong with a list of metrics, as templates are joined to one, at `path`.
pub fn metrics(path: &FieldPath, metrics: &[Metric]) -> Vec<Problem> {
    let mut findings = Findings::default();
    check_metrics(path, metrics, &mut findings);
    findings.problems
}

fn check_metrics(path: &FieldPath, metrics: &[Metric], findings: &mut Findings) {
    let names = metrics.iter().enumerate();
    findings.unique(
        names.map(|(index, metric)| (path.index(index).field("name"), metric.name.as_str())),
    );
    for (index, metric) in metrics.iter().enumerate() {
        check_metric(&path.index(index), metric, findings);
    }
}

fn check_metric(path: &FieldPath, metric: &Metric, findings: &mut Findings) {
    findings.required(path.field("name"), &metric.name);
    for (name, duration) in
        [("interval", &metric.interval), ("initialDelay", &metric.initial_delay)]
    {
        findings.duration(path.field(name), duration.as_deref().filter(|text| !is_template(text)));
    }
    limits(path, metric, findings);
    provider(&path.field("provider"), &metric.provider, findings);
}

/// A number, or `None` if it is not written, or not known before arguments are filled in.
fn number(
    path: &FieldPath,
    value: Option<&IntOrString>,
    least: i64,
    findings: &mut Findings,
) -> Option<i64> {
    let value = value?;
    if matches!(value, IntOrString::String(text) if is_template(text)) {
        return None;
    }
    match value.as_int() {
        Some(number) if number < least => {
            findings.add(path.clone(), format!("{number} is below {least}"));
            None
        }
        Some(number) => Some(number),
        None => {
            findings.add(path.clone(), format!("`{value}` is no whole number"));
            None
        }
    }
}

fn is_template(text: &str) -> bool {
    text.contains("{{")
}

fn limits(path: &FieldPath, metric: &Metric, findings: &mut Findings) {
    let known = findings.problems.len();
    let count = number(&path.field("count"), metric.count.as_ref(), 0, findings);
    let failures = number(&path.field("failureLimit"), metric.failure_limit.as_ref(), -1, findings);
    let inconclusive =
        number(&path.field("inconclusiveLimit"), metric.inconclusive_limit.as_ref(), 0, findings);
    number(
        &path.field("consecutiveErrorLimit"),
        metric.consecutive_error_limit.as_ref(),
        0,
        findings,
    );
    let success = metric.consecutive_success_limit.as_ref();
    let successes = number(&path.field("consecutiveSuccessLimit"), success, 0, findings);
    if findings.problems.len() > known {
        return;
    }
    if failures == Some(-1) && success.is_none_or(|limit| limit.as_int() == Some(0)) {
        findings.add(
            path.field("failureLimit"),
            "-1 switches failures off, so consecutiveSuccessLimit must be above 0: nothing would end the metric",
        );
    }
    let Some(count) = count.filter(|count| *count >= 1) else { return };
    if count > 1 && metric.interval.as_deref().unwrap_or_default().is_empty() {
        findings.add(path.field("interval"), format!("required, because count is {count}"));
    }
    let needed = failures.unwrap_or(DEFAULT_LIMIT).max(0) + successes.unwrap_or(DEFAULT_LIMIT);
    if count < needed {
        findings.hint(
            path.field("count"),
            format!("{count} is below failureLimit + consecutiveSuccessLimit, which is {needed}"),
            "with fewer measurements the limits can never be reached",
        );
    }
    if let Some(limit) = inconclusive
        && count < limit
    {
        findings.add(
            path.field("count"),
            format!("{count} is below inconclusiveLimit, which is {limit}"),
        );
    }
}

fn provider(path: &FieldPath, provider: &Provider, findings: &mut Findings) {
    let plugins = provider.plugin.as_ref().map_or(0, |plugins| plugins.len());
    let others = [
        provider.prometheus.is_some(),
        provider.web.is_some(),
        provider.job.is_some(),
        provider.datadog.is_some(),
        provider.new_relic.is_some(),
        provider.cloud_watch.is_some(),
        provider.wavefront.is_some(),
        provider.graphite.is_some(),
        provider.influxdb.is_some(),
        provider.skywalking.is_some(),
        provider.kayenta.is_some(),
    ];
    match plugins + others.into_iter().filter(|is_set| *is_set).count() {
        1 => {}
        0 => findings.hint(path.clone(), "names no provider", "name one, such as `prometheus`"),
        several => {
            findings.add(path.clone(), format!("names {several} providers: exactly one is allowed"))
        }
    }
    if let Some(prometheus) = &provider.prometheus {
        check_prometheus(&path.field("prometheus"), prometheus, findings);
    }
    if let Some(web) = &provider.web {
        check_web(&path.field("web"), web, findings);
    }
    if let Some(job) = &provider.job
        && !job.spec["template"].is_object()
    {
        findings.hint(
            path.field("job.spec.template"),
            "required: a Job runs Pods",
            "write the Pod template of the Job, with `restartPolicy: Never`",
        );
    }
}

fn check_prometheus(path: &FieldPath, prometheus: &PrometheusMetric, findings: &mut Findings) {
    findings.required(path.field("query"), prometheus.query.as_deref().unwrap_or_default());
    address(path.field("address"), prometheus.address.as_deref(), findings);
    findings.at_least(path.field("timeout"), prometheus.timeout, 1);
    if let Some(range) = &prometheus.range_query {
        let path = path.field("rangeQuery");
        findings.required(path.field("start"), range.start.as_deref().unwrap_or_default());
        findings.required(path.field("end"), range.end.as_deref().unwrap_or_default());
        findings.required(path.field("step"), range.step.as_deref().unwrap_or_default());
        findings.duration(
            path.field("step"),
            range.step.as_deref().filter(|text| !text.is_empty() && !is_template(text)),
        );
    }
}

fn check_web(path: &FieldPath, web: &WebMetric, findings: &mut Findings) {
    findings.required(path.field("url"), &web.url);
    address(
        path.field("url"),
        Some(&web.url).filter(|url| !url.is_empty()).map(String::as_str),
        findings,
    );
    findings.one_of(path.field("method"), web.method.as_deref(), &["GET", "POST", "PUT"]);
    findings.at_least(path.field("timeoutSeconds"), web.timeout_seconds, 1);
    let has_body = web.body.as_ref().is_some_and(|body| !body.is_empty());
    if has_body && web.json_body.is_some() {
        findings.add(path.field("jsonBody"), "excludes `body`");
    }
    if (has_body || web.json_body.is_some()) && matches!(web.method.as_deref(), None | Some("GET"))
    {
        findings.hint(path.field("method"), "a GET takes no body", "write `method: POST`");
    }
}

fn address(path: FieldPath, address: Option<&str>, findings: &mut Findings) {
    let Some(text) = address.filter(|text| !text.is_empty() && !is_template(text)) else { return };
    if !text.starts_with("http://") && !text.starts_with("https://") {
        findings.hint(path, format!("`{text}` is no URL"), "begin it with `http://` or `https://`");
    }
}

fn check_arguments(
    path: &FieldPath,
    arguments: &[Argument],
    resolved: bool,
    findings: &mut Findings,
) {
    let names = arguments.iter().enumerate();
    findings.unique(
        names.map(|(index, argument)| (path.index(index).field("name"), argument.name.as_str())),
    );
    for (index, argument) in arguments.iter().enumerate() {
        let path = path.index(index);
        findings.required(path.field("name"), &argument.name);
        match (&argument.value, &argument.value_from) {
            (Some(_), Some(_)) => findings.add(path, "`value` and `valueFrom` exclude each other"),
            (None, None) if resolved => {
                findings.add(path, format!("argument `{}` has no value", argument.name))
            }
            (_, Some(source)) if source.secret_key_ref.is_none() && source.field_ref.is_none() => {
                findings.add(
                    path.field("valueFrom"),
                    "one of `secretKeyRef` and `fieldRef` must be set",
                );
            }
            _ => {}
        }
    }
}

/// Reports arguments that a metric uses and nobody declares.
fn undeclared(
    path: &FieldPath,
    metrics: &[Metric],
    arguments: &[Argument],
    findings: &mut Findings,
) {
    let declared: BTreeSet<&str> =
        arguments.iter().map(|argument| argument.name.as_str()).collect();
    for (index, metric) in metrics.iter().enumerate() {
        let Ok(value) = serde_json::to_value(metric) else { continue };
        let mut used = BTreeSet::new();
        collect_arguments(&value, &mut used);
        for name in used.iter().filter(|name| !declared.contains(name.as_str())) {
            findings.hint(
                path.index(index),
                format!("uses `{{{{args.{name}}}}}`, which is no argument"),
                format!("add `- name: {name}` to spec.args"),
            );
        }
    }
}

fn collect_arguments(value: &Value, used: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => {
            for after in text.split("{{").skip(1) {
                let Some((inside, _)) = after.split_once("}}") else { continue };
                if let Some(name) = inside.trim().strip_prefix("args.") {
                    used.insert(name.trim().to_string());
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect_arguments(item, used)),
        Value::Object(object) => object.values().for_each(|item| collect_arguments(item, used)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
