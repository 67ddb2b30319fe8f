//! Which URLs are repositories.

use crate::error::{RepoError, RepoErrorKind};

/// Checks a repository URL and returns it without user name and password, for messages and as the key of its store.
pub(super) fn check(url: &str, allow_file: bool) -> Result<String, RepoError> {
    let shown = without_credentials(url);
    let refuse = |observed: &str| {
        Err(RepoError::new(
            RepoErrorKind::InvalidSource,
            format!("repoURL `{}`", shown.escape_debug()),
            observed,
        )
        .hint("write `https://host/path`"))
    };
    if url.starts_with('-') {
        return refuse("a URL does not begin with `-`");
    }
    if url.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return refuse("a URL holds no blanks or control characters");
    }
    let Some((scheme, rest)) = url.split_once("://") else {
        return refuse("only `https://` and `http://` repositories are supported");
    };
    let scheme = scheme.to_ascii_lowercase();
    match scheme.as_str() {
        "http" | "https" if !rest.is_empty() && !rest.starts_with('/') => Ok(shown),
        "http" | "https" => refuse("the URL has no host"),
        "file" if allow_file => Ok(shown),
        _ => refuse(&format!("scheme `{scheme}` is not supported")),
    }
}

/// Returns the URL without what stands between `://` and `@`.
fn without_credentials(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..authority_end].rfind('@') {
        Some(at) => format!("{scheme}://{}", &rest[at + 1..]),
        None => url.to_owned(),
    }
}

/// Returns the name of the store's folder: readable, and unique through a hash of the whole URL.
pub(super) fn store_name(url: &str) -> String {
    let readable: String = url
        .rsplit('/')
        .find(|part| !part.is_empty())
        .unwrap_or("repository")
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
        .take(40)
        .collect();
    format!("{readable}-{}", crate::git::blob_id(url.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::{check, store_name};

    #[test]
    fn only_http_urls_are_repositories() {
        for url in ["https://h/x.git", "http://127.0.0.1:8080/x", "HTTPS://h/x"] {
            assert_eq!(check(url, false).unwrap(), url);
        }
        let refused = [
            "-upload-pack=x",
            "--config=x://y",
            "ssh://h/x",
            "git@h:x/y",
            "ext::sh -c id",
            "file:///etc",
            "/etc",
            "https://",
            "https:///x",
            "https://h/x y",
            "https://h/x\n",
            "",
            "git://h/x",
        ];
        for url in refused {
            assert!(check(url, false).is_err(), "{url}");
        }
        assert!(check("file:///repo", true).is_ok());
    }

    #[test]
    fn messages_never_hold_credentials() {
        assert_eq!(check("https://u:secret@h/x@y", false).unwrap(), "https://h/x@y");
        let error = check("ssh://u:secret@h/x", false).unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
    }

    #[test]
    fn two_urls_never_share_a_store() {
        assert_ne!(store_name("https://a/x"), store_name("https://b/x"));
        assert!(store_name("https://a/../x.git").starts_with("xgit-"));
    }
}
