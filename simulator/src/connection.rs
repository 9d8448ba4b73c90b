//! The simulator's connection and response body, and how the simulator breaks them on purpose.
//!
//! The library hyper always closes a connection cleanly. To reset a connection, the simulator closes the socket below
//! hyper with zero linger. The caller decides by a flag or by the kind of body what the simulator breaks.

use std::{
    fmt,
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::Sleep,
};

/// A connection of the simulator. If the flag of a connection is set, the simulator resets it instead of closing it
/// cleanly.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    reset: Arc<AtomicBool>,
}

impl Connection {
    pub(super) fn new(stream: TcpStream, reset: Arc<AtomicBool>) -> Self {
        Self { stream, reset }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.reset.load(Ordering::Acquire) {
            // If setting the option fails, the socket is closed cleanly, which also breaks the response.
            let _closed_instead = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Skips the clean shutdown, because the client would receive it before the reset.
        if self.reset.load(Ordering::Acquire) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// The error of a response body that the simulator breaks on purpose. hyper then closes the connection.
#[derive(Debug)]
pub(super) struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the simulator broke this answer on purpose")
    }
}

impl std::error::Error for Broken {}

/// The body of a simulated response.
pub(super) enum Payload {
    /// The whole response body in one piece.
    Whole(Option<Bytes>),
    /// A part of the response body that is shorter than the declared length. After a part of the response body, the
    /// connection ends.
    Cut { part: Option<Bytes>, declared: u64, pause: Pin<Box<Sleep>> },
    /// A complete response body in pieces.
    Pieces(Box<dyn Iterator<Item = Bytes> + Send + Sync>),
    /// The first pieces of a response body. After the first pieces of the response body, the connection ends.
    Broken { pieces: Box<dyn Iterator<Item = Bytes> + Send + Sync>, pause: Pin<Box<Sleep>> },
}

impl Payload {
    pub(super) fn whole(body: Vec<u8>) -> Self {
        Self::Whole((!body.is_empty()).then(|| Bytes::from(body)))
    }

    /// Returns the first half of a response body with the declared length of the whole body.
    pub(super) fn cut(mut body: Vec<u8>) -> Self {
        let declared = body.len() as u64 + 1;
        body.truncate(body.len() / 2);
        // hyper drops unsent data if a body fails. Therefore a pause lets hyper send the first half of the body.
        let pause = Box::pin(tokio::time::sleep(Duration::from_millis(5)));
        Self::Cut { part: Some(Bytes::from(body)), declared, pause }
    }

    /// Returns pieces of a body. After the pieces of the body, the connection ends without the body's end marker.
    pub(super) fn broken(pieces: impl Iterator<Item = Bytes> + Send + Sync + 'static) -> Self {
        Self::Broken { pieces: Box::new(pieces), pause: Box::pin(tokio::time::sleep(Duration::from_millis(5))) }
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self.get_mut() {
            Self::Whole(body) => Poll::Ready(body.take().map(|body| Ok(Frame::data(body)))),
            Self::Cut { part, pause, .. } => match part.take() {
                Some(part) if !part.is_empty() => Poll::Ready(Some(Ok(Frame::data(part)))),
                _ => {
                    ready!(pause.as_mut().poll(cx));
                    Poll::Ready(Some(Err(Broken)))
                }
            },
            Self::Pieces(pieces) => Poll::Ready(pieces.next().map(|piece| Ok(Frame::data(piece)))),
            Self::Broken { pieces, pause } => {
                if let Some(piece) = pieces.next() {
                    return Poll::Ready(Some(Ok(Frame::data(piece))));
                }
                ready!(pause.as_mut().poll(cx));
                Poll::Ready(Some(Err(Broken)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => SizeHint::with_exact(body.as_ref().map_or(0, Bytes::len) as u64),
            Self::Cut { declared, .. } => SizeHint::with_exact(*declared),
            Self::Pieces(_) | Self::Broken { .. } => SizeHint::default(),
        }
    }
}
