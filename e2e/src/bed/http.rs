//! Plain HTTP over loopback, as little as the bed needs: one request, one connection.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

/// Sends one request to `address` (`ip:port`) and returns status and body.
///
/// # Errors
/// When the connection fails or the answer takes more than 10 s.
pub async fn send(address: &str, request: Request<Full<Bytes>>) -> Result<(u16, Bytes)> {
    let exchange = async {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let driver = tokio::spawn(connection);
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await?.to_bytes();
        driver.abort();
        anyhow::Ok((status, body))
    };
    timeout(Duration::from_secs(10), exchange)
        .await
        .with_context(|| format!("no answer from {address} within 10 s"))?
}

/// The status and body of a GET.
///
/// # Errors
/// As [`send`].
pub async fn get(address: &str, path: &str) -> Result<(u16, String)> {
    let request = Request::get(path).header("host", address).body(Full::default())?;
    let (status, body) = send(address, request).await?;
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

/// The body of a GET that must answer 200.
///
/// # Errors
/// As [`send`], and for every other status.
pub async fn get_ok(address: &str, path: &str) -> Result<String> {
    let (status, body) = get(address, path).await?;
    ensure!(status == 200, "http://{address}{path}: {status} {}", body.trim());
    Ok(body)
}
