//! What the scenarios ask of every outcome.

use std::fmt::Debug;

use vault_core::{AccessToken, Error, ErrorKind};

use crate::World;

/// The operation was refused, for this reason, in one line that names what is at fault.
#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "results and kinds are made for the call")]
pub fn assert_refused<T: Debug>(result: Result<T, Error>, kind: ErrorKind, names: &str) {
    let error = result.expect_err("refused");
    let message = error.to_string();
    assert_eq!(*error.kind(), kind, "{message}");
    assert!(message.contains(names), "`{message}` does not name `{names}`");
    assert!(!message.chars().any(char::is_control), "one line: {message:?}");
}

impl World {
    /// The user has no connection: none is listed, and there is no token.
    pub async fn assert_not_connected(&self, user: &str) {
        assert!(self.user(user).connections().await.expect("a listing").is_empty(), "{user} is listed");
        assert_refused(self.token(user).await, ErrorKind::NotConnected, user);
    }

    /// The user's connection answers with this very token, and it works at the provider.
    pub async fn assert_unchanged(&self, user: &str, before: &AccessToken) {
        let now = self.token(user).await.expect("the connection still works");
        assert_eq!(now.expose_secret(), before.expose_secret());
        assert!(self.provider.is_live(now.expose_secret()));
        assert_eq!(self.user(user).connections().await.expect("a listing").len(), 1);
    }
}
