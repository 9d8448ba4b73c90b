//! Wraps one HTTP connection: adds a body to hyper's empty error responses. Also makes sure that the client receives a
//! response that the service sends before reading the whole request.
//!
//! hyper responds to a malformed or oversized request with an empty body and calls no handler, so this module replaces the
//! response's bytes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::error_bodies::body_of;
use super::headers::request_id;
use super::routes::Audience;

/// Number of bytes kept from the start of each request, which show whether the request is for the API or for the page.
const REQUEST_LINE: usize = 64;

/// After the last response, the service closes the connection once the client has sent nothing for this time.
const LINGER_PAUSE: Duration = Duration::from_millis(500);

/// Maximum time that the service reads from a connection after the last response.
const LINGER_TIMEOUT: Duration = Duration::from_secs(5);
const LINGER_BYTES: usize = 32 << 20;

pub(super) struct Connection<I> {
    io: I,
    /// The first bytes of the current request.
    request_line: Vec<u8>,
    /// `true` if the next bytes begin a request.
    is_new_request: bool,
    /// The replacement of hyper's empty response, and how many of its bytes are already written.
    replacement: Option<(Vec<u8>, usize)>,
    /// `true` after the service has written the last response.
    lingering: Option<Lingering>,
}

struct Lingering {
    since: Instant,
    pause: Pin<Box<Sleep>>,
    read: usize,
}

impl<I> Connection<I> {
    pub(super) fn new(io: I) -> Self {
        Self { io, request_line: Vec::new(), is_new_request: true, replacement: None, lingering: None }
    }

    /// Returns a response with a body if `written` is an empty error response of hyper.
    fn replacement_of(&self, written: &[u8]) -> Option<Vec<u8>> {
        let status = written.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
        let status = StatusCode::from_bytes(status).ok()?;
        let is_from_hyper = matches!(status.as_u16(), 400 | 414 | 431)
            && written.ends_with(b"\r\n\r\n")
            && written.windows(19).any(|window| window.eq_ignore_ascii_case(b"\r\ncontent-length: 0"));
        if !is_from_hyper {
            return None;
        }
        let path = self.request_line.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
        let audience = if path.starts_with(b"/api/") { Audience::Api } else { Audience::Page };
        let id = request_id();
        let (kind, body) = body_of(status, audience, &id);
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\ncache-control: no-store\r\n\
             x-content-type-options: nosniff\r\ncontent-security-policy: default-src 'none'\r\nx-request-id: {id}\r\n\r\n",
            body.len()
        );
        Some([head.into_bytes(), body.into_bytes()].concat())
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Connection<I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        let read = &buf.filled()[before..];
        if std::mem::take(&mut self.is_new_request) {
            self.request_line.clear();
        }
        let room = REQUEST_LINE.saturating_sub(self.request_line.len());
        self.request_line.extend_from_slice(&read[..read.len().min(room)]);
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Connection<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.is_new_request = true;
        if self.replacement.is_none() {
            self.replacement = self.replacement_of(buf).map(|bytes| (bytes, 0));
        }
        let this = &mut *self;
        let Some((bytes, done)) = &mut this.replacement else { return Pin::new(&mut this.io).poll_write(cx, buf) };
        while *done < bytes.len() {
            match ready!(Pin::new(&mut this.io).poll_write(cx, &bytes[*done..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => *done += written,
            }
        }
        this.replacement = None;
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    /// Reads the rest of the request before the connection is closed. Closing a socket with unread bytes resets the
    /// connection, which makes the client lose the response.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            ready!(Pin::new(&mut self.io).poll_shutdown(cx))?;
            let pause = Box::pin(tokio::time::sleep(LINGER_PAUSE));
            self.lingering = Some(Lingering { since: Instant::now(), pause, read: 0 });
        }
        let this = &mut *self;
        let Some(lingering) = &mut this.lingering else { return Poll::Ready(Ok(())) };
        let mut space = [0; 8 << 10];
        loop {
            let mut buf = ReadBuf::new(&mut space);
            match Pin::new(&mut this.io).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {
                    lingering.read += buf.filled().len();
                    if lingering.read > LINGER_BYTES || lingering.since.elapsed() > LINGER_TIMEOUT {
                        return Poll::Ready(Ok(()));
                    }
                    lingering.pause.as_mut().reset(Instant::now() + LINGER_PAUSE);
                }
                // The client has closed the connection, or the connection failed.
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => return lingering.pause.as_mut().poll(cx).map(Ok),
            }
        }
    }
}
