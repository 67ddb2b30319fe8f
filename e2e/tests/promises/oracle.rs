//! A server with Prometheus' API that answers what the test says, and notes when.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::Result;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::{Response, StatusCode};
use http_body_util::Full;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::{net::TcpListener, task::JoinHandle};

/// The running server. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Oracle {
    port: u16,
    shared: Arc<Mutex<Shared>>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    value: Option<f64>,
    answers: Vec<DateTime<Utc>>,
}

impl Drop for Oracle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Oracle {
    /// Answers every query with `value`; with status 503 while it is `None`.
    pub(crate) async fn start(value: Option<f64>) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Mutex::new(Shared { value, answers: Vec::new() }));
        let told = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).ok();
                let told = Arc::clone(&told);
                let service = service_fn(move |_| {
                    let response = answer(&mut guard(&told));
                    async move { Ok::<_, Infallible>(response) }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Ok(Self { port, shared, task })
    }

    pub(crate) fn say(&self, value: Option<f64>) {
        guard(&self.shared).value = value;
    }

    /// When answers left, oldest first.
    pub(crate) fn answers(&self) -> Vec<DateTime<Utc>> {
        guard(&self.shared).answers.clone()
    }

    /// An AnalysisTemplate `judge` that asks here every second, from when the status says that it runs.
    pub(crate) fn template(&self) -> String {
        format!(
            "
apiVersion: argoproj.io/v1alpha1
kind: AnalysisTemplate
metadata: {{name: judge}}
spec:
  metrics:
    - name: errors
      initialDelay: 1s
      interval: 1s
      count: 3
      failureLimit: 0
      successCondition: result[0] < 0.1
      failureCondition: result[0] > 0.5
      provider: {{prometheus: {{address: 'http://127.0.0.1:{}', query: errors}}}}
",
            self.port
        )
    }
}

fn guard(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn answer(shared: &mut Shared) -> Response<Full<Bytes>> {
    let now = Utc::now();
    let (status, text) = match shared.value {
        Some(value) => {
            let sample = json!({ "metric": {}, "value": [now.timestamp(), value.to_string()] });
            let data = json!({ "resultType": "vector", "result": [sample] });
            (StatusCode::OK, json!({ "status": "success", "data": data }).to_string())
        }
        None => (StatusCode::SERVICE_UNAVAILABLE, "down on purpose".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert("content-type", http::HeaderValue::from_static("application/json"));
    shared.answers.push(now);
    response
}
