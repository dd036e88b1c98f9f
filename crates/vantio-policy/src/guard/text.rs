//! Guards in one line each, as explanations and the ledger name them.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use vantio_core::{Access, Effect};

use super::model::{HoldRule, Labelled, Measure, OrderRule, Scope, Then, Threshold};
use crate::{credentials, net::NetPattern, path::PathPattern, rule::Pattern};

impl Labelled {
    /// Such as `secret: net *`; `labels` are those of the guards.
    pub(crate) fn text(&self, labels: &[String]) -> String {
        let label = self.label.and_then(|number| labels.get(usize::from(number)));
        let label = label.map_or("every label", String::as_str);
        format!("{label}: {} {}", self.scope.key(), targets(&self.scope.targets))
    }
}

impl OrderRule {
    /// Such as `net.connect git.example.com: unless proc.exec /test.sh ended with 0 since
    /// fs.open to write /src`.
    pub(crate) fn text(&self) -> String {
        let exit = self.unless_after.exit.map(|exit| format!(" ended with {exit}")).unwrap_or_default();
        let (refuse, after, since) = (self.refuse.text(), self.unless_after.scope.text(), self.since.text());
        format!("{refuse}: unless {after}{exit} since {since}")
    }
}

impl Threshold {
    /// Such as `fs.unlink: 100 within 10s, then hold`.
    pub(crate) fn text(&self) -> String {
        format!("{}: {}{} {}", self.scope.text(), self.limit, self.unit(), self.terms())
    }

    /// Such as `fs.unlink: 10 → 20 within 10s`, of two that are about the same.
    pub(crate) fn change_text(&self, to: &Self) -> String {
        let (scope, unit) = (self.scope.text(), self.unit());
        if (self.within_ms, self.then) == (to.within_ms, to.then) {
            return format!("{scope}: {} → {}{unit} within {}", self.limit, to.limit, duration(to.within_ms));
        }
        format!("{scope}: {}{unit} {} → {}{unit} {}", self.limit, self.terms(), to.limit, to.terms())
    }

    const fn unit(&self) -> &'static str {
        match self.measure {
            Measure::Count => "",
            Measure::Bytes => " bytes",
            Measure::Distinct => " distinct",
        }
    }

    fn terms(&self) -> String {
        let then = match self.then {
            Then::Collapse => "collapse",
            Then::Hold => "hold",
        };
        format!("within {}, then {then}", duration(self.within_ms))
    }
}

/// What an [`OrderRule`] of this text asks for, where that is a program.
pub(crate) fn asked_for(text: &str) -> Option<String> {
    let (asked, _) = text.split_once(": unless proc.exec ")?.1.split_once(" since ")?;
    Some(match asked.rsplit_once(" ended with ") {
        Some((program, exit)) => format!("run {} until it ends with {exit}", program.replace(", ", " or ")),
        None => format!("run {} first", asked.replace(", ", " or ")),
    })
}

/// The key of a [`Threshold`]'s limit by its text, and the text without what follows on it.
pub(crate) fn measured(text: &str) -> (&'static str, &str) {
    let limit = text.rsplit_once(": ").map_or(text, |(_, limit)| limit);
    let measure = match limit.split_once(" within ").map(|(limit, _)| limit) {
        Some(limit) if limit.ends_with(" bytes") => "bytes",
        Some(limit) if limit.ends_with(" distinct") => "distinct",
        _ => "count",
    };
    (measure, text.rsplit_once(", then ").map_or(text, |(text, _)| text))
}

impl HoldRule {
    /// Such as `net.connect *.corp.example: security-engineer approves within 5m`.
    pub(crate) fn text(&self) -> String {
        let scope = self.scope.text();
        let approvers = if self.approvers.is_empty() {
            "whoever started the run".to_string()
        } else {
            self.approvers.join(" or ")
        };
        format!("{scope}: {approvers} approves within {}", duration(self.timeout_ms))
    }
}

impl Scope {
    /// Such as `fs.open to write /etc, /usr`.
    pub(crate) fn text(&self) -> String {
        let effects: Vec<&str> = self.effects.iter().map(|effect| effect.name()).collect();
        let access = match self.access {
            Some(Access::Read) => " to read",
            Some(Access::Write) => " to write",
            None => "",
        };
        let space = if self.targets.is_empty() { "" } else { " " };
        format!("{}{access}{space}{}", effects.join(", "), targets(&self.targets))
    }

    /// The key of `taint` that has such a scope.
    pub(crate) fn key(&self) -> &'static str {
        match self.effects.first() {
            Some(Effect::ProcExec) => "exec",
            Some(Effect::NetConnect) => "net",
            Some(Effect::ToolCall) => "tools",
            Some(Effect::Infer) => "infer",
            Some(Effect::HeapRead | Effect::HeapWrite) => "heap",
            _ => "fs",
        }
    }
}

/// Patterns as a document has them, the whole list of credentials as its element.
pub(crate) fn target_texts(targets: &[Pattern]) -> Vec<String> {
    let mut texts: Vec<String> = targets.iter().map(target_text).collect();
    let mut stores: Vec<String> = Vec::new();
    if texts.len() >= credentials::STORES.len() {
        let patterns = credentials::STORES.iter().filter_map(|store| PathPattern::parse(store.pattern).ok());
        stores = patterns.map(|pattern| pattern.canonical()).collect();
        stores.sort_unstable();
    }
    if !stores.is_empty() && stores.iter().all(|store| texts.contains(store)) {
        texts.retain(|text| stores.binary_search(text).is_err());
        texts.insert(0, credentials::ELEMENT.to_string());
    }
    texts
}

fn targets(targets: &[Pattern]) -> String {
    target_texts(targets).join(", ")
}

/// A pattern without what a deny has anyway: every port.
fn target_text(pattern: &Pattern) -> String {
    let text = pattern.canonical();
    match pattern {
        Pattern::Net(NetPattern::Endpoint(endpoint)) if endpoint.ports.is_all() => {
            text.strip_suffix(":*").unwrap_or(&text).to_string()
        }
        _ => text,
    }
}

/// Milliseconds in the largest unit that divides them.
pub(crate) fn duration(milliseconds: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    let unit =
        UNITS.into_iter().find(|(length, _)| milliseconds != 0 && milliseconds.is_multiple_of(*length));
    unit.map_or_else(
        || format!("{milliseconds}ms"),
        |(length, name)| format!("{}{name}", milliseconds / length),
    )
}
