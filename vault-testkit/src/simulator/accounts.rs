//! The people who have an account at the provider.

use super::world::World;

/// An account at the simulated provider.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Account {
    /// The `sub`.
    pub id: String,
    /// The address.
    pub email: String,
    /// What it is called on the consent page.
    pub name: String,
}

impl Account {
    /// The account of `id`, with an address at `example.com` and the id for a name.
    #[must_use]
    pub fn new(id: impl Into<String>) -> Self {
        let id = id.into();
        Self { email: format!("{id}@example.com"), name: id.clone(), id }
    }

    /// With this name.
    #[must_use]
    pub fn named(self, name: impl Into<String>) -> Self {
        Self { name: name.into(), ..self }
    }

    pub(super) fn demo() -> Vec<Self> {
        vec![Self::new("ada").named("Ada Lovelace"), Self::new("grace").named("Grace Hopper")]
    }
}

impl World {
    pub(super) fn account(&self, id: &str) -> Account {
        let known = self.accounts.iter().find(|account| account.id == id);
        known.cloned().unwrap_or_else(|| Account::new(id))
    }

    /// The account of that id or address; it is opened if there is none.
    pub(super) fn account_for(&mut self, hint: &str) -> String {
        let known = self.accounts.iter().find(|account| account.id == hint || account.email == hint);
        if let Some(account) = known {
            return account.id.clone();
        }
        let account = Account::new(hint);
        self.accounts.push(account);
        hint.to_owned()
    }
}
