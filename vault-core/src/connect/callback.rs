use std::collections::BTreeMap;
use std::fmt;

use crate::error::{Error, ErrorKind, printable};
use crate::id::ConnectorId;
use crate::secret::SecretString;

/// The longest callback, in bytes: room for a long-winded `error_description` in percent-encoding.
const MAX_BYTES: usize = 32 * 1024;
const MAX_CODE: usize = 8 * 1024;

/// What the browser brought back from the provider, parsed strictly (RFC 6749 section 4.1.2).
pub struct Callback {
    pub(crate) state: SecretString,
    params: BTreeMap<String, SecretString>,
    pub(crate) posted: bool,
    pub(crate) connector: Option<ConnectorId>,
}

impl Callback {
    /// From the raw query of the callback request, without the question mark.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidCallback`] when it is longer than 32 KiB, not UTF-8, repeats a parameter, brings a token (the
    /// implicit grant, which is refused) or has no state.
    pub fn from_query(query: impl AsRef<str>) -> Result<Self, Error> {
        Self::parse(query.as_ref(), false)
    }

    /// From the body of a form post. Providers that do not use `response_mode=form_post` are refused later.
    ///
    /// # Errors
    /// As [`from_query`](Self::from_query).
    pub fn from_form_post(body: impl AsRef<str>) -> Result<Self, Error> {
        Self::parse(body.as_ref(), true)
    }

    /// Says that the callback arrived at the path of this connector; a flow to any other is then refused. Worth doing
    /// where several providers share a vault and not all of them send `iss` (RFC 9700 section 4.4.2).
    #[must_use]
    pub fn at_connector(mut self, id: ConnectorId) -> Self {
        self.connector = Some(id);
        self
    }

    fn parse(text: &str, posted: bool) -> Result<Self, Error> {
        if text.len() > MAX_BYTES {
            return Err(invalid("the callback is too long"));
        }
        let mut params = BTreeMap::new();
        for (name, value) in url::form_urlencoded::parse(text.as_bytes()) {
            if value.contains('\u{fffd}') {
                return Err(invalid(format!("invalid callback parameter `{}`", printable(&name))));
            }
            if params.insert(name.clone().into_owned(), SecretString::new(value)).is_some() {
                return Err(invalid(format!("duplicate callback parameter `{}`", printable(&name))));
            }
        }
        if params.contains_key("access_token") {
            return Err(invalid("the callback brings an access token: the implicit grant is refused"));
        }
        match params.remove("state") {
            Some(state) if !state.expose_secret().is_empty() => {
                Ok(Self { state, params, posted, connector: None })
            }
            _ => Err(invalid("the callback has no state")),
        }
    }

    pub(crate) fn param(&self, name: &str) -> Option<&str> {
        self.params.get(name).map(SecretString::expose_secret)
    }

    /// All parameters but the state: some providers want them back at the token endpoint.
    pub(crate) fn texts(&self) -> BTreeMap<String, String> {
        self.params.iter().map(|(name, value)| (name.clone(), value.expose_secret().to_owned())).collect()
    }

    /// The authorization code: printable ASCII (RFC 6749 appendix A.11), not empty, of bounded length.
    pub(crate) fn code(&self, param: &str, strip_suffix: Option<&str>) -> Result<SecretString, Error> {
        let code = self.param(param).unwrap_or_default();
        let code = strip_suffix.and_then(|suffix| code.strip_suffix(suffix)).unwrap_or(code);
        let fits = (1..=MAX_CODE).contains(&code.len());
        if !fits || !code.bytes().all(|byte| (0x20..=0x7e).contains(&byte)) {
            return Err(invalid("the callback's code is missing or invalid"));
        }
        Ok(SecretString::new(code))
    }
}

pub(crate) fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidCallback, message)
}

impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callback").field("params", &self.params.keys()).finish_non_exhaustive()
    }
}
