//! Providers as data: how to describe an authorization server to the vault.
//!
//! A provider is a TOML file. Few servers need more than their endpoints; everything else has the default that the RFCs
//! give it, or the careful one. [`Catalog::builtin`] has some; [`Catalog::with_toml`] adds your own, which may extend
//! one that is there. For a server that publishes its metadata, [`Provider::oidc`] needs no file at all.
//!
//! ```
//! use vault_core::Provider;
//!
//! let provider = Provider::from_toml(r#"
//! id = "acme_crm"                        # lower-case letters, digits, `_`, `-`
//! name = "Acme CRM"                      # for people
//! docs = ["https://developers.acme.example/oauth"]
//! confidence = "high"                    # in what this file says: high, medium, low
//! checked = "2026-11-22"                 # when it was last compared with the documentation
//! scopes_check = "subset_ok"             # users may be granted less; exact (default), subset_ok, unknown
//!
//! [vars.subdomain]                       # a part of URLs that differs from connector to connector
//! position = "host_label"                # or full_host, path, region_enum
//! pattern = "[a-z][a-z0-9-]*"            # matches the whole value
//! source = "operator"                    # given with the connector; `user`: given with the connection
//! description = "The part before .acme.example"
//!
//! [endpoints]                            # https, no fragment; http on loopback hosts only
//! authorize = "https://{subdomain}.acme.example/oauth/authorize"
//! token = "https://{subdomain}.acme.example/oauth/token"
//! revoke = "https://{subdomain}.acme.example/oauth/revoke"
//! userinfo = "https://{subdomain}.acme.example/api/me"
//!
//! [authorize]
//! params = { access_type = "offline" }   # added to every request
//! pkce.mode = "supported"                # required (default), supported, unsupported with a `reason`
//! scope = { separator = ",", defaults = ["contacts.read"] }
//!
//! [client_auth]
//! kinds = ["post"]                       # basic (default), basic_raw, post, json, query, none
//!
//! [response]                             # places are JSON pointers
//! ok = { ptr = "/ok", equals = true }    # what makes a 200 a success
//! scope_form = "comma"
//! capture = { "/account/region" = { field = "region" } }
//!
//! [refresh_policy]
//! rotation = "always"
//! reuse = { mode = "leeway", secs = 60 } # static, strict, family (default), leeway, idempotent
//!
//! [identity]                             # which account was connected
//! source = "userinfo"
//! id = ["/id"]
//! email = ["/mail", "/login"]            # the first that is there
//!
//! [[errors]]                             # before the general rules, in order
//! ptr = "/error"                         # the default
//! equals = "token_is_gone"
//! phase = "refresh"
//! class = "invalid_grant"
//! "#)?;
//! assert_eq!(provider.default_scopes(), ["contacts.read"]);
//! # Ok::<_, vault_core::Error>(())
//! ```
//!
//! # Fields
//!
//! A field that is not listed here is an error, and so is a variable that no URL uses.
//!
//! **Top**: `id`, `extends`, `name`, `category`, `docs`, `confidence`, `checked`, `lifecycle {status, since,
//! replaced_by}`, `scopes_check`, `granular` (users can untick single scopes).
//!
//! **`vars.<name>`**: `position`, `source`, `pattern`, `policy`, `values`, `default`, `description`. Positions:
//! `host_label` is one DNS label, `full_host` the whole host, `path` unreserved characters in the path, `region_enum` one
//! of `values`, anywhere. Policies: `regexp` (default), `allow_list` (one of `values`), `public_host_guard` (a public
//! name). Hosts that users give need a `pattern` or one of the latter two. `{client_id}` needs no declaration.
//!
//! **`endpoints`**: `issuer`, `authorize`, `token`, `refresh`, `revoke`, `jwks`, `userinfo`, `discovery {url,
//! issuer_template, endpoint_hosts}`. With `discovery = {}`, only `issuer` is needed.
//!
//! **`authorize`**: `params`, `rename` (standard parameter to the provider's), `scope {separator, param, optional_param,
//! required_for_refresh, defaults, fixed_on_app}`, `pkce {mode, method_label, hash, reason}`, `redirect_uri` (`sent`,
//! `omitted`), `url_suffix`, `resource`, `nonce` (`required`, `not_returned`). `params` cannot hold what the vault sets:
//! `state`, `redirect_uri`, `scope`, `nonce` and their like.
//!
//! **`callback`**: `code_param`, `capture.<parameter> {field, required, persist, secret}`, `granted_scope_param`,
//! `strip_suffix`, `iss` (`optional`, `required`).
//!
//! **`client_auth`**: `kinds`, `rename`.
//!
//! **`exchange`, `refresh`**: `method` (`post`, `get`), `body` (`form`, `json`, `query`), `params` (a text, or
//! `{from = "callback.x"}` in `exchange` and `{from = "conn.x"}` in `refresh`), `rename`, `send_redirect_uri`,
//! `send_scope` (`none`, `all`, `subset`), `headers`, `accept`.
//!
//! **`response`**: `root`, `roots_by_kind.<slot>`, `unwrap_first`, `ok {ptr, equals, absent, is_in}`, `content` (`json`,
//! `form`, `json_any_type`), `fields {access, refresh, token_type, scope, id_token}`, `expires {access, refresh,
//! earliest_refresh}`, each `{ptr, form, zero_means_never, default}` with the forms `seconds`, `millis`, `epoch_s`,
//! `epoch_ms` and `iso8601`, `scope_form` (`space`, `comma`, `space_or_comma`, `array`, `from_callback`,
//! `absent_unknown`), `token_type` (`bearer`, `optional`, `any`), `capture.<pointer>`.
//!
//! **`refresh_policy`**: `credential` (`refresh_token`, `none`), `rotation`, `absent_in_reply` (`keep`, `error`), `reuse`,
//! `old_access` (`lives`, `dies`, `unknown`), and, in seconds, `settle`, `idle_lifetime`, `absolute_lifetime`,
//! `earliest`, `min_interval`, `early_by`; `concurrency`, `proactive`; `audience`, the parameter that asks for a token for
//! another audience (`resource`, `audience`).
//!
//! **`grants`**: `concurrency` (`independent`, `capped`, `latest_wins`, `shared`), `cap`. With `shared`, who consents again is
//! given the same grant again, and it is not revoked while another connection of the owner has it.
//!
//! **`present`**: `scheme`, `header`, `extra_headers`.
//!
//! **`identity`**: `source` (`userinfo`, `id_token`, `token_response`, `graphql`, `token_prefix`, `none`), `call {method,
//! body, headers}`, `root`, `id`, `email`, `name`, `needs_scopes`.
//!
//! **`revoke`**: `shape` (`rfc7009`, `rfc7009_noauth`, `delete_bearer`, `delete_basic_json`, `post_bearer`, `none`), `which`
//! (`refresh`, `access`, `both`), `needs_live_access`, `radius` (`token`, `grant`, `app_install`, `account_all`),
//! `success`.
//!
//! **`[[errors]]`**: `status`, `ptr`, `equals`, `regex`, `phase` (`authorize`, `exchange`, `refresh`, `revoke`, `api`),
//! `class` (`invalid_grant`, `interaction_required`, `client_misconfigured`, `throttled`, `transient`, `denied`),
//! `retry_after`, `forward`.
//!
//! # Refused for now
//!
//! The format has words for more than the engine can do. A connector cannot be registered with a provider that uses them,
//! and the error names the field: `vars.<name>.source` of `callback`, `token` and `identity`, and `capture` with `var`;
//! `authorize.par`, `authorize.jar`, `redirect_uri = "alias"`, `response_mode = "form_post"`; `callback.method = "post"`,
//! `callback.hmac`, `callback.decode_code`, `callback.must_equal`; the client authentications `private_key_jwt`, `mtls`,
//! `minted_jwt_secret`, `platform_key` and `header_tmpl`, where there is no other; `post_exchange`; `url` in `exchange`,
//! `refresh` and `identity.call`, and their `method = "delete"`; `refresh_policy.credential` of `access_token` and
//! `client_credentials`; `present.api_host`; the identity sources `callback` and `introspection`; the revocation
//! `json_custom`.

mod catalog;
mod check;
pub(crate) mod endpoints;
mod parse;
pub(crate) mod scopes;
pub(crate) mod spec;
mod template;
mod unsupported;
pub(crate) mod url_rules;
pub(crate) mod vars;

use std::fmt;
use std::sync::Arc;

pub use self::catalog::Catalog;
#[cfg(test)]
use self::endpoints::Endpoints;
use self::endpoints::{PartialEndpoints, Vars};
use self::spec::Spec;
use crate::error::{Error, ErrorKind};

/// An authorization server and its quirks. Cloning is cheap.
///
/// From the [`Catalog`], from a file ([`from_toml`](Self::from_toml)), or, for a server that describes itself, from
/// nothing but its issuer ([`oidc`](Self::oidc)).
#[derive(Clone, PartialEq, Eq)]
pub struct Provider(Arc<Spec>);

impl Provider {
    /// Reads and checks a provider file (see [the format](self)). One that extends another needs
    /// [`Catalog::with_toml`].
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] names the field at fault, [`ErrorKind::EndpointRefused`] the endpoint.
    pub fn from_toml(text: &str) -> Result<Self, Error> {
        Self::from_table(parse::table(text)?)
    }

    /// A server that publishes its metadata (RFC 8414 or OIDC discovery): Keycloak, Auth0, Okta, Zitadel and
    /// most others. PKCE is required; refresh tokens are treated as if reusing one would end the grant. A connector that
    /// names its scopes adds `offline_access` where the server wants it for refresh tokens.
    ///
    /// The issuer is `https` (`http` on loopback hosts), without query and fragment, and is compared byte for byte with
    /// what the server states.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] for the id, [`ErrorKind::EndpointRefused`] for the issuer.
    ///
    /// ```
    /// let provider = vault_core::Provider::oidc("acme_sso", "https://id.acme.example/realms/staff")?;
    /// assert!(provider.is_discovered());
    /// # Ok::<_, vault_core::Error>(())
    /// ```
    pub fn oidc(id: &str, issuer: &str) -> Result<Self, Error> {
        url_rules::check_issuer("issuer", issuer)?;
        let mut spec = Catalog::builtin().provider("generic_oidc")?.spec().clone();
        id.clone_into(&mut spec.id);
        id.clone_into(&mut spec.name);
        spec.vars.clear();
        spec.endpoints.issuer = Some(issuer.to_owned());
        check::check(&spec)?;
        Ok(Self(Arc::new(spec)))
    }

    pub(crate) fn from_table(table: toml::Table) -> Result<Self, Error> {
        if table.contains_key("extends") {
            return Err(check::invalid("`extends` needs a catalog"));
        }
        Ok(Self(Arc::new(parse::spec(table)?)))
    }

    /// Lower-case letters, digits, `_` and `-`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// For people.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// What a connector asks for when it names no scopes.
    #[must_use]
    pub fn default_scopes(&self) -> &[String] {
        &self.0.authorize.scope.defaults
    }

    /// Whether endpoints come from the server's metadata.
    #[must_use]
    pub fn is_discovered(&self) -> bool {
        self.0.endpoints.discovery.is_some()
    }

    /// The provider's own documentation.
    #[must_use]
    pub fn docs(&self) -> &[String] {
        &self.0.docs
    }

    /// How sure we are of what the file says, `high`, `medium` or `low`, and the day it was checked. Empty when the
    /// file does not say.
    #[must_use]
    pub fn confidence(&self) -> (&str, &str) {
        (&self.0.confidence, &self.0.checked)
    }

    pub(crate) fn spec(&self) -> &Spec {
        &self.0
    }

    /// The first field of the file that the engine cannot honour yet, if any.
    pub(crate) fn unsupported(&self) -> Option<String> {
        unsupported::unsupported(&self.0).map(str::to_owned)
    }

    /// Checks scopes to ask for, and merges duplicates. What separates scopes cannot be part of one.
    pub(crate) fn check_scopes(&self, scopes: &[String]) -> Result<Vec<String>, Error> {
        let separator = &self.0.authorize.scope.separator;
        match scopes.iter().position(|scope| scope.contains(separator)) {
            Some(index) => Err(scopes::invalid_scope(index)),
            None => scopes::check_scopes(scopes),
        }
    }

    /// The endpoints that the file names. `vars` holds the checked variables and [`vars::CLIENT_ID`].
    pub(crate) fn configured(&self, vars: &Vars) -> Result<PartialEndpoints, Error> {
        PartialEndpoints::configured(&self.0, vars)
    }

    /// The endpoints, of a provider that needs no discovery.
    #[cfg(test)]
    pub(crate) fn resolve(&self, vars: &Vars) -> Result<Endpoints, Error> {
        self.configured(vars)?.complete()
    }

    /// The whole file with every default spelt out, so that a connector keeps its meaning when defaults change.
    pub(crate) fn to_stored(&self) -> String {
        serde_json::to_string(&*self.0).expect("string keys and no custom serialisers")
    }

    pub(crate) fn from_stored(text: &str) -> Result<Self, Error> {
        let spec: Spec = serde_json::from_str(text).map_err(|error| {
            Error::new(ErrorKind::CorruptRecord, "the stored provider does not read").with_source(error)
        })?;
        check::check(&spec)?;
        Ok(Self(Arc::new(spec)))
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Provider").field(&self.0.id).finish()
    }
}

#[cfg(test)]
mod tests;
