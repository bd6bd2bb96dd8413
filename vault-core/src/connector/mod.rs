//! Connectors: the host's OAuth applications at providers, registered at run time.

mod recent;
mod registered;
mod registration;
mod registry;

use std::collections::BTreeMap;
use std::time::SystemTime;

pub(crate) use self::recent::Recent;
pub(crate) use self::registered::Registered;
pub(crate) use self::registration::{Field, Registration, check_redirect_uri};
pub use self::registry::Connectors;
use crate::id::ConnectorId;
use crate::provider::Provider;
use crate::secret::ClientSecret;

/// Who may connect through a connector.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub enum AllowedOwners {
    /// Both.
    #[default]
    Any,
    /// One account for all users.
    Shared,
    /// Each user their own.
    Users,
}

/// What to do when somebody reconnects with another account than before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub enum AccountPolicy {
    /// Keep both: the new account goes into a slot of its own, named after the account's id.
    NewSlot,
    /// Refuse, and keep the old connection.
    #[default]
    Reject,
    /// Take the new account; the old one's grant is revoked at the provider.
    Replace,
}

/// How the OAuth client proves itself to the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientAuth {
    /// HTTP Basic, RFC 6749 section 2.3.1.
    Basic,
    /// No secret: a public client.
    None,
    /// `client_id` and `client_secret` in the body.
    Post,
}

/// A connector to register.
///
/// ```
/// # fn main() -> Result<(), vault_core::Error> {
/// use vault_core::connector::NewConnector;
/// use vault_core::provider::Catalog;
/// use vault_core::secret::ClientSecret;
///
/// let google = Catalog::builtin().provider("google")?;
/// let gmail = NewConnector::new("gmail", google)
///     .client("client-id", ClientSecret::new("client-secret"))
///     .scopes(["https://www.googleapis.com/auth/gmail.send"]);
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use]
pub struct NewConnector {
    name: String,
    provider: Provider,
    client_id: String,
    secret: Option<ClientSecret>,
    auth: Option<ClientAuth>,
    change: ConnectorUpdate,
}

impl NewConnector {
    /// A connector of that name, unique within its tenant, at that provider.
    pub fn new(name: impl Into<String>, provider: Provider) -> Self {
        Self {
            name: name.into(),
            provider,
            client_id: String::new(),
            secret: None,
            auth: None,
            change: ConnectorUpdate::new(),
        }
    }

    /// The OAuth client that the provider gave the host.
    pub fn client(mut self, id: impl Into<String>, secret: ClientSecret) -> Self {
        self.client_id = id.into();
        self.secret = Some(secret);
        self
    }

    /// An OAuth client without a secret.
    pub fn public_client(mut self, id: impl Into<String>) -> Self {
        self.client_id = id.into();
        self.secret = None;
        self.auth = Some(ClientAuth::None);
        self
    }

    /// How the client proves itself, where the provider takes several ways; by default the provider's first.
    pub const fn client_auth(mut self, auth: ClientAuth) -> Self {
        self.auth = Some(auth);
        self
    }

    /// What to ask users for; the provider's defaults when never called.
    pub fn scopes<S: Into<String>>(mut self, scopes: impl IntoIterator<Item = S>) -> Self {
        self.change = self.change.scopes(scopes);
        self
    }

    /// Another redirect URI than the vault's default. It must be one of those that the vault was built with.
    pub fn redirect_uri(mut self, uri: impl Into<String>) -> Self {
        self.change = self.change.redirect_uri(uri);
        self
    }

    /// A value for one of the provider's URL variables, such as a tenant or a site.
    pub fn var(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.change.vars.insert(name.into(), value.into());
        self
    }

    /// An extra field that comes with each connection, given at connect and checked against `pattern`, a regular
    /// expression that must match the whole value.
    pub fn field(mut self, name: impl Into<String>, pattern: impl Into<String>) -> Self {
        self.change = self.change.field(name, pattern);
        self
    }

    /// A parameter for every authorization request. Parameters that the protocol uses itself are refused.
    pub fn authorize_param(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.change.params.get_or_insert_default().insert(name.into(), value.into());
        self
    }

    /// Who may connect through it; [`AllowedOwners::Any`] by default.
    pub fn owners(mut self, owners: AllowedOwners) -> Self {
        self.change = self.change.owners(owners);
        self
    }

    /// What happens on a reconnect with another account; [`AccountPolicy::Reject`] by default.
    pub fn account_policy(mut self, policy: AccountPolicy) -> Self {
        self.change = self.change.account_policy(policy);
        self
    }
}

/// Changes to a registered connector; what is not named stays. Existing connections keep working: changed scopes are
/// asked of new connections only.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct ConnectorUpdate {
    name: Option<String>,
    scopes: Option<Vec<String>>,
    redirect_uri: Option<String>,
    params: Option<BTreeMap<String, String>>,
    vars: BTreeMap<String, String>,
    fields: Option<Vec<Field>>,
    owners: Option<AllowedOwners>,
    policy: Option<AccountPolicy>,
    enabled: Option<bool>,
}

impl ConnectorUpdate {
    /// No change yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Another name.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Other scopes, for connections from now on.
    pub fn scopes<S: Into<String>>(mut self, scopes: impl IntoIterator<Item = S>) -> Self {
        self.scopes = Some(scopes.into_iter().map(Into::into).collect());
        self
    }

    /// Another redirect URI, one of those that the vault was built with.
    pub fn redirect_uri(mut self, uri: impl Into<String>) -> Self {
        self.redirect_uri = Some(uri.into());
        self
    }

    /// Other authorization parameters, in place of all from before.
    pub fn authorize_params(mut self, params: BTreeMap<String, String>) -> Self {
        self.params = Some(params);
        self
    }

    /// One more extra field, in place of one of the same name.
    pub fn field(mut self, name: impl Into<String>, pattern: impl Into<String>) -> Self {
        let field = Field { name: name.into(), pattern: pattern.into() };
        let fields = self.fields.get_or_insert_default();
        fields.retain(|other| other.name != field.name);
        fields.push(field);
        self
    }

    /// Who may connect through it from now on.
    pub const fn owners(mut self, owners: AllowedOwners) -> Self {
        self.owners = Some(owners);
        self
    }

    /// What happens on a reconnect with another account.
    pub const fn account_policy(mut self, policy: AccountPolicy) -> Self {
        self.policy = Some(policy);
        self
    }

    /// Switches the connector off or on. While it is off nobody connects through it and nothing is refreshed;
    /// connections are kept, and access tokens that still live are handed out until they end.
    pub const fn enabled(mut self, enabled: bool) -> Self {
        self.enabled = Some(enabled);
        self
    }
}

/// A registered connector, without its secrets.
#[derive(Debug, Clone)]
pub struct Connector {
    id: ConnectorId,
    name: String,
    provider: Provider,
    client_id: String,
    scopes: Vec<String>,
    redirect_uri: String,
    owners: AllowedOwners,
    policy: AccountPolicy,
    enabled: bool,
    rotating: bool,
    created_at: SystemTime,
    updated_at: SystemTime,
}

impl Connector {
    /// Its id, made up at registration.
    #[must_use]
    pub const fn id(&self) -> &ConnectorId {
        &self.id
    }

    /// Its name, unique within the tenant.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The provider it is registered at.
    #[must_use]
    pub const fn provider(&self) -> &Provider {
        &self.provider
    }

    /// The OAuth client's id.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// What new connections ask for.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.scopes.iter().map(String::as_str)
    }

    /// Where the provider sends the browser back to.
    #[must_use]
    pub fn redirect_uri(&self) -> &str {
        &self.redirect_uri
    }

    /// Who may connect through it.
    #[must_use]
    pub const fn owners(&self) -> AllowedOwners {
        self.owners
    }

    /// What happens on a reconnect with another account.
    #[must_use]
    pub const fn account_policy(&self) -> AccountPolicy {
        self.policy
    }

    /// Whether it is switched on.
    #[must_use]
    pub const fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Whether a next client secret is waiting to replace the current one.
    #[must_use]
    pub const fn is_rotating_secret(&self) -> bool {
        self.rotating
    }

    /// When it was registered.
    #[must_use]
    pub const fn created_at(&self) -> SystemTime {
        self.created_at
    }

    /// When it last changed.
    #[must_use]
    pub const fn updated_at(&self) -> SystemTime {
        self.updated_at
    }
}
