//! The repository of the shop: bare, behind `git http-backend`, with a work tree that pushes to it over HTTP.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use http::{Response, request};
use http_body_util::Full;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::http::{Reply, listen};

/// Serves the repositories of a folder.
pub(crate) struct Server {
    folder: PathBuf,
    url: String,
}

/// One repository.
pub(crate) struct Repository {
    /// What an Application's `repoURL` says.
    pub(crate) url: String,
    work: PathBuf,
}

impl Server {
    /// Starts on a free port.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub(crate) async fn start(folder: &Path) -> Result<Self> {
        let bare = folder.join("bare");
        fs::create_dir_all(&bare)?;
        let url = listen(move |head, body| {
            let bare = bare.clone();
            async move {
                backend(&bare, &head, &body).await.unwrap_or_else(|error| {
                    let mut reply = Response::new(Full::new(Bytes::from(format!("{error:#}\n"))));
                    *reply.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
                    reply
                })
            }
        });
        Ok(Self { folder: folder.to_owned(), url: url.await? })
    }

    /// Makes an empty repository with branch `main`.
    ///
    /// # Errors
    /// When `git` fails.
    pub(crate) async fn create(&self, name: &str) -> Result<Repository> {
        let bare = self.folder.join("bare").join(format!("{name}.git"));
        let work = self.folder.join(name);
        let url = format!("{}/{name}.git", self.url);
        let folder = &self.folder;
        git(folder, &["init", "-q", "--bare", "-b", "main", &bare.to_string_lossy()]).await?;
        git(&bare, &["config", "http.receivepack", "true"]).await?;
        git(folder, &["init", "-q", "-b", "main", &work.to_string_lossy()]).await?;
        git(&work, &["remote", "add", "origin", &url]).await?;
        Ok(Repository { url, work })
    }
}

impl Repository {
    /// Writes files, commits and pushes them, and returns the commit's short id.
    ///
    /// # Errors
    /// When nothing changed or `git` fails.
    pub(crate) async fn push(&self, message: &str, files: &[(&str, String)]) -> Result<String> {
        for (path, content) in files {
            let file = self.work.join(path);
            fs::create_dir_all(file.parent().context("a file has a folder")?)?;
            fs::write(&file, content)?;
        }
        git(&self.work, &["add", "--all"]).await?;
        git(&self.work, &["commit", "-q", "-m", message]).await?;
        git(&self.work, &["push", "-q", "origin", "HEAD:main"]).await?;
        let commit = git(&self.work, &["rev-parse", "HEAD"]).await?;
        Ok(commit.chars().take(7).collect())
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
        command.env(format!("GIT_{who}_NAME"), "Demo");
        command.env(format!("GIT_{who}_EMAIL"), "demo@example.invalid");
    }
    for proxy in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
        command.env_remove(proxy);
    }
}

/// One request as a CGI call of `git http-backend`.
async fn backend(root: &Path, head: &request::Parts, body: &Bytes) -> Result<Reply> {
    let header = |name: &str| {
        head.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned()
    };
    let mut command = Command::new("git");
    neutral(&mut command);
    command
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REMOTE_USER", "demo")
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
    // It may answer without reading all of its input.
    let feed = tokio::spawn(async move { stdin.write_all(&body).await.ok() });
    let out = child.wait_with_output().await?;
    feed.await?;
    let Some(split) = out.stdout.windows(4).position(|w| w == b"\r\n\r\n") else {
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
