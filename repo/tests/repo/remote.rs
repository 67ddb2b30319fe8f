use std::time::{Duration, Instant};

use sluice_repo::{Limits, RenderDeps, RepoErrorKind};

use super::fixture::{Bare, Content::File, Server};
use super::{config_map, limits, names, rendered, repo, repo_trusting, source};

async fn refused(url: &str, fields: &str, kind: RepoErrorKind, wanted: &str) {
    let cache = tempfile::tempdir().unwrap();
    let repo = repo(cache.path(), limits(), &RenderDeps::default());
    let error = rendered(&repo, &source(url, fields)).await.unwrap_err();
    assert_eq!(error.kind, kind, "{error}");
    assert!(error.to_string().contains(wanted), "{error}");
}

#[tokio::test]
async fn a_push_is_seen_by_a_poll_and_only_its_own_commit_is_fetched() {
    let (bare, cache) = (Bare::new(), tempfile::tempdir().unwrap());
    let first = bare.commit("main", None, &[("app/a.yaml", File(&config_map("one")))]);
    let server = Server::start(bare.root.path()).await;
    let repo = repo(cache.path(), limits(), &RenderDeps::default());
    let source = source(&server.url("git"), "path: app");
    let manifests = rendered(&repo, &source).await.unwrap();
    assert_eq!(names(&manifests), ["one"]);
    assert_eq!(manifests.commit.id.as_str(), first);
    assert_eq!(manifests.commit.author, "Ada <ada@example.org>");
    assert_eq!(manifests.commit.subject, "Make it so");
    assert_eq!(manifests.commit.authored_at, 1_700_000_000);
    for _ in 0..3 {
        rendered(&repo, &source).await.unwrap();
    }
    assert_eq!(server.fetches(), 1, "an unchanged revision is not fetched again");
    bare.commit("main", Some(&first), &[("app/a.yaml", File(&config_map("two")))]);
    assert_eq!(names(&rendered(&repo, &source).await.unwrap()), ["two"]);
    assert_eq!(server.fetches(), 2);
}

#[tokio::test]
async fn an_unrelated_commit_has_the_same_content_key() {
    let (bare, cache) = (Bare::new(), tempfile::tempdir().unwrap());
    let app = config_map("one");
    let first = bare.commit("main", None, &[("app/a.yaml", File(&app))]);
    let repo = repo(cache.path(), limits(), &RenderDeps::default());
    let source = source(&bare.file_url(), "path: app");
    let before = rendered(&repo, &source).await.unwrap();
    let files =
        [("app/a.yaml", File(&app)), ("app/README.md", File("x")), ("b.yaml", File("y: 1"))];
    bare.commit("main", Some(&first), &files);
    let after = rendered(&repo, &source).await.unwrap();
    assert_ne!(before.commit.id, after.commit.id);
    assert_eq!(before.content_key, after.content_key);
    bare.commit("main", Some(&first), &[("app/a.yaml", File(&config_map("two")))]);
    assert_ne!(rendered(&repo, &source).await.unwrap().content_key, before.content_key);
}

#[tokio::test]
async fn branches_tags_refs_and_commits_are_revisions() {
    let (bare, cache) = (Bare::new(), tempfile::tempdir().unwrap());
    let old = bare.commit("main", None, &[("a.yaml", File(&config_map("old")))]);
    bare.git(&["tag", "-a", "-m", "annotated", "v1", &old]);
    bare.git(&["tag", "light", &old]);
    bare.commit("main", Some(&old), &[("a.yaml", File(&config_map("new")))]);
    bare.commit("feature/x", Some(&old), &[("a.yaml", File(&config_map("feature")))]);
    let server = Server::start(bare.root.path()).await;
    let repo = repo(cache.path(), limits(), &RenderDeps::default());
    for (revision, wanted) in [
        ("HEAD", "new"),
        ("main", "new"),
        ("refs/heads/main", "new"),
        ("feature/x", "feature"),
        ("v1", "old"),
        ("light", "old"),
        ("refs/tags/v1", "old"),
        (old.as_str(), "old"),
    ] {
        let source = source(&server.url("git"), &format!("path: ., targetRevision: '{revision}'"));
        let manifests = rendered(&repo, &source).await.unwrap();
        assert_eq!(names(&manifests), [wanted], "{revision}");
    }
}

#[tokio::test]
async fn a_rewritten_history_is_followed_without_harm() {
    let (bare, cache) = (Bare::new(), tempfile::tempdir().unwrap());
    let first = bare.commit("main", None, &[("a.yaml", File(&config_map("one")))]);
    let repo = repo(cache.path(), limits(), &RenderDeps::default());
    let source = source(&bare.file_url(), "path: .");
    rendered(&repo, &source).await.unwrap();
    bare.commit("other", None, &[("a.yaml", File(&config_map("rewritten")))]);
    bare.git(&["update-ref", "refs/heads/main", "refs/heads/other"]);
    bare.git(&["reflog", "expire", "--expire=now", "--all"]);
    bare.git(&["gc", "-q", "--prune=now"]);
    assert_eq!(names(&rendered(&repo, &source).await.unwrap()), ["rewritten"]);
    let old = sluice_repo::CommitId::parse(&first).unwrap();
    assert_eq!(names(&repo.render(&source, &old).await.unwrap()), ["one"], "still in the store");
}

#[tokio::test]
async fn a_vanished_branch_and_an_unknown_commit_are_named() {
    use RepoErrorKind::RevisionNotFound;
    let bare = Bare::new();
    bare.commit("main", None, &[("a.yaml", File(&config_map("one")))]);
    let server = Server::start(bare.root.path()).await;
    let url = server.url("git");
    refused(&url, "path: ., targetRevision: gone", RevisionNotFound, "no branch or tag `gone`")
        .await;
    let unknown = format!("path: ., targetRevision: '{}'", "1".repeat(40));
    refused(&url, &unknown, RevisionNotFound, "has no commit `1111").await;
}

#[tokio::test]
async fn an_empty_repository_says_so() {
    let bare = Bare::new();
    let server = Server::start(bare.root.path()).await;
    let wanted = "the repository has no commit";
    refused(&server.url("git"), "path: .", RepoErrorKind::EmptyRepository, wanted).await;
    let fields = "path: ., targetRevision: main";
    refused(&server.url("git"), fields, RepoErrorKind::EmptyRepository, wanted).await;
}

#[tokio::test]
async fn a_server_that_refuses_or_fails_is_told_apart() {
    let bare = Bare::new();
    let server = Server::start(bare.root.path()).await;
    let check = async |behaviour: &str, kind, wanted: &str| {
        refused(&server.url(behaviour), "path: .", kind, wanted).await;
    };
    check("deny", RepoErrorKind::AuthRequired, "wants credentials and there are none").await;
    check("missing", RepoErrorKind::RepositoryNotFound, "check `repoURL`").await;
    check("boom", RepoErrorKind::ServerError, "tried again").await;
    check("page", RepoErrorKind::ServerError, "is a git repository").await;
    let closed = format!("http://{}/r.git", {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    });
    refused(&closed, "path: .", RepoErrorKind::Unreachable, "check `repoURL`").await;
    refused("http://no-such-host.invalid/r", "path: .", RepoErrorKind::Unreachable, "").await;
    for url in ["-c/x", "ssh://h/x", "ext::sh", "/etc"] {
        refused(url, "path: .", RepoErrorKind::InvalidSource, "repoURL").await;
    }
}

#[tokio::test]
async fn credentials_open_a_private_repository_over_tls_only() {
    let (bare, cache) = (Bare::new(), tempfile::tempdir().unwrap());
    bare.commit("main", None, &[("a.yaml", File(&config_map("private")))]);
    let server = Server::start_tls(bare.root.path()).await;
    let deps = RenderDeps::default();
    let repo = repo_trusting(cache.path(), limits(), &deps, server.ca_pem.clone());
    let manifests = rendered(&repo, &source(&server.url("auth"), "path: .")).await.unwrap();
    assert_eq!(names(&manifests), ["private"]);
    let error = rendered(&repo, &source(&server.url("bad"), "path: .")).await.unwrap_err();
    assert_eq!(error.observed, "the server refuses the credentials");
    let untrusted = server.url("git");
    refused(&untrusted, "path: .", RepoErrorKind::Unreachable, "certificate").await;
    let plain = Server::start(bare.root.path()).await;
    let wanted = "credentials are never sent over plain http";
    refused(&plain.url("auth"), "path: .", RepoErrorKind::AuthRequired, wanted).await;
}

#[tokio::test]
async fn a_server_that_never_answers_costs_the_time_budget_and_no_more() {
    let (bare, cache) = (Bare::new(), tempfile::tempdir().unwrap());
    let server = Server::start(bare.root.path()).await;
    let short = Limits { time: Duration::from_millis(300), ..limits() };
    let repo = repo(cache.path(), short, &RenderDeps::default());
    let started = Instant::now();
    let error = repo.resolve(&source(&server.url("hang"), "path: .")).await.unwrap_err();
    assert_eq!(error.kind, RepoErrorKind::Timeout, "{error}");
    assert!(error.is_transient());
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_repository_larger_than_its_budget_is_refused() {
    let (bare, cache) = (Bare::new(), tempfile::tempdir().unwrap());
    let mut state = 1u64;
    let noise: String = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'a' + (state % 26) as u8)
    })
    .take(100_000)
    .collect();
    let first =
        bare.commit("main", None, &[("a.yaml", File(&config_map("one"))), ("n", File(&noise))]);
    let small = Limits { store_bytes: 20_000, ..limits() };
    let repo = repo(cache.path(), small, &RenderDeps::default());
    let source = source(&bare.file_url(), "path: .");
    for _ in 0..2 {
        let error = rendered(&repo, &source).await.unwrap_err();
        assert_eq!(error.kind, RepoErrorKind::TooBig, "{error}");
    }
    bare.commit("main", Some(&first), &[("a.yaml", File(&config_map("slim")))]);
    assert_eq!(names(&rendered(&repo, &source).await.unwrap()), ["slim"], "nothing is left behind");
}

#[tokio::test]
async fn a_damaged_store_is_fetched_anew() {
    let (bare, cache) = (Bare::new(), tempfile::tempdir().unwrap());
    bare.commit("main", None, &[("a.yaml", File(&config_map("one")))]);
    let repo = repo(cache.path(), limits(), &RenderDeps::default());
    let source = source(&bare.file_url(), "path: .");
    rendered(&repo, &source).await.unwrap();
    let store = std::fs::read_dir(cache.path()).unwrap().next().unwrap().unwrap().path();
    for pack in std::fs::read_dir(store.join("objects/pack")).unwrap() {
        let path = pack.unwrap().path();
        let mut permissions = std::fs::metadata(&path).unwrap().permissions();
        std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o600);
        std::fs::set_permissions(&path, permissions).unwrap();
        std::fs::write(path, b"garbage").unwrap();
    }
    std::fs::write(store.join("config"), b"[core").unwrap();
    let mut outcome = rendered(&repo, &source).await;
    for _ in 0..2 {
        if outcome.is_err() {
            outcome = rendered(&repo, &source).await;
        }
    }
    assert_eq!(names(&outcome.unwrap()), ["one"]);
}
