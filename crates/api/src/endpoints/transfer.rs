//! Carrying: artifacts and secrets in, logs out. What becomes of them is the backend's business.

use super::view::{ServicePlace, unknown_service};
use crate::{
    Problem, Upload,
    body::{Archive, Message, Output},
    endpoint::Call,
    message::{Artifact, LogQuery, Secrets, SecretsStored},
    problem::Fault,
};
use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt;
use std::{io, time::Duration};
use tokio::{sync::mpsc, time::timeout};

/// How many parts of an upload may wait to be stored.
const WAITING: usize = 16;
/// How much of a body is still read after its fate is decided, in bytes, and for how long: a client that is still
/// sending hears the answer instead of a cut connection.
const LINGER: u64 = 4 << 20;
const LINGER_PATIENCE: Duration = Duration::from_secs(2);
/// The lines of a log when nobody says how many, and the most there are.
const LINES: u32 = 100;
const MAX_LINES: u32 = 100_000;

pub(super) async fn put_artifact(call: Call<(), (), Archive>) -> Result<Message<Artifact>, Problem> {
    let _place = call.served.upload_place()?;
    let (parts, stored) = mpsc::channel(WAITING);
    let bounds = &call.served.bounds;
    let mut body = Incoming { body: call.body.0, size: 0, limit: bounds.artifact.0, stall: bounds.stall };
    let storing = call.served.backend.put_artifact(Upload::new(stored));
    let (carried, stored) = tokio::join!(body.carry(parts), storing);
    let _ = timeout(LINGER_PATIENCE, body.linger()).await;
    // What is wrong with the upload explains what the store then says of it.
    carried?;
    stored.map(Message)
}

/// A body as it comes in.
struct Incoming {
    body: Body,
    size: u64,
    limit: u64,
    stall: Duration,
}

impl Incoming {
    /// Hands it on until its end, or until nobody takes it any more.
    async fn carry(&mut self, parts: mpsc::Sender<io::Result<Bytes>>) -> Result<(), Problem> {
        loop {
            let part = tokio::select! {
                part = self.part() => part,
                () = parts.closed() => return Ok(()),
            };
            let (part, end) = match part {
                Ok(Some(part)) => (Ok(part), None),
                Ok(None) => return Ok(()),
                Err(problem) => (Err(io::Error::other(problem.message.clone())), Some(problem)),
            };
            if parts.send(part).await.is_err() {
                return Ok(());
            }
            if let Some(problem) = end {
                return Err(problem);
            }
        }
    }

    async fn part(&mut self) -> Result<Option<Bytes>, Problem> {
        let frame = timeout(self.stall, self.body.frame()).await.map_err(|_| {
            let message = format!("the upload stood still for {} seconds", self.stall.as_secs());
            Problem::new(Fault::TooSlow, message, "send it again")
        })?;
        let Some(frame) = frame else { return Ok(None) };
        let frame = frame.map_err(|_| Problem::new(Fault::Malformed, "the upload was cut off", "send it again"))?;
        // Trailers say nothing here.
        let part = frame.into_data().unwrap_or_default();
        self.size += part.len() as u64;
        if self.size > self.limit {
            let message = format!("the artifact is larger than the {} that are allowed", model::Bytes(self.limit));
            return Err(Problem::new(Fault::TooLarge, message, "leave out what the service does not need"));
        }
        Ok(Some(part))
    }

    async fn linger(&mut self) {
        let until = self.size + LINGER;
        self.limit = u64::MAX;
        while self.size < until && matches!(self.part().await, Ok(Some(_))) {}
    }
}

pub(super) async fn put_secrets(
    call: Call<ServicePlace, (), Message<Secrets>>,
) -> Result<Message<SecretsStored>, Problem> {
    let Message(secrets) = call.body;
    let digest = call.served.backend.put_secrets(call.path.service, secrets).await?;
    Ok(Message(SecretsStored { digest }))
}

pub(super) async fn logs(call: Call<ServicePlace, LogQuery, ()>) -> Result<Output, Problem> {
    let service = call.path.service;
    if !call.served.control.snapshot().state.services.contains_key(&service) {
        return Err(unknown_service(&service));
    }
    let query = LogQuery { lines: Some(call.query.lines.unwrap_or(LINES).min(MAX_LINES)), ..call.query };
    let (mut outlet, flow) = call.served.open_stream()?;
    let mut written = call.served.backend.logs(service, query).await?;
    tokio::spawn(async move {
        while let Ok(Some(part)) = outlet.wait(written.recv()).await {
            let cut = part.is_err();
            if outlet.send(part).await.is_err() || cut {
                break;
            }
        }
    });
    Ok(Output(flow))
}
