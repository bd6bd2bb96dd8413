use super::*;
use crate::simulator::{Revocation, TokenState};

#[tokio::test]
async fn revocation_reaches_as_far_as_its_radius() {
    let sim = Simulator::start().await;
    let first = sim.connect("ada", "calendar.read").await;
    let second = sim.connect("ada", "calendar.read").await;
    let tokens = |reply: &RawReply| (text(reply, "access_token"), text(reply, "refresh_token"));
    let ((access, refresh), (sibling_access, sibling)) = (tokens(&first), tokens(&second));

    let revoke = async |token: &str| sim.post("/revoke", &[("token", token)]).await.expect("a reply").status;
    assert_eq!(revoke("simrt_unknown").await, 200);
    assert_eq!(revoke(&access).await, 200);
    assert_eq!((sim.is_live(&access), sim.is_live(&refresh)), (false, true));
    assert_eq!(revoke(&refresh).await, 200);
    assert_eq!((sim.is_live(&refresh), sim.is_live(&sibling)), (false, true));

    let third = text(&sim.connect("ada", "calendar.read").await, "refresh_token");
    let other = text(&sim.connect("grace", "calendar.read").await, "refresh_token");
    sim.switch(|switches| switches.revocation = Revocation::Grant);
    assert_eq!(revoke(&third).await, 200);
    assert_eq!((sim.is_live(&sibling), sim.is_live(&sibling_access)), (false, false));
    assert!(sim.is_live(&other));

    sim.switch(|switches| switches.revocation = Revocation::Absent);
    assert_eq!(revoke(&other).await, 404);
    sim.revoke_grant("grace");
    assert!(!sim.is_live(&other));
    assert!(sim.tokens_of("grace").iter().all(|token| token.state == TokenState::Dead));
}

#[tokio::test]
async fn introspection_tells_the_living_from_the_rest() {
    let sim = Simulator::start().await;
    let refresh = sim.refresh_token().await;
    let introspect =
        async |token: &str| json(&sim.post("/introspect", &[("token", token)]).await.expect("a reply"));
    assert_eq!(introspect(&refresh).await["sub"], "ada");
    assert_eq!(introspect("simrt_unknown").await, serde_json::json!({ "active": false }));
    sim.revoke_grant("ada");
    assert_eq!(introspect(&refresh).await["active"], false);
}
