//! What kustomize gets to see. The program here is a script that shows it; the real one is tested in `tests/kustomize`.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use sluice_repo::{Limits, RenderDeps, RepoErrorKind};

use super::fixture::Content::{File, Link};
use super::fixture::{Bare, Content};
use super::{config_map, limits, rendered, repo, source};

/// Writes a program that answers `body`.
fn program(folder: &Path, body: &str) -> RenderDeps {
    let path = folder.join("kustomize");
    std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    RenderDeps { kustomize: Some(path), kustomize_version: "test".to_owned() }
}

/// A program that lists the files it was given, with the kustomization itself, as a ConfigMap.
const SHOW: &str = r#"cd "$2" && echo 'apiVersion: v1
kind: ConfigMap
metadata: {name: seen}
data:
  files: |' && /usr/bin/find "${2%%/files*}/files" -type f | /usr/bin/sed "s|.*/files/|    |" | /usr/bin/sort
echo '  kustomization: |'; /usr/bin/sed 's|^|    |' kustomization.yaml; echo
echo '  environment: |'; /usr/bin/env | /usr/bin/sed 's|=.*||; s|^|    |' | /usr/bin/sort"#;

async fn run(
    deps: impl FnOnce(&Path) -> RenderDeps,
    files: &[(&str, Content<'_>)],
    fields: &str,
    limits: Limits,
) -> Result<sluice_repo::Manifests, sluice_repo::RepoError> {
    let (bare, cache) = (Bare::new(), tempfile::tempdir().unwrap());
    bare.commit("main", None, files);
    let repo = repo(cache.path(), limits, &deps(bare.root.path()));
    rendered(&repo, &source(&bare.file_url(), fields)).await
}

async fn refused(files: &[(&str, Content<'_>)], fields: &str, kind: RepoErrorKind, wanted: &str) {
    let error = run(|at| program(at, SHOW), files, fields, limits()).await.unwrap_err();
    assert_eq!(error.kind, kind, "{error}");
    assert!(error.to_string().contains(wanted), "{error}");
}

#[tokio::test]
async fn only_what_the_kustomization_names_is_written_and_nothing_of_ours_is_in_its_environment() {
    let cm = config_map("a");
    let files = [
        (
            "app/kustomization.yaml",
            File(
                "resources: [cm.yaml, ../base]\npatches: [{path: p.yaml}]\nconfigMapGenerator: [{name: g, files: [k=data.txt], envs: [e.env]}]\n",
            ),
        ),
        ("app/cm.yaml", File(&cm)),
        ("app/p.yaml", File("x")),
        ("app/data.txt", Link("../shared.txt")),
        ("shared.txt", File("shared")),
        ("app/e.env", File("A=1")),
        ("app/secret-not-named.yaml", File("x")),
        ("base/kustomization.yml", File("resources: [b.yaml]\ncomponents: [comp]\n")),
        ("base/b.yaml", File(&cm)),
        ("base/comp/Kustomization", File("kind: Component\n")),
        ("elsewhere/kustomization.yaml", File("resources: [x.yaml]")),
    ];
    let manifests = run(|at| program(at, SHOW), &files, "path: app", limits()).await.unwrap();
    let seen = &manifests.objects[0]["data"];
    assert_eq!(
        seen["files"].as_str().unwrap().lines().collect::<Vec<_>>(),
        [
            "app/cm.yaml",
            "app/data.txt",
            "app/e.env",
            "app/kustomization.yaml",
            "app/p.yaml",
            "base/b.yaml",
            "base/comp/Kustomization",
            "base/kustomization.yml",
        ]
    );
    let environment: Vec<_> = seen["environment"].as_str().unwrap().lines().collect();
    assert!(
        environment.iter().all(|name| {
            [
                "GOMEMLIMIT",
                "HOME",
                "OLDPWD",
                "PATH",
                "PWD",
                "SHLVL",
                "TMPDIR",
                "XDG_CONFIG_HOME",
                "_",
            ]
            .contains(name)
        }),
        "{environment:?}"
    );
}

#[tokio::test]
async fn options_are_edited_into_the_private_copy() {
    let cm = config_map("a");
    let files = [
        (
            "app/kustomization.yaml",
            File(
                "resources: [cm.yaml]\nimages: [{name: web, newTag: old}, {name: db, newTag: '1'}]\ncommonLabels: {team: a}\n",
            ),
        ),
        ("app/cm.yaml", File(&cm)),
        ("app/extra/kustomization.yaml", File("kind: Component\n")),
        ("app/fix.yaml", File("x")),
    ];
    let fields = "path: app, kustomize: {namePrefix: p-, namespace: ns, images: ['web=r:5000/web:v2', {name: api, newTag: v3}], replicas: [{name: w, count: 3}], commonLabels: {env: x}, commonAnnotations: {a: b}, components: [extra], patches: [{path: fix.yaml, target: {kind: Deployment}}]}";
    let manifests = run(|at| program(at, SHOW), &files, fields, limits()).await.unwrap();
    let edited: serde_json::Value =
        serde_json::from_str(manifests.objects[0]["data"]["kustomization"].as_str().unwrap())
            .unwrap();
    assert_eq!(
        edited,
        serde_json::json!({
            "resources": ["cm.yaml"],
            "namePrefix": "p-",
            "namespace": "ns",
            "images": [{"name": "db", "newTag": "1"}, {"name": "web", "newName": "r:5000/web", "newTag": "v2"}, {"name": "api", "newTag": "v3"}],
            "replicas": [{"name": "w", "count": 3}],
            "commonLabels": {"team": "a", "env": "x"},
            "commonAnnotations": {"a": "b"},
            "components": ["extra"],
            "patches": [{"path": "fix.yaml", "target": {"kind": "Deployment"}}],
        })
    );
    let seen = manifests.objects[0]["data"]["files"].as_str().unwrap();
    assert!(
        seen.contains("app/extra/kustomization.yaml") && seen.contains("app/fix.yaml"),
        "{seen}"
    );
    let twice = "path: app, kustomize: {commonLabels: {team: b}}";
    refused(&files, twice, RepoErrorKind::InvalidSource, "forceCommonLabels").await;
    let fields = "path: app, kustomize: {version: v4}";
    refused(&files, fields, RepoErrorKind::Unsupported, "spec.source.kustomize.version").await;
}

#[tokio::test]
async fn references_never_leave_the_repository_or_the_machine() {
    use RepoErrorKind::{InvalidSource, PathNotFound, Unsafe, Unsupported};
    let check = async |text: &str, kind, wanted: &str| {
        let files = [
            ("app/kustomization.yaml", File(text)),
            ("app/evil.yaml", Link("../../../etc/passwd")),
        ];
        refused(&files, "path: app", kind, wanted).await;
    };
    check("resources: [../../etc]", InvalidSource, "leaves the repository").await;
    check("resources: [/etc/passwd]", PathNotFound, "app/kustomization.yaml").await;
    check("resources: [evil.yaml]", Unsafe, "leads out of the repository").await;
    check("resources: [none.yaml]", PathNotFound, "it names `none.yaml`").await;
    check("resources: ['https://h/x?ref=main']", Unsupported, "remote bases are not fetched").await;
    check("resources: [github.com/o/r]", Unsupported, "remote bases are not fetched").await;
    check("bases: ['git@h:o/r']", Unsupported, "remote bases are not fetched").await;
    check("helmCharts: [{name: x}]", Unsupported, "`helmCharts` is not rendered yet").await;
}

#[tokio::test]
async fn a_program_that_fails_floods_or_hangs_does_no_harm() {
    let files = [("app/kustomization.yaml", File("resources: []"))];
    let body = "echo \"Error: accumulating $2: no matches\" >&2; exit 1";
    let error = run(|at| program(at, body), &files, "path: app", limits()).await.unwrap_err();
    assert_eq!(error.kind, RepoErrorKind::RenderFailed);
    assert!(error.observed.contains("accumulating <source>/app: no matches"), "{error}");
    let body =
        "while :; do echo 'a: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb'; done";
    let error = run(|at| program(at, body), &files, "path: app", limits()).await.unwrap_err();
    assert_eq!(error.kind, RepoErrorKind::TooBig, "{error}");
    let short = Limits { time: Duration::from_secs(2), ..limits() };
    let error =
        run(|at| program(at, "while :; do :; done"), &files, "path: app", short).await.unwrap_err();
    assert_eq!(error.kind, RepoErrorKind::Timeout, "{error}");
    let none = |_: &Path| RenderDeps::default();
    let error = run(none, &files, "path: app", limits()).await.unwrap_err();
    assert!(error.observed.contains("there is no kustomize binary"), "{error}");
}
