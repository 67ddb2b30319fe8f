//! What all HTTP providers share: clients, limits, credentials, and how errors are told apart.

use std::error::Error as _;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Response, StatusCode, Url};
use sluice_crds::analysis::provider::{Authentication, Header, OAuth2};

use crate::sample::{SampleError, SampleErrorKind};

/// Most redirects that are followed, inside of one origin.
const MAX_REDIRECTS: usize = 2;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The HTTP clients, built once in `main`: one pool of connections for all metrics.
#[derive(Clone, Debug)]
pub struct Clients {
    /// Verifies certificates.
    pub verifying: reqwest::Client,
    /// Accepts any certificate, for metrics with `insecure: true`.
    pub insecure: reqwest::Client,
}

impl Clients {
    /// Builds both clients. The process must have installed a rustls provider (`rustls::crypto::ring`) before.
    ///
    /// # Errors
    ///
    /// TLS cannot be set up.
    pub fn build(user_agent: &str) -> Result<Self, reqwest::Error> {
        let base = || {
            reqwest::Client::builder()
                .user_agent(user_agent)
                .connect_timeout(CONNECT_TIMEOUT)
                .redirect(same_origin_only())
                .dns_resolver(Arc::new(ForeignOnly))
                .no_proxy()
        };
        Ok(Clients {
            verifying: base().build()?,
            insecure: base().tls_danger_accept_invalid_certs(true).build()?,
        })
    }
}

/// Names that lead to a machine's own metadata service, or nowhere, do not resolve: metrics come from tenants. Private
/// addresses do, because that is where Prometheus is.
struct ForeignOnly;

impl Resolve for ForeignOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let (refused, allowed): (Vec<SocketAddr>, Vec<SocketAddr>) =
                found.partition(|address| is_refused(address.ip()));
            if allowed.is_empty() && !refused.is_empty() {
                return Err(
                    format!("`{}` leads to an address that is never asked", name.as_str()).into()
                );
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

/// Link-local addresses (cloud metadata among them), multicast, and addresses of no machine.
fn is_refused(address: IpAddr) -> bool {
    const METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            v4.is_link_local() || v4.is_multicast() || v4.is_unspecified() || v4.is_broadcast()
        }
        IpAddr::V6(v6) => {
            v6.is_unicast_link_local() || v6.is_multicast() || v6.is_unspecified() || v6 == METADATA
        }
    }
}

/// A redirect could carry credentials to a stranger, or reach where the metric's author cannot.
fn same_origin_only() -> reqwest::redirect::Policy {
    reqwest::redirect::Policy::custom(|attempt| {
        let first = attempt.previous().first().map(Url::origin);
        if first != Some(attempt.url().origin()) {
            attempt.error("redirect to another origin")
        } else if attempt.previous().len() > MAX_REDIRECTS {
            attempt.error("too many redirects")
        } else {
            attempt.follow()
        }
    })
}

/// What providers need from the outside.
#[derive(Clone, Debug)]
pub struct Deps {
    /// HTTP clients.
    pub clients: Clients,
    /// Prometheus of metrics that name no `address`.
    pub prometheus_address: Option<String>,
    /// Longest answer that is read, in bytes. Default 1 MiB.
    pub max_body_bytes: usize,
    /// Most values in one answer. Default 1,000.
    pub max_samples: usize,
}

impl Deps {
    /// Returns the defaults with these clients.
    pub fn new(clients: Clients) -> Self {
        Deps { clients, prometheus_address: None, max_body_bytes: 1 << 20, max_samples: 1000 }
    }

    pub(crate) fn client(&self, insecure: Option<bool>) -> &reqwest::Client {
        if insecure.unwrap_or(false) { &self.clients.insecure } else { &self.clients.verifying }
    }
}

pub(crate) fn bad_query(message: impl Into<String>) -> SampleError {
    SampleError::new(SampleErrorKind::BadQuery, message)
}

/// Runs a request with its total time limit: connection, answer and body together.
pub(crate) async fn within<T>(
    seconds: u64,
    target: &str,
    work: impl Future<Output = Result<T, SampleError>>,
) -> Result<T, SampleError> {
    match tokio::time::timeout(Duration::from_secs(seconds), work).await {
        Ok(done) => done,
        Err(_) => Err(SampleError::new(
            SampleErrorKind::Timeout,
            format!("`{target}` gave no complete answer within {seconds} s"),
        )),
    }
}

/// Reads a time limit in seconds. Zero and absent mean the default, as in Argo.
pub(crate) fn seconds(field: &str, value: Option<i64>, default: u64) -> Result<u64, SampleError> {
    match value {
        None | Some(0) => Ok(default),
        Some(value) => match u64::try_from(value) {
            Ok(value) if value <= 3600 => Ok(value),
            _ => Err(bad_query(format!("{field}: {value} is not between 1 and 3600 seconds"))),
        },
    }
}

/// Parses a URL; only `http` and `https` are asked.
pub(crate) fn url(field: &str, text: &str) -> Result<Url, SampleError> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => {
            let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
            // An address in place of a name is not resolved, so it is checked here.
            match host.parse::<IpAddr>() {
                Ok(address) if is_refused(address) => {
                    Err(bad_query(format!("{field}: `{address}` is never asked")))
                }
                _ => Ok(url),
            }
        }
        Ok(url) => Err(bad_query(format!("{field}: scheme `{}` is not supported", url.scheme()))),
        Err(error) => Err(bad_query(format!("{field}: `{text}` is no URL: {error}"))),
    }
}

/// Returns the URL for messages: no credentials, no query.
pub(crate) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // Neither fails for a URL with a host.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}

/// Reads header fields.
pub(crate) fn headers(field: &str, wanted: Option<&[Header]>) -> Result<HeaderMap, SampleError> {
    let mut headers = HeaderMap::new();
    for (index, header) in wanted.unwrap_or_default().iter().enumerate() {
        let name = HeaderName::try_from(header.key.as_str()).map_err(|_| {
            bad_query(format!("{field}[{index}].key: `{}` is no header name", header.key))
        })?;
        // The value may be a secret: it is not shown.
        let mut value = HeaderValue::try_from(header.value.as_str()).map_err(|_| {
            bad_query(format!("{field}[{index}].value: the value of `{name}` is no header value"))
        })?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}

/// Adds the `Authorization` header that the metric asks for.
pub(crate) async fn authorize(
    deps: &Deps,
    client: &reqwest::Client,
    authentication: Option<&Authentication>,
    headers: &mut HeaderMap,
) -> Result<(), SampleError> {
    let Some(authentication) = authentication else { return Ok(()) };
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    if let Some(basic) = &authentication.basic_auth {
        let (username, password) = (text(&basic.username), text(&basic.password));
        if username.is_empty() || password.is_empty() {
            return Err(bad_query("authentication.basicAuth: needs `username` and `password`"));
        }
        let value = format!("Basic {}", BASE64_STANDARD.encode(format!("{username}:{password}")));
        set_authorization(headers, &value)?;
    }
    if let Some(oauth2) = &authentication.oauth2 {
        let value = format!("Bearer {}", access_token(deps, client, oauth2).await?);
        set_authorization(headers, &value)?;
    }
    Ok(())
}

fn set_authorization(headers: &mut HeaderMap, value: &str) -> Result<(), SampleError> {
    let mut value = HeaderValue::try_from(value)
        .map_err(|_| bad_query("authentication: the credentials hold control characters"))?;
    value.set_sensitive(true);
    headers.insert(reqwest::header::AUTHORIZATION, value);
    Ok(())
}

/// Asks the token endpoint with client credentials, each time: tokens are not kept, so that none outlives its secret.
async fn access_token(
    deps: &Deps,
    client: &reqwest::Client,
    oauth2: &OAuth2,
) -> Result<String, SampleError> {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let (id, secret) = (text(&oauth2.client_id), text(&oauth2.client_secret));
    if id.is_empty() || secret.is_empty() {
        return Err(bad_query("authentication.oauth2: needs `clientId` and `clientSecret`"));
    }
    let token_url = url("authentication.oauth2.tokenUrl", &text(&oauth2.token_url))?;
    let mut form = vec![("grant_type", "client_credentials".to_owned())];
    if let Some(scopes) = oauth2.scopes.as_ref().filter(|scopes| !scopes.is_empty()) {
        form.push(("scope", scopes.join(" ")));
    }
    let target = shown(&token_url);
    let request = client.post(token_url).basic_auth(id, Some(secret)).form(&form);
    let response = request.send().await.map_err(|error| transport(&target, &error))?;
    let status = response.status();
    let body = body(deps, &target, response).await?;
    if !status.is_success() {
        return Err(refusal(&target, status, "no token"));
    }
    let answer: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    answer.get("access_token").and_then(|token| token.as_str()).map(str::to_owned).ok_or_else(
        || {
            SampleError::new(
                SampleErrorKind::BadContent,
                format!("`{target}` answers without `access_token`"),
            )
        },
    )
}

/// Reads a body up to the limit; the rest of a larger one is never received.
pub(crate) async fn body(
    deps: &Deps,
    target: &str,
    mut response: Response,
) -> Result<Vec<u8>, SampleError> {
    let limit = deps.max_body_bytes;
    let too_large = || {
        let message = format!("`{target}` answers with more than {limit} bytes; narrow the query");
        SampleError::new(SampleErrorKind::TooLarge, message)
    };
    if response.content_length().is_some_and(|length| length > limit as u64) {
        return Err(too_large());
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| transport(target, &error))? {
        if body.len() + chunk.len() > limit {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Tells the errors of a connection apart.
pub(crate) fn transport(target: &str, error: &reqwest::Error) -> SampleError {
    let mut cause = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        cause = inner.to_string();
        source = inner.source();
    }
    let kind = if error.is_timeout() {
        SampleErrorKind::Timeout
    } else if error.is_redirect() || error.is_builder() {
        SampleErrorKind::BadQuery
    } else {
        SampleErrorKind::Unreachable
    };
    SampleError::new(kind, format!("`{target}`: {cause}"))
}

/// Tells refusals by status apart.
pub(crate) fn refusal(target: &str, status: StatusCode, said: &str) -> SampleError {
    let kind = match status.as_u16() {
        401 | 403 => SampleErrorKind::Denied,
        408 => SampleErrorKind::Timeout,
        429 | 500..=599 => SampleErrorKind::ServerError,
        _ => SampleErrorKind::BadQuery,
    };
    let said = excerpt(said);
    let colon = if said.is_empty() { "" } else { ": " };
    SampleError::new(kind, format!("`{target}` answers {}{colon}{said}", status.as_u16()))
}

/// Cuts what a server said, for messages.
pub(crate) fn excerpt(text: &str) -> String {
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() > 200 { line.chars().take(200).chain(['…']).collect() } else { line }
}

#[cfg(test)]
mod tests {
    use super::is_refused;

    #[test]
    fn metadata_services_are_never_asked_and_private_networks_are() {
        for address in [
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "fe80::1",
            "fd00:ec2::254",
            "0.0.0.0",
            "::",
            "224.0.0.1",
        ] {
            assert!(is_refused(address.parse().unwrap()), "{address}");
        }
        for address in ["127.0.0.1", "10.0.0.1", "192.168.1.1", "fd12::1", "8.8.8.8", "::1"] {
            assert!(!is_refused(address.parse().unwrap()), "{address}");
        }
    }
}
