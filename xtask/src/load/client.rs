//! One client: at most one connection, kept open from request to request.

use super::{
    generator::Plan,
    mix::Shot,
    tally::{Finished, Outcome},
};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response,
    body::Incoming,
    client::conn::http1::{SendRequest, handshake},
    header::{CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use std::{error::Error as StdError, io::ErrorKind, sync::Arc};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};

type Connection = SendRequest<Full<Bytes>>;

/// Sends one request after the other.
pub(crate) struct Client {
    plan: Arc<Plan>,
    connection: Option<Connection>,
    connects: u64,
}

/// How a request failed, for the tally and for people.
type Failed = (Outcome, String);

impl Client {
    /// A client without a connection.
    pub(crate) fn new(plan: Arc<Plan>) -> Client {
        Client { plan, connection: None, connects: 0 }
    }

    /// Sends a request, reads the whole answer, and says what became of it and, where it failed, why. The latency counts
    /// from `due`, the time limit from now.
    pub(crate) async fn send(&mut self, shot: &Shot, due: Instant) -> (Finished, String) {
        let limit = self.plan.timeout;
        let (outcome, label, why) = match timeout(limit, self.attempt(shot)).await {
            Ok(Ok((status, label))) => (Outcome::Answered(status), label, format!("status {status}")),
            Ok(Err((outcome, why))) => (outcome, None, why),
            Err(_) => (Outcome::TimedOut, None, format!("not answered in {} ms", limit.as_millis())),
        };
        (Finished { outcome, latency: due.elapsed(), connects: std::mem::take(&mut self.connects), label }, why)
    }

    /// The status and the label of a whole answer. Only a whole answer leaves a connection behind.
    async fn attempt(&mut self, shot: &Shot) -> Result<(u16, Option<String>), Failed> {
        let (connection, response) = self.response(shot).await?;
        let status = response.status().as_u16();
        let label = self.plan.by.as_ref().and_then(|by| response.headers().get(by)?.to_str().ok()).map(str::to_owned);
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            frame.map_err(|error| (Outcome::Truncated, explained(&error)))?;
        }
        self.connection = Some(connection);
        Ok((status, label))
    }

    /// Sends on the open connection if there is one. Where it turns out to have been closed before anything was written,
    /// the request goes out on a new one, as every client does: nobody was harmed. After the first byte it has failed.
    async fn response(&mut self, shot: &Shot) -> Result<(Connection, Response<Incoming>), Failed> {
        let mut request = self.request(shot)?;
        if let Some(mut connection) = self.connection.take()
            && connection.ready().await.is_ok()
        {
            match connection.try_send_request(request).await {
                Ok(response) => return Ok((connection, response)),
                Err(mut error) => match error.take_message() {
                    None => return Err((Outcome::Reset, explained(error.error()))),
                    Some(unsent) => request = unsent,
                },
            }
        }
        let mut connection = self.connect().await?;
        match connection.send_request(request).await {
            Ok(response) => Ok((connection, response)),
            Err(error) => Err((Outcome::Reset, explained(&error))),
        }
    }

    async fn connect(&mut self) -> Result<Connection, Failed> {
        self.connects += 1;
        let stream = TcpStream::connect(self.plan.address).await.map_err(|error| {
            let refused = error.kind() == ErrorKind::ConnectionRefused;
            (if refused { Outcome::Refused } else { Outcome::Unreachable }, error.to_string())
        })?;
        // Where this is refused, small requests leave a little later: that is measured, not an error.
        let _ = stream.set_nodelay(true);
        let (sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(|error| (Outcome::Unreachable, explained(&error)))?;
        // Ends when the sender is dropped or the other side closes. Its errors are those of the request as well.
        tokio::spawn(async move { drop(connection.await) });
        Ok(sender)
    }

    fn request(&self, shot: &Shot) -> Result<Request<Full<Bytes>>, Failed> {
        let mut request = Request::builder().method(&shot.method).uri(&shot.path).header(HOST, &self.plan.host);
        if !shot.body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        request.body(Full::new(shot.body.clone())).map_err(|error| (Outcome::Unreachable, error.to_string()))
    }
}

/// An error with its sources: hyper's own texts are terse.
fn explained(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{generator::Pace, mix::Mix};
    use std::{net::SocketAddr, time::Duration};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    /// What one request becomes when the service writes this to each connection and closes it; `None`: it is never
    /// answered.
    async fn outcome(written: Option<&'static str>) -> Outcome {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = [0; 1024];
            let read = stream.read(&mut head).await.unwrap();
            assert!(read > 0);
            match written {
                Some(text) => stream.write_all(text.as_bytes()).await.unwrap(),
                None => std::future::pending().await,
            }
        });
        let outcome = send(address, if written.is_some() { 10_000 } else { 50 }).await;
        service.abort();
        outcome
    }

    async fn send(address: SocketAddr, timeout_ms: u64) -> Outcome {
        let mix = Mix::parse(&["GET /"]).unwrap();
        let shot = mix.pick(1, 1).clone();
        let plan = Plan {
            address,
            host: "test".into(),
            mix,
            connections: 1,
            pace: Pace::Closed,
            timeout: Duration::from_millis(timeout_ms),
            by: None,
            seed: 1,
        };
        Client::new(Arc::new(plan)).send(&shot, Instant::now()).await.0.outcome
    }

    #[tokio::test]
    async fn each_way_to_end_is_told_apart() {
        assert_eq!(outcome(Some("HTTP/1.1 204 No Content\r\n\r\n")).await, Outcome::Answered(204));
        assert_eq!(outcome(Some("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")).await, Outcome::Answered(200));
        assert_eq!(outcome(Some("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok")).await, Outcome::Truncated);
        assert_eq!(outcome(Some("HTTP/1.1 200 O")).await, Outcome::Reset);
        assert_eq!(outcome(Some("")).await, Outcome::Reset);
        assert_eq!(outcome(None).await, Outcome::TimedOut);
    }

    #[tokio::test]
    async fn a_port_nobody_listens_on_refuses() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        assert_eq!(send(address, 10_000).await, Outcome::Refused);
    }
}
