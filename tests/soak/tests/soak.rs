//! The short form, with a program to itself: it counts what the process allocates, and what its Redis server does.

use peak_alloc::PeakAlloc;
use vault_servers::redis::{Options, Redis};
use vault_soak::{Plan, run};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

#[tokio::test(flavor = "multi_thread")]
async fn x01_x05_what_comes_and_goes_leaves_nothing_and_a_listing_takes_no_more_for_more() {
    let server = tokio::task::spawn_blocking(|| Redis::start(&Options::default().with("appendfsync", "no")));
    let server = server.await.expect("no panic").expect("Redis starts");
    assert_eq!(run(Plan::SMOKE, &server.url()).await, Vec::<String>::new());
}
