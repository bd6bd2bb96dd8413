use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::binding::SessionBinding;
use super::callback::{Callback, invalid};
use super::connected::Connected;
use super::flow::{self, Flow, state_hash};
use super::keep::{Kept, insert, replace};
use crate::connection::{Access, Grant, Summary, TokenSet};
use crate::connector::Registered;
use crate::core::Core;
use crate::disconnect::withdraw;
use crate::error::{Error, ErrorKind, printable};
use crate::event::Event;
use crate::id::{ConnectionKey, Incarnation, Slot};
use crate::oauth::{self, Account, ExchangeRequest, Expected};
use crate::provider::endpoints::Endpoints;
use crate::provider::spec::{CallbackMethod, Capture, IdentitySource, IssMode, ScopesCheck, Spec};
use crate::refresh::schedule;
use crate::revocation::revoke_unstored;
use crate::secret::SecretString;
use crate::store::FlowRecord;

/// Clocks of several processes may differ by so much.
const CLOCK_SKEW: Duration = Duration::from_secs(60);
/// Longer than any exchange: so long a taken flow can be cancelled. After a crash it is purged then.
const UNDER_WAY: Duration = Duration::from_secs(10 * 60);

/// Takes the flow and finishes it in a task of its own: from here on a closed browser tab changes nothing.
pub(crate) async fn complete(
    core: &Arc<Core>,
    callback: Callback,
    binding: &SessionBinding,
) -> Result<Connected, Error> {
    let (core2, binding) = (Arc::clone(core), binding.clone());
    core.detached(async move {
        let hash = state_hash(&callback.state);
        let now = core2.now();
        let until = now.saturating_add(UNDER_WAY);
        let Some(record) = core2.stores.flows.take(&hash, until, now).await? else {
            return Err(Error::new(ErrorKind::UnknownState, "unknown, used, cancelled or expired state"));
        };
        let result = finish(&core2, &record, &callback, &binding).await;
        if let Err(error) = &result
            && *error.kind() != ErrorKind::AuditUnavailable
        {
            core2.report(&Event::ConnectFailed {
                tenant: record.tenant.clone(),
                owner: record.owner.clone(),
                connector: record.connector.clone(),
                kind: error.kind().clone(),
            });
        }
        result
    })
    .await
}

async fn finish(
    core: &Arc<Core>,
    record: &FlowRecord,
    callback: &Callback,
    binding: &SessionBinding,
) -> Result<Connected, Error> {
    let flows = &core.stores.flows;
    let redeemed = match redeem(core, record, callback, binding).await {
        Ok(redeemed) => redeemed,
        Err(error) => {
            // What stays is purged.
            let _ = flows.finish(record).await;
            return Err(error);
        }
    };
    let mut kept = Vec::new();
    let mut finished = false;
    let stored = store(core, record, &redeemed, &mut kept, &mut finished).await;
    // Whoever disconnects the user takes the flow away before the connection: either what was stored is seen there, or
    // the flow is missed here. Where the store does not say, the connection stands as it says.
    let cancelled = matches!(stored, Ok(Stored::Cancelled));
    if cancelled || !finished && matches!(flows.finish(record).await, Ok(false)) {
        return undo(core, &redeemed, &kept).await;
    }
    let mut audited = Ok(());
    for kept in &kept {
        audited = audited.and(core.audit(Event::Connected { key: kept.key.clone() }).await);
    }
    stored?;
    audited?;
    let first = redeemed.grants.into_iter().next();
    let (_, New { summary, .. }) = first.ok_or_else(|| {
        Error::new(ErrorKind::ProviderReplyInvalid, "malformed token response: no grant in it")
    })?;
    Ok(Connected {
        keys: kept.into_iter().map(|kept| kept.key).collect(),
        account: summary.account,
        scopes: summary.scopes,
        return_to: redeemed.flow.return_to.clone(),
    })
}

/// How storing ended.
enum Stored {
    All,
    /// The user has disconnected, and nothing was replaced.
    Cancelled,
}

/// What is new is stored before the flow is finished, and taken back should that find it cancelled. What another
/// connection makes room for is stored only after: that one could not be brought back.
async fn store(
    core: &Arc<Core>,
    record: &FlowRecord,
    redeemed: &Redeemed,
    kept: &mut Vec<Kept>,
    finished: &mut bool,
) -> Result<Stored, Error> {
    let registered = &redeemed.registered;
    let mut in_the_way = Vec::new();
    for (key, new) in &redeemed.grants {
        // Even a write that seems to have failed may have to be taken back.
        kept.push(Kept { key: key.clone(), incarnation: Incarnation::random(&*core.entropy)? });
        if let Some(candidate) = kept.last()
            && !insert(core, registered, candidate, new).await?
        {
            in_the_way.push((kept.len() - 1, new));
        }
    }
    if in_the_way.is_empty() {
        return Ok(Stored::All);
    }
    if !core.stores.flows.finish(record).await? {
        return Ok(Stored::Cancelled);
    }
    *finished = true;
    for (n, new) in in_the_way {
        if !replace(core, registered, &mut kept[n], new).await? {
            return Ok(Stored::Cancelled);
        }
    }
    Ok(Stored::All)
}

/// A disconnect came too late to see what was stored, and must not be outlived by it, nor by what was granted.
async fn undo(core: &Core, redeemed: &Redeemed, kept: &[Kept]) -> Result<Connected, Error> {
    for (Kept { key, incarnation }, (_, new)) in kept.iter().zip(&redeemed.grants) {
        withdraw(core, key, *incarnation).await?;
        revoke_unstored(core, key, &redeemed.registered, &new.tokens).await;
    }
    Err(cancelled("the user disconnected while the code was exchanged or the connection stored"))
}

/// What the code was exchanged for, with all that storing it takes.
struct Redeemed {
    flow: Flow,
    registered: Arc<Registered>,
    grants: Vec<(ConnectionKey, New)>,
}

/// Everything short of storing.
async fn redeem(
    core: &Core,
    record: &FlowRecord,
    callback: &Callback,
    binding: &SessionBinding,
) -> Result<Redeemed, Error> {
    let flow = core.open_flow(record).await?;
    check_time(core, record, &flow)?;
    if !binding.matches(&flow.binding) {
        return Err(Error::new(ErrorKind::SessionMismatch, "the callback came in another session"));
    }
    if callback.connector.as_ref().is_some_and(|connector| *connector != record.connector) {
        return Err(invalid("the callback came to another connector's path"));
    }
    let mut registered = core.registered(&record.tenant, &record.connector).await?;
    let mut exchanged = exchange(core, record, callback, &flow, &registered).await;
    // The client was refused, not the code: where another process has given it a new secret, that one is tried.
    if exchanged.as_ref().is_err_and(|error| *error.kind() == ErrorKind::ProviderMisconfigured)
        && let Ok(Some(changed)) = core.changed_since(&registered).await
    {
        exchanged = exchange(core, record, callback, &flow, &changed).await;
        registered = changed;
    }
    let Exchanged { endpoints, captured, grants: issued } = exchanged?;
    let mut grants = Vec::new();
    for grant in issued {
        let slot = grant.slot.as_ref().map(Slot::new).transpose()?;
        let slot = slot.unwrap_or_else(|| record.slot.clone());
        let new = judge(core, &registered, &endpoints, &flow, &captured, grant).await?;
        grants.push((ConnectionKey { slot, ..flow::key(record) }, new));
    }
    Ok(Redeemed { flow, registered, grants })
}

/// What came for the code, not judged yet.
struct Exchanged {
    endpoints: Endpoints,
    captured: BTreeMap<String, String>,
    grants: Vec<oauth::Grant>,
}

/// Holds the callback against the flow and the connector as it is now, then sends the code.
async fn exchange(
    core: &Core,
    record: &FlowRecord,
    callback: &Callback,
    flow: &Flow,
    registered: &Registered,
) -> Result<Exchanged, Error> {
    registered.registration.check_owner(&record.owner)?;
    let spec = registered.provider.spec();
    let endpoints = registered.endpoints(core, &flow.config).await?;
    check_callback(callback, flow, spec, &endpoints)?;
    if flow.client_id != registered.registration.client_id || flow.token_endpoint != endpoints.token.as_str()
    {
        return Err(cancelled("the connector changed while the user was away"));
    }

    let code = callback.code(&spec.callback.code_param, spec.callback.strip_suffix.as_deref())?;
    let captured = capture(callback, spec)?;
    let verifier = flow.verifier.as_deref().map(SecretString::new);
    let exchange = ExchangeRequest {
        code: &code,
        verifier: verifier.as_ref(),
        redirect_uri: &flow.redirect_uri,
        scopes: &flow.requested,
        callback: &callback.texts(),
        state: Some(&callback.state),
    };
    let grants = registered.client(core, &endpoints).exchange(&exchange).await;
    let grants = grants.map_err(|failure| failure.error)?;
    Ok(Exchanged { endpoints, captured, grants })
}

pub(super) fn cancelled(why: &'static str) -> Error {
    Error::new(ErrorKind::FlowCancelled, why)
}

fn check_time(core: &Core, record: &FlowRecord, flow: &Flow) -> Result<(), Error> {
    let now = core.now();
    // A wall clock that was set back must not stretch a flow's life.
    let set_back = now.saturating_add(CLOCK_SKEW) < record.created_at;
    let outlived = core.since(flow.began).is_some_and(|age| age > core.settings.flow_ttl);
    if now > flow.expires_at || set_back || outlived {
        return Err(Error::new(ErrorKind::FlowExpired, "the authorization took too long"));
    }
    Ok(())
}

/// What the callback says, before anything leaves: who sent it (RFC 9207), and whether it is a denial.
fn check_callback(callback: &Callback, flow: &Flow, spec: &Spec, endpoints: &Endpoints) -> Result<(), Error> {
    if callback.posted != (spec.callback.method == CallbackMethod::Post) {
        return Err(invalid("the callback came by the wrong HTTP method for this provider"));
    }
    let mismatch = |message| Err(Error::new(ErrorKind::IssuerMismatch, message));
    match (callback.param("iss"), &flow.issuer) {
        (Some(iss), Some(issuer)) if iss != issuer => {
            return mismatch(format!("the callback is from {}, not from {issuer}", printable(iss)));
        }
        (None, _) if endpoints.sends_iss || spec.callback.iss == IssMode::Required => {
            return mismatch("the callback does not say who issued it".to_owned());
        }
        _ => {}
    }
    if let Some(error) = callback.param("error") {
        let description = callback.param("error_description").map(printable).unwrap_or_default();
        let message = format!("the provider denied the authorization: {} {description}", printable(error));
        return Err(Error::new(ErrorKind::Denied, message.trim_end().to_owned()));
    }
    Ok(())
}

/// Callback parameters that belong to the connection, such as QuickBooks' realm.
fn capture(callback: &Callback, spec: &Spec) -> Result<BTreeMap<String, String>, Error> {
    let mut captured = BTreeMap::new();
    for (name, rule) in &spec.callback.capture {
        match callback.param(name) {
            Some(value)
                if !value.is_empty() && value.len() <= 1024 && !value.chars().any(char::is_control) =>
            {
                captured.insert(name.clone(), value.to_owned());
            }
            _ if rule.required => return Err(invalid(format!("the callback lacks `{name}`"))),
            _ => {}
        }
    }
    Ok(captured)
}

/// Tokens that passed every check, ready to be stored.
pub(super) struct New {
    pub(super) tokens: TokenSet,
    pub(super) summary: Summary,
}

async fn judge(
    core: &Core,
    registered: &Registered,
    endpoints: &Endpoints,
    flow: &Flow,
    captured: &BTreeMap<String, String>,
    grant: oauth::Grant,
) -> Result<New, Error> {
    let spec = registered.provider.spec();
    let reply = grant.reply;
    let scopes = reply.scopes.clone().unwrap_or_else(|| flow.requested.clone());
    check_granted(spec, &flow.required, &scopes)?;
    let account = identify(core, registered, endpoints, flow, &reply, &scopes).await?;

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
        secrets: secrets(spec, captured, &reply),
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
