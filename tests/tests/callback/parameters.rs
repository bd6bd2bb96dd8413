//! What the query says.

use vault_core::{Callback, ErrorKind, Provider};
use vault_testkit::simulator::{Endpoint, IssParam, Simulator};
use vault_tests::{World, assert_refused, binding};

use super::{assert_closed, assert_stopped, change, failures, param};

#[tokio::test]
async fn k08_a_denial_closes_the_flow_and_stores_nothing() {
    let world = World::start().await;
    let started = world.connecting("alice").start(&binding()).await.expect("starts");
    let back = world.provider.browse(started.url().clone()).as_account("alice").deny().await.expect("back");
    let query = back.query().expect("a query");
    assert_stopped(&world, world.deliver(query).await, ErrorKind::Denied, "access_denied").await;
    assert_closed(&world, query).await;
}

#[tokio::test]
async fn k09_an_error_counts_more_than_a_code() {
    let world = World::start().await;
    let query = world.query("alice").await;
    let both = format!("{query}&error=temporarily_unavailable");
    assert_stopped(&world, world.deliver(&both).await, ErrorKind::Denied, "temporarily_unavailable").await;
    assert_closed(&world, &query).await;
}

#[tokio::test]
async fn k10_a_doubled_parameter_is_named_and_the_flow_left_alone() {
    let world = World::start().await;
    let query = world.query("alice").await;
    for (name, encoded) in [("code", "code"), ("state", "st%61te"), ("iss", "iss"), ("unheard", "unheard")] {
        let doubled = format!("{query}&unheard=1&{encoded}=x");
        let named = format!("duplicate callback parameter `{name}`");
        assert_stopped(&world, world.deliver(&doubled).await, ErrorKind::InvalidCallback, &named).await;
    }
    world.deliver(&query).await.expect("the honest callback still completes");
}

#[tokio::test]
async fn k11_another_issuer_is_named_and_gets_no_code() {
    let world = World::start().await;
    let issuer = world.provider.issuer();
    let others = [format!("{issuer}/"), format!("{issuer}.evil.example"), issuer.to_uppercase()];
    for other in &others {
        world.provider.switch(|switches| switches.iss = IssParam::Other(other.clone()));
        let query = world.query("alice").await;
        assert_refused(world.deliver(&query).await, ErrorKind::IssuerMismatch, other);
        assert_closed(&world, &change(&query, "iss", Some(issuer))).await;
    }
    assert_eq!(failures(&world), [const { ErrorKind::IssuerMismatch }; 3]);
    assert_eq!(world.provider.count(Endpoint::Token), 0);
    world.assert_not_connected("alice").await;
}

#[tokio::test]
async fn k12_an_issuer_that_should_be_there_and_is_not() {
    let providers: [fn(&Simulator) -> Provider; 2] = [Simulator::provider, Simulator::discovered_provider];
    for provider in providers {
        let world = World::builder().provider(provider).start().await;
        world.provider.switch(|switches| switches.iss = IssParam::Omitted);
        let query = world.query("alice").await;
        let why = "does not say who issued it";
        assert_stopped(&world, world.deliver(&query).await, ErrorKind::IssuerMismatch, why).await;
        assert_closed(&world, &query).await;
    }
}

#[tokio::test]
async fn k12_a_provider_that_promises_no_issuer_need_not_send_it() {
    let world = World::builder()
        .provider(|sim| {
            let file = sim.provider_toml().replace("iss = \"required\"", "iss = \"optional\"");
            Provider::from_toml(&file).expect("a provider")
        })
        .switches(|switches| switches.iss = IssParam::Omitted)
        .start()
        .await;
    world.connect("alice").await.expect("connects");
}

#[tokio::test]
async fn k13_a_state_is_good_at_its_own_connectors_callback_only() {
    let world = World::start().await;
    let other = world.vault.connectors().register(world.new_connector("other")).await.expect("registers");
    let query = world.query("alice").await;
    let at = |connector| Callback::from_query(&query).expect("a callback").at_connector(connector);

    let result = world.complete(at(other.id().clone())).await;
    assert_stopped(&world, result, ErrorKind::InvalidCallback, "another connector").await;
    assert_eq!(failures(&world), [ErrorKind::InvalidCallback]);
    assert_closed(&world, &query).await;

    let callback = world.callback("alice").await.at_connector(world.connector.id().clone());
    world.complete(callback).await.expect("at its own path");
}

#[tokio::test]
async fn k14_a_code_that_cannot_be_one_is_not_sent() {
    let long = "c".repeat(10 * 1024);
    for code in ["", "a\0b", "a\r\nb", "a\u{7f}", "c\u{f6}de", "\u{202e}", &long] {
        let world = World::start().await;
        let query = change(&world.query("alice").await, "code", Some(code));
        assert_stopped(&world, world.deliver(&query).await, ErrorKind::InvalidCallback, "code").await;
    }
    let world = World::start().await;
    let query = world.query("alice").await;
    let without = change(&query, "code", None);
    assert_stopped(&world, world.deliver(&without).await, ErrorKind::InvalidCallback, "code").await;
    let huge = change(&query, "code", Some(&"c".repeat(64 * 1024)));
    assert_stopped(&world, world.deliver(&huge).await, ErrorKind::InvalidCallback, "too long").await;
    let not_utf8 = format!("{}&code=%ff%fe", change(&query, "code", None));
    assert_stopped(&world, world.deliver(&not_utf8).await, ErrorKind::InvalidCallback, "`code`").await;
}

#[tokio::test]
async fn k15_a_token_in_the_query_is_refused_and_never_shown() {
    let world = World::start().await;
    let query = world.query("alice").await;
    let token = "an-implicit-access-token-0123456789";
    world.remember(Some(token.to_owned()));
    let implicit = format!("{query}&access_token={token}&token_type=bearer");
    assert_stopped(&world, world.deliver(&implicit).await, ErrorKind::InvalidCallback, "implicit").await;
    world.canary.shown(&Callback::from_query(&query));
    world.deliver(&query).await.expect("the honest callback still completes");
}

#[tokio::test]
async fn k16_a_form_post_is_refused_where_none_was_asked_for() {
    let world = World::start().await;
    let query = world.query("alice").await;
    let posted = Callback::from_form_post(&query).expect("well formed");
    let result = world.complete(posted).await;
    assert_stopped(&world, result, ErrorKind::InvalidCallback, "HTTP method").await;
    assert_closed(&world, &query).await;
}

#[tokio::test]
async fn k20_a_hostile_error_description_is_cut_and_escaped() {
    let world = World::start().await;
    let hostile = "\u{1b}[31m\r\nlevel=info <script>\u{202e}\u{0}".repeat(400);
    assert!(hostile.len() > 10 * 1024);
    world.provider.switch(|switches| {
        switches.deny = Some("access_denied".to_owned());
        switches.deny_description = Some(hostile.clone());
    });
    let query = world.query("alice").await;
    let error = world.deliver(&query).await.expect_err("denied");
    assert!(error.to_string().len() < 2_000, "{} bytes", error.to_string().len());
    assert!(error.to_string().contains(r"\u{1b}[31m\r\nlevel=info"));
    assert_stopped(&world, Err(error), ErrorKind::Denied, "access_denied").await;
    assert_eq!(param(&query, "error_description"), hostile);
    assert_closed(&world, &query).await;
    assert_eq!(world.provider.count(Endpoint::Authorize), 1);
}

#[tokio::test]
async fn k20_a_hostile_error_code_is_cut_and_escaped() {
    let world = World::start().await;
    let query = change(&world.query("alice").await, "code", None);
    let hostile = format!("{query}&error={}", "%1b%0d%0a%3Cb%3E".repeat(500));
    let error = world.deliver(&hostile).await.expect_err("denied");
    assert!(error.to_string().len() < 2_000);
    assert_refused::<()>(Err(error), ErrorKind::Denied, r"\u{1b}\r\n<b>");
}
