//! The way to the providers, and their endpoints.

use std::collections::BTreeMap;

use async_trait::async_trait;
use http::{Response, StatusCode};
use serde_json::json;
use url::{Url, form_urlencoded};
use vault_core::http::{HttpClient, HttpError, HttpErrorKind, HttpRequest, HttpResponse};
use vault_core::secret::SecretBytes;

use crate::Plant;
use crate::call::{Far, Label, call};
use crate::history::{Fault, Pid, What};
use crate::provider::{Ended, Grant, MARK, Tag};
use crate::world::{Shared, World};

/// One process's way to the providers.
#[derive(Debug)]
pub(crate) struct SimHttp {
    pub(crate) pid: Pid,
    pub(crate) world: Shared,
}

type Form = BTreeMap<String, String>;

#[async_trait]
impl HttpClient for SimHttp {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (pid, host) = (self.pid, request.uri().host().unwrap_or_default().to_owned());
        let path = request.uri().path().to_owned();
        let form: Form = form_urlencoded::parse(request.body().expose_secret()).into_owned().collect();
        let named = form.get("refresh_token").or_else(|| form.get("token"));
        let named = named.and_then(|token| Tag::parse(token));
        let what = match path.as_str() {
            "/token" if form.contains_key("refresh_token") => "refresh",
            "/token" => "exchange",
            _ => "revoke",
        };
        let grant = form.get("code").and_then(|code| self.world.lock().codes.get(code).copied());
        let conn = named.map(|tag| tag.conn);
        let conn = conn.or_else(|| Some(self.world.lock().grants[grant?].conn));
        let spent = named.filter(|_| what == "refresh");
        let label = Label { pid, conn, what, far: Far::Provider, spent };
        let effect = move |world: &mut World, id| Ok(answer(world, pid, id, what, &form));
        call(&self.world, label, effect, |fault| {
            Err(match fault {
                Fault::NotSent => HttpError::not_sent(HttpErrorKind::Connect, host),
                Fault::Lost | Fault::AnswerLost => {
                    HttpError::outcome_unknown(HttpErrorKind::Interrupted, host)
                }
            })
        })
        .await
    }
}

fn reply(status: StatusCode, body: &serde_json::Value) -> HttpResponse {
    let body = SecretBytes::new(body.to_string().into_bytes());
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let json = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(http::header::CONTENT_TYPE, json);
    response
}

fn refuse(status: u16, error: &str) -> HttpResponse {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    let mut response = reply(status, &json!({ "error": error }));
    if status == StatusCode::TOO_MANY_REQUESTS {
        response.headers_mut().insert(http::header::RETRY_AFTER, http::HeaderValue::from_static("90"));
    }
    response
}

fn answer(world: &mut World, pid: Pid, call: u64, what: &'static str, form: &Form) -> HttpResponse {
    if world.now() < world.weather.misconfigured_until {
        world.count("invalid_client");
        return refuse(401, "invalid_client");
    }
    let refusals = world.weather.refusals;
    if world.rng.chance(refusals) {
        let (status, name) = world.rng.pick(&[(500, "500"), (503, "503"), (429, "429")]);
        world.count(name);
        let acted = status == 500 && world.rng.chance(0.3);
        let conn = form.get("refresh_token").and_then(|token| Tag::parse(token)).map(|tag| tag.conn);
        // A server may fail before it has done anything, or after.
        if acted {
            drop(act(world, pid, call, what, form));
            world.note(Some(pid), conn, What::Garbled { call });
        }
        world.note(Some(pid), conn, What::Acted { call, outcome: format!("status {status}") });
        return refuse(status, "server_error");
    }
    act(world, pid, call, what, form)
}

fn act(world: &mut World, pid: Pid, call: u64, what: &'static str, form: &Form) -> HttpResponse {
    match what {
        "refresh" => refresh(world, pid, call, form),
        "exchange" => exchange(world, pid, call, form),
        _ => revoke(world, pid, call, form),
    }
}

fn refresh(world: &mut World, pid: Pid, call: u64, form: &Form) -> HttpResponse {
    let Some(spent) = form.get("refresh_token").and_then(|token| Tag::parse(token)) else {
        return refuse(400, "invalid_request");
    };
    let now = world.now();
    let grant = &mut world.grants[spent.grant];
    match grant.spend(now, spent.refresh) {
        Ok(serial) => {
            let issued = grant.issue(spent.grant, serial);
            tokens(world, pid, call, Some(spent), issued)
        }
        Err(why) => {
            world.note(Some(pid), Some(spent.conn), What::Refused { call, spent, why });
            refuse(400, "invalid_grant")
        }
    }
}

fn exchange(world: &mut World, pid: Pid, call: u64, form: &Form) -> HttpResponse {
    let Some(grant) = form.get("code").and_then(|code| world.codes.remove(code)) else {
        return refuse(400, "invalid_grant");
    };
    let issued = world.grants[grant].issue(grant, 0);
    tokens(world, pid, call, None, issued)
}

fn tokens(world: &mut World, pid: Pid, call: u64, spent: Option<Tag>, issued: Tag) -> HttpResponse {
    world.note(Some(pid), Some(issued.conn), What::Issued { call, spent, issued });
    let mut given = issued;
    if world.plant == Some(Plant::SwapTokens) && world.rng.chance(0.05) {
        // As if a cache in front of the provider mixed up two users.
        given.conn = (given.conn + 1) % world.conns.len();
    }
    let life = world.rng.pick(&[150, 400, 700, 1800]);
    let life = if world.rng.chance(0.01) { 1 } else { life };
    let scope = if world.grants[issued.grant].write { "read write" } else { "read" };
    reply(
        StatusCode::OK,
        &json!({
            "access_token": given.text(),
            "token_type": "Bearer",
            "expires_in": life,
            "refresh_token": Tag { access: 0, ..given }.text(),
            "scope": scope,
        }),
    )
}

fn revoke(world: &mut World, pid: Pid, call: u64, form: &Form) -> HttpResponse {
    if let Some(tag) = form.get("token").and_then(|token| Tag::parse(token)) {
        world.grants[tag.grant].ended.get_or_insert(Ended::App);
        world.note(Some(pid), Some(tag.conn), What::Revoked { call, grant: tag.grant });
    }
    reply(StatusCode::OK, &json!({}))
}

/// The user says yes: the query of the redirect.
pub(crate) fn authorize(world: &mut World, conn: usize, url: &Url) -> String {
    let mode = world.conns[conn].mode;
    let write = world.rng.chance(0.5);
    let grant = world.grants.len();
    world.grants.push(Grant::new(conn, mode, write));
    let code = format!("{MARK}-code-{grant}");
    world.codes.insert(code.clone(), grant);
    let state = url.query_pairs().find(|(name, _)| name == "state");
    let state = state.map(|(_, value)| value.into_owned()).unwrap_or_default();
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("code", &code).append_pair("state", &state);
    query.finish()
}
