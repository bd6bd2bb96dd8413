//! A look at what was written, with the vault's own keys and outside of simulated time.

use vault_core::store::{ConnectionRecord, ConnectionStatus, RevocationRecord};

use crate::history::{Pid, Standing, What};
use crate::provider::{MARK, Tag};
use crate::store::at_once;
use crate::world::World;

/// Notes a write, with what the provider knows of the tokens in it.
pub(crate) fn written(
    world: &mut World,
    pid: Pid,
    conn: usize,
    there: Option<&ConnectionRecord>,
    record: &ConnectionRecord,
    owed: Option<&RevocationRecord>,
) {
    let raw = [record.summary.as_slice(), &record.credential, &record.refresh];
    let raw = raw.into_iter().chain(owed.map(|owed| owed.sealed.as_slice()));
    for bytes in raw {
        if bytes.windows(MARK.len()).any(|window| window == MARK.as_bytes()) {
            world.note(Some(pid), Some(conn), What::Leaked { place: "storage" });
        }
    }
    let before = world.standings[conn];
    // A marked record keeps its tokens; no read shows them.
    let tag = match record.status {
        ConnectionStatus::Active => read(world, conn),
        _ => before.map(|before| before.tag),
    };
    let Some(tag) = tag else {
        world.note(Some(pid), Some(conn), What::Acted { call: 0, outcome: "unreadable record".into() });
        return;
    };
    let (incarnation, generation, status) = (record.incarnation, record.generation, record.status);
    let after = Standing { incarnation, generation, status, tag };
    let changed = there.is_none_or(|there| there.credential != record.credential);
    world.standings[conn] = Some(after);
    let truth = world.truth(tag);
    world.note(Some(pid), Some(conn), What::Wrote { before, after, truth, changed });
}

fn read(world: &World, conn: usize) -> Option<Tag> {
    let (auditor, conn) = (world.auditor.as_ref()?, &world.conns[conn]);
    let owner = auditor.tenant(conn.tenant.clone()).user(conn.user);
    let token = at_once(owner.token(&conn.key.connector).into_future()).ok()?;
    Tag::parse(token.expose_secret())
}
