//! The manual for applications. It contains no code of its own.
//!
//! 1. [Getting started](#getting-started)
//! 2. [Providers and connectors](#providers-and-connectors)
//! 3. [Sessions and callbacks](#sessions-and-callbacks)
//! 4. [Reading tokens](#reading-tokens)
//! 5. [Refresh, and what errors mean](#refresh-and-what-errors-mean)
//! 6. [Disconnect](#disconnect)
//! 7. [Keys](#keys)
//! 8. [Storage](#storage)
//! 9. [Maintenance](#maintenance)
//! 10. [Testing](#testing)
//!
//! # Getting started
//!
//! A [`Vault`] is made once, at the start of the process, and cloned to wherever it is needed. It takes four parts: a store,
//! a key ring, an HTTP client, and the redirect URI that is registered at the providers.
//!
//! ```
//! # use vault_core::http::HttpClient;
//! use vault_core::{KeyRing, Stores, Vault};
//!
//! # async fn example(stores: Stores, client: impl HttpClient) -> Result<(), vault_core::Error> {
//! let vault = Vault::builder()
//!     .stores(stores) // Stores::from_backend(SqliteStore::open("vault.db").await?)
//!     .keys(KeyRing::from_env("VAULT_KEYS")?)
//!     .http(client) // GuardedHttp::new()?
//!     .redirect_uri("https://app.example.com/connect/callback")
//!     .build()
//!     .await?;
//! vault.spawn_maintenance();
//! # Ok(())
//! # }
//! ```
//!
//! [`build`](crate::VaultBuilder::build) checks everything, the keys against the store included, and refuses to start rather than
//! start wrongly. A key for `VAULT_KEYS` is a line such as
//!
//! ```text
//! 2026-11:sHTTMYS1…=
//! ```
//!
//! that is, a name and 32 random bytes in base64: `echo "2026-11:$(openssl rand -base64 32)"`.
//!
//! Then there are handles. All take ids as text, and a bad one is an error of the first operation:
//!
//! ```
//! # fn example(vault: vault_core::Vault) {
//! vault.user("alice"); // a user's own connections
//! vault.shared(); // one account for everybody
//! vault.tenant("acme").user("alice"); // for hosts with tenants
//! # }
//! ```
//!
//! User ids are compared byte for byte. Use a stable internal id, not an e-mail address, which can pass to somebody else.
//!
//! # Providers and connectors
//!
//! A [`Provider`] is an authorization server, as data. There are three ways to one:
//!
//! ```
//! use vault_core::{Catalog, Provider};
//!
//! # fn main() -> Result<(), vault_core::Error> {
//! // 1. It is built in.
//! let google = Catalog::builtin().provider("google")?;
//!
//! // 2. It publishes its metadata (OpenID Connect discovery, RFC 8414).
//! let staff = Provider::oidc("staff", "https://id.acme.example/realms/staff")?;
//!
//! // 3. You describe it, from nothing or on top of another one.
//! let catalog = Catalog::builtin().with_toml(r#"
//!     id = "acme_mail"
//!     extends = "google"
//!     name = "Mail for Acme"
//!     authorize.params.hd = "acme.example"
//! "#)?;
//! let acme_mail = catalog.provider("acme_mail")?;
//! # Ok(())
//! # }
//! ```
//!
//! The format is documented at [`provider`]. [`Catalog::ids`](crate::Catalog::ids) lists what is built in.
//!
//! A connector is one OAuth app of yours at a provider: client id, secret, scopes. Several may be registered at one provider.
//! Registering copies the provider's definition, so a later version of the catalog changes nothing about it.
//!
//! ```
//! use vault_core::connector::{AccountPolicy, AllowedOwners, ConnectorUpdate};
//! use vault_core::{Catalog, ClientSecret, NewConnector};
//!
//! # async fn example(vault: vault_core::Vault, secret: String, next: String) -> Result<(), vault_core::Error> {
//! let connectors = vault.connectors();
//! let calendar = match connectors.find("calendar").await? {
//!     Some(calendar) => calendar,
//!     None => {
//!         let new = NewConnector::new("calendar", Catalog::builtin().provider("google_calendar")?)
//!             .client("client-id", ClientSecret::new(secret))
//!             .owners(AllowedOwners::Users)
//!             .account_policy(AccountPolicy::Replace);
//!         connectors.register(new).await?
//!     }
//! };
//!
//! // Other scopes, for connections from now on. Existing ones stay as they are.
//! let scopes = ["https://www.googleapis.com/auth/calendar.readonly"];
//! connectors.update(calendar.id(), ConnectorUpdate::new().scopes(scopes)).await?;
//!
//! // A new client secret, without a moment in which neither works.
//! connectors.rotate_secret(calendar.id(), ClientSecret::new(next)).await?; // both are tried
//! // ... switch over at the provider ...
//! connectors.promote_secret(calendar.id()).await?; // only the new one
//! # Ok(())
//! # }
//! ```
//!
//! The client id cannot change: tokens belong to it. Register another connector instead.
//!
//! [`AccountPolicy`](crate::connector::AccountPolicy) says what happens when a user reconnects with another account than
//! before: refused unless you choose otherwise. To hold several accounts on purpose, give each a [`Slot`](crate::id::Slot) in
//! [`connect`](crate::connect::Connect::slot) and [`token`](crate::TokenRequest::slot).
//!
//! # Sessions and callbacks
//!
//! Two routes of yours make a connect: one that starts it, and the redirect URI.
//!
//! ```
//! use vault_core::id::ConnectorId;
//! use vault_core::{Callback, Error, SessionBinding, Vault};
//!
//! /// `POST /connect/{connector}`; answers with a redirect to the provider.
//! async fn start(vault: Vault, user: &str, session: &str, connector: &str) -> Result<String, Error> {
//!     let session = SessionBinding::new(session)?;
//!     let connector = ConnectorId::new(connector)?;
//!     let started = vault.user(user).connect(&connector).return_to("/settings").start(&session).await?;
//!     Ok(started.url().to_string())
//! }
//!
//! /// `GET /connect/callback`; answers with a redirect (303) to a page of the app.
//! async fn callback(vault: Vault, session: &str, query: &str) -> Result<String, Error> {
//!     let session = SessionBinding::new(session)?;
//!     let connected = vault.complete(Callback::from_query(query)?, &session).await?;
//!     Ok(connected.return_to().to_owned())
//! }
//! ```
//!
//! The [`SessionBinding`] is the defence against an attacker who makes a victim's browser finish the attacker's flow. Make it
//! from a secret that only this browser holds: the session cookie's value, or a random value kept in the server's session. A
//! user id will not do, since it is no secret. The session must be the same at start and callback, so set its cookie
//! `SameSite=Lax`, not `Strict`: the callback is a navigation from another site. Start on `POST`, with your usual protection
//! against forged requests.
//!
//! A flow is good for one callback, whatever comes of it, and for 10 minutes. Keep the callback's query out of access logs,
//! and answer with a redirect, so that it does not stay in the address bar.
//!
//! `return_to` takes a path on your site, or an absolute URL that the vault was built with
//! ([`allow_return_to`](crate::VaultBuilder::allow_return_to)). A failed callback has none: show a page of your own.
//!
//! | [`complete`](crate::Vault::complete) fails with | say or do |
//! |---|---|
//! | `Denied` | "You did not allow access." Offer to try again |
//! | `MissingScopes` | name what is missing, and offer to try again |
//! | `AccountMismatch` | "That is another account than before." |
//! | `FlowExpired`, `UnknownState`, `FlowCancelled` | "That took too long, or was done already." Offer to start again |
//! | `SessionMismatch`, `IssuerMismatch`, `InvalidCallback` | a plain error page; worth an alarm when frequent |
//! | `ProviderUnavailable`, `StoreUnavailable` | try again later, from the start |
//! | `ProviderMisconfigured`, `ProviderReplyInvalid`, `IdTokenInvalid` | an operator looks at the connector |
//!
//! In all of these nothing was stored, and a connection from before works on; only when the store is lost while one connection
//! replaces another, either may be there. Where one consent gives several connections, those that were stored stand.
//!
//! If the provider had issued tokens already, nobody has them any more, and
//! [`GrantUnclaimed`](crate::event::Event::GrantUnclaimed) says that they live on there. They are revoked only after
//! `FlowCancelled`: revoking may end what was there before.
//!
//! A user with a connection can be asked for more: name old and new scopes in
//! [`scopes`](crate::connect::Connect::scopes). If they refuse, they keep what they had.
//!
//! # Reading tokens
//!
//! ```
//! use std::time::Duration;
//!
//! use vault_core::id::ConnectorId;
//!
//! # async fn example(vault: vault_core::Vault, calendar: ConnectorId) -> Result<(), vault_core::Error> {
//! let token = vault
//!     .user("alice")
//!     .token(&calendar)
//!     .require_scopes(["https://www.googleapis.com/auth/calendar.readonly"])
//!     .min_ttl(Duration::from_secs(120)) // for a long upload
//!     .await?;
//! let header = format!("Bearer {}", token.expose_secret());
//! let base_url = token.connection_config("instance_url"); // for providers that have one
//! # Ok(())
//! # }
//! ```
//!
//! Read before each request to the provider, and do not keep tokens: a read costs one store call. It also works in
//! background jobs, as long as they know whose token they want.
//!
//! Access tokens can die before their time. When the provider answers 401, say so, and try once more with what you get:
//!
//! ```
//! # use vault_core::id::ConnectorId;
//! # async fn call_api(bearer: &str) -> u16 { 200 }
//! # async fn example(vault: vault_core::Vault, calendar: ConnectorId) -> Result<(), vault_core::Error> {
//! let token = vault.user("alice").token(&calendar).await?;
//! if call_api(token.expose_secret()).await == 401 {
//!     let token = vault.report_rejected(&token).await?;
//!     call_api(token.expose_secret()).await;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! However many tasks report the same token, it is refreshed once. A second 401 is an answer, not a reason to report again:
//! the account may lack the right to what was asked.
//!
//! Some grants are good for several APIs, each of which wants a token of its own (RFC 8707). Ask for one by
//! [`audience`](crate::TokenRequest::audience), where the provider's definition says how that is asked; the tokens are kept
//! and refreshed side by side.
//!
//! Where one store call per read is too many, keep opened tokens in memory:
//!
//! ```
//! use std::time::Duration;
//!
//! use vault_core::{TokenCache, VaultBuilder};
//!
//! # fn example(builder: VaultBuilder) -> VaultBuilder {
//! builder.token_cache(TokenCache::new().max_age(Duration::from_secs(10)))
//! # }
//! ```
//!
//! What this vault writes counts at once. What another process writes, a disconnect above all, counts when
//! [`max_age`](crate::TokenCache::max_age) is over, or as soon as a [`watch`](crate::TokenCache::watch) tells of it, where
//! the backend offers one. While a watch is not to be relied on, nothing is served from memory.
//!
//! For a settings page, [`connections`](crate::OwnerHandle::connections) lists a user's connections with account, scopes and status
//! in one query per page, and loads no token.
//!
//! # Refresh, and what errors mean
//!
//! A token that will not live for `min_ttl` (30 s) is refreshed before it is handed out; maintenance does so ahead of time,
//! so that reads rarely wait. While a refresh fails for reasons that say nothing about the grant, a stored token that is
//! still alive is handed out.
//!
//! Branch on [`Error::kind`](crate::Error::kind), or on the two questions that matter most:
//!
//! ```
//! use vault_core::{Error, ErrorKind};
//!
//! enum Next { AskUser, Later, Operator }
//!
//! fn next(error: &Error) -> Next {
//!     match error.kind() {
//!         ErrorKind::NeedsReauthorization { reason } => {
//!             println!("ask the user to connect again: {reason}");
//!             Next::AskUser
//!         }
//!         _ if error.needs_user_action() => Next::AskUser,
//!         _ if error.is_retryable() => Next::Later, // after error.retry_after(), where the provider said
//!         _ => Next::Operator,
//!     }
//! }
//! ```
//!
//! | kind | means | do |
//! |---|---|---|
//! | `NotConnected` | there is no such connection | offer to connect |
//! | `NeedsReauthorization` | the grant is over: revoked, lapsed, or the provider wants the user back | offer to connect again |
//! | `MissingScopes` | connected, with less than this read requires | ask for more |
//! | `RefreshInProgress` | somebody refreshes, and it takes longer than you would wait | try later |
//! | `ProviderUnavailable` | the provider is down, slow or throttling | try later |
//! | `StoreUnavailable`, `KeyUnavailable` | our side is down; nothing is lost | try later |
//! | `ProviderMisconfigured` | the provider refuses the OAuth client; no connection is at fault | mend the connector |
//! | `EndpointRefused` | an endpoint moved, or its address or certificate is not allowed | look before you allow |
//! | `CorruptRecord`, `Shredded` | the record does not open, or its key was destroyed | connect again; find out why |
//!
//! The steps of a refresh are in the source, at the head of `refresh/mod.rs`.
//!
//! # Disconnect
//!
//! ```
//! use vault_core::Disconnected;
//! # use vault_core::id::ConnectorId;
//!
//! # async fn example(vault: vault_core::Vault, calendar: ConnectorId) -> Result<(), vault_core::Error> {
//! match vault.user("alice").disconnect(&calendar).await? {
//!     Disconnected::NotConnected | Disconnected::Revoked => {}
//!     Disconnected::Pending => println!("gone here; the provider will be told"),
//!     Disconnected::StillShared => println!("another connection uses the same grant"),
//!     _ => println!("remove the app in your account at the provider, too"),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Whatever the answer, no read returns the token from now on, and authorizations under way are cancelled. What the provider
//! has not confirmed is tried again by maintenance, at growing intervals, for 7 days
//! ([`revocation_limit`](crate::VaultBuilder::revocation_limit)), then given up with an event;
//! [`owed_revocations`](crate::OwnerHandle::owed_revocations) lists it meanwhile.
//!
//! Some providers revoke not one token but all that a user granted to the OAuth client. There the vault does not revoke while
//! another active connection of the same owner, client and account needs the grant: `StillShared`; accounts that are not known
//! may be the same. It looks at the same owner only. If two of your users, or two tenants, connect one account through one OAuth
//! client, disconnecting one may end the other at such a provider.
//!
//! When a user is deleted, [`erase`](crate::OwnerHandle::erase) removes all that is stored about them. When a client secret
//! or the database has leaked, [`revoke_all`](crate::Vault::revoke_all) ends everything of a connector, a tenant or the
//! vault, and can be called again until its report is complete. A connector can be
//! [deleted](crate::connector::Connectors::delete) only after its connections.
//!
//! # Keys
//!
//! The [`KeyRing`] holds key-encryption keys. They wrap data keys, one per tenant, which lie in the store and seal everything
//! else ([`seal`]). Whoever has a key *and* the database has the tokens; keep the two apart, in backups too. Whoever loses the
//! key has lost the tokens.
//!
//! - From the environment ([`from_env`](crate::KeyRing::from_env)), a file that only its owner can open
//!   ([`from_file`](crate::KeyRing::from_file)), or a key service of yours ([`Kek`](crate::seal::Kek)). A passphrase
//!   ([`from_passphrase`](crate::KeyRing::from_passphrase)) can be guessed offline by whoever has the database.
//! - To change keys: add the new one everywhere, and restart; then mark it primary with `*`, and restart. From then on it
//!   wraps new data keys. The old one **has to stay in the ring**, since data keys from before are wrapped under it; wrapping
//!   them anew is not there yet.
//!
//!   ```text
//!   *2026-11:sHTTMYS1…=,2025-11:9hbcWl0Z…=
//!   ```
//! - With [`data_key_per_user`](crate::VaultBuilder::data_key_per_user), removing a user's row from the
//!   [`KeyStore`](crate::store::KeyStore) makes all that was sealed for them unreadable, in old backups of the other tables
//!   too. There is no method for that yet, and running processes keep opened keys in memory: stop them first.
//!
//! # Storage
//!
//! `vault-sqlx` has `SqliteStore`, for one machine, and `PostgresStore`, for many; `vault-redis` has `RedisStore`;
//! `vault-memory` has `MemoryStore`, for tests. The README says when to choose which, and what each keeps across a failover.
//! Anything else is four traits ([`store`]), each with its contract, and a conformance suite in `vault-testkit` that proves
//! them.
//!
//! Stores can be mixed, for instance with short-lived flows elsewhere:
//!
//! ```
//! # use std::sync::Arc;
//! # use vault_core::store::{FlowStore, Stores};
//! # fn example(database: Stores, flows: Arc<dyn FlowStore>) -> Stores {
//! Stores { flows, ..database }
//! # }
//! ```
//!
//! A flow that is where its connection goes ends in the same write. One that is elsewhere takes a round trip more, and a crash
//! between the two, of a user who disconnects in that moment, may leave the connection.
//!
//! Connections, connectors and data keys need a store that does not lose acknowledged writes. A refresh token that rolls back
//! to one already spent is a dead connection, or at some providers a dead grant.
//!
//! Identifiers (tenant, user, connector, slot), connector names, statuses and times are clear columns. Accounts, e-mail
//! addresses, scopes, client ids and connection configs are sealed, with one exception:
//! [`AccountPolicy::NewSlot`](crate::connector::AccountPolicy::NewSlot) names slots after account ids.
//!
//! # Maintenance
//!
//! Someone has to refresh what comes due, pay owed revocations, and remove flows that nobody finished. In a server,
//! [`spawn_maintenance`](crate::Vault::spawn_maintenance) does it every half minute; a job can call
//! [`maintain`](crate::Vault::maintain) instead. Any number of processes may do so at once.
//!
//! At the end, [`shutdown`](crate::Vault::shutdown) begins nothing new, and waits for tokens that are not stored yet:
//!
//! ```
//! # use std::time::Duration;
//! # async fn example(vault: vault_core::Vault) {
//! if !vault.shutdown(Duration::from_secs(30)).await {
//!     eprintln!("some refreshes or revocations were still under way");
//! }
//! # }
//! ```
//!
//! Give it at least the HTTP timeout (20 s).
//!
//! [Events](crate::event) go to an [`Observer`](crate::event::Observer), for logs and alarms. Where an operation must not answer
//! before it is on record, pass an [audit sink](crate::audit) too. Hand events on and return:
//!
//! ```
//! use tokio::sync::mpsc::UnboundedSender;
//! use vault_core::event::{Event, Observer};
//!
//! #[derive(Debug)]
//! struct Alarms(UnboundedSender<Event>);
//!
//! impl Observer for Alarms {
//!     fn event(&self, event: &Event) {
//!         let _ = self.0.send(event.clone());
//!     }
//! }
//! ```
//!
//! While the store is down, refreshed tokens wait in memory. Give them a place of last resort, and they survive the process:
//! `.spill(SpillFolder::new("/var/lib/app/vault-spill"))` on the builder. They are sealed there, and the next process that
//! starts on the same folder brings them in.
//!
//! `vault.user(id).explain(&connector)` says why a connection is as it is: its state, what the provider last failed with, its
//! refreshes, who refreshes it now, what is owed, and what user, admin and operator can do. Print it in a support tool.
//!
//! For incidents: `vault.revoke_all(pace)`, or the same on a tenant's handle or for a connector, disconnects and revokes
//! everything; `vault.user(id).erase()` removes a user and all that was theirs.
//!
//! Wake somebody for `PersistPending` (new tokens are in memory only), for `RotationLost`, for many `NeedsReauthorization` at once, and for
//! `RevocationAbandoned`. Ask why for `ConnectFailed` with `SessionMismatch` or `IssuerMismatch`.
//!
//! Operations are `tracing` spans: `vault.connect.start`, `vault.connect.complete`, `vault.token`, `vault.refresh`,
//! `vault.report_rejected`, `vault.disconnect`, `vault.maintain`. Errors and log lines name users, connectors and tenants by
//! id; treat logs as personal data. There are no metrics yet.
//!
//! # Testing
//!
//! `vault-testkit` has a provider to run against (`Simulator`), a clock that stands still (`ManualClock`), and a store that
//! fails on demand (`FaultStore`). Its front page shows a test of a whole vault, without a network and without sleeping.
//!
//! [`KeyRing`]: crate::KeyRing
//! [`Provider`]: crate::Provider
//! [`SessionBinding`]: crate::SessionBinding
//! [`Vault`]: crate::Vault
//! [`provider`]: crate::provider
//! [`seal`]: crate::seal
//! [`store`]: crate::store
