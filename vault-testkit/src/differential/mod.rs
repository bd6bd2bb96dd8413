//! Random operations on two backends, which must give the same answers.
//!
//! The checks of [`conformance`](mod@crate::conformance) hold a backend to the rules one by one. This looks for what they
//! forget: sequences of operations over a handful of connections, leases, flows, keys and connectors, drawn at random,
//! run on a reference and on a backend under test at the same time. Each answer must be the same, be it a conflict's
//! version, a fence, or a listing walked to its end in pages of any size. Orders that the contract leaves open do not
//! count, and neither do clocks: leases are long or over at once.
//!
//! ```
//! use vault_core::store::Stores;
//! use vault_memory::MemoryStore;
//! # use vault_memory::MemoryStore as MyStore;
//! use vault_testkit::differential;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let reference = Stores::from_backend(MemoryStore::new());
//! let subject = Stores::from_backend(MyStore::new());
//! differential::agree(&reference, &subject, 20).await;
//! # }
//! ```
//!
//! The same sequences are drawn each time. `PROPTEST_RNG_SEED` draws others, `PROPTEST_CASES` says how many. Cases have
//! random tenants, so that both backends may be shared with other tests.
#![expect(clippy::future_not_send, reason = "proptest's trees are not, and a test awaits in place")]

mod op;
mod perform;
mod run;
#[cfg(test)]
mod tests;
mod world;

use std::fmt;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngSeed, TestRunner};
use vault_core::store::Stores;

use self::op::Op;
use self::run::{Difference, run};

/// What is drawn unless `PROPTEST_RNG_SEED` says otherwise.
const SEED: u64 = 0x7661_756c_7421;

/// Runs so many random sequences on both.
///
/// # Panics
/// When an answer of `subject` is not that of `reference`, or either fails, with the shortest sequence found that shows
/// it; see [`disagreement`].
pub async fn agree(reference: &Stores, subject: &Stores, cases: u32) {
    if let Some(disagreement) = disagreement(reference, subject, cases).await {
        panic!("{disagreement}");
    }
}

/// Runs so many random sequences on both; answers with the shortest one found on which they differ, if any.
#[expect(clippy::missing_panics_doc, reason = "no filter rejects a sequence")]
pub async fn disagreement(reference: &Stores, subject: &Stores, cases: u32) -> Option<Disagreement> {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(cases);
    let seed = match Config::default().rng_seed {
        RngSeed::Fixed(seed) => seed,
        RngSeed::Random => SEED,
    };
    let config = Config { rng_seed: RngSeed::Fixed(seed), failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new(config);
    let sequences = op::sequences();
    for case in 1..=cases {
        let tree = sequences.new_tree(&mut runner).expect("no filter rejects a sequence");
        let ops = tree.current();
        if let Err(difference) = run(reference, subject, &ops).await {
            let (ops, difference) = shortest(reference, subject, tree, (ops, difference)).await;
            return Some(Disagreement { seed, case, ops, difference });
        }
    }
    None
}

/// Simplifies the sequence for as long as it shows a difference.
async fn shortest(
    reference: &Stores,
    subject: &Stores,
    mut tree: impl ValueTree<Value = Vec<Op>>,
    mut found: (Vec<Op>, Difference),
) -> (Vec<Op>, Difference) {
    const TRIES: usize = 2_000;
    let mut differs = true;
    for _ in 0..TRIES {
        if !(if differs { tree.simplify() } else { tree.complicate() }) {
            break;
        }
        let ops = tree.current();
        match run(reference, subject, &ops).await {
            Ok(()) => differs = false,
            Err(difference) => (differs, found) = (true, (ops, difference)),
        }
    }
    found
}

/// A sequence of operations on which two backends differ. It prints the sequence, both answers to its last operation,
/// and how to draw it again.
pub struct Disagreement {
    seed: u64,
    case: u32,
    ops: Vec<Op>,
    difference: Difference,
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference { step, op, reference, subject } = &self.difference;
        writeln!(f, "the backends disagree:")?;
        for (n, op) in self.ops.iter().enumerate().take(step + 1) {
            writeln!(f, "  {n}: {op:?}")?;
        }
        if *step >= self.ops.len() {
            match op {
                Some(op) => writeln!(f, "  in the look at everything: {op:?}")?,
                None => writeln!(f, "  in the clean-up")?,
            }
        }
        writeln!(f, "  reference: {reference}")?;
        writeln!(f, "  subject:   {subject}")?;
        write!(f, "case {} of PROPTEST_RNG_SEED={}", self.case, self.seed)
    }
}

impl fmt::Debug for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
