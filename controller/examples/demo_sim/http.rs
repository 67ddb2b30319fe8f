//! A listener on loopback that answers whole requests with whole replies.

use std::convert::Infallible;
use std::future::Future;

use bytes::Bytes;
use http::{Response, request};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// What is answered.
pub(crate) type Reply = Response<Full<Bytes>>;

/// Listens on a free port and returns its address as a URL. Ends with the runtime.
///
/// # Errors
/// When no port can be had.
pub(crate) async fn listen<F, A>(answer: F) -> std::io::Result<String>
where
    F: Fn(request::Parts, Bytes) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Reply> + Send + 'static,
{
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = answer.clone();
            let service = service_fn(move |request: http::Request<Incoming>| {
                let answer = answer.clone();
                async move {
                    let (head, body) = request.into_parts();
                    // A body that breaks off is an empty one: the answer says what is wrong with it.
                    let body = body.collect().await.map(|b| b.to_bytes()).unwrap_or_default();
                    Ok::<_, Infallible>(answer(head, body).await)
                }
            });
            // A client that goes away is its own affair.
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    Ok(url)
}
