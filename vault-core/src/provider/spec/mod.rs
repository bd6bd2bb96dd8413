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

mod authorize;
mod call;
mod policy;

pub(crate) use self::authorize::*;
pub(crate) use self::call::*;
pub(crate) use self::policy::*;

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
