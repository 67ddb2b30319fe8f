use clap::{Args, ValueEnum};

/// Form of a played update.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Form {
    /// A table of what happens, for people.
    Text,
    /// The timeline, for programs.
    Json,
    /// A picture.
    Svg,
}

/// How an update may end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Expected {
    /// The new version is stable.
    Promoted,
    /// The update was taken back.
    Aborted,
    /// It waits for a person, for ever.
    Paused,
    /// It does not go on, and is not taken back.
    Stuck,
}

impl Expected {
    /// Returns the word of the result.
    pub fn word(self) -> &'static str {
        match self {
            Self::Promoted => "promoted",
            Self::Aborted => "aborted",
            Self::Paused => "paused",
            Self::Stuck => "stuck",
        }
    }
}

/// `simulate FILE…`.
#[derive(Args, Debug)]
pub struct SimulateArguments {
    /// Files or folders with a Rollout and what it names, or one scenario file; `-` is standard input.
    #[arg(short = 'f', long = "filename")]
    pub filename: Vec<String>,
    /// Files or folders with a Rollout and what it names, or one scenario file; `-` is standard input.
    pub files: Vec<String>,
    /// Which Rollout, if there are several.
    #[arg(long)]
    pub rollout: Option<String>,
    /// What runs before: an image (IMAGE or CONTAINER=IMAGE), or a file with the former manifests.
    #[arg(long, visible_alias = "revision", value_name = "IMAGE|FILE")]
    pub from: Option<String>,
    /// Pushes this image (IMAGE or CONTAINER=IMAGE) instead of what the files have.
    #[arg(long)]
    pub image: Option<String>,
    /// What measurements give: a trace (rows `time,metric,value,error`, or YAML), `pass` or `fail`.
    #[arg(long, default_value = "pass", value_name = "FILE|pass|fail")]
    pub metrics: String,
    /// How Pods behave: `ready=5s`, `listed=1s`, `terminated=2s`, `fail=2` (of the new version, from the start), `crash=1@5m`.
    #[arg(long, value_delimiter = ',', value_name = "KEY=VALUE,…")]
    pub pods: Vec<String>,
    /// Promotes at every pause without end, at once or after a time.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "0s", value_name = "AFTER")]
    pub promote: Option<String>,
    /// What a person does, and when: `5m=abort`, or retry, promote, promote-full, pause, resume.
    #[arg(long = "at", value_name = "TIME=DEED")]
    pub at: Vec<String>,
    /// The longest time that is played.
    #[arg(long, default_value = "24h")]
    pub until: String,
    /// Shows also what only keeps books.
    #[arg(long)]
    pub all: bool,
    /// Exits with 1 if it ends otherwise.
    #[arg(long)]
    pub expect: Option<Expected>,
    /// Form of the output.
    #[arg(short, long, default_value = "text")]
    pub output: Form,
}
