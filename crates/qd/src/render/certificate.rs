//! What is wrong with a certificate of the data plane, if anything is.

use model::{Certificate, Span, Standing, Time};

/// Trouble with a certificate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Trouble {
    /// Whether clients are refused, or refuse, already.
    pub(crate) harms: bool,
    /// In a sentence.
    pub(crate) text: String,
}

/// `None`: it is well.
pub(crate) fn trouble(certificate: &Certificate, now: Time) -> Option<Trouble> {
    let source = &certificate.source;
    let problem = certificate.problem.as_ref();
    let Some(validity) = certificate.validity else {
        let why = problem.map_or("it was not obtained yet", String::as_str);
        return Some(Trouble {
            harms: true,
            text: format!("{source}: no certificate: {why}{}", next_try(certificate, now)),
        });
    };
    let hosts = certificate.names.join(", ");
    let (harms, standing) = match validity.standing(now) {
        Standing::Valid(_) if problem.is_none() => return None,
        Standing::Valid(left) => (false, format!("is valid for another {left}")),
        Standing::Ending(left) => (false, format!("ends in {left}: renew it")),
        Standing::Ended(since) => (true, format!("ended {since} ago, and clients refuse it: renew it")),
        Standing::Early(until) => {
            (true, format!("begins in {until}, and clients refuse it until then: check the machine's clock"))
        }
    };
    let new = match (problem, certificate.next_try) {
        (None, _) => String::new(),
        (Some(problem), None) => format!("; the new one cannot be used: {problem}"),
        (Some(problem), Some(_)) => format!("; there is no new one: {problem}{}", next_try(certificate, now)),
    };
    Some(Trouble { harms, text: format!("{source}: the certificate for {hosts} {standing}{new}") })
}

/// When the data plane tries again by itself.
fn next_try(certificate: &Certificate, now: Time) -> String {
    let wait = certificate.next_try.map(|at| at.since(now));
    wait.map_or(String::new(), |wait| match Span(wait.0 / 1000 * 1000) {
        Span::ZERO => "; the next try is under way".to_owned(),
        wait => format!("; next try in {wait}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Validity;

    const DAY: u64 = 86_400_000;

    fn check(until: Option<u64>, problem: Option<&str>, expected: Option<(bool, &str)>) {
        check_next(until, problem, None, expected);
    }

    fn check_next(until: Option<u64>, problem: Option<&str>, next_try: Option<u64>, expected: Option<(bool, &str)>) {
        let certificate = Certificate {
            source: "shop.pem".to_owned(),
            names: vec!["shop.test".to_owned(), "www.shop.test".to_owned()],
            validity: until.map(|days| Validity { from: Time(0), until: Time(days * DAY) }),
            problem: problem.map(str::to_owned),
            next_try: next_try.map(|seconds| Time(80 * DAY + seconds * 1000)),
        };
        let found = trouble(&certificate, Time(80 * DAY) + Span::ZERO);
        assert_eq!(found.as_ref().map(|t| (t.harms, t.text.as_str())), expected);
    }

    #[test]
    fn trouble_says_what_it_means_and_what_to_do() {
        check(Some(170), None, None);
        let soon = "shop.pem: the certificate for shop.test, www.shop.test ends in 5d: renew it";
        check(Some(85), None, Some((false, soon)));
        let ended =
            "shop.pem: the certificate for shop.test, www.shop.test ended 2d ago, and clients refuse it: renew it";
        check(Some(78), None, Some((true, ended)));
        let broken = "shop.pem: the certificate for shop.test, www.shop.test is valid for another 90d; \
                      the new one cannot be used: it is damaged";
        check(Some(170), Some("it is damaged"), Some((false, broken)));
        check(None, Some("shop.pem cannot be read"), Some((true, "shop.pem: no certificate: shop.pem cannot be read")));
        check(None, None, Some((true, "shop.pem: no certificate: it was not obtained yet")));
        let later = "shop.pem: no certificate: it is refused; next try in 4m 5s";
        check_next(None, Some("it is refused"), Some(245), Some((true, later)));
        let now = "shop.pem: no certificate: it is refused; the next try is under way";
        check_next(None, Some("it is refused"), Some(0), Some((true, now)));
        let renewal = "shop.pem: the certificate for shop.test, www.shop.test ends in 5d: renew it; \
                       there is no new one: it is refused; next try in 1h";
        check_next(Some(85), Some("it is refused"), Some(3600), Some((false, renewal)));
    }
}
