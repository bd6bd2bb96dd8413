//! tmp
#![expect(clippy::print_stdout, reason = "a program for a terminal")]
use vault_model::{Faults, Mode, RefreshModel, Report};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let n: usize = args.first().map_or(2, |a| a.parse().expect("n"));
    let total: u8 = args.get(1).map_or(2, |a| a.parse().expect("n"));
    let gens: u8 = args.get(2).map_or(2, |a| a.parse().expect("n"));
    let faults = Faults { total, crash: 2, pause: 2, reply: 1, write: 1, outage: 1, throttle: 1, revoke: 1, disconnect: 1, reconnect: 1 };
    println!("{}", Report::header());
    for mode in Mode::ALL {
        if args.get(3).is_some_and(|m| *m != mode.to_string()) { continue; }
        let r = Report::of(&RefreshModel::new(mode, n, gens, faults));
        println!("{r}");
        if args.len() > 4 { for (rule, t) in &r.violated { println!("{}\n{t}", rule.name()); } }
    }
}
