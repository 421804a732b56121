//! One worker's side of the gates: it accepts from its own socket of each, as long as that is open.

use super::{
    gates::{Door, Opened},
    serve,
};
use crate::{
    lane::{Lane, Lanes},
    quiet::Quiet,
    worker::{ACCEPT_PAUSE, Worker, not_accepted},
};
use std::{cell::RefCell, collections::BTreeMap, io, net::SocketAddr, rc::Rc};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
};

/// The gates of one worker.
pub(crate) struct Entrances {
    worker: Rc<Worker>,
    /// Which worker it is.
    thread: usize,
    /// By the number of their door.
    open: BTreeMap<u64, Entrance>,
    trouble: Quiet,
}

struct Entrance {
    address: SocketAddr,
    known: Known,
    task: JoinHandle<()>,
    /// The task is told by the end of this that the address was given up.
    _open: oneshot::Sender<()>,
}

/// The service that has the address, or had it last: whoever connected before it was given up is still served.
type Known = Rc<RefCell<Option<Rc<Lane>>>>;

impl Entrances {
    /// None yet.
    pub(crate) fn new(worker: &Rc<Worker>, thread: usize) -> Entrances {
        Entrances { worker: Rc::clone(worker), thread, open: BTreeMap::new(), trouble: Quiet::default() }
    }

    /// Accepts from the doors that are open now, and no longer from others.
    pub(crate) fn follow(&mut self, lanes: &Lanes, opened: &Opened) {
        self.open.retain(|number, _| opened.doors.iter().any(|door| door.number == *number));
        for door in opened.doors.iter().filter(|door| door.thread == self.thread) {
            if self.open.contains_key(&door.number) {
                continue;
            }
            match self.enter(door) {
                Ok(entrance) => drop(self.open.insert(door.number, entrance)),
                // It is tried again with the next table, and when the worker looks after its idle connections.
                Err(error) => {
                    if let Some(withheld) = self.trouble.pass() {
                        tracing::error!(address = %door.address, %error, withheld, "connections wait to be accepted");
                    }
                }
            }
        }
        for entrance in self.open.values() {
            if let Some(lane) = lanes.find_tcp(entrance.address) {
                *entrance.known.borrow_mut() = Some(Rc::clone(lane));
            }
        }
    }

    /// Accepts from none any more: others do, or nobody.
    pub(crate) fn abandon(&mut self) {
        self.open.values().for_each(|entrance| entrance.task.abort());
        self.open.clear();
    }

    fn enter(&self, door: &Door) -> io::Result<Entrance> {
        let listener = TcpListener::from_std(door.socket.try_clone()?)?;
        let (open, given_up) = oneshot::channel();
        let known = Known::default();
        let accepting = Accepting { worker: Rc::clone(&self.worker), address: door.address, known: Rc::clone(&known) };
        let task = tokio::task::spawn_local(accepting.run(listener, given_up));
        Ok(Entrance { address: door.address, known, task, _open: open })
    }
}

/// What accepts from one socket.
struct Accepting {
    worker: Rc<Worker>,
    address: SocketAddr,
    known: Known,
}

impl Accepting {
    async fn run(self, listener: TcpListener, mut given_up: oneshot::Receiver<()>) {
        let (full, failing) = (Quiet::default(), Quiet::default());
        let mut pause = ACCEPT_PAUSE.0;
        loop {
            self.worker.room(&full).await;
            let accepted = tokio::select! {
                biased;
                _ = &mut given_up => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    pause = ACCEPT_PAUSE.0;
                    self.begin(stream, peer);
                }
                Err(error) => pause = not_accepted(&error, &failing, pause).await,
            }
        }
        if let Ok(listener) = listener.into_std() {
            self.take_the_last(&listener);
        }
    }

    /// The system has let in already whoever waits here; closing would break what they believe to have.
    fn take_the_last(&self, listener: &std::net::TcpListener) {
        while self.worker.has_room()
            && let Ok((stream, peer)) = listener.accept()
        {
            let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
            if let Ok(stream) = stream {
                self.begin(stream, peer);
            }
        }
    }

    fn begin(&self, stream: TcpStream, peer: SocketAddr) {
        let known = self.known.borrow().clone();
        tokio::task::spawn_local(serve(Rc::clone(&self.worker), stream, peer, self.address, known));
    }
}
