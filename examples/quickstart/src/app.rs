//! The web app: sign in, connect, look, use, refresh, disconnect.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Query, RawQuery, State};
use axum::http::HeaderValue;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY, SET_COOKIE,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::middleware::map_response;
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Form, Router};
use minijinja::context;
use minijinja::value::Serde;
use serde::Deserialize;
use vault_core::{Callback, Disconnected};

use crate::calendar::{self, Calendar};
use crate::demo::{ALICE, BOB, Demo};
use crate::failure::Failure;
use crate::page::{self, Connection};
use crate::session::{Confirmed, Session, Sessions};

/// The path of the redirect URI that the provider knows.
pub(crate) const CALLBACK: &str = "/connect/callback";

#[derive(Clone)]
pub(crate) struct App {
    demo: Arc<Demo>,
    pub(crate) sessions: Arc<Sessions>,
}

pub(crate) fn router(demo: Arc<Demo>) -> Router {
    Router::new()
        .route("/", get(home))
        .route("/sign-in", post(sign_in))
        .route("/sign-out", post(sign_out))
        .route("/connect", post(connect))
        .route(CALLBACK, get(callback))
        .route("/calendar", post(read_calendar))
        .route("/refresh", post(refresh))
        .route("/disconnect", post(disconnect))
        .route("/style.css", get(([(CONTENT_TYPE, "text/css")], page::STYLE)))
        .fallback(async || Failure::not_found())
        .layer(DefaultBodyLimit::max(4096))
        .layer(map_response(guard))
        .with_state(App { demo, sessions: Arc::default() })
}

/// The browser comes back with the provider's answer. The query is the vault's to judge; nothing of it is shown.
async fn callback(
    State(app): State<App>,
    session: Session,
    RawQuery(query): RawQuery,
) -> Result<Redirect, Failure> {
    let callback = Callback::from_query(query.unwrap_or_default())?;
    let connected = app.demo.vault.complete(callback, &session.binding()?).await?;
    Ok(Redirect::to(connected.return_to()))
}

async fn connect(State(app): State<App>, Confirmed(session): Confirmed) -> Result<Redirect, Failure> {
    let connect = app.demo.vault.user(session.user.id).connect(app.demo.connector.id());
    let started = connect
        .authorize_param("login_hint", session.user.email)
        .return_to("/?done=connected")
        .start(&session.binding()?)
        .await?;
    Ok(Redirect::to(started.url().as_str()))
}

async fn read_calendar(
    State(app): State<App>,
    Confirmed(session): Confirmed,
) -> Result<Html<String>, Failure> {
    let calendar = calendar::read(&app.demo, session.user).await?;
    dashboard(&app, &session, None, Some(calendar)).await
}

async fn refresh(State(app): State<App>, Confirmed(session): Confirmed) -> Result<Redirect, Failure> {
    app.demo.vault.user(session.user.id).token(app.demo.connector.id()).fresh().await?;
    Ok(Redirect::to("/?done=refreshed"))
}

async fn disconnect(State(app): State<App>, Confirmed(session): Confirmed) -> Result<Redirect, Failure> {
    let done = app.demo.vault.user(session.user.id).disconnect(app.demo.connector.id()).await?;
    Ok(Redirect::to(match done {
        Disconnected::Revoked => "/?done=revoked",
        Disconnected::Pending => "/?done=pending",
        _ => "/",
    }))
}

#[derive(Deserialize)]
struct Home {
    done: Option<String>,
}

async fn home(
    State(app): State<App>,
    session: Result<Session, Redirect>,
    Query(Home { done }): Query<Home>,
) -> Result<Html<String>, Failure> {
    let Ok(session) = session else {
        let users =
            [ALICE, BOB].map(|user| context! { id => user.id, name => user.name, email => user.email });
        return Ok(page::render("sign_in.html", context! { users }));
    };
    let notice = match done.as_deref() {
        Some("connected") => Some("Connected. The tokens are sealed in the database."),
        Some("pending") => Some("Disconnected. The calendar did not confirm yet; the app keeps asking."),
        Some("refreshed") => Some("Refreshed. New tokens are sealed in place of the old ones."),
        Some("revoked") => Some("Disconnected. The tokens are gone here, and dead at the calendar."),
        _ => None,
    };
    dashboard(&app, &session, notice, None).await
}

async fn dashboard(
    app: &App,
    session: &Session,
    notice: Option<&str>,
    calendar: Option<Calendar>,
) -> Result<Html<String>, Failure> {
    let Session { user, csrf, .. } = session;
    let connection = app.demo.connection(user).await?.map(Connection::from);
    let context = context! {
        user => user.name,
        csrf,
        notice,
        connection => Serde(connection),
        calendar => Serde(calendar),
    };
    Ok(page::render("dashboard.html", context))
}

#[derive(Deserialize)]
struct SignIn {
    user: String,
}

/// Stands in for the app's own sign-in, passwords and all. A fresh session each time, so that nobody can plant one.
async fn sign_in(State(app): State<App>, Form(form): Form<SignIn>) -> Result<Response, Failure> {
    let user = [ALICE, BOB].into_iter().find(|user| user.id == form.user).ok_or_else(Failure::not_found)?;
    Ok(([(SET_COOKIE, app.sessions.open(user)?)], Redirect::to("/")).into_response())
}

async fn sign_out(State(app): State<App>, Confirmed(session): Confirmed) -> impl IntoResponse {
    ([(SET_COOKIE, app.sessions.close(&session))], Redirect::to("/"))
}

/// Headers of every answer. The first two keep the callback's code and state out of caches and of other sites' logs.
async fn guard(mut response: Response) -> Response {
    const POLICY: &str = "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'";
    const HEADERS: [(HeaderName, &str); 4] = [
        (CACHE_CONTROL, "no-store"),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (CONTENT_SECURITY_POLICY, POLICY),
    ];
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
