//! Load with a bounded rate and count that records every answer.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

use crate::bed::ports;

/// What to send and how fast.
#[derive(Debug, Clone)]
pub struct Plan {
    /// `ip:port` to connect to; the gateway by default.
    pub address: String,
    /// Host header.
    pub host: String,
    pub path: String,
    /// Headers of each request, beside the host.
    pub headers: Vec<(String, String)>,
    /// Requests a second over all connections; never exceeded on average.
    pub rate: f64,
    /// The load ends after so many requests, when it is not stopped before.
    pub count: u64,
    /// Connections, kept alive.
    pub connections: u32,
}

impl Plan {
    /// `rate` requests a second to `host` through the gateway over four connections, until
    /// stopped (at most a million).
    #[must_use]
    pub fn new(host: &str, rate: f64) -> Self {
        Self {
            address: format!("127.0.0.1:{}", ports::GATEWAY),
            host: host.to_owned(),
            path: "/".to_owned(),
            headers: Vec::new(),
            rate,
            count: 1_000_000,
            connections: 4,
        }
    }

    /// The same with a header on each request.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same with an end after `count` requests.
    #[must_use]
    pub fn count(self, count: u64) -> Self {
        Self { count, ..self }
    }
}

/// One request and its answer.
#[derive(Debug, Clone)]
pub struct Sample {
    /// When it was sent.
    pub sent: DateTime<Utc>,
    pub took: Duration,
    /// HTTP status; 0 when there was no answer (connection refused or broken, over 10 s).
    pub status: u16,
    /// Header `x-version` of the answer; none when the answer is the proxy's own.
    pub version: Option<Arc<str>>,
}

impl Sample {
    /// Whether a user would call it failed.
    #[must_use]
    pub fn failed(&self) -> bool {
        self.status == 0 || self.status >= 500
    }
}

/// Running load. Dropping it stops sending.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    workers: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    plan: Plan,
    samples: Mutex<Vec<Sample>>,
    stopped: AtomicBool,
}

impl Load {
    /// Starts to send.
    #[must_use]
    pub fn start(plan: Plan) -> Self {
        let connections = plan.connections.max(1);
        let samples = Mutex::default();
        let shared = Arc::new(Shared { plan, samples, stopped: AtomicBool::new(false) });
        let started = Instant::now();
        let mut workers = JoinSet::new();
        for first in 0..connections {
            let worker = work(Arc::clone(&shared), started, first.into(), connections.into());
            workers.spawn(worker);
        }
        Self { shared, workers }
    }

    /// What was recorded so far.
    #[must_use]
    pub fn record(&self) -> Record {
        Record { samples: self.shared.samples().clone() }
    }

    /// Waits until all requests of the plan are sent and answered.
    pub async fn finished(mut self) -> Record {
        while self.workers.join_next().await.is_some() {}
        self.record()
    }

    /// Sends nothing more and waits for the answers still out.
    pub async fn stop(self) -> Record {
        self.shared.stopped.store(true, Relaxed);
        self.finished().await
    }
}

impl Shared {
    fn samples(&self) -> MutexGuard<'_, Vec<Sample>> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends the requests number `first`, `first + stride`, ... each at its time; a late one at once.
async fn work(shared: Arc<Shared>, started: Instant, first: u64, stride: u64) {
    let mut connection = None;
    let mut number = first;
    while number < shared.plan.count {
        #[allow(clippy::cast_precision_loss, reason = "a plan has far less than 2^52 requests")]
        let due = Duration::from_secs_f64(number as f64 / shared.plan.rate);
        sleep_until(started + due).await;
        if shared.stopped.load(Relaxed) {
            return;
        }
        let (sent, begun) = (Utc::now(), Instant::now());
        let answer = timeout(Duration::from_secs(10), send(&shared.plan, &mut connection)).await;
        let (status, version) = match answer {
            Ok(Ok(answer)) => answer,
            failed => {
                tracing::debug!("request {number}: {failed:?}");
                connection = None;
                (0, None)
            }
        };
        shared.samples().push(Sample { sent, took: begun.elapsed(), status, version });
        number += stride;
    }
}

type Connection = Option<SendRequest<Empty<Bytes>>>;

async fn send(plan: &Plan, connection: &mut Connection) -> Result<(u16, Option<Arc<str>>)> {
    // The proxy may close an idle connection at any time: that is no failed request.
    let usable = match connection.as_mut() {
        Some(open) => open.ready().await.is_ok(),
        None => false,
    };
    if !usable {
        *connection = Some(connect(&plan.address).await?);
    }
    let open = connection.as_mut().context("there is a connection by now")?;
    let mut request = Request::get(&plan.path).header("host", &plan.host);
    for (name, value) in &plan.headers {
        request = request.header(name, value);
    }
    let request = request.body(Empty::new())?;
    let response = open.send_request(request).await?;
    let status = response.status().as_u16();
    let version = response.headers().get("x-version").and_then(|v| v.to_str().ok());
    let version = version.map(Arc::from);
    response.into_body().collect().await?;
    Ok((status, version))
}

async fn connect(address: &str) -> Result<SendRequest<Empty<Bytes>>> {
    let stream = TcpStream::connect(address).await.context("cannot connect")?;
    stream.set_nodelay(true)?;
    let (mut sender, driver) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(driver);
    sender.ready().await?;
    Ok(sender)
}

/// Answers counted for one version.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    pub total: usize,
    pub failed: usize,
}

/// A finished or current record, or a part of one.
#[derive(Debug, Clone, Default)]
pub struct Record {
    pub samples: Vec<Sample>,
}

impl Record {
    /// The requests sent from `from` (inclusive) to `to` (exclusive).
    #[must_use]
    pub fn between(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> Self {
        let inside = |sample: &&Sample| sample.sent >= from && sample.sent < to;
        Self { samples: self.samples.iter().filter(inside).cloned().collect() }
    }

    /// Number of requests.
    #[must_use]
    pub fn total(&self) -> usize {
        self.samples.len()
    }

    /// Number of failed requests: no answer, or a status from 500 on.
    #[must_use]
    pub fn failed(&self) -> usize {
        self.samples.iter().filter(|sample| sample.failed()).count()
    }

    /// Number of requests that `version` answered, whatever the status.
    #[must_use]
    pub fn served_by(&self, version: &str) -> usize {
        self.samples.iter().filter(|sample| sample.version.as_deref() == Some(version)).count()
    }

    /// The share of `version` in all requests, 0.0 to 1.0; 0 where there are none.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "counts of requests are far below 2^52")]
    pub fn share(&self, version: &str) -> f64 {
        self.served_by(version) as f64 / self.total().max(1) as f64
    }

    /// Counts for each version; answers of nobody are under `-`.
    #[must_use]
    pub fn by_version(&self) -> BTreeMap<String, Count> {
        let mut counts = BTreeMap::<String, Count>::new();
        for sample in &self.samples {
            let version = sample.version.as_deref().unwrap_or("-");
            let count = counts.entry(version.to_owned()).or_default();
            count.total += 1;
            count.failed += usize::from(sample.failed());
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(second: i64, status: u16, version: Option<&str>) -> Sample {
        let sent = DateTime::from_timestamp(second, 0).expect("a small number of seconds");
        Sample { sent, took: Duration::ZERO, status, version: version.map(Arc::from) }
    }

    #[test]
    fn a_record_tells_versions_and_windows_apart() {
        let samples = vec![
            sample(0, 200, Some("v1")),
            sample(1, 500, Some("v2")),
            sample(2, 404, Some("v1")),
            sample(3, 503, None),
            sample(4, 0, None),
        ];
        let record = Record { samples };
        assert_eq!((record.total(), record.failed()), (5, 3));
        let counts = record.by_version();
        assert_eq!(counts["v1"], Count { total: 2, failed: 0 });
        assert_eq!(counts["v2"], Count { total: 1, failed: 1 });
        assert_eq!(counts["-"], Count { total: 2, failed: 2 });
        let at = |second| DateTime::from_timestamp(second, 0).expect("a small number");
        let window = record.between(at(1), at(3));
        assert_eq!((window.total(), window.served_by("v1")), (2, 1));
        assert!((window.share("v2") - 0.5).abs() < 1e-9);
    }

    #[tokio::test]
    async fn a_load_sends_its_count_and_records_what_nobody_answers() {
        let plan = Plan {
            // The discard port of loopback: nobody listens.
            address: "127.0.0.1:9".to_owned(),
            ..Plan::new("nobody.test", 1000.0).count(7)
        };
        let record = Load::start(plan).finished().await;
        assert_eq!((record.total(), record.failed()), (7, 7));
    }
}
