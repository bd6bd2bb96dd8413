use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use serde::Deserialize;

use super::{Credential, DEFAULT_AUDIENCE, TokenSet};
use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind};
use crate::id::{ConnectionKey, Incarnation};
use crate::secret::{SecretBytes, SecretString};
use crate::store::ConnectionStatus;

/// What a token read found: the part of a credential that it may need, in the one buffer that it was opened into. Nothing
/// is copied out of there, and the buffer is wiped when dropped.
pub(crate) struct Opened {
    pub(crate) key: ConnectionKey,
    pub(crate) status: ConnectionStatus,
    pub(crate) incarnation: Incarnation,
    pub(crate) generation: u64,
    plain: SecretBytes,
    /// Where the list of access tokens starts.
    access: u32,
    /// Where the connection config starts.
    config: u32,
    first: Option<Found>,
    /// The first one's text once more, where many will ask for it.
    text: Option<SecretString>,
}

/// Whose it is: an access token's own, or others' as well: the token cache's, or those who waited for the same refresh.
#[derive(Debug)]
pub(crate) enum Held {
    Own(Box<Opened>),
    Shared(Arc<Opened>),
}

impl Deref for Held {
    type Target = Opened;

    fn deref(&self) -> &Opened {
        match self {
            Self::Own(opened) => opened,
            Self::Shared(opened) => opened,
        }
    }
}

/// Where an access token lies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) obtained_at: Timestamp,
    pub(crate) refresh_after: Timestamp,
    token: (u32, u32),
    scopes: u32,
}

impl Opened {
    /// `plain` as [`Credential::encode`] wrote it. What token reads have no use for, refresh tokens above all, is wiped
    /// here.
    pub(crate) fn new(
        key: &ConnectionKey,
        status: ConnectionStatus,
        incarnation: Incarnation,
        generation: u64,
        mut plain: SecretBytes,
    ) -> Result<Self, Error> {
        let layout = Layout::of(plain.expose_secret())
            .ok_or_else(|| Error::new(ErrorKind::CorruptRecord, "a sealed credential does not decode"))?;
        let Layout { access, config, end, first } = layout;
        plain.truncate(end);
        let key = key.clone();
        Ok(Self { key, status, incarnation, generation, plain, access, config, first, text: None })
    }

    /// The same of tokens that are not sealed.
    pub(crate) fn of(
        key: &ConnectionKey,
        status: ConnectionStatus,
        incarnation: Incarnation,
        generation: u64,
        tokens: &TokenSet,
    ) -> Result<Self, Error> {
        Self::new(key, status, incarnation, generation, Credential::encode(tokens)?)
    }

    /// For many to read: that the usual token is text is found out once, not each time.
    pub(crate) fn shared(mut self) -> Arc<Self> {
        self.text = self.first.as_ref().map(|first| SecretString::new(self.token(first)));
        Arc::new(self)
    }

    /// The access token for the provider's usual audience.
    #[inline]
    pub(crate) const fn usual(&self) -> Option<&Found> {
        self.first.as_ref()
    }

    /// The access token for that audience.
    #[inline]
    pub(crate) fn access(&self, audience: &str) -> Option<Found> {
        if audience == DEFAULT_AUDIENCE { self.first } else { self.search(audience) }
    }

    fn search(&self, audience: &str) -> Option<Found> {
        let mut walk = self.walk(self.access);
        let mut all = (0..walk.take::<u32>()?).map_while(|_| walk.access());
        all.find(|(other, _)| *other == audience).map(|(_, found)| found)
    }

    pub(crate) fn token(&self, found: &Found) -> &str {
        if let (Some(text), Some(first)) = (&self.text, &self.first)
            && first.token == found.token
        {
            return text.expose_secret();
        }
        let (start, end) = (index(found.token.0), index(found.token.1));
        std::str::from_utf8(&self.plain.expose_secret()[start..end]).expect("it was text when it was found")
    }

    /// The scopes of that access token.
    pub(crate) fn scopes(&self, found: &Found) -> impl Iterator<Item = &str> {
        self.walk(found.scopes).list::<&str>()
    }

    pub(crate) fn config(&self) -> impl Iterator<Item = (&str, &str)> {
        self.walk(self.config).list::<(&str, &str)>()
    }

    /// How much memory it takes, beside itself.
    pub(crate) fn bytes(&self) -> usize {
        self.plain.capacity() + self.text.as_ref().map_or(0, |text| text.expose_secret().len())
    }

    fn walk(&self, at: u32) -> Walk<'_> {
        Walk { bytes: self.plain.expose_secret(), at: index(at) }
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened").field("generation", &self.generation).finish_non_exhaustive()
    }
}

/// Where things lie in an encoded credential.
struct Layout {
    access: u32,
    config: u32,
    end: usize,
    first: Option<Found>,
}

impl Layout {
    fn of(plain: &[u8]) -> Option<Self> {
        let mut walk = Walk { bytes: plain, at: 0 };
        // `Credential::OAuth`, so far the only kind.
        walk.take::<u32>().filter(|kind| *kind == 0)?;
        let access = walk.position()?;
        let mut first = None;
        for _ in 0..walk.take::<u32>()? {
            let (audience, found) = walk.access()?;
            first = first.or(Some(found).filter(|_| audience == DEFAULT_AUDIENCE));
        }
        let config = walk.position()?;
        walk.skip_list::<(&str, &str)>()?;
        Some(Self { access, config, end: walk.at, first })
    }
}

fn index(position: u32) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}

/// Reads values one after the other where postcard wrote them.
#[derive(Clone, Copy)]
struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Walk<'a> {
    /// Always there: what can be sealed is far shorter.
    fn position(&self) -> Option<u32> {
        u32::try_from(self.at).ok()
    }

    fn take<T: Deserialize<'a>>(&mut self) -> Option<T> {
        let (value, rest) = postcard::take_from_bytes(self.bytes.get(self.at..)?).ok()?;
        self.at = self.bytes.len() - rest.len();
        Some(value)
    }

    /// An [`Access`](super::Access) and its audience.
    fn access(&mut self) -> Option<(&'a str, Found)> {
        let audience = self.take()?;
        let token: &str = self.take()?;
        let end = self.position()?;
        let token = (end - u32::try_from(token.len()).ok()?, end);
        let expires_at = self.take()?;
        let (obtained_at, refresh_after) = (self.take()?, self.take()?);
        let scopes = self.position()?;
        self.skip_list::<&str>()?;
        Some((audience, Found { expires_at, obtained_at, refresh_after, token, scopes }))
    }

    fn skip_list<T: Deserialize<'a>>(&mut self) -> Option<()> {
        (0..self.take::<u32>()?).try_for_each(|_| self.take::<T>().map(drop))
    }

    fn list<T: Deserialize<'a>>(mut self) -> impl Iterator<Item = T> {
        let len = self.take::<u32>().unwrap_or_default();
        (0..len).map_while(move |_| self.take())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::connection::{Access, Grant, TokenSet};
    use crate::id::{ConnectorId, Owner, Slot, TenantId};

    fn tokens() -> TokenSet {
        let access = |audience: &str, expires_at: Option<i64>, scopes: &[&str]| Access {
            audience: audience.to_owned(),
            token: format!("token of {audience:?}"),
            expires_at: expires_at.map(Timestamp::from_millis),
            obtained_at: Timestamp::from_millis(5),
            refresh_after: Timestamp::from_millis(7),
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
        };
        TokenSet {
            refreshed_at: Timestamp::from_millis(7),
            access: vec![
                access("", Some(1_000), &["read", "write"]),
                access("https://files.example/", None, &[]),
            ],
            config: vec![("site".to_owned(), "acme".to_owned()), ("käse".to_owned(), String::new())],
            refresh_token: Some("canary".to_owned()),
            refresh_expires_at: None,
            earliest_refresh_at: None,
            alternates: vec!["canary".to_owned()],
            grant: Grant {
                issuer: None,
                token_origin: "https://provider.example".to_owned(),
                client_id: "client".to_owned(),
                account: None,
            },
            secrets: vec![("hook".to_owned(), "canary".to_owned())],
        }
    }

    /// For tests of what holds such a thing.
    pub(crate) fn an_opened(incarnation: u8, generation: u64) -> Opened {
        let plain = Credential::encode(&tokens()).expect("encodes");
        let incarnation = Incarnation::from_bytes([incarnation; 16]);
        Opened::new(&key(), ConnectionStatus::Active, incarnation, generation, plain).expect("opens")
    }

    fn key() -> ConnectionKey {
        ConnectionKey {
            tenant: TenantId::default(),
            owner: Owner::Shared,
            connector: ConnectorId::new("connector").expect("valid"),
            slot: Slot::default(),
        }
    }

    fn opened(plain: SecretBytes) -> Result<Opened, Error> {
        Opened::new(&key(), ConnectionStatus::Active, Incarnation::from_bytes([1; 16]), 3, plain)
    }

    #[test]
    fn what_was_encoded_is_found_in_place() {
        let opened = opened(Credential::encode(&tokens()).expect("encodes")).expect("opens");
        let default = opened.access(DEFAULT_AUDIENCE).expect("there is one");
        assert_eq!(opened.token(&default), "token of \"\"");
        assert_eq!(default.expires_at, Some(Timestamp::from_millis(1_000)));
        assert_eq!(opened.scopes(&default).collect::<Vec<_>>(), ["read", "write"]);
        assert_eq!(opened.config().collect::<Vec<_>>(), [("site", "acme"), ("käse", "")]);
        let moments = (default.obtained_at, default.refresh_after);
        assert_eq!(moments, (Timestamp::from_millis(5), Timestamp::from_millis(7)));
        let files = opened.access("https://files.example/").expect("there is one");
        assert_eq!(opened.token(&files), "token of \"https://files.example/\"");
        assert_eq!((files.expires_at, opened.scopes(&files).count()), (None, 0));
        assert!(opened.access("https://mail.example/").is_none());
    }

    #[test]
    fn m01_a_token_read_keeps_no_refresh_token_in_memory() {
        let opened = opened(Credential::encode(&tokens()).expect("encodes")).expect("opens");
        let kept = opened.plain.expose_secret();
        assert!(!kept.windows(6).any(|part| part == b"canary"));
        assert!(!format!("{opened:?}").contains("token of"));
    }

    #[test]
    fn a_credential_cut_short_anywhere_is_refused() {
        let whole = Credential::encode(&tokens()).expect("encodes");
        let end = opened(SecretBytes::new(whole.expose_secret().to_vec())).expect("opens");
        let end = end.plain.expose_secret().len();
        for len in 0..end {
            let cut = SecretBytes::new(whole.expose_secret()[..len].to_vec());
            assert!(opened(cut).is_err(), "{len}");
        }
    }

    #[test]
    fn a_credential_without_access_tokens_opens() {
        let mut tokens = tokens();
        tokens.access.clear();
        let opened = opened(Credential::encode(&tokens).expect("encodes")).expect("opens");
        assert!(opened.access(DEFAULT_AUDIENCE).is_none());
    }
}
