//! Asks a real API server what the simulated one is compared with (`sim/tests/recorded`).

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt as _;
use kube::{
    Client, Config,
    client::Body,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};

#[path = "../../sim/tests/recorded/shapes.rs"]
mod requests;

use requests::{NAMESPACE, Names, Shape, filled, shapes};

/// How long a new kind may take to be served.
const SERVED_WITHIN: Duration = Duration::from_secs(20);

/// Sends every request and writes the answers. Returns how many there are.
///
/// # Errors
/// If the server cannot be reached, or was asked before.
pub async fn record(kubeconfig: &Path, out: &Path) -> Result<usize> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    let client = Client::try_from(config)?;
    let mut names = Names::default();
    let mut saved = BTreeMap::new();
    let mut answers = BTreeMap::new();
    for shape in shapes() {
        let shape = filled(&shape, &saved);
        let (code, body) = ask(&client, &shape).await.with_context(|| shape.name.clone())?;
        ensure!(
            !answers.is_empty() || code == 201,
            "the namespace `{NAMESPACE}` is there already\nhint: record on a fresh bed"
        );
        if let Some(name) = &shape.saved {
            saved.insert(name.clone(), body.clone());
        }
        let answer = names.normal(&shape, code, &body);
        answers.insert(shape.name.clone(), answer);
    }
    let mut text = serde_json::to_string_pretty(&answers)?;
    text.push('\n');
    fs::write(out, text).with_context(|| out.display().to_string())?;
    Ok(answers.len())
}

async fn ask(client: &Client, shape: &Shape) -> Result<(u16, Value)> {
    let begun = Instant::now();
    loop {
        let (code, body) = send(client, shape).await?;
        if !shape.is_awaited || code == 200 {
            return Ok((code, body));
        }
        ensure!(begun.elapsed() < SERVED_WITHIN, "not served: {code} {body}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn send(client: &Client, shape: &Shape) -> Result<(u16, Value)> {
    let mut request = Request::builder()
        .method(shape.method.as_str())
        .uri(&shape.path)
        .header("user-agent", "recorder");
    if !shape.content_type.is_empty() {
        request = request.header("content-type", &shape.content_type);
    }
    if !shape.accept.is_empty() {
        request = request.header("accept", &shape.accept);
    }
    let response = client.send(request.body(Body::from(shape.body.clone()))?).await?;
    let code = response.status().as_u16();
    let bytes: Bytes = response.into_body().collect().await?.to_bytes();
    let body = if shape.is_watch && code == 200 {
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        Value::Array(lines.map(serde_json::from_slice).collect::<Result<_, _>>()?)
    } else {
        serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| json!(String::from_utf8_lossy(&bytes).trim()))
    };
    Ok((code, body))
}
