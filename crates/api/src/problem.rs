//! How the API says no: one shape for every refusal and every error, with the HTTP status it goes with.

use crate::control_loop::Rejected;
use axum::{
    Json,
    response::{IntoResponse, Response},
};
use control::{Refusal, refusal};
use http::{HeaderValue, StatusCode, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A refusal or an error, as it is sent: `{"code": "change_under_way", "message": "…", "hint": "…"}`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// What sort, for programs. Stable.
    pub code: Code,
    /// What is wrong, for people.
    pub message: String,
    /// What to do next; empty when nothing helps.
    #[serde(default)]
    pub hint: String,
}

/// What sort of problem: a refusal of `control`, or a fault of the request or the server.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "ProblemCode")]
pub enum Code {
    /// What was asked is understood and cannot be done now.
    Refusal(refusal::Code),
    /// The request did not get that far.
    Fault(Fault),
    /// A code that this version does not know yet.
    Unknown(String),
}

/// What can be wrong with a request or its handling before anything is decided.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The request cannot be understood.
    Malformed,
    /// Who asks is not known: no token, or an unknown one.
    Unauthenticated,
    /// There is nothing at this path.
    NotFound,
    /// The path exists, not with this method.
    MethodNotAllowed,
    /// The request came too slowly, or stopped in the middle.
    TooSlow,
    /// The body is larger than allowed.
    TooLarge,
    /// The request was meant for another host.
    Misdirected,
    /// Too much is going on; ask again in a moment.
    Busy,
    /// This cannot be done for now, and nothing was done.
    Unavailable,
    /// There was no answer in time; it may have been done.
    Unanswered,
    /// A defect of Quarterdeck.
    Internal,
}

impl Problem {
    /// A fault of the request or the server.
    pub fn new(fault: Fault, message: impl Into<String>, hint: impl Into<String>) -> Problem {
        Problem { code: Code::Fault(fault), message: message.into(), hint: hint.into() }
    }

    /// The request cannot be understood.
    pub fn malformed(message: impl Into<String>) -> Problem {
        Problem::new(Fault::Malformed, message, "see GET /v1/openapi.json for what is expected")
    }

    /// The request is understood and a value in it is impossible.
    pub fn invalid(message: impl Into<String>, hint: impl Into<String>) -> Problem {
        Refusal::new(refusal::Code::Invalid, message, hint).into()
    }

    /// This cannot be done for now, and nothing was done.
    pub fn unavailable(message: impl Into<String>) -> Problem {
        Problem::new(Fault::Unavailable, message, "ask again in a moment; `qd doctor` shows what is wrong")
    }

    /// A defect of Quarterdeck, or of the machine below it. The message must not carry secrets.
    pub fn internal(message: impl Into<String>) -> Problem {
        Problem::new(Fault::Internal, message, "the log of `qd serve` has more")
    }

    /// The HTTP status that goes with the code.
    pub fn status(&self) -> StatusCode {
        match &self.code {
            Code::Refusal(code) => status_of_refusal(*code),
            Code::Fault(fault) => fault.status(),
            Code::Unknown(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// 403 not you · 404 no such thing · 409 not now, look at the state and decide again · 422 never, as it is written.
const fn status_of_refusal(code: refusal::Code) -> StatusCode {
    use refusal::Code;
    match code {
        Code::Denied => StatusCode::FORBIDDEN,
        Code::UnknownService | Code::UnknownRelease | Code::UnknownChange => StatusCode::NOT_FOUND,
        Code::ChangeUnderWay
        | Code::WrongPhase
        | Code::NothingToDo
        | Code::PlanChanged
        | Code::OwnApproval
        | Code::NoRollbackTarget => StatusCode::CONFLICT,
        Code::ReasonRequired | Code::Invalid | Code::RouteTaken => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

impl Fault {
    /// The HTTP status that goes with it.
    pub const fn status(self) -> StatusCode {
        match self {
            Fault::Malformed => StatusCode::BAD_REQUEST,
            Fault::Unauthenticated => StatusCode::UNAUTHORIZED,
            Fault::NotFound => StatusCode::NOT_FOUND,
            Fault::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Fault::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Fault::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Fault::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Fault::Busy | Fault::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Fault::Unanswered => StatusCode::GATEWAY_TIMEOUT,
            Fault::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// After how many seconds it is worth asking again. Nothing where repeating could do something twice.
    const fn retry_after(self) -> Option<HeaderValue> {
        match self {
            Fault::Busy => Some(HeaderValue::from_static("1")),
            Fault::Unavailable => Some(HeaderValue::from_static("5")),
            Fault::Malformed
            | Fault::Unauthenticated
            | Fault::NotFound
            | Fault::MethodNotAllowed
            | Fault::TooSlow
            | Fault::TooLarge
            | Fault::Misdirected
            | Fault::Unanswered
            | Fault::Internal => None,
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Problem {
        Problem { code: Code::Refusal(refusal.code), message: refusal.message, hint: refusal.hint }
    }
}

impl From<Rejected> for Problem {
    fn from(rejected: Rejected) -> Problem {
        match rejected {
            Rejected::Refusal(refusal) => refusal.into(),
            Rejected::Unavailable(why) => Problem::unavailable(why),
            Rejected::Unanswered(why) => {
                Problem::new(Fault::Unanswered, why, "look at `qd status` before you ask again: it may have been done")
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let retry_after = match &self.code {
            Code::Fault(fault) => fault.retry_after(),
            Code::Refusal(_) | Code::Unknown(_) => None,
        };
        let status = self.status();
        let mut response = (status, Json(self)).into_response();
        if let Some(seconds) = retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if !self.hint.is_empty() {
            write!(f, "; {}", self.hint)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_status_and_survives_the_wire() {
        use refusal::Code as R;
        let codes = [
            (R::Denied, 403),
            (R::ReasonRequired, 422),
            (R::UnknownService, 404),
            (R::UnknownRelease, 404),
            (R::UnknownChange, 404),
            (R::ChangeUnderWay, 409),
            (R::WrongPhase, 409),
            (R::NothingToDo, 409),
            (R::Invalid, 422),
            (R::RouteTaken, 422),
            (R::PlanChanged, 409),
            (R::OwnApproval, 409),
            (R::NoRollbackTarget, 409),
        ];
        for (code, status) in codes {
            let problem = Problem::from(Refusal::new(code, "no", "yes"));
            assert_eq!(problem.status().as_u16(), status, "{code:?}");
            let sent = serde_json::to_string(&problem).unwrap();
            assert_eq!(serde_json::from_str::<Problem>(&sent).unwrap(), problem);
        }
        let fault = Problem::new(Fault::Busy, "no", "");
        let sent = serde_json::to_string(&fault).unwrap();
        assert_eq!(sent, r#"{"code":"busy","message":"no","hint":""}"#);
        assert_eq!(serde_json::from_str::<Problem>(&sent).unwrap(), fault);
    }
}
