//! Starting an authorization: what is refused, and what the URL and the store then hold.

mod arguments;
mod flows;

use url::Url;
use vault_core::Error;
use vault_core::connect::{Connect, Started};
use vault_tests::{World, binding};

async fn start(world: &World, connect: Connect) -> Result<Started, Error> {
    world.note(connect.start(&binding()).await)
}

/// The values of one parameter of a URL.
fn params(url: &Url, name: &str) -> Vec<String> {
    url.query_pairs().filter(|(key, _)| key == name).map(|(_, value)| value.into_owned()).collect()
}

fn param(url: &Url, name: &str) -> String {
    let values = params(url, name);
    assert_eq!(values.len(), 1, "{name} occurs once");
    values.into_iter().next().unwrap_or_default()
}
