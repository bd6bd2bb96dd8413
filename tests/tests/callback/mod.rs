//! The browser comes back: which callbacks are refused, before the code leaves and after.

mod faults;
mod keys;
mod parameters;
mod sessions;
mod states;
mod storing;
mod taken_back;

use std::time::Duration;

use url::form_urlencoded;
use vault_core::connect::Connected;
use vault_core::event::Event;
use vault_core::{Error, ErrorKind};
use vault_testkit::faults::Fault;
use vault_testkit::simulator::{Endpoint, TokenState};
use vault_tests::{World, assert_refused};

/// A parameter of a query.
fn param(query: &str, name: &str) -> String {
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    let (_, value) = pairs.find(|(key, _)| key == name).expect("the parameter is there");
    value.into_owned()
}

/// The query with another value for a parameter, or without it.
fn change(query: &str, name: &str, value: Option<&str>) -> String {
    let mut changed = form_urlencoded::Serializer::new(String::new());
    for (key, old) in form_urlencoded::parse(query.as_bytes()) {
        match value {
            _ if key != name => changed.append_pair(&key, &old),
            Some(new) => changed.append_pair(name, new),
            None => &mut changed,
        };
    }
    changed.finish()
}

/// The callback of `alice` was refused before the code left, and the observer was told why where there was a flow.
async fn assert_stopped(world: &World, result: Result<Connected, Error>, kind: ErrorKind, names: &str) {
    assert_refused(result, kind.clone(), names);
    assert_eq!(world.provider.count(Endpoint::Token), 0, "no exchange");
    world.assert_not_connected("alice").await;
    if !matches!(kind, ErrorKind::InvalidCallback | ErrorKind::UnknownState) {
        assert_eq!(failures(world), [kind]);
    }
}

/// Why authorizations failed, as the observer was told.
fn failures(world: &World) -> Vec<ErrorKind> {
    let kind = |event| match event {
        Event::ConnectFailed { kind, .. } => Some(kind),
        _ => None,
    };
    world.events().into_iter().filter_map(kind).collect()
}

/// The flow is closed: the same callback, or the honest one, finds none.
async fn assert_closed(world: &World, query: &str) {
    assert_refused(world.deliver(query).await, ErrorKind::UnknownState, "state");
}

/// How many tokens the provider would still take.
fn live(world: &World, account: &str) -> usize {
    world.provider.tokens_of(account).iter().filter(|token| token.state == TokenState::Live).count()
}

fn unclaimed(world: &World) -> usize {
    world.count_events(|event| matches!(event, Event::GrantUnclaimed { .. }))
}

/// Until that call of the method sleeps.
async fn asleep_in(world: &World, method: &str, nth: u64) {
    while world.faults.calls(method) < nth {
        tokio::task::yield_now().await;
    }
    world.clock.wait_for_sleepers(1).await;
}

/// The write of a connection that ends its flow, too.
const AT_ONCE: &str = "connections.put_and_finish";
/// The write of a connection whose flow is elsewhere.
const APART: &str = "connections.put";

async fn apart() -> World {
    World::builder().flows_apart().start().await
}

/// Delivers the callback; while its `nth` write of a connection is held up, `meanwhile` happens.
async fn deliver_while(
    world: &World,
    query: &str,
    (write, nth): (&'static str, u64),
    meanwhile: impl Future,
) -> ErrorKind {
    let span = Duration::from_secs(5);
    world.faults.reset();
    world.faults.on_method(write, nth, Fault::Delay(span));
    let (result, ()) = tokio::join!(world.deliver(query), async {
        asleep_in(world, write, nth).await;
        meanwhile.await;
        world.clock.advance(span);
    });
    result.expect_err("it is not to be").kind().clone()
}
