//! Prometheus: instant and range queries over its HTTP API.
//!
//! A scalar is a number, a vector a list of numbers, a matrix all its points in one list; NaN and infinities stay what they
//! are. An empty vector is an empty list, not an error: the condition decides. `ResolvedPrometheusQuery` holds the query.
//!
//! Source: `spec-rollouts` 6.8. Differs from Argo: at most 1 MiB and 1,000 values are read; `sigv4` is not supported yet.

use std::collections::BTreeMap;

use prometheus_http_query::Client;
use prometheus_http_query::response::Data;
use reqwest::header::HeaderMap;
use reqwest::{Method, Response, StatusCode};
use serde::Deserialize;
use sluice_crds::analysis::provider::{PrometheusMetric, RangeQuery};
use sluice_lang::Value;
use sluice_lang::expr::instant;

use crate::http::{Deps, authorize, bad_query, body, excerpt, headers, refusal, seconds, shown};
use crate::http::{transport, url, within};
use crate::provider::{BoxFuture, MetricProvider, Query};
use crate::sample::{Sample, SampleError, SampleErrorKind};

const DEFAULT_TIMEOUT_SECONDS: u64 = 30;

/// The provider.
pub(crate) struct Prometheus {
    deps: Deps,
}

/// A request that can be sent twice: long queries need POST, some proxies know GET only.
struct Request<'r> {
    client: Client,
    promql: &'r str,
    /// First and last second, and seconds between points.
    range: Option<(i64, i64, f64)>,
    timeout: u64,
    fields: HeaderMap,
}

impl Request<'_> {
    async fn send(&self, target: &str, method: Method) -> Result<Response, SampleError> {
        // The crate writes milliseconds.
        let time_limit = i64::try_from(self.timeout * 1000).unwrap_or(i64::MAX);
        let sent = match self.range {
            None => {
                let mut request = self.client.query(self.promql).timeout(time_limit);
                for (name, value) in &self.fields {
                    request = request.header(name.clone(), value.clone());
                }
                if method == Method::POST {
                    request.post_raw().await
                } else {
                    request.get_raw().await
                }
            }
            Some((start, end, step)) => {
                let range = self.client.query_range(self.promql, start, end, step);
                let mut request = range.timeout(time_limit);
                for (name, value) in &self.fields {
                    request = request.header(name.clone(), value.clone());
                }
                if method == Method::POST {
                    request.post_raw().await
                } else {
                    request.get_raw().await
                }
            }
        };
        sent.map_err(|error| not_sent(target, &error))
    }
}

/// The envelope of an answer, success or not.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    status: String,
    data: Option<serde_json::Value>,
    error_type: Option<String>,
    error: Option<String>,
    #[serde(default)]
    warnings: Vec<String>,
}

impl Prometheus {
    pub(crate) fn new(deps: &Deps) -> Self {
        Prometheus { deps: deps.clone() }
    }

    async fn ask(&self, query: &Query, metric: &PrometheusMetric) -> Result<Sample, SampleError> {
        let address = metric
            .address
            .as_deref()
            .or(self.deps.prometheus_address.as_deref())
            .filter(|address| !address.is_empty())
            .ok_or_else(|| bad_query("provider.prometheus.address: none, and no default is set"))?;
        let base = url("provider.prometheus.address", address)?;
        let promql = metric.query.as_deref().unwrap_or_default().trim();
        if promql.is_empty() {
            return Err(bad_query("provider.prometheus.query: it is empty"));
        }
        refuse_sigv4(metric, address)?;
        let timeout =
            seconds("provider.prometheus.timeout", metric.timeout, DEFAULT_TIMEOUT_SECONDS)?;
        let target = shown(&base);
        within(timeout, &target, async {
            let http = self.deps.client(metric.insecure);
            let mut fields = headers("provider.prometheus.headers", metric.headers.as_deref())?;
            authorize(&self.deps, http, metric.authentication.as_ref(), &mut fields).await?;
            let client = Client::from(http.clone(), base.as_str().trim_end_matches('/'))
                .map_err(|error| bad_query(format!("provider.prometheus.address: {error}")))?;
            let range =
                metric.range_query.as_ref().map(|range| bounds(range, query)).transpose()?;
            let request = Request { client, promql, range, timeout, fields };
            let mut response = request.send(&target, Method::POST).await?;
            if matches!(response.status().as_u16(), 405 | 501) {
                response = request.send(&target, Method::GET).await?;
            }
            self.read(&target, response).await
        })
        .await
    }

    async fn read(&self, target: &str, response: Response) -> Result<Sample, SampleError> {
        let status = response.status();
        let kind = response.headers().get(reqwest::header::CONTENT_TYPE).cloned();
        let body = body(&self.deps, target, response).await?;
        let Ok(answer) = serde_json::from_slice::<Answer>(&body) else {
            if !status.is_success() {
                return Err(refusal(target, status, &String::from_utf8_lossy(&body)));
            }
            let kind = kind.as_ref().and_then(|kind| kind.to_str().ok()).unwrap_or("no type");
            let message = format!("`{target}` answers {kind} that is no answer of Prometheus");
            return Err(SampleError::new(SampleErrorKind::BadContent, message));
        };
        if answer.status != "success" {
            return Err(refused(target, status, &answer));
        }
        let value = self.value(target, answer.data.unwrap_or_default())?;
        let mut metadata = BTreeMap::new();
        if !answer.warnings.is_empty() {
            metadata.insert("warnings".to_owned(), excerpt(&answer.warnings.join(", ")));
        }
        Ok(Sample { value, metadata })
    }

    fn value(&self, target: &str, data: serde_json::Value) -> Result<Value, SampleError> {
        let data: Data = serde_json::from_value(data).map_err(|error| {
            let message = format!("`{target}` answers with data that are no numbers: {error}");
            SampleError::new(SampleErrorKind::BadContent, message)
        })?;
        let numbers: Vec<f64> = match data {
            Data::Scalar(sample) => return Ok(sample.value().into()),
            Data::Vector(series) => series.iter().map(|one| one.sample().value()).collect(),
            Data::Matrix(series) => {
                series.iter().flat_map(|one| one.samples()).map(|one| one.value()).collect()
            }
        };
        if numbers.len() > self.deps.max_samples {
            let (found, limit) = (numbers.len(), self.deps.max_samples);
            let message = format!(
                "`{target}` answers with {found} values, at most {limit} are read; aggregate in the query"
            );
            return Err(SampleError::new(SampleErrorKind::TooLarge, message));
        }
        Ok(numbers.into())
    }
}

impl MetricProvider for Prometheus {
    fn name(&self) -> &'static str {
        "Prometheus"
    }

    fn metadata(&self, query: &Query) -> BTreeMap<String, String> {
        let metric = query.provider.prometheus.as_ref();
        let promql = metric.and_then(|metric| metric.query.clone()).filter(|text| !text.is_empty());
        promql.map(|text| ("ResolvedPrometheusQuery".to_owned(), text)).into_iter().collect()
    }

    fn sample<'a>(&'a self, query: &'a Query) -> BoxFuture<'a, Result<Sample, SampleError>> {
        Box::pin(async move {
            match &query.provider.prometheus {
                Some(metric) => self.ask(query, metric).await,
                None => Err(bad_query("provider.prometheus: missing")),
            }
        })
    }
}

/// As in Argo, `sigv4` has a meaning for Amazon's workspaces only.
fn refuse_sigv4(metric: &PrometheusMetric, address: &str) -> Result<(), SampleError> {
    let sigv4 = metric.authentication.as_ref().is_some_and(|found| found.sigv4.is_some());
    if sigv4 && address.contains("aps-workspaces") {
        let message = "provider.prometheus.authentication.sigv4: not supported yet";
        return Err(SampleError::new(SampleErrorKind::Unsupported, message));
    }
    Ok(())
}

fn bounds(range: &RangeQuery, query: &Query) -> Result<(i64, i64, f64), SampleError> {
    let field = |name: &str| format!("provider.prometheus.rangeQuery.{name}");
    let at = |name: &str, text: &Option<String>| {
        instant(text.as_deref().unwrap_or_default(), query.now)
            .map(|instant| instant.timestamp())
            .map_err(|error| bad_query(format!("{}: {error}", field(name))))
    };
    let (start, end) = (at("start", &range.start)?, at("end", &range.end)?);
    if end < start {
        return Err(bad_query(format!("{}: it is before `start`", field("end"))));
    }
    let text = range.step.as_deref().unwrap_or_default();
    let step = sluice_crds::duration::parse(text)
        .map_err(|error| bad_query(format!("{}: {error}", field("step"))))?;
    let step = step.num_milliseconds() as f64 / 1000.0;
    if step <= 0.0 {
        return Err(bad_query(format!("{}: a step is more than 0", field("step"))));
    }
    Ok((start, end, step))
}

fn not_sent(target: &str, error: &prometheus_http_query::Error) -> SampleError {
    let mut source: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(cause) = cause.downcast_ref::<reqwest::Error>() {
            return transport(target, cause);
        }
        source = cause.source();
    }
    SampleError::new(SampleErrorKind::Unreachable, format!("`{target}`: {error}"))
}

/// What Prometheus itself says went wrong.
fn refused(target: &str, status: StatusCode, answer: &Answer) -> SampleError {
    let said = answer.error.as_deref().unwrap_or_default();
    let kind = match answer.error_type.as_deref() {
        Some("timeout" | "canceled") => SampleErrorKind::Timeout,
        Some("internal" | "unavailable") => SampleErrorKind::ServerError,
        Some("bad_data" | "execution" | "not_found" | "not_acceptable") => {
            SampleErrorKind::BadQuery
        }
        _ => return refusal(target, status, said),
    };
    SampleError::new(kind, format!("`{target}` refuses the query: {}", excerpt(said)))
}
