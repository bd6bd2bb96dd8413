//! `id_token`s and the keys that they are checked with.

use vault_core::ErrorKind;
use vault_testkit::simulator::{Endpoint, Fault, IdTokenFlaw, JwksFlaw};
use vault_tests::World;

use super::{discovered, is, stores_nothing};

#[tokio::test(flavor = "multi_thread")]
async fn d12_an_id_token_with_any_flaw_connects_nobody() {
    let missing = |claim: &str| IdTokenFlaw::MissingClaim(claim.to_owned());
    let flaws = [
        (IdTokenFlaw::AlgNone, "alg"),
        (IdTokenFlaw::Hs256WithPublicKey, "alg"),
        (IdTokenFlaw::BadSignature, "signature"),
        (IdTokenFlaw::UnknownKid, "unknown kid"),
        (IdTokenFlaw::ExpAsString, "exp"),
        (IdTokenFlaw::Expired, "exp"),
        (IdTokenFlaw::WrongAudience, "aud"),
        (IdTokenFlaw::WrongIssuer, "iss"),
        (IdTokenFlaw::WrongNonce, "nonce"),
        (missing("iss"), "iss"),
        (missing("aud"), "aud"),
        (missing("sub"), "sub"),
        (missing("exp"), "exp"),
        (missing("iat"), "iat"),
        (missing("nonce"), "nonce"),
    ];
    // Whether the account is the id_token's or the userinfo's.
    for world in [discovered().await, World::start().await] {
        for (flaw, names) in &flaws {
            world.provider.switch(|switches| switches.id_token_flaw = Some(flaw.clone()));
            let error = world.connect("alice").await.expect_err(names);
            is(&error, ErrorKind::IdTokenInvalid, &format!("id_token invalid: {names}"));
            stores_nothing(&world).await;
        }
        assert_eq!(world.provider.count(Endpoint::Userinfo), 0, "no token was used");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn d12_an_id_token_that_is_missing_where_it_is_the_identity_connects_nobody() {
    let world = discovered().await;
    world.provider.inject(Endpoint::Token, Fault::genuine().remove("id_token"));
    is(&world.connect("alice").await.expect_err("nobody"), ErrorKind::IdTokenInvalid, "it is missing");
    stores_nothing(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d13_key_sets_are_capped_and_symmetric_keys_ignored() {
    for (flaw, refused) in [
        (JwksFlaw::ManyKeys(50), None),
        (JwksFlaw::ManyKeys(1_000), Some((ErrorKind::IdTokenInvalid, "unknown kid"))),
        (JwksFlaw::ManyKeys(10_000), Some((ErrorKind::ProviderReplyInvalid, "response too large"))),
        (JwksFlaw::SymmetricKey, Some((ErrorKind::IdTokenInvalid, "unknown kid"))),
        (JwksFlaw::Empty, Some((ErrorKind::IdTokenInvalid, "unknown kid"))),
    ] {
        let world = discovered().await;
        world.provider.switch(|switches| switches.jwks_flaw = Some(flaw));
        let connected = world.connect("alice").await;
        let Some((kind, says)) = refused else {
            connected.expect("the key is among the first hundred");
            continue;
        };
        is(&connected.expect_err(says), kind, says);
        stores_nothing(&world).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn d13_a_symmetric_key_verifies_no_id_token_keyed_with_it() {
    let world = discovered().await;
    world.provider.switch(|switches| {
        switches.jwks_flaw = Some(JwksFlaw::SymmetricKey);
        switches.id_token_flaw = Some(IdTokenFlaw::Hs256WithPublicKey);
    });
    is(&world.connect("alice").await.expect_err("forged"), ErrorKind::IdTokenInvalid, "alg");
    stores_nothing(&world).await;
}
