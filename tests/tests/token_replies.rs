//! What the provider answers at the token endpoint, good and bad, when connecting and when refreshing.

use std::time::Duration;

use serde_json::{Value, json};
use vault_core::clock::Clock as _;
use vault_core::{AccessToken, Error, ErrorKind, Provider};
use vault_testkit::simulator::{Endpoint, Fault, Simulator};
use vault_tests::World;

use crate::token_refusals::{A_WHILE, NEAR_THE_END, forgiving, refused};

const UNAVAILABLE: ErrorKind = ErrorKind::ProviderUnavailable;
const INVALID: ErrorKind = ErrorKind::ProviderReplyInvalid;

fn json_reply(body: impl Into<Vec<u8>>) -> Fault {
    Fault::reply(200, "application/json", body)
}

#[tokio::test(flavor = "multi_thread")]
async fn t02_ok_false_is_no_success() {
    refused([
        (Fault::not_ok("fatal_error"), UNAVAILABLE, "unavailable (fatal_error)"),
        (Fault::not_ok("something_else"), INVALID, "unknown error (status 200)"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn t03_without_a_usable_access_token_the_old_tokens_stay() {
    let says = "malformed token response: access_token";
    let odd = [json!(""), Value::Null, json!(42), json!({}), json!(["a"])];
    let odd = odd.map(|value| Fault::genuine().set("access_token", value));
    let faults = odd.into_iter().chain([Fault::genuine().remove("access_token")]);
    refused(faults.map(|fault| (fault, INVALID, says))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn t04_t05_a_refresh_token_that_is_not_there_empty_or_null_leaves_the_old_one() {
    let world = forgiving().await;
    let replies = [
        Fault::genuine().remove("refresh_token"),
        Fault::genuine().set("refresh_token", ""),
        Fault::genuine().set("refresh_token", Value::Null),
    ];
    world.connect("alice").await.expect("alice connects");
    for (refreshes, reply) in (1..).zip(replies) {
        world.provider.inject(Endpoint::Token, reply.for_grant("refresh_token"));
        world.clock.advance(NEAR_THE_END + A_WHILE);
        let token = world.token("alice").await.expect("the reply is a success");
        assert_eq!(token.generation(), refreshes + 1);
    }
    world.clock.advance(NEAR_THE_END + A_WHILE);
    assert_eq!(world.token("alice").await.expect("the old refresh token works").generation(), 5);
    let sent: Vec<_> = world.provider.refreshes();
    let sent: Vec<_> = sent.iter().map(|call| call.param("refresh_token").expect("sent")).collect();
    assert_eq!(sent, vec![sent[0]; 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn t05_an_empty_refresh_token_at_connect_is_none() {
    let world = forgiving().await;
    world.provider.inject(Endpoint::Token, Fault::genuine().set("refresh_token", ""));
    world.connect("alice").await.expect("alice connects");
    world.clock.advance(NEAR_THE_END + A_WHILE);
    let error = world.token("alice").await.expect_err("nothing to refresh with");
    assert!(error.to_string().contains("there is no refresh token"), "{error}");
    assert_eq!(world.provider.refreshes().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn t06_expires_in_of_every_kind_is_taken_clamped_or_unknown() {
    const TEN_YEARS: u64 = 10 * 365 * 24 * 3600;
    const MIN_INTERVAL: Duration = Duration::from_secs(30);
    let world = forgiving().await;
    let cases = [
        (json!("3600"), Some(3600)),
        (json!(3600.0), Some(3600)),
        (json!(0), Some(0)),
        (json!(-1), Some(0)),
        (json!(1e308), Some(TEN_YEARS)),
        (json!(i64::MAX), Some(TEN_YEARS)),
        (json!("abc"), None),
        (Value::Null, None),
        (json!([]), None),
    ];
    for (index, (expires_in, life)) in cases.into_iter().enumerate() {
        let user = format!("user-{index}");
        let odd = Fault::genuine().set("expires_in", expires_in.clone());
        let ends = life.map(|life| world.clock.now() + Duration::from_secs(life));

        world.provider.inject(Endpoint::Token, odd.clone());
        world.connect(&user).await.expect("the user connects");
        let listed = world.user(&user).connections().await.expect("a listing");
        assert_eq!(listed[0].expires_at(), ends, "{expires_in} at connect");

        world.provider.inject(Endpoint::Token, odd);
        let fresh = world.user(&user).token(world.connector.id()).fresh().await;
        let fresh = world.note(fresh).expect("a token");
        assert_eq!((fresh.generation(), fresh.expires_at()), (2, ends), "{expires_in} at refresh");

        if life == Some(0) {
            let error = world.token(&user).await.expect_err("it has ended, and is too young to be refreshed");
            assert_eq!(
                (error.kind(), error.retry_after()),
                (&UNAVAILABLE, Some(MIN_INTERVAL)),
                "{expires_in}"
            );
        }
        world.clock.advance(MIN_INTERVAL);
        let read = world.token(&user).await.expect("a token");
        let expected = if life == Some(0) { 3 } else { 2 };
        assert_eq!(read.generation(), expected, "{expires_in}: only an ended token is refreshed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn t06_a_token_of_unknown_life_is_served_until_the_provider_refuses_it() {
    let world = forgiving().await;
    world.provider.inject(Endpoint::Token, Fault::genuine().remove("expires_in"));
    world.connect("alice").await.expect("alice connects");
    world.clock.advance(Duration::from_secs(100 * 24 * 3600));
    let token = world.token("alice").await.expect("a token");
    assert_eq!(token.generation(), 1);
    let next = world.note(world.vault.report_rejected(&token).await).expect("a new one");
    assert_eq!(next.generation(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn t07_a_form_is_no_reply_unless_the_provider_file_says_so() {
    refused([(Fault::genuine().form_encoded(), INVALID, "malformed token response: content type")]).await;

    let world = World::builder().provider(|sim| answering(sim, "content = 'form'")).start().await;
    world.provider.inject(Endpoint::Token, Fault::genuine().form_encoded().times(2));
    world.connect("alice").await.expect("a form is what this provider sends");
    world.clock.advance(NEAR_THE_END + A_WHILE);
    assert_eq!(world.token("alice").await.expect("a token").generation(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn t08_a_captive_portal_is_no_reply() {
    let labelled = Fault::html(200).header("content-type", "application/json");
    refused([
        (Fault::html(200), INVALID, "malformed token response: content type"),
        (labelled, INVALID, "malformed token response: body"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn t09_replies_that_are_too_large_are_cut_off() {
    refused([
        (Fault::oversized(2 << 20), INVALID, "response too large"),
        (Fault::endless(), INVALID, "response too large"),
        // No encoding was asked for, so none is undone.
        (Fault::gzip_bomb(8 << 20), UNAVAILABLE, "connection interrupted"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn t10_a_dripping_reply_ends_at_the_deadline_within_the_lease() {
    let (world, read) = read_while_dripping(Duration::from_secs(3575)).await;
    assert_eq!(read.expect("the deadline passes, and the token still lives").generation(), 1);
    still_works(&world).await;

    let (world, read) = read_while_dripping(NEAR_THE_END + A_WHILE).await;
    let error = read.expect_err("the provider drips");
    assert_eq!(*error.kind(), UNAVAILABLE);
    assert!(error.to_string().contains("token request timed out"), "{error}");
    still_works(&world).await;
}

/// Reads Alice's token at that age while the provider sends a byte per second, up to the deadline of requests.
async fn read_while_dripping(age: Duration) -> (World, Result<AccessToken, Error>) {
    const DEADLINE: Duration = Duration::from_secs(20);
    let world = forgiving().await;
    world.connect("alice").await.expect("alice connects");
    world.clock.advance(age);
    let drip = Fault::oversized(10_000).dripping(Duration::from_secs(1)).for_grant("refresh_token");
    world.provider.inject(Endpoint::Token, drip);
    let deadline_passes = async {
        // Asleep: the caller, the lease's renewal, the deadline, the drip.
        world.clock.wait_for_sleepers(4).await;
        world.clock.advance(DEADLINE);
    };
    let (read, ()) = tokio::join!(world.token("alice"), deadline_passes);
    (world, read)
}

async fn still_works(world: &World) {
    world.settle("alice").await;
    assert_eq!(world.token("alice").await.expect("the refresh token was kept").generation(), 2);
    assert_eq!(world.provider.refreshes().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn t11_broken_connections_and_torn_replies_leave_the_grant_alone() {
    refused([
        (Fault::dropped(), UNAVAILABLE, "connection interrupted"),
        (Fault::oversized(1000).torn_at(0), UNAVAILABLE, "connection interrupted"),
        (Fault::oversized(1000).torn_at(500), UNAVAILABLE, "connection interrupted"),
        (json_reply(r#"{"token_type":"Bearer","access_tok"#), INVALID, "malformed token response: body"),
        (json_reply(""), INVALID, "malformed token response: body"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn t12_a_doubled_refresh_token_is_refused() {
    let doubled = Fault::genuine().map_body(|body| {
        let rest = String::from_utf8(body).expect("JSON").split_off(1);
        format!(r#"{{"refresh_token":"another",{rest}"#).into_bytes()
    });
    refused([(doubled, INVALID, "malformed token response: body")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn t13_deep_nesting_is_refused_without_an_overflow() {
    let nested = [r#"{"a":"#, "["].map(|open| json_reply(open.repeat(100_000)));
    refused(nested.map(|fault| (fault, INVALID, "malformed token response: body"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn t14_bytes_that_no_token_has_are_refused() {
    let bytes = |change: fn(Vec<u8>) -> Vec<u8>| Fault::genuine().map_body(change);
    let bom = bytes(|body| [b"\xef\xbb\xbf".as_slice(), &body].concat());
    let no_utf8 = bytes(|body| [br#"{"x":""#.as_slice(), b"\xff\",", &body[1..]].concat());
    let set = |name, value: &str| Fault::genuine().set(name, value);
    let token = |name| move |value| (set(name, value), INVALID, name);
    let whole = [bom, no_utf8].map(|fault| (fault, INVALID, "malformed token response: body"));
    let access = ["a\0b", "a\nb", "tökens"].map(token("access_token"));
    let refresh = ["a\0b", "a\nb", "a\u{2028}b"].map(token("refresh_token"));
    refused(whole.into_iter().chain(access).chain(refresh)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn t15_token_types_are_bearer_in_any_case_or_as_the_provider_file_says() {
    refused([
        (Fault::genuine().remove("token_type"), INVALID, "malformed token response: token_type"),
        (Fault::genuine().set("token_type", "mac"), INVALID, "unsupported token type"),
    ])
    .await;

    let world = forgiving().await;
    world.provider.inject(Endpoint::Token, Fault::genuine().set("token_type", "BEARER").times(2));
    world.connect("alice").await.expect("bearer is bearer");
    world.clock.advance(NEAR_THE_END + A_WHILE);
    assert_eq!(world.token("alice").await.expect("a token").generation(), 2);

    let world = World::builder().provider(|sim| answering(sim, "token_type = 'optional'")).start().await;
    world.provider.inject(Endpoint::Token, Fault::genuine().remove("token_type"));
    world.connect("alice").await.expect("this provider may leave it out");
}

#[tokio::test(flavor = "multi_thread")]
async fn t23_the_same_refresh_token_again_makes_a_new_generation() {
    let world = forgiving().await;
    world.connect("alice").await.expect("alice connects");
    for generation in 2..5 {
        world.clock.advance(NEAR_THE_END + A_WHILE);
        let token = world.token("alice").await.expect("a token");
        assert_eq!(token.generation(), generation);
        assert!(world.provider.is_live(token.expose_secret()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn t24_long_tokens_are_stored_and_longer_ones_refused() {
    let access = |bytes: usize| Fault::genuine().set("access_token", "a".repeat(bytes));
    let refresh = |bytes: usize| Fault::genuine().set("refresh_token", "r".repeat(bytes));
    refused([
        (access((16 << 10) + 1), INVALID, "token too large: access_token"),
        (refresh((16 << 10) + 1), INVALID, "token too large: refresh_token"),
    ])
    .await;

    let world = forgiving().await;
    let alice = json!({ "sub": "alice" }).to_string();
    world.provider.inject(Endpoint::Userinfo, json_reply(alice));
    world.provider.inject(Endpoint::Token, access(8 << 10).times(2));
    world.remember(Some("a".repeat(8 << 10)));
    world.connect("alice").await.expect("alice connects");
    assert_eq!(world.token("alice").await.expect("a token").expose_secret().len(), 8 << 10);
    world.clock.advance(NEAR_THE_END + A_WHILE);
    let token = world.token("alice").await.expect("a token");
    assert_eq!((token.generation(), token.expose_secret().len()), (2, 8 << 10));
}

/// A provider file that says how replies look.
fn answering(sim: &Simulator, line: &str) -> Provider {
    let text = format!("{}\n[response]\n{line}\n", sim.provider_toml());
    Provider::from_toml(&text).expect("a valid provider file")
}
