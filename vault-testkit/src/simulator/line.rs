//! Connections that a handler can cut.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Debug, Default)]
struct Cut {
    done: AtomicBool,
    /// Of the server's task, which may be waiting for the client to read on.
    waker: Mutex<Option<Waker>>,
}

impl Cut {
    fn watch(&self, cx: &Context<'_>) -> io::Result<()> {
        *self.waker() = Some(cx.waker().clone());
        self.check()
    }

    fn check(&self) -> io::Result<()> {
        if self.done.load(Ordering::Acquire) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }

    fn waker(&self) -> MutexGuard<'_, Option<Waker>> {
        self.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection as its requests know it.
#[derive(Debug, Clone)]
pub(super) struct Line {
    cut: Arc<Cut>,
    written: watch::Receiver<usize>,
}

impl Line {
    /// Every write fails from now on, so that the server closes the connection: with a reset, not in order.
    pub(super) fn cut(&self) {
        self.cut.done.store(true, Ordering::Release);
        if let Some(waker) = self.cut.waker().take() {
            waker.wake();
        }
    }

    /// How many bytes went out so far.
    pub(super) fn written(&self) -> usize {
        *self.written.borrow()
    }

    /// Waits until so many bytes went out, or the connection is gone.
    pub(super) async fn has_written(&mut self, bytes: usize) {
        let _ = self.written.wait_for(|written| *written >= bytes).await;
    }
}

/// The server's end of a connection.
#[derive(Debug)]
pub(super) struct Stream {
    tcp: TcpStream,
    line: Line,
    written: watch::Sender<usize>,
}

impl Stream {
    fn new(tcp: TcpStream) -> Self {
        let (written, seen) = watch::channel(0);
        let line = Line { cut: Arc::default(), written: seen };
        Self { tcp, line, written }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if self.line.cut.check().is_err() {
            // Without this the peer would see an orderly end. Best effort: the connection may be gone already.
            let _ = self.tcp.set_zero_linger();
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.line.cut.watch(cx)?;
        let sent = std::task::ready!(Pin::new(&mut self.tcp).poll_write(cx, buf))?;
        self.written.send_modify(|written| *written += sent);
        Poll::Ready(Ok(sent))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.line.cut.watch(cx)?;
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.line.cut.watch(cx)?;
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

pub(super) struct Lines(pub(super) TcpListener);

impl Listener for Lines {
    type Io = Stream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (tcp, peer) = Listener::accept(&mut self.0).await;
        // Tests count milliseconds; a failure costs some.
        let _ = tcp.set_nodelay(true);
        (Stream::new(tcp), peer)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.0.local_addr()
    }
}

impl Connected<IncomingStream<'_, Lines>> for Line {
    fn connect_info(stream: IncomingStream<'_, Lines>) -> Self {
        stream.io().line.clone()
    }
}
