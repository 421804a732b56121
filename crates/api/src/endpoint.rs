//! What an endpoint is: one definition gives its route, its check, and its part of the OpenAPI document.
//!
//! (Why not a framework that generates OpenAPI: the few that speak 3.1 bring dozens of crates, and this is small.) An
//! endpoint names what it takes from the path, the query and the body and what it answers, as types; `body` says for each
//! kind of body how it is read or written, and how it is described.

use crate::{
    Loop, Problem,
    access::Peer,
    body::{Accepts, Answers, Intake},
    problem::Fault,
    served::Served,
};
use axum::{
    extract::{FromRequestParts, Path, Query, Request},
    response::IntoResponse,
    routing::{MethodFilter, MethodRouter, on},
};
use control::{Refusal, refusal::Code};
use http::{HeaderMap, request::Parts};
use model::{Actor, ServiceKey};
use policy::{Act, Answer, Question};
use schemars::{JsonSchema, SchemaGenerator};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;

/// A request that passed policy.
pub(crate) struct Call<P, Q, B> {
    pub(crate) served: Arc<Served>,
    pub(crate) actor: Actor,
    pub(crate) headers: HeaderMap,
    pub(crate) path: P,
    pub(crate) query: Q,
    pub(crate) body: B,
}

/// What it takes to be answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Needs {
    /// Policy permits this act.
    Act(Act),
    /// One is known, and nothing more: what is answered concerns nobody else, or `control` asks policy about the very
    /// command.
    Identity,
}

/// The parameters of a path.
pub(crate) trait Place: DeserializeOwned + JsonSchema + Send {
    /// The service it names, for policy.
    fn service(&self) -> Option<&ServiceKey> {
        None
    }
}

impl Place for () {}

/// What an endpoint takes and answers, for the document.
pub(crate) struct Description {
    pub(crate) path: Value,
    pub(crate) query: Value,
    pub(crate) body: Option<(&'static str, Value)>,
    pub(crate) answer: (&'static str, Value),
}

/// One endpoint.
pub(crate) struct Endpoint {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    /// Its name in the document, unique.
    pub(crate) name: &'static str,
    /// What it does, one sentence.
    pub(crate) summary: &'static str,
    pub(crate) needs: Needs,
    pub(crate) describe: fn(&mut SchemaGenerator) -> Description,
    pub(crate) route: Box<dyn FnOnce(Arc<Served>) -> MethodRouter>,
}

/// The methods that are used here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Method {
    Get,
    Post,
    Put,
}

impl Method {
    fn filter(self) -> MethodFilter {
        match self {
            Method::Get => MethodFilter::GET,
            Method::Post => MethodFilter::POST,
            Method::Put => MethodFilter::PUT,
        }
    }
}

impl Endpoint {
    /// An endpoint that `handle` answers.
    pub(crate) fn new<P, Q, B, A, F, R>(
        method: Method,
        path: &'static str,
        name: &'static str,
        needs: Needs,
        summary: &'static str,
        handle: F,
    ) -> Endpoint
    where
        P: Place + 'static,
        Q: DeserializeOwned + JsonSchema + Send + 'static,
        B: Accepts + 'static,
        A: Answers + 'static,
        F: Fn(Call<P, Q, B>) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = Result<A, Problem>> + Send + 'static,
    {
        let describe = |generator: &mut SchemaGenerator| Description {
            path: generator.root_schema_for::<P>().to_value(),
            query: generator.root_schema_for::<Q>().to_value(),
            body: B::MEDIA.map(|media| (media, B::schema(generator))),
            answer: (A::MEDIA, A::schema(generator)),
        };
        let route = Box::new(move |served: Arc<Served>| {
            on(method.filter(), move |request: Request| {
                let (served, handle) = (served.clone(), handle.clone());
                async move {
                    let answered = timeout(B::PATIENCE, answer(served, needs, request, handle)).await;
                    answered
                        .unwrap_or_else(|_| Err(unanswered(method, B::PATIENCE)))
                        .map_or_else(IntoResponse::into_response, A::answer)
                }
            })
        });
        Endpoint { method, path, name, summary, needs, describe, route }
    }
}

/// Everything between a request and its handler, in this order: who asks, what for, may they, what exactly.
async fn answer<P, Q, B, A, F, R>(served: Arc<Served>, needs: Needs, request: Request, handle: F) -> Result<A, Problem>
where
    P: Place,
    Q: DeserializeOwned + Send,
    B: Accepts,
    F: Fn(Call<P, Q, B>) -> R,
    R: Future<Output = Result<A, Problem>>,
{
    let (mut parts, body) = request.into_parts();
    let mut body = Intake::new(body, B::limit(&served.bounds), served.bounds.stall);
    let admitted = match admit::<P, Q>(&served, needs, &mut parts).await {
        Ok((actor, path, query)) => B::take(&mut body).await.map(|body| (actor, path, query, body)),
        Err(problem) => Err(problem),
    };
    match admitted {
        Ok((actor, path, query, body)) => {
            handle(Call { served, actor, headers: parts.headers, path, query, body }).await
        }
        Err(problem) => {
            body.linger().await;
            Err(problem)
        }
    }
}

/// Who asks and for what, when they may.
async fn admit<P: Place, Q: DeserializeOwned>(
    served: &Served,
    needs: Needs,
    parts: &mut Parts,
) -> Result<(Actor, P, Q), Problem> {
    let peer = parts.extensions.get::<Peer>().cloned().unwrap_or(Peer::Network);
    let actor = peer.identify(&served.access, &parts.headers)?;
    let Path(path) = Path::<P>::from_request_parts(parts, &())
        .await
        .map_err(|error| Problem::malformed(error.body_text().replacen("Invalid URL: ", "", 1)))?;
    if let Needs::Act(act) = needs {
        permit(&served.control, &actor, act, path.service())?;
    }
    let Query(query) = Query::<Q>::try_from_uri(&parts.uri).map_err(|error| {
        Problem::malformed(error.body_text().replacen("Failed to deserialize query string: ", "in the query, ", 1))
    })?;
    Ok((actor, path, query))
}

/// Asks policy. The one place where the API does; commands are asked about by `control`.
fn permit(control: &Loop, actor: &Actor, act: Act, service: Option<&ServiceKey>) -> Result<(), Problem> {
    let environment = service.map(|service| &service.environment);
    match control.policy().decide(&Question { actor, act, environment, service }) {
        Answer::Permit { .. } => Ok(()),
        Answer::Deny(why) => Err(Refusal::new(Code::Denied, why, "`qd whoami` says who you are here").into()),
    }
}

fn unanswered(method: Method, waited: Duration) -> Problem {
    let hint = match method {
        Method::Get => "ask for less, or ask again when less is going on",
        Method::Post | Method::Put => "look at `qd status` before you ask again: it may have been done",
    };
    Problem::new(Fault::Unanswered, format!("this took longer than {} seconds", waited.as_secs()), hint)
}
