//! HTTP face of the controller: metrics and health, over a [`LiveState`] trait that it defines.
//!
//! Nothing here reads objects or writes anything: a request is answered from what [`LiveState`] says at that instant.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

/// What the process says about itself.
pub trait LiveState: Send + Sync + 'static {
    /// Returns all metrics in Prometheus' text format.
    fn metrics(&self) -> String;

    /// Returns whether the process lives.
    ///
    /// # Errors
    /// With the reason why it should be restarted.
    fn healthy(&self) -> Result<(), String>;

    /// Returns whether the process is ready: leader or warm standby, with filled stores.
    ///
    /// # Errors
    /// With what it waits for.
    fn ready(&self) -> Result<(), String>;
}

/// Which paths a port serves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Face {
    /// `/metrics`.
    Metrics,
    /// `/healthz` and `/readyz`.
    Health,
}

/// Serves one face until the returned future is dropped.
///
/// # Errors
/// If the listener breaks.
pub async fn serve(
    listener: TcpListener,
    face: Face,
    state: Arc<dyn LiveState>,
) -> std::io::Result<()> {
    axum::serve(listener, router(face, state)).await
}

fn router(face: Face, state: Arc<dyn LiveState>) -> Router {
    let router = match face {
        Face::Metrics => Router::new().route("/metrics", get(metrics)),
        Face::Health => Router::new().route("/healthz", get(healthz)).route("/readyz", get(readyz)),
    };
    router.with_state(state)
}

async fn metrics(State(state): State<Arc<dyn LiveState>>) -> Response {
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], state.metrics()).into_response()
}

async fn healthz(State(state): State<Arc<dyn LiveState>>) -> Response {
    answer(state.healthy())
}

async fn readyz(State(state): State<Arc<dyn LiveState>>) -> Response {
    answer(state.ready())
}

fn answer(state: Result<(), String>) -> Response {
    match state {
        Ok(()) => "ok\n".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason + "\n").into_response(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    struct Fake;

    impl LiveState for Fake {
        fn metrics(&self) -> String {
            "up 1\n".into()
        }
        fn healthy(&self) -> Result<(), String> {
            Ok(())
        }
        fn ready(&self) -> Result<(), String> {
            Err("waiting for the list of Rollouts".into())
        }
    }

    async fn fetch(face: Face, path: &str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(serve(listener, face, Arc::new(Fake)));
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        server.abort();
        text
    }

    #[tokio::test]
    async fn metrics_are_prometheus_text() {
        let answer = fetch(Face::Metrics, "/metrics").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.contains("version=0.0.4") && answer.ends_with("up 1\n"), "{answer}");
    }

    #[tokio::test]
    async fn a_process_that_is_not_ready_says_what_it_waits_for() {
        let answer = fetch(Face::Health, "/readyz").await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(answer.ends_with("waiting for the list of Rollouts\n"), "{answer}");
        assert!(fetch(Face::Health, "/healthz").await.starts_with("HTTP/1.1 200"));
    }

    #[tokio::test]
    async fn each_face_serves_its_own_paths_only() {
        assert!(fetch(Face::Health, "/metrics").await.starts_with("HTTP/1.1 404"));
    }
}
