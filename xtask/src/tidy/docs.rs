//! The documents: links that lead somewhere, decisions that are numbered.

use super::Complaint;
use std::collections::BTreeSet;

/// Checks that every link from a page to a file or heading of this repository leads somewhere. `pages` are paths, relative
/// to the root, with their text.
pub(super) fn check(files: &[String], pages: &[(String, String)]) -> Vec<Complaint> {
    let mut known: BTreeSet<&str> = files.iter().map(String::as_str).collect();
    for file in files {
        known.extend(file.match_indices('/').map(|(i, _)| &file[..i]));
    }
    let mut complaints = Vec::new();
    for (path, text) in pages {
        for (line, link) in links(text) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = resolve(path, file);
            let at = format!("{path}:{line}");
            if !known.contains(target.as_str()) {
                complaints.push(Complaint::new(at, format!("`{link}` leads nowhere: there is no {target}")));
            } else if !heading.is_empty() {
                let page = pages.iter().find(|(path, _)| *path == target);
                if page.is_some_and(|(_, text)| !headings(text).contains(heading)) {
                    complaints.push(Complaint::new(at, format!("`{link}` leads nowhere: no such heading in {target}")));
                }
            }
        }
    }
    complaints
}

/// Checks that the decisions in docs/adr/ are numbered from 0001 without gaps, say so in their title, and have a status.
pub(super) fn check_decisions(pages: &[(String, String)]) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    let decisions = pages.iter().filter_map(|(path, text)| Some((path, path.strip_prefix("docs/adr/")?, text)));
    for (i, (path, name, text)) in decisions.enumerate() {
        let number = format!("{:04}", i + 1);
        if !name.starts_with(&format!("{number}-")) {
            complaints
                .push(Complaint::new(path, format!("the next decision is {number}: numbers have no gaps, no doubles")));
        }
        if !text.starts_with(&format!("# {}. ", i + 1)) {
            complaints.push(Complaint::new(path, format!("begin with the title, as in `# {}. In a few words`", i + 1)));
        }
        if !text.lines().any(|line| line.starts_with("Status: ")) {
            complaints.push(Complaint::new(path, "needs a line `Status: proposed`, `accepted` or `superseded by …`"));
        }
    }
    complaints
}

/// The targets of all links `[text](target)` outside of code, each with its line.
fn links(text: &str) -> Vec<(usize, &str)> {
    let mut links = Vec::new();
    let mut in_code = false;
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        } else if !in_code {
            for (i, _) in line.match_indices("](") {
                let is_code = line[..i].matches('`').count() % 2 == 1;
                if let (false, Some((target, _))) = (is_code, line[i + 2..].split_once(')')) {
                    links.push((number + 1, target));
                }
            }
        }
    }
    links
}

/// The anchors that a page's headings get.
fn headings(text: &str) -> BTreeSet<String> {
    let titles = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    titles
        .map(|title| {
            let kept =
                title.to_lowercase().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).collect::<String>();
            kept.replace(' ', "-")
        })
        .collect()
}

/// A link's target relative to the root, given the page it stands on.
fn resolve(page: &str, link: &str) -> String {
    if link.is_empty() {
        return page.to_owned();
    }
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(path: &str, text: &str) -> (String, String) {
        (path.to_owned(), text.to_owned())
    }

    fn complaints(text: &str) -> Vec<String> {
        let files = ["docs/a.md", "docs/deep/b.md", "README.md", "crates/x/src/lib.rs"].map(str::to_owned);
        let pages = [page("docs/a.md", text), page("README.md", "# It & me\n")];
        check(&files, &pages).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn links_that_lead_somewhere_are_fine() {
        let text = "# A\n[b](deep/b.md), [readme](../README.md#it--me), [x](../crates/x/), [a](#a), [web](https://example.org/x)";
        assert_eq!(complaints(text), Vec::<String>::new());
    }

    #[test]
    fn a_dead_link_is_named_with_its_line() {
        let expected = ["docs/a.md:2: `c.md` leads nowhere: there is no docs/c.md"];
        assert_eq!(complaints("# A\nSee [c](c.md)."), expected);
        assert_eq!(complaints("[r](../README.md#gone)").len(), 1);
    }

    #[test]
    fn code_has_no_links() {
        assert_eq!(complaints("```\n[c](c.md)\n```\nand `[c](c.md)`"), Vec::<String>::new());
    }

    #[test]
    fn decisions_are_numbered_without_gaps() {
        let decision =
            |name: &str, title: &str| page(&format!("docs/adr/{name}"), &format!("{title}\n\nStatus: accepted\n"));
        let good = [decision("0001-a.md", "# 1. A"), decision("0002-b.md", "# 2. B")];
        assert_eq!(check_decisions(&good), []);
        assert_eq!(check_decisions(&[decision("0001-a.md", "# 1. A"), decision("0003-b.md", "# 2. B")]).len(), 1);
        assert_eq!(check_decisions(&[page("docs/adr/0001-a.md", "# 1. A\n")]).len(), 1);
    }
}
