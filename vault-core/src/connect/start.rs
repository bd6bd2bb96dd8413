use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use url::Url;

use super::binding::SessionBinding;
use super::flow::{Flow, context, random_handle, state_hash};
use super::target;
use crate::clock::Timestamp;
use crate::connector::Registered;
use crate::core::Core;
use crate::error::{Error, ErrorKind, printable};
use crate::id::{ConnectionKey, Slot};
use crate::oauth::{AuthorizeRequest, asked_scopes, new_verifier};
use crate::provider::endpoints::Endpoints;
use crate::provider::spec::{PkceMode, ScopesCheck, Spec, VarSource};
use crate::provider::vars::check_vars;
use crate::store::{FlowInsert, FlowRecord};

const TRIES: usize = 4;

/// An authorization about to start. Made by [`OwnerHandle::connect`](crate::OwnerHandle::connect).
#[derive(Debug)]
#[must_use = "nothing happens before `start`"]
pub struct Connect {
    core: Arc<Core>,
    key: Result<ConnectionKey, Error>,
    scopes: Option<Vec<String>>,
    required: Option<Vec<String>>,
    return_to: String,
    redirect_uri: Option<String>,
    config: BTreeMap<String, String>,
    params: BTreeMap<String, String>,
}

/// A started authorization: send the browser to [`url`](Self::url).
pub struct Started {
    url: Url,
}

impl Started {
    /// The provider's authorization page, with everything it needs. It names the flow by its state: treat it as the
    /// user's own, and do not log it.
    #[must_use]
    pub const fn url(&self) -> &Url {
        &self.url
    }
}

impl fmt::Debug for Started {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Started").field("host", &self.url.host_str()).finish_non_exhaustive()
    }
}

impl Connect {
    pub(crate) fn new(core: Arc<Core>, key: Result<ConnectionKey, Error>) -> Self {
        Self {
            core,
            key,
            scopes: None,
            required: None,
            return_to: "/".to_owned(),
            redirect_uri: None,
            config: BTreeMap::new(),
            params: BTreeMap::new(),
        }
    }

    /// Which of the owner's accounts this is; the default slot when never called.
    pub fn slot(mut self, slot: Slot) -> Self {
        if let Ok(key) = &mut self.key {
            key.slot = slot;
        }
        self
    }

    /// Scopes to ask for instead of the connector's. To widen an existing connection, name the old ones too.
    pub fn scopes<S: Into<String>>(mut self, scopes: impl IntoIterator<Item = S>) -> Self {
        self.scopes = Some(scopes.into_iter().map(Into::into).collect());
        self
    }

    /// The scopes without which there is no connection. By default all that are asked for, unless the provider lets
    /// users untick single ones, or does not report exactly what it granted: then none.
    pub fn require_scopes<S: Into<String>>(mut self, scopes: impl IntoIterator<Item = S>) -> Self {
        self.required = Some(scopes.into_iter().map(Into::into).collect());
        self
    }

    /// Where the host sends the browser afterwards: a path on its own site, or one of the absolute URLs that the vault
    /// was built with. `/` when never called. It is kept on the server and comes back in [`Connected`](super::Connected).
    pub fn return_to(mut self, target: impl Into<String>) -> Self {
        self.return_to = target.into();
        self
    }

    /// Another redirect URI than the connector's, one of those that the vault was built with.
    pub fn redirect_uri(mut self, uri: impl Into<String>) -> Self {
        self.redirect_uri = Some(uri.into());
        self
    }

    /// A value for an extra field of the connector or for a URL variable that the provider asks users for.
    pub fn config(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.config.insert(name.into(), value.into());
        self
    }

    /// A parameter for the authorization request, such as `login_hint`. Parameters that the protocol uses itself are
    /// refused.
    pub fn authorize_param(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.params.insert(name.into(), value.into());
        self
    }

    /// Stores the flow, bound to the session, and makes the URL.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] naming the bad argument, [`ErrorKind::UnknownConnector`],
    /// [`ErrorKind::ConnectorDisabled`], [`ErrorKind::TooManyFlows`], [`ErrorKind::StoreUnavailable`],
    /// [`ErrorKind::Contended`] while the user is being erased again and again, and for a provider
    /// with discovery its failures. No URL is given then, and nothing stored, or a pending flow that nobody can complete.
    ///
    /// # Cancel safety
    /// Dropping the future leaves at most a pending flow that nobody can complete.
    #[tracing::instrument(name = "vault.connect.start", skip_all)]
    pub async fn start(self, binding: &SessionBinding) -> Result<Started, Error> {
        let core = &*self.core;
        core.check_open()?;
        let key = self.key?;
        let registered = core.registered(&key.tenant, &key.connector).await?;
        registered.registration.check_owner(&key.owner)?;
        target::check(&self.return_to, &core.settings.return_targets)?;
        let redirect_uri = self.redirect_uri.unwrap_or_else(|| registered.registration.redirect_uri.clone());
        crate::connector::check_redirect_uri(&redirect_uri, &core.settings)?;
        let spec = registered.provider.spec();
        let mut params = registered.registration.params.clone();
        params.extend(self.params);
        let config = check_config(&registered, self.config)?;
        let asked = self.scopes.unwrap_or_else(|| registered.registration.scopes.clone());
        let requested = asked_scopes(spec, &registered.provider.check_scopes(&asked)?);
        let required = match self.required {
            Some(required) => registered.provider.check_scopes(&required)?,
            None if spec.granular || spec.scopes_check != ScopesCheck::Exact => Vec::new(),
            None => requested.clone(),
        };
        let endpoints = registered.endpoints(core, &config).await?;

        let state = random_handle(&*core.entropy)?;
        let verifier = if uses_pkce(spec, &endpoints)? { Some(new_verifier(&*core.entropy)?) } else { None };
        let openid = requested.iter().any(|scope| scope == "openid");
        let nonce = if openid { Some(random_handle(&*core.entropy)?) } else { None };
        let url = registered.client(core, &endpoints).authorize_url(&AuthorizeRequest {
            redirect_uri: &redirect_uri,
            scopes: &requested,
            state: &state,
            verifier: verifier.as_ref(),
            nonce: nonce.as_ref(),
            extra: &params,
        })?;
        let now = core.now();
        let flow = Flow {
            binding: binding.digest(),
            client_id: registered.registration.client_id.clone(),
            issuer: endpoints.issuer.clone(),
            token_endpoint: endpoints.token.to_string(),
            redirect_uri,
            requested,
            required,
            return_to: self.return_to,
            verifier: verifier.map(|verifier| verifier.expose_secret().to_owned()),
            nonce: nonce.map(|nonce| nonce.expose_secret().to_owned()),
            config,
            expires_at: now.saturating_add(core.settings.flow_ttl),
            began: core.moment(),
        };
        insert(core, &key, &flow, state_hash(&state), now).await?;
        Ok(Started { url })
    }
}

/// Stores the flow under a data key that outlives it. An erasure in another process destroys the user's, and then
/// cancels the flows that are there: whichever comes first, one of the two sees the other.
async fn insert(
    core: &Core,
    key: &ConnectionKey,
    flow: &Flow,
    state_hash: [u8; 32],
    now: Timestamp,
) -> Result<(), Error> {
    let context = context(key, &state_hash);
    for again in 0..TRIES {
        let record = FlowRecord {
            state_hash,
            tenant: key.tenant.clone(),
            owner: key.owner.clone(),
            connector: key.connector.clone(),
            slot: key.slot.clone(),
            created_at: now,
            expires_at: flow.expires_at,
            sealed: core.sealer.seal(&context, flow.to_bytes()?.expose_secret()).await?,
        };
        match core.stores.flows.insert(&record, core.settings.flow_cap, now).await? {
            FlowInsert::Inserted => {}
            FlowInsert::TooMany => {
                let message = format!("{} has too many authorizations under way", key.owner);
                return Err(Error::new(ErrorKind::TooManyFlows, message));
            }
            FlowInsert::Exists if again == 0 => {
                return Err(Error::new(ErrorKind::RandomUnavailable, "the random source repeats itself"));
            }
            FlowInsert::Exists => break,
        }
        if core.sealer.keeps_key_of_user(&context, &record.sealed).await? {
            return Ok(());
        }
        if let Some(taken) = core.stores.flows.take(&state_hash, flow.expires_at, now).await? {
            core.stores.flows.finish(&taken).await?;
        }
    }
    Err(Error::new(ErrorKind::Contended, format!("{} is being erased", key.owner)))
}

/// Values for the provider's variables, and for the connector's extra fields; nothing else.
fn check_config(
    registered: &Registered,
    given: BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, Error> {
    let spec = registered.provider.spec();
    let (vars, rest): (BTreeMap<_, _>, _) =
        given.into_iter().partition(|(name, _)| spec.vars.contains_key(name));
    let mut config = check_vars(spec, vars, |source| source == VarSource::User)?;
    for (name, value) in rest {
        let field = registered.registration.fields.iter().find(|field| field.name == name);
        let field = field.ok_or_else(|| unknown_field(&name))?;
        field.check(&value)?;
        config.insert(name, value);
    }
    match registered.registration.fields.iter().find(|field| !config.contains_key(&field.name)) {
        Some(missing) => {
            Err(Error::new(ErrorKind::InvalidInput, format!("missing field `{}`", printable(&missing.name))))
        }
        None => Ok(config),
    }
}

fn unknown_field(name: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, format!("unknown field `{}`", printable(name)))
}

/// PKCE wherever the provider knows it; never without, where it is required (RFC 9700 section 2.1.1).
fn uses_pkce(spec: &Spec, endpoints: &Endpoints) -> Result<bool, Error> {
    let s256 = endpoints.pkce_methods.as_ref().map(|methods| methods.iter().any(|method| method == "S256"));
    match (spec.authorize.pkce.mode, s256) {
        (PkceMode::Unsupported, _) => Ok(false),
        (PkceMode::Required, Some(false)) => Err(Error::new(
            ErrorKind::ProviderMisconfigured,
            "the provider's metadata does not offer PKCE with S256, which this provider definition requires",
        )),
        _ => Ok(true),
    }
}
