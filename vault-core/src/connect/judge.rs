//! What a provider granted: whether it is what was asked for, and whose account it is.

use std::collections::BTreeMap;

use url::Url;

use super::flow::Flow;
use crate::connection::{Access, Grant, Summary, TokenSet};
use crate::connector::Registered;
use crate::core::Core;
use crate::error::{Error, ErrorKind};
use crate::oauth::{self, Account, Expected};
use crate::provider::endpoints::Endpoints;
use crate::provider::spec::{Capture, IdentitySource, ScopesCheck, Spec};
use crate::refresh::schedule;
use crate::secret::SecretString;

/// Tokens that passed every check, ready to be stored.
pub(super) struct New {
    pub(super) tokens: TokenSet,
    pub(super) summary: Summary,
}

pub(super) async fn judge(
    core: &Core,
    registered: &Registered,
    endpoints: &Endpoints,
    flow: &Flow,
    captured: &BTreeMap<String, String>,
    reply: &oauth::TokenReply,
) -> Result<New, Error> {
    let spec = registered.provider.spec();
    let scopes = reply.scopes.clone().unwrap_or_else(|| flow.requested.clone());
    check_granted(spec, &flow.required, &scopes)?;
    let account = identify(core, registered, endpoints, flow, reply, &scopes).await?;

    let mut config: BTreeMap<String, String> = flow.config.clone();
    for (name, value) in captured {
        if let Some(rule) = spec.callback.capture.get(name).filter(|rule| rule.persist && !rule.secret) {
            config.insert(field_name(name, rule), value.clone());
        }
    }
    config.extend(reply.config.clone());
    let config: Vec<_> = config.into_iter().collect();
    let summary = Summary {
        provider: registered.provider.id().to_owned(),
        client_id: flow.client_id.clone(),
        account: account.clone(),
        scopes: scopes.clone(),
        requested: flow.requested.clone(),
        config: config.clone(),
        reconsent_due_at: schedule::reconsent_due_at(spec, core.now()),
    };
    let tokens = TokenSet {
        access: vec![Access {
            audience: String::new(),
            token: reply.access_token.expose_secret().to_owned(),
            expires_at: reply.expires_at,
            obtained_at: core.now(),
            refresh_after: schedule::refresh_after(core, spec, reply.earliest_refresh_at, core.now()),
            scopes,
        }],
        config,
        refresh_token: reply.refresh_token.as_ref().map(|token| token.expose_secret().to_owned()),
        refresh_expires_at: reply.refresh_expires_at,
        earliest_refresh_at: reply.earliest_refresh_at,
        refreshed_at: core.now(),
        alternates: Vec::new(),
        grant: Grant {
            issuer: flow.issuer.clone(),
            token_origin: origin(endpoints.refresh_or_token()),
            client_id: flow.client_id.clone(),
            account: account.map(|account| account.id),
        },
        secrets: secrets(spec, captured, reply),
    };
    Ok(New { tokens, summary })
}

/// What was captured and is secret itself, such as a webhook URL.
fn secrets(
    spec: &Spec,
    captured: &BTreeMap<String, String>,
    reply: &oauth::TokenReply,
) -> Vec<(String, String)> {
    let from_callback = captured.iter().filter_map(|(name, value)| {
        let rule = spec.callback.capture.get(name).filter(|rule| rule.persist && rule.secret)?;
        Some((field_name(name, rule), value.clone()))
    });
    let from_reply =
        reply.secrets.iter().map(|(name, value)| (name.clone(), value.expose_secret().to_owned()));
    from_callback.chain(from_reply).collect()
}

fn field_name(param: &str, rule: &Capture) -> String {
    if rule.field.is_empty() { param.to_owned() } else { rule.field.clone() }
}

pub(crate) fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

fn check_granted(spec: &Spec, required: &[String], granted: &[String]) -> Result<(), Error> {
    if spec.scopes_check == ScopesCheck::Unknown || spec.authorize.scope.fixed_on_app {
        return Ok(());
    }
    let ask_only = |scope: &String| spec.authorize.scope.required_for_refresh.contains(scope);
    let missing: Vec<String> =
        required.iter().filter(|scope| !granted.contains(scope) && !ask_only(scope)).cloned().collect();
    if missing.is_empty() {
        return Ok(());
    }
    let message = format!("the user did not grant {}", missing.join(" "));
    Err(Error::new(ErrorKind::MissingScopes { missing }, message))
}

async fn identify(
    core: &Core,
    registered: &Registered,
    endpoints: &Endpoints,
    flow: &Flow,
    reply: &oauth::TokenReply,
    scopes: &[String],
) -> Result<Option<Account>, Error> {
    let spec = registered.provider.spec();
    let claims = match (&reply.id_token, &endpoints.issuer, &endpoints.jwks) {
        (Some(id_token), Some(issuer), Some(jwks)) => {
            let nonce = flow.nonce.as_deref().map(SecretString::new);
            let expected = Expected {
                issuer,
                client_id: &flow.client_id,
                nonce: nonce.as_ref(),
                nonce_mode: spec.authorize.nonce,
                max_age: None,
                now: core.now(),
            };
            Some(oauth::validate_id_token(&core.jwks, jwks, id_token, expected).await?)
        }
        _ if flow.nonce.is_some() && spec.identity.source == IdentitySource::IdToken => {
            return Err(Error::new(ErrorKind::IdTokenInvalid, "id_token invalid: it is missing"));
        }
        _ => None,
    };
    match (spec.identity.source, &claims) {
        (IdentitySource::IdToken, Some(claims)) => Ok(oauth::account_from_claims(spec, claims)),
        (IdentitySource::IdToken, None) => Ok(None),
        _ => {
            let account = registered.client(core, endpoints).account(reply, scopes).await?;
            check_subject(spec, claims.as_ref(), account.as_ref())?;
            Ok(account)
        }
    }
}

/// OpenID Connect Core 5.3.2: a userinfo answer about somebody else than the `id_token` is not to be used.
fn check_subject(
    spec: &Spec,
    claims: Option<&serde_json::Value>,
    account: Option<&Account>,
) -> Result<(), Error> {
    let subject = claims.and_then(|claims| claims.get("sub")).and_then(serde_json::Value::as_str);
    let by_sub = spec.identity.source == IdentitySource::Userinfo
        && spec.identity.id.first().is_some_and(|p| p == "/sub");
    match (subject, account) {
        (Some(subject), Some(account)) if by_sub && account.id != subject => {
            Err(Error::new(ErrorKind::IdTokenInvalid, "id_token invalid: sub is not the userinfo's"))
        }
        _ => Ok(()),
    }
}
