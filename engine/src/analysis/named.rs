//! What the inline form of a background analysis asks for (`spec-sync` 1.9-J): the metrics that an AnalysisTemplate would have.
//!
//! The queries are about the Pods of the new revision as Istio's proxies beside them report it, so the label `pod` must tell Pods
//! apart: Prometheus' discovery of Pods, Istio's own configuration and a PodMonitor see to that. Without any request there is
//! no value, and a measurement without value is an error, never a success.

use sluice_crds::analysis::provider::PrometheusMetric;
use sluice_crds::analysis::{Metric, Provider};
use sluice_crds::duration;
use sluice_crds::intstr::IntOrString;
use sluice_crds::named_query::NamedQuery;
use sluice_crds::rollout::strategy::{BackgroundAnalysis, InlineMetric, ThresholdRange};

use super::arguments::ArgumentError;

/// Time between measurements where nothing is said.
const INTERVAL: &str = "1m";
/// Characters of a Pod's name that are its ReplicaSet's, as the API server cuts them.
const PREFIX: usize = 58;

/// Returns whether the analysis has an inline form.
pub fn is_inline(background: &BackgroundAnalysis) -> bool {
    background.metrics.as_ref().is_some_and(|metrics| !metrics.is_empty())
}

/// Returns the metrics of the inline form, about the Pods of a ReplicaSet.
///
/// Example: `threshold: 5` and `error-rate` with `max: 0.05` is a metric with `successCondition: result[0] <= 0.05` and
/// `failureLimit: 4`: the fifth failure takes the update back.
///
/// # Errors
///
/// [`ArgumentError::Invalid`] for a name that stands for nothing; validation refuses it before.
pub fn metrics(
    background: &BackgroundAnalysis,
    namespace: &str,
    replica_set: &str,
) -> Result<Vec<Metric>, ArgumentError> {
    let of = |metric: &InlineMetric| {
        let query = NamedQuery::of(&metric.name).ok_or_else(|| {
            ArgumentError::Invalid(format!("there is no query `{}`", metric.name))
        })?;
        let interval = metric.interval.as_ref().or(background.interval.as_ref());
        let interval = interval.map_or(INTERVAL, String::as_str);
        let seconds = duration::parse(interval).map_or(60, |length| length.num_seconds().max(1));
        let failures = background.threshold.unwrap_or(1).max(1) - 1;
        Ok(Metric {
            name: metric.name.clone(),
            interval: Some(interval.to_owned()),
            success_condition: Some(condition(metric.threshold_range.as_ref())),
            failure_limit: Some(IntOrString::Int(failures.into())),
            provider: Provider {
                prometheus: Some(PrometheusMetric {
                    query: Some(promql(query, namespace, replica_set, seconds)),
                    ..PrometheusMetric::default()
                }),
                ..Provider::default()
            },
            ..Metric::default()
        })
    };
    background.metrics.iter().flatten().map(of).collect()
}

fn condition(range: Option<&ThresholdRange>) -> String {
    let range = range.cloned().unwrap_or_default();
    let least = range.min.map(|min| format!("result[0] >= {min}"));
    let greatest = range.max.map(|max| format!("result[0] <= {max}"));
    let bounds: Vec<String> = least.into_iter().chain(greatest).collect();
    if bounds.is_empty() { "true".to_owned() } else { bounds.join(" && ") }
}

fn promql(query: NamedQuery, namespace: &str, replica_set: &str, seconds: i64) -> String {
    let prefix: String = format!("{replica_set}-").chars().take(PREFIX).collect();
    let pods = format!("{}.*", prefix.replace('.', "[.]"));
    let matched = format!(
        r#"reporter="destination",destination_workload_namespace="{namespace}",pod=~"{pods}""#
    );
    let requests =
        |more: &str| format!("sum(rate(istio_requests_total{{{matched}{more}}}[{seconds}s]))");
    let all = requests("");
    match query {
        NamedQuery::ErrorRate => {
            let bad = requests(r#",response_code=~"5..""#);
            format!("({bad} or vector(0)) / ({all} > 0)")
        }
        NamedQuery::RequestSuccessRate => {
            let good = requests(r#",response_code!~"5..""#);
            format!("100 * ({good} or vector(0)) / ({all} > 0)")
        }
        NamedQuery::RequestDuration => format!(
            "histogram_quantile(0.99, sum by (le) (rate(istio_request_duration_milliseconds_bucket{{{matched}}}[{seconds}s])))"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(yaml: &str, expected: &[(&str, &str, &str, i64)]) {
        let background: BackgroundAnalysis = serde_saphyr::from_str(yaml).unwrap();
        let metrics = metrics(&background, "shop", "web-5d4f").unwrap();
        let found: Vec<(&str, &str, &str, i64)> = metrics
            .iter()
            .map(|metric| {
                let limit = match metric.failure_limit {
                    Some(IntOrString::Int(limit)) => limit,
                    _ => -9,
                };
                let condition = metric.success_condition.as_deref().unwrap();
                (metric.name.as_str(), metric.interval.as_deref().unwrap(), condition, limit)
            })
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_metric_has_its_own_interval_or_that_of_the_block() {
        check(
            "{interval: 30s, threshold: 5, metrics: [{name: error-rate, thresholdRange: {max: 0.05}, interval: 1m}, {name: request-success-rate, thresholdRange: {min: 99}}]}",
            &[
                ("error-rate", "1m", "result[0] <= 0.05", 4),
                ("request-success-rate", "30s", "result[0] >= 99", 4),
            ],
        );
        check(
            "{metrics: [{name: request-duration, thresholdRange: {min: 1, max: 500}}]}",
            &[("request-duration", "1m", "result[0] >= 1 && result[0] <= 500", 0)],
        );
    }

    #[test]
    fn every_query_is_about_the_pods_of_the_revision_only() {
        let texts = NamedQuery::ALL.map(|query| promql(query, "shop", "web-5d4f", 60));
        insta::assert_snapshot!(texts.join("\n"));
    }

    #[test]
    fn a_long_name_is_cut_as_the_api_server_cuts_it() {
        let name = "a".repeat(70);
        let text = promql(NamedQuery::ErrorRate, "shop", &name, 60);
        assert!(text.contains(&format!("pod=~\"{}.*\"", "a".repeat(58))), "{text}");
    }
}
