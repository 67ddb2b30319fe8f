//! A scripted Prometheus: whatever the query, it answers the share of errors that a Service's simulated requests had.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::Response;
use http_body_util::Full;
use serde_json::json;
use tokio::time::Instant;

use super::http::listen;
use super::traffic::Traffic;

/// How far back an answer looks.
const WINDOW: Duration = Duration::from_secs(1);

/// One answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// When it was given.
    pub(crate) at: DateTime<Utc>,
    /// Its only value; `None` for an empty result.
    pub(crate) value: Option<f64>,
}

/// The running server.
pub(crate) struct Prometheus {
    /// Where it listens.
    pub(crate) url: String,
    answers: Arc<Mutex<Vec<Answer>>>,
}

impl Prometheus {
    /// Starts on a free port.
    ///
    /// # Errors
    /// When no port can be had.
    pub(crate) async fn start(traffic: Traffic) -> Result<Self> {
        let answers = Arc::new(Mutex::new(Vec::new()));
        let given = Arc::clone(&answers);
        let url = listen(move |head, body| {
            let query = format!("{}\n{}", head.uri, String::from_utf8_lossy(&body));
            let value = error_rate(&traffic, &query);
            let answer = Answer { at: Utc::now(), value };
            given.lock().unwrap_or_else(PoisonError::into_inner).push(answer);
            let at = Utc::now().timestamp();
            let result = value.map(|v| json!({ "metric": {}, "value": [at, v.to_string()] }));
            let result: Vec<_> = result.into_iter().collect();
            let data = json!({ "resultType": "vector", "result": result });
            let text = json!({ "status": "success", "data": data }).to_string();
            let mut reply = Response::new(Full::new(Bytes::from(text)));
            let json = http::HeaderValue::from_static("application/json");
            reply.headers_mut().insert(http::header::CONTENT_TYPE, json);
            std::future::ready(reply)
        });
        Ok(Self { url: url.await?, answers })
    }

    /// The answers since an instant, oldest first.
    pub(crate) fn since(&self, from: DateTime<Utc>) -> Vec<Answer> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.iter().filter(|a| a.at >= from).cloned().collect()
    }
}

/// Nothing where the Service had no request: no evidence is no share.
fn error_rate(traffic: &Traffic, query: &str) -> Option<f64> {
    let record = traffic.since(Instant::now().checked_sub(WINDOW)?);
    let of_service =
        record.0.iter().filter(|s| !s.service.is_empty() && query.contains(&s.service));
    let (mut total, mut failed) = (0_u32, 0_u32);
    for sent in of_service {
        total += 1;
        failed += u32::from(sent.failed);
    }
    (total > 0).then(|| f64::from(failed) / f64::from(total))
}
