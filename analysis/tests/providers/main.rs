//! Promises about samples: what a server says, and what becomes of it.

#![allow(clippy::unwrap_used, reason = "helpers of tests may fail as tests do")]

mod prometheus;
mod server;
mod web;

use sluice_analysis::{
    Clients, Deps, Query, Sample, SampleError, SampleErrorKind, find, providers,
};

fn deps() -> Deps {
    // Another test may have been first; the provider is the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Deps::new(Clients::build("sluice-test").unwrap())
}

fn query(provider: &str) -> Query {
    Query {
        metric: "m".to_owned(),
        provider: serde_json::from_value(json(provider)).unwrap(),
        now: "2026-11-21T13:00:00Z".parse().unwrap(),
    }
}

/// Providers are written as JSON here.
fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

async fn ask_with(deps: &Deps, provider: &str) -> Result<Sample, SampleError> {
    let (query, all) = (query(provider), providers(deps));
    let found = find(&all, &query.provider)?;
    found.sample(&query).await
}

async fn ask(provider: &str) -> Result<Sample, SampleError> {
    ask_with(&deps(), provider).await
}

async fn refused(provider: &str, kind: SampleErrorKind, wanted: &str) {
    let error = ask(provider).await.unwrap_err();
    assert_eq!(error.kind, kind, "{provider}: {error}");
    assert!(error.to_string().contains(wanted), "{provider}: {error}");
}

#[tokio::test]
async fn exactly_one_known_provider_is_asked() {
    refused("{}", SampleErrorKind::BadQuery, "found none").await;
    let two = r#"{"web": {"url": "http://x"}, "prometheus": {"query": "1"}}"#;
    refused(two, SampleErrorKind::BadQuery, "found prometheus, web").await;
    refused(r#"{"datadog": {}}"#, SampleErrorKind::Unsupported, "`datadog` is not implemented")
        .await;
}

#[test]
fn only_a_server_that_cannot_be_asked_holds_the_weight() {
    use SampleErrorKind::{
        BadContent, BadQuery, Denied, NoData, ServerError, Timeout, TooLarge, Unreachable,
        Unsupported,
    };
    for kind in [Unreachable, Timeout, ServerError] {
        assert!(SampleError::new(kind, "").holds_weight(), "{kind:?}");
    }
    for kind in [BadContent, BadQuery, Denied, NoData, TooLarge, Unsupported] {
        assert!(!SampleError::new(kind, "").holds_weight(), "{kind:?}");
    }
}
