//! The short form for CI: two processes, and that the model notices what it is there for.

use std::time::Duration;

use vault_core::decide::{
    AfterSuccess, BeforeSend, Spent, Stored, after_refusal, after_success, before_send, may_send,
};
use vault_model::{Faults, Mode, RefreshModel, Report, Rule, Rules};

fn assert_holds(mode: Mode) {
    let report = Report::of(&RefreshModel::new(mode, 2, 2, Faults::up_to(2)));
    if let Some((rule, trace)) = report.violated.first() {
        panic!("{mode}: {} fails:\n{trace}", rule.name());
    }
    assert!(report.states > 10_000, "{mode}: only {} states", report.states);
}

#[test]
fn every_property_holds_where_tokens_do_not_rotate() {
    assert_holds(Mode::Static);
}

#[test]
fn every_property_holds_where_reuse_is_refused() {
    assert_holds(Mode::Strict);
}

#[test]
fn every_property_holds_where_reuse_ends_the_grant() {
    assert_holds(Mode::Family);
}

#[test]
fn every_property_holds_where_a_leeway_gives_siblings() {
    assert_holds(Mode::LeewaySiblings);
}

#[test]
fn every_property_holds_where_a_leeway_gives_the_latest() {
    assert_holds(Mode::LeewayLatest);
}

#[test]
fn every_property_holds_where_a_leeway_repeats_the_reply() {
    assert_holds(Mode::Idempotent);
}

/// The model with those rules fails this property first.
fn assert_caught(rules: Rules, mode: Mode, faults: Faults, rule: Rule) {
    let mut model = RefreshModel::new(mode, 2, 2, faults);
    model.rules = rules;
    let violated: Vec<_> = Report::of_first_failure(&model).violated.iter().map(|(rule, _)| *rule).collect();
    assert!(violated.contains(&rule), "{mode}: not {} but {violated:?}", rule.name());
}

#[test]
fn a_fence_instead_of_the_lineage_is_caught() {
    let after_success = |spent: &Spent, stored: Option<&Stored>| match stored {
        Some(stored) if stored.max_fence > spent.fence => AfterSuccess::Discard,
        _ => after_success(spent, stored),
    };
    let faults = Faults { total: 1, pause: 1, ..Faults::NONE };
    assert_caught(Rules { after_success, ..Rules::PRODUCTION }, Mode::Strict, faults, Rule::R5);
}

#[test]
fn writing_late_tokens_over_newer_ones_is_caught() {
    let after_success = |spent: &Spent, stored: Option<&Stored>| match after_success(spent, stored) {
        AfterSuccess::Orphan => AfterSuccess::Orphan,
        AfterSuccess::Applied => AfterSuccess::Applied,
        _ => AfterSuccess::Next,
    };
    let faults = Faults { total: 1, pause: 1, ..Faults::NONE };
    assert_caught(Rules { after_success, ..Rules::PRODUCTION }, Mode::Idempotent, faults, Rule::R3);
}

#[test]
fn no_incarnation_check_is_caught() {
    let after_success = |spent: &Spent, stored: Option<&Stored>| {
        let incarnation = stored.map_or(spent.incarnation, |stored| stored.incarnation);
        after_success(&Spent { incarnation, ..*spent }, stored)
    };
    let faults = Faults { total: 1, reconnect: 1, ..Faults::NONE };
    assert_caught(Rules { after_success, ..Rules::PRODUCTION }, Mode::Strict, faults, Rule::R4);
}

#[test]
fn no_gate_is_caught() {
    let faults = Faults { total: 1, pause: 1, ..Faults::NONE };
    let rules = Rules { may_send: |_, _, _, _| true, ..Rules::PRODUCTION };
    assert_caught(rules, Mode::Family, faults, Rule::R1);
}

#[test]
fn a_gate_that_forgets_how_old_the_marker_is_is_caught() {
    let may_send = |now, request, lease, _| may_send(now, request, lease, Duration::MAX);
    let faults = Faults { total: 2, pause: 1, reply: 1, ..Faults::NONE };
    assert_caught(Rules { may_send, ..Rules::PRODUCTION }, Mode::Strict, faults, Rule::R1);
}

#[test]
fn no_settle_wait_is_caught() {
    let before_send =
        |seen, stored: Option<&Stored>, settle, now| match before_send(seen, stored, settle, now) {
            BeforeSend::Settle(_) => BeforeSend::Send,
            verdict => verdict,
        };
    let faults = Faults { total: 1, reply: 1, ..Faults::NONE };
    assert_caught(Rules { before_send, ..Rules::PRODUCTION }, Mode::Strict, faults, Rule::R1);
}

#[test]
fn judging_a_refusal_without_reading_again_is_caught() {
    let faults = Faults { total: 1, pause: 1, ..Faults::NONE };
    assert_caught(Rules { reads_again: false, ..Rules::PRODUCTION }, Mode::Strict, faults, Rule::R5);
}

#[test]
fn judging_a_promoted_token_by_the_refusal_of_another_is_caught() {
    let after_refusal = |spent: &Spent, stored: Option<&Stored>, refused, settle, now| {
        let promotions = stored.map_or(spent.promotions, |stored| stored.promotions);
        after_refusal(&Spent { promotions, ..*spent }, stored, refused, settle, now)
    };
    let faults = Faults { total: 3, pause: 2, write: 1, ..Faults::NONE };
    assert_caught(Rules { after_refusal, ..Rules::PRODUCTION }, Mode::LeewayLatest, faults, Rule::R3);
}

#[test]
fn forgetting_that_a_token_was_sent_twice_is_caught() {
    let faults = Faults { total: 2, pause: 1, reply: 1, ..Faults::NONE };
    let rules = Rules { in_doubt: |_, _| false, ..Rules::PRODUCTION };
    assert_caught(rules, Mode::LeewayLatest, faults, Rule::Lost);
}
