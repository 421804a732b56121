//! Every endpoint there is, once. To add one: a function in one of the modules below and a line in [`all`]; its route,
//! its check by policy and its part of the OpenAPI document follow.
//!
//! A handler reads a view, submits a command, or asks the backend; it decides nothing.

mod command;
mod event;
mod story;
mod transfer;
mod view;

use crate::{
    endpoint::{
        Endpoint,
        Method::{Get, Post, Put},
        Needs,
    },
    problem::{Fault, Problem},
    served::Served,
};
use axum::Router;
use policy::Act;
use std::sync::Arc;

/// Every endpoint.
#[rustfmt::skip]
pub(crate) fn all() -> Vec<Endpoint> {
    let see = Needs::Act(Act::View);
    vec![
        Endpoint::new(Get, "/v1/health", "health", Needs::Identity, "Whether commands are taken", view::health),
        Endpoint::new(Get, "/v1/whoami", "whoami", Needs::Identity, "Who you are here", view::whoami),
        Endpoint::new(Get, "/v1/openapi.json", "openapi", Needs::Identity, "This document", view::document),
        Endpoint::new(Get, "/metrics", "metrics", see, "What there is to measure, as Prometheus reads it", view::metrics),
        Endpoint::new(Get, "/v1/status", "status", see, "Everything at a glance", view::status),
        Endpoint::new(Get, "/v1/services/{service}", "service", see, "One service; outside production `staging%2Fshop`", view::service),
        Endpoint::new(Get, "/v1/changes", "changes", see, "Changes, the newest first", view::changes),
        Endpoint::new(Get, "/v1/changes/{change}", "change", see, "One change", view::change),
        Endpoint::new(Post, "/v1/plans", "plan", Needs::Act(Act::Plan), "What a command would do, without doing it", command::plan),
        Endpoint::new(Post, "/v1/commands", "command", Needs::Identity, "Give a command; answered once it is recorded", command::submit),
        Endpoint::new(Get, "/v1/story", "story_of_everything", see, "The story of everything", story::of_everything),
        Endpoint::new(Get, "/v1/story/{subject}", "story", see, "The story of a change, a service or an instance", story::of_subject),
        Endpoint::new(Get, "/v1/entries", "entries", see, "A part of the ledger", story::entries),
        Endpoint::new(Get, "/v1/events", "events", see, "What is recorded, as it is recorded", event::follow),
        Endpoint::new(Put, "/v1/artifacts", "put_artifact", Needs::Act(Act::Upload), "Hand over an artifact as a tar archive", transfer::put_artifact),
        Endpoint::new(Put, "/v1/secrets/{service}", "put_secrets", Needs::Act(Act::Upload), "Replace the secrets of a service", transfer::put_secrets),
        Endpoint::new(Get, "/v1/logs/{service}", "logs", Needs::Act(Act::ReadLogs), "Captured output of a service", transfer::logs),
        Endpoint::new(Post, "/v1/shutdown", "shutdown", Needs::Act(Act::Shutdown), "Stop Quarterdeck", command::shutdown),
    ]
}

/// All of them, answering.
pub(crate) fn router(served: Arc<Served>) -> Router {
    let routes = all()
        .into_iter()
        .fold(Router::new(), |router, endpoint| router.route(endpoint.path, (endpoint.route)(served.clone())));
    routes
        .fallback(async || {
            Problem::new(Fault::NotFound, "there is nothing at this path", "see GET /v1/openapi.json for what there is")
        })
        .method_not_allowed_fallback(async || {
            let hint = "see GET /v1/openapi.json for what there is";
            Problem::new(Fault::MethodNotAllowed, "this path is not used with this method", hint)
        })
}
