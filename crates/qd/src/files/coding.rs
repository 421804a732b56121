//! Files that were compressed before they were deployed: `app.js.br` beside `app.js`.

/// How a file beside another is compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Coding {
    Brotli,
    Zstd,
    Gzip,
}

impl Coding {
    /// The smallest first.
    pub(super) const ALL: [Coding; 3] = [Coding::Brotli, Coding::Zstd, Coding::Gzip];

    /// As it is called between client and server.
    pub(super) fn name(self) -> &'static str {
        match self {
            Coding::Brotli => "br",
            Coding::Zstd => "zstd",
            Coding::Gzip => "gzip",
        }
    }

    /// What the name of such a file ends with.
    pub(super) fn ending(self) -> &'static str {
        match self {
            Coding::Brotli => ".br",
            Coding::Zstd => ".zst",
            Coding::Gzip => ".gz",
        }
    }
}

/// The coding to send of those that there are: the one that an `accept-encoding` field likes best, and of those the first.
/// `None`: the file as it is.
pub(super) fn chosen(field: &str, there: impl Iterator<Item = Coding>) -> Option<Coding> {
    let weight = |coding: Coding| weight(field, coding.name()).or_else(|| weight(field, "*")).unwrap_or(0.0);
    let liked = there.map(|coding| (coding, weight(coding))).filter(|(_, weight)| *weight > 0.0);
    liked
        .fold(None, |best: Option<(Coding, f32)>, next| best.filter(|best| best.1 >= next.1).or(Some(next)))
        .map(|b| b.0)
}

/// How much a coding is liked, if it is spoken of.
fn weight(field: &str, name: &str) -> Option<f32> {
    field.split(',').find_map(|member| {
        let (coding, parameter) = member.split_once(';').unwrap_or((member, "q=1"));
        let is_it = coding.trim().eq_ignore_ascii_case(name);
        is_it.then(|| parameter.trim().strip_prefix("q=").and_then(|q| q.parse().ok()).unwrap_or(0.0))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_that_is_there_and_liked_is_chosen() {
        let check = |field, expected| assert_eq!(chosen(field, Coding::ALL.into_iter()), expected, "{field}");
        check("gzip, deflate, br, zstd", Some(Coding::Brotli));
        check("gzip, zstd", Some(Coding::Zstd));
        check("br;q=0.5, GZIP;q=0.9", Some(Coding::Gzip));
        check("br;q=0, *", Some(Coding::Zstd));
        check("*", Some(Coding::Brotli));
        check("", None);
        check("identity", None);
        check("br;q=0, gzip;q=x, deflate", None);
        assert_eq!(chosen("br, gzip", [Coding::Gzip].into_iter()), Some(Coding::Gzip));
        assert_eq!(chosen("br", [].into_iter()), None);
    }
}
