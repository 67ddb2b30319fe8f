//! `cargo xtask bench`: speed, as benchmarks with limits; not part of the tests, because machines differ.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::command::{cargo, output, run as execute};

/// Builds and runs every benchmark, and prints machine, commit and figures.
///
/// # Errors
/// If a benchmark cannot be built, or misses its limit.
pub(crate) fn run() -> Result<()> {
    println!("machine  {}", machine());
    println!("commit   {}", commit()?);
    let benches: [(&str, &[&str]); 2] = [
        ("sluice-sim", &["--bench", "decide"]),
        ("sluice-controller", &["--features", "bench", "--bench", "neighbours"]),
    ];
    let mut missed = Vec::new();
    for (package, arguments) in benches {
        let bench = || {
            let mut command = cargo();
            command.args(["bench", "--quiet", "-p", package]).args(arguments);
            command
        };
        execute(bench().arg("--no-run"))?;
        if execute(&mut bench()).is_err() {
            missed.push(package);
        }
    }
    ensure!(missed.is_empty(), "beyond the limits: {}", missed.join(", "));
    Ok(())
}

fn machine() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let mut lines = text.lines().filter(|line| line.starts_with(name));
        lines.find_map(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned())
    };
    let model = field("model name").unwrap_or_else(|| "unknown processor".to_owned());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory = memory
        .lines()
        .find_map(|line| {
            line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok()
        })
        .map_or(0_u64, |kilobytes| kilobytes / (1 << 20));
    format!("{model}, {cores} cores, {memory} GiB")
}

fn commit() -> Result<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let git = |arguments: &[&str]| output(Command::new("git").current_dir(&root).args(arguments));
    let name = git(&["rev-parse", "--short", "HEAD"])?.trim().to_owned();
    let is_changed = !git(&["status", "--porcelain", "--untracked-files=no"])?.trim().is_empty();
    Ok(if is_changed { format!("{name}, with changes") } else { name })
}
