//! What is ours and reads what strangers send, under mutated inputs: the corpus in `fuzz/corpus`, and what becomes of it when bytes are
//! turned over, cut out, doubled, and put together from several of its files.
//!
//! A part of every test run, briefly. For longer: `FUZZ_SECONDS=600 cargo test --release -p proxy fuzz`. An input that breaks a
//! claim is written to the corpus, so that it is tried for ever after.

use crate::{
    access_log,
    admit::Asked as _,
    assign::Random,
    compress::Coding,
    dates::Dates,
    edits,
    listen::Begins,
    origin::Origin,
    plain::{
        chunks::Chunks,
        request::Plain,
        response::{Added, Found, Framing, understand},
    },
    proxy_header,
    settings::Settings,
    table::{Way, route::Route},
};
use model::{RouteMatch, Then};
use std::{
    env, fs,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// How many mutations of each target a test run tries.
const BRIEFLY: u32 = 4_000;

/// The longest input.
const LONGEST: usize = 4096;

/// Bytes that mean something somewhere.
const TELLING: &[u8] = b"\r\n\t :;,/.?=\0\x7f\xff0";

/// Holds a claim against the corpus of a target and what becomes of it.
fn hunt(target: &str, claim: impl Fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut paths: Vec<PathBuf> = fs::read_dir(&corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let seeds: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
    assert!(!seeds.is_empty());
    let hold = |input: &[u8]| {
        if let Err(broken) = catch_unwind(AssertUnwindSafe(|| claim(input))) {
            let found = corpus.join(format!("found_{:016x}", crate::assign::unit_hash(input, 0)));
            fs::write(&found, input).unwrap();
            eprintln!("a claim about {target} is broken by {}", found.display());
            resume_unwind(broken);
        }
    };
    seeds.iter().for_each(|seed| hold(seed));
    let seconds = env::var("FUZZ_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    let until = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    // Each longer hunt goes elsewhere; each brief one the same way.
    let random = Random::new(until.is_none().then_some(7));
    let mut tried = 0;
    while until.map_or(tried < BRIEFLY, |until| Instant::now() < until) {
        tried += 1;
        hold(&mutated(&seeds, &random));
    }
}

/// An input that differs a little from one of these.
fn mutated(seeds: &[Vec<u8>], random: &Random) -> Vec<u8> {
    let any = || &seeds[random.below(seeds.len())];
    let mut input = any().clone();
    for _ in 0..=random.below(4) {
        let at = random.below(input.len() + 1);
        let end = (at + 1 + random.below(16)).min(input.len());
        match random.below(7) {
            0 if at < input.len() => input[at] ^= 1 << random.below(8),
            1 if at < input.len() => input[at] = random.next() as u8,
            2 => input.insert(at, TELLING[random.below(TELLING.len())]),
            3 => drop(input.drain(at.min(end)..end)),
            4 => {
                let piece = input[at.min(end)..end].to_vec();
                input.splice(at..at, piece);
            }
            5 => {
                let other = any();
                let from = random.below(other.len() + 1);
                input.splice(at.., other[from..].iter().copied());
            }
            _ => {
                let pieces: [&[u8]; 6] = [
                    b"\r\nTransfer-Encoding: chunked",
                    b"\r\nContent-Length: 7",
                    b"\r\n\r\n",
                    b"\r\nhost: h",
                    b"\r\nconnection: close",
                    b" HTTP/1.1\r\n",
                ];
                input.splice(at..at, pieces[random.below(6)].iter().copied());
            }
        }
    }
    input.truncate(LONGEST);
    input
}

#[test]
fn a_request_is_sent_on_as_one_request_and_the_same() {
    let origin = Origin::new("192.0.2.1".parse().unwrap(), Begins::InClear);
    hunt("request", |input| {
        let Some(plain) = Plain::read(input) else { return };
        assert!(plain.length <= input.len());
        let sent = plain.forwarded(plain.target, &origin, &Random::new(Some(1)), &edits::NONE);
        let again = Plain::read(&sent).expect("what is sent is plain");
        assert_eq!(again.length, sent.len(), "nothing is left over that could be another request");
        assert_eq!((again.method(), again.target(), again.host()), (plain.method(), plain.target(), plain.host()));
        // Whatever reads it by the book reads the same.
        let mut fields = [httparse::EMPTY_HEADER; 128];
        let mut request = httparse::Request::new(&mut fields);
        assert_eq!(request.parse(&sent), Ok(httparse::Status::Complete(sent.len())));
        let count = |wanted: &str| {
            // What reads requests as CGI does.
            let names = request.headers.iter().map(|field| field.name.to_ascii_lowercase().replace('_', "-"));
            names.filter(|name| name == wanted).count()
        };
        assert_eq!(count("content-length") + count("transfer-encoding"), 0, "it has no body");
        assert_eq!(count("client-cert") + count("client-cert-chain"), 0, "nobody says so but us");
        assert_eq!((count("x-forwarded-for"), count("x-forwarded-proto"), count("x-forwarded-host")), (1, 1, 1));
    });
}

#[test]
fn a_response_is_passed_on_as_one_response_with_one_end() {
    hunt("response", |input| {
        for to_head in [false, true] {
            let dates = Dates::default();
            let added = Added { edits: &edits::NONE, cookie: None, hsts: None, closes: false, dates: &dates };
            let Ok(Found::Final(head, out)) = understand(input, to_head, |answer| answer.write(&added)) else {
                continue;
            };
            assert!(head.size <= input.len());
            let mut fields = [httparse::EMPTY_HEADER; 128];
            let mut response = httparse::Response::new(&mut fields);
            assert_eq!(response.parse(&out), Ok(httparse::Status::Complete(out.len())));
            assert_eq!(response.code, Some(head.status));
            let count =
                |wanted: &str| response.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(wanted)).count();
            let (lengths, codings) = (count("content-length"), count("transfer-encoding"));
            match head.framing {
                Framing::Chunked | Framing::UntilClose => assert_eq!((lengths, codings), (0, 1)),
                Framing::Length(_) => assert_eq!((lengths, codings), (1, 0)),
                Framing::Empty => assert!(lengths <= 1 && codings == 0),
            }
        }
    });
}

#[test]
fn a_chunked_body_ends_where_it_ends_however_it_comes() {
    hunt("chunks", |input| {
        let mut whole = Chunks::new();
        let at_once = whole.take(input);
        let mut parts = Chunks::new();
        let mut taken = 0;
        let by_byte = input.iter().try_for_each(|byte| {
            taken += parts.take(&[*byte])?;
            Ok::<_, crate::plain::chunks::Malformed>(())
        });
        assert_eq!(at_once.is_ok(), by_byte.is_ok());
        if at_once.is_ok() {
            assert_eq!((at_once, whole), (Ok(taken), parts));
        }
    });
}

#[test]
fn a_header_of_a_balancer_is_read_within_its_bounds() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    hunt("proxy_header", |input| {
        let mut rest = input;
        let said = runtime.block_on(proxy_header::read(&mut rest));
        let read = &input[..input.len() - rest.len()];
        assert!(read.len() <= 16 + 4096);
        if said.is_ok() {
            assert!(
                read.starts_with(b"PROXY ") && read.ends_with(b"\r\n") || read.starts_with(b"\r\n\r\n\0\r\nQUIT\n")
            );
        }
    });
}

#[test]
fn lists_of_strangers_are_read_without_harm() {
    let settings = Settings { forwarded_by: vec!["10.0.0.0/8".parse().unwrap()], ..Settings::default() };
    hunt("forwarded", |input| {
        let last = input.rsplit(|byte| *byte == b',').next().unwrap_or_default().trim_ascii();
        let found = crate::origin::believed(&[input], &settings);
        if let Some(ip) = str::from_utf8(last).ok().and_then(|last| last.parse().ok()) {
            assert!(found == Some(ip) || settings.believes(ip), "whoever is not believed ends the chain");
        }
    });
    hunt("encodings", |input| {
        let _ = Coding::accepted([input].into_iter());
    });
    let rewrite = RouteMatch { then: Then::Rewrite("/".into()), ..RouteMatch::prefix(None, "/api") };
    let route = Route::new((0, None), &rewrite, None).unwrap();
    hunt("paths", |input| {
        let Ok(target) = str::from_utf8(input) else { return };
        // As routes match it, and as targets are once they are read.
        let below = target.strip_prefix("/api").filter(|rest| rest.is_empty() || rest.starts_with(['/', '?']));
        if below.is_none() || target.bytes().any(|byte| !byte.is_ascii_graphic()) {
            return;
        }
        let Way::As(moved) = route.way(target) else { panic!("it is not rewritten") };
        assert!(moved.starts_with('/') && !moved.starts_with("//"), "{target} → {moved}");
        assert!(!access_log::without_query(moved).contains('?'));
    });
}
