//! A browser with a person in front of it, as far as an authorization needs one.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::io;
use std::pin::Pin;

use url::{Url, form_urlencoded};

use super::incoming::{ACCOUNT_HEADER, DENY_HEADER};
use super::raw;

/// A visit to an authorization URL; await it. See [`browse`](super::Simulator::browse).
#[must_use = "nothing is visited until this is awaited"]
pub struct Browse {
    url: Url,
    account: Option<String>,
    deny: bool,
    by_hand: bool,
}

impl fmt::Debug for Browse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the URL: it carries the state.
        f.debug_struct("Browse")
            .field("account", &self.account)
            .field("deny", &self.deny)
            .finish_non_exhaustive()
    }
}

impl Browse {
    pub(super) fn new(url: Url) -> Self {
        Self { url, account: None, deny: false, by_hand: false }
    }

    /// Signs in as this account (id or address), whatever the request suggests. It is opened if there is none.
    pub fn as_account(self, account: impl Into<String>) -> Self {
        Self { account: Some(account.into()), ..self }
    }

    /// Says no.
    pub fn deny(self) -> Self {
        Self { deny: true, ..self }
    }

    /// Takes the consent page and presses its buttons, which needs the switch `interactive`. Otherwise the answer goes
    /// along with the request and no page is shown.
    pub fn by_hand(self) -> Self {
        Self { by_hand: true, ..self }
    }

    async fn visit(self) -> io::Result<Url> {
        let response = if self.by_hand {
            self.submit().await?
        } else {
            let mut headers = Vec::new();
            headers.extend(self.account.as_deref().map(|account| (ACCOUNT_HEADER.to_string(), account)));
            headers.extend(self.deny.then(|| (DENY_HEADER.to_string(), "1")));
            let headers: Vec<(&str, &str)> =
                headers.iter().map(|(name, value)| (name.as_str(), *value)).collect();
            raw::request("GET", &self.url, &headers, "").await?
        };
        let location = response
            .header("location")
            .ok_or_else(|| invalid(format!("no redirect but status {}", response.status)))?;
        Url::parse(location).map_err(|error| invalid(format!("redirect to no URL: {error}")))
    }

    async fn submit(&self) -> io::Result<raw::RawReply> {
        let page = raw::request("GET", &self.url, &[], "").await?;
        let html = String::from_utf8_lossy(&page.body);
        let ticket = html
            .split_once("name=\"ticket\" value=\"")
            .and_then(|(_, rest)| rest.split_once('"'))
            .map(|(ticket, _)| ticket)
            .ok_or_else(|| invalid(format!("no consent page but status {}", page.status)))?;
        let form = self.answer(ticket);
        let mut action = self.url.clone();
        action.set_query(None);
        raw::post_form(&action, &[], &form).await
    }

    fn answer(&self, ticket: &str) -> String {
        let decision = if self.deny { "deny" } else { "allow" };
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("ticket", ticket).append_pair("decision", decision);
        if let Some(account) = &self.account {
            form.append_pair("account", account);
        }
        form.finish()
    }
}

impl IntoFuture for Browse {
    type Output = io::Result<Url>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.visit())
    }
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}
