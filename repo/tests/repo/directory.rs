use sluice_repo::{RenderDeps, RepoErrorKind};

use super::fixture::Content::{File, Link, Submodule};
use super::fixture::{Bare, Content};
use super::{config_map, limits, names, rendered, repo, source};

async fn check(files: &[(&str, Content<'_>)], fields: &str, wanted: &[&str]) {
    let (bare, cache) = (Bare::new(), tempfile::tempdir().unwrap());
    bare.commit("main", None, files);
    let repo = repo(cache.path(), limits(), &RenderDeps::default());
    let manifests = rendered(&repo, &source(&bare.file_url(), fields)).await.unwrap();
    assert_eq!(names(&manifests), wanted, "{fields}");
}

async fn refused(files: &[(&str, Content<'_>)], fields: &str, kind: RepoErrorKind, wanted: &str) {
    let (bare, cache) = (Bare::new(), tempfile::tempdir().unwrap());
    bare.commit("main", None, files);
    let repo = repo(cache.path(), limits(), &RenderDeps::default());
    let error = rendered(&repo, &source(&bare.file_url(), fields)).await.unwrap_err();
    assert_eq!(error.kind, kind, "{error}");
    assert!(error.to_string().contains(wanted), "{error}");
}

#[tokio::test]
async fn files_are_chosen_by_extension_folder_and_globs_and_sorted_by_path() {
    let text = ["b", "a", "sub", "deep", "json"].map(config_map);
    let json = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"j"}}"#;
    let files = [
        ("app/b.yml", File(&text[0])),
        ("app/a.yaml", File(&text[1])),
        ("app/c.json", File(json)),
        ("app/notes.txt", File("hello")),
        ("app/sub/x.yaml", File(&text[2])),
        ("app/sub/deep/y.yaml", File(&text[3])),
        ("other/z.yaml", File(&text[4])),
        ("app/vendored", Submodule),
    ];
    check(&files, "path: app", &["a", "b", "j"]).await;
    check(&files, "path: app, directory: {recurse: true}", &["a", "b", "j", "deep", "sub"]).await;
    check(
        &files,
        "path: app, directory: {recurse: true, include: '*.yaml'}",
        &["a", "deep", "sub"],
    )
    .await;
    check(&files, "path: app, directory: {recurse: true, exclude: 'sub/*'}", &["a", "b", "j"])
        .await;
    check(&files, "path: app, directory: {include: '{a,c}.*', exclude: 'c*'}", &["a"]).await;
    check(&files, "path: app/sub/deep", &["deep"]).await;
    refused(
        &files,
        "path: app, directory: {include: '[a'}",
        RepoErrorKind::InvalidSource,
        "`[a` is no glob",
    )
    .await;
}

#[tokio::test]
async fn a_path_must_be_a_folder_of_the_commit() {
    let text = config_map("a");
    let files = [("app/a.yaml", File(&text)), ("mod", Submodule)];
    refused(&files, "path: ap", RepoErrorKind::PathNotFound, "path `ap`: there is no such folder")
        .await;
    refused(&files, "path: app/a.yaml", RepoErrorKind::PathNotFound, "it is no folder").await;
    refused(&files, "path: mod", RepoErrorKind::PathNotFound, "it is no folder").await;
}

#[tokio::test]
async fn links_are_followed_inside_of_the_repository_only() {
    let text = config_map("shared");
    let inside = [
        ("shared/a.yaml", File(text.as_str())),
        ("app/link.yaml", Link("../shared/a.yaml")),
        ("app/folder.yaml", Link("../shared")),
        ("current", Link("app")),
    ];
    check(&inside, "path: app", &["shared"]).await;
    check(&inside, "path: current", &["shared"]).await;
    for target in ["/etc/passwd", "../../etc/passwd", "../../../x", "..\\..\\x"] {
        let files = [("app/evil.yaml", Link(target))];
        refused(&files, "path: app", RepoErrorKind::Unsafe, "leads out of the repository").await;
    }
    let circle = [("app/a.yaml", Link("b.yaml")), ("app/b.yaml", Link("a.yaml"))];
    refused(&circle, "path: app", RepoErrorKind::Unsafe, "symbolic links in a row").await;
    let dangling = [("app/a.yaml", Link("none.yaml"))];
    refused(&dangling, "path: app", RepoErrorKind::PathNotFound, "no such file").await;
}

#[tokio::test]
async fn names_that_no_checkout_could_hold_are_refused() {
    for name in [&b".."[..], b".", b".git", b".GIT", b"a\\b", b"git~1", b"\xff\xfe"] {
        let (bare, cache) = (Bare::new(), tempfile::tempdir().unwrap());
        bare.commit_with_raw_name(name);
        let repo = repo(cache.path(), limits(), &RenderDeps::default());
        let error = rendered(&repo, &source(&bare.file_url(), "path: .")).await.unwrap_err();
        assert_eq!(error.kind, RepoErrorKind::Unsafe, "{error}");
    }
}

#[tokio::test]
async fn budgets_stop_huge_sources() {
    let giant = format!("{}#{}", config_map("a"), "x".repeat(70_000));
    let files = [("app/a.yaml", File(giant.as_str()))];
    refused(&files, "path: app", RepoErrorKind::TooBig, "file `app/a.yaml`").await;
    let big = format!("{}#{}", config_map("a"), "x".repeat(60_000));
    let paths: Vec<String> = (0..60).map(|n| format!("app/{n}.yaml")).collect();
    let five: Vec<_> = paths[..5].iter().map(|path| (path.as_str(), File(&big))).collect();
    refused(&five, "path: app", RepoErrorKind::TooBig, "larger than 262144 bytes").await;
    let many: Vec<_> = paths.iter().map(|path| (path.as_str(), File(""))).collect();
    refused(&many, "path: app", RepoErrorKind::TooBig, "more than 50 files").await;
}

#[tokio::test]
async fn what_is_no_manifest_names_file_and_line() {
    use RepoErrorKind::{InvalidManifest, Unsupported};
    let good = config_map("a");
    let check = async |text: &str, wanted: &str| {
        let files = [("app/a.yaml", File(good.as_str())), ("app/b.yaml", File(text))];
        refused(&files, "path: app", InvalidManifest, wanted).await;
    };
    check("a:\n  - b\n c: [", "file `app/b.yaml`, line 3").await;
    check("values: 3", "file `app/b.yaml`, document 1: `apiVersion` is missing").await;
    check(&format!("{good}data: {{x: 1, x: 2}}"), "file `app/b.yaml`, line 4").await;
    let jsonnet = [("app/a.jsonnet", File("{}"))];
    refused(&jsonnet, "path: app", Unsupported, "jsonnet is not rendered yet").await;
    let chart = [("app/Chart.yaml", File("name: x")), ("app/a.yaml", File(good.as_str()))];
    refused(&chart, "path: app", Unsupported, "charts are not rendered yet").await;
}

#[tokio::test]
async fn nothing_rendered_is_an_error_unless_it_is_allowed() {
    let files = [("app/README.md", File("x"))];
    refused(&files, "path: app", RepoErrorKind::Empty, "renders to no object at all").await;
    let (bare, cache) = (Bare::new(), tempfile::tempdir().unwrap());
    bare.commit("main", None, &files);
    let repo = repo(cache.path(), limits(), &RenderDeps::default());
    let mut source = source(&bare.file_url(), "path: app");
    source.allow_empty = true;
    assert!(rendered(&repo, &source).await.unwrap().objects.is_empty());
}
