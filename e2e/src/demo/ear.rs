//! A listener between the controller and Prometheus: passes queries on, and notes when which answer left.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinHandle};

use crate::bed::{http as fetch, ports};

/// Where the demo's AnalysisTemplate asks.
pub const PORT: u16 = 9099;

/// One answer of Prometheus.
#[derive(Debug, Clone)]
pub struct Answer {
    /// When its last byte was handed over.
    pub at: DateTime<Utc>,
    /// Its only value; `None` for an empty result.
    pub value: Option<f64>,
}

/// The running listener. Dropping it ends it.
#[derive(Debug)]
pub struct Ear {
    answers: Arc<Mutex<Vec<Answer>>>,
    task: JoinHandle<()>,
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Ear {
    /// Starts to listen.
    ///
    /// # Errors
    /// When the port is taken.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", PORT)).await.context("the ear's port")?;
        let answers = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&answers);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).ok();
                let heard = Arc::clone(&heard);
                let service = service_fn(move |request| pass(request, Arc::clone(&heard)));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Ok(Self { answers, task })
    }

    /// The answers since an instant, oldest first.
    #[must_use]
    pub fn since(&self, from: DateTime<Utc>) -> Vec<Answer> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.iter().filter(|a| a.at >= from).cloned().collect()
    }
}

async fn pass(
    request: Request<Incoming>,
    heard: Arc<Mutex<Vec<Answer>>>,
) -> Result<Response<Full<Bytes>>> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let prometheus = format!("127.0.0.1:{}", ports::PROMETHEUS);
    let mut onward = Request::builder().method(parts.method).uri(parts.uri);
    for (name, value) in &parts.headers {
        if name != "connection" && name != "host" {
            onward = onward.header(name, value);
        }
    }
    let onward = onward.header("host", &prometheus).body(Full::new(body))?;
    let (status, text) = fetch::send(&prometheus, onward).await?;
    let answer: Value = serde_json::from_slice(&text).unwrap_or_default();
    let value = answer["data"]["result"][0]["value"][1].as_str().and_then(|v| v.parse().ok());
    heard.lock().unwrap_or_else(PoisonError::into_inner).push(Answer { at: Utc::now(), value });
    let response = Response::builder()
        .status(StatusCode::from_u16(status)?)
        .header("content-type", "application/json");
    Ok(response.body(Full::new(text))?)
}
