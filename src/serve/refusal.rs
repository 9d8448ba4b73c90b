//! Answers to requests that no handler has answered in words: an address or a body that is too long, a method that a route does not
//! take, a path that does not exist. hyper and axum answer them with nothing, or hang up.
//!
//! A page gets a page and the API gets a problem, each with what to do. The connection's answers to what is no request at all are
//! written here too, and the rest of a request that was refused early is read, so that its sender gets to see the answer.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::Response;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::api::Problem;
use super::desk::ORDERS_AT_MOST;
use super::page::Failure;
use super::routes::{Answers, all};

/// Bytes of a request that are kept to tell the API from the page.
const LINE: usize = 64;

/// After the last answer, what the sender still sends is read until it pauses for so long.
const PAUSE: Duration = Duration::from_millis(500);

/// The same, for no longer and no more than this.
const LONGEST: Duration = Duration::from_secs(5);
const MOST: usize = 32 << 20;

const PROBLEM: &str = "application/problem+json";
const HTML: &str = "text/html; charset=utf-8";

/// What went wrong and what to do, by status: a heading, a sentence, a hint for the page and one for the API.
fn words(status: StatusCode) -> (&'static str, String, String, String) {
    let batch = "a lead can upload a file of refunds as a batch";
    let api_batch = "a file of refunds goes to POST /api/v1/batches";
    let described = "/api/v1/openapi.json describes what there is";
    let texts =
        |heading, message: &str, page: &str, api: &str| (heading, message.to_owned(), page.to_owned(), api.to_owned());
    match status {
        StatusCode::NOT_FOUND => texts("Not found", "there is nothing at this address", "begin at /lookup", described),
        StatusCode::METHOD_NOT_ALLOWED => texts(
            "This address is not used like this",
            "the address exists and does not take this method",
            &format!("order IDs are looked up with the form at /lookup, up to {ORDERS_AT_MOST}; {batch}"),
            described,
        ),
        StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => texts(
            "It took too long",
            "the answer was not ready in time; what was begun goes on",
            "look at the order's receipt before you send anything again",
            "ask for the retractions of the order, or send the same Idempotency-Key again",
        ),
        StatusCode::PAYLOAD_TOO_LARGE => texts(
            "That is too long",
            "a form or a body has at most 64 KB, and a file at most 10 MB",
            &format!("look up fewer order IDs at once, up to {ORDERS_AT_MOST}; {batch}"),
            api_batch,
        ),
        StatusCode::URI_TOO_LONG | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => texts(
            "The address is too long",
            "the address and the headers of a request have at most 64 KB together",
            &format!("look up fewer order IDs at once, up to {ORDERS_AT_MOST}; {batch}"),
            &format!("look up one `order_id` with each request; {api_batch}"),
        ),
        StatusCode::BAD_REQUEST => texts(
            "This cannot be read",
            "the request is not usable as it is",
            "go back and load the page again",
            described,
        ),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => texts(
            "This cannot be read",
            "the body has a type that is not taken here",
            "use the form of the page",
            described,
        ),
        _ => texts(
            "That did not work",
            "the request could not be answered",
            "try it again; the log of the service knows more",
            "try it again; the log of the service knows more",
        ),
    }
}

/// The whole body and its type.
fn body_of(status: StatusCode, for_api: bool) -> (&'static str, String) {
    let (heading, message, page, api) = words(status);
    if for_api {
        let kind = match status {
            StatusCode::NOT_FOUND => "not_indexed",
            status if status.is_client_error() => "usage",
            _ => "failed",
        };
        let problem = Problem::new(status, kind, heading, message).hint(api);
        return (PROBLEM, serde_json::to_string(&problem).unwrap_or_default());
    }
    (HTML, Failure::of(status, heading, message, page).html())
}

/// Gives an answer of failure its words, if the handler gave it none that fit.
pub(super) fn with_words(mut response: Response, method: &Method, path: &str) -> Response {
    let status = response.status();
    let is_failure = status.is_client_error() || status.is_server_error();
    let answers = answers_at(path);
    if !is_failure || *method == Method::HEAD || answers == Answers::Machine {
        return response;
    }
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let fits = match answers {
        Answers::Api => kind.starts_with(PROBLEM),
        _ => kind.starts_with("text/html"),
    };
    if !fits {
        let (kind, body) = body_of(status, answers == Answers::Api);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        response.headers_mut().remove(CONTENT_LENGTH);
        *response.body_mut() = Body::from(body);
    }
    response
}

fn answers_at(path: &str) -> Answers {
    if path.starts_with("/api/") {
        return Answers::Api;
    }
    let is_machine = all().iter().any(|route| route.answers == Answers::Machine && route.path == path);
    if is_machine { Answers::Machine } else { Answers::Page }
}

/// A connection whose refusals have words, and which is closed only after its sender has stopped sending.
pub(super) struct Spoken<I> {
    io: I,
    /// The beginning of the newest request.
    line: Vec<u8>,
    /// The next bytes that are read begin a request.
    is_new: bool,
    /// What is written in place of an answer without words, and how much of it is written.
    instead: Option<(Vec<u8>, usize)>,
    /// Set once the last answer is written.
    closing: Option<Closing>,
}

struct Closing {
    began: Instant,
    pause: Pin<Box<Sleep>>,
    read: usize,
}

impl<I> Spoken<I> {
    pub(super) fn new(io: I) -> Self {
        Self { io, line: Vec::new(), is_new: true, instead: None, closing: None }
    }

    /// The answer in place of one that hyper gives by itself, which has no body.
    fn in_place_of(&self, written: &[u8]) -> Option<Vec<u8>> {
        let status = written.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
        let status = StatusCode::from_bytes(status).ok()?;
        let is_hyper = matches!(status.as_u16(), 400 | 414 | 431)
            && written.ends_with(b"\r\n\r\n")
            && written.windows(19).any(|window| window.eq_ignore_ascii_case(b"\r\ncontent-length: 0"));
        if !is_hyper {
            return None;
        }
        let path = self.line.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
        let (kind, body) = body_of(status, path.starts_with(b"/api/"));
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\ncache-control: no-store\r\n\
             x-content-type-options: nosniff\r\ncontent-security-policy: default-src 'none'\r\n\r\n",
            body.len()
        );
        Some([head.into_bytes(), body.into_bytes()].concat())
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Spoken<I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        let read = &buf.filled()[before..];
        if std::mem::take(&mut self.is_new) {
            self.line.clear();
        }
        let room = LINE.saturating_sub(self.line.len());
        self.line.extend_from_slice(&read[..read.len().min(room)]);
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Spoken<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.is_new = true;
        if self.instead.is_none() {
            self.instead = self.in_place_of(buf).map(|bytes| (bytes, 0));
        }
        let this = &mut *self;
        let Some((bytes, done)) = &mut this.instead else { return Pin::new(&mut this.io).poll_write(cx, buf) };
        while *done < bytes.len() {
            match ready!(Pin::new(&mut this.io).poll_write(cx, &bytes[*done..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => *done += written,
            }
        }
        this.instead = None;
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    /// Closing while bytes of the request are unread would reset the connection, and the sender would lose the answer.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.closing.is_none() {
            ready!(Pin::new(&mut self.io).poll_shutdown(cx))?;
            let pause = Box::pin(tokio::time::sleep(PAUSE));
            self.closing = Some(Closing { began: Instant::now(), pause, read: 0 });
        }
        let this = &mut *self;
        let Some(closing) = &mut this.closing else { return Poll::Ready(Ok(())) };
        let mut space = [0; 8 << 10];
        loop {
            let mut buf = ReadBuf::new(&mut space);
            match Pin::new(&mut this.io).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {
                    closing.read += buf.filled().len();
                    if closing.read > MOST || closing.began.elapsed() > LONGEST {
                        return Poll::Ready(Ok(()));
                    }
                    closing.pause.as_mut().reset(Instant::now() + PAUSE);
                }
                // The end, or the connection is gone.
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => return closing.pause.as_mut().poll(cx).map(Ok),
            }
        }
    }
}
