//! A user's calendar, read from the provider's API with the user's own token.

use axum::http::header::{AUTHORIZATION, HeaderValue};
use axum::http::{Request, StatusCode};
use serde::{Deserialize, Serialize};
use vault_core::AccessToken;
use vault_core::http::{HttpClient as _, HttpError, HttpResponse};
use vault_core::secret::SecretBytes;

use crate::demo::{Demo, User};

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Calendar {
    /// Whose, according to the provider.
    pub(crate) account: String,
    pub(crate) events: Vec<Event>,
}

/// Times are in RFC 3339 and UTC.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Event {
    pub(crate) title: String,
    pub(crate) start: String,
    pub(crate) end: String,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum CalendarError {
    #[error(transparent)]
    Vault(#[from] vault_core::Error),
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("the calendar answered with status {0}")]
    Status(StatusCode),
    #[error("the calendar answered with something else")]
    Unreadable(#[from] serde_json::Error),
}

/// What every use of a token looks like: ask the vault for it each time, and tell the vault when the provider refuses it.
pub(crate) async fn read(demo: &Demo, user: &User) -> Result<Calendar, CalendarError> {
    let connector = demo.connector.id();
    let token = demo.vault.user(user.id).token(connector).require_scopes(["calendar.read"]).await?;
    let mut reply = request(demo, &token).await?;
    if reply.status() == StatusCode::UNAUTHORIZED {
        // Refused before its time. However many requests notice, the vault refreshes once.
        let token = demo.vault.report_rejected(&token).await?;
        reply = request(demo, &token).await?;
    }
    if reply.status() != StatusCode::OK {
        return Err(CalendarError::Status(reply.status()));
    }
    Ok(serde_json::from_slice(reply.body().expose_secret())?)
}

/// Any HTTP client does; the vault's is at hand.
async fn request(demo: &Demo, token: &AccessToken) -> Result<HttpResponse, HttpError> {
    let mut bearer = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret()))
        .expect("the vault hands out printable tokens only");
    bearer.set_sensitive(true);
    let request = Request::get(demo.provider.url("/calendar").as_str())
        .header(AUTHORIZATION, bearer)
        .body(SecretBytes::default())
        .expect("a URL and a header");
    demo.http.send(request).await
}
