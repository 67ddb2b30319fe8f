use serde_json::{Value, json};

use super::Collector;
use crate::error::RepoErrorKind;
use crate::limits::Limits;

fn collect(text: &str) -> Result<Vec<Value>, crate::RepoError> {
    let limits = Limits { objects: 5, ..Limits::default() };
    let mut collector = Collector::new(&limits);
    collector.add("file `a.yaml`", text.as_bytes())?;
    Ok(collector.finish().0)
}

fn refused(text: &str, kind: RepoErrorKind, wanted: &str) {
    let error = collect(text).unwrap_err();
    assert_eq!(error.kind, kind, "{error}");
    assert!(error.to_string().starts_with(wanted), "{error}");
}

const CM: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";

#[test]
fn documents_and_lists_become_objects_in_order() {
    let text = format!(
        "{CM}---\n# only a comment\n---\napiVersion: v1\nkind: List\nitems:\n- {{apiVersion: v1, kind: Secret, metadata: {{name: b}}}}\n- {{apiVersion: v1, kind: ConfigMapList, items: [{{apiVersion: v1, kind: ConfigMap, metadata: {{generateName: c}}}}]}}\n"
    );
    let kinds: Vec<Value> =
        collect(&text).unwrap().into_iter().map(|object| object["kind"].clone()).collect();
    assert_eq!(kinds, ["ConfigMap", "Secret", "ConfigMap"]);
    let json = r#"{"apiVersion":"v1",	"kind":"ConfigMap","metadata":{"name":"tabs"}}"#;
    assert_eq!(collect(json).unwrap().len(), 1);
}

#[test]
fn scalars_are_read_as_kubernetes_reads_them() {
    let text = format!(
        "{CM}data: {{a: yes, b: 'yes', c: 0644, d: 1e3, e: ~, f: 12345678901234567890, g: 0x10, h: '0644', i: off}}"
    );
    assert_eq!(
        collect(&text).unwrap()[0]["data"],
        json!({"a": true, "b": "yes", "c": 420, "d": 1000.0, "e": null, "f": 12345678901234567890_u64, "g": 16, "h": "0644", "i": false})
    );
}

#[test]
fn a_marked_file_is_skipped() {
    assert_eq!(
        collect(&format!("# +argocd:skip-file-rendering\n{CM}")).unwrap(),
        Vec::<Value>::new()
    );
}

#[test]
fn what_is_no_manifest_names_file_and_line() {
    use RepoErrorKind::{InvalidManifest, TooBig};
    refused("a: b: c", InvalidManifest, "file `a.yaml`, line 1: no YAML that we accept");
    refused(&format!("{CM}---\nx: [1\ny: 2\n"), InvalidManifest, "file `a.yaml`, line ");
    refused(&format!("{CM}data: {{a: 1, a: 2}}\n"), InvalidManifest, "file `a.yaml`, line 4: ");
    refused(
        r#"{"apiVersion":"v1","kind":"A","kind":"B","metadata":{"name":"x"}}"#,
        InvalidManifest,
        "file `a.yaml`, line 1: ",
    );
    refused("replicas: 3", InvalidManifest, "file `a.yaml`, document 1: `apiVersion` is missing");
    refused("just text", InvalidManifest, "file `a.yaml`, document 1: expected an object");
    refused(
        "apiVersion: v1\nkind: Pod\nmetadata: {}",
        InvalidManifest,
        "file `a.yaml`, document 1: `metadata.name` of this Pod",
    );
    refused(&format!("{CM}---\n").repeat(6), TooBig, "rendered manifests: more than 5 objects");
}

#[test]
fn hostile_yaml_is_refused_quickly() {
    let nested = format!("{CM}data: {}{}", "[".repeat(100_000), "]".repeat(100_000));
    refused(&nested, RepoErrorKind::InvalidManifest, "file `a.yaml`");
    let nested_json = format!("{{\"a\":{}{}}}", "[".repeat(100), "]".repeat(100));
    refused(&nested_json, RepoErrorKind::InvalidManifest, "file `a.yaml`");
    let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for level in 1..12 {
        let uses = vec![format!("*a{}", level - 1); 10].join(",");
        bomb.push_str(&format!("a{level}: &a{level} [{uses}]\n"));
    }
    refused(&bomb, RepoErrorKind::InvalidManifest, "file `a.yaml`");
    let deep_block: String = (0..5000).map(|level| format!("{}a:\n", " ".repeat(level))).collect();
    refused(&deep_block[..4_000_000], RepoErrorKind::InvalidManifest, "file `a.yaml`");
    refused(&"--- \n{}\n".repeat(100_000), RepoErrorKind::InvalidManifest, "file `a.yaml`");
}
