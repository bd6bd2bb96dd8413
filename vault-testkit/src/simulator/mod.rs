//! A provider to test against: an OAuth authorization server in this process, honest until told otherwise.
//!
//! [`Simulator::start`] serves on a free port of 127.0.0.1 the code flow with PKCE, refresh with any kind of rotation,
//! revocation, introspection, `OpenID` Connect with discovery, and a small calendar API that access tokens are good for.
//! Three things then make it useful in tests:
//!
//! - [`Switches`] say how the provider behaves: [`Rotation`], lifetimes, narrowed scopes, wrong `iss`, broken `id_token`s.
//! - [`Fault`]s befall single replies: lost, torn, slow, endless, redirected, or with a field that is odd. A [`Gate`]
//!   holds a request before or after the provider acted, so that races need no sleeping.
//! - The log ([`Call`]) and the ledger ([`TokenInfo`]) say what happened: how many refreshes there were, how many at
//!   once, which token of which generation was spent, and whether the one that an app stored still works.
//!
//! ```
//! use vault_testkit::simulator::{Endpoint, Fault, Rotation, Simulator};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let provider = Simulator::start().await;
//! provider.switch(|switches| switches.rotation = Rotation::Family);
//! // The first refresh rotates the token, and nobody hears of it.
//! provider.inject(Endpoint::Token, Fault::dropped().after_acting().for_grant("refresh_token"));
//!
//! // The app under test starts an authorization; here is a user who says yes.
//! # let authorize_url = format!("{}/authorize?client_id={}&response_type=code&redirect_uri=http://localhost/callback\
//! #     &code_challenge_method=S256&code_challenge=x", provider.issuer(), provider.client_id()).parse().unwrap();
//! let callback = provider.browse(authorize_url).as_account("grace").await?;
//! assert!(callback.query().is_some_and(|query| query.contains("code=simco_")));
//!
//! assert_eq!(provider.count(Endpoint::Authorize), 1);
//! assert!(provider.refreshes().is_empty());
//! # Ok(())
//! # }
//! ```
//!
//! # What it does not do
//! It speaks plain HTTP to this machine only, accepts any redirect URI, and keeps every token that it issued in memory, to tell
//! tests about them. It is no authorization server for anything else.

mod accounts;
mod authorize;
mod browse;
mod builder;
mod clients;
mod discovery;
mod fault;
mod faults;
mod gate;
mod gzip;
mod handle;
mod id_token;
mod incoming;
mod ledger;
mod line;
mod log;
mod page;
mod provider;
mod random;
mod raw;
mod reply;
mod resource;
mod revoke;
mod rotation;
mod server;
mod switches;
mod token;
mod wire;
mod world;

#[cfg(test)]
mod tests;

pub use self::accounts::Account;
pub use self::browse::Browse;
pub use self::builder::SimulatorBuilder;
pub use self::clients::ClientAuth;
pub use self::fault::Fault;
pub use self::gate::Gate;
pub use self::handle::Simulator;
pub use self::ledger::{TokenInfo, TokenKind, TokenState};
pub use self::log::{AuthMethod, Call, Endpoint, Pkce};
pub use self::switches::{IdTokenFlaw, IssParam, JwksFlaw, Revocation, Rotation, Switches};
