//! D14: certificates that must not be trusted, and the ways in which the operator extends trust.

use std::io;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::server::TlsStream;
use vault_core::http::{HttpClient as _, HttpError, HttpErrorKind};
use vault_http::{GuardedHttp, GuardedHttpBuilder};

use crate::server::{Notes, Peer, Server, ok, post};

/// A private CA.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("ring makes keys");
        Self(CertifiedIssuer::self_signed(params, key).expect("the parameters are valid"))
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// Serves HTTP/2 and HTTP/1.1 with a good certificate for `names`.
    pub(crate) fn acceptor(&self, names: &[&str]) -> TlsAcceptor {
        self.acceptor_with(&params(names), &[b"h2", b"http/1.1"])
    }

    fn acceptor_with(&self, params: &CertificateParams, protocols: &[&[u8]]) -> TlsAcceptor {
        let key = KeyPair::generate().expect("ring makes keys");
        let certificate = params.signed_by(&key, &self.0).expect("the parameters are valid");
        acceptor(&certificate, &key, protocols)
    }
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
    CertificateParams::new(names).expect("the test writes valid names")
}

fn acceptor(certificate: &rcgen::Certificate, key: &KeyPair, protocols: &[&[u8]]) -> TlsAcceptor {
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )
        .expect("key and certificate fit");
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}

/// The server's half of the handshake.
pub(crate) async fn accept(peer: Peer, acceptor: &TlsAcceptor) -> io::Result<(TlsStream<TcpStream>, Notes)> {
    let (stream, notes) = peer.into_parts();
    Ok((acceptor.accept(stream).await?, notes))
}

/// One HTTP/1.1 exchange over TLS.
async fn secure(acceptor: TlsAcceptor) -> Server {
    Server::start(move |peer| {
        let acceptor = acceptor.clone();
        async move {
            let (mut tls, notes) = accept(peer, &acceptor).await?;
            let mut bytes = vec![0; 4096];
            let read = tls.read(&mut bytes).await?;
            notes.note(String::from_utf8_lossy(&bytes[..read]));
            tls.write_all(ok("secure").as_bytes()).await?;
            tls.shutdown().await
        }
    })
    .await
}

/// May dial loopback by name, over TLS only.
fn builder() -> GuardedHttpBuilder {
    GuardedHttp::builder().allow_host("localhost")
}

async fn refused(builder: GuardedHttpBuilder, acceptor: TlsAcceptor, host: &str) {
    let server = secure(acceptor).await;
    let http = builder.build().expect("the settings are valid");
    let url = format!("https://{host}:{}/token", server.port);
    let error = http.send(post(&url, "refresh_token=canary")).await.expect_err("a bad certificate");
    assert_eq!(error, HttpError::not_sent(HttpErrorKind::Tls, host));
    assert_eq!(server.requests(), [""; 0]);
    assert_eq!(server.connections(), 1, "no second try");
}

#[tokio::test]
async fn d14_a_self_signed_certificate_is_refused() {
    let key = KeyPair::generate().expect("ring makes keys");
    let certificate = params(&["localhost"]).self_signed(&key).expect("the parameters are valid");
    refused(builder(), acceptor(&certificate, &key, &[b"http/1.1"]), "localhost").await;
}

#[tokio::test]
async fn d14_an_unknown_authority_is_refused() {
    let (known, unknown) = (Authority::new(), Authority::new());
    let builder = builder().root_certificates(known.pem());
    refused(builder, unknown.acceptor(&["localhost"]), "localhost").await;
}

#[tokio::test]
async fn d14_a_certificate_for_another_host_is_refused() {
    let authority = Authority::new();
    for names in [&["provider.example"][..], &["127.0.0.1"], &["sub.localhost"]] {
        let builder = builder().root_certificates(authority.pem());
        refused(builder, authority.acceptor(names), "localhost").await;
    }
    let builder = builder().allow_host("127.0.0.1").root_certificates(authority.pem());
    refused(builder, authority.acceptor(&["localhost"]), "127.0.0.1").await;
}

#[tokio::test]
async fn d14_a_certificate_out_of_its_time_is_refused() {
    let authority = Authority::new();
    let mut expired = params(&["localhost"]);
    expired.not_before = date_time_ymd(2001, 1, 1);
    expired.not_after = date_time_ymd(2002, 1, 1);
    let mut early = params(&["localhost"]);
    early.not_before = date_time_ymd(3001, 1, 1);
    for params in [expired, early] {
        let builder = builder().root_certificates(authority.pem());
        refused(builder, authority.acceptor_with(&params, &[b"http/1.1"]), "localhost").await;
    }
}

#[tokio::test]
async fn d14_a_server_without_tls_is_not_spoken_to_in_plain() {
    let server = Server::start(|mut peer| async move { peer.send(ok("").as_bytes()).await }).await;
    let http = builder().build().expect("the settings are valid");
    let url = format!("https://localhost:{}/", server.port);
    let error = http.send(post(&url, "x")).await.expect_err("no TLS");
    assert_eq!(error, HttpError::not_sent(HttpErrorKind::Tls, "localhost"));
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_private_provider_is_reached_by_host_or_range_and_its_own_authority() {
    let authority = Authority::new();
    let by_host = GuardedHttp::builder().allow_host("localhost");
    let by_range = GuardedHttp::builder().allow_address_range("127.0.0.0/8").allow_address_range("::1");
    for builder in [by_host, by_range] {
        let server = secure(authority.acceptor_with(&params(&["localhost"]), &[b"http/1.1"])).await;
        let http = builder.root_certificates(authority.pem()).build().expect("the settings are valid");
        let url = format!("https://localhost:{}/token", server.port);
        let response = http.send(post(&url, "refresh_token=canary")).await.expect("trusted and allowed");
        assert_eq!(response.body().expose_secret(), b"secure");
        assert_eq!(server.requests().len(), 1);
    }
}
