//! What the name of a file says of it: what kind it is, and whether its content can ever be another.

/// The fewest digits that are taken for those of a hash.
const HASH: usize = 8;

/// What is not known by its ending.
pub(super) const UNKNOWN: &str = "application/octet-stream";

/// By ending. Texts are UTF-8; what a browser would run or show is what it is, and nothing else is.
const KINDS: &[(&str, &str)] = &[
    ("html", "text/html; charset=utf-8"),
    ("htm", "text/html; charset=utf-8"),
    ("css", "text/css; charset=utf-8"),
    ("js", "text/javascript; charset=utf-8"),
    ("mjs", "text/javascript; charset=utf-8"),
    ("txt", "text/plain; charset=utf-8"),
    ("md", "text/markdown; charset=utf-8"),
    ("csv", "text/csv; charset=utf-8"),
    ("ics", "text/calendar; charset=utf-8"),
    ("vtt", "text/vtt; charset=utf-8"),
    ("xml", "application/xml; charset=utf-8"),
    ("xhtml", "application/xhtml+xml; charset=utf-8"),
    ("rss", "application/rss+xml; charset=utf-8"),
    ("atom", "application/atom+xml; charset=utf-8"),
    ("svg", "image/svg+xml; charset=utf-8"),
    ("json", "application/json"),
    ("map", "application/json"),
    ("jsonld", "application/ld+json"),
    ("geojson", "application/geo+json"),
    ("webmanifest", "application/manifest+json"),
    ("wasm", "application/wasm"),
    ("pdf", "application/pdf"),
    ("epub", "application/epub+zip"),
    ("zip", "application/zip"),
    ("gz", "application/gzip"),
    ("zst", "application/zstd"),
    ("tar", "application/x-tar"),
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("gif", "image/gif"),
    ("webp", "image/webp"),
    ("avif", "image/avif"),
    ("jxl", "image/jxl"),
    ("ico", "image/x-icon"),
    ("woff", "font/woff"),
    ("woff2", "font/woff2"),
    ("ttf", "font/ttf"),
    ("otf", "font/otf"),
    ("mp3", "audio/mpeg"),
    ("m4a", "audio/mp4"),
    ("ogg", "audio/ogg"),
    ("opus", "audio/ogg"),
    ("wav", "audio/wav"),
    ("flac", "audio/flac"),
    ("mp4", "video/mp4"),
    ("webm", "video/webm"),
    ("mov", "video/quicktime"),
];

/// What to call the content of a file of this name, if that is known.
pub(super) fn kind(name: &str) -> Option<&'static str> {
    let (_, ending) = name.rsplit_once('.')?;
    KINDS.iter().find(|(known, _)| known.eq_ignore_ascii_case(ending)).map(|(_, kind)| *kind)
}

/// Whether a file is a page, which people come to by a name that stays.
pub(super) fn is_page(name: &str) -> bool {
    kind(name).is_some_and(|kind| kind.starts_with("text/html"))
}

/// Whether a name contains a hash of the content, as `app.3f9a1c2b.js` and `app-5JXJ2K4Q.css` do: another content would have
/// another name. A wrong yes would keep an old file with users for a year, and a wrong no costs a question, so that words,
/// dates and numbers are none, and pages never have one.
pub(super) fn has_hash(name: &str) -> bool {
    let Some((stem, _)) = name.rsplit_once('.') else { return false };
    !is_page(name) && stem.split(['.', '-']).skip(1).any(is_hash)
}

/// Digits of a hash: hexadecimal, or base32 in capitals. A letter comes after a digit, which no word and no date has.
fn is_hash(part: &str) -> bool {
    let hex = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f');
    let base32 = |byte: u8| byte.is_ascii_uppercase() || matches!(byte, b'2'..=b'7');
    let after_digit = part.trim_start_matches(|c: char| !c.is_ascii_digit());
    part.len() >= HASH
        && (part.bytes().all(hex) || part.bytes().all(base32))
        && after_digit.contains(|c: char| c.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_known_by_the_ending() {
        assert_eq!(kind("index.html"), Some("text/html; charset=utf-8"));
        assert_eq!(kind("A.B.JPEG"), Some("image/jpeg"));
        assert_eq!(kind("app.js.map"), Some("application/json"));
        assert_eq!((kind("LICENSE"), kind("a.exe"), kind("html")), (None, None, None));
    }

    #[test]
    fn hashes_of_the_content_are_told_from_words_dates_and_numbers() {
        for name in [
            "app.3f9a1c2b.js",
            "app-5JXJ2K4Q.css",
            "a.b-0123456789abcdef.woff2",
            "chunk-2A3B4C5D.js",
            "a.3f9a1c2b.js.map",
        ] {
            assert!(has_hash(name), "{name}");
        }
        for name in [
            "app.js",
            "3f9a1c2b.js",
            "app.3f9a1c2.js",
            "report-20261126.pdf",
            "app.12345678.js",
            "jquery-ui-accordion.js",
            "docs-chapter2.png",
            "IMG-PORTRAIT2.jpg",
            "a.facade12.js",
            "index.3f9a1c2b.html",
            "app.3f9a1c2b",
            "a-deadbeef.js",
        ] {
            assert!(!has_hash(name), "{name}");
        }
    }
}
