//! Makes a plan that fails smaller: what can be left out without a change of what is found, goes.

use crate::{
    lies::Lie,
    plan::Plan,
    world::{Outcome, run},
};

/// Runs at most this often: the last bit of shortness is worth little.
const MOST_RUNS: usize = 2000;

/// The command that replays a seed, what is found, and the shortest plan that finds it.
pub(crate) fn report(seed: u64, lie: Option<Lie>) -> String {
    let plan = Plan::draw(seed);
    let name = run(&plan, lie)
        .findings
        .first()
        .map(|first| first.name.clone());
    let Some(name) = name else {
        return format!("seed {seed} finds nothing now: a simulation is not the same twice");
    };
    let (plan, outcome) = shrink(plan, &name, lie);
    let findings = outcome.findings.iter();
    let findings: Vec<_> = findings
        .map(|one| format!("{}: {}", one.name, one.text))
        .collect();
    format!(
        "seed {seed} finds\n  {}\nreplay: cargo run --release --example simulation -- --seed {seed}\n\
         the shortest plan that was found to find it:\n{plan}\nwhat happens then:\n{}",
        findings.join("\n  "),
        outcome.trace.join("\n")
    )
}

/// Leaves out halves, then quarters, and at last single parts, as long as `name` is found.
pub(crate) fn shrink(mut plan: Plan, name: &str, lie: Option<Lie>) -> (Plan, Outcome) {
    let mut outcome = run(&plan, lie);
    let mut runs = 0;
    let mut size = plan.parts().div_ceil(2);
    while size > 0 {
        let mut start = 0;
        let mut smaller = false;
        while start < plan.parts() && runs < MOST_RUNS {
            let keep: Vec<bool> = (0..plan.parts())
                .map(|part| !(start..start + size).contains(&part))
                .collect();
            let tried = plan.keep(&keep);
            let found = run(&tried, lie);
            runs += 1;
            if found.findings.iter().any(|one| one.name == name) {
                (plan, outcome) = (tried, found);
                smaller = true;
            } else {
                start += size;
            }
        }
        // Single parts are tried until none can go.
        if size > 1 || !smaller {
            size /= 2;
        }
    }
    (plan, outcome)
}
