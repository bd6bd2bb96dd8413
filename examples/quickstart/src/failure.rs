//! What a user reads when something fails.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use minijinja::context;
use vault_core::entropy::EntropyError;
use vault_core::{Error, ErrorKind};

use crate::calendar::CalendarError;
use crate::page;

/// A page that says what happened and what to do about it.
pub(crate) struct Failure {
    status: StatusCode,
    title: &'static str,
    advice: &'static str,
    /// One line. Errors of the vault carry no secrets, and what they quote from outside is short and printable.
    detail: String,
}

impl Failure {
    pub(crate) fn not_found() -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            title: "There is no such page",
            advice: "The address may be mistyped.",
            detail: String::new(),
        }
    }

    pub(crate) fn foreign_form() -> Self {
        Self {
            status: StatusCode::FORBIDDEN,
            title: "This form is out of date",
            advice: "Go back, and try again from there.",
            detail: "the form's token is not that of your session".to_owned(),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        use ErrorKind as K;
        let (status, title, advice) = match error.kind() {
            K::Denied => (
                StatusCode::BAD_REQUEST,
                "Nothing was connected",
                "The calendar reports that access was not granted. You can connect any time.",
            ),
            K::FlowCancelled
            | K::FlowExpired
            | K::InvalidCallback
            | K::IssuerMismatch
            | K::SessionMismatch
            | K::UnknownState => (
                StatusCode::BAD_REQUEST,
                "This visit cannot be finished",
                "It is over, was finished before, or began in another browser. Please start again.",
            ),
            K::NotConnected => (
                StatusCode::CONFLICT,
                "There is no calendar yet",
                "Connect one first, and this app can read it.",
            ),
            K::TooManyFlows => (
                StatusCode::TOO_MANY_REQUESTS,
                "You started too often",
                "Finish one of these visits to the calendar, or wait ten minutes.",
            ),
            _ if error.needs_user_action() => (
                StatusCode::CONFLICT,
                "Your calendar has to be connected again",
                "Until then this app cannot read it.",
            ),
            _ if error.is_retryable() => {
                (StatusCode::SERVICE_UNAVAILABLE, "Not right now", "Please try again in a moment.")
            }
            _ => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "Something is wrong on our side",
                "There is nothing you can do about it. We can.",
            ),
        };
        Self { status, title, advice, detail: error.to_string() }
    }
}

impl From<EntropyError> for Failure {
    fn from(error: EntropyError) -> Self {
        Error::from(error).into()
    }
}

impl From<CalendarError> for Failure {
    fn from(error: CalendarError) -> Self {
        match error {
            CalendarError::Vault(error) => error.into(),
            other => Self {
                status: StatusCode::BAD_GATEWAY,
                title: "The calendar does not answer as it should",
                advice: "Please try again in a moment.",
                detail: other.to_string(),
            },
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let Self { status, title, advice, detail } = self;
        (status, page::render("error.html", context! { title, advice, detail })).into_response()
    }
}
