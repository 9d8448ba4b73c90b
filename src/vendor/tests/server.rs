//! A test server with scripted replies. The scripted server handles one request per connection and records the
//! requests.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

use crate::vendor::{Credentials, HostOptions, Secret};

/// What the scripted server does after it has read a request.
#[derive(Debug, Clone)]
pub(super) enum Reply {
    Bytes(Vec<u8>),
    Close,
    /// Sends these bytes, then keeps the connection open until the client times out.
    Hang(Vec<u8>),
}

impl Reply {
    pub(super) fn new(status: u16, headers: &[(&str, &str)], body: &str) -> Self {
        let mut text = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n", body.len());
        for (name, value) in headers {
            text.extend([name, ": ", value, "\r\n"]);
        }
        Self::Bytes(format!("{text}\r\n{body}").into_bytes())
    }

    pub(super) fn json(status: u16, body: &str) -> Self {
        Self::new(status, &[("content-type", "application/json")], body)
    }

    /// Creates a reply of status 200 with a content length that exceeds its body.
    pub(super) fn truncated(body: &str) -> Self {
        Self::Bytes(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len() + 10).into_bytes())
    }
}

#[derive(Debug, Clone)]
pub(super) struct ReceivedRequest {
    /// The method and target of the recorded request.
    pub(super) line: String,
    /// The header lines of the recorded request, with names in lower case.
    pub(super) headers: Vec<String>,
    pub(super) body: String,
}

impl ReceivedRequest {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

#[derive(Clone)]
pub(super) struct Server {
    pub(super) base: Url,
    asked: Arc<Mutex<Vec<ReceivedRequest>>>,
}

impl Server {
    /// Starts a server that sends the replies in order, and then repeats the last reply.
    pub(super) async fn replying(replies: impl IntoIterator<Item = Reply>) -> Self {
        let replies: Vec<Reply> = replies.into_iter().collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let base = format!("http://{}/base", listener.local_addr().expect("an address"));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let server = Self { base: Url::parse(&base).expect("a URL"), asked: Arc::clone(&asked) };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, replies.clone(), Arc::clone(&asked)));
            }
        });
        server
    }

    pub(super) fn requests(&self) -> Vec<ReceivedRequest> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns client options with short waits.
    pub(super) fn options(&self) -> HostOptions {
        options(self.base.clone())
    }
}

pub(super) fn options(base: Url) -> HostOptions {
    let credentials = Credentials { user: "SID42".into(), secret: Secret::Value("hush".into()) };
    HostOptions {
        start_concurrency: 8,
        timeout: Duration::from_millis(400),
        connect_timeout: Duration::from_millis(300),
        attempts: 3,
        backoff: Duration::from_millis(2),
        backoff_max: Duration::from_millis(8),
        ..HostOptions::new(base, credentials)
    }
}

async fn serve(mut stream: TcpStream, replies: Vec<Reply>, asked: Arc<Mutex<Vec<ReceivedRequest>>>) {
    let Some(request) = read_request(&mut stream).await else { return };
    let reply = {
        let mut asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.push(request);
        replies[(asked.len() - 1).min(replies.len() - 1)].clone()
    };
    match reply {
        Reply::Close => {}
        Reply::Bytes(bytes) => {
            stream.write_all(&bytes).await.ok();
            stream.shutdown().await.ok();
        }
        Reply::Hang(bytes) => {
            stream.write_all(&bytes).await.ok();
            // Waits until the client closes the connection.
            stream.read_u8().await.ok();
        }
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<ReceivedRequest> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break end;
        }
        bytes.push(stream.read_u8().await.ok()?);
    };
    let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
    let mut lines = text.split("\r\n");
    let line = lines.next()?.trim_end_matches(" HTTP/1.1").to_owned();
    let headers: Vec<String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| format!("{}: {value}", name.to_ascii_lowercase()))
        .collect();
    let length = headers.iter().find_map(|h| h.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(ReceivedRequest { line, headers, body: String::from_utf8_lossy(&body).into_owned() })
}
