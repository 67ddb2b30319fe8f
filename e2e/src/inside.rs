//! The step into namespaces of one's own: network, mount and pid.
//!
//! [`enter`] runs the same program once more as the first process of fresh namespaces. When that
//! process ends, for whatever reason, the kernel kills everything in its pid namespace, and network
//! devices and mounts vanish with theirs: that is the whole clean-up. Nobody outlives their parent:
//! the helper `unshare` is killed with this process (parent-death signal) and kills its child.
//!
//! What users outside may reach goes through a relay: a listener on 127.0.0.1 out here hands each
//! connection to a Unix socket in the run folder, behind which the inner process dials its own
//! loopback ([`crate::bed::relay`]).

use std::{
    collections::BTreeMap,
    fs::{self, File},
    net::{Shutdown, TcpListener, TcpStream},
    os::unix::{net::UnixStream, process::ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    bed::parts::{Cache, Parts},
    doctor,
};

/// Names of what the relay passes to the outside, as keys of [`Inside::outside`].
pub const RELAYED: [&str; 6] = ["apiserver", "gateway", "prometheus", "envoy", "git", "controller"];

const RUN: &str = "SLUICE_BED_RUN";
const PORTS: &str = "SLUICE_BED_OUTSIDE_PORTS";
const OUTER: &str = "SLUICE_BED_OUTER";

/// Which side of [`enter`] this process is on.
#[derive(Debug)]
pub enum Entered {
    /// The first process of the new namespaces: go on here.
    Inside(Inside),
    /// The process that the user started, after the inner one has ended: end with this code.
    Outside(ExitCode),
}

/// What the inner process knows about the world outside.
#[derive(Debug, Clone)]
pub struct Inside {
    /// Folder of this run, the same path on both sides.
    pub run: PathBuf,
    /// Process id outside of the process whose end is the end of all this.
    pub outer: u32,
    /// For each name of [`RELAYED`] the port of the listener on 127.0.0.1 outside.
    pub outside: BTreeMap<String, u16>,
}

/// Re-executes this program with the same arguments in new namespaces and waits for it, or, when
/// it *is* that program, prepares the namespaces and returns.
///
/// Outside, it first sees to it that the machine has what the bed needs and that all parts are in
/// the cache (inside there is no network to fetch them from), with progress on standard error.
///
/// Call it first in `main`, before any thread or runtime exists: the parent-death signal follows
/// the thread that started the child.
///
/// # Errors
/// When the machine lacks something (each with a hint), a part cannot be built or fetched, or
/// namespaces, mounts or devices are refused.
pub fn enter(cache: &Cache) -> Result<Entered> {
    if let Some(run) = std::env::var_os(RUN) {
        prepare()?;
        let ports = std::env::var(PORTS).unwrap_or_default();
        let outside = ports
            .split(',')
            .filter_map(|pair| pair.split_once('='))
            .filter_map(|(name, port)| Some((name.to_owned(), port.parse().ok()?)))
            .collect();
        let outer = std::env::var(OUTER).ok().and_then(|text| text.parse().ok());
        let outer = outer.with_context(|| format!("`{OUTER}` is not set beside `{RUN}`"))?;
        return Ok(Entered::Inside(Inside { run: run.into(), outer, outside }));
    }
    let say = |line: &str| eprintln!("{line}");
    doctor::require(cache, &say)?;
    Parts::resolve(cache, &say)?;
    let (run, _owner) = own_run(cache)?;
    let ports = relay(&run)?;
    let status = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "unshare", "--net", "--mount", "--pid", "--fork"])
        .args(["--kill-child=KILL", "--mount-proc", "--"])
        .arg(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env(RUN, &run)
        .env(PORTS, ports)
        .env(OUTER, std::process::id().to_string())
        .status()
        .context("cannot run `unshare` (package util-linux)")?;
    if status.success() {
        fs::remove_dir_all(&run).ok();
    } else {
        for heavy in ["etcd", "prometheus"] {
            fs::remove_dir_all(run.join(heavy)).ok();
        }
    }
    let code = status.code().or(status.signal().map(|s| 128 + s)).unwrap_or(1);
    Ok(Entered::Outside(ExitCode::from(u8::try_from(code).unwrap_or(1))))
}

/// The process id, seen from outside, of the first process in the namespaces that process `outer`
/// has made; for `nsenter`.
#[must_use]
pub fn first_process(outer: u32) -> Option<u32> {
    let child = |parent: u32| {
        fs::read_dir(format!("/proc/{parent}/task"))
            .ok()?
            .flatten()
            .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
            .find_map(|text| text.split_whitespace().next()?.parse::<u32>().ok())
    };
    child(child(outer)?)
}

/// Makes this run's folder, and the locked file by which others see that it is in use.
fn own_run(cache: &Cache) -> Result<(PathBuf, File)> {
    // Between making a folder and locking its file, it looks dead to another process.
    let lock = cache.lock()?;
    remove_dead_runs(&cache.run());
    // Process ids repeat: a bed inside a container, or inside another bed, counts from 1.
    let run = tempfile::Builder::new().prefix("bed-").tempdir_in(cache.run())?.keep();
    fs::create_dir_all(run.join("relay"))?;
    let owner = File::create(run.join("owner"))?;
    owner.lock().context("cannot lock the run folder")?;
    drop(lock);
    Ok((run, owner))
}

/// Runs of processes that are gone; a failed run's logs stay until the next bed starts.
fn remove_dead_runs(runs: &Path) {
    for entry in fs::read_dir(runs).into_iter().flatten().flatten() {
        let owner = File::open(entry.path().join("owner"));
        if owner.is_ok_and(|lock| lock.try_lock().is_ok()) {
            fs::remove_dir_all(entry.path()).ok();
        }
    }
}

/// Loopback, and a private `/run`, so that network namespaces made inside have names of their own.
fn prepare() -> Result<()> {
    for (program, args) in [
        ("ip", &["link", "set", "lo", "up"][..]),
        ("mount", &["-t", "tmpfs", "tmpfs", "/run"]),
        ("mkdir", &["-p", "/run/netns"]),
    ] {
        let out = Command::new(program).args(args).stdin(Stdio::null()).output();
        let out = out.with_context(|| format!("cannot run `{program}`"))?;
        let errors = String::from_utf8_lossy(&out.stderr);
        ensure!(out.status.success(), "`{program} {}`: {}", args.join(" "), errors.trim());
    }
    Ok(())
}

/// Opens all listeners and returns their ports in the form `name=port,...`.
fn relay(run: &Path) -> Result<String> {
    let mut ports = Vec::new();
    for name in RELAYED {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        ports.push(format!("{name}={}", listener.local_addr()?.port()));
        let socket = run.join("relay").join(name);
        std::thread::spawn(move || {
            for outer in listener.incoming().flatten() {
                // Nobody there yet, or not part of this bed: the caller sees a closed connection.
                if let Ok(inner) = UnixStream::connect(&socket) {
                    join(outer, inner);
                }
            }
        });
    }
    Ok(ports.join(","))
}

fn join(outer: TcpStream, inner: UnixStream) {
    outer.set_nodelay(true).ok();
    let (Ok(mut from), Ok(mut to)) = (outer.try_clone(), inner.try_clone()) else { return };
    std::thread::spawn(move || {
        std::io::copy(&mut from, &mut to).ok();
        to.shutdown(Shutdown::Write).ok();
    });
    let (mut from, mut to) = (inner, outer);
    std::thread::spawn(move || {
        std::io::copy(&mut from, &mut to).ok();
        to.shutdown(Shutdown::Write).ok();
    });
}
