use std::collections::BTreeMap;

use regex_lite::Regex;
use serde::{Deserialize, Serialize};
use zeroize::Zeroize as _;

use super::{AccountPolicy, AllowedOwners, ClientAuth, ConnectorUpdate, NewConnector};
use crate::core::Settings;
use crate::error::{Error, ErrorKind, printable};
use crate::id::Owner;
use crate::provider::Provider;
use crate::provider::scopes::check_extra_params;
use crate::provider::spec::{ClientAuthKind, VarSource};
use crate::provider::vars::check_vars;

/// The sealed part of a connector: everything but its name.
#[derive(Serialize, Deserialize)]
pub(crate) struct Registration {
    /// The whole provider definition, as it was when the connector was registered.
    provider: String,
    pub(crate) client_id: String,
    pub(crate) secret: Option<String>,
    pub(crate) next_secret: Option<String>,
    pub(crate) auth: ClientAuthKind,
    pub(crate) scopes: Vec<String>,
    pub(crate) redirect_uri: String,
    pub(crate) params: BTreeMap<String, String>,
    pub(crate) vars: BTreeMap<String, String>,
    pub(crate) fields: Vec<Field>,
    pub(crate) owners: AllowedOwners,
    pub(crate) policy: AccountPolicy,
    pub(crate) enabled: bool,
}

/// An extra field of each connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) pattern: String,
}

impl Registration {
    pub(crate) fn new(new: NewConnector, settings: &Settings) -> Result<(String, Self), Error> {
        if let Some(field) = new.provider.unsupported() {
            let message =
                format!("provider {} needs `{field}`, which is not supported yet", new.provider.id());
            return Err(Error::new(ErrorKind::InvalidConfig, message));
        }
        if new.client_id.is_empty() {
            return Err(invalid("a connector needs a client id"));
        }
        let auth = choose_auth(&new.provider, new.auth, new.secret.is_some())?;
        let default_redirect = settings.redirect_uris.first().cloned().unwrap_or_default();
        let mut registration = Self {
            provider: new.provider.to_stored(),
            client_id: new.client_id,
            secret: new.secret.map(|secret| secret.expose_secret().to_owned()),
            next_secret: None,
            auth,
            scopes: new.provider.default_scopes().to_vec(),
            redirect_uri: default_redirect,
            params: BTreeMap::new(),
            vars: BTreeMap::new(),
            fields: Vec::new(),
            owners: AllowedOwners::default(),
            policy: AccountPolicy::default(),
            enabled: true,
        };
        let vars = check_vars(new.provider.spec(), new.change.vars, |source| source == VarSource::Operator)?;
        registration.apply(ConnectorUpdate { vars, ..new.change }, &new.provider, settings)?;
        Ok((check_name(new.name)?, registration))
    }

    pub(crate) fn provider(&self) -> Result<Provider, Error> {
        Provider::from_stored(&self.provider)
    }

    /// Checks every change before it makes the first.
    pub(crate) fn apply(
        &mut self,
        change: ConnectorUpdate,
        provider: &Provider,
        settings: &Settings,
    ) -> Result<(), Error> {
        let scopes = change.scopes.map(|scopes| provider.check_scopes(&scopes)).transpose()?;
        if let Some(params) = &change.params {
            check_extra_params(provider.spec(), params)?;
        }
        for field in change.fields.iter().flatten() {
            field.regex()?;
        }
        let redirect_uri = change.redirect_uri.unwrap_or_else(|| self.redirect_uri.clone());
        check_redirect_uri(&redirect_uri, settings)?;

        self.redirect_uri = redirect_uri;
        self.scopes = scopes.unwrap_or_else(|| std::mem::take(&mut self.scopes));
        self.params = change.params.unwrap_or_else(|| std::mem::take(&mut self.params));
        self.fields = change.fields.unwrap_or_else(|| std::mem::take(&mut self.fields));
        self.vars.extend(change.vars);
        self.owners = change.owners.unwrap_or(self.owners);
        self.policy = change.policy.unwrap_or(self.policy);
        self.enabled = change.enabled.unwrap_or(self.enabled);
        Ok(())
    }

    /// Whether `owner` may connect and get tokens through this now.
    pub(crate) fn check_owner(&self, owner: &Owner) -> Result<(), Error> {
        let disabled = |why| Err(Error::new(ErrorKind::ConnectorDisabled, why));
        match (self.enabled, self.owners, owner) {
            (false, ..) => disabled("the connector is switched off"),
            (_, AllowedOwners::Shared, Owner::User(_)) => {
                disabled("the connector is for the shared account only")
            }
            (_, AllowedOwners::Users, Owner::Shared) => disabled("the connector is for users only"),
            _ => Ok(()),
        }
    }
}

impl Field {
    fn regex(&self) -> Result<Regex, Error> {
        if self.name.is_empty() {
            return Err(invalid("an extra field needs a name"));
        }
        Regex::new(&format!(r"\A(?:{})\z", self.pattern)).map_err(|error| {
            Error::new(
                ErrorKind::InvalidInput,
                format!("invalid pattern of field `{}`", printable(&self.name)),
            )
            .with_source(error)
        })
    }

    pub(crate) fn check(&self, value: &str) -> Result<(), Error> {
        if self.regex()?.is_match(value) && value.len() <= 1024 {
            return Ok(());
        }
        Err(invalid(format!("invalid value for field `{}`", printable(&self.name))))
    }
}

pub(crate) fn check_name(name: String) -> Result<String, Error> {
    if name.is_empty() || name.len() > 255 || name.chars().any(char::is_control) {
        return Err(invalid(format!("invalid connector name `{}`", printable(&name))));
    }
    Ok(name)
}

/// Exact string match, as RFC 9700 section 2.1 wants.
pub(crate) fn check_redirect_uri(uri: &str, settings: &Settings) -> Result<(), Error> {
    if settings.redirect_uris.iter().any(|allowed| allowed == uri) {
        return Ok(());
    }
    Err(invalid(format!("redirect URI not allowed: {}", printable(uri))))
}

fn choose_auth(
    provider: &Provider,
    asked: Option<ClientAuth>,
    secret: bool,
) -> Result<ClientAuthKind, Error> {
    let kinds = &provider.spec().client_auth.kinds;
    let asked = asked.map(|auth| match auth {
        ClientAuth::Basic => ClientAuthKind::Basic,
        ClientAuth::None => ClientAuthKind::None,
        ClientAuth::Post => ClientAuthKind::Post,
    });
    let fits = |kind: &ClientAuthKind| (*kind == ClientAuthKind::None) != secret;
    let chosen = match asked {
        Some(kind) => kinds.contains(&kind).then_some(kind),
        None => kinds.iter().copied().find(fits),
    };
    chosen.filter(fits).ok_or_else(|| {
        let what = if secret { "with a secret" } else { "without a secret" };
        invalid(format!("provider {} does not take this client authentication {what}", provider.id()))
    })
}

fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidInput, message)
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.secret.zeroize();
        self.next_secret.zeroize();
    }
}

impl std::fmt::Debug for Registration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registration").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}
