use super::*;
use crate::simulator::{Endpoint, Fault, TokenState};

#[tokio::test]
async fn a_request_can_be_held_before_the_provider_acts() {
    let sim = Simulator::start().await;
    let token = sim.refresh_token().await;
    let gate = sim.hold_next(Endpoint::Token);
    let (held, spent) = (sim.clone(), token.clone());
    let request = tokio::spawn(async move { held.refresh(&spent).await.status });
    gate.arrived().await;
    assert_eq!(sim.describe(&token).expect("known").state, TokenState::Live);
    // Another refresh passes it, and is the first to spend the token.
    assert_eq!(sim.refresh(&token).await.status, 200);
    gate.release();
    assert_eq!(request.await.expect("ended"), 400);
    assert_eq!(sim.max_in_flight(Endpoint::Token), 2);
    assert_eq!(sim.refreshes()[1].rivals, 2);
}

#[tokio::test]
async fn a_reply_can_be_held_after_the_provider_acted_and_then_be_lost() {
    let sim = Simulator::start().await;
    let token = sim.refresh_token().await;
    let gate = sim.hold_next_reply(Endpoint::Token);
    sim.inject(Endpoint::Token, Fault::dropped().after_acting());
    let (held, spent) = (sim.clone(), token.clone());
    let request = tokio::spawn(async move { held.try_refresh(&spent).await.is_err() });
    gate.arrived().await;
    assert_eq!(sim.describe(&token).expect("known").state, TokenState::Spent);
    gate.release();
    assert!(request.await.expect("ended"));
}

#[tokio::test]
async fn a_client_that_hangs_up_does_not_undo_its_request() {
    let sim = Simulator::start().await;
    let token = sim.refresh_token().await;
    let gate = sim.hold_next(Endpoint::Token);
    let done = sim.hold_next_reply(Endpoint::Token);
    let (held, spent) = (sim.clone(), token.clone());
    let request = tokio::spawn(async move { held.try_refresh(&spent).await.is_ok() });
    gate.arrived().await;
    request.abort();
    assert!(request.await.is_err());
    gate.release();
    done.arrived().await;
    assert_eq!(sim.describe(&token).expect("known").state, TokenState::Spent);
}

#[tokio::test]
async fn a_dropped_gate_is_open_and_a_stopped_simulator_holds_nobody() {
    let sim = Simulator::start().await;
    let token = sim.refresh_token().await;
    drop(sim.hold_next(Endpoint::Token));
    assert_eq!(sim.refresh(&token).await.status, 200);

    let gate = sim.hold_next(Endpoint::Jwks);
    let url = sim.url("/jwks");
    let request = tokio::spawn(async move { raw::request("GET", &url, &[], "").await });
    gate.arrived().await;
    sim.shutdown().await;
    assert_eq!(request.await.expect("ended").expect("a reply").status, 200);
}
