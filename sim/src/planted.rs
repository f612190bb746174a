//! The commands that need errors planted in the machines: a build with the feature `plant`.

use std::ops::RangeInclusive;
use std::process::ExitCode;

/// Seeds that `canary` looks in, if none are given.
const SEEDS: RangeInclusive<u64> = 1..=400;

/// Plants the bug of that name for all runs to come.
#[cfg(feature = "plant")]
pub(crate) fn plant(name: &str) -> Result<(), String> {
    use folkmoot_core::plant::Bug;

    let bug = folkmoot_sim::canary::bug_named(name).ok_or_else(|| {
        let names: Vec<&str> = Bug::ALL.iter().map(|bug| bug.name()).collect();
        format!("--plant {name}: one of {}", names.join(", "))
    })?;
    folkmoot_core::plant::plant(Some(bug));
    Ok(())
}

/// There is nothing to plant in a normal build.
#[cfg(not(feature = "plant"))]
pub(crate) fn plant(name: &str) -> Result<(), String> {
    Err(format!(
        "--plant {name}: this build has no planted errors; use\n  \
         cargo run --release -p folkmoot-sim --features plant --target-dir target/plant -- … --plant {name}"
    ))
}

/// Plants one error after another and says which run shows it, by which rule.
#[cfg(feature = "plant")]
pub(crate) fn canary(
    seeds: Option<RangeInclusive<u64>>,
    only: Option<&str>,
    json: bool,
) -> ExitCode {
    use std::io::Write;

    use folkmoot_core::plant::Bug;
    use folkmoot_sim::canary::{Canary, STAGED, bug_named};

    std::panic::set_hook(Box::new(|_| {}));
    let began = std::time::Instant::now();
    let mut canary = Canary::new(seeds.unwrap_or(SEEDS));
    let bugs: Vec<Bug> = Bug::ALL
        .iter()
        .copied()
        .filter(|bug| match only {
            Some(only) => bug_named(only) == Some(*bug),
            None => !STAGED.contains(bug),
        })
        .collect();
    let (mut missed, mut unfit) = (0, 0);
    if !json {
        println!("| planted | what goes wrong | found by the rule | mode, seed | seeds |");
        println!("|---|---|---|---|---|");
    }
    for bug in &bugs {
        let finding = canary.find(*bug);
        missed += usize::from(finding.found.is_none());
        unfit += finding.unfit.len();
        if json {
            println!("{}", crate::show::finding(&finding));
            continue;
        }
        let (name, what) = (bug.name(), bug.what());
        match finding.found {
            Some(found) => println!(
                "| `{name}` | {what} | {} | {} {} | {} |",
                found.rule, found.mode, found.seed, found.seeds
            ),
            None => println!("| `{name}` | {what} | **NOT FOUND** | | |"),
        }
        let _ = std::io::stdout().flush();
    }
    if !json {
        println!(
            "{} of {} planted errors found, {} runs, {:.1?}",
            bugs.len() - missed,
            bugs.len(),
            canary.runs,
            began.elapsed()
        );
        if unfit > 0 {
            println!("{unfit} runs fail with nothing planted, too: look at them first");
        }
    }
    if missed == 0 && unfit == 0 && !bugs.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// A normal build has no planted errors: builds one that has, beside this one, and runs that.
#[cfg(not(feature = "plant"))]
pub(crate) fn canary(
    seeds: Option<RangeInclusive<u64>>,
    only: Option<&str>,
    json: bool,
) -> ExitCode {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let seeds = seeds.unwrap_or(SEEDS);
    let mut command = std::process::Command::new(cargo);
    command
        .args(["run", "--release", "--quiet", "--features", "plant"])
        .args(["--manifest-path", manifest]);
    // A directory of its own: what is built here is never taken for a normal build.
    let target = std::env::current_exe()
        .ok()
        .and_then(|exe| Some(exe.parent()?.parent()?.join("plant")));
    if let Some(target) = target {
        command.arg("--target-dir").arg(target);
    }
    command.args(["--", "canary", "--seeds"]);
    command.arg(format!("{}..={}", seeds.start(), seeds.end()));
    if let Some(only) = only {
        command.args(["--plant", only]);
    }
    if json {
        command.arg("--json");
    }
    eprintln!("building with planted errors (feature `plant`), beside the normal build");
    match command.status() {
        Ok(status) => ExitCode::from(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1)),
        Err(error) => {
            eprintln!(
                "cargo does not start ({error}); in the repository run\n  \
                 cargo run --release -p folkmoot-sim --features plant --target-dir target/plant -- canary"
            );
            ExitCode::from(2)
        }
    }
}
