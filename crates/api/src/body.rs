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
use http_body_util::{BodyExt, LengthLimitError, Limited};
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
const MAX_BODY: usize = 1 << 20;
/// How many parts of a stream may wait to be sent.
const WAITING: usize = 16;

/// A body that a handler takes.
pub(crate) trait Accepts: Sized + Send {
    /// How long the request may take, in all.
    const PATIENCE: Duration = PATIENCE;
    /// Its media type; none when there is no body.
    const MEDIA: Option<&'static str>;

    /// Reads it, or as much as is needed to begin.
    fn take(body: Body, bounds: &Bounds) -> impl Future<Output = Result<Self, Problem>> + Send;

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

    async fn take(_: Body, _: &Bounds) -> Result<Self, Problem> {
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

    async fn take(body: Body, bounds: &Bounds) -> Result<Self, Problem> {
        let collecting = Limited::new(body, MAX_BODY).collect();
        let collected = timeout(bounds.stall, collecting).await.map_err(|_| {
            Problem::new(Fault::TooSlow, "the body of the request did not come in time", "send it at once")
        })?;
        let bytes = collected.map_err(|error| {
            if error.is::<LengthLimitError>() {
                Problem::new(Fault::TooLarge, format!("the body is longer than {MAX_BODY} bytes"), "")
            } else {
                Problem::malformed("the body of the request was cut off")
            }
        })?;
        serde_json::from_slice(&bytes.to_bytes())
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

/// An archive that is being uploaded; the handler reads it.
pub(crate) struct Archive(pub(crate) Body);

impl Accepts for Archive {
    const PATIENCE: Duration = UPLOAD_PATIENCE;
    const MEDIA: Option<&'static str> = Some("application/x-tar");

    async fn take(body: Body, _: &Bounds) -> Result<Self, Problem> {
        Ok(Archive(body))
    }

    fn schema(_: &mut SchemaGenerator) -> Value {
        json!({ "type": "string", "contentMediaType": "application/x-tar" })
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
    pub(crate) fn open(place: OwnedSemaphorePermit, stall: Duration, stopped: watch::Receiver<bool>) -> (Outlet, Flow) {
        let (parts, flow) = Flow::new(WAITING);
        (Outlet { parts, stall, stopped, _place: place }, flow)
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
    stall: Duration,
    stopped: watch::Receiver<bool>,
    _place: OwnedSemaphorePermit,
}

/// A stream has ended: the client left or reads too slowly, or the server stops.
pub(crate) struct Ended;

impl Outlet {
    /// Puts a part in, when there is room; a client that makes no room for too long is given up.
    pub(crate) async fn send(&mut self, part: io::Result<Bytes>) -> Result<(), Ended> {
        tokio::select! {
            sent = self.parts.send_timeout(part, self.stall) => sent.map_err(|_| Ended),
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
