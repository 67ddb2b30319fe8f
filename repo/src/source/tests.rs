use sluice_crds::application::ApplicationSource;

use super::{Source, confined};

fn source(yaml: &str) -> Result<Source, String> {
    let source: ApplicationSource = serde_saphyr::from_str(yaml).unwrap();
    Source::from_application(&source, false).map_err(|error| error.to_string())
}

#[test]
fn a_path_never_leaves_the_repository() {
    let cases = [
        (".", Ok("")),
        ("", Ok("")),
        ("./apps//web/", Ok("apps/web")),
        ("a/../b/./c", Ok("b/c")),
        ("..", Err(())),
        ("a/../../b", Err(())),
        ("/etc", Err(())),
        ("a\\..\\..\\b", Err(())),
        ("a\0b", Err(())),
    ];
    for (path, wanted) in cases {
        let found = confined(path, "spec.source.path").map_err(|_| ());
        assert_eq!(found, wanted.map(str::to_owned), "{path}");
    }
}

#[test]
fn what_is_not_rendered_yet_is_refused_by_field() {
    for (yaml, field) in [
        ("{repoURL: 'https://x/y', chart: z}", "spec.source.chart"),
        ("{repoURL: 'oci://x/y', path: .}", "spec.source.repoURL"),
        ("{repoURL: 'https://x/y', path: a, helm: {}}", "spec.source.helm"),
        ("{repoURL: 'https://x/y', path: a, plugin: {name: p}}", "spec.source.plugin"),
        ("{repoURL: 'https://x/y', ref: values}", "spec.source.ref"),
    ] {
        let error = source(yaml).unwrap_err();
        assert!(
            error.starts_with(&format!("{field}: this kind of source is not rendered")),
            "{error}"
        );
    }
    let error = source("{repoURL: 'https://x/y', path: a, kustomize: {}, directory: {}}");
    assert!(error.unwrap_err().contains("multiple application sources"));
    assert!(source("{repoURL: 'https://x/y'}").unwrap_err().starts_with("spec.source.path"));
}

#[test]
fn a_source_without_revision_follows_the_default_branch() {
    let found = source("{repoURL: 'https://x/y', path: ./apps/}").unwrap();
    assert_eq!((found.revision.as_str(), found.path.as_str()), ("HEAD", "apps"));
}
