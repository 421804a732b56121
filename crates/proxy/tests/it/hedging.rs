//! A second try beside a slow first one: who wins, what becomes of the other, and when there is none.

use crate::{
    rig::{Rig, canary, full, running, service, soon, whole},
    upstream::good,
};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use model::{Concurrency, Protocol, ServiceRoutes, Span, Tally};
use std::{future::pending, io, net::SocketAddr, sync::Arc};
use tokio::{net::TcpListener, sync::watch};

/// Two instances that number the requests of both: those with odd numbers are not answered, the others are.
struct Pair {
    addresses: [SocketAddr; 2],
    seen: Arc<Seen>,
}

/// What becomes of odd ones.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Odd {
    Hang,
    /// When the even one has come. That is answered after it.
    Break,
}

#[derive(Default)]
struct Seen {
    asked: watch::Sender<usize>,
    /// How many odd ones are over.
    over: watch::Sender<usize>,
}

/// An odd request, until it is over.
struct Held(Arc<Seen>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.over.send_modify(|over| *over += 1);
    }
}

impl Pair {
    async fn open(protocol: Protocol, odd: Odd) -> Pair {
        let seen = Arc::new(Seen::default());
        let mut addresses = ["127.0.0.1:1".parse().unwrap(); 2];
        for address in &mut addresses {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            *address = listener.local_addr().unwrap();
            let seen = Arc::clone(&seen);
            tokio::spawn(async move {
                loop {
                    let stream = TokioIo::new(listener.accept().await.unwrap().0);
                    let seen = Arc::clone(&seen);
                    let service = service_fn(move |_: Request<Incoming>| Arc::clone(&seen).answer(odd));
                    match protocol {
                        Protocol::Http1 => drop(tokio::spawn(http1::Builder::new().serve_connection(stream, service))),
                        Protocol::Http2 => {
                            let builder = http2::Builder::new(TokioExecutor::new());
                            drop(tokio::spawn(builder.serve_connection(stream, service)));
                        }
                    }
                }
            });
        }
        Pair { addresses, seen }
    }

    fn asked(&self) -> usize {
        *self.seen.asked.borrow()
    }

    async fn until_over(&self, count: usize) {
        let mut over = self.seen.over.subscribe();
        soon("the slow one to be let go", over.wait_for(|over| *over == count)).await.unwrap();
    }
}

impl Seen {
    async fn answer(self: Arc<Seen>, odd: Odd) -> io::Result<Response<Full<Bytes>>> {
        let mut number = 0;
        self.asked.send_modify(|asked| {
            *asked += 1;
            number = *asked;
        });
        if !number.is_multiple_of(2) {
            let _held = Held(Arc::clone(&self));
            if odd == Odd::Hang {
                pending().await
            }
            let _ = self.asked.subscribe().wait_for(|asked| *asked > number).await;
            return Err(io::Error::other("as it was told"));
        }
        if odd == Odd::Break {
            let _ = self.over.subscribe().wait_for(|over| *over == number / 2).await;
        }
        Ok(Response::new(Full::from("even")))
    }
}

/// One release with these instances. Who is not answered soon is asked for twice.
fn hedged(addresses: &[SocketAddr]) -> ServiceRoutes {
    let mut shop = service(vec![running(addresses)]);
    shop.traffic.hedge_after = Some(Span(20));
    shop.traffic.response_timeout = Span(400);
    shop
}

fn all_answered(count: u64) -> impl Fn(&Tally) -> bool {
    move |tally| tally.answered == count
}

#[tokio::test]
async fn a_slow_request_is_answered_by_another_instance_and_the_slow_one_is_let_go() {
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let pair = Pair::open(protocol, Odd::Hang).await;
        let mut rig = Rig::start().await;
        let mut shop = hedged(&pair.addresses);
        shop.traffic.protocol = protocol;
        shop.traffic.response_timeout = Span::seconds(60);
        rig.serve(vec![shop]).await;
        for round in 1..=3 {
            assert_eq!(rig.get("/").await, (200, "even".to_owned()), "{protocol:?}");
            pair.until_over(round).await;
            let counted = |tally: &Tally| tally.answered == round as u64;
            let tally = rig.tally(1, counted).await;
            assert_eq!((tally.hedged, tally.hedges_won, tally.retried), (round as u64, round as u64, 0));
            assert_eq!((tally.total(), tally.cancelled), (round as u64, 0), "one request, counted once");
        }
        let idle = |report: &model::ProxyReport| report.instances.iter().all(|instance| instance.in_flight == 0);
        rig.control.until("nobody busy", idle).await;
        rig.stop().await;
    }
}

#[tokio::test]
async fn a_first_try_that_breaks_leaves_it_to_the_second_one() {
    let pair = Pair::open(Protocol::Http1, Odd::Break).await;
    let mut rig = Rig::start().await;
    let mut shop = hedged(&pair.addresses);
    shop.traffic.response_timeout = Span::seconds(60);
    rig.serve(vec![shop]).await;
    assert_eq!(rig.get("/").await, (200, "even".to_owned()));
    let tally = rig.tally(1, all_answered(1)).await;
    assert_eq!((tally.hedged, tally.hedges_won, tally.retried, tally.total()), (1, 1, 0, 1));
    assert_eq!(pair.asked(), 2);
}

#[tokio::test]
async fn what_changes_something_has_a_body_or_wants_another_protocol_is_sent_once() {
    let (pair, mut rig) = (Pair::open(Protocol::Http1, Odd::Hang).await, Rig::start().await);
    rig.serve(vec![hedged(&pair.addresses)]).await;
    let upgrade = Request::get("/").header("connection", "upgrade").header("upgrade", "websocket");
    let requests = [
        (Request::post("/"), ""),
        (Request::put("/"), ""),
        (Request::delete("/"), ""),
        (Request::get("/"), "a body"),
        (upgrade, ""),
    ];
    for (request, body) in requests {
        let asked = pair.asked();
        let told = format!("{request:?}");
        assert_eq!(whole(rig.open(request, full(body)).await).await.0, 504, "{told}");
        assert_eq!(pair.asked(), asked + 1, "{told}");
        // The next odd one.
        assert_eq!(rig.get("/").await.0, 200);
    }
    assert_eq!(rig.tally(1, all_answered(5)).await.hedged, 0);
}

#[tokio::test]
async fn nobody_is_asked_twice_where_there_is_no_other_instance_or_no_room() {
    let (pair, mut rig) = (Pair::open(Protocol::Http1, Odd::Hang).await, Rig::start().await);
    rig.serve(vec![hedged(&pair.addresses[..1])]).await;
    assert_eq!((rig.get("/").await.0, pair.asked()), (504, 1));
    // Another release is no other instance.
    let mut compared = canary(0, &pair.addresses[..1], &[good("other").await], None);
    compared.traffic = hedged(&[]).traffic;
    rig.serve(vec![compared]).await;
    assert_eq!((rig.get("/").await.0, rig.get("/").await.0, pair.asked()), (200, 504, 3));
    let mut full_house = hedged(&pair.addresses);
    full_house.traffic.concurrency = Some(Concurrency::Fixed(1));
    rig.serve(vec![full_house]).await;
    assert_eq!((rig.get("/").await.0, rig.get("/").await.0, pair.asked()), (200, 504, 5));
    let tally = rig.tally(1, |tally| tally.timeout == 3).await;
    assert_eq!(tally.hedged, 0);
}

#[tokio::test]
async fn few_requests_are_asked_twice() {
    let (pair, mut rig) = (Pair::open(Protocol::Http1, Odd::Hang).await, Rig::start().await);
    let mut shop = hedged(&pair.addresses);
    shop.traffic.response_timeout = Span(600);
    rig.serve(vec![shop]).await;
    let mut answers = Vec::new();
    for _ in 0..20 {
        answers.push(rig.get("/").await.0);
    }
    assert_eq!(answers[..10], [200; 10], "from the stock");
    let tally = rig.tally(1, |tally| tally.total() == 20).await;
    assert!((10..=14).contains(&tally.hedged), "one in five and ten: {}", tally.hedged);
    assert!(tally.timeout > 0 && tally.hedges_won <= tally.hedged, "{tally:?}");
}

#[tokio::test]
async fn an_instance_that_loses_again_and_again_is_not_left_out_for_it() {
    let mut rig = Rig::start().await;
    // By this path the first never answers, by others it does.
    let slow = crate::upstream::kitchen("slow").await;
    let mut shop = hedged(&[slow.address, good("quick").await]);
    shop.traffic.response_timeout = Span::seconds(60);
    rig.serve(vec![shop]).await;
    let held = slow.hold();
    let mut rounds = 0;
    while slow.asked() < 7 {
        assert_eq!(rig.get("/name").await, (200, "quick".to_owned()));
        rounds += 1;
    }
    let tally = rig.tally(1, all_answered(rounds)).await;
    assert_eq!((tally.hedged, tally.hedges_won), (7, 7));
    drop(held);
    let mut seen = false;
    for _ in 0..40 {
        seen |= rig.get("/name").await.1.starts_with("slow");
    }
    assert!(seen, "it gets requests as before");
}
