//! A vault for the OAuth connections of an application's users: it connects them, keeps their tokens fresh, seals what it
//! stores, and revokes at the provider what they disconnect.
//!
//! ```
//! # use vault_core::http::HttpClient;
//! use vault_core::{Callback, Catalog, ClientSecret, KeyRing, NewConnector, SessionBinding, Stores, Vault};
//!
//! # async fn example(
//! #     stores: Stores, guarded_http: impl HttpClient, secret: String, session_cookie: &str, query: &str,
//! # ) -> Result<(), vault_core::Error> {
//! let vault = Vault::builder()
//!     .stores(stores) // Stores::from_backend(SqliteStore::open("vault.db").await?), of vault-sqlx
//!     .keys(KeyRing::from_env("VAULT_KEYS")?)
//!     .http(guarded_http) // GuardedHttp::new()?, of vault-http
//!     .redirect_uri("https://app.example.com/connect/callback")
//!     .build()
//!     .await?;
//!
//! // An admin, once: the host's OAuth app at the provider.
//! let gmail = NewConnector::new("gmail", Catalog::builtin().provider("google")?)
//!     .client("client-id", ClientSecret::new(secret))
//!     .scopes(["openid", "email", "https://www.googleapis.com/auth/gmail.send"]);
//! let gmail = vault.connectors().register(gmail).await?;
//!
//! // A user connects. The browser goes to `started.url()`, and comes back with `query`.
//! let session = SessionBinding::new(session_cookie)?;
//! let started = vault.user("alice").connect(gmail.id()).return_to("/settings").start(&session).await?;
//! let connected = vault.complete(Callback::from_query(query)?, &session).await?;
//!
//! // Backend code, whenever it acts for the user.
//! let token = vault.user("alice").token(gmail.id()).await?;
//! let authorization = format!("Bearer {}", token.expose_secret());
//!
//! vault.user("alice").disconnect(gmail.id()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! The [`guide`] goes through all of it. The README has the same as a program that runs.
//!
//! # Main types
//!
//! | type | is |
//! |---|---|
//! | [`Vault`], [`VaultBuilder`] | the entry: cheap to clone, no globals, its parts passed in |
//! | [`OwnerHandle`] | one user's connections, or the shared ones: `connect`, `token`, `connections`, `disconnect` |
//! | [`TenantHandle`] | the same for hosts with tenants |
//! | [`Provider`], [`Catalog`] | an authorization server and its quirks, as data ([format](provider)) |
//! | [`NewConnector`], [`Connectors`](connector::Connectors) | the host's OAuth apps, registered at run time |
//! | [`SessionBinding`], [`Callback`] | what ties a flow to a browser session, and what the browser brings back |
//! | [`TokenRequest`], [`AccessToken`] | a token read, and its answer |
//! | [`TokenCache`] | opened tokens kept in memory, off by default |
//! | [`KeyRing`] | the key-encryption keys ([sealing](seal)) |
//! | [`Stores`] | the storage, behind four small traits ([contract](store)) |
//! | [`HttpClient`](http::HttpClient), [`Clock`](clock::Clock), [`Observer`](event::Observer) | network, time and events, passed in |
//! | [`Error`], [`ErrorKind`] | one error; its kind says what to do |
//!
//! The crate root has what most applications name. Everything else is in the module that defines it.
//!
//! # What it guarantees
//!
//! - A sealed token opens only for the tenant, owner, connector, slot, incarnation and generation that it was sealed for.
//!   An edited or moved record is [`ErrorKind::CorruptRecord`], and is left as it is.
//! - A read that finds a good token is one store call, once the data key is in memory: no lock, no write, no request. With
//!   a [`TokenCache`] it may be none.
//! - All who need a refresh share one: within a process by joining it, across processes by a lease in the store. It runs in
//!   a task of its own, so a caller that stops waiting changes nothing. That a refresh token is sent is written before, and
//!   after an outcome that nobody saw it is not sent again until the first request must have ended.
//! - New tokens are stored before anybody gets them; while the store is down they are held, written again and again, and
//!   handed out only after [`Event::PersistPending`](event::Event::PersistPending).
//! - What a refresh brings after a disconnect or a reconnect is never stored.
//! - Only a refusal of the refresh token that is stored, or the end of an access token that cannot be refreshed, makes a
//!   connection [`NeedsReauthorization`](ErrorKind::NeedsReauthorization).
//! - Codes and refresh tokens go to the endpoint or origin that is sealed with their flow or grant.
//! - A failed or denied connect leaves an existing connection working.
//! - Secrets have types of their own ([`secret`]): redacted, not printable, wiped on drop. None is in an error, an event, a
//!   log line or a clear column.
//!
//! # What it does not do
//!
//! - Open sockets or files, except for a key file: the store and the HTTP client are passed in. What they must guarantee is
//!   on [`store`] and [`http::HttpClient`].
//! - Know who the user is. The host authenticates the request, then says `vault.user(id)`.
//! - Protect against code in the same process, or against the loss of the database.
//! - Bring back a refresh token that only the provider knows: when a process dies between the provider's reply and the
//!   write, the user has to connect again ([`LostRotation`](ReauthReason::LostRotation)), unless the provider takes the old
//!   token once more.
//! - Re-wrap data keys under a new key-encryption key: old ones stay in the [`KeyRing`], to decrypt.
//! - API keys, passwords, the device grant, token exchange, PAR, JAR, DPoP, mutual TLS. What the provider format can name
//!   and the engine cannot do is refused at registration.
//!
//! # Features
//!
//! None. The crate needs a tokio runtime with time enabled.
//!
//! # Versions
//!
//! Rust 1.94 or later.

pub mod audit;
mod cache;
pub mod clock;
pub mod connect;
mod connection;
pub mod connector;
mod core;
mod disconnect;
mod ending;
pub mod entropy;
mod erase;
mod error;
pub mod event;
pub mod explain;
pub mod guide;
pub mod http;
pub mod id;
mod listing;
mod maintenance;
mod oauth;
pub mod provider;
mod refresh;
mod revocation;
mod revoke_all;
pub mod seal;
pub mod secret;
pub mod spill {
    //! Where refreshed tokens go while the store is down.
    pub use crate::refresh::{Spill, SpillFolder, Spilled};
}
pub mod store;
mod store_clock;
mod tasks;
mod token;
mod upkeep;
mod vault;

pub use self::cache::TokenCache;
pub use self::connect::{Callback, SessionBinding};
pub use self::connector::NewConnector;
pub use self::disconnect::Disconnected;
pub use self::erase::Erased;
pub use self::error::{Error, ErrorKind, ReauthReason};
pub use self::listing::{ConnectionInfo, ConnectionPage};
pub use self::maintenance::Maintenance;
pub use self::provider::{Catalog, Provider};
#[doc(hidden)] // Not an interface: for the model, which checks these very decisions.
pub use self::refresh::decide;
pub use self::refresh::{TokenFuture, TokenRequest};
pub use self::revocation::OwedRevocation;
pub use self::revoke_all::{RevokePace, RevokeReport};
pub use self::seal::KeyRing;
pub use self::secret::ClientSecret;
pub use self::store::Stores;
pub use self::token::AccessToken;
pub use self::vault::{OwnerHandle, TenantHandle, Vault, VaultBuilder};
