use sluice_analysis::SampleErrorKind;

use super::server::{Reply, Server};
use super::{ask, refused};

const JSON: &str = "application/json";

fn metric(url: &str, fields: &str) -> String {
    format!(r#"{{"web": {{"url": "{url}", "timeoutSeconds": 1{fields}}}}}"#)
}

async fn check(body: &str, path: &str, wanted: &str) {
    let server = Server::answering(200, JSON, body).await;
    let fields = format!(r#", "jsonPath": {}"#, serde_json::Value::from(path));
    let sample = ask(&metric(&server.url(), &fields)).await.unwrap();
    assert_eq!(sample.value.to_string(), wanted, "{path}");
}

#[tokio::test]
async fn the_value_is_where_the_path_says() {
    let body = r#"{"data": {"ok": true, "error-rate": 0.25, "list": [{"v": 1}, {"v": 2}], "n": null, "a.b/c": "x"}}"#;
    check(body, "{$.data.ok}", "true").await;
    check(body, "{.data.error-rate}", "0.25").await;
    check(body, "{$.data.list[1].v}", "2").await;
    check(body, "{$.data.list[*].v}", "1").await;
    check(body, "{$.data.list[?(@.v>1)].v}", "2").await;
    check(body, "{.data.a\\.b/c}", r#""x""#).await;
    check(body, "{$.data.n}", "null").await;
    check("[1, 2]", "", "[1,2]").await;
    check("5", "{$}", "5").await;
}

#[tokio::test]
async fn an_answer_that_is_no_json_is_its_text() {
    check("plain words", "{$}", r#""plain words""#).await;
    check("", "{$}", r#""""#).await;
}

#[tokio::test]
async fn method_headers_and_body_are_sent_as_written() {
    let server = Server::answering(200, JSON, "1").await;
    let fields =
        r#", "method": "POST", "jsonBody": {"a": [1]}, "headers": [{"key": "X-A", "value": "b"}]"#;
    ask(&metric(&format!("{}/p?q=1", server.url()), fields)).await.unwrap();
    let request = server.last();
    assert!(request.starts_with("POST /p?q=1 HTTP/1.1"), "{request}");
    assert!(request.to_lowercase().contains("content-type: application/json"), "{request}");
    assert!(request.to_lowercase().contains("x-a: b"), "{request}");
    assert!(request.ends_with("\r\n\r\n{\"a\":[1]}"), "{request}");
    ask(&metric(&server.url(), r#", "method": "PUT", "body": "text""#)).await.unwrap();
    assert!(server.last().starts_with("PUT / ") && server.last().ends_with("\r\n\r\ntext"));
    ask(&metric(&server.url(), "")).await.unwrap();
    assert!(server.last().starts_with("GET / "));
}

#[tokio::test]
async fn a_metric_that_can_never_work_names_its_field() {
    let check = async |fields: &str, wanted: &str| {
        refused(&metric("http://h.invalid", fields), SampleErrorKind::BadQuery, wanted).await;
    };
    check(r#", "method": "DELETE""#, "provider.web.method: `DELETE`").await;
    check(r#", "body": "x""#, "need the method `POST` or `PUT`").await;
    check(r#", "method": "POST", "body": "x", "jsonBody": {}"#, "not both").await;
    check(r#", "jsonPath": "{.a""#, "provider.web.jsonPath").await;
    let metadata = r#"{"web": {"url": "http://169.254.169.254/latest"}}"#;
    refused(metadata, SampleErrorKind::BadQuery, "`169.254.169.254` is never asked").await;
    refused(
        r#"{"web": {"url": "file:///etc/passwd"}}"#,
        SampleErrorKind::BadQuery,
        "`file` is not supported",
    )
    .await;
}

#[tokio::test]
async fn refusals_floods_and_missing_values_are_errors() {
    let server = Server::answering(200, JSON, r#"{"a": 1}"#).await;
    refused(
        &metric(&server.url(), r#", "jsonPath": "{$.b}""#),
        SampleErrorKind::NoData,
        "nothing at `{$.b}`",
    )
    .await;
    for (status, kind) in [
        (500, SampleErrorKind::ServerError),
        (404, SampleErrorKind::BadQuery),
        (403, SampleErrorKind::Denied),
        (304, SampleErrorKind::BadQuery),
    ] {
        let server = Server::answering(status, "text/plain", "").await;
        refused(&metric(&server.url(), ""), kind, &format!("answers {status}")).await;
    }
    let server = Server::start(|_| Reply::Flood { announced: false }).await;
    refused(&metric(&server.url(), ""), SampleErrorKind::TooLarge, "more than 1048576 bytes").await;
    let server = Server::start(|_| Reply::Stall).await;
    refused(&metric(&server.url(), ""), SampleErrorKind::Timeout, "within 1 s").await;
}

#[tokio::test]
async fn redirects_stay_inside_of_their_origin() {
    let inside = Server::start(|line| {
        if line.contains("/old") {
            Reply::Redirect("/new".to_owned())
        } else {
            Reply::Answer(200, JSON, "7".to_owned())
        }
    })
    .await;
    let sample = ask(&metric(&format!("{}/old", inside.url()), "")).await.unwrap();
    assert_eq!(sample.value.to_string(), "7");
    let elsewhere = inside.url();
    let outside = Server::start(move |_| Reply::Redirect(elsewhere.clone())).await;
    refused(&metric(&outside.url(), ""), SampleErrorKind::BadQuery, "another origin").await;
    let circle = Server::start(|_| Reply::Redirect("/again".to_owned())).await;
    refused(&metric(&circle.url(), ""), SampleErrorKind::BadQuery, "too many redirects").await;
}

#[tokio::test]
async fn messages_never_hold_credentials_of_the_url() {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://user:secret@{address}/x?token=secret");
    let error = ask(&metric(&url, "")).await.unwrap_err();
    assert!(!error.to_string().contains("secret"), "{error}");
}
