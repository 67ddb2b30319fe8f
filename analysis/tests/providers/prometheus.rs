use std::time::{Duration, Instant};

use sluice_analysis::{Deps, SampleErrorKind, find, providers};

use super::server::{Reply, Server};
use super::{ask, ask_with, deps, query, refused};

const JSON: &str = "application/json";

fn metric(address: &str) -> String {
    format!(r#"{{"prometheus": {{"address": "{address}", "query": "up", "timeout": 1}}}}"#)
}

fn success(data: &str) -> String {
    format!(r#"{{"status":"success","data":{data}}}"#)
}

async fn check(data: &str, wanted: &str) {
    let server = Server::answering(200, JSON, &success(data)).await;
    let sample = ask(&metric(&server.url())).await.unwrap();
    assert_eq!(sample.value.to_string(), wanted);
}

async fn check_refused(
    status: u16,
    kind: &'static str,
    body: &str,
    wanted: SampleErrorKind,
    text: &str,
) {
    let server = Server::answering(status, kind, body).await;
    refused(&metric(&server.url()), wanted, text).await;
}

#[tokio::test]
async fn scalars_vectors_and_matrices_become_numbers() {
    check(r#"{"resultType":"scalar","result":[1,"0.95"]}"#, "0.95").await;
    check(r#"{"resultType":"vector","result":[{"metric":{},"value":[1,"0.5"]},{"metric":{"a":"b"},"value":[1,"2"]}]}"#, "[0.5,2]").await;
    check(r#"{"resultType":"matrix","result":[{"metric":{},"values":[[1,"1"],[2,"2"]]},{"metric":{"a":"b"},"values":[[1,"3"]]}]}"#, "[1,2,3]").await;
    check(r#"{"resultType":"vector","result":[]}"#, "[]").await;
    check(r#"{"resultType":"vector","result":[{"metric":{},"value":[1,"NaN"]},{"metric":{"a":"b"},"value":[1,"+Inf"]},{"metric":{"a":"c"},"value":[1,"-Inf"]}]}"#, "[NaN,+Inf,-Inf]").await;
}

#[tokio::test]
async fn the_request_is_that_of_prometheus_api() {
    let data = r#"{"resultType":"scalar","result":[1,"1"]}"#;
    let answer = format!(r#"{{"status":"success","warnings":["slow","old"],"data":{data}}}"#);
    let server = Server::answering(200, JSON, &answer).await;
    let provider = format!(
        r#"{{"prometheus": {{"address": "{}/prefix/", "query": "sum(rate(x[1m]))",
        "headers": [{{"key": "X-Scope-OrgID", "value": "tenant"}}],
        "authentication": {{"basicAuth": {{"username": "u", "password": "p"}}}}}}}}"#,
        server.url()
    );
    let sample = ask(&provider).await.unwrap();
    assert_eq!(sample.metadata["warnings"], "slow, old");
    let request = server.last().to_lowercase();
    assert!(request.starts_with("post /prefix/api/v1/query "), "{request}");
    assert!(request.contains("x-scope-orgid: tenant"), "{request}");
    assert!(request.contains("authorization: basic dtpw"), "{request}");
    assert!(request.contains("query=sum%28rate%28x%5b1m%5d%29%29"), "{request}");
    assert!(request.contains("timeout=30000ms"), "{request}");
    let (deps, query) = (deps(), query(&provider));
    let all = providers(&deps);
    let metadata = find(&all, &query.provider).unwrap().metadata(&query);
    assert_eq!(metadata["ResolvedPrometheusQuery"], "sum(rate(x[1m]))");
}

#[tokio::test]
async fn a_range_query_has_its_bounds_from_expressions() {
    let data = r#"{"resultType":"matrix","result":[]}"#;
    let server = Server::answering(200, JSON, &success(data)).await;
    let provider = |range: &str| {
        format!(
            r#"{{"prometheus": {{"address": "{}", "query": "up", "rangeQuery": {range}}}}}"#,
            server.url()
        )
    };
    ask(&provider(r#"{"start": "now() - duration('1h')", "end": "now()", "step": "1m30s"}"#))
        .await
        .unwrap();
    let request = server.last();
    assert!(request.starts_with("POST /api/v1/query_range "), "{request}");
    assert!(
        request.contains("start=1795262400") && request.contains("end=1795266000"),
        "{request}"
    );
    assert!(request.contains("step=90"), "{request}");
    for (range, wanted) in [
        (r#"{"start": "now(", "end": "now()", "step": "1m"}"#, "rangeQuery.start: column 5"),
        (r#"{"start": "now()", "end": "5", "step": "1m"}"#, "rangeQuery.end: expected an instant"),
        (r#"{"start": "now()", "end": "now() - duration('1s')", "step": "1m"}"#, "before `start`"),
        (r#"{"start": "now()", "end": "now()", "step": "x"}"#, "rangeQuery.step"),
        (r#"{"start": "now()", "end": "now()", "step": "0s"}"#, "more than 0"),
    ] {
        refused(&provider(range), SampleErrorKind::BadQuery, wanted).await;
    }
}

#[tokio::test]
async fn a_proxy_that_knows_get_only_is_asked_again() {
    let data = success(r#"{"resultType":"scalar","result":[1,"1"]}"#);
    let server = Server::start(move |line| {
        if line.starts_with("POST") {
            Reply::Answer(405, "text/plain", String::new())
        } else {
            Reply::Answer(200, JSON, data.clone())
        }
    })
    .await;
    assert_eq!(ask(&metric(&server.url())).await.unwrap().value.to_string(), "1");
    assert!(server.last().starts_with("GET /api/v1/query?query=up"), "{}", server.last());
}

#[tokio::test]
async fn what_the_server_says_decides_whether_the_weight_is_held() {
    use SampleErrorKind::{BadContent, BadQuery, Denied, ServerError, Timeout};
    let error =
        |kind: &str| format!(r#"{{"status":"error","errorType":"{kind}","error":"because"}}"#);
    check_refused(400, JSON, &error("bad_data"), BadQuery, "because").await;
    check_refused(422, JSON, &error("execution"), BadQuery, "because").await;
    check_refused(503, JSON, &error("timeout"), Timeout, "because").await;
    check_refused(500, JSON, &error("internal"), ServerError, "because").await;
    check_refused(503, "text/html", "<h1>upstream</h1>", ServerError, "answers 503").await;
    check_refused(429, "text/plain", "slow down", ServerError, "answers 429: slow down").await;
    check_refused(404, "text/plain", "", BadQuery, "answers 404").await;
    check_refused(401, "text/plain", "", Denied, "answers 401").await;
    check_refused(200, "text/html", "<h1>login</h1>", BadContent, "text/html that is no answer")
        .await;
    check_refused(200, JSON, "[]", BadContent, "no answer of Prometheus").await;
    check_refused(200, JSON, r#"{"status":"success"}"#, BadContent, "no numbers").await;
    let text = success(r#"{"resultType":"string","result":[1,"text"]}"#);
    check_refused(200, JSON, &text, BadContent, "no numbers").await;
    let broken = success(r#"{"resultType":"scalar","result":[1,"many"]}"#);
    check_refused(200, JSON, &broken, BadContent, "no numbers").await;
    let deep = success(&format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000)));
    check_refused(200, JSON, &deep, BadContent, "no answer of Prometheus").await;
}

#[tokio::test]
async fn an_endless_answer_is_read_up_to_the_limit_only() {
    for announced in [true, false] {
        let server = Server::start(move |_| Reply::Flood { announced }).await;
        refused(&metric(&server.url()), SampleErrorKind::TooLarge, "more than 1048576 bytes").await;
        // Both sides' socket buffers hold some of it.
        assert!(*server.taken.lock().unwrap() < 20 << 20);
    }
    let series = vec![r#"{"metric":{},"value":[1,"1"]}"#; 1001].join(",");
    let many = success(&format!(r#"{{"resultType":"vector","result":[{series}]}}"#));
    check_refused(200, JSON, &many, SampleErrorKind::TooLarge, "1001 values, at most 1000").await;
}

#[tokio::test]
async fn a_server_that_stalls_costs_the_timeout_and_no_more() {
    let server = Server::start(|_| Reply::Stall).await;
    let started = Instant::now();
    refused(&metric(&server.url()), SampleErrorKind::Timeout, "within 1 s").await;
    assert!(started.elapsed() < Duration::from_secs(5));
    let server = Server::start(|_| Reply::Cut).await;
    refused(&metric(&server.url()), SampleErrorKind::Unreachable, "").await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unreachable() {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    refused(&metric(&format!("http://{address}")), SampleErrorKind::Unreachable, "").await;
    refused(&metric("http://no-such-host.invalid"), SampleErrorKind::Unreachable, "").await;
}

#[tokio::test]
async fn a_metric_that_can_never_work_names_its_field() {
    let check = async |fields: &str, wanted: &str| {
        let provider = format!(r#"{{"prometheus": {{{fields}}}}}"#);
        refused(&provider, SampleErrorKind::BadQuery, wanted).await;
    };
    check(r#""query": "up""#, "provider.prometheus.address: none").await;
    check(r#""address": "http://h", "query": " ""#, "provider.prometheus.query: it is empty").await;
    check(r#""address": "ftp://h", "query": "up""#, "scheme `ftp` is not supported").await;
    check(r#""address": "h:9090", "query": "up""#, "provider.prometheus.address").await;
    check(
        r#""address": "http://h", "query": "up", "timeout": -1"#,
        "provider.prometheus.timeout: -1",
    )
    .await;
    check(
        r#""address": "http://h", "query": "up", "headers": [{"key": "a b", "value": "c"}]"#,
        "headers[0].key",
    )
    .await;
    check(r#""address": "http://h", "query": "up", "authentication": {"basicAuth": {"username": "u"}}"#, "needs `username` and `password`").await;
    let sigv4 = r#"{"prometheus": {"address": "https://aps-workspaces.x.amazonaws.com", "query": "up", "authentication": {"sigv4": {"region": "x"}}}}"#;
    refused(sigv4, SampleErrorKind::Unsupported, "sigv4").await;
}

#[tokio::test]
async fn connections_are_reused_and_the_default_address_is_used() {
    let data = success(r#"{"resultType":"scalar","result":[1,"1"]}"#);
    let server = Server::answering(200, JSON, &data).await;
    let deps = Deps { prometheus_address: Some(server.url()), ..deps() };
    for _ in 0..5 {
        ask_with(&deps, r#"{"prometheus": {"query": "up"}}"#).await.unwrap();
    }
    assert_eq!(*server.connections.lock().unwrap(), 1);
}

#[tokio::test]
async fn oauth2_fetches_a_token_first() {
    let data = success(r#"{"resultType":"scalar","result":[1,"1"]}"#);
    let server = Server::start(move |line| {
        if line.contains("/token") {
            Reply::Answer(200, JSON, r#"{"access_token":"t0k","token_type":"bearer"}"#.to_owned())
        } else {
            Reply::Answer(200, JSON, data.clone())
        }
    })
    .await;
    let provider = format!(
        r#"{{"prometheus": {{"address": "{0}", "query": "up", "authentication": {{"oauth2":
        {{"tokenUrl": "{0}/token", "clientId": "u", "clientSecret": "p", "scopes": ["a", "b"]}}}}}}}}"#,
        server.url()
    );
    ask(&provider).await.unwrap();
    let token = server.requests.lock().unwrap()[0].to_lowercase();
    assert!(token.contains("authorization: basic dtpw") && token.contains("scope=a+b"), "{token}");
    assert!(
        server.last().to_lowercase().contains("authorization: bearer t0k"),
        "{}",
        server.last()
    );
    let wrong = provider.replace("/token", "/nothing");
    refused(&wrong, SampleErrorKind::BadContent, "without `access_token`").await;
}
