//! Bare repositories made with git, and a server for them: `git http-backend` behind hyper.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;

/// What a path of a commit holds.
pub(crate) enum Content<'a> {
    File(&'a str),
    Link(&'a str),
    Submodule,
}

/// A folder of bare repositories.
pub(crate) struct Bare {
    pub(crate) root: tempfile::TempDir,
}

impl Bare {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let bare = Bare { root };
        git(bare.root.path(), &["init", "-q", "--bare", "-b", "main", "r.git"], b"");
        bare
    }

    pub(crate) fn repository(&self) -> PathBuf {
        self.root.path().join("r.git")
    }

    pub(crate) fn file_url(&self) -> String {
        format!("file://{}", self.repository().display())
    }

    /// Replaces a branch by a commit with exactly these files; `onto` is its parent.
    pub(crate) fn commit(
        &self,
        branch: &str,
        onto: Option<&str>,
        files: &[(&str, Content<'_>)],
    ) -> String {
        let mut stream = format!(
            "commit refs/heads/{branch}\nauthor Ada <ada@example.org> 1700000000 +0100\ncommitter Bob <bob@example.org> 1700000001 +0100\ndata <<END\nMake it so\n\nbody\nEND\n"
        );
        if let Some(parent) = onto {
            stream.push_str(&format!("from {parent}\n"));
        }
        stream.push_str("deleteall\n");
        for (path, content) in files {
            let (mode, text) = match content {
                Content::File(text) => ("100644", *text),
                Content::Link(target) => ("120000", *target),
                Content::Submodule => {
                    stream.push_str(&format!("M 160000 {} {path}\n", "1".repeat(40)));
                    continue;
                }
            };
            stream.push_str(&format!("M {mode} inline {path}\ndata {}\n{text}\n", text.len()));
        }
        git(&self.repository(), &["fast-import", "--quiet", "--force"], stream.as_bytes());
        self.git(&["rev-parse", branch])
    }

    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        git(&self.repository(), arguments, b"")
    }

    /// Writes a commit whose tree holds a name that git itself would refuse.
    pub(crate) fn commit_with_raw_name(&self, name: &[u8]) -> String {
        let blob = git(&self.repository(), &["hash-object", "-w", "--stdin"], b"x: 1\n");
        let bytes = (0..40).step_by(2).map(|at| u8::from_str_radix(&blob[at..at + 2], 16).unwrap());
        let mut tree = b"100644 ".to_vec();
        tree.extend_from_slice(name);
        tree.push(0);
        tree.extend(bytes);
        let arguments = ["hash-object", "-w", "-t", "tree", "--literally", "--stdin"];
        let tree = git(&self.repository(), &arguments, &tree);
        let commit = self.git(&["commit-tree", "-m", "raw", &tree]);
        self.git(&["update-ref", "refs/heads/main", &commit]);
        commit
    }
}

pub(crate) fn git(directory: &Path, arguments: &[&str], input: &[u8]) -> String {
    let mut child = Command::new("git")
        .args(arguments)
        .current_dir(directory)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .envs([("GIT_AUTHOR_NAME", "Ada"), ("GIT_AUTHOR_EMAIL", "ada@example.org")])
        .envs([("GIT_COMMITTER_NAME", "Ada"), ("GIT_COMMITTER_EMAIL", "ada@example.org")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "git {arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A git server on loopback that counts requests. The first part of the path says how it behaves: `git` serves, `auth` wants
/// the user `u` with the password `p`, `bad`, `deny`, `missing` and `boom` answer 401, 401, 404, 503, `page` answers no git, `hang` never
/// answers.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) requests: Arc<Mutex<BTreeMap<String, usize>>>,
    /// Certificate to trust, of a server that speaks TLS.
    pub(crate) ca_pem: Option<Vec<u8>>,
    stop: tokio::task::JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start(root: &Path) -> Self {
        Self::start_with(root, None).await
    }

    /// Starts a server with a certificate of its own.
    pub(crate) async fn start_tls(root: &Path) -> Self {
        super::install_provider();
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let config = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key.into())
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let mut server = Self::start_with(root, Some(acceptor)).await;
        server.ca_pem = Some(made.cert.pem().into_bytes());
        server
    }

    async fn start_with(root: &Path, tls: Option<tokio_rustls::TlsAcceptor>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests: Arc<Mutex<BTreeMap<String, usize>>> = Arc::default();
        let (root, counted) = (root.to_owned(), Arc::clone(&requests));
        let stop = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let (root, counted) = (root.clone(), Arc::clone(&counted));
                let service = hyper::service::service_fn(move |request| {
                    let (root, counted) = (root.clone(), Arc::clone(&counted));
                    async move { Ok::<_, std::io::Error>(answer(&root, &counted, request).await) }
                });
                let tls = tls.clone();
                tokio::spawn(async move {
                    let http = hyper::server::conn::http1::Builder::new();
                    match tls {
                        None => http.serve_connection(TokioIo::new(stream), service).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => {
                                http.serve_connection(TokioIo::new(stream), service).await
                            }
                            Err(_) => Ok(()),
                        },
                    }
                });
            }
        });
        Server { address, requests, ca_pem: None, stop }
    }

    pub(crate) fn url(&self, behaviour: &str) -> String {
        let scheme = if self.ca_pem.is_some() { "https" } else { "http" };
        format!("{scheme}://{}/{behaviour}/r.git", self.address)
    }

    /// Fetches (not polls) since the start.
    pub(crate) fn fetches(&self) -> usize {
        *self.requests.lock().unwrap().get("fetch").unwrap_or(&0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.abort();
    }
}

fn plain(status: u16, body: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body.to_owned())));
    *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap();
    response
}

async fn answer(
    root: &Path,
    counted: &Mutex<BTreeMap<String, usize>>,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    let (behaviour, rest) = path[1..].split_once('/').unwrap();
    let authorized = request.headers().get("authorization").map(|value| value.as_bytes());
    match behaviour {
        "git" => {}
        "auth" if authorized == Some(b"Basic dTpw") => {}
        "auth" | "bad" | "deny" => {
            let mut response = plain(401, "who are you");
            let realm = hyper::header::HeaderValue::from_static("Basic realm=\"x\"");
            response.headers_mut().insert("www-authenticate", realm);
            return response;
        }
        "missing" => return plain(404, "no such repository"),
        "boom" => return plain(503, "try later"),
        "page" => return plain(200, "<html>login</html>"),
        _ => std::future::pending().await,
    }
    backend(root, counted, &format!("/{rest}"), request).await
}

async fn backend(
    root: &Path,
    counted: &Mutex<BTreeMap<String, usize>>,
    path: &str,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    if body.windows(13).any(|window| window == b"command=fetch") {
        *counted.lock().unwrap().entry("fetch".to_owned()).or_default() += 1;
    }
    let header = |name: &str| {
        head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    };
    let mut child = tokio::process::Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("PATH_INFO", path)
        .env("QUERY_STRING", head.uri.query().unwrap_or_default())
        .env("REQUEST_METHOD", head.method.as_str())
        .env("CONTENT_TYPE", header("content-type"))
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
        .env("GIT_PROTOCOL", header("git-protocol"))
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let written = tokio::spawn(async move { stdin.write_all(&body).await });
    let output = child.wait_with_output().await.unwrap().stdout;
    // The backend may end before it has read everything.
    let _ = written.await.unwrap();
    let split = output.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let mut response = Response::new(Full::new(Bytes::from(output[split + 4..].to_vec())));
    for line in String::from_utf8_lossy(&output[..split]).lines() {
        let (name, value) = line.split_once(": ").unwrap();
        if name == "Status" {
            *response.status_mut() = value[..3].parse().unwrap();
        } else {
            let name: hyper::header::HeaderName = name.parse().unwrap();
            response.headers_mut().insert(name, value.parse().unwrap());
        }
    }
    response
}
