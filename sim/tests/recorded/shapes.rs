//! Requests of many shapes, and answers in a form that two servers can be compared by.
//!
//! Compiled twice: into the test that asks the simulated API server, and into `sluice-bed record`, which asks a real one and
//! writes `answers.json`. Requests go in order; later ones name what earlier ones returned: `{a.uid}`, `{a.rv}`, `{a.continue}`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";
const PATCH: &str = "application/json-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const APPLY: &str = "application/apply-patch+yaml";

/// Namespace of all requests.
pub(crate) const NAMESPACE: &str = "recorded";

/// One request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shape {
    /// What it is about: `ConfigMap: create`.
    pub(crate) name: String,
    /// HTTP method.
    pub(crate) method: String,
    /// Path and query.
    pub(crate) path: String,
    /// `Content-Type`; empty without a body.
    pub(crate) content_type: String,
    /// `Accept`; empty for any.
    pub(crate) accept: String,
    /// Body.
    pub(crate) body: Vec<u8>,
    /// Under which name later requests find what it returned.
    pub(crate) saved: Option<String>,
    /// Whether `managedFields` are compared.
    pub(crate) managed: bool,
    /// Whether it is a watch: the answer is a list of events.
    pub(crate) is_watch: bool,
    /// Whether it is repeated until it is answered 200: a new kind takes a while to be served.
    pub(crate) is_awaited: bool,
}

impl Shape {
    fn new(name: String, method: &str, path: String) -> Self {
        Self { name, method: method.to_owned(), path, ..Self::default() }
    }

    fn with(mut self, content_type: &str, body: &Value) -> Self {
        self.content_type = content_type.to_owned();
        self.body = body.to_string().into_bytes();
        self
    }

    fn raw(mut self, content_type: &str, body: &str) -> Self {
        self.content_type = content_type.to_owned();
        self.body = body.as_bytes().to_vec();
        self
    }

    fn saved(mut self, name: &str) -> Self {
        self.saved = Some(name.to_owned());
        self
    }

    fn managed(mut self) -> Self {
        self.managed = true;
        self
    }
}

/// Fills in what earlier answers returned.
pub(crate) fn filled(shape: &Shape, saved: &BTreeMap<String, Value>) -> Shape {
    let fill = |text: &str| {
        let mut text = text.to_owned();
        for (name, body) in saved {
            let metadata = &body["metadata"];
            for (field, value) in [
                ("uid", &metadata["uid"]),
                ("rv", &metadata["resourceVersion"]),
                ("continue", &metadata["continue"]),
                ("name", &metadata["name"]),
            ] {
                let value = value.as_str().unwrap_or_default();
                text = text.replace(&format!("{{{name}.{field}}}"), value);
            }
        }
        text
    };
    let body = match std::str::from_utf8(&shape.body) {
        Ok(text) => fill(text).into_bytes(),
        Err(_) => shape.body.clone(),
    };
    Shape { path: fill(&shape.path), body, ..shape.clone() }
}

/// A resource that the requests are made of.
struct Subject {
    kind: &'static str,
    api_version: &'static str,
    plural: &'static str,
    /// Everything but `metadata`.
    content: Value,
    /// A field below the root that requests change, and two values of it.
    field: &'static str,
    values: [Value; 2],
    has_status: bool,
}

fn subjects() -> Vec<Subject> {
    let spec = json!({ "size": 1, "color": "red", "parts": [{ "name": "a", "weight": 1 }] });
    vec![
        Subject {
            kind: "ConfigMap",
            api_version: "v1",
            plural: "configmaps",
            content: json!({ "data": { "a": "1", "b": "2" } }),
            field: "/data/a",
            values: [json!("3"), json!("4")],
            has_status: false,
        },
        Subject {
            kind: "Service",
            api_version: "v1",
            plural: "services",
            content: json!({ "spec": { "selector": { "app": "a" }, "ports": [{ "port": 80 }] } }),
            field: "/spec/selector/app",
            values: [json!("b"), json!("c")],
            has_status: true,
        },
        Subject {
            kind: "Lease",
            api_version: "coordination.k8s.io/v1",
            plural: "leases",
            content: json!({ "spec": { "holderIdentity": "a", "leaseDurationSeconds": 15 } }),
            field: "/spec/holderIdentity",
            values: [json!("b"), json!("c")],
            has_status: false,
        },
        Subject {
            kind: "Widget",
            api_version: "recorded.sluice.dev/v1",
            plural: "widgets",
            content: json!({ "spec": spec }),
            field: "/spec/color",
            values: [json!("green"), json!("blue")],
            has_status: true,
        },
        Subject {
            kind: "Gadget",
            api_version: "recorded.sluice.dev/v1",
            plural: "gadgets",
            content: json!({ "spec": spec }),
            field: "/spec/color",
            values: [json!("green"), json!("blue")],
            has_status: false,
        },
    ]
}

impl Subject {
    fn collection(&self) -> String {
        let group = if self.api_version == "v1" { "/api" } else { "/apis" };
        format!("{group}/{}/namespaces/{NAMESPACE}/{}", self.api_version, self.plural)
    }

    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.collection())
    }

    fn object(&self, metadata: Value) -> Value {
        let mut object = self.content.clone();
        object["apiVersion"] = json!(self.api_version);
        object["kind"] = json!(self.kind);
        object["metadata"] = metadata;
        object
    }

    /// A merge patch of the field.
    fn change(&self, value: &Value) -> Value {
        self.field
            .rsplit('/')
            .filter(|part| !part.is_empty())
            .fold(value.clone(), |inner, part| json!({ part: inner }))
    }

    fn set(&self, mut object: Value, value: &Value) -> Value {
        if let Some(place) = object.pointer_mut(self.field) {
            *place = value.clone();
        }
        object
    }

    fn shape(&self, name: &str, method: &str, path: String) -> Shape {
        Shape::new(format!("{}: {name}", self.kind), method, path)
    }
}

/// Returns all requests in order.
pub(crate) fn shapes() -> Vec<Shape> {
    let mut all = preparations();
    for subject in subjects() {
        all.extend(absent(&subject));
        all.extend(creation(&subject));
        all.extend(merge_patches(&subject));
        all.extend(json_patches(&subject));
        all.extend(updates(&subject));
        all.extend(applies(&subject));
        all.extend(lists(&subject));
        all.extend(watches(&subject));
        all.extend(status(&subject));
        all.extend(deletions(&subject));
    }
    all.extend(schemas());
    all.extend(scale());
    all.extend(elsewhere());
    all
}

fn preparations() -> Vec<Shape> {
    let namespace =
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } });
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions".to_owned();
    let define = |body: Value, plural: &str| {
        let create = Shape::new(format!("define {plural}"), "POST", path.clone()).with(JSON, &body);
        let listed = format!("/apis/recorded.sluice.dev/v1/namespaces/{NAMESPACE}/{plural}");
        let mut list = Shape::new(format!("{plural} are served"), "GET", listed);
        list.is_awaited = true;
        [create, list]
    };
    let mut all = vec![
        Shape::new("a namespace".into(), "POST", "/api/v1/namespaces".into())
            .with(JSON, &namespace),
    ];
    let subresources = json!({
        "status": {},
        "scale": {
            "specReplicasPath": ".spec.size",
            "statusReplicasPath": ".status.size",
            "labelSelectorPath": ".status.selector",
        },
    });
    all.extend(define(definition("Widget", "widgets", subresources), "widgets"));
    all.extend(define(definition("Gadget", "gadgets", json!({})), "gadgets"));
    all
}

fn definition(kind: &str, plural: &str, subresources: Value) -> Value {
    let part = json!({
        "type": "object",
        "required": ["name"],
        "properties": {
            "name": { "type": "string" },
            "weight": { "type": "integer", "minimum": 0, "maximum": 100 },
        },
    });
    let spec = json!({
        "type": "object",
        "properties": {
            "size": { "type": "integer", "minimum": 0, "default": 1 },
            "color": { "type": "string", "enum": ["red", "green", "blue"] },
            "share": { "x-kubernetes-int-or-string": true },
            "free": { "type": "object", "x-kubernetes-preserve-unknown-fields": true },
            "parts": {
                "type": "array",
                "items": part,
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
            },
        },
    });
    let status = json!({
        "type": "object",
        "properties": { "size": { "type": "integer" }, "selector": { "type": "string" } },
    });
    let schema = json!({
        "type": "object",
        "required": ["spec"],
        "properties": { "spec": spec, "status": status },
    });
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("{plural}.recorded.sluice.dev") },
        "spec": {
            "group": "recorded.sluice.dev",
            "scope": "Namespaced",
            "names": { "plural": plural, "singular": kind.to_lowercase(), "kind": kind, "listKind": format!("{kind}List") },
            "versions": [{
                "name": "v1",
                "served": true,
                "storage": true,
                "schema": { "openAPIV3Schema": schema },
                "subresources": subresources,
            }],
        },
    })
}

fn absent(s: &Subject) -> Vec<Shape> {
    let path = || s.path("nobody");
    let named = s.object(json!({ "name": "nobody" }));
    let mut all = vec![
        s.shape("get what is not there", "GET", path()),
        s.shape("delete what is not there", "DELETE", path()),
        s.shape("merge into what is not there", "PATCH", path())
            .with(MERGE, &s.change(&s.values[0])),
        s.shape("patch what is not there", "PATCH", path()).with(PATCH, &json!([])),
        s.shape("list nothing", "GET", format!("{}?labelSelector=set%3Dnone", s.collection())),
        s.shape("an unknown subresource", "GET", format!("{}/nothing", path())),
    ];
    // Core kinds differ in whether a PUT creates; nobody relies on it.
    if s.api_version.starts_with("recorded") {
        all.push(s.shape("replace what is not there", "PUT", path()).with(JSON, &named));
    }
    all
}

fn creation(s: &Subject) -> Vec<Shape> {
    let (collection, object) =
        (s.collection(), s.object(json!({ "name": "one", "labels": { "set": "x" } })));
    let post = |name: &str| s.shape(name, "POST", collection.clone());
    let mut other_kind = object.clone();
    other_kind["kind"] = json!("Other");
    let mut other_version = object.clone();
    other_version["apiVersion"] = json!("v9");
    let of = |metadata: Value| s.object(metadata);
    vec![
        s.shape("create as a dry run", "POST", format!("{collection}?dryRun=All"))
            .with(JSON, &object),
        s.shape("a dry run creates nothing", "GET", s.path("one")),
        post("create").with(JSON, &object).saved("one"),
        post("create again").with(JSON, &object),
        s.shape("get", "GET", s.path("one")),
        post("create another kind").with(JSON, &other_kind),
        post("create another version").with(JSON, &other_version),
        post("create without a name").with(JSON, &of(json!({}))),
        post("create with a bad name").with(JSON, &of(json!({ "name": "Bad_Name" }))),
        post("create in another namespace")
            .with(JSON, &of(json!({ "name": "two", "namespace": "default" }))),
        post("create with a version")
            .with(JSON, &of(json!({ "name": "two", "resourceVersion": "5" }))),
        post("create with a bad label")
            .with(JSON, &of(json!({ "name": "two", "labels": { "a": "not valid!" } }))),
        post("create with a generated name")
            .with(JSON, &of(json!({ "generateName": "gen-" })))
            .saved("gen"),
        s.shape("delete the generated one", "DELETE", s.path("{gen.name}")),
        post("create from what is no JSON").raw(JSON, "{\"kind\": "),
        post("create from a list").with(JSON, &json!([1])),
        s.shape("create at a name", "POST", s.path("one")).with(JSON, &object),
    ]
}

fn merge_patches(s: &Subject) -> Vec<Shape> {
    let patch = |name: &str, body: &Value| s.shape(name, "PATCH", s.path("one")).with(MERGE, body);
    let [first, second] = &s.values;
    let with_metadata = |metadata: Value, value: &Value| {
        let mut body = s.change(value);
        body["metadata"] = metadata;
        body
    };
    vec![
        patch("merge", &s.change(first)).saved("merged"),
        patch("merge without effect", &s.change(first)),
        patch("merge nothing", &json!({})),
        patch(
            "merge on the version that is there",
            &with_metadata(json!({ "resourceVersion": "{merged.rv}" }), second),
        ),
        patch(
            "merge on a former version",
            &with_metadata(json!({ "resourceVersion": "{one.rv}" }), first),
        ),
        patch(
            "merge on an incarnation that is not there",
            &with_metadata(json!({ "uid": "nobody" }), first),
        ),
        patch(
            "merge on the incarnation that is there",
            &with_metadata(json!({ "uid": "{one.uid}" }), first),
        ),
        patch(
            "merge a label",
            &json!({ "metadata": { "labels": { "a": "b" }, "annotations": { "a.b/c": "d" } } }),
        ),
        patch(
            "merge a label away",
            &json!({ "metadata": { "labels": { "a": null }, "annotations": null } }),
        ),
        patch("merge a name", &json!({ "metadata": { "name": "other" } })),
        patch("merge a list", &json!([1])),
        patch("merge another value", &s.change(second)),
        s.shape("merge as a dry run", "PATCH", format!("{}?dryRun=All", s.path("one")))
            .with(MERGE, &s.change(first)),
        s.shape("a dry run merges nothing", "GET", s.path("one")),
        s.shape("a patch of no known type", "PATCH", s.path("one")).with("text/plain", &json!({})),
        s.shape("a strategic patch", "PATCH", s.path("one")).with(STRATEGIC, &s.change(first)),
        s.shape("a merge of what is no JSON", "PATCH", s.path("one")).raw(MERGE, "{"),
    ]
}

fn json_patches(s: &Subject) -> Vec<Shape> {
    let patch = |name: &str, body: Value| s.shape(name, "PATCH", s.path("one")).with(PATCH, &body);
    let [first, second] = &s.values;
    let version = "/metadata/resourceVersion";
    vec![
        patch("patch", json!([{ "op": "replace", "path": s.field, "value": second }]))
            .saved("patched"),
        patch(
            "patch after a test",
            json!([
                { "op": "test", "path": s.field, "value": second },
                { "op": "replace", "path": s.field, "value": first },
            ]),
        ),
        patch(
            "a test that fails",
            json!([
                { "op": "test", "path": s.field, "value": second },
                { "op": "replace", "path": s.field, "value": second },
            ]),
        ),
        patch(
            "a path that is not there",
            json!([{ "op": "replace", "path": "/nothing/there", "value": 1 }]),
        ),
        patch(
            "remove what is not there",
            json!([{ "op": "remove", "path": "/metadata/annotations/a" }]),
        ),
        patch(
            "patch on a former version",
            json!([
                { "op": "replace", "path": version, "value": "{one.rv}" },
                { "op": "add", "path": s.field, "value": second },
            ]),
        ),
        patch(
            "a test of the incarnation",
            json!([
                { "op": "test", "path": "/metadata/uid", "value": "{one.uid}" },
                { "op": "add", "path": s.field, "value": second },
            ]),
        ),
        patch(
            "a test of another incarnation",
            json!([
                { "op": "test", "path": "/metadata/uid", "value": "nobody" },
                { "op": "add", "path": s.field, "value": first },
            ]),
        ),
        patch(
            "add annotations",
            json!([{ "op": "add", "path": "/metadata/annotations", "value": { "a.b/c": "1" } }]),
        ),
        patch(
            "replace one with a slash",
            json!([{ "op": "replace", "path": "/metadata/annotations/a.b~1c", "value": "2" }]),
        ),
        patch(
            "move and copy",
            json!([
                { "op": "copy", "from": "/metadata/annotations/a.b~1c", "path": "/metadata/annotations/d" },
                { "op": "move", "from": "/metadata/annotations/d", "path": "/metadata/annotations/e" },
            ]),
        ),
        patch("no operations", json!([])),
        patch("an unknown operation", json!([{ "op": "frob", "path": "/a" }])),
        patch("operations that are none", json!({ "op": "add" })),
    ]
}

fn updates(s: &Subject) -> Vec<Shape> {
    let put = |name: &str, body: Value| s.shape(name, "PUT", s.path("one")).with(JSON, &body);
    let of = |metadata: Value, value: &Value| s.set(s.object(metadata), value);
    let [first, second] = &s.values;
    vec![
        s.shape("read before a replacement", "GET", s.path("one")).saved("read"),
        put(
            "replace a former version",
            of(json!({ "name": "one", "resourceVersion": "{one.rv}" }), first),
        ),
        put(
            "replace another incarnation",
            of(json!({ "name": "one", "resourceVersion": "{read.rv}", "uid": "nobody" }), first),
        ),
        put(
            "replace under another name",
            of(json!({ "name": "other", "resourceVersion": "{read.rv}" }), first),
        ),
        put(
            "replace",
            of(
                json!({ "name": "one", "resourceVersion": "{read.rv}", "labels": { "set": "x" } }),
                second,
            ),
        )
        .saved("replaced"),
        put(
            "replace without effect",
            of(
                json!({ "name": "one", "resourceVersion": "{replaced.rv}", "labels": { "set": "x" } }),
                second,
            ),
        ),
        put(
            "replace without a version",
            of(json!({ "name": "one", "labels": { "set": "x" } }), first),
        ),
        put("replace with what is no object", json!("text")),
    ]
}

fn applies(s: &Subject) -> Vec<Shape> {
    let apply = |name: &str, query: &str, body: &Value| {
        let path = format!("{}?{query}", s.path("applied"));
        s.shape(name, "PATCH", path).with(APPLY, body)
    };
    let object = s.object(
        json!({ "name": "applied", "labels": { "set": "y" }, "annotations": { "a": "1" } }),
    );
    let [first, second] = &s.values;
    let other = |metadata: Value, value: &Value| {
        let mut body = s.change(value);
        body["apiVersion"] = json!(s.api_version);
        body["kind"] = json!(s.kind);
        body["metadata"] = metadata;
        body
    };
    let named = || json!({ "name": "applied" });
    vec![
        apply("apply", "fieldManager=m1", &object).saved("applied").managed(),
        apply("apply without effect", "fieldManager=m1", &object).managed(),
        apply("apply without a manager", "", &object),
        apply("apply against another manager", "fieldManager=m2", &other(named(), first)),
        apply("apply by force", "fieldManager=m2&force=true", &other(named(), first)).managed(),
        apply("apply what another says, too", "fieldManager=m3", &other(named(), first)).managed(),
        apply("apply on a former version", "fieldManager=m2&force=true",
            &other(json!({ "name": "applied", "resourceVersion": "{applied.rv}" }), second)),
        apply("apply on another incarnation", "fieldManager=m2&force=true",
            &other(json!({ "name": "applied", "uid": "nobody" }), second)),
        apply("apply less", "fieldManager=m1&force=true", &s.object(json!({ "name": "applied", "labels": { "set": "y" } }))).managed(),
        apply("apply as a dry run", "fieldManager=m1&force=true&dryRun=All", &object),
        apply("apply another kind", "fieldManager=m1", &json!({ "apiVersion": s.api_version, "kind": "Other", "metadata": named() })),
        apply("apply another name", "fieldManager=m1", &s.object(json!({ "name": "other" }))),
        apply("apply with managed fields", "fieldManager=m1", &s.object(json!({ "name": "applied", "managedFields": [] }))),
        s.shape("a merge by another manager", "PATCH", format!("{}?fieldManager=m4", s.path("applied")))
            .with(MERGE, &s.change(second))
            .managed(),
        s.shape("apply what is YAML", "PATCH", format!("{}?fieldManager=m5", s.path("applied"))).raw(
            APPLY,
            &format!("apiVersion: {}\nkind: {}\nmetadata:\n  name: applied\n  labels:\n    yaml: 'yes'\n", s.api_version, s.kind),
        ),
    ]
}

fn lists(s: &Subject) -> Vec<Shape> {
    let list =
        |name: &str, query: &str| s.shape(name, "GET", format!("{}?{query}", s.collection()));
    let mut of_names = s.shape("only metadata", "GET", s.path("one"));
    of_names.accept = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io".into();
    vec![
        list("list by label", "labelSelector=set%3Dx"),
        list("list by labels", "labelSelector=set%20in%20(x%2Cy)"),
        list("list by label that is absent", "labelSelector=set%2C!other"),
        list("list by labels that are not", "labelSelector=set%2Cset!%3Dx"),
        list("list by name", "fieldSelector=metadata.name%3Done"),
        list("list by an unknown field", "fieldSelector=spec.nothing%3Done"),
        list("list by a bad selector", "labelSelector=a%20b%20c"),
        list("list the first page", "labelSelector=set&limit=1").saved("page"),
        list("list the next page", "labelSelector=set&limit=1&continue={page.continue}"),
        list("list on from nowhere", "limit=1&continue=nowhere"),
        list("list from a bad version", "resourceVersion=bad"),
        of_names,
    ]
}

fn watches(s: &Subject) -> Vec<Shape> {
    let watch = |name: &str, query: &str| {
        let path = format!("{}?watch=true&timeoutSeconds=1&{query}", s.collection());
        Shape { is_watch: true, ..s.shape(name, "GET", path) }
    };
    vec![
        s.shape("before the watches", "GET", s.path("one")).saved("watched"),
        s.shape("something to see", "PATCH", s.path("one"))
            .with(MERGE, &json!({ "metadata": { "annotations": { "seen": "1" } } })),
        s.shape("something that goes", "PATCH", s.path("one"))
            .with(MERGE, &json!({ "metadata": { "labels": { "set": "z" } } })),
        s.shape("something that comes", "PATCH", s.path("one"))
            .with(MERGE, &json!({ "metadata": { "labels": { "set": "x" } } })),
        watch("watch by name", "fieldSelector=metadata.name%3Done&resourceVersion={watched.rv}"),
        watch("watch by label", "labelSelector=set%3Dx&resourceVersion={watched.rv}"),
        watch("watch from a bad version", "resourceVersion=bad"),
    ]
}

fn status(s: &Subject) -> Vec<Shape> {
    let path = || format!("{}/status", s.path("one"));
    if !s.has_status {
        return vec![
            s.shape("no status to get", "GET", path()),
            s.shape("no status to merge into", "PATCH", path())
                .with(MERGE, &json!({ "status": {} })),
        ];
    }
    let body = match s.kind {
        "Service" => {
            json!({ "status": { "loadBalancer": { "ingress": [{ "ip": "192.0.2.1" }] } } })
        }
        _ => json!({ "status": { "size": 3, "selector": "a=b" } }),
    };
    let mut with_more = body.clone();
    with_more["spec"] = json!({ "size": 9 });
    with_more["metadata"] = json!({ "labels": { "from": "status" } });
    let main = s.shape("a status on the main endpoint", "PATCH", s.path("one"));
    vec![
        s.shape("get the status", "GET", path()),
        s.shape("merge into the status", "PATCH", path()).with(MERGE, &body).saved("status"),
        s.shape("merge without effect into the status", "PATCH", path()).with(MERGE, &body),
        s.shape("merge more than the status", "PATCH", path()).with(MERGE, &with_more),
        main.with(MERGE, &json!({ "status": { "size": 7, "loadBalancer": {} } })),
        s.shape("a status on a former version", "PATCH", path())
            .with(MERGE, &json!({ "metadata": { "resourceVersion": "{one.rv}" }, "status": {} })),
        s.shape("a status of nobody", "PATCH", format!("{}/status", s.path("nobody")))
            .with(MERGE, &body),
    ]
}

fn deletions(s: &Subject) -> Vec<Shape> {
    let delete = |name: &str, object: &str, body: &Value| {
        s.shape(name, "DELETE", s.path(object)).with(JSON, body)
    };
    let options = |fields: Value| {
        let mut options = json!({ "apiVersion": "v1", "kind": "DeleteOptions" });
        for (key, value) in fields.as_object().into_iter().flatten() {
            options[key] = value.clone();
        }
        options
    };
    let kept = s.object(json!({ "name": "kept", "finalizers": ["sluice.dev/test"] }));
    vec![
        delete(
            "delete another incarnation",
            "one",
            &options(json!({ "preconditions": { "uid": "nobody" } })),
        ),
        delete(
            "delete a former version",
            "one",
            &options(json!({ "preconditions": { "resourceVersion": "{one.rv}" } })),
        ),
        s.shape("delete as a dry run", "DELETE", format!("{}?dryRun=All", s.path("one"))),
        delete(
            "delete",
            "one",
            &options(
                json!({ "propagationPolicy": "Background", "preconditions": { "uid": "{one.uid}" } }),
            ),
        ),
        s.shape("get what was deleted", "GET", s.path("one")),
        delete(
            "delete with an unknown policy",
            "applied",
            &options(json!({ "propagationPolicy": "Sideways" })),
        ),
        s.shape("create what is kept", "POST", s.collection()).with(JSON, &kept).saved("kept"),
        s.shape("delete what is kept", "DELETE", s.path("kept")),
        s.shape("delete it again", "DELETE", s.path("kept")),
        s.shape("it is still there", "GET", s.path("kept")),
        s.shape("change what is being deleted", "PATCH", s.path("kept"))
            .with(MERGE, &s.change(&s.values[0])),
        s.shape("add a finalizer while it is deleted", "PATCH", s.path("kept")).with(
            MERGE,
            &json!({ "metadata": { "finalizers": ["sluice.dev/test", "sluice.dev/more"] } }),
        ),
        s.shape("let it go", "PATCH", s.path("kept"))
            .with(MERGE, &json!({ "metadata": { "finalizers": null } })),
        s.shape("it is gone", "GET", s.path("kept")),
        s.shape("create after the deletion", "POST", s.collection())
            .with(JSON, &s.object(json!({ "name": "one" })))
            .saved("again"),
        s.shape("merge into the former incarnation", "PATCH", s.path("one"))
            .with(MERGE, &json!({ "metadata": { "uid": "{one.uid}", "labels": { "a": "b" } } })),
        s.shape("delete all", "DELETE", format!("{}?labelSelector=set", s.collection())),
        s.shape("delete the rest", "DELETE", s.path("one")),
    ]
}

fn schemas() -> Vec<Shape> {
    let widgets = format!("/apis/recorded.sluice.dev/v1/namespaces/{NAMESPACE}/widgets");
    let create = |name: &str, spec: Value| {
        let body = json!({
            "apiVersion": "recorded.sluice.dev/v1",
            "kind": "Widget",
            "metadata": { "name": name },
            "spec": spec,
        });
        Shape::new(format!("schema: {name}"), "POST", widgets.clone()).with(JSON, &body)
    };
    let merge = |name: &str, spec: Value| {
        Shape::new(format!("schema: {name}"), "PATCH", format!("{widgets}/defaults"))
            .with(MERGE, &json!({ "spec": spec }))
    };
    let strict = "fieldValidation=Strict";
    let body = json!({
        "apiVersion": "recorded.sluice.dev/v1",
        "kind": "Widget",
        "metadata": { "name": "strict" },
        "spec": { "colour": "red" },
    });
    vec![
        create("defaults", json!({})),
        create(
            "unknown-fields",
            json!({ "color": "red", "colour": "red", "free": { "any": [1] } }),
        ),
        create("wrong-type", json!({ "size": "many" })),
        create("below-the-least", json!({ "size": -1 })),
        create("not-in-the-enum", json!({ "color": "pink" })),
        create("without-a-key", json!({ "parts": [{ "weight": 1 }] })),
        create("the-same-key-twice", json!({ "parts": [{ "name": "a" }, { "name": "a" }] })),
        create("int-or-string", json!({ "share": "25%" })),
        create("not-int-or-string", json!({ "share": [1] })),
        create("null-for-a-default", json!({ "size": null })),
        create("no-spec", Value::Null),
        merge("merge an unknown field", json!({ "colour": "red" })),
        merge("merge a wrong type", json!({ "size": "many" })),
        merge("merge a default away", json!({ "size": null })),
        merge("merge what is not in the enum", json!({ "color": "pink" })),
        Shape::new("schema: strictly".into(), "POST", format!("{widgets}?{strict}"))
            .with(JSON, &body),
    ]
}

fn scale() -> Vec<Shape> {
    let path = |name: &str| {
        format!("/apis/recorded.sluice.dev/v1/namespaces/{NAMESPACE}/widgets/{name}/scale")
    };
    let scale = |name: &str, fields: Value| {
        json!({
            "apiVersion": "autoscaling/v1",
            "kind": "Scale",
            "metadata": { "name": name, "namespace": NAMESPACE },
            "spec": fields,
        })
    };
    let shape = |name: &str, method: &str, object: &str| {
        Shape::new(format!("scale: {name}"), method, path(object))
    };
    let gadget = format!("/apis/recorded.sluice.dev/v1/namespaces/{NAMESPACE}/gadgets/one/scale");
    vec![
        shape("get", "GET", "defaults"),
        shape("replace", "PUT", "defaults")
            .with(JSON, &scale("defaults", json!({ "replicas": 4 }))),
        shape("merge", "PATCH", "defaults").with(MERGE, &json!({ "spec": { "replicas": 5 } })),
        shape("below nothing", "PATCH", "defaults")
            .with(MERGE, &json!({ "spec": { "replicas": -1 } })),
        shape("nobody", "GET", "nobody"),
        Shape::new("scale: of what has none".into(), "GET", gadget),
    ]
}

fn elsewhere() -> Vec<Shape> {
    let shape = |name: &str, method: &str, path: &str| {
        Shape::new(format!("elsewhere: {name}"), method, path.to_owned())
    };
    let object = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a" } });
    let namespaced = format!("/api/v1/namespaces/{NAMESPACE}");
    vec![
        shape("a namespace that is not there", "POST", "/api/v1/namespaces/nowhere/configmaps").with(JSON, &object),
        shape("a list of a namespace that is not there", "GET", "/api/v1/namespaces/nowhere/configmaps"),
        shape("an unknown resource", "GET", &format!("{namespaced}/nothings")),
        shape("an unknown group", "GET", "/apis/nothing.example.com/v1/things"),
        shape("an unknown version", "GET", "/apis/recorded.sluice.dev/v9/widgets"),
        shape("a method that is none", "PUT", &format!("{namespaced}/configmaps")).with(JSON, &object),
        shape("delete a definition that is not there", "DELETE", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/nothings.example.com"),
        shape("a long name", "POST", &format!("{namespaced}/configmaps"))
            .with(JSON, &json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a".repeat(254) } })),
    ]
}

/// What is written in the place of values that differ from run to run; equal values get equal names.
#[derive(Default)]
pub(crate) struct Names {
    known: BTreeMap<String, String>,
}

impl Names {
    fn of(&mut self, prefix: &str, value: &str) -> String {
        let next = self.known.values().filter(|name| name.starts_with(prefix)).count() + 1;
        let name = self.known.entry(format!("{prefix}{value}"));
        name.or_insert_with(|| format!("{prefix}{next}")).clone()
    }

    /// Puts an answer into the form that is compared.
    pub(crate) fn normal(&mut self, shape: &Shape, code: u16, body: &Value) -> Value {
        let body = if body["kind"] == "Status" { status_body(body) } else { body.clone() };
        let body = self.value("", &body, shape.managed);
        json!({ "code": code, "body": body })
    }

    fn value(&mut self, key: &str, value: &Value, managed: bool) -> Value {
        match value {
            Value::Object(members) => {
                let is_list = members.contains_key("items");
                let mut sorted: Vec<(&String, &Value)> = members.iter().collect();
                sorted.sort_by_key(|(key, _)| *key);
                let kept = sorted.into_iter().filter(|(key, _)| managed || *key != "managedFields");
                let kept = kept.map(|(key, member)| {
                    let member = if is_list && key == "metadata" {
                        list_metadata(member)
                    } else {
                        self.value(key, member, managed)
                    };
                    (key.clone(), member)
                });
                Value::Object(kept.collect())
            }
            Value::Array(items) => {
                items.iter().map(|item| self.value(key, item, managed)).collect()
            }
            Value::String(text) => json!(self.text(key, text)),
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        }
    }

    fn text(&mut self, key: &str, text: &str) -> String {
        match key {
            "uid" => self.of("uid-", text),
            "resourceVersion" => self.of("version-", text),
            "creationTimestamp" | "deletionTimestamp" | "time" | "lastTransitionTime" => {
                "(time)".into()
            }
            "clusterIP" | "clusterIPs" if text != "None" => "(address)".into(),
            "continue" => "(token)".into(),
            "name" | "message" => text
                .split_inclusive([' ', '"', '/'])
                .map(
                    |word| if word.starts_with("gen-") { generated(word) } else { word.to_owned() },
                )
                .collect(),
            _ => text.to_owned(),
        }
    }
}

fn generated(word: &str) -> String {
    let end = word.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '-');
    format!("gen-(suffix){end}")
}

/// Versions of lists count everything that happens on a server.
fn list_metadata(metadata: &Value) -> Value {
    let mut metadata = metadata.clone();
    for (key, name) in [("resourceVersion", "(version)"), ("continue", "(token)")] {
        if metadata[key].as_str().is_some_and(|text| !text.is_empty()) {
            metadata[key] = json!(name);
        }
    }
    metadata
}

/// Uids and versions in messages differ from run to run.
fn status_body(body: &Value) -> Value {
    let mut body = body.clone();
    if let Some(message) = body["message"].as_str() {
        let words = message.split(' ').map(|word| {
            let bare = word.trim_end_matches([',', ';', ':', '.']);
            let is_number = !bare.is_empty() && bare.bytes().all(|b| b.is_ascii_digit());
            let is_uid = bare.len() == 36 && bare.bytes().filter(|b| *b == b'-').count() == 4;
            if is_number || is_uid { word.replace(bare, "(value)") } else { word.to_owned() }
        });
        body["message"] = json!(words.collect::<Vec<_>>().join(" "));
    }
    body
}
