//! Stub front page.

pub mod clock;
pub mod connect;
mod connection;
pub mod connector;
mod core;
mod disconnect;
pub mod entropy;
mod error;
pub mod event;
pub mod http;
pub mod id;
mod listing;
mod maintenance;
mod oauth;
pub mod provider;
mod refresh;
pub mod seal;
pub mod secret;
pub mod store;
mod token;
mod vault;

pub use self::connect::{Callback, SessionBinding};
pub use self::connector::NewConnector;
pub use self::disconnect::{Disconnected, OwedRevocation};
pub use self::error::{Error, ErrorKind, ReauthReason};
pub use self::listing::{ConnectionInfo, ConnectionPage};
pub use self::maintenance::Maintenance;
pub use self::provider::{Catalog, Provider};
pub use self::refresh::TokenRequest;
pub use self::seal::KeyRing;
pub use self::secret::ClientSecret;
pub use self::store::Stores;
pub use self::token::AccessToken;
pub use self::vault::{OwnerHandle, TenantHandle, Vault, VaultBuilder};
