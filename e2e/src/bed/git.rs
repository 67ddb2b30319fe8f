//! Bare repositories over smart HTTP: `git http-backend` behind a small server of ours.
//!
//! The demo without a cluster has the same server: this file names nothing else of the bed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use http::{Request, Response, StatusCode, request};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{io::AsyncWriteExt as _, net::TcpListener, process::Command, task::JoinHandle};

/// The running server; dropping it stops serving.
#[derive(Debug)]
pub struct GitServer {
    root: PathBuf,
    url: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    repositories: PathBuf,
    down: AtomicBool,
    requests: AtomicU64,
}

/// One repository: bare on the server, with a work tree of ours that pushes to it over HTTP.
#[derive(Debug, Clone)]
pub struct Repository {
    /// What an Application's `repoURL` says, where the server listens.
    pub url: String,
    work: PathBuf,
}

impl Drop for GitServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl GitServer {
    /// Serves repositories below `<run>/git` on a port of loopback; 0 means a free one.
    ///
    /// # Errors
    /// When the port is taken.
    pub async fn start(run: &Path, port: u16) -> Result<Self> {
        let root = run.join("git");
        let repositories = root.join("bare");
        fs::create_dir_all(&repositories)?;
        fs::create_dir_all(root.join("work"))?;
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let (down, requests) = (AtomicBool::new(false), AtomicU64::new(0));
        let shared = Arc::new(Shared { repositories, down, requests });
        let task = tokio::spawn(serve(Arc::clone(&shared), listener));
        Ok(Self { root, url, shared, task })
    }

    /// Makes an empty repository `<name>.git` with branch `main`.
    ///
    /// # Errors
    /// When it exists or `git` fails.
    pub async fn create(&self, name: &str) -> Result<Repository> {
        let bare = self.shared.repositories.join(format!("{name}.git"));
        let work = self.root.join("work").join(name);
        ensure!(!bare.exists(), "there is a repository `{name}` already");
        let url = format!("{}/{name}.git", self.url);
        git(&self.root, &["init", "-q", "--bare", "-b", "main", &bare.to_string_lossy()]).await?;
        git(&bare, &["config", "http.receivepack", "true"]).await?;
        git(&bare, &["config", "uploadpack.allowAnySHA1InWant", "true"]).await?;
        git(&self.root, &["init", "-q", "-b", "main", &work.to_string_lossy()]).await?;
        git(&work, &["remote", "add", "origin", &url]).await?;
        Ok(Repository { url, work })
    }

    /// While down, every request is answered 503.
    pub fn set_down(&self, down: bool) {
        self.shared.down.store(down, Relaxed);
    }

    /// Number of requests so far.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Relaxed)
    }
}

impl Repository {
    /// Writes files (a `None` content removes the file), commits and pushes them over HTTP, and
    /// returns the commit's id.
    ///
    /// # Errors
    /// When nothing changed or `git` fails.
    pub async fn push(&self, message: &str, files: &[(&str, Option<&str>)]) -> Result<String> {
        for (path, content) in files {
            let file = self.work.join(path);
            match content {
                Some(content) => {
                    fs::create_dir_all(file.parent().context("a file has a folder")?)?;
                    fs::write(&file, content)?;
                }
                None => fs::remove_file(&file).with_context(|| format!("no file `{path}`"))?,
            }
        }
        git(&self.work, &["add", "--all"]).await?;
        git(&self.work, &["commit", "-q", "-m", message]).await?;
        git(&self.work, &["push", "-q", "origin", "HEAD:main"]).await?;
        git(&self.work, &["rev-parse", "HEAD"]).await
    }

    /// Runs `git` in the work tree, for what [`Repository::push`] does not do (branches, reverts).
    ///
    /// # Errors
    /// When `git` fails.
    pub async fn git(&self, args: &[&str]) -> Result<String> {
        git(&self.work, args).await
    }
}

/// `git` with no configuration of the user or the machine.
async fn git(folder: &Path, args: &[&str]) -> Result<String> {
    let mut command = Command::new("git");
    command.current_dir(folder).args(args);
    neutral(&mut command);
    let out = command.output().await.context("cannot run `git`")?;
    let errors = String::from_utf8_lossy(&out.stderr);
    ensure!(out.status.success(), "`git {}`: {}", args.join(" "), errors.trim());
    Ok(String::from_utf8(out.stdout)?.trim().to_owned())
}

fn neutral(command: &mut Command) {
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
    command.env("GIT_TERMINAL_PROMPT", "0").env("LC_ALL", "C").kill_on_drop(true);
    for who in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{who}_NAME"), "Bed");
        command.env(format!("GIT_{who}_EMAIL"), "bed@example.invalid");
    }
    for proxy in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
        command.env_remove(proxy);
    }
}

async fn serve(shared: Arc<Shared>, listener: TcpListener) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(Arc::clone(&shared), request));
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            // A client that goes away is its own affair.
            connection.await.ok();
        });
    }
}

async fn answer(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    shared.requests.fetch_add(1, Relaxed);
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let result = if shared.down.load(Relaxed) {
        plain(StatusCode::SERVICE_UNAVAILABLE, "down on purpose\n".to_owned())
    } else {
        match backend(&shared.repositories, &head, &body).await {
            Ok(response) => response,
            Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}\n")),
        }
    };
    Ok(result)
}

fn plain(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response
}

/// One request as a CGI call of `git http-backend`.
async fn backend(
    root: &Path,
    head: &request::Parts,
    body: &Bytes,
) -> Result<Response<Full<Bytes>>> {
    let header = |name: &str| {
        head.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned()
    };
    let mut command = Command::new("git");
    neutral(&mut command);
    command
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REMOTE_USER", "bed")
        .env("REQUEST_METHOD", head.method.as_str())
        .env("PATH_INFO", head.uri.path())
        .env("QUERY_STRING", head.uri.query().unwrap_or_default())
        .env("CONTENT_TYPE", header("content-type"))
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
        .env("GIT_PROTOCOL", header("git-protocol"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let mut stdin = child.stdin.take().context("stdin was piped")?;
    let body = body.clone();
    let feed = tokio::spawn(async move {
        // It may answer without reading all of its input.
        stdin.write_all(&body).await.ok();
    });
    let out = child.wait_with_output().await?;
    feed.await?;
    let split = out.stdout.windows(4).position(|w| w == b"\r\n\r\n");
    let Some(split) = split else {
        bail!("git http-backend: {}", String::from_utf8_lossy(&out.stderr).trim());
    };
    let mut response = Response::builder();
    for line in String::from_utf8_lossy(&out.stdout[..split]).lines() {
        let (name, value) = line.split_once(": ").context("a CGI header has a colon")?;
        response = match name {
            "Status" => response.status(value.split(' ').next().unwrap_or("500")),
            _ => response.header(name, value),
        };
    }
    Ok(response.body(Full::new(Bytes::copy_from_slice(&out.stdout[split + 4..])))?)
}
