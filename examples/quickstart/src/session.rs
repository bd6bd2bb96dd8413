//! Who is signed in. It stands in for the sign-in that an app already has: two users, no password, forgotten on restart.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::Form;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::HeaderMap;
use axum::http::header::COOKIE;
use axum::http::request::Parts;
use axum::response::{IntoResponse as _, Redirect, Response};
use serde::Deserialize;
use vault_core::entropy::{Entropy as _, EntropyError, SystemEntropy};
use vault_core::{Error, SessionBinding};

use crate::app::App;
use crate::demo::User;
use crate::failure::Failure;

const NAME: &str = "quickstart_session";

/// A signed-in browser.
#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) user: &'static User,
    /// Goes into every form, where other sites cannot read it.
    pub(crate) csrf: String,
    /// The cookie's value, which only this browser knows.
    secret: String,
}

impl Session {
    /// Ties what this browser starts to this browser.
    pub(crate) fn binding(&self) -> Result<SessionBinding, Error> {
        SessionBinding::new(&self.secret)
    }
}

#[derive(Default)]
pub(crate) struct Sessions {
    open: Mutex<HashMap<String, Session>>,
}

impl Sessions {
    /// Answers with the `Set-Cookie` of a new session. On a real site it also says `Secure`.
    pub(crate) fn open(&self, user: &'static User) -> Result<String, EntropyError> {
        let session = Session { user, csrf: random()?, secret: random()? };
        let cookie = format!("{NAME}={}; HttpOnly; SameSite=Lax; Path=/", session.secret);
        self.lock().insert(session.secret.clone(), session);
        Ok(cookie)
    }

    /// Answers with the `Set-Cookie` that removes it.
    pub(crate) fn close(&self, session: &Session) -> String {
        self.lock().remove(&session.secret);
        format!("{NAME}=; HttpOnly; SameSite=Lax; Path=/; Max-Age=0")
    }

    fn find(&self, headers: &HeaderMap) -> Option<Session> {
        let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut pairs =
            cookies.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let (_, secret) = pairs.find(|(name, _)| *name == NAME)?;
        self.lock().get(secret).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Session>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// 256 random bits.
fn random() -> Result<String, EntropyError> {
    let mut bytes = [0; 32];
    SystemEntropy::default().fill(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

impl FromRequestParts<App> for Session {
    /// To the sign-in.
    type Rejection = Redirect;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Redirect> {
        app.sessions.find(&parts.headers).ok_or_else(|| Redirect::to("/"))
    }
}

/// The session of a form that this app's own page sent: what every change asks for.
pub(crate) struct Confirmed(pub(crate) Session);

#[derive(Deserialize)]
struct CsrfField {
    csrf: String,
}

impl FromRequest<App> for Confirmed {
    type Rejection = Response;

    async fn from_request(request: Request, app: &App) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let session = Session::from_request_parts(&mut parts, app).await.map_err(|no| no.into_response())?;
        let form = Form::<CsrfField>::from_request(Request::from_parts(parts, body), app).await;
        match form {
            Ok(Form(CsrfField { csrf })) if csrf == session.csrf => Ok(Self(session)),
            _ => Err(Failure::foreign_form().into_response()),
        }
    }
}
