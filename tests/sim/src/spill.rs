//! The disk that all processes put aside on what the store does not take.

use std::io;

use async_trait::async_trait;
use vault_core::spill::{Spill, Spilled};

use crate::call::{Far, Label, call};
use crate::history::{Pid, What};
use crate::provider::MARK;
use crate::world::{Shared, World};

#[derive(Debug)]
pub(crate) struct SimSpill {
    pub(crate) pid: Pid,
    pub(crate) world: Shared,
}

impl SimSpill {
    async fn call<T: Send + 'static>(
        &self,
        what: &'static str,
        effect: impl FnOnce(&mut World) -> T + Send + 'static,
    ) -> io::Result<T> {
        let label = Label { pid: self.pid, conn: None, what, far: Far::Disk, spent: None };
        let effect = move |world: &mut World, _| Ok(effect(world));
        call(&self.world, label, effect, |_| Err(io::Error::other("simulated"))).await
    }
}

#[async_trait]
impl Spill for SimSpill {
    async fn put(&self, entry: &Spilled) -> io::Result<()> {
        let (pid, Spilled { name, bytes }) = (self.pid, entry.clone());
        self.call("spill", move |world| {
            if bytes.windows(MARK.len()).any(|window| window == MARK.as_bytes()) {
                world.note(Some(pid), None, What::Leaked { place: "a spilled entry" });
            }
            // An entry begins with its form and the key of its connection.
            let begins = |key| postcard::to_allocvec(key).is_ok_and(|key| bytes[1..].starts_with(&key));
            let conn = world.conns.iter().position(|conn| begins(&conn.key));
            world.spilled.insert(name, bytes);
            world.note(Some(pid), conn, What::Spilled);
        })
        .await
    }

    async fn list(&self) -> io::Result<Vec<Spilled>> {
        self.call("list_spilled", |world| {
            let entries = world.spilled.iter();
            entries.map(|(name, bytes)| Spilled { name: name.clone(), bytes: bytes.clone() }).collect()
        })
        .await
    }

    async fn remove(&self, name: &str) -> io::Result<()> {
        let name = name.to_owned();
        self.call("unspill", move |world| drop(world.spilled.remove(&name))).await
    }
}
