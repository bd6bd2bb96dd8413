//! The simulator as the vault's provider format describes it.

use vault_core::Provider;

use super::handle::Simulator;
use super::switches::Rotation;

impl Simulator {
    /// This server as a provider, with its endpoints written out and its present [`Rotation`] declared.
    ///
    /// # Panics
    /// Never: the definition is part of this crate and tested with it.
    #[must_use]
    pub fn provider(&self) -> Provider {
        Provider::from_toml(&self.provider_toml()).expect("the simulator's own provider file is valid")
    }

    /// The text of [`provider`](Self::provider), to be changed by a test before it is read.
    #[must_use]
    pub fn provider_toml(&self) -> String {
        let issuer = self.issuer();
        format!(
            r#"
id = "simulator"
name = "Demo Calendar"

[endpoints]
issuer = "{issuer}"
authorize = "{issuer}/authorize"
token = "{issuer}/token"
revoke = "{issuer}/revoke"
userinfo = "{issuer}/userinfo"
jwks = "{issuer}/jwks"

[authorize.scope]
defaults = ["openid", "email", "calendar.read"]

[callback]
iss = "required"

[client_auth]
kinds = ["basic", "post", "none"]

[refresh_policy]
reuse = {reuse}

[identity]
source = "userinfo"
"#,
            reuse = reuse(self.shared.world().switches.rotation),
        )
    }

    /// This server as a provider that the vault knows nothing of but the issuer: everything else is discovered.
    ///
    /// # Panics
    /// Never: the issuer is an HTTP URL on loopback.
    #[must_use]
    pub fn discovered_provider(&self) -> Provider {
        Provider::oidc("simulator", self.issuer()).expect("an issuer on loopback")
    }
}

fn reuse(rotation: Rotation) -> String {
    match rotation {
        Rotation::Static => r#"{ mode = "static" }"#.into(),
        Rotation::Strict => r#"{ mode = "strict" }"#.into(),
        Rotation::Family => r#"{ mode = "family" }"#.into(),
        Rotation::LeewaySiblings { secs } => {
            format!(r#"{{ mode = "leeway", secs = {secs}, replies = "siblings" }}"#)
        }
        Rotation::LeewayLatest { secs } => {
            format!(r#"{{ mode = "leeway", secs = {secs}, replies = "latest" }}"#)
        }
        Rotation::Idempotent { secs } => format!(r#"{{ mode = "idempotent", secs = {secs} }}"#),
    }
}
