//! Responses that two readers might take for different ones, and instances that answer before they were asked to the end. Whichever way a
//! response takes, a client is sent what was understood of it, or told that nothing was, and no other client is sent any of it.

use crate::{
    rig::{Rig, full, running, service, whole},
    upstream::{read_head, rude},
};
use http::Request;
use model::{ServiceRoutes, Span};
use tokio::io::AsyncWriteExt as _;

/// What an instance says before it hangs up, and what a client is given: nothing, where it is told that the service broke.
struct Case {
    name: &'static str,
    said: &'static str,
    given: Option<(u16, &'static str)>,
}

const fn case(name: &'static str, said: &'static str, given: Option<(u16, &'static str)>) -> Case {
    Case { name, said, given }
}

const CASES: &[Case] = &[
    case("a length", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", Some((200, "hello"))),
    case(
        "one length twice",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\nhello",
        Some((200, "hello")),
    ),
    case("two lengths", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!", None),
    case("a list of lengths", "HTTP/1.1 200 OK\r\ncontent-length: 5, 5\r\n\r\nhello", None),
    case("a length with a sign", "HTTP/1.1 200 OK\r\ncontent-length: +5\r\n\r\nhello", None),
    case(
        "chunks and a length that is shorter",
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        Some((200, "hello")),
    ),
    case(
        "chunks and a length that is longer",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 300\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        Some((200, "hello")),
    ),
    case("a coding nobody knows", "HTTP/1.1 200 OK\r\ntransfer-encoding: xchunked\r\n\r\nhello", None),
    case("a coding that was not asked for", "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nhello", None),
    case(
        "a coding below the chunks",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        None,
    ),
    case(
        "chunked twice",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        None,
    ),
    case("chunks in HTTP/1.0", "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", None),
    case("a folded line", "HTTP/1.1 200 OK\r\nx: 1\r\n 2\r\ncontent-length: 5\r\n\r\nhello", None),
    case("a blank before the colon", "HTTP/1.1 200 OK\r\ncontent-length : 5\r\n\r\nhello", None),
    case("a carriage return alone", "HTTP/1.1 200 OK\r\nx: 1\ry: 2\r\ncontent-length: 5\r\n\r\nhello", None),
    case("a null byte", "HTTP/1.1 200 OK\r\nx: \0\r\ncontent-length: 5\r\n\r\nhello", None),
    case("another protocol that nobody has asked for", "HTTP/1.1 101 Switching\r\nupgrade: x\r\n\r\nhello", None),
    case("a version nobody knows", "HTTP/3.0 200 OK\r\ncontent-length: 5\r\n\r\nhello", None),
    case("a status that is none", "HTTP/1.1 099 OK\r\ncontent-length: 5\r\n\r\nhello", None),
    case(
        "interim responses before it",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
        Some((200, "hello")),
    ),
    // What has no body has none, whatever is behind it.
    case("a body where none can be", "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\n\r\nhidden", Some((204, ""))),
    case("likewise with a length", "HTTP/1.1 304 Not Modified\r\ncontent-length: 6\r\n\r\nhidden", Some((304, ""))),
    case(
        "another response behind it",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nhidden",
        Some((200, "hello")),
    ),
];

/// Services whose requests take the short way and hyper's.
fn both_ways(plain: &ServiceRoutes) -> [ServiceRoutes; 2] {
    let mut longer = plain.clone();
    longer.traffic.hedge_after = Some(Span::seconds(60));
    [plain.clone(), longer]
}

#[tokio::test]
async fn a_response_is_understood_in_one_way_or_not_at_all() {
    let mut wrong = String::new();
    let mut rig = Rig::start().await;
    for Case { name, said, given } in CASES {
        let instance = rude(move |mut stream, _| async move {
            stream.write_all(said.as_bytes()).await.unwrap();
            // Whatever is asked next on this connection is answered with this.
            read_head(&mut stream).await;
        });
        let shop = service(vec![running(&[instance.await])]);
        for (way, shop) in ["short", "long"].into_iter().zip(both_ways(&shop)) {
            rig.serve(vec![shop]).await;
            // Twice: what is left over must not be the answer to another one.
            for _ in 0..2 {
                let (status, body) = rig.get("/").await;
                let fits = match given {
                    Some((expected, text)) => status == *expected && body == *text,
                    None => status == 502,
                };
                if !fits {
                    wrong.push_str(&format!("{name}, the {way} way: {status} {body:?}\n"));
                }
            }
            let (status, body) = rig.send(Request::head("/")).await;
            if status != given.map_or(502, |(expected, _)| expected) || !body.is_empty() {
                wrong.push_str(&format!("{name}, a HEAD, the {way} way: {status} {body:?}\n"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    rig.stop().await;
}

#[tokio::test]
async fn an_answer_that_comes_before_the_whole_request_is_given_also_when_its_instance_hangs_up() {
    let mut rig = Rig::start().await;
    let refusing = rude(|mut stream, _| async move {
        let answer = "HTTP/1.1 413 Payload Too Large\r\ncontent-length: 8\r\nconnection: close\r\n\r\ntoo much";
        stream.write_all(answer.as_bytes()).await.unwrap();
    });
    rig.serve(vec![service(vec![running(&[refusing.await])])]).await;
    for _ in 0..20 {
        let answer = whole(rig.open(Request::post("/"), full(vec![0; 4 << 20])).await).await;
        assert_eq!(answer, (413, "too much".into()));
    }
    let tally = rig.tally(1, |tally| tally.answered == 20).await;
    assert_eq!(tally.failed(), 0, "its release is not to blame");
}
