//! The words of the command line.

use std::ffi::OsString;
use std::path::Path;

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};

mod connection;
mod simulate;

pub use connection::{ConnectionArguments, LookArguments};
pub(crate) use simulate::{Form, SimulateArguments};

/// Whose output and exit codes: decided by the name under which the program was called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dialect {
    /// `kubectl sluice`.
    Sluice,
    /// `kubectl argo rollouts`.
    Argo,
}

impl Dialect {
    /// Returns the dialect for the program's own name.
    pub fn of(program: Option<&OsString>) -> Self {
        let name = program.map(Path::new).and_then(Path::file_name);
        match name.and_then(|n| n.to_str()) {
            Some(name) if name.contains("argo") => Self::Argo,
            _ => Self::Sluice,
        }
    }

    /// Returns what people type.
    pub fn program(self) -> &'static str {
        match self {
            Self::Sluice => "kubectl sluice",
            Self::Argo => "kubectl argo rollouts",
        }
    }
}

/// Shows and drives progressive delivery.
#[derive(Parser, Debug)]
#[command(
    name = "kubectl-sluice",
    version,
    disable_version_flag = true,
    arg_required_else_help = true
)]
pub struct Arguments {
    /// Where the cluster is.
    #[command(flatten)]
    pub connection: ConnectionArguments,
    /// How output looks.
    #[command(flatten)]
    pub look: LookArguments,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Arguments {
    /// Reads the words of a command line, the program's own name first.
    ///
    /// # Errors
    /// The words cannot be understood, or ask for help.
    pub fn read(words: &[OsString], dialect: Dialect) -> Result<Self, clap::Error> {
        let command = Self::command().bin_name(dialect.program());
        Self::from_arg_matches(&command.try_get_matches_from(words)?)
    }
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Shows one object as a tree.
    Get(GetArguments),
    /// Lists objects.
    List(ListArguments),
    /// Goes on: ends a pause, or skips what is waited for.
    Promote(PromoteArguments),
    /// Takes the update back: all traffic to the stable version.
    Abort(Names),
    /// Tries an aborted update again.
    Retry(RetryArguments),
    /// Holds Rollouts where they are.
    Pause(Names),
    /// Replaces all Pods, one after another.
    Restart(RestartArguments),
    /// Goes back to an earlier revision.
    Undo(UndoArguments),
    /// Changes a Rollout.
    #[command(subcommand)]
    Set(SetCommand),
    /// Says the phase, and waits for it.
    Status(StatusArguments),
    /// Says what a Rollout waits for, and why.
    Why(WhyArguments),
    /// Checks manifests without a cluster.
    Lint(LintArguments),
    /// Plays an update without a cluster, in virtual time: weights, Pods, analysis, and how it ends.
    Simulate(SimulateArguments),
    /// Shows and drives Applications.
    #[command(subcommand)]
    App(AppCommand),
    /// Shows and releases what Git wants and a failed update forbids.
    #[command(subcommand)]
    Quarantine(QuarantineCommand),
    /// Says the version.
    Version {
        /// Only the number.
        #[arg(long)]
        short: bool,
    },
}

/// Form of the output.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Output {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// `rollout.argoproj.io/name`.
    Name,
    /// As without, with more columns.
    Wide,
}

impl Output {
    /// Returns whether it asks for objects as they are, not for a drawing.
    pub fn is_document(self) -> bool {
        self != Self::Wide
    }
}

/// Form of the output of what is no Kubernetes object.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum PlainOutput {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// `get rollout NAME`.
#[derive(Args, Debug)]
pub struct GetArguments {
    /// `rollout` (`ro`), `rollouts`.
    #[arg(value_parser = ["rollout", "rollouts", "ro"])]
    pub kind: String,
    /// Name.
    pub name: String,
    /// Draws again whenever something changes.
    #[arg(short, long)]
    pub watch: bool,
    /// Ends a watch after so many seconds; 0 means never.
    #[arg(long, default_value_t = 0)]
    pub timeout_seconds: u64,
    /// Form of the output.
    #[arg(short, long)]
    pub output: Option<Output>,
}

/// `list rollouts`.
#[derive(Args, Debug)]
pub struct ListArguments {
    /// `rollouts` (`ro`).
    #[arg(value_parser = ["rollouts", "rollout", "ro"], default_value = "rollouts")]
    pub kind: String,
    /// Of all namespaces.
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// Only this one.
    #[arg(long)]
    pub name: Option<String>,
    /// Goes on with a line for each change.
    #[arg(short, long)]
    pub watch: bool,
    /// Says of each line when it was so.
    #[arg(long)]
    pub timestamps: bool,
    /// Form of the output.
    #[arg(short, long)]
    pub output: Option<Output>,
}

/// Names of Rollouts.
#[derive(Args, Debug)]
pub struct Names {
    /// Names.
    #[arg(required = true)]
    pub names: Vec<String>,
}

/// `retry rollout NAME…`.
#[derive(Args, Debug)]
pub struct RetryArguments {
    /// `rollout` and the names.
    #[arg(required = true)]
    pub words: Vec<String>,
}

/// `promote NAME`.
#[derive(Args, Debug)]
pub struct PromoteArguments {
    /// Name.
    pub name: String,
    /// Skips all steps, pauses and analysis; still waits for Pods to be available.
    #[arg(long)]
    pub full: bool,
    /// Skips the current step.
    #[arg(short = 'c', long)]
    pub skip_current_step: bool,
    /// Skips all steps.
    #[arg(short = 'a', long)]
    pub skip_all_steps: bool,
}

/// `restart NAME`.
#[derive(Args, Debug)]
pub struct RestartArguments {
    /// Name.
    pub name: String,
    /// In so long, such as `10s` or `5m`.
    #[arg(short, long = "in")]
    pub within: Option<String>,
}

/// `undo NAME`.
#[derive(Args, Debug)]
pub struct UndoArguments {
    /// Name.
    pub name: String,
    /// Revision; 0 means the one before the current.
    #[arg(long, default_value_t = 0)]
    pub to_revision: i64,
}

/// `set …`.
#[derive(Subcommand, Debug)]
pub enum SetCommand {
    /// Changes images: `set image NAME CONTAINER=IMAGE…`; `*` means every container.
    Image {
        /// Name of the Rollout.
        name: String,
        /// `CONTAINER=IMAGE`.
        #[arg(required = true)]
        images: Vec<String>,
    },
}

/// `status NAME`.
#[derive(Args, Debug)]
pub struct StatusArguments {
    /// Name.
    pub name: String,
    /// Waits until it is Healthy or Degraded.
    #[arg(short, long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1,
        require_equals = true, default_missing_value = "true")]
    pub watch: bool,
    /// Gives up after so long, such as `60s`; 0 means never.
    #[arg(short, long, default_value = "0")]
    pub timeout: String,
}

/// `why rollout NAME`.
#[derive(Args, Debug)]
pub struct WhyArguments {
    /// `rollout` and the name, or the name.
    #[arg(required = true, num_args = 1..=2)]
    pub words: Vec<String>,
    /// Form of the output.
    #[arg(short, long)]
    pub output: Option<PlainOutput>,
}

/// `lint FILE…`.
#[derive(Args, Debug)]
pub struct LintArguments {
    /// Files; `-` is standard input.
    #[arg(short = 'f', long = "filename")]
    pub filename: Vec<String>,
    /// Files; `-` is standard input.
    pub files: Vec<String>,
}

/// `app …`.
#[derive(Subcommand, Debug)]
pub enum AppCommand {
    /// Shows one Application.
    Get {
        /// Name.
        name: String,
        /// Form of the output.
        #[arg(short, long)]
        output: Option<Output>,
    },
    /// Lists Applications.
    List {
        /// Form of the output.
        #[arg(short, long)]
        output: Option<Output>,
    },
    /// Shows what a sync would change, rendered here, under your own rights. Exits with 1 if there is a difference. A
    /// kustomization needs `kustomize` on the path, or its path in SLUICE_KUSTOMIZE.
    Diff {
        /// Name.
        name: String,
        /// Instead of the target revision.
        #[arg(long)]
        revision: Option<String>,
    },
    /// Asks for a sync.
    Sync {
        /// Name.
        name: String,
        /// Instead of the target revision.
        #[arg(long)]
        revision: Option<String>,
        /// Deletes what Git no longer has.
        #[arg(long)]
        prune: bool,
        /// Changes nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Lists past syncs.
    History {
        /// Name.
        name: String,
        /// Form of the output.
        #[arg(short, long)]
        output: Option<PlainOutput>,
    },
    /// Goes back to a past sync. With automated sync it stays there until Git wants another commit.
    Rollback {
        /// Name.
        name: String,
        /// Number in the history; by default the one before the last.
        id: Option<i64>,
    },
}

/// `quarantine …`.
#[derive(Subcommand, Debug)]
pub enum QuarantineCommand {
    /// Lists what is held back.
    List {
        /// Only of this Application.
        app: Option<String>,
        /// Form of the output.
        #[arg(short, long)]
        output: Option<PlainOutput>,
    },
    /// Lets held-back content go.
    Release {
        /// Application.
        app: String,
        /// Rollout.
        rollout: String,
    },
}
