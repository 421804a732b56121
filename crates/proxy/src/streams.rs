//! The streams of one HTTP/2 connection: tasks of the thread it is on, each given up when its client takes nothing.
//!
//! A client says by its window how much it takes, and hyper asks a body for more only when there is room. A window that is
//! never opened would hold a response, its instance's connection, and a place among the streams for as long as the client
//! likes; so the one who runs the task looks at whether the body waits to be asked.

use crate::patience::Patience;
use hyper::rt::Executor;
use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    pin::pin,
    rc::Rc,
    task::Poll,
    time::{Duration, Instant},
};

/// Since when a body has waited to be asked for more.
#[derive(Default)]
pub(crate) struct Stall(Cell<Option<Instant>>);

impl Stall {
    /// It was asked.
    pub(crate) fn ends(&self) {
        self.0.set(None);
    }

    /// It has given something, and there is more.
    pub(crate) fn begins(&self) {
        self.0.set(Some(Instant::now()));
    }
}

/// Runs streams, and tells each of them which one it is.
#[derive(Clone)]
pub(crate) struct Streams {
    current: Rc<RefCell<Option<Rc<Stall>>>>,
    limit: Duration,
}

impl Streams {
    /// Of a connection whose client may take nothing for so long.
    pub(crate) fn new(limit: Duration) -> Streams {
        Streams { current: Rc::default(), limit }
    }

    /// The stream that is being polled; `None` outside of one.
    pub(crate) fn current(&self) -> Option<Rc<Stall>> {
        self.current.borrow().clone()
    }
}

impl<F> Executor<F> for Streams
where
    F: Future<Output: 'static> + 'static,
{
    fn execute(&self, stream: F) {
        let Streams { current, limit } = self.clone();
        tokio::task::spawn_local(async move {
            let mut stream = pin!(stream);
            let stall = Rc::<Stall>::default();
            let mut patience = None;
            // Dropped when it is given up, which resets it for the client.
            poll_fn(|cx| {
                current.replace(Some(Rc::clone(&stall)));
                let polled = stream.as_mut().poll(cx).map(drop);
                current.replace(None);
                match (polled, stall.0.get()) {
                    (Poll::Pending, Some(since)) => patience.get_or_insert_with(Patience::new).poll(cx, since + limit),
                    (polled, _) => polled,
                }
            })
            .await;
        });
    }
}
