//! The vault's HTTP client: [`GuardedHttp`] sends a request exactly once, over TLS, to a public address.
//!
//! ```
//! use vault_core::http::{HttpClient as _, HttpErrorKind, HttpRequest};
//! use vault_core::secret::SecretBytes;
//! use vault_http::GuardedHttp;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let http = GuardedHttp::builder()
//!     .allow_address_range("10.20.0.0/16") // our own identity provider lives here
//!     .build()?;
//!
//! // A discovery document that points at the cloud's metadata service gets nowhere.
//! let mut request = HttpRequest::new(SecretBytes::default());
//! *request.uri_mut() = "https://169.254.169.254/latest/meta-data/".parse()?;
//! let error = http.send(request).await.expect_err("refused");
//! assert_eq!(error.kind(), HttpErrorKind::AddressNotAllowed);
//! assert!(!error.may_have_been_sent());
//! # Ok(())
//! # }
//! ```
//!
//! # What it guarantees
//! - **TLS**: `https` only, by rustls with ring against the platform's root certificates. A bad certificate ends the
//!   request; there is no fallback and no switch for it. Nothing is installed for the whole process.
//! - **Public addresses**: the address that is dialled is the one that was checked. A name with even one address that
//!   is loopback, private, link-local, carrier NAT, reserved, multicast, or a tunnel to such, is refused; so are
//!   addresses written as hosts, in any spelling. The operator names exceptions:
//!   [`allow_host`](GuardedHttpBuilder::allow_host), [`allow_address_range`](GuardedHttpBuilder::allow_address_range).
//! - **Once**: no redirect is followed and no request repeated. A pooled connection can turn out to be closed before
//!   it took the request; then hyper dials again. That is no second send: no byte of the request had left.
//! - **Bounded**: 5 s to connect, 20 s in all, 1 MiB of body, 64 KiB of headers (some 400 KiB under HTTP/1.1). Memory
//!   follows the bytes received.
//! - **No memory of its own**: no cookies, no cache, no `Referer`, no header kept for the next request.
//! - **No proxy** unless the operator names one; `HTTPS_PROXY` and the like are ignored until
//!   [`proxy_from_env`](GuardedHttpBuilder::proxy_from_env).
//! - **Discreet**: errors name the host and nothing else of the URL. Bodies are wiped when dropped, and so is each
//!   buffer that a growing reply leaves behind.
//!
//! # Errors
//! [`HttpError::may_have_been_sent`](vault_core::http::HttpError::may_have_been_sent) is `false` only where that is
//! certain: the target was refused, or no connection came about (name, TCP, TLS, [`connect_timeout`]). Whatever fails
//! later is cautious, also the total [`timeout`] while still connecting.
//!
//! | kind | when |
//! |---|---|
//! | `AddressNotAllowed` | the guard refused the address |
//! | `Connect` | malformed URL, name unknown, refused, unreachable, proxy said no |
//! | `InsecureEndpoint` | another scheme than `https`, or credentials in the URL |
//! | `Interrupted` | reset, truncated, not HTTP, headers too large, or a `Content-Encoding` (we ask for none, and expand none) |
//! | `Timeout` | either timeout |
//! | `Tls` | the certificate or the handshake |
//! | `TooLarge` | a body over [`body_limit`](GuardedHttpBuilder::body_limit), announced or real |
//!
//! # What it does not do
//! - It does not choose the host: which endpoints a provider may have is decided in `vault-core`.
//! - It cannot guard what a proxy dials: see [`proxy`](GuardedHttpBuilder::proxy).
//! - It does not wipe what hyper, rustls and the kernel buffer, nor headers.
//! - It checks revocation only where the platform's verifier does (not on Linux). On Linux, `SSL_CERT_FILE` and
//!   `SSL_CERT_DIR` replace the root certificates: keep them out of untrusted hands.
//!
//! [`connect_timeout`]: GuardedHttpBuilder::connect_timeout
//! [`timeout`]: GuardedHttpBuilder::timeout

mod body;
mod builder;
mod client;
mod error;
mod guard;
mod resolve;
mod tls;

pub use self::builder::GuardedHttpBuilder;
pub use self::client::GuardedHttp;
pub use self::error::BuildError;
