//! `qd import`: what a canary analysis of Argo Rollouts or Flagger means here. Texts in, settings and findings out; no file
//! is read here and nothing is changed.
//!
//! What always holds: whatever a document says is in a setting, or has a finding that says why not; nothing is guessed.
//! Input is bounded ([`mod@yaml`]), and no input makes this panic.
//!
//! Start reading at [`read`]; then [`mod@argo`] for how a metric becomes a limit.

#[cfg(test)]
mod anything;
mod argo;
mod condition;
mod finding;
mod flagger;
mod known;
mod measure;
mod measured;
mod pattern;
mod promql;
mod report;
mod rollout;
mod service;
mod spot;
mod steps;
#[cfg(test)]
mod tests;
mod yaml;

pub(crate) use finding::Class;
pub(crate) use yaml::MAX_BYTES;

use crate::config::{Fault, Problems};
use argo::{Catalog, Given};
use finding::{Finding, Findings};
use flagger::Templates;
use known::{DOCUMENT, METADATA};
use model::ServiceName;
use service::Service;
use spot::Spot;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};
use yaml::{Node, cut};

/// A file that was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct File {
    /// What people call it.
    pub(crate) name: String,
    /// What is in it.
    pub(crate) text: String,
}

/// What files mean.
#[derive(Debug)]
pub(crate) struct Import {
    files: Vec<File>,
    services: Vec<Service>,
    findings: Vec<Finding>,
}

/// What a document is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Template { cluster: bool },
    Run,
    Rollout,
    Canary,
    MetricTemplate,
}

/// The kinds that are read, with the group their API version begins with.
const KINDS: &[(&str, &str, Kind)] = &[
    ("AnalysisTemplate", ARGO, Kind::Template { cluster: false }),
    ("ClusterAnalysisTemplate", ARGO, Kind::Template { cluster: true }),
    ("AnalysisRun", ARGO, Kind::Run),
    ("Rollout", ARGO, Kind::Rollout),
    ("Canary", FLAGGER, Kind::Canary),
    ("MetricTemplate", FLAGGER, Kind::MetricTemplate),
];
const ARGO: &str = "argoproj.io/";
const FLAGGER: &str = "flagger.app/";
const READ: &str = "a Rollout, AnalysisTemplate, ClusterAnalysisTemplate or AnalysisRun of argoproj.io and a Canary or MetricTemplate of flagger.app are read";

/// What files mean; for this service when it is named.
///
/// # Errors
/// What is wrong with the first file that is not YAML, has nothing in it or exceeds a bound.
pub(crate) fn read(files: Vec<File>, name: Option<&ServiceName>) -> Result<Import, Problems> {
    let mut documents = Vec::new();
    for file in &files {
        let wrong = |fault| Problems::new(Path::new(&file.name), &file.text, vec![fault]);
        let read = yaml::documents(&file.text).map_err(wrong)?;
        if read.is_empty() {
            return Err(wrong(Fault::new(0..0, "there is nothing in this file", READ)));
        }
        documents.push(read);
    }
    let mut findings = Findings::default();
    let services = Reader::new(&documents, &mut findings).services(name.map(ServiceName::as_str), &mut findings);
    let mut findings = findings.0;
    for finding in &mut findings {
        finding.file = files.get(finding.number).map_or(String::new(), |file| file.name.clone());
    }
    findings.sort_by(|a, b| a.order().cmp(&b.order()));
    // A template that two Rollouts name is read twice.
    findings.dedup();
    Ok(Import { files, services, findings })
}

/// The documents, by what they are.
struct Reader<'d> {
    roots: Vec<(Kind, Spot<'d>)>,
    analyses: Catalog<'d>,
    metrics: Templates<'d>,
}

impl<'d> Reader<'d> {
    fn new(documents: &'d [Vec<Node>], findings: &mut Findings) -> Reader<'d> {
        let mut reader = Reader {
            roots: Vec::new(),
            analyses: Catalog { templates: BTreeMap::new(), used: BTreeSet::new() },
            metrics: Templates { by_name: BTreeMap::new(), used: BTreeSet::new() },
        };
        for (file, documents) in documents.iter().enumerate() {
            for document in documents {
                reader.sort(Spot::root(file, document), findings);
            }
        }
        reader
    }

    /// Puts a document where it belongs.
    fn sort(&mut self, root: Spot<'d>, findings: &mut Findings) {
        let text = |key| root.get(key).and_then(|spot| spot.text());
        let (kind, version) = (text("kind").unwrap_or_default(), text("apiVersion").unwrap_or_default());
        // What `kubectl get -o yaml` prints.
        if kind.ends_with("List")
            && let Some(items) = root.get("items").filter(|items| items.items().next().is_some())
        {
            for (name, spot) in root.entries().filter(|(name, _)| !["items", "kind", "apiVersion"].contains(name)) {
                findings.not_needed(&spot, format!("`{}` of a list says nothing about its parts", cut(name)));
            }
            return items.items().for_each(|item| self.sort(item, findings));
        }
        let Some((_, _, known)) = KINDS.iter().find(|(name, group, _)| *name == kind && version.starts_with(group))
        else {
            let what = match (kind, version) {
                ("", _) => "this document does not say what kind it is".to_owned(),
                (kind, "") => format!("a document of the kind {}, without an `apiVersion`, is not read", cut(kind)),
                (kind, version) => format!("a document of the kind {} of {} is not read", cut(kind), cut(version)),
            };
            let at = root.get("kind").map(|kind| Spot { path: root.path.clone(), ..kind });
            findings.left(&at.unwrap_or_else(|| root.clone()), what, READ);
            return;
        };
        if !root.account(DOCUMENT, findings) {
            return;
        }
        if let Some(metadata) = root.get("metadata") {
            metadata.account(METADATA, findings);
        }
        let named = root.name();
        let again = match (known, named) {
            (Kind::Template { cluster }, Some(name)) => self.analyses.templates.insert((*cluster, name), root.clone()),
            (Kind::MetricTemplate, Some(name)) => self.metrics.by_name.insert(name, root.clone()),
            (Kind::Template { .. } | Kind::MetricTemplate | Kind::Run | Kind::Rollout | Kind::Canary, _) => None,
        };
        if let Some(before) = again {
            let spot = before.follow(&["metadata", "name"]).unwrap_or_else(|| before.clone());
            findings.left_also(
                &spot,
                format!("this {kind} stands a second time further down, and that one counts"),
                "give one of them",
                vec![before.path],
            );
            self.roots.retain(|(_, root)| !std::ptr::eq(root.node, before.node));
        }
        self.roots.push((*known, root));
    }

    /// What each service gets.
    fn services(mut self, name: Option<&str>, findings: &mut Findings) -> Vec<Service> {
        let mut services: Vec<Service> = Vec::new();
        let roots = std::mem::take(&mut self.roots);
        for (kind, root) in &roots {
            let target = match kind {
                Kind::Canary => root.follow(&["spec", "targetRef", "name"]),
                Kind::Template { .. } | Kind::Run | Kind::Rollout | Kind::MetricTemplate => None,
            };
            let target = target
                .or_else(|| root.follow(&["metadata", "name"]))
                .or_else(|| root.follow(&["metadata", "generateName"]));
            let Some(spec) = root.get("spec") else {
                findings.left(root, "there is no `spec` in this document", "");
                continue;
            };
            match kind {
                // Templates are read where they are named.
                Kind::Template { .. } | Kind::MetricTemplate => {}
                Kind::Run => {
                    let service = place(&mut services, name, target, root, findings);
                    argo::analysis(&spec, &Given::default(), &mut self.analyses, service, findings);
                }
                Kind::Rollout => {
                    let service = place(&mut services, name, target, root, findings);
                    rollout::rollout(&spec, &mut self.analyses, service, findings);
                }
                Kind::Canary => {
                    let service = place(&mut services, name, target, root, findings);
                    flagger::canary(&spec, &mut self.metrics, service, findings);
                }
            }
        }
        self.unnamed(&roots, name, &mut services, findings);
        services
    }

    /// The templates that no Rollout or Canary names: those for analyses are taken for one service.
    fn unnamed(
        mut self,
        roots: &[(Kind, Spot<'d>)],
        name: Option<&str>,
        services: &mut Vec<Service>,
        findings: &mut Findings,
    ) {
        let mut common = name.map(str::to_owned);
        for (kind, root) in roots {
            let called = root.name().unwrap_or_default();
            match kind {
                Kind::Template { cluster } if !self.analyses.used.contains(&(*cluster, called.to_owned())) => {
                    let Some(spec) = root.get("spec") else { continue };
                    let target = root.follow(&["metadata", "name"]);
                    if common.is_none() {
                        let spot = target.clone().unwrap_or_else(|| root.clone());
                        findings.approximated(
                            &spot,
                            "no Rollout among the files names this template, so that the service is called as it is",
                            "name it with `--service NAME`",
                        );
                    }
                    let service = place(services, common.as_deref(), target, root, findings);
                    common = Some(service.name.clone());
                    argo::analysis(&spec, &Given::default(), &mut self.analyses, service, findings);
                }
                Kind::MetricTemplate if !self.metrics.used.contains(called) => {
                    findings.not_needed(root, "no Canary among the files names this MetricTemplate");
                }
                Kind::Template { .. } | Kind::MetricTemplate | Kind::Run | Kind::Rollout | Kind::Canary => {}
            }
        }
    }
}

/// What a service is called that has no usable name.
const NAMELESS: &str = "service";

/// The service of a document: the one that is named, else the one that the document is about.
fn place<'s>(
    services: &'s mut Vec<Service>,
    name: Option<&str>,
    target: Option<Spot<'_>>,
    root: &Spot<'_>,
    findings: &mut Findings,
) -> &'s mut Service {
    let written = target.as_ref().and_then(|target| target.text()).unwrap_or_default();
    let name = match name {
        Some(name) => name.to_owned(),
        None if ServiceName::new(written).is_ok() => written.to_owned(),
        None => {
            let what = if written.is_empty() { "this document has no name" } else { "a service cannot be called that" };
            let at = target.as_ref().unwrap_or(root);
            findings.approximated(
                at,
                format!("{what}: it is called `{NAMELESS}` here"),
                "name it with `--service NAME`",
            );
            NAMELESS.to_owned()
        }
    };
    let at = services.iter().position(|service| service.name == name).unwrap_or(services.len());
    if at == services.len() {
        services.push(Service::new(name));
    }
    &mut services[at]
}
