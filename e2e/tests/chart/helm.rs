//! Helm, with a home of its own and an administrator's kubeconfig.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use sluice_e2e::bed::{Bed, apply::documents};
use tokio::process::Command;

/// A file or folder below `charts`.
pub(crate) fn charts(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts").join(path)
}

/// Flags that render as `charts/install` and `charts/namespace-install` do.
pub(crate) fn values(folder: &str) -> Vec<String> {
    vec!["--values".to_owned(), charts(folder).join("values.yaml").display().to_string()]
}

/// The two programs by which users install.
#[derive(Debug, Clone)]
pub(crate) struct Helm {
    helm: PathBuf,
    kubectl: PathBuf,
    kustomize: PathBuf,
    kubeconfig: PathBuf,
    home: PathBuf,
}

impl Helm {
    /// As an administrator who has this name in the audit log.
    pub(crate) fn new(bed: &Bed, name: &str) -> Result<Self> {
        let parts = &bed.parts;
        Ok(Self {
            helm: parts.helm.clone(),
            kubectl: parts.kubectl.clone(),
            kustomize: parts.kustomize.clone(),
            kubeconfig: bed.authority.kubeconfig(name, Some("system:masters"))?,
            home: bed.inside.run.join(name),
        })
    }

    /// Standard output of Helm.
    pub(crate) async fn run(&self, words: &[&str]) -> Result<String> {
        self.output(&self.helm, words).await
    }

    /// Standard output of kubectl.
    pub(crate) async fn kubectl(&self, words: &[&str]) -> Result<String> {
        self.output(&self.kubectl, words).await
    }

    /// The objects of a kustomize base.
    pub(crate) async fn kustomize(&self, folder: &Path) -> Result<Vec<Value>> {
        let folder = folder.to_string_lossy();
        documents(&self.output(&self.kustomize, &["build", &folder]).await?)
    }

    /// What the chart renders as release `sluice` in namespace `sluice-system`, with further flags.
    pub(crate) async fn template(&self, flags: &[String]) -> Result<String> {
        let chart = charts("sluice");
        let chart = chart.to_string_lossy();
        let mut words = vec!["template", "sluice", &chart, "-n", "sluice-system", "--skip-tests"];
        words.extend(flags.iter().map(String::as_str));
        self.run(&words).await
    }

    async fn output(&self, program: &Path, words: &[&str]) -> Result<String> {
        let out = Command::new(program)
            .args(words)
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HOME", &self.home)
            .env("HELM_CACHE_HOME", self.home.join("cache"))
            .env("HELM_CONFIG_HOME", self.home.join("config"))
            .env("HELM_DATA_HOME", self.home.join("data"))
            .output()
            .await
            .with_context(|| format!("cannot run `{}`", program.display()))?;
        let (said, errors) =
            (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        ensure!(out.status.success(), "{} {}: {said}{errors}", program.display(), words.join(" "));
        Ok(said.into_owned())
    }
}

/// The object of a kind with a name.
pub(crate) fn object<'a>(all: &'a [Value], kind: &str, name: &str) -> Result<&'a Value> {
    let found = all.iter().find(|o| o["kind"] == kind && o["metadata"]["name"] == name);
    found.with_context(|| format!("the chart renders no {kind} `{name}`"))
}

/// The words of an array of strings.
pub(crate) fn words(array: &Value) -> Vec<&str> {
    array.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}
