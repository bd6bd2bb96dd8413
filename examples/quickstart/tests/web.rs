//! The web app, visited.

use tempfile::TempDir;

use crate::browser::{Browser, Reply, param};
use crate::program::{Running, assert_sealed, assert_unmarked};

/// The app, and a user in front of it.
struct Visit {
    app: Running,
    browser: Browser,
    csrf: String,
    folder: TempDir,
}

impl Visit {
    fn start() -> Self {
        Self::return_to(tempfile::tempdir().expect("a folder"))
    }

    fn return_to(folder: TempDir) -> Self {
        let app = Running::start(folder.path());
        let (browser, csrf) = sign_in(&app, "alice");
        Self { app, browser, csrf, folder }
    }

    fn home(&mut self) -> Reply {
        self.browser.get(&self.app.url("/"))
    }

    /// Presses a button.
    fn press(&mut self, path: &str) -> Reply {
        self.browser.post(&self.app.url(path), &[("csrf", &self.csrf)])
    }

    /// Goes to the provider, answers its consent page, and gives the URL that it sends the browser back to.
    fn visit_provider(&mut self, decision: &str) -> String {
        let consent_url = self.press("/connect").location().to_owned();
        let mut elsewhere = Browser::default();
        let consent = elsewhere.get(&consent_url);
        assert!(consent.body.contains("Allow <b>Quickstart</b>"), "{}", consent.body);
        let action = consent_url.split('?').next().expect("a path");
        let answer = [("ticket", consent.field("ticket")), ("decision", decision), ("account", "alice")];
        let back = elsewhere.post(action, &answer);
        back.header("location").expect("the way back").to_owned()
    }

    /// Answers the callback URL.
    fn connect(&mut self) -> String {
        let callback = self.visit_provider("allow");
        assert_eq!(self.browser.get(&callback).location(), "/?done=connected");
        callback
    }
}

fn sign_in(app: &Running, user: &str) -> (Browser, String) {
    let mut browser = Browser::default();
    let welcome = browser.post(&app.url("/sign-in"), &[("user", user)]);
    let cookie = welcome.header("set-cookie").expect("a session");
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
    let csrf = browser.get(&app.url(welcome.location())).field("csrf").to_owned();
    (browser, csrf)
}

#[test]
fn a_user_connects_reads_refreshes_and_disconnects() {
    let mut visit = Visit::start();
    assert!(visit.home().body.contains("Not connected"));

    let callback = visit.connect();
    let connected = visit.home().body;
    for shown in
        ["Alice Martin", "alice@example.com", "calendar.read", "in 60 minutes", ">Connected<", "<dd>1 "]
    {
        assert!(connected.contains(shown), "no `{shown}` in\n{connected}");
    }
    let calendar = visit.press("/calendar");
    assert_eq!(calendar.status, 200);
    assert!(calendar.body.contains("Lunch with Alice Martin"), "{}", calendar.body);
    assert_eq!(visit.press("/refresh").location(), "/?done=refreshed");
    assert!(visit.home().body.contains("<dd>2 "));

    let session = visit.browser.cookie().split_once('=').expect("a pair").1.to_owned();
    let secrets = [param(&callback, "code"), param(&callback, "state"), &session];
    assert_sealed(visit.folder.path(), &secrets);
    assert_unmarked(&connected);
    assert_unmarked(&calendar.body);

    assert_eq!(visit.press("/disconnect").location(), "/?done=revoked");
    assert!(visit.home().body.contains("Not connected"));
    assert_eq!(visit.press("/calendar").status, 409);

    assert_eq!(visit.press("/sign-out").location(), "/");
    assert!(visit.home().body.contains("Choose who you are"));
    assert!(visit.app.interrupt().contains("Stopping"));
    assert_sealed(visit.folder.path(), &secrets);
}

#[test]
fn a_connection_survives_a_restart_that_its_provider_does_not() {
    let mut visit = Visit::start();
    visit.connect();
    visit.app.interrupt();

    let mut visit = Visit::return_to(visit.folder);
    assert!(visit.home().body.contains(">Connected<"));
    let refused = visit.press("/calendar");
    assert_eq!(refused.status, 409);
    assert!(refused.body.contains("has to be connected again"), "{}", refused.body);
    assert!(visit.home().body.contains("Needs reauthorization"));
    visit.connect();
    assert_eq!(visit.press("/calendar").status, 200);
}

#[test]
fn each_user_has_their_own_connection() {
    let mut visit = Visit::start();
    visit.connect();
    let (mut bob, csrf) = sign_in(&visit.app, "bob");
    assert!(bob.get(&visit.app.url("/")).body.contains("Not connected"));
    assert_eq!(bob.post(&visit.app.url("/calendar"), &[("csrf", &csrf)]).status, 409);
}

#[test]
fn h01_the_callback_is_neither_kept_nor_shown() {
    let mut visit = Visit::start();
    let callback = visit.visit_provider("allow");
    let (code, state) = (param(&callback, "code"), param(&callback, "state"));
    let first = visit.browser.get(&callback);
    let replayed = visit.browser.get(&callback);
    assert_eq!((first.status, replayed.status), (303, 400));
    for reply in [first, replayed] {
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        assert_eq!(reply.header("referrer-policy"), Some("no-referrer"));
        assert!(!reply.body.contains(code) && !reply.body.contains(state), "{}", reply.body);
        assert_unmarked(&reply.body);
    }
}

#[test]
fn h02_a_spoofed_host_does_not_change_the_redirect_uri() {
    let mut visit = Visit::start();
    let headers =
        [("host", "evil.example"), ("x-forwarded-host", "evil.example"), ("x-forwarded-proto", "https")];
    let form = [("csrf", visit.csrf.as_str())];
    let started = visit.browser.post_with(&visit.app.url("/connect"), &headers, &form);
    let own = visit.app.url("/connect/callback").replace(':', "%3A").replace('/', "%2F");
    assert_eq!(param(started.location(), "redirect_uri"), own);
}

#[test]
fn h03_a_mebibyte_of_query_headers_or_body_is_refused() {
    let mut visit = Visit::start();
    let mebibyte = "x".repeat(1024 * 1024);
    let callback = visit.app.url("/connect/callback");
    let refused = [
        visit.browser.get(&format!("{callback}?state={mebibyte}")),
        visit.browser.get(&format!("{callback}?state={}", &mebibyte[..32 * 1024])),
        visit.browser.get_with(&callback, &[("x-long", &mebibyte)]),
        visit.browser.post(&visit.app.url("/connect"), &[("csrf", &visit.csrf), ("more", &mebibyte)]),
    ];
    for reply in refused {
        assert!((400..500).contains(&reply.status), "{}", reply.status);
    }
    assert_eq!(visit.home().status, 200);
}

#[test]
fn starting_over_and_over_is_stopped() {
    let mut visit = Visit::start();
    for _ in 0..20 {
        assert_eq!(visit.press("/connect").status, 303);
    }
    assert_eq!(visit.press("/connect").status, 429);
}

#[test]
fn k06_a_callback_in_another_session_connects_nobody() {
    let mut visit = Visit::start();
    let callback = visit.visit_provider("allow");
    let (mut bob, _) = sign_in(&visit.app, "bob");
    assert_eq!(bob.get(&callback).status, 400);
    assert!(bob.get(&visit.app.url("/")).body.contains("Not connected"));
    assert_eq!(visit.browser.get(&callback).status, 400);
    assert!(visit.home().body.contains("Not connected"));
}

#[test]
fn k08_a_denial_is_explained_and_escaped() {
    let mut visit = Visit::start();
    let denied = visit.visit_provider("deny");
    let reply = visit.browser.get(&denied.replace("the+user+said+no", "%3Cscript%3Ealert(1)%3C/script%3E"));
    assert_eq!(reply.status, 400);
    assert!(reply.body.contains("Nothing was connected"));
    assert!(reply.body.contains("&lt;script&gt;") && !reply.body.contains("<script"), "{}", reply.body);
}

#[test]
fn a_form_without_the_session_s_token_changes_nothing() {
    let mut visit = Visit::start();
    visit.connect();
    let (_, foreign) = sign_in(&visit.app, "bob");
    for path in ["/calendar", "/connect", "/disconnect", "/refresh", "/sign-out"] {
        assert_eq!(visit.browser.post(&visit.app.url(path), &[]).status, 403, "{path}");
        assert_eq!(visit.browser.post(&visit.app.url(path), &[("csrf", &foreign)]).status, 403, "{path}");
        assert_eq!(visit.browser.get(&visit.app.url(path)).status, 405, "{path}");
    }
    assert!(visit.home().body.contains("<dd>1 "));
}
