//! Which node of a cluster has which slot.

use std::sync::Arc;

use redis::{FromRedisValue as _, Value};

/// Host and port.
pub(super) type Address = (String, u16);

const SLOTS: u16 = 16384;

/// The master of each slot, as far as it is known.
pub(super) struct Slots(Vec<Option<Arc<Address>>>);

impl Slots {
    pub(super) fn unknown() -> Self {
        Self(vec![None; usize::from(SLOTS)])
    }

    /// Reads the answer to `CLUSTER SLOTS`. A node that does not know its own name has the one by which it was asked. One
    /// that has left the cluster, or has not met it yet, knows no slot and answers for nothing.
    pub(super) fn read(answer: Value, asked: &str) -> Option<Self> {
        let mut slots = Self::unknown();
        for range in Vec::<Vec<Value>>::from_redis_value(answer).ok()? {
            let mut range = range.into_iter();
            let first = usize::from_redis_value(range.next()?).ok()?;
            let last = usize::from_redis_value(range.next()?).ok()?;
            let mut master = Vec::<Value>::from_redis_value(range.next()?).ok()?.into_iter();
            let host = Option::<String>::from_redis_value(master.next()?).ok()?;
            let host = host.filter(|host| !host.is_empty()).unwrap_or_else(|| asked.to_owned());
            let port = u16::from_redis_value(master.next()?).ok()?;
            slots.0.get_mut(first..=last)?.fill(Some(Arc::new((host, port))));
        }
        slots.0.iter().any(Option::is_some).then_some(slots)
    }

    pub(super) fn master(&self, slot: u16) -> Option<Arc<Address>> {
        self.0.get(usize::from(slot))?.clone()
    }

    pub(super) fn learn(&mut self, slot: u16, master: Address) {
        if let Some(known) = self.0.get_mut(usize::from(slot)) {
            *known = Some(Arc::new(master));
        }
    }

    /// Each once.
    pub(super) fn masters(&self) -> Vec<Arc<Address>> {
        let mut masters: Vec<_> = self.0.iter().flatten().cloned().collect();
        masters.sort();
        masters.dedup();
        masters
    }
}

/// The slot of a key: of what stands in its first braces, if anything does.
pub(super) fn slot(key: &str) -> u16 {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
    crc16(tag.filter(|tag| !tag.is_empty()).unwrap_or(key).as_bytes()) % SLOTS
}

/// CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_the_slots_that_the_server_gives_them() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(slot("foo"), 12182);
        assert_eq!(slot("{foo}:i"), 12182);
        assert_eq!(slot("a{foo}b{bar}"), 12182);
        assert_eq!(slot("{}foo"), crc16(b"{}foo") % SLOTS);
    }

    #[test]
    fn a_master_is_read_from_the_answer_and_a_nameless_one_is_whom_we_asked() {
        let answer = b"*2\r\n*3\r\n:0\r\n:99\r\n*3\r\n$1\r\na\r\n:7000\r\n$2\r\nid\r\n\
                       *3\r\n:100\r\n:16383\r\n*3\r\n$0\r\n\r\n:7001\r\n$2\r\nid\r\n";
        let answer = redis::parse_redis_value(answer).expect("RESP");
        let mut slots = Slots::read(answer, "asked").expect("an answer");
        assert_eq!(slots.master(99).as_deref(), Some(&("a".to_owned(), 7000)));
        assert_eq!(slots.master(100).as_deref(), Some(&("asked".to_owned(), 7001)));
        slots.learn(100, ("b".to_owned(), 7002));
        assert_eq!(slots.masters().len(), 3);
        assert!(Slots::read(Value::Okay, "asked").is_none());
    }

    #[test]
    fn a_node_that_is_in_no_cluster_knows_nothing() {
        assert!(Slots::read(Value::Array(Vec::new()), "asked").is_none());
    }
}
