//! The front channel: the authorization request, the callback, and the client.

use serde::{Deserialize, Serialize};

use super::Map;

table!(Authorize {
    params: Map<String>,
    /// Standard parameter name to the provider's own.
    rename: Map<String>,
    scope: ScopeParam,
    pkce: Pkce,
    redirect_uri: RedirectUri,
    response_mode: ResponseMode,
    /// Appended to the finished URL, such as `#wechat_redirect`.
    url_suffix: Option<String>,
    par: bool,
    jar: bool,
    resource: Option<String>,
    nonce: NonceMode,
});
table!(ScopeParam {
    separator: String = " ".into(),
    param: String = "scope".into(),
    optional_param: Option<String>,
    /// Added to every request, such as `offline_access`.
    required_for_refresh: Vec<String>,
    /// Used when the connector names none.
    defaults: Vec<String>,
    /// Scopes are set on the provider's side and not sent.
    fixed_on_app: bool,
});
table!(Pkce {
    mode: PkceMode,
    /// The value of `code_challenge_method`.
    method_label: String = "S256".into(),
    hash: PkceHash,
    /// Required with `unsupported`: why it is safe enough.
    reason: Option<String>,
});
keyword!(PkceMode {
    #[default]
    Required,
    Supported,
    Unsupported
});
keyword!(PkceHash {
    #[default]
    Base64url,
    Hex
});
keyword!(RedirectUri {
    #[default]
    Sent,
    Alias,
    Omitted
});
keyword!(ResponseMode {
    #[default]
    Query,
    FormPost
});
keyword!(NonceMode {
    /// Sent with the `openid` scope and required in the `id_token`.
    #[default]
    Required,
    /// Sent, but the provider does not return it.
    NotReturned,
});

table!(Callback {
    code_param: String = "code".into(),
    method: CallbackMethod,
    /// Parameter name to what becomes of it.
    capture: Map<Capture>,
    granted_scope_param: Option<String>,
    strip_suffix: Option<String>,
    decode_code: bool,
    /// Parameter name to the variable that it must equal.
    must_equal: Map<String>,
    hmac: Option<Hmac>,
    /// Whether the provider sends RFC 9207 `iss`; also set by discovery.
    iss: IssMode,
});
keyword!(CallbackMethod {
    #[default]
    Get,
    Post
});
keyword!(IssMode {
    /// Checked when it comes.
    #[default]
    Optional,
    Required,
});
table!(Capture {
    /// Its name in the connection config.
    field: String,
    required: bool,
    persist: bool = true,
    secret: bool,
    /// The URL variable that it fills.
    var: Option<String>,
});
table!(Hmac { param: String, algo: String, canonical: String });

table!(ClientAuth {
    /// What the provider takes; the first is the default.
    kinds: Vec<ClientAuthKind> = vec![ClientAuthKind::Basic],
    rename: Map<String>,
});
keyword!(
    /// How the client proves itself at the token endpoint.
    ClientAuthKind {
        /// RFC 6749 2.3.1: form-urlencoded, then base64.
        #[default] Basic,
        /// Base64 alone.
        BasicRaw,
        Post, Json, Query, None, PrivateKeyJwt, Mtls, MintedJwtSecret, PlatformKey, HeaderTmpl,
    }
);
