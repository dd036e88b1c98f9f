//! Guards in one line, as causes and explanations name them.

use alloc::{format, string::String, vec::Vec};

use vantio_core::{Access, Effect};

use crate::guard::model::{Event, HoldRule, Labelled, Measure, OrderRule, Scope, Then, Threshold};

impl Labelled {
    /// Such as `secret: net *:*`.
    pub(crate) fn text(&self, labels: &[String]) -> String {
        let scope = format!("{} {}", self.scope.key(), self.scope.targets_text());
        match self.label {
            Some(number) => {
                let label = labels.get(usize::from(number)).map_or("?", String::as_str);
                format!("{label}: {scope}")
            }
            None => scope,
        }
    }
}

impl OrderRule {
    /// Such as `net.connect git.example.com:443 unless after proc.exec /w/test.sh, exit 0, since fs.open write /w/src/**`.
    pub(crate) fn text(&self, _labels: &[String]) -> String {
        let Self { refuse, unless_after: Event { scope, exit }, since } = self;
        let exit = exit.map_or_else(String::new, |status| format!(", exit {status},"));
        format!("{} unless after {}{exit} since {}", refuse.text(), scope.text(), since.text())
    }
}

impl Threshold {
    /// Such as `fs.unlink: 100 within 10s, then hold`.
    pub(crate) fn text(&self, _labels: &[String]) -> String {
        let unit = match self.measure {
            Measure::Count => "",
            Measure::Bytes => " bytes",
            Measure::Distinct => " distinct",
        };
        let then = match self.then {
            Then::Collapse => "collapse",
            Then::Hold => "hold",
        };
        format!(
            "{}: {}{unit} within {}, then {then}",
            self.scope.text(),
            self.limit,
            duration(self.within_ms)
        )
    }
}

impl HoldRule {
    /// Such as `net.connect *.corp.example:* for security-engineer, 5m`.
    pub(crate) fn text(&self, _labels: &[String]) -> String {
        let approvers = if self.approvers.is_empty() {
            String::new()
        } else {
            format!(" for {}", self.approvers.join(", "))
        };
        format!("{}{approvers}, {}", self.scope.text(), duration(self.timeout_ms))
    }
}

impl Scope {
    /// Such as `fs.open write ${workspace}/src/**`.
    pub(crate) fn text(&self) -> String {
        let effects: Vec<&str> = self.effects.iter().map(|effect| effect.name()).collect();
        let mut text = effects.join(", ");
        match self.access {
            Some(Access::Read) => text.push_str(" read"),
            Some(Access::Write) => text.push_str(" write"),
            None => {}
        }
        if !self.targets.is_empty() {
            text.push(' ');
            text.push_str(&self.targets_text());
        }
        text
    }

    fn targets_text(&self) -> String {
        let targets: Vec<String> = self.targets.iter().map(|target| target.canonical()).collect();
        targets.join(", ")
    }

    /// The key of `taint` that the scope is written with.
    fn key(&self) -> &'static str {
        match self.effects.first() {
            Some(Effect::ProcExec) => "exec",
            Some(Effect::NetConnect | Effect::NetDns) => "net",
            Some(Effect::ToolCall) => "tools",
            Some(Effect::Infer) => "infer",
            Some(Effect::HeapRead | Effect::HeapWrite) => "heap",
            _ => "fs",
        }
    }
}

/// The shortest text of a duration.
pub(crate) fn duration(milliseconds: u64) -> String {
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    let whole = units.iter().find(|(unit, _)| milliseconds >= *unit && milliseconds % unit == 0);
    match whole {
        Some((unit, name)) => format!("{}{name}", milliseconds / unit),
        None => format!("{milliseconds}ms"),
    }
}
