//! Compression of responses that an instance sends as they are.
//!
//! Done where the client takes it, where it is worth it, and where nobody has said that a response is not to be changed. What is
//! compressed goes out as it comes: when an instance pauses, what it has sent so far is flushed. Bounded by how many are compressed at
//! once in each thread; the next one goes out as it is.

use brotli::CompressorWriter;
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, VARY},
    response,
};
use std::{
    cell::Cell,
    io::{self, Write as _},
    mem,
    rc::Rc,
};

/// The shortest body that is compressed, where its length is known.
const LEAST: u64 = 512;

/// How many responses are compressed at once, in each thread: at most 2 MiB each.
const MOST: u32 = 256;

/// How hard is tried, for each coding: what pays while somebody waits.
const GZIP: u32 = 5;
const BROTLI: u32 = 4;
const ZSTD: i32 = 3;

/// How much of what came before brotli looks at, as a power of two.
const BROTLI_WINDOW: u32 = 19;

/// How a body is compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Coding {
    Zstd,
    Brotli,
    Gzip,
}

/// In order of preference: the fastest of what is small.
const CODINGS: [(Coding, &str); 3] = [(Coding::Zstd, "zstd"), (Coding::Brotli, "br"), (Coding::Gzip, "gzip")];

impl Coding {
    /// The one that a client likes best, of those there are. `None`: it takes none.
    pub(crate) fn accepted<'a>(values: impl Iterator<Item = &'a [u8]>) -> Option<Coding> {
        let mut weights = [None; CODINGS.len()];
        let mut any = None;
        for member in values.flat_map(|value| value.split(|byte| *byte == b',')) {
            let member = str::from_utf8(member).unwrap_or_default();
            let (name, weight) = member.split_once(';').unwrap_or((member, "q=1"));
            let weight: f32 = weight.trim().strip_prefix("q=").and_then(|weight| weight.parse().ok()).unwrap_or(0.0);
            match CODINGS.iter().position(|(_, known)| name.trim().eq_ignore_ascii_case(known)) {
                Some(at) => weights[at] = Some(weight),
                None if name.trim() == "*" => any = Some(weight),
                None => {}
            }
        }
        let liked = CODINGS.iter().zip(weights).map(|((coding, _), weight)| (*coding, weight.or(any).unwrap_or(0.0)));
        // The first of those that are liked best.
        liked.filter(|(_, weight)| *weight > 0.0).rev().max_by(|a, b| a.1.total_cmp(&b.1)).map(|(coding, _)| coding)
    }

    fn name(self) -> &'static str {
        CODINGS.iter().find(|(coding, _)| *coding == self).map_or("", |(_, name)| name)
    }
}

/// Makes a response's head that of a compressed one, if it is to be one; says that it depends on what the client takes, if it may
/// be one.
pub(crate) fn applies(head: &mut response::Parts, accepted: Option<Coding>, room: &Room) -> Option<Encoder> {
    let headers = &mut head.headers;
    if !is_worth_it(head.status, headers) {
        return None;
    }
    headers.append(VARY, HeaderValue::from_static("accept-encoding"));
    let coding = accepted?;
    let encoder = Encoder::new(coding, room)?;
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    headers.remove(CONTENT_LENGTH);
    headers.remove(ACCEPT_RANGES);
    // Equal in meaning, not in bytes.
    if let Some(tag) = headers.get(ETAG).filter(|tag| tag.as_bytes().starts_with(b"\""))
        && let Ok(weak) = HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat())
    {
        headers.insert(ETAG, weak);
    }
    Some(encoder)
}

fn is_worth_it(status: StatusCode, headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).unwrap_or_default();
    let is_fixed = text(&CACHE_CONTROL).to_ascii_lowercase().contains("no-transform");
    let length = text(&CONTENT_LENGTH).parse::<u64>().ok();
    let kind = text(&CONTENT_TYPE).split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_text = kind.starts_with("text/") && kind != "text/event-stream"
        || kind.ends_with("+json")
        || kind.ends_with("+xml")
        || [
            "application/json",
            "application/javascript",
            "application/xml",
            "application/wasm",
            "application/manifest+json",
            "application/x-ndjson",
            "font/ttf",
            "font/otf",
            "image/bmp",
            "image/x-icon",
        ]
        .contains(&kind.as_str());
    is_text
        && !is_fixed
        && length.is_none_or(|length| length >= LEAST)
        && !headers.contains_key(CONTENT_ENCODING)
        && !headers.contains_key(CONTENT_RANGE)
        && !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED | StatusCode::PARTIAL_CONTENT)
}

/// How many responses one thread compresses.
#[derive(Clone, Default)]
pub(crate) struct Room(Rc<Cell<u32>>);

/// Compresses one body.
pub(crate) struct Encoder {
    inner: Inner,
    /// Whether something was taken that has not come out.
    holds_back: bool,
    room: Room,
}

enum Inner {
    Zstd(Box<zstd::stream::write::Encoder<'static, Vec<u8>>>),
    Brotli(Box<CompressorWriter<Vec<u8>>>),
    Gzip(Box<GzEncoder<Vec<u8>>>),
}

impl Encoder {
    /// `None`: there is no room for another one.
    fn new(coding: Coding, room: &Room) -> Option<Encoder> {
        if room.0.get() >= MOST {
            return None;
        }
        let inner = match coding {
            Coding::Zstd => Inner::Zstd(Box::new(zstd::stream::write::Encoder::new(Vec::new(), ZSTD).ok()?)),
            Coding::Brotli => {
                Inner::Brotli(Box::new(CompressorWriter::new(Vec::new(), 16 << 10, BROTLI, BROTLI_WINDOW)))
            }
            Coding::Gzip => Inner::Gzip(Box::new(GzEncoder::new(Vec::new(), Compression::new(GZIP)))),
        };
        room.0.set(room.0.get() + 1);
        Some(Encoder { inner, holds_back: false, room: room.clone() })
    }

    /// Takes a piece; what has come out of it so far, which may be nothing.
    ///
    /// # Errors
    /// When the library fails, as for want of memory.
    pub(crate) fn take(&mut self, piece: &[u8]) -> io::Result<Bytes> {
        self.holds_back = true;
        match &mut self.inner {
            Inner::Zstd(encoder) => encoder.write_all(piece)?,
            Inner::Brotli(encoder) => encoder.write_all(piece)?,
            Inner::Gzip(encoder) => encoder.write_all(piece)?,
        }
        Ok(self.out())
    }

    /// What was taken and is still inside; `None`: nothing is.
    ///
    /// # Errors
    /// As [`take`](Encoder::take).
    pub(crate) fn flush(&mut self) -> io::Result<Option<Bytes>> {
        if !mem::take(&mut self.holds_back) {
            return Ok(None);
        }
        match &mut self.inner {
            Inner::Zstd(encoder) => encoder.flush()?,
            Inner::Brotli(encoder) => encoder.flush()?,
            Inner::Gzip(encoder) => encoder.flush()?,
        }
        Ok(Some(self.out()).filter(|out| !out.is_empty()))
    }

    /// The end of it.
    ///
    /// # Errors
    /// As [`take`](Encoder::take).
    pub(crate) fn finish(&mut self) -> io::Result<Bytes> {
        match &mut self.inner {
            Inner::Zstd(encoder) => encoder.do_finish()?,
            // The last block is written when it is taken apart.
            Inner::Brotli(encoder) => {
                let empty = CompressorWriter::new(Vec::new(), 1, 0, 10);
                return Ok(mem::replace(&mut **encoder, empty).into_inner().into());
            }
            Inner::Gzip(encoder) => encoder.try_finish()?,
        }
        Ok(self.out())
    }

    fn out(&mut self) -> Bytes {
        let out = match &mut self.inner {
            Inner::Zstd(encoder) => encoder.get_mut(),
            Inner::Brotli(encoder) => encoder.get_mut(),
            Inner::Gzip(encoder) => encoder.get_mut(),
        };
        mem::take(out).into()
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        self.room.0.set(self.room.0.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    fn accepted(value: &str) -> Option<Coding> {
        Coding::accepted([value.as_bytes()].into_iter())
    }

    #[test]
    fn a_client_gets_what_it_likes_best() {
        assert_eq!(accepted("gzip, deflate, br, zstd"), Some(Coding::Zstd));
        assert_eq!(accepted("gzip, deflate, br"), Some(Coding::Brotli));
        assert_eq!(accepted("gzip;q=1.0, br;q=0.5"), Some(Coding::Gzip));
        assert_eq!(accepted("*"), Some(Coding::Zstd));
        assert_eq!(accepted("zstd;q=0, *;q=0.1"), Some(Coding::Brotli));
        assert_eq!(accepted("GZIP"), Some(Coding::Gzip));
        for none in ["", "identity", "deflate", "gzip;q=0", "*;q=0", "gzip;q=x"] {
            assert_eq!(accepted(none), None, "{none:?}");
        }
    }

    #[test]
    fn what_comes_out_is_what_went_in_however_it_is_cut() {
        let pieces: Vec<Vec<u8>> =
            (0..50u32).map(|n| (0..n * 37).flat_map(|i| (i * n).to_string().into_bytes()).collect()).collect();
        let room = Room::default();
        for (coding, _) in CODINGS {
            let mut encoder = Encoder::new(coding, &room).unwrap();
            let mut out = Vec::new();
            for (n, piece) in pieces.iter().enumerate() {
                out.extend(encoder.take(piece).unwrap());
                if n % 7 == 0 {
                    out.extend(encoder.flush().unwrap().unwrap_or_default());
                    assert_eq!(encoder.flush().unwrap(), None);
                }
            }
            out.extend(encoder.finish().unwrap());
            let mut back = Vec::new();
            match coding {
                Coding::Zstd => back = zstd::decode_all(&out[..]).unwrap(),
                Coding::Brotli => drop(brotli::Decompressor::new(&out[..], 4096).read_to_end(&mut back).unwrap()),
                Coding::Gzip => drop(flate2::read::GzDecoder::new(&out[..]).read_to_end(&mut back).unwrap()),
            }
            assert!(back == pieces.concat(), "{coding:?}");
            assert!(out.len() * 2 < back.len());
        }
        assert_eq!(room.0.get(), 0);
    }

    #[test]
    fn only_what_is_worth_it_is_compressed() {
        let applies = |status: u16, fields: &[(&'static str, &str)]| {
            let mut response = http::Response::builder().status(status);
            for (name, value) in fields {
                response = response.header(*name, *value);
            }
            let mut head = response.body(()).unwrap().into_parts().0;
            applies(&mut head, Some(Coding::Gzip), &Room::default()).map(|_| head.headers)
        };
        let json = ("content-type", "application/json; charset=utf-8");
        let headers = applies(200, &[json, ("content-length", "1000"), ("etag", "\"1\""), ("vary", "cookie")]).unwrap();
        assert_eq!(
            (&headers["content-encoding"], &headers["etag"]),
            (&"gzip".parse().unwrap(), &"W/\"1\"".parse().unwrap())
        );
        assert!(!headers.contains_key("content-length"));
        assert_eq!(headers.get_all("vary").iter().collect::<Vec<_>>(), ["cookie", "accept-encoding"]);
        assert!(applies(200, &[json]).is_some());
        assert!(applies(206, &[json]).is_none());
        assert!(applies(304, &[json]).is_none());
        assert!(applies(200, &[json, ("content-length", "10")]).is_none());
        assert!(applies(200, &[json, ("content-encoding", "br")]).is_none());
        assert!(applies(200, &[json, ("cache-control", "public, No-Transform")]).is_none());
        assert!(applies(200, &[("content-type", "image/png")]).is_none());
        assert!(applies(200, &[("content-type", "text/event-stream")]).is_none());
        assert!(applies(200, &[]).is_none());
    }

    #[test]
    fn there_is_room_for_so_many() {
        let room = Room::default();
        let encoders: Vec<_> = (0..MOST).map(|_| Encoder::new(Coding::Gzip, &room).unwrap()).collect();
        assert!(Encoder::new(Coding::Gzip, &room).is_none());
        drop(encoders);
        assert!(Encoder::new(Coding::Gzip, &room).is_some());
    }
}
