use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::binding::SessionBinding;
use super::callback::{Callback, invalid};
use super::flow::{self, Flow, state_hash};
use crate::connection::{Access, Grant, Loaded, Summary, TokenSet};
use crate::connector::{AccountPolicy, Registered};
use crate::core::Core;
use crate::disconnect;
use crate::error::{Error, ErrorKind, printable};
use crate::event::Event;
use crate::id::{ConnectionKey, Incarnation, Slot};
use crate::oauth::{self, Account, ExchangeRequest, Expected};
use crate::provider::endpoints::Endpoints;
use crate::provider::spec::{CallbackMethod, IdentitySource, IssMode, ScopesCheck, Spec};
use crate::refresh::schedule;
use crate::secret::SecretString;
use crate::store::{Condition, ConnectionRecord, ConnectionStatus, FlowRecord, Put, RevocationRecord, Version};

/// Clocks of several processes may differ by so much.
const CLOCK_SKEW: Duration = Duration::from_secs(60);
const TRIES: usize = 8;

/// A finished authorization.
#[derive(Debug, Clone)]
pub struct Connected {
    keys: Vec<ConnectionKey>,
    account: Option<Account>,
    scopes: Vec<String>,
    return_to: String,
}

impl Connected {
    /// The connection.
    #[must_use]
    pub fn connection(&self) -> &ConnectionKey {
        &self.keys[0]
    }

    /// All connections that this one consent gave: most providers give one, Slack may give a bot's and a user's.
    #[must_use]
    pub fn connections(&self) -> &[ConnectionKey] {
        &self.keys
    }

    /// The provider's stable id of the account, where the provider tells.
    #[must_use]
    pub fn account_id(&self) -> Option<&str> {
        self.account.as_ref().map(|account| account.id.as_str())
    }

    /// The account's e-mail address, where the provider tells.
    #[must_use]
    pub fn account_email(&self) -> Option<&str> {
        self.account.as_ref()?.email.as_deref()
    }

    /// What the user granted.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.scopes.iter().map(String::as_str)
    }

    /// Where to send the browser now, as given to `return_to` at the start.
    #[must_use]
    pub fn return_to(&self) -> &str {
        &self.return_to
    }
}

/// Takes the flow and finishes it in a task of its own: from here on a closed browser tab changes nothing.
pub(crate) async fn complete(
    core: &Arc<Core>,
    callback: Callback,
    binding: &SessionBinding,
) -> Result<Connected, Error> {
    let (core2, binding) = (Arc::clone(core), binding.clone());
    core.detached(async move {
        let hash = state_hash(&callback.state);
        let Some(record) = core2.stores.flows.take(&hash).await? else {
            return Err(Error::new(ErrorKind::UnknownState, "unknown, used, cancelled or expired state"));
        };
        let result = finish(&core2, &record, &callback, &binding).await;
        if let Err(error) = &result {
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
    let flow = core.open_flow(record).await?;
    check_time(core, record)?;
    if !binding.matches(&flow.binding) {
        return Err(Error::new(ErrorKind::SessionMismatch, "the callback came in another session"));
    }
    if callback.connector.as_ref().is_some_and(|connector| *connector != record.connector) {
        return Err(invalid("the callback came to another connector's path"));
    }
    let key = flow::key(record);
    let registered = core.registered(&record.tenant, &record.connector).await?;
    registered.registration.check_owner(&record.owner)?;
    let spec = registered.provider.spec();
    let endpoints = registered.endpoints(core, &flow.config).await?;
    check_callback(callback, &flow, spec, &endpoints)?;
    if flow.client_id != registered.registration.client_id || flow.token_endpoint != endpoints.token.as_str()
    {
        return Err(Error::new(ErrorKind::FlowCancelled, "the connector changed while the user was away"));
    }

    let code = callback.code(&spec.callback.code_param, spec.callback.strip_suffix.as_deref())?;
    let captured = capture(callback, spec)?;
    let verifier = flow.verifier.as_deref().map(SecretString::new);
    let client = registered.client(core, &endpoints);
    let grants = client
        .exchange(&ExchangeRequest {
            code: &code,
            verifier: verifier.as_ref(),
            redirect_uri: &flow.redirect_uri,
            scopes: &flow.requested,
            callback: &callback.texts(),
            state: Some(&callback.state),
        })
        .await
        .map_err(|failure| failure.error)?;

    let mut connected =
        Connected { keys: Vec::new(), account: None, scopes: Vec::new(), return_to: flow.return_to.clone() };
    for grant in grants {
        let key = match &grant.slot {
            Some(slot) => ConnectionKey { slot: Slot::new(slot)?, ..key.clone() },
            None => key.clone(),
        };
        let new = judge(core, &registered, &endpoints, &flow, &captured, grant).await?;
        let (account, scopes) = (new.summary.account.clone(), new.summary.scopes.clone());
        let key = store(core, &registered, &flow, key, new).await?;
        core.report(&Event::Connected { key: key.clone() });
        if connected.keys.is_empty() {
            (connected.account, connected.scopes) = (account, scopes);
        }
        connected.keys.push(key);
    }
    if connected.keys.is_empty() {
        return Err(Error::new(ErrorKind::ProviderReplyInvalid, "malformed token response: no grant in it"));
    }
    Ok(connected)
}

fn check_time(core: &Core, record: &FlowRecord) -> Result<(), Error> {
    let now = core.now();
    // A wall clock that was set back must not stretch a flow's life.
    if now > record.expires_at || now.saturating_add(CLOCK_SKEW) < record.created_at {
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
struct New {
    tokens: TokenSet,
    summary: Summary,
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
            config
                .insert(if rule.field.is_empty() { name.clone() } else { rule.field.clone() }, value.clone());
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
    };
    let tokens = TokenSet {
        access: vec![Access {
            audience: String::new(),
            token: reply.access_token.expose_secret().to_owned(),
            expires_at: reply.expires_at,
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
        secrets: reply
            .secrets
            .iter()
            .map(|(name, secret)| (name.clone(), secret.expose_secret().to_owned()))
            .collect(),
    };
    Ok(New { tokens, summary })
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

/// OpenID Connect Core 5.3.2: a userinfo answer about somebody else than the id_token is not to be used.
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

/// Writes the connection. What stood in its place goes in the same step.
async fn store(
    core: &Arc<Core>,
    registered: &Registered,
    flow: &Flow,
    mut key: ConnectionKey,
    new: New,
) -> Result<ConnectionKey, Error> {
    let asked = key.slot.clone();
    for _ in 0..TRIES {
        let old = load_leniently(core, &key).await?;
        if flow.replaces.is_some() && old.is_none() && key.slot == asked {
            return Err(Error::new(ErrorKind::FlowCancelled, "the user disconnected while at the provider"));
        }
        let mut owed = None;
        if let Some(Old::Opened(old)) = &old
            && let (Some(before), Some(now)) = (&old.tokens.grant.account, &new.summary.account)
            && *before != now.id
        {
            match registered.registration.policy {
                AccountPolicy::Reject => {
                    let message = format!("{key} belongs to another account");
                    return Err(Error::new(ErrorKind::AccountMismatch, message));
                }
                AccountPolicy::NewSlot => {
                    key.slot = Slot::new(&now.id)?;
                    continue;
                }
                AccountPolicy::Replace => owed = disconnect::owe(core, old, Some(registered)).await?,
            }
        }
        let record = build(core, registered.provider.spec(), &key, &new).await?;
        let condition = old.as_ref().map_or(Condition::Absent, |old| Condition::Version(old.version()));
        if write(core, &record, condition, owed.as_ref()).await? {
            if let Some(owed) = owed {
                disconnect::settle_soon(core, owed);
            }
            return Ok(key);
        }
    }
    Err(Error::new(ErrorKind::Contended, format!("{key} kept changing")))
}

/// Whether the record was written. A fault may have struck after the write: what is there then decides.
async fn write(
    core: &Core,
    record: &ConnectionRecord,
    condition: Condition,
    owed: Option<&RevocationRecord>,
) -> Result<bool, Error> {
    match core.stores.connections.put(record, condition, owed).await {
        Ok(put) => Ok(put == Put::Written),
        Err(fault) => match core.stores.connections.get(&record.key).await {
            Ok(Some(stored)) if stored.version == record.version => Ok(true),
            _ => Err(fault.into()),
        },
    }
}

/// What stands in the slot. A record that no longer opens must not keep the user from connecting again.
enum Old {
    Opened(Box<Loaded>),
    Sealed(Version),
}

impl Old {
    fn version(&self) -> Version {
        match self {
            Self::Opened(loaded) => loaded.record.version,
            Self::Sealed(version) => *version,
        }
    }
}

async fn load_leniently(core: &Core, key: &ConnectionKey) -> Result<Option<Old>, Error> {
    let Some(record) = core.stores.connections.get(key).await? else {
        return Ok(None);
    };
    let version = record.version;
    match core.open_record(record).await {
        Ok(loaded) => Ok(Some(Old::Opened(Box::new(loaded)))),
        Err(error) if error.is_retryable() => Err(error),
        Err(_) => Ok(Some(Old::Sealed(version))),
    }
}

async fn build(core: &Core, spec: &Spec, key: &ConnectionKey, new: &New) -> Result<ConnectionRecord, Error> {
    let New { tokens, summary } = new;
    let incarnation = Incarnation::random(&*core.entropy)?;
    let now = core.now();
    let expires_at = tokens.default_access().and_then(|access| access.expires_at);
    let mut record = ConnectionRecord {
        key: key.clone(),
        version: Version::random(&*core.entropy)?,
        incarnation,
        generation: 1,
        status: ConnectionStatus::Active,
        due_at: schedule::due_at(core, spec, tokens, now)?,
        expires_at,
        created_at: now,
        updated_at: now,
        summary: core.seal_summary(key, incarnation, summary).await?,
        credential: Vec::new(),
        refresh: Vec::new(),
    };
    core.seal_tokens(&mut record, tokens).await?;
    Ok(record)
}
