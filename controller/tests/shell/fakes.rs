//! What lies outside of the cluster: a metrics server and a Git server, as values.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use sluice_analysis::{
    BoxFuture, MetricProvider, Provided, Query, Sample, SampleError, SampleErrorKind,
};
use sluice_lang::Value;
use sluice_repo::{Commit, CommitId, Git, Limits, RenderDeps, Repo, RepoError, Tree};

/// The outside, as tests set it.
#[derive(Clone, Default)]
pub(crate) struct Fakes {
    /// What every query answers; nothing means that the server is down.
    pub(crate) metric: Arc<Mutex<Option<f64>>>,
    /// Files of each commit, oldest first; the last one is `HEAD`.
    commits: Arc<Mutex<Vec<Files>>>,
}

type Files = BTreeMap<String, Vec<u8>>;

impl Fakes {
    /// Pushes a commit with one file, and returns its id.
    pub(crate) fn push(&self, manifests: &str) -> String {
        let mut commits = self.commits.lock().unwrap();
        commits.push([("app.yaml".to_owned(), manifests.as_bytes().to_vec())].into());
        id(commits.len() - 1)
    }

    pub(crate) fn answers(&self, value: f64) {
        *self.metric.lock().unwrap() = Some(value);
    }

    pub(crate) fn providers(&self) -> Vec<Provided> {
        let provider = Box::new(self.clone());
        vec![Provided { provider, wanted_by: |provider| provider.prometheus.is_some() }]
    }

    pub(crate) fn repo(&self) -> Arc<Repo> {
        Arc::new(Repo::new(Arc::new(self.clone()), &RenderDeps::default(), Limits::default()))
    }
}

fn id(number: usize) -> String {
    format!("{:040x}", number + 1)
}

impl MetricProvider for Fakes {
    fn name(&self) -> &'static str {
        "Prometheus"
    }

    fn sample<'a>(&'a self, _: &'a Query) -> BoxFuture<'a, Result<Sample, SampleError>> {
        let value = *self.metric.lock().unwrap();
        Box::pin(async move {
            let down = || SampleError::new(SampleErrorKind::Unreachable, "the server is down");
            let value = Value::Array(vec![Value::Number(value.ok_or_else(down)?)]);
            Ok(Sample { value, metadata: BTreeMap::new() })
        })
    }
}

impl Git for Fakes {
    fn resolve<'a>(
        &'a self,
        _: &'a str,
        _: &'a str,
    ) -> sluice_repo::BoxFuture<'a, Result<CommitId, RepoError>> {
        let last = self.commits.lock().unwrap().len() - 1;
        Box::pin(async move { Ok(CommitId::parse(&id(last)).unwrap()) })
    }

    fn tree<'a>(
        &'a self,
        _: &'a str,
        commit: &'a CommitId,
        _: &'a str,
    ) -> sluice_repo::BoxFuture<'a, Result<Tree, RepoError>> {
        let commits = self.commits.lock().unwrap();
        let files = commits.iter().enumerate().find(|(number, _)| id(*number) == commit.as_str());
        let files = files.map(|(_, files)| files.clone()).unwrap_or_default();
        let commit = Commit {
            id: commit.clone(),
            author: "a <a@example>".into(),
            authored_at: 0,
            subject: "s".into(),
        };
        Box::pin(async move { Ok(Tree::in_memory(commit, files)) })
    }
}
