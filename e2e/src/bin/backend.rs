//! The workload of the bed: a small HTTP server whose behaviour comes from its environment.
//!
//! | variable | meaning | default |
//! |---|---|---|
//! | `PORT` | port on all addresses | 80 |
//! | `VERSION` | answered in body, header `x-version` and label `version` | `unknown` |
//! | `ERROR_RATE` | share of requests answered 500: the k-th fails where the running sum of the rate passes a whole number, so that 0.2 fails exactly each fifth | 0 |
//! | `LATENCY_MS` | pause before each answer | 0 |
//! | `READY_AFTER` | seconds until `/healthz` answers 200 | 0 |
//! | `DRAIN_MS` | how long it still serves after SIGTERM | 1000 |
//!
//! `/healthz` and `/metrics` are not counted and never fail by rate. hyper writes header and body
//! in one segment; with `TCP_NODELAY` no answer waits for a delayed acknowledgement.

use std::{
    convert::Infallible,
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    signal::unix::{SignalKind, signal},
    time::sleep,
};

struct Backend {
    version: String,
    error_rate: f64,
    latency: Duration,
    ready_at: Instant,
    answered: AtomicU64,
    failed: AtomicU64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let backend = Arc::new(Backend {
        version: std::env::var("VERSION").unwrap_or_else(|_| "unknown".to_owned()),
        error_rate: number("ERROR_RATE", 0.0)?,
        latency: Duration::from_millis(number("LATENCY_MS", 0)?),
        ready_at: Instant::now() + Duration::from_secs_f64(number("READY_AFTER", 0.0)?),
        answered: AtomicU64::new(0),
        failed: AtomicU64::new(0),
    });
    let drain = Duration::from_millis(number("DRAIN_MS", 1000)?);
    let port: u16 = number("PORT", 80)?;
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))
        .await
        .with_context(|| format!("cannot listen on port {port}"))?;
    let mut term = signal(SignalKind::terminate())?;
    let serve = async {
        loop {
            // An accept fails when the peer gave up meanwhile: that is no reason to end.
            if let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(connection(Arc::clone(&backend), stream));
            }
        }
    };
    tokio::select! {
        () = serve => {}
        // Endpoints leave the proxies some milliseconds after the signal: who stops listening at
        // once fails the requests in between.
        () = async { term.recv().await; sleep(drain).await } => {}
    }
    Ok(())
}

fn number<T: std::str::FromStr>(name: &str, default: T) -> Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    match std::env::var(name) {
        Ok(text) => text.parse().with_context(|| format!("`{name}`: `{text}` is no number")),
        Err(_) => Ok(default),
    }
}

async fn connection(backend: Arc<Backend>, stream: TcpStream) {
    stream.set_nodelay(true).ok();
    let service = service_fn(move |request: Request<Incoming>| {
        let backend = Arc::clone(&backend);
        async move { Ok::<_, Infallible>(backend.answer(request.uri().path()).await) }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).keep_alive(true);
    // A connection that breaks is the client's affair.
    server.serve_connection(TokioIo::new(stream), service).await.ok();
}

impl Backend {
    async fn answer(&self, path: &str) -> Response<Full<Bytes>> {
        match path {
            "/healthz" if Instant::now() < self.ready_at => {
                self.response(StatusCode::SERVICE_UNAVAILABLE, "not ready yet\n".to_owned())
            }
            "/healthz" => self.response(StatusCode::OK, "ok\n".to_owned()),
            "/metrics" => self.response(StatusCode::OK, self.metrics()),
            _ => {
                if !self.latency.is_zero() {
                    sleep(self.latency).await;
                }
                let number = self.answered.fetch_add(1, Relaxed) + 1;
                if fails(number, self.error_rate) {
                    self.failed.fetch_add(1, Relaxed);
                    let body = format!("error of {}\n", self.version);
                    return self.response(StatusCode::INTERNAL_SERVER_ERROR, body);
                }
                self.response(StatusCode::OK, format!("{}\n", self.version))
            }
        }
    }

    fn response(&self, status: StatusCode, body: String) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = status;
        if let Ok(version) = self.version.parse() {
            response.headers_mut().insert("x-version", version);
        }
        response
    }

    fn metrics(&self) -> String {
        let (answered, failed) = (self.answered.load(Relaxed), self.failed.load(Relaxed));
        let version = &self.version;
        format!(
            "# HELP http_requests_total Requests answered, by version and status code.\n\
             # TYPE http_requests_total counter\n\
             http_requests_total{{version=\"{version}\",code=\"200\"}} {}\n\
             http_requests_total{{version=\"{version}\",code=\"500\"}} {failed}\n",
            answered.saturating_sub(failed)
        )
    }
}

/// Whether the sum of the rate over all requests so far passes a whole number with this one.
#[allow(clippy::cast_precision_loss, reason = "counts of requests are far below 2^52")]
fn fails(number: u64, rate: f64) -> bool {
    (number as f64 * rate).floor() > ((number - 1) as f64 * rate).floor()
}

#[cfg(test)]
mod tests {
    use super::fails;

    #[test]
    fn an_error_rate_is_kept_exactly_and_evenly() {
        let failed = |rate: f64| (1..=20).filter(|n| fails(*n, rate)).collect::<Vec<u64>>();
        assert_eq!(failed(0.0), Vec::<u64>::new());
        assert_eq!(failed(0.2), [5, 10, 15, 20]);
        assert_eq!(failed(0.5).len(), 10);
        assert_eq!(failed(1.0).len(), 20);
    }
}
