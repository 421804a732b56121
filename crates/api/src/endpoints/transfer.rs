//! Carrying: artifacts and secrets in, logs out. What becomes of them is the backend's business.

use super::view::{ServicePlace, unknown_service};
use crate::{
    Problem, Upload,
    body::{Archive, Intake, Message, Output},
    endpoint::Call,
    message::{Artifact, LogQuery, Secrets, SecretsStored},
};
use bytes::Bytes;
use std::io;
use tokio::sync::mpsc;

/// How many parts of an upload may wait to be stored.
const WAITING: usize = 16;
/// The lines of a log when nobody says how many, and the most there are.
const LINES: u32 = 100;
const MAX_LINES: u32 = 100_000;

pub(super) async fn put_artifact(call: Call<(), (), Archive>) -> Result<Message<Artifact>, Problem> {
    let _place = call.served.upload_place()?;
    let (parts, stored) = mpsc::channel(WAITING);
    let Archive(mut body) = call.body;
    let storing = call.served.backend.put_artifact(Upload::new(stored));
    let (carried, stored) = tokio::join!(carry(&mut body, parts), storing);
    body.linger().await;
    // What is wrong with the upload explains what the store then says of it.
    carried?;
    stored.map(Message)
}

/// Hands a body on until its end, or until nobody takes it any more.
async fn carry(body: &mut Intake, parts: mpsc::Sender<io::Result<Bytes>>) -> Result<(), Problem> {
    loop {
        let part = tokio::select! {
            part = body.part() => part,
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
