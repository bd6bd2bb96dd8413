//! The provider format: every difference between authorization servers, as data.
//!
//! These types mirror the TOML one to one; unknown fields are errors. `extends` is resolved on the TOML before it gets
//! here (see `catalog`), so a `Spec` is always whole. A field that the engine cannot honour yet is refused when a
//! connector is registered (`Provider::unsupported`), never ignored.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

type Map<V> = BTreeMap<String, V>;

macro_rules! keyword {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub(crate) enum $name { $($(#[$variant_doc])* $variant),+ }
    };
}

macro_rules! table {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty $(= $default:expr)?),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub(crate) struct $name { $($(#[$field_doc])* pub(crate) $field: $type),+ }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: table!(@default $($default)?)),+ }
            }
        }
    };
    (@default) => { Default::default() };
    (@default $default:expr) => { $default };
}

table!(
    /// One provider file.
    Spec {
        id: String,
        name: String,
        category: String,
        docs: Vec<String>,
        /// `high`, `medium` or `low`: how sure we are of what the file says.
        confidence: String,
        /// The day it was last compared with the provider's documentation.
        checked: String,
        lifecycle: Lifecycle,
        vars: Map<Var>,
        endpoints: Endpoints,
        authorize: Authorize,
        callback: Callback,
        client_auth: ClientAuth,
        exchange: Call,
        refresh: Call,
        post_exchange: Vec<Call>,
        response: Response,
        refresh_policy: RefreshPolicy,
        grants: Grants,
        present: Present,
        identity: Identity,
        revoke: Revoke,
        /// Looked at in order, before the general table.
        errors: Vec<ErrorRule>,
        scopes_check: ScopesCheck,
        /// The user can untick single scopes.
        granular: bool,
    }
);

table!(
    Lifecycle { status: String = "live".into(), since: Option<String>, replaced_by: Option<String> }
);

table!(
    /// A value that a URL template needs.
    Var {
        /// Matched against the whole value. Without one, the position's own rule alone applies.
        pattern: Option<String>,
        source: VarSource,
        position: VarPosition,
        policy: VarPolicy,
        /// For `allow_list`.
        values: Vec<String>,
        default: Option<String>,
        description: String,
    }
);
keyword!(VarSource {
    #[default]
    Operator,
    User,
    Callback,
    Token,
    Identity
});
keyword!(VarPosition {
    #[default]
    HostLabel,
    FullHost,
    Path,
    RegionEnum
});
keyword!(VarPolicy {
    #[default]
    Regexp,
    AllowList,
    PublicHostGuard
});

table!(
    /// URL templates. With `discovery`, those left empty come from the metadata document.
    Endpoints {
        /// Expected `iss` and issuer of `id_token`s; also where discovery starts.
        issuer: Option<String>,
        authorize: Option<String>,
        token: Option<String>,
        /// Only where refreshing has an endpoint of its own.
        refresh: Option<String>,
        revoke: Option<String>,
        jwks: Option<String>,
        userinfo: Option<String>,
        discovery: Option<Discovery>,
    }
);
table!(Discovery {
    /// The metadata document; by default derived from the issuer, RFC 8414 first, then OIDC.
    url: Option<String>,
    /// The issuer that the document states where it is not the configured one, such as Entra's `{tenantid}`.
    issuer_template: Option<String>,
    /// Hosts besides the issuer's that endpoints may stand on.
    endpoint_hosts: Vec<String>,
});

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

table!(
    /// One request with the client's credentials.
    Call {
        /// A template; the token endpoint when empty.
        url: Option<String>,
        method: Method,
        body: BodyFormat,
        params: Map<Param>,
        /// Standard parameter name to the provider's own; to the empty string to leave it out.
        rename: Map<String>,
        /// On refresh. The exchange sends it, unless `authorize.redirect_uri` is `omitted`.
        send_redirect_uri: bool,
        send_scope: SendScope,
        headers: Map<String>,
        accept: String = "application/json".into(),
    }
);
keyword!(Method {
    #[default]
    Post,
    Get,
    Delete
});
keyword!(BodyFormat {
    #[default]
    Form,
    Json,
    Query
});
keyword!(SendScope {
    #[default]
    None,
    All,
    Subset
});

/// A literal, or where the value comes from: `callback.x`, `conn.x`, `state`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Param {
    Literal(String),
    From { from: String },
}

table!(
    /// How to read a token reply. Places in it are JSON pointers; of several, the first that is there counts.
    Response {
        /// Where the token set stands, when not at the top. A refresh reply without that place is read at the top.
        root: Option<String>,
        /// One consent, several grants: slot name to root. The first is the connection that was asked for.
        roots_by_kind: Map<String>,
        unwrap_first: bool,
        /// What must hold for a 200 to be a success.
        ok: Option<Predicate>,
        content: Content,
        fields: Fields,
        expires: Expires,
        scope_form: ScopeForm,
        token_type: TokenTypeCheck,
        /// Pointer to what becomes of it.
        capture: Map<Capture>,
    }
);
table!(Predicate { ptr: String, equals: Option<serde_json::Value>, absent: bool, is_in: Vec<serde_json::Value> });
keyword!(Content {
    #[default]
    Json,
    Form,
    JsonAnyType
});
table!(Fields {
    access: Vec<String> = vec!["/access_token".into()],
    refresh: Vec<String> = vec!["/refresh_token".into()],
    token_type: Vec<String> = vec!["/token_type".into()],
    scope: Vec<String> = vec!["/scope".into()],
    id_token: Vec<String> = vec!["/id_token".into()],
});
table!(Expires {
    access: Expiry = Expiry { ptr: "/expires_in".into(), ..Expiry::default() },
    refresh: Expiry = Expiry { ptr: "/refresh_token_expires_in".into(), ..Expiry::default() },
    earliest_refresh: Option<Expiry>,
});
table!(Expiry {
    ptr: String,
    form: ExpiryForm,
    zero_means_never: bool,
    /// Seconds to assume when the reply does not say; without it, unknown.
    default: Option<u64>,
});
keyword!(ExpiryForm {
    #[default]
    Seconds,
    Millis,
    EpochS,
    EpochMs,
    Iso8601
});
keyword!(ScopeForm {
    #[default]
    Space,
    Comma,
    SpaceOrComma,
    Array,
    FromCallback,
    AbsentUnknown
});
keyword!(TokenTypeCheck {
    /// Must be there and be `Bearer`, in any case.
    #[default]
    Bearer,
    /// May be missing; otherwise as `bearer`.
    Optional,
    /// Whatever it says.
    Any,
});

table!(RefreshPolicy {
    credential: RefreshCredential,
    rotation: Rotation,
    absent_in_reply: AbsentRefresh,
    reuse: Reuse,
    old_access: OldAccess,
    /// Idle life of the refresh token, in seconds.
    idle_lifetime: Option<u64>,
    /// Seconds from consent to the hard end of the grant.
    absolute_lifetime: Option<u64>,
    /// Not before so many seconds after the last refresh.
    earliest: Option<u64>,
    /// At least so many seconds between refreshes of one connection.
    min_interval: Option<u64>,
    /// At most so many refreshes at once.
    concurrency: Option<u32>,
    /// Seconds ahead of expiry to refresh.
    early_by: Option<u64>,
    proactive: bool = true,
});
keyword!(RefreshCredential {
    #[default]
    RefreshToken,
    AccessToken,
    ClientCredentials,
    None
});
keyword!(Rotation {
    Static,
    Always,
    Lazy,
    Soft,
    NearExpiry,
    Setting,
    #[default]
    Unknown
});
keyword!(AbsentRefresh {
    #[default]
    Keep,
    Error
});
keyword!(OldAccess {
    Lives,
    Dies,
    #[default]
    Unknown
});

/// What happens when a spent refresh token is sent again (`REFRESH.md`); unknown means the worst.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "mode", deny_unknown_fields)]
pub(crate) enum Reuse {
    /// It is not spent by use.
    Static,
    /// `invalid_grant`.
    Strict,
    /// The whole grant dies.
    #[default]
    Family,
    /// It works for so long; the replies are siblings, or only the latest lives.
    Leeway {
        secs: u64,
        #[serde(default)]
        replies: LeewayReplies,
    },
    /// The same reply again for so long.
    Idempotent { secs: u64 },
}
keyword!(LeewayReplies {
    #[default]
    Siblings,
    Latest
});

table!(Grants { concurrency: GrantConcurrency, cap: Option<u32> });
keyword!(GrantConcurrency {
    #[default]
    Independent,
    Capped,
    LatestWins,
    Shared
});

table!(
    /// How the token is shown to the provider's API.
    Present {
        scheme: String = "Bearer".into(),
        header: String = "Authorization".into(),
        extra_headers: Map<String>,
        api_host: Option<String>,
    }
);

table!(Identity {
    source: IdentitySource,
    /// For `userinfo` and `graphql`.
    call: Option<IdentityCall>,
    root: Option<String>,
    id: Vec<String> = vec!["/sub".into()],
    email: Vec<String> = vec!["/email".into()],
    name: Vec<String> = vec!["/name".into()],
    /// Asked only when one of these was granted; empty means always.
    needs_scopes: Vec<String>,
});
keyword!(IdentitySource {
    Userinfo,
    IdToken,
    TokenResponse,
    Introspection,
    Graphql,
    Callback,
    TokenPrefix,
    #[default]
    None
});
table!(IdentityCall { url: Option<String>, method: IdentityMethod, body: Option<String>, headers: Map<String> });
keyword!(IdentityMethod {
    #[default]
    Get,
    Post
});

table!(Revoke {
    shape: RevokeShape,
    which: RevokeWhich,
    needs_live_access: bool,
    radius: Radius,
    /// Statuses besides 200 that mean the token is dead.
    success: Vec<u16>,
});
keyword!(RevokeShape {
    #[default]
    Rfc7009,
    Rfc7009Noauth,
    DeleteBearer,
    DeleteBasicJson,
    PostBearer,
    JsonCustom,
    None
});
keyword!(RevokeWhich {
    #[default]
    Refresh,
    Access,
    Both
});
keyword!(Radius {
    #[default]
    Token,
    Grant,
    AppInstall,
    AccountAll
});

table!(ErrorRule {
    status: Vec<u16>,
    ptr: Option<String>,
    equals: Option<String>,
    regex: Option<String>,
    phase: Option<Phase>,
    class: Class,
    /// `header`, or a pointer.
    retry_after: Option<String>,
    /// Pointer to what the next authorization request must carry.
    forward: Option<String>,
});
keyword!(Phase {
    #[default]
    Authorize,
    Exchange,
    Refresh,
    Revoke,
    Api
});
keyword!(
    /// What an error reply means for the grant.
    Class {
        InvalidGrant, InteractionRequired, ClientMisconfigured, Throttled, #[default] Transient, Denied,
    }
);
keyword!(ScopesCheck {
    #[default]
    Exact,
    SubsetOk,
    Unknown
});
