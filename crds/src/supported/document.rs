use std::fmt::Write;

use super::beyond::BEHAVIOURS;
use super::keys::KEYS;
use super::{SYNC_OPTIONS, State, feature};
use crate::crd::{DEFINITIONS, fields};

const HEAD: &str = "# Compatibility

Every field of every kind, and what this version does with it. Generated from the types and from the table in
`crds/src/supported.rs` by `cargo run -p sluice-crds --bin crdgen`; a test keeps it true to both.

| state | meaning |
|---|---|
| works | acted on, with Argo's meaning and default unless a note says otherwise |
| accepted, not acted on yet | stored and kept; a condition (`NotActedOn`; of an AppProject's fields, at its Applications) and `kubectl sluice lint` name it |
| refused | would be dangerous to ignore: the object, or the run, is left alone while the field is there, and says so |

Fields below one that is kept as written (a Pod template, a plugin's configuration) are not listed: they survive as they are.
";

/// Returns the text of `docs/compatibility.md`.
pub fn document() -> String {
    let mut text = HEAD.to_string();
    text.push_str("\n## Behaviour\n\n| behaviour | state | note |\n|---|---|---|\n");
    for row in BEHAVIOURS {
        writeln!(text, "| {} | {} | {} |", row.name, row.state.as_str(), row.note)
            .expect("writing to a text cannot fail");
    }
    for definition in &DEFINITIONS {
        let kind = definition.kind.kind.as_ref();
        if kind == "ClusterAnalysisTemplate" {
            text.push_str("\n## ClusterAnalysisTemplate\n\nThe same fields as AnalysisTemplate, for Rollouts of any namespace.\n");
            continue;
        }
        text.push_str(&format!(
            "\n## {kind}\n\n| field | type | state | note |\n|---|---|---|---|\n"
        ));
        for field in fields(&definition.schema()) {
            let (state, note) = match feature(kind, &field.path) {
                Some(row) => (row.state.as_str(), row.note),
                None => ("unknown", "no row in the table"),
            };
            let path = &field.path;
            writeln!(text, "| `{path}` | {} | {state} | {note} |", field.value_type)
                .expect("writing to a text cannot fail");
        }
    }
    text.push_str("\n## Sync options\n\n| option | state | note |\n|---|---|---|\n");
    for option in SYNC_OPTIONS {
        let values: Vec<String> =
            option.values.iter().map(|value| format!("`{}={value}`", option.key)).collect();
        let state = State::as_str(option.state);
        writeln!(text, "| {} | {state} | {} |", values.join(", "), option.note)
            .expect("writing to a text cannot fail");
    }
    text.push_str(
        "\n## Labels and annotations\n\n| key | on | state | note |\n|---|---|---|---|\n",
    );
    for key in KEYS {
        writeln!(text, "| `{}` | {} | {} | {} |", key.name, key.on, key.state.as_str(), key.note)
            .expect("writing to a text cannot fail");
    }
    text
}
