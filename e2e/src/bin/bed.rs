//! `sluice-bed`: the bed by hand. `cargo xtask bed` and `cargo xtask doctor` call it.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Parser, Subcommand};
use serde::{Deserialize, Serialize};
use sluice_e2e::{
    bed::{
        Bed, Options,
        controller::{Installation, Instance},
        parts::{Cache, Parts},
    },
    doctor, harness,
    inside::{self, Entered},
    shapes,
};

/// The bed: real control plane, istiod, Envoy, Prometheus and git in namespaces of their own.
#[derive(Parser)]
#[command(name = "sluice-bed")]
struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Look at what the machine has and lacks.
    Doctor,
    /// Fetch and build whatever part is missing in the cache.
    Parts,
    /// Print the path of kustomize as this project builds it; build it if it is missing.
    Kustomize,
    /// Start a bed in the background; print its kubeconfig and URLs.
    Up(Settings),
    /// End the bed that `up` started.
    Down,
    /// Say whether a bed is up and where it is reached.
    Status,
    /// A shell inside the bed's namespaces, with `kubectl` and `KUBECONFIG` set.
    Shell {
        /// What to run there instead of a shell.
        command: Vec<String>,
    },
    /// Ask the API server of the bed that `up` started what the simulated one is compared with, and write its answers.
    Record {
        /// File for the answers.
        #[arg(default_value = "sim/tests/recorded/answers.json")]
        out: PathBuf,
    },
    /// The bed in the foreground, until it is interrupted.
    Run(Foreground),
}

#[derive(clap::Args, Clone)]
struct Settings {
    /// Install Sluice and start this controller binary.
    #[arg(long)]
    controller: Option<PathBuf>,
    /// Time from scheduling to a started container.
    #[arg(long, default_value_t = 1000)]
    start_delay_ms: u64,
}

#[derive(clap::Args, Clone)]
struct Foreground {
    #[command(flatten)]
    settings: Settings,
    /// Where to note, once it is ready, how the bed is reached.
    #[arg(long)]
    note: Option<PathBuf>,
}

/// What `up` leaves behind for the other commands.
#[derive(Serialize, Deserialize)]
struct State {
    /// The process outside whose end is the bed's end.
    pid: u32,
    run: PathBuf,
    kubeconfig: PathBuf,
    kubectl: PathBuf,
    urls: Vec<(String, String)>,
    ready_seconds: f64,
}

fn main() -> ExitCode {
    match act(Arguments::parse().action) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::print_stdout, reason = "a command line speaks to the terminal")]
fn say(line: &str) {
    println!("{line}");
}

/// Standard output is for answers.
fn progress(line: &str) {
    eprintln!("{line}");
}

fn act(action: Action) -> Result<ExitCode> {
    let cache = Cache::open()?;
    match action {
        Action::Doctor => {
            let findings = doctor::examine(&cache);
            findings.iter().for_each(|finding| say(&finding.line()));
            let healthy = findings.iter().all(|finding| finding.ok);
            return Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Action::Parts => {
            doctor::require(&cache, &say)?;
            Parts::resolve(&cache, &say)?;
            say(&format!("all parts are in `{}`", cache.root().display()));
        }
        Action::Kustomize => {
            doctor::require(&cache, &progress)?;
            say(&Parts::resolve(&cache, &progress)?.kustomize.display().to_string());
        }
        Action::Up(settings) => up(&cache, &settings)?,
        Action::Down => down(&cache)?,
        Action::Status => {
            let Some(state) = current(&cache) else { bail!("no bed is up") };
            report(&state);
        }
        Action::Record { out } => {
            let Some(state) = current(&cache) else {
                bail!("no bed is up\nhint: start one with `cargo xtask bed up`");
            };
            let asked = shapes::record(&state.kubeconfig, &out);
            let count = tokio::runtime::Runtime::new()?.block_on(asked)?;
            say(&format!("{count} answers are in `{}`", out.display()));
        }
        Action::Shell { command } => return shell(&cache, &command),
        Action::Run(foreground) => return run(&cache, foreground),
    }
    Ok(ExitCode::SUCCESS)
}

/// Where `up` notes the bed; one at a time, others (tests, demo) have no note.
fn note(cache: &Cache) -> PathBuf {
    cache.root().join("up.json")
}

/// The noted bed, if its process still is the one that wrote the note.
fn current(cache: &Cache) -> Option<State> {
    let state: State = serde_json::from_slice(&fs::read(note(cache)).ok()?).ok()?;
    let command = fs::read_to_string(format!("/proc/{}/cmdline", state.pid)).ok()?;
    command.contains("sluice-bed").then_some(state)
}

fn up(cache: &Cache, settings: &Settings) -> Result<()> {
    if let Some(state) = current(cache) {
        say("a bed is up already");
        report(&state);
        return Ok(());
    }
    doctor::require(cache, &say)?;
    Parts::resolve(cache, &say)?;
    fs::remove_file(note(cache)).ok();
    let log = cache.root().join("up.log");
    let out = File::create(&log)?;
    let mut command = Command::new("setsid");
    command.arg(std::env::current_exe()?).arg("run");
    command.arg("--note").arg(note(cache));
    command.arg(format!("--start-delay-ms={}", settings.start_delay_ms));
    if let Some(controller) = &settings.controller {
        command.arg("--controller").arg(controller.canonicalize().with_context(|| {
            format!("no controller binary `{}`: build it first", controller.display())
        })?);
    }
    // Its log is what it says on standard error; on standard output it only says that it is up.
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(out);
    let mut child = command.spawn().context("cannot run `setsid` (package util-linux)")?;
    let said = child.stdout.take().context("standard output was piped")?;
    let line = within(UP_WITHIN, move || {
        let mut line = String::new();
        BufReader::new(said).read_line(&mut line).map(|_| line)
    });
    let text = || fs::read_to_string(&log).unwrap_or_default();
    let Some(line) = line else {
        child.kill()?;
        bail!("not up in {} s:\n{}", UP_WITHIN.as_secs(), text().trim());
    };
    let is_ready = line?.trim() == READY;
    match current(cache).filter(|_| is_ready) {
        Some(state) => report(&state),
        None => bail!("the bed ended early ({}):\n{}", child.wait()?, text().trim()),
    }
    Ok(())
}

/// What a bed in the background says once its note is written.
const READY: &str = "ready";
const UP_WITHIN: Duration = Duration::from_secs(180);
const DOWN_WITHIN: Duration = Duration::from_secs(20);

/// Waits for a blocking answer, but no longer than so.
fn within<T: Send + 'static>(
    limit: Duration,
    wait: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (tell, told) = mpsc::channel();
    // Nobody listens any more after the limit; the process ends soon, and the thread with it.
    thread::spawn(move || tell.send(wait()).ok());
    told.recv_timeout(limit).ok()
}

fn report(state: &State) {
    say(&format!("the bed is up (process {}, ready in {:.1} s)", state.pid, state.ready_seconds));
    say(&format!("  export KUBECONFIG={}", state.kubeconfig.display()));
    say(&format!("  kubectl     {}", state.kubectl.display()));
    for (name, url) in &state.urls {
        say(&format!("  {name:<11} {url}"));
    }
    say(&format!("  logs        {}", state.run.join("logs").display()));
}

fn down(cache: &Cache) -> Result<()> {
    let Some(state) = current(cache) else {
        say("no bed is up");
        return Ok(());
    };
    let owner = File::open(state.run.join("owner"));
    let script = format!("kill {}", state.pid);
    let status = Command::new("sh").args(["-c", &script]).status()?;
    ensure!(status.success(), "cannot end process {}", state.pid);
    // The bed's process holds a lock for as long as it lives; without the file it has tidied up already.
    if let Ok(owner) = owner {
        let ended = within(DOWN_WITHIN, move || owner.lock());
        ended.with_context(|| format!("process {} lives on", state.pid))??;
    }
    fs::remove_file(note(cache)).ok();
    fs::remove_dir_all(&state.run).ok();
    say("the bed is down");
    Ok(())
}

fn shell(cache: &Cache, words: &[String]) -> Result<ExitCode> {
    let Some(state) = current(cache) else {
        bail!("no bed is up\nhint: start one with `cargo xtask bed up`");
    };
    let first = inside::first_process(state.pid).context("the bed is ending")?;
    let folder = state.kubectl.parent().context("kubectl is in a folder")?;
    let path = std::env::var("PATH").unwrap_or_default();
    let shell = std::env::var("SHELL").unwrap_or_else(|_| "/bin/sh".to_owned());
    let mut command = Command::new("nsenter");
    command.args(["--target", &first.to_string(), "--net", "--mount", "--pid", "--"]);
    if words.is_empty() {
        command.arg(shell);
    } else {
        command.args(words);
    }
    command.env("KUBECONFIG", state.run.join("identity/admin.kubeconfig"));
    command.env("PATH", format!("{}:{path}", folder.display()));
    Err(command.exec()).context("cannot run `nsenter` (package util-linux)")
}

/// The bed in this process; it ends with it.
fn run(cache: &Cache, Foreground { settings, note }: Foreground) -> Result<ExitCode> {
    let inside = match inside::enter(cache)? {
        Entered::Inside(inside) => inside,
        Entered::Outside(code) => return Ok(code),
    };
    let parts = Parts::resolve(cache, &progress)?;
    harness::start_logging();
    tokio::runtime::Runtime::new()?.block_on(async {
        let mut options = Options::standard()?;
        options.start_delay = Duration::from_millis(settings.start_delay_ms);
        let bed = Bed::start(parts, inside, options, &progress).await?;
        let run = &bed.inside.run;
        let _controller = match &settings.controller {
            Some(binary) => {
                let sluice = Installation::prepare(&bed).await?;
                Some(sluice.start(Instance::new(binary)).await?)
            }
            None => None,
        };
        let urls = ["gateway", "prometheus", "envoy", "git", "controller"];
        let state = State {
            pid: bed.inside.outer,
            run: run.clone(),
            kubeconfig: bed.outside_kubeconfig()?,
            kubectl: bed.parts.kubectl.clone(),
            urls: urls.map(|name| (name.to_owned(), bed.outside_url(name))).to_vec(),
            ready_seconds: bed.took.as_secs_f64(),
        };
        match note {
            // Renamed into place: whoever looks for it must not read half of it.
            Some(note) => {
                let part = note.with_extension("part");
                fs::write(&part, serde_json::to_vec_pretty(&state)?)?;
                fs::rename(part, note)?;
                say(READY);
            }
            None => report(&state),
        }
        tokio::signal::ctrl_c().await?;
        Ok(ExitCode::SUCCESS)
    })
}
