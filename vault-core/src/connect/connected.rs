use crate::id::ConnectionKey;
use crate::oauth::Account;

/// A finished authorization.
#[derive(Debug, Clone)]
pub struct Connected {
    pub(super) keys: Vec<ConnectionKey>,
    pub(super) account: Option<Account>,
    pub(super) scopes: Vec<String>,
    pub(super) return_to: String,
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
