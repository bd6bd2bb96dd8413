use std::sync::LazyLock;

use redis::{Cmd, Script};

/// A script, called by its hash. Where the server does not know it (any more), its text is sent instead.
pub(crate) struct Lua {
    text: &'static str,
    script: Script,
}

macro_rules! scripts {
    ($($name:ident = $file:literal;)*) => {$(
        pub(crate) static $name: LazyLock<Lua> = LazyLock::new(|| {
            let text = include_str!(concat!("lua/", $file));
            Lua { text, script: Script::new(text) }
        });
    )*};
}

scripts! {
    ACQUIRE = "acquire.lua";
    CANCEL = "cancel.lua";
    LEASE = "lease.lua";
    LIST = "list.lua";
    MOVE = "move.lua";
    RELEASE = "release.lua";
    RENEW = "renew.lua";
    RESERVE = "reserve.lua";
    TAKE = "take.lua";
    WRITE = "write.lua";
}

impl Lua {
    /// By hash.
    pub(crate) fn by_hash(&self, keys: &[String], args: &[impl AsRef<[u8]>]) -> Cmd {
        call("EVALSHA", self.script.get_hash(), keys, args)
    }

    /// By text; the server remembers it.
    pub(crate) fn by_text(&self, keys: &[String], args: &[impl AsRef<[u8]>]) -> Cmd {
        call("EVAL", self.text, keys, args)
    }
}

fn call(command: &str, script: &str, keys: &[String], args: &[impl AsRef<[u8]>]) -> Cmd {
    let mut call = redis::cmd(command);
    call.arg(script).arg(keys.len()).arg(keys);
    for arg in args {
        call.arg(arg.as_ref());
    }
    call
}
