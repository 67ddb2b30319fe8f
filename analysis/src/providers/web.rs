//! Any HTTP endpoint: a request, and a value in its JSON answer.
//!
//! An answer that is no JSON is the text itself. `jsonPath` is kubectl's (`{$.data.ok}`, `{.items[0].name}`); its first match
//! is the value, and no match is an error.
//!
//! Source: `spec-rollouts` 6.8. Differs from Argo: at most 1 MiB is read, and no redirect to another origin is followed.

use std::collections::BTreeMap;

use jsonpath_rust::JsonPath as _;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Url};
use sluice_crds::analysis::provider::WebMetric;
use sluice_lang::Value;

use crate::http::{Deps, authorize, bad_query, body, headers, refusal, seconds, shown};
use crate::http::{transport, url, within};
use crate::provider::{BoxFuture, MetricProvider, Query};
use crate::sample::{Sample, SampleError, SampleErrorKind};

mod path;

const DEFAULT_TIMEOUT_SECONDS: u64 = 10;

/// The provider.
pub(crate) struct Web {
    deps: Deps,
}

impl Web {
    pub(crate) fn new(deps: &Deps) -> Self {
        Web { deps: deps.clone() }
    }

    async fn ask(&self, metric: &WebMetric) -> Result<Sample, SampleError> {
        let address: Url = url("provider.web.url", &metric.url)?;
        let (method, content) = request_of(metric)?;
        let path = path::read(metric.json_path.as_deref().unwrap_or_default())
            .map_err(|error| bad_query(format!("provider.web.jsonPath: {error}")))?;
        let timeout = seconds(
            "provider.web.timeoutSeconds",
            metric.timeout_seconds,
            DEFAULT_TIMEOUT_SECONDS,
        )?;
        let target = shown(&address);
        within(timeout, &target, async {
            let client = self.deps.client(metric.insecure);
            let mut fields = headers("provider.web.headers", metric.headers.as_deref())?;
            if content.is_some() && metric.json_body.is_some() && !fields.contains_key(CONTENT_TYPE)
            {
                fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            }
            authorize(&self.deps, client, metric.authentication.as_ref(), &mut fields).await?;
            let mut request = client.request(method, address).headers(fields);
            if let Some(content) = content {
                request = request.body(content);
            }
            let response = request.send().await.map_err(|error| transport(&target, &error))?;
            let status = response.status();
            let body = body(&self.deps, &target, response).await?;
            if !status.is_success() {
                return Err(refusal(&target, status, &String::from_utf8_lossy(&body)));
            }
            self.value(&target, body, path).await
        })
        .await
    }

    /// Finds the value; off the runtime's threads, because a path may look at everything.
    async fn value(
        &self,
        target: &str,
        body: Vec<u8>,
        path: path::Path,
    ) -> Result<Sample, SampleError> {
        let Ok(answer) = serde_json::from_slice::<serde_json::Value>(&body) else {
            let text = String::from_utf8(body).map_err(|_| {
                let message = format!("`{target}` answers with bytes that are no text");
                SampleError::new(SampleErrorKind::BadContent, message)
            })?;
            return Ok(Sample { value: Value::String(text), metadata: BTreeMap::new() });
        };
        let wanted = path.clone();
        let found = tokio::task::spawn_blocking(move || {
            answer.query(&path.rfc).map(|found| found.first().map(|found| (*found).clone()))
        });
        let found = match found.await {
            Ok(found) => found,
            Err(error) => return Err(bad_query(format!("provider.web.jsonPath: {error}"))),
        };
        match found {
            Ok(Some(found)) => Ok(Sample { value: found.into(), metadata: BTreeMap::new() }),
            Ok(None) => Err(SampleError::new(
                SampleErrorKind::NoData,
                format!("`{target}`: nothing at `{}` in the answer", wanted.text),
            )),
            Err(error) => {
                Err(bad_query(format!("provider.web.jsonPath: `{}`: {error}", wanted.text)))
            }
        }
    }
}

fn request_of(metric: &WebMetric) -> Result<(Method, Option<String>), SampleError> {
    let name = metric.method.as_deref().filter(|name| !name.is_empty()).unwrap_or("GET");
    let method = match name {
        "GET" => Method::GET,
        "POST" => Method::POST,
        "PUT" => Method::PUT,
        _ => {
            let message = format!("provider.web.method: `{name}` is none of `GET`, `POST`, `PUT`");
            return Err(bad_query(message));
        }
    };
    let body = metric.body.clone().filter(|body| !body.is_empty());
    let content = match (body, &metric.json_body) {
        (Some(_), Some(_)) => {
            return Err(bad_query("provider.web: use either `body` or `jsonBody`, not both"));
        }
        (Some(body), None) => Some(body),
        (None, Some(body)) => Some(body.to_string()),
        (None, None) => None,
    };
    if content.is_some() && method == Method::GET {
        return Err(bad_query(
            "provider.web: `body` and `jsonBody` need the method `POST` or `PUT`",
        ));
    }
    Ok((method, content))
}

impl MetricProvider for Web {
    fn name(&self) -> &'static str {
        "Web"
    }

    fn sample<'a>(&'a self, query: &'a Query) -> BoxFuture<'a, Result<Sample, SampleError>> {
        Box::pin(async move {
            match &query.provider.web {
                Some(metric) => self.ask(metric).await,
                None => Err(bad_query("provider.web: missing")),
            }
        })
    }
}
