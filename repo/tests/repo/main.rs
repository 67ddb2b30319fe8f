//! Promises about sources: what a commit renders to, and what happens when server or content misbehave.

#![allow(clippy::unwrap_used, reason = "helpers of tests may fail as tests do")]

mod directory;
mod fixture;
mod kustomize;
mod remote;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sluice_crds::application::ApplicationSource;
use sluice_repo::{GitConfig, GixGit, Limits, Manifests, RenderDeps, Repo, RepoError, Source};

fn limits() -> Limits {
    Limits {
        time: Duration::from_secs(20),
        file_bytes: 64 << 10,
        manifest_bytes: 256 << 10,
        files: 50,
        ..Limits::default()
    }
}

fn install_provider() {
    // Another test may have been first; the provider is the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

fn repo(cache: &Path, limits: Limits, deps: &RenderDeps) -> Repo {
    repo_trusting(cache, limits, deps, None)
}

fn repo_trusting(cache: &Path, limits: Limits, deps: &RenderDeps, ca_pem: Option<Vec<u8>>) -> Repo {
    install_provider();
    let mut config = GitConfig::new(cache.to_owned());
    config.allow_file_urls = true;
    config.limits = limits.clone();
    config.ca_pem = ca_pem;
    config.credentials = Some(Arc::new(|url| {
        (url.contains("/auth/") || url.contains("/bad/")).then(|| sluice_repo::Credentials {
            username: "u".to_owned(),
            password: if url.contains("/bad/") { "wrong" } else { "p" }.to_owned(),
        })
    }));
    Repo::new(Arc::new(GixGit::new(config)), deps, limits)
}

fn source(url: &str, fields: &str) -> Source {
    let yaml = format!("{{repoURL: '{url}', {fields}}}");
    let source: ApplicationSource = serde_saphyr::from_str(&yaml).unwrap();
    Source::from_application(&source, false).unwrap()
}

async fn rendered(repo: &Repo, source: &Source) -> Result<Manifests, RepoError> {
    let commit = repo.resolve(source).await?;
    repo.render(source, &commit).await
}

fn names(manifests: &Manifests) -> Vec<&str> {
    manifests.objects.iter().map(|object| object["metadata"]["name"].as_str().unwrap()).collect()
}

fn config_map(name: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n")
}
