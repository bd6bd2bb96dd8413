//! What becomes of a connection when the token endpoint answers with anything but tokens of its own.

use std::time::{Duration, SystemTime};

use serde_json::json;
use vault_core::clock::Clock as _;
use vault_core::event::Event;
use vault_core::id::ConnectionKey;
use vault_core::store::{ConnectionStatus, StoreErrorKind};
use vault_core::{Callback, Error, ErrorKind, ReauthReason};
use vault_testkit::faults::Fault as StoreFault;
use vault_testkit::simulator::{ClientAuth, Endpoint, Fault, Rotation, TokenState};
use vault_tests::World;

/// Of an access token's hour: too late to be handed out without a refresh, and still good.
pub(crate) const NEAR_THE_END: Duration = Duration::from_secs(3590);
pub(crate) const A_WHILE: Duration = Duration::from_secs(120);

/// A provider that keeps refresh tokens and repeats them in its replies, so that a reply can be spoilt without ending the
/// grant. The vault believes that they rotate.
pub(crate) async fn forgiving() -> World {
    let world = World::start().await;
    world.provider.switch(|switches| {
        switches.rotation = Rotation::Static;
        switches.echo_refresh_token = true;
    });
    world
}

/// Replies that are refused at connect and at refresh, with what the error is and says, and that end no grant.
pub(crate) async fn refused(cases: impl IntoIterator<Item = (Fault, ErrorKind, &'static str)>) -> World {
    let world = forgiving().await;
    for (index, (fault, kind, says)) in cases.into_iter().enumerate() {
        let case = Case { user: format!("user-{index}"), fault, kind, says };
        case.at_connect(&world).await;
        case.at_refresh(&world).await;
        case.at_reconnect(&world).await;
    }
    let marked = |event: &Event| matches!(event, Event::NeedsReauthorization { .. });
    assert!(!world.events().iter().any(marked), "no grant is at fault");
    world
}

struct Case {
    user: String,
    fault: Fault,
    kind: ErrorKind,
    says: &'static str,
}

impl Case {
    fn check(&self, error: &Error) {
        assert_eq!(*error.kind(), self.kind, "{}: {error}", self.says);
        assert!(error.to_string().contains(self.says), "{}: {error}", self.says);
        assert_eq!(error.is_retryable(), self.kind == ErrorKind::ProviderUnavailable);
        assert!(!error.needs_user_action());
    }

    /// Nothing is stored, the code is tried once, and the flow is closed.
    async fn at_connect(&self, world: &World) {
        world.provider.inject(Endpoint::Token, self.fault.clone().for_grant("authorization_code"));
        let (query, before) = (world.query(&self.user).await, world.provider.exchanges().len());
        self.check(&world.complete(parsed(&query)).await.expect_err(self.says));
        let failed = world.events().pop();
        assert!(matches!(failed, Some(Event::ConnectFailed { kind, .. }) if kind == self.kind));
        let again = world.complete(parsed(&query)).await.expect_err("the flow is closed");
        assert_eq!(*again.kind(), ErrorKind::UnknownState);
        assert_eq!(world.provider.exchanges().len(), before + 1);
        assert!(world.user(&self.user).connections().await.expect("a listing").is_empty());
        let unread = world.token(&self.user).await.expect_err("nothing to read");
        assert_eq!(*unread.kind(), ErrorKind::NotConnected);
    }

    /// The access token is served while it lives, and the refresh token is kept: it works when the provider is well again.
    async fn at_refresh(&self, world: &World) {
        let connected = world.connect(&self.user).await.expect("the user connects");
        let first = world.token(&self.user).await.expect("a token");
        let fault = self.fault.clone().for_grant("refresh_token").forever();
        world.provider.inject(Endpoint::Token, fault);

        world.clock.advance(NEAR_THE_END);
        let served = world.token(&self.user).await.expect("the token still lives");
        assert_eq!((served.expose_secret(), served.generation()), (first.expose_secret(), 1));
        let insisted = world.user(&self.user).token(world.connector.id()).fresh().await;
        self.wait(world, &world.note(insisted).expect_err(self.says)).await;
        let error = world.token(&self.user).await.expect_err(self.says);
        self.check(&error);
        let failed = Event::RefreshFailed { key: connected.connection().clone(), kind: self.kind.clone() };
        assert!(world.events().contains(&failed), "{}", self.says);

        world.provider.clear_faults();
        self.wait(world, &error).await;
        let next = world.token(&self.user).await.expect("the refresh token was kept");
        assert_eq!(next.generation(), 2, "{}", self.says);
        assert!(world.provider.is_live(next.expose_secret()));
        let sent = world.provider.refreshes().pop().and_then(|call| call.presented);
        let sent = sent.expect("a refresh token of this provider's");
        assert_eq!((sent.account, sent.state), (self.user.clone(), TokenState::Live));
    }

    /// Time passes until the provider may be asked again after that failure, and the access token has ended.
    async fn wait(&self, world: &World, failure: &Error) {
        assert_eq!(*failure.kind(), self.kind, "{}: {failure}", self.says);
        world.settle(&self.user).await;
        world.clock.advance(failure.retry_after().unwrap_or_default().max(A_WHILE));
    }

    /// The connection that is there works on.
    async fn at_reconnect(&self, world: &World) {
        world.provider.inject(Endpoint::Token, self.fault.clone().for_grant("authorization_code"));
        self.check(&world.connect(&self.user).await.expect_err(self.says));
        assert_eq!(world.token(&self.user).await.expect("a token").generation(), 2);
    }
}

fn parsed(query: &str) -> Callback {
    Callback::from_query(query).expect("an honest callback")
}

/// How often the connection was reported to need the user.
fn marks(world: &World, key: &ConnectionKey) -> usize {
    let marked = |event: &Event| matches!(event, Event::NeedsReauthorization { key: of, .. } if of == key);
    world.events().iter().filter(|event| marked(event)).count()
}

async fn status(world: &World, user: &str) -> ConnectionStatus {
    world.user(user).connections().await.expect("a listing")[0].status()
}

/// Alice's grant is dead: she is told once, nobody asks the provider again, and connecting again mends it.
async fn ends_the_grant(world: &World, key: &ConnectionKey) {
    let reason = ReauthReason::GrantRevoked;
    world.clock.advance(NEAR_THE_END + A_WHILE);
    for _ in 0..3 {
        let error = world.token("alice").await.expect_err("the grant is dead");
        assert_eq!(*error.kind(), ErrorKind::NeedsReauthorization { reason });
        assert!(error.needs_user_action() && !error.is_retryable());
        assert!(error.to_string().contains("the provider ended the grant"), "{error}");
    }
    assert_eq!(world.provider.refreshes().len(), 1);
    assert_eq!(marks(world, key), 1);
    assert_eq!(status(world, "alice").await, ConnectionStatus::NeedsReauthorization(reason));

    world.connect("alice").await.expect("alice connects again");
    assert_eq!(status(world, "alice").await, ConnectionStatus::Active);
    world.token("alice").await.expect("a token");
}

#[tokio::test(flavor = "multi_thread")]
async fn t01_an_error_with_status_200_ends_the_grant_like_any_other() {
    let world = forgiving().await;
    let alice = world.connect("alice").await.expect("alice connects");
    let fault = Fault::error(200, "bad_refresh_token").for_grant("refresh_token");
    world.provider.inject(Endpoint::Token, fault);
    ends_the_grant(&world, alice.connection()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn t01_the_lineage_is_read_again_before_a_refusal_counts() {
    let world = forgiving().await;
    let alice = world.connect("alice").await.expect("alice connects");
    world.clock.advance(NEAR_THE_END + A_WHILE);
    world.provider.inject(Endpoint::Token, Fault::error(200, "bad_refresh_token"));
    let gate = world.provider.hold_next_reply(Endpoint::Token);
    let reconnects = async {
        gate.arrived().await;
        world.connect("alice").await.expect("alice connects again");
        gate.release();
    };
    let (read, ()) = tokio::join!(world.token("alice"), reconnects);
    assert!(world.provider.is_live(read.expect("the new grant's token").expose_secret()));
    assert_eq!(marks(&world, alice.connection()), 0);
    assert_eq!(status(&world, "alice").await, ConnectionStatus::Active);
}

#[tokio::test(flavor = "multi_thread")]
async fn t18_invalid_grant_with_the_lineage_unchanged_ends_the_grant() {
    let world = World::start().await;
    let alice = world.connect("alice").await.expect("alice connects");
    let bob = world.connect("bob").await.expect("bob connects");
    world.provider.revoke_grant("alice");
    ends_the_grant(&world, alice.connection()).await;
    assert_eq!(world.token("bob").await.expect("a token").generation(), 2);
    assert_eq!(marks(&world, bob.connection()), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn t01_t18_at_connect_a_refused_code_is_no_connection() {
    let world = forgiving().await;
    for (status, code) in [(200, "bad_verification_code"), (400, "invalid_grant")] {
        world.provider.inject(Endpoint::Token, Fault::error(status, code));
        let error = world.connect("alice").await.expect_err("the code is refused");
        assert_eq!(*error.kind(), ErrorKind::ProviderReplyInvalid);
        assert!(error.to_string().contains(&format!("refused the code ({code})")), "{error}");
        assert!(world.user("alice").connections().await.expect("a listing").is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn t16_what_was_granted_decides() {
    let world = World::start().await;
    world.provider.switch(|switches| {
        switches.granted_scopes = Some(vec!["openid".to_owned(), "email".to_owned()]);
    });
    let error = world.connect("alice").await.expect_err("a required scope is missing");
    let missing = vec!["calendar.read".to_owned()];
    assert_eq!(*error.kind(), ErrorKind::MissingScopes { missing: missing.clone() });
    assert!(error.to_string().contains("calendar.read"), "{error}");
    assert!(world.user("alice").connections().await.expect("a listing").is_empty());

    let started = world.connecting("alice").require_scopes(["email"]).start(&vault_tests::binding()).await;
    let back = world.visit(started.expect("the flow starts").url().clone(), "alice").await;
    world.complete(parsed(back.query().expect("a query"))).await.expect("what is required was granted");
    let listed = world.user("alice").connections().await.expect("a listing");
    assert_eq!(listed[0].missing_scopes().collect::<Vec<_>>(), missing);
    let read = world.user("alice").token(world.connector.id()).require_scopes(["calendar.read"]).await;
    let error = world.note(read).expect_err("not granted");
    assert_eq!(*error.kind(), ErrorKind::MissingScopes { missing });
}

#[tokio::test(flavor = "multi_thread")]
async fn t16_scopes_that_are_absent_are_as_requested_and_wider_ones_are_recorded() {
    let world = forgiving().await;
    let wider = "openid email calendar.read calendar.write";
    let cases = [
        ("alice", Fault::genuine().remove("scope"), "openid email calendar.read"),
        ("bob", Fault::genuine().set("scope", wider), wider),
    ];
    for (user, fault, granted) in cases {
        world.provider.inject(Endpoint::Token, fault.clone());
        let connected = world.connect(user).await.expect("the user connects");
        assert_eq!(connected.scopes().collect::<Vec<_>>().join(" "), granted);
        world.provider.inject(Endpoint::Token, fault);
        world.clock.advance(NEAR_THE_END + A_WHILE);
        let token = world.token(user).await.expect("a token");
        assert_eq!(token.scopes().collect::<Vec<_>>().join(" "), granted);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn t16_a_refresh_that_narrows_the_scopes_is_recorded() {
    let world = forgiving().await;
    world.connect("alice").await.expect("alice connects");
    world.provider.inject(Endpoint::Token, Fault::genuine().set("scope", "openid email"));
    world.clock.advance(NEAR_THE_END + A_WHILE);
    let read = world.user("alice").token(world.connector.id()).require_scopes(["calendar.read"]).await;
    let error = world.note(read).expect_err("no longer granted");
    assert_eq!(*error.kind(), ErrorKind::MissingScopes { missing: vec!["calendar.read".to_owned()] });
    assert_eq!(world.token("alice").await.expect("what is left").generation(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn t17_a_refused_client_is_no_connections_fault() {
    let says = "the provider refused the client";
    let refusals = [(400, "invalid_client"), (401, "invalid_client"), (400, "unauthorized_client")];
    let faults = refusals.map(|(status, code)| Fault::error(status, code));
    refused(faults.map(|fault| (fault, ErrorKind::ProviderMisconfigured, says))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn t17_a_botched_secret_marks_nobody_and_all_recover() {
    let world = World::start().await;
    let users = ["alice", "bob", "carol"];
    for user in users {
        world.connect(user).await.expect("the user connects");
    }
    let (id, secret) = (world.provider.client_id().to_owned(), world.provider.client_secret().to_owned());
    world.provider.add_client(&id, "changed by mistake", ClientAuth::Any);
    world.clock.advance(NEAR_THE_END + A_WHILE);
    for user in users {
        let error = world.token(user).await.expect_err("the client is refused");
        assert_eq!(*error.kind(), ErrorKind::ProviderMisconfigured);
    }
    world.provider.add_client(&id, secret, ClientAuth::Any);
    world.clock.advance(A_WHILE);
    for user in users {
        assert_eq!(world.token(user).await.expect("a token").generation(), 2);
        assert_eq!(status(&world, user).await, ConnectionStatus::Active);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn t19_throttling_ends_no_grant() {
    let says = "the provider is throttling";
    let waits = ["5", "Fri, 15 Jan 2027 12:00:00 GMT", "soon", "-1", "1000000000"].map(Fault::throttled);
    refused(waits.map(|fault| (fault, ErrorKind::ProviderUnavailable, says))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn t19_the_wait_that_was_asked_for_is_told_and_capped() {
    const LITTLE: Duration = Duration::from_secs(1);
    let world = forgiving().await;
    world.connect("alice").await.expect("alice connects");
    world.clock.advance(NEAR_THE_END + A_WHILE);
    let now = world.clock.now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
    // 09:10 on the day that the clock began, and eight minutes and ten seconds from now.
    let (date, in_secs) = ("Fri, 15 Jan 2027 09:10:00 GMT", 1_800_004_200 - now);
    for (asked, told) in [
        (date, Some(in_secs)),
        ("120", Some(120)),
        ("Fri, 15 Jan 2027 08:00:00 GMT", Some(0)),
        ("soon", None),
        ("1000000000", Some(3600)),
        ("99999999999999999999999", Some(3600)),
    ] {
        world.provider.inject(Endpoint::Token, Fault::throttled(asked));
        let error = world.token("alice").await.expect_err("throttled");
        let told = told.map(Duration::from_secs);
        assert_eq!(error.retry_after(), told, "{asked}");
        let sent = world.provider.refreshes().len();
        let Some(wait) = told else {
            // Who does not say how long is given as long as one who fails.
            world.clock.advance(Duration::from_secs(30));
            continue;
        };
        if wait.is_zero() {
            continue;
        }
        world.clock.advance(wait - LITTLE);
        let error = world.token("alice").await.expect_err("not yet");
        assert_eq!(*error.kind(), ErrorKind::ProviderUnavailable);
        assert_eq!(error.retry_after(), Some(LITTLE), "{asked}");
        assert_eq!(world.provider.refreshes().len(), sent, "nobody is asked before");
        world.clock.advance(LITTLE);
    }
    assert_eq!(world.token("alice").await.expect("the provider is back").generation(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn t19_t20_maintenance_waits_as_long_as_it_was_asked_to() {
    for fault in [Fault::throttled("1800"), Fault::unavailable("1800")] {
        let world = forgiving().await;
        world.connect("alice").await.expect("alice connects");
        world.clock.advance(NEAR_THE_END);
        world.provider.inject(Endpoint::Token, fault);
        for (pause, failed, refreshed) in [(0, 1, 0), (600, 0, 0), (600, 0, 0), (900, 0, 1)] {
            world.clock.advance(Duration::from_secs(pause));
            let done = world.vault.maintain(10).await.expect("a pass");
            assert_eq!((done.failed, done.refreshed), (failed, refreshed), "after {pause} s");
        }
        assert_eq!(world.provider.refreshes().len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn t20_an_outage_is_no_verdict_whatever_its_body_says() {
    let says = "the provider is unavailable";
    let outages = [500, 502, 503, 504].map(|status| Fault::error(status, "invalid_grant"));
    let faults = outages.into_iter().chain([Fault::html(502), Fault::unavailable("120")]);
    refused(faults.map(|fault| (fault, ErrorKind::ProviderUnavailable, says))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn t21_redirects_are_refused_and_their_target_hears_nothing() {
    let faults = [301, 302, 303, 307, 308].map(|status| Fault::redirect(status, "/elsewhere"));
    let cases = faults.map(|fault| (fault, ErrorKind::ProviderReplyInvalid, "redirect refused"));
    let world = refused(cases).await;
    assert_eq!(world.provider.count(Endpoint::Elsewhere), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn t22_an_error_that_echoes_the_refresh_token_is_not_shown() {
    let echoing = |status, code: Option<&'static str>| {
        Fault::genuine().status(status).map_json(move |fields| {
            let token = fields["refresh_token"].clone();
            let error = code.map_or_else(|| token.clone(), |code| json!(code));
            fields.clear();
            fields.insert("error".to_owned(), error);
            fields.insert("error_description".to_owned(), token.clone());
            fields.insert("error_uri".to_owned(), token);
        })
    };
    // The canary of the world does the looking.
    refused([
        (echoing(400, Some("invalid_client")), ErrorKind::ProviderMisconfigured, "(invalid_client)"),
        (echoing(400, None), ErrorKind::ProviderReplyInvalid, "unknown error (status 400)"),
        (echoing(200, None), ErrorKind::ProviderReplyInvalid, "unknown error (status 200)"),
        (echoing(500, None), ErrorKind::ProviderUnavailable, "(status 500)"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn t25_a_refresh_that_answers_for_another_account_is_not_stored() {
    let world = forgiving().await;
    let alice = world.connect("alice").await.expect("alice connects");
    world.clock.advance(NEAR_THE_END + A_WHILE);
    let confused = Fault::genuine().for_account("mallory").for_grant("refresh_token");
    world.provider.inject(Endpoint::Token, confused);
    let error = world.token("alice").await.expect_err("the tokens are mallory's");
    assert_eq!(*error.kind(), ErrorKind::AccountMismatch);
    assert!(error.to_string().contains("the provider answered for another account"), "{error}");
    let failed = Event::RefreshFailed { key: alice.connection().clone(), kind: ErrorKind::AccountMismatch };
    assert_eq!(world.events().pop(), Some(failed));
    assert_eq!(marks(&world, alice.connection()), 0);

    world.clock.advance(A_WHILE);
    let token = world.token("alice").await.expect("the old refresh token was kept");
    assert_eq!(token.generation(), 2);
    let owner = world.provider.describe(token.expose_secret()).expect("a token of this provider's").account;
    assert_eq!(owner, "alice");
    assert_eq!(world.user("alice").connections().await.expect("a listing")[0].account_id(), Some("alice"));
}

/// A read right behind one that failed once joined the refresh that had just ended, and was told the old failure.
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_refresh_answers_only_those_who_waited_for_it() {
    let world = forgiving().await;
    world.connect("alice").await.expect("alice connects");
    for generation in 2..30 {
        world.clock.advance(NEAR_THE_END + A_WHILE);
        // A failure that nobody has to wait after.
        world.faults.on_method("connections.acquire_lease", 1, StoreFault::Fail(StoreErrorKind::Corrupt));
        world.token("alice").await.expect_err("the lease is damaged");
        assert_eq!(world.token("alice").await.expect("it is mended").generation(), generation);
    }
}
