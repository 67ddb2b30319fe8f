//! Every scenario file against its golden transcript (`tests/scenarios/*.yaml`, `*.txt`).

use std::fs;
use std::path::Path;

use sluice_sim::scenario::Scenario;

/// Runs a scenario; set `UPDATE_SCENARIOS` to write the transcript anew, then review it.
fn check(yaml: &Path) -> Result<(), String> {
    let name = yaml.display();
    let text = fs::read_to_string(yaml).map_err(|error| format!("{name}: {error}"))?;
    let scenario = Scenario::parse(&text).map_err(|error| format!("{name}: {error}"))?;
    let transcript = scenario.run().map_err(|error| format!("{name}: {error}"))?;
    let again = scenario.run().map_err(|error| format!("{name}: {error}"))?;
    assert_eq!(transcript, again, "{name}: equal runs have equal transcripts");
    let golden = yaml.with_extension("txt");
    if std::env::var_os("UPDATE_SCENARIOS").is_some() {
        fs::write(&golden, transcript.to_string()).map_err(|error| format!("{name}: {error}"))?;
    }
    let expected = fs::read_to_string(&golden).unwrap_or_default();
    if transcript.violations() > 0 {
        return Err(format!("{name}: an invariant is broken:\n{transcript}"));
    }
    if transcript.to_string() != expected {
        return Err(format!(
            "{name}: the transcript differs from {}:\n{transcript}",
            golden.display()
        ));
    }
    Ok(())
}

#[test]
fn every_scenario_goes_as_its_transcript_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    assert!(files.len() >= 9, "the scenarios are there");
    let problems: Vec<String> = files.iter().filter_map(|file| check(file).err()).collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
