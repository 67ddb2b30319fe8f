//! The simulated cluster on a port, for kubectl and other processes: plain HTTP/1.1, no authentication, meant for loopback.

use std::io;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tower::Service;

use crate::service::SimService;

/// Serves until it is dropped.
///
/// # Errors
/// If the listener fails.
pub async fn serve(service: SimService, listener: TcpListener) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        let service = service.clone();
        tokio::spawn(async move {
            let answer = service_fn(move |request: hyper::Request<Incoming>| {
                let reply = service.clone().call(request);
                async move { reply.await.map_err(io::Error::other) }
            });
            // A client that goes away in the middle of a reply is no error of the server.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}
