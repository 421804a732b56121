//! The requests: which there are, and what each answers.
//!
//! Every answer carries `x-shop-version`, so that whoever counts can tell releases apart. Faults touch the shop's pages,
//! never `/healthz`: a release that fails its customers looks healthy, which is what makes it worth catching.

use crate::{
    catalogue::{Cart, GOODS},
    dice::Dice,
    events::{BreaksOff, Ticks},
    settings::Settings,
};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited, combinators::UnsyncBoxBody};
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use serde_json::json;
use std::{cell::Cell, convert::Infallible, future::Future, io, pin::Pin, rc::Rc, time::Duration};
use tokio::{net::TcpListener, sync::watch, task::spawn_local, time::sleep};

/// How long open requests may go on after the order to stop.
const DRAIN_DEADLINE: Duration = Duration::from_secs(20);
/// The largest request body read, in bytes.
const MAX_BODY: usize = 64 << 10;

type Answer = Response<UnsyncBoxBody<Bytes, io::Error>>;

struct Shop {
    settings: Rc<Settings>,
    dice: Dice,
    orders: Cell<u64>,
    closing: watch::Receiver<bool>,
}

/// Serves until `stop`, then takes no new connections, ends idle ones, and finishes requests that were begun.
pub(crate) async fn run(listener: TcpListener, settings: Rc<Settings>, mut stop: Pin<&mut impl Future<Output = ()>>) {
    let (close, closing) = watch::channel(false);
    let seed = if settings.seed == 0 { u64::from(std::process::id()) << 17 } else { settings.seed };
    let shop = Rc::new(Shop { dice: Dice::new(seed), orders: Cell::new(0), closing, settings });
    let connections = GracefulShutdown::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                // Out of file descriptors, say. The next attempt waits, so that it does not spin.
                Err(_) => { sleep(Duration::from_millis(50)).await; continue }
            },
            () = &mut stop => break,
        };
        // Small answers leave at once. Where this is refused they leave a little later: nothing is lost.
        let _ = stream.set_nodelay(true);
        let shop = shop.clone();
        let service = service_fn(move |request| {
            let shop = shop.clone();
            async move { Ok::<_, Infallible>(shop.answer(request).await) }
        });
        let connection = http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
        // A connection that fails was broken by its client, or on purpose; both are counted by whoever watches.
        spawn_local(watch_quietly(connections.watcher().watch(connection)));
    }
    drop(listener);
    close.send_replace(true);
    tokio::select! {
        () = connections.shutdown() => {}
        () = sleep(DRAIN_DEADLINE) => {}
    }
}

async fn watch_quietly<E>(connection: impl Future<Output = Result<(), E>>) {
    let _ = connection.await;
}

impl Shop {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let settings = &self.settings;
        let path = request.uri().path().to_owned();
        if path != "/healthz" && self.dice.falls(settings.slow_share) {
            sleep(Duration::from_millis(settings.slow_ms)).await;
        }
        let mut answer = match (request.method(), path.as_str()) {
            (&Method::GET, "/") => self.page(),
            (&Method::GET, "/healthz") => self.health(),
            (&Method::GET, "/api/goods") => self.json(StatusCode::OK, &json!({ "goods": GOODS })),
            (&Method::GET, "/events") => {
                let ticks = Ticks::new(&settings.version, self.closing.clone());
                with_type(StatusCode::OK, "text/event-stream", ticks.boxed_unsync())
            }
            (&Method::POST, "/api/cart") => self.cart(request).await,
            (&Method::POST, "/api/checkout") => self.checkout(request).await,
            (_, "/" | "/healthz" | "/events" | "/api/goods" | "/api/cart" | "/api/checkout") => {
                self.json(StatusCode::METHOD_NOT_ALLOWED, &json!({ "error": "not with this method" }))
            }
            _ => self.json(StatusCode::NOT_FOUND, &json!({ "error": "there is nothing here" })),
        };
        let headers = answer.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Ok(version) = HeaderValue::from_str(&settings.version) {
            headers.insert("x-shop-version", version);
        }
        answer
    }

    fn page(&self) -> Answer {
        let goods: String = GOODS
            .iter()
            .map(|good| {
                let (euros, cents) = (good.cents / 100, good.cents % 100);
                format!(
                    "<li><h2>{}</h2><p>{}</p><button data-good={}>€ {euros}.{cents:02}</button></li>",
                    good.name, good.about, good.id
                )
            })
            .collect();
        let version = self.settings.version.replace('&', "&amp;").replace('<', "&lt;");
        let page = include_str!("page.html").replace("{{version}}", &version).replace("{{goods}}", &goods);
        self.whole(StatusCode::OK, "text/html; charset=utf-8", page.into())
    }

    fn health(&self) -> Answer {
        let (status, text) = match self.settings.never_ready {
            false => (StatusCode::OK, "ok\n"),
            true => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
        };
        with_type(status, "text/plain", full(text.into()))
    }

    async fn cart(&self, request: Request<Incoming>) -> Answer {
        match read_cart(request).await.and_then(|cart| cart.price()) {
            Ok(priced) => self.json(StatusCode::OK, &json!(priced)),
            Err(why) => self.json(StatusCode::UNPROCESSABLE_ENTITY, &json!({ "error": why })),
        }
    }

    async fn checkout(&self, request: Request<Incoming>) -> Answer {
        match read_cart(request).await.and_then(|cart| cart.price()) {
            Err(why) => self.json(StatusCode::UNPROCESSABLE_ENTITY, &json!({ "error": why })),
            Ok(_) if self.dice.falls(self.settings.fail_share) => {
                self.json(StatusCode::INTERNAL_SERVER_ERROR, &json!({ "error": "the till is jammed" }))
            }
            Ok(priced) => {
                let order = self.orders.get() + 1;
                self.orders.set(order);
                self.json(StatusCode::OK, &json!({ "order": order, "total_cents": priced.total_cents }))
            }
        }
    }

    fn json(&self, status: StatusCode, value: &serde_json::Value) -> Answer {
        self.whole(status, "application/json", format!("{value}\n").into())
    }

    /// An answer whose body is all there, unless it is this one's turn to break off.
    fn whole(&self, status: StatusCode, content_type: &'static str, text: Bytes) -> Answer {
        let body = match self.dice.falls(self.settings.truncate_share) {
            true => BreaksOff::new(&text).boxed_unsync(),
            false => full(text),
        };
        with_type(status, content_type, body)
    }
}

async fn read_cart(request: Request<Incoming>) -> Result<Cart, String> {
    let body = Limited::new(request.into_body(), MAX_BODY).collect().await.map_err(|error| error.to_string())?;
    serde_json::from_slice(&body.to_bytes()).map_err(|error| format!("this is not a cart: {error}"))
}

fn full(text: Bytes) -> UnsyncBoxBody<Bytes, io::Error> {
    Full::new(text).map_err(|never| match never {}).boxed_unsync()
}

fn with_type(status: StatusCode, content_type: &'static str, body: UnsyncBoxBody<Bytes, io::Error>) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}
