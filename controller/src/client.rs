//! Calls to the API server. Everything above speaks of [`Write`](sluice_crds::object::Write)s and paths; this is HTTP.
//!
//! Four clients, so that none can hold up another: reads and watches, writes, the Lease, and Events. kube's own retries are off in
//! all of them (`reliability.md` H1: they outlive a lease and repeat writes whose outcome is unknown), and every call has a
//! time limit (H2).

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use futures::{AsyncBufRead, TryFutureExt};
use http::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use kube::client::Body;
use sluice_crds::object::Request;

/// The user agent of every request.
pub(crate) const AGENT: &str = concat!("sluice-controller/", env!("CARGO_PKG_VERSION"));

/// The clients of one process.
#[derive(Clone)]
pub struct Clients {
    /// Lists, watches and the few named reads.
    pub reads: kube::Client,
    /// Writes.
    pub writes: kube::Client,
    /// The Lease, and nothing else.
    pub lease: kube::Client,
    /// Events, and nothing else.
    pub events: kube::Client,
}

/// Where the API server is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// A kubeconfig file. Default: `KUBECONFIG`, `~/.kube/config`, then the Pod's service account.
    pub kubeconfig: Option<PathBuf>,
    /// URL that replaces the one of the kubeconfig; without a kubeconfig, an anonymous connection to it.
    pub server: Option<String>,
}

/// Why no client could be made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The kubeconfig cannot be read or is incomplete.
    #[error("kubeconfig {path}: {source}")]
    Kubeconfig {
        /// The file.
        path: String,
        /// Why.
        source: kube::config::KubeconfigError,
    },
    /// Nothing says where the API server is.
    #[error("no API server is configured; give `--kubeconfig` or `--server`")]
    Infer(#[from] kube::config::InferConfigError),
    /// `--server` is not a URL.
    #[error("--server `{0}` is not a URL")]
    Server(String),
    /// The credentials or certificates cannot be used.
    #[error("the client for the API server cannot be made")]
    Build(#[from] kube::Error),
}

impl Clients {
    /// Returns clients that share one connection: for tests and the simulator.
    pub fn sharing(client: kube::Client) -> Self {
        Self {
            reads: client.clone(),
            writes: client.clone(),
            events: client.clone(),
            lease: client,
        }
    }

    /// Returns clients with connections of their own, without kube's retries.
    ///
    /// # Errors
    /// If the target is not described, or its credentials cannot be used.
    pub async fn connect(target: &Target) -> Result<Self, ConnectError> {
        let mut config = kube_config(target).await?;
        config.default_retry = false;
        config.connect_timeout = Some(Duration::from_secs(5));
        let make = || kube::Client::try_from(config.clone());
        Ok(Self { reads: make()?, writes: make()?, lease: make()?, events: make()? })
    }
}

async fn kube_config(target: &Target) -> Result<kube::Config, ConnectError> {
    let server = match &target.server {
        Some(url) => Some(url.parse().map_err(|_| ConnectError::Server(url.clone()))?),
        None => None,
    };
    let mut config = match (&target.kubeconfig, server.clone()) {
        (Some(path), _) => {
            let failed =
                |source| ConnectError::Kubeconfig { path: path.display().to_string(), source };
            let file = kube::config::Kubeconfig::read_from(path).map_err(failed)?;
            let options = kube::config::KubeConfigOptions::default();
            kube::Config::from_custom_kubeconfig(file, &options).map_err(failed).await?
        }
        (None, Some(url)) => kube::Config::new(url),
        (None, None) => kube::Config::infer().await?,
    };
    if let Some(url) = server {
        config.cluster_url = url;
    }
    Ok(config)
}

/// What the API server answered.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Bytes,
    pub(crate) retry_after: Option<Duration>,
}

impl Reply {
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Returns the server's words.
    pub(crate) fn message(&self) -> String {
        #[derive(serde::Deserialize)]
        struct Words {
            message: String,
        }
        match serde_json::from_slice::<Words>(&self.body) {
            Ok(words) => words.message,
            Err(_) => {
                let text = String::from_utf8_lossy(&self.body);
                format!("status {}: {}", self.status, text.chars().take(200).collect::<String>())
            }
        }
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error("{0}")]
    Transport(String),
}

/// The form in which objects are wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Form {
    Whole,
    /// Metadata only: the API server cuts the rest off.
    Metadata,
}

impl Form {
    fn accept(self, list: bool) -> &'static str {
        match (self, list) {
            (Self::Whole, _) => "application/json",
            (Self::Metadata, true) => {
                "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
            }
            (Self::Metadata, false) => {
                "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
            }
        }
    }
}

/// Sends a write and waits for its answer.
pub(crate) async fn send(
    client: &kube::Client,
    request: &Request,
    limit: Duration,
) -> Result<Reply, CallError> {
    let built = http::Request::builder()
        .method(request.method)
        .uri(&request.path)
        .header(CONTENT_TYPE, request.content_type)
        .header(ACCEPT, "application/json")
        .header(USER_AGENT, AGENT)
        .body(Body::from(request.body.to_string().into_bytes()));
    answer(client, built, limit).await
}

/// Reads one object.
pub(crate) async fn get(
    client: &kube::Client,
    path: &str,
    form: Form,
    limit: Duration,
) -> Result<Reply, CallError> {
    read(client, path, form.accept(false), limit).await
}

/// Reads a page of a list: an API server answers 500 to who wants one object in the form of a list.
pub(crate) async fn list(
    client: &kube::Client,
    path: &str,
    form: Form,
    limit: Duration,
) -> Result<Reply, CallError> {
    read(client, path, form.accept(true), limit).await
}

async fn read(
    client: &kube::Client,
    path: &str,
    accept: &'static str,
    limit: Duration,
) -> Result<Reply, CallError> {
    let built = http::Request::get(path)
        .header(ACCEPT, accept)
        .header(USER_AGENT, AGENT)
        .body(Body::empty());
    answer(client, built, limit).await
}

async fn answer(
    client: &kube::Client,
    request: http::Result<http::Request<Body>>,
    limit: Duration,
) -> Result<Reply, CallError> {
    let request = request.map_err(|error| CallError::Transport(error.to_string()))?;
    let exchange = async {
        let response = client.send(request).await?;
        let retry_after = response.headers().get(RETRY_AFTER);
        let retry_after = retry_after.and_then(|v| v.to_str().ok()?.parse().ok());
        let status = response.status().as_u16();
        let body = response.into_body().collect_bytes().await?;
        let retry_after = retry_after.map(Duration::from_secs);
        Ok::<_, kube::Error>(Reply { status, body, retry_after })
    };
    match tokio::time::timeout(limit, exchange).await {
        Ok(Ok(reply)) => Ok(reply),
        Ok(Err(error)) => Err(CallError::Transport(chain(&error))),
        Err(_) => Err(CallError::Timeout(limit)),
    }
}

/// Why a watch could not be opened.
#[derive(Debug)]
pub(crate) enum OpenError {
    /// The server answered with this status.
    Status(u16, String),
    /// No answer.
    Call(CallError),
}

/// Opens a watch: a stream of lines.
pub(crate) async fn open(
    client: &kube::Client,
    path: &str,
    form: Form,
    limit: Duration,
) -> Result<impl AsyncBufRead + Send + use<>, OpenError> {
    let failed = |error: String| OpenError::Call(CallError::Transport(error));
    let request = http::Request::get(path)
        .header(ACCEPT, form.accept(false))
        .header(USER_AGENT, AGENT)
        .body(Vec::new())
        .map_err(|error| failed(error.to_string()))?;
    match tokio::time::timeout(limit, client.request_stream(request)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(kube::Error::Api(status))) => {
            Err(OpenError::Status(status.code, status.message.clone()))
        }
        Ok(Err(error)) => Err(failed(chain(&error))),
        Err(_) => Err(OpenError::Call(CallError::Timeout(limit))),
    }
}

/// Returns an error with its causes, outermost first.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}
