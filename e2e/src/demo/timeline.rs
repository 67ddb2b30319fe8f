//! What the demo prints: chapters, moments with figures, promises, and the table at the end.
#![expect(clippy::print_stdout, reason = "the demo's output is its purpose")]

use std::time::Duration;

use tokio::time::Instant;

/// Prints as things happen, and remembers what was promised.
#[derive(Debug)]
pub struct Timeline {
    color: bool,
    since: Instant,
    promises: Vec<Promise>,
    figures: Vec<(String, String)>,
}

/// One promise and whether it was kept.
#[derive(Debug, Clone)]
pub struct Promise {
    /// What was promised.
    pub text: String,
    /// Whether it was kept.
    pub kept: bool,
    /// What was seen.
    pub seen: String,
}

impl Timeline {
    /// Begins at this moment.
    #[must_use]
    pub fn new(plain: bool) -> Self {
        let color = !plain && std::env::var_os("NO_COLOR").is_none();
        Self { color, since: Instant::now(), promises: Vec::new(), figures: Vec::new() }
    }

    /// Begins a chapter; its moments are counted from here.
    pub fn chapter(&mut self, title: &str) {
        let line = "─".repeat(72_usize.saturating_sub(title.chars().count()));
        println!("{}", self.paint("1", &format!("── {title} {line}")));
        self.since = Instant::now();
    }

    /// Time since the chapter began.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.since.elapsed()
    }

    /// Prints a moment.
    pub fn moment(&self, subject: &str, text: &str) {
        let at = self.since.elapsed().as_secs_f64();
        println!("{at:>7.2} s  {}{text}", self.paint("36", &format!("{subject:<10}")));
    }

    /// Notes a promise; a broken one is printed at once.
    pub fn promise(&mut self, text: &str, kept: bool, seen: impl Into<String>) {
        let seen = seen.into();
        let mark = if kept { self.paint("32", "✔ kept") } else { self.paint("31", "✖ broken") };
        println!("           {mark}    {text}: {seen}");
        self.promises.push(Promise { text: text.to_owned(), kept, seen });
    }

    /// Notes a row of the table at the end.
    pub fn figure(&mut self, name: &str, value: impl Into<String>) {
        self.figures.push((name.to_owned(), value.into()));
    }

    /// Prints the table and returns the broken promises.
    #[must_use]
    pub fn end(&self) -> Vec<Promise> {
        println!("{}", self.paint("1", &format!("── figures {}", "─".repeat(65))));
        for (name, value) in &self.figures {
            println!("{name:<44}{value}");
        }
        let broken: Vec<_> = self.promises.iter().filter(|p| !p.kept).cloned().collect();
        println!("promises  {} kept, {} broken", self.promises.len() - broken.len(), broken.len());
        broken
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Median and maximum in milliseconds, as text; a dash where there is nothing.
#[must_use]
pub fn median_and_max(values: &[Duration]) -> String {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    match (sorted.get(sorted.len() / 2), sorted.last()) {
        (Some(median), Some(max)) => format!(
            "{:.0} ms median, {:.0} ms max of {}",
            median.as_secs_f64() * 1e3,
            max.as_secs_f64() * 1e3,
            sorted.len()
        ),
        _ => "–".to_owned(),
    }
}
