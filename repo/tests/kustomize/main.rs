//! The real kustomize renders what the Application's options say. Needs `SLUICE_KUSTOMIZE`, the path of the binary.

#![allow(clippy::unwrap_used, reason = "helpers of tests may fail as tests do")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;
use sluice_crds::application::ApplicationSource;
use sluice_repo::{
    BoxFuture, Commit, CommitId, Git, Limits, RenderDeps, Repo, RepoError, Source, Tree,
};

/// No server: these tests bring their tree.
struct NoGit;

impl Git for NoGit {
    fn resolve<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Result<CommitId, RepoError>> {
        unreachable!("the tree is given")
    }
    fn tree<'a>(
        &'a self,
        _: &'a str,
        _: &'a CommitId,
        _: &'a str,
    ) -> BoxFuture<'a, Result<Tree, RepoError>> {
        unreachable!("the tree is given")
    }
}

async fn render(files: &[(&str, &str)], fields: &str) -> Result<Vec<Value>, RepoError> {
    let binary = std::env::var_os("SLUICE_KUSTOMIZE")
        .expect("SLUICE_KUSTOMIZE names the binary: `cargo xtask bed parts` builds it");
    let deps =
        RenderDeps { kustomize: Some(PathBuf::from(binary)), kustomize_version: "real".to_owned() };
    let source: ApplicationSource =
        serde_saphyr::from_str(&format!("{{repoURL: 'http://h/r', {fields}}}")).unwrap();
    let source = Source::from_application(&source, false).unwrap();
    let commit = Commit {
        id: CommitId::parse(&"a".repeat(40)).unwrap(),
        author: String::new(),
        authored_at: 0,
        subject: String::new(),
    };
    let files: BTreeMap<String, Vec<u8>> =
        files.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect();
    let repo = Repo::new(Arc::new(NoGit), &deps, Limits::default());
    let manifests = repo.render_tree(&source, Tree::in_memory(commit, files)).await?;
    Ok((*manifests.objects).clone())
}

const DEPLOYMENT: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: 'web:old'}, {name: side, image: 'r:5000/side'}]}
";

#[tokio::test]
async fn bases_and_options_come_together() {
    let files = [
        ("base/kustomization.yaml", "resources: [d.yaml]\nimages: [{name: web, newTag: base}]\n"),
        ("base/d.yaml", DEPLOYMENT),
        (
            "app/kustomization.yaml",
            "resources: [../base]\nnamespace: ns\nconfigMapGenerator: [{name: c, literals: [a=b]}]\n",
        ),
        ("app/fix.yaml", "- op: add\n  path: /spec/paused\n  value: true\n"),
    ];
    let fields = "path: app, kustomize: {namePrefix: p-, images: ['web=r/web:v2', {name: 'r:5000/side', digest: 'sha256:aa'}], replicas: [{name: web, count: 3}], commonLabels: {env: x}, labelWithoutSelector: true, commonAnnotations: {note: y}, patches: [{path: fix.yaml, target: {kind: Deployment}}]}";
    let objects = render(&files, fields).await.unwrap();
    let deployment = objects.iter().find(|object| object["kind"] == "Deployment").unwrap();
    assert_eq!(deployment["metadata"]["name"], "p-web");
    assert_eq!(deployment["metadata"]["namespace"], "ns");
    assert_eq!(deployment["metadata"]["labels"]["env"], "x");
    assert_eq!(deployment["metadata"]["annotations"]["note"], "y");
    assert_eq!(deployment["spec"]["replicas"], 3);
    assert_eq!(deployment["spec"]["paused"], true);
    assert_eq!(deployment["spec"]["selector"]["matchLabels"].get("env"), None);
    let containers = &deployment["spec"]["template"]["spec"]["containers"];
    assert_eq!(containers[1]["image"], "r:5000/side@sha256:aa");
    assert!(objects.iter().any(|object| object["kind"] == "ConfigMap"));
}

#[tokio::test]
async fn an_image_of_the_application_wins_over_that_of_its_kustomization() {
    let files = [
        (
            "app/kustomization.yaml",
            "resources: [d.yaml]\nimages: [{name: web, newName: other, newTag: base}]\n",
        ),
        ("app/d.yaml", DEPLOYMENT),
    ];
    let objects = render(&files, "path: app, kustomize: {images: ['web=r/web:v2']}").await.unwrap();
    assert_eq!(objects[0]["spec"]["template"]["spec"]["containers"][0]["image"], "r/web:v2");
}

#[tokio::test]
async fn a_broken_kustomization_is_an_error_without_our_paths() {
    let files = [
        ("app/kustomization.yaml", "resources: [d.yaml]\nnamePrefix: [1]\n"),
        ("app/d.yaml", DEPLOYMENT),
    ];
    let error = render(&files, "path: app").await.unwrap_err();
    assert!(error.observed.starts_with("kustomize failed: "), "{error}");
    assert!(!error.to_string().contains("sluice-render"), "{error}");
}
