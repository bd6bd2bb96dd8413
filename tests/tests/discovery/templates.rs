//! What goes into the variables of URL templates.

use vault_core::{ClientSecret, ErrorKind, NewConnector, Provider};
use vault_tests::{World, binding};

use super::{FRESH, is, register, start_fails};

const SHOPS: &str = r#"
    id = "shops"
    name = "Shops"
    [vars.shop]
    source = "user"
    [endpoints]
    authorize = "https://{shop}.as.example/shop/authorize?shop=shop"
    token = "https://{shop}.as.example/token"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn d01_template_values_that_are_no_host_label_start_no_flow() {
    let mut world = World::start().await;
    register(&mut world, "shops", SHOPS).await;
    let long = "a".repeat(64);
    for value in [
        "evil.com/",
        "a#",
        "a?",
        "u@evil",
        "..",
        "%2f",
        "a\\b",
        "",
        &long,
        "ä",
        "a.",
        " a",
        "a b",
        "a\n",
        "a:1",
    ] {
        let error = world.connecting("alice").config("shop", value).start(&binding()).await;
        is(&world.note(error).expect_err(value), ErrorKind::InvalidInput, "variable `shop`");
    }
    is(&start_fails(&world).await, ErrorKind::InvalidInput, "missing variable `shop`");
    assert_eq!(world.provider.calls().len(), 0, "no network");
    world.clock.advance(FRESH);
    assert_eq!(world.vault.maintain(100).await.expect("a pass").purged, 0, "no flow was stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn d01_template_values_of_the_operator_are_checked_at_registration() {
    let world = World::start().await;
    let file = SHOPS.replace("\"user\"", "\"operator\"");
    for value in ["evil.com/", "a#", "u@evil", "..", ""] {
        let provider = Provider::from_toml(&file).expect("a valid provider file");
        let new = NewConnector::new("shops", provider);
        let new = new.client("client", ClientSecret::new("secret")).var("shop", value);
        let error = world.note(world.vault.connectors().register(new).await).expect_err(value);
        is(&error, ErrorKind::InvalidInput, "variable `shop`");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn d02_only_the_host_label_is_substituted() {
    let mut world = World::start().await;
    register(&mut world, "shops", SHOPS).await;
    for value in ["authorize", "acme-1"] {
        let started = world.connecting("alice").config("shop", value).start(&binding()).await;
        let url = started.expect("the flow starts").url().clone();
        assert_eq!(url.host_str(), Some(&*format!("{value}.as.example")));
        assert_eq!(url.path(), "/shop/authorize");
        assert!(url.query().is_some_and(|query| query.starts_with("shop=shop&")));
    }
}
