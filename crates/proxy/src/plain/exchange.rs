//! One request and its answer.

use super::{
    client::{Gone, Side},
    field,
    instance::{Question, ask},
    relay::Relay,
    request::Plain,
    response::{Added, Answer, Has},
};
use crate::{
    access_log::Record,
    admit::{Asked as _, Assigned, admit},
    body::Content,
    buffers::Buffer,
    connection::Client,
    edits,
    forward::count_refusal,
    origin::Origin,
    patience::Patience,
    refusal::Refusal,
    tls::elsewhere,
};
use bytes::Bytes;
use http::Response;
use std::{
    io::{IoSlice, Write as _},
    pin::pin,
    rc::Rc,
    time::Instant,
};

/// What becomes of a connection.
pub(super) enum Next {
    /// Another request may come.
    Request,
    /// It is closed, by what both sides know.
    Close,
    /// It is cut: what was begun does not end.
    Cut,
    /// The request that has begun to arrive is not plain.
    NotPlain(Buffer),
}

/// A request that was understood.
struct Order {
    course: Course,
    to_head: bool,
    /// Whether the client wants no further answer on its connection.
    closes: bool,
}

/// Who answers a request.
enum Course {
    /// The release it is assigned to, which is sent this head.
    Assigned(Assigned, Vec<u8>),
    /// We do, and write it down.
    Ours(Result<Response<Content>, Refusal>, Option<Box<Record>>),
}

/// Answers the request that has begun to arrive.
pub(super) async fn exchange(side: &mut Side, patience: &mut Patience) -> Next {
    let client = Rc::clone(&side.client);
    let Order { course, to_head, closes } = match order(&client, side).await {
        Ok(order) => order,
        Err(next) => return next,
    };
    let worker = &client.worker;
    let (hsts, closes) = (client.hsts.as_deref(), closes || worker.is_leaving());
    let ours = Added { edits: &edits::NONE, cookie: None, hsts, closes, dates: &worker.dates };
    let (Assigned { mut ticket, arm, set_cookie, key, .. }, head) = match course {
        Course::Assigned(assigned, head) => (assigned, head),
        Course::Ours(answer, record) => {
            return Box::pin(say(&client, side, patience, answer, to_head, &ours, record)).await;
        }
    };
    let lane = Rc::clone(ticket.lane());
    let added = Added { edits: &lane.service.response_edits, cookie: set_cookie.as_ref(), ..ours };
    let asked = Question { head, to_head, pass_on: |answer: &Answer<'_>| answer.write(&added) };
    let begun = {
        let begins = pin!(ask(worker, &lane, (arm, key), &mut ticket, patience, &asked));
        side.unless_gone(begins).await
    };
    match begun {
        Ok(Ok(begun)) => Relay::new(worker, begun, ticket).run(side, patience, closes).await,
        Ok(Err(refusal)) => Box::pin(say(&client, side, patience, Err(refusal), to_head, &ours, None)).await,
        Err(Gone) => Next::Cut,
    }
}

/// Understands the request that has begun to arrive, and finds out who answers it.
///
/// # Errors
/// What becomes of the connection, when nobody is to.
async fn order(client: &Rc<Client>, side: &mut Side) -> Result<Order, Next> {
    let Some(mut arrived) = side.take() else { return Err(Next::Cut) };
    let began = Instant::now();
    let Some(plain) = Plain::read(arrived.filled()) else { return Err(Next::NotPlain(arrived)) };
    let worker = &client.worker;
    if !worker.lanes().is_plain(&plain) {
        return Err(Next::NotPlain(arrived));
    }
    let (closes, to_head, length) = (plain.closes, plain.is_head(), plain.length);
    let origin = Origin::of(client, &plain);
    let mut record = Record::begin(client, &plain, "HTTP/1.1", &origin, began);
    let course = match elsewhere(worker, &origin, plain.host(), plain.target).transpose() {
        Some(answer) => Course::Ours(answer, record),
        None => {
            let admitted = {
                let admits = pin!(admit(client, &plain, &origin, began, &mut record));
                // What arrives behind the head is another request; the client is taken to be there until it is looked at.
                match arrived.filled().len() > length {
                    true => Ok(admits.await),
                    false => side.unless_gone(admits).await,
                }
            };
            match admitted {
                Ok(Ok(assigned)) => {
                    let edits = &assigned.ticket.lane().service.request_edits;
                    let target = assigned.rewritten.as_deref().unwrap_or(plain.target);
                    let head = plain.forwarded(target, &origin, &worker.random, edits);
                    Course::Assigned(assigned, head)
                }
                Ok(Err(refusal)) => Course::Ours(Err(refusal), record),
                Err(Gone) => return Err(Next::Cut),
            }
        }
    };
    arrived.consume(length);
    side.give_back(arrived);
    Ok(Order { course, to_head, closes })
}

/// Gives a client an answer of ours.
async fn say(
    client: &Client,
    side: &mut Side,
    patience: &mut Patience,
    answer: Result<Response<Content>, Refusal>,
    to_head: bool,
    added: &Added<'_>,
    mut record: Option<Box<Record>>,
) -> Next {
    let answer = answer.unwrap_or_else(|refusal| {
        count_refusal(client, &refusal);
        refusal.response()
    });
    let (head, content) = answer.into_parts();
    let text = match content {
        Content::Text(text) => text,
        Content::Empty | Content::Stored(_) | Content::Relay(_) | Content::Plain(_) | Content::Compressed(_) => {
            Bytes::new()
        }
    };
    if let Some(record) = &mut record {
        record.status(head.status.as_u16());
        record.sent(text.len());
    }
    let mut out = Vec::with_capacity(1024);
    // A vector takes all that is written.
    let _ = write!(out, "HTTP/1.1 {}\r\ncontent-length: {}\r\n", head.status, text.len());
    head.headers.iter().for_each(|(name, value)| field::write(&mut out, name.as_str(), value.as_bytes()));
    added.end(&mut out, Has::default());
    if !to_head {
        out.extend_from_slice(&text);
    }
    match side.send(patience, &mut [IoSlice::new(&out)]).await {
        Ok(()) if added.closes => Next::Close,
        Ok(()) => Next::Request,
        Err(Gone) => Next::Cut,
    }
}
