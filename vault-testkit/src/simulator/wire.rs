//! Replies on their way out, whole or not.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::response::Response;
use http::header::{CONTENT_LENGTH, HeaderValue};
use http_body::Frame;
use tokio::sync::mpsc;

use super::fault::Delivery;
use super::line::Line;
use super::reply::Reply;
use super::server::Shared;

/// The shortest status line; so many bytes at least go out before a body does.
const SHORTEST_HEAD: usize = "HTTP/1.1 200 OK\r\n".len();

pub(super) fn send(shared: &Shared, line: Line, reply: Reply, delivery: Delivery) -> Response {
    let Reply { status, headers, body } = reply;
    let length = HeaderValue::from(body.len());
    let (body, length) = match delivery {
        Delivery::Whole => (Body::from(body), None),
        Delivery::Dropped => {
            line.cut();
            (Body::empty(), None)
        }
        Delivery::Torn(bytes) => (torn(line, &body, bytes), Some(length)),
        Delivery::Stalled(bytes) => (stalled(shared, &body, bytes), Some(length)),
        Delivery::Dripping(pause) => (dripping(shared, body, pause), Some(length)),
        Delivery::Endless => (endless(shared, line), None),
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    if let Some(length) = length {
        response.headers_mut().insert(CONTENT_LENGTH, length);
    }
    response
}

/// A body fed by a task.
struct Fed(mpsc::Receiver<io::Result<Bytes>>);

impl http_body::Body for Fed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        self.0.poll_recv(cx).map_ok(Frame::data)
    }
}

/// The first `bytes` of the body, waiting for the server to take them together with the head.
fn begun(body: &[u8], bytes: usize) -> (mpsc::Sender<io::Result<Bytes>>, Body) {
    let (feed, fed) = mpsc::channel(1);
    let part = &body[..bytes.min(body.len())];
    if !part.is_empty() {
        feed.try_send(Ok(Bytes::copy_from_slice(part))).expect("the channel is new and has room for one");
    }
    (feed, Body::new(Fed(fed)))
}

fn torn(mut line: Line, body: &[u8], bytes: usize) -> Body {
    let (feed, torn) = begun(body, bytes);
    let mark = line.written() + SHORTEST_HEAD + bytes.min(body.len());
    tokio::spawn(async move {
        line.has_written(mark).await;
        line.cut();
        let _ = feed.send(Err(io::ErrorKind::ConnectionReset.into())).await;
    });
    torn
}

fn stalled(shared: &Shared, body: &[u8], bytes: usize) -> Body {
    let (feed, stalled) = begun(body, bytes);
    let stop = shared.stopped();
    tokio::spawn(async move {
        tokio::select! {
            () = stop => {}
            () = feed.closed() => {}
        }
    });
    stalled
}

fn dripping(shared: &Shared, body: Vec<u8>, pause: Duration) -> Body {
    let (feed, dripping) = begun(&body, 1);
    let clock = shared.clock();
    let stop = shared.stopped();
    let drip = async move {
        for byte in body.into_iter().skip(1) {
            clock.sleep(pause).await;
            if feed.send(Ok(Bytes::copy_from_slice(&[byte]))).await.is_err() {
                return;
            }
        }
    };
    tokio::spawn(async move {
        tokio::select! {
            () = stop => {}
            () = drip => {}
        }
    });
    dripping
}

fn endless(shared: &Shared, line: Line) -> Body {
    let (feed, endless) = begun(b"{", 1);
    let stop = shared.stopped();
    let pour = async move {
        let filler = Bytes::from_static(&[b' '; 16 * 1024]);
        while feed.send(Ok(filler.clone())).await.is_ok() {}
    };
    tokio::spawn(async move {
        tokio::select! {
            () = stop => line.cut(),
            () = pour => {}
        }
    });
    endless
}
