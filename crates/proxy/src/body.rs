//! Bodies on their way, in both directions: bounded in size and in silence, and never made to look whole when they are
//! not. Back-pressure is hyper's: a body is asked for more when the other side has room.

use crate::{
    cache::{Collector, Sending},
    client_io::Busy,
    compress::Encoder,
    headers::forward_trailers,
    lifeline::{Lifeline, Overdue},
    plain,
    streams::Stall,
    tally::Outcome,
    ticket::Ticket,
    upstream::Connection,
};
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::{
    cell::Cell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};
use tokio::time::{Sleep, sleep_until};

/// How much of what is stored in memory is compressed at a time.
const PIECE: usize = 64 << 10;

/// Why a body did not arrive whole.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error("the connection broke in the middle of the body")]
    Connection(#[source] hyper::Error),
    #[error("the body was silent for too long")]
    Silent,
    #[error("the instance closed the connection in the middle of the body")]
    Ended,
    #[error("what the instance sent is no body of the kind it has announced")]
    Malformed,
    #[error("the body is larger than the service accepts")]
    TooLarge,
    #[error("the body could not be compressed")]
    Compressing(#[source] io::Error),
    #[error("what was stored could not be read")]
    Stored(#[source] io::Error),
    #[error("the instance was left, and its drain deadline has passed")]
    Drained,
}

/// A request body.
pub(crate) enum RequestBody {
    /// There is none.
    Empty,
    /// There is one.
    Upload(Upload),
}

/// A request body that is being sent.
pub(crate) struct Upload {
    body: Incoming,
    left: u64,
    idle: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    progress: Rc<Progress>,
}

/// How far an upload is, for whoever waits for the response to it.
pub(crate) struct Progress {
    /// How it goes.
    pub(crate) stage: Cell<Stage>,
    /// When something was last sent.
    pub(crate) last: Cell<Instant>,
}

/// How an upload goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stage {
    /// Going on.
    Sending,
    /// All of it was sent.
    Sent,
    /// Given up: it is larger than the service accepts.
    TooLarge,
    /// Given up: the client was silent for too long.
    TooSlow,
    /// The client's side broke.
    ClientGone,
}

impl Upload {
    /// A body of at most `max_bytes`, silent for at most `idle`.
    pub(crate) fn new(body: Incoming, max_bytes: u64, idle: Duration) -> (Upload, Rc<Progress>) {
        let progress = Rc::new(Progress { stage: Cell::new(Stage::Sending), last: Cell::new(Instant::now()) });
        (Upload { body, left: max_bytes, idle, timer: None, progress: Rc::clone(&progress) }, progress)
    }

    fn poll_silent(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let due = self.progress.last.get() + self.idle;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due.into())));
        loop {
            ready!(timer.as_mut().poll(cx));
            if due <= Instant::now() {
                return Poll::Ready(());
            }
            timer.as_mut().reset(due.into());
        }
    }

    fn break_off(&self, stage: Stage, why: Broken) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        self.progress.stage.set(stage);
        Poll::Ready(Some(Err(why)))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let upload = match self.get_mut() {
            RequestBody::Empty => return Poll::Ready(None),
            RequestBody::Upload(upload) => upload,
        };
        match Pin::new(&mut upload.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                let frame = match frame.into_trailers() {
                    Ok(mut trailers) => {
                        forward_trailers(&mut trailers);
                        Frame::trailers(trailers)
                    }
                    Err(frame) => frame,
                };
                let size = frame.data_ref().map_or(0, |data| data.len() as u64);
                let Some(left) = upload.left.checked_sub(size) else {
                    return upload.break_off(Stage::TooLarge, Broken::TooLarge);
                };
                upload.left = left;
                upload.progress.last.set(Instant::now());
                if upload.body.is_end_stream() {
                    upload.progress.stage.set(Stage::Sent);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => upload.break_off(Stage::ClientGone, Broken::Connection(error)),
            Poll::Ready(None) => {
                upload.progress.stage.set(Stage::Sent);
                Poll::Ready(None)
            }
            Poll::Pending => {
                ready!(upload.poll_silent(cx));
                upload.break_off(Stage::TooSlow, Broken::Silent)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            RequestBody::Empty => true,
            RequestBody::Upload(upload) => upload.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            RequestBody::Empty => SizeHint::with_exact(0),
            RequestBody::Upload(upload) => upload.body.size_hint(),
        }
    }
}

/// A response body. As long as it is there, its client is waiting for us and not we for the client.
pub(crate) struct ResponseBody {
    content: Content,
    _busy: Busy,
    stall: Option<Rc<Stall>>,
}

/// What a response body consists of.
pub(crate) enum Content {
    /// Nothing more.
    Empty,
    /// A text of ours.
    Text(Bytes),
    /// What an instance has sent before.
    Stored(Sending),
    /// What an instance sends.
    Relay(Box<Relay>),
    /// What an instance sends that was sent a plain request.
    Plain(Box<plain::Body>),
    /// What an instance sends, compressed.
    Compressed(Box<Compressed>),
}

impl Content {
    /// As the body of the response to a request that has been `busy` since it arrived. `stall`: who looks at whether it is
    /// asked for more.
    pub(crate) fn into_body(self, busy: Busy, stall: Option<Rc<Stall>>) -> ResponseBody {
        ResponseBody { content: self, _busy: busy, stall }
    }
}

/// What an instance sends.
pub(crate) struct Relay {
    /// What comes.
    pub(crate) body: Incoming,
    /// The record of the request.
    pub(crate) ticket: Ticket,
    /// Where it comes from, to be used again afterwards.
    pub(crate) connection: Option<Connection>,
    /// How long it may go on.
    pub(crate) lifeline: Lifeline,
    /// What it means when it is cut.
    pub(crate) kind: Kind,
    /// Where it is stored when it has passed as a whole.
    pub(crate) keeps: Option<Box<Collector>>,
}

/// What an instance sends, or has sent, compressed.
pub(crate) struct Compressed {
    source: Source,
    /// Until it has given its end.
    encoder: Option<Encoder>,
    /// What comes behind that end.
    trailers: Option<Frame<Bytes>>,
}

/// Where it comes from.
pub(crate) enum Source {
    /// From an instance.
    Relay(Box<Relay>),
    /// From the cache.
    Stored(Sending),
}

impl Source {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self {
            Source::Relay(relay) => relay.poll_frame(cx),
            // In pieces, so that others get their turn between them.
            Source::Stored(sending) => poll_stored(sending, cx, PIECE),
        }
    }
}

fn poll_stored(sending: &mut Sending, cx: &mut Context<'_>, most: usize) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
    sending.poll_piece(cx, most).map(|piece| piece.map(|piece| piece.map(Frame::data).map_err(Broken::Stored)))
}

impl Compressed {
    pub(crate) fn new(source: Source, encoder: Encoder) -> Compressed {
        Compressed { source, encoder: Some(encoder), trailers: None }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        loop {
            let Some(encoder) = &mut self.encoder else {
                return Poll::Ready(self.trailers.take().map(Ok));
            };
            let out = match self.source.poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(piece) => encoder.take(&piece),
                    Err(trailers) => {
                        self.trailers = Some(trailers);
                        self.encoder.take().map_or(Ok(Bytes::new()), |mut encoder| encoder.finish())
                    }
                },
                Poll::Ready(None) => self.encoder.take().map_or(Ok(Bytes::new()), |mut encoder| encoder.finish()),
                Poll::Ready(Some(Err(broken))) => return Poll::Ready(Some(Err(broken))),
                Poll::Pending => match encoder.flush() {
                    Ok(None) => return Poll::Pending,
                    Ok(Some(out)) => Ok(out),
                    Err(error) => Err(error),
                },
            };
            match out {
                Ok(out) if out.is_empty() => {}
                Ok(out) => return Poll::Ready(Some(Ok(Frame::data(out)))),
                Err(error) => return Poll::Ready(Some(Err(Broken::Compressing(error)))),
            }
        }
    }
}

/// What a response body is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// It has an end, without which it is broken.
    Whole,
    /// Events that go on until somebody ends them; clients connect again.
    Events,
}

impl Relay {
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.lifeline.touch();
                self.ticket.sent(frame.data_ref().map_or(0, Bytes::len));
                // With trailers it is more than is stored.
                let fits = |keeps: &mut Box<Collector>| frame.data_ref().is_some_and(|piece| keeps.take(piece));
                if !self.keeps.as_mut().is_none_or(fits) {
                    self.keeps = None;
                }
                if self.body.is_end_stream() {
                    self.finish();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                self.finish();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                self.ticket.settle(Outcome::Reset);
                Poll::Ready(Some(Err(Broken::Connection(error))))
            }
            Poll::Pending => {
                let Some(upstream) = self.ticket.upstream() else { return Poll::Pending };
                match ready!(self.lifeline.poll(cx, upstream)) {
                    Overdue::Silent => {
                        self.ticket.settle(Outcome::Timeout);
                        Poll::Ready(Some(Err(Broken::Silent)))
                    }
                    Overdue::Drained => {
                        self.ticket.cut();
                        Poll::Ready(match self.kind {
                            Kind::Whole => Some(Err(Broken::Drained)),
                            Kind::Events => None,
                        })
                    }
                }
            }
        }
    }

    fn finish(&mut self) {
        self.ticket.settle(Outcome::Answered);
        if let Some(keeps) = self.keeps.take() {
            keeps.complete();
        }
        if let (Some(connection), Some(upstream)) = (self.connection.take(), self.ticket.upstream()) {
            upstream.keep(connection, Instant::now());
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let ResponseBody { content, stall, .. } = self.get_mut();
        if let Some(stall) = stall {
            stall.ends();
        }
        let polled = match content {
            Content::Empty => Poll::Ready(None),
            Content::Text(text) => {
                let text = std::mem::take(text);
                *content = Content::Empty;
                Poll::Ready(Some(Ok(Frame::data(text))))
            }
            Content::Stored(sending) => poll_stored(sending, cx, usize::MAX),
            Content::Relay(relay) => relay.poll_frame(cx),
            Content::Plain(body) => body.poll_frame(cx),
            Content::Compressed(compressed) => compressed.poll_frame(cx),
        };
        if let (Some(stall), Poll::Ready(Some(Ok(_)))) = (stall, &polled) {
            stall.begins();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Empty => true,
            Content::Text(_) => false,
            Content::Stored(sending) => sending.len() == 0,
            Content::Relay(relay) => relay.body.is_end_stream(),
            Content::Plain(body) => body.is_over(),
            Content::Compressed(compressed) => compressed.encoder.is_none() && compressed.trailers.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Empty => SizeHint::with_exact(0),
            Content::Text(text) => SizeHint::with_exact(text.len() as u64),
            Content::Stored(sending) => SizeHint::with_exact(sending.len()),
            Content::Relay(relay) => relay.body.size_hint(),
            Content::Plain(body) => body.size_hint(),
            Content::Compressed(_) => SizeHint::default(),
        }
    }
}
