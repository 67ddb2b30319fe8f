//! A server on loopback that answers exactly what a test says, byte for byte.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What the server does with a request.
#[derive(Clone)]
pub(crate) enum Reply {
    /// Status, content type, body.
    Answer(u16, &'static str, String),
    /// A redirect to this address.
    Redirect(String),
    /// A body that goes on until the client has enough, at most 100 MB; with or without its length in the head.
    Flood { announced: bool },
    /// The head and the first half of a body; then nothing.
    Stall,
    /// Closes in the middle of the body.
    Cut,
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    /// Heads with bodies, in order.
    pub(crate) requests: Arc<Mutex<Vec<String>>>,
    /// Connections that were accepted.
    pub(crate) connections: Arc<Mutex<usize>>,
    /// Bytes of a flood that were taken.
    pub(crate) taken: Arc<Mutex<usize>>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    /// Starts a server that gives `reply` for the request line.
    pub(crate) async fn start(reply: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests: Arc<Mutex<Vec<String>>> = Arc::default();
        let (connections, taken): (Arc<Mutex<usize>>, Arc<Mutex<usize>>) = Default::default();
        let (seen, counted, flooded) =
            (Arc::clone(&requests), Arc::clone(&connections), Arc::clone(&taken));
        let reply = Arc::new(reply);
        let task = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                *counted.lock().unwrap() += 1;
                let (reply, seen) = (Arc::clone(&reply), Arc::clone(&seen));
                tokio::spawn(serve(stream, reply, seen, Arc::clone(&flooded)));
            }
        });
        Server { address, requests, connections, taken, task }
    }

    pub(crate) async fn answering(status: u16, kind: &'static str, body: &str) -> Self {
        let body = body.to_owned();
        Self::start(move |_| Reply::Answer(status, kind, body.clone())).await
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn last(&self) -> String {
        self.requests.lock().unwrap().last().cloned().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    mut stream: TcpStream,
    reply: Arc<dyn Fn(&str) -> Reply + Send + Sync>,
    seen: Arc<Mutex<Vec<String>>>,
    taken: Arc<Mutex<usize>>,
) {
    while let Some(request) = read(&mut stream).await {
        let line = request.lines().next().unwrap().to_owned();
        seen.lock().unwrap().push(request);
        let (head, body) = match reply(&line) {
            Reply::Answer(status, kind, body) => (
                format!("{status} X\r\ncontent-type: {kind}\r\ncontent-length: {}", body.len()),
                body,
            ),
            Reply::Redirect(to) => {
                (format!("307 X\r\nlocation: {to}\r\ncontent-length: 0"), String::new())
            }
            Reply::Stall => ("200 X\r\ncontent-length: 100".to_owned(), "{".to_owned()),
            Reply::Cut => {
                let _ = stream.write_all(b"HTTP/1.1 200 X\r\ncontent-length: 100\r\n\r\n{").await;
                return;
            }
            Reply::Flood { announced } => return flood(stream, announced, &taken).await,
        };
        let text = format!("HTTP/1.1 {head}\r\n\r\n{body}");
        if stream.write_all(text.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn flood(mut stream: TcpStream, announced: bool, taken: &Mutex<usize>) {
    const TOTAL: usize = 100 << 20;
    let length = if announced { format!("content-length: {TOTAL}\r\n") } else { String::new() };
    let head = format!("HTTP/1.1 200 X\r\n{length}connection: close\r\n\r\n");
    let chunk = vec![b'7'; 64 << 10];
    if stream.write_all(head.as_bytes()).await.is_err() {
        return;
    }
    for _ in 0..TOTAL / chunk.len() {
        if stream.write_all(&chunk).await.is_err() {
            return;
        }
        *taken.lock().unwrap() += chunk.len();
    }
}

async fn read(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some(end) = text.find("\r\n\r\n") {
            let length = text[..end]
                .lines()
                .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok())
                .unwrap_or(0);
            if bytes.len() >= end + 4 + length {
                return Some(text);
            }
        }
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return None,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
        }
    }
}
