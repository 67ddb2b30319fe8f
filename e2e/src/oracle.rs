//! A server with Prometheus' API that answers what the test says, when the test says it, and notes when.

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
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

/// The running server. Dropping it ends it.
#[derive(Debug)]
pub struct Oracle {
    port: u16,
    said: watch::Sender<Said>,
    notes: Arc<Mutex<Notes>>,
    task: JoinHandle<()>,
}

#[derive(Debug, Clone, Copy)]
enum Said {
    /// Whoever asks waits.
    Nothing,
    /// `None` is status 503.
    Value(Option<f64>),
}

#[derive(Debug, Default)]
struct Notes {
    questions: usize,
    answers: Vec<DateTime<Utc>>,
}

impl Drop for Oracle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Oracle {
    /// Answers every query with `value`; with status 503 while it is `None`.
    ///
    /// # Errors
    /// When no port can be listened on.
    pub async fn start(value: Option<f64>) -> Result<Self> {
        Self::serve(Said::Value(value)).await
    }

    /// Lets every query wait until something is said.
    ///
    /// # Errors
    /// When no port can be listened on.
    pub async fn silent() -> Result<Self> {
        Self::serve(Said::Nothing).await
    }

    async fn serve(said: Said) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let notes = Arc::new(Mutex::new(Notes::default()));
        let (said, heard) = watch::channel(said);
        let told = Arc::clone(&notes);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).ok();
                let (told, heard) = (Arc::clone(&told), heard.clone());
                let service = service_fn(move |_| {
                    let (told, heard) = (Arc::clone(&told), heard.clone());
                    async move { Ok::<_, Infallible>(answer(&told, heard).await) }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Ok(Self { port, said, notes, task })
    }

    /// Answers so from now on, also to those who wait.
    pub fn say(&self, value: Option<f64>) {
        self.said.send_replace(Said::Value(value));
    }

    /// Lets queries wait from now on.
    pub fn be_silent(&self) {
        self.said.send_replace(Said::Nothing);
    }

    /// How many queries came so far.
    #[must_use]
    pub fn questions(&self) -> usize {
        guard(&self.notes).questions
    }

    /// When answers left, oldest first: noted just before the first byte is sent.
    #[must_use]
    pub fn answers(&self) -> Vec<DateTime<Utc>> {
        guard(&self.notes).answers.clone()
    }

    /// An AnalysisTemplate `judge` that asks here every second, from when the status says that it runs.
    #[must_use]
    pub fn template(&self) -> String {
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
      provider: {{prometheus: {{address: 'http://127.0.0.1:{}', query: errors, timeout: 120}}}}
",
            self.port
        )
    }
}

fn guard(notes: &Mutex<Notes>) -> MutexGuard<'_, Notes> {
    notes.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn answer(notes: &Mutex<Notes>, mut heard: watch::Receiver<Said>) -> Response<Full<Bytes>> {
    guard(notes).questions += 1;
    let said = match heard.wait_for(|said| matches!(said, Said::Value(_))).await {
        Ok(said) => *said,
        // The test is over.
        Err(_) => Said::Value(None),
    };
    let now = Utc::now();
    let (status, text) = match said {
        Said::Value(Some(value)) => {
            let sample = json!({ "metric": {}, "value": [now.timestamp(), value.to_string()] });
            let data = json!({ "resultType": "vector", "result": [sample] });
            (StatusCode::OK, json!({ "status": "success", "data": data }).to_string())
        }
        Said::Value(None) | Said::Nothing => {
            (StatusCode::SERVICE_UNAVAILABLE, "down on purpose".to_owned())
        }
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert("content-type", http::HeaderValue::from_static("application/json"));
    guard(notes).answers.push(now);
    response
}
