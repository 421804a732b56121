//! Bodies: how each kind is read or written, and how it is described. JSON, archives that are uploaded, and streams.

use crate::{Bounds, Problem, problem::Fault};
use axum::{
    Json,
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderValue, header};
use http_body::Frame;
use http_body_util::BodyExt;
use schemars::{JsonSchema, SchemaGenerator};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, watch},
    time::timeout,
};

/// How long an ordinary request may take, in all.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long an upload may take, in all.
const UPLOAD_PATIENCE: Duration = Duration::from_secs(3_600);
/// The largest body of an ordinary request, in bytes.
const MAX_BODY: u64 = 1 << 20;
/// How long a body is still read after its fate is decided.
const LINGER: Duration = Duration::from_secs(5);
/// How many parts of a stream may wait to be sent.
const WAITING: usize = 16;

/// A body that a handler takes.
pub(crate) trait Accepts: Sized + Send {
    /// How long the request may take, in all.
    const PATIENCE: Duration = PATIENCE;
    /// Its media type; none when there is no body.
    const MEDIA: Option<&'static str>;

    /// Reads it, or as much as is needed to begin.
    fn take(body: &mut Intake) -> impl Future<Output = Result<Self, Problem>> + Send;

    /// How large it may be, in bytes.
    fn limit(_: &Bounds) -> u64 {
        MAX_BODY
    }

    /// Its schema.
    fn schema(generator: &mut SchemaGenerator) -> Value;
}

/// A body that a handler answers.
pub(crate) trait Answers {
    /// Its media type.
    const MEDIA: &'static str;

    /// The answer.
    fn answer(self) -> Response;

    /// Its schema.
    fn schema(generator: &mut SchemaGenerator) -> Value;
}

/// No body: whatever is sent is not read.
impl Accepts for () {
    const MEDIA: Option<&'static str> = None;

    async fn take(_: &mut Intake) -> Result<Self, Problem> {
        Ok(())
    }

    fn schema(_: &mut SchemaGenerator) -> Value {
        Value::Null
    }
}

/// A value as JSON, either way.
pub(crate) struct Message<T>(pub(crate) T);

impl<T: DeserializeOwned + JsonSchema + Send> Accepts for Message<T> {
    const MEDIA: Option<&'static str> = Some("application/json");

    async fn take(body: &mut Intake) -> Result<Self, Problem> {
        let mut bytes = Vec::new();
        while let Some(part) = body.part().await? {
            bytes.extend_from_slice(&part);
        }
        serde_json::from_slice(&bytes)
            .map(Message)
            .map_err(|error| Problem::malformed(format!("the body is not as expected: {error}")))
    }

    fn schema(generator: &mut SchemaGenerator) -> Value {
        generator.subschema_for::<T>().to_value()
    }
}

impl<T: Serialize + JsonSchema> Answers for Message<T> {
    const MEDIA: &'static str = "application/json";

    fn answer(self) -> Response {
        Json(self.0).into_response()
    }

    fn schema(generator: &mut SchemaGenerator) -> Value {
        generator.subschema_for::<T>().to_value()
    }
}

/// An archive that is being uploaded.
pub(crate) struct Archive(pub(crate) Intake);

impl Accepts for Archive {
    const PATIENCE: Duration = UPLOAD_PATIENCE;
    const MEDIA: Option<&'static str> = Some("application/x-tar");

    /// Takes it as it is; the handler reads it.
    async fn take(body: &mut Intake) -> Result<Self, Problem> {
        Ok(Archive(body.take()))
    }

    fn limit(bounds: &Bounds) -> u64 {
        bounds.artifact.0
    }

    fn schema(_: &mut SchemaGenerator) -> Value {
        json!({ "type": "string", "contentMediaType": "application/x-tar" })
    }
}

/// A request's body as it comes in.
pub(crate) struct Intake {
    body: Body,
    size: u64,
    limit: u64,
    stall: Duration,
}

impl Intake {
    pub(crate) fn new(body: Body, limit: u64, stall: Duration) -> Intake {
        Intake { body, size: 0, limit, stall }
    }

    fn take(&mut self) -> Intake {
        Intake { body: std::mem::take(&mut self.body), ..*self }
    }

    /// The next part; nothing at the end.
    ///
    /// # Errors
    /// When it stands still, is cut off, or is too large.
    pub(crate) async fn part(&mut self) -> Result<Option<Bytes>, Problem> {
        let frame = timeout(self.stall, self.body.frame()).await.map_err(|_| {
            let message = format!("the body of the request stood still for {} seconds", self.stall.as_secs_f32());
            Problem::new(Fault::TooSlow, message, "send it again, without pauses")
        })?;
        let Some(frame) = frame else { return Ok(None) };
        let frame = frame.map_err(|_| Problem::malformed("the body of the request was cut off"))?;
        // Trailers say nothing here.
        let part = frame.into_data().unwrap_or_default();
        self.size += part.len() as u64;
        if self.size > self.limit {
            let message = format!("the body of the request is larger than the {} allowed", model::Bytes(self.limit));
            return Err(Problem::new(Fault::TooLarge, message, "leave out what is not needed"));
        }
        Ok(Some(part))
    }

    /// Reads the rest and forgets it, when the answer is decided before the end: a client that is still sending would
    /// otherwise see its connection cut, and not hear why.
    pub(crate) async fn linger(&mut self) {
        self.limit = u64::MAX;
        let reading = async { while matches!(self.part().await, Ok(Some(_))) {} };
        let _ = timeout(LINGER, reading).await;
    }
}

/// A stream of server-sent events.
pub(crate) struct Events(pub(crate) Flow);

impl Answers for Events {
    const MEDIA: &'static str = "text/event-stream";

    fn answer(self) -> Response {
        self.0.response(Self::MEDIA)
    }

    fn schema(generator: &mut SchemaGenerator) -> Value {
        let data = generator.subschema_for::<crate::message::Line>();
        json!({
            "type": "string",
            "description": "Server-sent events: `event: entry`, `id:` its position, `data:` what `contentSchema` says.",
            "contentMediaType": "application/json",
            "contentSchema": data
        })
    }
}

/// A stream of text, in no particular encoding: services write what they like.
pub(crate) struct Output(pub(crate) Flow);

impl Answers for Output {
    const MEDIA: &'static str = "text/plain";

    fn answer(self) -> Response {
        self.0.response(Self::MEDIA)
    }

    fn schema(_: &mut SchemaGenerator) -> Value {
        json!({ "type": "string" })
    }
}

/// Metrics, in the text format that Prometheus reads.
pub(crate) struct Exposition(pub(crate) String);

impl Answers for Exposition {
    const MEDIA: &'static str = "text/plain; version=0.0.4";

    fn answer(self) -> Response {
        let mut response = Body::from(self.0).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(Self::MEDIA));
        response
    }

    fn schema(_: &mut SchemaGenerator) -> Value {
        json!({ "type": "string" })
    }
}

/// A body that is put in elsewhere: through a channel. An error cuts the connection, so that no one takes a part for
/// the whole.
pub(crate) struct Flow(mpsc::Receiver<io::Result<Bytes>>);

impl Flow {
    /// A body, and the channel to put it in through.
    pub(crate) fn new(waiting: usize) -> (mpsc::Sender<io::Result<Bytes>>, Flow) {
        let (parts, flow) = mpsc::channel(waiting);
        (parts, Flow(flow))
    }

    /// A stream to a client, which has this place until it ends.
    pub(crate) fn open(place: OwnedSemaphorePermit, stopped: watch::Receiver<bool>) -> (Outlet, Flow) {
        let (parts, flow) = Flow::new(WAITING);
        (Outlet { parts, stopped, _place: place }, flow)
    }

    fn response(self, media: &'static str) -> Response {
        let mut response = Body::new(self).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
        response
    }
}

impl http_body::Body for Flow {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(cx).map(|part| part.map(|part| part.map(Frame::data)))
    }
}

/// The server's end of a stream.
pub(crate) struct Outlet {
    parts: mpsc::Sender<io::Result<Bytes>>,
    stopped: watch::Receiver<bool>,
    _place: OwnedSemaphorePermit,
}

/// A stream has ended: its connection has, or the server stops.
pub(crate) struct Ended;

impl Outlet {
    /// Puts a part in, when there is room.
    pub(crate) async fn send(&mut self, part: io::Result<Bytes>) -> Result<(), Ended> {
        tokio::select! {
            sent = self.parts.send(part) => sent.map_err(|_| Ended),
            _ = self.stopped.wait_for(|stopped| *stopped) => Err(Ended),
        }
    }

    /// Waits for something to send, for as long as anybody wants it.
    pub(crate) async fn wait<T>(&mut self, for_what: impl Future<Output = T>) -> Result<T, Ended> {
        tokio::select! {
            ready = for_what => Ok(ready),
            () = self.parts.closed() => Err(Ended),
            _ = self.stopped.wait_for(|stopped| *stopped) => Err(Ended),
        }
    }
}
