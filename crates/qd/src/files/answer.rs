//! From a request to its response.

use super::{
    body::Content,
    coding, name,
    path::{self, Form, Wanted},
    range::{self, Part},
    shelf::{Found, Item, Known, Shelf},
};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode,
    header::{
        ACCEPT_ENCODING, ACCEPT_RANGES, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
        CONTENT_TYPE, ETAG, IF_NONE_MATCH, IF_RANGE, LOCATION, RANGE, VARY, X_CONTENT_TYPE_OPTIONS,
    },
};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::{sync::Semaphore, task::spawn_blocking};

/// What a directory is shown by.
const INDEX: &str = "index.html";
/// What is said where there is nothing.
const NOT_FOUND: &str = "404.html";
/// To be asked for again each time, which is answered in a few bytes when it is the same.
const ASK_AGAIN: HeaderValue = HeaderValue::from_static("no-cache");
/// To be kept for a year by anybody and never asked for again.
const KEEP: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

/// What is served.
pub(super) struct Site {
    pub(super) shelf: Arc<Shelf>,
    /// The file that answers where there is none.
    pub(super) single_page: Option<PathBuf>,
    /// Places for those who look for a file: fewer than there are readers, because a large one takes its time when it is
    /// read for the first time, and the others are to be sent meanwhile.
    pub(super) looking: Semaphore,
}

/// A file that answers, by the name that was asked for.
struct Answer {
    known: Arc<Known>,
    path: PathBuf,
    status: StatusCode,
}

impl Site {
    /// Answers a request.
    pub(super) async fn answer<B>(&self, request: &Request<B>) -> Response<Content> {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered here\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match self.found(request).await {
            Ok(response) => response,
            Err(error) => {
                eprintln!("{}: {error}", request.uri().path());
                plain(StatusCode::INTERNAL_SERVER_ERROR, "this file cannot be read\n")
            }
        }
    }

    async fn found<B>(&self, request: &Request<B>) -> io::Result<Response<Content>> {
        let uri = request.uri();
        let Some(Wanted { path, form }) = path::wanted(uri.path()) else { return self.nothing(request).await };
        let path = match form {
            Form::File => path,
            Form::Directory => path.join(INDEX),
        };
        match (self.find(&path).await?, form) {
            (Found::File(known), _) => send(request, Answer { known, path, status: StatusCode::OK }).await,
            (Found::Directory, Form::File) if matches!(self.find(&path.join(INDEX)).await?, Found::File(_)) => {
                let mut response = plain(StatusCode::PERMANENT_REDIRECT, "");
                let location = HeaderValue::from_str(&path::with_slash(uri.path(), uri.query()));
                response.headers_mut().insert(LOCATION, location.map_err(io::Error::other)?);
                Ok(response)
            }
            (Found::Directory | Found::Nothing, _) => match self.stand_in(&path) {
                Some(page) => self.send_page(request, page, StatusCode::OK).await,
                None => self.nothing(request).await,
            },
        }
    }

    /// What answers for a path without a file. Not for what a page is made of: a script that is no longer there must not become
    /// a page that is none.
    fn stand_in(&self, path: &Path) -> Option<&Path> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_asset = name::kind(&name).is_some() && !name::is_page(&name);
        self.single_page.as_deref().filter(|_| !is_asset)
    }

    async fn nothing<B>(&self, request: &Request<B>) -> io::Result<Response<Content>> {
        self.send_page(request, Path::new(NOT_FOUND), StatusCode::NOT_FOUND).await
    }

    /// Sends a page that was not asked for by its name, when the release has it.
    async fn send_page<B>(
        &self,
        request: &Request<B>,
        page: &Path,
        status: StatusCode,
    ) -> io::Result<Response<Content>> {
        match self.find(page).await? {
            Found::File(known) => send(request, Answer { known, path: page.to_owned(), status }).await,
            Found::Directory | Found::Nothing => Ok(plain(StatusCode::NOT_FOUND, "there is nothing here\n")),
        }
    }

    async fn find(&self, path: &Path) -> io::Result<Found> {
        if let Some(known) = self.shelf.recall(path) {
            return Ok(Found::File(known));
        }
        let _place = self.looking.acquire().await.map_err(io::Error::other)?;
        // Whoever had the place before may have looked for the same.
        if let Some(known) = self.shelf.recall(path) {
            return Ok(Found::File(known));
        }
        let (shelf, path) = (self.shelf.clone(), path.to_owned());
        spawn_blocking(move || shelf.find(&path)).await.map_err(io::Error::other)?
    }
}

/// Sends a file, or what is asked for of it.
async fn send<B>(request: &Request<B>, answer: Answer) -> io::Result<Response<Content>> {
    let asked = request.headers();
    let Answer { known, path, status } = answer;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let codings = known.coded.iter().map(|(coding, _)| *coding);
    let coding = coding::chosen(&text(asked, ACCEPT_ENCODING), codings);
    let coded = known.coded.iter().find(|(there, _)| Some(*there) == coding);
    let item = coded.map_or(&known.plain, |(_, item)| item);

    let mut response = Response::new(Content::default());
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, if name::has_hash(&name) { KEEP } else { ASK_AGAIN });
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(name::kind(&name).unwrap_or(name::UNKNOWN)));
    if !known.coded.is_empty() {
        headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    }
    if let Some((coding, _)) = coded {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    }
    let mut part = Part::Whole;
    if status == StatusCode::OK {
        headers.insert(ETAG, item.tag.clone());
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        if is_known(asked, item) {
            headers.remove(CONTENT_TYPE);
            headers.remove(CONTENT_ENCODING);
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return Ok(response);
        }
        if request.method() == Method::GET && asked.get(IF_RANGE).is_none_or(|tag| *tag == item.tag) {
            part = range::part(&text(asked, RANGE), item.length);
        }
    }
    let length = item.length;
    let (status, range) = match part {
        Part::Whole => (status, 0..length),
        Part::Some(range) => {
            let field = format!("bytes {}-{}/{length}", range.start, range.end - 1);
            headers.insert(CONTENT_RANGE, HeaderValue::from_str(&field).map_err(io::Error::other)?);
            (StatusCode::PARTIAL_CONTENT, range)
        }
        Part::Beyond => {
            let mut response = plain(StatusCode::RANGE_NOT_SATISFIABLE, "");
            let field = HeaderValue::from_str(&format!("bytes */{length}")).map_err(io::Error::other)?;
            response.headers_mut().insert(CONTENT_RANGE, field);
            return Ok(response);
        }
    };
    headers.insert(CONTENT_LENGTH, HeaderValue::from(range.end - range.start));
    *response.status_mut() = status;
    if request.method() == Method::GET && !range.is_empty() {
        let path = item.path.clone();
        let content = spawn_blocking(move || Content::read(&path, range)).await.map_err(io::Error::other)?;
        *response.body_mut() = content?;
    }
    Ok(response)
}

/// Whether the client has this already. Compared weakly: who compresses on the way makes a weak tag of a strong one.
fn is_known(asked: &HeaderMap, item: &Item) -> bool {
    let tags = text(asked, IF_NONE_MATCH);
    tags.split(',').map(str::trim).any(|tag| tag == "*" || item.tag == tag.strip_prefix("W/").unwrap_or(tag))
}

/// The values of a field in a row.
fn text(asked: &HeaderMap, name: HeaderName) -> String {
    let values: Vec<&str> = asked.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    values.join(",")
}

/// A few words.
fn plain(status: StatusCode, words: &'static str) -> Response<Content> {
    let mut response = Response::new(Content::of(words));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, ASK_AGAIN);
    response
}
