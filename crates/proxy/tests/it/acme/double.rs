//! An ACME authority for tests: small, but one that looks. It takes every nonce once, checks every signature, connects to
//! the proxy to see the proof, and signs the key of the request. What it finds wrong, it says and remembers.

use super::look;
use crate::pki::Authority;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, SystemTime},
};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// How it fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mood {
    /// It does not.
    Well,
    /// It is out of order.
    Down,
    /// It refuses every order.
    Refusing,
    /// It refuses every order until later, in seconds.
    Limiting(u64),
    /// It takes no more than every fourth nonce.
    Forgetful,
    /// Where it has looked in vain, it waits to be asked to look again.
    Waiting,
}

/// What it does, and what it has seen.
pub(crate) struct State {
    pub(crate) mood: Mood,
    /// Where it looks for proofs: in clear and by a handshake.
    pub(crate) looks_at: (Option<SocketAddr>, Option<SocketAddr>),
    /// Which challenges it offers.
    pub(crate) offers: Vec<&'static str>,
    /// How many seconds ago what it issues began, and in how many it ends.
    pub(crate) lifetime: (u64, u64),
    /// Every path it was asked for.
    pub(crate) asked: Vec<String>,
    /// How often it has looked in vain.
    pub(crate) unseen: u32,
    /// By which challenges it was shown a proof.
    pub(crate) proved: Vec<&'static str>,
    /// What no good client does.
    pub(crate) complaints: Vec<String>,
    /// How often a nonce was not taken.
    pub(crate) nonces_refused: u32,
    /// How often an account was not known.
    pub(crate) accounts_refused: u32,
    pub(crate) contacts: Vec<Value>,
    nonces: BTreeSet<String>,
    count: u64,
    keys: Vec<Value>,
    orders: BTreeMap<u64, Order>,
}

struct Order {
    host: String,
    account: usize,
    /// `pending`, `valid` or `invalid`.
    proof: &'static str,
    way: &'static str,
    /// Whether it has looked in vain.
    unseen: bool,
    certificate: Option<String>,
}

/// The authority.
#[derive(Clone)]
pub(crate) struct Double {
    pub(crate) base: String,
    pub(crate) issuer: Arc<Authority>,
    state: Arc<Mutex<State>>,
}

type Answer = (StatusCode, Value, Vec<(&'static str, String)>);

/// Who asks.
enum Asker {
    /// One of its accounts.
    Account(usize),
    /// Somebody with this key, for an account.
    Stranger(Value),
    /// An account that it does not know.
    Unknown,
    /// Somebody whose nonce it does not take.
    Stale,
}

impl Double {
    /// Listens, with a certificate of the authority's own.
    pub(crate) async fn start() -> Double {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = Arc::new(Authority::new());
        let (chain, key) = issuer.issue(&["127.0.0.1"], |_| {});
        let chain = vec![CertificateDer::from_pem_slice(chain.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let tls = TlsAcceptor::from(Arc::new(builder.with_no_client_auth().with_single_cert(chain, key).unwrap()));
        let state = State {
            mood: Mood::Well,
            looks_at: (None, None),
            offers: vec!["dns-01", "tls-alpn-01", "http-01"],
            lifetime: (3600, 90 * 86_400),
            asked: Vec::new(),
            unseen: 0,
            proved: Vec::new(),
            complaints: Vec::new(),
            nonces_refused: 0,
            accounts_refused: 0,
            contacts: Vec::new(),
            nonces: BTreeSet::new(),
            count: 0,
            keys: Vec::new(),
            orders: BTreeMap::new(),
        };
        let base = format!("https://{}", listener.local_addr().unwrap());
        let double = Double { base, issuer, state: Arc::new(Mutex::new(state)) };
        tokio::spawn({
            let double = double.clone();
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let (tls, double) = (tls.clone(), double.clone());
                    tokio::spawn(async move {
                        let Ok(stream) = tls.accept(stream).await else { return };
                        let service = service_fn(move |request| double.clone().serve(request));
                        let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                    });
                }
            }
        });
        double
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Forgets every account and every order, as one that keeps them in memory does when it is started again.
    pub(crate) fn forget(&self) {
        let mut state = self.state();
        // Numbers are not given twice.
        state.keys.iter_mut().for_each(|key| *key = Value::Null);
        state.orders.clear();
    }

    /// How many orders were made.
    pub(crate) fn orders(&self) -> usize {
        self.state().orders.len()
    }

    /// For whom.
    pub(crate) fn ordered(&self) -> Vec<String> {
        self.state().orders.values().map(|order| order.host.clone()).collect()
    }

    async fn serve(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
        let (head, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let path = head.uri.path().to_owned();
        self.state().asked.push(path.clone());
        let (status, value, fields) = match (&head.method, path.as_str()) {
            _ if self.state().mood == Mood::Down => (StatusCode::SERVICE_UNAVAILABLE, json!("out of order"), vec![]),
            (&Method::GET, "/directory") => (StatusCode::OK, self.directory(), vec![]),
            (&Method::HEAD, "/nonce") => (StatusCode::OK, Value::Null, vec![]),
            (&Method::POST, _) => {
                let jose = head.headers.get("content-type").is_some_and(|t| t == "application/jose+json");
                match self.read(&path, &body).filter(|_| jose) {
                    Some((asker, payload)) => self.answer(&path, asker, payload),
                    None => (StatusCode::BAD_REQUEST, problem("malformed", "not signed as it should be"), vec![]),
                }
            }
            _ => (StatusCode::NOT_FOUND, Value::Null, vec![]),
        };
        // A nonce that was not taken and an account that was lost are the server's doing.
        let ours = ["urn:ietf:params:acme:error:badNonce", "urn:ietf:params:acme:error:accountDoesNotExist"];
        if status == StatusCode::BAD_REQUEST && !ours.iter().any(|kind| value["type"] == *kind) {
            self.state().complaints.push(format!("{path}: {value} {}", String::from_utf8_lossy(&body)));
        }
        let body = match value {
            Value::Null => String::new(),
            Value::String(text) => text,
            Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
        };
        let mut response = Response::builder().status(status).header("replay-nonce", self.nonce());
        for (name, value) in fields {
            response = response.header(name, value);
        }
        Ok(response.body(Full::from(body)).unwrap())
    }

    fn directory(&self) -> Value {
        let at = |path: &str| format!("{}/{path}", self.base);
        json!({ "newNonce": at("nonce"), "newAccount": at("account"), "newOrder": at("order"), "meta": { "website": "x" } })
    }

    fn nonce(&self) -> String {
        let mut state = self.state();
        state.count += 1;
        let nonce = format!("nonce-{}", state.count);
        state.nonces.insert(nonce.clone());
        nonce
    }

    /// Who asks for what; `None`: nobody who may. Nonces are looked at last, so that a bad one is of a good question.
    fn read(&self, path: &str, body: &[u8]) -> Option<(Asker, Option<Value>)> {
        let body: Value = serde_json::from_slice(body).ok()?;
        let (protected, payload) = (body["protected"].as_str()?, body["payload"].as_str()?);
        let head: Value = serde_json::from_slice(&BASE64.decode(protected).ok()?).ok()?;
        let mut state = self.state();
        let (asker, key) = match (&head["kid"], &head["jwk"]) {
            (Value::String(kid), Value::Null) => {
                let number: usize = kid.strip_prefix(&format!("{}/account/", self.base))?.parse().ok()?;
                (Asker::Account(number), state.keys.get(number)?.clone())
            }
            (Value::Null, key) if path == "/account" => (Asker::Stranger(key.clone()), key.clone()),
            (_, _) => return None,
        };
        if key.is_null() {
            state.accounts_refused += 1;
            return Some((Asker::Unknown, None));
        }
        let coordinate = |name: &str| BASE64.decode(key[name].as_str()?).ok();
        let point = [&[4][..], &coordinate("x")?, &coordinate("y")?].concat();
        let signature = BASE64.decode(body["signature"].as_str()?).ok()?;
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
        key.verify(format!("{protected}.{payload}").as_bytes(), &signature).ok()?;
        let is_for_us = head["alg"] == "ES256" && head["url"] == format!("{}{path}", self.base);
        let payload = match payload {
            "" => None,
            payload => Some(serde_json::from_slice(&BASE64.decode(payload).ok()?).ok()?),
        };
        let is_fresh = state.nonces.remove(head["nonce"].as_str()?);
        let forgets = state.mood == Mood::Forgetful && !state.count.is_multiple_of(4);
        if !is_fresh {
            return None;
        }
        if forgets {
            state.nonces_refused += 1;
            return Some((Asker::Stale, None));
        }
        is_for_us.then_some((asker, payload))
    }

    fn answer(&self, path: &str, asker: Asker, payload: Option<Value>) -> Answer {
        let refused = |kind, detail| (StatusCode::BAD_REQUEST, problem(kind, detail), vec![]);
        let account = match asker {
            Asker::Account(account) => account,
            Asker::Stranger(key) => return self.register(key, payload),
            Asker::Unknown => return refused("accountDoesNotExist", "who are you?"),
            Asker::Stale => return refused("badNonce", "another one, please"),
        };
        let mut parts = path.split('/').skip(1);
        let (what, number) = (parts.next().unwrap_or_default(), parts.next().and_then(|n| n.parse().ok()));
        if what == "order" && number.is_none() {
            return self.order(account, &payload.unwrap_or_default());
        }
        if what == "account" {
            self.state().contacts.push(payload.unwrap_or_default()["contact"].clone());
            return (StatusCode::OK, json!({ "status": "valid" }), vec![]);
        }
        let number = number.unwrap_or_default();
        if self.state().orders.get(&number).is_none_or(|order| order.account != account) {
            return (StatusCode::BAD_REQUEST, problem("malformed", "somebody else's"), vec![]);
        }
        match (what, payload) {
            ("order", None) => (StatusCode::OK, self.shown(number), vec![]),
            ("authz", None) => (StatusCode::OK, self.authorization(number), vec![]),
            ("challenge", Some(Value::Object(empty))) if empty.is_empty() => {
                let way = if parts.next() == Some("http-01") { "http-01" } else { "tls-alpn-01" };
                tokio::spawn(self.clone().look(number, way));
                (StatusCode::OK, json!({ "type": way, "url": "x", "status": "processing", "token": "x" }), vec![])
            }
            ("finalize", Some(payload)) => self.finalize(number, &payload),
            ("certificate", None) => {
                let chain = self.state().orders[&number].certificate.clone().unwrap_or_default();
                (StatusCode::OK, Value::String(chain), vec![])
            }
            _ => (StatusCode::BAD_REQUEST, problem("malformed", "no such thing"), vec![]),
        }
    }

    fn register(&self, key: Value, payload: Option<Value>) -> Answer {
        let payload = payload.unwrap_or_default();
        if payload["termsOfServiceAgreed"] != true {
            return (StatusCode::BAD_REQUEST, problem("userActionRequired", "agree"), vec![]);
        }
        let mut state = self.state();
        let known = state.keys.iter().position(|known| *known == key);
        let number = known.unwrap_or_else(|| {
            state.keys.push(key);
            state.keys.len() - 1
        });
        state.contacts.push(payload["contact"].clone());
        let location = format!("{}/account/{number}", self.base);
        (StatusCode::CREATED, json!({ "status": "valid" }), vec![("location", location)])
    }

    fn order(&self, account: usize, payload: &Value) -> Answer {
        let mut state = self.state();
        match state.mood {
            Mood::Refusing => {
                return (StatusCode::FORBIDDEN, problem("rejectedIdentifier", "not this one, by policy"), vec![]);
            }
            Mood::Limiting(seconds) => {
                let told = problem("rateLimited", "too many orders");
                return (StatusCode::TOO_MANY_REQUESTS, told, vec![("retry-after", seconds.to_string())]);
            }
            Mood::Well | Mood::Down | Mood::Forgetful | Mood::Waiting => {}
        }
        let number = state.orders.len() as u64 + 1;
        let host = payload["identifiers"][0]["value"].as_str().unwrap_or_default().to_owned();
        let order = Order { host, account, proof: "pending", way: "", unseen: false, certificate: None };
        state.orders.insert(number, order);
        drop(state);
        let location = format!("{}/order/{number}", self.base);
        (StatusCode::CREATED, self.shown(number), vec![("location", location)])
    }

    fn shown(&self, number: u64) -> Value {
        let (state, at) = (self.state(), |path: &str| format!("{}/{path}/{number}", self.base));
        let order = &state.orders[&number];
        let status = match (order.proof, &order.certificate) {
            ("valid", None) => "ready",
            ("valid", Some(_)) => "valid",
            (other, _) => other,
        };
        let mut shown = json!({
            "status": status, "authorizations": [at("authz")], "finalize": at("finalize"),
            "identifiers": [{ "type": "dns", "value": order.host }],
        });
        if order.certificate.is_some() {
            shown["certificate"] = json!(at("certificate"));
        }
        shown
    }

    fn authorization(&self, number: u64) -> Value {
        let state = self.state();
        let order = &state.orders[&number];
        let challenge = |way: &&str| {
            let url = format!("{}/challenge/{number}/{way}", self.base);
            let mut shown = json!({ "type": way, "url": url, "token": format!("token-{number}"), "status": "pending" });
            if *way == order.way && order.unseen {
                shown["error"] = problem("connection", "it was not there");
            }
            shown
        };
        json!({
            "status": order.proof, "identifier": { "type": "dns", "value": order.host },
            "challenges": state.offers.iter().map(challenge).collect::<Vec<_>>(),
        })
    }

    /// Looks for a proof where the proxy is, whatever the host's name would lead to.
    async fn look(self, number: u64, way: &'static str) {
        let token = format!("token-{number}");
        let (host, key, (clear, secured)) = {
            let state = self.state();
            let order = &state.orders[&number];
            (order.host.clone(), state.keys[order.account].clone(), state.looks_at)
        };
        let seen = match (way, clear, secured) {
            ("http-01", Some(address), _) => look::in_clear(address, &host, &token, &key).await,
            ("tls-alpn-01", _, Some(address)) => look::by_handshake(address, &host, &token, &key).await,
            (_, _, _) => None,
        };
        let mut state = self.state();
        match seen {
            Some(()) => state.proved.push(way),
            None => state.unseen += 1,
        }
        let waits = state.mood == Mood::Waiting;
        if let Some(order) = state.orders.get_mut(&number) {
            order.way = way;
            order.unseen = seen.is_none();
            order.proof = match seen {
                Some(()) => "valid",
                None if waits => "pending",
                None => "invalid",
            };
        }
    }

    fn finalize(&self, number: u64, payload: &Value) -> Answer {
        let mut state = self.state();
        let (from, until) = state.lifetime;
        let Some(order) = state.orders.get_mut(&number).filter(|order| order.proof == "valid") else {
            return (StatusCode::FORBIDDEN, problem("orderNotReady", "not yet"), vec![]);
        };
        let request = payload["csr"].as_str().and_then(|text| BASE64.decode(text).ok()).unwrap_or_default();
        let Some(key) = look::requested(&request, &order.host) else {
            return (StatusCode::BAD_REQUEST, problem("badCSR", "not what was ordered"), vec![]);
        };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let moment = |seconds| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
        let chain = self.issuer.sign(&[&order.host], &key, |params| {
            params.not_before = moment(now - from);
            params.not_after = moment(now + until);
        });
        order.certificate = Some(chain);
        drop(state);
        (StatusCode::OK, self.shown(number), vec![])
    }
}

fn problem(kind: &str, detail: &str) -> Value {
    json!({ "type": format!("urn:ietf:params:acme:error:{kind}"), "detail": detail })
}
